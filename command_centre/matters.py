"""What dispatch decides about, and what it answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from city.alarms import IncidentClass
from city.clocks import Limits
from city.incidents import EventLevel, Nature
from city.units import Unit

Source = Literal["alarm", "report", "person", "system"]
Words = tuple[str, str]  # Chinese, English


@dataclass(frozen=True, kw_only=True, slots=True)
class Matter:
    """What must be dispatched: category, place and how urgent its first alarm is (None = as catalogued).

    ``nature`` None is the category's. Longitude and latitude are WGS 84, where it is known that well.
    ``passed_over`` are units that were granted to return it. ``maintainer`` is whom the register names for the device
    that the matter is about, by code or name; empty = nobody, or no device's own matter.
    """

    category: str
    cell_id: int | None
    alarm_class: IncidentClass | None = None
    nature: Nature | None = None
    source: Source = "alarm"
    longitude: float | None = None
    latitude: float | None = None
    passed_over: frozenset[int] = frozenset()
    unclaimed_device: str = ""
    late: bool = False
    maintainer: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Alternative:
    """Another unit that could have it, and why it has not."""

    unit: Unit
    reason: str
    reason_en: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """``unit`` None is the unassigned lane; ``due_at`` holds there too: nobody's matter is late as well.

    ``suggestion`` is who gets it, or would if a person agreed: the same as ``unit`` where that goes by itself.
    ``automatic`` tells whether it may go without a person. ``co_units`` handle beside the lead. ``steps`` is 6 where
    the lead unit is the district's: with verification.
    """

    unit: Unit | None
    suggestion: Unit | None = None
    co_units: tuple[int, ...] = ()
    incident_class: IncidentClass
    event_level: EventLevel = 4
    nature: Nature = "alarm"
    limits: Limits = field(default_factory=dict)
    due_at: datetime
    steps: Literal[5, 6] = 5
    automatic: bool = True
    reason: str
    reason_en: str
    alternatives: tuple[Alternative, ...] = ()


def one_line(parts: Sequence[Words]) -> Words:
    """Parts of a reason in one line of each language."""
    return "；".join(zh for zh, _ in parts), "; ".join(en for _, en in parts)
