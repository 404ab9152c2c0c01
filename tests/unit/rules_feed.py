"""Shared by the tests of the rules: batches in seconds, and the alarms table as a model that refuses."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

from city.alarms import Cleared, LevelChanged, Raised, Repeated, Transition
from city.observations import NO_SEQ, Detection, Quality, Readings
from rules.condition import ThresholdRule
from rules.definitions import Rule, parse
from rules.engine import Decision, DeviceFacts, Engine, Listening, Lookback, StateRow
from rules.rows import UNDECIDABLE
from rules.writing import rule_to_toml

START_US = 1_763_750_400_000_000
SMOKE, LEVEL, BATTERY, CONTAMINATION, SELF_TEST = 1, 2, 3, 4, 5
METRICS = {
    "smoke": SMOKE,
    "level": LEVEL,
    "battery": BATTERY,
    "contamination": CONTAMINATION,
    "self_test": SELF_TEST,
}
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines may be busy
NOBODYS = int(Quality.CLOCK_AHEAD | Quality.RETAINED)
ALWAYS = Listening([(0, None)])
LEVELS = ("blue", "yellow", "orange", "red")


def at(second: float) -> int:
    return START_US + round(second * 1_000_000)


def second(instant_us: int) -> float:
    return (instant_us - START_US) / 1_000_000


@dataclass(frozen=True)
class Row:
    device: int
    t: float
    value: float
    metric: int = SMOKE
    quality: Quality = Quality.GOOD
    received: float | None = None

    @property
    def arrival(self) -> float:
        return self.t if self.received is None else self.received


def batch(rows: Sequence[Row]) -> Readings:
    return Readings(
        device=np.array([row.device for row in rows], dtype=np.int32),
        metric=np.array([row.metric for row in rows], dtype=np.int16),
        observed_us=np.array([at(row.t) for row in rows], dtype=np.int64),
        received_us=np.array([at(row.arrival) for row in rows], dtype=np.int64),
        value=np.array([row.value for row in rows], dtype=np.float64),
        seq=np.full(len(rows), NO_SEQ, dtype=np.int64),
        quality=np.array([int(row.quality) for row in rows], dtype=np.int16),
    )


def facts(
    device_id: int,
    kind: str = "smoke",
    *,
    interval: int | None = None,
    in_service: bool = True,
    levels: tuple[float | None, float | None, float | None] = (None, None, None),
    known_from: float = 0,
    last_heard: float | None = None,
) -> DeviceFacts:
    return DeviceFacts(
        device_id=device_id,
        kind=kind,
        expected_interval_s=interval,
        in_service=in_service,
        warning_m=levels[0],
        guaranteed_m=levels[1],
        highest_m=levels[2],
        known_from_us=at(known_from),
        last_heard_us=None if last_heard is None else at(last_heard),
    )


def threshold(rule_id: str = "smoke-high", **keys: object) -> ThresholdRule:
    settings: dict[str, object] = {
        "type": "threshold",
        "name": "测试",
        "name_en": "Test",
        "kind": "smoke",
        "metric": "smoke",
        "raise_at": 70,
        "category": "fire.smoke",
        "level": "red",
    }
    made = rule(rule_id, settings | keys)
    assert isinstance(made, ThresholdRule)
    return made


def rule(rule_id: str, keys: dict[str, object]) -> Rule:
    return parse(rule_to_toml(rule_id, keys), "test")[0]


def detection(device_id: int, t: float, label: str = "fire", **keys: object) -> Detection:
    received = keys.pop("received", t)
    assert isinstance(received, int | float)
    settings: dict[str, object] = {
        "event_key": f"{device_id}-{t}",
        "state": "new",
        "score": 0.9,
        "zone": "",
        "url": "",
        "seq": NO_SEQ,
        "quality": Quality.GOOD,
    }
    return Detection(
        device_id=device_id,
        label=label,
        observed_us=at(t),
        received_us=at(received),
        **(settings | keys),  # type: ignore[arg-type]  # the defaults above have the fields' types
    )


@dataclass
class Episode:
    raised_us: int
    cleared_us: int | None = None
    repeats: int = 0
    late: bool = False
    paged: bool = True
    suppressed: str | None = None
    levels: list[tuple[int, str]] = field(
        default_factory=list
    )  # since when which, of an episode that was open


@dataclass
class AlarmTable:
    """Applies transitions as the database does; a second open episode or an end without one fails."""

    episodes: dict[tuple[str, int, int | None], list[Episode]] = field(default_factory=dict)

    def apply(self, transitions: Iterable[Transition]) -> None:
        for transition in transitions:
            key = transition.rule_id, transition.device_id, transition.metric_id
            rows = self.episodes.setdefault(key, [])
            json.dumps(transition.evidence, allow_nan=False)
            standing = [row for row in rows if row.cleared_us is None]
            match transition:
                case Raised(cleared_us=None) if standing and standing[0].suppressed:
                    assert transition.suppressed is None, f"{key} is suppressed twice"
                    assert transition.raised_us == standing[0].raised_us
                    standing[0].suppressed = None
                case Raised(cleared_us=None):
                    assert not standing, f"{key} is open twice"
                    began = (transition.raised_us, transition.level)
                    episode = Episode(transition.raised_us, late=transition.late, levels=[began])
                    episode.suppressed = transition.suppressed
                    rows.append(episode)
                case Raised():
                    assert transition.cleared_us is not None
                    assert transition.cleared_us >= transition.raised_us
                    repeats = transition.evidence.get("repeats", 0)
                    assert isinstance(repeats, int)
                    rows.append(
                        Episode(
                            transition.raised_us, transition.cleared_us, repeats, transition.late, paged=False
                        )
                    )
                case Repeated():
                    assert len(standing) == 1, f"{key} repeats without an open episode"
                    assert transition.count > 0
                    standing[0].repeats += transition.count
                case LevelChanged():
                    assert len(standing) == 1, f"{key} changes level without an open episode"
                    before = standing[0].levels[-1]
                    assert transition.level != before[1], f"{key} is {transition.level} already"
                    risen = LEVELS.index(transition.level) > LEVELS.index(before[1])
                    assert transition.risen == risen
                    assert transition.changed_us >= before[0]
                    standing[0].levels.append((transition.changed_us, transition.level))
                case Cleared():
                    assert len(standing) == 1, f"{key} clears without an open episode"
                    assert transition.cleared_us >= standing[0].raised_us
                    standing[0].cleared_us = transition.cleared_us

    def of(self, rule_id: str, device_id: int) -> list[Episode]:
        found: list[Episode] = []
        for (rule_of, device_of, _), rows in self.episodes.items():
            if (rule_of, device_of) == (rule_id, device_id):
                found += rows
        return found

    def seconds(self, rule_id: str, device_id: int) -> list[tuple[float, float | None, int]]:
        """(raised, cleared, repeats) of each episode."""
        return [
            (second(row.raised_us), None if row.cleared_us is None else second(row.cleared_us), row.repeats)
            for row in self.of(rule_id, device_id)
        ]

    def history(self) -> dict[tuple[str, int, int | None], list[tuple[int, int | None, int, bool]]]:
        """All episodes, without the difference between recorded at once and raised, then cleared."""
        return {
            key: sorted((row.raised_us, row.cleared_us, row.repeats, row.late) for row in rows)
            for key, rows in self.episodes.items()
            if rows
        }


class Desk:
    """An engine with its two tables, as ingest uses it: decide, commit, accept."""

    def __init__(self, rules: Sequence[Rule], devices: Sequence[DeviceFacts]) -> None:
        self.rules = rules
        self.devices = devices
        self.alarms = AlarmTable()
        self.states: dict[tuple[str, int], StateRow] = {}
        self.newest: dict[tuple[int, int], int] = {}
        self.stored: dict[tuple[int, int, int], tuple[int, float, int]] = {}  # arrival, value, quality
        self.engine = self.new_engine()
        self.engine.know(devices)

    def new_engine(self) -> Engine:
        return Engine(self.rules, METRICS)

    def heard(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Who was ever heard, and when last."""
        heard = self.engine.heard_us
        known = np.flatnonzero(heard)
        return known.astype(np.int32), heard[known]

    def commit(self, decision: Decision) -> list[Transition]:
        self.alarms.apply(decision.transitions)
        for row in decision.states:
            kept = json.loads(json.dumps(row.state))
            self.states[row.rule_id, row.device_id] = replace(row, state=kept)
        self.engine.accept(decision)
        return decision.transitions

    def read(self, *rows: Row, seen: Sequence[Detection] = ()) -> list[Transition]:
        now = max([*(row.arrival for row in rows), *(second(event.received_us) for event in seen)])
        readings = self.engine.judge(batch(rows))
        for row, quality in zip(rows, readings.quality.tolist(), strict=True):
            self.stored.setdefault((row.device, row.metric, at(row.t)), (at(row.arrival), row.value, quality))
            if not quality & UNDECIDABLE:
                key = row.device, row.metric
                self.newest[key] = max(self.newest.get(key, 0), at(row.t))
        return self.commit(self.engine.decide(readings, seen, now_us=at(now)))

    def tick(self, t: float, listened: Listening = ALWAYS) -> list[Transition]:
        return self.commit(self.engine.tick(now_us=at(t), listened=listened))

    def restart(self) -> None:
        """A new process: everything again from the tables."""
        heard = self.heard()
        self.engine = self.new_engine()
        self.engine.know(self.devices)
        self.engine.load(self.states.values())
        keys = list(self.newest)
        self.engine.recall(
            np.array([device for device, _ in keys], dtype=np.int32),
            np.array([metric for _, metric in keys], dtype=np.int16),
            np.array([self.newest[key] for key in keys], dtype=np.int64),
        )
        for lookback in self.engine.lookbacks():
            self.engine.remember(lookback, self._window(lookback))
        self.engine.heard(*heard)

    def _window(self, lookback: Lookback) -> Readings:
        """As the database answers it: by device and time, from each one's newest so far back."""
        devices = set(lookback.device_ids.tolist())
        known = [
            (device, observed, *rest)
            for (device, metric, observed), rest in self.stored.items()
            if metric == lookback.metric_id and device in devices and not rest[2] & NOBODYS
        ]
        newest: dict[int, int] = {}
        for device, observed, *_ in known:
            newest[device] = max(newest.get(device, 0), observed)
        rows = sorted(row for row in known if row[1] > newest[row[0]] - lookback.window_us)
        device, observed, received, value, quality = zip(*rows, strict=True) if rows else ((),) * 5
        return Readings(
            device=np.array(device, dtype=np.int32),
            metric=np.full(len(rows), lookback.metric_id, dtype=np.int16),
            observed_us=np.array(observed, dtype=np.int64),
            received_us=np.array(received, dtype=np.int64),
            value=np.array(value, dtype=np.float64),
            seq=np.full(len(rows), NO_SEQ, dtype=np.int64),
            quality=np.array(quality, dtype=np.int16),
        )

    def standing_states(self) -> dict[tuple[str, int], dict[str, object]]:
        return {key: dict(row.state) for key, row in self.states.items() if row.state}


def read_anyhow(desk: Desk, rows: Sequence[Row], cuts: set[int], ticks: set[int], restarts: set[int]) -> None:
    """All rows in order, cut into batches, ticked and restarted before these places."""
    waiting: list[Row] = []
    for place, row in enumerate(rows):
        if place in cuts | ticks | restarts and waiting:
            desk.read(*waiting)
            waiting = []
        if place in ticks and place:
            desk.tick(row.arrival - 0.5)
        if place in restarts:
            desk.restart()
        waiting.append(row)
    if waiting:
        desk.read(*waiting)
