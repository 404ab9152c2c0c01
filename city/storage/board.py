"""What every unit has on its hands; asynchronous."""

from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

Connection = AsyncConnection[Any]
Row = dict[str, Any]

# What a unit has to do: an incident it has handled waits for others, one that is suspended for nobody.
_BOARD = """
    WITH work AS (
        SELECT unit_id,
               count(*) AS open,
               count(*) FILTER (WHERE class = 'A') AS a,
               count(*) FILTER (WHERE class = 'B') AS b,
               count(*) FILTER (WHERE class = 'C') AS c,
               count(*) FILTER (WHERE state = 'dispatched') AS unacknowledged,
               count(*) FILTER (WHERE state IN ('dispatched', 'acknowledged', 'arrived', 'rework')) AS working,
               count(*) FILTER (WHERE state = 'suspended') AS suspended,
               count(*) FILTER (WHERE state IN ('handled', 'verified', 'fed_back')) AS handled,
               count(*) FILTER (WHERE state <> 'suspended' AND due_at < %(now)s) AS overdue,
               min(due_at) FILTER (WHERE state <> 'suspended') AS due_at
        FROM incidents WHERE closed_at IS NULL AND unit_id IS NOT NULL AND NOT exercise GROUP BY unit_id
    ), beside AS (
        SELECT c.unit_id, count(*) AS open
        FROM incident_co_units c JOIN incidents i ON i.id = c.incident_id
        WHERE i.closed_at IS NULL AND NOT i.exercise AND c.unit_id IS DISTINCT FROM i.unit_id GROUP BY c.unit_id
    ), asked AS (
        SELECT unit_id, count(*) AS open FROM incident_requests WHERE state = 'open' GROUP BY unit_id
    )
    SELECT u.id, u.code, u.name, u.name_en, u.tier, u.phone, u.lead_phone, u.capacity, u.fallback,
           coalesce(w.open, 0) AS open, coalesce(w.a, 0) AS a, coalesce(w.b, 0) AS b, coalesce(w.c, 0) AS c,
           coalesce(w.unacknowledged, 0) AS unacknowledged, coalesce(w.working, 0) AS working,
           coalesce(w.suspended, 0) AS suspended, coalesce(w.handled, 0) AS handled,
           coalesce(w.overdue, 0) AS overdue, w.due_at, coalesce(b.open, 0) AS co_handling,
           coalesce(q.open, 0) AS requests
    FROM units u
    LEFT JOIN work w ON w.unit_id = u.id
    LEFT JOIN beside b ON b.unit_id = u.id
    LEFT JOIN asked q ON q.unit_id = u.id
    WHERE u.active OR w.open > 0
    ORDER BY u.code
"""


async def units(connection: Connection, now: datetime) -> list[Row]:
    """Every active unit, and any other that still has work, with counts of its open incidents; drills apart."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_BOARD, {"now": now})
        return await cursor.fetchall()
