"""Orders from below (基层发令, 部门执行): a community names units, a place and a time; whoever is missing is called up.

Decisions only: whether an order may be given, whether somebody has arrived, whom to tell next. Whoever ordered may
release a unit; a refusal alone releases nobody, or a unit could bounce an order by declining it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from city import roles
from city.areas import METRES_PER_DEGREE
from city.directory import Directory
from city.incidents import Tell
from city.units import Unit

How = Literal["position", "code", "word"]  # word: whoever ordered saw them

NEAR_M = 200  # of the place: a phone between high buildings errs by as much
REMIND_BEFORE = timedelta(minutes=15)
LADDER: Sequence[timedelta] = (  # from the time ordered
    -REMIND_BEFORE,  # the unit itself
    timedelta(0),  # its lead
    timedelta(minutes=10),  # the unit above it
    timedelta(minutes=20),  # the district: the top of its line
)
MOST_UNITS = 30
LONGEST_AHEAD = timedelta(days=30)
CENTRE_ROLES = frozenset(roles.CENTRE)
BELOW = frozenset({"street", "community"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """One unit of an order, as it stands."""

    unit_id: int
    acknowledged_at: datetime | None = None
    declined_at: datetime | None = None
    released_at: datetime | None = None
    arrived_at: datetime | None = None
    said: int = 0
    next_at: datetime | None = None

    @property
    def missing(self) -> bool:
        """Expected, and not there yet."""
        return self.arrived_at is None and self.released_at is None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """How many of those expected came, and how many of them in time."""

    expected: int
    arrived: int
    in_time: int

    @property
    def percent(self) -> int | None:
        """Whole percent, rounded down: 100 means everybody. None when nobody is expected."""
        return self.arrived * 100 // self.expected if self.expected else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """Why an order is refused, in both languages; ``field`` names what was wrong."""

    field: str
    reason: str
    reason_en: str


def may_order(role: str, unit: Unit | None) -> bool:
    """A street or community by its own people, or the centre for it."""
    return role in CENTRE_ROLES or (role not in roles.ONLY_LOOK and unit is not None and unit.tier in BELOW)


def acts_for(role: str, own_unit_id: int | None, unit_id: int) -> bool:
    """Whether this person may answer for that unit."""
    return role in CENTRE_ROLES or (role not in roles.ONLY_LOOK and own_unit_id == unit_id)


def faults(units: Sequence[str], arrive_by: datetime, directory: Directory, now: datetime) -> list[Fault]:
    """What is wrong with the units named and the time."""
    found = []
    if not units:
        found.append(Fault(field="units", reason="至少指定一个单位", reason_en="name at least one unit"))
    if len(units) > MOST_UNITS:
        found.append(
            Fault(field="units", reason=f"最多{MOST_UNITS}个单位", reason_en=f"at most {MOST_UNITS} units")
        )
    for code in dict.fromkeys(units):
        if units.count(code) > 1:
            found.append(
                Fault(
                    field="units", reason=f"单位{code}重复", reason_en=f"unit {code} is named more than once"
                )
            )
        if directory.unit_by_code(code) is None:
            found.append(
                Fault(
                    field="units",
                    reason=f"没有在用单位“{code}”",
                    reason_en=f"unit {code!r} is not a working unit; see /api/units",
                )
            )
    if arrive_by <= now:
        found.append(
            Fault(
                field="by",
                reason="到场时限应晚于现在",
                reason_en="the time to arrive by has passed; name a later one",
            )
        )
    elif arrive_by - now > LONGEST_AHEAD:
        found.append(
            Fault(
                field="by",
                reason=f"到场时限最多提前{LONGEST_AHEAD.days}天",
                reason_en=f"the time to arrive by may be {LONGEST_AHEAD.days} days ahead at most",
            )
        )
    return found


# ── who is told when ──────────────────────────────────────────────────────────────────────────────────


def first_step(arrive_by: datetime, now: datetime) -> tuple[int, datetime]:
    """Steps that are over already and the next one's time: an order given at the last moment reminds of nothing."""
    said = 1 if arrive_by - REMIND_BEFORE <= now else 0
    return said, arrive_by + LADDER[said]


def steps_due(sent: Sent, arrive_by: datetime, now: datetime) -> tuple[int, datetime | None]:
    """How many steps have come by now, and when the next one does; after an outage of ours only the last is told."""
    reached = sum(1 for after in LADDER if arrive_by + after <= now)
    said = max(sent.said, reached)
    return said, arrive_by + LADDER[said] if said < len(LADDER) else None


def told(step: int, unit: Unit, directory: Directory) -> Tell:
    """Whom the ``step``-th rung (from 1) tells; a line that ends early ends at its top unit's lead."""
    if step == 1:
        return Tell(purpose="remind", unit_id=unit.id)
    if step == 2:
        return Tell(purpose="urge", unit_id=unit.id, to_lead=True)
    above = line_above(unit, directory)
    if not above:
        return Tell(purpose="overdue", unit_id=unit.id, to_lead=True)
    chosen = above[0] if step == 3 else above[-1]
    return Tell(purpose="overdue", unit_id=chosen.id, to_lead=True)


def line_above(unit: Unit, directory: Directory) -> list[Unit]:
    """The units above, nearest first; a circle of parents ends it."""
    line: list[Unit] = []
    at: Unit | None = unit
    while at is not None and at.parent:
        at = directory.unit_by_code(at.parent)
        if at is None or at in line or at.id == unit.id:
            break
        line.append(at)
    return line


# ── arrival ───────────────────────────────────────────────────────────────────────────────────────────


def metres(longitude: float, latitude: float, to_longitude: float, to_latitude: float) -> float:
    """Along the ground, for places of one district."""
    narrowed = math.cos(math.radians((latitude + to_latitude) / 2))
    return METRES_PER_DEGREE * math.hypot((to_longitude - longitude) * narrowed, to_latitude - latitude)


def rate(units: Sequence[Sent], arrive_by: datetime) -> Rate:
    """Of an order; released units are not expected."""
    expected = [one for one in units if one.released_at is None]
    arrived = [one.arrived_at for one in expected if one.arrived_at is not None]
    return Rate(
        expected=len(expected), arrived=len(arrived), in_time=sum(1 for at in arrived if at <= arrive_by)
    )


def words(rate_now: Rate) -> tuple[str, str]:
    """The arrival rate as people read it."""
    return (
        f"应到{rate_now.expected}，已到{rate_now.arrived}，按时{rate_now.in_time}",
        f"{rate_now.arrived} of {rate_now.expected} arrived, {rate_now.in_time} in time",
    )


KINDS: Mapping[str, str] = {
    "acknowledge": "site_order_acknowledged",
    "decline": "site_order_declined",
    "arrive": "site_order_arrived",
    "release": "site_order_released",
    "end": "site_order_ended",
}
