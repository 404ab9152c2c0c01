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
from city.worktime import (
    add_working_minutes,
    is_provisional,
    is_published,
    is_working_day,
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
