"""Whether a device is well, by what was heard of it: online, late, silent, or blind for one of its metrics. Pure.

Silence is counted in time that ingest listened, and so is what a metric owes: the instants before which a word is too
old (``late_before``, ``silent_before``) come from the view ``heard_limits``, which the wall counts by too, so that the
two never tell different numbers. docs/device-health.md has the definitions in words.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

State = Literal["online", "late", "blind", "silent", "never", "out"]
MetricState = Literal["online", "late", "silent", "blind", "learning"]
STATES: tuple[State, ...] = ("silent", "blind", "late", "online", "never", "out")
HEARD: frozenset[State] = frozenset({"online", "late", "blind"})  # what the wall calls on line

LEAST_GAPS = 5  # a metric that came six times has shown how often it comes
INTERVALS = 3  # missed before a metric is missed, as for devices
LEAST_LIMIT_S = 120.0
_QUIET_SPELLS = 3  # the third longest pause is a habit, the two longest are accidents
_PATIENCE, _PATIENCE_IRREGULAR = 2.0, 4.0  # times that pause
_IRREGULAR = 3.0  # upper quartile of the pauses over their lower one


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricFacts:
    """One metric of a device; ``blind_since`` is its last arrival when it is missed and the device speaks."""

    metric: str
    last_at: datetime
    every_s: float | None = None
    limit_s: float | None = None
    blind_since: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What is known of a device. ``silent_alarm_at``: its own silence alarm stands since."""

    registration: str = "registered"
    service_state: str = "in_service"
    link: str | None = None
    first_heard_at: datetime | None = None
    last_heard_at: datetime | None = None
    late_before: datetime
    silent_before: datetime
    silent_alarm_at: datetime | None = None
    gateway: str | None = None
    gateway_silent_since: datetime | None = None
    metrics: Sequence[MetricFacts] = field(default_factory=tuple)


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """``since``: the last word of a silent or blind device; None where nothing is wrong or nothing was ever heard."""

    state: State
    reason: str
    reason_en: str
    since: datetime | None = None
    explained_by: str | None = None  # the gateway that fell silent with it


def judge(facts: Facts) -> Judgement:
    """The worst that is true of it: silent before blind before late."""
    if facts.registration == "retired" or facts.service_state == "out_of_service":
        return Judgement(
            state="out", reason="已停用，不要求上报", reason_en="out of service: no word is owed"
        )
    last = facts.last_heard_at
    if last is None and facts.first_heard_at is None:
        return Judgement(state="never", reason="从未上报", reason_en="nothing was ever heard of it")
    if last is None:
        return _silent(facts, "长期无数据", "nothing was heard for a long time")
    if facts.link == "offline":
        return _silent(facts, "设备已声明离线（遗嘱）", "its last will says that it is off line")
    if facts.silent_alarm_at is not None:
        return _silent(facts, "失联报警未恢复", "its silence alarm stands")
    if last <= facts.silent_before:
        return _silent(facts, "超过三个上报周期无数据", "nothing was heard for three of its intervals")
    blind = [one for one in facts.metrics if one.blind_since is not None]
    if blind:
        names = ", ".join(one.metric for one in blind)
        return Judgement(
            state="blind",
            reason=f"设备仍在上报，但缺少：{names}",
            reason_en=f"it speaks, but without {names}",
            since=min(one.blind_since for one in blind if one.blind_since is not None),
        )
    if last <= facts.late_before:
        return Judgement(
            state="late", reason="应到的上报未到", reason_en="an expected report is overdue", since=last
        )
    return Judgement(state="online", reason="按时上报", reason_en="reports when expected")


def _silent(facts: Facts, why: str, why_en: str) -> Judgement:
    explained = facts.gateway if facts.gateway_silent_since is not None else None
    if explained is not None:
        why = f"{why}；其网关 {explained} 也失联"
        why_en = f"{why_en}; so is its gateway {explained}"
    return Judgement(
        state="silent", reason=why, reason_en=why_en, since=facts.last_heard_at, explained_by=explained
    )


def judge_metric(metric: MetricFacts, device: State, now: datetime) -> MetricState:
    """A metric of a device that is silent is silent with it; ``learning``: too little came to say what it owes."""
    if device not in HEARD:
        return "silent"
    if metric.blind_since is not None:
        return "blind"
    if metric.every_s is None:
        return "learning"
    return "late" if (now - metric.last_at).total_seconds() > max(90.0, 1.5 * metric.every_s) else "online"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cadence:
    """How often a metric comes, and after how much listening time without it it is missed; seconds."""

    every_s: float
    limit_s: float


def learn(gaps_s: NDArray[np.float64], interval_s: float | None) -> Cadence | None:
    """From the pauses between its readings; None = too few of them.

    It is missed after three of its usual pauses, but not before twice the third longest of those that were seen: what
    is quiet every night is not blind every night. Where pauses differ by nature (a door, a button) four times that.
    ``interval_s`` is the device's own: a metric owes nothing earlier than its device does.
    """
    gaps = gaps_s[gaps_s > 0]
    if len(gaps) < LEAST_GAPS:
        return None
    low, usual, high = np.quantile(gaps, (0.25, 0.5, 0.75))
    spell = np.sort(gaps)[-_QUIET_SPELLS]
    patience = _PATIENCE_IRREGULAR if high > _IRREGULAR * low else _PATIENCE
    limit = max(INTERVALS * usual, patience * spell, INTERVALS * (interval_s or 0.0), LEAST_LIMIT_S)
    return Cadence(every_s=float(usual), limit_s=float(limit))


Fate = Literal["well", "some", "together", "gateway"]
LEAST_CHILDREN, SHARE = 3, 0.8  # as rules.gateways and the rule device-silent have it


def fate(own: State | None, children: int, silent: int) -> Fate:
    """What a gateway's devices share: its own silence, one that they have together, or none.

    ``own`` None or never heard = the gateway does not speak by itself, only what is behind it does.
    """
    if own == "silent":
        return "gateway"
    if children >= LEAST_CHILDREN and silent >= SHARE * children:
        return "together"
    return "some" if silent else "well"
