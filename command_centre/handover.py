"""One shift hands over to the next: a note with how things stand, written once, taken over by somebody else.

Control rooms lose more at the change of shift than at any other minute: what is shelved, what is not yet acknowledged,
what somebody promised by telephone. The standing figures are taken by the system; the person writes the rest.
"""

from datetime import datetime, timedelta
from typing import Any

import msgspec
from psycopg import AsyncConnection

from city.storage import alarm_shelves, handovers
from command_centre.actions import ActionError

FIRST = timedelta(hours=12)  # what the very first note looks back on

Connection = AsyncConnection[Any]
Row = dict[str, Any]


async def standing(connection: Connection, now: datetime) -> Row:
    """What a note written now would say by itself; its span begins where the last note was written."""
    before = await handovers.last(connection)
    began_at = before["written_at"] if before else now - FIRST
    listed = await handovers.matters(connection, now)
    figures: Row = {
        "counts": await handovers.counts(connection, began_at, now),
        "incidents": [{name: value for name, value in row.items() if name != "of"} for row in listed],
        "incidents_of": listed[0]["of"] if listed else 0,
        "silenced": [
            {name: value for name, value in row.items() if name != "key"}
            for row in await alarm_shelves.page(connection, now, after=None, limit=handovers.MOST_LISTED)
        ],
        "warnings": await handovers.warnings(connection),
    }
    return {"began_at": began_at, "at": now, "figures": figures}


async def write(connection: Connection, *, actor: str, notes: str, now: datetime) -> Row:
    """Hands over; raises ActionError when a note waits already."""
    await handovers.lock(connection)
    before = await handovers.last(connection)
    if before is not None and before["taken_at"] is None:
        raise ActionError(
            "conflict",
            "上一份交接尚未接班，请先接班或由交班人撤回",
            "the last handover waits: take it over, or let its writer withdraw it",
        )
    stands = await standing(connection, now)
    number = await handovers.write(
        connection,
        began_at=stands["began_at"],
        now=now,
        actor=actor,
        notes=notes.strip(),
        figures=msgspec.to_builtins(stands["figures"]),
    )
    return await _shown(connection, number)


async def take(connection: Connection, number: int, *, actor: str, note: str, now: datetime) -> Row:
    """Takes over; raises ActionError for one's own note and one that no longer waits."""
    row = await _waiting(connection, number)
    if row["written_by"] == actor:
        raise ActionError("forbidden", "须由他人接班", "somebody else has to take over")
    await handovers.take(connection, number, actor=actor, note=note.strip(), now=now)
    return await _shown(connection, number)


async def withdraw(connection: Connection, number: int, *, actor: str, now: datetime) -> Row:
    """Takes one's own note back; raises ActionError for another's."""
    row = await _waiting(connection, number)
    if row["written_by"] != actor:
        raise ActionError("forbidden", "只有交班人可以撤回", "only its writer can withdraw it")
    await handovers.withdraw(connection, number, now)
    return await _shown(connection, number)


async def _waiting(connection: Connection, number: int) -> Row:
    await handovers.lock(connection)
    row = await handovers.get(connection, number)
    if row is None:
        raise ActionError("not_found", f"没有交接记录 {number}", f"there is no handover {number}")
    if row["taken_at"] is not None:
        raise ActionError("conflict", "已接班", "it has been taken over")
    if row["withdrawn_at"] is not None:
        raise ActionError("conflict", "已撤回", "it was withdrawn")
    return row


async def _shown(connection: Connection, number: int) -> Row:
    return await handovers.get(connection, number) or {}
