"""Rosters of units (值班表), edited as a whole; and who is on duty now, with the gaps to come."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from psycopg import AsyncConnection, errors
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from city.directory import Directory
from city.rosters import OnDuty, Roster, Shift, begins_again, clash, days_readable, duty_of, gaps
from city.storage import rosters
from city.units import Unit
from command_centre.api.access import ROLES
from command_centre.api.answers import answer
from command_centre.api.once import tag, version
from command_centre.api.problem import Problem, field_problem, not_found
from command_centre.api.services import async_transaction, known_directory
from command_centre.api.session import Known

router = APIRouter(prefix="/api", tags=["duty"])

AHEAD = timedelta(days=7)  # how far gaps are looked for
_LONGEST = timedelta(days=366 * 5)  # one stretch of one person: beyond it a year was mistyped


class ShiftBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    days: str = Field(
        "all", max_length=10, description="all, working, off, or weekdays such as 12345 (1: Monday)"
    )
    begins: time = Field(alias="from", description="local time, such as 08:30")
    ends: time = Field(alias="to", description="not after `from`: on the next day; equal: a whole day")


class PersonBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    person: str = Field(min_length=1, max_length=100)
    phone: str = Field("", max_length=50)
    user: str | None = Field(None, max_length=100, description="log-in name, for somebody who has an account")
    begins: AwareDatetime = Field(alias="from")
    ends: AwareDatetime = Field(alias="to", description="not part of it")


class RosterBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    shifts: list[ShiftBody] = Field(default_factory=list, max_length=50)
    people: list[PersonBody] = Field(default_factory=list, max_length=2000)


@router.get("/units/{code}/roster", summary="A unit's shifts and people", operation_id="get_roster")
async def get_roster(request: Request, code: str) -> Response:
    """Without the people whose time is over. A unit without any roster is always on duty; its ETag is `"0"`."""
    now = datetime.now(UTC)
    async with async_transaction(request) as connection:
        directory = await known_directory(request).fresh(connection, now)
        unit = _unit(directory, code)
        roster = await rosters.of_unit(connection, unit.id, now)
        shown = await _shown(connection, unit, roster, directory, now)
    return answer(shown, headers={"ETag": tag(roster.version)})


@router.put("/units/{code}/roster", summary="Write a unit's roster", operation_id="put_roster")
async def put_roster(
    request: Request,
    code: str,
    body: RosterBody,
    known: Known,
    if_match: Annotated[str | None, Header(max_length=64)] = None,
) -> Response:
    """As a whole, over what it has from now on; a unit's own handlers may write it, and the centre.

    One person on duty twice at once is refused, here or elsewhere.
    """
    if if_match is None:
        raise Problem(428, "send If-Match with the ETag that was read", "请附带读取时得到的 If-Match")
    now = datetime.now(UTC)
    async with async_transaction(request) as connection:
        directory = await known_directory(request).fresh(connection, now)
        unit = _unit(directory, code)
        if known.role not in ROLES["dispatcher"] and known.unit_id != unit.id:
            raise Problem(
                403,
                f"only the centre and {code} itself write its roster",
                f"只有指挥中心和{unit.name}自己可以修改其值班表",
            )
        stands = await rosters.version(connection, unit.id, lock=True)
        if version(if_match) not in (None, stands):
            raise Problem(
                412,
                f"the roster of {code} is at version {stands}: read it again",
                f"{code} 的值班表已被他人修改（版本{stands}），请刷新",
            )
        people = await _people(connection, code, body.people, now)
        roster = Roster(shifts=_shifts(body.shifts), people=people)
        await _refuse_clash(connection, unit, people, now, directory)
        try:
            number = await rosters.replace(connection, unit.id, roster, since=now, actor=known.actor, now=now)
        except errors.ExclusionViolation as error:  # somebody wrote another unit's roster at the same moment
            raise Problem(
                409,
                "a person is on duty elsewhere at the same time; read again",
                "有人同时在别处值班，请刷新",
            ) from error
        written = Roster(version=number, shifts=roster.shifts, people=people)
        shown = await _shown(connection, unit, written, directory, now)
    return answer(shown, headers={"ETag": tag(number)})


@router.get("/duty", summary="Who is on duty, and the gaps to come", operation_id="get_duty")
async def get_duty(
    request: Request,
    at: Annotated[AwareDatetime | None, Query(description="left out = now")] = None,
) -> Response:
    """Every working unit by code; gaps are stretches of the seven days from `at` on in which nobody is named."""
    now = (at or datetime.now(UTC)).astimezone(UTC)
    async with async_transaction(request) as connection:
        directory = await known_directory(request).fresh(connection, now)
        named = await rosters.people(connection, now, now + timedelta(microseconds=1))
    by_unit: dict[str, list[OnDuty]] = {}
    for one in named:
        by_unit.setdefault(one.unit, []).append(one)
    units = sorted((directory.units[unit_id] for unit_id in directory.active), key=lambda unit: unit.code)
    found = [
        {"unit": unit.code, "from": begins, "to": ends}
        for unit in units
        if (duty := directory.duty.get(unit.id)) is not None
        for begins, ends in gaps(duty, now, now + AHEAD, directory.calendar, directory.zone)
    ]
    items = [_on_duty(unit, by_unit.get(unit.code, []), directory, now) for unit in units]
    return answer({"at": now, "items": items, "gaps": found, "next": None})


def _on_duty(unit: Unit, named: Sequence[OnDuty], directory: Directory, now: datetime) -> dict[str, Any]:
    duty = directory.duty.get(unit.id)
    there = directory.on_duty(unit.id, now)
    again = None
    if duty is not None and not there:
        again = begins_again(duty, now, directory.calendar, directory.zone)
    return {
        "unit": unit.code,
        "name": unit.name,
        "name_en": unit.name_en,
        "phone": unit.phone,
        "on_duty": there,
        "keeps_roster": duty is not None,
        "again_at": again,
        "fallback": unit.fallback,
        "people": [{"person": one.person, "phone": one.phone, "to": one.ends} for one in named if there],
        "full": unit.capacity is not None and directory.open_work.get(unit.id, 0) >= unit.capacity,
        "capacity": unit.capacity,
    }


async def _shown(
    connection: AsyncConnection[Any], unit: Unit, roster: Roster, directory: Directory, now: datetime
) -> dict[str, Any]:
    ids = [one.user_id for one in roster.people if one.user_id is not None]
    names = await rosters.user_names(connection, ids) if ids else {}
    keeps = bool(roster.shifts or roster.people)
    missing = gaps(duty_of(roster), now, now + AHEAD, directory.calendar, directory.zone) if keeps else []
    return {
        "unit": unit.code,
        "version": roster.version,
        "shifts": [
            {"name": one.name, "days": one.days, "from": f"{one.begins:%H:%M}", "to": f"{one.ends:%H:%M}"}
            for one in roster.shifts
        ],
        "people": [
            {
                "person": one.person,
                "phone": one.phone,
                "user": names.get(one.user_id) if one.user_id is not None else None,
                "from": one.begins,
                "to": one.ends,
            }
            for one in roster.people
        ],
        "gaps": [{"from": begins, "to": ends} for begins, ends in missing],
    }


def _unit(directory: Directory, code: str) -> Unit:
    unit = directory.unit_by_code(code)
    if unit is None:
        raise not_found("working unit", "在用单位", code)
    return unit


def _shifts(given: Sequence[ShiftBody]) -> list[Shift]:
    seen: set[str] = set()
    for number, one in enumerate(given):
        if one.name in seen:
            remedy = "another shift of this unit has this name; give each its own"
            raise field_problem(f"shifts.{number}.name", one.name, remedy, "班次名称重复，请各取其名")
        seen.add(one.name)
        if not days_readable(one.days):
            raise field_problem(
                f"shifts.{number}.days",
                one.days,
                "write all, working, off, or weekdays such as 12345",
                "请写 all、working、off，或如 12345 的星期",
            )
        if one.begins.tzinfo is not None or one.ends.tzinfo is not None:
            remedy = "write a local time without an offset, such as 08:30"
            raise field_problem(f"shifts.{number}.from", one.begins, remedy, "请写本地时间，如 08:30")
    return [Shift(name=one.name, days=one.days, begins=one.begins, ends=one.ends) for one in given]


async def _people(
    connection: AsyncConnection[Any], code: str, given: Sequence[PersonBody], now: datetime
) -> list[OnDuty]:
    names = [one.user for one in given if one.user is not None]
    ids: Mapping[str, int] = await rosters.user_ids(connection, names) if names else {}
    for number, one in enumerate(given):
        if one.user is not None and one.user not in ids:
            raise field_problem(f"people.{number}.user", one.user, "no such account", "没有该账号")
        if one.ends <= one.begins:
            raise field_problem(
                f"people.{number}.to", one.ends, "must be later than `from`", "结束时间必须晚于开始时间"
            )
        if one.ends <= now:
            remedy = "is over already; leave it out, the past stays as it was"
            raise field_problem(f"people.{number}.to", one.ends, remedy, "已经过去，请去掉该行")
        if one.ends - one.begins > _LONGEST:
            raise field_problem(f"people.{number}.to", one.ends, "at most five years", "最长五年")
    return [
        OnDuty(
            unit=code,
            person=one.person,
            phone=one.phone,
            user_id=ids.get(one.user) if one.user is not None else None,
            begins=one.begins.astimezone(UTC),
            ends=one.ends.astimezone(UTC),
        )
        for one in given
    ]


async def _refuse_clash(
    connection: AsyncConnection[Any],
    unit: Unit,
    people: Sequence[OnDuty],
    now: datetime,
    directory: Directory,
) -> None:
    """409 that names both stretches, in this roster, another unit's, or what is over here."""
    if not people:
        return
    around = await rosters.people(
        connection, min(one.begins for one in people), max(one.ends for one in people)
    )
    stays = [one for one in around if one.unit != unit.code or one.ends <= now]
    two = clash([*people, *stays])
    if two is None or not any(one in people for one in two):
        return
    said = [
        f"{one.unit} {one.begins.astimezone(directory.zone):%Y-%m-%d %H:%M} – "
        f"{one.ends.astimezone(directory.zone):%m-%d %H:%M}"
        for one in two
    ]
    raise Problem(
        409,
        f"{two[1].person} is on duty twice at once: {said[0]} and {said[1]}; end one of them earlier",
        f"{two[1].person} 的值班时间重叠：{said[0]} 与 {said[1]}，请调整其一",
        errors=[{"field": "people", "value": two[1].person, "remedy": f"{said[0]} / {said[1]}"}],
    )
