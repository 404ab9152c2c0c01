"""Who has it, why, and by when: the responsibility list looked up for a category and a place.

The list is read category first, place second: what it is decides which trade (gas is the gas company's
wherever it leaks), where it is decides which crew of that trade. Among entries for the longest matching
category the smallest place wins: cell, then community, then street, then the whole district.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from city.alarms import IncidentClass
from city.directory import Directory, Place
from city.incidents import Change, Happening, Incident, Tell, more_urgent
from city.units import Clock, Responsibility, Unit
from city.worktime import add_working_minutes

UNKNOWN_LIMIT_MINUTES = 60  # a category that nobody catalogued: an hour, and the reason says so


@dataclass(frozen=True, kw_only=True, slots=True)
class Matter:
    """What must be dispatched: category, place and how urgent its first alarm is (None = as catalogued)."""

    category: str
    cell_id: int | None
    alarm_class: IncidentClass | None = None
    unclaimed_device: str = ""
    late: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """``unit`` None is the unassigned lane. ``due_at`` holds there too: nobody's matter is late as well."""

    unit: Unit | None
    incident_class: IncidentClass
    due_at: datetime
    reason: str
    reason_en: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Limit:
    minutes: int
    clock: Clock


def decide(matter: Matter, directory: Directory, now: datetime) -> Decision:
    """The lead unit with its deadline counted from ``now``, or the lane with what is missing."""
    places = _places(matter, directory)
    matching = _ranked(matter.category, places, directory.responsibilities)
    entry = next((one for one in matching if one.unit_id in directory.active), None)
    limit = _limit(matter.category, entry, directory)
    classes = [directory.class_of(matter.category)]
    classes += [found for found in (matter.alarm_class, entry and entry.incident_class) if found]
    reason, reason_en = _reason(matter, places, directory, entry, matching)
    incident_class = classes[0]
    for other in classes[1:]:
        incident_class = more_urgent(incident_class, other)
    return Decision(
        unit=directory.units[entry.unit_id] if entry else None,
        incident_class=incident_class,
        due_at=deadline(now, limit.minutes, limit.clock, directory),
        reason=reason,
        reason_en=reason_en,
    )


def opening(
    matter: Matter,
    decision: Decision,
    now: datetime,
    *,
    temporary_id: int = 0,
    actor: str,
    source: Literal["alarm", "person", "system"],
    title: str,
    detail: Mapping[str, object],
    text: str = "",
    last_alarm_at: datetime | None = None,
    exercise: bool = False,
    position: tuple[float, float] | None = None,
) -> Change:
    """A new incident, its unit told or in the lane. ``temporary_id`` is 0 or less: storing numbers it."""
    unit = decision.unit
    incident = Incident(
        id=temporary_id,
        state="dispatched" if unit else "filed",
        incident_class=decision.incident_class,
        base_class=decision.incident_class,
        category=matter.category,
        title=title,
        area_id=matter.cell_id,
        unit_id=unit.id if unit else None,
        reason=decision.reason,
        reason_en=decision.reason_en,
        source=source,
        due_at=decision.due_at,
        opened_at=now,
        last_alarm_at=last_alarm_at,
        told_at=now if unit else None,
        awaiting_since=now,
        exercise=exercise,
    )
    due = decision.due_at.isoformat()
    given: dict[str, object] = {"reason_en": decision.reason_en, "due_at": due}
    if unit is not None:
        given["unit"] = unit.code
    return Change(
        incident=incident,
        happenings=(
            Happening(
                kind="opened", actor=actor, detail={**detail, "class": decision.incident_class}, text=text
            ),
            Happening(kind="dispatched" if unit else "unassigned", reason=decision.reason, detail=given),
        ),
        tells=(Tell(purpose="order"),) if unit else (),
        position=position,
    )


def leaving_lane(incident: Incident, decision: Decision, now: datetime) -> Change | None:
    """The incident dispatched, once the completed list names a unit for it; None while nobody has it.

    As when a person dispatches it, the unit's clock begins now; the class does not fall.
    """
    unit = decision.unit
    if unit is None:
        return None
    incident_class = more_urgent(incident.incident_class, decision.incident_class)
    reason = f"清单已补充，自动派遣；{decision.reason}"
    reason_en = f"dispatched by itself after the list was completed; {decision.reason_en}"
    dispatched = replace(
        incident,
        state="dispatched",
        incident_class=incident_class,
        base_class=more_urgent(incident.base_class, decision.incident_class),
        unit_id=unit.id,
        reason=reason,
        reason_en=reason_en,
        due_at=decision.due_at,
        overdue_at=None,
        acknowledged_at=None,
        acknowledged_by=None,
        awaiting_since=now,
        told_at=now,
        urged_at=None,
        urged_level=0,
        version=incident.version + 1,
    )
    detail = {
        "unit": unit.code,
        "from": incident.state,
        "class": incident_class,
        "due_at": decision.due_at.isoformat(),
        "reason_en": reason_en,
    }
    return Change(
        incident=dispatched,
        happenings=(Happening(kind="dispatched", reason=reason, detail=detail),),
        tells=(Tell(purpose="order"),),
    )


def matter_of(incident: Incident) -> Matter:
    """What an incident that is already open is about, to decide on it again."""
    return Matter(category=incident.category, cell_id=incident.area_id, alarm_class=incident.base_class)


def due_for(
    category: str, unit_id: int | None, cell_id: int | None, directory: Directory, now: datetime
) -> datetime:
    """The deadline when a person chose the unit: by its own entry if it has one, else the category's."""
    places = _places(Matter(category=category, cell_id=cell_id), directory)
    own = [one for one in _ranked(category, places, directory.responsibilities) if one.unit_id == unit_id]
    limit = _limit(category, own[0] if own else None, directory)
    return deadline(now, limit.minutes, limit.clock, directory)


def deadline(start: datetime, minutes: int, clock: Clock, directory: Directory) -> datetime:
    """Natural minutes run through the night; working minutes rest with the people."""
    if clock == "natural":
        return start + timedelta(minutes=minutes)
    return add_working_minutes(start, minutes, directory.calendar, directory.zone)


def _places(matter: Matter, directory: Directory) -> Sequence[Place]:
    return directory.places.get(matter.cell_id, ()) if matter.cell_id is not None else ()


def _ranked(
    category: str, places: Sequence[Place], responsibilities: Sequence[Responsibility]
) -> list[Responsibility]:
    """The entries that cover the matter, the most specific first."""
    nearness = {place.area_id: rank for rank, place in enumerate(places)}
    whole_district = len(places)
    ranked = []
    for entry in responsibilities:
        if category != entry.category and not category.startswith(entry.category + "."):
            continue
        rank = whole_district if entry.area_id is None else nearness.get(entry.area_id)
        if rank is not None:
            ranked.append((-len(entry.category), rank, entry))
    ranked.sort(key=lambda found: found[:2])
    return [entry for _, _, entry in ranked]


def _limit(category: str, entry: Responsibility | None, directory: Directory) -> _Limit:
    known = directory.category(category)
    minutes = known.limit_minutes if known else UNKNOWN_LIMIT_MINUTES
    clock: Clock = known.clock if known else "natural"
    if entry is not None:
        minutes = entry.limit_minutes or minutes
        clock = entry.clock or clock
    return _Limit(minutes=minutes, clock=clock)


def _reason(
    matter: Matter,
    places: Sequence[Place],
    directory: Directory,
    entry: Responsibility | None,
    matching: Sequence[Responsibility],
) -> tuple[str, str]:
    """Chinese and English, with every doubt a dispatcher should know of."""
    name, name_en = _category_names(matter.category, directory)
    where, where_en = _where(matter, places)
    if entry is not None:
        unit = directory.units[entry.unit_id]
        limit = _limit(matter.category, entry, directory)
        area, area_en = _area_names(entry, places)
        clock, clock_en = ("工作", "working") if limit.clock == "working" else ("自然", "natural")
        reason = f"职责清单：{entry.category} × {area} → {unit.name}，时限{limit.minutes}分钟（{clock}时）"
        reason_en = (
            f"responsibility list: {entry.category} x {area_en} -> {unit.name_en or unit.name}, "
            f"{limit.minutes} {clock_en} minutes"
        )
    else:
        reason = f"{where}没有单位负责{name}（{matter.category}），请人工派遣并补充职责清单"
        reason_en = (
            f"no unit is responsible for {name_en} ({matter.category}) {where_en}; "
            "dispatch by hand and complete the responsibility list"
        )
    skipped = [
        directory.units.get(one.unit_id) for one in matching[: matching.index(entry) if entry else None]
    ]
    for doubt, doubt_en in _doubts(matter, places, directory, [unit for unit in skipped if unit is not None]):
        reason += f"；{doubt}"
        reason_en += f"; {doubt_en}"
    return reason, reason_en


def _doubts(
    matter: Matter, places: Sequence[Place], directory: Directory, skipped: Sequence[Unit]
) -> list[tuple[str, str]]:
    doubts = [
        (f"清单中的{unit.name}已停用", f"{unit.name_en or unit.name} is in the list but no longer active")
        for unit in skipped
    ]
    if matter.unclaimed_device:
        doubts.append(
            (f"设备{matter.unclaimed_device}未认领", f"device {matter.unclaimed_device} is unclaimed")
        )
    if matter.cell_id is not None and len(places) <= 1:
        doubts.append(
            ("网格不在区划内，位置未核实", "the cell is not on the district's map: place unverified")
        )
    if directory.category(matter.category) is None:
        doubts.append(
            (f"类别{matter.category}不在目录中", f"category {matter.category} is not in the catalogue")
        )
    if matter.late:
        doubts.append(("报警数据迟到", "rests on late data"))
    return doubts


def _category_names(code: str, directory: Directory) -> tuple[str, str]:
    known = directory.category(code)
    return (known.name, known.name_en or known.name) if known else (code, code)


def _where(matter: Matter, places: Sequence[Place]) -> tuple[str, str]:
    """The street when there is one (there an entry is usually missing), else the nearest place."""
    if not places:
        if matter.cell_id is None:
            return "位置未知，", "anywhere: the place is unknown"
        return "网格未知，", "there: the cell is unknown"
    place = next((one for one in places if one.layer == "street"), places[0])
    return place.name, f"in {place.name_en or place.name}"


def _area_names(entry: Responsibility, places: Sequence[Place]) -> tuple[str, str]:
    for place in places:
        if place.area_id == entry.area_id:
            return place.name, place.name_en or place.name
    return "全区", "the whole district"
