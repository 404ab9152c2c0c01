"""Stuck values: the same reading for longer than a living sensor would say it.

The reading is marked STUCK from then on and an alarm asks for a look at the device; it still counts for every
other rule, since a river that stands still is no reason to be blind to it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from city.observations import Quality
from rules.books import Surroundings
from rules.condition import OTHER, STANDING_OVER, ConditionRule, Limits, Row
from rules.fleet import Fleet
from rules.keys import LONGEST_DELAY_S, SECOND_US, Keys
from rules.rows import MetricRows
from rules.rule import read_common
from rules.standing import ConditionBook, Touched, by_device
from rules.states import rfc3339
from rules.windows import Slots, room


@dataclass(frozen=True, kw_only=True, slots=True)
class StuckRule(ConditionRule):
    """The time a value has stood still against ``for_us``."""

    for_us: int
    min_samples: int
    tolerance: float  # the metric's unit; values that lie so close together are the same
    excluded: tuple[float, ...]  # values at which standing still means nothing, such as 0 in a dry culvert

    def max_gap_us(self) -> int:
        """A longer silence begins anew; so what stood for ``for_us`` has at least ``min_samples`` readings."""
        return self.for_us // (self.min_samples - 1)

    def window_us(self) -> int:
        return self.for_us + self.max_gap_us()

    def terms(self, limits: Limits) -> dict[str, object]:
        return {"for_s": limits[0], "tolerance": self.tolerance, "min_samples": self.min_samples}


def read(keys: Keys, version: int) -> StuckRule:
    """A rule of type "stuck"; docs/rules.md has every key."""
    return StuckRule(
        **read_common(keys, version, frozenset({keys.code("kind")})),
        metric=keys.code("metric"),
        direction="above",
        for_us=round(keys.number("for_s", least=60, most=LONGEST_DELAY_S) * SECOND_US),
        min_samples=keys.whole_number("min_samples", 12, least=3, most=1000),
        tolerance=keys.number("tolerance", 0.0, least=0.0),
        excluded=keys.numbers("except"),
        on_delay_us=0,
        off_delay_us=0,
    )


@dataclass(frozen=True, slots=True)
class Stretches:
    """For k new readings in order of device and time: since when the value has stood still."""

    index: NDArray[np.intp]  # of the readings in the batch's rows
    since_us: NDArray[np.int64]

    def same_us(self, rows: MetricRows) -> NDArray[np.int64]:
        same: NDArray[np.int64] = rows.observed_us[self.index] - self.since_us
        return same


class StillValues:
    """Since when each device says the same, 24 bytes a device, 32 with a tolerance.

    "Within the tolerance" is no equivalence, so values are sorted into cells twice as wide as the tolerance, on
    two grids half a cell apart: what lies within the tolerance shares a cell of one of them. So the answer
    depends on no first reading, and a rebuild from stored readings gives the same.
    """

    def __init__(self, fleet: Fleet, rule: StuckRule, metric_id: int) -> None:
        self.metric_id = metric_id
        self.lookback_us = rule.window_us()
        self._fleet = fleet
        self._rule = rule
        self._slots = Slots(fleet)
        self._value: NDArray[np.float64] = np.zeros(0)
        self._newest_us: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._grids = (0, 1) if rule.tolerance else (0,)
        self._since_us: NDArray[np.int64] = np.zeros((0, len(self._grids)), dtype=np.int64)  # on either grid

    @property
    def key(self) -> tuple[object, ...]:
        rule = self._rule
        return "still", self.metric_id, rule.for_us, rule.min_samples, rule.tolerance

    def inherit(self, old: "StillValues") -> None:
        self._slots = old._slots.of(self._fleet)
        self._value, self._newest_us, self._since_us = old._value, old._newest_us, old._since_us

    def devices(self) -> NDArray[np.bool_]:
        return self._fleet.applies(self._rule.rule_id)

    def stretches(self, rows: MetricRows, wanted: NDArray[np.bool_]) -> Stretches:
        """Of the new readings that are ``wanted``; all of a device's or none."""
        index = np.flatnonzero(wanted & ~rows.backfill)
        index = index[np.lexsort((rows.observed_us[index], rows.device[index]))]
        since = self._since(rows, index)
        since_us = since.min(axis=1)
        observed_us = rows.observed_us[index]
        for value in self._rule.excluded:
            since_us = np.where(rows.value[index] == value, observed_us, since_us)
        return Stretches(index, since_us)

    def fold(self, rows: MetricRows, spikes: MetricRows) -> None:
        own = self._fleet.applies(self._rule.rule_id)[rows.device]
        if not own.any():
            return
        index = np.flatnonzero(own & ~rows.backfill)
        index = index[np.lexsort((rows.observed_us[index], rows.device[index]))]
        since_us = self._since(rows, index)
        device = rows.device[index]
        last = np.flatnonzero(np.append(device[1:] != device[:-1], True)[: len(device)])
        slot = self._slots.give(device[last])
        columns: list[NDArray[Any]] = [self._value, self._newest_us, self._since_us]
        self._value, self._newest_us, self._since_us = room(self._slots, columns)
        self._value[slot] = rows.value[index[last]]
        self._newest_us[slot] = rows.observed_us[index[last]]
        self._since_us[slot] = since_us[last]
        self._contradicted(rows, np.flatnonzero(own & rows.backfill))

    def _since(self, rows: MetricRows, index: NDArray[np.intp]) -> NDArray[np.int64]:
        """k by grids: since when each reading's cell is the same."""
        device, observed_us, value = rows.device[index], rows.observed_us[index], rows.value[index]
        first = np.ones(len(index), dtype=np.bool_)
        first[1:] = device[1:] != device[:-1]
        before_us, before, since_before = self._before(device[first])
        previous_us = np.empty_like(observed_us)
        previous_us[1:] = observed_us[:-1]
        previous_us[first] = before_us
        previous = np.empty_like(value)
        previous[1:] = value[:-1]
        previous[first] = before
        anew = observed_us - previous_us > self._rule.max_gap_us()
        since = np.empty((len(index), len(self._grids)), dtype=np.int64)
        for grid in self._grids:
            begins = anew | (self._cell(value, grid) != self._cell(previous, grid))
            started = np.where(begins, observed_us, 0)
            started[first] = np.where(begins[first], observed_us[first], since_before[:, grid])
            place = np.maximum.accumulate(np.where(begins | first, np.arange(len(index)), 0))
            since[:, grid] = started[place]
        return since

    def _before(
        self, device: NDArray[np.int32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Newest reading, its value, and since when, of devices; 0 = none, which is a long gap ago."""
        slot = self._slots.find(device)
        have = slot >= 0
        newest_us, value = np.zeros(len(device), dtype=np.int64), np.zeros(len(device))
        since = np.zeros((len(device), len(self._grids)), dtype=np.int64)
        newest_us[have], value[have] = self._newest_us[slot[have]], self._value[slot[have]]
        since[have] = self._since_us[slot[have]]
        return newest_us, value, since

    def _cell(self, value: NDArray[np.float64], grid: int) -> NDArray[np.float64]:
        if not self._rule.tolerance:
            return value
        cell: NDArray[np.float64] = np.floor(value / (2 * self._rule.tolerance) + grid / 2)
        return cell

    def _contradicted(self, rows: MetricRows, late: NDArray[np.intp]) -> None:
        """A reading that comes late and says otherwise: the value has not stood still since before it."""
        slot = self._slots.find(rows.device[late])
        late, slot = late[slot >= 0], slot[slot >= 0]
        for grid in self._grids:
            other = self._cell(rows.value[late], grid) != self._cell(self._value[slot], grid)
            broken = slot[other & (rows.observed_us[late] >= self._since_us[slot, grid])]
            self._since_us[broken, grid] = self._newest_us[broken]


class StuckBook(ConditionBook):
    """All states of one stuck rule, and the marks of the readings it is about."""

    kind = "stuck"
    order = 1  # after what is out of range or a spike
    only_marks = False
    rule: StuckRule

    def __init__(self, rule: StuckRule, around: Surroundings) -> None:
        super().__init__(rule, around)
        self._still = StillValues(around.fleet, rule, self.metric_id)
        around.memories.keep(self._still)

    def marks(self, rows: MetricRows) -> NDArray[np.int16]:
        marks = np.zeros(len(rows), dtype=np.int16)
        wanted = self._fleet.applies(self.rule.rule_id)[rows.device]
        if wanted.any():
            found = self._still.stretches(rows, wanted)
            stuck = found.same_us(rows) >= self.rule.for_us
            marks[found.index[stuck]] = int(Quality.STUCK)
        return marks

    def _limits(self, device_id: int) -> Limits:
        for_s = self.rule.for_us / SECOND_US
        return for_s, for_s

    def _touched(self, rows: MetricRows) -> Touched:
        wanted = self._fleet.applies(self.rule.rule_id)[rows.device]
        if not wanted.any():
            return
        found = self._still.stretches(rows, wanted)
        device, same_us = rows.device[found.index], found.same_us(rows)
        beyond = same_us >= self.rule.for_us
        mark = self._marks[device]
        can_change = np.where(mark == STANDING_OVER, ~beyond, beyond | (mark == OTHER))
        if not can_change.any():
            return
        places = np.flatnonzero(self._fleet.with_all_rows(device, can_change)).tolist()
        ordered = [(self._row(rows, found, place, int(same_us[place])), False) for place in places]
        yield from by_device(device[places], ordered)

    def _row(self, rows: MetricRows, found: Stretches, place: int, same_us: int) -> Row:
        at = int(found.index[place])
        seen = {
            "value": float(rows.value[at]),
            "window_from": rfc3339(int(found.since_us[place])),
            "same_for_s": same_us / SECOND_US,
        }
        observed_us, received_us = int(rows.observed_us[at]), int(rows.received_us[at])
        return Row(observed_us, received_us, same_us / SECOND_US, bool(rows.late[at]), seen)
