"""What an alarm rests on, as it is stored: rule version, device, readings around it, revisions; asynchronous.

Nothing is decided here. Alarms carry no key to observations, which retention removes long before them.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

Connection = AsyncConnection[Any]
Row = dict[str, Any]


async def _rows(connection: Connection, query: str, parameters: dict[str, object]) -> list[Row]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, parameters)
        return await cursor.fetchall()


async def _row(connection: Connection, query: str, parameters: dict[str, object]) -> Row | None:
    found = await _rows(connection, query, parameters)
    return found[0] if found else None


async def rule(connection: Connection, rule_id: str, version: int, at: datetime) -> Row | None:
    """The version the alarm was raised by, who put it in force before ``at``, and which one is now; None = not stored.

    ``active_version`` None: nothing of it is in force any more.
    """
    return await _row(
        connection,
        """
        SELECT r.version, r.definition, r.source, coalesce(nullif(w.display_name, ''), w.name, r.created_by) AS author,
               r.reason, r.created_at, h.at AS activated_at, h.reason AS activation_reason,
               coalesce(nullif(u.display_name, ''), u.name, h.actor) AS activated_by,
               (SELECT version FROM rules WHERE id = r.id AND active) AS active_version
        FROM rules r
        LEFT JOIN users w ON r.created_by = 'user:' || w.id
        LEFT JOIN LATERAL (
            SELECT at, actor, reason FROM rule_history
            WHERE rule_id = r.id AND to_version = r.version ORDER BY (at <= %(at)s) DESC, at DESC LIMIT 1
        ) h ON true
        LEFT JOIN users u ON h.actor = 'user:' || u.id
        WHERE r.id = %(rule)s AND r.version = %(version)s
        """,
        {"rule": rule_id, "version": version, "at": at},
    )


async def device(connection: Connection, alarm_id: int) -> Row | None:
    """The alarm's device with its places and its station's present levels in metres; None for a system alarm."""
    return await _row(
        connection,
        """
        SELECT d.id, d.code, d.name, d.kind, d.model, d.tags, d.gateway, k.main_metric,
               coalesce(d.expected_interval_s, k.expected_interval_s) AS expected_interval_s,
               d.expected_interval_s IS NOT NULL AS own_interval,
               c.code AS cell, m.code AS community, coalesce(s.code, '') AS street, a.metric_id,
               t.warning_level_m AS warning, t.guaranteed_level_m AS guaranteed, t.highest_level_m AS highest
        FROM alarms a
        JOIN devices d ON d.id = a.device_id
        JOIN device_kinds k ON k.code = d.kind
        LEFT JOIN areas c ON c.id = a.cell_id
        LEFT JOIN areas m ON m.id = c.parent_id
        LEFT JOIN areas s ON s.id = m.parent_id
        LEFT JOIN stations t ON t.device_id = d.id
        WHERE a.id = %(id)s
        """,
        {"id": alarm_id},
    )


async def metrics(connection: Connection, codes: Sequence[str]) -> dict[str, Row]:
    """id, code, name, name_en and unit by code."""
    rows = await _rows(
        connection,
        "SELECT id, code, name, name_en, unit FROM metrics WHERE code = ANY(%(codes)s)",
        {"codes": list(codes)},
    )
    return {row["code"]: row for row in rows}


async def observations(
    connection: Connection,
    device_id: int,
    metric_ids: Sequence[int],
    *,
    start: datetime,
    turn: datetime,
    end: datetime,
    each: int,
) -> list[Row]:
    """Readings in order of time: at most ``each`` of a metric up to ``turn``, the last ones, and ``each`` after it."""
    return await _rows(
        connection,
        """
        SELECT m.code AS metric, o.observed_at, o.received_at, o.value, o.quality
        FROM metrics m CROSS JOIN LATERAL (
            (SELECT observed_at, received_at, value, quality FROM observations
             WHERE device_id = %(device)s AND metric_id = m.id AND observed_at BETWEEN %(start)s AND %(turn)s
             ORDER BY observed_at DESC LIMIT %(each)s)
            UNION ALL
            (SELECT observed_at, received_at, value, quality FROM observations
             WHERE device_id = %(device)s AND metric_id = m.id AND observed_at > %(turn)s AND observed_at <= %(end)s
             ORDER BY observed_at LIMIT %(each)s)
        ) o WHERE m.id = ANY(%(metrics)s) ORDER BY o.observed_at, m.code
        """,
        {
            "device": device_id,
            "metrics": list(metric_ids),
            "start": start,
            "turn": turn,
            "end": end,
            "each": each,
        },
    )


async def revisions(
    connection: Connection, device_id: int, metric_ids: Sequence[int], start: datetime, end: datetime
) -> list[Row]:
    """Other values that came for the same instant: the first one stays, at most 500."""
    return await _rows(
        connection,
        """
        SELECT m.code AS metric, r.observed_at, r.value, r.received_at
        FROM observation_revisions r JOIN metrics m ON m.id = r.metric_id
        WHERE r.device_id = %(device)s AND r.metric_id = ANY(%(metrics)s)
          AND r.observed_at BETWEEN %(start)s AND %(end)s ORDER BY r.observed_at, r.received_at LIMIT 500
        """,
        {"device": device_id, "metrics": list(metric_ids), "start": start, "end": end},
    )


async def detections(
    connection: Connection, device_id: int, start: datetime, end: datetime, limit: int
) -> list[Row]:
    """A camera's events in order of time."""
    return await _rows(
        connection,
        """
        SELECT observed_at, received_at, state, label, score, zone, event_key AS event, url, quality FROM detections
        WHERE device_id = %(device)s AND observed_at BETWEEN %(start)s AND %(end)s
        ORDER BY observed_at LIMIT %(limit)s
        """,
        {"device": device_id, "start": start, "end": end, "limit": limit},
    )


async def media_of_event(connection: Connection, alarm_id: int, around: timedelta, limit: int) -> list[str]:
    """Addresses that came with the camera event which an alarm rests on, in the order they came: no number changes."""
    rows = await _rows(
        connection,
        """
        SELECT t.url FROM alarms a JOIN detections t ON t.device_id = a.device_id
             AND t.event_key = a.evidence ->> 'event' AND t.event_key <> '' AND t.url <> ''
             AND t.observed_at BETWEEN a.raised_at - %(around)s AND a.raised_at + %(around)s
        WHERE a.id = %(alarm)s GROUP BY t.url ORDER BY min(t.received_at), t.url LIMIT %(limit)s
        """,
        {"alarm": alarm_id, "around": around, "limit": limit},
    )
    return [row["url"] for row in rows]


async def listening(connection: Connection, start: datetime, end: datetime) -> list[Row]:
    """When ingest was connected and caught up: silence counts only that time. At most 100 spans."""
    return await _rows(
        connection,
        """
        SELECT greatest(listening_from, %(start)s) AS "from", least(alive_at, %(end)s) AS "to", caught_up
        FROM ingest_sessions WHERE alive_at >= %(start)s AND listening_from <= %(end)s
        ORDER BY listening_from LIMIT 100
        """,
        {"start": start, "end": end},
    )
