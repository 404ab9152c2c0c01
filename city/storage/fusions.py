"""What the fusion of sources looks at: its rules in force, who spoke in open incidents, what lies beside what."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

Connection = AsyncConnection[Any]
Row = dict[str, Any]

MOST_SIGNALS = 200  # the newest of an incident; what spoke before two hundred others proves nothing more


async def rules_in_force(connection: Connection) -> list[tuple[str, int, dict[str, Any]]]:
    """(id, version, definition) of the active rules of type fusion."""
    cursor = await connection.execute(
        "SELECT id, version, definition FROM rules WHERE active AND definition->>'type' = 'fusion' ORDER BY id"
    )
    return [(row[0], row[1], row[2]) for row in await cursor.fetchall()]


async def alarms_of(connection: Connection, incident_ids: Sequence[int], since: datetime) -> list[Row]:
    """The newest alarms of each incident that have a cell: incident_id, category, rule_id, device_id, cell_id,
    raised_at."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT i.id AS incident_id, s.* FROM unnest(%s::bigint[]) AS i (id) CROSS JOIN LATERAL (
                SELECT a.category, a.rule_id, a.device_id, a.cell_id, a.raised_at FROM alarms a
                WHERE a.incident_id = i.id AND a.raised_at >= %s AND a.cell_id IS NOT NULL
                ORDER BY a.raised_at DESC, a.id DESC LIMIT %s) s
            ORDER BY i.id, s.raised_at
            """,
            (list(incident_ids), since, MOST_SIGNALS),
        )
        return await cursor.fetchall()


async def reports_of(connection: Connection, incident_ids: Sequence[int], since: datetime) -> list[Row]:
    """What people added to open incidents: incident_id, seq, at, detail."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "SELECT incident_id, seq, at, detail FROM incident_events"
            " WHERE incident_id = ANY(%s) AND kind = 'reported' AND at >= %s ORDER BY incident_id, seq DESC LIMIT %s",
            (list(incident_ids), since, MOST_SIGNALS),
        )
        return await cursor.fetchall()


async def neighbours(connection: Connection, cells: Sequence[int]) -> dict[int, frozenset[int]]:
    """By cell: the cells beside it."""
    cursor = await connection.execute(
        "SELECT area_id, array_agg(neighbour_id) FROM area_neighbours WHERE area_id = ANY(%s) GROUP BY area_id",
        (list(cells),),
    )
    return {row[0]: frozenset(row[1]) for row in await cursor.fetchall()}
