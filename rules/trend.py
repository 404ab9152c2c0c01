"""The slope of a metric over a window, robustly: what rate and projection rules go by.

The slope is the median of the slopes between all pairs of readings in the window (Theil 1950, Sen 1968): up to
29 % of the readings may be wrong by any amount and it is still the slope of the others.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from rules.books import Surroundings
from rules.condition import CLEAR, OTHER, STANDING_OVER, ConditionRule, Limits, Row
from rules.keys import SECOND_US, Keys
from rules.rows import MetricRows
from rules.standing import ConditionBook, Touched, by_device
from rules.states import rfc3339
from rules.windows import BUCKETS, Trails

MOST_SAMPLES = BUCKETS - 2
_AT_ONCE = 500_000  # pairs in memory at a time


@dataclass(frozen=True, kw_only=True, slots=True)
class TrendRule(ConditionRule):
    """A rule that goes by the slope. ``rising``: it looks for a slope upwards."""

    rising: bool
    trend_us: int  # the window
    min_samples: int
    max_gap_us: int  # a longer gap between readings, and the window begins after it
    noise: float  # the metric's unit: a change in the window that may be nothing

    def window_us(self) -> int:
        return self.trend_us

    @abstractmethod
    def limits(self) -> Limits:
        """The same for every device."""


class Trend(TypedDict):
    """The keys of ``TrendRule`` as a file gives them."""

    trend_us: int
    min_samples: int
    max_gap_us: int
    noise: float


def read_trend(keys: Keys) -> Trend:
    window_s = keys.number("window_s", 3600, least=60, most=7 * 86_400)
    least_gap_s = 2 * window_s / MOST_SAMPLES  # a window keeps one reading for each thirtieth of its length
    return Trend(
        trend_us=round(window_s * SECOND_US),
        min_samples=keys.whole_number("min_samples", 4, least=3, most=MOST_SAMPLES),
        max_gap_us=round(
            keys.number("max_gap_s", window_s / 2, least=least_gap_s, most=window_s) * SECOND_US
        ),
        noise=keys.number("noise", least=0.0),
    )


@dataclass(frozen=True, slots=True)
class Slopes:
    """Of k readings, each with its window. ``slope`` in the metric's unit per second; NaN = too few readings."""

    slope: NDArray[np.float64]
    samples: NDArray[np.int64]
    from_us: NDArray[np.int64]  # the oldest reading in the window


def theil_sen(trails: Trails, *, min_samples: int, max_gap_us: int) -> Slopes:
    """The robust slope at each reading, over what lies in its window since the last long gap."""
    order = np.argsort(trails.valid, axis=1, kind="stable")  # the valid ones to the right, still in order
    t = np.take_along_axis(trails.t, order, axis=1)
    v = np.take_along_axis(trails.v, order, axis=1)
    samples = trails.valid.sum(axis=1)
    column = np.arange(1, BUCKETS)
    gap = (np.diff(t, axis=1) > max_gap_us) & (column > BUCKETS - samples[:, None])
    samples = BUCKETS - np.maximum(BUCKETS - samples, np.where(gap, column, 0).max(axis=1))
    slope = np.full(len(t), np.nan)
    for n in np.unique(samples[samples >= min_samples]).tolist():
        rows = np.flatnonzero(samples == n)
        for begin in range(0, len(rows), max(1, _AT_ONCE // (n * n))):
            part = rows[begin : begin + max(1, _AT_ONCE // (n * n))]
            slope[part] = _median_slope(t[part, -n:], v[part, -n:])
    from_us = np.take_along_axis(t, (BUCKETS - samples)[:, None], axis=1)[:, 0]
    return Slopes(slope, samples, from_us)


def _median_slope(t: NDArray[np.int64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of rows of n readings each."""
    one, other = np.triu_indices(t.shape[1], 1)
    slopes = (v[:, other] - v[:, one]) / ((t[:, other] - t[:, one]) / SECOND_US)
    pairs = len(one)
    low, high = (pairs - 1) // 2, pairs // 2
    slopes.partition((low, high) if low != high else low, axis=1)
    median: NDArray[np.float64] = (slopes[:, low] + slopes[:, high]) / 2
    return median


class TrendBook(ConditionBook):
    """All states of one rule that goes by the slope. A kind says what number the slope makes of a reading.

    History gets no slope: a rise that is found in readings of yesterday calls nobody.
    """

    rule: TrendRule

    def __init__(self, rule: TrendRule, around: Surroundings) -> None:
        super().__init__(rule, around)
        self._history = around.memories.history(self.metric_id, rule.trend_us, rule.rule_id)

    @abstractmethod
    def _within(self, rows: MetricRows) -> NDArray[np.bool_]:
        """Where the rule looks at all; a reading elsewhere ends what stands."""

    @abstractmethod
    def _number(
        self, device: NDArray[np.int32], value: NDArray[np.float64], slope: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """What is compared with the limit; ``slope`` 0 = none that is more than noise."""

    @abstractmethod
    def _seen(self, value: float, slope: float | None, device_id: int, observed_us: int) -> dict[str, object]:
        """What evidence says beside the window; ``slope`` None = too few readings."""

    def _touched(self, rows: MetricRows) -> Touched:
        mark = self._marks[rows.device]
        within = self._within(rows)
        applies = self._fleet.applies(self.rule.rule_id)[rows.device]
        wanted = applies & ~rows.backfill & (within | (mark != CLEAR))
        if self._hours is not None:
            resting = np.flatnonzero(wanted & (mark == CLEAR))
            wanted[resting] = self._hours.covers(rows.observed_us[resting])
        if not wanted.any():
            return
        trails = self._history.trails(rows)
        trails = self._moving(trails, wanted, within)
        if not len(trails.index):
            return
        yield from self._changing(rows, trails, within)

    def _moving(self, trails: Trails, wanted: NDArray[np.bool_], within: NDArray[np.bool_]) -> Trails:
        """Devices that stand, or have a reading further than the noise from the other end of its window."""
        if not wanted.all():
            trails = trails.take(self._fleet.with_all_rows(trails.device, wanted[trails.index]))
        sign = 1 if self.rule.rising else -1
        v = np.where(trails.valid, sign * trails.v, np.inf)
        moved = (v[:, -1] - v.min(axis=1) >= self.rule.noise) & within[trails.index]
        moved |= self._marks[trails.device] != CLEAR
        return trails.take(self._fleet.with_all_rows(trails.device, moved))

    def _changing(self, rows: MetricRows, trails: Trails, within: NDArray[np.bool_]) -> Touched:
        rule = self.rule
        slopes = theil_sen(trails, min_samples=rule.min_samples, max_gap_us=rule.max_gap_us)
        value, newest_us = trails.v[:, -1], trails.t[:, -1]
        change = slopes.slope * (newest_us - slopes.from_us) / SECOND_US * (1 if rule.rising else -1)
        meant = (change >= rule.noise) & within[trails.index]
        number = self._number(trails.device, value, np.where(meant, slopes.slope, 0.0))
        known = ~np.isnan(slopes.slope) | ~within[trails.index]
        raise_at = rule.limits()[0]
        beyond = number >= raise_at if rule.direction == "above" else number <= raise_at
        mark = self._marks[trails.device]
        can_change = np.where(mark == STANDING_OVER, ~beyond, beyond | (mark == OTHER)) & known
        index = np.flatnonzero(self._fleet.with_all_rows(trails.device, can_change) & known)
        ordered = [
            (self._row(rows, trails, slopes, place, float(number[place])), False) for place in index.tolist()
        ]
        if ordered:
            yield from by_device(trails.device[index], ordered)

    def _row(self, rows: MetricRows, trails: Trails, slopes: Slopes, place: int, number: float) -> Row:
        at = int(trails.index[place])
        observed_us = int(rows.observed_us[at])
        slope = None if np.isnan(slopes.slope[place]) else float(slopes.slope[place])
        seen = self._seen(float(rows.value[at]), slope, int(trails.device[place]), observed_us)
        return Row(
            observed_us,
            int(rows.received_us[at]),
            number,
            bool(rows.late[at]),
            seen | self._window(slopes, place),
        )

    def _window(self, slopes: Slopes, place: int) -> dict[str, object]:
        return {
            "window_s": self.rule.trend_us / SECOND_US,
            "window_from": rfc3339(int(slopes.from_us[place])),
            "samples": int(slopes.samples[place]),
            "noise": self.rule.noise,
        }
