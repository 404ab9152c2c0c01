"""Incidents that are one matter become one, and come apart again without loss.

The one that stays keeps its owner; it becomes as urgent as the most urgent, as old as the oldest, and due as early
as the earliest of both. Alarms go with it and remember their home; reports stay where they were made and follow
(``root``). docs/merging.md says why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from city.clocks import End
from city.incidents import Change, Happening, Incident, Tell
from city.settings import Settings
from city.storage import clocks, directory, incidents, requests
from city.storage import merging as stored
from city.storage.merging import Merge
from command_centre import gathering
from command_centre.finding import Candidate, Nearby, candidates, nearby
from command_centre.gathering import Weight
from command_centre.linking import link, unlink
from command_centre.pairs import conflict, invalid, own_weight, permitted, with_other
from command_centre.recording import store
from command_centre.splitting import split
from command_centre.workflow import DONE
from command_centre.workflow_steps import withdrawn

__all__ = [
    "Candidate",
    "Nearby",
    "candidates",
    "link",
    "merge",
    "nearby",
    "open_children",
    "root",
    "split",
    "unlink",
]

Connection = AsyncConnection[Any]
_AT_IT = frozenset({"acknowledged", "arrived", "rework"})  # its people are on the way, or there
_RUN_ON = frozenset({"answer", "suspension"})

open_children = incidents.open_children


async def root(connection: Connection, incident_id: int) -> int:
    """The incident that this one's matter goes on in: itself, or the end of what it was merged into."""
    way = await stored.way(connection, incident_id)
    return way[-1] if way else incident_id


async def merge(
    connection: Connection,
    settings: Settings,
    incident_id: int,
    *,
    actor: str,
    role: str,
    unit_id: int | None,
    reason: str,
    fields: Mapping[str, object],
    now: datetime,
    expected_version: int | None = None,
) -> Incident:
    """Merge this incident into ``into``, or what that was merged into itself; returns this one as stored.

    ``co_unit`` says whether its units go on beside the other's; left out, they do when they were at it already.
    Raises ActionError.
    """
    async with connection.transaction():
        to_itself = ("事件不能并入自身", "an incident does not go into itself")
        gone, kept = await with_other(connection, incident_id, fields, "into", to_itself)
        permitted(
            gone,
            "merge",
            actor=actor,
            role=role,
            unit_id=unit_id,
            reason=reason,
            expected_version=expected_version,
        )
        _fit(gone, kept)
        await _free(connection, gone)
        return await _merged(connection, settings, gone, kept, _co_unit(fields), actor, reason.strip(), now)


def _co_unit(fields: Mapping[str, object]) -> bool | None:
    given = fields.get("co_unit")
    if given is not None and not isinstance(given, bool):
        raise invalid("co_unit", "应为true或false", f"true or false, not {given!r}")
    return given


def _fit(gone: Incident, kept: Incident) -> None:
    """Both are at work, of one kind of purpose, and nothing unfinished vanishes into what is finished."""
    if kept.closed_at is not None or kept.state == "suspended":
        raise conflict(
            f"事件{kept.number}处于{kept.state}状态，不能并入",
            f"incident {kept.number} is {kept.state}: nothing can be merged into it now",
            "into",
            of=kept,
        )
    if gone.exercise != kept.exercise:
        raise conflict(
            "演练事件与真实事件不能合并", "a drill and a real incident are never one matter", "into"
        )
    if kept.state in DONE and gone.state not in DONE:
        raise conflict(
            f"事件{kept.number}已处于{kept.state}，而{gone.number}尚未办结；请反向合并，或先返工",
            f"incident {kept.number} is {kept.state} while {gone.number} is not: merge the other way round, "
            "or send it back to work first",
            "into",
            of=kept,
        )
    if kept.unit_id is None and gone.unit_id is not None:
        raise conflict(
            f"事件{kept.number}尚无责任单位，而{gone.number}已有；请反向合并",
            f"incident {kept.number} has no unit and {gone.number} has: merge the other way round",
            "into",
            of=kept,
        )


async def _free(connection: Connection, gone: Incident) -> None:
    if await stored.has_task(connection, gone.id):
        raise conflict(
            f"事件{gone.number}是防汛任务，不能并入其他事件",
            f"incident {gone.number} is a flood task and stays by itself; merge the other into it",
            of=gone,
        )
    if await open_children(connection, gone.id):
        raise conflict(
            f"事件{gone.number}有未结的下级事件，请先取消关联",
            f"incident {gone.number} has open parts: unlink them first",
            of=gone,
        )


async def _merged(
    connection: Connection,
    settings: Settings,
    gone: Incident,
    kept: Incident,
    co_unit: bool | None,
    actor: str,
    text: str,
    now: datetime,
) -> Incident:
    known = await directory.load(connection, settings.zone, settings.urge_after)
    own, others = await own_weight(connection, kept)
    brought = gathering.brought_by(gone, now)
    weight = gathering.together(own, [*others, brought])
    beside = await incidents.co_units(connection, kept.id)
    theirs = [
        unit for unit in (gone.unit_id, *await incidents.co_units(connection, gone.id)) if unit is not None
    ]
    more = [unit for unit in theirs if unit != kept.unit_id and unit not in beside]
    stay = more if (gone.state in _AT_IT if co_unit is None else co_unit) else []
    running = (await clocks.open_of(connection, [gone.id])).get(gone.id, [])
    await stored.remember(
        connection,
        Merge(
            from_id=gone.id,
            into_id=kept.id,
            at=now,
            by=actor,
            before_state=gone.state,
            clocks=[
                {
                    "stage": one.clock.stage,
                    "limit": str(one.clock.limit),
                    "due_at": one.clock.due_at.isoformat(),
                }
                for one in running
                if one.clock.stage not in _RUN_ON
            ],
            brought=gathering.written(brought),
            own=gathering.written(own),
            into_seq=kept.last_seq,
            co_units=stay,
        ),
    )
    await stored.set_opened(connection, kept.id, weight.opened_at)
    moved = await stored.move_alarms(connection, gone.id, kept.id)
    asked = await requests.of_incident(connection, gone.id)
    into: dict[str, object] = {"into": kept.number, "incident": kept.id, "from": gone.state, "alarms": moved}
    left = Change(
        incident=replace(gone, state="merged", merged_into=kept.id, closed_at=now, version=gone.version + 1),
        happenings=(Happening(kind="merged", actor=actor, detail=into, text=text),),
        tells=tuple(Tell(purpose="decided", unit_id=unit) for unit in more if unit not in stay),
        effects=(End(outcome="cancelled"),),
        requests=withdrawn(asked, actor, now),
    )
    joined = _joined(kept, gone, weight, [*beside, *stay] if stay else None, stay, moved, actor, text, now)
    first, _ = await store(connection, known, [left, joined], now, mail=bool(settings.smtp_url))
    return first


def _joined(
    kept: Incident,
    gone: Incident,
    weight: Weight,
    co_units: Sequence[int] | None,
    stay: Sequence[int],
    moved: Sequence[int],
    actor: str,
    text: str,
    now: datetime,
) -> Change:
    """The incident that stays, with what it gained."""
    detail: dict[str, object] = {"from": gone.number, "incident": gone.id, "alarms": list(moved)}
    if weight.incident_class != kept.incident_class:
        detail |= {"class_from": kept.incident_class, "class": weight.incident_class}
    tells = [Tell(purpose="co_order", unit_id=unit) for unit in stay]
    if kept.unit_id is not None:
        tells.insert(0, Tell(purpose="again"))
    return Change(
        incident=replace(
            gathering.bearing(kept, weight),
            told_at=now if kept.unit_id is not None else kept.told_at,
            version=kept.version + 1,
        ),
        happenings=(Happening(kind="merged_in", actor=actor, detail=detail, text=text),),
        tells=tuple(tells),
        effects=gathering.due_again(kept, weight),
        co_units=None if co_units is None else tuple(co_units),
    )
