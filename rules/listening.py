"""When we listened: connected to the broker and caught up. Only that time counts as a device's silence."""

from collections.abc import Iterable
from typing import Self

import numpy as np
from numpy.typing import NDArray

# After a reconnect the broker needs a moment before what it kept begins to flow.
SETTLE_US = 5_000_000
# A link that flaps for weeks: the oldest intervals are forgotten, which delays silence and never invents it.
MAX_INTERVALS = 4096
_FOREVER = 2**62


class Listening:
    """Intervals in which ingest could hear; an immutable value. Instants are microseconds since 1970 UTC."""

    def __init__(self, intervals: Iterable[tuple[int, int | None]] = ()) -> None:
        """``intervals`` in any order, overlapping or not; an end of None is still going on."""
        merged: list[tuple[int, int]] = []
        for begin, end in sorted((begin, _FOREVER if end is None else end) for begin, end in intervals):
            if merged and begin <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            elif end > begin:
                merged.append((begin, end))
        open_from = merged.pop()[0] if merged and merged[-1][1] == _FOREVER else None
        merged = merged[-MAX_INTERVALS:]
        self._closed = merged
        self._open_from = open_from
        self._begins = np.array([begin for begin, _ in merged], dtype=np.int64)
        lengths = np.array([end - begin for begin, end in merged], dtype=np.int64)
        self._lengths = lengths
        self._before = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)

    def opened(self, at_us: int) -> Self:
        """The same with listening begun at ``at_us``; no change when already listening."""
        if self._open_from is not None:
            return self
        return type(self)([*self._closed, (at_us, None)])

    def closed(self, at_us: int) -> Self:
        """The same with listening ended at ``at_us``; no change when not listening."""
        if self._open_from is None:
            return self
        return type(self)([*self._closed, (self._open_from, at_us)])

    def horizon_us(self, now_us: int) -> int:
        """Up to when all that was sent is known: now, once listening has settled, else the end before that.

        0 = never. Without settling, a reconnect would call devices silent whose words are still queued.
        """
        if self._open_from is not None and self._open_from + SETTLE_US <= now_us:
            return now_us
        return min(now_us, self._closed[-1][1]) if self._closed else 0

    def listened(self, from_us: NDArray[np.int64], to_us: int) -> NDArray[np.int64]:
        """Microseconds listened between each of ``from_us`` and ``to_us``; 0 where from is later than to."""
        total = self._until(np.array([to_us], dtype=np.int64))[0]
        result: NDArray[np.int64] = total - self._until(np.minimum(from_us, to_us))
        return result

    def _until(self, instants: NDArray[np.int64]) -> NDArray[np.int64]:
        """Microseconds listened from the beginning up to each instant."""
        heard = np.zeros(len(instants), dtype=np.int64)
        if self._closed:
            place = np.searchsorted(self._begins, instants, side="right") - 1
            inside = np.maximum(place, 0)
            part = np.clip(instants - self._begins[inside], 0, self._lengths[inside])
            heard = np.where(place >= 0, self._before[inside] + part, 0)
        if self._open_from is not None:
            heard = heard + np.maximum(instants - self._open_from, 0)
        return heard
