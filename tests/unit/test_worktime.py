"""Working time against the published arrangement of 2026, and what happens where nothing is published."""

import json
import os
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import chinese_calendar
import pytest
from hypothesis import given
from hypothesis import strategies as st

from city import worktime
from city.clocks import read_limit
from city.worktime import (
    WORK_HOURS,
    HoursError,
    Windows,
    add_working_minutes,
    deadline,
    is_provisional,
    is_published,
    is_working_day,
    minutes_between,
    moved,
    read_hours,
    working_days_between,
    working_minutes_between,
)

SHANGHAI = ZoneInfo("Asia/Shanghai")
BOUNDS = (datetime(2025, 1, 1), datetime(2028, 1, 1))  # noqa: DTZ001 - hypothesis adds the zone
FIRST_UNPUBLISHED = 1 + worktime.published_years()[1]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


def test_every_day_of_2026_is_as_published() -> None:
    shared = Path(os.environ.get("CITY_SHARED") or Path(__file__).resolve().parents[3] / "shared")
    path = shared / "vectors" / "calendar" / "cn_2026_exceptions.json"
    if not path.exists():
        pytest.skip(f"no calendar vectors at {path}; set CITY_SHARED to the folder that holds vectors/")
    exceptions = {
        date.fromisoformat(entry["date"]): entry["working"]
        for entry in json.loads(path.read_text(encoding="utf-8"))["exceptions"]
    }
    assert len(exceptions) > 20
    for number in range(365):
        day = date(2026, 1, 1) + timedelta(days=number)
        assert is_working_day(day, {}) == exceptions.get(day, day.weekday() < 5), day


# The State Council's yearly notices, read by hand: first and last day off, and the weekend days that are worked.
NOTICES = {
    2024: (
        (
            "01-01 01-01",
            "02-10 02-17",
            "04-04 04-06",
            "05-01 05-05",
            "06-10 06-10",
            "09-15 09-17",
            "10-01 10-07",
        ),
        ("02-04", "02-18", "04-07", "04-28", "05-11", "09-14", "09-29", "10-12"),
    ),
    2025: (
        ("01-01 01-01", "01-28 02-04", "04-04 04-06", "05-01 05-05", "05-31 06-02", "10-01 10-08"),
        ("01-26", "02-08", "04-27", "09-28", "10-11"),
    ),
}


def by_notice(year: int) -> dict[date, bool]:
    ranges, worked = NOTICES[year]
    days = {}
    for written in ranges:
        day, last = (date.fromisoformat(f"{year}-{part}") for part in written.split())
        while day <= last:
            days[day] = False
            day += timedelta(days=1)
    return days | {date.fromisoformat(f"{year}-{part}"): True for part in worked}


@pytest.mark.parametrize("year", NOTICES)
def test_every_day_is_as_the_notice_says(year: int) -> None:
    noticed = by_notice(year)
    assert all(day.weekday() >= 5 for day, working in noticed.items() if working)
    day = date(year, 1, 1)
    while day.year == year:
        assert is_working_day(day, {}) == noticed.get(day, day.weekday() < 5), day
        day += timedelta(days=1)


@pytest.mark.parametrize("year", NOTICES)
def test_a_years_exceptions_make_the_year_again(year: int) -> None:
    exceptions = worktime.exceptions_of(year, {})
    assert set(exceptions) <= set(by_notice(year))
    whole = worktime.whole_year(year, exceptions)
    assert len(whole) in (365, 366)
    assert all(is_working_day(day, {}) == working for day, working in whole.items())


# Each with a weekend that is worked on either side: Spring Festival 2024, National Day 2025, Spring Festival 2026.
@pytest.mark.parametrize(
    ("first", "days"),
    [("2024-02-03", 17), ("2025-09-26", 17), ("2026-02-13", 17)],
    ids=str,
)
def test_every_minute_across_a_holiday_counts_once_or_not_at_all(first: str, days: int) -> None:
    start = datetime.fromisoformat(first).replace(tzinfo=SHANGHAI)
    minute = timedelta(minutes=1)
    windows = Windows(calendar={}, zone=SHANGHAI)
    passed, working = 0, []
    for number in range(days * 1440):
        instant = start + number * minute
        at_work = is_working_day(instant.date(), {}) and any(
            opens <= instant.time() < closes for opens, closes in WORK_HOURS
        )
        assert working_minutes_between(instant, instant + minute, {}, SHANGHAI) == at_work, instant
        passed += at_work
        if at_work:
            working.append(instant + minute)
            if passed % 60 == 1:  # the inverse, from the beginning and from the end
                assert add_working_minutes(start, passed, {}, SHANGHAI) == instant + minute
                assert moved(instant + minute, -minute, "working", windows) == instant
    end = start + days * 1440 * minute
    assert working_minutes_between(start, end, {}, SHANGHAI) == passed == len(working)
    assert passed % 420 == 0
    assert passed // 420 == working_days_between(
        start.date() - timedelta(days=1), end.date() - timedelta(days=1), {}
    )


@pytest.mark.parametrize(
    ("start", "limit", "due"),
    [
        ("2026-11-16T09:00", "1wd", "2026-11-17T18:00"),  # the day it begins on does not count
        ("2026-11-16T23:59", "1wd", "2026-11-17T18:00"),
        ("2026-11-20T10:00", "3wd", "2026-11-25T18:00"),  # a Friday
        ("2026-11-21T10:00", "1wd", "2026-11-23T18:00"),  # a Saturday
        ("2026-09-30T10:00", "1wd", "2026-10-08T18:00"),  # the day before National Day
        ("2026-02-13T10:00", "1wd", "2026-02-14T18:00"),  # a Saturday that is worked
        ("2026-02-13T10:00", "3wd", "2026-02-25T18:00"),
        ("2026-11-20T17:00", "2wh", "2026-11-23T10:00"),
        ("2026-11-20T17:00", "2h", "2026-11-20T19:00"),
        ("2026-11-20T17:00", "1d", "2026-11-21T17:00"),
    ],
)
def test_a_limit_as_it_is_written(start: str, limit: str, due: str) -> None:
    windows = Windows(calendar={}, zone=SHANGHAI)
    assert deadline(at(start), read_limit(limit), windows) == at(due)


def test_a_unit_is_due_by_its_own_hours() -> None:
    windows = Windows(calendar={}, zone=SHANGHAI, hours=read_hours("08:30-12:00, 13:30-17:00"))
    assert windows.day == timedelta(hours=7)
    assert deadline(at("2026-11-16T09:00"), read_limit("1wd"), windows) == at("2026-11-17T17:00")
    assert deadline(at("2026-11-16T16:30"), read_limit("1wh"), windows) == at("2026-11-17T09:00")
    assert read_hours(" ") == WORK_HOURS


@pytest.mark.parametrize(
    "written",
    ["9-5", "09:00", "12:00-09:00", "09:00-12:00,11:00-18:00", "09:00-12:00,", "09:00-09:00", "always"],
)
def test_hours_that_cannot_be_read_say_how_they_are_written(written: str) -> None:
    with pytest.raises(HoursError, match="hours = "):
        read_hours(written)


@given(
    start=st.datetimes(*BOUNDS, timezones=st.just(SHANGHAI)),
    minutes=st.integers(1, 5_000),
    unit=st.sampled_from(("natural", "working")),
)
def test_going_back_is_the_inverse_of_going_on(start: datetime, minutes: int, unit: str) -> None:
    windows = Windows(calendar={}, zone=SHANGHAI)
    by = timedelta(minutes=minutes)
    later = moved(start, by, unit, windows)  # type: ignore[arg-type]  # here and below: sampled from its values
    back = moved(later, -by, unit, windows)  # type: ignore[arg-type]
    assert minutes_between(back, later, unit, windows) == pytest.approx(minutes)  # type: ignore[arg-type]
    assert minutes_between(later, back, unit, windows) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("start", "minutes", "due"),
    [
        ("2026-11-20T09:00", 60, "2026-11-20T10:00"),  # a Friday
        ("2026-11-20T11:30", 60, "2026-11-20T14:30"),  # across lunch
        ("2026-11-20T12:30", 60, "2026-11-20T15:00"),  # during lunch
        ("2026-11-20T17:00", 60, "2026-11-20T18:00"),  # ends with the day, not on Monday
        ("2026-11-20T17:00", 61, "2026-11-23T09:01"),  # across the weekend
        ("2026-11-20T06:00", 420, "2026-11-20T18:00"),  # one whole working day
        ("2026-11-21T10:00", 1, "2026-11-23T09:01"),  # a Saturday
        ("2026-09-30T17:30", 60, "2026-10-08T09:30"),  # across the National Day week
        ("2026-02-14T17:30", 60, "2026-02-24T09:30"),  # a Saturday worked before the Spring Festival
    ],
)
def test_a_deadline_in_working_minutes(start: str, minutes: int, due: str) -> None:
    assert add_working_minutes(at(start), minutes, {}, SHANGHAI) == at(due)
    assert working_minutes_between(at(start), at(due), {}, SHANGHAI) == minutes


def test_no_minutes_are_due_at_once() -> None:
    assert add_working_minutes(at("2026-11-21T10:00"), 0, {}, SHANGHAI) == at("2026-11-21T10:00")


def test_the_answer_is_utc() -> None:
    due = add_working_minutes(at("2026-11-20T09:00"), 60, {}, SHANGHAI)
    assert due.tzinfo is UTC
    assert due.hour == 2


def test_a_district_may_decide_otherwise() -> None:
    saturday, monday = date(2026, 11, 21), date(2026, 11, 23)
    overrides = {saturday: True, monday: False}
    assert add_working_minutes(at("2026-11-20T17:30"), 60, overrides, SHANGHAI) == at("2026-11-21T09:30")
    assert add_working_minutes(at("2026-11-22T17:30"), 60, overrides, SHANGHAI) == at("2026-11-24T10:00")


def test_other_hours() -> None:
    round_the_clock = ((time(0), time(12)), (time(12), time(23, 59, 59)))
    assert add_working_minutes(at("2026-11-20T11:30"), 60, {}, SHANGHAI, round_the_clock) == at(
        "2026-11-20T12:30"
    )


def test_a_calendar_without_working_days_is_an_error_not_a_loop() -> None:
    with pytest.raises(ValueError, match="twenty years"):
        add_working_minutes(at("2026-11-20T09:00"), 60, {}, SHANGHAI, ())


def test_a_clock_change_lengthens_no_working_day() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    friday = datetime(2026, 3, 27, 17, 30, tzinfo=berlin)  # clocks go forward on Sunday
    assert add_working_minutes(friday, 60, {}, berlin) == datetime(2026, 3, 30, 9, 30, tzinfo=berlin)


def test_a_year_not_published_is_provisional() -> None:
    end_of_year = datetime(FIRST_UNPUBLISHED - 1, 12, 31, 17, 0, tzinfo=SHANGHAI)
    due = add_working_minutes(end_of_year, 600, {}, SHANGHAI)
    assert due.astimezone(SHANGHAI).year == FIRST_UNPUBLISHED
    assert is_provisional(end_of_year, due, {}, SHANGHAI)
    assert not is_provisional(end_of_year, end_of_year, {}, SHANGHAI)
    day, decided = end_of_year.date(), {}
    while day <= due.astimezone(SHANGHAI).date():
        decided[day] = True
        day += timedelta(days=1)
    assert not is_provisional(end_of_year, due, decided, SHANGHAI)


def test_days_off_by_law_are_kept_where_nothing_is_published() -> None:
    spring_festival = [date(2027, 2, day) for day in (5, 6, 7, 8)]
    assert set(spring_festival) < worktime.statutory_days(2027)
    assert len(worktime.statutory_days(2027)) == 13
    far = date(2077, 10, 1)
    assert not is_published(far.year)
    assert far.weekday() < 5
    assert not is_working_day(far, {})


def test_the_lunar_table_stands_as_the_festivals_follow_each_other() -> None:
    for new_year, dragon_boat, mid_autumn in (
        tuple(date(year, *month_day) for month_day in days) for year, days in worktime._LUNAR_DAYS.items()
    ):
        # Four or five lunar months with the leap month, of 29 or 30 days each.
        assert (dragon_boat - new_year).days in range(121, 124) or (dragon_boat - new_year).days in range(
            150, 154
        )
        assert (mid_autumn - dragon_boat).days in range(97, 100) or (mid_autumn - dragon_boat).days in range(
            127, 130
        )


@pytest.mark.parametrize("year", range(2012, FIRST_UNPUBLISHED))
def test_qingming_by_rule_of_thumb_is_a_published_holiday(year: int) -> None:
    found = chinese_calendar.get_holiday_detail(worktime._clear_and_bright(year))
    assert found == (True, "Tomb-sweeping Day")


@given(
    start=st.datetimes(*BOUNDS, timezones=st.just(SHANGHAI)),
    minutes=st.integers(1, 20_000),
)
def test_adding_and_measuring_agree(start: datetime, minutes: int) -> None:
    due = add_working_minutes(start, minutes, {}, SHANGHAI)
    assert working_minutes_between(start, due, {}, SHANGHAI) == pytest.approx(minutes)
    assert due > start
