"""A large event and its parts: each part keeps its own unit and deadline, the whole is closed last."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from city.incidents import Change, Happening, Incident
from city.settings import Settings
from city.storage import directory
from city.storage import merging as stored
from command_centre.pairs import conflict, locked_together, permitted, there, with_other
from command_centre.recording import store

Connection = AsyncConnection[Any]


async def link(
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
    """Make it a part of the incident ``parent``; where that was merged, of what it was merged into."""
    async with connection.transaction():
        to_itself = ("事件不能属于自身", "an incident is no part of itself")
        part, whole = await with_other(connection, incident_id, fields, "parent", to_itself)
        permitted(
            part,
            "link",
            actor=actor,
            role=role,
            unit_id=unit_id,
            reason=reason,
            expected_version=expected_version,
        )
        await _fit(connection, part, whole)
        linked = replace(part, parent_id=whole.id, version=part.version + 1)
        return await _both(connection, settings, linked, whole, "linked", actor, reason, now)


async def unlink(
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
    """It stands by itself again."""
    async with connection.transaction():
        whole_id = await stored.parent_of(connection, incident_id)
        locked = await locked_together(
            connection, [incident_id] if whole_id is None else [incident_id, whole_id]
        )
        part = there(locked, incident_id)
        permitted(
            part,
            "unlink",
            actor=actor,
            role=role,
            unit_id=unit_id,
            reason=reason,
            expected_version=expected_version,
        )
        if part.parent_id is None or part.parent_id not in locked:
            raise conflict(
                f"事件{part.number}未关联上级", f"incident {part.number} is no part of another one"
            )
        alone = replace(part, parent_id=None, version=part.version + 1)
        return await _both(
            connection, settings, alone, locked[part.parent_id], "unlinked", actor, reason, now
        )


async def _fit(connection: Connection, part: Incident, whole: Incident) -> None:
    """One level, both open, no circle."""
    if part.parent_id == whole.id:
        raise conflict(
            f"已属于事件{whole.number}",
            f"incident {part.number} is a part of {whole.number} already",
            "parent",
        )
    if part.parent_id is not None:
        raise conflict(
            f"事件{part.number}已属于另一事件，请先取消关联",
            f"incident {part.number} is a part of another one: unlink it first",
            "parent",
            of=part,
        )
    if whole.closed_at is not None:
        raise conflict(
            f"事件{whole.number}处于{whole.state}状态，不能再关联",
            f"incident {whole.number} is {whole.state}: it takes no more parts",
            "parent",
            of=whole,
        )
    if whole.parent_id is not None:
        raise conflict(
            f"事件{whole.number}本身属于另一事件，请关联到上级",
            f"incident {whole.number} is itself a part: link to what it belongs to",
            "parent",
            of=part,
        )
    if await stored.has_children(connection, part.id):
        raise conflict(
            f"事件{part.number}有下级事件，不能再属于另一事件",
            f"incident {part.number} has parts itself: unlink them first",
            "parent",
            of=part,
        )
    if part.exercise != whole.exercise:
        raise conflict(
            "演练事件与真实事件不能关联", "a drill is no part of a real event, nor the reverse", "parent"
        )


async def _both(
    connection: Connection,
    settings: Settings,
    part: Incident,
    whole: Incident,
    kind: str,
    actor: str,
    reason: str,
    now: datetime,
) -> Incident:
    """The part stored, and the same said on the timeline of the whole."""
    text = reason.strip()
    to_part: dict[str, object] = {"parent": whole.number, "incident": whole.id}
    to_whole: dict[str, object] = {"child": part.number, "incident": part.id}
    known = await directory.load(connection, settings.zone, settings.urge_after)
    decided = [
        Change(incident=part, happenings=(Happening(kind=kind, actor=actor, detail=to_part, text=text),)),
        Change(
            incident=replace(whole, version=whole.version + 1),
            happenings=(Happening(kind=kind, actor=actor, detail=to_whole, text=text),),
        ),
    ]
    mail = bool(settings.smtp_url)
    return (await store(connection, known, decided, now, mail=mail))[0]
