"""Drills: opened with devices and an end, looked at, ended before their time."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from city.storage import directory
from city.storage import drills as stored
from command_centre import drills
from command_centre.api import paging
from command_centre.api.answers import answer
from command_centre.api.once import Key, once
from command_centre.api.refusals import refusable
from command_centre.api.services import async_transaction, services
from command_centre.api.session import Known

router = APIRouter(prefix="/api/drills", tags=["drills"])

Code = Annotated[str, Field(min_length=1, max_length=100)]


class NewDrill(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field("", max_length=200, description="what it is called; the scenario's name when left out")
    scenario: str = Field("", max_length=100, description="of the simulators, when they play it")
    devices: list[Code] = Field(default_factory=list, max_length=20_000, description="codes of devices")
    cells: list[Code] = Field(
        default_factory=list,
        max_length=5_000,
        description="codes of cells, communities or streets: every device in them",
    )
    until: AwareDatetime = Field(description="end, with offset; at most 8 hours from now")
    reason: str = Field(min_length=1, max_length=500)


class End(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field("", max_length=500)


@router.get("", summary="Drills", operation_id="list_drills")
async def list_drills(
    request: Request,
    running: Annotated[bool | None, Query(description="left out: all")] = None,
    limit: paging.Limit = 100,
    cursor: paging.Cursor = None,
) -> Response:
    """Newest first, with how many devices and alarms each has and its incidents."""
    before = paging.read(cursor, tuple[int])
    async with async_transaction(request) as connection:
        rows = await stored.page(
            connection,
            datetime.now(UTC),
            running=running,
            before=before[0] if before else None,
            limit=limit + 1,
        )
    return answer(paging.page(rows, limit, lambda row: [row["id"]]))


@router.get("/{drill_id}", summary="One drill", operation_id="get_drill")
async def get_drill(request: Request, drill_id: int) -> Response:
    """As the list shows it."""
    async with async_transaction(request) as connection:
        return answer(await refusable(drills.shown(connection, drill_id, datetime.now(UTC))))


@router.post("", status_code=201, summary="Begin a drill", operation_id="begin_drill")
async def begin(
    request: Request,
    body: NewDrill,
    known: Known,
    key: Key = None,
) -> Response:
    """What these devices say until then is exercise. `standing_real` names real alarms that stand on them."""
    async with async_transaction(request) as connection:

        async def work() -> dict[str, Any]:
            return await refusable(
                drills.begin(
                    connection,
                    name=body.name,
                    scenario=body.scenario,
                    devices=body.devices,
                    areas=body.cells,
                    until=body.until,
                    reason=body.reason,
                    actor=known.actor,
                    now=datetime.now(UTC),
                )
            )

        return await once(connection, known.actor, "POST /api/drills", key, body, work, status=201)


@router.post("/{drill_id}/end", summary="End a drill", operation_id="end_drill")
async def end(request: Request, drill_id: int, known: Known, body: End | None = None) -> Response:
    """Before its time: its alarms are cleared, its incidents archived."""
    settings = services(request).settings
    async with async_transaction(request) as connection:
        row = await refusable(
            drills.end(
                connection,
                await directory.load(connection, settings.zone, settings.urge_after),
                drill_id,
                actor=known.actor,
                reason=body.reason if body else "",
                now=datetime.now(UTC),
                mail=bool(settings.smtp_url),
            )
        )
    return answer(row)
