"""What a regression is shown at a moment: differences, sums and phases of what was known then.

The level enters as differences from now, because the model predicts a change from now: such a relation still
holds when the water stands higher than ever before. Every column is made by `Known`, which cannot look ahead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from command_centre.flood.forecast import tides
from command_centre.flood.forecast.series import DAY_US, HOUR_US, MINUTE_US, Known, Role, Times, Values

LEVEL_LAGS_MIN = (
    5, 10, 20, 30, 40, 50, 60, 80, 100, 120, 150, 180, 240, 300, 360, 480, 600, 720, 900, 1080, 1440, 2160, 2880
)  # fmt: skip
OTHER_LAGS_MIN = (10, 20, 30, 60, 90, 120, 180, 240, 360, 540, 720, 1440)
RAIN_EDGES_H = (0, 1, 2, 3, 6, 12, 24, 48, 96)
CYCLES_H = (12.4206, 24.0, 24.8412)
# Columns that also enter the hidden layer, where combinations of them count.
SHAPE_LAGS_MIN = {10, 20, 30, 60, 120, 240, 360, 720}
SLOW_LAG_MIN = 720
SHAPE_OTHER_LAGS_MIN = {60, 180, 360}


@dataclass(frozen=True, kw_only=True)
class Column:
    """Which series a column needs (-1 the level itself), and whether it enters the hidden layer.

    `slow`: how high the water stands against its longer past. Its pull back to the usual is learned in ordinary
    times and must not grow without end in a flood that is higher than any before: such columns are compressed.
    """

    series: int
    hidden: bool
    slow: bool


@dataclass(frozen=True, kw_only=True)
class Other:
    """How one further series is shown: `skewed` adds its square root (discharge), `amplitudes` its own tide."""

    name: str
    role: Role
    skewed: bool
    max_age_us: int
    amplitudes: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The columns of one station's model, decided at training and the same ever after.

    `cycles`: what stood one tide or one day ago; `plain`: differences of the level and nothing else.
    """

    horizons_s: tuple[int, ...]
    step_us: int
    tidal: bool
    level_lags_min: tuple[int, ...]
    cycles: bool
    plain: bool
    others: tuple[Other, ...]

    def known_after_us(self, horizon: int) -> int:
        """Time after issue at which the outcome of the horizon with this number is known."""
        return self.horizons_s[horizon] * 1_000_000 + self.step_us // 2

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {**vars(self), "others": [vars(other) for other in self.others]}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Layout":
        """What `to_dict` gave."""
        others = tuple(Other(**{**one, "amplitudes": tuple(one["amplitudes"])}) for one in stored["others"])
        return cls(
            horizons_s=tuple(stored["horizons_s"]),
            step_us=stored["step_us"],
            tidal=stored["tidal"],
            level_lags_min=tuple(stored["level_lags_min"]),
            cycles=stored["cycles"],
            plain=stored["plain"],
            others=others,
        )


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Raw columns (times x columns, NaN where unknown), what each is, and the level the changes start from."""

    matrix: Values
    columns: tuple[Column, ...]
    level: Values


class _Sheet:
    """Columns as they are collected."""

    def __init__(self) -> None:
        self.values: list[Values] = []
        self.columns: list[Column] = []

    def add(self, value: Values, series: int, *, hidden: bool, slow: bool = False) -> None:
        self.values.append(value)
        self.columns.append(Column(series=series, hidden=hidden, slow=slow))


def show(layout: Layout, level: Known, others: Sequence[Known], when: Times) -> Shown:
    """All columns at each of `when`; `others` stand in the layout's order."""
    sheet = _Sheet()
    now = level.at(when, level_max_age(layout.step_us))
    _show_level(sheet, layout, level, now, when)
    for index, (other, known) in enumerate(zip(layout.others, others, strict=True)):
        if other.role == "rain":
            _show_rain(sheet, index, known, when)
        else:
            _show_other(sheet, index, layout, other, known, when)
    return Shown(matrix=np.column_stack(sheet.values), columns=tuple(sheet.columns), level=now)


def level_max_age(step_us: int) -> int:
    """How old the newest level may be for a forecast to start from it: three steps, 20 minutes at least."""
    return max(3 * step_us, 20 * MINUTE_US)


def _show_level(sheet: _Sheet, layout: Layout, level: Known, now: Values, when: Times) -> None:
    hold = max(2 * HOUR_US, 2 * layout.step_us)
    for lag in layout.level_lags_min:
        change = now - level.at(when - lag * MINUTE_US, hold)
        shaped = not layout.plain and lag in SHAPE_LAGS_MIN
        sheet.add(change, -1, hidden=shaped, slow=not layout.plain and lag >= SLOW_LAG_MIN)
    if layout.plain:
        return
    sheet.add(now, -1, hidden=True, slow=True)
    sheet.add(now - level.mean(when - tides.LUNAR_DAY_US, when), -1, hidden=layout.cycles, slow=True)
    sheet.add(now - level.mean(when - 7 * DAY_US, when), -1, hidden=layout.cycles, slow=True)
    if layout.cycles:
        for cycle in CYCLES_H:
            for horizon_s in layout.horizons_s:
                if horizon_s >= cycle * 3600:
                    continue  # that point of the last cycle has not happened yet
                ahead = level.at(when - int(cycle * HOUR_US) + horizon_s * 1_000_000, hold)
                sheet.add(now - ahead, -1, hidden=cycle != 24.0)
                sheet.add(ahead - level.at(when - int(cycle * HOUR_US), hold), -1, hidden=cycle != 24.0)
    if layout.tidal:
        phases = tides.harmonics(when)
        leading = {0, 1, 2, 4, 5}
        for index in range(phases.shape[1]):
            sheet.add(phases[:, index], -1, hidden=index % len(tides.PERIODS_H) in leading)


def _show_rain(sheet: _Sheet, index: int, rain: Known, when: Times) -> None:
    """Sums over windows back in time, and a wetness that fades with a day: rain on wet ground runs off."""
    recent = rain.total(when - 3 * HOUR_US, when)
    for late, early in pairwise(RAIN_EDGES_H):
        total = rain.total(when - early * HOUR_US, when - late * HOUR_US)
        sheet.add(total, index, hidden=False)
    wet = rain.total(when - 48 * HOUR_US, when)
    sheet.add(recent, index, hidden=True)
    sheet.add(np.sqrt(np.maximum(recent * wet, 0.0)), index, hidden=False)
    sheet.add(wet, index, hidden=True)


def _show_other(sheet: _Sheet, index: int, layout: Layout, other: Other, known: Known, when: Times) -> None:
    now = known.at(when, other.max_age_us)
    past = [(lag, known.at(when - lag * MINUTE_US, other.max_age_us)) for lag in OTHER_LAGS_MIN]
    roots = (False, True) if other.skewed else (False,)
    for root in roots:
        first = _root(now) if root else now
        shaped = root == other.skewed
        sheet.add(first, index, hidden=shaped)
        for lag, before in past:
            change = first - (_root(before) if root else before)
            sheet.add(change, index, hidden=shaped and lag in SHAPE_OTHER_LAGS_MIN)
    if other.amplitudes:
        amplitudes = np.array(other.amplitudes)
        start = tides.expected(when, amplitudes)
        for horizon_s in layout.horizons_s:
            rise = tides.expected(when + horizon_s * 1_000_000, amplitudes) - start
            sheet.add(rise, index, hidden=True)


def _root(value: Values) -> Values:
    """Signed square root: discharge grows faster than the level, so this is nearer to a straight line."""
    return np.sign(value) * np.sqrt(np.abs(value))
