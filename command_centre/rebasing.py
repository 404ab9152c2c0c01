"""A clock's deadline on another calendar: a day off was announced, a year was published, somebody decided otherwise."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

from city.clocks import Clock
from city.directory import Directory
from city.incidents import Incident
from city.worktime import Calendar, Windows, is_working_day, minutes_between, moved, working_days_between
from command_centre import clocks


def rebased(clock: Clock, old: Calendar, incident: Incident, directory: Directory, now: datetime) -> Clock:
    """The clock as it would stand had the directory's calendar held from the first day that differs from ``old``.

    What was told stays told; steps of a later deadline that are to come are told in their time. A deadline that
    somebody set on a day off was not worked out from the calendar, and stays.
    """
    windows = clocks.windows_of(clock.unit_id, directory)
    if clock.ended_at is not None or clock.limit.unit == "natural":
        return clock
    provisional = clocks.provisional_at(clock.limit, clock.started_at, clock.due_at, windows)
    differs = _first_difference(clock, old, windows)
    set_by_hand = not is_working_day(clock.due_at.astimezone(windows.zone).date(), old)
    if clock.paused_at is not None or differs is None or set_by_hand:
        return replace(clock, provisional=provisional)
    before = replace(windows, calendar=old)
    if clock.limit.unit == "working_day":
        due = _same_days(clock, differs, before, windows)
    else:
        anchor = max(clock.started_at, datetime.combine(differs, time(), windows.zone).astimezone(UTC))
        left = timedelta(minutes=minutes_between(anchor, clock.due_at, "working", before))
        due = moved(anchor, left, "working", windows)
    stands = replace(
        clock, due_at=due, provisional=clocks.provisional_at(clock.limit, clock.started_at, due, windows)
    )
    steps = clocks.ladder_of(stands, incident, directory)
    passed = sum(at is None or at <= now for at in clocks.instants(stands, steps, directory))
    return clocks.scheduled(replace(stands, said=min(clock.said, passed)), incident, directory)


def _first_difference(clock: Clock, old: Calendar, windows: Windows) -> date | None:
    day = clock.started_at.astimezone(windows.zone).date()
    last = clock.due_at.astimezone(windows.zone).date()
    while day <= last:
        if is_working_day(day, old) != is_working_day(day, windows.calendar):
            return day
        day += timedelta(days=1)
    return None


def _same_days(clock: Clock, differs: date, before: Windows, after: Windows) -> datetime:
    """As many working days from the first difference on, due at the same time of day."""
    zone = after.zone
    day = max(differs - timedelta(days=1), clock.started_at.astimezone(zone).date())
    due = clock.due_at.astimezone(zone)
    left = working_days_between(day, due.date(), before.calendar)
    while left > 0:
        day += timedelta(days=1)
        left -= is_working_day(day, after.calendar)
    return max(datetime.combine(day, due.time(), zone).astimezone(UTC), clock.started_at)
