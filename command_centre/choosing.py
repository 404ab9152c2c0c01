"""Which unit gets a matter: the list's, unless it is not there, full, or has sent it back; and who stands in then.

The entries of the responsibility list are tried in their order. Where the nearest station goes (fire), sister
stations stand beside the entry's own. A unit that cannot take it is followed by its fallback, and that one's, until
somebody can. Nobody's office hours and nobody's workload keep class A from the unit that is named for it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import asin, cos, radians, sin, sqrt

from city.directory import Directory
from city.responsibilities import above, in_force
from city.rosters import begins_again
from city.units import Responsibility, Unit
from command_centre.matters import Alternative, Matter, Words

_EARTH_KM = 6371.0088
_MOST_SISTERS_SAID = 3


@dataclass(kw_only=True, slots=True)
class Choice:
    """``entry`` decided it, None when nobody can take it. ``notes`` are the steps that led away from its unit.

    ``beside`` is class A's own unit, off duty, which is told beside the one that stands in.
    """

    unit: Unit | None = None
    entry: Responsibility | None = None
    beside: Unit | None = None
    notes: list[Words] = field(default_factory=list)
    alternatives: list[Alternative] = field(default_factory=list)


def choose(
    matter: Matter,
    entries: Sequence[Responsibility],
    directory: Directory,
    now: datetime,
    *,
    urgent: bool,
) -> Choice:
    """The first unit that can take it along ``entries``, the most specific first."""
    choice = Choice()
    if matter.maintainer and _maintainer(choice, matter, directory, now, urgent):
        return choice
    for entry in entries:
        unit = directory.units.get(entry.unit_id)
        if unit is None:
            continue
        if unit.id not in directory.active:
            _reject(choice, unit, _GONE)
            continue
        chosen = _nearest(choice, entry, unit, matter, directory, now, urgent) or _stand_in(
            choice, unit, matter, directory, now, urgent
        )
        if chosen is not None:
            choice.unit, choice.entry = chosen, entry
            return choice
    return _full_but_there(choice, entries, matter, directory, now)


def _maintainer(choice: Choice, matter: Matter, directory: Directory, now: datetime, urgent: bool) -> bool:
    """Whoever looks after the device has what is wrong with it, before the list is asked; False when they cannot."""
    units = (directory.units[one] for one in sorted(directory.active))
    unit = next((one for one in units if matter.maintainer in (one.code, one.name, one.name_en)), None)
    if unit is None:
        return False
    why = obstacle(unit, matter, directory, now, urgent=urgent)
    if why is not None:
        _reject(choice, unit, why)
        return False
    choice.unit = unit
    return True


def first_choice(
    matter: Matter, entries: Sequence[Responsibility], directory: Directory, now: datetime
) -> tuple[Unit, Responsibility] | None:
    """Whom the list names before anybody stands in, with the entry; None when it names nobody who works."""
    for entry in entries:
        unit = directory.units.get(entry.unit_id)
        if unit is None or unit.id not in directory.active:
            continue
        return _nearest(Choice(), entry, unit, matter, directory, now, urgent=True) or unit, entry
    return None


def fallbacks(unit: Unit, directory: Directory) -> Iterator[Unit | None]:
    """Who stands in for a unit, one after the other; None = the chain comes back to a unit it has had."""
    seen = {unit.code}
    while unit.fallback and (stand_in := directory.unit_by_code(unit.fallback)) is not None:
        if stand_in.code in seen:
            yield None
            return
        seen.add(stand_in.code)
        yield stand_in
        unit = stand_in


def entry_of_unit(
    unit_id: int | None, entries: Sequence[Responsibility], category: str, directory: Directory
) -> Responsibility | None:
    """The entry whose limits hold for this unit: its own, else that of the unit it stands in for."""
    own = next((entry for entry in entries if entry.unit_id == unit_id), None)
    if own is not None or unit_id is None:
        return own
    return next((entry for entry in entries if _stands_in_for(unit_id, entry, category, directory)), None)


def obstacle(
    unit: Unit, matter: Matter, directory: Directory, now: datetime, *, urgent: bool = False
) -> Words | None:
    """Why this unit cannot take it now; ``urgent`` leaves aside how much it has to do."""
    if unit.id not in directory.active:
        return _GONE
    if unit.id in matter.passed_over:
        return "已退回此事", "has returned it"
    if not directory.on_duty(unit.id, now):
        return _off_duty(unit, directory, now)
    if not urgent and unit.capacity is not None and directory.open_work.get(unit.id, 0) >= unit.capacity:
        return f"在办已满{unit.capacity}件", f"has the {unit.capacity} incidents it can work on"
    return None


def _can(unit: Unit, matter: Matter, directory: Directory, now: datetime, urgent: bool) -> bool:
    """Whether there is no obstacle, without the words for it, which cost a look at the days to come."""
    full = unit.capacity is not None and directory.open_work.get(unit.id, 0) >= unit.capacity
    return (
        unit.id in directory.active
        and unit.id not in matter.passed_over
        and (urgent or not full)
        and directory.on_duty(unit.id, now)
    )


def kilometres(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Along a great circle, between two pairs of longitude and latitude in degrees."""
    (lon, lat), (other_lon, other_lat) = one, other
    half = sin(radians(other_lat - lat) / 2) ** 2
    half += cos(radians(lat)) * cos(radians(other_lat)) * sin(radians(other_lon - lon) / 2) ** 2
    return 2 * _EARTH_KM * asin(min(1.0, sqrt(half)))


_GONE: Words = ("已停用", "is in the list but no longer active")


def _stand_in(
    choice: Choice, unit: Unit, matter: Matter, directory: Directory, now: datetime, urgent: bool
) -> Unit | None:
    """The entry's unit, or the first of its fallbacks that can; class A goes to the unit itself rather than nowhere."""
    why = obstacle(unit, matter, directory, now, urgent=urgent)
    if why is None:
        return unit
    _reject(choice, unit, why)
    if unit.fallback and directory.unit_by_code(unit.fallback) is None:
        choice.notes.append(
            (f"替补单位{unit.fallback}不在用", f"its fallback {unit.fallback} is no working unit")
        )
    for other in fallbacks(unit, directory):
        if other is None:
            choice.notes.append(
                (f"{unit.name}的替补单位成环", f"the fallbacks of {_en(unit)} go round in a circle")
            )
            break
        against = obstacle(other, matter, directory, now, urgent=urgent)
        if against is None:
            choice.notes.append((f"由{other.name}替补", f"{_en(other)} stands in"))
            if urgent and unit.id not in matter.passed_over:
                choice.beside = unit
                choice.notes.append((f"同时通知{unit.name}（A类）", f"{_en(unit)} is told too: class A"))
            return other
        _reject(choice, other, against)
    if urgent and unit.id not in matter.passed_over:
        choice.notes.append(
            (
                f"A类且无替补单位在岗，仍派{unit.name}并通知",
                f"class A and nobody stands in: {_en(unit)} has it and is told",
            )
        )
        choice.alternatives = [other for other in choice.alternatives if other.unit.id != unit.id]
        return unit
    return None


def _stands_in_for(unit_id: int, entry: Responsibility, category: str, directory: Directory) -> bool:
    unit, other = directory.units.get(entry.unit_id), directory.units.get(unit_id)
    if unit is None or other is None:
        return False
    if any(found is not None and found.id == unit_id for found in fallbacks(unit, directory)):
        return True
    sisters = bool(unit.kind) and (other.kind, other.tier) == (unit.kind, unit.tier)
    return sisters and directory.wants_nearest(category)


def _full_but_there(
    choice: Choice,
    entries: Sequence[Responsibility],
    matter: Matter,
    directory: Directory,
    now: datetime,
) -> Choice:
    """When everybody is full, the list's own unit has it: work is shifted to others, never left to nobody."""
    for entry in entries:
        unit = directory.units.get(entry.unit_id)
        if unit is not None and _can(unit, matter, directory, now, urgent=True):
            choice.unit, choice.entry = unit, entry
            choice.alternatives = [other for other in choice.alternatives if other.unit.id != unit.id]
            choice.notes.append(
                (
                    f"无人可替补，仍派{unit.name}",
                    f"nobody can stand in: {_en(unit)} has it all the same",
                )
            )
            break
    return choice


def _nearest(
    choice: Choice,
    entry: Responsibility,
    unit: Unit,
    matter: Matter,
    directory: Directory,
    now: datetime,
    urgent: bool,
) -> Unit | None:
    """The nearest of the entry's unit and its sisters that can take it; None where nearness does not decide."""
    if matter.longitude is None or matter.latitude is None or not directory.wants_nearest(matter.category):
        return None
    place = (matter.longitude, matter.latitude)
    if not unit.kind or unit.longitude is None:
        return None
    named = {one.unit_id for code in above(matter.category) for one in directory.named_for(code)
             if in_force(one, now)}  # fmt: skip
    sisters = [
        (kilometres(place, (one.longitude, one.latitude)), one)
        for one in (directory.units[unit_id] for unit_id in named | {unit.id} if unit_id in directory.active)
        if (one.kind, one.tier) == (unit.kind, unit.tier) and one.longitude is not None and one.latitude is not None
    ]  # fmt: skip
    if len(sisters) < 2:
        return None
    sisters.sort(key=lambda found: (found[0], found[1].id))
    for number, (distance, one) in enumerate(sisters):
        if number < _MOST_SISTERS_SAID:
            why = obstacle(one, matter, directory, now, urgent=urgent)
            if why is not None:
                _reject(choice, one, why)
                continue
        elif not _can(one, matter, directory, now, urgent):
            continue
        far = f"{distance:.1f}"
        nearest = (
            f"{len(sisters)}个同类站点中最近的可派单位：{one.name}，{far}公里",
            f"nearest of {len(sisters)} stations that can go: {_en(one)}, {far} km",
        )
        choice.notes.append(nearest)
        for further, other in sisters[number + 1 : number + 1 + _MOST_SISTERS_SAID]:
            choice.alternatives.append(
                Alternative(
                    unit=other, reason=f"较远，{further:.1f}公里", reason_en=f"further: {further:.1f} km"
                )
            )
        return one
    return None


def _reject(choice: Choice, unit: Unit, why: Words) -> None:
    if any(other.unit.id == unit.id for other in choice.alternatives):
        return
    choice.alternatives.append(Alternative(unit=unit, reason=why[0], reason_en=why[1]))
    listed = "清单中的" if why is _GONE else ""
    choice.notes.append((f"{listed}{unit.name}{why[0]}", f"{_en(unit)} {why[1]}"))


def _off_duty(unit: Unit, directory: Directory, now: datetime) -> Words:
    again = begins_again(directory.duty[unit.id], now, directory.calendar, directory.zone)
    if again is None:
        return "不在班，两周内无人值班", "is off duty, with nobody named for the next two weeks"
    local = f"{again.astimezone(directory.zone):%m-%d %H:%M}"
    return f"不在班，{local}到班", f"is off duty until {local}"


def _en(unit: Unit) -> str:
    return unit.name_en or unit.name
