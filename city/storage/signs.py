"""What stands in each cell and at each station, as sirens and signs are told; asynchronous.

An alarm counts once triage has made it somebody's: one of a device under test, on the shelf or silenced by design does
not, nor one whose incident a person has closed. The system's and the devices' own troubles are no reason for a siren.
"""

from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

Connection = AsyncConnection[Any]
Row = dict[str, Any]

_COUNTED = """
    a.cleared_at IS NULL AND a.suppressed IS NULL AND a.triage = 'done' AND i.closed_at IS NULL
    AND a.category NOT LIKE 'device%%' AND a.category NOT LIKE 'system%%' AND (NOT a.exercise OR %(exercises)s)
"""
# The real before the exercise, the most urgent class, the highest level, the oldest.
_STANDING = f"""
    SELECT DISTINCT ON (s.cell) s.cell, s.cell_name, s.cell_name_en, s.category, s.category_name, s.category_name_en,
           s.class, s.level, s.exercise, min(s.raised_at) OVER (PARTITION BY s.cell, s.exercise, s.class) AS since,
           count(*) OVER (PARTITION BY s.cell, s.exercise)::integer AS alarms
    FROM (
        SELECT c.code AS cell, c.name AS cell_name, c.name_en AS cell_name_en, a.category, g.name AS category_name,
               g.name_en AS category_name_en, coalesce(a.class, g.class, 'B') AS class, a.level, a.exercise,
               a.raised_at, a.id
        FROM alarms a JOIN areas c ON c.id = a.cell_id JOIN incidents i ON i.id = a.incident_id
        LEFT JOIN categories g ON g.code = a.category WHERE {_COUNTED}
    ) s ORDER BY s.cell, s.exercise, s.class, level_rank(s.level) DESC, s.raised_at, s.id
"""  # noqa: S608 - put together of constants, here and below
_LEVELS = f"""
    SELECT DISTINCT ON (d.code) d.code AS station, d.name AS station_name, a.level,
           coalesce(a.class, g.class, 'B') AS class, coalesce(a.level_since, a.raised_at) AS since, a.exercise
    FROM alarms a JOIN devices d ON d.id = a.device_id JOIN stations t ON t.device_id = d.id
    JOIN incidents i ON i.id = a.incident_id LEFT JOIN categories g ON g.code = a.category
    WHERE {_COUNTED} AND (a.category = 'flood.level' OR a.category LIKE 'flood.level.%%')
    ORDER BY d.code, a.exercise, level_rank(a.level) DESC, a.raised_at, a.id
"""  # noqa: S608


async def standing(connection: Connection, *, exercises: bool) -> list[Row]:
    """The most urgent of each cell in which something stands: cell, category and their names, class, level, exercise,
    since (when the oldest of that class began), alarms (how many stand)."""
    return await _rows(connection, _STANDING, exercises)


async def levels(connection: Connection, *, exercises: bool) -> list[Row]:
    """Stations whose level alarm stands: station, station_name, level, class, since, exercise."""
    return await _rows(connection, _LEVELS, exercises)


async def _rows(connection: Connection, query: str, exercises: bool) -> list[Row]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query.encode(), {"exercises": exercises})
        return await cursor.fetchall()
