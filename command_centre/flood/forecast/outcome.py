"""What a forecast answers: points with a band, or the reason why there is none."""

from dataclasses import dataclass
from typing import Literal, NamedTuple


class Point(NamedTuple):
    """Level in metres expected `horizon_s` after issue: median, and the bounds of the 10-90 % band."""

    horizon_s: int
    q10: float
    q50: float
    q90: float


@dataclass(frozen=True, kw_only=True)
class Score:
    """Cross-validated on whole blocks of the training history: `n` decisions the model had not seen.

    `skill` = 1 - (rmse_m / rmse_persistence_m)²; `coverage` = share of outcomes inside the 10-90 % band.
    """

    horizon_s: int
    n: int
    rmse_m: float
    rmse_persistence_m: float
    coverage: float

    @property
    def skill(self) -> float:
        """1 perfect, 0 as good as "it stays as it is", below 0 worse."""
        if self.rmse_persistence_m <= 0:
            return 0.0
        return 1.0 - (self.rmse_m / self.rmse_persistence_m) ** 2


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Levels ahead of `issued_us`, nearest horizon first; `level_m` is the level they start from.

    `degraded` names the series the model knows and that were missing at this moment.
    `alarm_m` is, for each horizon, the highest level to warn of within it (see `warning.py`).
    """

    issued_us: int
    level_m: float
    points: tuple[Point, ...]
    alarm_m: tuple[float, ...]
    basis: str
    basis_en: str
    degraded: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """No forecast, and why, in words; a dead sensor is never extrapolated. `since_us`: last sign of life."""

    code: Literal["silent", "flat", "out_of_range", "no_data"]
    reason: str
    reason_en: str
    since_us: int | None


@dataclass(frozen=True, kw_only=True)
class TimeTo:
    """Seconds from issue until a level is reached by the median, and at the earliest by the upper bound."""

    seconds: float | None
    earliest_s: float | None


def time_to(forecast: Forecast, level_m: float) -> TimeTo:
    """When the level is reached within the horizons, straight lines between points; 0 when it is reached now."""
    return TimeTo(
        seconds=_first_crossing([(p.horizon_s, p.q50) for p in forecast.points], forecast.level_m, level_m),
        earliest_s=_first_crossing(
            [(p.horizon_s, p.q90) for p in forecast.points], forecast.level_m, level_m
        ),
    )


def _first_crossing(points: list[tuple[int, float]], start_m: float, level_m: float) -> float | None:
    if start_m >= level_m:
        return 0.0
    before_s, before_m = 0.0, start_m
    for horizon_s, value in points:
        if value >= level_m:
            return before_s + (horizon_s - before_s) * (level_m - before_m) / (value - before_m)
        before_s, before_m = float(horizon_s), value
    return None
