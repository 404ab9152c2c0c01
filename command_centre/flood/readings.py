"""What the forecast works on, read from the database: a station's own levels and the series beside them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
from psycopg import Connection

from city.stations import HIGHEST_BELIEVED_M, Station, lowest_believed
from city.storage.series import Column, history
from command_centre.flood.forecast import Series

MOST_RAIN_MM = 500.0  # in one report: what lies above or below 0 is a sentinel
LATE = timedelta(hours=2)  # read again each time, since readings come late
WHOLE_AGAIN = timedelta(hours=1)  # and then all of it, for what came later still
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # steps are counted from here, as the database does
_MICROSECOND = timedelta(microseconds=1)

Key = tuple[int, int, int, Literal["last", "sum"], float]  # device, metric, step, what is taken, lowest


@dataclass(kw_only=True, slots=True)
class Held:
    """What was read before, kept between rounds so that each reads only what is new."""

    columns: dict[Key, tuple[datetime, datetime, Column]] = field(default_factory=dict)  # whole at, until


class Readings:
    """One span of time read once: a rain gauge beside ten stations is one query.

    Everything lies in (``start``, ``end``]; instants of arrays are microseconds since 1970 UTC. With ``held``
    only the end is read that may have changed since the last time.
    """

    def __init__(
        self, connection: Connection[Any], *, start: datetime, end: datetime, held: Held | None = None
    ) -> None:
        self._connection = connection
        self._start = start
        self._end = end
        self._held = held or Held()
        self._read: dict[Key, Column] = {}

    def of(self, station: Station, step_s: int) -> tuple[Series, list[Series]]:
        """The station's own levels, and what else tells of its water, one reading for each ``step_s`` at most."""
        assert station.metric_id is not None  # noqa: S101  # a station without a metric has no reach
        low = lowest_believed(station.levels)
        time_us, value = self._column((station.id, station.metric_id, step_s, "last", low))
        own = Series(name=station.code, time_us=time_us, value=value, role="level")
        others = []
        for source in station.sources:
            take: Literal["last", "sum"] = "sum" if source.role == "rain" else "last"
            low = 0.0 if source.role == "rain" else -float("inf")
            time_us, value = self._column((source.device_id, source.metric_id, step_s, take, low))
            others.append(Series(name=source.series_name, time_us=time_us, value=value, role=source.role))
        return own, others

    def _column(self, key: Key) -> Column:
        if key not in self._read:
            self._read[key] = self._fresh(key)
        return self._read[key]

    def _fresh(self, key: Key) -> Column:
        whole_at, until, column = self._held.columns.get(key, (None, self._start, None))
        if whole_at is None or column is None or not timedelta(0) <= self._end - whole_at < WHOLE_AGAIN:
            whole_at, column = self._end, self._fetch(key, self._start)
        else:
            again_from = _step_begin(max(self._start, min(until, self._end) - LATE), key[2])
            column = _joined(column, self._fetch(key, again_from), self._start, again_from)
        self._held.columns[key] = (whole_at, self._end, column)
        return column

    def _fetch(self, key: Key, start: datetime) -> Column:
        device_id, metric_id, step_s, take, low = key
        high = MOST_RAIN_MM if take == "sum" else HIGHEST_BELIEVED_M if low > -float("inf") else float("inf")
        return history(
            self._connection,
            device_id,
            metric_id,
            start=start,
            end=self._end,
            step=timedelta(seconds=step_s),
            take=take,
            low=low,
            high=high,
        )


def _step_begin(at: datetime, step_s: int) -> datetime:
    """Just before the step of ``at`` begins, so that (this, …] takes whole steps."""
    step = timedelta(seconds=step_s)
    return _EPOCH + (at - _EPOCH) // step * step - _MICROSECOND


def _joined(held: Column, tail: Column, start: datetime, again_from: datetime) -> Column:
    kept = (held[0] > _us(start)) & (held[0] <= _us(again_from))
    return np.concatenate([held[0][kept], tail[0]]), np.concatenate([held[1][kept], tail[1]])


def _us(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // _MICROSECOND
