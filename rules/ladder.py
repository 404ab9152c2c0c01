"""A ladder of levels: one episode a device, whose level is the highest step that stands.

Each step is a threshold of its own, with the ladder's deadband and delays; so the level rises as fast as the
on-delay lets it and falls only when the step has been left for ``down_delay``. What the steps say is folded
into one story: raised at the first step, level up, level down, cleared below the lowest.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from city.alarms import Cleared, IncidentClass, Level, LevelChanged, Raised, Repeated, Transition
from rules.books import Batch, Moment, Surroundings
from rules.condition import Limits, ThresholdRule
from rules.keys import Direction, Keys, StationLevel
from rules.parts import Group, PartBook, by_device, in_order, past, told
from rules.rule import Rule, read_common
from rules.standing import ConditionChanges
from rules.states import StateRow, whole

LEVELS: tuple[Level, ...] = get_args(Level)  # in rising order
_NONE = -1  # no step stands, no level was said


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """From ``at`` plus ``offset`` on the level is at least this one."""

    level: Level
    at: float | StationLevel  # the metric's unit, or one of the station's own levels (metres)
    offset: float  # the metric's unit; 0.5 m under the warning level is -0.5
    incident_class: IncidentClass | None  # None = the rule's


@dataclass(frozen=True, kw_only=True, slots=True)
class LadderRule(Rule):
    """A number against rising steps. A step whose station level is unset does not exist for that device."""

    metric: str
    direction: Direction
    steps: tuple[Step, ...]
    deadband: float  # the metric's unit
    on_delay_us: int
    down_delay_us: int

    def metrics(self) -> frozenset[str]:
        return frozenset({self.metric})


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRule(ThresholdRule):
    """One step as a threshold rule under the ladder's id."""

    place: int  # from 0, the lowest
    offset: float

    def terms(self, limits: Limits) -> dict[str, object]:
        shifted = {"offset": self.offset} if self.offset else {}
        # The class of a dataclass with slots is made anew, so that super() without arguments finds the old one.
        return ThresholdRule.terms(self, limits) | shifted | {"level_step": self.place + 1}


def read(keys: Keys, version: int) -> LadderRule:
    """A rule of type "ladder"; docs/rules.md has every key."""
    direction = cast(Direction, keys.choice("direction", get_args(Direction), "above"))
    steps = _steps(keys, direction)
    return LadderRule(
        **read_common(keys, version, frozenset({keys.code("kind")}), steps[0].level),
        metric=keys.code("metric"),
        direction=direction,
        steps=steps,
        deadband=keys.number("deadband", 0.0, least=0.0),
        on_delay_us=keys.delay_us("on_delay_s", 0),
        down_delay_us=keys.delay_us("down_delay_s", 0),
    )


def _steps(keys: Keys, direction: Direction) -> tuple[Step, ...]:
    steps: list[Step] = []
    for table in keys.tables("step"):
        step = Step(
            level=table.level(),
            at=table.limit("at"),
            offset=table.number("offset", 0.0),
            incident_class=table.incident_class(),
        )
        if table.has("offset") and not isinstance(step.at, str):
            raise table.error(
                "offset",
                "belongs to a station's own level; add it to the number",
                "只用于站点自身水位；请直接加到数值上",
            )
        if steps and LEVELS.index(step.level) <= LEVELS.index(steps[-1].level):
            raise table.error(
                "level",
                f"must be above {steps[-1].level}; steps go from blue up to red",
                f"必须高于 {steps[-1].level}；各级由蓝到红递升",
            )
        if steps and not _rises(steps[-1], step, direction):
            raise table.error(
                "at",
                f"must be {direction} the step before it, {_in_words(steps[-1])}",
                f"必须{'高于' if direction == 'above' else '低于'}前一级 {_in_words(steps[-1])}",
            )
        table.refuse_the_rest()
        steps.append(step)
    if not steps:
        raise keys.error(
            "step",
            "name at least one, each begun with [[rule.step]]",
            "至少写一级，每级以 [[rule.step]] 开头",
        )
    return tuple(steps)


def _rises(one: Step, other: Step, direction: Direction) -> bool:
    """As far as the file tells: a station's level beside a number is only known with the station."""
    match one.at, other.at:
        case float(), float():
            return other.at > one.at if direction == "above" else other.at < one.at
        case str(), str():
            rank, other_rank = (get_args(StationLevel).index(step.at) for step in (one, other))
            if rank == other_rank:
                return other.offset > one.offset if direction == "above" else other.offset < one.offset
            return (other_rank > rank) == (direction == "above")
        case _:
            return True


def _in_words(step: Step) -> str:
    if isinstance(step.at, str):
        return f"station.{step.at}" + (f" {step.offset:+g}" if step.offset else "")
    return f"{step.at:g}"


class _StepBook(PartBook):
    """All states of one step."""

    def __init__(self, ladder: LadderRule, place: int, around: Surroundings) -> None:
        step = ladder.steps[place]
        super().__init__(_step_rule(ladder, place), around)
        self._offset = step.offset

    def _raise_limits(self, device: NDArray[np.int32]) -> NDArray[np.float64]:
        return super()._raise_limits(device) + self._offset

    def _limits(self, device_id: int) -> Limits:
        raise_at, clear_at = super()._limits(device_id)
        return raise_at + self._offset, clear_at + self._offset


def _step_rule(ladder: LadderRule, place: int) -> StepRule:
    step = ladder.steps[place]
    return StepRule(
        rule_id=ladder.rule_id,
        version=ladder.version,
        name=ladder.name,
        name_en=ladder.name_en,
        category=ladder.category,
        incident_class=step.incident_class or ladder.incident_class,
        level=step.level,
        scope=ladder.scope,
        family=ladder.family,
        schedule=ladder.schedule,
        metric=ladder.metric,
        direction=ladder.direction,
        raise_at=step.at,
        clear_at=None,
        deadband=ladder.deadband,
        on_delay_us=ladder.on_delay_us,
        off_delay_us=ladder.down_delay_us,
        place=place,
        offset=step.offset,
    )


@dataclass(frozen=True, slots=True)
class LadderChanges:
    """What one decision does to a book once it is committed."""

    steps: tuple[ConditionChanges | None, ...]
    levels: Mapping[int, int]  # place in LEVELS by device, where it may have changed; -1 = none

    def devices(self) -> set[int]:
        return {device for step in self.steps if step is not None for device in step.states} | set(
            self.levels
        )


Outcomes = Sequence[tuple[list[Transition], ConditionChanges] | None]


class LadderBook:
    """All states of one ladder: a threshold book for each step, and the level that was said last."""

    def __init__(self, rule: LadderRule, around: Surroundings) -> None:
        self.rule = rule
        self._steps = [_StepBook(rule, place, around) for place in range(len(rule.steps))]
        self._metric_id = self._steps[0].metric_id
        self._said: dict[int, int] = {}  # by device: the level of its alarm, as a place in LEVELS
        self._stale: set[int] = set()  # said under other steps than the rule has now

    def grow(self, size: int) -> None:
        for step in self._steps:
            step.grow(size)

    def owns(self, state: Mapping[str, object]) -> bool:
        """Whether a stored state is of this kind of rule, and of this metric: rules are edited under their id."""
        return not state or ("steps" in state and whole(state, "metric_id") == self._metric_id)

    def load(self, device_id: int, state: Mapping[str, object]) -> None:
        stored = state.get("steps")
        for step, part in zip(self._steps, stored if isinstance(stored, list) else [], strict=False):
            step.load(device_id, part)
        said = state.get("level")
        if said not in LEVELS:
            return
        self._said[device_id] = LEVELS.index(said)
        if self._said[device_id] != self._standing(device_id):
            self._stale.add(device_id)

    def facts_changed(self, device_ids: NDArray[np.int64]) -> None:
        for step in self._steps:
            step.facts_changed(device_ids)

    def decide(self, batch: Batch) -> tuple[list[Transition], LadderChanges] | None:
        """What the rows change."""
        if self._metric_id not in batch.rows:
            return None
        return self._folded([step.decide(batch) for step in self._steps], None)

    def tick(self, moment: Moment) -> tuple[list[Transition], LadderChanges]:
        """Delays that ran out by the clock, and rules that ended."""
        return self._folded([step.tick(moment) for step in self._steps], moment.now_us)

    def accept(self, changes: LadderChanges) -> None:
        for step, of_step in zip(self._steps, changes.steps, strict=True):
            if of_step is not None:
                step.accept(of_step)
        for device_id, level in changes.levels.items():
            self._stale.discard(device_id)
            if level == _NONE:
                self._said.pop(device_id, None)
            else:
                self._said[device_id] = level

    def rows(self, changes: LadderChanges) -> Iterator[StateRow]:
        for device_id in sorted(changes.devices()):
            states = [
                step.after(device_id, of_step)
                for step, of_step in zip(self._steps, changes.steps, strict=True)
            ]
            parts = [{} if state is None else state.saved(self._metric_id) for state in states]
            said = changes.levels.get(device_id, self._said.get(device_id, _NONE))
            kept: dict[str, object] = {"steps": parts, "metric_id": self._metric_id} if any(parts) else {}
            if said != _NONE:
                raised = [state.raised_us for state in states if state is not None and state.raised_us]
                kept |= {"level": LEVELS[said], "raised_us": min(raised, default=0)}
            yield StateRow(rule_id=self.rule.rule_id, device_id=device_id, state=kept)

    def _standing(self, device_id: int) -> int:
        standing = [LEVELS.index(step.rule.level) for step in self._steps if step.standing(device_id)]
        return max(standing, default=_NONE)

    def _folded(self, outcomes: Outcomes, now_us: int | None) -> tuple[list[Transition], LadderChanges]:
        happened = by_device([outcome[0] if outcome is not None else [] for outcome in outcomes])
        transitions: list[Transition] = []
        levels: dict[int, int] = {}
        for device_id in sorted(happened.keys() | (self._stale if now_us is not None else set())):
            since = [step.standing(device_id) for step in self._steps]
            story = _Story(self.rule, device_id, self._metric_id, since, self._said.get(device_id, _NONE))
            transitions += story.told(happened[device_id], now_us)
            levels[device_id] = story.said
        changes = LadderChanges(tuple(outcome[1] if outcome else None for outcome in outcomes), levels)
        return transitions, changes


class _Story:
    """What the steps of one device did in one decision, as one alarm's transitions."""

    def __init__(
        self, rule: LadderRule, device_id: int, metric_id: int, since: Sequence[int], said: int
    ) -> None:
        self.said = said
        self._rule = rule
        self._device_id = device_id
        self._metric_id = metric_id
        self._standing = {place for place, raised_us in enumerate(since) if raised_us}
        self._since_us = min((raised_us for raised_us in since if raised_us), default=0)
        self._result: list[Transition] = []

    def told(self, happened: Sequence[Sequence[Transition]], now_us: int | None) -> list[Transition]:
        self._history(happened)
        for _, group in in_order(happened):
            for place, transition in group:
                match transition:
                    case Raised():
                        self._standing.add(place)
                    case Cleared():
                        self._standing.discard(place)
                    case _:
                        self._result.append(transition)
            self._say(group)
        if now_us is not None and self.said != self._level():
            self._restate(now_us)
        return told(self._result, LEVELS)

    def _level(self) -> int:
        """Of the highest step that stands, as a place in LEVELS."""
        return LEVELS.index(self._rule.steps[max(self._standing)].level) if self._standing else _NONE

    def _say(self, group: Group) -> None:
        """Whether what happened at one instant changed the level, and how."""
        if self._level() == self.said:
            return
        highest, lowest = (pick(group, key=lambda entry: entry[0])[1] for pick in (max, min))
        match highest, lowest:
            case Raised() as raised, _ if self.said == _NONE:
                self._since_us = raised.raised_us
                self._result.append(raised)
            case Raised() as raised, _:
                self._change(raised.raised_us, raised.evidence)
            case _, Cleared() as cleared if self._standing:
                self._change(cleared.cleared_us, cleared.evidence)
            case _, Cleared() as cleared:
                self._result.append(cleared)
        self.said = self._level()

    def _change(self, changed_us: int, evidence: Mapping[str, object]) -> None:
        place = max(self._standing)
        step = self._rule.steps[place]
        self._result.append(
            LevelChanged(
                rule_id=self._rule.rule_id,
                rule_version=self._rule.version,
                device_id=self._device_id,
                metric_id=self._metric_id,
                changed_us=max(changed_us, self._since_us),
                level=step.level,
                incident_class=step.incident_class or self._rule.incident_class,
                risen=self._level() > self.said,
                evidence={**evidence, "level": step.level, "level_step": place + 1},
            )
        )

    def _restate(self, now_us: int) -> None:
        """The rule's steps changed under a standing alarm: it gets the level that it has by the new ones."""
        evidence = {"reason": "the rule's steps changed", "rule_version": self._rule.version}
        if not self._standing:
            self._result.append(
                Cleared(
                    rule_id=self._rule.rule_id,
                    device_id=self._device_id,
                    metric_id=self._metric_id,
                    cleared_us=max(now_us, self._since_us),
                    evidence=evidence,
                )
            )
        else:
            self._change(now_us, evidence)
        self.said = self._level()

    def _history(self, happened: Sequence[Sequence[Transition]]) -> None:
        """Episodes that are over already: one each, at the highest level it reached."""
        episodes: list[Raised] = []
        for _, episode in past(happened):
            _add(episodes, episode, episode.cleared_us or episode.raised_us)
        for episode in episodes:
            if self._standing and episode.raised_us >= self._since_us:
                self._result.append(_repeat_of(episode))
            else:
                self._result.append(episode)


def _add(episodes: list[Raised], higher: Raised, cleared_us: int) -> None:
    for place, lower in enumerate(episodes):
        if lower.raised_us <= higher.raised_us and cleared_us <= (lower.cleared_us or 0):
            evidence = {**higher.evidence, "over_at": lower.evidence.get("over_at")}
            episodes[place] = replace(
                higher, raised_us=lower.raised_us, cleared_us=lower.cleared_us, evidence=evidence
            )
            return
    episodes.append(higher)


def _repeat_of(episode: Raised) -> Repeated:
    return Repeated(
        rule_id=episode.rule_id,
        device_id=episode.device_id,
        metric_id=episode.metric_id,
        count=1,
        evidence=episode.evidence,
    )
