"""Rules that say the same thing twice: two alarms, and two incidents, for one condition.

Rules of different weight are meant to overlap when they are of one family: the most specific wins. Of different
families they are two opinions about one thing, which a district may want. What it never wants is two rules of the
same kind and weight for the same devices with the same limit.
"""

from collections.abc import Iterator
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from rules.condition import ThresholdRule
from rules.detection import DetectionRule
from rules.fusion import FusionRule
from rules.ladder import LadderRule
from rules.maintenance import MaintenanceRule
from rules.problems import Problem, Severity
from rules.projection import ProjectionRule
from rules.rate import RateRule
from rules.rule import Rule
from rules.schedule import Schedule
from rules.scope import SPECIFICITY, Scope

_UTC = ZoneInfo("UTC")  # schedules are local: any zone without summer time serves
_FIRST_DAY = 19_723  # 2024-01-01
_DAYS = 4 * 365 + 1  # with a leap day, and every weekday in every week of the year


def overlap(one: Rule, other: Rule) -> Iterator[Problem]:
    """What is to be said of ``one`` beside ``other``."""
    if type(one) is not type(other) or one.scope.weight != other.scope.weight:
        return
    if not _meet(one.scope, other.scope) or not _at_one_time(one.schedule, other.schedule):
        return
    if one.family == other.family:
        first = min(one.rule_id, other.rule_id)
        yield Problem(
            rule_id=one.rule_id,
            key="family",
            value=one.family,
            severity="warning",
            text=f"{other.rule_id} is of the same family, for the same devices and as specific; {first} would win "
            "by its name alone",
            text_zh=f"{other.rule_id} 属于同一族、适用于相同设备且同样具体，将仅按名称由 {first} 生效",
            remedy="make the scope of one of them more specific",
            remedy_zh="请使其中一条的范围更具体",
        )
        return
    severity = _same(one, other)
    if severity is not None:
        yield _twice(one, other, severity)


def _same(one: Rule, other: Rule) -> Severity | None:
    """Error: the same condition. Warning: the same thing with another figure and the same colour."""
    match one, other:
        case DetectionRule(), DetectionRule():
            zones_meet = not one.zones or not other.zones or one.zones & other.zones
            if not one.labels & other.labels or not zones_meet:
                return None
            return "error" if one.level == other.level else "warning"
        case MaintenanceRule(), MaintenanceRule():
            shared = {sign.code for sign in one.signs} & {sign.code for sign in other.signs}
            return "error" if shared else None
    if _watched(one) != _watched(other):
        return None
    figure, other_figure = _figure(one), _figure(other)
    if figure == other_figure:
        return "error"
    two_levels = isinstance(figure, str) and isinstance(
        other_figure, str
    )  # of a station: they differ by design
    return "warning" if one.level == other.level and not two_levels else None


def _watched(rule: Rule) -> tuple[object, ...]:
    """What it looks at, whatever its limit is."""
    match rule:
        case ThresholdRule() | LadderRule() | RateRule():
            return rule.metric, rule.direction
        case ProjectionRule():
            return rule.metric, rule.rising, rule.to
        case FusionRule():
            return tuple(sorted((source.by, source.code) for source in rule.sources))
        case _:
            return tuple(sorted(rule.metrics()))


def _figure(rule: Rule) -> object:
    """Its limit; of kinds of rule of which one is enough for a device, nothing."""
    match rule:
        case ThresholdRule():
            return rule.raise_at
        case RateRule():
            return rule.raise_at / rule.per_s, rule.only_above
        case ProjectionRule():
            return rule.within_us
        case FusionRule():
            return rule.k, rule.span_us
        case _:
            return None


def _twice(one: Rule, other: Rule, severity: Severity) -> Problem:
    return Problem(
        rule_id=one.rule_id,
        key="scope",
        value=one.scope.to_words(),
        severity=severity,
        text=f"overlaps with {other.rule_id}: one condition would raise two alarms",
        text_zh=f"与规则 {other.rule_id} 重叠：同一情况会产生两条报警",
        remedy="retire one, part their scopes or schedules, or give both one family",
        remedy_zh="请停用其一、划分范围或时段，或归入同一族（family）",
    )


def _meet(one: Scope, other: Scope) -> bool:
    """Whether a device may match both; exact for scopes of the same keys."""
    for name in SPECIFICITY:
        asked, also = getattr(one, name), getattr(other, name)
        if asked and also and name != "tags" and not asked & also:
            return False
    return True


def never_on(schedule: Schedule) -> bool:
    """Whether a schedule leaves no minute: working days within a holiday, for one."""
    return not schedule.mask(_beginnings(schedule), _UTC).any()


def _at_one_time(one: Schedule | None, other: Schedule | None) -> bool:
    if one is None or other is None:
        return True
    instants = _beginnings(one, other)
    return bool(np.any(one.mask(instants, _UTC) & other.mask(instants, _UTC)))


def _beginnings(*schedules: Schedule) -> NDArray[np.int64]:
    """Where a common minute of schedules can begin: with a day, or with a span of one of them."""
    minutes = np.array(sorted({0} | {begin for one in schedules for begin, _ in one.hours}), dtype=np.int64)
    days = np.arange(_FIRST_DAY, _FIRST_DAY + _DAYS, dtype=np.int64)
    return ((days[:, None] * 1440 + minutes[None, :]) * 60_000_000).ravel()
