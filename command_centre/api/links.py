"""What belongs together: what an incident may be merged with, what is merged or linked, and what lies on the way."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from psycopg import AsyncConnection
from starlette.responses import Response

from city.storage import incidents
from city.storage import merging as stored
from command_centre import finding, merging
from command_centre.api.answers import answer
from command_centre.api.problem import not_found
from command_centre.api.services import async_transaction

router = APIRouter(prefix="/api/incidents", tags=["incidents"])
Most = Annotated[int, Query(ge=1, le=finding.MOST_SHOWN)]


@router.get("/{incident_id}/candidates", summary="What it may be one with", operation_id="merge_candidates")
async def candidates(request: Request, incident_id: int, limit: Most = finding.MOST_SHOWN) -> Response:
    """Open incidents near in place, time, category and words, the likeliest first, with why in both languages.

    `score` is 0 to 1; `certain` ones a further report would join by itself. Merge with
    `POST /api/incidents/{id}/merge` and `{"into": candidate}`.
    """
    async with async_transaction(request) as connection:
        found = await finding.candidates_of(connection, incident_id, limit=limit)
    if found is None:
        raise not_found("incident", "事件", incident_id)
    items = [
        {
            "id": one.incident_id,
            "number": one.number,
            "score": one.score,
            "certain": one.certain,
            "reasons": [reason for reason, _ in one.reasons],
            "reasons_en": [reason for _, reason in one.reasons],
        }
        for one in found
    ]
    return answer({"items": items, "next": None})


@router.get("/{incident_id}/nearby", summary="Open work near it", operation_id="nearby_work")
async def nearby(
    request: Request,
    incident_id: int,
    radius_m: Annotated[int, Query(ge=10, le=5000)] = int(finding.ONE_TRIP_M),
    limit: Most = finding.MOST_SHOWN,
) -> Response:
    """One trip, one fix: what else is to be done within `radius_m`, that of the same unit first, then the nearest.

    `metres` null: in the same cell, exactly where is not known.
    """
    async with async_transaction(request) as connection:
        await _there(connection, incident_id)
        found = await finding.nearby(connection, incident_id=incident_id, radius_m=radius_m, limit=limit)
    return answer({"items": [shown(one) for one in found], "next": None})


@router.get("/{incident_id}/links", summary="What is merged or linked with it", operation_id="incident_links")
async def links(request: Request, incident_id: int) -> Response:
    """`relation` is merged (went into it), root (it went into), parent or child. `goes_on_in` is where its matter is
    followed now: its own id, or that at the end of what it was merged into."""
    async with async_transaction(request) as connection:
        await _there(connection, incident_id)
        items = await stored.links(connection, incident_id)
        root = await merging.root(connection, incident_id)
    return answer({"items": items, "goes_on_in": root, "next": None})


def shown(one: finding.Nearby) -> dict[str, Any]:
    """As the API names it."""
    named = asdict(one)
    return {"id": named.pop("incident_id"), "class": named.pop("incident_class"), **named}


async def _there(connection: AsyncConnection[Any], incident_id: int) -> None:
    if await incidents.get(connection, incident_id) is None:
        raise not_found("incident", "事件", incident_id)
