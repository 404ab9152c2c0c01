"""Public facilities and buildings as people keep them: looked at, changed with a reason, added, removed."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from city import code_forms
from city.storage import components, facilities, register
from city.storage.facilities import Row, Sort
from command_centre import facility_changes as changes
from command_centre.api import paging
from command_centre.api.answers import answer, gives
from command_centre.api.once import Key, once, tag, version
from command_centre.api.problem import not_found
from command_centre.api.refusals import refusable
from command_centre.api.register_devices import Code, IfMatch, Text, Words
from command_centre.api.register_shapes import (
    BuildingDetail,
    BuildingDetails,
    FacilityDetail,
    RegisterChanges,
)
from command_centre.api.services import async_transaction
from command_centre.api.session import Known

router = APIRouter(prefix="/api", tags=["register"])
State = Literal["in_use", "under_repair", "out_of_use", "removed"]


class PlaceChange(BaseModel):
    """What is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    kind: Text | None = None
    name: Text | None = None
    cell: Code | None = Field(None, description="left out with a new position: the cell there; null = none")
    lon: float | None = Field(None, ge=-180, le=180)
    lat: float | None = Field(None, ge=-90, le=90)
    owner_unit: Text | None = None
    maintainer_unit: Text | None = None
    address: Annotated[str, Field(max_length=500)] | None = None
    state: State | None = None
    reason: Words


class FacilityChange(PlaceChange):
    category: Code | None = None
    building: Code | None = None


class BuildingChange(PlaceChange):
    floors: int | None = Field(None, ge=0, le=300)
    floors_below: int | None = Field(None, ge=0, le=30)
    outline: dict[str, Any] | None = Field(None, description="GeoJSON Polygon or MultiPolygon, WGS 84")


class NewFacility(FacilityChange):
    code: str = Field(min_length=1, max_length=64)
    kind: Text


class NewBuilding(BuildingChange):
    code: str = Field(min_length=1, max_length=64)


_RENAMED = {"lon": "longitude", "lat": "latitude"}
_MAY_BE_NONE = {
    *("cell", "longitude", "latitude", "category", "building", "floors", "floors_below", "outline"),
}


def _values(body: BaseModel) -> dict[str, Any]:
    sent = body.model_dump(exclude_unset=True, exclude={"reason", "code"})
    named = {_RENAMED.get(name, name): value for name, value in sent.items()}
    for name in ("category", "building"):
        if named.get(name) == "":
            named[name] = None
    return {name: value for name, value in named.items() if value is not None or name in _MAY_BE_NONE}


async def _shown(connection: changes.Connection, sort: Sort, row: Row) -> dict[str, Any]:
    return _said(row, await _forms(connection, sort))


async def _forms(connection: changes.Connection, sort: Sort) -> Sequence[code_forms.Form]:
    return (await components.code_forms(connection)).get(
        "component" if sort == "components" else "building", ()
    )


def _said(row: Row, forms: Sequence[code_forms.Form]) -> dict[str, Any]:
    fields = {name: value for name, value in row.items() if name not in ("id", "cell_id")}
    fields |= {"lon": fields.pop("longitude"), "lat": fields.pop("latitude")}
    read = code_forms.read_code(row["code"], forms)
    form, parts = (read.form, dict(read.parts)) if isinstance(read, code_forms.CodeParts) else ("", {})
    return fields | {"form": form, "parts": parts}


async def _got(request: Request, sort: Sort, code: str) -> Response:
    async with async_transaction(request) as connection:
        found = await facilities.entry(connection, sort, code)
        if found is None:
            zh, en = changes.WORDS[sort]
            raise not_found(en, zh, code)
        shown = await _shown(connection, sort, found)
    return answer(shown, headers={"ETag": tag(found["version"])})


async def _made(
    request: Request, sort: Sort, body: NewFacility | NewBuilding, known: Known, key: str | None
) -> Response:
    async with async_transaction(request) as connection:

        async def work() -> dict[str, Any]:
            made = await refusable(
                changes.create(
                    connection, sort, body.code, _values(body), actor=known.actor, reason=body.reason.strip()
                )
            )
            return await _shown(connection, sort, made)

        route = f"POST /api/{sort}"
        return await once(
            connection,
            known.actor,
            route,
            key,
            body,
            work,
            status=201,
            etag=lambda done: tag(done["version"]),
        )


async def _changed(
    request: Request, sort: Sort, code: str, body: PlaceChange, known: Known, if_match: str | None
) -> Response:
    async with async_transaction(request) as connection:
        fresh = await refusable(
            changes.edit(
                connection,
                sort,
                code,
                _values(body),
                version=version(if_match),
                actor=known.actor,
                reason=body.reason.strip(),
            )
        )
        shown = await _shown(connection, sort, fresh)
    return answer(shown, headers={"ETag": tag(fresh["version"])})


async def _history(request: Request, sort: Sort, code: str, limit: int, cursor: str | None) -> Response:
    after = paging.read(cursor, tuple[int])
    noun = sort.removesuffix("s")
    async with async_transaction(request) as connection:
        rows = await register.history(
            connection, f"{noun}:{code}", f"{noun}.", before=after[0] if after else None, limit=limit + 1
        )
    return answer(paging.page(rows, limit, lambda row: [row["id"]]))


# ── public facilities ────────────────────────────────────────────────────────────────────────────────


@router.post(
    "/components",
    status_code=201,
    summary="Add a public facility",
    operation_id="create_component",
    responses=gives(FacilityDetail, 201),
)
async def create_component(request: Request, body: NewFacility, known: Known, key: Key = None) -> Response:
    """It stays when the district's files come again. Its cell follows from its position unless it is named."""
    return await _made(request, "components", body, known, key)


@router.patch(
    "/components/{code}",
    summary="Change or remove a public facility",
    operation_id="change_component",
    responses=gives(FacilityDetail),
)
async def change_component(
    request: Request, code: str, body: FacilityChange, known: Known, if_match: IfMatch = None
) -> Response:
    """From now on the district's files no longer change it. State `removed` keeps it for what names it."""
    return await _changed(request, "components", code, body, known, if_match)


@router.get(
    "/components/{code}/entry",
    summary="A public facility with what stands in it",
    operation_id="get_component_entry",
    responses=gives(FacilityDetail),
)
async def get_component_entry(request: Request, code: str) -> Response:
    """Its ETag is what `PATCH` wants in `If-Match`."""
    return await _got(request, "components", code)


@router.get(
    "/components/{code}/changes",
    summary="Who changed a public facility, when and why",
    operation_id="component_changes",
    responses=gives(RegisterChanges),
)
async def component_changes(
    request: Request, code: str, limit: paging.Limit = 50, cursor: paging.Cursor = None
) -> Response:
    """Newest first."""
    return await _history(request, "components", code, limit, cursor)


# ── buildings ────────────────────────────────────────────────────────────────────────────────────────


@router.get(
    "/buildings", summary="Buildings", operation_id="list_buildings", responses=gives(BuildingDetails)
)
async def list_buildings(
    request: Request,
    cell: Annotated[str | None, Query(max_length=128)] = None,
    kind: Annotated[str | None, Query(max_length=100)] = None,
    state: State | None = None,
    q: Annotated[
        str | None, Query(max_length=64, description="beginning of a code, part of name, address")
    ] = None,
    limit: paging.Limit = 100,
    cursor: paging.Cursor = None,
) -> Response:
    """By code, removed ones only when asked for."""
    after = paging.read(cursor, tuple[str])
    async with async_transaction(request) as connection:
        rows = await facilities.page(
            connection,
            "buildings",
            cell=cell,
            kind=kind,
            state=state,
            words=q,
            after=after[0] if after else None,
            limit=limit + 1,
        )
        found = paging.page(rows, limit, lambda row: [row["code"]])
        forms = await _forms(connection, "buildings")
        items = [_said(row, forms) for row in found["items"]]
    return answer({**found, "items": items})


@router.post(
    "/buildings",
    status_code=201,
    summary="Add a building",
    operation_id="create_building",
    responses=gives(BuildingDetail, 201),
)
async def create_building(request: Request, body: NewBuilding, known: Known, key: Key = None) -> Response:
    """It stays when the district's files come again. Its cell follows from its position unless it is named."""
    return await _made(request, "buildings", body, known, key)


@router.get(
    "/buildings/{code}",
    summary="One building with what stands in it",
    operation_id="get_building",
    responses=gives(BuildingDetail),
)
async def get_building(request: Request, code: str) -> Response:
    """Its ETag is what `PATCH` wants in `If-Match`. Removed ones too."""
    return await _got(request, "buildings", code)


@router.patch(
    "/buildings/{code}",
    summary="Change or remove a building",
    operation_id="change_building",
    responses=gives(BuildingDetail),
)
async def change_building(
    request: Request, code: str, body: BuildingChange, known: Known, if_match: IfMatch = None
) -> Response:
    """From now on the district's files no longer change it. State `removed` keeps it for what names it."""
    return await _changed(request, "buildings", code, body, known, if_match)


@router.get(
    "/buildings/{code}/changes",
    summary="Who changed a building, when and why",
    operation_id="building_changes",
    responses=gives(RegisterChanges),
)
async def building_changes(
    request: Request, code: str, limit: paging.Limit = 50, cursor: paging.Cursor = None
) -> Response:
    """Newest first."""
    return await _history(request, "buildings", code, limit, cursor)
