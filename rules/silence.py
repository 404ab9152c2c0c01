"""Devices that owe us a word: nothing heard for several expected intervals of the time in which we listened.

Looked at on the clock only, over all devices at once. A gap of ours adds nothing to anybody's silence. What falls
silent together behind one gateway is one alarm, the gateway's (``rules.gateways``).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from city.alarms import Transition
from city.observations import Quality, Readings
from rules.books import Batch, Moment, Surroundings
from rules.fleet import UNKNOWN_KIND, grown
from rules.gateways import Children
from rules.intervals import Intervals
from rules.keys import SECOND_US, Keys
from rules.owed import MAX_PER_TICK, NOT_RAISED, Look, Owed, Silence, Terms
from rules.rule import Rule, read_common
from rules.states import StateRow, whole

__all__ = ["MAX_PER_TICK", "SilenceBook", "SilenceRule", "read"]

Cadence = Literal["set", "learned"]

_REFRESHED_S = 600  # each device's learned interval is worked out anew so often
_STORED_S = 24 * 3600  # and what it rests on is written down so often
_MOST_STORED = 3600  # slices of a day caught up with in one tick


@dataclass(frozen=True, kw_only=True, slots=True)
class SilenceRule(Rule):
    """A device, or one metric of it, of which nothing came for several intervals while we listened."""

    metric: str | None  # None = any word counts
    factor: float
    min_us: int
    every_us: int  # the expected interval, 0 = the device's own
    cadence: Cadence  # learned: from the device's own readings as soon as there are enough
    least_us: int  # bounds of a learned interval
    most_us: int
    gateway_share: (
        float  # of the devices behind a gateway that fall silent together; 0 = gateways do not matter
    )

    def metrics(self) -> frozenset[str]:
        return frozenset() if self.metric is None else frozenset({self.metric})


def read(keys: Keys, version: int) -> SilenceRule:
    """A rule of type "silence"."""
    metric = keys.code("metric") if keys.has("metric") else None
    cadence = cast(Cadence, keys.choice("cadence", get_args(Cadence), "set"))
    if metric is not None and keys.has("gateway_share"):
        raise keys.error(
            "gateway_share",
            "does not go with metric: a device that speaks has a gateway that works",
            "不能与 metric 同时填写：能上报的设备其网关必然正常",
        )
    for key in ("least_s", "most_s"):
        if keys.has(key) and cadence == "set":
            raise keys.error(
                key,
                'bounds a learned interval; write cadence = "learned", or leave it out',
                "只用于学习到的间隔：请写 cadence = learned，或去掉",
            )
    least_us = keys.delay_us("least_s", 10, least=1)
    most_us = keys.delay_us("most_s", 2 * 24 * 3600, least=1)
    if most_us < least_us:
        raise keys.error(
            "most_s",
            f"must be at least least_s = {least_us // SECOND_US}",
            f"不得小于 least_s = {least_us // SECOND_US}",
        )
    return SilenceRule(
        **read_common(keys, version, keys.texts("kinds")),
        metric=metric,
        factor=keys.number("factor", 3.0, least=1.0, most=1000.0),
        min_us=keys.delay_us("min_s", 120),
        every_us=keys.delay_us("every_s", 0),
        cadence=cadence,
        least_us=least_us,
        most_us=most_us,
        gateway_share=keys.number("gateway_share", 0.0 if metric else 0.8, least=0.0, most=1.0),
    )


@dataclass(frozen=True, slots=True)
class SilenceChanges:
    """What one decision does to a book once it is committed."""

    states: dict[int, Silence] = field(default_factory=dict)
    store: tuple[int, ...] = ()  # devices whose learned intervals are written down
    second: int = 0  # up to which slice of the day
    now_us: int = 0
    arrived: Readings | None = None
    intervals: tuple[NDArray[np.int32], NDArray[np.int64]] | None = None


class SilenceBook:
    """All states of one silence rule, 17 bytes a device; 24 more by gateways, 56 by learned intervals."""

    def __init__(self, rule: SilenceRule, around: Surroundings) -> None:
        self.rule = rule
        self._fleet = around.fleet
        self._metric_id = None if rule.metric is None else around.metrics[rule.metric]
        self._raised_us: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._heard_before: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._by_children: set[int] = set()
        self._back_us: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._metric_heard_us: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._intervals = Intervals() if rule.cadence == "learned" else None
        self._children: Children | None = None
        self._terms: Terms | None = None
        self._stored_second = 0

    def grow(self, size: int) -> None:
        if size > len(self._raised_us):
            self._children = self._terms = None
            self._raised_us = grown(self._raised_us, size)
            self._heard_before = grown(self._heard_before, size, NOT_RAISED)
            if self.rule.gateway_share:
                self._back_us = grown(self._back_us, size)
            if self._metric_id is not None:
                self._metric_heard_us = grown(self._metric_heard_us, size)
            if self._intervals is not None:
                self._intervals.grow(size)

    def owns(self, state: Mapping[str, object]) -> bool:
        """Whether a stored state is of this kind of rule, and of this metric."""
        ours = any(key in state for key in ("heard_us", "back_us", "counts"))
        return not state or (ours and whole(state, "metric_id") == (self._metric_id or 0))

    def load(self, device_id: int, state: Mapping[str, object]) -> None:
        if "heard_us" in state:
            self._set(
                device_id,
                Silence(whole(state, "raised_us"), whole(state, "heard_us"), bool(state.get("by_children"))),
            )
        if self.rule.gateway_share:
            self._back_us[device_id] = whole(state, "back_us")
        if self._intervals is not None:
            self._intervals.load(device_id, state)

    @property
    def recalls(self) -> bool:
        """Only what counts by a metric, or learns how often it comes, asks when it came last."""
        return self._metric_id is not None or self._intervals is not None

    def recall(
        self, device_ids: NDArray[np.int32], metric_ids: NDArray[np.int16], observed_us: NDArray[np.int64]
    ) -> None:
        """Newest stored readings, at start: when the metric last came, and where intervals go on."""
        ours = (
            np.ones(len(metric_ids), dtype=np.bool_)
            if self._metric_id is None
            else metric_ids == self._metric_id
        )
        if self._metric_id is not None:
            np.maximum.at(self._metric_heard_us, device_ids[ours], observed_us[ours])
        if self._intervals is not None:
            self._intervals.recall(device_ids[ours], observed_us[ours])

    def facts_changed(self, device_ids: NDArray[np.int64]) -> None:
        """Every tick looks at the whole register anyway."""
        self._children = self._terms = None

    def decide(self, batch: Batch) -> tuple[list[Transition], SilenceChanges] | None:
        """Readings change only when the metric came, and how often it comes; the engine knows who was heard."""
        if self._metric_id is None and self._intervals is None:
            return None
        arrived = self._ours(batch.readings)
        if not len(arrived):
            return None
        intervals = None
        if self._intervals is not None:
            intervals = self._intervals.of(arrived.device, arrived.observed_us)
        return [], SilenceChanges(arrived=arrived, intervals=intervals)

    def _ours(self, readings: Readings) -> Readings:
        """Words that count: of the metric, of devices in force, not replayed and with a believable time."""
        asked = Quality.RETAINED if self._intervals is None else Quality.RETAINED | Quality.CLOCK_AHEAD
        counts = (readings.quality & int(asked)) == 0
        counts &= self._fleet.applies(self.rule.rule_id)[readings.device]
        if self._metric_id is not None:
            counts &= readings.metric == self._metric_id
        return readings.take(counts)

    def tick(self, moment: Moment) -> tuple[list[Transition], SilenceChanges]:
        """At most MAX_PER_TICK devices fall silent in one tick; the others follow in the next."""
        look = Look(self.rule, self._owed(), moment)
        look.end()
        look.begin()
        second = moment.now_us // SECOND_US
        store = self._to_store(second)
        return look.transitions, SilenceChanges(look.states, store, second, moment.now_us)

    def _owed(self) -> Owed:
        fleet = self._fleet
        if self._terms is None:
            self._terms = self._terms_now()
        terms = self._terms
        if self._intervals is not None:  # learned intervals move by themselves
            self._terms = None
        return Owed(
            fleet=fleet,
            terms=terms,
            heard_us=fleet.heard_us if self._metric_id is None else self._metric_heard_us,
            raised_us=self._raised_us,
            heard_before=self._heard_before,
            back_us=self._back_us,
            by_children=self._by_children,
        )

    def _terms_now(self) -> Terms:
        fleet, rule = self._fleet, self.rule
        interval_us = self._interval_us()
        owing = fleet.in_service & (interval_us > 0) & (fleet.kind != UNKNOWN_KIND)
        expected = owing & fleet.applies(rule.rule_id)
        if self._children is None:
            self._children = Children(fleet.gateway if rule.gateway_share else fleet.gateway[:0])
        return Terms(
            children=self._children,
            gateways=self._children.with_any(expected),
            owing=owing,
            expected=expected,
            interval_us=interval_us,
            limit_us=np.maximum(interval_us * rule.factor, rule.min_us).astype(np.int64),
        )

    def _interval_us(self) -> NDArray[np.int64]:
        """How often a word is expected, by device; 0 = nobody knows."""
        interval_us = self._fleet.interval_us
        if self.rule.every_us:
            interval_us = np.full_like(interval_us, self.rule.every_us)
        if self._intervals is None:
            return interval_us
        learned_us = self._intervals.learned_us
        bounded = np.clip(learned_us, self.rule.least_us, self.rule.most_us)
        return np.where(learned_us > 0, bounded, interval_us)

    def accept(self, changes: SilenceChanges) -> None:
        for device_id, state in changes.states.items():
            self._set(device_id, state)
        arrived = changes.arrived
        if arrived is not None and self._metric_id is not None:
            np.maximum.at(self._metric_heard_us, arrived.device, arrived.received_us)
        if self._intervals is None:
            return
        if arrived is not None and changes.intervals is not None:
            self._intervals.learn(changes.intervals, arrived.device, arrived.observed_us)
        if changes.now_us:
            self._intervals.pass_weeks(changes.now_us)
            for second in range(
                max(self._stored_second, changes.second - _REFRESHED_S) + 1, changes.second + 1
            ):
                self._intervals.refresh(second % _REFRESHED_S, _REFRESHED_S)
            self._stored_second = changes.second

    def rows(self, changes: SilenceChanges) -> Iterator[StateRow]:
        for device_id in sorted({*changes.states, *changes.store}):
            state = changes.states.get(device_id) or self._state(device_id)
            kept: dict[str, object] = {"back_us": state.back_us} if state.back_us else {}
            if state.heard_us != NOT_RAISED:
                kept |= {"raised_us": state.raised_us, "heard_us": state.heard_us}
                kept |= {"by_children": True} if state.by_children else {}
            if self._intervals is not None:
                kept |= self._intervals.saved(device_id)
            if kept and self._metric_id is not None:
                kept["metric_id"] = self._metric_id
            yield StateRow(rule_id=self.rule.rule_id, device_id=device_id, state=kept)

    def _to_store(self, second: int) -> tuple[int, ...]:
        """Devices whose turn it is to have their intervals written down: a slice a second."""
        if self._intervals is None or not self._stored_second:
            return ()
        slices = range(max(self._stored_second, second - _MOST_STORED) + 1, second + 1)
        return tuple(
            int(device_id)
            for turn in slices
            for device_id in self._intervals.known(turn % _STORED_S, _STORED_S)
        )

    def _state(self, device_id: int) -> Silence:
        return Silence(
            int(self._raised_us[device_id]),
            int(self._heard_before[device_id]),
            device_id in self._by_children,
            int(self._back_us[device_id]) if self.rule.gateway_share else 0,
        )

    def _set(self, device_id: int, state: Silence) -> None:
        self._raised_us[device_id], self._heard_before[device_id] = state.raised_us, state.heard_us
        (self._by_children.add if state.by_children else self._by_children.discard)(device_id)
        if state.back_us:
            self._back_us[device_id] = state.back_us
