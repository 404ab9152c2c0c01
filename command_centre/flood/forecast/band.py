"""How wrong a forecast may be: a width that moves with the water, and quantiles counted on unseen errors.

The width is a sum of things that make a river unpredictable (how fast it moves, how much is foreseen, rain, height),
with weights that are never negative, so that it only grows beyond what was ever seen. Errors divided by their width
are then counted in classes of width (calm to flood), each class with its own quantiles.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from command_centre.flood.forecast.series import Values

CLASS_EDGES = (0.5, 0.8, 0.95)  # shares of all times at which a new class of width begins
FEWEST = 150  # errors in a class before it has quantiles of its own
LOW, HIGH = 0.1, 0.9
FLOOD_LOW, FLOOD_HIGH = 0.08, 0.92  # in the widest class: the next flood is larger than those counted


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
        width: Values = np.maximum(unrest @ np.array(self.weights), 1e-4)
        return width

    def bounds(self, unrest: Values) -> tuple[Values, Values]:
        """What to add to the median for the lower and the upper bound, metres."""
        width = self.width(unrest)
        place, middles = np.log(width), np.log(np.array(self.middles))
        low = np.interp(place, middles, np.array(self.low))
        high = np.interp(place, middles, np.array(self.high))
        return np.minimum(low, 0.0) * width, np.maximum(high, 0.0) * width


def calibrate(unrest: Values, error: Values) -> Band:
    """From errors (observed minus forecast) that the model made on blocks it had not seen."""
    weights = _weights(unrest, np.abs(error))
    width = np.maximum(unrest @ weights, 1e-4)
    ratio = error / width
    edges = np.quantile(width, CLASS_EDGES)
    classes = np.searchsorted(edges, width, side="right")
    overall = np.quantile(ratio, [LOW, HIGH])
    middles, low, high = [], [], []
    for number in range(len(CLASS_EDGES) + 1):
        inside = classes == number
        last = number == len(CLASS_EDGES)
        if not inside.any():
            continue
        wanted = (FLOOD_LOW, FLOOD_HIGH) if last else (LOW, HIGH)
        bounds = np.quantile(ratio[inside], wanted)
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
