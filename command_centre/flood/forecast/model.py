"""What was learned for one station, and its form in storage."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from command_centre.flood.forecast.band import Band
from command_centre.flood.forecast.cleaning import Limits
from command_centre.flood.forecast.features import Layout
from command_centre.flood.forecast.outcome import Score
from command_centre.flood.forecast.regression import Layer, Scaling

FORMAT = 1
Kind = Literal["regression", "damped_trend"]


@dataclass(frozen=True, kw_only=True)
class Model:
    """Everything a forecast needs besides the newest readings.

    `weights` has a column for the change over each horizon, then one for the highest rise within each horizon;
    `bands` stand in the same order. `heights` are levels (75 % and 97 % of the history) above which water is high.
    `margins` says, per horizon, how many widths of the band an alarm stands above the expected highest level.
    `kind`: "damped_trend" when history was too short for more.
    """

    kind: Kind
    station: str
    horizons_s: tuple[int, ...]
    trained_until_us: int
    rows: int
    layout: Layout
    limits: tuple[Limits, ...]
    scaling: Scaling
    layer: Layer
    weights: NDArray[np.float32]
    bands: tuple[Band, ...]
    heights: tuple[float, float]
    margins: tuple[float, ...]
    scores: tuple[Score, ...]

    @property
    def step_s(self) -> int:
        """Seconds between readings of the level, as a rule."""
        return self.layout.step_us // 1_000_000

    @property
    def series(self) -> tuple[str, ...]:
        """The further series that the model uses."""
        return tuple(other.name for other in self.layout.others)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, for storage; arrays as base64 of little-endian floats."""
        return {
            "format": FORMAT,
            "kind": self.kind,
            "station": self.station,
            "horizons_s": list(self.horizons_s),
            "trained_until_us": self.trained_until_us,
            "rows": self.rows,
            "layout": self.layout.to_dict(),
            "limits": [_finite(vars(one)) for one in self.limits],
            "scaling": {
                name: _packed(value.astype(np.float16) if name == "covariance" else value)
                for name, value in vars(self.scaling).items()
            },
            "layer": {name: _packed(value.astype(np.float16)) for name, value in vars(self.layer).items()},
            "weights": _packed(self.weights),
            "bands": [vars(one) for one in self.bands],
            "heights": list(self.heights),
            "margins": list(self.margins),
            "scores": [vars(one) for one in self.scores],
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Model":
        """What `to_dict` gave; ValueError for another format: then train again."""
        if stored.get("format") != FORMAT:
            raise ValueError(f"format = {stored.get('format')!r}: this version reads {FORMAT}; train again")
        return cls(
            kind=stored["kind"],
            station=stored["station"],
            horizons_s=tuple(stored["horizons_s"]),
            trained_until_us=stored["trained_until_us"],
            rows=stored["rows"],
            layout=Layout.from_dict(stored["layout"]),
            limits=tuple(Limits.from_dict(_infinite(one)) for one in stored["limits"]),
            scaling=Scaling(**{name: _unpacked(value) for name, value in stored["scaling"].items()}),
            layer=Layer(**{name: _unpacked(value) for name, value in stored["layer"].items()}),
            weights=_unpacked(stored["weights"]),
            bands=tuple(Band.from_dict(one) for one in stored["bands"]),
            heights=(stored["heights"][0], stored["heights"][1]),
            margins=tuple(stored["margins"]),
            scores=tuple(Score(**one) for one in stored["scores"]),
        )


def _packed(value: NDArray[Any]) -> dict[str, Any]:
    """Type, shape and bytes of an array."""
    return {
        "type": value.dtype.str,
        "shape": list(value.shape),
        "bytes": base64.b64encode(np.ascontiguousarray(value).tobytes()).decode("ascii"),
    }


def _unpacked(stored: Mapping[str, Any]) -> NDArray[Any]:
    """Half floats are only a form of storage; arithmetic goes on in single ones."""
    flat = np.frombuffer(base64.b64decode(stored["bytes"]), dtype=np.dtype(stored["type"]))
    value = flat.reshape(stored["shape"])
    return value.astype(np.float32) if value.dtype == np.float16 else value.copy()


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no infinity: it becomes a word."""
    return {
        name: str(value) if isinstance(value, float) and not np.isfinite(value) else value
        for name, value in values.items()
    }


def _infinite(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: float(value) if isinstance(value, str) else value for name, value in values.items()}
