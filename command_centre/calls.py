"""What became of the calls that this process answered: counted by route, timed, for /metrics. No I/O here."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

# Upper bounds in seconds. What a person waits for is answered below 0.3; exports and imports take longer.
BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass(kw_only=True)
class Timed:
    """A histogram: ``counts`` by bound, the last for what took longer than all of them."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    sum_s: float = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """As Prometheus has them: counted up to each bound, the last bound is +Inf."""
        found, below = [], 0
        for bound, count in zip([*map(str, BOUNDS_S), "+Inf"], self.counts, strict=True):
            below += count
            found.append((bound, float(below)))
        return found


@dataclass(kw_only=True)
class Calls:
    """``answered`` by (method, route, status); ``reads`` and ``writes`` by how long they took.

    A route is its template, so that the number of series is bounded by the table of routes.
    """

    answered: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    reads: Timed = field(default_factory=Timed)
    writes: Timed = field(default_factory=Timed)

    def add(self, method: str, route: str, status: int, seconds: float) -> None:
        """One call answered."""
        known = method if method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} else "other"
        self.answered[known, route, status] += 1
        (self.reads if known in {"GET", "HEAD"} else self.writes).add(seconds)
