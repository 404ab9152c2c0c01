"""The working calendar: what people entered, the versions that deadlines rest on, and what holds now; asynchronous.

A version is made by a person's change, or by a holiday library that knows a further year. Whoever makes one holds
the table's lock, so that two processes that start together make one.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from city import worktime
from city.calendar_year import Day
from city.incidents import SYSTEM
from city.storage import audit
from city.worktime import Calendar

Connection = AsyncConnection[Any]

YEARS_BACK, YEARS_AHEAD = 2, 5  # open deadlines lie between; the rest is read from the holiday library


async def version(connection: Connection) -> int:
    """The newest version; 0 when there is none yet."""
    cursor = await connection.execute("SELECT coalesce(max(version), 0) FROM calendar_versions")
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def current(connection: Connection) -> tuple[int, Calendar]:
    """The newest version (0: none yet), and the days that stand above what the holiday library knows."""
    cursor = await connection.execute(
        "SELECT version, published FROM calendar_versions ORDER BY version DESC LIMIT 1"
    )
    row = await cursor.fetchone()
    newest, years = (int(row[0]), list(row[1])) if row else (0, [])
    days: dict[date, bool] = {}
    for year in years:  # entered by a person, or known to a newer process than this one
        if not worktime.is_published(year):
            days |= worktime.whole_year(year, await _exceptions(connection, newest))
    return newest, days | await _entered(connection)


async def version_days(connection: Connection, number: int) -> Calendar:
    """Every day that an earlier version knew; empty for version 0, which was the library alone."""
    cursor = await connection.execute(
        "SELECT first_year, last_year FROM calendar_versions WHERE version = %s", (number,)
    )
    row = await cursor.fetchone()
    if row is None:
        return {}
    exceptions = await _exceptions(connection, number)
    days: dict[date, bool] = {}
    for year in range(row[0], row[1] + 1):
        days |= worktime.whole_year(year, exceptions)
    return days


async def entered(connection: Connection, year: int) -> tuple[bool, list[Day]]:
    """Whether somebody entered this year's whole arrangement, and the days entered for it, in order."""
    cursor = await connection.execute("SELECT complete FROM calendar_years WHERE year = %s", (year,))
    row = await cursor.fetchone()
    async with connection.cursor(row_factory=class_row(Day)) as days:
        await days.execute(
            "SELECT day, working, note FROM calendar_days WHERE year = %s ORDER BY day", (year,)
        )
        return bool(row and row[0]), await days.fetchall()


async def published(connection: Connection) -> Sequence[int]:
    """Years whose arrangement is known as a whole, as of the newest version."""
    cursor = await connection.execute("SELECT published FROM calendar_versions ORDER BY version DESC LIMIT 1")
    row = await cursor.fetchone()
    return list(row[0]) if row else []


async def waiting(connection: Connection) -> int:
    """How many open clocks still rest on an older version than the newest."""
    cursor = await connection.execute(
        "SELECT count(*) FROM incident_clocks WHERE ended_at IS NULL"
        " AND calendar < (SELECT coalesce(max(version), 0) FROM calendar_versions)"
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def lock(connection: Connection) -> int:
    """Hold the calendar until the transaction ends; its newest version."""
    await connection.execute("LOCK TABLE calendar_versions IN SHARE ROW EXCLUSIVE MODE")
    return await version(connection)


async def write(
    connection: Connection,
    year: int,
    days: Sequence[Day],
    *,
    complete: bool,
    actor: str,
    reason: str,
    now: datetime,
) -> int:
    """Make these the entered days of a year; the new version. Call ``lock`` first."""
    before = await entered(connection, year)
    await connection.execute("DELETE FROM calendar_days WHERE year = %s", (year,))
    await connection.execute(
        """
        INSERT INTO calendar_years (year, complete) VALUES (%s, %s)
        ON CONFLICT (year) DO UPDATE SET complete = excluded.complete
        """,
        (year, complete),
    )
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO calendar_days (day, working, note) VALUES (%s, %s, %s)",
            [(day.day, day.working, day.note) for day in days],
        )
    made = await _new_version(connection, actor, reason, now)
    await audit.record(
        connection,
        actor=actor,
        action="calendar.changed",
        subject=str(year),
        reason=reason,
        detail={
            "version": made,
            "complete": complete,
            "before": _listed(*before),
            "after": _listed(complete, days),
        },
        at=now,
    )
    return made


async def note_library(connection: Connection, now: datetime) -> int | None:
    """A new version when the holiday library knows years that the newest one does not; None when it does not."""
    async with connection.transaction():
        if await _library_is_noted(connection, now):
            return None
        await lock(connection)
        if await _library_is_noted(connection, now):
            return None
        first, last = worktime.published_years()
        return await _new_version(connection, SYSTEM, f"holiday library {first}-{last}", now)


async def _library_is_noted(connection: Connection, now: datetime) -> bool:
    cursor = await connection.execute("SELECT published FROM calendar_versions ORDER BY version DESC LIMIT 1")
    row = await cursor.fetchone()
    return row is not None and _library_years(now) <= set(row[0])


def _library_years(now: datetime) -> set[int]:
    _, last = worktime.published_years()
    return set(range(now.year - YEARS_BACK, last + 1))


async def _new_version(connection: Connection, actor: str, reason: str, now: datetime) -> int:
    number = await lock(connection) + 1
    cursor = await connection.execute("SELECT year FROM calendar_years WHERE complete")
    complete = {int(row[0]) for row in await cursor.fetchall()}
    known = set(await published(connection)) - await _once_complete(connection)
    years = sorted(complete | known | _library_years(now))
    days = await _standing(connection, years, complete)
    first, last = now.year - YEARS_BACK, now.year + YEARS_AHEAD
    exceptions: dict[str, bool] = {}
    for year in range(first, last + 1):
        exceptions |= {
            day.isoformat(): working for day, working in worktime.exceptions_of(year, days).items()
        }
    await connection.execute(
        """
        INSERT INTO calendar_versions (version, made_at, actor, reason, first_year, last_year, published, exceptions)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
        """,
        (number, now, actor, reason, first, last, years, Jsonb(exceptions)),
    )
    return number


async def _once_complete(connection: Connection) -> set[int]:
    """Years that a person entered as a whole at some time: they count only while they stand so."""
    cursor = await connection.execute("SELECT year FROM calendar_years")
    return {int(row[0]) for row in await cursor.fetchall()}


async def _standing(connection: Connection, years: Sequence[int], complete: set[int]) -> Calendar:
    """What stands above the library: years only a newer process or a person knows, then the days entered."""
    _, kept = await current(connection)
    given = await _entered(connection)
    days: dict[date, bool] = {}
    for year in years:
        if year in complete:
            days |= worktime.whole_year(year, given)
        elif not worktime.is_published(year):
            days |= {day: working for day, working in kept.items() if day.year == year}
    return days | given


async def _entered(connection: Connection) -> dict[date, bool]:
    cursor = await connection.execute("SELECT day, working FROM calendar_days")
    return {row[0]: row[1] for row in await cursor.fetchall()}


async def _exceptions(connection: Connection, number: int) -> dict[date, bool]:
    cursor = await connection.execute(
        "SELECT exceptions FROM calendar_versions WHERE version = %s", (number,)
    )
    row = await cursor.fetchone()
    return {date.fromisoformat(day): working for day, working in (row[0] if row else {}).items()}


def _listed(complete: bool, days: Sequence[Day]) -> Mapping[str, object]:
    return {"complete": complete, "days": {day.day.isoformat(): day.working for day in days}}
