"""Gauges of water and rain: where each stands, and how much rain fell."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request
from starlette.responses import Response
from typing_extensions import TypedDict

from city.storage import flood_facts
from command_centre.api.answers import answer, gives
from command_centre.api.services import async_transaction
from command_centre.flood import desk as desks

router = APIRouter()


class Gauge(TypedDict):
    """A gauge; the sums are millimetres and null where no rain was read in 24 hours."""

    code: str
    name: str
    is_station: bool
    is_rain: bool
    lon: float | None
    lat: float | None
    cell: str | None
    cell_name: str | None
    mm_1h: float | None
    mm_3h: float | None
    mm_24h: float | None
    observed_at: datetime | None


class Gauges(TypedDict):
    items: list[Gauge]
    next: None


@router.get(
    "/gauges", summary="Where gauges stand, and rain", operation_id="list_gauges", responses=gives(Gauges)
)
async def list_gauges(request: Request) -> Response:
    """By code; sums of the last 1, 3 and 24 hours. A rain gauge that read nothing for a day has no sums."""
    async with async_transaction(request) as connection:
        rows = await flood_facts.gauges(connection, datetime.now(UTC), desks.UNBELIEVED)
    for row in rows:
        row |= {name: None if row[name] is None or row["mm_24h"] is None else float(row[name])
                for name in ("mm_1h", "mm_3h", "mm_24h")}  # fmt: skip
    return answer({"items": rows, "next": None})
