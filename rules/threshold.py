"""Threshold rules over a batch: columns first, then only the devices that a reading can change.

Those go through ``rules.condition`` one at a time, in order of time. Nothing here changes the book: changes
come back beside the transitions and are swapped in by ``accept`` after the commit.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from city.alarms import Transition
from rules.condition import AT_REST, Condition, Course, Limits, Mark, Phase, Row
from rules.definitions import ThresholdRule
from rules.fleet import Fleet, grown
from rules.states import StateRow, whole


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricRows:
    """The decidable readings of one metric in a batch, as columns, in any order."""

    device: NDArray[np.int32]
    observed_us: NDArray[np.int64]
    received_us: NDArray[np.int64]
    value: NDArray[np.float64]
    late: NDArray[np.bool_]
    backfill: NDArray[np.bool_]  # not newer than what was already folded for this device


@dataclass(frozen=True, slots=True)
class ThresholdChanges:
    """What one decision does to a book once it is committed."""

    states: dict[int, Condition]
    checked: frozenset[int] = frozenset()  # devices whose changed facts have been looked at


class ThresholdBook:
    """All states of one threshold rule: a byte per device, and an object for each that is not at rest."""

    def __init__(self, rule: ThresholdRule, metric_id: int, fleet: Fleet) -> None:
        self.rule = rule
        self.metric_id = metric_id
        self._fleet = fleet
        self._kind = fleet.kind_code(rule.kind)
        self._marks: NDArray[np.int8] = np.zeros(0, dtype=np.int8)
        self._states: dict[int, Condition] = {}
        self._delayed: set[int] = set()  # PENDING or ENDING
        self._facts_changed: set[int] = set()  # not at rest, and the register said something new of them

    def grow(self, size: int) -> None:
        if size > len(self._marks):
            self._marks = grown(self._marks, size)

    def owns(self, state: Mapping[str, object]) -> bool:
        """Whether a stored state is of this kind of rule, and of this metric: rules are edited under their id."""
        of_another_kind = "last_us" in state or "heard_us" in state
        return not of_another_kind and whole(state, "metric_id") in (0, self.metric_id)

    def load(self, device_id: int, state: Mapping[str, object]) -> None:
        self._set(device_id, Condition.loaded(state))
        if self._marks[device_id] != Mark.CLEAR:
            self._facts_changed.add(device_id)  # the rule may have changed while we were down

    def facts_changed(self, device_ids: NDArray[np.int64]) -> None:
        self._facts_changed.update(device_ids[self._marks[device_ids] != Mark.CLEAR].tolist())

    def decide(
        self, rows: MetricRows, newest_us: NDArray[np.int64]
    ) -> tuple[list[Transition], ThresholdChanges]:
        """What the rows change: transitions, and the new states of the devices concerned."""
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
        return transitions, ThresholdChanges(changed)

    def tick(self, clock_us: int, now_us: int) -> tuple[list[Transition], ThresholdChanges]:
        """Delays that ran out by ``clock_us`` (all that arrived before it is known), and rules that ended."""
        transitions: list[Transition] = []
        changed: dict[int, Condition] = {}
        for device_id in sorted(self._delayed | self._facts_changed):
            old = self._states.get(device_id, AT_REST)
            course = self._course(device_id, old)
            if device_id in self._facts_changed and not self._applies(device_id):
                course.stop_applying(now_us)
            else:
                course.expire_by_clock(clock_us)
            transitions += course.finish()
            if course.state != old:
                changed[device_id] = course.state
        return transitions, ThresholdChanges(changed, frozenset(self._facts_changed))

    def accept(self, changes: ThresholdChanges) -> None:
        self._facts_changed -= changes.checked
        for device_id, state in changes.states.items():
            self._set(device_id, state)

    def rows(self, changes: ThresholdChanges) -> Iterator[StateRow]:
        for device_id, state in changes.states.items():
            yield StateRow(rule_id=self.rule.rule_id, device_id=device_id, state=state.saved(self.metric_id))

    def _set(self, device_id: int, state: Condition) -> None:
        mark = state.mark()
        self._marks[device_id] = mark
        if state == AT_REST:
            self._states.pop(device_id, None)
        else:
            self._states[device_id] = state
        if state.phase in (Phase.PENDING, Phase.ENDING):
            self._delayed.add(device_id)
        else:
            self._delayed.discard(device_id)
        if mark is Mark.CLEAR:
            self._facts_changed.discard(device_id)

    def _touched(self, rows: MetricRows) -> Iterator[tuple[int, list[tuple[Row, bool]]]]:
        """Devices that a row of theirs can change, each with all of its rows in order of time."""
        applies = self._fleet.kind[rows.device] == self._kind
        limit = self._raise_limits(rows.device)
        beyond = rows.value >= limit if self.rule.direction == "above" else rows.value <= limit
        mark = self._marks[rows.device]
        can_change = (beyond & ((mark == Mark.CLEAR) | rows.backfill)) | (
            ~beyond & (mark == Mark.STANDING_OVER) & ~np.isnan(limit)
        )
        can_change |= (mark == Mark.OTHER) & ~np.isnan(limit)
        can_change &= applies
        if not can_change.any():
            return
        index = np.flatnonzero(self._fleet.with_all_rows(rows.device, can_change))
        index = index[np.lexsort((rows.observed_us[index], rows.device[index]))]
        device = rows.device[index]
        bounds = [0, *(np.flatnonzero(np.diff(device)) + 1).tolist(), len(index)]
        columns = zip(
            rows.observed_us[index].tolist(),
            rows.received_us[index].tolist(),
            rows.value[index].tolist(),
            rows.late[index].tolist(),
            rows.backfill[index].tolist(),
            strict=True,
        )
        ordered = [
            (Row(observed, received, value, late), past) for observed, received, value, late, past in columns
        ]
        for begin, end in pairwise(bounds):
            yield int(device[begin]), ordered[begin:end]

    def _raise_limits(self, device: NDArray[np.int32]) -> NDArray[np.float64]:
        """The limit at which each row's device raises, one for all when constant; NaN = no such level."""
        if isinstance(self.rule.raise_at, str):
            return self._fleet.station_levels[self.rule.raise_at][device]
        return np.asarray(self.rule.raise_at)

    def _applies(self, device_id: int) -> bool:
        return int(self._fleet.kind[device_id]) == self._kind and not np.isnan(self._limits(device_id)[0])

    def _limits(self, device_id: int) -> Limits:
        rule = self.rule
        raise_at = (
            float(self._fleet.station_levels[rule.raise_at][device_id])
            if isinstance(rule.raise_at, str)
            else rule.raise_at
        )
        if rule.clear_at is not None:
            return raise_at, rule.clear_at
        return raise_at, raise_at - rule.deadband if rule.direction == "above" else raise_at + rule.deadband

    def _course(self, device_id: int, state: Condition) -> Course:
        return Course(self.rule, self.metric_id, device_id, self._limits(device_id), replace(state))
