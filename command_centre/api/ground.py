"""Areas with their outlines: looked at with their history, redrawn after a preview."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from city.district_source import Faults
from city.drawn import outline
from city.outlines import Finding, square_metres
from city.register import AreaEntry
from city.storage import ground, register
from command_centre import ground_changes as changes
from command_centre.actions import ActionError
from command_centre.api.answers import answer, gives, tagged
from command_centre.api.problem import Problem, field_problem, not_found
from command_centre.api.refusals import refusable, refusal
from command_centre.api.register_shapes import AreaDetails, AreaHistory, GroundPreview
from command_centre.api.services import async_transaction, known_directory
from command_centre.api.session import Known
from command_centre.ground_words import said

router = APIRouter(prefix="/api/areas", tags=["register"])

MOST_SHOWN = 500  # devices and incidents that a preview lists; the counts are of all
Words = Annotated[str, Field(min_length=1, max_length=2000, pattern=r"\S", description="why; kept for good")]


class AreaWanted(BaseModel):
    model_config = ConfigDict(extra="forbid")

    layer: str = Field(min_length=1, max_length=64, description="cell, community, street, …")
    code: str = Field(min_length=1, max_length=128)
    name: str = Field("", max_length=200)
    name_en: str = Field("", max_length=200)
    parent: str | None = Field(None, max_length=128, description="code of the area around it")
    geometry: dict[str, Any] | None = Field(
        None, description="GeoJSON Polygon or MultiPolygon, WGS84; null = not drawn"
    )
    version: int | None = Field(None, description="as it was read; left out = it is new")
    ended: bool = Field(default=False, description="it is valid no longer; what names it goes on doing so")


class DeviceDragged(BaseModel):
    model_config = ConfigDict(extra="forbid")

    code: str = Field(min_length=1, max_length=128)
    version: int
    lon: float = Field(ge=-180, le=180)
    lat: float = Field(ge=-90, le=90)


class GroundChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    areas: list[AreaWanted] = Field([], max_length=200)
    devices: list[DeviceDragged] = Field([], max_length=1000)
    reason: Words


@router.get("", summary="Areas with their outlines", operation_id="list_areas", responses=gives(AreaDetails))
async def list_areas(
    request: Request,
    layer: Annotated[str | None, Query(max_length=64, description="only this one: cell, street, …")] = None,
) -> Response:
    """Every valid area, as an editor needs it. Has an ETag."""
    async with async_transaction(request) as connection:
        every = await ground.areas(connection)
    by_id = {area.id: area for area in every}
    items = [_area(area, by_id.get(area.parent_id or 0)) for area in every if layer in (None, area.layer)]
    return tagged(request, {"items": items, "next": None})


@router.get(
    "/{layer}/{code}/history",
    summary="How an area was drawn before, and who changed it",
    operation_id="area_history",
    responses=gives(AreaHistory),
)
async def area_history(request: Request, layer: str, code: str) -> Response:
    """Newest first; the first one is what holds now. What happened in an area keeps to the area as it was then."""
    async with async_transaction(request) as connection:
        rows = await ground.history(connection, layer, code)
        changed = await register.history(connection, f"area:{layer}:{code}", "area.", before=None, limit=200)
    if not rows:
        raise not_found("area", "区域", f"{layer} {code}")
    items = [{**row, "square_metres": round(square_metres(row["geometry"]))} for row in rows]
    return answer({"items": items, "changes": changed, "next": None})


@router.post(
    "/changes",
    summary="Redraw areas and move devices, or see what that would change",
    operation_id="change_ground",
    responses=gives(GroundPreview),
)
async def change_ground(
    request: Request,
    body: GroundChange,
    known: Known,
    *,
    dry_run: Annotated[bool, Query(description="only say what would become of it")] = False,
    if_match: Annotated[str | None, Header(max_length=64, description="`token` of the preview")] = None,
) -> Response:
    """All of it or nothing. With the preview's token in `If-Match` it is saved only if it still says the same.

    Devices and open incidents that stand on other ground afterwards come into its cell; what is closed stays.
    """
    now = datetime.now(UTC)
    wanted = [_wanted(number, one) for number, one in enumerate(body.areas)]
    dragged = [
        changes.WantedDevice(code=one.code, version=one.version, longitude=one.lon, latitude=one.lat)
        for one in body.devices
    ]
    async with async_transaction(request) as connection:
        directory = await known_directory(request).fresh(connection, now)
        planned = await refusable(changes.plan(connection, wanted, dragged))
        shown = await _shown(connection, planned)
        if not dry_run:
            if if_match not in (None, "*") and (if_match or "").strip('"') != shown["token"]:
                raise Problem(
                    412,
                    "what it would change is no longer what the preview said; look at it again",
                    "情况已变化，与预览不一致，请重新预览",
                )
            if planned.faults:
                zh, en = planned.faults[0]
                raise refusal(ActionError("invalid", zh, en, "geometry"))
            await refusable(
                changes.carry_out(
                    connection, planned, directory, actor=known.actor, reason=body.reason.strip(), now=now
                )
            )
            shown["saved"] = True
    return answer(shown)


def _wanted(number: int, one: AreaWanted) -> changes.WantedArea:
    faults = Faults()
    geometry = outline(f"areas.{number}", one.geometry, faults)
    if len(faults):
        said_of = faults.entries[0]
        raise field_problem(
            f"areas.{number}.geometry",
            one.code,
            f"{said_of.what}; {said_of.remedy}",
            f"“{one.code}”的边界不可用：{said_of.what}",
        )
    return changes.WantedArea(
        layer=one.layer,
        code=one.code,
        name=one.name,
        name_en=one.name_en,
        parent=one.parent,
        geometry=geometry,
        version=one.version,
        ended=one.ended,
    )


def _area(area: AreaEntry, parent: AreaEntry | None) -> dict[str, Any]:
    return {
        "layer": area.layer,
        "code": area.code,
        "name": area.name,
        "name_en": area.name_en,
        "parent": parent.code if parent else None,
        "parent_layer": parent.layer if parent else None,
        "geometry": area.geometry,
        "square_metres": round(square_metres(area.geometry)),
        "origin": area.origin,
        "version": area.version,
        "drawn_at": area.drawn_at,
        "edited_at": area.edited_at,
        "edited_by": area.edited_by,
    }


async def _shown(connection: changes.Connection, planned: changes.GroundPlan) -> dict[str, Any]:
    devices = planned.devices[:MOST_SHOWN]
    matters = planned.incidents[:MOST_SHOWN]
    named = await ground.named_devices(connection, [move.key for move in devices])
    numbered = await ground.named_incidents(connection, [int(move.key) for move in matters])
    shown = {
        "refused": bool(planned.faults),
        "areas": [_fate(one) for one in planned.areas],
        "devices_moved": len(planned.devices),
        "devices": [
            {
                "code": move.key,
                "name": named[move.key]["name"],
                "kind": named[move.key]["kind"],
                "from_cell": move.cell,
                "to_cell": move.to,
            }
            for move in devices
        ],
        "incidents_moved": len(planned.incidents),
        "incidents": [
            {**numbered[int(move.key)], "from_cell": move.cell, "to_cell": move.to} for move in matters
        ],
    }
    every_move = [[move.key, move.cell, move.to] for move in (*planned.devices, *planned.incidents)]
    return {"saved": False, "token": _digest([shown, every_move]), **shown}


def _digest(parts: Sequence[object]) -> str:
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:24]


def _fate(one: changes.PlannedArea) -> dict[str, Any]:
    findings = [_finding(finding) for finding in one.findings]
    if one.blocked is not None:
        zh, en = one.blocked
        findings.append(_finding(Finding(code=one.wanted.code, what="empty")) | _blocked(zh, en))
    return {
        "layer": one.wanted.layer,
        "code": one.wanted.code,
        "name": one.wanted.name or (one.entry.name if one.entry else ""),
        "name_en": one.wanted.name_en or (one.entry.name_en if one.entry else ""),
        "fate": one.fate,
        "square_metres": 0 if one.fate == "ended" else round(square_metres(one.wanted.geometry)),
        "square_metres_before": round(square_metres(one.entry.geometry)) if one.entry else 0,
        "findings": findings,
    }


def _blocked(zh: str, en: str) -> dict[str, Any]:
    return {"what": "held", "fault": True, "words": zh, "words_en": en}


def _finding(finding: Finding) -> dict[str, Any]:
    zh, en = said(finding)
    return {
        "what": finding.what,
        "fault": finding.fault,
        "other": finding.other,
        "square_metres": round(finding.square_metres),
        "lon": finding.position[0] if finding.position else None,
        "lat": finding.position[1] if finding.position else None,
        "geometry": finding.geometry,
        "words": zh,
        "words_en": en,
    }
