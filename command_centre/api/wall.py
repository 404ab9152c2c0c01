"""What a wall shows beside the screen protocol; open to the room, so without persons and typed texts.

Fifty walls ask the same every few seconds: an answer is kept for as long as nobody would see the difference.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from psycopg import AsyncConnection
from starlette.responses import Response
from typing_extensions import TypedDict

from city.clocks import Clock
from city.reach import Reach
from city.storage import clocks, flood_facts, flood_tasks, wall
from city.storage.series import SUSPECT
from command_centre.api.answers import gives
from command_centre.api.problem import not_found
from command_centre.api.services import async_transaction
from command_centre.flood.evacuation import totals

router = APIRouter(prefix="/api/wall", tags=["wall"])

KEPT_S = 3.0
MOST_KEPT = 500  # answers; more scopes than that are not on walls at one time
MOST_GAUGES = 8

Connection = AsyncConnection[Any]
Scope = Annotated[str | None, Query(max_length=100, description="code of a street, community or cell")]


class WallPlace(TypedDict):
    code: str
    name: str
    cell: str | None
    cell_name: str
    cell_name_en: str


class WallDetector(WallPlace):
    since: datetime
    exercise: bool


class WallReading(WallPlace):
    value: float
    unit: str
    observed_at: datetime


class WallDetection(WallPlace):
    label: str
    zone: str
    observed_at: datetime


class WallCamera(WallPlace):
    last_heard_at: datetime | None


class WallSmoke(TypedDict):
    alarms: list[WallDetector]
    total: int
    highest: list[WallReading]


class WallCameras(TypedDict):
    detections: list[WallDetection]
    offline: list[WallCamera]
    total: int


class WallSensing(TypedDict):
    smoke: WallSmoke
    cameras: WallCameras


class WallEvent(TypedDict):
    seq: int
    at: datetime
    kind: str
    unit_name: str | None
    unit_name_en: str | None


class WallClock(TypedDict):
    stage: str
    due_at: datetime
    paused_at: datetime | None
    ended_at: datetime | None
    outcome: str | None


class WallDevice(TypedDict):
    code: str
    name: str
    kind_name: str
    kind_name_en: str
    metric: str | None
    metric_en: str | None
    unit: str | None
    lon: float | None
    lat: float | None
    standing: bool
    readings: list[tuple[datetime, float]]


class WallIncident(TypedDict):
    timeline: list[WallEvent]
    clocks: list[WallClock]
    devices: list[WallDevice]


class WallProposal(TypedDict):
    level: str | None
    words: str
    words_en: str
    at: datetime


class WallWarning(TypedDict):
    colour: str
    warnings: int
    until: datetime


class WallRain(TypedDict):
    code: str
    name: str
    mm_1h: float
    mm_3h: float
    mm_24h: float


class WallEvacuation(TypedDict):
    tasks: int
    done: int
    to_move: int
    moved: int
    remaining: int


class WallFlood(TypedDict):
    level: str | None
    since: datetime | None
    proposal: WallProposal | None
    warnings: list[WallWarning]
    evacuation: WallEvacuation
    rain: list[WallRain]


class Kept:
    """Answers of the last seconds, by what was asked; one at a time is read anew, the others wait for it."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str | None], tuple[float, bytes]] = {}
        self._reading = asyncio.Lock()

    async def answer(
        self, request: Request, asked: str, scope: str | None, read: Callable[[Connection], Awaitable[object]]
    ) -> Response:
        """``read``'s result as JSON, at most ``KEPT_S`` old."""
        # By who looks, too: one street's screen must not be told what another's was.
        reach: Reach = request.state.reach
        asked = f"{asked} within {reach.scope or ''} {reach.unit_id if reach.held else ''}"
        async with self._reading:
            found = self._answers.get((asked, scope))
            if found is None or time.monotonic() - found[0] > KEPT_S:
                async with async_transaction(request) as connection:
                    body = msgspec.json.encode(await read(connection))
                if len(self._answers) >= MOST_KEPT:
                    self._answers.clear()
                found = self._answers[asked, scope] = (time.monotonic(), body)
        return Response(found[1], headers={"Cache-Control": "no-store"}, media_type="application/json")


def _kept(request: Request) -> Kept:
    found: Kept = request.app.state.wall
    return found


@router.get(
    "/sensing",
    summary="Smoke detectors and cameras",
    operation_id="wall_sensing",
    responses=gives(WallSensing),
)
async def sensing(request: Request, scope: Scope = None) -> Response:
    """Detectors whose alarm stands and the highest readings; newest detections and cameras off line."""

    async def read(connection: Connection) -> object:
        cells = await _cells(connection, scope)
        alarms = await wall.smoke_alarms(connection, cells)
        lost = await wall.cameras_off(connection, cells)
        return {
            "smoke": {
                "total": _total(alarms),
                "alarms": alarms,
                "highest": await wall.smoke_values(connection, cells),
            },
            "cameras": {
                "total": _total(lost),
                "offline": lost,
                "detections": await wall.detections(connection, cells),
            },
        }

    return await _kept(request).answer(request, "sensing", scope, read)


async def _cells(connection: Connection, scope: str | None) -> list[int] | None:
    if scope is None:
        return None
    found = await wall.cells_under(connection, scope)
    if not found:
        raise not_found("area", "区域", scope)
    return found


def _total(rows: list[dict[str, Any]]) -> int:
    """How many there are in all: every row carries it, and no row should."""
    return max((int(row.pop("all_of_them")) for row in rows), default=0)


@router.get(
    "/incidents/{incident_id}",
    summary="An open incident's timeline, clocks and devices",
    operation_id="wall_incident",
    responses=gives(WallIncident),
)
async def incident(request: Request, incident_id: int) -> Response:
    """What was done, newest first, and by which unit; not by whom. A closed incident is not found."""

    async def read(connection: Connection) -> object:
        if not await wall.is_open(connection, incident_id):
            raise not_found("incident", "事件", incident_id)
        return {
            "timeline": await wall.events(connection, incident_id),
            "clocks": [_clock(one) for one in await clocks.of(connection, incident_id)],
            "devices": await wall.device_readings(connection, incident_id),
        }

    return await _kept(request).answer(request, f"incident {incident_id}", None, read)


def _clock(clock: Clock) -> WallClock:
    return {
        "stage": clock.stage,
        "due_at": clock.due_at,
        "paused_at": clock.paused_at,
        "ended_at": clock.ended_at,
        "outcome": clock.outcome,
    }


@router.get(
    "/flood",
    summary="The flood response, warnings and rain",
    operation_id="wall_flood",
    responses=gives(WallFlood),
)
async def flood(request: Request) -> Response:
    """Level in force and proposed, warnings in force by colour, people to move, the wettest gauges first."""

    async def read(connection: Connection) -> object:
        now = datetime.now(UTC)
        standing = await wall.flood_response(connection) or {"level": None, "since": None}
        tasks = await flood_tasks.listed(
            connection, kind="evacuate", state="open", street=None, exercise=False
        )
        (sums,) = totals(tasks, "") or [{}]
        rain = await flood_facts.rain(connection, now, SUSPECT)
        wettest = sorted(rain, key=lambda gauge: (-gauge.mm[1], -gauge.mm[3], -gauge.mm[24], gauge.code))
        return {
            **standing,
            "proposal": await wall.flood_proposal(connection),
            "warnings": await wall.flood_warnings(connection),
            "evacuation": {name: sums.get(name, 0) for name in WallEvacuation.__annotations__},
            "rain": [
                {
                    "code": gauge.code,
                    "name": gauge.name,
                    "mm_1h": round(gauge.mm[1], 1),
                    "mm_3h": round(gauge.mm[3], 1),
                    "mm_24h": round(gauge.mm[24], 1),
                }
                for gauge in wettest[:MOST_GAUGES]
            ],
        }

    return await _kept(request).answer(request, "flood", None, read)
