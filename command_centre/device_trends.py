"""Where a battery and a radio signal are going, from medians of days. Pure arithmetic; it says when it cannot tell.

The slope is Theil's and Sen's (P. K. Sen, JASA 63, 1968): the median of the slopes between all pairs of days, which a
quarter of wrong days does not move, such as those of a cold week. Its band is Sen's own from Kendall's variance, which
is widened because days resemble their neighbours (after Hamed and Rao, J. Hydrology 204, 1998, by the first lag alone).
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Days = NDArray[np.int64]  # days since any one day, rising
Values = NDArray[np.float64]  # one a day
BatteryState = Literal["falling", "steady", "far", "empty", "stale", "not_enough", "voltage"]
SignalState = Literal["falling", "steady", "rising", "stale", "not_enough"]

LEAST_DAYS, LEAST_SPAN = 14, 21  # medians, and days from first to last: three weeks of data
LONGEST = 366  # days looked back
EMPTY = 10.0  # %: under this a lithium cell gives no more warning
STALE = 14  # days without a word
NEW_BY = 10.0  # points above all it had for two months: it was charged or replaced
_BEFORE, _AFTER = 60, 3  # days looked at on both sides of such a step
_FARTHEST = 3.0  # a line is drawn no farther than three times what it rests on
_OPEN = 10.0  # and the far edge of its band is open beyond ten times
_MOST_POINTS = 60  # medians of several days where there are more
_BAND_Z = 1.2816  # 80 %
_SIGNAL_DAYS = 42
_WEEK = 7


@dataclass(frozen=True, kw_only=True, slots=True)
class Slope:
    """Per day, with the band in which it lies at 80 %."""

    middle: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Battery:
    """``end``, ``early`` and ``late`` are days on the scale of the input; ``late`` None = it may last for good.

    ``since`` is the day it was new or charged, the first known one where no such step was seen.
    """

    state: BatteryState
    percent: float | None = None
    per_day: float | None = None
    since: int | None = None
    end: int | None = None
    early: int | None = None
    late: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Signal:
    """``value`` of the last week, in the metric's unit, and its change in a week."""

    state: SignalState
    value: float | None = None
    per_week: float | None = None


def battery(days: Days, percent: Values, today: int) -> Battery:
    """When it will be at EMPTY, by the line since it was new. Values outside 0 to 110 are no shares and left out."""
    believed = (percent >= 0) & (percent <= 110) & (days > today - LONGEST) & (days <= today)
    days, percent = days[believed], np.minimum(percent[believed], 100.0)
    if not len(days):
        return Battery(state="not_enough")
    begin = renewed_at(days, percent)
    days, percent = days[begin:], percent[begin:]
    now = float(np.median(percent[days > days[-1] - _WEEK]))
    known = Battery(state="not_enough", percent=now, since=int(days[0]))
    if today - int(days[-1]) > STALE:
        return replace(known, state="stale")
    if now <= EMPTY:
        return replace(known, state="empty", end=today, early=today, late=today)
    span = int(days[-1] - days[0])
    if len(days) < LEAST_DAYS or span < LEAST_SPAN:
        return known
    slope = theil_sen(days, percent)
    known = replace(known, per_day=slope.middle)
    if slope.high >= 0:
        return replace(known, state="steady")
    # The line's own height today: the level of one cold week would bring the end nearer than it is.
    level = float(np.median(percent - slope.middle * (days - today)))
    left = max(0.0, level - EMPTY)
    if left / -slope.middle > _FARTHEST * span:
        return replace(known, state="far")
    days_left = left / -slope.middle
    # No battery falls along a straight line: a tenth either way, even where the days lie on one.
    early, late = min(left / -slope.low, 0.9 * days_left), max(left / -slope.high, 1.1 * days_left)
    return replace(
        known,
        state="falling",
        end=today + round(days_left),
        early=today + math.floor(early),
        late=today + math.ceil(late) if late <= _OPEN * span else None,
    )


def renewed_at(days: Days, percent: Values) -> int:
    """Index of the first day since it was last charged or replaced; 0 where no such step is seen.

    A step counts when three days together lie NEW_BY points above the upper tenth of the two months before: what comes
    back after a cold spell comes back to where it was, not above it.
    """
    lowest = np.minimum.accumulate(percent)
    begin = 0
    for index in (np.flatnonzero(percent[1:] >= lowest[:-1] + NEW_BY) + 1)[::-1].tolist():
        if begin and index < begin - 1:
            break
        if _renewed(days, percent, index):
            begin = index
        elif begin:
            break
    return begin


def _renewed(days: Days, percent: Values, index: int) -> bool:
    after = percent[index : index + _AFTER]
    before = percent[:index][days[:index] >= days[index] - _BEFORE]
    if not len(before):  # it said nothing for two months
        before = percent[index - 1 : index]
    return len(after) > 1 and bool(after.min() >= np.quantile(before, 0.9) + NEW_BY)


def signal(days: Days, value: Values, today: int) -> Signal:
    """The last six weeks: a change counts when the whole band is on one side and it is more than a step a month."""
    recent = (days > today - _SIGNAL_DAYS) & (days <= today) & np.isfinite(value)
    days, value = days[recent], value[recent]
    if not len(days):
        return Signal(state="not_enough")
    now = float(np.median(value[days > days[-1] - _WEEK]))
    if today - int(days[-1]) > STALE:
        return Signal(state="stale", value=now)
    if len(days) < LEAST_DAYS or days[-1] - days[0] < LEAST_SPAN:
        return Signal(state="not_enough", value=now)
    slope = theil_sen(days, value)
    per_week = slope.middle * _WEEK
    state: SignalState = "steady"
    if slope.high < 0 and per_week <= -0.25:
        state = "falling"
    elif slope.low > 0 and per_week >= 0.25:
        state = "rising"
    return Signal(state=state, value=now, per_week=per_week)


def theil_sen(days: Days, value: Values) -> Slope:
    """Median of the slopes of all pairs; at least two different days."""
    at, value = _thinned(days, value)
    first, second = np.triu_indices(len(at), 1)
    slopes = np.sort((value[second] - value[first]) / (at[second] - at[first]))
    n, pairs, middle = len(at), len(slopes), float(np.median(slopes))
    spread = _BAND_Z * math.sqrt(n * (n - 1) * (2 * n + 5) / 18 * _resemblance(at, value, middle))
    low = max(0, math.floor((pairs - spread) / 2) - 1)
    high = min(pairs - 1, math.ceil((pairs + spread) / 2))
    return Slope(middle=middle, low=float(slopes[low]), high=float(slopes[high]))


def _resemblance(days: NDArray[np.float64], value: Values, middle: float) -> float:
    """How much less n days tell than n independent ones: 1 at least, 19 at most."""
    rest = value - middle * days
    rest = rest - rest.mean()
    spread = float(rest @ rest)
    if spread < 1e-9:
        return 1.0
    lag = min(0.9, max(0.0, float(rest[1:] @ rest[:-1]) / spread))
    return (1 + lag) / (1 - lag)


def _thinned(days: Days, value: Values) -> tuple[NDArray[np.float64], Values]:
    """Medians of as many neighbours as it takes to come to _MOST_POINTS: pairs grow with the square."""
    together = math.ceil(len(days) / _MOST_POINTS)
    if together == 1:
        return days.astype(np.float64), value
    begin = len(days) % together  # the oldest few are left out
    return (
        np.median(days[begin:].reshape(-1, together), axis=1),
        np.median(value[begin:].reshape(-1, together), axis=1),
    )
