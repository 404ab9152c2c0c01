"""What every book of a rule with a limit does: keep the states, and lead devices through ``rules.condition``.

Columns first, then only the devices that a reading can change. Those go one at a time, in order of time. Nothing
here changes the book: changes come back beside the transitions and are swapped in by ``accept`` after the commit.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from city.alarms import Transition
from rules.books import Batch, Moment, Surroundings
from rules.condition import AT_REST, EVERY, Condition, ConditionRule, Course, Limits, Mark, Phase, Row
from rules.fleet import grown
from rules.rows import MetricRows
from rules.schedule import Hours
from rules.states import StateRow, whole

Touched = Iterator[
    tuple[int, list[tuple[Row, bool]]]
]  # device, its rows in order of time, each with "is history"

_UNSAID = "threshold"  # the first kind there was; its states do not say so


@dataclass(frozen=True, slots=True)
class ConditionChanges:
    """What one decision does to a book once it is committed."""

    states: dict[int, Condition]
    checked: frozenset[int] = frozenset()  # devices whose changed facts have been looked at


class ConditionBook(ABC):
    """All states of one rule with a limit: a byte per device, and an object for each that is not at rest.

    A kind of rule says which rows can change anything, by which number, and what its limits are.
    """

    kind: ClassVar[str] = _UNSAID  # what stored states are said to be of

    def __init__(self, rule: ConditionRule, around: Surroundings) -> None:
        self.rule = rule
        self.metric_id = around.metrics[rule.metric]
        self._fleet = around.fleet
        self._hours = None if rule.schedule is None else Hours(rule.schedule, around.zone)
        self._marks: NDArray[np.int8] = np.zeros(0, dtype=np.int8)
        self._states: dict[int, Condition] = {}
        self._timed: set[int] = set()  # PENDING or ENDING, and what the end of the schedule will end
        self._facts_changed: set[int] = set()  # not at rest, and the register said something new of them

    def grow(self, size: int) -> None:
        if size > len(self._marks):
            self._marks = grown(self._marks, size)

    def owns(self, state: Mapping[str, object]) -> bool:
        """Whether a stored state is of this kind of rule, and of this metric: rules are edited under their id."""
        of_another_kind = any(key in state for key in ("last_us", "heard_us", "steps", "signs"))
        of_another_kind |= bool(state) and state.get("of", _UNSAID) != self.kind
        return not of_another_kind and whole(state, "metric_id") in (0, self.metric_id)

    def load(self, device_id: int, state: Mapping[str, object]) -> None:
        self._set(device_id, Condition.loaded(state))
        if self._marks[device_id] != Mark.CLEAR:
            self._facts_changed.add(device_id)  # the rule may have changed while we were down

    def facts_changed(self, device_ids: NDArray[np.int64]) -> None:
        self._facts_changed.update(device_ids[self._marks[device_ids] != Mark.CLEAR].tolist())

    def decide(self, batch: Batch) -> tuple[list[Transition], ConditionChanges] | None:
        """What the rows change: transitions, and the new states of the devices concerned."""
        rows = batch.rows.get(self.metric_id)
        if rows is None:
            return None
        newest_us = batch.newest_us[self.metric_id]
        transitions: list[Transition] = []
        changed: dict[int, Condition] = {}
        for device_id, of_device in self._touched(rows):
            old = self._states.get(device_id, AT_REST)
            course = self._course(device_id, old)
            past = [row for row, backfill in of_device if backfill]
            if past:
                course.backfill(past, int(newest_us[device_id]))
            for row, backfill in of_device:
                if not backfill:
                    course.read(row)
            transitions += course.finish()
            if course.state != old:
                changed[device_id] = course.state
        return transitions, ConditionChanges(changed)

    def tick(self, moment: Moment) -> tuple[list[Transition], ConditionChanges]:
        """Delays that ran out by the clock, and rules that ended."""
        transitions: list[Transition] = []
        changed: dict[int, Condition] = {}
        for device_id in sorted(self._timed | self._facts_changed):
            old = self._states.get(device_id, AT_REST)
            course = self._course(device_id, old)
            if device_id in self._facts_changed and not self._applies(device_id):
                course.stop_applying(moment.now_us)
            else:
                course.expire_by_clock(moment.clock_us)
            transitions += course.finish()
            if course.state != old:
                changed[device_id] = course.state
        return transitions, ConditionChanges(changed, frozenset(self._facts_changed))

    def accept(self, changes: ConditionChanges) -> None:
        self._facts_changed -= changes.checked
        for device_id, state in changes.states.items():
            self._set(device_id, state)

    def rows(self, changes: ConditionChanges) -> Iterator[StateRow]:
        for device_id, state in changes.states.items():
            kept = state.saved(self.metric_id)
            if kept and self.kind != _UNSAID:
                kept["of"] = self.kind
            yield StateRow(rule_id=self.rule.rule_id, device_id=device_id, state=kept)

    def _set(self, device_id: int, state: Condition) -> None:
        mark = state.mark()
        if mark is Mark.STANDING_OVER and (self._hours is not None or self.rule.n_of_m != EVERY):
            mark = Mark.OTHER  # any reading may lie behind the schedule's end, or counts among the last m
        self._marks[device_id] = mark
        if state == AT_REST:
            self._states.pop(device_id, None)
        else:
            self._states[device_id] = state
        if state.phase in (Phase.PENDING, Phase.ENDING) or (self._hours and state.phase is Phase.STANDING):
            self._timed.add(device_id)
        else:
            self._timed.discard(device_id)
        if mark is Mark.CLEAR:
            self._facts_changed.discard(device_id)

    @abstractmethod
    def _touched(self, rows: MetricRows) -> Touched:
        """Devices that a row of theirs can change, each with all of its rows that count."""

    @abstractmethod
    def _limits(self, device_id: int) -> Limits:
        """NaN to raise at = the rule does not apply to this device."""

    def _applies(self, device_id: int) -> bool:
        applies = bool(self._fleet.applies(self.rule.rule_id)[device_id])
        return applies and not np.isnan(self._limits(device_id)[0])

    def _course(self, device_id: int, state: Condition) -> Course:
        limits = self._limits(device_id)
        return Course(self.rule, self.metric_id, device_id, limits, replace(state), self._hours)


def by_device(device: NDArray[np.int32], rows: Sequence[tuple[Row, bool]]) -> Touched:
    """Rows that stand in order of device and time, each device's together."""
    bounds = [0, *(np.flatnonzero(np.diff(device)) + 1).tolist(), len(rows)]
    for begin, end in pairwise(bounds):
        yield int(device[begin]), list(rows[begin:end])
