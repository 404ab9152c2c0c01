"""Ladders: one episode whose level follows the value, fast up and slow down."""

import csv
import gzip
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.alarms import Cleared, LevelChanged, Raised, Repeated, Transition
from city.observations import Quality
from rules.definitions import RuleError
from rules.ladder import LadderRule
from tests.unit.rules_feed import (
    LEVEL,
    LEVELS,
    UNTIMED,
    Desk,
    Row,
    at,
    facts,
    read_anyhow,
    rule,
    second,
    threshold,
)

STEPS: list[dict[str, object]] = [
    {"level": "blue", "at": 10, "class": "C"},
    {"level": "yellow", "at": 20, "class": "B"},
    {"level": "orange", "at": 30},
    {"level": "red", "at": 40, "class": "A"},
]
KEYS: dict[str, object] = {
    "type": "ladder",
    "name": "水位分级",
    "name_en": "Water level by steps",
    "kind": "water",
    "metric": "level",
    "deadband": 2,
    "down_delay_s": 100,
    "category": "flood.level",
    "class": "B",
    "step": STEPS,
}
LADDER = rule("water-level", KEYS)
DEVICES = [facts(3, "water", levels=(10.0, 20.0, 40.0)), facts(4, "water")]


@pytest.fixture
def desk() -> Desk:
    return Desk([LADDER], DEVICES)


def read(desk: Desk, *values: tuple[float, float], device: int = 3) -> list[Transition]:
    return desk.read(*(Row(device, t, value, LEVEL) for t, value in values))


def test_a_jump_is_one_alarm_at_the_highest_step_reached(desk: Desk) -> None:
    (raised,) = read(desk, (5, 35.0))
    assert isinstance(raised, Raised)
    assert (raised.level, raised.incident_class, second(raised.raised_us)) == ("orange", "B", 5)
    assert raised.evidence["level_step"] == 3
    assert raised.evidence["raise_at"] == 30


def test_it_rises_at_once_and_says_by_which_step(desk: Desk) -> None:
    read(desk, (0, 12.0))
    (risen,) = read(desk, (10, 41.0))
    assert isinstance(risen, LevelChanged)
    assert (risen.level, risen.incident_class, risen.risen, second(risen.changed_us)) == (
        "red",
        "A",
        True,
        10,
    )
    assert {
        "level_step": 4,
        "value": 41.0,
        "raise_at": 40.0,
        "level": "red",
    }.items() <= risen.evidence.items()


def test_it_falls_when_the_step_was_left_for_the_down_delay(desk: Desk) -> None:
    read(desk, (0, 35.0), (10, 25.0))
    assert read(desk, (109, 25.0)) == []
    (fallen,) = read(desk, (111, 25.0))
    assert isinstance(fallen, LevelChanged)
    assert (fallen.level, fallen.risen, second(fallen.changed_us)) == ("yellow", False, 110)
    assert fallen.evidence["value"] == 25.0
    (cleared,) = read(desk, (120, 5.0), (221, 5.0))
    assert isinstance(cleared, Cleared)
    assert second(cleared.cleared_us) == 220


def test_it_falls_step_by_step_as_each_was_left(desk: Desk) -> None:
    story = read(desk, (0, 45.0), (10, 25.0), (50, 15.0), (60, 15.0), (500, 15.0))
    assert [(type(row), getattr(row, "level", "")) for row in story] == [
        (Raised, "red"),
        (LevelChanged, "yellow"),
        (LevelChanged, "blue"),
    ]
    assert [second(row.changed_us) for row in story if isinstance(row, LevelChanged)] == [110, 150]


def test_the_deadband_holds_a_step(desk: Desk) -> None:
    read(desk, (0, 20.0))
    assert read(desk, (10, 18.0), (500, 18.5)) == []
    assert desk.tick(1000) == []


def test_flapping_between_two_steps_makes_no_chatter(desk: Desk) -> None:
    read(desk, (0, 19.0))
    story = read(desk, *((10 * n, 20.5 if n % 2 else 17.0) for n in range(1, 60)))
    assert [type(row) for row in story] == [LevelChanged, Repeated]
    assert desk.alarms.of("water-level", 3)[0].repeats == 29


def test_the_clock_ends_what_the_device_leaves_open(desk: Desk) -> None:
    read(desk, (0, 45.0), (10, 15.0))
    desk.restart()
    assert desk.tick(109) == []
    (fallen,) = desk.tick(110)
    assert isinstance(fallen, LevelChanged)
    assert fallen.level == "blue"
    desk.restart()
    assert desk.tick(2000) == []


def test_an_on_delay_holds_each_step_back() -> None:
    desk = Desk([rule("slow", KEYS | {"on_delay_s": 30})], DEVICES)
    assert read(desk, (0, 25.0), (20, 45.0)) == []
    story = desk.tick(30) + desk.tick(50)
    assert [(type(row), getattr(row, "level", "")) for row in story] == [
        (Raised, "yellow"),
        (LevelChanged, "red"),
    ]


def test_station_levels_with_an_offset_and_unset_ones_are_skipped() -> None:
    steps = [
        {"level": "blue", "at": "station.warning", "offset": -1.5},
        {"level": "yellow", "at": "station.warning"},
        {"level": "orange", "at": "station.guaranteed"},
        {"level": "red", "at": "station.highest"},
    ]
    desk = Desk([rule("water-level", KEYS | {"step": steps, "deadband": 0.1})], DEVICES)
    (raised,) = read(desk, (0, 8.5))
    assert isinstance(raised, Raised)
    assert (raised.level, raised.evidence["raise_at"], raised.evidence["offset"]) == ("blue", 8.5, -1.5)
    assert raised.evidence["limit"] == "station.warning"
    assert read(desk, (0, 99.0), device=4) == []  # no levels at all
    desk.engine.know([facts(3, "water", levels=(10.0, None, 40.0))])
    (risen,) = read(desk, (1, 25.0))
    assert isinstance(risen, LevelChanged)
    assert risen.level == "yellow"


def test_a_station_that_loses_its_levels_clears() -> None:
    steps = [{"level": "blue", "at": "station.warning"}, {"level": "red", "at": "station.highest"}]
    desk = Desk([rule("water-level", KEYS | {"step": steps})], DEVICES)
    read(desk, (0, 45.0))
    desk.engine.know([facts(3, "water", levels=(10.0, None, None))])
    (fallen,) = desk.tick(10)
    assert isinstance(fallen, LevelChanged)
    assert (fallen.level, fallen.evidence["reason"]) == ("blue", "rule no longer applies to this device")
    desk.engine.know([facts(3, "water")])
    assert [type(row) for row in desk.tick(20)] == [Cleared]
    assert desk.standing_states() == {}


def test_downwards() -> None:
    steps = [{"level": "blue", "at": 30}, {"level": "red", "at": 10}]
    desk = Desk([rule("battery", KEYS | {"direction": "below", "step": steps})], DEVICES)
    (raised,) = read(desk, (0, 25.0))
    assert isinstance(raised, Raised)
    assert raised.level == "blue"
    (risen,) = read(desk, (1, 10.0))
    assert isinstance(risen, LevelChanged)
    assert risen.level == "red"
    assert read(desk, (2, 12.0)) == []
    assert read(desk, (3, 12.1), (103, 12.1))[0].evidence["value"] == 12.1


def test_history_is_one_record_at_the_highest_level_and_pages_nobody(desk: Desk) -> None:
    read(desk, (1000, 5.0))
    (record,) = read(desk, (10, 12.0), (20, 45.0), (30, 12.0), (40, 5.0))
    assert isinstance(record, Raised)
    assert (record.level, second(record.raised_us), second(record.cleared_us or 0)) == ("red", 10, 40)
    assert desk.standing_states()["water-level", 3].get("level") is None


def test_history_inside_the_standing_episode_is_a_repeat(desk: Desk) -> None:
    read(desk, (0, 12.0))
    read(desk, (100, 12.0))
    (repeat,) = read(desk, (50, 45.0))
    assert isinstance(repeat, Repeated)
    assert repeat.evidence["value"] == 45.0


def test_a_late_episode_that_is_over_is_one_record(desk: Desk) -> None:
    late = [
        Row(3, t, value, LEVEL, Quality.LATE, received=9000)
        for t, value in ((0, 12.0), (10, 45.0), (20, 5.0), (300, 5.0))
    ]
    (record,) = desk.read(*late)
    assert isinstance(record, Raised)
    assert (record.level, record.incident_class, second(record.cleared_us or 0)) == ("red", "A", 120)


def test_a_rule_with_other_steps_restates_the_level_that_stands(desk: Desk) -> None:
    read(desk, (0, 25.0))
    desk.rules = [rule("water-level", KEYS | {"step": [STEPS[0], {"level": "orange", "at": 20}]})]
    desk.restart()
    (restated,) = desk.tick(10)
    assert isinstance(restated, LevelChanged)
    assert (restated.level, restated.evidence["reason"]) == ("orange", "the rule's steps changed")
    desk.restart()
    assert desk.tick(20) == []


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"step": []}, ["step", "[[rule.step]]"]),
        ({"step": [STEPS[1], STEPS[0]]}, ["step 2", "level = 'blue'", "above yellow"]),
        (
            {"step": [STEPS[0], {"level": "red", "at": 10}]},
            ["step 2", "at = 10", "above the step before it, 10"],
        ),
        ({"direction": "below"}, ["step 2", "at = 20", "below"]),
        (
            {"step": [{"level": "blue", "at": "station.highest"}, {"level": "red", "at": "station.warning"}]},
            ["at = 'station.warning'", "station.highest"],
        ),
        (
            {
                "step": [
                    {"level": "blue", "at": "station.warning"},
                    {"level": "red", "at": "station.warning", "offset": -1},
                ]
            },
            ["at = 'station.warning'"],
        ),
        ({"step": [{"level": "blue", "at": 3, "offset": 1}]}, ["offset = 1", "station"]),
        ({"step": [{"level": "blue", "at": 3, "height": 1}]}, ["height = 1", "not a key"]),
        ({"level": "red"}, ["level = 'red'", "not a key"]),
    ],
)
def test_a_mistake_is_named(changes: dict[str, object], names: list[str]) -> None:
    with pytest.raises(RuleError) as caught:
        rule("water-level", KEYS | changes)
    for name in names:
        assert name in str(caught.value)


# ── what must hold for every series ───────────────────────────────────────────────────────────────────────

VALUES = st.sampled_from([5.0, 8.0, 9.0, 10.0, 12.0, 18.0, 19.0, 20.0, 25.0, 29.0, 30.0, 38.0, 40.0, 50.0])
SERIES = st.lists(st.tuples(st.integers(1, 60), VALUES), max_size=40)
PLACES = st.sets(st.integers(0, 40))


def levels_over_time(desk: Desk) -> list[tuple[int, str]]:
    """Each change of level, with "" when nothing stands."""
    result: list[tuple[int, str]] = []
    for episode in desk.alarms.of("water-level", 3):
        result += episode.levels
        if episode.cleared_us is not None:
            result.append((episode.cleared_us, ""))
    return result


@UNTIMED
@given(SERIES, st.integers(0, 1))
def test_the_level_is_the_highest_of_as_many_thresholds(steps: list[tuple[int, float]], delayed: int) -> None:
    delays = {"on_delay_s": 20 * delayed}
    ladder = rule("water-level", KEYS | delays)
    alone = [
        threshold(
            str(step["level"]),
            kind="water",
            metric="level",
            raise_at=step["at"],
            deadband=2,
            off_delay_s=100,
            **delays,
        )
        for step in STEPS
    ]
    desk = Desk([ladder, *alone], DEVICES)
    now = 0
    for pause, value in steps:
        now += pause
        desk.read(Row(3, now, value, LEVEL))
    desk.tick(now + 1000)
    said = dict(levels_over_time(desk))
    for instant in range(0, now + 1000, 1):
        moment = at(instant)
        expected = [
            level
            for level in LEVELS
            for episode in desk.alarms.of(level, 3)
            if episode.raised_us <= moment < (episode.cleared_us or moment + 1)
        ]
        before = [since for since in said if since <= moment]
        assert (said[max(before)] if before else "") == (expected[-1] if expected else "")


@UNTIMED
@given(SERIES, PLACES, PLACES, PLACES)
def test_batches_ticks_and_restarts_change_nothing(
    steps: list[tuple[int, float]], cuts: set[int], ticks: set[int], restarts: set[int]
) -> None:
    ladders = [LADDER, rule("slow", KEYS | {"on_delay_s": 15})]
    one_by_one, anyhow = Desk(ladders, DEVICES), Desk(ladders, DEVICES)
    rows, now = [], 0
    for pause, value in steps:
        now += pause
        rows.append(Row(3, now, value, LEVEL, received=now + 7))
    for row in rows:
        one_by_one.read(row)
    read_anyhow(anyhow, rows, cuts, ticks, restarts)
    one_by_one.tick(now + 5000)
    anyhow.tick(now + 5000)
    assert anyhow.alarms.history() == one_by_one.alarms.history()
    assert levels_over_time(anyhow) == levels_over_time(one_by_one)
    assert anyhow.standing_states() == one_by_one.standing_states()


@UNTIMED
@given(st.lists(st.tuples(st.integers(0, 400), VALUES), max_size=40), PLACES)
def test_in_any_order_there_is_one_open_episode(steps: list[tuple[int, float]], cuts: set[int]) -> None:
    """The alarm table's model refuses a second open episode, a level that does not change, an end of nothing."""
    desk = Desk([rule("water-level", KEYS | {"deadband": 0, "down_delay_s": 0})], DEVICES)
    rows = list({t: Row(3, t, value, LEVEL) for t, value in steps}.values())
    bounds = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    for begin, end in pairwise(bounds):
        desk.read(*rows[begin:end])
    if rows:
        newest = max(rows, key=lambda row: row.t)
        standing = [row for row in desk.alarms.of("water-level", 3) if row.cleared_us is None]
        expected = [step["level"] for step in STEPS if newest.value >= float(str(step["at"]))]
        assert [row.levels[-1][1] for row in standing] == expected[-1:]


# ── the recorded flood ────────────────────────────────────────────────────────────────────────────────────


def test_the_july_2013_flood_is_one_story_that_rises_and_falls(shared_data: Path) -> None:
    """Cheongdam: warning 6 m, guaranteed 7 m, highest 10 m, blue half a metre under the warning level."""
    start = datetime.fromisoformat("2013-07-10T00:00:00Z")
    with gzip.open(
        shared_data / "data" / "water" / "han_cheongdam_2012_2015.csv.gz", "rt", encoding="utf-8"
    ) as file:
        flood = [
            ((datetime.fromisoformat(row["time"]) - start).total_seconds(), float(row["level_m"]))
            for row in csv.DictReader(file)
            if "2013-07-10" <= row["time"] < "2013-07-31" and row["level_m"]
        ]
    steps = [
        {"level": "blue", "at": "station.warning", "offset": -0.5, "class": "C"},
        {"level": "yellow", "at": "station.warning", "class": "B"},
        {"level": "orange", "at": "station.guaranteed", "class": "A"},
        {"level": "red", "at": "station.highest", "class": "A"},
    ]
    ladder = rule("water-level", KEYS | {"step": steps, "deadband": 0.1, "down_delay_s": 3600})
    desk = Desk([ladder], [facts(3, "water", levels=(6.0, 7.0, 10.0))])
    for begin in range(0, len(flood), 7):
        desk.read(*(Row(3, t, value, LEVEL) for t, value in flood[begin : begin + 7]))
    episodes = desk.alarms.of("water-level", 3)
    assert isinstance(ladder, LadderRule)
    said = levels_over_time(desk)
    rising = ["", *LEVELS]
    for t, value in flood:  # never under the step that the water has reached
        reached = sum(value >= limit for limit in (5.5, 6.0, 7.0, 10.0))
        before = [level for since, level in said if since <= at(t)]
        assert rising.index(before[-1] if before else "") >= reached
    assert {level for _, level in said} == {"", *LEVELS}
    changes = sum(len(episode.levels) for episode in episodes)
    crossings = sum(
        (before < limit) != (after < limit)
        for limit in (5.5, 6.0, 7.0, 10.0)
        for (_, before), (_, after) in pairwise(flood)
    )
    assert len(episodes) <= 6
    assert changes < crossings
