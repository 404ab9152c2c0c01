"""Rate, projection, stuck and quality case by case, and on the recorded rivers."""

import csv
import gzip
import os
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from city.alarms import Cleared, Raised, Transition
from city.observations import Quality
from rules.definitions import Rule, RuleError
from tests.unit.rules_feed import LEVEL, Desk, Row, at, batch, facts, rule, second

COMMON = {
    "name": "测试",
    "name_en": "Test",
    "kind": "water",
    "metric": "level",
    "category": "flood.rising",
    "level": "yellow",
}
STATION = facts(3, "water", levels=(6.0, 7.0, None))
UNSET = facts(4, "water")
MINUTE = 60.0
OUT, SPIKE, STUCK = int(Quality.OUT_OF_RANGE), int(Quality.SPIKE), int(Quality.STUCK)


def made(kind: str, **keys: object) -> Rule:
    return rule(f"the-{kind}", COMMON | {"type": kind} | keys)


def quality(**keys: object) -> Rule:
    return rule(
        "possible",
        {"type": "quality", "name": "测试", "name_en": "Test", "kinds": ["water"], "metric": "level"} | keys,
    )


def rise(begin: float, per_hour: float, count: int, *, start: float = 0, step: float = 600) -> list[Row]:
    """A steady rise, one reading every ten minutes."""
    return [
        Row(3, start + step * place, begin + per_hour * step * place / 3600, LEVEL) for place in range(count)
    ]


# ── rate ────────────────────────────────────────────────────────────────────────────────────────────────

RISING = made("rate", raise_at=0.5, noise=0.1)


def test_a_rise_is_raised_with_its_slope_and_window_and_clears_when_it_slows() -> None:
    desk = Desk([RISING], [STATION])
    (raised,) = desk.read(*rise(2.0, 0.9, 7))
    assert isinstance(raised, Raised)
    assert second(raised.raised_us) == 1800  # the fourth reading
    assert raised.evidence["slope"] == pytest.approx(0.9)
    assert raised.evidence["value"] == pytest.approx(2.45)
    assert raised.evidence | {"slope": 0.9, "value": 2.45} == {
        "metric": "level",
        "value": 2.45,
        "observed_at": "2025-11-21T19:10:00Z",
        "direction": "above",
        "limit": "constant",
        "raise_at": 0.5,
        "clear_at": 0.25,
        "per_s": 3600,
        "slope": 0.9,
        "window_s": 3600.0,
        "window_from": "2025-11-21T18:40:00Z",
        "samples": 4,
        "noise": 0.1,
        "rule_version": 1,
    }
    happened = desk.read(*rise(2.9, 0.0, 7, start=4200))
    assert [type(change) for change in happened] == [Cleared]


def test_a_rise_within_the_noise_is_none() -> None:
    ripple = [Row(3, 300 * place, 2.0 + 0.02 * (place % 3) + 0.01 * place / 3, LEVEL) for place in range(12)]
    assert Desk([made("rate", raise_at=0.02, noise=0.1)], [STATION]).read(*ripple) == []
    assert Desk([made("rate", raise_at=0.02, noise=0.01)], [STATION]).read(*ripple) != []


def test_one_wild_reading_raises_nothing() -> None:
    rows = rise(2.0, 0.0, 12)
    rows[9] = Row(3, rows[9].t, 5.0, LEVEL)
    assert Desk([RISING], [STATION]).read(*rows) == []


def test_after_a_gap_the_slope_is_unknown_and_what_stands_stands() -> None:
    desk = Desk([RISING], [STATION])
    desk.read(*rise(2.0, 0.9, 7))
    assert desk.read(*rise(3.0, 0.0, 3, start=4 * 3600)) == []
    (cleared,) = desk.read(*rise(3.0, 0.0, 2, start=4 * 3600 + 1800))
    assert isinstance(cleared, Cleared)
    assert second(cleared.cleared_us) == 4 * 3600 + 1800


def test_a_fall_is_a_rate_below_nothing() -> None:
    falling = made("rate", direction="below", raise_at=-0.5, noise=0.1)
    (raised,) = Desk([falling], [STATION]).read(*rise(5.0, -0.9, 6))
    assert raised.evidence["slope"] == pytest.approx(-0.9)
    assert Desk([falling], [STATION]).read(*rise(2.0, 0.9, 6)) == []


def test_only_above_looks_near_the_stations_level_and_not_where_there_is_none() -> None:
    near = made("rate", raise_at=0.5, noise=0.1, only_above="station.warning", margin=0.5)
    desk = Desk([near], [STATION, UNSET])
    assert desk.read(*rise(2.0, 0.9, 10)) == []
    raised = desk.read(*rise(3.5, 0.9, 20, start=6000))
    assert [type(change) for change in raised] == [Raised]
    assert raised[0].evidence["value"] == pytest.approx(5.6, abs=0.15)
    assert raised[0].evidence["only_above"] == 5.5
    unset = [Row(4, row.t, row.value, LEVEL) for row in rise(2.0, 3.0, 20)]
    assert desk.read(*unset) == []


def test_history_is_sorted_into_the_window_but_calls_nobody() -> None:
    desk = Desk([RISING], [STATION])
    whole = rise(2.0, 0.9, 7)
    desk.read(whole[0], whole[6])
    assert desk.read(*whole[1:6]) == []  # late: known now, but the newest was judged without them
    (raised,) = desk.read(Row(3, 3730, 2.93, LEVEL))
    assert raised.evidence["samples"] == 7


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"raise_at": -1}, "raise_at"),
        ({"raise_at": 1, "direction": "below"}, "raise_at"),
        ({"raise_at": 1, "clear_at": 2}, "clear_at"),
        ({"raise_at": 1, "deadband": 0.1, "clear_at": 0.5}, "clear_at"),
        ({"raise_at": 1, "window_s": 10}, "window_s"),
        ({"raise_at": 1, "min_samples": 2}, "min_samples"),
        ({"raise_at": 1, "max_gap_s": 10}, "max_gap_s"),
        ({"raise_at": 1, "per": "week"}, "per"),
        ({"raise_at": 1, "noise": -1}, "noise"),
    ],
)
def test_a_rate_that_cannot_be_is_refused(keys: dict[str, object], named: str) -> None:
    with pytest.raises(RuleError, match=f"{named} "):
        made("rate", **({"noise": 0.1} | keys))


# ── projection ──────────────────────────────────────────────────────────────────────────────────────────

SOON = made("projection", to="station.warning", within_s=3600, noise=0.1)


def test_the_time_left_is_level_to_go_over_slope() -> None:
    desk = Desk([SOON], [STATION])
    rows = rise(4.0, 0.9, 14)
    (raised,) = desk.read(*rows)
    assert isinstance(raised, Raised)
    row = next(row for row in rows if (6.0 - row.value) / 0.9 <= 1)
    assert second(raised.raised_us) == row.t
    left_s = (6.0 - row.value) / 0.9 * 3600
    assert raised.evidence["seconds_to_limit"] == pytest.approx(left_s, abs=1)
    assert raised.evidence["to"] == 6.0
    assert raised.evidence["limit"] == "station.warning"
    assert str(raised.evidence["expected_at"]).startswith("2025-11-21T20:53:20")


def test_once_reached_it_stands_until_the_rise_ends_and_begins_no_more() -> None:
    desk = Desk([SOON], [STATION])
    desk.read(*rise(4.0, 0.9, 14))
    assert desk.read(*rise(6.1, 0.9, 6, start=8400)) == []
    ended = desk.read(*rise(6.9, 0.0, 7, start=12_000))
    assert [type(change) for change in ended] == [Cleared]
    assert desk.read(*rise(6.9, 0.9, 7, start=16_200)) == []  # above the level already


def test_it_clears_only_beyond_the_factor() -> None:
    slower = [*rise(5.0, 1.2, 5), *rise(5.9, 0.6, 9, start=3000)]  # 2.8 hours left, then 4 to 5
    for factor, ends in ((1, 1), (2, 0)):
        desk = Desk(
            [made("projection", to=9.0, within_s=4 * 3600, clear_factor=factor, noise=0.1)], [STATION]
        )
        happened = desk.read(*slower)
        assert sum(isinstance(change, Cleared) for change in happened) == ends
        assert sum(isinstance(change, Raised) for change in happened) >= 1


def test_downwards_and_at_stations_without_the_level() -> None:
    empty = made("projection", direction="below", to=1.0, within_s=3600, noise=0.1)
    (raised,) = Desk([empty], [STATION]).read(*rise(3.0, -1.5, 8))
    assert raised.evidence["direction"] == "below"
    unset = [Row(4, row.t, row.value, LEVEL) for row in rise(4.0, 0.9, 14)]
    assert Desk([SOON], [STATION, UNSET]).read(*unset) == []


# ── stuck ───────────────────────────────────────────────────────────────────────────────────────────────

STILL = made("stuck", for_s=3600, min_samples=5)


def test_a_value_that_stands_still_is_raised_marked_and_still_counts() -> None:
    desk = Desk([STILL], [STATION])
    rows = [Row(3, 600 * place, 3.487, LEVEL) for place in range(10)]
    happened: list[Transition] = []
    for row in rows:
        happened += desk.read(row)
    (raised,) = happened
    assert second(raised.raised_us) == 3600 if isinstance(raised, Raised) else False
    assert raised.evidence["same_for_s"] == 3600
    assert raised.evidence["window_from"] == "2025-11-21T18:40:00Z"
    assert marks(desk) == [0] * 6 + [STUCK] * 4
    (cleared,) = desk.read(Row(3, 6000, 3.5, LEVEL))
    assert isinstance(cleared, Cleared)
    assert marks(desk)[-1] == 0


def test_silence_is_not_standing_still() -> None:
    rows = [Row(3, t, 3.0, LEVEL) for t in (0, 600, 1200, 20_000, 20_600, 21_200)]
    assert Desk([STILL], [STATION]).read(*rows) == []


def test_a_dry_culvert_may_say_nothing_for_ever() -> None:
    dry = made("stuck", **{"for_s": 3600, "min_samples": 5, "except": [0]})
    assert Desk([dry], [STATION]).read(*(Row(3, 600 * place, 0.0, LEVEL) for place in range(30))) == []
    assert Desk([dry], [STATION]).read(*(Row(3, 600 * place, 0.1, LEVEL) for place in range(30))) != []


@pytest.mark.parametrize("apart", [0.019, -0.019])
def test_within_the_tolerance_is_the_same_wherever_it_lies(apart: float) -> None:
    jitter = made("stuck", for_s=3600, min_samples=5, tolerance=0.02)
    for base in np.linspace(2.0, 2.1, 23):
        rows = [Row(3, 600 * place, base + apart * (place % 2), LEVEL) for place in range(8)]
        assert Desk([jitter], [STATION]).read(*rows) != []
        rows = [Row(3, 600 * place, base + 0.05 * (place % 2), LEVEL) for place in range(8)]
        assert Desk([jitter], [STATION]).read(*rows) == []


def test_a_late_reading_that_says_otherwise_begins_the_count_anew() -> None:
    desk = Desk([STILL], [STATION])
    desk.read(*(Row(3, 600 * place, 3.0, LEVEL) for place in range(6)))
    desk.read(Row(3, 2700, 3.3, LEVEL))
    assert desk.read(Row(3, 3600, 3.0, LEVEL)) == []


# ── quality ─────────────────────────────────────────────────────────────────────────────────────────────


def marks(desk: Desk) -> list[int]:
    """In order of device and time."""
    return [quality for _, (_, _, quality) in sorted(desk.stored.items())]


def judged(the_rule: Rule, values: list[float], step: float = 600) -> list[int]:
    """The marks of a series that comes one by one, and that one batch gets the same."""
    rows = [Row(3, step * (place + 1), value, LEVEL) for place, value in enumerate(values)]
    apart, together = Desk([the_rule], [STATION]), Desk([the_rule], [STATION])
    for row in rows:
        apart.read(row)
    together.read(*rows)
    assert marks(together) == marks(apart)
    return marks(apart)


def test_what_cannot_be_is_marked_and_raises_nothing() -> None:
    possible = quality(least=-5, most=50, sentinels=[0])
    assert judged(possible, [2.0, -990, -999, -5, 50, 50.1, 0]) == [0, OUT, OUT, 0, 0, OUT, OUT]
    high = rule("high", COMMON | {"type": "threshold", "raise_at": 10})
    desk = Desk([possible, high], [STATION])
    assert desk.read(Row(3, 1, 999.0, LEVEL)) == []
    assert desk.read(Row(3, 2, 11.0, LEVEL)) != []


STEPS = quality(max_step=0.5, step_s=600, confirm=2)


def test_a_step_is_doubted_until_two_further_readings_stand_there() -> None:
    assert judged(STEPS, [2.0, 9.0, 2.1, 2.2]) == [0, SPIKE, 0, 0]
    assert judged(STEPS, [2.0, 9.0, 9.1, 9.2, 9.1, 2.0]) == [0, SPIKE, SPIKE, 0, 0, SPIKE]
    assert judged(STEPS, [2.0, 9.0, 5.0, 9.0, 5.0, 2.1]) == [0, SPIKE, SPIKE, SPIKE, SPIKE, 0]


def test_the_longer_the_time_the_further_it_may_have_moved() -> None:
    assert judged(STEPS, [2.0, 4.9], step=3600) == [0, 0]
    assert judged(STEPS, [2.0, 5.1], step=3600) == [0, SPIKE]
    assert judged(STEPS, [2.0, 99.0], step=25 * 600) == [0, 0]  # nothing to compare with any more


def test_judging_changes_nothing_and_a_late_reading_is_not_judged_by_its_step() -> None:
    desk = Desk([STEPS], [STATION])
    desk.read(Row(3, 600, 2.0, LEVEL), Row(3, 1200, 2.0, LEVEL))
    probe = batch([Row(3, 1800, 9.0, LEVEL)])
    assert [desk.engine.judge(probe).quality.tolist() for _ in range(3)] == [[SPIKE]] * 3
    assert desk.engine.judge(batch([Row(3, 900, 9.0, LEVEL)])).quality.tolist() == [0]
    ahead = batch([Row(3, 1800, 9.0, LEVEL, Quality.CLOCK_AHEAD)])
    assert desk.engine.judge(ahead).quality.tolist() == [int(Quality.CLOCK_AHEAD)]


def test_the_most_specific_of_a_family_judges() -> None:
    everywhere = quality(most=10)
    here = rule(
        "here",
        {
            "type": "quality",
            "name": "测试",
            "name_en": "Test",
            "kinds": ["water"],
            "metric": "level",
            "most": 100,
        }
        | {"scope": {"devices": ["d-3"]}},
    )
    known = facts(3, "water")
    desk = Desk([everywhere, here], [known, UNSET])
    desk.read(Row(3, 1, 50.0, LEVEL), Row(4, 1, 50.0, LEVEL))
    assert marks(desk) == ([0, OUT] if known.code == "d-3" else [OUT, OUT])


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({}, "least"),
        ({"least": 5, "most": 5}, "most"),
        ({"max_step": 0}, "max_step"),
        ({"most": 5, "confirm": 2}, "max_step"),
        ({"sentinels": "none"}, "sentinels"),
        ({"most": 5, "category": "flood.level"}, "category"),
    ],
)
def test_marks_that_mean_nothing_are_refused(keys: dict[str, object], named: str) -> None:
    with pytest.raises(RuleError, match=f"{named} "):
        quality(**keys)


# ── the recorded rivers ─────────────────────────────────────────────────────────────────────────────────


def column(name: str, wanted: str, begin: str, end: str) -> list[Row]:
    """A stretch of a recorded column in seconds after its beginning."""
    shared = Path(os.environ.get("CITY_SHARED", Path(__file__).resolve().parents[3] / "shared"))
    path = shared / "data" / "water" / name
    if not path.exists():
        pytest.skip(f"the recorded data are not here: {path} (CITY_SHARED names their folder)")
    start = datetime.fromisoformat(begin)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [
            Row(3, (datetime.fromisoformat(row["time"]) - start).total_seconds(), float(row[wanted]), LEVEL)
            for row in csv.DictReader(file)
            if begin <= row["time"] < end and row[wanted]
        ]


CHEONGDAM, HAENGJU = "han_cheongdam_2012_2015.csv.gz", "han_haengju_2012_2015.csv.gz"


def play(desk: Desk, rows: list[Row], size: int = 37) -> None:
    for begin in range(0, len(rows), size):
        desk.read(*rows[begin : begin + size])


def test_nineteen_hours_at_one_value_are_stuck_and_low_water_at_the_tide_is_not() -> None:
    tidal = made("stuck", for_s=18 * 3600)
    desk = Desk([tidal], [STATION])
    rows = column(CHEONGDAM, "level_m", "2013-09-01T00:00:00Z", "2013-10-01T00:00:00Z")
    play(desk, rows)
    began = (
        datetime.fromisoformat("2013-09-15T08:20:00Z") - datetime.fromisoformat("2013-09-01T00:00:00Z")
    ).total_seconds()
    assert desk.alarms.seconds("the-stuck", 3) == [(began + 18 * 3600, began + 19 * 3600 + 600, 0)]
    stuck = [row.t for row in rows if desk.stored[3, LEVEL, at(row.t)][2] & STUCK]
    assert (stuck[0], len(stuck)) == (began + 18 * 3600, 7)
    quiet = Desk([tidal], [STATION])
    play(quiet, column(HAENGJU, "level_m", "2014-09-01T00:00:00Z", "2014-11-01T00:00:00Z"))
    assert quiet.alarms.episodes == {}  # it stood for up to 15.8 h there


def test_the_false_step_at_haengju_is_marked_by_a_rule_for_that_gauge() -> None:
    """A step of 0.51 m and back after 50 minutes, when the tide was not moving."""
    gauge = quality(max_step=0.45, step_s=600, confirm=5)
    desk = Desk([gauge], [STATION])
    rows = column(HAENGJU, "level_m", "2014-08-10T00:00:00Z", "2014-08-13T13:00:00Z")
    play(desk, rows)
    marked = [(row.t, row.value) for row in rows if desk.stored[3, LEVEL, at(row.t)][2] & SPIKE]
    step = 3.5 * 86_400
    assert marked == [(step + 600 * place, 3.573) for place in range(5)]


def test_the_built_in_limits_mark_no_reading_of_four_seasons() -> None:
    desk = Desk([quality(least=-50, most=9000, max_step=2.0, step_s=600, confirm=1)], [STATION])
    for name in (CHEONGDAM, HAENGJU):
        rows = column(name, "level_m", "2012-01-01T00:00:00Z", "2013-01-01T00:00:00Z")
        readings = batch(rows)
        assert not desk.engine.judge(readings).quality.any()


@pytest.mark.parametrize(
    ("wanted", "sentinels"), [("paldang_level_elm", [0, -990]), ("paldang_outflow_m3s", [-990])]
)
def test_sentinels_of_the_dam_are_marked(wanted: str, sentinels: list[float]) -> None:
    begin, end = "2012-01-01T00:00:00Z", "2016-01-01T00:00:00Z"
    rows = column("han_context_2012_2015.csv.gz", wanted, begin, end)
    assert len(rows) > 100_000
    desk = Desk([quality(sentinels=sentinels)], [STATION])
    found = desk.engine.judge(batch(rows)).quality
    known = np.isin([row.value for row in rows], sentinels)
    assert ((found == OUT) == known).all()


def test_duplicated_times_and_gaps_neither_raise_nor_mark() -> None:
    rows = column(CHEONGDAM, "level_m", "2014-06-01T00:00:00Z", "2014-06-08T00:00:00Z")
    kept = [row for place, row in enumerate(rows) if not 300 <= place < 420]  # twenty hours missing
    possible = quality(least=-50, most=9000, max_step=0.5, step_s=600)
    desk = Desk([possible, RISING, SOON, made("stuck", for_s=18 * 3600)], [STATION])
    plain = Desk(desk.rules, [STATION])
    for row in kept:
        plain.read(row)
        desk.read(row)
        assert not desk.engine.judge(batch([row, row])).quality.any()  # a redelivery, judged again
    assert marks(desk) == [0] * len(kept)
    assert desk.alarms.history() == plain.alarms.history()
    assert not desk.alarms.of("the-stuck", 3)


def test_the_built_in_rate_sees_the_flood_and_sleeps_through_the_tide() -> None:
    near = made("rate", raise_at=0.5, noise=0.1, only_above="station.warning", margin=0.5, off_delay_s=1800)
    flood = Desk([near], [STATION])
    play(flood, column(CHEONGDAM, "level_m", "2013-07-10T00:00:00Z", "2013-07-31T00:00:00Z"))
    assert 1 <= len(flood.alarms.of("the-rate", 3)) <= 9
    june = column(CHEONGDAM, "level_m", "2014-06-01T00:00:00Z", "2014-07-01T00:00:00Z")
    everywhere, quiet = Desk([RISING], [STATION]), Desk([near], [STATION])
    play(everywhere, june)
    play(quiet, june)
    assert len(everywhere.alarms.of("the-rate", 3)) > 20  # every tide
    assert quiet.alarms.of("the-rate", 3) == []
