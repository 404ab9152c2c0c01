"""Messages as dispatchers look at them, send them again, and count them; asynchronous."""

from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

Connection = AsyncConnection[Any]
Row = dict[str, Any]

_SHOWN = """
    SELECT n.id, n.incident_id AS incident, i.number, u.code AS unit, u.name AS unit_name, n.purpose, n.channel,
           n.contact_id AS contact, coalesce(c.label, '') AS label, n.to_lead, n.urgent, n.held, n.state,
           n.folded_into AS digest, n.attempts, n.created_at, n.attempted_at,
           CASE WHEN n.state = 'waiting' THEN n.next_attempt_at END AS next_attempt_at, n.receipt, n.last_error
    FROM notifications n LEFT JOIN incidents i ON i.id = n.incident_id LEFT JOIN units u ON u.id = n.unit_id
        LEFT JOIN contacts c ON c.id = n.contact_id
"""


async def page(
    connection: Connection,
    *,
    incident: int | None = None,
    state: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Row]:
    """Newest id first, only ids below ``before``. No addresses."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            _SHOWN
            + """
            WHERE (%(incident)s::bigint IS NULL OR n.incident_id = %(incident)s)
              AND (%(state)s::text IS NULL OR n.state = %(state)s)
              AND (%(before)s::bigint IS NULL OR n.id < %(before)s)
            ORDER BY n.id DESC LIMIT %(limit)s
            """,
            {"incident": incident, "state": state, "before": before, "limit": limit},
        )
        return await cursor.fetchall()


async def get(connection: Connection, notification_id: int) -> Row | None:
    """One as ``page`` shows it."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_SHOWN + " WHERE n.id = %s", (notification_id,))
        return await cursor.fetchone()


async def send_again(connection: Connection, notification_id: int, now: datetime) -> bool:
    """Let one that was sent or given up wait again, under the key it had, by itself; False when it cannot.

    It cannot while it waits or goes with a digest, and when its address was forgotten.
    """
    cursor = await connection.execute(
        """
        UPDATE notifications SET state = 'waiting', attempts = 0, next_attempt_at = %(now)s, began_at = %(now)s,
            held = false, fold = false, folded_into = NULL, last_error = NULL
        WHERE id = %(id)s AND state IN ('sent', 'failed')
          AND (contact_id IS NOT NULL OR unit_id IS NOT NULL OR address <> '')
        """,
        {"id": notification_id, "now": now},
    )
    return cursor.rowcount == 1


async def tested_since(
    connection: Connection, now: datetime, within: timedelta, *, unit: int | None, user: int | None
) -> datetime | None:
    """When this owner's addresses were last sent a test message, if within that time."""
    cursor = await connection.execute(
        """
        SELECT max(n.created_at) FROM notifications n LEFT JOIN contacts c ON c.id = n.contact_id
        WHERE n.purpose = 'test' AND n.created_at > %(since)s
          AND (n.unit_id = %(unit)s OR c.user_id = %(user)s)
        """,
        {"since": now - within, "unit": unit, "user": user},
    )
    row = await cursor.fetchone()
    return row[0] if row else None
