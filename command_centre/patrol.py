"""Patrol (巡查): what is owed at a point, by daily, weekly and monthly checks; and how much and how well was found.

A daily check is owed on each working day, a weekly one in each week that has one, a monthly one in each month; each
until the end of the last working day of its period. A period that passed without a check is missed for good: the
next one is owed as well, not twice.
"""

import calendar as months
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Literal, get_args
from zoneinfo import ZoneInfo

from city.errors import CityError
from city.worktime import Calendar, is_working_day

Cadence = Literal["daily", "weekly", "monthly"]
Standing = Literal["done", "due", "overdue", "rest"]
Answer = Literal["ok", "problem", "not_applicable"]
CADENCES: tuple[Cadence, ...] = get_args(Cadence)
ON_SITE_M = 200  # of a point; farther away a check counts as done, but not as done on site
LOOK_BACK = timedelta(days=62)  # for missed periods: two months


class ChecklistError(CityError):
    """A checklist that cannot be used; names checklist, key and remedy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One thing to look at; a problem with it is reported as ``category``."""

    code: str
    name: str
    name_en: str
    category: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Checklist:
    """What is looked at in one kind of place."""

    code: str
    name: str
    name_en: str
    cadence: Cadence
    items: tuple[Item, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Owed:
    """Where a point stands now. ``period`` is first and last day; ``missed`` periods in a row before it had no check.

    ``due_at`` None when nothing is owed in this period (a holiday).
    """

    standing: Standing
    period: tuple[date, date]
    due_at: datetime | None
    missed: int
    checked_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """What is patrolled; ``since`` is when it began to be owed, ``until`` when it was removed."""

    id: int
    cadence: Cadence
    since: datetime
    until: datetime | None = None
    worker: str = ""  # whose route it is on
    cell: str = ""
    route: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """What one person found at one point in a span: sums over their checks there."""

    point_id: int
    actor: str
    checks: int
    on_site: int = 0  # of the checks: within ON_SITE_M of the point
    fixed: int = 0
    reported: int = 0
    confirmed: int = 0  # of those reported: handled, verified, answered or archived
    void: int = 0  # of those reported: found to be nothing


@dataclass(kw_only=True, slots=True)
class Figures:
    """How much and how well was found, for one worker, cell or route."""

    owed: int = 0
    done: int = 0
    checks: int = 0
    on_site: int = 0
    fixed: int = 0
    reported: int = 0
    confirmed: int = 0
    void: int = 0

    def shown(self) -> dict[str, int | None]:
        """With the shares in whole percent; None where there is nothing to take a share of."""
        judged = self.confirmed + self.void
        return {
            "owed": self.owed,
            "done": self.done,
            "done_percent": _percent(self.done, self.owed),
            "checks": self.checks,
            "on_site_percent": _percent(self.on_site, self.checks),
            "problems": self.fixed + self.reported,
            "fixed_on_spot": self.fixed,
            "reported": self.reported,
            "confirmed": self.confirmed,
            "void": self.void,
            "confirmed_percent": _percent(self.confirmed, judged),
        }


def checklists(tables: Mapping[str, object], where: str) -> dict[str, Checklist]:
    """From the tables of a TOML file; raises ChecklistError naming what is wrong."""
    return {code: _checklist(code, table, where) for code, table in tables.items()}


def _checklist(code: str, table: object, where: str) -> Checklist:
    if not isinstance(table, Mapping):
        raise ChecklistError(f"{where}: [{code}] is no table")
    cadence = table.get("cadence", "weekly")
    if cadence not in CADENCES:
        raise ChecklistError(f"{where}: {code}.cadence = {cadence!r}: use {', '.join(CADENCES)}")
    listed = table.get("items")
    if not isinstance(listed, list) or not listed:
        raise ChecklistError(f"{where}: {code}.items: give at least one")
    items = []
    for number, entry in enumerate(listed, 1):
        missing = [key for key in ("code", "name", "name_en", "category") if not _text(entry, key)]
        if missing:
            raise ChecklistError(f"{where}: {code}.items[{number}]: {', '.join(missing)} missing")
        items.append(Item(**{key: entry[key] for key in ("code", "name", "name_en", "category")}))
    codes = [item.code for item in items]
    if len(set(codes)) < len(codes):
        raise ChecklistError(f"{where}: {code}.items: a code stands twice")
    for key in ("name", "name_en"):
        if not _text(table, key):
            raise ChecklistError(f"{where}: {code}.{key} missing")
    return Checklist(
        code=code, name=table["name"], name_en=table["name_en"], cadence=cadence, items=tuple(items)
    )


def _text(table: object, key: str) -> bool:
    return isinstance(table, Mapping) and isinstance(table.get(key), str) and bool(table[key])


# ── what is owed ──────────────────────────────────────────────────────────────────────────────────────


def period(cadence: Cadence, day: date) -> tuple[date, date]:
    """First and last day of the period that holds ``day``; weeks begin on Monday."""
    if cadence == "daily":
        return day, day
    if cadence == "weekly":
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=6)
    return day.replace(day=1), day.replace(day=months.monthrange(day.year, day.month)[1])


def due_at(first: date, last: date, calendar: Calendar, zone: ZoneInfo) -> datetime | None:
    """The end of the period's last working day; None when it has none."""
    day = last
    while day >= first:
        if is_working_day(day, calendar):
            return datetime.combine(day + timedelta(days=1), time(0), zone)
        day -= timedelta(days=1)
    return None


def due(point: Point, checks: Sequence[datetime], calendar: Calendar, now: datetime, zone: ZoneInfo) -> Owed:
    """Where a point stands; ``checks`` are the times of its checks, in any order."""
    checked = {period(point.cadence, at.astimezone(zone).date())[0] for at in checks}
    first, last = period(point.cadence, now.astimezone(zone).date())
    by = due_at(first, last, calendar, zone)
    missed = _missed(point, checked, first, calendar, zone)
    if first in checked:
        standing: Standing = "done"
    elif by is None or by <= point.since:
        standing = "rest"
    else:
        standing = "overdue" if missed or now >= by else "due"
    return Owed(
        standing=standing,
        period=(first, last),
        due_at=by,
        missed=missed,
        checked_at=max(checks) if checks else None,
    )


def _missed(point: Point, checked: set[date], before: date, calendar: Calendar, zone: ZoneInfo) -> int:
    """Periods in a row, ending with the one before, that were owed and not checked; as far as we look back.

    ``checked`` are the first days of periods that have a check.
    """
    missed = 0
    oldest = max(point.since.astimezone(zone).date(), before - LOOK_BACK)
    last = before - timedelta(days=1)
    while last >= oldest:
        first, end = period(point.cadence, last)
        if first in checked:
            break
        by = due_at(first, end, calendar, zone)
        if by is not None and by > point.since:
            missed += 1
        last = first - timedelta(days=1)
    return missed


# ── appraisal ─────────────────────────────────────────────────────────────────────────────────────────


def appraise(
    points: Sequence[Point],
    made: Sequence[Made],
    days: Mapping[int, Sequence[date]],
    calendar: Calendar,
    span: tuple[datetime, datetime],
    zone: ZoneInfo,
    by: Literal["worker", "cell", "route"],
) -> dict[str, Figures]:
    """Figures of a span. Owed is what fell due in it; a check belongs to who made it, a duty to whose route it is.

    ``days`` are the district's days on which each point was checked, from the first period that the span touches.
    """
    of = {point.id: point for point in points}
    figures: dict[str, Figures] = {}
    for one in made:
        if one.point_id in of:
            name = one.actor if by == "worker" else getattr(of[one.point_id], by)
            _add(figures.setdefault(name, Figures()), one)
    periods = {cadence: list(_ending_in(cadence, calendar, span, zone)) for cadence in CADENCES}
    for point in points:
        mine = figures.setdefault(getattr(point, by), Figures())
        checked = {period(point.cadence, day)[0] for day in days.get(point.id, ())}
        for first, due_by in periods[point.cadence]:
            if point.since < due_by and (point.until is None or point.until >= due_by):
                mine.owed += 1
                mine.done += first in checked
    return {name: found for name, found in figures.items() if found.owed or found.checks}


def _add(figures: Figures, made: Made) -> None:
    figures.checks += made.checks
    figures.on_site += made.on_site
    figures.fixed += made.fixed
    figures.reported += made.reported
    figures.confirmed += made.confirmed
    figures.void += made.void


def _ending_in(
    cadence: Cadence, calendar: Calendar, span: tuple[datetime, datetime], zone: ZoneInfo
) -> Iterator[tuple[date, datetime]]:
    """First day and end of the periods whose time ended within the span."""
    first, last = period(cadence, span[0].astimezone(zone).date())
    end = span[1].astimezone(zone).date()
    while first <= end:
        by = due_at(first, last, calendar, zone)
        if by is not None and span[0] < by <= span[1]:
            yield first, by
        first, last = period(cadence, last + timedelta(days=1))


def _percent(part: int, whole: int) -> int | None:
    return part * 100 // whole if whole else None
