"""Who has it, why, and by when: the responsibility list looked up for a category and a place.

The list is read category first, place second (``responsibility.ranked``); who is on duty, full or nearest is
``choosing``; how long each stage may take is ``limits``. What is decided here is whether it goes by itself, and what
the incident and its clocks are when it opens or leaves the lane.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal

from city.alarms import IncidentClass
from city.clocks import End, Limits, Stage, Start
from city.directory import Directory, Place
from city.incidents import Change, Happening, Incident, State, Tell, more_urgent
from city.units import Responsibility, Unit
from city.worktime import deadline
from command_centre import dispatch_words, limits
from command_centre.choosing import Choice, choose, entry_of_unit
from command_centre.clocks import windows_of
from command_centre.matters import Alternative, Decision, Matter, Source
from command_centre.responsibility import ranked


def decide(matter: Matter, directory: Directory, now: datetime) -> Decision:
    """The lead unit with its deadline counted from ``now``, or the lane with what is missing."""
    places = _places(matter.cell_id, directory)
    entries = ranked(matter.category, places, directory.responsibilities, now)
    named = next((entry for entry in entries if entry.unit_id in directory.active), None)
    urgent = _class(matter, named, directory) == "A"
    choice = choose(matter, entries, directory, now, urgent=urgent)
    deciding = choice.entry or named
    incident_class = _class(matter, deciding, directory)
    category = directory.category(matter.category)
    nature = matter.nature or (category.nature if category else "alarm")
    within = limits.limits_of(category, deciding, incident_class, nature, matter.source, directory)
    automatic = _by_itself(matter, deciding, directory)
    why = dispatch_words.reason(matter, places, directory, choice, within["handle"])
    if not automatic:
        why = dispatch_words.not_by_itself(matter, directory, choice.unit, why)
    unit = choice.unit if automatic else None
    return Decision(
        unit=unit,
        suggestion=choice.unit,
        co_units=_beside(choice, directory),
        incident_class=incident_class,
        event_level=category.event_level if category else 4,
        nature=nature,
        limits=within,
        due_at=deadline(now, within["handle"], windows_of(unit.id if unit else None, directory)),
        steps=steps_of(choice.unit),
        automatic=automatic,
        reason=why[0],
        reason_en=why[1],
        alternatives=tuple(choice.alternatives),
    )


# Long because an incident has many parts; nothing in it goes two ways.
def opening(
    matter: Matter,
    decision: Decision,
    now: datetime,
    *,
    temporary_id: int = 0,
    actor: str,
    source: Source,
    title: str,
    detail: Mapping[str, object],
    text: str = "",
    last_alarm_at: datetime | None = None,
    exercise: bool = False,
    registered: bool = False,
    position: tuple[float, float] | None = None,
) -> Change:
    """A new incident, its unit told or in the lane. ``temporary_id`` is 0 or less: storing numbers it.

    ``registered``: what does not go by itself waits first for somebody who says that it is a matter at all.
    """
    unit = decision.unit
    waits: State = "registered" if registered and not decision.automatic else "filed"
    incident = Incident(
        id=temporary_id,
        state="dispatched" if unit else waits,
        incident_class=decision.incident_class,
        base_class=decision.incident_class,
        category=matter.category,
        title=title,
        area_id=matter.cell_id,
        unit_id=unit.id if unit else None,
        reason=decision.reason,
        reason_en=decision.reason_en,
        source=source,
        nature=decision.nature,
        event_level=decision.event_level,
        steps=steps_of(unit),
        longitude=matter.longitude,
        latitude=matter.latitude,
        reported=source == "report",
        collected_by=actor if source in ("report", "person") else None,
        dispatched_at=now if unit else None,
        due_at=decision.due_at,
        opened_at=now,
        last_alarm_at=last_alarm_at,
        told_at=now if unit else None,
        awaiting_since=now,
        exercise=exercise,
    )
    given: dict[str, object] = {"reason_en": decision.reason_en, "due_at": decision.due_at.isoformat()}
    if decision.suggestion is not None:
        given["unit" if unit else "suggestion"] = decision.suggestion.code
    first: Stage = "acknowledge" if unit else "accept" if waits == "registered" else "dispatch"
    opened = {**detail, "class": decision.incident_class}
    return Change(
        incident=incident,
        happenings=(
            Happening(kind="opened", actor=actor, detail=opened, text=text),
            Happening(kind="dispatched" if unit else "unassigned", reason=decision.reason, detail=given),
        ),
        tells=_orders(decision),
        effects=(Start(stage="handle", due_at=decision.due_at), Start(stage=first)),
        co_units=decision.co_units if unit and decision.co_units else None,
        position=position,
    )


def leaving_lane(incident: Incident, decision: Decision, now: datetime) -> Change | None:
    """The incident dispatched, once there is a unit for it; None while nobody has it.

    As when a person dispatches it, the unit's clock begins now; the class does not fall.
    """
    unit = decision.unit
    if unit is None:
        return None
    incident_class = more_urgent(incident.incident_class, decision.incident_class)
    reason = f"再次核对后自动派遣；{decision.reason}"
    reason_en = f"dispatched by itself when the lane was looked at again; {decision.reason_en}"
    dispatched = replace(
        incident,
        state="dispatched",
        incident_class=incident_class,
        base_class=more_urgent(incident.base_class, decision.incident_class),
        unit_id=unit.id,
        reason=reason,
        reason_en=reason_en,
        steps=steps_of(unit),
        dispatched_at=now,
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
        tells=_orders(decision),
        effects=(
            End(stages=("dispatch", "accept")),
            Start(stage="handle", due_at=decision.due_at),
            Start(stage="acknowledge"),
        ),
        co_units=decision.co_units or None,
    )


def matter_of(incident: Incident, passed_over: frozenset[int] = frozenset()) -> Matter:
    """What an incident that is already open is about, to decide on it again."""
    return Matter(
        category=incident.category,
        cell_id=incident.area_id,
        alarm_class=incident.base_class,
        nature=incident.nature,
        source=incident.source,
        longitude=incident.longitude,
        latitude=incident.latitude,
        passed_over=passed_over,
    )


def limits_for(incident: Incident, directory: Directory) -> Limits:
    """Its stages' limits as list and catalogue say for the unit that has it."""
    at = incident.dispatched_at or incident.opened_at
    entry = _entry_for(incident.category, incident.unit_id, incident.area_id, directory, at)
    category = directory.category(incident.category)
    return limits.limits_of(
        category, entry, incident.incident_class, incident.nature, incident.source, directory
    )


def due_for(
    category: str,
    unit_id: int | None,
    cell_id: int | None,
    directory: Directory,
    now: datetime,
    incident_class: IncidentClass | None = None,
) -> datetime:
    """The deadline when a person chose the unit: by its own entry if it has one, else the category's."""
    entry = _entry_for(category, unit_id, cell_id, directory, now)
    known = directory.category(category)
    within = limits.limits_of(
        known,
        entry,
        incident_class or directory.class_of(category),
        known.nature if known else "alarm",
        "alarm",
        directory,
    )
    return deadline(now, within["handle"], windows_of(unit_id, directory))


def steps_of(unit: Unit | None) -> Literal[5, 6]:
    """Six with verification where the district's own unit leads; five in street and community, and in the lane."""
    return 6 if unit is not None and unit.tier == "district" else 5


def _orders(decision: Decision) -> tuple[Tell, ...]:
    if decision.unit is None:
        return ()
    return (
        Tell(purpose="order"),
        *(Tell(purpose="co_order", unit_id=unit_id) for unit_id in decision.co_units),
    )


def _class(matter: Matter, entry: Responsibility | None, directory: Directory) -> IncidentClass:
    """The most urgent of the catalogue's, the alarm's and the entry's."""
    found = directory.class_of(matter.category)
    for other in (matter.alarm_class, entry.incident_class if entry else None):
        found = more_urgent(found, other) if other else found
    return found


def _by_itself(matter: Matter, entry: Responsibility | None, directory: Directory) -> bool:
    """Whether it may go without a person, by the entry's word or else the category's."""
    category = directory.category(matter.category)
    allowed = entry.automatic if entry is not None else None
    allowed = allowed or (category.automatic if category is not None else "alarms")
    # Who opens an incident at the centre has decided that it is one; what people report waits for that.
    return allowed == "all" or (allowed == "alarms" and matter.source != "report")


def _beside(choice: Choice, directory: Directory) -> tuple[int, ...]:
    """Who handles beside the lead: as the entry says, and class A's own unit when another stands in for it."""
    if choice.unit is None or choice.entry is None:
        return ()
    wanted = [*choice.entry.co_unit_ids, *([choice.beside.id] if choice.beside else [])]
    return tuple(dict.fromkeys(one for one in wanted if one in directory.active and one != choice.unit.id))


def _entry_for(
    category: str, unit_id: int | None, cell_id: int | None, directory: Directory, at: datetime
) -> Responsibility | None:
    entries = ranked(category, _places(cell_id, directory), directory.responsibilities, at)
    return entry_of_unit(unit_id, entries, category, directory)


def _places(cell_id: int | None, directory: Directory) -> Sequence[Place]:
    return directory.places.get(cell_id, ()) if cell_id is not None else ()


__all__ = [
    "Alternative",
    "Decision",
    "Matter",
    "decide",
    "due_for",
    "leaving_lane",
    "limits_for",
    "matter_of",
    "opening",
    "steps_of",
]
