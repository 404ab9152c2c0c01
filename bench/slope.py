"""Whether a figure grows: the median of the slopes between all pairs of samples (Theil 1950, Sen 1968); pure.

One sample that is far off, a garbage collection or a table being cut, does not move it.
"""

from collections.abc import Sequence
from itertools import combinations
from statistics import median

WARM_UP = 1 / 3  # of the samples: caches fill, pages are touched for the first time


def settled(samples: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The samples (x, y) after the warm-up; all of them when there are too few to leave any out."""
    kept = list(samples[int(len(samples) * WARM_UP) :])
    return kept if len(kept) >= 3 else list(samples)


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """Growth of y for each x; 0 with fewer than two samples."""
    steps = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(samples, 2) if b[0] != a[0]]
    return median(steps) if steps else 0.0


def growth(samples: Sequence[tuple[float, float]]) -> float:
    """By how much y grew from the first to the last settled sample, as its slope has it."""
    kept = settled(samples)
    return slope(kept) * (kept[-1][0] - kept[0][0]) if len(kept) > 1 else 0.0


def grows(samples: Sequence[tuple[float, float]], *, least: float, share: float) -> bool:
    """Whether the growth is more than ``least`` and more than ``share`` of what is usual."""
    if len(samples) < 2:
        return False
    return growth(samples) > max(least, share * median(y for _, y in settled(samples)))
