"""How often a device really reports, learned from its own readings: a small histogram of intervals for each.

The quantile of a histogram forgives gaps and bursts, which a mean does not, and costs 32 bytes a device. Bins are
half an octave wide, from 8 s to four days; the answer is the upper edge of the bin, so at most 41 % too long.
Counts halve every week: what the device did a month ago weighs a sixteenth.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rules.fleet import grown
from rules.keys import SECOND_US

BINS = 32
FIRST_S = 8.0
QUANTILE = 0.95
ENOUGH = 20  # intervals; fewer say nothing
WEEK_US = 7 * 24 * 3600 * SECOND_US
_FULL = 255  # a bin that reaches it halves its device's counts
_EDGES_US = (FIRST_S * SECOND_US * 2 ** (np.arange(1, BINS + 1) / 2)).astype(np.int64)  # upper edges


class Intervals:
    """The histograms, and by device the newest reading and the learned interval (0 = not enough is known)."""

    def __init__(self) -> None:
        self.learned_us: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._last_us: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._counts: NDArray[np.uint8] = np.zeros((0, BINS), dtype=np.uint8)
        self._week = 0

    def grow(self, size: int) -> None:
        if size <= len(self._last_us):
            return
        self.learned_us = grown(self.learned_us, size)
        self._last_us = grown(self._last_us, size)
        longer = np.zeros((size, BINS), dtype=np.uint8)
        longer[: len(self._counts)] = self._counts
        self._counts = longer

    def recall(self, device_ids: NDArray[np.int32], observed_us: NDArray[np.int64]) -> None:
        """Newest stored readings, at start."""
        np.maximum.at(self._last_us, device_ids, observed_us)

    def of(
        self, device: NDArray[np.int32], observed_us: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Intervals between the readings, and to those before; changes nothing. History and repeats give none."""
        order = np.lexsort((observed_us, device))
        device, observed_us = device[order], observed_us[order]
        before = np.empty_like(observed_us)
        before[1:] = observed_us[:-1]
        first = np.ones(len(device), dtype=np.bool_)
        first[1:] = device[1:] != device[:-1]
        before[first] = self._last_us[device[first]]
        before = np.maximum(before, self._last_us[device])
        interval = observed_us - before
        counts = (before > 0) & (interval >= SECOND_US)
        return device[counts], interval[counts]

    def learn(
        self,
        intervals: tuple[NDArray[np.int32], NDArray[np.int64]],
        device: NDArray[np.int32],
        observed_us: NDArray[np.int64],
    ) -> None:
        """Take over what a committed batch said: its intervals (``of``) and its readings."""
        whose, interval = intervals
        place = np.minimum(np.searchsorted(_EDGES_US, interval), BINS - 1)
        added = np.zeros(0, dtype=np.int64)
        if len(whose):
            cells, added = np.unique(whose.astype(np.int64) * BINS + place, return_counts=True)
            rows, bins = cells // BINS, cells % BINS
            full = self._counts[rows, bins] + added >= _FULL
            for row in np.unique(rows[full]).tolist():
                self._counts[row] //= 2
            self._counts[rows, bins] = np.minimum(self._counts[rows, bins] + added, _FULL - 1)
        np.maximum.at(self._last_us, device, observed_us)

    def pass_weeks(self, now_us: int) -> None:
        """Halve the counts for every week that has passed."""
        week = now_us // WEEK_US
        if self._week and week > self._week:
            self._counts >>= min(week - self._week, 8)
        self._week = week

    def refresh(self, begin: int, step: int) -> None:
        """Work out the learned interval of every ``step``-th device: all at once is too much for one tick."""
        counts = self._counts[begin::step].astype(np.int32)
        total = counts.sum(axis=1)
        place = (counts.cumsum(axis=1) < np.ceil(total * QUANTILE)[:, None]).sum(axis=1)
        learned = _EDGES_US[np.minimum(place, BINS - 1)]
        self.learned_us[begin::step] = np.where(total >= ENOUGH, learned, 0)

    def known(self, begin: int, step: int) -> NDArray[np.intp]:
        """Those among every ``step``-th device of which anything is known."""
        rows = np.flatnonzero(self._counts[begin::step].any(axis=1))
        return (begin + rows * step).astype(np.intp)

    def saved(self, device_id: int) -> dict[str, object]:
        counts = self._counts[device_id]
        bins = {str(place): int(counts[place]) for place in np.flatnonzero(counts).tolist()}
        return {"week": self._week, "counts": bins} if bins else {}

    def load(self, device_id: int, saved: Mapping[str, object]) -> None:
        """Counts as they were stored; ``pass_weeks`` ages them by the newest week that was stored."""
        counts, week = saved.get("counts"), saved.get("week")
        if not isinstance(counts, Mapping) or not isinstance(week, int):
            return
        if week > self._week:
            if self._week:
                self._counts >>= min(week - self._week, 8)
            self._week = week
        age = min(self._week - week, 8)
        for place, count in counts.items():
            self._counts[device_id, int(place)] = int(count) >> age
