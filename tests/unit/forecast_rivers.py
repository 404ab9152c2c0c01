"""A small river with a gauge three hours upstream and a rain gauge, made of a seed."""

import numpy as np

from command_centre.flood.forecast import Role, Series
from command_centre.flood.forecast.series import DAY_US, MINUTE_US

STEP_US = 10 * MINUTE_US


def river(*, days: int, seed: int) -> tuple[Series, list[Series]]:
    """Level every ten minutes from 1970 on, and what helps: "above" first, then "rain"."""
    random = np.random.default_rng(seed)
    count = days * 144
    rain = np.zeros(count)
    for start in random.integers(0, count, days // 3):
        length = int(random.integers(6, 40))
        rain[start : start + length] += random.gamma(1.0, 0.6)
    above = _drained(rain[:count], 40)
    below = _drained(np.concatenate([np.zeros(18), above[:-18]]), 12)
    times = np.arange(count, dtype=np.int64) * STEP_US

    def series(name: str, value: np.ndarray, role: Role) -> Series:
        return Series(name=name, time_us=times, value=value, role=role)

    level = 1.0 + 2.0 * below + random.normal(0, 0.004, count)
    upstream = 0.6 + 1.5 * above + random.normal(0, 0.004, count)
    return series("river", level, "level"), [
        series("above", upstream, "level_upstream"),
        series("rain", rain, "rain"),
    ]


def until(level: Series, days: float) -> int:
    """The moment so many days after the first reading."""
    return int(level.time_us[0] + days * DAY_US)


def _drained(inflow: np.ndarray, constant: int) -> np.ndarray:
    keep = np.exp(-1 / constant)
    kernel = (1 - keep) * keep ** np.arange(8 * constant)
    return np.convolve(inflow, kernel)[: len(inflow)]
