"""Signs of wear as maintenance work, never as a fire: low battery, a dirty chamber, an opened cover, a self-test.

Every sign is a threshold of its own on one of the device's metrics. Together they are one episode a device, which
lists what stands. While a device tests itself, the alarms that the test sets off are held back (suppressed by
design, ISA-18.2); a test that does not end holds nothing any more, since a stuck flag must not blind a detector.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from city.alarms import Cleared, Evidence, IncidentClass, Level, Raised, Repeated, Transition
from rules.books import Batch, Moment, Surroundings
from rules.condition import Condition, Limits, Phase, ThresholdRule
from rules.keys import Direction, Keys
from rules.parts import PartBook, by_device, in_order, past, told
from rules.rule import Rule, read_common
from rules.schedule import FOREVER_US
from rules.standing import ConditionChanges
from rules.states import StateRow, whole

SELF_TEST = "self-test running"  # why an alarm is suppressed


@dataclass(frozen=True, kw_only=True, slots=True)
class Sign:
    """One metric beyond a limit for a while."""

    metric: str
    direction: Direction
    at: float  # the metric's unit
    deadband: float  # the metric's unit
    for_us: int
    name: str
    name_en: str

    @property
    def code(self) -> str:
        """What it is known by in states: rules are edited under their id."""
        return f"{self.metric} {self.direction}"


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfTest:
    """Runs while ``metric`` is at or above ``above``, and holds back other rules' alarms of the same device."""

    metric: str
    above: float
    holds: frozenset[str]  # ids of rules
    at_most_us: int  # a test that goes on for longer holds nothing any more
    settle_us: int  # what the test left, such as smoke in the chamber, is held for so long after its end


@dataclass(frozen=True, kw_only=True, slots=True)
class MaintenanceRule(Rule):
    """One episode a device while any of its signs stands."""

    signs: tuple[Sign, ...]
    self_test: SelfTest | None

    def metrics(self) -> frozenset[str]:
        tested = frozenset() if self.self_test is None else frozenset({self.self_test.metric})
        return tested | {sign.metric for sign in self.signs}


@dataclass(frozen=True, kw_only=True, slots=True)
class PartRule(ThresholdRule):
    """One sign, or the self-test, as a threshold rule under the rule's id."""

    def terms(self, limits: Limits) -> dict[str, object]:
        return {"direction": self.direction, "raise_at": limits[0], "clear_at": limits[1]}


def read(keys: Keys, version: int) -> MaintenanceRule:
    """A rule of type "maintenance"; docs/rules.md has every key."""
    return MaintenanceRule(
        **read_common(keys, version, keys.texts("kinds")),
        signs=_signs(keys),
        self_test=_self_test(keys),
    )


def _signs(keys: Keys) -> tuple[Sign, ...]:
    signs: list[Sign] = []
    for table in keys.tables("sign"):
        if table.has("above") == table.has("below"):
            raise table.error("above", "give either above or below", "above 与 below 填写一项")
        direction: Direction = "above" if table.has("above") else "below"
        sign = Sign(
            metric=table.code("metric"),
            direction=direction,
            at=table.number(direction),
            deadband=table.number("deadband", 0.0, least=0.0),
            for_us=table.delay_us("for_s", 0),
            name=table.text("name"),
            name_en=table.text("name_en"),
        )
        if sign.code in [other.code for other in signs]:
            raise table.error(
                "metric",
                f"is a sign already, {sign.direction} a limit; one of each is enough",
                "该指标已有同方向的征兆，保留一条即可",
            )
        table.refuse_the_rest()
        signs.append(sign)
    if not signs:
        raise keys.error(
            "sign",
            "name at least one, each begun with [[rule.sign]]",
            "至少写一条征兆，每条以 [[rule.sign]] 开头",
        )
    return tuple(signs)


def _self_test(keys: Keys) -> SelfTest | None:
    table = keys.table("self_test")
    if table is None:
        return None
    test = SelfTest(
        metric=table.code("metric"),
        above=table.number("above", 0.5),
        holds=table.texts("holds", needed=True),
        at_most_us=table.delay_us("at_most_s", 600, least=1),
        settle_us=table.delay_us("settle_s", 30),
    )
    if keys.rule_id in test.holds:
        raise table.error(
            "holds",
            "names this rule itself; name those that the test sets off",
            "不能是本规则自身，请写自检会触发的规则",
        )
    table.refuse_the_rest()
    return test


@dataclass(frozen=True, slots=True)
class MaintenanceChanges:
    """What one decision does to a book once it is committed."""

    signs: tuple[ConditionChanges | None, ...]
    test: ConditionChanges | None = None
    found: dict[int, "Found"] = field(default_factory=dict)
    held: dict[int, "Held"] = field(default_factory=dict)
    tested: Mapping[int, Sequence[Transition]] = field(
        default_factory=dict
    )  # what the self-tests did, by device
    expired: frozenset[int] = frozenset()  # devices whose test has gone on for too long by the clock

    def devices(self) -> set[int]:
        parts = [part for part in (*self.signs, self.test) if part is not None]
        return {device for part in parts for device in part.states} | set(self.found) | set(self.held)


@dataclass(frozen=True, slots=True)
class Found:
    """The signs that stand at one device, by code, with what was measured; ``since_us`` 0 = none."""

    since_us: int = 0
    signs: Mapping[str, Evidence] = field(default_factory=dict)


Held = Mapping[str, Raised]  # by rule: what was raised, suppressed, and stands


class MaintenanceBook:
    """All states of one maintenance rule: a threshold book for each sign and for the self-test."""

    def __init__(self, rule: MaintenanceRule, around: Surroundings) -> None:
        self.rule = rule
        self._signs = [PartBook(_sign_rule(rule, sign), around) for sign in rule.signs]
        self._test = None if rule.self_test is None else PartBook(_test_rule(rule, rule.self_test), around)
        self._found: dict[int, Found] = {}
        self._held: dict[int, Held] = {}
        self._stale: set[int] = set()  # loaded with signs that are none any more

    def grow(self, size: int) -> None:
        for part in self._parts():
            part.grow(size)

    def owns(self, state: Mapping[str, object]) -> bool:
        """Whether a stored state is of this kind of rule: rules are rewritten under their id."""
        return not state or "signs" in state

    def load(self, device_id: int, state: Mapping[str, object]) -> None:
        signs, found = _table(state, "signs"), _table(state, "found")
        for sign, part in zip(self.rule.signs, self._signs, strict=True):
            part.load(device_id, _table(signs, sign.code))
        if self._test is not None:
            self._test.load(device_id, _table(state, "test"))
        known = {sign.code for sign in self.rule.signs}
        if whole(state, "raised_us"):
            kept = {code: cast(Evidence, evidence) for code, evidence in found.items() if code in known}
            self._found[device_id] = Found(whole(state, "raised_us"), kept)
            if not kept:
                self._stale.add(device_id)
        if held := _table(state, "held"):
            self._held[device_id] = {
                rule_id: _raised(rule_id, device_id, cast(Mapping[str, Any], kept))
                for rule_id, kept in held.items()
            }

    def facts_changed(self, device_ids: NDArray[np.int64]) -> None:
        for part in self._parts():
            part.facts_changed(device_ids)

    def decide(self, batch: Batch) -> tuple[list[Transition], MaintenanceChanges] | None:
        """What the rows change."""
        if not any(part.metric_id in batch.rows for part in self._parts()):
            return None
        return self._folded([part.decide(batch) for part in self._parts()], None)

    def tick(self, moment: Moment) -> tuple[list[Transition], MaintenanceChanges]:
        """Delays that ran out by the clock, rules that ended, and tests that go on for too long."""
        return self._folded([part.tick(moment) for part in self._parts()], moment)

    def review(
        self, transitions: list[Transition], changes: MaintenanceChanges | None
    ) -> tuple[list[Transition], MaintenanceChanges]:
        """Hold back what a running self-test sets off; let go of it when the test is over."""
        changes = changes or MaintenanceChanges(tuple(None for _ in self._signs))
        result = [self._held_back(transition, changes) for transition in transitions]
        for device_id in sorted(self._held.keys() | changes.held.keys()):
            held = changes.held.get(device_id, self._held.get(device_id, {}))
            if held and self._test_is_over(device_id, changes):
                result += [_let_go(raised) for raised in held.values()]
                changes.held[device_id] = {}
        return result, changes

    def accept(self, changes: MaintenanceChanges) -> None:
        for part, of_part in zip(self._parts(), _of_parts(changes, self._test is not None), strict=True):
            if of_part is not None:
                part.accept(of_part)
        for device_id, found in changes.found.items():
            self._stale.discard(device_id)
            _keep(self._found, device_id, found, bool(found.since_us))
        for device_id, held in changes.held.items():
            _keep(self._held, device_id, held, bool(held))

    def rows(self, changes: MaintenanceChanges) -> Iterator[StateRow]:
        of_parts = _of_parts(changes, self._test is not None)
        for device_id in sorted(changes.devices()):
            states = [
                part.after(device_id, of_part) for part, of_part in zip(self._parts(), of_parts, strict=True)
            ]
            saved = [
                {} if state is None else state.saved(part.metric_id)
                for part, state in zip(self._parts(), states, strict=True)
            ]
            signs = {sign.code: kept for sign, kept in zip(self.rule.signs, saved, strict=False) if kept}
            state: dict[str, object] = {"test": saved[-1]} if self._test is not None and saved[-1] else {}
            found = changes.found.get(device_id, self._found.get(device_id, _NOTHING))
            if found.since_us:
                state |= {"raised_us": found.since_us, "found": dict(found.signs)}
            if held := changes.held.get(device_id, self._held.get(device_id, {})):
                state["held"] = {rule_id: _saved(raised) for rule_id, raised in held.items()}
            if state or signs:
                state["signs"] = signs
            yield StateRow(rule_id=self.rule.rule_id, device_id=device_id, state=state)

    def _parts(self) -> list[PartBook]:
        return self._signs if self._test is None else [*self._signs, self._test]

    def _folded(
        self, outcomes: Sequence[tuple[list[Transition], ConditionChanges] | None], moment: Moment | None
    ) -> tuple[list[Transition], MaintenanceChanges]:
        count = len(self._signs)
        happened = by_device([outcome[0] if outcome is not None else [] for outcome in outcomes[:count]])
        transitions: list[Transition] = []
        found: dict[int, Found] = {}
        for device_id in sorted(happened.keys() | (self._stale if moment is not None else set())):
            story = _Story(self.rule, device_id, self._found.get(device_id, _NOTHING))
            transitions += story.told(happened[device_id], moment)
            found[device_id] = story.found
        test = outcomes[count] if self._test is not None else None
        tested: dict[int, list[Transition]] = {}
        for transition in test[0] if test is not None else ():
            tested.setdefault(transition.device_id, []).append(transition)
        changes = MaintenanceChanges(
            signs=tuple(outcome[1] if outcome else None for outcome in outcomes[:count]),
            test=test[1] if test is not None else None,
            found=found,
            tested=tested,
            expired=self._expired(moment),
        )
        return transitions, changes

    def _expired(self, moment: Moment | None) -> frozenset[int]:
        """Devices that hold something under a test which has gone on for too long, by the clock."""
        test = self.rule.self_test
        if moment is None or test is None or self._test is None:
            return frozenset()
        return frozenset(
            device_id
            for device_id in self._held
            if self._test.standing(device_id) + test.at_most_us <= moment.clock_us
        )

    def _held_back(self, transition: Transition, changes: MaintenanceChanges) -> Transition:
        device_id, rule_id = transition.device_id, transition.rule_id
        held = changes.held.get(device_id, self._held.get(device_id, {}))
        match transition:
            case Raised(cleared_us=None) if self._testing(transition, changes):
                changes.held[device_id] = {**held, rule_id: transition}
                return replace(transition, suppressed=SELF_TEST)
            case Raised(cleared_us=None) | Cleared() if rule_id in held:
                changes.held[device_id] = {other: kept for other, kept in held.items() if other != rule_id}
        return transition

    def _testing(self, raised: Raised, changes: MaintenanceChanges) -> bool:
        """Whether it was raised while its device tested itself, as far as is known by now."""
        test = self.rule.self_test
        if self._test is None or test is None or raised.rule_id not in test.holds:
            return False
        began_us = self._test.standing(raised.device_id)
        spans: list[tuple[int, int]] = []
        for transition in changes.tested.get(raised.device_id, ()):
            match transition:
                case Raised(cleared_us=None):
                    began_us = transition.raised_us
                case Raised():
                    spans.append((transition.raised_us, transition.cleared_us or 0))
                case Cleared() if began_us:
                    spans.append((began_us, transition.cleared_us))
                    began_us = 0
        if began_us:
            spans.append((began_us, _ends(self._test.after(raised.device_id, changes.test), test)))
        at_us = raised.raised_us
        return any(begin <= at_us < min(end, begin + test.at_most_us) for begin, end in spans)

    def _test_is_over(self, device_id: int, changes: MaintenanceChanges) -> bool:
        state = None if self._test is None else self._test.after(device_id, changes.test)
        return device_id in changes.expired or state is None or not state.raised_us


_NOTHING = Found()


class _Story:
    """What the signs of one device did in one decision, as one alarm's transitions."""

    def __init__(self, rule: MaintenanceRule, device_id: int, found: Found) -> None:
        self.found = found
        self._rule = rule
        self._device_id = device_id
        self._result: list[Transition] = []

    def told(self, happened: Sequence[Sequence[Transition]], moment: Moment | None) -> list[Transition]:
        for place, episode in past(happened):
            self._record(place, episode)
        for at_us, groups in groupby(in_order(happened), key=lambda entry: entry[0]):
            self._instant(at_us, [entry for _, group in groups for entry in group])
        if moment is not None and self.found.since_us and not self.found.signs:
            self._end(moment.now_us, {"reason": "the rule's signs changed"})
        return told(self._result, ())

    def _instant(self, at_us: int, group: Sequence[tuple[int, Transition]]) -> None:
        before, after = self.found.signs, dict(self.found.signs)
        ended: Evidence = {}
        late = False
        for place, transition in group:
            sign = self._rule.signs[place]
            if isinstance(transition, Raised):
                after[sign.code] = _shown(sign, transition.evidence)
                late |= transition.late
            elif isinstance(transition, Cleared):
                after.pop(sign.code, None)
                ended = transition.evidence
        new = after.keys() - before.keys()
        if not before and after:
            self.found = Found(at_us, after)
            self._result.append(self._raised(at_us, late))
        elif before and not after:
            self._end(at_us, ended)
        else:
            self.found = replace(self.found, signs=after)
            if new:
                self._result.append(self._repeated(len(new)))

    def _raised(self, at_us: int, late: bool) -> Raised:
        return Raised(
            rule_id=self._rule.rule_id,
            rule_version=self._rule.version,
            device_id=self._device_id,
            metric_id=None,
            raised_us=at_us,
            level=self._rule.level,
            category=self._rule.category,
            incident_class=self._rule.incident_class,
            late=late,
            evidence=self._evidence(),
        )

    def _repeated(self, count: int) -> Repeated:
        return Repeated(
            rule_id=self._rule.rule_id,
            device_id=self._device_id,
            metric_id=None,
            count=count,
            evidence=self._evidence(),
        )

    def _end(self, at_us: int, evidence: Evidence) -> None:
        self._result.append(
            Cleared(
                rule_id=self._rule.rule_id,
                device_id=self._device_id,
                metric_id=None,
                cleared_us=max(at_us, self.found.since_us),
                evidence={**evidence, "rule_version": self._rule.version},
            )
        )
        self.found = _NOTHING

    def _record(self, place: int, episode: Raised) -> None:
        """A sign that came and went in the past; none of its own while the episode stands."""
        if self.found.since_us and episode.raised_us >= self.found.since_us:
            return
        sign = self._rule.signs[place]
        evidence = {**episode.evidence, "signs": [_shown(sign, episode.evidence)]}
        self._result.append(replace(episode, metric_id=None, evidence=evidence))

    def _evidence(self) -> Evidence:
        signs = [self.found.signs[sign.code] for sign in self._rule.signs if sign.code in self.found.signs]
        newest = max(str(sign["observed_at"]) for sign in signs)
        return {"signs": signs, "observed_at": newest, "rule_version": self._rule.version}


def _shown(sign: Sign, evidence: Evidence) -> Evidence:
    shown = ("metric", "value", "observed_at", "direction", "raise_at", "clear_at")
    kept = {key: evidence[key] for key in shown if key in evidence}
    return {**kept, "name": sign.name, "name_en": sign.name_en}


def _sign_rule(rule: MaintenanceRule, sign: Sign) -> PartRule:
    return _part_rule(
        rule,
        metric=sign.metric,
        direction=sign.direction,
        at=sign.at,
        deadband=sign.deadband,
        on_us=sign.for_us,
    )


def _test_rule(rule: MaintenanceRule, test: SelfTest) -> PartRule:
    part = _part_rule(rule, metric=test.metric, direction="above", at=test.above, off_us=test.settle_us)
    return replace(part, schedule=None)  # a test is one at any hour


def _part_rule(
    rule: MaintenanceRule,
    *,
    metric: str,
    direction: Direction,
    at: float,
    deadband: float = 0.0,
    on_us: int = 0,
    off_us: int = 0,
) -> PartRule:
    return PartRule(
        rule_id=rule.rule_id,
        version=rule.version,
        name=rule.name,
        name_en=rule.name_en,
        category=rule.category,
        incident_class=rule.incident_class,
        level=rule.level,
        scope=rule.scope,
        family=rule.family,
        schedule=rule.schedule,
        metric=metric,
        direction=direction,
        raise_at=at,
        clear_at=None,
        deadband=deadband,
        on_delay_us=on_us,
        off_delay_us=off_us,
    )


def _ends(state: Condition | None, test: SelfTest) -> int:
    """When a test that stands ends, as far as is known."""
    ending = state is not None and state.phase is Phase.ENDING
    return state.began_us + test.settle_us if state is not None and ending else FOREVER_US


def _let_go(raised: Raised) -> Raised:
    """The same again without the reason for silence: the first that people hear of it."""
    evidence = {**raised.evidence, "was_suppressed": SELF_TEST}
    return replace(raised, evidence=evidence, suppressed=None)


def let_go(device_id: int, state: Mapping[str, object]) -> list[Raised]:
    """What the stored state of a rule that is no more held back: nothing else would ever let go of it."""
    return [_let_go(_raised(rule_id, device_id, kept)) for rule_id, kept in _table(state, "held").items()]


def _saved(raised: Raised) -> dict[str, object]:
    return {
        "version": raised.rule_version,
        "metric_id": raised.metric_id,
        "raised_us": raised.raised_us,
        "level": raised.level,
        "category": raised.category,
        "class": raised.incident_class,
        "late": raised.late,
        "evidence": dict(raised.evidence),
    }


def _raised(rule_id: str, device_id: int, saved: Mapping[str, Any]) -> Raised:
    return Raised(
        rule_id=rule_id,
        rule_version=whole(saved, "version"),
        device_id=device_id,
        metric_id=saved.get("metric_id"),
        raised_us=whole(saved, "raised_us"),
        level=cast(Level, saved.get("level")),
        category=str(saved.get("category")),
        incident_class=cast(IncidentClass | None, saved.get("class")),
        late=bool(saved.get("late")),
        evidence=_table(saved, "evidence"),
    )


def _of_parts(changes: MaintenanceChanges, tested: bool) -> tuple[ConditionChanges | None, ...]:
    return (*changes.signs, changes.test) if tested else changes.signs


def _table(state: Mapping[str, object], key: str) -> Mapping[str, Any]:
    value = state.get(key)
    return value if isinstance(value, Mapping) else {}


def _keep(kept: dict[int, Any], device_id: int, value: object, worth: bool) -> None:
    if worth:
        kept[device_id] = value
    else:
        kept.pop(device_id, None)
