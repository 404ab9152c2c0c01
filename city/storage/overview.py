"""What the city's own centre reads of one district's database, through the views of schema ``overview``; asynchronous.

Nothing of a person and nothing that people typed is in them, and its account may read nothing else.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from city.storage.database import connection_arguments

Row = dict[str, Any]
Connection = AsyncConnection[Any]

# A district that reads for longer is too slow for a wall, whatever its account's own limit is.
STATEMENT_S = 4


async def connect(url: str) -> Connection:
    """To a database that may be written to, though we do not: one that may not was moved, or is being moved.

    Raises psycopg.Error.
    """
    arguments: dict[str, Any] = connection_arguments("city overview")
    arguments["options"] += f" -c statement_timeout={STATEMENT_S}s"
    return await AsyncConnection.connect(url, autocommit=True, **arguments)


async def _one(connection: Connection, query: str) -> Row:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query)
        return await cursor.fetchone() or {}


async def figures(connection: Connection) -> Row:
    """The district's code, response_level and ``at``; devices, online; alarms standing; water stations, above_warning;
    ``classes``: open, unacknowledged and overdue by class. Exercises are in none of them.

    ``code`` is missing where no district was imported.
    """
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute("SELECT class, open, unacknowledged, overdue FROM overview.open_incidents")
        classes = {row.pop("class"): row for row in await cursor.fetchall()}
    return {
        **await _one(connection, "SELECT code, response_level, at FROM overview.district"),
        **await _one(connection, "SELECT devices, online FROM overview.devices"),
        **await _one(connection, "SELECT standing AS alarms FROM overview.alarms"),
        **await _one(connection, "SELECT stations, above_warning FROM overview.water"),
        "classes": classes,
    }


_INCIDENTS = """
    SELECT id, number, state, class, category, category_name, category_name_en, cell, cell_name, cell_name_en,
           unit_name, unit_name_en, opened_at, due_at, acknowledged_at, closed_at, exercise
    FROM overview.incidents
    WHERE (%(all)s OR closed_at IS NULL)
      AND (cardinality(%(classes)s::text[]) = 0 OR class = ANY(%(classes)s))
      AND (%(at)s::timestamptz IS NULL OR (opened_at, id) < (%(at)s::timestamptz, %(id)s::bigint))
      AND (%(words)s = '' OR starts_with(number, %(words)s)
           OR position(lower(%(words)s) IN lower(concat_ws(' ', category_name, category_name_en, cell, cell_name,
                                                           cell_name_en, unit_name, unit_name_en))) > 0)
    ORDER BY opened_at DESC, id DESC LIMIT %(limit)s
"""


async def incidents(
    connection: Connection,
    *,
    closed_too: bool,
    classes: Sequence[str],
    words: str,
    before: tuple[datetime, int] | None,
    limit: int,
) -> list[Row]:
    """The newest first, those opened before ``before`` (instant, id). ``words`` is how a number begins, or part of a
    name of category, cell or unit; empty = any."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            _INCIDENTS,
            {
                "all": closed_too,
                "classes": list(classes),
                "words": words,
                "at": before[0] if before else None,
                "id": before[1] if before else None,
                "limit": limit,
            },
        )
        return await cursor.fetchall()
