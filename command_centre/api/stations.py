"""Water stations: newest levels, and the hydrograph of one."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from city.storage import screen
from command_centre.api.answers import answer
from command_centre.api.screen.hub import UNBELIEVABLE
from command_centre.api.screen.state import station
from command_centre.api.services import async_transaction

router = APIRouter(prefix="/api/stations", tags=["stations"])


@router.get("", summary="Stations with their newest levels", operation_id="list_stations")
async def list_stations(request: Request) -> Response:
    """Levels are metres above each station's datum; `margin_m` is what is left to the warning level."""
    async with async_transaction(request) as connection:
        rows = await screen.stations(connection, UNBELIEVABLE)
    return answer({"items": [station(row) for row in rows], "next": None})
