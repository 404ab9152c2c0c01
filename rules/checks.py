"""Whether rules may come into force: what a person would otherwise find out when it is too late.

A definition that cannot be read is refused before this (``rules.definitions``). Here rules are held against the
district they are for, and against each other. ``docs/managed-rules.md`` lists every check with its reason.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from rules.cadence import check_cadence
from rules.detection import DetectionRule
from rules.facts import Facts
from rules.fusion import FusionRule, Signal, Source
from rules.limits import believed, check_limits
from rules.maintenance import MaintenanceRule, SelfTest
from rules.overlaps import never_on, overlap
from rules.problems import Problem, Severity
from rules.quality import QualityRule
from rules.rule import Rule
from rules.silence import SilenceRule

_AREAS = {"cells": ("cell", "网格"), "communities": ("community", "社区"), "streets": ("street", "街道")}
_SHOWN = 5  # codes in one problem; a list of a hundred says no more


def check(new: Sequence[Rule], staying: Sequence[Rule], facts: Facts) -> list[Problem]:
    """Problems of ``new`` beside the rules that stay in force, errors first; both lists have other ids."""
    facts = replace(facts, believed=believed([*new, *staying], facts))
    together = [*new, *staying]
    problems = [problem for rule in new for problem in [*_alone(rule, facts), *_refers(rule, together)]]
    for place, rule in enumerate(new):
        for other in [*staying, *new[:place]]:
            problems += overlap(rule, other)
    return sorted(problems, key=lambda problem: (problem.severity != "error", problem.rule_id))


def _alone(rule: Rule, facts: Facts) -> Iterator[Problem]:
    yield from _known(rule, facts)
    yield from _reaches_somebody(rule, facts)
    yield from _speaks(rule, facts)
    yield from check_limits(rule, facts)
    yield from check_cadence(rule, facts)
    if rule.schedule is not None and never_on(rule.schedule):
        yield Problem(
            rule_id=rule.rule_id,
            key="schedule",
            value=str(rule.schedule.days),
            severity="error",
            text="is never on: no day of four years lies in its days and its season",
            text_zh="从不生效：四年内没有一天同时符合日期类型和季节",
            remedy="widen days or season",
            remedy_zh="请放宽日期类型或季节",
        )


# ── names that lead nowhere ──────────────────────────────────────────────────────────────────────────


def _known(rule: Rule, facts: Facts) -> Iterator[Problem]:
    """Every name the rule uses is the district's."""
    yield from _unit(rule, facts)
    yield from _unknown(rule, "metric", "指标", rule.metrics(), facts.metrics.keys(), "add it to kinds.toml")
    yield from _unknown(
        rule, "kind", "设备类型", rule.scope.kinds, facts.kinds.keys(), "add it to kinds.toml"
    )
    if not isinstance(rule, QualityRule):  # whose category is not chosen: no alarm comes of it
        asked = {rule.category}
        yield from _unknown(rule, "category", "类别", asked, facts.categories, "add it to categories.csv")
    if isinstance(rule, FusionRule):
        above = {code.rsplit(".", depth)[0] for code in facts.categories for depth in range(4)}
        asked = {source.code for source in rule.sources if source.by != "rule"}
        yield from _unknown(rule, "source.category", "类别", asked, above, "add it to categories.csv")
    for name, (layer, zh) in _AREAS.items():
        yield from _unknown(
            rule, f"scope.{name}", zh, getattr(rule.scope, name), facts.areas.get(layer, frozenset())
        )
    devices = {one.code for one in facts.ground}
    yield from _unknown(rule, "scope.devices", "设备", rule.scope.devices, devices)
    # Models and tags are free words, which the next device may bring.
    models = {one.model for one in facts.ground}
    yield from _unknown(rule, "scope.models", "型号", rule.scope.models, models, severity="warning")
    tags = {tag for one in facts.ground for tag in one.tags}
    yield from _unknown(rule, "scope.tags", "标签", rule.scope.tags, tags, severity="warning")


def _unit(rule: Rule, facts: Facts) -> Iterator[Problem]:
    """A limit of 300 was meant in centimetres, and the metric is in metres."""
    for metric in sorted(rule.metrics() & facts.metrics.keys()):
        unit = facts.metrics[metric].unit
        if rule.unit and rule.unit != unit:
            yield Problem(
                rule_id=rule.rule_id,
                key="unit",
                value=rule.unit,
                severity="error",
                text=f"is not the unit of {metric}, which is {unit or 'none'}",
                text_zh=f"与指标 {metric} 的单位（{unit or '无'}）不同",
                remedy=f"write the figures in {unit or 'the bare number'} and correct the unit, or leave it out",
                remedy_zh="请按指标的单位填写数值并更正单位，或去掉该项",
            )


def _unknown(
    rule: Rule,
    key: str,
    zh: str,
    asked: Collection[str],
    known: Collection[str],
    remedy: str = "",
    *,
    severity: Severity = "error",
) -> Iterator[Problem]:
    missing = sorted(code for code in asked if code not in known)
    if missing:
        noun = key.removeprefix("scope.")
        yield Problem(
            rule_id=rule.rule_id,
            key=key,
            value=", ".join(missing[:_SHOWN]) + ("…" if len(missing) > _SHOWN else ""),
            severity=severity,
            text=f"the district has no such {noun}",
            text_zh=f"本区没有该{zh}",
            remedy=f"correct it or {remedy}" if remedy else "correct it",
            remedy_zh="请更正" + (f"，或写入 {remedy.rsplit(' ', 1)[-1]}" if remedy else ""),
        )


def _refers(rule: Rule, others: Sequence[Rule]) -> Iterator[Problem]:
    """Other rules it names or waits for are in force, or come into force with it."""
    ids = {other.rule_id for other in others}
    match rule:
        case MaintenanceRule(self_test=SelfTest(holds=holds)):
            yield from _not_in_force(rule, "self_test.holds", holds, ids)
        case FusionRule():
            named = {source.code for source in rule.sources if source.by == "rule"}
            yield from _not_in_force(rule, "source.rule", named, ids)
            speaking = [source for source in rule.sources if _speaks_up(source, rule, others)]
            if len(speaking) < rule.k:
                yield _too_few_sources(rule, len(speaking))


def _not_in_force(rule: Rule, key: str, asked: Collection[str], ids: Collection[str]) -> Iterator[Problem]:
    for problem in _unknown(rule, key, "规则", asked, ids):
        yield replace(problem, text="no such rule is in force", text_zh="没有启用的该规则")


def _speaks_up(source: Source, rule: Rule, others: Sequence[Rule]) -> bool:
    """Whether anything could speak for a source: people always can, alarms need a rule that raises them."""
    if source.by == "report":
        return True
    signals = [
        Signal(category=other.category, rule_id=other.rule_id, origin="", cell_id=0, at_us=0)
        for other in others
        if other.rule_id != rule.rule_id and not isinstance(other, QualityRule | FusionRule)
    ]
    return any(source.matches(signal) for signal in signals)


def _too_few_sources(rule: FusionRule, speaking: int) -> Problem:
    return Problem(
        rule_id=rule.rule_id,
        key="k",
        value=rule.k,
        severity="error",
        text=f"can never be reached: only {speaking} of its {len(rule.sources)} sources have a rule in force "
        "that raises their alarms",
        text_zh=f"永远无法达到：{len(rule.sources)} 个来源中只有 {speaking} 个有启用的规则会产生报警",
        remedy="correct the sources, or put the rules they wait for in force",
        remedy_zh="请更正来源，或启用其所依赖的规则",
    )


# ── rules that nothing can set off ───────────────────────────────────────────────────────────────────


def _reaches_somebody(rule: Rule, facts: Facts) -> Iterator[Problem]:
    if any(rule.scope.matches(one) for one in facts.ground):
        return
    yield Problem(
        rule_id=rule.rule_id,
        key="scope",
        value=rule.scope.to_words(),
        severity="warning",
        text="no device is in it: the rule raises nothing until one is registered",
        text_zh="范围内没有设备：在登记设备之前不会报警",
        remedy="correct the scope, or accept",
        remedy_zh="请更正范围，或接受此警告",
    )


def _speaks(rule: Rule, facts: Facts) -> Iterator[Problem]:
    """The devices say what the rule listens for."""
    kinds = {code: facts.kinds[code] for code in rule.scope.kinds if code in facts.kinds}
    match rule:
        case SilenceRule(every_us=0, cadence="set"):
            devices = [one for one in facts.ground if rule.scope.matches(one)]
            asked = kinds or facts.kinds
            if not any(one.interval_s for one in devices) and not any(
                one.interval_s for one in asked.values()
            ):
                yield Problem(
                    rule_id=rule.rule_id,
                    key="kinds",
                    value=", ".join(sorted(kinds)),
                    severity="error",
                    text="none of them has an expected interval: nobody can be missed",
                    text_zh="这些类型都没有预期上报间隔，无法判断失联",
                    remedy="give expected_interval_s in kinds.toml or devices.csv",
                    remedy_zh="请在 kinds.toml 或 devices.csv 中给出 expected_interval_s",
                )
        case DetectionRule():
            return
        case _:
            for code, kind in sorted(kinds.items()):
                for metric in sorted(rule.metrics() & facts.metrics.keys()):
                    if metric != kind.main_metric and (code, metric) not in facts.seen:
                        yield _not_sent(rule, code, metric)


def _not_sent(rule: Rule, kind: str, metric: str) -> Problem:
    return Problem(
        rule_id=rule.rule_id,
        key="metric",
        value=metric,
        severity="warning",
        text=f"is not the main metric of kind {kind}, and none of its devices has sent it of late",
        text_zh=f"不是设备类型 {kind} 的主指标，近期也没有设备上报过",
        remedy="correct the metric or the kind, or accept",
        remedy_zh="请更正指标或设备类型，或接受此警告",
    )
