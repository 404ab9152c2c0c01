"""Patrol (巡查): routes, who walks them, and what is owed on them today."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Request
from psycopg import AsyncConnection
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from city import roles
from city.storage import directory, patrol, patrol_routes
from city.storage.patrol_routes import NewPoint
from command_centre import checklists, patrol_actions
from command_centre import patrol as rules
from command_centre.api import once
from command_centre.api.answers import answer
from command_centre.api.caller import Caller
from command_centre.api.problem import Problem, not_found
from command_centre.api.refusals import refusable
from command_centre.api.services import async_transaction, services
from command_centre.api.session import Known

router = APIRouter(prefix="/api/patrol", tags=["patrol"])

ALL_ROUTES = frozenset(roles.CENTRE)
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


@router.get("/checklists", summary="What is looked at", operation_id="patrol_checklists")
async def list_checklists(request: Request) -> Response:
    """By kind of place; a district may bring its own."""
    found = checklists.load(services(request).settings.config)
    return answer({"items": list(found.values()), "next": None})


@router.get("/routes", summary="Routes", operation_id="list_patrol_routes")
async def list_routes(request: Request, known: Known) -> Response:
    """Grid workers see those they walk; whoever leads sees all."""
    async with async_transaction(request) as connection:
        rows = await patrol_routes.routes(connection, worker_id=None if leads(known) else _own(known))
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
        whole(point.longitude, point.latitude)
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
            only_leaders(known)
            worker_id = await patrol_routes.person(connection, worker)
            if worker_id is None:
                raise not_found("person on patrol", "巡查人员", worker)
        routes = await patrol_routes.routes(connection, worker_id=worker_id, active_only=True)
        ids = [point["id"] for route in routes for point in route["points"]]
        checked = await patrol.checked_since(connection, ids, now - rules.LOOK_BACK - timedelta(days=32))
        ground = await directory.load(connection, settings.zone, settings.urge_after)
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


def leads(known: Caller) -> bool:
    """Whether this person sees everybody's."""
    return known.role in ALL_ROUTES


def only_leaders(known: Caller) -> None:
    """Raises Problem 403."""
    if not leads(known):
        raise Problem(
            403,
            "this needs the role dispatcher or supervisor; you see your own",
            "只有分拨员、督查可以查看他人",
        )


def _own(known: Caller) -> int:
    """The caller's number; automation has none and walks no route."""
    number = known.actor.removeprefix("user:")
    return int(number) if number.isdigit() else 0


def whole(longitude: float | None, latitude: float | None) -> None:
    """Raises Problem 422 for half a position."""
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
    rows = await patrol_routes.routes(connection, code=code, worker_id=None if leads(known) else _own(known))
    if not rows:
        raise not_found("patrol route", "巡查路线", code)
    return rows[0]
