"""The field on a telephone: everything that today's orders need in one answer, for places without signal."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from psycopg import AsyncConnection
from starlette.responses import Response
from typing_extensions import TypedDict

from city.storage import field, flood_tasks, incidents, orders_below, reports
from command_centre import workflow
from command_centre.api.answers import answer, gives
from command_centre.api.caller import Caller
from command_centre.api.problem import not_found
from command_centre.api.services import async_transaction, services
from command_centre.api.session import Known

router = APIRouter(prefix="/api/field", tags=["field"])

MOST_CALLS = 100


class FieldTask(TypedDict):
    """People to move out of a cell, or a round to make."""

    id: int
    kind: str
    deadline: datetime
    note: str
    to_move: int
    moved: int
    absent: int
    refused: int
    remaining: int
    done_at: datetime | None


class FieldOrder(TypedDict):
    """An incident as whoever handles it needs it. ``lead`` false: the unit handles beside another."""

    id: int
    number: str
    version: int
    state: str
    incident_class: str
    category_name: str
    category_name_en: str
    title: str
    exercise: bool
    lead: bool
    text: str
    address: str
    cell: str | None
    cell_name: str
    street_name: str
    lon: float | None
    lat: float | None
    reason: str
    reason_en: str
    opened_at: datetime
    dispatched_at: datetime | None
    due_at: datetime | None
    stage: str | None
    stage_due_at: datetime | None
    reworks: int
    asked: list[str]
    standing_alarms: int
    devices: list[str]
    unit: str | None
    unit_name: str | None
    unit_name_en: str | None
    unit_phone: str | None
    lead_phone: str | None
    co_units: list[str]
    caller: bool
    photos: list[str]
    task: FieldTask | None
    allowed: list[str]


class FieldCall(TypedDict):
    """An order from below that names the caller's unit."""

    id: int
    incident: int
    number: str
    what: str
    place: str
    cell_name: str | None
    longitude: float | None
    latitude: float | None
    by: datetime
    ordered_by: str
    ordered_for_name: str | None
    exercise: bool
    acknowledged_at: datetime | None
    declined_at: datetime | None
    arrived_at: datetime | None


class FieldDay(TypedDict):
    """``at`` is the centre's clock; a telephone's own may be wrong by hours."""

    at: datetime
    name: str
    name_en: str
    timezone: str
    unit: str | None
    unit_name: str | None
    unit_name_en: str | None
    orders: list[FieldOrder]
    calls: list[FieldCall]


class FieldCaller(TypedDict):
    """Whoever reported it."""

    name: str
    phone: str


@router.get("", summary="My day in the field", operation_id="field_day", responses=gives(FieldDay))
async def day(request: Request, known: Known) -> Response:
    """Orders of the caller's unit, calls from below, tasks; a grid worker also gets what waits to be looked at."""
    async with async_transaction(request) as connection:
        own = await field.orders(connection, known.unit_id, checks=known.role == "grid_worker")
        rows = {row["id"]: row for row in await incidents.these(connection, [one["id"] for one in own])}
        ids = [one["task"] for one in own if one["task"] is not None]
        tasks = {row["id"]: row for row in await flood_tasks.these(connection, ids)}
        calls = await _calls(connection, known)
        ground = await field.ground(connection, known.unit_id)
    orders = [_order(rows[one["id"]], one, tasks.get(one["task"]), known) for one in own if one["id"] in rows]
    return answer({"at": datetime.now(UTC), **ground, "orders": orders, "calls": calls})


@router.post(
    "/incidents/{incident_id}/caller",
    summary="Telephone of whoever reported",
    operation_id="field_caller",
    responses=gives(FieldCaller),
)
async def caller(request: Request, incident_id: int, known: Known) -> Response:
    """For the unit that has the incident at work; that you looked is on the record."""
    async with async_transaction(request) as connection:
        found = await field.caller(
            connection, incident_id, known.unit_id or 0, services(request).settings.keys.ring()
        )
        if found is None:
            raise not_found("caller of incident", "反映人电话，事件", incident_id)
        report_id, name, phone = found
        await reports.record(connection, actor=known.actor, action="report.contact_read", report_id=report_id)
    return answer({"name": name, "phone": phone})


async def _calls(connection: AsyncConnection[Any], known: Caller) -> list[dict[str, Any]]:
    """Open orders from below that the caller's unit is expected to, the soonest first."""
    if known.unit_id is None:
        return []
    rows = await orders_below.page(
        connection, open_only=True, unit_id=known.unit_id, before=None, limit=MOST_CALLS
    )
    units = await orders_below.units_of(connection, [row["id"] for row in rows])
    calls = []
    for row in rows:
        own = next((one for one in units[row["id"]] if one["unit_id"] == known.unit_id), None)
        if own is None or own["released_at"] is not None:
            continue
        shown = {name: row[name] for name in FieldCall.__annotations__ if name in row}
        calls.append(shown | {name: own[name] for name in ("acknowledged_at", "declined_at", "arrived_at")})
    calls.sort(key=lambda one: one["by"])
    return calls


def _order(
    row: Mapping[str, Any], own: Mapping[str, Any], task: Mapping[str, Any] | None, known: Caller
) -> dict[str, Any]:
    allowed = workflow.allowed(
        row["state"],
        known.role,
        actor=known.actor,
        unit_id=known.unit_id,
        incident_class=row["class"],
        acknowledged=row["acknowledged_at"] is not None,
        mine=bool(own["lead"]),
        beside=known.unit_id is not None and known.unit_id in row["co_unit_ids"],
        part=row["parent"] is not None,
        waiting=[workflow.Waiting(**one) for one in row["waiting"]],
        steps=row["steps"],
    )
    shown = {**row, **own, "incident_class": row["class"], "lead_phone": row["unit_lead_phone"]}
    return {name: shown[name] for name in FieldOrder.__annotations__ if name in shown} | {
        "task": {name: task[name] for name in FieldTask.__annotations__} if task is not None else None,
        "allowed": list(allowed),
    }
