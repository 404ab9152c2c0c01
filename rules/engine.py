"""All rules over all devices: a batch in, transitions and changed states out, swapped in after the commit.

``decide`` and ``tick`` change nothing, so a transaction that failed is decided again with the same answer.
The engine is a cache: ``know`` and ``load`` rebuild it from the database at start. One thread uses it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from city.alarms import Cleared, Transition
from city.observations import Detection, Quality, Readings
from rules.definitions import DetectionRule, Rule, RuleError, SilenceRule, ThresholdRule
from rules.detection import DetectionBook, DetectionChanges
from rules.fleet import DeviceFacts, Fleet, grown
from rules.listening import Listening
from rules.silence import SilenceBook, SilenceChanges
from rules.states import StateRow, whole
from rules.threshold import MetricRows, ThresholdBook, ThresholdChanges

__all__ = ["Decision", "DeviceFacts", "Engine", "Listening", "StateRow"]

_UNDECIDABLE = int(Quality.CLOCK_AHEAD | Quality.RETAINED)


@dataclass(frozen=True, slots=True, eq=False)
class _Overlay:
    """What ``accept`` does to the engine."""

    generation: int
    thresholds: dict[str, ThresholdChanges] = field(default_factory=dict)
    detections: dict[str, DetectionChanges] = field(default_factory=dict)
    silences: dict[str, SilenceChanges] = field(default_factory=dict)
    orphans: tuple[tuple[str, int], ...] = ()
    folded: tuple[tuple[int, MetricRows], ...] = ()
    heard: tuple[NDArray[np.int32], NDArray[np.int64]] | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Decision:
    """Transitions, each device's in order of time, and the states to store in the same transaction."""

    transitions: list[Transition]
    states: list[StateRow]
    overlay: _Overlay = field(repr=False)


class Engine:
    """Rules and what they remember. A changed rule set is a new engine, loaded from the same states."""

    def __init__(self, rules: Sequence[Rule], metrics: Mapping[str, int]) -> None:
        """``metrics``: code to database id. Raises RuleError for a rule on a metric that is not in it."""
        self._fleet = Fleet()
        self._thresholds: dict[str, ThresholdBook] = {}
        self._detections: dict[str, DetectionBook] = {}
        self._silences: dict[str, SilenceBook] = {}
        self._newest_us: dict[
            int, NDArray[np.int64]
        ] = {}  # by metric: newest reading folded, by device; 0 = none
        self._orphans: dict[tuple[str, int], Mapping[str, object]] = {}
        self._generation = 0
        for rule in rules:
            self._add(rule, metrics)

    def _add(self, rule: Rule, metrics: Mapping[str, int]) -> None:
        match rule:
            case ThresholdRule():
                if rule.metric not in metrics:
                    raise RuleError(
                        f"rule {rule.rule_id}: metric = {rule.metric!r}: no such metric; "
                        f"add [metric.{rule.metric}] to kinds.toml or correct the rule"
                    )
                metric_id = metrics[rule.metric]
                self._thresholds[rule.rule_id] = ThresholdBook(rule, metric_id, self._fleet)
                self._newest_us[metric_id] = np.zeros(0, dtype=np.int64)
            case DetectionRule():
                self._detections[rule.rule_id] = DetectionBook(rule, self._fleet)
            case SilenceRule():
                self._silences[rule.rule_id] = SilenceBook(rule, self._fleet)

    @property
    def heard_us(self) -> NDArray[np.int64]:
        """Last arrival by device id, 0 = never; longer than the register. To be read, not kept or changed."""
        return self._fleet.heard_us

    def know(self, facts: Sequence[DeviceFacts]) -> None:
        """New or changed devices; must come before anything of theirs is decided."""
        ids = self._fleet.know(facts)
        self._grow()
        for book in self._thresholds.values():
            book.facts_changed(ids)

    def load(self, states: Iterable[StateRow]) -> None:
        """What was stored, at start. A state of a rule that is gone waits for ``tick`` to end its alarm."""
        for row in states:
            self._fleet.grow(row.device_id + 1)
            self._grow()
            book = self._book(row.rule_id)
            if book is not None and book.owns(row.state):
                book.load(row.device_id, row.state)
            elif row.state:
                self._orphans[row.rule_id, row.device_id] = row.state

    def _book(self, rule_id: str) -> ThresholdBook | DetectionBook | SilenceBook | None:
        return self._thresholds.get(rule_id) or self._detections.get(rule_id) or self._silences.get(rule_id)

    def recall(
        self, device_ids: NDArray[np.int32], metric_ids: NDArray[np.int16], observed_us: NDArray[np.int64]
    ) -> None:
        """Newest stored readings, at start, so that older ones that arrive later are known as history."""
        for metric_id, newest in self._newest_us.items():
            rows = metric_ids == metric_id
            np.maximum.at(newest, device_ids[rows], observed_us[rows])

    def _grow(self) -> None:
        size = self._fleet.size
        for metric_id, newest in self._newest_us.items():
            if size > len(newest):
                self._newest_us[metric_id] = grown(newest, size)
        for threshold in self._thresholds.values():
            threshold.grow(size)
        for silence in self._silences.values():
            silence.grow(size)

    def decide(self, readings: Readings, detections: Sequence[Detection], *, now_us: int) -> Decision:
        """What newly stored observations change, in any order; all event time, no rule needs ``now_us``."""
        self._refuse_unknown(readings, detections)
        transitions: list[Transition] = []
        states: list[StateRow] = []
        folded: list[tuple[int, MetricRows]] = []
        thresholds: dict[str, ThresholdChanges] = {}
        for metric_id, newest in self._newest_us.items():
            rows = _of_metric(readings, metric_id, newest)
            if rows is None:
                continue
            folded.append((metric_id, rows))
            for rule_id, book in self._thresholds.items():
                if book.metric_id == metric_id:
                    happened, changes = book.decide(rows, newest)
                    transitions += happened
                    states += book.rows(changes)
                    thresholds[rule_id] = changes
        seen: dict[str, DetectionChanges] = {}
        if detections:
            for rule_id, cameras in self._detections.items():
                happened, sightings = cameras.decide(detections)
                transitions += happened
                states += cameras.rows(sightings)
                seen[rule_id] = sightings
        alive = (readings.quality & int(Quality.RETAINED)) == 0
        overlay = _Overlay(
            generation=self._generation,
            thresholds=thresholds,
            detections=seen,
            folded=tuple(folded),
            heard=(readings.device[alive], readings.received_us[alive]),
        )
        return Decision(transitions=transitions, states=states, overlay=overlay)

    def tick(self, *, now_us: int, listened: Listening) -> Decision:
        """What the clock changes: delays that ran out, silence, detections that stopped, rules that ended."""
        clock_us = listened.horizon_us(now_us)
        transitions: list[Transition] = []
        states: list[StateRow] = []
        overlay = _Overlay(generation=self._generation, orphans=tuple(self._orphans))
        for rule_id, threshold in self._thresholds.items():
            happened, overlay.thresholds[rule_id] = threshold.tick(clock_us, now_us)
            transitions += happened
            states += threshold.rows(overlay.thresholds[rule_id])
        for rule_id, cameras in self._detections.items():
            happened, overlay.detections[rule_id] = cameras.tick(listened, clock_us)
            transitions += happened
            states += cameras.rows(overlay.detections[rule_id])
        for rule_id, silence in self._silences.items():
            happened, overlay.silences[rule_id] = silence.tick(listened, now_us)
            transitions += happened
            states += silence.rows(overlay.silences[rule_id])
        for (rule_id, device_id), state in self._orphans.items():
            transitions += _ended(rule_id, device_id, state, now_us)
            if self._book(rule_id) is None:  # else the row is the new rule's to write
                states.append(StateRow(rule_id=rule_id, device_id=device_id, state={}))
        return Decision(transitions=transitions, states=states, overlay=overlay)

    def accept(self, decision: Decision) -> None:
        """Swap in what a committed decision changed. Raises ValueError when another was accepted since."""
        overlay = decision.overlay
        if overlay.generation != self._generation:
            raise ValueError("a decision was accepted since this one was made; decide again")
        self._generation += 1
        for metric_id, rows in overlay.folded:
            np.maximum.at(self._newest_us[metric_id], rows.device, rows.observed_us)
        if overlay.heard is not None:
            self._fleet.heard(*overlay.heard)
        for rule_id, changes in overlay.thresholds.items():
            self._thresholds[rule_id].accept(changes)
        for rule_id, sightings in overlay.detections.items():
            self._detections[rule_id].accept(sightings)
        for rule_id, silences in overlay.silences.items():
            self._silences[rule_id].accept(silences)
        for orphan in overlay.orphans:
            self._orphans.pop(orphan, None)

    def heard(self, device_ids: NDArray[np.int32], received_us: NDArray[np.int64]) -> None:
        """Signs of life without a reading: status messages, detections."""
        self._fleet.heard(device_ids, received_us)

    def _refuse_unknown(self, readings: Readings, detections: Sequence[Detection]) -> None:
        """An id nobody made known is a mistake of the caller; deciding without its kind would hide it."""
        highest = int(readings.device.max()) if len(readings) else 0
        highest = max([highest, *(detection.device_id for detection in detections)])
        if highest >= self._fleet.size and (len(readings) or detections):
            raise ValueError(
                f"device id {highest} was never made known to the rules; call know() before decide()"
            )


def _of_metric(readings: Readings, metric_id: int, newest_us: NDArray[np.int64]) -> MetricRows | None:
    """The readings of one metric that rules may believe; None = none."""
    index = np.flatnonzero((readings.metric == metric_id) & ((readings.quality & _UNDECIDABLE) == 0))
    if not len(index):
        return None
    device, observed_us = readings.device[index], readings.observed_us[index]
    return MetricRows(
        device=device,
        observed_us=observed_us,
        received_us=readings.received_us[index],
        value=readings.value[index],
        late=(readings.quality[index] & int(Quality.LATE)) != 0,
        backfill=observed_us <= newest_us[device],
    )


def _ended(rule_id: str, device_id: int, state: Mapping[str, object], now_us: int) -> Iterable[Cleared]:
    """The end of an alarm whose rule is no more: nothing else would ever clear it."""
    raised_us = whole(state, "raised_us")
    if raised_us:
        metric_id = whole(state, "metric_id") or None
        yield Cleared(
            rule_id=rule_id,
            device_id=device_id,
            metric_id=metric_id,
            cleared_us=max(now_us, raised_us),
            evidence={"reason": "rule removed or rewritten"},
        )
