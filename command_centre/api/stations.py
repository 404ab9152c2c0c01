"""Water stations: newest levels, and the hydrograph of one."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from city.storage import series
from command_centre.api.answers import answer
from command_centre.api.problem import not_found
from command_centre.api.services import services, transaction

router = APIRouter(prefix="/api/stations", tags=["stations"])

LONGEST_HOURS = 31 * 24


@router.get("", summary="Stations with their newest levels", operation_id="list_stations")
def list_stations(request: Request) -> Response:
    """Levels are metres above each station's datum; `margin_m` is what is left to the warning level."""
    return answer({"items": list(_live(request).values()), "next": None})


@router.get("/{code}/hydrograph", summary="Levels of a station over time", operation_id="hydrograph")
def hydrograph(
    request: Request, code: str, hours: Annotated[int, Query(ge=1, le=LONGEST_HOURS)] = 24
) -> Response:
    """`observed` ends now, or at the station's newest reading when that is older than the span."""
    station = _live(request).get(code)
    if station is None:
        raise not_found("station", "水位站", code)
    with transaction(request) as connection:
        observed = series.hydrograph(connection, code, hours=hours, now=datetime.now(UTC))
    body = {"station": station, "observed": observed, "forecast": [], "time_to_level": {}}
    return answer(body)


def _live(request: Request) -> dict[str, msgspec.Raw]:
    """What screens show of each station, a second or two old."""
    return services(request).hub.log.snapshot().get("station", {})
