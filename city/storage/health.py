"""Figures about ourselves: is ingest alive, what was refused, what stands open; asynchronous."""

from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from city.storage.partitions import BEHIND

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


# What the page of the system's health asks beside the figures for /metrics, in one row.
_DETAILS = """
    SELECT clock_timestamp() AS now,
           current_setting('server_version') AS database_version,
           pg_database_size(current_database()) AS database_bytes,
           (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
           current_setting('max_connections')::integer AS connections_most,
           (SELECT count(*) FROM alarms WHERE triage = 'new' AND page_after <= now()) AS untriaged,
           (SELECT min(page_after) FROM alarms WHERE triage = 'new' AND page_after <= now()) AS untriaged_since,
           (SELECT count(*) FROM notifications
            WHERE state = 'waiting' AND next_attempt_at <= now() AND attempts = 0) AS unsent,
           (SELECT min(next_attempt_at) FROM notifications
            WHERE state = 'waiting' AND next_attempt_at <= now() AND attempts = 0) AS unsent_since,
           (SELECT count(*) FROM notifications WHERE state = 'folded') AS folded,
           (SELECT count(*) FROM notifications
            WHERE state = 'failed' AND created_at > now() - interval '1 day') AS failed_today,
           (SELECT count(*) FROM incident_clocks WHERE next_at <= now()) AS clocks_late,
           (SELECT min(next_at) FROM incident_clocks WHERE next_at <= now()) AS clocks_late_since,
           (SELECT count(*) FROM stations) AS stations,
           (SELECT max(issued_at) FROM forecast_runs) AS forecast_at,
           (SELECT count(*) FROM forecast_runs r WHERE r.refused IS NOT NULL
            AND r.issued_at >= (SELECT max(issued_at) FROM forecast_runs) - interval '2 minutes') AS forecasts_refused,
           (SELECT max(at) FROM anchors) AS anchored_at,
           (SELECT evidence->'ends' FROM alarms WHERE rule_id = 'system.certificate_ends'
            AND device_id IS NULL AND cleared_at IS NULL ORDER BY id DESC LIMIT 1) AS certificates_end,
           (SELECT max(snapshot_at) FROM backups) AS backup_at,
           (SELECT min(applied_at_utc) AT TIME ZONE 'UTC' FROM _yoyo_migration) AS born_at
"""


async def details(connection: Connection) -> Row:
    """Ages of queues, sizes and versions, at the database's ``now``; names as ``health_checks.Figures`` has them."""
    return (await _rows(connection, _DETAILS))[0] | (await _rows(connection, BEHIND))[0]


_WORKINGS = """
    SELECT count(*) AS screens_paired,
           count(*) FILTER (WHERE last_seen_at IS NULL OR last_seen_at < now() - interval '3 minutes') AS screens_away
    FROM screens WHERE revoked_at IS NULL AND token_digest IS NOT NULL AND expires_at > now()
"""
# A client id names a persistent session at the broker, so there are few of them; strangers cannot make one.
_WORKERS = """
    SELECT DISTINCT ON (client_id) client_id, figures,
           extract(epoch FROM clock_timestamp() - alive_at)::double precision AS age_s
    FROM ingest_sessions WHERE alive_at > now() - interval '1 day' ORDER BY client_id, alive_at DESC LIMIT 32
"""


async def workings(connection: Connection) -> Row:
    """What /metrics asks beside ``details``: paired screens, and those of them that are away."""
    return (await _rows(connection, _WORKINGS))[0]


async def workers(connection: Connection) -> list[Row]:
    """The newest session of each ingest process that was heard of within a day."""
    return await _rows(connection, _WORKERS)


# As ``BEHIND`` has it, of each. Without an owner nobody looks, and both figures stand while ``look_age_s`` grows.
_LOG = """
    SELECT partition, owner, takeovers, moved, lost,
           greatest(0, end_offset - next_offset) AS lag_records,
           CASE WHEN end_offset > next_offset THEN greatest(0, extract(epoch FROM clock_timestamp()
               - greatest(to_timestamp(received_us / 1e6), level_at)))::double precision ELSE 0 END AS lag_s,
           extract(epoch FROM clock_timestamp() - looked_at)::double precision AS look_age_s
    FROM partition_state
    WHERE partition IN (SELECT partition FROM served_partitions) OR NOT EXISTS (SELECT FROM served_partitions)
    ORDER BY partition
"""


async def log_partitions(connection: Connection) -> list[Row]:
    """How far each partition of the scaled-out log is behind, whose it is and what befell it; empty without one.

    ``lag_s`` is the longest wait of a record in seconds, ``look_age_s`` how old that is; None = nobody ever looked.
    """
    return await _rows(connection, _LOG)
