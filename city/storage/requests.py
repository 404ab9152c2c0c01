"""What units asked for on incidents, and what became of it; asynchronous."""

from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

from city.incidents import Request

Connection = AsyncConnection[Any]
Row = dict[str, Any]

_REQUEST = """
    SELECT id, incident_id, ask, unit_id, asked_by, asked_at, to_unit_id, "limit", state, decided_by, decided_at
    FROM incident_requests
"""


async def of_incident(connection: Connection, incident_id: int) -> tuple[Request, ...]:
    """All of them, the oldest first; the caller holds the incident's lock."""
    async with connection.cursor(row_factory=class_row(Request)) as cursor:
        await cursor.execute(_REQUEST + " WHERE incident_id = %s ORDER BY id", (incident_id,))
        return tuple(await cursor.fetchall())


async def save(connection: Connection, requests: Sequence[Request]) -> None:
    """Write new ones, and the answers of those that are there."""
    if not requests:
        return
    async with connection.cursor() as cursor:
        for one in requests:
            row = {name: getattr(one, name) for name in Request.__dataclass_fields__}
            if one.id:
                await cursor.execute(
                    """
                    UPDATE incident_requests SET state = %(state)s, decided_by = %(decided_by)s,
                        decided_at = %(decided_at)s
                    WHERE id = %(id)s AND state = 'open'
                    """,
                    row,
                )
            else:
                await cursor.execute(
                    """
                    INSERT INTO incident_requests
                        (incident_id, ask, unit_id, asked_by, asked_at, to_unit_id, "limit", state,
                         decided_by, decided_at)
                    VALUES (%(incident_id)s, %(ask)s, %(unit_id)s, %(asked_by)s, %(asked_at)s, %(to_unit_id)s,
                            %(limit)s, %(state)s, %(decided_by)s, %(decided_at)s)
                    """,
                    row,
                )


async def page(
    connection: Connection, *, state: str, ask: str | None, unit: int | None, before: int | None, limit: int
) -> list[Row]:
    """Requests with their incidents, the newest first; ``unit`` is who asked or who was asked."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT r.id, r.incident_id AS incident, i.number, i.state AS incident_state, i.class, i.category,
                   r.ask, u.code AS unit, u.name AS unit_name, u.name_en AS unit_name_en, r.asked_at,
                   t.code AS to_unit, t.name AS to_unit_name, t.name_en AS to_unit_name_en, r."limit", r.state,
                   r.decided_at, c.due_at AS answer_due_at,
                   coalesce(nullif(p.display_name, ''), p.name, r.asked_by) AS asked_by,
                   coalesce(nullif(q.display_name, ''), q.name, r.decided_by) AS decided_by
            FROM incident_requests r JOIN incidents i ON i.id = r.incident_id
            LEFT JOIN units u ON u.id = r.unit_id
            LEFT JOIN units t ON t.id = r.to_unit_id
            LEFT JOIN users p ON r.asked_by = 'user:' || p.id
            LEFT JOIN users q ON r.decided_by = 'user:' || q.id
            LEFT JOIN incident_clocks c ON c.incident_id = r.incident_id AND c.stage = 'answer'
                 AND c.ended_at IS NULL AND r.state = 'open'
            WHERE (%(state)s = 'all' OR r.state = %(state)s)
              AND (%(ask)s::text IS NULL OR r.ask = %(ask)s)
              AND (%(unit)s::int IS NULL OR r.unit_id = %(unit)s OR r.to_unit_id = %(unit)s)
              AND (%(before)s::bigint IS NULL OR r.id < %(before)s)
            ORDER BY r.id DESC LIMIT %(limit)s
            """,
            {"state": state, "ask": ask, "unit": unit, "before": before, "limit": limit},
        )
        return await cursor.fetchall()
