"""All rules over all devices: a batch in, transitions and changed states out, swapped in after the commit.

``decide`` and ``tick`` change nothing, so a transaction that failed is decided again with the same answer.
The engine is a cache: ``know`` and ``load`` rebuild it from the database at start. One thread uses it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from city.alarms import Cleared, Raised, Transition
from city.observations import Detection, Quality, Readings
from rules.books import Batch, Book, Judge, Moment, Outcome, Recaller, Reviewer, Surroundings
from rules.fleet import DeviceFacts, Fleet, grown
from rules.keys import RuleError
from rules.kinds import book_of
from rules.listening import Listening
from rules.maintenance import let_go
from rules.numbers import Numbers
from rules.rows import NO_ROWS, UNDECIDABLE, MetricRows, of_metric
from rules.rule import Rule
from rules.states import StateRow, whole
from rules.windows import Memories, Memory

__all__ = ["Decision", "DeviceFacts", "Engine", "Listening", "Lookback", "StateRow"]

_NOBODY = int(Quality.CLOCK_AHEAD | Quality.RETAINED)  # neither decided on nor compared with others


@dataclass(frozen=True, slots=True, eq=False)
class Lookback:
    """Stored readings that are needed at start: of these devices, from each one's newest so far back."""

    metric_id: int
    window_us: int
    device_ids: NDArray[np.int32]
    memory: Memory = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class _Overlay:
    """What ``accept`` does to the engine."""

    generation: int
    changes: dict[str, Any] = field(default_factory=dict)  # by rule, of its book's own making
    orphans: tuple[tuple[str, int], ...] = ()
    folded: Mapping[int, MetricRows] = field(default_factory=dict)  # by metric: what rules may believe
    spikes: Mapping[int, MetricRows] = field(
        default_factory=dict
    )  # by metric: marked, and remembered as such
    heard: tuple[NDArray[np.int32], NDArray[np.int64]] | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Decision:
    """Transitions, each device's in order of time, and the states to store in the same transaction."""

    transitions: list[Transition]
    states: list[StateRow]
    overlay: _Overlay = field(repr=False)


class Engine:
    """Rules and what they remember. A changed rule set is a new engine, loaded from the same states."""

    def __init__(
        self,
        rules: Sequence[Rule],
        metrics: Mapping[str, int],
        zone: ZoneInfo | None = None,
        fleet: Fleet | None = None,
        numbers: Numbers | None = None,
    ) -> None:
        """``metrics``: code to database id; ``zone``: the district's own, for schedules, UTC when not given.

        ``fleet``: what is known of the devices already (``known_devices``); without one, ``know`` tells, and columns
        are by ``numbers`` where there are any.

        Raises RuleError for a rule on a metric that is not in ``metrics``.
        """
        self._fleet = fleet or Fleet(numbers)
        if fleet is None:
            self._fleet.follow(rules)
        self._books: dict[str, Book] = {}
        self._newest_us: dict[
            int, NDArray[np.int64]
        ] = {}  # by metric: newest folded reading, by device; 0 = none
        self._orphans: dict[tuple[str, int], Mapping[str, object]] = {}
        self._generation = 0
        self._memories = Memories(self._fleet)
        self._judges: dict[int, list[Judge]] = {}  # by metric, in the order they are asked in
        around = Surroundings(
            fleet=self._fleet, metrics=metrics, zone=zone or ZoneInfo("UTC"), memories=self._memories
        )
        for rule in rules:
            for code in sorted(rule.metrics()):
                if code not in metrics:
                    raise RuleError(
                        f"rule {rule.rule_id}: metric = {code!r}: no such metric; "
                        f"add [metric.{code}] to kinds.toml or correct the rule"
                    )
            self._books[rule.rule_id] = book = book_of(rule, around)
            if isinstance(book, Judge):
                self._judges.setdefault(book.metric_id, []).append(book)
            if not isinstance(book, Judge) or not book.only_marks:
                self._follow(metrics[code] for code in rule.metrics())
        self._follow(memory.metric_id for memory in self._memories)
        for judges in self._judges.values():
            judges.sort(key=lambda judge: judge.order)
        if fleet is not None:
            self._grow()
        self._reviewers = {
            rule_id: book for rule_id, book in self._books.items() if isinstance(book, Reviewer)
        }

    def _follow(self, metric_ids: Iterable[int]) -> None:
        """Metrics whose readings are decided on or remembered; others cost no column."""
        for metric_id in metric_ids:
            self._newest_us.setdefault(metric_id, np.zeros(0, dtype=np.int64))

    def known_devices(self, rules: Sequence[Rule]) -> Fleet | None:
        """For an engine of other rules that takes over from this one; None = the register has to be asked."""
        return self._fleet.following(rules)

    @property
    def heard_us(self) -> NDArray[np.int64]:
        """Last arrival by device id, 0 = never; longer than the register. To be read, not kept or changed."""
        return self._fleet.heard_us

    def know(self, facts: Sequence[DeviceFacts]) -> None:
        """New or changed devices; must come before anything of theirs is decided."""
        ids = self._fleet.know(facts)
        self._grow()
        for book in self._books.values():
            book.facts_changed(ids)

    def load(self, states: Iterable[StateRow]) -> None:
        """What was stored, at start. A state of a rule that is gone waits for ``tick`` to end its alarm."""
        for row in states:
            self._fleet.grow(row.device_id + 1)
            self._grow()
            book = self._books.get(row.rule_id)
            if book is not None and book.owns(row.state):
                book.load(row.device_id, row.state)
            elif row.state:
                self._orphans[row.rule_id, row.device_id] = row.state

    def recall(
        self, device_ids: NDArray[np.int32], metric_ids: NDArray[np.int16], observed_us: NDArray[np.int64]
    ) -> None:
        """Newest stored readings, at start, so that older ones that arrive later are known as history."""
        for metric_id, newest in self._newest_us.items():
            rows = metric_ids == metric_id
            np.maximum.at(newest, device_ids[rows], observed_us[rows])
        for book in self._books.values():
            if isinstance(book, Recaller):
                book.recall(device_ids, metric_ids, observed_us)

    def inherit(self, old: "Engine") -> None:
        """Take over what an engine with other rules looks back at, which is not used any more; after ``know``."""
        self._memories.inherit(old._memories)
        for metric_id, newest_us in self._newest_us.items():
            before = old._newest_us.get(metric_id, newest_us)
            length = min(len(before), len(newest_us))
            np.maximum(newest_us[:length], before[:length], out=newest_us[:length])

    def asks_for_newest(self, old: "Engine") -> bool:
        """Whether the newest stored readings must be read back, or ``inherit`` from ``old`` gives all of them."""
        recalls = any(isinstance(book, Recaller) and book.recalls for book in self._books.values())
        return recalls or not self._newest_us.keys() <= old._newest_us.keys()

    def lookbacks(self) -> list[Lookback]:
        """What to read of the stored readings, each for ``remember``; after ``know`` and ``inherit``."""
        needed = [(memory, self._memories.missing(memory)) for memory in self._memories]
        return [
            Lookback(memory.metric_id, memory.lookback_us, device_ids, memory)
            for memory, device_ids in needed
            if len(device_ids)
        ]

    def remember(self, lookback: Lookback, readings: Readings) -> None:
        """The stored readings of a lookback, or a part of its devices: windows go on as if nothing had stopped."""
        newest_us = self._newest_us[lookback.metric_id]
        nothing_yet = np.zeros_like(newest_us)
        believed = of_metric(readings, np.flatnonzero((readings.quality & UNDECIDABLE) == 0), nothing_yet)
        spikes = of_metric(readings, _spikes(readings, lookback.metric_id), nothing_yet)
        lookback.memory.fold(believed, spikes)
        np.maximum.at(newest_us, believed.device, believed.observed_us)

    def _grow(self) -> None:
        size = self._fleet.size
        for metric_id, newest in self._newest_us.items():
            if size > len(newest):
                self._newest_us[metric_id] = grown(newest, size)
        for book in self._books.values():
            book.grow(size)

    def decide(self, readings: Readings, detections: Sequence[Detection], *, now_us: int) -> Decision:
        """What newly stored observations change, in any order; all event time, no rule needs ``now_us``."""
        self._refuse_unknown(readings, detections)
        rows: dict[int, MetricRows] = {}
        believed = (readings.quality & UNDECIDABLE) == 0
        for metric_id in _present(readings, self._newest_us):
            index = np.flatnonzero((readings.metric == metric_id) & believed)
            if len(index):
                rows[metric_id] = of_metric(readings, index, self._newest_us[metric_id])
        alive = (readings.quality & int(Quality.RETAINED)) == 0
        overlay = _Overlay(
            generation=self._generation,
            folded=rows,
            spikes=self._spikes(readings),
            heard=(readings.device[alive], readings.received_us[alive]),
        )
        batch = Batch(readings=readings, rows=rows, newest_us=self._newest_us, detections=detections)
        return self._decision({rule_id: book.decide(batch) for rule_id, book in self._books.items()}, overlay)

    def judge(self, readings: Readings) -> Readings:
        """The same readings with what is known against them marked; before they are stored. Changes nothing."""
        self._refuse_unknown(readings, ())
        quality = readings.quality.copy()
        unknown = np.broadcast_to(np.int64(0), (self._fleet.size,))
        anybody = (quality & _NOBODY) == 0
        for metric_id in _present(readings, self._judges):
            index = np.flatnonzero((readings.metric == metric_id) & anybody)
            for judge in self._judges[metric_id] if len(index) else ():
                believed = index[(quality[index] & UNDECIDABLE) == 0]
                rows = of_metric(readings, believed, self._newest_us.get(metric_id, unknown))
                quality[believed] |= judge.marks(rows)
        return replace(readings, quality=quality)

    def _spikes(self, readings: Readings) -> dict[int, MetricRows]:
        if not (readings.quality & int(Quality.SPIKE)).any():
            return {}
        return {
            metric_id: of_metric(readings, index, self._newest_us[metric_id])
            for metric_id in self._judges.keys() & self._newest_us.keys()
            if len(index := _spikes(readings, metric_id))
        }

    def tick(self, *, now_us: int, listened: Listening) -> Decision:
        """What the clock changes: delays that ran out, silence, detections that stopped, rules that ended."""
        moment = Moment(now_us=now_us, clock_us=listened.horizon_us(now_us), listened=listened)
        overlay = _Overlay(generation=self._generation, orphans=tuple(self._orphans))
        outcomes = {rule_id: book.tick(moment) for rule_id, book in self._books.items()}
        ended: list[Transition] = []
        for key, state in self._orphans.items():
            ended += _ended(*key, state, now_us)
            ended += [raised for raised in let_go(key[1], state) if self._still_has(raised)]
        decision = self._decision(outcomes, overlay, ended)
        for rule_id, device_id in self._orphans:
            if rule_id not in self._books:  # else the row is the new rule's to write
                decision.states.append(StateRow(rule_id=rule_id, device_id=device_id, state={}))
        return decision

    def _still_has(self, raised: Raised) -> bool:
        """Whether its rule still says that it stands; else it ends at this tick as well."""
        return raised.rule_id in self._books and (raised.rule_id, raised.device_id) not in self._orphans

    def _decision(
        self, outcomes: Mapping[str, Outcome | None], overlay: _Overlay, ended: Sequence[Transition] = ()
    ) -> Decision:
        """The books' answers as one, in the order of the rules, and what became of them in review."""
        transitions: list[Transition] = []
        for rule_id, outcome in outcomes.items():
            if outcome is not None:
                happened, overlay.changes[rule_id] = outcome
                transitions += happened
        transitions += ended
        for rule_id, reviewer in self._reviewers.items():
            if transitions or rule_id in overlay.changes:
                own = overlay.changes.get(rule_id)
                transitions, overlay.changes[rule_id] = reviewer.review(transitions, own)
        states = [
            row for rule_id, changes in overlay.changes.items() for row in self._books[rule_id].rows(changes)
        ]
        return Decision(transitions=transitions, states=states, overlay=overlay)

    def accept(self, decision: Decision) -> None:
        """Swap in what a committed decision changed. Raises ValueError when another was accepted since."""
        overlay = decision.overlay
        if overlay.generation != self._generation:
            raise ValueError("a decision was accepted since this one was made; decide again")
        self._generation += 1
        for memory in self._memories:
            rows, spikes = (of.get(memory.metric_id) for of in (overlay.folded, overlay.spikes))
            if rows is not None or spikes is not None:
                memory.fold(rows or NO_ROWS, spikes or NO_ROWS)
        for metric_id, rows in overlay.folded.items():
            np.maximum.at(self._newest_us[metric_id], rows.device, rows.observed_us)
        if overlay.heard is not None:
            self._fleet.heard(*overlay.heard)
        for rule_id, changes in overlay.changes.items():
            self._books[rule_id].accept(changes)
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


def _present(readings: Readings, metric_ids: Iterable[int]) -> list[int]:
    """Those of the metrics that a batch has readings of, which are few of all there are."""
    if not len(readings):
        return []
    counts = np.bincount(readings.metric)
    return [metric_id for metric_id in metric_ids if metric_id < len(counts) and counts[metric_id]]


def _spikes(readings: Readings, metric_id: int) -> NDArray[np.intp]:
    marked = (readings.quality & (int(Quality.SPIKE) | _NOBODY)) == int(Quality.SPIKE)
    return np.flatnonzero((readings.metric == metric_id) & marked)


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
