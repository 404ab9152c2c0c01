"""What stations and devices have read, thinned for a screen.

Readings of a clock that runs ahead are stored but not shown: they would stand as the newest for as long as
the clock is wrong.
"""

import math
from datetime import UTC, datetime, timedelta
from typing import Literal, LiteralString

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection
from psycopg.rows import TupleRow, class_row

from city.devices import SeriesPoint
from city.errors import CityError
from city.observations import Quality
from city.stations import Step
from city.storage.devices import UnknownDeviceError
from city.storage.observations import POSTGRES_EPOCH_US

MOST_POINTS = 5_000  # of one answer
WANTED_POINTS = 500  # about as many as a chart has room for
_STEPS_S = (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400, 604800)
_RAW_IS_ENOUGH = timedelta(days=14)  # rollups of shorter spans save nothing and may lack what came late
_HOUR_S = 3600
_UNBELIEVED = int(Quality.CLOCK_AHEAD)
SUSPECT = int(
    Quality.CLOCK_AHEAD | Quality.OUT_OF_RANGE | Quality.SPIKE
)  # never decided on; STUCK only marks


class SeriesError(CityError):
    """A span, step or metric that cannot be answered."""


_STEPS = """
    SELECT min(observed_at) AS first_at, max(observed_at) AS last_at,
           (array_agg(observed_at ORDER BY value DESC, observed_at DESC) FILTER (WHERE believed))[1] AS highest_at,
           max(value) FILTER (WHERE believed) AS highest,
           min(value) FILTER (WHERE believed) AS lowest,
           count(*) FILTER (WHERE NOT believed) AS odd,
           min(value) FILTER (WHERE NOT believed) AS odd_low,
           max(value) FILTER (WHERE NOT believed) AS odd_high,
           bit_or(quality) AS quality
    FROM (
        SELECT observed_at, value, quality, quality & %(suspect)s = 0 AND value BETWEEN %(low)s AND %(high)s AS believed
        FROM observations
        WHERE device_id = %(device)s AND metric_id = %(metric)s AND quality & %(unbelieved)s = 0
          AND observed_at > %(start)s AND observed_at <= %(end)s
    ) AS read
    GROUP BY date_bin(%(step)s, observed_at, '2000-01-01Z') ORDER BY first_at
"""


def steps(
    connection: Connection[TupleRow],
    device_id: int,
    metric_id: int,
    *,
    start: datetime,
    end: datetime,
    low: float,
    high: float,
    most: int = MOST_POINTS,
) -> list[Step]:
    """What was read after ``start`` up to ``end``, oldest first, in at most ``most`` steps; empty ones left out.

    Values outside ``low``..``high`` and those that ingest marked are kept apart in each step, not hidden. Readings
    of a clock that runs ahead are left out.
    """
    cursor = connection.cursor(row_factory=class_row(Step))
    return cursor.execute(
        _STEPS,
        {
            "device": device_id,
            "metric": metric_id,
            "suspect": SUSPECT,
            "unbelieved": _UNBELIEVED,
            "start": start,
            "end": end,
            "low": low,
            "high": high,
            "step": timedelta(seconds=max(0.001, (end - start).total_seconds() / most)),
        },
    ).fetchall()


def newest_at(
    connection: Connection[TupleRow], device_id: int, metric_id: int, now: datetime
) -> datetime | None:
    """When this was last read, by a clock that is believed; None = never."""
    row = connection.execute(
        "SELECT observed_at FROM observations WHERE device_id = %s AND metric_id = %s AND quality & %s = 0"
        " AND observed_at <= %s ORDER BY observed_at DESC LIMIT 1",
        (device_id, metric_id, _UNBELIEVED, now),
    ).fetchone()
    return _utc(row[0]) if row else None


def totals(
    connection: Connection[TupleRow],
    device_id: int,
    metric_id: int,
    *,
    start: datetime,
    end: datetime,
    step: timedelta,
) -> list[tuple[datetime, float]]:
    """Sums of each step (rain in mm), by the step's beginning; a negative reading is no rain and left out."""
    rows = connection.execute(
        """SELECT date_bin(%(step)s, observed_at, '2000-01-01Z') AS at, sum(value) FROM observations
           WHERE device_id = %(device)s AND metric_id = %(metric)s AND quality & %(unbelieved)s = 0
             AND observed_at > %(start)s AND observed_at <= %(end)s AND value >= 0
           GROUP BY at ORDER BY at""",
        {
            "device": device_id,
            "metric": metric_id,
            "unbelieved": SUSPECT,
            "start": start,
            "end": end,
            "step": step,
        },
    )
    return [(_utc(row[0]), row[1]) for row in rows]


# ── whole histories, for the forecast ────────────────────────────────────────────────────────────────

Column = tuple[NDArray[np.int64], NDArray[np.float64]]  # microseconds since 1970 UTC, values
_COPIED = np.dtype([("fields", ">i2"), ("l1", ">i4"), ("at", ">i8"), ("l2", ">i4"), ("value", ">f8")])
_HEADER, _TRAILER = 19, 2  # bytes around the rows of a binary COPY without extensions

_LAST: LiteralString = """
    SELECT observed_at, value FROM (
        SELECT observed_at, value, step, lead(step) OVER (ORDER BY observed_at) AS next FROM (
            SELECT observed_at, value, date_bin(%(step)s, observed_at, '2000-01-01Z') AS step
            FROM observations
            WHERE device_id = %(device)s AND metric_id = %(metric)s AND quality & %(unbelieved)s = 0
              AND observed_at > %(start)s AND observed_at <= %(end)s AND value BETWEEN %(low)s AND %(high)s
        ) believed
    ) stepped WHERE next IS DISTINCT FROM step ORDER BY observed_at
"""
_SUM: LiteralString = """
    SELECT max(observed_at) AS at, sum(value) AS value FROM observations
    WHERE device_id = %(device)s AND metric_id = %(metric)s AND quality & %(unbelieved)s = 0
      AND observed_at > %(start)s AND observed_at <= %(end)s AND value BETWEEN %(low)s AND %(high)s
    GROUP BY date_bin(%(step)s, observed_at, '2000-01-01Z') ORDER BY at
"""
_HIGHEST: LiteralString = """
    SELECT (array_agg(observed_at ORDER BY value DESC, observed_at))[1] AS at, max(value) AS value
    FROM observations
    WHERE device_id = %(device)s AND metric_id = %(metric)s AND quality & %(unbelieved)s = 0
      AND observed_at > %(start)s AND observed_at <= %(end)s AND value BETWEEN %(low)s AND %(high)s
    GROUP BY date_bin(%(step)s, observed_at, '2000-01-01Z') ORDER BY at
"""
_TAKE: dict[str, LiteralString] = {"last": _LAST, "sum": _SUM, "highest": _HIGHEST}


def history(
    connection: Connection[TupleRow],
    device_id: int,
    metric_id: int,
    *,
    start: datetime,
    end: datetime,
    step: timedelta,
    take: Literal["last", "sum", "highest"] = "last",
    low: float = -math.inf,
    high: float = math.inf,
) -> Column:
    """One reading for each step of (``start``, ``end``], oldest first: the last, the highest, or the sum.

    Values from ``low`` to ``high`` only, and none that ingest does not believe. Each carries the time at which it
    was known, so that nothing later can enter. Binary COPY: two years of a station take a second.
    """
    parameters = {
        "device": device_id,
        "metric": metric_id,
        "unbelieved": SUSPECT,
        "start": start,
        "end": end,
        "step": step,
        "low": low,
        "high": high,
    }
    query: LiteralString = "COPY (" + _TAKE[take] + ") TO STDOUT (FORMAT BINARY)"
    with connection.cursor() as cursor, cursor.copy(query, parameters) as copy:
        content = b"".join(bytes(part) for part in copy)
    rows = np.frombuffer(content[_HEADER : len(content) - _TRAILER], dtype=_COPIED)
    return rows["at"].astype(np.int64) + POSTGRES_EPOCH_US, rows["value"].astype(np.float64)


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC)


def fitting_step(span: timedelta) -> timedelta:
    """The round step that gives a chart about as many points as it has room for."""
    wanted = span.total_seconds() / WANTED_POINTS
    return timedelta(seconds=next((step for step in _STEPS_S if step >= wanted), _STEPS_S[-1]))


def read_series(
    connection: Connection[TupleRow],
    code: str,
    *,
    metric: str | None,
    start: datetime,
    end: datetime,
    step: timedelta | None,
) -> list[SeriesPoint]:
    """Minimum, mean and maximum of each step from ``start`` (included) to ``end``, empty steps left out.

    ``metric`` None is the kind's main one, ``step`` None a fitting one; steps are aligned to the year 2000.
    Raises UnknownDeviceError, SeriesError.
    """
    if end <= start:
        raise SeriesError(f"to = {end.isoformat()}: lies before from = {start.isoformat()}; exchange them")
    step = step or fitting_step(end - start)
    if step < timedelta(seconds=1) or (end - start) / step > MOST_POINTS:
        raise SeriesError(
            f"step = {step.total_seconds():g}: use one second or more, and at most {MOST_POINTS} steps"
        )
    device_id, metric_id = device_metric(connection, code, metric)
    rollup = _rollup_step(end - start, step)
    archived_to = None if _keeps_readings(connection, device_id) else _archived_to(connection)
    hours_only = not rollup and archived_to is not None and start < archived_to
    rows = connection.execute(
        _SERIES,
        {
            "device": device_id,
            "metric": metric_id,
            "unbelieved": SUSPECT,
            "start": start,
            "end": end,
            "step": step,
            "rollup": _HOUR_S if hours_only else rollup,
            "archived_to": archived_to,
            "rolled_to": archived_to if hours_only else None,
        },
    )
    return [
        SeriesPoint(at=at.astimezone(UTC), minimum=low, mean=mean, maximum=high, readings=readings)
        for at, low, mean, high, readings in rows
    ]


# Rollups where they reach, the readings themselves before and after: the newest rollup may still be growing. Of days
# whose readings are in files there are hourly values alone, whatever step was asked for.
_SERIES = """
    WITH reach AS (
        SELECT min(bucket) AS first,
               CASE WHEN min(bucket) IS NOT NULL THEN greatest(max(bucket), CASE
                   WHEN %(archived_to)s::timestamptz IS NOT NULL THEN least(%(archived_to)s::timestamptz, %(end)s) END)
               END AS last
        FROM rollups
        WHERE step_s = %(rollup)s AND device_id = %(device)s AND metric_id = %(metric)s
          AND bucket >= %(start)s AND bucket < least(%(end)s, %(rolled_to)s::timestamptz)
    ), parts AS (
        SELECT r.bucket AS at, r.readings, r.minimum, r.mean, r.maximum FROM rollups r, reach
        WHERE r.step_s = %(rollup)s AND r.device_id = %(device)s AND r.metric_id = %(metric)s
          AND r.bucket >= reach.first AND r.bucket < reach.last
        UNION ALL
        SELECT o.observed_at, 1, o.value, o.value, o.value FROM observations o, reach
        WHERE o.device_id = %(device)s AND o.metric_id = %(metric)s AND o.quality & %(unbelieved)s = 0
          AND o.observed_at >= %(start)s AND o.observed_at < coalesce(reach.first, %(end)s)
        UNION ALL
        SELECT o.observed_at, 1, o.value, o.value, o.value FROM observations o, reach
        WHERE o.device_id = %(device)s AND o.metric_id = %(metric)s AND o.quality & %(unbelieved)s = 0
          AND o.observed_at >= reach.last AND o.observed_at < %(end)s
    )
    SELECT date_bin(%(step)s, at, '2000-01-01Z'), min(minimum), sum(mean * readings) / sum(readings),
        max(maximum), sum(readings)::integer
    FROM parts GROUP BY 1 ORDER BY 1
"""


def _keeps_readings(connection: Connection[TupleRow], device_id: int) -> bool:
    """Stations' readings are never archived."""
    return (
        connection.execute("SELECT 1 FROM stations WHERE device_id = %s", (device_id,)).fetchone() is not None
    )


def _archived_to(connection: Connection[TupleRow]) -> datetime | None:
    """Readings before it are in files (city history archive); None = none are."""
    row = connection.execute(
        "SELECT (max(day) + 1)::timestamp AT TIME ZONE 'UTC' FROM history_archive"
    ).fetchone()
    return _utc(row[0]) if row and row[0] else None


def _rollup_step(span: timedelta, step: timedelta) -> int:
    """Seconds of the coarsest rollup that fits into the step; 0 = read the readings."""
    if span <= _RAW_IS_ENOUGH:
        return 0
    seconds = step.total_seconds()
    return next((rollup for rollup in (3600, 60) if seconds % rollup == 0), 0)


def device_metric(connection: Connection[TupleRow], code: str, metric: str | None = None) -> tuple[int, int]:
    """Ids of a device and of its metric, the kind's main one by default. Raises UnknownDeviceError, SeriesError."""
    row = connection.execute(
        """SELECT d.id, m.id, coalesce(%(metric)s, k.main_metric) FROM devices d
           JOIN device_kinds k ON k.code = d.kind
           LEFT JOIN metrics m ON m.code = coalesce(%(metric)s, k.main_metric) WHERE d.code = %(code)s""",
        {"code": code, "metric": metric},
    ).fetchone()
    if row is None:
        raise UnknownDeviceError(f"device = {code!r}: there is none of this code; see the list of devices")
    if row[1] is None:
        raise SeriesError(f"metric = {row[2]!r}: device {code} has no such series; name one that it sends")
    return row[0], row[1]
