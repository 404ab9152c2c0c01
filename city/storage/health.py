"""Figures about ourselves: is ingest alive, what was refused, what stands open; asynchronous."""

from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

Row = dict[str, Any]
Connection = AsyncConnection[Any]

_INGEST = """
    SELECT client_id, listening, listening_from, alive_at, figures, clock_timestamp() AS now
    FROM ingest_sessions ORDER BY alive_at DESC LIMIT 1
"""
_REFUSED = """
    SELECT greatest(
        (SELECT count(*) FROM quarantine WHERE received_at > now() - interval '1 hour'),
        (SELECT coalesce(sum(counted), 0) FROM quarantine_counts WHERE hour = date_trunc('hour', now()))
    )::bigint AS counted
"""
_REFUSED_BY_REASON = "SELECT reason, sum(counted)::bigint AS counted FROM quarantine_counts GROUP BY reason"
_OPEN = """
    SELECT class, count(*) AS open, count(*) FILTER (WHERE unit_id IS NULL) AS unassigned
    FROM incidents WHERE closed_at IS NULL AND NOT exercise GROUP BY class
"""
_STANDING = (
    "SELECT level, count(*) AS standing FROM alarms WHERE cleared_at IS NULL AND NOT exercise GROUP BY level"
)
_REPORTS_REFUSED = "SELECT reason, sum(counted)::bigint AS counted FROM report_refusals GROUP BY reason"
_WAITING = """
    SELECT (SELECT count(*) FROM alarms WHERE triage = 'new' AND page_after <= now()) AS alarms_untriaged,
           (SELECT count(*) FROM notifications WHERE state = 'waiting') AS notifications_waiting
"""
_MESSAGES = """
    SELECT channel, state, count(*) AS counted FROM notifications
    WHERE state IN ('waiting', 'folded') OR created_at > now() - interval '1 day' GROUP BY channel, state
"""


async def _rows(connection: Connection, query: str) -> list[Row]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query)
        return await cursor.fetchall()


async def ingest(connection: Connection) -> Row | None:
    """The ingest session heard of last, with the database's ``now`` beside it; None = never one."""
    rows = await _rows(connection, _INGEST)
    return rows[0] if rows else None


async def refused_last_hour(connection: Connection) -> int:
    """Messages quarantined in about the last hour, counted ones that were not kept included."""
    return int((await _rows(connection, _REFUSED))[0]["counted"])


async def figures(connection: Connection) -> dict[str, list[Row]]:
    """For /metrics: refused by reason, open incidents by class, standing alarms by level, what waits."""
    return {
        "refused": await _rows(connection, _REFUSED_BY_REASON),
        "open": await _rows(connection, _OPEN),
        "standing": await _rows(connection, _STANDING),
        "waiting": await _rows(connection, _WAITING),
        "messages": await _rows(connection, _MESSAGES),
        "reports_refused": await _rows(connection, _REPORTS_REFUSED),
    }
