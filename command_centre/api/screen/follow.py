"""Which rows of the change table are new, although ids commit out of order.

Pure. An id that is missing below the highest one seen may still be in somebody's open transaction: it is
asked for again until it is older than any transaction of ours can be.
"""

from collections.abc import Iterable

PATIENCE_S = 90.0  # statements and idle transactions of ours end after 30 s each
MOST_GAPS = 10_000  # a burnt range (a rolled-back batch) wider than this is given up from its far end


class Follower:
    """Remembers the highest id and the gaps below it; ``now`` is monotonic seconds."""

    def __init__(self) -> None:
        self.high = 0
        self._gaps: dict[int, float] = {}

    def start(self, recent: Iterable[int], high: int, now: float) -> None:
        """Begin after a full load that saw ``recent`` ids (those of the last minutes) up to ``high``."""
        self.high = high
        self._gaps = {}
        known = set(recent)
        if known:
            self._miss(range(min(known), high + 1), known, now)

    def gaps(self) -> list[int]:
        """Ids to ask for again, beside everything above ``high``."""
        return list(self._gaps)

    def complete(self) -> int:
        """The id up to which nothing is missing: whoever saw everything until there saw all of it."""
        return min(self._gaps) - 1 if self._gaps else self.high

    def fresh(self, ids: Iterable[int]) -> list[int]:
        """Of the ids just read, the new ones in ascending order; they stay new until ``saw``."""
        return sorted({i for i in ids if i > self.high or i in self._gaps})

    def saw(self, fresh: list[int], now: float) -> None:
        """What was new has been worked in. Called after the work, so that a failure in it loses nothing."""
        for i in fresh:
            self._gaps.pop(i, None)
        if fresh and fresh[-1] > self.high:
            self._miss(range(self.high + 1, fresh[-1]), set(fresh), now)
            self.high = fresh[-1]
        for i in [i for i, since in self._gaps.items() if now - since > PATIENCE_S]:
            del self._gaps[i]

    def _miss(self, span: range, known: set[int], now: float) -> None:
        for i in reversed(span):
            if len(self._gaps) >= MOST_GAPS:
                return
            if i not in known:
                self._gaps[i] = now
