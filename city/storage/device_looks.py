"""What the device health loop reads and writes: metrics of devices, medians of days, heard hours; asynchronous.

Every statement is bounded: by a number of devices, or by a range of their ids.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from city.storage.series import SUSPECT

Row = dict[str, Any]
Connection = AsyncConnection[Any]

LEARNED_FROM = 60  # readings of each metric
LEARNED_DAYS = 14
BATTERY, VOLTAGE = "battery", "battery_voltage"
SIGNALS = ("rssi", "snr", "linkquality")  # the first of them that a device sends is its signal
_TRENDED = (BATTERY, VOLTAGE, *SIGNALS)


async def _rows(connection: Connection, query: str, parameters: Mapping[str, object]) -> list[Row]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, parameters)
        return await cursor.fetchall()


# ── metrics of devices ───────────────────────────────────────────────────────────────────────────────


async def enrol(connection: Connection, now: datetime, limit: int) -> int:
    """Give up to ``limit`` devices that were heard and are not followed yet a first look at ``now``."""
    done = await connection.execute(
        """
        INSERT INTO device_health (device_id, look_at)
        SELECT p.device_id, %s FROM presence p
        WHERE NOT EXISTS (SELECT FROM device_health h WHERE h.device_id = p.device_id)
        ORDER BY p.device_id LIMIT %s
        """,
        (now, limit),
    )
    return done.rowcount


async def due_devices(connection: Connection, now: datetime, limit: int) -> list[Row]:
    """Devices whose metrics are to be learned: id, first_heard_at, expected_interval_s (None: nobody knows)."""
    return await _rows(
        connection,
        """
        SELECT d.id, d.first_heard_at, coalesce(d.expected_interval_s, k.expected_interval_s) AS expected_interval_s
        FROM device_health h JOIN devices d ON d.id = h.device_id JOIN device_kinds k ON k.code = d.kind
        WHERE h.look_at <= %(now)s ORDER BY h.look_at LIMIT %(limit)s
        """,
        {"now": now, "limit": limit},
    )


async def newest_readings(connection: Connection, device_ids: Sequence[int], now: datetime) -> list[Row]:
    """Of each device and metric: the newest readings' times (``observed``), last_at (arrival) and value."""
    return await _rows(
        connection,
        """
        SELECT d.id AS device_id, m.id AS metric_id, newest.observed, newest.last_at, newest.value
        FROM unnest(%(ids)s::int[]) AS d (id) CROSS JOIN metrics m CROSS JOIN LATERAL (
            SELECT array_agg(observed_at ORDER BY observed_at DESC) AS observed,
                   (array_agg(received_at ORDER BY observed_at DESC))[1] AS last_at,
                   (array_agg(value ORDER BY observed_at DESC))[1] AS value
            FROM (
                SELECT observed_at, received_at, value FROM observations o
                WHERE o.device_id = d.id AND o.metric_id = m.id AND o.observed_at > %(since)s
                  AND o.observed_at <= %(now)s AND o.quality & %(suspect)s = 0
                ORDER BY o.observed_at DESC LIMIT %(most)s
            ) AS few
        ) newest WHERE newest.observed IS NOT NULL
        """,
        {
            "ids": list(device_ids),
            "since": now - timedelta(days=LEARNED_DAYS),
            "now": now + timedelta(minutes=2),
            "suspect": SUSPECT,
            "most": LEARNED_FROM,
        },
    )


async def longest_pauses(connection: Connection, device_ids: Sequence[int], now: datetime) -> list[Row]:
    """device_id, metric_id, gaps_s: the three longest pauses of two hours and more between rolled up hours."""
    return await _rows(
        connection,
        """
        SELECT device_id, metric_id, (array_agg(gap ORDER BY gap DESC))[1:3] AS gaps_s FROM (
            SELECT device_id, metric_id,
                   extract(epoch FROM bucket - lag(bucket) OVER hours)::float8 AS gap
            FROM rollups WHERE step_s = 3600 AND device_id = ANY(%(ids)s) AND bucket > %(since)s
            WINDOW hours AS (PARTITION BY device_id, metric_id ORDER BY bucket)
        ) each_gap WHERE gap > 3600 GROUP BY 1, 2
        """,
        {"ids": list(device_ids), "since": now - timedelta(days=LEARNED_DAYS)},
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Learned:
    """What is known of one metric of one device; ``due_at`` None = it is not looked at before it is learned again."""

    device_id: int
    metric_id: int
    last_at: datetime
    value: float
    every_s: float | None
    limit_s: float | None
    due_at: datetime | None


async def write_learned(
    connection: Connection, learned: Sequence[Learned], looks: Mapping[int, datetime]
) -> None:
    """Store them, with the time of each device's next look."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            """
            INSERT INTO device_metrics AS known (device_id, metric_id, last_at, value, every_s, limit_s, due_at)
            SELECT %s, %s, %s, %s, %s, %s, coalesce(%s, 'infinity'::timestamptz)
            ON CONFLICT (device_id, metric_id) DO UPDATE SET last_at = excluded.last_at, value = excluded.value,
                every_s = excluded.every_s, limit_s = excluded.limit_s,
                due_at = least(excluded.due_at, CASE WHEN known.blind_since IS NOT NULL THEN known.due_at END)
            """,
            [
                (one.device_id, one.metric_id, one.last_at, one.value, one.every_s, one.limit_s, one.due_at)
                for one in learned
            ],
        )
    await connection.execute(
        "UPDATE device_health h SET look_at = u.at"
        " FROM unnest(%s::int[], %s::timestamptz[]) u (id, at) WHERE h.device_id = u.id",
        (list(looks), list(looks.values())),
    )


async def due_metrics(connection: Connection, now: datetime, limit: int) -> list[Row]:
    """Metrics that could be missed by now, with their newest reading and whether their device speaks.

    device_id, metric_id, last_at, value, limit_s, blind_since, heard_at (of the device, None when it is silent or not
    expected to speak).
    """
    return await _rows(
        connection,
        """
        SELECT dm.device_id, dm.metric_id, dm.limit_s, dm.blind_since,
               greatest(dm.last_at, newest.received_at) AS last_at, coalesce(newest.value, dm.value) AS value,
               CASE WHEN d.registration <> 'retired' AND d.service_state <> 'out_of_service'
                    AND p.link IS DISTINCT FROM 'offline' AND p.last_heard_at > l.silent_before
                    THEN p.last_heard_at END AS heard_at
        FROM (SELECT * FROM device_metrics WHERE due_at <= %(now)s ORDER BY due_at LIMIT %(limit)s) dm
        JOIN devices d ON d.id = dm.device_id
        JOIN device_kinds k ON k.code = d.kind
        LEFT JOIN heard_limits l ON l.interval_s = coalesce(d.expected_interval_s, k.expected_interval_s, 0)
        LEFT JOIN presence p ON p.device_id = d.id
        LEFT JOIN LATERAL (
            SELECT o.received_at, o.value FROM observations o
            WHERE o.device_id = dm.device_id AND o.metric_id = dm.metric_id
              AND o.observed_at > dm.last_at - interval '2 days' AND o.observed_at <= %(now)s + interval '2 minutes'
            ORDER BY o.observed_at DESC LIMIT 1
        ) newest ON true
        """,
        {"now": now, "limit": limit},
    )


async def write_metrics(
    connection: Connection,
    looked: Sequence[tuple[int, int, datetime, float, datetime, datetime | None]],
) -> None:
    """(device, metric, last_at, value, due_at, blind_since) of metrics looked at."""
    columns: list[tuple[Any, ...]] = list(zip(*looked, strict=True)) if looked else [()] * 6
    await connection.execute(
        """
        UPDATE device_metrics dm SET last_at = u.last_at, value = u.value, due_at = u.due_at, blind_since = u.blind
        FROM unnest(%s::int[], %s::int[], %s::timestamptz[], %s::float8[], %s::timestamptz[], %s::timestamptz[])
            u (device, metric, last_at, value, due_at, blind)
        WHERE dm.device_id = u.device AND dm.metric_id = u.metric
        """,
        [list(column) for column in columns],
    )


# ── hours that were heard ────────────────────────────────────────────────────────────────────────────


async def mark_heard(connection: Connection, since: datetime) -> int:
    """Mark the hour of every device's last word, of those heard since; returns hours that are new."""
    done = await connection.execute(
        """
        INSERT INTO heard_hours AS known (day, device_id, hours)
        SELECT (last_heard_at AT TIME ZONE 'UTC')::date, device_id,
               1 << extract(hour FROM last_heard_at AT TIME ZONE 'UTC')::int
        FROM presence WHERE last_heard_at >= %s ORDER BY 1, 2
        ON CONFLICT (day, device_id) DO UPDATE SET hours = known.hours | excluded.hours
        WHERE known.hours & excluded.hours = 0
        """,
        (since,),
    )
    return done.rowcount


async def write_listened(connection: Connection, hours: Mapping[date, int]) -> None:
    """Hours of our own days; one that was whole stays so."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO listened_hours AS known (day, hours) VALUES (%s, %s)"
            " ON CONFLICT (day) DO UPDATE SET hours = known.hours | excluded.hours",
            list(hours.items()),
        )


async def sessions(connection: Connection, since: datetime) -> list[tuple[datetime, datetime]]:
    """Stretches in which some ingest listened and was caught up, overlapping or not."""
    cursor = await connection.execute(
        "SELECT listening_from, alive_at FROM ingest_sessions WHERE caught_up AND alive_at > %s ORDER BY 1",
        (since,),
    )
    return [(begin, end) for begin, end in await cursor.fetchall()]


# ── once a day ───────────────────────────────────────────────────────────────────────────────────────


async def progress(connection: Connection) -> tuple[date | None, date | None]:
    """(first day whose daily work is open, first day not yet rolled up)."""
    cursor = await connection.execute(
        "SELECT (SELECT done_to FROM device_health_progress), (SELECT done_to FROM rollup_progress)"
    )
    row = await cursor.fetchone()
    return (row[0], row[1]) if row else (None, None)


async def set_progress(connection: Connection, done_to: date) -> None:
    """Days before this one are done."""
    await connection.execute(
        "INSERT INTO device_health_progress (done_to) VALUES (%s)"
        " ON CONFLICT (only_one) DO UPDATE SET done_to = excluded.done_to",
        (done_to,),
    )


async def highest_device(connection: Connection) -> int:
    """The highest id of any device, 0 without any."""
    cursor = await connection.execute("SELECT coalesce(max(id), 0) FROM devices")
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def take_day(connection: Connection, day: date, first: int, last: int) -> None:
    """Medians and heard hours of one rolled up UTC day, for devices of ids ``first`` to ``last``; repeatable."""
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    asked = {
        "day": day,
        "begin": begin,
        "end": begin + timedelta(days=1),
        "first": first,
        "last": last,
        "trended": list(_TRENDED),
    }
    await connection.execute(
        """
        INSERT INTO daily_medians AS known (device_id, metric_id, day, median)
        SELECT d.id, m.id, %(day)s, percentile_cont(0.5) WITHIN GROUP (ORDER BY r.mean)
        FROM devices d CROSS JOIN (SELECT id FROM metrics WHERE code = ANY(%(trended)s)) m CROSS JOIN LATERAL (
            SELECT mean FROM rollups WHERE step_s = 3600 AND device_id = d.id AND metric_id = m.id
              AND bucket >= %(begin)s AND bucket < %(end)s OFFSET 0
        ) r WHERE d.id BETWEEN %(first)s AND %(last)s GROUP BY d.id, m.id
        ON CONFLICT (device_id, metric_id, day) DO UPDATE SET median = excluded.median
        """,
        asked,
    )
    await connection.execute(
        """
        INSERT INTO heard_hours AS known (day, device_id, hours)
        SELECT %(day)s, d.id, bit_or(1 << extract(hour FROM r.bucket AT TIME ZONE 'UTC')::int)
        FROM devices d CROSS JOIN (SELECT DISTINCT metric_id AS id FROM device_metrics) m CROSS JOIN LATERAL (
            SELECT bucket FROM rollups WHERE step_s = 3600 AND device_id = d.id AND metric_id = m.id
              AND bucket >= %(begin)s AND bucket < %(end)s OFFSET 0
        ) r WHERE d.id BETWEEN %(first)s AND %(last)s GROUP BY d.id
        ON CONFLICT (day, device_id) DO UPDATE SET hours = known.hours | excluded.hours
        WHERE known.hours | excluded.hours <> known.hours
        """,
        asked,
    )


async def medians(
    connection: Connection, first: int, last: int, since: date
) -> list[tuple[int, str, int, list[date], list[float]]]:
    """(device, metric code, metric id, days, medians) of trended metrics, days in order."""
    cursor = await connection.execute(
        """
        SELECT q.device_id, m.code, m.id, array_agg(q.day ORDER BY q.day), array_agg(q.median ORDER BY q.day)
        FROM daily_medians q JOIN metrics m ON m.id = q.metric_id
        WHERE q.device_id BETWEEN %s AND %s AND q.day >= %s GROUP BY q.device_id, m.id, m.code ORDER BY q.device_id
        """,
        (first, last, since),
    )
    return await cursor.fetchall()


_TREND_COLUMNS = (
    ("trend_day", "date"), ("battery", "text"), ("battery_percent", "real"), ("battery_per_day", "real"),
    ("battery_since", "date"), ("end_at", "date"), ("end_early", "date"), ("end_late", "date"), ("signal", "text"),
    ("signal_metric_id", "smallint"), ("signal_value", "real"), ("signal_per_week", "real"),
)  # fmt: skip
_WRITE_TRENDS = "".join(
    (
        "INSERT INTO device_health (device_id, ",
        ", ".join(name for name, _ in _TREND_COLUMNS),
        ") SELECT * FROM unnest(%(device_id)s::int[], ",
        ", ".join(f"%({name})s::{kind}[]" for name, kind in _TREND_COLUMNS),
        ") AS u (id) WHERE EXISTS (SELECT FROM devices d WHERE d.id = u.id) ON CONFLICT (device_id) DO UPDATE SET ",
        ", ".join(f"{name} = excluded.{name}" for name, _ in _TREND_COLUMNS),
    )
)


async def write_trends(connection: Connection, trends: Sequence[Row]) -> None:
    """Rows of device_id and the columns of a trend."""
    names = ["device_id", *(name for name, _ in _TREND_COLUMNS)]
    await connection.execute(_WRITE_TRENDS, {name: [row[name] for row in trends] for name in names})


async def forget(connection: Connection, before: date, trends_before: date) -> None:
    """Remove heard hours and medians that are too old."""
    await connection.execute("DELETE FROM heard_hours WHERE day < %s", (before,))
    await connection.execute("DELETE FROM listened_hours WHERE day < %s", (before,))
    await connection.execute("DELETE FROM daily_medians WHERE day < %s", (trends_before,))
