"""The city over its districts: figures of each, and their incidents in one list. Only where CITY_DISTRICTS is set."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from city.storage import overview
from city.storage.overview import Connection
from command_centre.api.answers import answer, gives, tagged
from command_centre.api.paging import Cursor, Limit, page
from command_centre.api.paging import read as read_cursor
from command_centre.api.problem import beyond_reach, not_found
from command_centre.api.services import services
from command_centre.api.shapes.city import CityIncidents, CityMap, CityOverview
from command_centre.city_standing import WORDS, Standing, before, cursor_of, in_force, merged, summed
from command_centre.city_watch import CityWatch

router = APIRouter(prefix="/api", tags=["city"])

Row = dict[str, Any]
MOST_SHOWN = 200  # of one page; each district is asked for as many


def _watch(request: Request) -> CityWatch:
    """Raises Problem 403 for a screen of one area, 404 where this is the centre of one district."""
    if not request.state.reach.whole:
        raise beyond_reach()
    found: CityWatch | None = services(request).city
    if found is None:
        raise not_found("city", "全市", "CITY_DISTRICTS")
    return found


@router.get(
    "/wall/city",
    summary="Every district's figures, and their sum",
    operation_id="wall_city",
    responses=gives(CityOverview),
)
async def overview_of_city(request: Request) -> Response:
    """Open incidents by class, alarms, devices on line, water above warning; a silent district has none of them.

    ``response`` is the highest level in force among this centre and the districts that answer.
    """
    watch = _watch(request)
    standings = watch.standings()
    items = [
        {
            "code": one.code,
            "name": one.name,
            "name_en": one.name_en,
            "url": one.url,
            **_shown(standings[one.code]),
        }
        for one in watch.districts.each
    ]
    own = services(request).hub.feed.state.response_level
    return answer(
        {"sum": summed(standings.values()), "response": in_force(own, standings), "items": items},
        headers={"Cache-Control": "no-store"},
    )


def _shown(standing: Standing) -> Row:
    of = standing.figures
    zh, en = WORDS[standing.why]
    return {
        "state": standing.state,
        "silent_since": standing.silent_since,
        "why": en,
        "why_zh": zh,
        "response_level": of["response_level"] if of else None,
        "figures": None
        if of is None
        else {
            **{name: of[name] for name in ("devices", "online", "alarms", "stations", "above_warning")},
            "classes": of["classes"],
        },
    }


@router.get(
    "/wall/city/map",
    summary="Outlines of the districts",
    operation_id="wall_city_map",
    responses=gives(CityMap),
)
async def city_map(request: Request) -> Response:
    """Those that have one in the file of districts; changes with a restart alone."""
    items = [
        {"code": one.code, "rings": one.outline} for one in _watch(request).districts.each if one.outline
    ]
    return tagged(request, {"items": items})


@router.get(
    "/city/incidents",
    summary="Incidents of all districts, the newest first",
    operation_id="city_incidents",
    responses=gives(CityIncidents),
)
async def incidents(
    request: Request,
    limit: Limit = 100,
    cursor: Cursor = None,
    closed: Annotated[bool, Query(description="closed ones too")] = False,
    q: Annotated[str, Query(max_length=100, description="how a number begins, or part of a name")] = "",
    incident_class: Annotated[list[str] | None, Query(alias="class", description="A, B, C")] = None,
) -> Response:
    """A merge over districts. One that does not answer is in ``missing``, and does not hold up the others."""
    watch = _watch(request)
    at = read_cursor(cursor, tuple[datetime, str, int])
    limit = min(limit, MOST_SHOWN)

    def of(code: str) -> Any:
        async def read(connection: Connection) -> list[Row]:
            return await overview.incidents(
                connection,
                closed_too=closed,
                classes=incident_class or (),
                words=q.strip(),
                before=before(at, code),
                limit=limit + 1,
            )

        return read

    lists, silent = await watch.ask(of)
    rows = merged(lists, limit + 1)
    missing = [
        {
            "code": code,
            "silent_since": watch.answered_at(code),
            "why": WORDS[why][1],
            "why_zh": WORDS[why][0],
        }
        for code, why in silent.items()
    ]
    districts = [
        {"code": one.code, "name": one.name, "name_en": one.name_en, "url": one.url}
        for one in watch.districts.each
    ]
    return answer(
        {**page(rows, limit, cursor_of), "districts": districts, "missing": missing},
        headers={"Cache-Control": "no-store"},
    )
