"""The dispatch board: who has how much to do, and who is there to do it."""

from datetime import UTC, datetime, timedelta
from typing import Literal

from fastapi import APIRouter, Request
from starlette.responses import Response
from typing_extensions import TypedDict

from city.storage import board, rosters
from command_centre.api.answers import answer, gives
from command_centre.api.services import async_transaction, known_directory

router = APIRouter(prefix="/api", tags=["directory"])

_NOW = timedelta(microseconds=1)  # who is on duty now, not who comes later today


class OnDutyNow(TypedDict):
    name: str
    phone: str
    until: str


class BoardUnit(TypedDict):
    code: str
    name: str
    name_en: str
    tier: str
    phone: str
    lead_phone: str
    capacity: int | None
    fallback: str | None
    open: int
    a: int
    b: int
    c: int
    unacknowledged: int
    working: int
    suspended: int
    handled: int
    overdue: int
    due_at: str | None
    co_handling: int
    requests: int
    duty: Literal["on", "off", "unknown"]
    load: float | None
    people: list[OnDutyNow]


class Board(TypedDict):
    now: str
    units: list[BoardUnit]


@router.get(
    "/board", summary="Units with their load and who is on duty", operation_id="board", responses=gives(Board)
)
async def units(request: Request) -> Response:
    """By code. `load` is work in hand over capacity (null without a capacity); `duty` unknown without a roster."""
    now = datetime.now(UTC)
    async with async_transaction(request) as connection:
        rows = await board.units(connection, now)
        directory = await known_directory(request).fresh(connection, now)
        named = await rosters.people(connection, now, now + _NOW)
    people: dict[str, list[dict[str, object]]] = {}
    for one in named:
        people.setdefault(one.unit, []).append({"name": one.person, "phone": one.phone, "until": one.ends})
    units = []
    for row in rows:
        unit_id = row.pop("id")
        keeps = unit_id in directory.duty
        duty = "unknown" if not keeps else "on" if directory.on_duty(unit_id, now) else "off"
        load = row["working"] / row["capacity"] if row["capacity"] else None
        units.append({**row, "duty": duty, "load": load, "people": people.get(row["code"], [])})
    return answer({"now": now, "units": units})
