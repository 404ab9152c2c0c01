"""What the forecast works on, read from the database: a station's own levels and the series beside them."""

from datetime import datetime, timedelta
from typing import Any, Literal

from psycopg import Connection

from city.stations import HIGHEST_BELIEVED_M, Station, lowest_believed
from city.storage.series import Column, history
from command_centre.flood.forecast import Series

MOST_RAIN_MM = 500.0  # in one report: what lies above or below 0 is a sentinel


class Readings:
    """One span of time read once: a rain gauge beside ten stations is one query.

    Everything lies in (``start``, ``end``]; instants of arrays are microseconds since 1970 UTC.
    """

    def __init__(self, connection: Connection[Any], *, start: datetime, end: datetime) -> None:
        self._connection = connection
        self._start = start
        self._end = end
        self._read: dict[tuple[object, ...], Column] = {}

    def of(self, station: Station, step_s: int) -> tuple[Series, list[Series]]:
        """The station's own levels, and what else tells of its water, one reading for each ``step_s`` at most."""
        assert station.metric_id is not None  # noqa: S101  # a station without a metric has no reach
        low = lowest_believed(station.levels)
        time_us, value = self._column(station.id, station.metric_id, step_s, "last", low, HIGHEST_BELIEVED_M)
        own = Series(name=station.code, time_us=time_us, value=value, role="level")
        others = []
        for source in station.sources:
            rain = source.role == "rain"
            bounds = (0.0, MOST_RAIN_MM) if rain else (-float("inf"), float("inf"))
            column = self._column(
                source.device_id, source.metric_id, step_s, "sum" if rain else "last", *bounds
            )
            name = f"{source.name}/{source.metric}"
            others.append(Series(name=name, time_us=column[0], value=column[1], role=source.role))
        return own, others

    def _column(
        self,
        device_id: int,
        metric_id: int,
        step_s: int,
        take: Literal["last", "sum"],
        low: float,
        high: float,
    ) -> Column:
        key = (device_id, metric_id, step_s, take, low)
        if key not in self._read:
            self._read[key] = history(
                self._connection,
                device_id,
                metric_id,
                start=self._start,
                end=self._end,
                step=timedelta(seconds=step_s),
                take=take,
                low=low,
                high=high,
            )
        return self._read[key]
