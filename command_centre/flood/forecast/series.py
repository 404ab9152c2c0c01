"""What goes into a forecast: series of a station and of what lies upstream, looked up as of a moment.

Every look-up here answers "what was known at time t": nothing later than t can enter, by construction.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]  # microseconds since 1970, UTC
Values = NDArray[np.float64]
Flags = NDArray[np.bool_]
Role = Literal["level", "rain", "level_upstream", "release", "tide", "other"]

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US


@dataclass(frozen=True, kw_only=True)
class Series:
    """One series of readings in any order: microseconds UTC, and values that may be NaN.

    Units are the sender's own (m, mm per interval, m³/s, cm): a model learns its own scales, but a name must keep
    its unit between training and forecast. Times may be irregular; of two values at one time the later one counts.
    """

    name: str
    time_us: Times
    value: Values
    role: Role = "other"

    def before(self, until_us: int) -> "Series":
        """The part that was known at `until_us` (inclusive)."""
        known = self.time_us <= until_us
        return Series(name=self.name, time_us=self.time_us[known], value=self.value[known], role=self.role)


@dataclass(frozen=True, kw_only=True)
class Known:
    """A cleaned series, ready to be asked: good values only, with running sums for windows."""

    time_us: Times
    value: Values
    running: Values = field(repr=False)

    @classmethod
    def of(cls, time_us: Times, value: Values) -> "Known":
        good = np.isfinite(value)
        kept = value[good]
        return cls(time_us=time_us[good], value=kept, running=np.concatenate([np.zeros(1), np.cumsum(kept)]))

    def at(self, when: Times, max_age_us: int) -> Values:
        """The newest value at or before each time, NaN where it is older than `max_age_us`."""
        if not len(self.time_us):
            return np.full(len(when), np.nan)
        index = np.searchsorted(self.time_us, when, side="right") - 1
        found = self.value[np.maximum(index, 0)]
        age = when - self.time_us[np.maximum(index, 0)]
        return np.where((index >= 0) & (age <= max_age_us), found, np.nan)

    def age(self, when: Times) -> Values:
        """Microseconds since the newest value at or before each time; infinite before the first."""
        if not len(self.time_us):
            return np.full(len(when), np.inf)
        index = np.searchsorted(self.time_us, when, side="right") - 1
        return np.where(index >= 0, (when - self.time_us[np.maximum(index, 0)]).astype(float), np.inf)

    def total(self, start: Times, end: Times) -> Values:
        """Sum of the values with start < time <= end."""
        first = np.searchsorted(self.time_us, start, side="right")
        last = np.searchsorted(self.time_us, end, side="right")
        total: Values = self.running[last] - self.running[first]
        return total

    def mean(self, start: Times, end: Times) -> Values:
        """Mean of the values with start < time <= end, NaN where there is none."""
        first = np.searchsorted(self.time_us, start, side="right")
        last = np.searchsorted(self.time_us, end, side="right")
        count = last - first
        return np.where(count > 0, (self.running[last] - self.running[first]) / np.maximum(count, 1), np.nan)


def in_order(series: Series) -> Series:
    """The same readings sorted by time, one for each time (the last given)."""
    if len(series.time_us) < 2 or bool(np.all(np.diff(series.time_us) > 0)):
        return series
    order = np.argsort(series.time_us, kind="stable")
    time_us, value = series.time_us[order], series.value[order]
    if len(time_us):
        last = np.append(time_us[1:] != time_us[:-1], True)
        time_us, value = time_us[last], value[last]
    return Series(name=series.name, time_us=time_us, value=value.astype(np.float64), role=series.role)


def usual_step(time_us: Times) -> int:
    """Median distance of neighbouring readings in microseconds; ten minutes when there are fewer than two."""
    return int(np.median(np.diff(time_us))) if len(time_us) > 1 else 10 * MINUTE_US
