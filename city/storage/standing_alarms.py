"""Alarms that stand, or have returned unacknowledged, as desks list them live; asynchronous.

Each row has a fingerprint, so that twenty thousand of them can be compared without being read.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from city.storage.alarms import FIRST_OUT_WINDOW, FROM_ALARMS, STATE

Connection = AsyncConnection[Any]
Row = dict[str, Any]

MOST_SHOWN = 20_000
_SHOWN = ["UNACK", "ACKED", "RTNUN"]

# Named as city.storage.alarms.page names them, without the evidence, with the names people read.
_ROW = "".join(
    (
        """
        SELECT a.id, a.rule_id AS rule, a.rule_version, d.code AS device, coalesce(d.name, '') AS device_name,
               c.code AS cell, coalesce(c.name, '') AS cell_name, m.code AS metric, a.category,
               coalesce(g.name, a.category) AS category_name,
               coalesce(nullif(g.name_en, ''), a.category) AS category_name_en,
               a.level, a.level_since, coalesce(a.class, g.class) AS class, a.raised_at, a.cleared_at,
               a.late, a.repeats, a.acknowledged_at, a.acknowledged_by, a.triage, """,
        STATE,
        """ AS state, a.suppressed, a.incident_id AS incident, a.exercise, a.drill_id AS drill,
               coalesce(d.registration = 'unclaimed', false) AS unclaimed, NULL AS shelf,
               a.incident_id IS NOT NULL AND NOT EXISTS (
                   SELECT FROM alarms e WHERE e.incident_id = a.incident_id
                       AND (e.raised_at, e.id) < (a.raised_at, a.id) AND e.raised_at >= a.raised_at - %(window)s
               ) AS first_out
        """,
        FROM_ALARMS,
    )
)
_STANDING = """
    (a.cleared_at IS NULL OR a.acknowledged_at IS NULL AND a.cleared_at IS NOT NULL AND a.triage IN ('new', 'done'))
"""
_PRINTS = "".join(
    (
        "SELECT v.id, hashtextextended(v::text, 0) AS print, count(*) OVER () AS total FROM (",
        _ROW,
        " WHERE ",
        _STANDING,
        ") v WHERE v.state = ANY(%(shown)s) ORDER BY v.id DESC LIMIT %(most)s",
    )
)
_ROWS = "".join(
    (
        "SELECT v.*, hashtextextended(v::text, 0) AS print FROM (",
        _ROW,
        " WHERE (a.id = ANY(%(ids)s) OR a.incident_id = ANY(%(incidents)s)) AND ",
        _STANDING,
        ") v WHERE v.state = ANY(%(shown)s)",
    )
)


async def prints(connection: Connection, now: datetime) -> tuple[dict[int, int], int]:
    """A fingerprint of each alarm by id, the newest ``MOST_SHOWN``, and how many there are altogether."""
    given = {"now": now, "window": FIRST_OUT_WINDOW, "shown": _SHOWN, "most": MOST_SHOWN}
    cursor = await connection.execute(_PRINTS, given)
    rows = await cursor.fetchall()
    return {row[0]: row[1] for row in rows}, rows[0][2] if rows else 0


async def rows(
    connection: Connection, ids: Sequence[int], incidents: Sequence[int], now: datetime
) -> list[Row]:
    """Those of these alarms, and of these incidents' alarms, that still stand; each with its ``print``."""
    given = {
        "now": now,
        "window": FIRST_OUT_WINDOW,
        "shown": _SHOWN,
        "ids": list(ids),
        "incidents": list(incidents),
    }
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_ROWS, given)
        return await cursor.fetchall()
