"""Counts of alarms as people met them, for the report on alarm performance; asynchronous.

Counted by ``recorded_at``, the moment an alarm reached the desk, and only what was told to people: no drills, nothing
that was recorded as history only, nothing that was held while its device was under test or shelved.
"""

from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

Connection = AsyncConnection[Any]
Row = dict[str, Any]

_TOLD = """
    a.recorded_at >= %(start)s AND a.recorded_at < %(end)s AND NOT a.exercise AND a.suppressed IS NULL
    AND a.triage IN ('new', 'done')
"""
_SOURCE = """
    LEFT JOIN devices d ON d.id = a.device_id
    LEFT JOIN areas c ON c.id = a.cell_id
"""
_NAMED = (
    "a.rule_id AS rule, d.code AS device, coalesce(nullif(d.name, ''), d.code) AS device_name, c.code AS cell"
)

_STANDING_AT = """
    NOT a.exercise AND a.triage IN ('new', 'done') AND a.suppressed IS NULL
    AND a.recorded_at < %(end)s AND (a.cleared_at IS NULL OR a.cleared_at > %(end)s)
"""
_BUCKETS = "".join(
    (
        "SELECT date_bin(%(width)s, a.recorded_at, %(start)s) AS at, count(*) FROM alarms a WHERE ",
        _TOLD,
        " GROUP BY 1 ORDER BY 1",
    )
)
_CLASSES = "".join(
    (
        "SELECT coalesce(a.class, g.class, 'B'), count(*) FROM alarms a"
        " LEFT JOIN categories g ON g.code = a.category WHERE ",
        _TOLD,
        " GROUP BY 1",
    )
)
_FREQUENT = "".join(
    (
        "SELECT ",
        _NAMED,
        ", count(*) AS alarms FROM alarms a ",
        _SOURCE,
        " WHERE ",
        _TOLD,
        " GROUP BY 1, 2, 3, 4 ORDER BY alarms DESC, rule, device LIMIT %(most)s",
    )
)
_CHATTERING = "".join(
    (
        "WITH told AS (SELECT ",
        _NAMED,
        """, a.recorded_at,
                   lag(a.recorded_at, %(before)s) OVER (
                       PARTITION BY a.rule_id, a.device_id, a.cell_id ORDER BY a.recorded_at, a.id) AS earlier
            FROM alarms a """,
        _SOURCE,
        " WHERE ",
        _TOLD,
        """)
        SELECT rule, device, device_name, cell, count(*) AS alarms,
               max(recorded_at) FILTER (WHERE recorded_at - earlier <= %(within)s) AS worst_at
        FROM told GROUP BY rule, device, device_name, cell
        HAVING bool_or(recorded_at - earlier <= %(within)s)
        ORDER BY alarms DESC, rule, device LIMIT %(most)s
        """,
    )
)
_FLEETING = "".join(
    ("SELECT count(*) FROM alarms a WHERE ", _TOLD, " AND a.cleared_at - a.raised_at <= %(within)s")
)
_STANDING = "".join(("SELECT count(*) FROM alarms a WHERE ", _STANDING_AT))
_STALE = "".join((_STANDING, " AND a.raised_at < %(since)s"))
_STALEST = "".join(
    (
        "SELECT ",
        _NAMED,
        ", a.id AS alarm, a.raised_at AS since FROM alarms a ",
        _SOURCE,
        " WHERE ",
        _STANDING_AT,
        " AND a.raised_at < %(since)s ORDER BY a.raised_at, a.id LIMIT %(most)s",
    )
)
_ACKNOWLEDGING = "".join(
    (
        """
        SELECT count(*) AS acknowledged,
               percentile_cont(0.5) WITHIN GROUP (ORDER BY waited) AS median_s,
               percentile_cont(0.9) WITHIN GROUP (ORDER BY waited) AS p90_s
        FROM (SELECT extract(epoch FROM a.acknowledged_at - a.recorded_at)::float8 AS waited
              FROM alarms a WHERE """,
        _TOLD,
        " AND a.acknowledged_at >= a.recorded_at) AS each_alarm",
    )
)


async def buckets(
    connection: Connection, start: datetime, end: datetime, width: timedelta
) -> list[tuple[datetime, int]]:
    """(begin, alarms) of each span of ``width`` from ``start`` in which any alarm was told, in order."""
    rows = await connection.execute(
        _BUCKETS,
        {"start": start, "end": end, "width": width},
    )
    return [(at, number) for at, number in await rows.fetchall()]


async def classes(connection: Connection, start: datetime, end: datetime) -> dict[str, int]:
    """Alarms by class A, B, C (the alarm's own, else its category's)."""
    rows = await connection.execute(
        _CLASSES,
        {"start": start, "end": end},
    )
    return dict(await rows.fetchall())


async def most_frequent(connection: Connection, start: datetime, end: datetime, most: int) -> list[Row]:
    """The ``most`` pairs of rule and device that raised most: rule, device, device_name, cell, alarms."""
    return await _rows(
        connection,
        _FREQUENT,
        {"start": start, "end": end, "most": most},
    )


async def chattering(
    connection: Connection, start: datetime, end: datetime, *, raises: int, within: timedelta, most: int
) -> list[Row]:
    """Sources that raised ``raises`` times within ``within``, the worst first: as ``most_frequent``, and worst_at."""
    return await _rows(
        connection,
        _CHATTERING,
        {"start": start, "end": end, "before": raises - 1, "within": within, "most": most},
    )


async def fleeting(connection: Connection, start: datetime, end: datetime, within: timedelta) -> int:
    """Alarms that were over within ``within``, before anybody could have acted."""
    row = await connection.execute(
        _FLEETING,
        {"start": start, "end": end, "within": within},
    )
    return _number(await row.fetchone())


async def standing(connection: Connection, end: datetime) -> int:
    """Alarms that stood at ``end``."""
    row = await connection.execute(_STANDING, {"end": end})
    return _number(await row.fetchone())


async def stale(connection: Connection, end: datetime, older: timedelta, most: int) -> tuple[int, list[Row]]:
    """How many stood at ``end`` for longer than ``older``, and the oldest: as ``most_frequent``, with since, alarm."""
    asked = {"end": end, "since": end - older, "most": most}
    row = await connection.execute(_STALE, asked)
    oldest = await _rows(connection, _STALEST, asked)
    return _number(await row.fetchone()), oldest


async def acknowledging(connection: Connection, start: datetime, end: datetime) -> Row:
    """Of what was told: acknowledged (number), median_s and p90_s until then (null without any)."""
    rows = await _rows(
        connection,
        _ACKNOWLEDGING,
        {"start": start, "end": end},
    )
    return rows[0]


async def silent(connection: Connection, start: datetime, end: datetime) -> dict[str, int]:
    """Alarms of the span that nobody was sent to: exercise, suppressed, held, recorded as history."""
    rows = await connection.execute(
        """
        SELECT CASE WHEN a.exercise THEN 'exercise' WHEN a.suppressed IS NOT NULL THEN 'suppressed'
                    WHEN a.triage = 'held' THEN 'held' ELSE 'recorded' END, count(*)
        FROM alarms a
        WHERE a.recorded_at >= %(start)s AND a.recorded_at < %(end)s
          AND (a.exercise OR a.suppressed IS NOT NULL OR a.triage IN ('held', 'recorded'))
        GROUP BY 1
        """,
        {"start": start, "end": end},
    )
    return dict(await rows.fetchall())


async def _rows(connection: Connection, query: str, parameters: dict[str, object]) -> list[Row]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, parameters)
        return await cursor.fetchall()


def _number(row: tuple[Any, ...] | None) -> int:
    return int(row[0]) if row else 0
