"""Schedules: which instants they cover, when they end, and that a rule neither raises nor stands outside its own."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.alarms import Cleared, Raised
from rules.schedule import FOREVER_US, Hours, Schedule
from tests.unit.rules_feed import (
    UNTIMED,
    Desk,
    Row,
    at,
    detection,
    facts,
    read_anyhow,
    rule,
    second,
    threshold,
)

SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = Schedule(hours=((22 * 60, 6 * 60),))


def us(text: str, zone: ZoneInfo = SHANGHAI) -> int:
    """Of local time."""
    local = datetime.fromisoformat(text).replace(tzinfo=zone)
    return (local.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("schedule", "inside", "outside"),
    [
        (
            NIGHT,
            ["2026-03-01 22:00", "2026-03-02 00:00", "2026-03-02 05:59"],
            ["2026-03-02 06:00", "2026-03-02 21:59"],
        ),
        # A night belongs to the day it begins on: Friday's goes on into Saturday, Saturday's is none.
        (
            Schedule(hours=((22 * 60, 6 * 60),), days="mon-fri"),
            ["2026-03-06 23:00", "2026-03-07 05:00"],
            ["2026-03-07 23:00", "2026-03-08 05:00", "2026-03-09 05:00"],
        ),
        # 2026-02-14 is a Saturday made a working day for the Spring Festival, 2026-02-16 a Monday off.
        (
            Schedule(hours=((8 * 60, 18 * 60),), days="working"),
            ["2026-02-13 09:00", "2026-02-14 09:00"],
            ["2026-02-15 09:00", "2026-02-16 09:00", "2026-02-14 19:00"],
        ),
        (Schedule(days="non-working"), ["2026-02-16 09:00"], ["2026-02-14 09:00"]),
        (Schedule(days="weekend"), ["2026-02-14 09:00"], ["2026-02-16 09:00"]),
        # A season over new year, both ends included.
        (
            Schedule(season=((11, 15), (3, 15))),
            ["2025-11-15 00:00", "2025-12-31 23:59", "2026-01-01 00:00", "2026-03-15 23:59"],
            ["2025-11-14 23:59", "2026-03-16 00:00", "2026-07-01 00:00"],
        ),
        (Schedule(season=((5, 15), (9, 30))), ["2026-05-15 00:00", "2026-09-30 23:59"], ["2026-10-01 00:00"]),
    ],
)
def test_what_a_schedule_covers(schedule: Schedule, inside: list[str], outside: list[str]) -> None:
    hours = Hours(schedule, SHANGHAI)
    assert hours.covers(np.array([us(text) for text in inside])).all()
    assert not hours.covers(np.array([us(text) for text in outside])).any()
    assert all(hours.end_us(us(text)) is not None for text in inside)
    assert all(hours.end_us(us(text)) is None for text in outside)


@pytest.mark.parametrize(
    ("schedule", "instant", "ends"),
    [
        (NIGHT, "2026-03-01 23:30", "2026-03-02 06:00"),
        (Schedule(days="mon-fri"), "2026-03-02 12:00", "2026-03-07 00:00"),
        (Schedule(season=((11, 15), (3, 15))), "2025-12-24 12:00", "2026-03-16 00:00"),
        (Schedule(hours=((0, 12 * 60), (10 * 60, 14 * 60))), "2026-03-02 09:00", "2026-03-02 14:00"),
    ],
)
def test_when_it_ends(schedule: Schedule, instant: str, ends: str) -> None:
    assert Hours(schedule, SHANGHAI).end_us(us(instant)) == us(ends)


def test_a_season_of_the_whole_year_never_ends() -> None:
    assert Hours(Schedule(season=((1, 1), (12, 31))), SHANGHAI).end_us(us("2026-03-02 09:00")) == FOREVER_US


def test_a_night_is_an_hour_shorter_or_longer_when_the_clocks_change() -> None:
    hours = Hours(NIGHT, BERLIN)
    for evening, length in (("2026-03-28 22:00", 7), ("2026-10-24 22:00", 9), ("2026-07-01 22:00", 8)):
        begin = us(evening, BERLIN)
        ends = hours.end_us(begin)
        assert ends is not None
        assert (ends - begin) / 3_600_000_000 == length


SPANS = st.tuples(st.integers(0, 23), st.integers(0, 23)).filter(lambda span: span[0] != span[1])
SCHEDULES = st.builds(
    lambda spans, days, season: Schedule(
        hours=tuple((begin * 60, end * 60 + 30) for begin, end in spans), days=days, season=season
    ),
    st.lists(SPANS, max_size=2),
    st.sampled_from(["all", "mon-fri", "weekend"]),
    st.sampled_from([None, ((3, 20), (4, 10)), ((10, 20), (3, 30))]),
)


@UNTIMED
@given(SCHEDULES, st.integers(0, 365 * 24 * 4), st.sampled_from([SHANGHAI, BERLIN]))
def test_the_end_is_the_first_uncovered_minute(schedule: Schedule, quarter: int, zone: ZoneInfo) -> None:
    instant = us("2026-01-01 00:00") + quarter * 900_000_000
    hours = Hours(schedule, zone)
    ends = hours.end_us(instant)
    minutes = instant + np.arange(60 * 24 * 4, dtype=np.int64) * 60_000_000
    uncovered = minutes[~hours.covers(minutes)]
    if ends is None:
        assert uncovered[0] == instant
    elif len(uncovered):
        assert ends == uncovered[0]
    else:
        assert ends > minutes[-1]


# ── rules under a schedule; the feed's second 0 is 18:40 UTC, and the engine's zone is UTC ─────────────────

EVENING = {"hours": ["18:30-18:50"]}  # ends at second 600
SMOKE_EVENING = threshold("evening", clear_at=60, schedule=EVENING)


def test_outside_nothing_is_raised_and_what_stands_ends_with_it() -> None:
    desk = Desk([SMOKE_EVENING], [facts(1)])
    (raised,) = desk.read(Row(1, 599, 80))
    assert isinstance(raised, Raised)
    (cleared,) = desk.read(Row(1, 601, 90))
    assert isinstance(cleared, Cleared)
    assert second(cleared.cleared_us) == 600
    assert cleared.evidence["reason"] == "schedule ended"
    assert desk.read(Row(1, 700, 90)) == []
    assert desk.read(Row(1, 86400 + 10, 90))[0].evidence["value"] == 90  # the next evening


def test_the_clock_ends_it_when_the_device_says_no_more() -> None:
    desk = Desk([SMOKE_EVENING], [facts(1)])
    desk.read(Row(1, 10, 80, received=40))
    assert desk.tick(629) == []  # its readings travel for 30 s: one from before the end may be on its way
    desk.restart()
    (cleared,) = desk.tick(630)
    assert isinstance(cleared, Cleared)
    assert second(cleared.cleared_us) == 600


def test_a_delay_that_outlasts_the_schedule_raises_nothing() -> None:
    desk = Desk([threshold("slow", on_delay_s=20, schedule=EVENING)], [facts(1)])
    assert desk.read(Row(1, 590, 80), Row(1, 611, 80)) == []
    assert desk.standing_states() == {}
    desk.read(Row(1, 86400 + 1, 80))
    assert len(desk.read(Row(1, 86400 + 22, 80))) == 1


def test_an_off_delay_is_cut_by_the_schedule() -> None:
    desk = Desk([threshold("slow", clear_at=60, off_delay_s=100, schedule=EVENING)], [facts(1)])
    desk.read(Row(1, 500, 80), Row(1, 550, 10))
    desk.tick(1000)
    assert desk.alarms.seconds("slow", 1) == [(500, 600, 0)]


def test_history_outside_is_no_history_and_an_episode_of_the_past_ends_with_it() -> None:
    desk = Desk([SMOKE_EVENING], [facts(1)])
    desk.read(Row(1, 5000, 10))
    assert desk.read(Row(1, 700, 90)) == []
    (past,) = desk.read(Row(1, 100, 90), Row(1, 800, 90))
    assert isinstance(past, Raised)
    assert past.cleared_us == at(600)


def test_a_camera_under_a_schedule() -> None:
    seen = rule(
        "gate-at-night",
        {
            "type": "detection",
            "name": "人",
            "name_en": "Person",
            "kind": "camera",
            "labels": ["person"],
            "clear_after_s": 100,
            "category": "public.person",
            "level": "blue",
            "schedule": EVENING,
        },
    )
    desk = Desk([seen], [facts(1, "camera")])
    desk.read(seen=[detection(1, 550, "person")])
    assert desk.read(seen=[detection(1, 601, "person")]) == []
    (cleared,) = desk.tick(602)
    assert isinstance(cleared, Cleared)
    assert (second(cleared.cleared_us), cleared.evidence["reason"]) == (600, "schedule ended")
    desk.read(seen=[detection(1, 86400 + 10, "person")])
    assert len(desk.alarms.of("gate-at-night", 1)) == 2


ROWS = st.lists(st.tuples(st.integers(1, 400), st.sampled_from([10.0, 65.0, 80.0])), max_size=40)


@UNTIMED
@given(ROWS, st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)))
def test_ticks_batches_and_restarts_change_nothing_and_no_alarm_stands_outside(
    steps: list[tuple[int, float]], cuts: set[int], ticks: set[int], restarts: set[int]
) -> None:
    rules = [SMOKE_EVENING, threshold("slow", clear_at=60, on_delay_s=50, off_delay_s=70, schedule=EVENING)]
    lag = 17
    rows, now = [], 0
    for pause, value in steps:
        now += pause * 37 % 9000 + 1
        rows.append(Row(1, now, value, received=now + lag))
    one_by_one, anyhow = Desk(rules, [facts(1)]), Desk(rules, [facts(1)])
    for row in rows:
        one_by_one.read(row)
    read_anyhow(anyhow, rows, cuts, ticks, restarts)
    end = now + 200_000
    one_by_one.tick(end)
    anyhow.tick(end)
    assert anyhow.alarms.history() == one_by_one.alarms.history()
    assert anyhow.standing_states() == one_by_one.standing_states()
    for the_rule in rules:
        for episode in anyhow.alarms.of(the_rule.rule_id, 1):
            assert episode.cleared_us is not None
            assert the_rule.schedule is not None
            utc = Hours(the_rule.schedule, ZoneInfo("UTC"))
            assert utc.end_us(episode.raised_us) is not None
            assert episode.cleared_us <= (utc.end_us(episode.raised_us) or 0)
