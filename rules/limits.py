"""Limits a reading can never cross, or always has crossed: a rule that is silent for ever, or never stops."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rules.condition import ThresholdRule
from rules.facts import Facts, Ground, Range
from rules.keys import Direction, StationLevel
from rules.ladder import LadderRule
from rules.maintenance import MaintenanceRule, Sign
from rules.problems import Problem
from rules.projection import ProjectionRule
from rules.quality import QualityRule
from rules.rate import RateRule
from rules.rule import Rule
from rules.stuck import StuckRule
from rules.trend import TrendRule

LEVELS: tuple[StationLevel, ...] = ("warning", "guaranteed", "highest")  # in rising order
ZH = {"warning": "警戒水位", "guaranteed": "保证水位", "highest": "历史最高水位"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """One limit of a rule; ``key`` and ``clear_key`` are what a person would change."""

    key: str
    clear_key: str
    metric: str
    direction: Direction
    raise_at: float | StationLevel
    clear_at: float | None  # None = with the raise limit


def believed(rules: Sequence[Rule], facts: Facts) -> dict[tuple[str, str], Range]:
    """What quality rules let through of whole kinds of device, by (kind, metric)."""
    found: dict[tuple[str, str], Range] = {}
    for rule in rules:
        if isinstance(rule, QualityRule) and rule.scope.only_kinds():
            for kind in rule.scope.kinds or facts.kinds:
                least, most = found.get((kind, rule.metric)) or facts.range([kind], rule.metric)
                found[kind, rule.metric] = max(least, rule.least), min(most, rule.most)
    return found


def limits_of(rule: Rule) -> list[Limit]:
    """Every limit that a reading of the rule's metric is compared with."""
    match rule:
        case ThresholdRule():
            clear_at = rule.clear_at
            if clear_at is None:
                clear_at = _past(rule.raise_at, rule.deadband, rule.direction)
            return [
                Limit(
                    key="raise_at",
                    clear_key="deadband" if rule.clear_at is None else "clear_at",
                    metric=rule.metric,
                    direction=rule.direction,
                    raise_at=rule.raise_at,
                    clear_at=clear_at,
                )
            ]
        case LadderRule():
            return [
                Limit(
                    key=f"step {place}",
                    clear_key="deadband",
                    metric=rule.metric,
                    direction=rule.direction,
                    raise_at=step.at,
                    clear_at=_past(step.at, rule.deadband, rule.direction),
                )
                for place, step in enumerate(rule.steps, 1)
            ]
        case MaintenanceRule():
            return [*(_of_sign(sign) for sign in rule.signs), *_of_self_test(rule)]
        case ProjectionRule():
            return [
                Limit(
                    key="to",
                    clear_key="to",
                    metric=rule.metric,
                    direction="above" if rule.rising else "below",
                    raise_at=rule.to,
                    clear_at=None,
                )
            ]
        case RateRule() if isinstance(rule.only_above, str):
            return [
                Limit(
                    key="only_above",
                    clear_key="only_above",
                    metric=rule.metric,
                    direction="above",
                    raise_at=rule.only_above,
                    clear_at=None,
                )
            ]
        case _:
            return []


def _of_sign(sign: Sign) -> Limit:
    return Limit(
        key=f"sign {sign.metric} {sign.direction}",
        clear_key=f"sign {sign.metric} deadband",
        metric=sign.metric,
        direction=sign.direction,
        raise_at=sign.at,
        clear_at=_past(sign.at, sign.deadband, sign.direction),
    )


def _of_self_test(rule: MaintenanceRule) -> Iterator[Limit]:
    if rule.self_test is not None:
        key = "self_test.above"
        at = rule.self_test.above
        metric = rule.self_test.metric
        yield Limit(key=key, clear_key=key, metric=metric, direction="above", raise_at=at, clear_at=at)


def _past(raise_at: float | StationLevel, deadband: float, direction: Direction) -> float | None:
    if isinstance(raise_at, str):
        return None
    return raise_at - deadband if direction == "above" else raise_at + deadband


def check_limits(rule: Rule, facts: Facts) -> Iterator[Problem]:
    """Limits against what the metric can be, and against what stations have."""
    for limit in limits_of(rule):
        metric = facts.metrics.get(limit.metric)
        if isinstance(limit.raise_at, str):
            yield from _station_limit(rule, limit, limit.raise_at, facts)
        elif metric is not None:
            possible = facts.range(rule.scope.kinds, limit.metric)
            yield from _constant_limit(rule, limit, limit.raise_at, possible, metric.unit)
    yield from _differences(rule, facts)
    if isinstance(rule, LadderRule):
        for station in facts.ground:
            if station.levels is not None and rule.scope.matches(station):
                yield from _steps_in_order(rule, station)


def _constant_limit(
    rule: Rule, limit: Limit, raise_at: float, possible: Range, unit: str
) -> Iterator[Problem]:
    least, most = possible
    above = limit.direction == "above"
    bounds = f"{limit.metric} is from {least:g} to {most:g} {unit}".rstrip()
    bounds_zh = f"{limit.metric} 的范围是 {least:g} 到 {most:g} {unit}".rstrip()
    if raise_at > most if above else raise_at < least:
        yield Problem(
            rule_id=rule.rule_id,
            key=limit.key,
            value=raise_at,
            severity="error",
            text=f"can never be reached: {bounds}",
            text_zh=f"永远无法达到：{bounds_zh}",
            remedy="write a limit within that range",
            remedy_zh="请写在该范围之内的限值",
        )
    elif raise_at <= least if above else raise_at >= most:
        yield Problem(
            rule_id=rule.rule_id,
            key=limit.key,
            value=raise_at,
            severity="error",
            text=f"is always reached: {bounds}, so the alarm would stand for every device",
            text_zh=f"始终成立：{bounds_zh}，所有设备都会持续报警",
            remedy="write a limit within that range",
            remedy_zh="请写在该范围之内的限值",
        )
    elif limit.clear_at is not None and (limit.clear_at <= least if above else limit.clear_at >= most):
        yield Problem(
            rule_id=rule.rule_id,
            key=limit.clear_key,
            value=limit.clear_at,
            severity="error",
            text=f"no reading is ever past the clear limit {limit.clear_at:g}: {bounds}; the alarm would never clear",
            text_zh=f"没有读数能越过恢复限值 {limit.clear_at:g}：{bounds_zh}，报警永远无法恢复",
            remedy="write a smaller deadband, or a clear limit within the range",
            remedy_zh="请减小回差，或把恢复限值写在范围之内",
        )


def _differences(rule: Rule, facts: Facts) -> Iterator[Problem]:
    """Figures that are no limits, and yet leave nothing to raise at, or everything."""
    match rule:
        case TrendRule():
            least, most = facts.range(rule.scope.kinds, rule.metric)
            if rule.noise >= most - least:
                yield _pointless(rule, "noise", rule.noise, (least, most))
            if isinstance(rule, RateRule) and isinstance(rule.only_above, float) and rule.only_above > most:
                yield _pointless(rule, "only_above", rule.only_above, (least, most))
        case StuckRule():
            least, most = facts.range(rule.scope.kinds, rule.metric)
            if rule.tolerance >= most - least:
                yield _pointless(rule, "tolerance", rule.tolerance, (least, most))
        case QualityRule() if rule.metric in facts.metrics:
            least, most = facts.metrics[rule.metric].range()
            if rule.least > most or rule.most < least:
                key, value = ("least", rule.least) if rule.least > most else ("most", rule.most)
                yield _pointless(rule, key, value, (least, most))


def _pointless(rule: Rule, key: str, value: float, possible: Range) -> Problem:
    least, most = possible
    metric = ", ".join(sorted(rule.metrics()))
    return Problem(
        rule_id=rule.rule_id,
        key=key,
        value=value,
        severity="error",
        text=f"leaves nothing to tell apart: {metric} is from {least:g} to {most:g}",
        text_zh=f"使规则失去意义：{metric} 的范围是 {least:g} 到 {most:g}",
        remedy="write a figure within that range",
        remedy_zh="请写在该范围之内的数值",
    )


def _station_limit(rule: Rule, limit: Limit, name: StationLevel, facts: Facts) -> Iterator[Problem]:
    stations = [one for one in facts.ground if one.levels is not None and rule.scope.matches(one)]
    if not any(one.levels and one.levels[name] is not None for one in stations):
        yield Problem(
            rule_id=rule.rule_id,
            key=limit.key,
            value=f"station.{name}",
            severity="warning",
            text=f"no station in its scope has a {name} level: nothing would be raised yet",
            text_zh="范围内没有测站设有该水位：目前不会报警",
            remedy="give the stations their levels (stations.csv), or accept",
            remedy_zh="请在 stations.csv 中填写测站水位，或接受此警告",
        )
    for station in stations:
        yield from _levels_in_order(rule, limit, name, station)


def _levels_in_order(rule: Rule, limit: Limit, name: StationLevel, station: Ground) -> Iterator[Problem]:
    """A warning level above the guaranteed one calls people after the dyke is wet."""
    known = [(level, value) for level in LEVELS if (value := (station.levels or {}).get(level)) is not None]
    for (lower, low), (upper, high) in pairwise(known):
        if low > high and name in (lower, upper):
            yield Problem(
                rule_id=rule.rule_id,
                key=limit.key,
                value=f"station.{name}",
                severity="error",
                text=f"levels of station {station.code} are out of order: "
                f"{lower} {low:g} m is above {upper} {high:g} m",
                text_zh=f"测站 {station.code} 的水位次序有误：{ZH[lower]} {low:g} 米高于{ZH[upper]} {high:g} 米",
                remedy="correct the station's levels (stations.csv)",
                remedy_zh="请在 stations.csv 中更正测站水位",
            )


def _steps_in_order(rule: LadderRule, station: Ground) -> Iterator[Problem]:
    """A file only knows the names of station levels; which is higher, each station says itself."""
    known = []
    for place, step in enumerate(rule.steps, 1):
        level = (station.levels or {}).get(step.at) if isinstance(step.at, str) else step.at
        if level is not None:
            known.append((place, level + step.offset))
    for (lower, low), (upper, high) in pairwise(known):
        if low >= high if rule.direction == "above" else low <= high:
            yield Problem(
                rule_id=rule.rule_id,
                key=f"step {upper}",
                value=high,
                severity="error",
                text=f"is not {rule.direction} step {lower} at station {station.code}, which is {low:g} m: "
                "the lower colour would never be seen there",
                text_zh=f"在测站 {station.code} 未超过第 {lower} 级（{low:g} 米），较低颜色永远不会出现",
                remedy="correct the station's levels (stations.csv) or the step's offset",
                remedy_zh="请更正测站水位（stations.csv）或该级的偏移量",
            )
