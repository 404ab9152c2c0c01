"""When a rule is in force: hours of the day, days, and a season, in the district's own time.

Counted on event time, so that a replay a year later finds the same night. Outside its schedule a rule neither
raises nor keeps an alarm.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Literal, cast, get_args
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from city.worktime import is_working_day
from rules.keys import Keys

Days = Literal["all", "mon-fri", "weekend", "working", "non-working"]

_DAY_MIN = 24 * 60
_QUARTER_US = 15 * 60 * 1_000_000  # no zone changes its clock within a quarter of an hour
_MINUTE_US = 60 * 1_000_000
_EPOCH = date(1970, 1, 1)
_NO_CALENDAR: Mapping[date, bool] = {}
_LOOKAHEAD_DAYS = (3, 40, 400)  # nights end soon, seasons late; after more than a year nothing ends
FOREVER_US = 2**62


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """Local time. A span of hours that ends before it begins runs over midnight and belongs to its first day."""

    hours: tuple[tuple[int, int], ...] = ()  # minutes of the day, end excluded; empty = round the clock
    days: Days = "all"  # working: the real calendar with its moved days (调休)
    season: tuple[tuple[int, int], tuple[int, int]] | None = (
        None  # (month, day) to (month, day), both included
    )

    def mask(self, instants_us: NDArray[np.int64], zone: ZoneInfo) -> NDArray[np.bool_]:
        """Which instants (microseconds since 1970 UTC) lie within the schedule."""
        local_us = instants_us + _offsets_us(instants_us, zone)
        minute = local_us // _MINUTE_US
        day, minute = minute // _DAY_MIN, minute % _DAY_MIN
        if not self.hours:
            return self._days(day)
        inside = np.zeros(len(instants_us), dtype=np.bool_)
        for begin, end in self.hours:
            if begin < end:
                inside |= (minute >= begin) & (minute < end) & self._days(day)
            else:
                inside |= (minute >= begin) & self._days(day)
                inside |= (minute < end) & self._days(day - 1)
        return inside

    def covers(self, instant_us: int, zone: ZoneInfo) -> bool:
        return bool(self.mask(np.array([instant_us], dtype=np.int64), zone)[0])

    def _days(self, day: NDArray[np.int64]) -> NDArray[np.bool_]:
        known, place = np.unique(day, return_inverse=True)
        chosen = np.array([self._on(int(number)) for number in known], dtype=np.bool_)
        result: NDArray[np.bool_] = chosen[place]
        return result

    def _on(self, day_number: int) -> bool:
        day = _EPOCH + timedelta(days=day_number)
        return self._in_season((day.month, day.day)) and _is_of(day, self.days)

    def _in_season(self, month_day: tuple[int, int]) -> bool:
        if self.season is None:
            return True
        first, last = self.season
        if first <= last:
            return first <= month_day <= last
        return month_day >= first or month_day <= last


class Hours:
    """A schedule in a district's zone: which span of time an instant lies in."""

    def __init__(self, schedule: Schedule, zone: ZoneInfo) -> None:
        self._schedule = schedule
        self._zone = zone

    def covers(self, instants_us: NDArray[np.int64]) -> NDArray[np.bool_]:
        return self._schedule.mask(instants_us, self._zone)

    def end_us(self, instant_us: int) -> int | None:
        """When the span around the instant ends (FOREVER_US when never); None = the instant lies outside."""
        return _end_us(self._schedule, self._zone, instant_us // _MINUTE_US)


@lru_cache(maxsize=4096)
def _end_us(schedule: Schedule, zone: ZoneInfo, minute: int) -> int | None:
    """Asked for every crossing of a night, answered once a minute: spans begin and end with a minute."""
    from_us = minute * _MINUTE_US
    if not schedule.covers(from_us, zone):
        return None
    for days in _LOOKAHEAD_DAYS:
        bounds = _bounds(schedule, zone, from_us, days)
        outside = bounds[~schedule.mask(bounds, zone)]
        if len(outside):
            return int(outside[0])
    return FOREVER_US


def _bounds(schedule: Schedule, zone: ZoneInfo, from_us: int, days: int) -> NDArray[np.int64]:
    """Every instant after ``from_us`` at which the schedule can end: midnights, ends of hours, changed clocks."""
    first = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=from_us)).astimezone(zone)
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    minutes = sorted({0, *(end for _, end in schedule.hours), *(begin for begin, _ in schedule.hours)})
    found: set[int] = set()
    for number in range(days):
        day, after = midnight + timedelta(days=number), midnight + timedelta(days=number + 1)
        begin_us = _instant_us(day)
        found.update(_instant_us(day + timedelta(minutes=minute)) for minute in minutes)
        if day.utcoffset() != after.utcoffset():
            found.update(range(begin_us, begin_us + 26 * 3_600_000_000, _QUARTER_US))
            found.update(_instant_us((day + timedelta(minutes=minute)).replace(fold=1)) for minute in minutes)
    return np.array(sorted(bound for bound in found if bound > from_us), dtype=np.int64)


def _instant_us(local: datetime) -> int:
    return (local.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def read_schedule(keys: Keys) -> Schedule | None:
    """The table [rule.schedule]; None = always."""
    table = keys.table("schedule")
    if table is None:
        return None
    spans = tuple(_hours(table, text) for text in sorted(table.texts("hours")))
    days = cast(Days, table.choice("days", get_args(Days), "all"))
    season = _season(table) if table.has("season") else None
    table.refuse_the_rest()
    if not spans and days == "all" and season is None:
        raise keys.error(
            "schedule",
            "is empty; give hours, days or season, or leave it out",
            "为空：请填写时段、日期类型或季节，或去掉",
        )
    return Schedule(hours=spans, days=days, season=season)


def _hours(table: Keys, text: str) -> tuple[int, int]:
    try:
        begin, end = (datetime.strptime(part, "%H:%M") for part in text.split("-"))  # noqa: DTZ007 - a time of day
    except ValueError as error:
        raise table.error("hours", 'write spans such as "22:00-06:00"', "请写时段，如 22:00-06:00") from error
    if begin == end:
        raise table.error(
            "hours", f"{text} is empty; for the whole day leave hours out", f"{text} 为空；全天请不填时段"
        )
    return begin.hour * 60 + begin.minute, end.hour * 60 + end.minute


def _season(table: Keys) -> tuple[tuple[int, int], tuple[int, int]]:
    text = table.text("season")
    try:
        first, last = (date.fromisoformat(f"2000-{part}") for part in text.split("/"))
    except ValueError as error:
        raise table.error(
            "season", 'write month and day, such as "05-15/09-30"', "请写月和日，如 05-15/09-30"
        ) from error
    return (first.month, first.day), (last.month, last.day)


def _is_of(day: date, days: Days) -> bool:
    match days:
        case "all":
            return True
        case "mon-fri":
            return day.weekday() < 5
        case "weekend":
            return day.weekday() >= 5
        case "working":
            return is_working_day(day, _NO_CALENDAR)
        case "non-working":
            return not is_working_day(day, _NO_CALENDAR)


def _offsets_us(instants_us: NDArray[np.int64], zone: ZoneInfo) -> NDArray[np.int64]:
    quarters, place = np.unique(instants_us // _QUARTER_US, return_inverse=True)
    offsets = np.array([_offset_us(int(quarter), zone) for quarter in quarters], dtype=np.int64)
    result: NDArray[np.int64] = offsets[place]
    return result


@lru_cache(maxsize=4096)
def _offset_us(quarter: int, zone: ZoneInfo) -> int:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=quarter * _QUARTER_US)
    offset = at.astimezone(zone).utcoffset() or timedelta(0)
    return offset // timedelta(microseconds=1)
