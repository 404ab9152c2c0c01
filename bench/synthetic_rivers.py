"""Rivers that never were, for judging a forecast on what it was not made for.

Each is a water balance with known rain, release and tide, written as a levels file and a context file would be;
the seed is the only choice. They differ in size, step, length of record, tide, and in what is known beside the level.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from command_centre.flood.forecast.series import Role, Series

Values = NDArray[np.float64]
START_US = 1_577_836_800_000_000  # 2020-01-01


@dataclass(frozen=True, kw_only=True)
class River:
    """Level, what is known beside it, and the level to warn of; the last `scored_days` are for scoring."""

    name: str
    level: Series
    others: tuple[Series, ...]
    threshold_m: float
    scored_days: float


def rivers() -> list[River]:
    """One of each kind."""
    return [
        culvert("culvert, 5 min", seed=1, rain_known=True),
        culvert("culvert, no rain gauge", seed=2, rain_known=False),
        valley("valley with upstream gauge", seed=3, days=500, upstream=True),
        valley("valley, level only", seed=4, days=500, upstream=False),
        valley("valley, 40 days", seed=5, days=40, upstream=True),
        valley("valley, useless columns", seed=6, days=300, upstream=True, useless=True),
        estuary("estuary with tide gauge", seed=7, gauge=True),
        estuary("estuary, level only", seed=8, gauge=False),
        reservoir("below a dam", seed=9),
        valley("valley, no flood learned", seed=10, days=300, upstream=True, calm_first=True),
        valley("valley, hourly", seed=11, days=900, upstream=True, step_min=60),
        valley("valley, 8 days learned", seed=12, days=20, upstream=False, scored=12),
    ]


def culvert(name: str, *, seed: int, rain_known: bool) -> River:
    """A small paved catchment: rises within the hour, dry in between."""
    random = np.random.default_rng(seed)
    step, days = 5, 240
    rain = _rain(random, days, step, storms_per_30d=7, burst_mm_h=35, hours=1.5)
    flow = _reservoirs(rain * 12, [25 / step, 15 / step])
    level = 0.05 + 0.24 * flow**0.6 + random.normal(0, 0.003, len(flow))
    others = (_series("rain_mm", rain, step, "rain", noise=None),) if rain_known else ()
    return _river(name, _series("culvert", level, step, "level"), others, 0.25, days)


def valley(
    name: str,
    *,
    seed: int,
    days: int,
    upstream: bool,
    useless: bool = False,
    calm_first: bool = False,
    step_min: int = 15,
    scored: float | None = None,
) -> River:
    """A river of some hundred square kilometres: soil, fast and slow runoff, a wave that travels three hours."""
    random = np.random.default_rng(seed)
    rain = _rain(random, days, step_min, storms_per_30d=4 if days > 60 else 7, burst_mm_h=5, hours=9)
    if calm_first:
        rain[: int(0.7 * len(rain))] *= 0.25
    wet = _reservoirs(rain, [4 * 1440 / step_min])
    share = np.clip(0.1 + 0.6 * wet / (np.quantile(wet, 0.98) + 1e-9), 0, 0.9)
    runoff = rain * share * 60 / step_min
    above = _reservoirs(runoff, [120 / step_min, 90 / step_min]) + 0.3 * _reservoirs(
        runoff, [3000 / step_min]
    )
    below = _delayed(_reservoirs(above, [60 / step_min]), 180 // step_min)
    level = 0.4 + 1.5 * (below + 0.05) ** 0.6 + random.normal(0, 0.004, len(below))
    others = []
    if upstream:
        height = 0.3 + 1.1 * (above + 0.05) ** 0.6 + random.normal(0, 0.004, len(above))
        others.append(_series("upstream level_m", height, step_min, "level_upstream"))
        others.append(_series("rain_mm", rain, step_min, "rain", noise=random))
    if useless:
        for index in range(6):
            walk = np.cumsum(random.normal(0, 1, len(rain)))
            others.append(_series(f"column {index}", walk, step_min, "other"))
        others.append(_series("noise", random.normal(0, 1, len(rain)), step_min, "other"))
    return _river(
        name, _series("valley", np.round(level, 3), step_min, "level"), tuple(others), 0.3, days, scored
    )


def estuary(name: str, *, seed: int, gauge: bool) -> River:
    """Tide that surges with the weather and fades when the river is in flood."""
    random = np.random.default_rng(seed)
    step, days = 10, 400
    rain = _rain(random, days, step, storms_per_30d=3, burst_mm_h=5, hours=12)
    river = 1.2 * (_reservoirs(rain * 4, [240 / step, 180 / step]) + 0.02) ** 0.6
    hours = np.arange(len(rain)) * step / 60
    sea = sum(
        size * np.cos(2 * np.pi * hours / period + phase)
        for size, period, phase in (
            (1.1, 12.4206, 0.3), (0.45, 12.0, 1.1), (0.25, 12.6583, 2.0), (0.3, 23.9345, 0.7), (0.2, 25.8193, 1.9)
        )
    )  # fmt: skip
    surge = _reservoirs(random.normal(0, 1, len(rain)), [1440 / step])
    sea = sea + 0.3 * surge / surge.std()
    inland = _reservoirs(np.exp(0.8 * sea), [60 / step])
    level = 1.0 + river + 0.5 * inland / (1 + river) + random.normal(0, 0.005, len(rain))
    others = (_series("gauge", sea * 100 + 300, step, "tide", noise=random),) if gauge else ()
    return _river(name, _series("estuary", np.round(level, 2), step, "level"), others, 0.3, days)


def reservoir(name: str, *, seed: int) -> River:
    """Below a dam that lets water go in steps: only its release tells."""
    random = np.random.default_rng(seed)
    step, days = 10, 500
    rain = _rain(random, days, step, storms_per_30d=3, burst_mm_h=5, hours=12)
    inflow = 400 * _reservoirs(rain * 3, [600 / step, 600 / step]) + 60
    gates = np.repeat(inflow[:: 180 // step], 180 // step)[: len(inflow)]
    gates = np.where(gates < 150, 80.0, np.round(gates, -2))
    level = 1.0 + 0.09 * _delayed(_reservoirs(gates, [70 / step, 50 / step]), 120 // step) ** 0.55
    level = level + random.normal(0, 0.004, len(level))
    others = (
        _series("release", gates, step, "release"),
        _series("rain_mm", rain, step, "rain", noise=random),
    )
    return _river(name, _series("dam", np.round(level, 3), step, "level"), others, 0.3, days)


def _rain(
    random: np.random.Generator,
    days: int,
    step_min: int,
    *,
    storms_per_30d: float,
    burst_mm_h: float,
    hours: float,
) -> Values:
    """Storms of very different size; mm per step."""
    count = days * 1440 // step_min
    rain = np.zeros(count)
    for _ in range(random.poisson(storms_per_30d * days / 30)):
        length = max(2, int(random.gamma(2.0, hours / 2) * 60 / step_min))
        begin = int(random.integers(0, count))
        shape = np.sin(np.pi * np.arange(length) / length) ** 2 * random.gamma(0.6, 1 / 0.6, length)
        part = shape[: count - begin] * burst_mm_h * random.gamma(0.8, 1 / 0.8) * step_min / 60
        rain[begin : begin + length] += part
    return rain


def _reservoirs(inflow: Values, constants: list[float]) -> Values:
    """A row of linear reservoirs; time constants in steps."""
    flow = inflow
    for constant in constants:
        keep = float(np.exp(-1 / max(constant, 0.2)))
        kernel = (1 - keep) * keep ** np.arange(int(min(len(flow), 12 * max(constant, 1))))
        size = 1 << int(np.ceil(np.log2(len(flow) + len(kernel))))
        spectrum = np.fft.rfft(flow, size) * np.fft.rfft(kernel, size)
        flow = (
            np.maximum(np.fft.irfft(spectrum, size)[: len(flow)], 0)
            if flow.min() >= 0
            else np.fft.irfft(spectrum, size)[: len(flow)]
        )
    return flow


def _delayed(flow: Values, steps: int) -> Values:
    return np.concatenate([np.full(steps, flow[0]), flow[: len(flow) - steps]])


def _series(
    name: str, value: Values, step_min: int, role: Role, noise: np.random.Generator | None = None
) -> Series:
    """With `noise`, a rain gauge that catches more or less and a sensor that is sometimes away."""
    if noise is not None:
        value = value * (noise.normal(1, 0.15, len(value)).clip(0.3) if role == "rain" else 1.0)
        for start in noise.integers(0, len(value), 4):
            value[start : start + 300 // step_min] = np.nan
    times = START_US + np.arange(len(value), dtype=np.int64) * step_min * 60_000_000
    return Series(name=name, time_us=times, value=value.astype(float), role=role)


def _river(
    name: str,
    level: Series,
    others: tuple[Series, ...],
    share: float,
    days: float,
    scored: float | None = None,
) -> River:
    """The threshold is what the fourth highest of the scored days reached: a few events, as in life."""
    scored_days = scored if scored is not None else share * days
    rows = level.time_us > level.time_us[-1] - int(scored_days * 86_400_000_000)
    per_day = max(1, int(np.sum(rows) / scored_days))
    peaks = np.sort(
        [part.max() for part in np.array_split(level.value[rows], max(2, int(np.sum(rows) / per_day)))]
    )
    threshold = float(peaks[-min(4, len(peaks))])
    return River(name=name, level=level, others=others, threshold_m=threshold, scored_days=scored_days)
