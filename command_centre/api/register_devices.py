"""Devices as their list has them: looked at with their history, changed with a reason, added, claimed, retired."""

from dataclasses import asdict
from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from city import register as entries
from city.device_files import MOST_NAMES, LifeState
from city.register import DeviceEntry
from city.storage import device_choices, register, register_names
from command_centre import register_changes as changes
from command_centre.api import paging
from command_centre.api.answers import answer, gives
from command_centre.api.once import Key, once, tag, version
from command_centre.api.problem import not_found
from command_centre.api.refusals import refusable
from command_centre.api.register_shapes import (
    DeviceChoices,
    DeviceDetail,
    DeviceLife,
    DeviceProposals,
    RegisterChanges,
)
from command_centre.api.services import async_transaction
from command_centre.api.session import Known

router = APIRouter(prefix="/api/devices", tags=["register"])

IfMatch = Annotated[str | None, Header(max_length=64, description="ETag of the entry")]
Words = Annotated[str, Field(min_length=1, max_length=2000, pattern=r"\S", description="why; kept for good")]
Text = Annotated[str, Field(max_length=200)]
Code = Annotated[str, Field(max_length=128)]
Tag = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\s;,]+$")]
_RENAMED = {"lon": "longitude", "lat": "latitude"}


class DeviceChange(BaseModel):
    """What is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    kind: Code | None = None
    name: Text | None = None
    cell: Code | None = Field(None, description="left out with a new position: the cell there; null = none")
    lon: float | None = Field(None, ge=-180, le=180)
    lat: float | None = Field(None, ge=-90, le=90)
    model: Text | None = None
    owner_unit: Text | None = None
    maintainer_unit: Text | None = None
    gateway: Code | None = None
    address: Annotated[str, Field(max_length=500)] | None = None
    expected_interval_s: int | None = Field(None, ge=1, le=31_536_000, description="null = its kind's")
    tags: list[Tag] | None = Field(None, max_length=50)
    registration: Literal["registered", "retired"] | None = Field(
        None, description="registered claims an unclaimed one"
    )
    vendor: Text | None = None
    profile: Annotated[str, Field(max_length=64)] | None = Field(
        None, description="how its sender is read; null = chosen by itself"
    )
    life_state: LifeState | None = None
    installed_on: date | None = None
    calibrated_on: date | None = None
    calibration_due: date | None = None
    building: Code | None = None
    facility: Code | None = None
    names: list[Annotated[str, Field(max_length=240)]] | None = Field(
        None, max_length=MOST_NAMES, description="as foreign senders call it: family:name"
    )
    reason: Words


class ClaimAs(BaseModel):
    """``device`` is the listed one that was heard under the other's names."""

    device: Code
    reason: Words


class NewDevice(DeviceChange):
    code: str = Field(min_length=1, max_length=128)
    kind: Code


_MAY_BE_NONE = {
    *("cell", "longitude", "latitude", "gateway", "expected_interval_s", "profile", "installed_on"),
    *("calibrated_on", "calibration_due", "building", "facility"),
}


def _values(body: BaseModel) -> dict[str, Any]:
    """Only what was sent; null means none where there can be none, and as it is elsewhere."""
    sent = body.model_dump(exclude_unset=True, exclude={"reason", "code"})
    named = {_RENAMED.get(name, name): value for name, value in sent.items()}
    for name in ("gateway", "building", "facility", "profile"):
        if named.get(name) == "":
            named[name] = None
    for name in ("tags", "names"):
        if named.get(name) is not None:
            named[name] = sorted(set(named[name]))
    return {name: value for name, value in named.items() if value is not None or name in _MAY_BE_NONE}


@router.get(
    "/choices",
    summary="What devices can be filtered by, counted",
    operation_id="device_choices",
    responses=gives(DeviceChoices),
)
async def choices(request: Request) -> Response:
    """Kinds with their names, registrations, service states, and the units that own or maintain some."""
    async with async_transaction(request) as connection:
        return answer(await device_choices.counted(connection))


@router.post(
    "",
    status_code=201,
    summary="Add a device that stands in no file",
    operation_id="create_device",
    responses=gives(DeviceDetail, 201),
)
async def create_device(request: Request, body: NewDevice, known: Known, key: Key = None) -> Response:
    """It stays when the district's files come again. Its cell follows from its position unless it is named."""
    async with async_transaction(request) as connection:

        async def work() -> dict[str, Any]:
            made = await refusable(
                changes.create_device(
                    connection, body.code, _values(body), actor=known.actor, reason=body.reason.strip()
                )
            )
            return await _shown(connection, made)

        return await once(
            connection,
            known.actor,
            "POST /api/devices",
            key,
            body,
            work,
            status=201,
            etag=lambda done: tag(done["version"]),
        )


@router.patch(
    "/{code}",
    summary="Change, claim or retire a device",
    operation_id="change_device",
    responses=gives(DeviceDetail),
)
async def change_device(
    request: Request, code: str, body: DeviceChange, known: Known, if_match: IfMatch = None
) -> Response:
    """From now on the district's files no longer change it: a person's word stands over a file's."""
    async with async_transaction(request) as connection:
        fresh = await refusable(
            changes.edit_device(
                connection,
                code,
                _values(body),
                version=version(if_match),
                actor=known.actor,
                reason=body.reason.strip(),
            )
        )
        shown = await _shown(connection, fresh)
    return answer(shown, headers={"ETag": tag(fresh.version)})


@router.get(
    "/{code}/entry",
    summary="A device as its list has it",
    operation_id="get_device_entry",
    responses=gives(DeviceDetail),
)
async def get_entry(request: Request, code: str) -> Response:
    """Its ETag is what `PATCH` wants in `If-Match`. The live state is in `GET /api/devices/{code}`."""
    async with async_transaction(request) as connection:
        found = await register.device(connection, code)
        if found is None:
            raise not_found("device", "设备", code)
        shown = await _shown(connection, found)
    return answer(shown, headers={"ETag": tag(found.version)})


@router.get(
    "/{code}/changes",
    summary="Who changed a device, when and why",
    operation_id="device_changes",
    responses=gives(RegisterChanges),
)
async def device_changes(
    request: Request, code: str, limit: paging.Limit = 50, cursor: paging.Cursor = None
) -> Response:
    """Newest first: of its entry, its service state and its claim."""
    after = paging.read(cursor, tuple[int])
    async with async_transaction(request) as connection:
        if await register.device(connection, code) is None:
            raise not_found("device", "设备", code)
        rows = await register.history(
            connection, code, "device.", before=after[0] if after else None, limit=limit + 1
        )
    return answer(paging.page(rows, limit, lambda row: [row["id"]]))


@router.post(
    "/{code}/claim-as",
    summary="Say which listed device an unclaimed one is",
    operation_id="claim_device_as",
    responses=gives(DeviceDetail),
)
async def claim_as(request: Request, code: str, body: ClaimAs, known: Known) -> Response:
    """Its names go to the listed device and it is retired; what it read until now stays with it."""
    async with async_transaction(request) as connection:
        fresh = await refusable(
            changes.claim_as(connection, code, body.device, actor=known.actor, reason=body.reason.strip())
        )
        shown = await _shown(connection, fresh)
    return answer(shown, headers={"ETag": tag(fresh.version)})


@router.get(
    "/{code}/life",
    summary="The steps of a device's life",
    operation_id="device_life",
    responses=gives(DeviceLife),
)
async def device_life(request: Request, code: str) -> Response:
    """Newest first: from what to what, who said so and why. Nothing of it can be changed."""
    async with async_transaction(request) as connection:
        found = await register.device(connection, code)
        if found is None:
            raise not_found("device", "设备", code)
        steps = await register_names.life(connection, found.id)
    return answer({"items": [asdict(one) for one in steps], "next": None})


@router.get(
    "/{code}/proposal",
    summary="What an unclaimed device probably is",
    operation_id="device_proposal",
    responses=gives(DeviceProposals),
)
async def proposal(request: Request, code: str) -> Response:
    """From devices of its kind in its cell, else those numbered like it, else all; from how often it was heard."""
    async with async_transaction(request) as connection:
        known = await register.device(connection, code)
        if known is None:
            raise not_found("device", "设备", code)
        usual = (await register.kind_interval(connection, known.kind))[1]
        found = entries.propose_place(known.kind, known.cell, await register.heard(connection, code))
        found += entries.propose(
            code, await register.siblings(connection, code), await register.gaps(connection, code), usual
        )
    return answer({"items": [asdict(one) for one in found], "next": None})


async def _shown(connection: changes.Connection, entry: DeviceEntry) -> dict[str, Any]:
    fields = asdict(entry)
    del fields["id"], fields["cell_id"]
    place = {"lon": fields.pop("longitude"), "lat": fields.pop("latitude")}
    usual = (await register.kind_interval(connection, entry.kind))[1]
    return {**fields, **place, "usual_interval_s": usual}
