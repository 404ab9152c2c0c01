"""Rate of change: the robust slope over a window, beyond a limit."""

from dataclasses import dataclass
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from rules.condition import Limits
from rules.keys import Direction, Keys, StationLevel
from rules.rows import MetricRows
from rules.rule import read_common
from rules.trend import TrendBook, TrendRule, read_trend

PER_S = {"minute": 60, "hour": 3600, "day": 86_400}


@dataclass(frozen=True, kw_only=True, slots=True)
class RateRule(TrendRule):
    """``raise_at`` and ``clear_at``: the metric's unit per ``per_s``; direction below is a fall, and negative."""

    raise_at: float
    clear_at: float
    per_s: int
    only_above: float | StationLevel | None  # the metric's unit; None = anywhere
    margin: float  # the metric's unit: from so far under ``only_above`` the rule looks

    def limits(self) -> Limits:
        return self.raise_at, self.clear_at

    def terms(self, limits: Limits) -> dict[str, object]:
        return {
            "direction": self.direction,
            "limit": "constant",
            "raise_at": limits[0],
            "clear_at": limits[1],
            "per_s": self.per_s,
        }


def read(keys: Keys, version: int) -> RateRule:
    """A rule of type "rate"; docs/rules.md has every key."""
    direction = cast(Direction, keys.choice("direction", get_args(Direction), "above"))
    raise_at = keys.number("raise_at")
    rising = direction == "above"
    if raise_at <= 0 if rising else raise_at >= 0:
        raise keys.error(
            "raise_at",
            "a rise is above 0, a fall (direction below) under 0",
            "上升须大于 0，下降（direction = below）须小于 0",
        )
    return RateRule(
        **read_common(keys, version, frozenset({keys.code("kind")})),
        **read_trend(keys),
        metric=keys.code("metric"),
        direction=direction,
        rising=rising,
        raise_at=raise_at,
        clear_at=_clear_at(keys, raise_at),
        per_s=PER_S[keys.choice("per", tuple(PER_S), "hour")],
        only_above=keys.limit("only_above") if keys.has("only_above") else None,
        margin=keys.number("margin", 0.0, least=0.0),
        on_delay_us=keys.delay_us("on_delay_s", 0),
        off_delay_us=keys.delay_us("off_delay_s", 0),
    )


def _clear_at(keys: Keys, raise_at: float) -> float:
    if not keys.has("clear_at"):
        deadband = keys.number("deadband", abs(raise_at) / 2, least=0.0, most=abs(raise_at))
        return raise_at - deadband if raise_at > 0 else raise_at + deadband
    if keys.has("deadband"):
        raise keys.error(
            "clear_at", "given beside deadband; keep one of the two", "不能与 deadband 同时填写，请保留一项"
        )
    clear_at = keys.number("clear_at")
    if not min(raise_at, 0) <= clear_at <= max(raise_at, 0):
        raise keys.error(
            "clear_at",
            f"must be between 0 and raise_at = {raise_at:g}",
            f"必须在 0 与 raise_at = {raise_at:g} 之间",
        )
    return clear_at


class RateBook(TrendBook):
    """All states of one rate rule."""

    kind = "rate"
    rule: RateRule

    def _limits(self, device_id: int) -> Limits:
        floor = self._floor(np.array([device_id], dtype=np.int32))
        raise_at, clear_at = self.rule.limits()
        return (np.nan if np.isnan(floor).any() else raise_at), clear_at

    def _within(self, rows: MetricRows) -> NDArray[np.bool_]:
        if self.rule.only_above is None:
            return np.ones(len(rows), dtype=np.bool_)
        within: NDArray[np.bool_] = rows.value >= self._floor(rows.device)
        return within

    def _floor(self, device: NDArray[np.int32]) -> NDArray[np.float64]:
        """From which value on the rule looks; NaN = the station has no such level."""
        match self.rule.only_above:
            case None:
                return np.asarray(-np.inf)
            case str() as name:
                floor: NDArray[np.float64] = self._fleet.station_levels[name][device] - self.rule.margin
                return floor
            case number:
                return np.asarray(number - self.rule.margin)

    def _number(
        self, device: NDArray[np.int32], value: NDArray[np.float64], slope: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return slope * self.rule.per_s

    def _seen(self, value: float, slope: float | None, device_id: int, observed_us: int) -> dict[str, object]:
        seen: dict[str, object] = {
            "value": value,
            "slope": None if slope is None else round(slope * self.rule.per_s, 6),
        }
        if self.rule.only_above is not None:
            seen["only_above"] = float(self._floor(np.array([device_id], dtype=np.int32)).flat[0])
        return seen
