"""What one shift leaves to the next, and how things stand when it does; asynchronous."""

from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from city.storage import changes

Connection = AsyncConnection[Any]
Row = dict[str, Any]

# Listed by name in the note; beyond it the number must do, since nobody reads a list of a thousand aloud.
MOST_LISTED = 50

_SHOWN = """
    SELECT h.id, h.began_at, h.written_at, h.written_by, h.notes, h.figures, h.taken_at, h.taken_by, h.taken_note,
           h.withdrawn_at, coalesce(nullif(w.display_name, ''), w.name, h.written_by) AS writer,
           coalesce(nullif(t.display_name, ''), t.name, h.taken_by) AS taker
    FROM handovers h
    LEFT JOIN users w ON h.written_by = 'user:' || w.id
    LEFT JOIN users t ON h.taken_by = 'user:' || t.id
"""


async def page(connection: Connection, *, before: tuple[datetime, int] | None, limit: int) -> list[Row]:
    """Handovers, the newest first; ``before`` is (written_at, id) of the row before."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            _SHOWN + " WHERE %(at)s::timestamptz IS NULL OR (h.written_at, h.id) < (%(at)s, %(id)s)"
            " ORDER BY h.written_at DESC, h.id DESC LIMIT %(limit)s",
            {"at": before[0] if before else None, "id": before[1] if before else None, "limit": limit},
        )
        return await cursor.fetchall()


async def get(connection: Connection, number: int) -> Row | None:
    """One handover."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_SHOWN + " WHERE h.id = %s", (number,))
        return await cursor.fetchone()


async def lock(connection: Connection) -> None:
    """One writer or taker at a time, until the transaction ends."""
    await connection.execute("LOCK TABLE handovers IN SHARE ROW EXCLUSIVE MODE")


async def last(connection: Connection) -> Row | None:
    """The newest that was not withdrawn: id, written_at, written_by, taken_at."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "SELECT id, written_at, written_by, taken_at FROM handovers WHERE withdrawn_at IS NULL"
            " ORDER BY written_at DESC, id DESC LIMIT 1"
        )
        return await cursor.fetchone()


async def write(
    connection: Connection, *, began_at: datetime, now: datetime, actor: str, notes: str, figures: Row
) -> int:
    """Its id. The schema refuses a second one that waits."""
    cursor = await connection.execute(
        "INSERT INTO handovers (began_at, written_at, written_by, notes, figures) VALUES (%s, %s, %s, %s, %s)"
        " RETURNING id",
        (began_at, now, actor, notes, Jsonb(figures)),
    )
    number = int((await cursor.fetchone() or (0,))[0])
    await changes.append(connection, [("handover.written", str(number))])
    return number


async def take(connection: Connection, number: int, *, actor: str, note: str, now: datetime) -> None:
    """Marks it as taken over."""
    await connection.execute(
        "UPDATE handovers SET taken_at = %s, taken_by = %s, taken_note = %s WHERE id = %s",
        (now, actor, note, number),
    )
    await changes.append(connection, [("handover.taken", str(number))])


async def withdraw(connection: Connection, number: int, now: datetime) -> None:
    """Marks it as taken back by its writer."""
    await connection.execute("UPDATE handovers SET withdrawn_at = %s WHERE id = %s", (now, number))
    await changes.append(connection, [("handover.withdrawn", str(number))])


# ── how things stand ─────────────────────────────────────────────────────────────────────────────────

_COUNTS = """
    SELECT (SELECT jsonb_object_agg(class, n) FROM (SELECT class, count(*) AS n FROM incidents
                WHERE closed_at IS NULL AND NOT exercise GROUP BY class) AS by_class) AS open,
           (SELECT count(*) FROM incidents WHERE opened_at >= %(since)s AND NOT exercise) AS opened,
           (SELECT count(*) FROM incidents WHERE closed_at >= %(since)s AND NOT exercise) AS closed,
           (SELECT count(*) FROM incidents WHERE closed_at IS NULL AND NOT exercise
                AND state <> 'suspended' AND due_at < %(now)s) AS overdue,
           (SELECT count(*) FROM incidents WHERE closed_at IS NULL AND NOT exercise AND unit_id IS NULL) AS lane,
           (SELECT count(*) FROM incidents WHERE closed_at IS NULL AND NOT exercise
                AND unit_id IS NOT NULL AND acknowledged_at IS NULL) AS unacknowledged,
           (SELECT count(*) FROM incident_requests WHERE state = 'open') AS requests,
           (SELECT count(*) FROM alarms WHERE recorded_at >= %(since)s AND NOT exercise
                AND suppressed IS NULL AND triage IN ('new', 'done')) AS alarms,
           (SELECT count(*) FROM alarms WHERE cleared_at IS NULL AND NOT exercise) AS standing,
           (SELECT count(*) FROM notifications WHERE state = 'failed' AND attempted_at >= %(since)s) AS undelivered,
           (SELECT count(*) FROM drills WHERE ended_at IS NULL) AS drills,
           (SELECT response_level FROM district LIMIT 1) AS response_level
"""
# What the next shift must not learn by itself: first class, over time, nobody's, or not acknowledged.
_MATTERS = """
    SELECT i.id, i.number, i.class, i.state, i.due_at, i.opened_at, i.category,
           coalesce(g.name, i.category) AS category_name,
           coalesce(nullif(g.name_en, ''), i.category) AS category_name_en,
           c.code AS cell, coalesce(nullif(c.name, ''), c.code) AS cell_name,
           u.code AS unit, u.name AS unit_name, u.name_en AS unit_name_en,
           i.acknowledged_at IS NOT NULL AS acknowledged, i.supervised_at IS NOT NULL AS supervised,
           i.state <> 'suspended' AND i.due_at < %(now)s AS overdue, count(*) OVER () AS of
    FROM incidents i
    LEFT JOIN categories g ON g.code = i.category
    LEFT JOIN areas c ON c.id = i.area_id
    LEFT JOIN units u ON u.id = i.unit_id
    WHERE i.closed_at IS NULL AND NOT i.exercise
      AND (i.class = 'A' OR i.unit_id IS NULL OR i.supervised_at IS NOT NULL
           OR (i.state <> 'suspended' AND i.due_at < %(now)s))
    ORDER BY i.class, i.due_at NULLS LAST, i.id LIMIT %(most)s
"""
_WARNINGS = """
    SELECT id, colour, expires_at FROM flood_warnings WHERE state = 'issued' AND NOT exercise
    ORDER BY expires_at, id LIMIT %(most)s
"""


async def counts(connection: Connection, since: datetime, now: datetime) -> Row:
    """How things stand: open by class, lane, overdue …; and what came since ``since``."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_COUNTS, {"since": since, "now": now})
        return await cursor.fetchone() or {}


async def matters(connection: Connection, now: datetime) -> list[Row]:
    """Open incidents the next shift must know of, the most urgent first; ``of`` is how many there are."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_MATTERS, {"now": now, "most": MOST_LISTED})
        return await cursor.fetchall()


async def warnings(connection: Connection) -> list[Row]:
    """Flood warnings in force, the first to end first."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_WARNINGS, {"most": MOST_LISTED})
        return await cursor.fetchall()
