"""Alarms: episodes in which a rule's condition stood."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from city.storage import alarms
from command_centre.api import paging
from command_centre.api.answers import answer
from command_centre.api.problem import not_found
from command_centre.api.services import async_transaction
from command_centre.api.session import Known

router = APIRouter(prefix="/api/alarms", tags=["alarms"])


@router.get("", summary="Alarms", operation_id="list_alarms")
async def list_alarms(  # each is one parameter of the query
    request: Request,
    state: Literal["open", "cleared", "all"] = "all",
    incident: Annotated[int | None, Query(ge=1)] = None,
    device: Annotated[str | None, Query(max_length=100)] = None,
    limit: paging.Limit = 100,
    cursor: paging.Cursor = None,
) -> Response:
    """Newest first, with the evidence each rests on."""
    before = paging.read(cursor, tuple[int])
    async with async_transaction(request) as connection:
        rows = await alarms.page(
            connection,
            state=state,
            incident=incident,
            device=device,
            before=before[0] if before else None,
            limit=limit + 1,
        )
    return answer(paging.page(rows, limit, lambda row: [row["id"]]))


@router.post("/{alarm_id}/acknowledge", summary="Acknowledge an alarm", operation_id="acknowledge_alarm")
async def acknowledge(request: Request, alarm_id: int, known: Known) -> Response:
    """The first acknowledgement counts; the incident is acknowledged apart."""
    async with async_transaction(request) as connection:
        row = await alarms.acknowledge(connection, alarm_id, known.actor, datetime.now(UTC))
    if row is None:
        raise not_found("alarm", "报警", alarm_id)
    return answer(row)
