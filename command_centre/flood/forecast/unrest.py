"""Signs that a river is hard to foresee just now; see `band.py` for what becomes of them."""

from collections.abc import Sequence

import numpy as np

from command_centre.flood.forecast.features import Layout, level_max_age
from command_centre.flood.forecast.series import HOUR_US, MINUTE_US, Known, Times, Values


def unrest(
    layout: Layout,
    level: Known,
    others: Sequence[Known],
    when: Times,
    change: Values,
    heights: tuple[float, float],
) -> Values:
    """Columns that are never negative: always 1, pace over one and three hours and over the last reading,
    the foreseen change, heights above two levels (m), and rain of three hours (mm, mean of the gauges).
    """
    now = level.at(when, level_max_age(layout.step_us))
    hold = max(2 * HOUR_US, 2 * layout.step_us)

    def pace(minutes: int) -> Values:
        lag = max(minutes * MINUTE_US, layout.step_us)
        moved: Values = np.abs(now - level.at(when - lag, hold))
        return moved

    rains = [
        known.total(when - 3 * HOUR_US, when)
        for other, known in zip(layout.others, others, strict=True)
        if other.role == "rain"
    ]
    rain = np.mean(rains, axis=0) if rains else np.zeros(len(when))
    columns = [
        np.ones(len(when)),
        pace(20),
        pace(60),
        pace(180),
        np.abs(change),
        np.maximum(now - heights[0], 0.0),
        np.maximum(now - heights[1], 0.0),
        rain,
    ]
    return np.asarray(np.nan_to_num(np.column_stack(columns)), dtype=np.float64)
