"""Which clocks of an incident have struck, and who must hear of it: level by level, each step once.

After an outage the highest step that is due is told; those below it are written down as passed, so that nobody gets
four messages at once and the timeline still has every step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from city.clocks import Clock, End, Resume
from city.directory import Directory
from city.incidents import Change, Happening, Incident, Tell
from city.incidents import Purpose as TellPurpose
from city.urging import Purpose, Told, UrgingStep
from command_centre import clocks

_KINDS: dict[Purpose, str] = {
    "remind": "reminded",
    "overdue": "overdue",
    "urge": "urged",
    "escalate": "urged",  # ``escalated`` is a person's word: the class rises
}
_TELLS: dict[Purpose, TellPurpose] = {
    "remind": "remind",
    "overdue": "overdue",
    "urge": "urge",
    "escalate": "urge",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Struck:
    """A clock that spoke: the steps that passed, the last of them told, and the clock afterwards."""

    steps: tuple[UrgingStep, ...]
    clock: Clock
    top: bool  # no step is left


def struck(clock: Clock, incident: Incident, directory: Directory, now: datetime) -> Struck | None:
    """The steps of a running clock that are due at ``now`` and were not told yet; None when there is none."""
    if clock.next_at is None or clock.next_at > now:  # never while it stands still or is over
        return None
    steps = clocks.ladder_of(clock, incident, directory)
    instants = clocks.instants(clock, steps, directory)
    due = [
        number
        for number, instant in enumerate(instants)
        if number >= clock.said and instant is not None and instant <= now
    ]
    if not due:
        return None
    said = due[-1] + 1
    after = replace(clock, said=said, next_at=clocks.first_after(said, instants))
    return Struck(steps=tuple(steps[number] for number in due), clock=after, top=after.next_at is None)


def take(incident: Incident, found: Sequence[Struck], directory: Directory, now: datetime) -> Change:
    """The incident after these clocks struck, with every step on its timeline and the highest of each told."""
    happenings: list[Happening] = []
    tells: list[Tell] = []
    marks: dict[str, Any] = {"version": incident.version + 1}
    for one in found:
        marks |= _marks(incident, one, now)
        for step in one.steps:
            told = step is one.steps[-1]
            happenings.append(_happening(one.clock, step, told=told))
            if told:
                tells += _tells(one.clock, step, directory)
    change = Change(
        incident=replace(incident, **marks),
        happenings=tuple(happenings),
        tells=tuple(dict.fromkeys(tells)),
    )
    over = any(one.clock.stage == "suspension" and one.clock.due_at <= now for one in found)
    return _resumed(change, now) if over and incident.state == "suspended" else change


def _resumed(change: Change, now: datetime) -> Change:
    """A suspension is granted until a day; after it the matter goes on by itself, or it would be forgotten."""
    incident = change.incident
    going = replace(
        incident,
        state=incident.held_state or "dispatched",
        held_state=None,
        awaiting_since=now if incident.acknowledged_at is None else None,
    )
    return replace(
        change,
        incident=going,
        happenings=(
            *change.happenings,
            Happening(kind="resumed", reason="挂账到期 / the suspension is over"),
        ),
        tells=(*change.tells, Tell(purpose="again")),
        effects=(End(stages=("suspension",)), Resume()),
    )


def _marks(incident: Incident, one: Struck, now: datetime) -> dict[str, Any]:
    """What screens show of it: overdue is its time to handle, urged is the unit that does not acknowledge."""
    if one.clock.stage == "handle" and one.clock.due_at <= now and incident.overdue_at is None:
        return {"overdue_at": now}
    levels = sum(step.purpose in ("urge", "escalate") for step in one.steps)
    if one.clock.stage == "acknowledge" and levels:
        return {"urged_at": now, "urged_level": incident.urged_level + levels}
    return {}


def _happening(clock: Clock, step: UrgingStep, *, told: bool) -> Happening:
    return Happening(
        kind=_KINDS[step.purpose],
        detail={
            "stage": clock.stage,
            "level": step.step,
            "at": step.at,
            "due_at": clock.due_at.isoformat(),
            "clock": clock.id,
            "to": list(step.tell) if told else [],
        },
    )


def _tells(clock: Clock, step: UrgingStep, directory: Directory) -> list[Tell]:
    """Somebody for every name of the step; where there is no unit above, the one below hears of it again."""
    found = []
    for told in step.tell:
        unit_id = _unit(told, clock.unit_id, directory)
        if unit_id is not None:
            purpose: TellPurpose = "supervise" if told == "supervisor" else _TELLS[step.purpose]
            found.append(Tell(purpose=purpose, unit_id=unit_id, to_lead=told != "handler"))
    return found


def _unit(told: Told, unit_id: int | None, directory: Directory) -> int | None:
    """The unit to tell; nobody's time is the centre's."""
    centre = clocks.centre_of(directory)
    unit = directory.units.get(unit_id) if unit_id is not None else None
    if unit is None:
        return centre
    above = directory.unit_by_code(unit.parent) if unit.parent else None
    if told == "parent_lead":
        return above.id if above is not None else unit.id
    if told in ("district", "supervisor"):
        return centre if centre is not None else _topmost(unit.id, directory)
    return unit.id


def _topmost(unit_id: int, directory: Directory) -> int:
    """The end of the line above a unit; a circle of parents ends where it began."""
    seen = {unit_id}
    while (parent := directory.units[unit_id].parent) is not None:
        above = directory.unit_by_code(parent)
        if above is None or above.id in seen:
            break
        unit_id = above.id
        seen.add(unit_id)
    return unit_id
