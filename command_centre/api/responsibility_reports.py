"""What the responsibility list comes to: who would get a matter and why, what nobody has, what never comes into use."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from psycopg import AsyncConnection
from pydantic import AwareDatetime
from starlette.responses import Response

from city.areas import cell_of_points
from city.clocks import STAGES, Limits
from city.directory import Directory, Place
from city.responsibilities import ResponsibilityList
from city.storage import reports
from city.storage import responsibilities as stored
from city.units import Responsibility, Unit
from city.worktime import deadline, is_provisional
from command_centre import dispatch
from command_centre.api.answers import answer
from command_centre.api.problem import field_problem
from command_centre.api.services import async_transaction, services
from command_centre.clocks import windows_of
from command_centre.known_directory import KnownDirectory
from command_centre.responsibility import Reasoning, reasoning
from command_centre.responsibility_coverage import EVERYTHING, coverage
from command_centre.responsibility_faults import findings, known_categories

router = APIRouter()

MOST_TOLD = 1000  # gaps in one answer; the counts are of all
_UNITS_TIME = ("acknowledge", "arrive", "handle")  # runs in the unit's hours, the rest in the centre's
At = Annotated[AwareDatetime | None, Query(description="left out = now")]


def known_directory(request: Request) -> KnownDirectory:
    """One for the process, read again when the register moved."""
    state = request.app.state
    if not hasattr(state, "known_directory"):
        state.known_directory = KnownDirectory(services(request).settings.zone)
    known: KnownDirectory = state.known_directory
    return known


# ── who would get this? ──────────────────────────────────────────────────────────────────────────────


@router.get("/simulate", summary="Who would get this?", operation_id="simulate_responsibility")
async def simulate(  # each is one parameter of the query
    request: Request,
    category: Annotated[str, Query(min_length=1, max_length=200)],
    cell: Annotated[str | None, Query(max_length=128, description="a code of /api/cells")] = None,
    lon: Annotated[float | None, Query(ge=-180, le=180, description="WGS 84, instead of cell")] = None,
    lat: Annotated[float | None, Query(ge=-90, le=90)] = None,
    at: At = None,
    incident_class: Annotated[
        Literal["A", "B", "C"] | None,
        Query(alias="class", description="of the alarm; left out = as catalogued"),
    ] = None,
    source: Annotated[
        Literal["alarm", "report", "person"], Query(description="how it would come in")
    ] = "alarm",
) -> Response:
    """The unit, its helpers and deadlines, and every entry that was considered with why it won or lost.

    The list is as it stands at `at`, and so are shifts and holidays; how much work each unit has is as of now.
    """
    if (lon is None) != (lat is None):
        raise field_problem("lon", lon, "give lon and lat, or neither", "lon与lat须同时填写")
    now = datetime.now(UTC)
    when = at or now
    async with async_transaction(request) as connection:
        directory = await known_directory(request).fresh(connection, now)
        cell_id = await _cell(connection, cell, lon, lat)
        if when < now:  # what has ended since is not kept in memory
            past = ResponsibilityList(await stored.living(connection, when))
            directory = replace(directory, responsibilities=past)
    _known_category(category, directory)
    matter = dispatch.Matter(
        category=category,
        cell_id=cell_id,
        alarm_class=incident_class,
        source=source,
        longitude=lon,
        latitude=lat,
    )
    decision = dispatch.decide(matter, directory, when)
    places = directory.places.get(cell_id, ()) if cell_id is not None else ()
    entries = directory.responsibilities
    listed = entries if isinstance(entries, ResponsibilityList) else ResponsibilityList(entries)
    reasons = reasoning(category, places, listed, directory, when)
    return answer(
        {
            "at": when,
            "category": category,
            "place": [_place(place) for place in places],
            **_decided(decision, directory, when),
            **_reasons(reasons, places, directory),
        }
    )


async def _cell(
    connection: AsyncConnection[Any], code: str | None, longitude: float | None, latitude: float | None
) -> int | None:
    """The cell the matter lies in; None when no place is given. Raises Problem 422 for one that is none."""
    if longitude is not None and latitude is not None:
        around = await reports.cells_around(connection, longitude, latitude)
        (found,) = cell_of_points([drawn for _, drawn in around], [longitude], [latitude])
        if found is None:
            raise field_problem("lon", longitude, "lies in no cell of the map", "该位置不在任何网格内")
        return around[found][0]
    if code is None:
        return None
    cell_id = await reports.cell_by_code(connection, code)
    if cell_id is None:
        raise field_problem("cell", code, "there is no such cell; see /api/cells", "没有这个网格")
    return cell_id


def _known_category(code: str, directory: Directory) -> None:
    if code not in directory.categories and code not in known_categories(directory):
        raise field_problem(
            "category", code, "is not in the catalogue; see /api/categories", "目录中没有此类别"
        )


def _decided(decision: dispatch.Decision, directory: Directory, at: datetime) -> dict[str, Any]:
    unit = decision.suggestion
    return {
        "unit": _unit(unit),
        "co_units": [_unit(directory.units[one]) for one in decision.co_units],
        "automatic": decision.automatic,
        "class": decision.incident_class,
        "event_level": decision.event_level,
        "nature": decision.nature,
        "steps": decision.steps,
        "due_at": decision.due_at,
        "limits": _deadlines(decision.limits, unit, directory, at),
        "reason": decision.reason,
        "reason_en": decision.reason_en,
        "alternatives": [
            {**(_unit(other.unit) or {}), "reason": other.reason, "reason_en": other.reason_en}
            for other in decision.alternatives
        ],
    }


def _deadlines(limits: Limits, unit: Unit | None, directory: Directory, at: datetime) -> list[dict[str, Any]]:
    """Each stage's limit, and when it would be over if the stage began at ``at``."""
    found = []
    for stage in STAGES:
        limit = limits.get(stage)
        if limit is None:
            continue
        windows = windows_of(unit.id if unit and stage in _UNITS_TIME else None, directory)
        due = deadline(at, limit, windows)
        provisional = limit.unit != "natural" and is_provisional(at, due, directory.calendar, directory.zone)
        found.append({"stage": stage, "limit": str(limit), "due_at": due, "provisional": provisional})
    return found


def _reasons(reasons: Reasoning, places: Sequence[Place], directory: Directory) -> dict[str, Any]:
    known = {place.area_id: place for place in places}
    return {
        "entry": reasons.winner.id if reasons.winner else None,
        "considered": [
            {
                **_entry(one.entry, directory, known),
                "verdict": one.verdict,
                "reason": one.reason,
                "reason_en": one.reason_en,
            }
            for one in reasons.considered
        ],
        "elsewhere": reasons.elsewhere,
    }


# ── gaps and overlaps ────────────────────────────────────────────────────────────────────────────────


@router.get("/gaps", summary="What nobody is responsible for", operation_id="responsibility_gaps")
async def gaps(request: Request, at: At = None) -> Response:
    """Categories x places without a lead unit, told as the shortest category and the largest place: `category` null
    is the whole catalogue, `place` null the whole district. `district_only` is what no street, community or cell
    has an entry for."""
    directory, entries, when = await _list(request, at)
    found = coverage(directory, entries, when)
    return answer(
        {
            "at": when,
            "leaves": found.leaves,
            "cells": found.cells,
            "pairs": found.leaves * found.cells,
            "uncovered": found.uncovered,
            "gaps": len(found.gaps),
            "items": [
                {
                    **_category(gap.category, directory),
                    "leaves": gap.leaves,
                    "place": _place(gap.place) if gap.place else None,
                    "cells": gap.cells,
                }
                for gap in found.gaps[:MOST_TOLD]
            ],
            "district_only": [
                {
                    **_category(one.category, directory),
                    "leaves": one.leaves,
                    "entry": one.entry.id,
                    "unit": directory.units[one.entry.unit_id].code,
                }
                for one in found.district_only
            ],
            "next": None,
        }
    )


@router.get("/overlaps", summary="What is wrong with the list", operation_id="responsibility_overlaps")
async def overlaps(request: Request, at: At = None) -> Response:
    """Entries that can never win, two leads at once, units and categories that are no more, circles."""
    directory, entries, when = await _list(request, at)
    async with async_transaction(request) as connection:
        places = {place.area_id: place for place in await stored.places(connection)}
    by_id = {entry.id: entry for entry in entries}
    found = findings(directory, entries, when)
    items = [
        {
            "kind": one.kind,
            "entries": [_entry(by_id[number], directory, places) for number in one.entries],
            "units": list(one.units),
            "reason": one.reason,
            "reason_en": one.reason_en,
        }
        for one in found
    ]
    return answer({"at": when, "items": items, "next": None})


async def _list(
    request: Request, at: datetime | None
) -> tuple[Directory, Sequence[Responsibility], datetime]:
    now = datetime.now(UTC)
    when = at or now
    async with async_transaction(request) as connection:
        directory = await known_directory(request).fresh(connection, now)
        entries = await stored.living(connection, when)
    return directory, entries, when


# ── what is said ─────────────────────────────────────────────────────────────────────────────────────


def _entry(entry: Responsibility, directory: Directory, places: Mapping[int, Place]) -> dict[str, Any]:
    place = places.get(entry.area_id or 0)
    unit = directory.units.get(entry.unit_id)
    return {
        "id": entry.id,
        "category": entry.category,
        "area": place.code if place else None,
        "area_layer": place.layer if place else None,
        "unit": unit.code if unit else None,
        "unit_name": unit.name if unit else None,
        "unit_name_en": unit.name_en if unit else None,
    }


def _category(code: str, directory: Directory) -> Mapping[str, str | None]:
    known = directory.categories.get(code)
    return {
        "category": None if code == EVERYTHING else code,
        "category_name": known.name if known else None,
        "category_name_en": known.name_en if known else None,
    }


def _place(place: Place) -> dict[str, str]:
    return {"layer": place.layer, "code": place.code, "name": place.name, "name_en": place.name_en}


def _unit(unit: Unit | None) -> dict[str, str] | None:
    return {"code": unit.code, "name": unit.name, "name_en": unit.name_en} if unit else None
