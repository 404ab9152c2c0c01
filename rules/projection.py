"""Projection: how long until a limit is reached, when the value goes on as it does."""

from dataclasses import dataclass
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from rules.condition import Limits
from rules.keys import SECOND_US, Direction, Keys, StationLevel
from rules.rows import MetricRows
from rules.rule import read_common
from rules.states import rfc3339
from rules.trend import TrendBook, TrendRule, read_trend

NEVER_S = 1e9  # stands for "not at this slope"; 30 years
_HOUR_S = 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class ProjectionRule(TrendRule):
    """Time left until ``to`` is below ``within_us``. ``direction`` is that of the time: always below."""

    to: float | StationLevel  # the metric's unit, or one of the station's own levels (metres)
    within_us: int
    clear_factor: float  # ends when the time left is over so many times ``within_us``

    def limits(self) -> Limits:
        return self.within_us / SECOND_US, self.within_us / SECOND_US * self.clear_factor

    def terms(self, limits: Limits) -> dict[str, object]:
        return {
            "direction": "above" if self.rising else "below",
            "limit": f"station.{self.to}" if isinstance(self.to, str) else "constant",
            "within_s": limits[0],
            "clear_beyond_s": limits[1],
        }


def read(keys: Keys, version: int) -> ProjectionRule:
    """A rule of type "projection"; docs/rules.md has every key."""
    toward = cast(Direction, keys.choice("direction", get_args(Direction), "above"))
    return ProjectionRule(
        **read_common(keys, version, frozenset({keys.code("kind")})),
        **read_trend(keys),
        metric=keys.code("metric"),
        direction="below",
        rising=toward == "above",
        to=keys.limit("to"),
        within_us=keys.delay_us("within_s", 3600, least=60),
        clear_factor=keys.number("clear_factor", 1.5, least=1.0, most=100.0),
        on_delay_us=keys.delay_us("on_delay_s", 0),
        off_delay_us=keys.delay_us("off_delay_s", 0),
    )


class ProjectionBook(TrendBook):
    """All states of one projection rule."""

    kind = "projection"
    rule: ProjectionRule

    def _limits(self, device_id: int) -> Limits:
        within_s, clear_s = self.rule.limits()
        return (
            np.nan if np.isnan(self._to(np.array([device_id], dtype=np.int32))).any() else within_s
        ), clear_s

    def _to(self, device: NDArray[np.int32]) -> NDArray[np.float64]:
        """The limit of each device; NaN = its station has no such level."""
        if isinstance(self.rule.to, str):
            return self._fleet.station_levels[self.rule.to][device]
        return np.asarray(self.rule.to)

    def _within(self, rows: MetricRows) -> NDArray[np.bool_]:
        return ~np.isnan(np.broadcast_to(self._to(rows.device), rows.device.shape))

    def _number(
        self, device: NDArray[np.int32], value: NDArray[np.float64], slope: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Seconds left. Reached already: between the limits, so that what stands goes on and nothing begins."""
        to_go = (self._to(device) - value) * (1 if self.rule.rising else -1)
        speed = slope if self.rule.rising else -slope
        with np.errstate(divide="ignore", invalid="ignore"):
            left = np.where(speed > 0, np.minimum(to_go / speed, NEVER_S), NEVER_S)
        within_s, clear_s = self.rule.limits()
        between = np.nextafter(within_s, np.inf) if clear_s > within_s else np.nan
        return np.where((to_go <= 0) & (speed > 0), between, left)

    def _seen(self, value: float, slope: float | None, device_id: int, observed_us: int) -> dict[str, object]:
        to = float(self._to(np.array([device_id], dtype=np.int32)).flat[0])
        left_s = None if not slope else (to - value) / slope
        ahead = left_s is not None and 0 < left_s < NEVER_S
        return {
            "value": value,
            "to": to,
            "slope": None if slope is None else round(slope * _HOUR_S, 6),
            "per_s": _HOUR_S,
            "seconds_to_limit": round(left_s) if ahead and left_s is not None else None,
            "expected_at": rfc3339(observed_us + round(left_s * SECOND_US))
            if ahead and left_s is not None
            else None,
        }
