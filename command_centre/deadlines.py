"""Which clocks of an incident have struck: overdue once, urging level by level until acknowledged."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from city.incidents import Change, Happening, Incident, Tell

URGE_LEVELS = 2  # 1 = the unit's own lead, 2 = the lead of the unit above (or again its own)
_RUNNING = ("filed", "dispatched", "acknowledged")  # handled in time is in time, however late it is archived


@dataclass(frozen=True, kw_only=True, slots=True)
class Overdue:
    """Its deadline passed; said once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Urge:
    """Nobody acknowledged for ``level`` times the waiting time."""

    level: int


Step = Overdue | Urge


def steps(incident: Incident, now: datetime, urge_after: timedelta) -> Sequence[Step]:
    """What is due at ``now``; after an outage the highest level alone: nobody is urged twice at once."""
    found: list[Step] = []
    if incident.state not in _RUNNING:
        return found
    if incident.due_at is not None and incident.due_at <= now and incident.overdue_at is None:
        found.append(Overdue())
    waiting = incident.awaiting_since
    if incident.state == "dispatched" and incident.acknowledged_at is None and waiting is not None:
        level = min(URGE_LEVELS, (now - waiting) // urge_after)
        if level > incident.urged_level:
            found.append(Urge(level=level))
    return found


def take(incident: Incident, found: Sequence[Step], now: datetime, unit_above: int | None) -> Change:
    """The incident after these steps. ``unit_above`` is the id of its unit's parent, where there is one."""
    happenings: list[Happening] = []
    tells: list[Tell] = []
    for step in found:
        if isinstance(step, Overdue):
            due = incident.due_at.isoformat() if incident.due_at else None
            incident = replace(incident, overdue_at=now)
            happenings.append(Happening(kind="overdue", detail={"due_at": due}))
            tells.append(Tell(purpose="overdue", to_lead=True))
        else:
            incident = replace(incident, urged_at=now, urged_level=step.level)
            happenings.append(Happening(kind="urged", detail={"level": step.level}))
            above = unit_above if step.level > 1 else None
            tells.append(Tell(purpose="urge", to_lead=True, unit_id=above))
    if incident.unit_id is None:
        tells = []
    return Change(
        incident=replace(incident, version=incident.version + 1),
        happenings=tuple(happenings),
        tells=tuple(tells),
    )
