"""What an incident gains from those merged into it, and loses again when they are split off.

It is as urgent as the most urgent of them, as old as the oldest, due as early as the earliest, and answers to
whoever reported any of them. Pure; the times are aware.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

from city.alarms import IncidentClass
from city.clocks import Effect, Start
from city.incidents import EventLevel, Incident
from command_centre.workflow import DONE


@dataclass(frozen=True, kw_only=True, slots=True)
class Weight:
    """What of an incident counts for the one it is merged into. ``due_at`` None: nobody's time runs any more."""

    incident_class: IncidentClass
    base_class: IncidentClass
    event_level: EventLevel
    reported: bool
    opened_at: datetime
    last_alarm_at: datetime | None
    due_at: datetime | None


Times = ("opened_at", "last_alarm_at", "due_at")


def weight_of(incident: Incident) -> Weight:
    """What it is now, with what was merged into it."""
    return Weight(
        incident_class=incident.incident_class,
        base_class=incident.base_class,
        event_level=incident.event_level,
        reported=incident.reported,
        opened_at=incident.opened_at,
        last_alarm_at=incident.last_alarm_at,
        due_at=incident.due_at,
    )


def brought_by(incident: Incident, now: datetime) -> Weight:
    """What it brings into another: its deadline only while that still runs, since a breach stays with who missed it."""
    weight = weight_of(incident)
    runs = incident.due_at is not None and incident.due_at > now and incident.state not in DONE
    return weight if runs else replace(weight, due_at=None)


def together(own: Weight, others: Iterable[Weight]) -> Weight:
    """The incident with these merged into it."""
    for other in others:
        own = Weight(
            **{name: fold(getattr(own, name), getattr(other, name)) for name, fold in _FOLDS.items()}
        )
    return own


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((time for time in (one, other) if time is not None), default=None)


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((time for time in (one, other) if time is not None), default=None)


def _due(own: datetime | None, other: datetime | None) -> datetime | None:
    return own if own is None else _earlier(own, other)  # work that is done gets no new deadline


_FOLDS: Mapping[str, Callable[[Any, Any], Any]] = {
    "incident_class": min,
    "base_class": min,
    "event_level": min,
    "reported": max,
    "opened_at": _earlier,
    "last_alarm_at": _later,
    "due_at": _due,
}


def alone(current: Weight, own: Weight, others: Iterable[Weight], *, came: bool) -> Weight:
    """What the incident is by itself now. ``own`` is what it was; whatever differs since from both together is its own.

    ``came`` says that alarms, reports or an escalation reached it meanwhile: then its urgency is its own, whatever it
    was before, for a class that several deserve does not fall when one of them goes.
    """
    expected = together(own, others)
    kept = {
        name: getattr(own if getattr(current, name) == getattr(expected, name) else current, name)
        for name in _FOLDS
    }
    if came:
        kept |= {name: getattr(current, name) for name in _FOLDS if name not in Times}
    return Weight(**kept)


def bearing(incident: Incident, weight: Weight) -> Incident:
    """The incident with this weight."""
    return replace(incident, **{name: getattr(weight, name) for name in _FOLDS})


def written(weight: Weight) -> dict[str, object]:
    """As JSON holds it."""
    plain: dict[str, object] = {name: getattr(weight, name) for name in _FOLDS}
    for name in Times:
        time = plain[name]
        plain[name] = time.isoformat() if isinstance(time, datetime) else None
    return plain


def read(plain: Mapping[str, object]) -> Weight:
    """What ``written`` wrote."""
    times = {
        name: None if plain[name] is None else datetime.fromisoformat(str(plain[name])) for name in Times
    }
    return Weight(**cast(dict[str, Any], {**plain, **times}))


def due_again(incident: Incident, weight: Weight) -> tuple[Effect, ...]:
    """Its time to handle, where another deadline weighs on it now than did."""
    runs = incident.closed_at is None and incident.state not in DONE and incident.state != "suspended"
    moved = weight.due_at is not None and weight.due_at != incident.due_at
    return (Start(stage="handle", due_at=weight.due_at),) if runs and moved else ()
