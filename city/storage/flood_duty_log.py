"""The duty log: appended, read back in order; asynchronous."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from city.flood import Entry
from city.storage import changes

Connection = AsyncConnection[Any]
Row = dict[str, Any]


async def append(connection: Connection, entries: Sequence[Entry]) -> list[int]:
    """Write entries in their order and tell screens; returns their ids."""
    ids = []
    for entry in entries:
        cursor = await connection.execute(
            """
            INSERT INTO flood_duty_log (at, shift, kind, text, text_en, actor, object, exercise, refers_to)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id
            """,
            (
                entry.at,
                entry.shift,
                entry.kind,
                entry.text,
                entry.text_en,
                entry.actor,
                entry.object,
                entry.exercise,
                entry.refers_to,
            ),
        )
        row = await cursor.fetchone()
        ids.append(int(row[0]) if row else 0)
    await changes.append(connection, [("flood.logged", str(entry_id)) for entry_id in ids])
    return ids


_VIEW = """
    SELECT l.id, l.at, l.shift, l.kind, l.text, l.text_en,
           coalesce(nullif(u.display_name, ''), u.name, l.actor) AS actor, l.object, l.exercise, l.refers_to
    FROM flood_duty_log l LEFT JOIN users u ON l.actor = 'user:' || u.id
"""


async def page(  # each is one condition of the query
    connection: Connection,
    *,
    start: datetime | None,
    end: datetime | None,
    before: tuple[datetime, int] | None,
    limit: int,
    oldest_first: bool = False,
) -> list[Row]:
    """Entries from ``start`` to before ``end``, newest first unless asked otherwise; a person is shown by name."""
    order = "ORDER BY l.at, l.id" if oldest_first else "ORDER BY l.at DESC, l.id DESC"
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            _VIEW
            + """
            WHERE (%(start)s::timestamptz IS NULL OR l.at >= %(start)s)
              AND (%(end)s::timestamptz IS NULL OR l.at < %(end)s)
              AND (%(at)s::timestamptz IS NULL OR (l.at, l.id) < (%(at)s, %(id)s::bigint))
            """
            + order
            + " LIMIT %(limit)s",
            {
                "start": start,
                "end": end,
                "at": before[0] if before else None,
                "id": before[1] if before else None,
                "limit": limit,
            },
        )
        return await cursor.fetchall()


async def get(connection: Connection, entry_id: int) -> Row | None:
    """One entry; None when there is none."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_VIEW + " WHERE l.id = %s", (entry_id,))
        return await cursor.fetchone()
