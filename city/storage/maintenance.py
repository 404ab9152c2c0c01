"""What keeps the database bounded and honest: retention, services that end, our own outage; asynchronous."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from city import tracing
from city.storage import changes

Connection = AsyncConnection[Any]

# Table, its column of age. Rows are found through an index on that column, deleted in bounded bites.
_AGED: dict[str, LiteralString] = {
    "detections": "observed_at",
    "changes": "at",
    "recent_sequences": "observed_at",
    "quarantine": "received_at",
    "idempotency_keys": "created_at",
    "ingest_sessions": "alive_at",
    "sessions": "expires_at",
    "observation_revisions": "observed_at",
    "rollups": "bucket",
    "forecast_runs": "issued_at",
    "forecast_scores": "day",
    "report_rates": "full_at",
    "report_refusals": "hour",
    "roster": "ends",
    "centres": "seen_at",
}


async def drop_observations(connection: Connection, before: datetime, bite: int) -> int:
    """Remove observations older than ``before``: whole chunks where TimescaleDB keeps them, else up to ``bite`` rows.

    Returns rows or chunks removed; call again while it is not 0. A chunk goes when all of it is old enough.
    """
    cursor = await connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'")
    if await cursor.fetchone() is not None:
        dropped = await (await connection.execute("SELECT drop_old_observations(%s)", (before,))).fetchone()
        return int(dropped[0]) if dropped else 0
    deleted = await connection.execute(
        """
        DELETE FROM observations WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM observations WHERE observed_at < %s LIMIT %s))
        """,
        (before, bite),
    )
    return deleted.rowcount


async def delete_older(connection: Connection, table: str, before: datetime, bite: int) -> int:
    """Delete up to ``bite`` rows of an aged table; returns how many. Raises KeyError for another table."""
    column = _AGED[table]
    deleted = await connection.execute(
        f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE {column} < %s LIMIT %s))",  # noqa: S608  # names from the table above
        (before, bite),
    )
    return deleted.rowcount


async def cut_quarantine(connection: Connection, keep: int, bite: int) -> int:
    """Delete the oldest quarantined messages above ``keep``; they stay counted by hour and reason."""
    deleted = await connection.execute(
        """
        DELETE FROM quarantine WHERE id IN (
            SELECT id FROM quarantine ORDER BY id
            LIMIT least(%(bite)s, greatest(0, (SELECT count(*) FROM quarantine) - %(keep)s)))
        """,
        {"keep": keep, "bite": bite},
    )
    return deleted.rowcount


async def end_services(connection: Connection, now: datetime) -> list[str]:
    """Put devices whose test or shelf has ended back into service, on the record; their codes."""
    cursor = await connection.execute(
        """
        WITH ended AS (
            UPDATE devices
            SET service_state = 'in_service', service_until = NULL, service_reason = '', service_by = ''
            WHERE service_until <= %(now)s AND service_state IN ('under_test', 'shelved')
            RETURNING id, code
        ), noted AS (
            INSERT INTO audit (at, actor, action, object, reason, request)
            SELECT %(now)s, 'system', 'device.service', code, 'its time had ended', %(request)s FROM ended
        )
        SELECT code FROM ended ORDER BY code
        """,
        {"now": now, "request": tracing.request_id.get()},
    )
    return [row[0] for row in await cursor.fetchall()]


# ── our own outage ───────────────────────────────────────────────────────────────────────────────────


async def ingest_alive_at(connection: Connection) -> datetime | None:
    """When any ingest process last said that it listens; None when none ever did."""
    cursor = await connection.execute("SELECT max(alive_at) FROM ingest_sessions")
    row = await cursor.fetchone()
    return row[0] if row else None


async def broker_dropped(connection: Connection, since: datetime) -> int | None:
    """Messages the broker threw away since it started, as a live session reports; None = unknown."""
    cursor = await connection.execute(
        """
        SELECT (figures ->> 'broker_dropped')::numeric::bigint FROM ingest_sessions
        WHERE alive_at > %s AND jsonb_typeof(figures -> 'broker_dropped') = 'number'
        ORDER BY alive_at DESC LIMIT 1
        """,
        (since,),
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else None


async def disk_rooms(connection: Connection, since: datetime) -> list[tuple[str, int]]:
    """(ok, little or none; bytes free) of the database's disk as each live ingest sees it; empty = nobody looks."""
    cursor = await connection.execute(
        """
        SELECT DISTINCT ON (client_id) figures ->> 'disk', (figures ->> 'disk_free_bytes')::numeric::bigint
        FROM ingest_sessions WHERE alive_at > %s AND jsonb_typeof(figures -> 'disk_free_bytes') = 'number'
        ORDER BY client_id, alive_at DESC
        """,
        (since,),
    )
    return [(row[0], int(row[1])) for row in await cursor.fetchall()]


async def last_evidence(connection: Connection, rule_id: str) -> tuple[dict[str, Any], bool] | None:
    """Evidence of the newest system alarm of this rule, and whether it stands; None = there never was one."""
    cursor = await connection.execute(
        "SELECT evidence, cleared_at IS NULL FROM alarms WHERE rule_id = %s AND device_id IS NULL"
        " ORDER BY id DESC LIMIT 1",
        (rule_id,),
    )
    row = await cursor.fetchone()
    return (row[0], row[1]) if row else None


async def raise_system_alarm(
    connection: Connection,
    rule_id: str,
    category: str,
    now: datetime,
    evidence: dict[str, object],
    level: str = "red",
) -> bool:
    """Raise an alarm about ourselves; one that stands gets the new evidence. True when it is new."""
    async with connection.transaction():
        cursor = await connection.execute(
            """
            INSERT INTO alarms AS a (rule_id, rule_version, category, level, raised_at, evidence)
            VALUES (%(rule)s, 1, %(category)s, %(level)s, %(now)s, %(evidence)s)
            ON CONFLICT (rule_id, device_id, cell_id, metric_id) WHERE cleared_at IS NULL
                DO UPDATE SET evidence = excluded.evidence, repeats = a.repeats + 1
            RETURNING id, repeats = 0
            """,
            {"rule": rule_id, "category": category, "level": level, "now": now, "evidence": Jsonb(evidence)},
        )
        row = await cursor.fetchone()
        new = bool(row and row[1])
        if row and new:
            await changes.append(connection, [("alarm.raised", str(row[0]))])
        return new


async def clear_system_alarm(connection: Connection, rule_id: str, now: datetime) -> bool:
    """Clear an alarm about ourselves; True when one stood."""
    async with connection.transaction():
        cursor = await connection.execute(
            "UPDATE alarms SET cleared_at = greatest(%s, raised_at)"
            " WHERE rule_id = %s AND device_id IS NULL AND cleared_at IS NULL RETURNING id",
            (now, rule_id),
        )
        cleared = [str(row[0]) for row in await cursor.fetchall()]
        await changes.append(connection, [("alarm.cleared", alarm_id) for alarm_id in cleared])
        return bool(cleared)


async def last_raised_at(connection: Connection, rule_ids: Sequence[str]) -> dict[str, datetime]:
    """When a standing system alarm of these rules was raised."""
    cursor = await connection.execute(
        "SELECT rule_id, raised_at FROM alarms"
        " WHERE rule_id = ANY(%s) AND device_id IS NULL AND cleared_at IS NULL",
        (list(rule_ids),),
    )
    return {row[0]: row[1] for row in await cursor.fetchall()}


# ── rollups ──────────────────────────────────────────────────────────────────────────────────────────


async def rollup_progress(connection: Connection) -> tuple[date, datetime] | None:
    """(first UTC day not yet rolled up, arrival up to which late readings are in); None before the first day."""
    cursor = await connection.execute("SELECT done_to, looked_at FROM rollup_progress")
    row = await cursor.fetchone()
    return (row[0], row[1]) if row else None


async def set_rollup_progress(connection: Connection, done_to: date, looked_at: datetime) -> None:
    """Remember both, in the transaction of the days they speak of."""
    await connection.execute(
        """
        INSERT INTO rollup_progress (done_to, looked_at) VALUES (%s, %s)
        ON CONFLICT (only_one) DO UPDATE SET done_to = excluded.done_to, looked_at = excluded.looked_at
        """,
        (done_to, looked_at),
    )


async def first_day(connection: Connection) -> date | None:
    """The UTC day of the oldest reading; looked for once in a database's life, so it may take a while."""
    cursor = await connection.execute("SELECT (min(observed_at) AT TIME ZONE 'UTC')::date FROM observations")
    row = await cursor.fetchone()
    return row[0] if row else None


async def late_days(connection: Connection, since: datetime, until: datetime, before: date) -> list[date]:
    """UTC days before ``before`` into which readings came late, arriving between two instants."""
    cursor = await connection.execute(
        """
        SELECT DISTINCT (observed_at AT TIME ZONE 'UTC')::date AS day FROM observations
        WHERE quality & 2 <> 0 AND received_at >= %s AND received_at < %s AND observed_at < %s
          AND observed_at >= coalesce((SELECT (max(day) + 1)::timestamp AT TIME ZONE 'UTC' FROM history_archive),
                                      '-infinity') -- what is left of an archived day is not the day
        ORDER BY day
        """,
        (since, until, datetime(before.year, before.month, before.day, tzinfo=UTC)),
    )
    return [row[0] for row in await cursor.fetchall()]


async def roll_up_day(connection: Connection, day: date, unbelieved: int) -> int:
    """Write minimum, mean and maximum of each hour of a UTC day; repeatable; returns rows written.

    ``unbelieved`` are the quality bits of readings that no chart shows. Device by device through the primary key:
    without TimescaleDB a day's readings are found no other way than by reading the whole table.
    """
    since = datetime(day.year, day.month, day.day, tzinfo=UTC)
    cursor = await connection.execute(
        """
        INSERT INTO rollups AS known (step_s, device_id, metric_id, bucket, readings, minimum, mean, maximum)
        SELECT 3600, d.id, m.id, date_bin('1 hour', o.observed_at, '2000-01-01Z') AS bucket,
               count(*), min(o.value), avg(o.value), max(o.value)
        FROM devices d CROSS JOIN metrics m CROSS JOIN LATERAL (
            SELECT observed_at, value FROM observations
            WHERE device_id = d.id AND metric_id = m.id AND observed_at >= %(since)s AND observed_at < %(until)s
              AND quality & %(unbelieved)s = 0 OFFSET 0
        ) o
        GROUP BY d.id, m.id, bucket
        ON CONFLICT (step_s, device_id, metric_id, bucket) DO UPDATE
        SET readings = excluded.readings, minimum = excluded.minimum, mean = excluded.mean, maximum = excluded.maximum
        WHERE known.readings <> excluded.readings
        """,
        {"since": since, "until": since + timedelta(days=1), "unbelieved": unbelieved},
    )
    return cursor.rowcount
