"""Stored observations through the engine again, in order of arrival, as if they came now.

The engine is the one that decides live; what differs is only how the stream is cut. Live, a batch holds 20 ms; here
it holds as many rows as can be decided at once with the same outcome. Three things tie an outcome to the cut, and
each kind of rule is followed by an engine of its own that is cut as that kind needs it:

- readings out of order, and readings that were so long on their way that a delay ran out meanwhile: the batch ends
  before each of them;
- detections out of order, and those that were on their way for over a second: the same;
- silence, which only the clock sees: a tick before the arrival that ends a pause as long as a silence can be, one
  a moment after it, and one where listening ended. Of the pauses that end within ``tick_us`` the first is seen so.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from city.alarms import Transition
from city.observations import NO_READINGS, Detection, Quality, Readings
from rules.detection import DetectionRule
from rules.engine import Decision, DeviceFacts, Engine, Listening
from rules.episodes import Episodes
from rules.quality import QualityRule
from rules.rule import Rule
from rules.silence import MAX_PER_TICK, SilenceRule
from rules.stuck import StuckRule

SECOND_US = 1_000_000
LOOKS_EACH = (
    20_000  # ends of pauses after which the tick doubles, so that flapping links cost time and not hours
)
TOGETHER_US = 20_000  # live, what arrives within this is one batch
_UNFOLDED = int(Quality.CLOCK_AHEAD | Quality.RETAINED | Quality.OUT_OF_RANGE | Quality.SPIKE)
_JUDGED = int(Quality.OUT_OF_RANGE | Quality.SPIKE | Quality.STUCK)
_EVER = 2**62
_POSITION_BITS = 20
_METRIC_BITS = 15

Interval = tuple[int, int]  # from, to in microseconds since 1970 UTC


class Ears:
    """When ingest listened, as it was known at each moment: an interval that has not ended yet is open."""

    def __init__(self, intervals: Sequence[Interval] | None) -> None:
        """None = always."""
        self._intervals = None if intervals is None else _merged(intervals)
        self._begins = [begin for begin, _ in self._intervals or ()]
        self._ends = [end for _, end in self._intervals or ()]
        self._made: tuple[int, bool, Listening] = (-1, False, Listening([(0, None)]))

    def at(self, now_us: int) -> Listening:
        if self._intervals is None:
            return self._made[2]
        begun = bisect_right(self._begins, now_us)
        going_on = begun > 0 and now_us < self._intervals[begun - 1][1]
        if self._made[:2] != (begun, going_on):
            known: list[tuple[int, int | None]] = list(self._intervals[:begun])
            if going_on:
                known[-1] = (known[-1][0], None)
            self._made = (begun, going_on, Listening(known))
        return self._made[2]

    def ends(self, after_us: int, before_us: int) -> list[int]:
        """Where listening ended within a span, its edges excluded."""
        first, beyond = bisect_right(self._ends, after_us), bisect_left(self._ends, before_us)
        return self._ends[first:beyond]


def _merged(intervals: Sequence[Interval]) -> list[Interval]:
    merged: list[Interval] = []
    for begin, end in sorted(intervals):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif end > begin:
            merged.append((begin, end))
    return merged


class Replay:
    """One set of rules over one stream. ``feed`` it in order of arrival, then ``finish``; ``episodes`` has them."""

    def __init__(
        self,
        rules: Sequence[Rule],
        facts: Sequence[DeviceFacts],
        metrics: Mapping[str, int],
        *,
        zone: ZoneInfo,
        ears: Ears,
        tick_us: int = SECOND_US,
    ) -> None:
        """``facts``: every device that is fed. Raises RuleError as the engine does."""
        self.episodes = Episodes(size=max((fact.device_id for fact in facts), default=0) + 1)
        self._ears = ears
        self._ticked: dict[int, int] = {}  # by engine: when it last saw the clock
        sorts: dict[type, list[Rule]] = {DetectionRule: [], SilenceRule: [], Rule: []}
        for rule in rules:
            sorts[type(rule) if type(rule) in sorts else Rule].append(rule)

        def engine(of: Sequence[Rule]) -> Engine | None:
            if not of:
                return None
            made = Engine(of, metrics, zone)
            made.know(facts)
            return made

        self._of_readings = engine(sorts[Rule])
        self._of_detections = engine(sorts[DetectionRule])
        self._of_silence = engine(sorts[SilenceRule])
        self._breaks = Breaks(sorts[Rule])
        self._judging = any(isinstance(rule, QualityRule | StuckRule) for rule in sorts[Rule])
        self._pauses = Pauses(sorts[SilenceRule], facts, metrics, tick_us)

    @property
    def tick_us(self) -> int:
        """How exactly silence was looked at in the end."""
        return self._pauses.tick_us

    def feed(self, readings: Readings, detections: Sequence[Detection] = ()) -> None:
        """What arrived next, both in order of arrival; at most 2^20 readings."""
        if self._of_readings is not None and len(readings):
            self._feed_readings(self._of_readings, readings)
        if self._of_detections is not None and detections:
            self._feed_detections(self._of_detections, detections)
        if self._of_silence is not None and (len(readings) or detections):
            self._feed_silence(self._of_silence, readings, detections)

    def finish(self, to_us: int) -> None:
        """The clock runs on to the end of the span."""
        for engine in (self._of_readings, self._of_detections, self._of_silence):
            if engine is not None:
                self._tick(engine, to_us)

    def _feed_readings(self, engine: Engine, readings: Readings) -> None:
        for begin, end in pairwise([0, *self._breaks.of(readings), len(readings)]):
            part = readings.part(begin, end)
            self._tick(engine, int(part.received_us[0]) - 1)
            self._decide(engine, part)

    def _feed_detections(self, engine: Engine, detections: Sequence[Detection]) -> None:
        breaks = [
            place
            for place, (before, event) in enumerate(pairwise(detections), start=1)
            if event.observed_us < before.observed_us or event.received_us - event.observed_us > SECOND_US
        ]
        for begin, end in pairwise([0, *breaks, len(detections)]):
            part = detections[begin:end]
            self._tick(engine, part[0].received_us - 1)
            self._commit(engine, engine.decide(NO_READINGS, part, now_us=part[-1].received_us))

    def _feed_silence(self, engine: Engine, readings: Readings, detections: Sequence[Detection]) -> None:
        alive = [event for event in detections if not event.quality & Quality.RETAINED]
        seen = np.array([event.received_us for event in alive], dtype=np.int64)
        devices = np.array([event.device_id for event in alive], dtype=np.int32)
        arrivals = [*readings.received_us[:1].tolist(), *seen[:1].tolist()]
        looks = self._pauses.looks(readings, devices, seen) if arrivals else []
        bounds = [min(arrivals), *looks, _EVER] if arrivals else []
        for begin_us, end_us in pairwise(bounds):
            self._tick(engine, begin_us - 1)
            begin, end = np.searchsorted(readings.received_us, [begin_us, end_us]).tolist()
            if end > begin:
                self._commit(engine, _decided(engine, readings.part(begin, end)))
            first, last = np.searchsorted(seen, [begin_us, end_us]).tolist()
            if last > first:
                engine.heard(devices[first:last], seen[first:last])

    def _tick(self, engine: Engine, now_us: int) -> None:
        """The clock at ``now_us``; what listening that ended before made due is due since then."""
        for at_us in [*self._ears.ends(self._ticked.get(id(engine), 0), now_us), now_us]:
            listened = self._ears.at(at_us)
            while len(self._commit(engine, engine.tick(now_us=at_us, listened=listened))) >= MAX_PER_TICK:
                pass  # a book writes down so many at once; the next tick takes the rest
        self._ticked[id(engine)] = now_us

    def _decide(self, engine: Engine, readings: Readings) -> None:
        if self._judging:  # what was marked then was marked by the rules of then
            readings = engine.judge(replace(readings, quality=readings.quality & ~np.int16(_JUDGED)))
        self._commit(engine, _decided(engine, readings))
        self.episodes.measure(readings)

    def _commit(self, engine: Engine, decision: Decision) -> list[Transition]:
        engine.accept(decision)
        self.episodes.apply(decision.transitions)
        return decision.transitions


def _decided(engine: Engine, readings: Readings) -> Decision:
    return engine.decide(readings, [], now_us=int(readings.received_us[-1]))


class Pauses:
    """When silence has to be looked at: at the ends of pauses that are as long as a silence."""

    def __init__(
        self,
        rules: Sequence[Rule],
        facts: Sequence[DeviceFacts],
        metrics: Mapping[str, int],
        tick_us: int,
    ) -> None:
        self._tick_us = tick_us
        self._looks = 0
        size = max((fact.device_id for fact in facts), default=0) + 1
        # By metric, None = whatever the device says: the shortest silence of each device, and when it last spoke.
        self._shortest: dict[int | None, NDArray[np.int64]] = {}
        self._last: dict[int | None, NDArray[np.int64]] = {}
        known = np.zeros(size, dtype=np.int64)
        known[[fact.device_id for fact in facts]] = [fact.known_from_us for fact in facts]
        for rule in rules:
            metric = metrics.get(rule.metric or "") if isinstance(rule, SilenceRule) else None
            shortest = self._shortest.setdefault(metric, np.full(size, _EVER, dtype=np.int64))
            for fact in facts:
                shortest[fact.device_id] = min(int(shortest[fact.device_id]), _least_us(rule, fact))
            self._last[metric] = known.copy()

    @property
    def tick_us(self) -> int:
        """Of the pauses that ended within it only the first was looked at."""
        return self._tick_us

    def looks(self, readings: Readings, devices: NDArray[np.int32], seen: NDArray[np.int64]) -> list[int]:
        """Instants, rising, after the first arrival; ``devices`` and ``seen`` are those of detections."""
        alive = (readings.quality & int(Quality.RETAINED)) == 0
        ends: list[NDArray[np.int64]] = []
        for metric, shortest in self._shortest.items():
            rows = alive if metric is None else alive & (readings.metric == metric)
            device, came = readings.device[rows], readings.received_us[rows]
            if metric is None and len(seen):
                order = np.argsort(np.concatenate((came, seen)), kind="stable")
                device = np.concatenate((device, devices))[order]
                came = np.concatenate((came, seen))[order]
            ends.append(_ends(device, came, shortest, self._last[metric]))
        ended = np.sort(np.concatenate(ends)) if ends else np.empty(0, dtype=np.int64)
        if len(ended):  # of each tick the first
            ended = ended[np.append(True, np.diff(ended // self._tick_us) != 0)]
            self._looks += len(ended)
        if self._looks > LOOKS_EACH:
            self._looks, self._tick_us = 0, 2 * self._tick_us
        looks = {*ended.tolist(), *(ended + 1).tolist()}
        first = min([*readings.received_us[:1].tolist(), *seen[:1].tolist()])
        return sorted(look for look in looks if look > first)


def _least_us(rule: Rule, fact: DeviceFacts) -> int:
    """The shortest silence of the device under the rule; a learned interval may be as short as the rule allows."""
    if not isinstance(rule, SilenceRule):
        return _EVER
    interval_us = rule.every_us or (fact.expected_interval_s or 0) * SECOND_US
    if rule.cadence == "learned":
        interval_us = min(interval_us or _EVER, rule.least_us)
    return max(int(rule.factor * interval_us), rule.min_us) if interval_us else _EVER


def _ends(
    device: NDArray[np.int32], came: NDArray[np.int64], shortest: NDArray[np.int64], last: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Arrivals that end a pause; ``last`` is moved on."""
    order = np.argsort(device, kind="stable")
    device, came = device[order], came[order]
    before = np.empty(len(came), dtype=np.int64)
    before[1:] = came[:-1]
    first = np.ones(len(came), dtype=np.bool_)
    first[1:] = device[1:] != device[:-1]
    before[first] = last[device[first]]
    final = np.append(first[1:], True)[: len(came)]
    last[device[final]] = np.maximum(last[device[final]], came[final])
    ended: NDArray[np.int64] = came[came - before >= shortest[device]]
    return ended


class Breaks:
    """Where a stream of readings has to be cut, because what follows depends on what was decided before it."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        delays = [
            delay
            for rule in rules
            for name in ("on_delay_us", "off_delay_us", "down_delay_us")
            if isinstance(delay := getattr(rule, name, 0), int) and delay > 0
        ]
        self._shortest_us, self._longest_us = (min(delays), max(delays)) if delays else (0, 0)
        self._folded: dict[int, NDArray[np.int64]] = {}  # by metric: newest observed by device

    def of(self, readings: Readings) -> list[int]:
        """Positions, rising, none at 0; in order of arrival as the readings are."""
        believed = np.flatnonzero((readings.quality & _UNFOLDED) == 0)
        if not len(believed):
            return []
        key = (readings.device[believed].astype(np.int64) << _METRIC_BITS) | readings.metric[believed]
        packed = np.sort((key << _POSITION_BITS) | believed)
        place, key = packed & ((1 << _POSITION_BITS) - 1), packed >> _POSITION_BITS
        observed, received = readings.observed_us[place], readings.received_us[place]
        first = np.ones(len(key), dtype=np.bool_)
        first[1:] = key[1:] != key[:-1]
        back = np.zeros(len(key), dtype=np.bool_)
        back[1:] = ~first[1:] & (observed[1:] <= observed[:-1])
        back[first] = observed[first] <= self._newest_of(key[first])
        breaks = set(place[self._delayed(first, observed, received)].tolist())
        if back.any():
            came = list(self._histories(key, observed, received, back))
            together = np.array(came, dtype=np.int64) - TOGETHER_US
            breaks |= set(np.searchsorted(readings.received_us, together, side="right").tolist())
        last = np.append(first[1:], True)
        self._remember(key[last], observed[last] if not back.any() else _highest(observed, first))
        return sorted(breaks - {0})

    def _delayed(
        self, first: NDArray[np.bool_], observed: NDArray[np.int64], received: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Readings during whose way the clock may have ended a delay that the reading itself would not have."""
        mask = np.zeros(len(first), dtype=np.bool_)
        if self._shortest_us:
            begun = np.maximum(observed[:-1], received[:-1])
            mask[1:] = (
                ~first[1:]
                & (received[1:] - begun >= self._shortest_us)
                & (observed[1:] - observed[:-1] < self._longest_us)
                & (received[1:] - observed[1:] > np.maximum(received[:-1] - observed[:-1], 0) + SECOND_US)
            )
        return mask

    def _histories(
        self,
        key: NDArray[np.int64],
        observed: NDArray[np.int64],
        received: NDArray[np.int64],
        back: NDArray[np.bool_],
    ) -> Iterator[int]:
        """Arrivals of readings that are not newer than all before them, of those that came together the first."""
        concerned = np.isin(key, np.unique(key[back]))
        known, newest_us, together_us = -1, 0, 0
        columns = (column[concerned].tolist() for column in (key, observed, received))
        for of, at_us, came_us in zip(*columns, strict=True):
            if of != known:
                known, together_us = of, -TOGETHER_US
                newest_us = int(self._newest_of(np.array([of], dtype=np.int64))[0])
            if at_us <= newest_us and came_us - together_us > TOGETHER_US:
                together_us = came_us
                yield came_us
            newest_us = max(newest_us, at_us)

    def _newest_of(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        newest = np.zeros(len(keys), dtype=np.int64)
        for of, rows, device in _by_metric(keys):
            newest[rows] = self._column(of, int(device.max()) + 1)[device]
        return newest

    def _remember(self, keys: NDArray[np.int64], observed: NDArray[np.int64]) -> None:
        for of, rows, device in _by_metric(keys):
            column = self._column(of, int(device.max()) + 1)
            column[device] = np.maximum(column[device], observed[rows])

    def _column(self, metric: int, size: int) -> NDArray[np.int64]:
        column = self._folded.get(metric, np.zeros(0, dtype=np.int64))
        if len(column) < size:
            longer = np.zeros(max(size, 2 * len(column)), dtype=np.int64)
            longer[: len(column)] = column
            self._folded[metric] = column = longer
        return column


def _by_metric(keys: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.bool_], NDArray[np.int64]]]:
    """Metric, its rows, their devices; keys are of one device and metric each."""
    metric, device = keys & ((1 << _METRIC_BITS) - 1), keys >> _METRIC_BITS
    rest = np.ones(len(keys), dtype=np.bool_)
    while rest.any():
        of = int(metric[rest.argmax()])
        rows = metric == of
        rest &= ~rows
        yield of, rows, device[rows]


def _highest(observed: NDArray[np.int64], first: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The newest of each group, in whatever order it came."""
    highest: NDArray[np.int64] = np.maximum.reduceat(observed, np.flatnonzero(first))
    return highest
