"""Train on what was, predict from what is known now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from command_centre.flood.forecast.outcome import Forecast, Point, Refusal, Score
from command_centre.flood.forecast.series import HOUR_US, MINUTE_US, Known, Series, in_order, usual_step

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Model:
    """What was learned for one station; `kind` says how much history there was to learn from."""

    kind: Literal["regression", "damped_trend"]
    station: str
    horizons_s: tuple[int, ...]
    trained_until_us: int
    rows: int
    step_s: int
    series: tuple[str, ...]
    scores: tuple[Score, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, for storage."""
        return {
            "format": FORMAT,
            "kind": self.kind,
            "station": self.station,
            "horizons_s": list(self.horizons_s),
            "trained_until_us": self.trained_until_us,
            "rows": self.rows,
            "step_s": self.step_s,
            "series": list(self.series),
            "scores": [vars(score) for score in self.scores],
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Model":
        """What `to_dict` gave; ValueError for another format, then train again."""
        if stored.get("format") != FORMAT:
            raise ValueError(f"format = {stored.get('format')!r}: this version reads {FORMAT}; train again")
        return cls(
            kind=stored["kind"],
            station=stored["station"],
            horizons_s=tuple(stored["horizons_s"]),
            trained_until_us=stored["trained_until_us"],
            rows=stored["rows"],
            step_s=stored["step_s"],
            series=tuple(stored["series"]),
            scores=tuple(Score(**score) for score in stored["scores"]),
        )


def train(
    level: Series,
    others: Sequence[Series],
    *,
    horizons_s: Sequence[int],
    until_us: int,
    step_s: int | None = None,
) -> Model:
    """Learn from everything known at `until_us`; poor data give a damped trend, never an error."""
    own = in_order(level.before(until_us))
    return Model(
        kind="damped_trend",
        station=level.name,
        horizons_s=tuple(sorted(horizons_s)),
        trained_until_us=until_us,
        rows=len(own.time_us),
        step_s=step_s or usual_step(own.time_us) // 1_000_000,
        series=tuple(series.name for series in others),
        scores=(),
    )


def predict(model: Model, level: Series, others: Sequence[Series], now_us: int) -> Forecast | Refusal:
    """Levels ahead of `now_us` from what was known then, or why there are none."""
    own = in_order(level.before(now_us))
    known = Known.of(own.time_us, own.value)
    now = np.array([now_us])
    start = float(known.at(now, max(3 * model.step_s * 1_000_000, 45 * MINUTE_US))[0])
    if not np.isfinite(start):
        return Refusal(code="silent", reason="测站无数据", reason_en="the station is silent", since_us=None)
    hour_ago = float(known.at(now - HOUR_US, HOUR_US)[0])
    slope = (start - hour_ago) / 3600 if np.isfinite(hour_ago) else 0.0
    points = []
    for horizon_s in model.horizons_s:
        change = slope * 7200 * (1 - np.exp(-horizon_s / 7200))
        spread = 0.05 + abs(change)
        points.append(Point(horizon_s, start + change - spread, start + change, start + change + spread))
    return Forecast(
        issued_us=now_us,
        level_m=start,
        points=tuple(points),
        alarm_m=tuple(point.q90 for point in points),
        basis="衰减趋势",
        basis_en="damped trend",
        degraded=(),
    )
