"""Different sources that say the same thing near one another: smoke, a camera and a caller are one fire, for certain.

Rules of this kind are not decided on readings. The command centre asks them of alarms and reports when it makes
incidents of them (``command_centre.fusion``); the engine keeps an empty book for each.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from city.alarms import Transition
from rules.books import Batch, Moment, Surroundings
from rules.keys import Keys
from rules.rule import Rule, read_common
from rules.states import StateRow

Where = Literal["cell", "neighbours"]
By = Literal["category", "rule", "report"]

_BY: tuple[By, ...] = get_args(By)
LONGEST_WINDOW_S = 24 * 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One way in which a thing is seen. ``code`` is a category or one above it (of alarms, or of what people report),
    or a rule's id."""

    by: By
    code: str
    name: str
    name_en: str

    def matches(self, signal: "Signal") -> bool:
        if self.by == "rule":
            return signal.rule_id == self.code
        under = signal.category == self.code or signal.category.startswith(f"{self.code}.")
        return under and signal.report == (self.by == "report")


@dataclass(frozen=True, kw_only=True, slots=True)
class FusionRule(Rule):
    """``k`` different sources in a cell, or in it and beside it, within a window."""

    sources: tuple[Source, ...]
    k: int
    span_us: int
    where: Where


@dataclass(frozen=True, kw_only=True, slots=True)
class Signal:
    """An alarm, or what a person reported. ``origin`` tells its device or its report from others."""

    category: str
    rule_id: str = ""
    report: bool = False
    origin: str
    cell_id: int
    at_us: int


@dataclass(frozen=True, slots=True)
class Group:
    """Signals that fused, by their places in the list, and the places of the rule's sources among them."""

    members: tuple[int, ...]
    sources: tuple[int, ...]


def read(keys: Keys, version: int) -> FusionRule:
    """A rule of type "fusion"; docs/rules.md has every key."""
    sources = tuple(_source(table) for table in keys.tables("source"))
    if len(sources) < 2:
        raise keys.error(
            "source",
            "name at least two, each begun with [[rule.source]]",
            "至少写两个来源，每个以 [[rule.source]] 开头",
        )
    common = read_common(keys, version, frozenset())
    if common["incident_class"] is None:
        raise keys.error("class", "say to which class it raises: A, B or C", "请写明升到哪一等级：A、B 或 C")
    scope = common["scope"]
    if scope.models or scope.tags or scope.devices:
        raise keys.error(
            "scope",
            "is of places here: cells, communities, streets",
            "此类规则只能限定地点：网格、社区、街道",
        )
    return FusionRule(
        **common,
        sources=sources,
        k=keys.whole_number("k", 2, least=2, most=len(sources)),
        span_us=keys.delay_us("window_s", 1800, least=1),
        where=cast(Where, keys.choice("where", get_args(Where), "neighbours")),
    )


def _source(table: Keys) -> Source:
    given = [by for by in _BY if table.has(by)]
    if len(given) != 1:
        raise table.error(
            "category", "give one of category, rule and report", "category、rule、report 三者写一项"
        )
    by = given[0]
    code = table.text("rule") if by == "rule" else table.code(by)
    source = Source(by=by, code=code, name=table.text("name"), name_en=table.text("name_en"))
    table.refuse_the_rest()
    return source


def fuse(
    signals: Sequence[Signal], neighbours: Mapping[int, frozenset[int]], rule: FusionRule
) -> list[Group]:
    """Around which signals enough sources speak: one group for each signal in whose cell, or in that and beside
    it, and within the window before and after it, ``k`` different sources spoke; the same group once.

    ``neighbours`` by cell. One device or one report counts for one source, the first of the rule that it matches.
    """
    if len(signals) < rule.k:
        return []
    matches = _first_source(signals, rule)
    near = _in_time(signals, rule.span_us) & _in_place(signals, neighbours, rule.where)
    spoken = (near.astype(np.int32) @ matches.astype(np.int32)) > 0
    fired = np.flatnonzero((spoken.sum(axis=1) >= rule.k) & matches.any(axis=1))
    groups: dict[tuple[int, ...], Group] = {}
    for centre in fired.tolist():
        members = tuple(np.flatnonzero(near[centre] & matches.any(axis=1)).tolist())
        groups.setdefault(members, Group(members, tuple(np.flatnonzero(spoken[centre]).tolist())))
    return list(groups.values())


def _first_source(signals: Sequence[Signal], rule: FusionRule) -> NDArray[np.bool_]:
    """Signals by sources: for which source each counts. All signals of one origin count for the same."""
    matches = np.zeros((len(signals), len(rule.sources)), dtype=np.bool_)
    of_origin: dict[str, int] = {}
    for signal in signals:
        for number, source in enumerate(rule.sources):
            if source.matches(signal):
                of_origin[signal.origin] = min(number, of_origin.get(signal.origin, number))
                break
    for place, signal in enumerate(signals):
        number = of_origin.get(signal.origin, -1)
        if number >= 0:
            matches[place, number] = any(source.matches(signal) for source in rule.sources)
    return matches


def _in_time(signals: Sequence[Signal], span_us: int) -> NDArray[np.bool_]:
    at_us = np.array([signal.at_us for signal in signals], dtype=np.int64)
    result: NDArray[np.bool_] = np.abs(at_us[:, None] - at_us[None, :]) <= span_us
    return result


def _in_place(
    signals: Sequence[Signal], neighbours: Mapping[int, frozenset[int]], where: Where
) -> NDArray[np.bool_]:
    cell = np.array([signal.cell_id for signal in signals], dtype=np.int64)
    near: NDArray[np.bool_] = cell[:, None] == cell[None, :]
    if where == "neighbours":
        for centre in np.unique(cell).tolist():
            beside = np.isin(cell, sorted(neighbours.get(centre, frozenset())))
            near[cell == centre] |= beside
    return near


class FusionBook:
    """Remembers nothing: readings do not concern it."""

    def __init__(self, rule: FusionRule, around: Surroundings) -> None:
        self.rule = rule

    def grow(self, size: int) -> None:
        """Nothing is kept by device."""

    def owns(self, state: Mapping[str, object]) -> bool:
        """A state under its id is of another kind of rule."""
        return not state

    def load(self, device_id: int, state: Mapping[str, object]) -> None:
        """There is none."""

    def facts_changed(self, device_ids: NDArray[np.int64]) -> None:
        """Devices do not concern it."""

    def decide(self, batch: Batch) -> None:
        """Readings do not concern it."""

    def tick(self, moment: Moment) -> tuple[list[Transition], None]:
        """The clock does not concern it."""
        return [], None

    def accept(self, changes: None) -> None:
        """Nothing changes."""

    def rows(self, changes: None) -> Iterator[StateRow]:
        return iter(())
