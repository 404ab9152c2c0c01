"""Who is on duty when: a unit's shifts, which return, and the people named for stretches of time (值班表). Pure.

Shifts say when a unit is manned, the roster says by whom. A unit on duty has a shift that runs (or keeps none) and
somebody named for now (or names nobody). A roster that has run out binds no longer: a list that nobody carried on
must not send a whole district's work into the lane.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from city.worktime import is_working_day

Period = tuple[datetime, datetime]  # from, to; the end is not part of it
Calendar = Mapping[date, bool]

_DAYS = re.compile(r"all|working|off|[1-7]{1,7}")
_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shift:
    """``days`` is all, working, off (days off by the calendar) or weekdays such as 135 (1 is Monday).

    Local time. An end that is not after the begin is on the next day; equal ones are a whole day.
    """

    name: str
    days: str = "all"
    begins: time
    ends: time


@dataclass(frozen=True, kw_only=True, slots=True)
class OnDuty:
    """A person on a unit's roster; ``user_id`` where the person logs in here. ``unit`` is a code."""

    unit: str
    person: str
    phone: str = ""
    user_id: int | None = None
    begins: datetime
    ends: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Roster:
    """A unit's shifts and people as they are edited; version 0 = it never had any."""

    version: int = 0
    shifts: Sequence[Shift] = ()
    people: Sequence[OnDuty] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Duty:
    """What dispatch knows of a unit's roster; ``periods`` in order, none touching another."""

    shifts: tuple[Shift, ...] = ()
    periods: tuple[Period, ...] = ()


def days_readable(days: str) -> bool:
    """Whether ``Shift.days`` can be read, each weekday once."""
    return _DAYS.fullmatch(days) is not None and (not days.isdigit() or len(set(days)) == len(days))


def duty_of(roster: Roster) -> Duty:
    """The same roster without its names."""
    return Duty(shifts=tuple(roster.shifts), periods=merged((one.begins, one.ends) for one in roster.people))


def merged(periods: Iterable[Period]) -> tuple[Period, ...]:
    """In order, with those that overlap or touch made one."""
    found: list[Period] = []
    for begins, ends in sorted(periods):
        if found and begins <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], ends))
        else:
            found.append((begins, ends))
    return tuple(found)


def on_duty(duty: Duty | None, at: datetime, calendar: Calendar, zone: ZoneInfo) -> bool:
    """Whether somebody is there at ``at``; a unit without any roster (None) always is."""
    if duty is None:
        return True
    if duty.periods and at < duty.periods[-1][1]:
        before = bisect_right(duty.periods, at, key=lambda period: period[0]) - 1
        if before < 0 or at >= duty.periods[before][1]:
            return False
    return not duty.shifts or any(begin <= at < end for begin, end in _shifts(duty, at, at, calendar, zone))


def begins_again(duty: Duty, at: datetime, calendar: Calendar, zone: ZoneInfo) -> datetime | None:
    """When somebody is there next, after ``at`` and within two weeks; None = not by then."""
    for day in range(14):  # day by day: the answer is usually tomorrow
        start, end = at + day * _DAY, at + (day + 1) * _DAY
        edges = {begin for begin, _ in _shifts(duty, start, end, calendar, zone)}
        edges |= {edge for period in duty.periods for edge in period}
        for edge in sorted(edge for edge in edges if start < edge <= end):
            if on_duty(duty, edge, calendar, zone):
                return edge
    return None


def gaps(duty: Duty, start: datetime, end: datetime, calendar: Calendar, zone: ZoneInfo) -> list[Period]:
    """Stretches of its shifts (without shifts: of the whole time) in which nobody is named.

    A unit that names nobody at all has none. Time after the roster's end is a gap too, though it binds no longer.
    """
    if not duty.periods:
        return []
    wanted = merged(_shifts(duty, start, end, calendar, zone)) if duty.shifts else ((start, end),)
    left = []
    for begins, ends in wanted:
        at, until = max(begins, start), min(ends, end)
        for begin, finish in duty.periods:
            if begin >= until:
                break
            if begin > at:
                left.append((at, begin))
            at = max(at, finish)
        if at < until:
            left.append((at, until))
    return left


def clash(people: Sequence[OnDuty]) -> tuple[OnDuty, OnDuty] | None:
    """The first two stretches of one person that overlap; who logs in is known by that, others by name and phone."""
    earlier: dict[object, OnDuty] = {}
    for one in sorted(people, key=lambda one: one.begins):
        who = person_key(one)
        before = earlier.get(who)
        if before is not None and one.begins < before.ends:
            return before, one
        earlier[who] = one
    return None


def person_key(one: OnDuty) -> str:
    """What makes two entries the same person; the database computes the same (migration 0015)."""
    return f"user:{one.user_id}" if one.user_id is not None else f"{one.person}|{one.phone}"


def _shifts(
    duty: Duty, start: datetime, end: datetime, calendar: Calendar, zone: ZoneInfo
) -> Iterator[Period]:
    """Every run of a shift that touches ``start`` to ``end``, in UTC."""
    day = start.astimezone(zone).date() - _DAY  # last night's may still run
    while day <= end.astimezone(zone).date():
        for shift in duty.shifts:
            if _holds(shift, day, calendar):
                over = shift.ends <= shift.begins
                begins = datetime.combine(day, shift.begins, zone).astimezone(UTC)
                ends = datetime.combine(day + _DAY if over else day, shift.ends, zone).astimezone(UTC)
                if begins <= end and ends > start:
                    yield begins, ends
        day += _DAY


def _holds(shift: Shift, day: date, calendar: Calendar) -> bool:
    if shift.days == "all":
        return True
    if shift.days in ("working", "off"):
        return is_working_day(day, calendar) == (shift.days == "working")
    return str(day.isoweekday()) in shift.days
