"""Who is on duty: shifts over midnight and on days off, people named, gaps, and one person in two places."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.district_source import DistrictFilesError, Faults
from city.roster_files import parse_rosters
from city.rosters import (
    Duty,
    OnDuty,
    Shift,
    begins_again,
    clash,
    days_readable,
    gaps,
    merged,
    on_duty,
)

SHANGHAI = ZoneInfo("Asia/Shanghai")
HOUR = timedelta(hours=1)
DAY = Shift(name="day", days="working", begins=time(8, 30), ends=time(18))
NIGHT = Shift(name="night", days="all", begins=time(20), ends=time(8))


def local(day: int, hour: int, minute: int = 0) -> datetime:
    """November 2026, the district's time; the 20th is a Friday."""
    return datetime(2026, 11, day, hour, minute, tzinfo=SHANGHAI)


def there(duty: Duty | None, at: datetime) -> bool:
    return on_duty(duty, at, {}, SHANGHAI)


def person(name: str, begins: datetime, ends: datetime, unit: str = "U1", user: int | None = None) -> OnDuty:
    return OnDuty(unit=unit, person=name, user_id=user, begins=begins, ends=ends)


def test_a_unit_without_any_roster_is_always_there() -> None:
    assert there(None, local(22, 3))


@pytest.mark.parametrize(
    ("shift", "at", "expected"),
    [
        (DAY, local(20, 8, 29), False),
        (DAY, local(20, 8, 30), True),
        (DAY, local(20, 17, 59), True),
        (DAY, local(20, 18), False),
        (DAY, local(21, 12), False),  # Saturday
        (NIGHT, local(20, 23), True),
        (NIGHT, local(21, 7, 59), True),  # last night's
        (NIGHT, local(21, 8), False),
        (Shift(name="x", days="5", begins=time(20), ends=time(8)), local(21, 7), True),  # Friday's night
        (Shift(name="x", days="5", begins=time(20), ends=time(8)), local(20, 7), False),  # Thursday had none
        (Shift(name="x", days="off", begins=time(9), ends=time(9)), local(22, 8, 59), True),  # a whole day
        (Shift(name="x", days="off", begins=time(9), ends=time(9)), local(23, 9), False),
    ],
)
def test_a_shift_runs_from_its_begin_to_its_end_in_local_time(
    shift: Shift, at: datetime, expected: bool
) -> None:
    assert there(Duty(shifts=(shift,)), at) is expected
    assert there(Duty(shifts=(shift,)), at.astimezone(UTC)) is expected


def test_the_calendar_decides_what_a_working_day_is() -> None:
    sunday = local(22, 12)
    assert not there(Duty(shifts=(DAY,)), sunday)
    assert on_duty(Duty(shifts=(DAY,)), sunday, {date(2026, 11, 22): True}, SHANGHAI)


def test_a_shift_needs_somebody_named_once_anybody_is() -> None:
    duty = Duty(shifts=(DAY,), periods=((local(20, 12), local(20, 24 - 1)),))
    assert not there(duty, local(20, 11))
    assert there(duty, local(20, 13))
    assert not there(duty, local(20, 19))  # named, but the shift is over


def test_a_roster_that_has_run_out_binds_no_longer() -> None:
    duty = Duty(periods=((local(1, 0), local(2, 0)), (local(3, 0), local(4, 0))))
    assert not there(duty, local(2, 12))
    assert there(duty, local(20, 3))


def test_the_next_time_somebody_is_there() -> None:
    assert begins_again(Duty(shifts=(DAY,)), local(20, 19), {}, SHANGHAI) == local(23, 8, 30)
    never = Duty(periods=((local(1, 0), local(2, 0)), (datetime(2030, 1, 1, tzinfo=UTC),) * 2))
    assert begins_again(never, local(20, 19), {}, SHANGHAI) is None


def test_gaps_are_parts_of_shifts_that_nobody_is_named_for() -> None:
    duty = Duty(shifts=(DAY,), periods=((local(20, 10), local(20, 16)),))
    assert gaps(duty, local(20, 0), local(21, 0), {}, SHANGHAI) == [
        (local(20, 8, 30), local(20, 10)),
        (local(20, 16), local(20, 18)),
    ]
    assert gaps(Duty(shifts=(DAY,)), local(20, 0), local(27, 0), {}, SHANGHAI) == []


HOURS = st.integers(0, 200)


@given(st.lists(st.tuples(HOURS, st.integers(1, 30)), max_size=8), HOURS)
def test_merged_periods_and_gaps_say_the_same_as_each_period_by_itself(
    stretches: list[tuple[int, int]], hour: int
) -> None:
    start = local(1, 0)
    periods = [(start + begin * HOUR, start + (begin + length) * HOUR) for begin, length in stretches]
    at = start + hour * HOUR + timedelta(minutes=30)
    named = any(begin <= at < end for begin, end in periods)
    duty = Duty(periods=merged(periods))
    left = gaps(duty, start, start + 300 * HOUR, {}, SHANGHAI)
    assert not periods or any(begin <= at < end for begin, end in left) != named
    assert named or not periods or there(duty, at) == (at >= max(end for _, end in periods))


def test_one_person_twice_at_once_is_found_with_both_stretches() -> None:
    early, late = person("李", local(20, 8), local(20, 16)), person("李", local(20, 15), local(20, 23), "U2")
    assert clash([late, person("王", local(20, 8), local(20, 16)), early]) == (early, late)
    assert clash([early, person("李", local(20, 16), local(20, 18))]) is None
    first, second = (
        person("甲", local(20, 8), local(20, 16), user=7),
        person("乙", local(20, 9), local(20, 10), user=7),
    )
    assert clash([first, second]) == (first, second)


@pytest.mark.parametrize(("days", "expected"), [("all", True), ("135", True), ("11", False), ("8", False)])
def test_days_are_words_or_weekdays_each_once(days: str, expected: bool) -> None:
    assert days_readable(days) is expected


SHIFTS_CSV = "unit,name,days,from,to\nU1,day,working,08:30,18:00\nU1,night,,20:00,08:00\n"
ROSTER_CSV = "unit,person,phone,from,to\nU1,李,1,2026-12-01 08:00,2026-12-02 08:00\n"


def test_files_give_rosters_in_the_districts_time() -> None:
    faults = Faults()
    found = parse_rosters(SHIFTS_CSV, ROSTER_CSV, SHANGHAI, faults)
    assert len(faults) == 0
    assert [shift.days for shift in found["U1"].shifts] == ["working", "all"]
    assert found["U1"].people[0].begins == datetime(2026, 12, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("shifts", "roster", "said"),
    [
        ("unit,name,from,to\nU1,day,25:00,18:00\n", "", "from = '25:00'"),
        ("unit,name,days,from,to\nU1,day,weekend,08:00,18:00\n", "", "days = 'weekend'"),
        ("unit,name,from,to\nU1,day,08:00,18:00\nU1,day,09:00,18:00\n", "", "name = 'day'"),
        ("", "unit,person,from,to\nU1,李,2026-12-01 08:00,2026-12-01 08:00\n", "after the one in from"),
        ("", "unit,person,from,to\nU1,李,tomorrow,2026-12-01 08:00\n", "from = 'tomorrow'"),
        ("", ROSTER_CSV + "U2,李,1,2026-12-01 20:00,2026-12-03 08:00\n", "at U1 and U2 at once"),
    ],
)
def test_a_wrong_line_is_named_with_its_remedy(shifts: str, roster: str, said: str) -> None:
    faults = Faults()
    parse_rosters(shifts, roster, SHANGHAI, faults)
    with pytest.raises(DistrictFilesError) as caught:
        faults.raise_if_any()
    assert said in str(caught.value)
