"""Readings that cannot be: out of range, sentinels, and steps that nothing has confirmed yet.

Marked before they are stored, shown with their mark, and never decided on. No alarm comes of it.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from city.observations import Quality
from rules.books import Batch, Moment, Outcome, Surroundings
from rules.fleet import Fleet
from rules.keys import LONGEST_DELAY_S, SECOND_US, Keys
from rules.rows import MetricRows
from rules.rule import Rule
from rules.scope import read_scope
from rules.states import StateRow
from rules.windows import Slots, room

REMEMBERED_STEPS = 24  # after so many ``step_s`` without a reading to compare with, the next is believed
_BAD, _SPIKE = int(Quality.OUT_OF_RANGE), int(Quality.SPIKE)


@dataclass(frozen=True, kw_only=True, slots=True)
class QualityRule(Rule):
    """What a metric can be and how fast it can move; its unit throughout."""

    metric: str
    least: float
    most: float
    sentinels: tuple[float, ...]  # values within the range that stand for "no value"
    max_step: float  # infinite = any step is believed
    step_us: int
    confirm: int  # further readings at the new value after which it is believed

    def metrics(self) -> frozenset[str]:
        return frozenset({self.metric})

    def window_us(self) -> int:
        return 0 if self.max_step == math.inf else REMEMBERED_STEPS * self.step_us


def read(keys: Keys, version: int) -> QualityRule:
    """A rule of type "quality"; docs/rules.md has every key."""
    metric = keys.code("metric")
    least, most = keys.number("least", -math.inf), keys.number("most", math.inf)
    if least >= most:
        raise keys.error("most", f"must be above least = {least:g}", f"必须大于 least = {least:g}")
    stepped = keys.has("max_step")
    rule = QualityRule(
        rule_id=keys.rule_id,
        version=version,
        name=keys.text("name"),
        name_en=keys.text("name_en"),
        category="device.fault",  # of no alarm; where the rule stands in lists
        incident_class=None,
        level="blue",
        scope=read_scope(keys, keys.texts("kinds")),
        family=keys.optional_text("family", f"quality.{metric}"),
        schedule=None,
        unit=keys.optional_text("unit", ""),
        metric=metric,
        least=least,
        most=most,
        sentinels=keys.numbers("sentinels"),
        max_step=keys.number("max_step", math.inf),
        step_us=round(keys.number("step_s", 60, least=1, most=LONGEST_DELAY_S) * SECOND_US),
        confirm=keys.whole_number("confirm", 2, least=1, most=100),
    )
    if rule.max_step <= 0:
        raise keys.error(
            "max_step", "write a step above 0 in the metric's unit", "请填写大于 0 的跳变幅度（指标单位）"
        )
    if not stepped and (keys.has("step_s") or keys.has("confirm")):
        raise keys.error(
            "max_step",
            "belongs to step_s and confirm; give it, or leave them out",
            "与 step_s、confirm 一起使用：请填写，或都去掉",
        )
    if not stepped and not rule.sentinels and not (math.isfinite(least) or math.isfinite(most)):
        raise keys.error(
            "least",
            "the rule marks nothing; give least, most, sentinels or max_step",
            "该规则不标记任何读数：请填写 least、most、sentinels 或 max_step",
        )
    return rule


@dataclass(slots=True)
class Standing:
    """What a device's next reading is compared with. Instants 0 = none."""

    good_us: int = 0
    good: float = 0.0
    doubted_us: int = 0  # the newest reading that was not believed, and how many such stood there
    doubted: float = 0.0
    count: int = 0

    def believes(self, rule: QualityRule, observed_us: int, value: float) -> bool:
        """Take in a reading; whether it may be believed.

        What stands where the doubted reading stood has to be confirmed: that it could have moved there by now is
        no news, since it was there too soon.
        """
        comparable = observed_us - self.good_us <= rule.window_us()
        if comparable and abs(value - self.good) <= rule.max_step:
            believed = True
        elif self._again(rule, observed_us, value):
            believed = self.count >= rule.confirm
        else:
            believed = _near(rule, self.good_us, self.good, observed_us, value)
        if believed:
            self.accept(observed_us, value)
            return True
        self.doubt(rule, observed_us, value)
        return False

    def accept(self, observed_us: int, value: float) -> None:
        self.good_us, self.good, self.count = observed_us, value, 0

    def doubt(self, rule: QualityRule, observed_us: int, value: float) -> None:
        again = self._again(rule, observed_us, value)
        self.doubted_us, self.doubted, self.count = observed_us, value, self.count + 1 if again else 1

    def _again(self, rule: QualityRule, observed_us: int, value: float) -> bool:
        """Whether it stands where the doubted one stood."""
        return self.count > 0 and _near(rule, self.doubted_us, self.doubted, observed_us, value)


def _near(rule: QualityRule, from_us: int, before: float, observed_us: int, value: float) -> bool:
    """Whether it may have moved so far in that time."""
    apart_us = observed_us - from_us
    if apart_us > rule.window_us():
        return True
    return abs(value - before) <= rule.max_step * max(1.0, apart_us / rule.step_us)


class Steps:
    """What each device's next reading is compared with: 44 bytes a device that the rule applies to."""

    def __init__(self, fleet: Fleet, rule: QualityRule, metric_id: int) -> None:
        self.metric_id = metric_id
        self.lookback_us = rule.window_us()
        self._fleet = fleet
        self._rule = rule
        self._slots = Slots(fleet)
        self._instants: NDArray[np.int64] = np.zeros((0, 2), dtype=np.int64)  # good, doubted
        self._values: NDArray[np.float64] = np.zeros((0, 2))
        self._count: NDArray[np.int16] = np.zeros(0, dtype=np.int16)

    @property
    def key(self) -> tuple[object, ...]:
        rule = self._rule
        return "steps", self.metric_id, rule.max_step, rule.step_us, rule.confirm

    def inherit(self, old: "Steps") -> None:
        self._slots = old._slots.of(self._fleet)
        self._instants, self._values, self._count = old._instants, old._values, old._count

    def devices(self) -> NDArray[np.bool_]:
        return self._fleet.applies(self._rule.rule_id)

    def doubtful(self, rows: MetricRows) -> NDArray[np.bool_]:
        """Which rows are steps that nothing has confirmed; a row that is not new is not judged."""
        spike = np.zeros(len(rows), dtype=np.bool_)
        index = self._new(rows, np.arange(len(rows)))
        device = rows.device[index]
        suspect = self._fleet.with_all_rows(device, ~self._smooth(rows, index))
        for device_id, of_device in _by_device(device[suspect], index[suspect]):
            standing = self._standing(device_id)
            before_us, verdict = -1, True
            for place in of_device:
                observed_us = int(rows.observed_us[place])
                if observed_us != before_us:  # one instant told twice is one reading
                    before_us = observed_us
                    verdict = standing.believes(self._rule, observed_us, float(rows.value[place]))
                spike[place] = not verdict
        return spike

    def fold(self, rows: MetricRows, spikes: MetricRows) -> None:
        """By the marks that the rows were stored with: so a rebuild believes what was believed."""
        believed = self._new(rows, np.flatnonzero(self.devices()[rows.device]))
        marked = self._new(spikes, np.flatnonzero(self.devices()[spikes.device]))
        doubted = np.unique(spikes.device[marked])
        plain = believed[~np.isin(rows.device[believed], doubted)] if len(doubted) else believed
        last = plain[np.append(np.diff(rows.device[plain]) != 0, True)[: len(plain)]]
        self._slots.give(doubted)
        slot = self._slots.give(rows.device[last])
        columns: list[NDArray[Any]] = [self._instants, self._values, self._count]
        self._instants, self._values, self._count = room(self._slots, columns)
        self._instants[slot, 0], self._values[slot, 0] = rows.observed_us[last], rows.value[last]
        self._count[slot] = 0
        for device_id in doubted.tolist():
            self._fold_doubted(device_id, rows, believed, spikes, marked)

    def _fold_doubted(
        self,
        device_id: int,
        rows: MetricRows,
        believed: NDArray[np.intp],
        spikes: MetricRows,
        marked: NDArray[np.intp],
    ) -> None:
        standing = self._standing(device_id)
        own = believed[rows.device[believed] == device_id]
        odd = marked[spikes.device[marked] == device_id]
        told = [(int(rows.observed_us[place]), float(rows.value[place]), True) for place in own]
        told += [(int(spikes.observed_us[place]), float(spikes.value[place]), False) for place in odd]
        for observed_us, value, good in sorted(told):
            if good:
                standing.accept(observed_us, value)
            else:
                standing.doubt(self._rule, observed_us, value)
        slot = self._slots.find(np.array([device_id], dtype=np.int32))[0]
        self._instants[slot] = standing.good_us, standing.doubted_us
        self._values[slot] = standing.good, standing.doubted
        self._count[slot] = standing.count

    def _new(self, rows: MetricRows, index: NDArray[np.intp]) -> NDArray[np.intp]:
        """Those newer than anything judged before, in order of device and time."""
        slot = self._slots.find(rows.device[index])
        newest_us = np.zeros(len(index), dtype=np.int64)
        newest_us[slot >= 0] = self._instants[slot[slot >= 0]].max(axis=1)
        index = index[rows.observed_us[index] > newest_us]
        ordered: NDArray[np.intp] = index[np.lexsort((rows.observed_us[index], rows.device[index]))]
        return ordered

    def _smooth(self, rows: MetricRows, index: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which rows follow the one before them as they may, where nothing is in doubt."""
        rule = self._rule
        device, observed_us, value = rows.device[index], rows.observed_us[index], rows.value[index]
        first = np.ones(len(index), dtype=np.bool_)
        first[1:] = device[1:] != device[:-1]
        slot = self._slots.find(device[first])
        have = slot >= 0
        before_us, before = np.empty_like(observed_us), np.empty_like(value)
        before_us[1:], before[1:] = observed_us[:-1], value[:-1]
        stored_us, stored = np.zeros(len(slot), dtype=np.int64), np.zeros(len(slot))
        stored_us[have], stored[have] = self._instants[slot[have], 0], self._values[slot[have], 0]
        before_us[first], before[first] = stored_us, stored
        apart_us = observed_us - before_us
        allowed = rule.max_step * np.maximum(1.0, apart_us / rule.step_us)
        smooth = (apart_us > rule.window_us()) | (np.abs(value - before) <= allowed)
        doubted = np.zeros(len(slot), dtype=np.bool_)
        doubted[have] = self._count[slot[have]] > 0
        smooth[first] &= ~doubted
        return smooth

    def _standing(self, device_id: int) -> Standing:
        slot = int(self._slots.find(np.array([device_id], dtype=np.int32))[0])
        if slot < 0 or slot >= len(self._count):
            return Standing()
        good_us, doubted_us = self._instants[slot].tolist()
        good, doubted = self._values[slot].tolist()
        return Standing(good_us, good, doubted_us, doubted, int(self._count[slot]))


class QualityBook:
    """The marks of one quality rule. It decides nothing and stores nothing."""

    order = 0
    only_marks = True

    def __init__(self, rule: QualityRule, around: Surroundings) -> None:
        self.rule = rule
        self.metric_id = around.metrics[rule.metric]
        self._fleet = around.fleet
        self._steps: Steps | None = None
        if rule.max_step != math.inf:
            self._steps = Steps(around.fleet, rule, self.metric_id)
            around.memories.keep(self._steps)

    def marks(self, rows: MetricRows) -> NDArray[np.int16]:
        rule = self.rule
        marks = np.zeros(len(rows), dtype=np.int16)
        applies = self._fleet.applies(rule.rule_id)[rows.device]
        bad = (rows.value < rule.least) | (rows.value > rule.most)
        for sentinel in rule.sentinels:
            bad |= rows.value == sentinel
        marks[applies & bad] = _BAD
        possible = np.flatnonzero(applies & ~bad)
        if self._steps is not None and len(possible):
            marks[possible[self._steps.doubtful(rows.take(possible))]] = _SPIKE
        return marks

    def grow(self, size: int) -> None:
        """Nothing is kept by device number."""

    def owns(self, state: Mapping[str, object]) -> bool:
        """A state of anything else is of a rule that was rewritten."""
        return not state

    def load(self, device_id: int, state: Mapping[str, object]) -> None:
        """Nothing is stored."""

    def facts_changed(self, device_ids: NDArray[np.int64]) -> None:
        """Marks that are stored stay."""

    def decide(self, batch: Batch) -> None:
        """Readings were marked before."""

    def tick(self, moment: Moment) -> Outcome:
        return [], None

    def accept(self, changes: None) -> None:
        """Nothing was changed."""

    def rows(self, changes: None) -> Iterator[StateRow]:
        return iter(())


def _by_device(device: NDArray[np.int32], index: NDArray[np.intp]) -> Iterator[tuple[int, list[int]]]:
    """Rows that stand in order of device, each device's together."""
    if not len(index):
        return
    bounds = np.flatnonzero(np.diff(device)) + 1
    for of_device, places in zip(np.split(device, bounds), np.split(index, bounds), strict=True):
        yield int(of_device[0]), places.tolist()
