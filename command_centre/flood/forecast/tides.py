"""Tide by its known periods: what the moon and the sun will do needs no gauge, only a clock and a history."""

import numpy as np

from command_centre.flood.forecast.series import DAY_US, HOUR_US, Known, Times, Values

# Periods in hours of the usual constituents (M2, S2, N2, K2, K1, O1, P1) and of the shallow-water ones that a
# river adds (M4, MS4, MN4, M6). Source: the standard list of the International Hydrographic Organization.
PERIODS_H = (
    12.4206012,
    12.0,
    12.65834751,
    11.96723606,
    23.93447213,
    25.81933871,
    24.06588766,
    6.210300601,
    6.103339275,
    6.269173724,
    4.140200401,
)
LUNAR_DAY_US = int(24.8412 * HOUR_US)
SHORTEST_HISTORY_US = 20 * DAY_US  # spring and neap must both have been seen
TIDAL_SHARE = 0.15  # part of the variation within a day that the periods must explain on days not fitted


def harmonics(when: Times) -> Values:
    """Sine and cosine of every constituent, shape (times, 22)."""
    angle = 2 * np.pi * (when[:, None] / HOUR_US) / np.array(PERIODS_H)
    return np.hstack([np.sin(angle), np.cos(angle)])


def within_a_day(known: Known, when: Times, value: Values) -> Values:
    """What is left of a value after the mean of the lunar day before it: tide and short waves."""
    return value - known.mean(when - LUNAR_DAY_US, when)


def explained(when: Times, wave: Values) -> float:
    """Share of the variance of `wave` that its periods explain on the last third, fitted on the rest.

    Large waves (floods) are clipped, so that one of them decides nothing.
    """
    good = np.isfinite(wave)
    when, wave = when[good], wave[good]
    if len(wave) < 500 or when[-1] - when[0] < SHORTEST_HISTORY_US:
        return 0.0
    low, high = np.quantile(wave, [0.02, 0.98])
    wave = np.asarray(np.clip(wave, low, high), dtype=np.float64)
    fitted = 2 * len(wave) // 3
    weights = fit(when[:fitted], wave[:fitted])
    rest = wave[fitted:]
    variance = float(np.var(rest))
    if variance <= 0:
        return 0.0
    return 1.0 - float(np.mean((rest - expected(when[fitted:], weights)) ** 2)) / variance


def fit(when: Times, wave: Values) -> Values:
    """Amplitudes of the constituents (and a mean) by least squares, slightly damped for short histories."""
    basis = np.hstack([np.ones((len(when), 1)), harmonics(when)])
    damping = 1e-3 * len(when) * np.eye(basis.shape[1])
    damping[0, 0] = 0.0
    amplitudes = np.linalg.solve(basis.T @ basis + damping, basis.T @ wave)
    return np.asarray(amplitudes, dtype=np.float64)


def expected(when: Times, amplitudes: Values) -> Values:
    """The wave at any time, past or to come."""
    wave: Values = np.hstack([np.ones((len(when), 1)), harmonics(when)]) @ amplitudes
    return wave
