"""What must hold for every series: cut, ticked, retried, restarted or reordered in any way."""

import csv
import gzip
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.alarms import Raised
from city.observations import LATE_AFTER_US, Detection, Quality
from rules.condition import ThresholdRule
from rules.definitions import Rule
from rules.keys import StationLevel
from tests.unit.rules_feed import (
    LEVEL,
    SMOKE,
    UNTIMED,
    Desk,
    Row,
    at,
    batch,
    detection,
    facts,
    rule,
    threshold,
)

AT_ONCE = threshold("at-once", clear_at=60)
ON_DELAY = threshold("on-delay", clear_at=60, on_delay_s=7)
OFF_DELAY = threshold("off-delay", clear_at=60, off_delay_s=11)
BOTH = threshold("both", deadband=10, on_delay_s=5, off_delay_s=9)
COUNTED = threshold("counted", clear_at=60, n_of_m=[2, 3], off_delay_s=3)
LOW = threshold("low", direction="below", raise_at=30, deadband=20, off_delay_s=4)
WARNING = threshold("warning", kind="water", metric="level", raise_at="station.warning", deadband=5)
SEEN = rule(
    "seen",
    {
        "type": "detection",
        "name": "人",
        "name_en": "Person",
        "kind": "camera",
        "labels": ["person"],
        "clear_after_s": 8,
        "category": "public.person",
        "level": "blue",
    },
)


def looking_back(kind: str, **keys: object) -> Rule:
    common: dict[str, object] = {"type": kind, "name": "测试", "name_en": "Test", "metric": "smoke"}
    if kind != "quality":
        common |= {"kind": "smoke", "category": "flood.rising", "level": "yellow"}
    return rule(kind, common | keys)


RISING = looking_back(
    "rate",
    raise_at=60,
    per="minute",
    window_s=60,
    min_samples=3,
    noise=5,
    deadband=20,
    on_delay_s=3,
    off_delay_s=5,
)
SOON = looking_back("projection", to=95, within_s=60, window_s=90, min_samples=3, noise=1, off_delay_s=4)
STILL = looking_back("stuck", for_s=60, min_samples=3, tolerance=20)
POSSIBLE = looking_back("quality", least=15, max_step=25, step_s=5, confirm=2, sentinels=[51])
RULES = [AT_ONCE, ON_DELAY, OFF_DELAY, BOTH, COUNTED, LOW, WARNING, SEEN, RISING, SOON, STILL]
MARKED = [*RULES, POSSIBLE]  # what is marked does not count, so these are other alarms
DEVICES = [
    facts(1),
    facts(2),
    facts(3, "water", levels=(70.0, 80.0, None)),
    facts(4, "water"),
    facts(5, "camera"),
]
METRIC_OF = {1: SMOKE, 2: SMOKE, 3: LEVEL, 4: LEVEL}
# The latency of a device is its own and constant: sender 2 is late by the wire contract's meaning.
LATENCY = {1: 0, 2: 400, 3: 3, 4: 0, 5: 2}
END = 10_000


@dataclass(frozen=True)
class Arrival:
    """One observation or, with neither, a tick."""

    second: float
    row: Row | None = None
    event: Detection | None = None


VALUES = st.sampled_from([10.0, 29.0, 30.0, 45.0, 50.0, 51.0, 59.0, 60.0, 65.0, 69.0, 70.0, 75.0, 90.0])
STEPS = st.lists(
    st.tuples(st.integers(1, 5), st.integers(1, 6), VALUES, st.sampled_from(["new", "update", "end"])),
    max_size=60,
)


@st.composite
def series(draw: st.DrawFn) -> list[Arrival]:
    """In order of arrival; each device in order of time."""
    arrivals = []
    now = 0
    for device, pause, value, state in draw(STEPS):
        now += pause
        received = now + LATENCY[device]
        late = Quality.LATE if LATENCY[device] * 1_000_000 > LATE_AFTER_US else Quality.GOOD
        if device == 5:
            event = detection(5, now, "person", state=state, received=received)
            arrivals.append(Arrival(received, event=event))
        else:
            arrivals.append(Arrival(received, Row(device, now, value, METRIC_OF[device], late, received)))
    return sorted(arrivals, key=lambda arrival: arrival.second)


def play(
    arrivals: Sequence[Arrival],
    cuts: set[int],
    ticks: set[int],
    restarts: set[int],
    rules: Sequence[Rule] = tuple(RULES),
) -> Desk:
    """A cut, a tick or a restart may stand before each arrival; a tick comes after their commit."""
    desk = Desk(rules, DEVICES)
    waiting: list[Arrival] = []

    def flush() -> None:
        rows = [arrival.row for arrival in waiting if arrival.row is not None]
        events = [arrival.event for arrival in waiting if arrival.event is not None]
        if waiting:
            desk.read(*rows, seen=events)
        waiting.clear()

    for place, arrival in enumerate(arrivals):
        if place in cuts | ticks | restarts:
            flush()
        if place in ticks and place:
            desk.tick(arrivals[place - 1].second)
            desk.tick(arrival.second - 0.5)
        if place in restarts:
            desk.restart()
        waiting.append(arrival)
    flush()
    desk.tick(END)
    return desk


PLACES = st.sets(st.integers(0, 60))


@pytest.mark.parametrize("rules", [RULES, MARKED], ids=["believed", "marked"])
@UNTIMED
@given(arrivals=series(), cuts=PLACES, ticks=PLACES, restarts=PLACES)
def test_batches_ticks_and_restarts_never_change_the_alarms(
    rules: list[Rule], arrivals: list[Arrival], cuts: set[int], ticks: set[int], restarts: set[int]
) -> None:
    one_by_one = play(arrivals, set(range(len(arrivals))), set(), set(), rules)
    cut_anyhow = play(arrivals, cuts, ticks, restarts, rules)
    assert cut_anyhow.alarms.history() == one_by_one.alarms.history()
    assert cut_anyhow.standing_states() == one_by_one.standing_states()
    assert cut_anyhow.stored == one_by_one.stored  # the same marks


@pytest.mark.parametrize("rules", [RULES, MARKED], ids=["believed", "marked"])
@UNTIMED
@given(arrivals=series())
def test_one_batch_equals_one_by_one_before_any_tick(rules: list[Rule], arrivals: list[Arrival]) -> None:
    rows = [arrival.row for arrival in arrivals if arrival.row is not None]
    together, apart = Desk(rules, DEVICES), Desk(rules, DEVICES)
    if rows:
        together.read(*reversed(rows))
    for row in rows:
        apart.read(row)
    assert together.alarms.history() == apart.alarms.history()
    assert together.standing_states() == apart.standing_states()
    assert together.stored == apart.stored


@UNTIMED
@given(series(), PLACES)
def test_deciding_again_gives_the_same_answer(arrivals: list[Arrival], cuts: set[int]) -> None:
    desk = Desk(MARKED, DEVICES)
    rows = [arrival.row for arrival in arrivals if arrival.row is not None]
    bounds = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    for begin, end in pairwise(bounds):
        desk.engine.judge(batch(rows[begin:end]))
        readings = desk.engine.judge(batch(rows[begin:end]))
        desk.engine.decide(readings, [], now_us=at(END))  # the transaction failed
        assert (desk.engine.judge(batch(rows[begin:end])).quality == readings.quality).all()
        failed = desk.engine.decide(readings, [], now_us=at(END))
        again = desk.engine.decide(readings, [], now_us=at(END))
        assert failed.transitions == again.transitions
        assert failed.states == again.states
        desk.commit(again)


def over(the_rule: ThresholdRule, value: float) -> bool:
    return value >= 70 if the_rule.direction == "above" else value <= 30


def past_clear(the_rule: ThresholdRule, value: float) -> bool:
    return value < 60 if the_rule.direction == "above" else value > 50


@UNTIMED
@given(series())
def test_every_alarm_rests_on_a_crossing_and_every_crossing_is_in_an_alarm(arrivals: list[Arrival]) -> None:
    desk = play(arrivals, set(), set(), set())
    for the_rule in (AT_ONCE, ON_DELAY, OFF_DELAY, BOTH, LOW):
        for device in (1, 2):
            readings = {
                at(arrival.row.t): arrival.row.value
                for arrival in arrivals
                if arrival.row is not None and arrival.row.device == device
            }
            episodes = desk.alarms.of(the_rule.rule_id, device)
            for episode in episodes:
                began = episode.raised_us - the_rule.on_delay_us
                assert over(the_rule, readings[began])
                meanwhile = [value for t, value in readings.items() if began <= t < episode.raised_us]
                assert not any(past_clear(the_rule, value) for value in meanwhile)
                if episode.cleared_us is not None:
                    ended = episode.cleared_us - the_rule.off_delay_us
                    assert past_clear(the_rule, readings[ended])
                    after = [value for t, value in readings.items() if ended <= t < episode.cleared_us]
                    assert not any(over(the_rule, value) for value in after)
            if the_rule.on_delay_us == 0:
                for t, value in readings.items():
                    if over(the_rule, value):
                        assert any(
                            episode.raised_us <= t and (episode.cleared_us is None or t <= episode.cleared_us)
                            for episode in episodes
                        )


@UNTIMED
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 40), VALUES), max_size=40), PLACES)
def test_in_any_order_there_is_one_open_episode_and_the_newest_reading_decides(
    steps: list[tuple[int, int, float]], cuts: set[int]
) -> None:
    """The alarm table's model refuses a second open episode and an end without one."""
    no_deadband = threshold("plain")
    desk = Desk([*RULES, no_deadband], DEVICES)
    rows = list(
        {(device, t): Row(device, t, value, METRIC_OF[device]) for device, t, value in steps}.values()
    )
    bounds = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    for begin, end in pairwise(bounds):
        desk.read(*rows[begin:end])
    for device in (1, 2):
        own = [row for row in rows if row.device == device]
        if own:
            newest = max(own, key=lambda row: row.t)
            standing = [row for row in desk.alarms.of("plain", device) if row.cleared_us is None]
            assert bool(standing) == (newest.value >= 70)


@UNTIMED
@given(st.lists(st.tuples(st.integers(0, 999), VALUES), min_size=1, max_size=20), VALUES)
def test_history_pages_nobody(past: list[tuple[int, float]], newest: float) -> None:
    desk = Desk(RULES, DEVICES)
    desk.read(Row(1, 1000, newest))
    before = desk.standing_states()
    for t, value in past:
        transitions = desk.read(Row(1, t, value, quality=Quality.LATE, received=2000))
        raised = [row for row in transitions if isinstance(row, Raised)]
        assert all(row.cleared_us is not None and row.cleared_us <= at(1000) for row in raised)
    after = {
        key: {name: value for name, value in state.items() if not name.startswith("past_")}
        for key, state in desk.standing_states().items()
    }
    assert {key: state for key, state in after.items() if state} == before


# ── the recorded flood ──────────────────────────────────────────────────────────────────────────────────


def recorded(name: str) -> Path:
    shared = Path(os.environ.get("CITY_SHARED", Path(__file__).resolve().parents[3] / "shared"))
    path = shared / "data" / name
    if not path.exists():
        pytest.skip(f"the recorded data are not here: {path} (CITY_SHARED names their folder)")
    return path


def han(name: str, begin: str, end: str) -> list[tuple[float, float]]:
    """(second after the beginning, metres) of a stretch of the Han's record."""
    start = datetime.fromisoformat(begin)
    with gzip.open(recorded(f"water/{name}"), "rt", encoding="utf-8") as file:
        return [
            ((datetime.fromisoformat(row["time"]) - start).total_seconds(), float(row["level_m"]))
            for row in csv.DictReader(file)
            if begin <= row["time"] < end and row["level_m"]
        ]


STATION = facts(3, "water", levels=(6.0, 7.0, 10.0))
LEVELS = [
    replace(
        WARNING,
        rule_id=f"water-{name}",
        family=f"water-{name}",
        raise_at=name,
        deadband=0.05,
        off_delay_us=600_000_000,
    )
    for name in get_args(StationLevel)
]


def test_the_july_2013_flood_is_a_few_episodes_and_each_rests_on_the_record() -> None:
    flood = han("han_cheongdam_2012_2015.csv.gz", "2013-07-10T00:00:00Z", "2013-07-31T00:00:00Z")
    desk = Desk(LEVELS, [STATION])
    for begin in range(0, len(flood), 7):
        desk.read(*(Row(3, t, value, LEVEL) for t, value in flood[begin : begin + 7]))
    for name, level in (("warning", 6.0), ("guaranteed", 7.0), ("highest", 10.0)):
        crossings = sum(before[1] < level <= after[1] for before, after in pairwise(flood))
        episodes = desk.alarms.seconds(f"water-{name}", 3)
        assert 1 <= len(episodes) <= crossings
        assert all(cleared is not None for _, cleared, _ in episodes)
        assert sum(1 + repeats for _, _, repeats in episodes) >= crossings
        for t, value in flood:
            inside = any(raised <= t <= (cleared or t) for raised, cleared, _ in episodes)
            assert inside or value < level


def test_a_quiet_season_raises_nothing() -> None:
    quiet = han("han_cheongdam_2012_2015.csv.gz", "2014-06-01T00:00:00Z", "2014-07-01T00:00:00Z")
    desk = Desk(LEVELS, [STATION])
    desk.read(*(Row(3, t, value, LEVEL) for t, value in quiet))
    assert len(quiet) > 4000
    assert desk.alarms.episodes == {}
