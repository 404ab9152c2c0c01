"""A back-test of rules: who is asked for what, in which order it is fed, and what comes out. Writes nothing.

Rules come in, with a span and devices; observations stream from the database, or from wherever a ``Source`` has
them, through ``rules.replay``; a ``Result`` goes out, of which ``command_centre.backtest_report`` makes words.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import numpy as np
import structlog
from psycopg import Connection

from city.errors import CityError
from city.observations import NO_READINGS, Detection, Readings, instant
from city.storage import areas, devices, history, ingest_sessions
from city.storage.database import connect
from city.storage.district import district_zone
from rules.detection import DetectionRule
from rules.engine import DeviceFacts
from rules.episodes import Episode
from rules.register import facts_of
from rules.replay import SECOND_US, Ears, Interval, Replay
from rules.rule import Rule
from rules.silence import SilenceRule

log = structlog.get_logger()

Block = tuple[Readings, Sequence[Detection]]  # in order of arrival, both of the same stretch of it
Progress = Callable[[int, int], None]  # rows done, rows expected


class BacktestError(CityError):
    """What was asked for cannot be replayed: field, value, remedy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Event time in microseconds since 1970 UTC, ``to_us`` excluded.

    ``start_us`` lies before ``from_us`` by the longest window of a rule, so that windows are full when it begins.
    """

    start_us: int
    from_us: int
    to_us: int

    @property
    def days(self) -> float:
        """Its length."""
        return (self.to_us - self.from_us) / (86_400 * SECOND_US)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ground:
    """What a source knows besides observations. ``listened`` None = always."""

    facts: Sequence[DeviceFacts]
    metrics: Mapping[str, int]
    zone: ZoneInfo
    listened: Sequence[Interval] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What the rules of a back-test look at."""

    span: Span
    metrics: frozenset[str] | None  # None = all: anything a device says ends its silence
    detections: bool
    device_ids: frozenset[int] | None = None  # of the ground's; None = all


class Source(Protocol):
    """Where observations come from."""

    def ground(self, span: Span) -> Ground:
        """The devices, as they are known now."""

    def estimate(self, wanted: Wanted, ground: Ground) -> int:
        """About how many readings ``blocks`` will give; 0 = nobody knows."""

    def blocks(self, wanted: Wanted, ground: Ground, *, sort: bool) -> Iterator[Block]:
        """Raises history.DisorderError when it has to be asked again with ``sort``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Where a back-test ends before its end."""

    rows: int = 2_000_000_000
    seconds: float = float("inf")


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """``episodes`` has those of each set of rules, in its order; ``readings`` by device id."""

    span: Span
    ground: Ground
    tick_s: float
    rows: int
    detections: int
    seconds: float
    readings: Mapping[int, int]
    episodes: tuple[Sequence[Episode], ...]


def span_of(rules: Sequence[Rule], from_us: int, to_us: int) -> Span:
    """Raises BacktestError for a span that ends before it begins."""
    if to_us <= from_us:
        raise BacktestError(f"to = {instant(to_us).isoformat()}: lies before from; exchange them")
    window_us = max((rule.window_us() for rule in rules), default=0)
    return Span(start_us=from_us - window_us, from_us=from_us, to_us=to_us)


def run(
    source: Source,
    rule_sets: Sequence[Sequence[Rule]],
    span: Span,
    *,
    tick_s: float | None = None,
    limits: Limits | None = None,
    progress: Progress = lambda done, expected: None,
) -> Result:
    """Each set of rules over the same observations, read once. Raises BacktestError, RuleError, DatabaseError."""
    ground = source.ground(span)
    rules = [rule for rule_set in rule_sets for rule in rule_set]
    silence = any(isinstance(rule, SilenceRule) for rule in rules)
    wanted = Wanted(
        span=span,
        metrics=None if silence else frozenset(metric for rule in rules for metric in rule.metrics()),
        detections=silence or any(isinstance(rule, DetectionRule) for rule in rules),
    )
    tick_us = round((tick_s or 1) * SECOND_US)
    attempt = _Attempt(source, rule_sets, wanted, ground, tick_us, limits or Limits())
    try:
        return attempt.run(progress, sort=False)
    except history.DisorderError:
        log.info("history is far out of order; the server sorts it")
        return attempt.run(progress, sort=True)


class _Attempt:
    """One way through the observations."""

    def __init__(
        self,
        source: Source,
        rule_sets: Sequence[Sequence[Rule]],
        wanted: Wanted,
        ground: Ground,
        tick_us: int,
        limits: Limits,
    ) -> None:
        self._source = source
        self._rule_sets = rule_sets
        self._wanted = wanted
        self._ground = ground
        self._tick_us = tick_us
        self._limits = limits
        self._began = time.monotonic()

    def run(self, progress: Progress, *, sort: bool) -> Result:
        wanted, ground = self._wanted, self._ground
        replays = [
            Replay(
                rules,
                ground.facts,
                ground.metrics,
                zone=ground.zone,
                ears=Ears(ground.listened),
                tick_us=self._tick_us,
            )
            for rules in self._rule_sets
        ]
        expected = self._source.estimate(wanted, ground)
        highest = max((fact.device_id for fact in ground.facts), default=0)
        counts = np.zeros(highest + 1, dtype=np.int64)
        rows = seen = 0
        end_us = wanted.span.to_us
        for readings, detections in self._source.blocks(wanted, ground, sort=sort):
            known = _known(readings, highest)
            for replay in replays:
                replay.feed(known, detections)
            np.add.at(counts, known.device, 1)
            rows, seen = rows + len(readings), seen + len(detections)
            arrivals = [
                *readings.received_us[-1:].tolist(),
                *(event.received_us for event in detections[-1:]),
            ]
            end_us = max([end_us, *arrivals])
            self._check(rows)
            progress(rows, max(expected, rows))
        for replay in replays:
            replay.finish(end_us)
        return Result(
            span=wanted.span,
            ground=ground,
            tick_s=max(replay.tick_us for replay in replays) / SECOND_US,
            rows=rows,
            detections=seen,
            seconds=time.monotonic() - self._began,
            readings={device: int(counts[device]) for device in np.flatnonzero(counts).tolist()},
            episodes=tuple(replay.episodes.all() for replay in replays),
        )

    def _check(self, rows: int) -> None:
        if rows > self._limits.rows:
            raise BacktestError(f"over {self._limits.rows} readings; take a shorter span or fewer devices")
        if time.monotonic() - self._began > self._limits.seconds:
            raise BacktestError(
                f"not done in {self._limits.seconds:.0f} s; take a shorter span, fewer devices, or the command line"
            )


def _known(readings: Readings, highest: int) -> Readings:
    """Without devices that were registered after the register was read."""
    if not len(readings) or int(readings.device.max()) <= highest:
        return readings
    return readings.take(readings.device <= highest)


# ── the database as a source ─────────────────────────────────────────────────────────────────────────


class Stored:
    """Observations of the database. Silence counts the time in which ingest listened, as it did then."""

    def __init__(
        self,
        url: str,
        *,
        devices: Sequence[str] | None = None,
        as_observed: bool = False,
        listened_always: bool = False,
    ) -> None:
        """``devices``: codes, None = all. ``as_observed``: as if each had arrived when it was observed."""
        self._url = url
        self._codes = None if devices is None else frozenset(devices)
        self._as_observed = as_observed
        self._always = listened_always or as_observed

    def ground(self, span: Span) -> Ground:
        """Raises BacktestError for a device that is not in the register."""
        with connect(self._url, application="city back-test", autocommit=True) as connection:
            register = devices.load_register(connection)
            everybody = facts_of(register, areas.load_places(connection))
            return Ground(
                facts=[self._then(fact, span) for fact in everybody if self._chosen(fact.code)],
                metrics={code: metric.id for code, metric in devices.load_metrics(connection).items()},
                zone=district_zone(connection),
                listened=None if self._always else _listened(connection, span),
            )

    def _chosen(self, code: str) -> bool:
        return self._codes is None or code in self._codes

    def _then(self, fact: DeviceFacts, span: Span) -> DeviceFacts:
        """Nothing was heard before the replay begins; a device that was registered later is known from then on."""
        known_from_us = span.start_us if self._as_observed else max(fact.known_from_us, span.start_us)
        return replace(fact, known_from_us=known_from_us, last_heard_us=None)

    def estimate(self, wanted: Wanted, ground: Ground) -> int:
        with connect(self._url, application="city back-test", autocommit=True) as connection:
            return history.estimate(connection, self._asked(wanted, ground))

    def blocks(self, wanted: Wanted, ground: Ground, *, sort: bool) -> Iterator[Block]:
        asked = self._asked(wanted, ground)
        events = history.read_detections(self._url, asked) if wanted.detections else iter(())
        return merged(history.read(self._url, asked, sort=sort), events)

    def _asked(self, wanted: Wanted, ground: Ground) -> history.Asked:
        self._refuse_unknown(ground)
        chosen = None if self._codes is None else [fact.device_id for fact in ground.facts]
        if wanted.device_ids is not None:
            chosen = sorted(wanted.device_ids)
        metrics = wanted.metrics
        return history.Asked(
            from_us=wanted.span.start_us,
            to_us=wanted.span.to_us,
            device_ids=chosen,
            metric_ids=None
            if metrics is None
            else [ground.metrics[code] for code in sorted(metrics) if code in ground.metrics],
            as_observed=self._as_observed,
        )

    def _refuse_unknown(self, ground: Ground) -> None:
        known = {fact.code for fact in ground.facts}
        for code in sorted(self._codes or ()):
            if code not in known:
                raise BacktestError(f"device = {code!r}: is not in the register; see GET /api/devices")


def _listened(connection: Connection[Any], span: Span) -> list[Interval]:
    """Recorded times of listening; arrivals may lie after the span, so all that follow belong to it."""
    return [(begin, end) for begin, end in ingest_sessions.intervals(connection, instant(span.start_us))]


def merged(readings: Iterator[Readings], events: Iterator[list[Detection]]) -> Iterator[Block]:
    """Two streams in order of arrival as one: with each block of readings the events that came until its end."""
    waiting: list[Detection] = []
    for block in readings:
        until_us = int(block.received_us[-1])
        while not waiting or waiting[-1].received_us <= until_us:
            more = next(events, None)
            if more is None:
                break
            waiting += more
        count = sum(event.received_us <= until_us for event in waiting)
        yield block, waiting[:count]
        waiting = waiting[count:]
    if waiting:
        yield NO_READINGS, waiting
    for more in events:
        yield NO_READINGS, more
