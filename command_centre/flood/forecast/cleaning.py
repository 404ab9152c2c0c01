"""Which readings a forecast may believe: sentinels, impossible values, spikes and stuck sensors are marked.

Every mark depends on readings at or before its own time only, so that the past looks the same whenever it is
looked at. A jump is held for one reading: the next one either confirms it (a flood wave, a datum step) or not.
Nothing is deleted: the caller keeps the raw series, a marked value merely becomes NaN for the arithmetic.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from command_centre.flood.forecast.series import HOUR_US, Flags, Series, Times, Values, usual_step

# What loggers and data banks write for "no value"; -990 stands in the recorded dam columns of the Han.
SENTINELS = np.array([-99999, -9999.9, -9999, -9990, -999.99, -999.9, -999, -990, -99.99, -99.9, 9999, 99999])
LOWEST_LEVEL_M = -90.0  # no gauge stands lower; what lies below is a sentinel nobody listed
SMALLEST_JUMP_M = 0.5  # a smaller jump is never held as a spike
LONGEST_FLAT_US = 12 * HOUR_US  # a level that moved before is believed to stand still this long
WETTEST_MM = 300.0  # more rain within one interval than was ever measured in an hour


class Mark(IntEnum):
    """Why a reading is not believed."""

    GOOD = 0
    MISSING = 1  # NaN or a sentinel
    IMPOSSIBLE = 2  # outside what the station can show
    SPIKE = 3  # a jump that the next reading has not confirmed


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is plausible for one series, learned from its history; values in the series' own unit."""

    lowest: float
    highest: float
    jump: float
    zero_is_missing: bool
    flat_us: int

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Limits":
        """What `vars` of another gave."""
        return cls(**stored)


def learn(series: Series) -> Limits:
    """Limits from a history in order of time; wide ones where there is little of it."""
    value = series.value[~_missing(series)]
    if series.role == "rain":
        return Limits(lowest=0.0, highest=WETTEST_MM, jump=np.inf, zero_is_missing=False, flat_us=2**62)
    moving = value[value != 0.0]
    zero_is_missing = _zero_is_missing(value, moving)
    used = moving if zero_is_missing else value
    if series.role not in {"level", "level_upstream"} or len(used) < 50:
        low, high = (-np.inf, np.inf) if series.role != "level" else (LOWEST_LEVEL_M, 9000.0)
        return Limits(
            lowest=low,
            highest=high,
            jump=np.inf,
            zero_is_missing=zero_is_missing,
            flat_us=4 * LONGEST_FLAT_US,
        )
    low, high = np.quantile(used, [0.001, 0.999])
    steps = np.abs(np.diff(used))
    return Limits(
        lowest=float(low - max(2.0, high - low)),
        highest=float(high + max(10.0, 5 * (high - low))),
        jump=float(max(SMALLEST_JUMP_M, 6 * np.quantile(steps, 0.999))),
        zero_is_missing=zero_is_missing,
        flat_us=_longest_usual_flat(series),
    )


def mark(series: Series, limits: Limits) -> NDArray[np.int8]:
    """A `Mark` for each reading of a series in order of time."""
    value = series.value
    marks = np.zeros(len(value), dtype=np.int8)
    missing = _missing(series)
    if limits.zero_is_missing:
        missing |= value == 0.0
    with np.errstate(invalid="ignore"):
        marks[(value < limits.lowest) | (value > limits.highest)] = Mark.IMPOSSIBLE
    marks[missing] = Mark.MISSING
    if np.isfinite(limits.jump):
        _mark_spikes(series.time_us, value, marks, limits.jump)
    return marks


def believed(series: Series, limits: Limits) -> Values:
    """The values with NaN for all that is marked."""
    return np.where(mark(series, limits) == Mark.GOOD, series.value, np.nan)


def flat_since(time_us: Times, value: Values) -> Times:
    """For each reading the time of the first of its run of equal values."""
    if not len(value):
        return time_us
    change = np.append(True, value[1:] != value[:-1])
    since: Times = time_us[np.maximum.accumulate(np.where(change, np.arange(len(value)), 0))]
    return since


def _missing(series: Series) -> Flags:
    missing = ~np.isfinite(series.value) | np.isin(series.value, SENTINELS)
    if series.role in {"level", "level_upstream"}:
        missing |= np.nan_to_num(series.value) <= LOWEST_LEVEL_M
    return missing


def _zero_is_missing(value: Values, moving: Values) -> bool:
    """Zeros are rare and far from everything else: a reservoir at 25 m is not suddenly at 0."""
    if not 50 <= len(moving) < len(value) or len(moving) < 0.9 * len(value):
        return False
    low, middle, high = np.quantile(moving, [0.005, 0.5, 0.995])
    return bool(low > 0.3 * middle > 0 and low > high - low)


def _mark_spikes(time_us: Times, value: Values, marks: NDArray[np.int8], jump: float) -> None:
    """Hold what jumps away from the last believed reading until a second reading says the same.

    After a gap a larger step is usual: the limit grows with the number of readings that are missing.
    """
    good = np.flatnonzero(marks == Mark.GOOD)
    if len(good) < 3:
        return
    step = max(1, usual_step(time_us[good]))
    known, times = value[good], time_us[good]
    suspects = np.flatnonzero(np.abs(np.diff(known)) > jump) + 1
    for first in suspects:
        if marks[good[first]] != Mark.GOOD:
            continue
        before = first - 1
        if marks[good[before]] != Mark.GOOD:
            continue  # the reading before was held: this one confirms it, or returns from it
        allowed = jump * max(1.0, (times[first] - times[before]) / step)
        if abs(known[first] - known[before]) > allowed:
            marks[good[first]] = Mark.SPIKE


def _longest_usual_flat(series: Series) -> int:
    """Three times the run of equal values that only a hundredth of all time lies beyond; at least half a day."""
    value = series.value
    if len(value) < 2:
        return 4 * LONGEST_FLAT_US
    starts = np.flatnonzero(np.append(True, value[1:] != value[:-1]))
    ends = np.append(starts[1:] - 1, len(value) - 1)
    lengths = np.sort((series.time_us[ends] - series.time_us[starts]).astype(np.float64))
    share = np.cumsum(lengths) / max(1.0, float(series.time_us[-1] - series.time_us[0]))
    usual = lengths[min(len(lengths) - 1, int(np.searchsorted(share, share[-1] - 0.01)))]
    return int(max(LONGEST_FLAT_US, 3 * usual))
