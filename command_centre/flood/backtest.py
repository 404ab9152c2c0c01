"""How a station's forecast would have done: train on one part of a record, score on another. No I/O.

Scoring is that of flood services (see `forecast/episodes.py`): errors against persistence ("it stays as it is") over
all times and around events (from 12 h before onset to 12 h after the peak), steps, events, leads and false episodes of
the warning rule, and how often the 10-90 % band held.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from command_centre.flood.forecast import cleaning, episodes, prediction
from command_centre.flood.forecast.cleaning import Mark
from command_centre.flood.forecast.model import Model
from command_centre.flood.forecast.series import (
    HOUR_US,
    Flags,
    Known,
    Series,
    Times,
    Values,
    in_order,
    usual_step,
)
from command_centre.flood.forecast.training import train

AROUND_US = 12 * HOUR_US
Step = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class HorizonResult:
    """Scores of one horizon; metres, minutes, shares of 1. None where there was nothing to count.

    `n` decisions had a forecast and an outcome; `refused` had none because the sensor was not to be believed.
    """

    n: int
    refused: int
    rmse_m: float | None
    rmse_persistence_m: float | None
    event_n: int
    event_rmse_m: float | None
    event_rmse_persistence_m: float | None
    pod: float | None
    far: float | None
    csi: float | None
    hits: int
    false_steps: int
    missed_steps: int
    events: int
    missed: int
    median_lead_min: float | None
    false_episodes: int
    false_episodes_per_30d: float | None
    band_coverage: float | None
    event_band_coverage: float | None


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was scored, on what kind of model, and the scores for each horizon in seconds."""

    model: Model
    rows: int
    scored: int
    days: float
    events: tuple[episodes.Event, ...]
    horizons: Mapping[int, HorizonResult]


def run(
    level: Series,
    others: Sequence[Series],
    *,
    threshold_m: float,
    horizons_s: Sequence[int],
    learn: Callable[[Times], Flags],
    score: Callable[[Times], Flags],
    on_step: Step = lambda _: None,
    model: Model | None = None,
) -> Result:
    """Train on the readings whose times `learn` picks, then forecast at every reading that `score` picks.

    A forecast sees all readings at or before its own time, those that were not learned from included. With `model`
    (of the same split) nothing is trained again: for another threshold.
    """
    own = in_order(level)
    on_step("train")
    model = model or train(
        _part(own, learn),
        [_part(one, learn) for one in others],
        horizons_s=horizons_s,
        until_us=int(own.time_us[-1]) if len(own.time_us) else 0,
        step_s=max(1, usual_step(own.time_us) // 1_000_000),
    )
    on_step("forecast")
    prepared = prediction.prepare(model, own, others)
    when = own.time_us[score(own.time_us)]
    answers = prediction.levels(model, prepared, when)
    on_step("score")
    truth = _observed(own, model.limits[0])
    at = np.searchsorted(own.time_us, when)
    level_then = truth[at]
    return Result(
        model=model,
        rows=len(level.time_us),
        scored=len(when),
        days=episodes.observed_days(when[np.isfinite(level_then)]),
        events=tuple(episodes.events(when, level_then, threshold_m)),
        horizons={
            horizon_s: _score(
                Known.of(own.time_us, truth), when, level_then, answers, index, horizon_s, threshold_m
            )
            for index, horizon_s in enumerate(model.horizons_s)
        },
    )


def after(until_us: int) -> tuple[Callable[[Times], Flags], Callable[[Times], Flags]]:
    """Learn up to a moment (inclusive), score all later times."""
    return (lambda when: when <= until_us), (lambda when: when > until_us)


def held_out(start_us: int, end_us: int) -> tuple[Callable[[Times], Flags], Callable[[Times], Flags]]:
    """Learn what lies before and after a season, score the season (start inclusive, end exclusive)."""
    return (
        (lambda when: (when < start_us) | (when >= end_us)),
        (lambda when: (when >= start_us) & (when < end_us)),
    )


def around(when: Times, found: Sequence[episodes.Event]) -> Flags:
    """Times from 12 h before an onset to 12 h after its peak."""
    near = np.zeros(len(when), dtype=bool)
    for event in found:
        near |= (when >= event.onset_us - AROUND_US) & (when <= event.peak_us + AROUND_US)
    return near


def as_dict(result: HorizonResult) -> dict[str, Any]:
    """For a script: numbers rounded to what they are worth."""
    return {
        name: round(value, 4) if isinstance(value, float) else value for name, value in vars(result).items()
    }


def _part(series: Series, pick: Callable[[Times], Flags]) -> Series:
    chosen = pick(series.time_us)
    return Series(
        name=series.name, time_us=series.time_us[chosen], value=series.value[chosen], role=series.role
    )


def _observed(own: Series, limits: cleaning.Limits) -> Values:
    """What counts as truth: all but sentinels and the impossible. A spike counts: it was shown to people."""
    marks = cleaning.mark(own, limits)
    return np.where((marks == Mark.MISSING) | (marks == Mark.IMPOSSIBLE), np.nan, own.value)


def _score(
    truth: Known,
    when: Times,
    level: Values,
    answers: prediction.Levels,
    index: int,
    horizon_s: int,
    threshold_m: float,
) -> HorizonResult:
    horizon_us = horizon_s * 1_000_000
    step = usual_step(truth.time_us)
    later = truth.at(when + horizon_us + step // 2, step)
    later[when + horizon_us > when[-1] + step if len(when) else np.zeros(0, dtype=bool)] = np.nan
    answered = ~answers.refused
    both = np.isfinite(later) & np.isfinite(level) & answered
    near = around(when, episodes.events(when, level, threshold_m)) & both
    error, change = later - answers.q50[:, index], later - level
    inside = (later >= answers.q10[:, index]) & (later <= answers.q90[:, index])
    with np.errstate(invalid="ignore"):
        alarm = answers.alarm[:, index] >= threshold_m
    verdict = episodes.judge(
        when, level, alarm, threshold_m=threshold_m, horizon_us=horizon_us, scored=np.isfinite(level)
    )
    return HorizonResult(
        n=int(both.sum()),
        refused=int(answers.refused.sum()),
        rmse_m=_rms(error[both]),
        rmse_persistence_m=_rms(change[both]),
        event_n=int(near.sum()),
        event_rmse_m=_rms(error[near]),
        event_rmse_persistence_m=_rms(change[near]),
        pod=verdict.pod,
        far=verdict.far,
        csi=verdict.csi,
        hits=verdict.hits,
        false_steps=verdict.false_steps,
        missed_steps=verdict.missed_steps,
        events=verdict.events,
        missed=verdict.missed,
        median_lead_min=verdict.median_lead_min,
        false_episodes=verdict.false_episodes,
        false_episodes_per_30d=verdict.false_per_30d,
        band_coverage=float(inside[both].mean()) if both.any() else None,
        event_band_coverage=float(inside[near].mean()) if near.any() else None,
    )


def _rms(error: Values) -> float | None:
    return float(np.sqrt(np.mean(error**2))) if len(error) else None
