"""The working calendar: what is known of a year, and what the district decides above it."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from psycopg import AsyncConnection
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response
from typing_extensions import TypedDict

from city import worktime
from city.calendar_year import FIRST_YEAR, LAST_YEAR, CalendarError, Day, check
from city.storage import calendar, clocks
from command_centre import clock_keeping
from command_centre.api.answers import answer, gives
from command_centre.api.once import tag, version
from command_centre.api.problem import Problem
from command_centre.api.services import async_transaction, known_directory
from command_centre.api.session import Known

router = APIRouter(prefix="/api", tags=["clocks"])

MOST_LOOKED_AT = 5_000  # incidents with open deadlines, in one preview
MOST_MOVED_TOLD = 200

Year = Annotated[int, Query(ge=FIRST_YEAR, le=LAST_YEAR)]


class GivenDay(BaseModel):
    model_config = ConfigDict(extra="forbid")

    day: date
    working: bool
    note: str = ""


class TriedYear(BaseModel):
    model_config = ConfigDict(extra="forbid")

    days: list[GivenDay] = Field(
        max_length=366, description="all that is entered for the year; [] takes it back"
    )
    complete: bool = Field(
        False, description="the State Council's whole arrangement: the year is no longer provisional"
    )


class GivenYear(TriedYear):
    reason: str = Field(min_length=1, max_length=2000, pattern=r"\S", description="why; kept for good")


class MovedDeadline(TypedDict):
    """``old`` and ``new`` are instants; ``stage`` is the clock's."""

    incident: int
    number: str
    title: str
    stage: str
    old: str
    new: str
    calendar: int


class CalendarPreview(TypedDict):
    """``more``: there are more incidents with open deadlines than were looked at."""

    looked_at: int
    more: bool
    moved: int
    working_days: int
    provisional: bool
    items: list[MovedDeadline]


@router.get("/calendar", summary="The working calendar of a year", operation_id="get_calendar")
async def get_calendar(request: Request, year: Year) -> Response:
    """`days` was entered here; `exceptions` is all that differs from Monday to Friday; `hours` are those of units that
    have none of their own. The ETag goes into If-Match."""
    async with async_transaction(request) as connection:
        shown = await _shown(connection, year)
    return answer(shown, headers={"ETag": tag(int(str(shown["version"])))})


@router.put("/calendar", summary="Decide days of a year", operation_id="put_calendar")
async def put_calendar(
    request: Request,
    year: Year,
    body: GivenYear,
    known: Known,
    if_match: Annotated[str | None, Header(max_length=64)] = None,
) -> Response:
    """Replaces what was entered for the year. Open deadlines that rest on it are worked out again within seconds,
    each with an event `deadlines_recomputed` that names the old and the new one."""
    days = _days(year, body)
    async with async_transaction(request) as connection:
        newest, expected = await calendar.lock(connection), version(if_match)
        if expected is not None and expected != newest:
            raise Problem(
                412,
                f"the calendar is at version {newest}, not {expected}: read it again",
                f"日历已被修改（版本{newest}），请重新读取",
            )
        await calendar.write(
            connection,
            year,
            days,
            complete=body.complete,
            actor=known.actor,
            reason=body.reason.strip(),
            now=datetime.now(UTC),
        )
        shown = await _shown(connection, year)
    return answer(shown, headers={"ETag": tag(int(str(shown["version"])))})


@router.post(
    "/calendar/preview",
    summary="Which deadlines other days would move",
    operation_id="preview_calendar",
    responses=gives(CalendarPreview),
)
async def preview_calendar(request: Request, year: Year, body: TriedYear, known: Known) -> Response:
    """Open deadlines as they would stand, worked out as after `PUT`, and then forgotten: nothing is written."""
    days = _days(year, body)
    now = datetime.now(UTC)
    async with async_transaction(request) as connection:
        directory = await known_directory(request).fresh(connection, now)
        async with connection.transaction(force_rollback=True):
            await calendar.lock(connection)
            await calendar.write(
                connection, year, days, complete=body.complete, actor=known.actor, reason="preview", now=now
            )
            made, above = await calendar.current(connection)
            tried = replace(directory, calendar=above, calendar_version=made)
            looked = await clocks.elsewhere(connection, made, MOST_LOOKED_AT)
            found = await clock_keeping.standing(connection, looked, tried, now)
            shown = await _shown(connection, year)
    moved = [
        {"incident": one.id, "number": one.number, "title": one.title, **happening.detail}
        for one in looked
        for happening in (found[one.id].happenings if one.id in found else ())
    ]
    body_of = {
        "looked_at": len(looked),
        "more": len(looked) == MOST_LOOKED_AT,
        "moved": len(moved),
        "working_days": shown["working_days"],
        "provisional": shown["provisional"],
        "items": moved[:MOST_MOVED_TOLD],
    }
    return answer(body_of)


def _days(year: int, body: TriedYear) -> list[Day]:
    """Raises Problem for what no year can be."""
    days = [Day(day=one.day, working=one.working, note=one.note) for one in body.days]
    try:
        check(year, days, complete=body.complete)
    except CalendarError as error:
        raise _problem(error) from error
    return days


async def _shown(connection: AsyncConnection[Any], year: int) -> Mapping[str, object]:
    newest, above = await calendar.current(connection)
    complete, days = await calendar.entered(connection, year)
    known = worktime.is_published(year) or year in await calendar.published(connection)
    exceptions = worktime.exceptions_of(year, above)
    whole = worktime.whole_year(year, exceptions)
    return {
        "year": year,
        "version": newest,
        "provisional": not known,
        "complete": complete,
        "days": [asdict(day) for day in days],
        "exceptions": [{"day": day, "working": working} for day, working in sorted(exceptions.items())],
        "statutory": sorted(worktime.statutory_days(year)),
        "working_days": sum(whole.values()),
        "waiting": await calendar.waiting(connection),
        "hours": [[f"{opens:%H:%M}", f"{closes:%H:%M}"] for opens, closes in worktime.WORK_HOURS],
    }


def _problem(error: CalendarError) -> Problem:
    return Problem(
        422,
        f"{error.field} = {error.value}: {error.remedy}",
        f"{error.field} = {error.value}：{error.remedy_zh}",
        errors=[{"field": error.field, "value": str(error.value), "remedy": error.remedy}],
        missing=[day.isoformat() for day in error.missing],
    )
