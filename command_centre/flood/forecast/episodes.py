"""Exceedances of a level and the alarms before them, counted as flood services count them.

An event is an exceedance; exceedances less than 24 h apart are one event. Only times below the threshold count;
an alarm is right when the level reaches the threshold within the horizon. Lead time is onset minus the first alarm
in the 6 h before it. An alarm episode (gaps up to 1 h joined) with no event from 6 h before its onset to its end
is a false one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from command_centre.flood.forecast.series import DAY_US, HOUR_US, MINUTE_US, Flags, Times, Values

SAME_EVENT_US = 24 * HOUR_US
LEAD_WINDOW_US = 6 * HOUR_US
SAME_EPISODE_US = HOUR_US


@dataclass(frozen=True, kw_only=True)
class Event:
    """One exceedance, microseconds UTC."""

    onset_us: int
    end_us: int
    peak_us: int
    peak_m: float


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a warning rule did; rates are None where nothing was there to be counted."""

    pod: float | None
    far: float | None
    csi: float | None
    hits: int
    false_steps: int
    missed_steps: int
    events: int
    missed: int
    leads_min: tuple[float, ...]
    false_episodes: int
    days: float

    @property
    def median_lead_min(self) -> float | None:
        """Minutes; over the events that were warned of."""
        return float(np.median(self.leads_min)) if self.leads_min else None

    @property
    def false_per_30d(self) -> float | None:
        """False episodes per 30 days of observation."""
        return 30.0 * self.false_episodes / self.days if self.days > 0 else None


def events(time_us: Times, level: Values, threshold_m: float) -> list[Event]:
    """Exceedances in order of time; NaN counts as below."""
    with np.errstate(invalid="ignore"):
        above = np.flatnonzero(level >= threshold_m)
    if not len(above):
        return []
    starts = np.flatnonzero(np.append(True, np.diff(time_us[above]) >= SAME_EVENT_US))
    ends = np.append(starts[1:], len(above)) - 1
    found = []
    for first, last in zip(above[starts], above[ends], strict=True):
        peak = first + int(np.nanargmax(level[first : last + 1]))
        found.append(
            Event(
                onset_us=int(time_us[first]),
                end_us=int(time_us[last]),
                peak_us=int(time_us[peak]),
                peak_m=float(level[peak]),
            )
        )
    return found


def highest_within(time_us: Times, level: Values, horizon_us: int) -> Values:
    """Highest level with t < time <= t + horizon for each t; NaN where nothing was observed."""
    last = np.searchsorted(time_us, time_us + horizon_us, side="right")
    first = np.arange(1, len(time_us) + 1)
    filled = np.where(np.isfinite(level), level, -np.inf)
    tables = [filled]
    while 2 ** len(tables) <= max(1, int(np.max(last - first, initial=0))):
        half, previous = 2 ** (len(tables) - 1), tables[-1]
        tables.append(
            np.maximum(previous, np.append(previous[half:], np.full(half, -np.inf))[: len(previous)])
        )
    length = np.maximum(last - first, 0)
    rank = np.where(length > 0, np.log2(np.maximum(length, 1)).astype(int), 0)
    stacked = np.stack(tables)
    end = np.clip(last - 2**rank, 0, len(level) - 1)
    highest = np.maximum(stacked[rank, np.clip(first, 0, len(level) - 1)], stacked[rank, end])
    return np.where((length > 0) & np.isfinite(highest), highest, np.nan)


def observed_at(time_us: Times, level: Values, when: Times) -> Flags:
    """Whether there is a reading within a step of each time."""
    known = time_us[np.isfinite(level)]
    if len(known) < 2:
        return np.zeros(len(when), dtype=bool)
    step = int(np.median(np.diff(known)))
    right = np.clip(np.searchsorted(known, when), 0, len(known) - 1)
    near = np.minimum(np.abs(known[right] - when), np.abs(known[np.maximum(right - 1, 0)] - when))
    return np.asarray(near < step)


def judge(
    time_us: Times, level: Values, alarm: Flags, *, threshold_m: float, horizon_us: int, scored: Flags
) -> Verdict:
    """Count steps, events, leads and false episodes among the `scored` times.

    A time whose horizon was not observed to its end, and in which nothing was reached, says nothing either way.
    """
    with np.errstate(invalid="ignore"):
        truth = highest_within(time_us, level, horizon_us) >= threshold_m
        under = scored & (level < threshold_m)
    below = under & (truth | observed_at(time_us, level, time_us + horizon_us))
    raised = alarm & below
    hits = int(np.sum(raised & truth))
    false_steps = int(np.sum(raised & ~truth))
    missed_steps = int(np.sum(below & ~alarm & truth))
    found = events(time_us, np.where(scored, level, np.nan), threshold_m)
    alarm_times = time_us[alarm & under]
    leads = [lead for one in found if (lead := _lead_min(alarm_times, one.onset_us)) is not None]
    return Verdict(
        pod=_share(hits, hits + missed_steps),
        far=_share(false_steps, hits + false_steps),
        csi=_share(hits, hits + false_steps + missed_steps),
        hits=hits,
        false_steps=false_steps,
        missed_steps=missed_steps,
        events=len(found),
        missed=len(found) - len(leads),
        leads_min=tuple(leads),
        false_episodes=false_episodes(alarm_times, found),
        days=observed_days(time_us[scored & np.isfinite(level)]),
    )


def false_episodes(alarm_times: Times, found: Sequence[Event]) -> int:
    """Runs of alarms (gaps up to an hour joined) that touch no event's time from 6 h before to its end."""
    if not len(alarm_times):
        return 0
    starts = np.flatnonzero(np.append(True, np.diff(alarm_times) > SAME_EPISODE_US))
    ends = np.append(starts[1:], len(alarm_times)) - 1
    wrong = np.ones(len(starts), dtype=bool)
    for one in found:
        wrong &= ~((alarm_times[ends] >= one.onset_us - LEAD_WINDOW_US) & (alarm_times[starts] <= one.end_us))
    return int(np.sum(wrong))


def observed_days(time_us: Times) -> float:
    """Days with readings: the time between neighbours, gaps of more than six hours left out."""
    if len(time_us) < 2:
        return 0.0
    between = np.diff(time_us)
    usual = int(np.median(between))
    kept = between[between <= max(6 * HOUR_US, 3 * usual)]
    return float(np.sum(kept) + usual) / DAY_US


def _lead_min(alarm_times: Times, onset_us: int) -> float | None:
    first = int(np.searchsorted(alarm_times, onset_us - LEAD_WINDOW_US, side="left"))
    if first >= len(alarm_times) or alarm_times[first] >= onset_us:
        return None
    return float(onset_us - alarm_times[first]) / MINUTE_US


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
