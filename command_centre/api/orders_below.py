"""Orders from below (基层发令): given, answered, checked in to, ended; and how many came."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from psycopg import AsyncConnection
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from city import roles
from city.storage import idempotency, orders_below
from command_centre import order_actions, order_giving
from command_centre import orders_below as rules
from command_centre.api import once, paging
from command_centre.api.answers import answer
from command_centre.api.caller import Caller
from command_centre.api.problem import Problem, not_found
from command_centre.api.refusals import refusable
from command_centre.api.services import async_transaction, services
from command_centre.api.session import Known

router = APIRouter(prefix="/api/orders", tags=["orders from below"])

LONGEST_SPAN = timedelta(days=400)


class NewOrder(BaseModel):
    model_config = ConfigDict(extra="forbid")

    what: str = Field(min_length=1, max_length=1000, description="what is to be done there")
    units: list[str] = Field(min_length=1, max_length=100, description="codes of /api/units")
    by: AwareDatetime = Field(description="when they must be there, RFC 3339 with offset")
    cell: str | None = Field(None, max_length=100, description="a code of /api/cells")
    place: str = Field("", max_length=200, description="the place in words")
    longitude: float | None = Field(None, ge=-180, le=180)
    latitude: float | None = Field(None, ge=-90, le=90)
    incident: int | None = Field(None, description="left out, an incident is opened for the order")
    category: str = Field(order_giving.CATEGORY, max_length=100, description="of the incident it opens")
    exercise: bool = False


class Act(BaseModel):
    model_config = ConfigDict(extra="forbid")

    unit: str = Field("", max_length=100, description="whom it concerns; left out: the caller's own unit")
    longitude: float | None = Field(None, ge=-180, le=180, description="to check in by position")
    latitude: float | None = Field(None, ge=-90, le=90)
    code: str = Field("", max_length=20, description="to check in by the six digits shown at the place")
    reason: str = Field("", max_length=1000, description="needed to decline, to release and to end")
    done_at: AwareDatetime | None = Field(
        None, description="when it was done, by a phone that sends late; kept beside the centre's time"
    )


@router.post("", status_code=201, summary="Order units to a place", operation_id="give_site_order")
async def give_order(request: Request, body: NewOrder, known: Known, key: once.Key = None) -> Response:
    """By people of a street or community, or by the centre for them. `code` is what the place shows to check in."""
    if (body.longitude is None) != (body.latitude is None):
        raise Problem(422, "longitude, latitude: give both or none", "经度、纬度须同时给出")
    given = order_giving.NewOrder(
        what=body.what,
        units=body.units,
        by=body.by,
        cell=body.cell,
        place=body.place,
        longitude=body.longitude,
        latitude=body.latitude,
        incident_id=body.incident,
        category=body.category,
        exercise=body.exercise,
    )
    async with async_transaction(request) as connection:

        async def work() -> dict[str, Any]:
            order_id = await refusable(
                order_giving.give(
                    connection, services(request).settings, given, _person(known), now=datetime.now(UTC)
                )
            )
            return await _one(connection, order_id, known)

        return await once.once(
            connection, known.actor, "POST /api/orders", key, body, work, status=201, etag=_tag
        )


@router.get("", summary="Orders from below", operation_id="list_site_orders")
async def list_orders(
    request: Request,
    known: Known,
    state: Annotated[str, Query(pattern="^(open|all)$", description="open or all")] = "open",
    limit: paging.Limit = 100,
    cursor: paging.Cursor = None,
) -> Response:
    """Newest first. People of a unit see what it gave and got; the centre sees all."""
    before = paging.read(cursor, tuple[int])
    own = None if known.role in rules.CENTRE_ROLES or known.role in roles.ONLY_LOOK else known.unit_id
    async with async_transaction(request) as connection:
        rows = await orders_below.page(
            connection,
            open_only=state == "open",
            unit_id=own,
            before=before[0] if before else None,
            limit=limit + 1,
        )
        units = await orders_below.units_of(connection, [row["id"] for row in rows])
    shown = [_shown(row, units[row["id"]], known) for row in rows]
    return answer(paging.page(shown, limit, lambda row: [row["id"]]))


@router.get("/rates", summary="How many came", operation_id="site_order_rates")
async def rates(
    request: Request,
    start: Annotated[AwareDatetime | None, Query(alias="from")] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to")] = None,
) -> Response:
    """By unit, of orders whose time lay in the span (the last 30 days): expected, arrived, in time, percent."""
    to = end or datetime.now(UTC)
    since = start or to - timedelta(days=30)
    if not timedelta(0) < to - since <= LONGEST_SPAN:
        raise Problem(422, f"from, to: up to {LONGEST_SPAN.days} days, in this order", "时间范围不可用")
    async with async_transaction(request) as connection:
        rows = await orders_below.rates(connection, since, to)
    items = [{**row, "percent": _percent(row)} for row in rows]
    total = {name: sum(row[name] for row in rows) for name in ("expected", "arrived", "in_time", "declined")}
    return answer({"items": items, "total": {**total, "percent": _percent(total)}, "next": None})


@router.get("/{order_id}", summary="One order", operation_id="get_site_order")
async def get_order(request: Request, order_id: int, known: Known) -> Response:
    """With what became of each unit; every step stands on its incident's timeline."""
    async with async_transaction(request) as connection:
        shown = await _one(connection, order_id, known)
    return answer(shown, headers={"ETag": _tag(shown)})


@router.post("/{order_id}/{action}", summary="Act on an order", operation_id="act_on_site_order")
async def act(
    request: Request,
    order_id: int,
    action: str,
    known: Known,
    body: Act | None = None,
    if_match: Annotated[str | None, Header(max_length=64)] = None,
    key: once.Key = None,
) -> Response:
    """acknowledge, decline, arrive (by position, code, or the word of whoever ordered), release, end.

    The same `Idempotency-Key` again answers the same again.
    """
    given = body or Act()
    now = datetime.now(UTC)
    route = f"POST /api/orders/{order_id}/{action}"
    right = False
    if action == "arrive" and given.code and not await _answered(request, known, route, key):
        right = await _try_code(request, order_id, given, known, now)
    said = order_actions.Said(
        unit=given.unit,
        longitude=given.longitude,
        latitude=given.latitude,
        code_right=right,
        words=given.reason,
        done_at=given.done_at,
    )
    async with async_transaction(request) as connection:

        async def work() -> dict[str, Any]:
            await refusable(
                order_actions.act(
                    connection,
                    services(request).settings,
                    order_id,
                    action,
                    said,
                    _person(known),
                    now=now,
                    expected=once.version(if_match),
                )
            )
            return await _one(connection, order_id, known)

        return await once.once(connection, known.actor, route, key, given, work, etag=_tag)


async def _answered(request: Request, known: Caller, route: str, key: str | None) -> bool:
    """Whether this key was answered before: what is asked again is not counted as another try of a code."""
    if not key:
        return False
    async with async_transaction(request) as connection:
        return await idempotency.earlier(connection, known.actor, route, key) is not None


async def _try_code(request: Request, order_id: int, given: Act, known: Caller, now: datetime) -> bool:
    """Whether the code is right; counted in a transaction of its own, so that a refusal does not forget it."""
    async with async_transaction(request) as connection:
        outcome = await refusable(
            order_actions.try_code(connection, order_id, given.unit, given.code, _person(known), now)
        )
    if outcome == "paused":
        raise Problem(
            429,
            "too many wrong codes for this unit; wait, or check in by position",
            "签到码错误次数过多，请稍候或用位置签到",
            headers={"Retry-After": str(orders_below.FIRST_PAUSE_S)},
        )
    if outcome == "wrong":
        raise Problem(
            422,
            "code: is not the one shown at the place",
            "code：与现场签到码不符",
            errors=[{"field": "code", "remedy": "read the six digits at the place again"}],
        )
    return True


def _person(known: Caller) -> order_giving.Person:
    return order_giving.Person(actor=known.actor, role=known.role, unit_id=known.unit_id)


async def _one(connection: AsyncConnection[Any], order_id: int, known: Caller) -> dict[str, Any]:
    row = await orders_below.get(connection, order_id)
    if row is None:
        raise not_found("order", "命令", order_id)
    return _shown(row, (await orders_below.units_of(connection, [order_id]))[order_id], known)


def _shown(row: Mapping[str, Any], units: Sequence[Mapping[str, Any]], known: Caller) -> dict[str, Any]:
    """Without the code for those who must read it at the place."""
    expected = [unit for unit in units if unit["released_at"] is None]
    arrived = [unit for unit in expected if unit["arrived_at"] is not None]
    in_time = [unit for unit in arrived if unit["arrived_at"] <= row["by"]]
    counts = {"expected": len(expected), "arrived": len(arrived), "in_time": len(in_time)}
    mine = (
        known.role in rules.CENTRE_ROLES
        or known.actor == row["ordered_by_actor"]
        or (
            row["unit_id"] is not None
            and row["unit_id"] == known.unit_id
            and known.role not in roles.ONLY_LOOK
        )
    )
    hidden = {"ordered_by_actor", "unit_id", *(() if mine else ("code",))}
    shown = {name: value for name, value in row.items() if name not in hidden}
    listed = [{name: value for name, value in unit.items() if name != "unit_id"} for unit in units]
    return {**shown, "units": listed, "arrival": {**counts, "percent": _percent(counts)}}


def _percent(counts: Mapping[str, Any]) -> int | None:
    return counts["arrived"] * 100 // counts["expected"] if counts["expected"] else None


def _tag(shown: Mapping[str, Any]) -> str:
    return once.tag(int(shown["version"]))
