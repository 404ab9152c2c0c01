"""Windows against how often devices report: a window that holds too little to say anything never raises."""

from collections.abc import Iterator
from dataclasses import dataclass

from rules.facts import Facts
from rules.keys import SECOND_US
from rules.problems import Problem, Severity
from rules.projection import ProjectionRule
from rules.quality import REMEMBERED_STEPS, QualityRule
from rules.rule import Rule
from rules.silence import SilenceRule
from rules.stuck import StuckRule
from rules.trend import TrendRule

FARTHEST_WINDOWS = 6  # a slope says little about times so many windows ahead


@dataclass(frozen=True, slots=True)
class Need:
    """What a rule needs of its devices: a reading at least every ``interval_s``, because of ``key``."""

    key: str
    value: float
    interval_s: float
    why: str
    why_zh: str
    remedy: str = "widen the window or ask for fewer samples"
    remedy_zh: str = "加大窗口或减少样本数"


def check_cadence(rule: Rule, facts: Facts) -> Iterator[Problem]:
    """Windows, samples and gaps, kind by kind of those in scope."""
    for need in _needs(rule):
        for kind in sorted(rule.scope.kinds or facts.kinds.keys()):
            yield from _of_kind(rule, need, kind, facts)
    if isinstance(rule, SilenceRule):
        yield from _too_soon(rule, facts)
    if isinstance(rule, ProjectionRule) and rule.within_us > FARTHEST_WINDOWS * rule.trend_us:
        yield Problem(
            rule_id=rule.rule_id,
            key="within_s",
            value=rule.within_us / SECOND_US,
            severity="warning",
            text=f"looks further ahead than {FARTHEST_WINDOWS} of its windows of {rule.trend_us / SECOND_US:g} s: "
            "a slope of minutes says little about hours",
            text_zh=f"预测时长超过窗口（{rule.trend_us / SECOND_US:g} 秒）的 {FARTHEST_WINDOWS} 倍，斜率难以说明",
            remedy="widen window_s, or look less far ahead",
            remedy_zh="请加大 window_s，或缩短预测时长",
        )


def _too_soon(rule: SilenceRule, facts: Facts) -> Iterator[Problem]:
    """Devices that report less often than the rule has patience would be called silent after every reading."""
    if not rule.every_us and rule.cadence == "set":
        return
    longest_us = rule.every_us if rule.cadence == "set" else rule.most_us
    patience_s = max(rule.factor * longest_us, rule.min_us) / SECOND_US
    key = "every_s" if rule.cadence == "set" else "most_s"
    for kind in sorted(rule.scope.kinds or facts.kinds.keys()):
        need = Need(
            key,
            longest_us / SECOND_US,
            patience_s,
            f"{patience_s:g} s of silence are less than they leave between two readings",
            f"静默 {patience_s:g} 秒短于两次上报的间隔",
            f"write a larger {key} or factor",
            f"加大 {key} 或 factor",
        )
        yield from _of_kind(rule, need, kind, facts)


def _needs(rule: Rule) -> Iterator[Need]:
    window_s = rule.window_us() / SECOND_US
    match rule:
        case StuckRule():
            gap_s = rule.max_gap_us() / SECOND_US
            why = f"for_s holds fewer than min_samples = {rule.min_samples} readings"
            why_zh = f"for_s 内不足 min_samples = {rule.min_samples} 个读数"
            yield Need("min_samples", rule.min_samples, gap_s, why, why_zh)
        case QualityRule() if window_s > 0:
            why = f"{REMEMBERED_STEPS} steps hold no reading to compare with"
            why_zh = f"{REMEMBERED_STEPS} 个 step_s 之内没有可比较的读数"
            yield Need("step_s", rule.step_us / SECOND_US, window_s, why, why_zh)
        case QualityRule():
            return
        case _ if window_s > 0:
            why, why_zh = "a window holds fewer than two readings", "窗口内不足两个读数"
            yield Need("window_s", window_s, window_s / 2, why, why_zh)
    if isinstance(rule, TrendRule):
        yield from _needs_of_slope(rule, window_s)


def _needs_of_slope(rule: TrendRule, window_s: float) -> Iterator[Need]:
    most_s = window_s / (rule.min_samples - 1)
    if most_s < window_s / 2:
        why = f"a window holds fewer than min_samples = {rule.min_samples} readings"
        why_zh = f"窗口内不足 min_samples = {rule.min_samples} 个读数"
        yield Need("min_samples", rule.min_samples, most_s, why, why_zh)
    gap_s = rule.max_gap_us / SECOND_US
    if gap_s < window_s / 2:
        yield Need("max_gap_s", gap_s, gap_s, "every reading comes after a gap", "每个读数之前都被视为缺测")


def _of_kind(rule: Rule, need: Need, kind: str, facts: Facts) -> Iterator[Problem]:
    """An error when no device of the kind reports often enough, a warning when some do not."""
    ground = [one for one in facts.ground if one.kind == kind and one.interval_s and rule.scope.matches(one)]
    intervals = [(one.interval_s or 0, one.devices) for one in ground]
    own = facts.kinds[kind].interval_s if kind in facts.kinds else None
    if not intervals and own is not None and rule.scope.kinds:
        intervals = [(own, 0)]
    slow = [(interval, devices) for interval, devices in intervals if interval > need.interval_s]
    if not slow:
        return
    severity: Severity = "error" if len(slow) == len(intervals) else "warning"
    slowest = max(interval for interval, _ in slow)
    how_many = f"{sum(devices for _, devices in slow)} of {sum(devices for _, devices in intervals)} devices"
    yield Problem(
        rule_id=rule.rule_id,
        key=need.key,
        value=need.value,
        severity=severity,
        text=f"{need.why}: {how_many} of kind {kind} report only every {slowest} s",
        text_zh=f"{need.why_zh}：设备类型 {kind} 中有 {sum(n for _, n in slow)} 台每 {slowest} 秒才上报一次",
        remedy=f"for a reading every {slowest} s {need.remedy}, or narrow the scope",
        remedy_zh=f"对于每 {slowest} 秒一个读数，请{need.remedy_zh}，或缩小范围",
    )
