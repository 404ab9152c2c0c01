"""When to warn: how far above the expected highest level a careful person would look.

The expected highest level within a horizon comes from the regression; the margin on top of it, in widths of the
band, is the one that would have served best on unseen blocks of the station's own history, judged at several levels
that its higher waters crossed. A missed flood weighs most, then a short lead, then false alarms.
"""

from dataclasses import dataclass

import numpy as np

from command_centre.flood.forecast import episodes
from command_centre.flood.forecast.series import Times, Values

CANDIDATES = (0.25, 0.375, 0.5, 0.625, 0.75, 1.0)
PULL = 1.0  # cost for each width away from the usual margin: few floods are weak evidence
USUAL = 0.5  # where there is no event to learn from
PRACTICE_SHARES = (0.98, 0.985, 0.99, 0.995, 0.998)
FEWEST_EVENTS = 3  # at the lowest of the practice levels
FALSE_PER_30D = 0.4  # more false alarms than this and people stop looking


@dataclass(frozen=True, kw_only=True)
class Practice:
    """The unseen part of a history: levels, expected highest change within the horizon, width of its error."""

    time_us: Times
    level: Values
    highest: Values
    width: Values
    horizon_us: int


def choose_margin(practice: Practice) -> float:
    """Widths of the band to add; drawn towards the usual one where events were few."""
    thresholds = np.unique(np.quantile(practice.level, PRACTICE_SHARES))
    costs = np.zeros(len(CANDIDATES))
    events = 0
    for threshold in thresholds:
        for index, margin in enumerate(CANDIDATES):
            alarm = (
                practice.level + practice.highest + added(practice.highest, practice.width, margin)
                >= threshold
            )
            verdict = episodes.judge(
                practice.time_us,
                practice.level,
                alarm,
                threshold_m=float(threshold),
                horizon_us=practice.horizon_us,
                scored=np.ones(len(alarm), dtype=bool),
            )
            costs[index] += cost(verdict, practice.horizon_us)
        events = max(events, verdict.events)
    if events < FEWEST_EVENTS:
        return USUAL
    smooth = costs / len(thresholds) + PULL * np.abs(np.array(CANDIDATES) - USUAL)
    return CANDIDATES[int(np.argmin(smooth))]


def added(highest: Values, width: Values, margin: float) -> Values:
    """Metres above the expected highest level: never more than the rise that is expected at all.

    Water that falls, or stands still just under a threshold, is no reason to warn.
    """
    return np.minimum(margin * width, np.maximum(highest, 0.0))


def cost(verdict: episodes.Verdict, horizon_us: int) -> float:
    """0 = every event warned of two thirds of the horizon ahead, every alarm right, and none false."""
    false = verdict.false_per_30d or 0.0
    noise = 0.3 * min(false, 2.0) + 3.0 * min(max(0.0, false - FALSE_PER_30D), 2.0)
    if not verdict.events:
        return noise
    wanted_min = horizon_us / 60e6 * 2 / 3
    short = max(0.0, 1.0 - (verdict.median_lead_min or 0.0) / wanted_min)
    return 4.0 * verdict.missed / verdict.events + 2.0 * short + noise + 1.0 - (verdict.csi or 0.0)
