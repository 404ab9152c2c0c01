"""Patrol (巡查): routes and what is owed on them today, checks point by point, and the figures of who found what."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Path, Query, Request
from psycopg import AsyncConnection
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from city.storage import directory, patrol
from city.storage.patrol import NewPoint
from command_centre import checklists, patrol_actions
from command_centre import patrol as rules
from command_centre.api import once, paging
from command_centre.api.access import Caller
from command_centre.api.answers import answer
from command_centre.api.problem import Problem, not_found
from command_centre.api.refusals import refusable
from command_centre.api.services import async_transaction, services
from command_centre.api.session import Known

router = APIRouter(prefix="/api/patrol", tags=["patrol"])

ALL_ROUTES = frozenset({"dispatcher", "supervisor", "administrator"})
LONGEST_SPAN = timedelta(days=400)
Code = Annotated[str, Path(pattern="^[A-Za-z0-9._-]{1,60}$")]


class Point(BaseModel):
    model_config = ConfigDict(extra="forbid")

    code: str = Field(pattern="^[A-Za-z0-9._-]{1,60}$")
    name: str = Field(min_length=1, max_length=100)
    cell: str | None = Field(None, max_length=100, description="a code of /api/cells")
    building: str = Field("", max_length=100)
    longitude: float | None = Field(None, ge=-180, le=180)
    latitude: float | None = Field(None, ge=-90, le=90)
    checklist: str = Field(max_length=60, description="a code of /api/patrol/checklists")
    cadence: Literal["", "daily", "weekly", "monthly"] = Field("", description="left out: the checklist's")


class Route(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    name_en: str = Field("", max_length=100)
    assigned_to: str | None = Field(None, max_length=64, description="log-in name; left out: any grid worker")
    active: bool = True
    points: list[Point] = Field(max_length=1000, description="in the order of walking")


class Answered(BaseModel):
    model_config = ConfigDict(extra="forbid")

    item: str = Field(max_length=60)
    answer: Literal["ok", "problem", "not_applicable"]
    note: str = Field("", max_length=1000, description="needed with a problem")
    photos: list[str] = Field(default_factory=list, max_length=5, description="digests from POST /api/photos")
    fixed: bool = Field(False, description="put right on the spot: counted, no incident")


class Check(BaseModel):
    model_config = ConfigDict(extra="forbid")

    client_id: UUID = Field(description="made by the phone; the same one again is the same check")
    route: str = Field(max_length=60)
    point: str = Field(max_length=60)
    observed_at: AwareDatetime
    longitude: float | None = Field(None, ge=-180, le=180)
    latitude: float | None = Field(None, ge=-90, le=90)
    note: str = Field("", max_length=1000)
    answers: list[Answered] = Field(max_length=100)


@router.get("/checklists", summary="What is looked at", operation_id="patrol_checklists")
async def list_checklists(request: Request) -> Response:
    """By kind of place; a district may bring its own."""
    found = checklists.load(services(request).settings.config)
    return answer({"items": list(found.values()), "next": None})


@router.get("/routes", summary="Routes", operation_id="list_patrol_routes")
async def list_routes(request: Request, known: Known) -> Response:
    """Grid workers see those they walk; whoever leads sees all."""
    async with async_transaction(request) as connection:
        rows = await patrol.routes(connection, worker_id=None if _leads(known) else _own(known))
    return answer({"items": rows, "next": None})


@router.get("/routes/{code}", summary="One route", operation_id="get_patrol_route")
async def get_route(request: Request, code: Code, known: Known) -> Response:
    """With its points; the ETag is its version."""
    async with async_transaction(request) as connection:
        row = await _route(connection, code, known)
    return answer(row, headers={"ETag": once.tag(row["version"])})


@router.put("/routes/{code}", summary="Write a route", operation_id="put_patrol_route")
async def put_route(
    request: Request,
    code: Code,
    body: Route,
    known: Known,
    if_match: Annotated[str | None, Header(max_length=64)] = None,
) -> Response:
    """The whole route: points left out are removed, what was found at them stays."""
    for point in body.points:
        _whole(point.longitude, point.latitude)
    draft = patrol_actions.DraftRoute(
        code=code,
        name=body.name,
        name_en=body.name_en,
        assigned_to=body.assigned_to,
        active=body.active,
        points=[(_point(point), point.cell) for point in body.points],
    )
    async with async_transaction(request) as connection:
        new = await refusable(
            patrol_actions.put_route(
                connection,
                checklists.load(services(request).settings.config),
                draft,
                actor=known.actor,
                now=datetime.now(UTC),
                expected=once.version(if_match),
            )
        )
        row = await _route(connection, code, known)
    return answer(row, 201 if new else 200, {"ETag": once.tag(row["version"])})


@router.get("/today", summary="What is owed today", operation_id="patrol_today")
async def today(
    request: Request,
    known: Known,
    worker: Annotated[str | None, Query(max_length=64, description="log-in name; for whoever leads")] = None,
) -> Response:
    """The caller's routes, each point with where it stands: done, due, overdue, rest."""
    now = datetime.now(UTC)
    settings = services(request).settings
    async with async_transaction(request) as connection:
        worker_id: int | None = _own(known)
        if worker is not None:
            _only_leaders(known)
            worker_id = await patrol.person(connection, worker)
            if worker_id is None:
                raise not_found("person on patrol", "巡查人员", worker)
        routes = await patrol.routes(connection, worker_id=worker_id, active_only=True)
        ids = [point["id"] for route in routes for point in route["points"]]
        checked = await patrol.checked_since(connection, ids, now - rules.LOOK_BACK - timedelta(days=32))
        ground = await directory.load(connection, settings.zone)
    counts = dict.fromkeys(("done", "due", "overdue", "rest"), 0)
    for route in routes:
        for point in route["points"]:
            owed = rules.due(
                rules.Point(id=point["id"], cadence=point["cadence"], since=point["since"]),
                checked[point["id"]],
                ground.calendar,
                now,
                ground.zone,
            )
            counts[owed.standing] += 1
            point |= {
                "standing": owed.standing,
                "due_at": owed.due_at,
                "missed": owed.missed,
                "checked_at": owed.checked_at,
            }
    return answer({"items": routes, "counts": counts, "next": None})


@router.post("/checks", status_code=201, summary="Check in at a point", operation_id="patrol_check")
async def check(request: Request, body: Check, known: Known) -> Response:
    """Every item answered. Sent again under the same `client_id` it is the same check (200), however late."""
    _whole(body.longitude, body.latitude)
    settings = services(request).settings
    visit = patrol_actions.Visit(
        client_id=body.client_id,
        route=body.route,
        point=body.point,
        observed_at=body.observed_at,
        longitude=body.longitude,
        latitude=body.latitude,
        note=body.note,
        found=[
            patrol_actions.Found(
                item=one.item, answer=one.answer, note=one.note, photos=tuple(one.photos), fixed=one.fixed
            )
            for one in body.answers
        ],
        raw=body.model_dump_json().encode(),
    )
    async with async_transaction(request) as connection:
        check_id, again = await refusable(
            patrol_actions.check(
                connection,
                settings,
                checklists.load(settings.config),
                visit,
                actor=known.actor,
                may_all=_leads(known),
                now=datetime.now(UTC),
            )
        )
        row = await patrol.check(connection, check_id)
    return answer(row, 200 if again else 201, {"Idempotent-Replayed": "true"} if again else {})


@router.get("/checks", summary="Checks", operation_id="list_patrol_checks")
async def list_checks(  # each is one parameter of the query
    request: Request,
    known: Known,
    route: Annotated[str | None, Query(max_length=60)] = None,
    start: Annotated[AwareDatetime | None, Query(alias="from")] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to")] = None,
    limit: paging.Limit = 100,
    cursor: paging.Cursor = None,
) -> Response:
    """With their answers, the last received first. Grid workers see their own."""
    before = paging.read(cursor, tuple[int])
    async with async_transaction(request) as connection:
        rows = await patrol.checks(
            connection,
            route=route,
            actor=None if _leads(known) else known.actor,
            start=start,
            end=end,
            before=before[0] if before else None,
            limit=limit + 1,
        )
    return answer(paging.page(rows, limit, lambda row: [row["id"]]))


@router.get("/appraisal", summary="How much and how well was found", operation_id="patrol_appraisal")
async def appraisal(
    request: Request,
    known: Known,
    by: Literal["worker", "cell", "route"] = "worker",
    start: Annotated[AwareDatetime | None, Query(alias="from")] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to")] = None,
) -> Response:
    """Of a span (the last 30 days): checks done of those owed, problems found, put right, reported, confirmed."""
    to = min(end or datetime.now(UTC), datetime.now(UTC))
    since = start or to - timedelta(days=30)
    if not timedelta(0) < to - since <= LONGEST_SPAN:
        raise Problem(422, f"from, to: up to {LONGEST_SPAN.days} days, in this order", "时间范围不可用")
    if by != "worker":
        _only_leaders(known)
    async with async_transaction(request) as connection:
        points = await patrol.appraised_points(connection, since)
        checks = await patrol.appraised_checks(connection, since - timedelta(days=31), to, rules.ON_SITE_M)
        people = await patrol.names(connection) if by == "worker" else {}
        ground = await directory.load(connection, services(request).settings.zone)
    figures = rules.appraise(
        [rules.Point(**row) for row in points],
        [rules.Check(**row) for row in checks],
        ground.calendar,
        (since, to),
        ground.zone,
        by,
    )
    mine = {known.actor} if not _leads(known) else figures.keys()
    items = [
        {by: people.get(name, name) or None, **found.shown()}
        for name, found in sorted(figures.items())
        if name in mine
    ]
    return answer({"from": since, "to": to, "items": items, "next": None})


def _leads(known: Caller) -> bool:
    return known.role in ALL_ROUTES


def _only_leaders(known: Caller) -> None:
    if not _leads(known):
        raise Problem(
            403,
            "this needs the role dispatcher or supervisor; you see your own",
            "只有分拨员、督查可以查看他人",
        )


def _own(known: Caller) -> int:
    """The caller's number; automation has none and walks no route."""
    number = known.actor.removeprefix("user:")
    return int(number) if number.isdigit() else 0


def _whole(longitude: float | None, latitude: float | None) -> None:
    if (longitude is None) != (latitude is None):
        raise Problem(422, "longitude, latitude: give both or none", "经度、纬度须同时给出")


def _point(point: Point) -> NewPoint:
    return NewPoint(
        code=point.code,
        name=point.name,
        cell_id=None,
        building=point.building,
        longitude=point.longitude,
        latitude=point.latitude,
        checklist=point.checklist,
        cadence=point.cadence,
    )


async def _route(connection: AsyncConnection[Any], code: str, known: Caller) -> Mapping[str, Any]:
    rows = await patrol.routes(connection, code=code, worker_id=None if _leads(known) else _own(known))
    if not rows:
        raise not_found("patrol route", "巡查路线", code)
    return rows[0]
