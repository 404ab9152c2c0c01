"""Units as their list has them: how to reach them, what they can take, who stands in; changed with a reason."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from city.register import UnitEntry
from city.storage import register
from city.units import Tier
from command_centre import register_changes as changes
from command_centre.api import paging
from command_centre.api.answers import answer, gives
from command_centre.api.once import Key, once, tag, version
from command_centre.api.problem import not_found
from command_centre.api.refusals import refusable
from command_centre.api.register_shapes import RegisterChanges, UnitDetail, UnitDetails
from command_centre.api.services import async_transaction
from command_centre.api.session import Known
from command_centre.notify.addresses import masked

router = APIRouter(prefix="/api", tags=["register"])

IfMatch = Annotated[str | None, Header(max_length=64, description="ETag of the unit")]
Words = Annotated[str, Field(min_length=1, max_length=2000, pattern=r"\S", description="why; kept for good")]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]
Text = Annotated[str, Field(max_length=200)]
Code = Annotated[str, Field(max_length=128)]
_MAY_BE_NONE = {"parent", "capacity", "fallback", "longitude", "latitude"}


class UnitChange(BaseModel):
    """What is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    name_en: Text | None = None
    kind: Text | None = None
    parent: Code | None = Field(None, description="code of the unit above; null = none")
    lead: Text | None = None
    phone: Text | None = None
    lead_phone: Text | None = None
    email: Text | None = None
    lead_email: Text | None = None
    webhook_url: Annotated[str, Field(max_length=2000)] | None = Field(
        None, description="as shown, masked, it stays"
    )
    tier: Tier | None = None
    capacity: int | None = Field(None, ge=1, le=100_000, description="null = not limited")
    fallback: Code | None = Field(None, description="code of the unit that stands in; null = none")
    hours: Text | None = Field(None, description="09:00-12:00,14:00-18:00; empty = the district's")
    lon: float | None = Field(None, ge=-180, le=180)
    lat: float | None = Field(None, ge=-90, le=90)
    active: bool | None = Field(None, description="false: it gets nothing new")
    reason: Words


class NewUnit(UnitChange):
    code: str = Field(min_length=1, max_length=128, pattern=r"^\S+$")
    name: Name


def _values(body: BaseModel) -> dict[str, Any]:
    sent = body.model_dump(exclude_unset=True, exclude={"reason", "code"})
    named = {{"lon": "longitude", "lat": "latitude"}.get(name, name): value for name, value in sent.items()}
    for name in ("parent", "fallback"):
        if named.get(name) == "":
            named[name] = None
    return {name: value for name, value in named.items() if value is not None or name in _MAY_BE_NONE}


@router.get(
    "/register/units",
    summary="Every unit as its list has it",
    operation_id="list_unit_entries",
    responses=gives(UnitDetails),
)
async def list_entries(request: Request) -> Response:
    """Those at work first, then those that have ended. Webhook addresses are masked."""
    async with async_transaction(request) as connection:
        found = await register.units(connection)
    return answer({"items": [_shown(one) for one in found], "next": None})


@router.post(
    "/units",
    status_code=201,
    summary="Add a unit that stands in no file",
    operation_id="create_unit",
    responses=gives(UnitDetail, 201),
)
async def create_unit(request: Request, body: NewUnit, known: Known, key: Key = None) -> Response:
    """It stays when the district's files come again."""
    async with async_transaction(request) as connection:

        async def work() -> dict[str, Any]:
            made = changes.create_unit(
                connection, body.code, _values(body), actor=known.actor, reason=body.reason.strip()
            )
            return _shown(await refusable(made))

        return await once(
            connection,
            known.actor,
            "POST /api/units",
            key,
            body,
            work,
            status=201,
            etag=lambda done: tag(done["version"]),
        )


@router.get("/units/{code}", summary="One unit", operation_id="get_unit", responses=gives(UnitDetail))
async def get_unit(request: Request, code: str) -> Response:
    """Its ETag is what `PATCH` wants in `If-Match`."""
    async with async_transaction(request) as connection:
        found = await register.unit(connection, code)
    if found is None:
        raise not_found("unit", "单位", code)
    return answer(_shown(found), headers={"ETag": tag(found.version)})


@router.patch(
    "/units/{code}", summary="Change or end a unit", operation_id="change_unit", responses=gives(UnitDetail)
)
async def change_unit(
    request: Request, code: str, body: UnitChange, known: Known, if_match: IfMatch = None
) -> Response:
    """Dispatch goes by it within a second. A unit that has open incidents or leads responsibilities cannot end."""
    async with async_transaction(request) as connection:
        fresh = await refusable(
            changes.edit_unit(
                connection,
                code,
                _values(body),
                version=version(if_match),
                actor=known.actor,
                reason=body.reason.strip(),
            )
        )
    return answer(_shown(fresh), headers={"ETag": tag(fresh.version)})


@router.get(
    "/units/{code}/changes",
    summary="Who changed a unit, when and why",
    operation_id="unit_changes",
    responses=gives(RegisterChanges),
)
async def unit_changes(
    request: Request, code: str, limit: paging.Limit = 50, cursor: paging.Cursor = None
) -> Response:
    """Newest first."""
    after = paging.read(cursor, tuple[int])
    async with async_transaction(request) as connection:
        if await register.unit(connection, code) is None:
            raise not_found("unit", "单位", code)
        rows = await register.history(
            connection, f"unit:{code}", "unit.", before=after[0] if after else None, limit=limit + 1
        )
    return answer(paging.page(rows, limit, lambda row: [row["id"]]))


def _shown(entry: UnitEntry) -> dict[str, Any]:
    fields = asdict(entry.unit)
    del fields["id"]
    place = {"lon": fields.pop("longitude"), "lat": fields.pop("latitude")}
    web = fields["webhook_url"]
    return {
        **fields,
        **place,
        "webhook_url": masked("webhook", web) if web else "",
        "active": entry.active,
        "version": entry.version,
        "edited_at": entry.edited.at,
        "edited_by": entry.edited.by,
    }
