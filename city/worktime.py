"""Working time: deadlines written in working hours (工作时) and working days (工作日).

A limit in working days is counted as the Civil Code counts days (articles 201 and 203): the day it begins on does not
count, and it ends when business closes on the last one. A limit in working hours runs minute by minute.

Pure. ``calendar`` maps dates to whether people work, above everything else known: a district's own decision,
or the yearly arrangement before a new release of the holiday library carries it. Published years come from
``chinese_calendar`` (the State Council's yearly notice). For a year not published yet, Monday to Friday less
the statutory days stand in, and whatever rests on them is provisional.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from chinese_calendar import constants

from city.clocks import Limit, TimeUnit
from city.errors import CityError

Calendar = Mapping[date, bool]
Hours = Sequence[tuple[time, time]]  # spans of one day, in order, not overlapping

WORK_HOURS: Hours = ((time(9), time(12)), (time(14), time(18)))
_LONGEST_SEARCH_DAYS = 20 * 366
_MINUTE = timedelta(minutes=1)
SHORTEST_DAY = timedelta(hours=1)

# First day of the lunar year, Dragon Boat and Mid-Autumn. A lunar month may begin within minutes of midnight,
# and a library's arithmetic is a day off (2027 and 2030 in ICU): hence a table.
_LUNAR_DAYS = {
    2027: ((2, 6), (6, 9), (9, 15)),
    2028: ((1, 26), (5, 28), (10, 3)),
    2029: ((2, 13), (6, 16), (9, 22)),
    2030: ((2, 3), (6, 5), (9, 12)),
    2031: ((1, 23), (6, 24), (10, 1)),
    2032: ((2, 11), (6, 12), (9, 19)),
    2033: ((1, 31), (6, 1), (9, 8)),
    2034: ((2, 19), (6, 20), (9, 27)),
    2035: ((2, 8), (6, 10), (9, 16)),
    2036: ((1, 28), (5, 30), (10, 4)),
}
_FIXED_DAYS = ((1, 1), (5, 1), (5, 2), (10, 1), (10, 2), (10, 3))


class HoursError(CityError):
    """Working windows that cannot be read; says what was written and how they are written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """When a unit works: the days, the district's zone, and the hours of a day."""

    calendar: Calendar
    zone: ZoneInfo
    hours: Hours = WORK_HOURS

    @property
    def day(self) -> timedelta:
        """How long a working day is."""
        return _open_time(tuple(self.hours))


@lru_cache(maxsize=256)
def _open_time(hours: tuple[tuple[time, time], ...]) -> timedelta:
    anchor = date(2000, 1, 1)
    spans = (datetime.combine(anchor, closes) - datetime.combine(anchor, opens) for opens, closes in hours)
    return sum(spans, timedelta())


@lru_cache(maxsize=256)
def read_hours(written: str) -> Hours:
    """``09:00-12:00,14:00-18:00``; empty is the usual office hours. Raises HoursError."""
    if not written.strip():
        return WORK_HOURS
    spans = []
    for part in written.split(","):
        begin, _, end = part.strip().partition("-")
        try:
            spans.append((time.fromisoformat(begin.strip()), time.fromisoformat(end.strip())))
        except ValueError as error:
            raise HoursError(f"hours = {written!r}: write windows such as 09:00-12:00,14:00-18:00") from error
    flat = [instant for span in spans for instant in span]
    if any(one >= other for one, other in pairwise(flat)):
        raise HoursError(f"hours = {written!r}: windows follow each other and do not overlap, within one day")
    if _open_time(tuple(spans)) < SHORTEST_DAY:
        raise HoursError(f"hours = {written!r}: less than an hour a day; deadlines would lie years ahead")
    return tuple(spans)


def deadline(start: datetime, limit: Limit, windows: Windows) -> datetime:
    """When a limit that begins at ``start`` is over, in UTC."""
    if limit.unit == "natural":
        return start.astimezone(UTC) + limit.amount * _MINUTE
    if limit.unit == "working":
        return add_working_minutes(start, limit.amount, windows.calendar, windows.zone, windows.hours)
    return add_working_days(start, limit.amount, windows)


def add_working_days(start: datetime, days: int, windows: Windows) -> datetime:
    """The close of business of the n-th working day after the day of ``start``, in UTC."""
    day = start.astimezone(windows.zone).date()
    for _ in range(days):
        day = _next_working_day(day, windows.calendar)
    return datetime.combine(day, windows.hours[-1][1], windows.zone).astimezone(UTC)


def moved(instant: datetime, by: timedelta, unit: TimeUnit, windows: Windows) -> datetime:
    """``instant`` later or, with a negative ``by``, earlier by so much natural or working time, in UTC."""
    if unit == "natural":
        return instant.astimezone(UTC) + by
    minutes = by / _MINUTE
    if minutes >= 0:
        return add_working_minutes(instant, minutes, windows.calendar, windows.zone, windows.hours)
    left = -by
    for begin, end in _spans_back(instant, windows):
        if end - begin >= left:
            return end - left
        left -= end - begin
    raise ValueError(f"{-minutes:g} working minutes before {instant.isoformat()} lie beyond twenty years")


def minutes_between(start: datetime, end: datetime, unit: TimeUnit, windows: Windows) -> float:
    """Natural or working minutes from ``start`` to ``end``; 0 when ``end`` is not later."""
    if unit == "natural":
        return max(0.0, (end - start) / _MINUTE)
    return working_minutes_between(start, end, windows.calendar, windows.zone, windows.hours)


def working_days_between(first: date, last: date, calendar: Calendar) -> int:
    """Working days after ``first`` up to and with ``last``."""
    days = (first + timedelta(days=number) for number in range(1, (last - first).days + 1))
    return sum(is_working_day(day, calendar) for day in days)


def whole_year(year: int, exceptions: Calendar) -> dict[date, bool]:
    """Every day of a year: Monday to Friday, but for ``exceptions``."""
    first = date(year, 1, 1)
    days = (first + timedelta(days=number) for number in range((date(year + 1, 1, 1) - first).days))
    return {day: exceptions.get(day, day.weekday() < 5) for day in days}


def exceptions_of(year: int, calendar: Calendar) -> dict[date, bool]:
    """The days of a year that differ from Monday to Friday, as far as it is known."""
    days = whole_year(year, {})
    return {day: not usual for day, usual in days.items() if is_working_day(day, calendar) is not usual}


def is_working_day(day: date, calendar: Calendar) -> bool:
    """Whether people work on this day, as far as it is known."""
    if day in calendar:
        return calendar[day]
    if is_published(day.year):
        return day in constants.workdays or (day.weekday() < 5 and day not in constants.holidays)
    return day.weekday() < 5 and day not in statutory_days(day.year)


def is_published(year: int) -> bool:
    """Whether the holiday library carries the arrangement of this year."""
    first, last = published_years()
    return first <= year <= last


def is_provisional(start: datetime, end: datetime, calendar: Calendar, zone: ZoneInfo) -> bool:
    """Whether a stretch touches days of a year not published yet: a deadline there may move."""
    day, last = start.astimezone(zone).date(), end.astimezone(zone).date()
    while day <= last:
        if not is_published(day.year) and day not in calendar:
            return True
        day += timedelta(days=1)
    return False


def add_working_minutes(
    start: datetime, minutes: float, calendar: Calendar, zone: ZoneInfo, hours: Hours = WORK_HOURS
) -> datetime:
    """The instant (UTC) at which so many working minutes have passed since ``start``.

    A deadline that falls on the end of the day stays there and does not move to the next morning. Raises
    ValueError when twenty years do not hold enough working time: the calendar or the hours are wrong.
    """
    left = timedelta(minutes=minutes)
    if left <= timedelta(0):
        return start.astimezone(UTC)
    for begin, end in _spans(start, calendar, zone, hours):
        if end - begin >= left:
            return begin + left
        left -= end - begin
    raise ValueError(f"{minutes:g} working minutes after {start.isoformat()} lie beyond twenty years")


def working_minutes_between(
    start: datetime, end: datetime, calendar: Calendar, zone: ZoneInfo, hours: Hours = WORK_HOURS
) -> float:
    """Working minutes from ``start`` to ``end``; 0 when ``end`` is not later."""
    passed = timedelta(0)
    for begin, finish in _spans(start, calendar, zone, hours):
        if begin >= end:
            break
        passed += min(finish, end) - begin
    return passed / timedelta(minutes=1)


def _next_working_day(day: date, calendar: Calendar) -> date:
    for number in range(1, _LONGEST_SEARCH_DAYS):
        if is_working_day(later := day + timedelta(days=number), calendar):
            return later
    raise ValueError(f"no working day follows {day.isoformat()} within twenty years")


def _spans_back(end: datetime, windows: Windows) -> Iterator[tuple[datetime, datetime]]:
    """Stretches of working time before ``end``, the latest first, in UTC."""
    last = end.astimezone(windows.zone).date()
    for number in range(_LONGEST_SEARCH_DAYS):
        day = last - timedelta(days=number)
        if not is_working_day(day, windows.calendar):
            continue
        for opens, closes in reversed(windows.hours):
            begin = datetime.combine(day, opens, windows.zone).astimezone(UTC)
            finish = min(datetime.combine(day, closes, windows.zone).astimezone(UTC), end.astimezone(UTC))
            if begin < finish:
                yield begin, finish


def _spans(
    start: datetime, calendar: Calendar, zone: ZoneInfo, hours: Hours
) -> Iterator[tuple[datetime, datetime]]:
    """Stretches of working time from ``start`` on, in UTC: a zone's clock change lengthens no day."""
    first = start.astimezone(zone).date()
    for number in range(_LONGEST_SEARCH_DAYS):
        day = first + timedelta(days=number)
        if not is_working_day(day, calendar):
            continue
        for opens, closes in hours:
            begin = max(datetime.combine(day, opens, zone).astimezone(UTC), start.astimezone(UTC))
            end = datetime.combine(day, closes, zone).astimezone(UTC)
            if begin < end:
                yield begin, end


@lru_cache(maxsize=1)
def published_years() -> tuple[int, int]:
    """The first and the last year that the holiday library carries."""
    years = [day.year for day in constants.holidays]
    return min(years), max(years)


@lru_cache(maxsize=64)
def statutory_days(year: int) -> frozenset[date]:
    """The days off by law alone (since 2025: thirteen), without the shifts of a yearly notice."""
    days = {date(year, month, day) for month, day in _FIXED_DAYS}
    days.add(_clear_and_bright(year))
    if year in _LUNAR_DAYS:
        new_year, dragon_boat, mid_autumn = (date(year, *month_day) for month_day in _LUNAR_DAYS[year])
        days |= {new_year + timedelta(days=offset) for offset in (-1, 0, 1, 2)}
        days |= {dragon_boat, mid_autumn}
    return frozenset(days)


def _clear_and_bright(year: int) -> date:
    """Qingming; the rule of thumb holds for the years 2000 to 2099."""
    short = year - 2000
    return date(year, 4, int(short * 0.2422 + 4.81) - short // 4)
