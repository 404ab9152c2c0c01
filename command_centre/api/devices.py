"""The register with its live state: look, claim, put under test or on the shelf."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel, Field
from starlette.responses import Response

from city.devices import DeviceState
from city.storage import devices, series
from command_centre import alarm_life
from command_centre.api import paging
from command_centre.api.answers import answer, gives
from command_centre.api.problem import Problem, not_found
from command_centre.api.services import transaction
from command_centre.api.session import Known
from command_centre.api.shapes.things import Device, Devices

router = APIRouter(prefix="/api/devices", tags=["devices"])


class Service(BaseModel):
    state: Literal["in_service", "under_test", "shelved", "out_of_service"]
    until: AwareDatetime | None = Field(None, description="end of the test or shelf, with offset")
    reason: str = Field("", max_length=500)


class Claim(BaseModel):
    reason: str = Field("", max_length=500)


Filter = Annotated[str | None, Query(max_length=100)]


@router.get(
    "", summary="Devices with their live state", operation_id="list_devices", responses=gives(Devices)
)
def list_devices(  # each is one parameter of the query
    request: Request,
    kind: Filter = None,
    cell: Filter = None,
    registration: Literal["registered", "unclaimed", "retired"] | None = None,
    service_state: Literal["in_service", "under_test", "shelved", "out_of_service"] | None = None,
    unit: Annotated[str | None, Query(max_length=200, description="owner or maintainer")] = None,
    *,
    online: Annotated[bool | None, Query(description="heard lately, or silent")] = None,
    q: Annotated[str | None, Query(max_length=100, description="part of code, name or address")] = None,
    limit: paging.Limit = 100,
    cursor: paging.Cursor = None,
) -> Response:
    """By code."""
    after = paging.read(cursor, tuple[str])
    with transaction(request) as connection:
        rows = devices.list_devices(
            connection,
            kind=kind,
            cell=cell,
            registration=registration,
            service_state=service_state,
            unit=unit,
            online=online,
            containing=q,
            after=after[0] if after else None,
            limit=limit + 1,
        )
    found = paging.page(rows, limit, lambda device: [device.code])
    now = datetime.now(UTC)
    return answer({**found, "items": [shown(device, now) for device in found["items"]]})


@router.get("/{code}", summary="One device", operation_id="get_device", responses=gives(Device))
def get_device(request: Request, code: str) -> Response:
    """Its entry in the register and its live state."""
    with transaction(request) as connection:
        return answer(_one(devices.get_device(connection, code), code))


@router.get("/{code}/readings", summary="What a device has read, thinned", operation_id="readings")
def readings(  # each is one parameter of the query
    request: Request,
    code: str,
    start: Annotated[AwareDatetime | None, Query(alias="from", description="with offset; a day ago")] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to", description="with offset; now")] = None,
    step: Annotated[str | None, Query(pattern=r"^[0-9]{1,6}[smhd]?$", description="30s, 5m, 1h, 1d")] = None,
    metric: Annotated[str | None, Query(max_length=64, description="the kind's main one")] = None,
) -> Response:
    """Minimum, mean and maximum of each step; steps without readings are left out."""
    until = end or datetime.now(UTC)
    since = start or until - timedelta(days=1)
    with transaction(request) as connection:
        try:
            points = series.read_series(
                connection, code, metric=metric, start=since, end=until, step=_span(step)
            )
        except devices.UnknownDeviceError as error:
            raise not_found("device", "设备", code) from error
        except series.SeriesError as error:
            raise Problem(422, str(error), f"无法这样查询：{error}") from error
    items = [
        {"at": p.at, "min": p.minimum, "mean": p.mean, "max": p.maximum, "readings": p.readings}
        for p in points
    ]
    return answer({"device": code, "from": since, "to": until, "items": items, "next": None})


def _span(step: str | None) -> timedelta | None:
    if step is None:
        return None
    unit = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    seconds = int(step[:-1]) * unit[step[-1]] if step[-1] in unit else int(step)
    return timedelta(seconds=seconds)


@router.post(
    "/{code}/service", summary="Put under test, shelve, return to service", operation_id="set_service"
)
def set_service(request: Request, code: str, body: Service, known: Known) -> Response:
    """Under test and shelved need an end and a reason; its alarms are recorded and nobody is sent.

    While a class A fire alarm stands on it, silencing it is for an administrator, as shelving that alarm is.
    """
    now = datetime.now(UTC)
    with transaction(request) as connection:
        if body.state != "in_service":
            _refuse_to_silence_a_fire(devices.standing_alarms(connection, code), known.role)
        try:
            devices.set_service(
                connection,
                code,
                body.state,
                until=body.until,
                reason=body.reason,
                actor=known.actor,
                now=now,
            )
        except devices.UnknownDeviceError as error:
            raise not_found("device", "设备", code) from error
        except devices.ServiceStateError as error:
            raise Problem(422, str(error), f"无法这样设置：{error}") from error
        return answer(_one(devices.get_device(connection, code), code))


def _refuse_to_silence_a_fire(standing: Sequence[tuple[str, str]], role: str) -> None:
    for category, incident_class in standing:
        if role not in alarm_life.roles_to_shelve(category, incident_class):
            raise Problem(
                403,
                f"a class A fire alarm ({category}) stands on this device: an administrator silences it; "
                f"the role is {role}",
                f"该设备有未恢复的甲类火警（{category}），只能由管理员停用或搁置，当前角色为{role}",
            )


@router.post(
    "/{code}/claim", summary="Claim a device that was heard and is in no list", operation_id="claim_device"
)
def claim_device(request: Request, code: str, known: Known, body: Claim | None = None) -> Response:
    """Makes an unclaimed device registered."""
    with transaction(request) as connection:
        try:
            devices.claim(connection, code, actor=known.actor, reason=body.reason if body else "")
        except devices.UnknownDeviceError as error:
            raise not_found("device", "设备", code) from error
        return answer(_one(devices.get_device(connection, code), code))


def _one(device: DeviceState | None, code: str) -> dict[str, Any]:
    if device is None:
        raise not_found("device", "设备", code)
    return shown(device, datetime.now(UTC))


def shown(device: DeviceState, now: datetime) -> dict[str, Any]:
    """A device as the contract names it; an end of service that has passed counts as in service."""
    over = device.service_until is not None and device.service_until <= now
    fields = {name: getattr(device, name) for name in DeviceState.__dataclass_fields__}
    del fields["silent_before"]
    place = {"lon": fields.pop("longitude"), "lat": fields.pop("latitude")}
    return {
        **fields,
        **place,
        "service_state": "in_service" if over else device.service_state,
        "online": device.online,
    }
