"""Clocks of incidents: read and written under the incident's lock, claimed when they strike; asynchronous.

``calendar`` beside a clock is the version of the working calendar that its deadline was worked out with.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

from city.clocks import Clock, read_limit
from city.incidents import Incident
from city.storage.conditions import given
from city.storage.incidents import _INCIDENT

Connection = AsyncConnection[Any]
Row = dict[str, Any]

_CLOCK = """
    SELECT id, incident_id, stage, unit_id, "limit", started_at, due_at, paused_at, left_minutes, ended_at, outcome,
           provisional, said, next_at, calendar
    FROM incident_clocks
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A clock as stored, and the calendar version it rests on (None: it runs through the night)."""

    clock: Clock
    calendar: int | None


async def open_of(connection: Connection, incident_ids: Sequence[int]) -> dict[int, list[Kept]]:
    """By incident: its open clocks. Those of locked incidents do not change under the caller."""
    return _kept(
        await _rows(connection, " WHERE incident_id = ANY(%s) AND ended_at IS NULL", list(incident_ids))
    )


async def of(connection: Connection, incident_id: int) -> list[Clock]:
    """All clocks of an incident, in the order they were started."""
    found = _kept(await _rows(connection, " WHERE incident_id = %s ORDER BY started_at, id", incident_id))
    return [kept.clock for kept in found.get(incident_id, [])]


async def owner(connection: Connection, incident_id: int) -> Incident | None:
    """The incident whose clocks are looked at, not locked; None when there is none."""
    async with connection.cursor(row_factory=class_row(Incident)) as cursor:
        await cursor.execute(_INCIDENT + " WHERE i.id = %s", (incident_id,))
        return await cursor.fetchone()


async def _rows(connection: Connection, where: str, *parameters: object) -> list[Row]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_CLOCK + where, parameters)
        return await cursor.fetchall()


def _kept(rows: Sequence[Row]) -> dict[int, list[Kept]]:
    found: dict[int, list[Kept]] = defaultdict(list)
    for row in rows:
        calendar = row.pop("calendar")
        clock = Clock(**{**row, "limit": read_limit(row["limit"])})
        found[clock.incident_id].append(Kept(clock=clock, calendar=calendar))
    return found


async def save(connection: Connection, clocks: Sequence[Kept]) -> None:
    """Write clocks of locked incidents: id 0 is new. Ended ones first, so that a stage has one open clock."""
    old = sorted((one for one in clocks if one.clock.id), key=lambda one: one.clock.ended_at is None)
    new = [one for one in clocks if not one.clock.id]
    async with connection.cursor() as cursor:
        if old:
            await cursor.executemany(
                """
                UPDATE incident_clocks SET unit_id = %(unit_id)s, "limit" = %(limit)s, due_at = %(due_at)s,
                    paused_at = %(paused_at)s, left_minutes = %(left_minutes)s, ended_at = %(ended_at)s,
                    outcome = %(outcome)s, provisional = %(provisional)s, said = %(said)s, next_at = %(next_at)s,
                    calendar = %(calendar)s
                WHERE id = %(id)s
                """,
                [_row(one) for one in old],
            )
        if new:
            await cursor.executemany(
                """
                INSERT INTO incident_clocks (incident_id, stage, unit_id, "limit", started_at, due_at, paused_at,
                    left_minutes, ended_at, outcome, provisional, said, next_at, calendar)
                VALUES (%(incident_id)s, %(stage)s, %(unit_id)s, %(limit)s, %(started_at)s, %(due_at)s,
                    %(paused_at)s, %(left_minutes)s, %(ended_at)s, %(outcome)s, %(provisional)s, %(said)s,
                    %(next_at)s, %(calendar)s)
                """,
                [_row(one) for one in new],
            )


def _row(one: Kept) -> Row:
    row = {name: getattr(one.clock, name) for name in Clock.__dataclass_fields__}
    return row | {"limit": str(one.clock.limit), "calendar": one.calendar}


# ── claiming ─────────────────────────────────────────────────────────────────────────────────────────


async def lock_due(
    connection: Connection, now: datetime, limit: int, only: int | None = None
) -> list[Incident]:
    """Incidents with a clock that strikes, the longest due first, locked; what somebody else holds is left to them.

    Read the clocks afterwards, in a statement of its own: whoever held the incident a moment ago may have moved them.
    """
    async with connection.cursor(row_factory=class_row(Incident)) as cursor:
        await cursor.execute(
            _INCIDENT
            + """
            JOIN incident_clocks c ON c.incident_id = i.id
            WHERE c.next_at <= %(now)s AND (%(only)s::bigint IS NULL OR i.id = %(only)s)
            ORDER BY c.next_at LIMIT %(limit)s FOR NO KEY UPDATE OF i SKIP LOCKED
            """,
            {"now": now, "only": only, "limit": limit},
        )
        return list({incident.id: incident for incident in await cursor.fetchall()}.values())


async def due(connection: Connection, now: datetime, limit: int) -> list[int]:
    """Ids of incidents with a clock that strikes, the longest due first; not locked."""
    cursor = await connection.execute(
        "SELECT incident_id FROM incident_clocks WHERE next_at <= %s ORDER BY next_at LIMIT %s", (now, limit)
    )
    return list(dict.fromkeys([row[0] for row in await cursor.fetchall()]))


async def put_off(connection: Connection, incident_id: int, now: datetime, until: datetime) -> None:
    """Have what is due of an incident looked at later: it could not be written, and others wait behind it."""
    await connection.execute(
        "UPDATE incident_clocks SET next_at = %s WHERE incident_id = %s AND next_at <= %s",
        (until, incident_id, now),
    )


async def lock_elsewhere(connection: Connection, version: int, limit: int) -> list[Incident]:
    """Incidents with an open clock that rests on another version of the calendar, locked as by ``lock_due``."""
    async with connection.cursor(row_factory=class_row(Incident)) as cursor:
        await cursor.execute(
            _INCIDENT
            + """
            JOIN incident_clocks c ON c.incident_id = i.id
            WHERE c.ended_at IS NULL AND c.calendar < %s ORDER BY c.calendar LIMIT %s
            FOR NO KEY UPDATE OF i SKIP LOCKED
            """,
            (version, limit),
        )
        return list({incident.id: incident for incident in await cursor.fetchall()}.values())


async def elsewhere(connection: Connection, version: int, limit: int) -> list[Incident]:
    """As ``lock_elsewhere``, without a lock: for looking at what would move."""
    async with connection.cursor(row_factory=class_row(Incident)) as cursor:
        await cursor.execute(
            _INCIDENT
            + " WHERE EXISTS (SELECT FROM incident_clocks c WHERE c.incident_id = i.id AND c.ended_at IS NULL"
            " AND c.calendar < %s) ORDER BY i.id LIMIT %s",
            (version, limit),
        )
        return await cursor.fetchall()


async def look_again(connection: Connection, now: datetime) -> None:
    """Have the sweep look at every running clock: the ladder has other steps from now on."""
    await connection.execute(
        "LOCK TABLE incident_clocks IN EXCLUSIVE MODE"
    )  # row by row it could stand in a circle
    await connection.execute(
        """
        UPDATE incident_clocks SET next_at = %s
        WHERE ended_at IS NULL AND paused_at IS NULL AND (next_at IS NULL OR next_at > %s)
        """,
        (now, now),
    )


# ── what people read ─────────────────────────────────────────────────────────────────────────────────


_BOARD = """
    SELECT c.id, c.incident_id AS incident, i.number, i.state, i.class, i.event_level, i.category, i.title,
           c.stage, u.code AS unit, u.name AS unit_name, u.name_en AS unit_name_en, c."limit", c.started_at,
           c.due_at, c.paused_at IS NOT NULL AS paused, c.provisional, c.said, c.next_at,
           c.paused_at IS NULL AND c.due_at <= %(now)s AS overdue, i.exercise
    FROM incident_clocks c JOIN incidents i ON i.id = c.incident_id LEFT JOIN units u ON u.id = c.unit_id
"""


async def board(
    connection: Connection,
    now: datetime,
    *,
    unit: str | None = None,
    overdue: bool | None = None,
    stage: str | None = None,
    after: tuple[datetime, int] | None = None,
    limit: int = 100,
) -> list[Row]:
    """Open clocks with their incident, by deadline; ``unit`` is a code; ``after`` is the last (due_at, id) seen."""
    where = given(
        "c.ended_at IS NULL",
        ("c.unit_id = (SELECT id FROM units WHERE code = %(unit)s)", unit),
        ("c.stage = %(stage)s", stage),
        ("(c.paused_at IS NULL AND c.due_at <= %(now)s) = %(overdue)s", overdue),
        ("(c.due_at, c.id) > (%(after_at)s, %(after_id)s)", after),
    )
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            f"{_BOARD} WHERE {where} ORDER BY c.due_at, c.id LIMIT %(limit)s",
            {
                "now": now,
                "unit": unit,
                "stage": stage,
                "overdue": overdue,
                "after_at": after[0] if after else None,
                "after_id": after[1] if after else None,
                "limit": limit,
            },
        )
        return await cursor.fetchall()


def moved_to(kept: Kept, clock: Clock, version: int) -> Kept:
    """The clock in another place of time: its deadline now rests on this version, if it rests on one at all."""
    if clock.limit.unit == "natural":
        return Kept(clock=clock, calendar=None)
    fresh = kept.clock.id == 0 or clock.due_at != kept.clock.due_at
    return replace(kept, clock=clock, calendar=version if fresh else kept.calendar)
