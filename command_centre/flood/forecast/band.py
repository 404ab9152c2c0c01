"""How wrong a forecast may be: a width that moves with the water, and quantiles counted on unseen errors.

The width is a sum of things that make a river unpredictable (how fast it moves, how much is foreseen, rain, height),
with weights that are never negative, so that it only grows beyond what was ever seen. On
top, a day in which forecasts came out worse than their width widens the next one, a good day narrows it. Errors
divided by their width are then counted in classes of width (calm to flood), each class with its own quantiles.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from command_centre.flood.forecast.series import DAY_US, Known, Times, Values

CLASS_EDGES = (0.5, 0.8, 0.95)  # shares of all times at which a new class of width begins
FEWEST = 150  # errors in a class before it has quantiles of its own
LOW, HIGH = 0.08, 0.92  # a little outside 10 and 90 %: the next season is not quite like those counted
FLOOD_LOW, FLOOD_HIGH = 0.065, 0.935  # in the widest class: the next flood is larger than those counted

SMALLEST_WIDTH_M = 1e-4
LARGEST_RATIO = 10.0  # a single error counts as no more than this many widths
NARROWEST, WIDEST = 0.6, 2.5  # what a good or bad day may do to the width


@dataclass(frozen=True, kw_only=True)
class Band:
    """For one target: weights of the width, and quantiles of error/width at the middle of each class."""

    weights: tuple[float, ...]
    middles: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Band":
        """What `vars` of another gave, through JSON."""
        return cls(**{name: tuple(value) for name, value in stored.items()})

    def width(self, unrest: Values) -> Values:
        """Expected size of the error, metres; `unrest` has one column for each weight."""
        width: Values = np.maximum(unrest @ np.array(self.weights), SMALLEST_WIDTH_M)
        return width

    def bounds(self, width: Values) -> tuple[Values, Values]:
        """What to add to the median for the lower and the upper bound, metres."""
        place, middles = np.log(width), np.log(np.array(self.middles))
        low = np.interp(place, middles, np.array(self.low))
        high = np.interp(place, middles, np.array(self.high))
        return np.minimum(low, 0.0) * width, np.maximum(high, 0.0) * width


def recent(issued: Times, ratio: Values, when: Times, delay_us: int) -> Values:
    """Factor on the width at each of `when`: root of how large |error|/width was on average over the last day.

    `delay_us`: how long after its issue an error is known.
    """
    known = Known.of(issued, np.minimum(ratio, LARGEST_RATIO))
    mean = known.mean(when - delay_us - DAY_US, when - delay_us)
    return np.clip(np.sqrt(np.where(np.isfinite(mean), mean, 1.0)), NARROWEST, WIDEST)


def calibrate(unrest: Values, error: Values, weight: Values, when: Times, delay_us: int) -> Band:
    """From errors (observed minus forecast) that the model made at `when` on blocks it had not seen.

    `weight` says how often each counts: with more weight on high water the band holds there too.
    """
    weights = _weights(unrest, np.abs(error))
    width = np.maximum(unrest @ weights, SMALLEST_WIDTH_M)
    width = width * recent(when, np.abs(error) / width, when, delay_us)
    ratio = error / width
    edges = np.quantile(width, CLASS_EDGES)
    classes = np.searchsorted(edges, width, side="right")
    overall = _quantiles(ratio, weight, (LOW, HIGH))
    middles, low, high = [], [], []
    for number in range(len(CLASS_EDGES) + 1):
        inside = classes == number
        last = number == len(CLASS_EDGES)
        if not inside.any():
            continue
        wanted = (FLOOD_LOW, FLOOD_HIGH) if last else (LOW, HIGH)
        bounds = _quantiles(ratio[inside], weight[inside], wanted)
        trust = min(1.0, float(inside.sum()) / FEWEST)
        bounds = trust * bounds + (1 - trust) * overall
        middles.append(float(np.median(width[inside])))
        low.append(float(bounds[0]))
        high.append(float(bounds[1]))
    order = np.maximum.accumulate(np.array(middles) * (1 + 1e-9 * np.arange(len(middles))))
    return Band(
        weights=tuple(float(one) for one in weights),
        middles=tuple(float(one) for one in order),
        low=tuple(low),
        high=tuple(high),
    )


def _quantiles(value: Values, weight: Values, wanted: tuple[float, float]) -> Values:
    order = np.argsort(value)
    share = np.cumsum(weight[order])
    return np.asarray(np.interp(np.array(wanted) * share[-1], share, value[order]))


def _weights(unrest: Values, size: Values) -> Values:
    """Non-negative least squares by multiplicative steps, each row divided by its own width (three rounds)."""
    width = np.full(len(size), max(float(np.mean(size)), 1e-4))
    weights = np.full(unrest.shape[1], 1e-3)
    for _ in range(3):
        scaled = unrest / width[:, None]
        gram, cross = scaled.T @ scaled, scaled.T @ (size / width)
        weights = np.maximum(weights, 1e-4)
        for _ in range(400):
            weights = weights * cross / np.maximum(gram @ weights, 1e-12)
        width = np.maximum(unrest @ weights, 0.1 * float(np.mean(size)) + 1e-4)
    return weights
