"""What a person reports beside what devices say already: one incident, when a fusion rule takes it for the same.

Without such a rule a report opens an incident of its own, which later alarms may join.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from city.alarms import IncidentClass
from city.directory import Directory
from city.incidents import Happening, Incident
from city.storage import fusions
from command_centre import fusing, triage
from command_centre.recording import store
from command_centre.triage_loop import open_near

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class Report:
    """``text`` is as it was typed; ``incident_class`` None = as catalogued.

    ``reported``: somebody waits for an answer to it. ``detail`` is what the timeline says of it besides.
    """

    category: str
    cell_id: int | None
    incident_class: IncidentClass | None
    exercise: bool
    actor: str
    text: str
    detail: Mapping[str, object] = field(default_factory=dict)
    reported: bool = False


async def join_open(
    connection: Connection, directory: Directory, told: Report, now: datetime, *, mail: bool
) -> Incident | None:
    """The open incident that the report was added to, stored; None = no rule takes it for one of them."""
    in_force = await fusing.in_force(connection, directory)
    heard = [rule for rule in in_force.rules if any(source.by == "report" for source in rule.sources)]
    if told.cell_id is None or not heard:
        return None
    beside = (await fusions.neighbours(connection, [told.cell_id])).get(told.cell_id, frozenset())
    report = triage.NewAlarm(
        id=0,
        category=told.category,
        incident_class=told.incident_class or directory.class_of(told.category),
        raised_at=now,
        exercise=told.exercise,
        cell_id=told.cell_id,
        neighbours=beside,
    )
    near = await open_near(connection, [report])
    candidates = await fusing.with_ground(connection, near, in_force, now)
    verdict = triage.decide(report, candidates, now, directory.join_minutes, in_force)
    if not isinstance(verdict, triage.Join) or not any(fused.rule_id for fused in verdict.fused):
        return None
    (chosen,) = (one for one in candidates if one.incident.id == verdict.incident_id)
    _, change = triage.join(report, chosen, verdict, now)
    detail = {"category": told.category, "area": told.cell_id, **told.detail, "why": verdict.why}
    said = Happening(kind="reported", actor=told.actor, detail=detail, text=told.text)
    incident = replace(
        change.incident,
        reported=change.incident.reported or told.reported,
        version=change.incident.version + 1,
    )
    change = replace(change, incident=incident, happenings=(said, *change.happenings[1:]))
    (stored,) = await store(connection, directory, [change], now, mail=mail)
    return stored
