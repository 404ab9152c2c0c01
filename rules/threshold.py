"""Threshold rules over a batch: columns first, then only the devices that a reading can change.

Those go through ``rules.condition`` one at a time, in order of time. Nothing here changes the book: changes
come back beside the transitions and are swapped in by ``accept`` after the commit.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from city.alarms import Transition
from rules.books import Batch, MetricRows, Moment, Surroundings
from rules.condition import AT_REST, EVERY, Condition, Course, Limits, Mark, Phase, Row, ThresholdRule
from rules.fleet import grown
from rules.keys import Direction, Keys, StationLevel
from rules.rule import read_common
from rules.schedule import Hours
from rules.states import StateRow, whole

MOST_COUNTED = 32  # readings that n-of-m looks back at


def read(keys: Keys, version: int) -> ThresholdRule:
    """A rule of type "threshold"; docs/rules.md has every key."""
    direction = keys.choice("direction", get_args(Direction), "above")
    kinds = frozenset({keys.code("kind")})
    raise_at = keys.limit("raise_at")
    return ThresholdRule(
        **read_common(keys, version, kinds),
        metric=keys.code("metric"),
        direction=cast(Direction, direction),
        raise_at=raise_at,
        clear_at=_clear_at(keys, raise_at, direction),
        deadband=keys.number("deadband", 0.0, least=0.0),
        n_of_m=_n_of_m(keys),
        on_delay_us=keys.delay_us("on_delay_s", 0),
        off_delay_us=keys.delay_us("off_delay_s", 0),
    )


def _n_of_m(keys: Keys) -> tuple[int, int]:
    if not keys.has("n_of_m"):
        return EVERY
    match keys.whole_numbers("n_of_m"):
        case (n, m) if 1 <= n <= m <= MOST_COUNTED and m > 1:
            return n, m
        case _:
            raise keys.error(
                "n_of_m", f"write [n, m] with 1 <= n <= m and m from 2 to {MOST_COUNTED}, such as [3, 5]"
            )


def _clear_at(keys: Keys, raise_at: float | StationLevel, direction: str) -> float | None:
    """The clear limit where it is written as such, which only a constant limit can have."""
    if not keys.has("clear_at"):
        return None
    if keys.has("deadband"):
        raise keys.error("clear_at", "given beside deadband; keep one of the two")
    if isinstance(raise_at, str):
        raise keys.error("clear_at", "cannot stand beside a station's own level; give deadband in metres")
    clear_at = keys.number("clear_at")
    if clear_at > raise_at if direction == "above" else clear_at < raise_at:
        side = "at or under" if direction == "above" else "at or over"
        raise keys.error("clear_at", f"must be {side} raise_at = {raise_at:g}")
    return clear_at


@dataclass(frozen=True, slots=True)
class ThresholdChanges:
    """What one decision does to a book once it is committed."""

    states: dict[int, Condition]
    checked: frozenset[int] = frozenset()  # devices whose changed facts have been looked at


class ThresholdBook:
    """All states of one threshold rule: a byte per device, and an object for each that is not at rest."""

    def __init__(self, rule: ThresholdRule, around: Surroundings) -> None:
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
        of_another_kind = "last_us" in state or "heard_us" in state
        return not of_another_kind and whole(state, "metric_id") in (0, self.metric_id)

    def load(self, device_id: int, state: Mapping[str, object]) -> None:
        self._set(device_id, Condition.loaded(state))
        if self._marks[device_id] != Mark.CLEAR:
            self._facts_changed.add(device_id)  # the rule may have changed while we were down

    def facts_changed(self, device_ids: NDArray[np.int64]) -> None:
        self._facts_changed.update(device_ids[self._marks[device_ids] != Mark.CLEAR].tolist())

    def decide(self, batch: Batch) -> tuple[list[Transition], ThresholdChanges] | None:
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
        return transitions, ThresholdChanges(changed)

    def tick(self, moment: Moment) -> tuple[list[Transition], ThresholdChanges]:
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

    def _touched(self, rows: MetricRows) -> Iterator[tuple[int, list[tuple[Row, bool]]]]:
        """Devices that a row of theirs can change, each with all of its rows in order of time."""
        applies = self._fleet.applies(self.rule.rule_id)[rows.device]
        limit = self._raise_limits(rows.device)
        beyond = rows.value >= limit if self.rule.direction == "above" else rows.value <= limit
        mark = self._marks[rows.device]
        can_change = (beyond & ((mark == Mark.CLEAR) | rows.backfill)) | (
            ~beyond & (mark == Mark.STANDING_OVER) & ~np.isnan(limit)
        )
        can_change |= (mark == Mark.OTHER) & ~np.isnan(limit)
        can_change &= applies
        if self._hours is not None:
            resting = np.flatnonzero(can_change & (mark == Mark.CLEAR))
            can_change[resting] = self._hours.covers(rows.observed_us[resting])
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
        applies = bool(self._fleet.applies(self.rule.rule_id)[device_id])
        return applies and not np.isnan(self._limits(device_id)[0])

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
        limits = self._limits(device_id)
        return Course(self.rule, self.metric_id, device_id, limits, replace(state), self._hours)
