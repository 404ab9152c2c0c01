"""Recent readings that rules look back at, in columns: one history for each metric and length of window.

A history is a function of which readings there are, not of how they came: time is cut into buckets of a
thirtieth of the window, each keeps its last reading, and a bucket's place in the ring follows from its number.
So batches, readings out of order and a rebuild from the database all lead to the same columns, and a sender that
reports every second costs no more room than one that reports every two minutes: 512 bytes a device, and only for
devices that a rule with a window applies to.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rules.fleet import Fleet, grown
from rules.rows import MetricRows

BUCKETS = 32  # ring places; the window covers 30 of them, one at each end is cut by it
_NOWHERE = -1
_FIRST_SLOTS = 64


class Memory(Protocol):
    """What the engine keeps beside the rules' states, and rebuilds at start from stored readings."""

    @property
    def metric_id(self) -> int: ...

    @property
    def lookback_us(self) -> int:
        """How far back from a device's newest reading its readings are needed."""

    @property
    def key(self) -> tuple[object, ...]:
        """Two memories of one key hold the same, whatever rule they are of."""

    def devices(self) -> NDArray[np.bool_]:
        """By device id: whose readings are needed."""

    def inherit(self, old: Any) -> None:
        """Take over the columns of a memory of the same key, which is not used any more."""

    def fold(self, rows: MetricRows, spikes: MetricRows) -> None:
        """Take in readings that rules may believe, and beside them those marked as a spike; once committed."""


class Slots:
    """Dense places for the few devices that need one, given at the first reading; 4 bytes for each of the others."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._of: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self.taken = 0

    def of(self, fleet: Fleet) -> "Slots":
        """The same places for the same devices of another register."""
        self._fleet = fleet
        return self

    def find(self, device: NDArray[np.int32]) -> NDArray[np.int32]:
        """-1 = has none."""
        if self._fleet.size > len(self._of):
            self._of = grown(self._of, self._fleet.size, _NOWHERE)
        places: NDArray[np.int32] = self._of[device]
        return places

    def give(self, device: NDArray[np.int32]) -> NDArray[np.int32]:
        """The places of devices, new ones for those without."""
        places = self.find(device)
        new = places == _NOWHERE
        if new.any():
            missing = np.unique(device[new])
            self._of[missing] = np.arange(self.taken, self.taken + len(missing))
            self.taken += len(missing)
            places = self._of[device]
        return places


def room(slots: Slots, columns: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """The columns with a row for every slot given; they double, so that a million devices copy little."""
    have = len(columns[0])
    if slots.taken <= have:
        return list(columns)
    size = max(slots.taken, 2 * have, _FIRST_SLOTS)
    longer = [np.zeros((size, *column.shape[1:]), dtype=column.dtype) for column in columns]
    for new, old in zip(longer, columns, strict=True):
        new[:have] = old
    return longer


@dataclass(frozen=True, slots=True)
class Trails:
    """For k readings, each with its window: ascending in time, the reading itself last; ``valid`` has the rest."""

    index: NDArray[np.intp]  # of the readings in the batch's rows, by device and time
    device: NDArray[np.int32]
    t: NDArray[np.int64]  # k by BUCKETS
    v: NDArray[np.float64]
    valid: NDArray[np.bool_]

    def take(self, rows: NDArray[np.bool_]) -> "Trails":
        return Trails(self.index[rows], self.device[rows], self.t[rows], self.v[rows], self.valid[rows])


class History:
    """The readings of one metric within one length of window."""

    def __init__(self, fleet: Fleet, metric_id: int, window_us: int) -> None:
        self.metric_id = metric_id
        self.lookback_us = window_us
        self._bucket_us = -(-window_us // (BUCKETS - 2))
        self._fleet = fleet
        self._rule_ids: list[str] = []
        self._slots = Slots(fleet)
        self._t: NDArray[np.int64] = np.zeros((0, BUCKETS), dtype=np.int64)  # 0 = empty
        self._v: NDArray[np.float64] = np.zeros((0, BUCKETS))
        self._cut_last: tuple[MetricRows, Trails] | None = (
            None  # rules that share a history ask one after another
        )

    @property
    def key(self) -> tuple[object, ...]:
        return "history", self.metric_id, self.lookback_us

    def inherit(self, old: "History") -> None:
        self._slots, self._t, self._v = old._slots.of(self._fleet), old._t, old._v

    def serve(self, rule_id: str) -> None:
        self._rule_ids.append(rule_id)

    def devices(self) -> NDArray[np.bool_]:
        wanted = [self._fleet.applies(rule_id) for rule_id in self._rule_ids]
        result: NDArray[np.bool_] = np.logical_or.reduce(wanted)
        return result

    def fold(self, rows: MetricRows, spikes: MetricRows) -> None:
        self._cut_last = None
        own = self._own(rows)
        if not own.any():
            return
        slot = self._slots.give(rows.device[own])
        self._t, self._v = room(self._slots, [self._t, self._v])
        self._put(self._t, self._v, slot, rows.observed_us[own], rows.value[own])

    def trails(self, rows: MetricRows) -> Trails:
        """The windows of all new readings of devices that rules look at; history gets none.

        A window holds what is known up to its reading, from this batch as from all before.
        """
        if self._cut_last is not None and self._cut_last[0] is rows:
            return self._cut_last[1]
        own = self._own(rows)
        index = np.flatnonzero(own & ~rows.backfill)
        index = index[np.lexsort((rows.observed_us[index], rows.device[index]))]
        device = rows.device[index]
        known = device[np.append(True, np.diff(device) != 0)[: len(device)]]
        t, v = self._stored(known)
        old = np.flatnonzero(own & rows.backfill)
        if len(old) and len(known):
            old = old[np.isin(rows.device[old], known)]
            place = np.searchsorted(known, rows.device[old]).astype(np.int32)
            self._put(t, v, place, rows.observed_us[old], rows.value[old])
        trails = self._cut(rows, index, t, v)
        self._cut_last = rows, trails
        return trails

    def _own(self, rows: MetricRows) -> NDArray[np.bool_]:
        own = np.zeros(len(rows), dtype=np.bool_)
        for rule_id in self._rule_ids:
            own |= self._fleet.applies(rule_id)[rows.device]
        return own

    def _put(
        self,
        t: NDArray[np.int64],
        v: NDArray[np.float64],
        slot: NDArray[np.int32],
        observed_us: NDArray[np.int64],
        value: NDArray[np.float64],
    ) -> None:
        """Each reading into its bucket's place, unless what is there is newer."""
        bucket = (observed_us // self._bucket_us) % BUCKETS
        newer = np.flatnonzero(observed_us > t[slot, bucket])
        newer = newer[np.argsort(observed_us[newer], kind="stable")]  # the last of a bucket is written last
        t[slot[newer], bucket[newer]] = observed_us[newer]
        v[slot[newer], bucket[newer]] = value[newer]

    def _stored(self, device: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Copies of these devices' rings."""
        slot = self._slots.find(device)
        have = slot != _NOWHERE
        t = np.zeros((len(device), BUCKETS), dtype=np.int64)
        v = np.zeros((len(device), BUCKETS))
        t[have], v[have] = self._t[slot[have]], self._v[slot[have]]
        return t, v

    def _cut(
        self, rows: MetricRows, index: NDArray[np.intp], t: NDArray[np.int64], v: NDArray[np.float64]
    ) -> Trails:
        """Rings and new readings laid out on one line of buckets, a stretch for each device; windows cut from it.

        A stretch begins with the 31 buckets before its first reading. A longer gap between two readings is
        laid out as 32 empty buckets, which is as far as any window looks.
        """
        device, observed_us, value = rows.device[index], rows.observed_us[index], rows.value[index]
        bucket = observed_us // self._bucket_us
        first = np.ones(len(index), dtype=np.bool_)
        first[1:] = device[1:] != device[:-1]
        step = np.full(len(index), BUCKETS, dtype=np.int64)
        step[1:] = np.where(first[1:], BUCKETS, np.minimum(np.diff(bucket), BUCKETS))
        place = np.cumsum(step) - 1
        before = np.arange(1 - BUCKETS, 0)
        line_t = np.zeros(int(place[-1]) + 1 if len(place) else 0, dtype=np.int64)
        line_v = np.zeros(len(line_t))
        begin = place[first][:, None] + before
        earlier = bucket[first][:, None] + before
        of_ring = np.take_along_axis(t, earlier % BUCKETS, axis=1)
        line_t[begin] = np.where(of_ring >= earlier[:, :1] * self._bucket_us, of_ring, 0)
        line_v[begin] = np.take_along_axis(v, earlier % BUCKETS, axis=1)
        line_t[place], line_v[place] = observed_us, value  # ascending: the last of a bucket stays
        window = place[:, None] + before
        cut_t = np.concatenate([line_t[window], observed_us[:, None]], axis=1)
        cut_v = np.concatenate([line_v[window], value[:, None]], axis=1)
        valid = cut_t > (observed_us - self.lookback_us)[:, None]
        return Trails(index, device, cut_t, cut_v, valid)


class Memories:
    """Everything that is kept, each history once however many rules look at it."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._kept: list[Memory] = []
        self._histories: dict[tuple[int, int], History] = {}
        self._inherited: dict[tuple[object, ...], NDArray[np.bool_]] = {}  # by key: devices it knows already

    def __iter__(self) -> Iterator[Memory]:
        return iter(self._kept)

    def keep(self, memory: Memory) -> None:
        self._kept.append(memory)

    def inherit(self, old: "Memories") -> None:
        """What memories of another rule set hold already needs no reading back; those are not used any more."""
        known = {memory.key: memory for memory in old}
        for memory in self:
            before = known.pop(memory.key, None)
            if before is not None:
                memory.inherit(before)
                self._inherited[memory.key] = before.devices()

    def missing(self, memory: Memory) -> NDArray[np.int32]:
        """Ids of the devices whose readings a memory needs and has not inherited."""
        needed = np.flatnonzero(memory.devices())
        known = self._inherited.get(memory.key)
        if known is not None:
            needed = needed[(needed >= len(known)) | ~known[np.minimum(needed, len(known) - 1)]]
        return needed.astype(np.int32)

    def history(self, metric_id: int, window_us: int, rule_id: str) -> History:
        """The history that a rule looks at."""
        history = self._histories.get((metric_id, window_us))
        if history is None:
            history = self._histories[metric_id, window_us] = History(self._fleet, metric_id, window_us)
            self.keep(history)
        history.serve(rule_id)
        return history
