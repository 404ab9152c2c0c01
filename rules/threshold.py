"""Threshold rules over a batch: which readings can change anything, in columns."""

from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from rules.condition import CLEAR, EVERY, OTHER, STANDING_OVER, Limits, Row, ThresholdRule
from rules.keys import Direction, Keys, StationLevel
from rules.rows import MetricRows
from rules.rule import read_common
from rules.standing import ConditionBook, Touched, by_device

MOST_COUNTED = 32  # readings that n-of-m looks back at


def read(keys: Keys, version: int) -> ThresholdRule:
    """A rule of type "threshold"; docs/rules.md has every key."""
    direction = keys.choice("direction", get_args(Direction), "above")
    kinds = frozenset({keys.code("kind")})
    raise_at = keys.limit("raise_at")
    return ThresholdRule(
        **read_common(keys, version, kinds),
        metric=keys.code("metric"),
        direction=cast(Direction, direction),
        raise_at=raise_at,
        clear_at=_clear_at(keys, raise_at, direction),
        deadband=keys.number("deadband", 0.0, least=0.0),
        n_of_m=_n_of_m(keys),
        on_delay_us=keys.delay_us("on_delay_s", 0),
        off_delay_us=keys.delay_us("off_delay_s", 0),
    )


def _n_of_m(keys: Keys) -> tuple[int, int]:
    if not keys.has("n_of_m"):
        return EVERY
    match keys.whole_numbers("n_of_m"):
        case (n, m) if 1 <= n <= m <= MOST_COUNTED and m > 1:
            return n, m
        case _:
            raise keys.error(
                "n_of_m",
                f"write [n, m] with 1 <= n <= m and m from 2 to {MOST_COUNTED}, such as [3, 5]",
                f"请写 [n, m]：1 <= n <= m，m 为 2 至 {MOST_COUNTED}，如 [3, 5]",
            )


def _clear_at(keys: Keys, raise_at: float | StationLevel, direction: str) -> float | None:
    """The clear limit where it is written as such, which only a constant limit can have."""
    if not keys.has("clear_at"):
        return None
    if keys.has("deadband"):
        raise keys.error(
            "clear_at", "given beside deadband; keep one of the two", "不能与 deadband 同时填写，请保留一项"
        )
    if isinstance(raise_at, str):
        raise keys.error(
            "clear_at",
            "cannot stand beside a station's own level; give deadband in metres",
            "站点自身水位不能用 clear_at，请填写 deadband（米）",
        )
    clear_at = keys.number("clear_at")
    if clear_at > raise_at if direction == "above" else clear_at < raise_at:
        side, side_zh = ("at or under", "不高于") if direction == "above" else ("at or over", "不低于")
        raise keys.error(
            "clear_at", f"must be {side} raise_at = {raise_at:g}", f"必须{side_zh} raise_at = {raise_at:g}"
        )
    return clear_at


class ThresholdBook(ConditionBook):
    """The value itself against the limit."""

    rule: ThresholdRule

    def _touched(self, rows: MetricRows) -> Touched:
        """Devices that a row of theirs can change, each with all of its rows in order of time."""
        applies = self._fleet.applies(self.rule.rule_id)[rows.device]
        limit = self._raise_limits(rows.device)
        beyond = rows.value >= limit if self.rule.direction == "above" else rows.value <= limit
        mark = self._marks[rows.device]
        can_change = (beyond & ((mark == CLEAR) | rows.backfill)) | (
            ~beyond & (mark == STANDING_OVER) & ~np.isnan(limit)
        )
        can_change |= (mark == OTHER) & ~np.isnan(limit)
        can_change &= applies
        if self._hours is not None:
            resting = np.flatnonzero(can_change & (mark == CLEAR))
            can_change[resting] = self._hours.covers(rows.observed_us[resting])
        if not can_change.any():
            return
        index = np.flatnonzero(self._fleet.with_all_rows(rows.device, can_change))
        index = index[np.lexsort((rows.observed_us[index], rows.device[index]))]
        device = rows.device[index]
        columns = zip(
            rows.observed_us[index].tolist(),
            rows.received_us[index].tolist(),
            rows.value[index].tolist(),
            rows.late[index].tolist(),
            rows.backfill[index].tolist(),
            strict=True,
        )
        ordered = [
            (Row(observed, received, value, late), past) for observed, received, value, late, past in columns
        ]
        yield from by_device(device, ordered)

    def _raise_limits(self, device: NDArray[np.int32]) -> NDArray[np.float64]:
        """The limit at which each row's device raises, one for all when constant; NaN = no such level."""
        if isinstance(self.rule.raise_at, str):
            return self._fleet.station_levels[self.rule.raise_at][device]
        return np.asarray(self.rule.raise_at)

    def _limits(self, device_id: int) -> Limits:
        rule = self.rule
        raise_at = (
            float(self._fleet.station_levels[rule.raise_at][device_id])
            if isinstance(rule.raise_at, str)
            else rule.raise_at
        )
        if rule.clear_at is not None:
            return raise_at, rule.clear_at
        return raise_at, raise_at - rule.deadband if rule.direction == "above" else raise_at + rule.deadband
