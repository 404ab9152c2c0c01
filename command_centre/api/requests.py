"""What units asked for and who must answer: the approvers' list."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from city.storage import requests
from command_centre.api import paging
from command_centre.api.answers import answer, gives
from command_centre.api.services import async_transaction
from command_centre.api.session import Known
from command_centre.api.shapes.incidents import Wishes

router = APIRouter(prefix="/api/requests", tags=["incidents"])

State = Literal["open", "granted", "refused", "withdrawn", "all"]
Ask = Literal["return", "transfer", "extend", "suspend", "dispute"]


@router.get("", summary="Requests of units", operation_id="list_requests", responses=gives(Wishes))
async def list_requests(
    request: Request,
    known: Known,
    state: Annotated[State, Query()] = "open",
    ask: Annotated[Ask | None, Query()] = None,
    limit: paging.Limit = 100,
    cursor: paging.Cursor = None,
) -> Response:
    """Newest first; a handler sees those of their unit, asked by it or of it. Answer at the incident."""
    before = paging.read(cursor, tuple[int])
    async with async_transaction(request) as connection:
        rows = await requests.page(
            connection,
            state=state,
            ask=ask,
            unit=known.unit_id if known.role == "handler" else None,
            before=before[0] if before else None,
            limit=limit + 1,
        )
    return answer(paging.page(rows, limit, lambda row: [row["id"]]))
