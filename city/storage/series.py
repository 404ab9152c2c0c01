"""What stations and devices have read, thinned for a screen.

Readings of a clock that runs ahead are stored but not shown: they would stand as the newest for as long as
the clock is wrong.
"""

from datetime import UTC, datetime, timedelta

from psycopg import Connection
from psycopg.rows import TupleRow

from city.devices import SeriesPoint
from city.errors import CityError
from city.observations import Quality
from city.storage.devices import UnknownDeviceError

MOST_POINTS = 5_000  # of one answer
WANTED_POINTS = 500  # about as many as a chart has room for
_STEPS_S = (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400, 604800)
_RAW_IS_ENOUGH = timedelta(days=14)  # rollups of shorter spans save nothing and may lack what came late
_UNBELIEVED = int(Quality.CLOCK_AHEAD)


class SeriesError(CityError):
    """A span, step or metric that cannot be answered."""


def hydrograph(
    connection: Connection[TupleRow], code: str, *, hours: int, now: datetime
) -> list[tuple[datetime, float]]:
    """Levels of the last hours, oldest first: real readings, thinned to the highest of each step where there are many.

    The highest, because a crest that passes between two points is the one thing a hydrograph must not lose.

    The span ends now; for a station whose newest reading is older than that (a recorded series played back)
    it ends there. Raises UnknownDeviceError, SeriesError.
    """
    device_id, metric_id = _device_metric(connection, code, None)
    newest = connection.execute(
        "SELECT observed_at FROM observations WHERE device_id = %s AND metric_id = %s AND quality & %s = 0"
        " AND observed_at <= %s ORDER BY observed_at DESC LIMIT 1",
        (device_id, metric_id, _UNBELIEVED, now),
    ).fetchone()
    if newest is None:
        return []
    span = timedelta(hours=hours)
    end = now if newest[0] > now - span else newest[0]
    rows = connection.execute(
        """SELECT (array_agg(observed_at ORDER BY value DESC, observed_at DESC))[1], max(value) FROM observations
           WHERE device_id = %(device)s AND metric_id = %(metric)s AND quality & %(unbelieved)s = 0
             AND observed_at > %(start)s AND observed_at <= %(end)s
           GROUP BY date_bin(%(step)s, observed_at, '2000-01-01Z') ORDER BY 1""",
        {
            "device": device_id,
            "metric": metric_id,
            "unbelieved": _UNBELIEVED,
            "start": end - span,
            "end": end,
            "step": fitting_step(span),
        },
    )
    return [(row[0], row[1]) for row in rows]


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
    device_id, metric_id = _device_metric(connection, code, metric)
    rows = connection.execute(
        _SERIES,
        {
            "device": device_id,
            "metric": metric_id,
            "unbelieved": _UNBELIEVED,
            "start": start,
            "end": end,
            "step": step,
            "rollup": _rollup_step(end - start, step),
        },
    )
    return [
        SeriesPoint(at=at.astimezone(UTC), minimum=low, mean=mean, maximum=high, readings=readings)
        for at, low, mean, high, readings in rows
    ]


# Rollups where they reach, the readings themselves before and after: the newest rollup may still be growing.
_SERIES = """
    WITH reach AS (
        SELECT min(bucket) AS first, max(bucket) AS last FROM rollups
        WHERE step_s = %(rollup)s AND device_id = %(device)s AND metric_id = %(metric)s
          AND bucket >= %(start)s AND bucket < %(end)s
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


def _rollup_step(span: timedelta, step: timedelta) -> int:
    """Seconds of the coarsest rollup that fits into the step; 0 = read the readings."""
    if span <= _RAW_IS_ENOUGH:
        return 0
    seconds = step.total_seconds()
    return next((rollup for rollup in (3600, 60) if seconds % rollup == 0), 0)


def _device_metric(connection: Connection[TupleRow], code: str, metric: str | None) -> tuple[int, int]:
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
