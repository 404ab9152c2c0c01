"""Changes of devices and units by people: checked, written with who and why, and seen by dispatch within a second."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import AsyncConnection

from city.areas import cell_of_points
from city.device_files import NAME
from city.register import DeviceEntry, UnitEntry
from city.register_rows import CODE
from city.storage import ground, register, register_names
from city.worktime import HoursError, read_hours
from command_centre.actions import ActionError
from command_centre.notify.addresses import masked

Connection = AsyncConnection[Any]
Values = Mapping[str, Any]

_MAIL = re.compile(r"[^@\s]+@[^@\s]+")
_WEB = re.compile(r"https?://[^\s/]+\S*")


# ── devices ──────────────────────────────────────────────────────────────────────────────────────────


async def edit_device(
    connection: Connection, code: str, wanted: Values, *, version: int | None, actor: str, reason: str
) -> DeviceEntry:
    """Write what differs from the entry as it stands; raises ActionError, nothing is written then.

    ``wanted`` names fields of DeviceEntry. A device that is moved on the map comes into the cell it stands in,
    unless the cell is named too or it was listed elsewhere than it stood.
    """
    await register.lock(connection)
    known = await register.device(connection, code, locked=True)
    if known is None:
        raise ActionError("not_found", f"没有设备“{code}”", f"there is no device {code!r}")
    _in_time(version, known.version)
    values = await _of_device(connection, code, wanted, known)
    changed = {name: value for name, value in values.items() if _now(known, name) != value}
    if not changed:
        return known
    before = {name: _now(known, name) for name in changed}
    columns = {name: value for name, value in changed.items() if name != "names"}
    if "life_state" in changed or "registration" in changed:
        columns |= {"life_by": actor, "life_reason": reason}
    await register.update_device(connection, known.id, columns, actor)
    if "names" in changed:
        await _rename(connection, known, changed["names"])
    fresh = await register.device(connection, code)
    assert fresh is not None  # noqa: S101  # locked by this transaction
    await register.record(
        connection,
        _named(before, changed),
        code,
        actor=actor,
        reason=reason,
        detail={"before": _words(before, known), "after": _words(changed, fresh)},
    )
    await register.nudge(connection)
    return fresh


async def create_device(
    connection: Connection, code: str, wanted: Values, *, actor: str, reason: str
) -> DeviceEntry:
    """Add a device that stands in no file; raises ActionError."""
    if not CODE.fullmatch(code):
        raise ActionError(
            "invalid",
            "编码最多 128 个字符，不能有空格和 / + #",
            "use at most 128 characters without spaces and without / + #",
            "code",
        )
    await register.lock(connection)
    if await register.device(connection, code) is not None:
        raise ActionError("conflict", f"已有设备“{code}”", f"there is a device {code!r} already", "code")
    values = await _of_device(connection, code, wanted, None)
    named = values.pop("names", [])
    await register.insert_device(connection, code, values, actor)
    made = await register.device(connection, code)
    assert made is not None  # noqa: S101  # inserted by this transaction
    if named:
        await _rename(connection, made, named)
        made = await register.device(connection, code) or made
    await register.record(
        connection,
        "device.created",
        code,
        actor=actor,
        reason=reason,
        detail={"after": _words(values, made)},
    )
    await register.nudge(connection)
    return made


def _now(known: DeviceEntry, name: str) -> object:
    value = getattr(known, name)
    return list(value) if name in ("tags", "names") else value


def _named(before: Values, after: Values) -> str:
    """The action in the audit table: what people look for in a device's history."""
    if after.get("registration") == "retired" or after.get("life_state") == "retired":
        return "device.retired"
    if before.get("registration") == "unclaimed":
        return "device.claimed"
    return "device.moved" if set(after) <= {"longitude", "latitude", "cell_id"} else "device.changed"


def _words(values: Values, entry: DeviceEntry) -> dict[str, object]:
    """As people read it: the cell by its code."""
    said = {name: value for name, value in values.items() if name != "cell_id"}
    return said | ({"cell": entry.cell} if "cell_id" in values else {})


async def _of_device(
    connection: Connection, code: str, wanted: Values, known: DeviceEntry | None
) -> dict[str, Any]:
    """The columns to write, with everything that they name looked up."""
    values = {name: value for name, value in wanted.items() if name != "cell"}
    if "kind" in values and not (await register.kind_interval(connection, values["kind"]))[0]:
        raise ActionError(
            "invalid", f"没有设备类型“{values['kind']}”", "there is no such kind of device", "kind"
        )
    await _check_what_it_names(connection, values, known)
    gateway = values.get("gateway")
    if gateway and (gateway == code or await register.device(connection, gateway) is None):
        raise ActionError(
            "invalid",
            "网关应为另一台已登记设备的编码",
            "name another device of the register, or leave it empty",
            "gateway",
        )
    if known is not None and ("longitude" in values) != ("latitude" in values):
        values = {"longitude": known.longitude, "latitude": known.latitude} | values
    if (values.get("longitude") is None) != (values.get("latitude") is None):
        raise ActionError(
            "invalid", "经度和纬度须同时填写或同时留空", "give both lon and lat, or neither", "lon"
        )
    if "cell" in wanted:
        values["cell_id"] = await _cell(connection, wanted["cell"])
    elif values.get("longitude") is not None:
        values |= await _cell_beneath(connection, values["longitude"], values["latitude"], known)
    return values


async def _check_what_it_names(connection: Connection, values: Values, known: DeviceEntry | None) -> None:
    for name, table, zh in (("building", "buildings", "楼栋"), ("facility", "components", "部件")):
        if values.get(name) and not await register_names.stands_there(connection, table, values[name]):
            raise ActionError("invalid", f"没有{zh}“{values[name]}”", f"there is no such {name}", name)
    for name in values.get("names", ()):
        if not NAME.fullmatch(name):
            words = "请写成“协议:名称”，如 zigbee2mqtt:Hall"
            raise ActionError("invalid", words, "write family:name such as zigbee2mqtt:Hall", "names")
    calibrated = values.get("calibrated_on", known.calibrated_on if known else None)
    due = values.get("calibration_due", known.calibration_due if known else None)
    if calibrated is not None and due is not None and due < calibrated:
        raise ActionError(
            "invalid", "校准到期日早于校准日期", "it lies before the calibration", "calibration_due"
        )


async def _rename(connection: Connection, known: DeviceEntry, names: Sequence[str]) -> None:
    """A name that another device has is not taken from it unasked: its readings would go on elsewhere."""
    await register_names.lock_names(connection)
    for name, (code, registration) in (await register_names.owners(connection, names)).items():
        if code != known.code:
            zh = f"“{name}”属于设备“{code}”；请在该设备上移除，或将其认领为本设备"
            en = f"{name} is {code}'s ({registration}); remove it there, or claim that device as this one"
            raise ActionError("conflict", zh, en, "names")
    await register_names.set_names(connection, known.id, names)


async def claim_as(connection: Connection, code: str, listed: str, *, actor: str, reason: str) -> DeviceEntry:
    """What was heard as ``code`` is the listed device: its names go there, and it is retired.

    Readings stay with whom they were recorded; new ones come to the listed device. Raises ActionError.
    """
    await register.lock(connection)
    heard = await register.device(connection, code, locked=True)
    known = await register.device(connection, listed, locked=True)
    if heard is None or known is None:
        wrong = code if heard is None else listed
        raise ActionError("not_found", f"没有设备“{wrong}”", f"there is no device {wrong!r}", "device")
    if heard.registration != "unclaimed" or not heard.names:
        zh, en = (
            "只有未认领、以外部名称上报的设备可以这样认领",
            "only an unclaimed device that has foreign names",
        )
        raise ActionError("conflict", zh, en, "device")
    if known.registration != "registered":
        raise ActionError("conflict", f"“{listed}”不在册", f"{listed} is not registered", "device")
    await register_names.lock_names(connection)
    names = sorted({*known.names, *heard.names})
    await register_names.set_names(connection, known.id, names)
    told = {"life_by": actor, "life_reason": reason, "registration": "retired", "life_state": "retired"}
    await register.update_device(connection, heard.id, told, actor)
    if known.life_state == "planned":
        told = {"life_state": "installed", "life_by": actor, "life_reason": reason}
        await register.update_device(connection, known.id, told, actor)
    detail = {"before": {"names": list(known.names)}, "after": {"names": names}, "heard_as": code}
    await register.record(connection, "device.claimed", listed, actor=actor, reason=reason, detail=detail)
    await register.record(
        connection, "device.retired", code, actor=actor, reason=reason, detail={"after": {"device": listed}}
    )
    await register.nudge(connection)
    fresh = await register.device(connection, listed)
    assert fresh is not None  # noqa: S101  # locked by this transaction
    return fresh


async def _cell(connection: Connection, code: str | None) -> int | None:
    if not code:
        return None
    found = (await ground.ids(connection, "cell", [code])).get(code)
    if found is None:
        raise ActionError("invalid", f"没有网格“{code}”", "there is no such cell", "cell")
    return found


async def _cell_beneath(
    connection: Connection, longitude: float, latitude: float, known: DeviceEntry | None
) -> dict[str, int]:
    """The cell of the new position; empty where no outline holds it, or it was listed elsewhere than it stood."""
    cells = [area for area in await ground.areas(connection) if area.layer == "cell"]
    places = [(longitude, latitude)]
    if known is not None and known.longitude is not None and known.latitude is not None:
        places.append((known.longitude, known.latitude))
    found = cell_of_points(
        [cell.geometry for cell in cells], [place[0] for place in places], [place[1] for place in places]
    )
    codes = [None if index is None else cells[index].code for index in found]
    elsewhere = known is not None and len(codes) == 2 and known.cell is not None and codes[1] != known.cell
    if found[0] is None or elsewhere:
        return {}
    return {"cell_id": cells[found[0]].id}


# ── units ────────────────────────────────────────────────────────────────────────────────────────────


async def edit_unit(
    connection: Connection, code: str, wanted: Values, *, version: int | None, actor: str, reason: str
) -> UnitEntry:
    """Write what differs; raises ActionError, nothing is written then.

    A webhook address that comes back as it was shown, masked, stays as it is.
    """
    await register.lock(connection)
    known = await register.unit(connection, code, locked=True)
    if known is None:
        raise ActionError("not_found", f"没有单位“{code}”", f"there is no unit {code!r}")
    _in_time(version, known.version)
    values = dict(wanted)
    if values.get("webhook_url") == masked("webhook", known.unit.webhook_url):
        del values["webhook_url"]
    await _check_unit(connection, code, values)
    before = {name: known.active if name == "active" else getattr(known.unit, name) for name in values}
    changed = {name: value for name, value in values.items() if before[name] != value}
    if not changed:
        return known
    if changed.get("active") is False:
        await _refuse_while_it_has_work(connection, known)
    await register.update_unit(connection, known.unit.id, changed, actor)
    await register.record(
        connection,
        "unit.ended" if changed.get("active") is False else "unit.changed",
        f"unit:{code}",
        actor=actor,
        reason=reason,
        detail={"before": _shown({name: before[name] for name in changed}), "after": _shown(changed)},
    )
    await register.nudge(connection)
    fresh = await register.unit(connection, code)
    assert fresh is not None  # noqa: S101  # locked by this transaction
    return fresh


async def create_unit(
    connection: Connection, code: str, wanted: Values, *, actor: str, reason: str
) -> UnitEntry:
    """Add a unit that stands in no file; raises ActionError."""
    await register.lock(connection)
    if await register.unit(connection, code) is not None:
        raise ActionError("conflict", f"已有单位“{code}”", f"there is a unit {code!r} already", "code")
    await _check_unit(connection, code, wanted)
    await register.insert_unit(connection, code, wanted, actor)
    await register.record(
        connection,
        "unit.created",
        f"unit:{code}",
        actor=actor,
        reason=reason,
        detail={"after": _shown(wanted)},
    )
    await register.nudge(connection)
    made = await register.unit(connection, code)
    assert made is not None  # noqa: S101  # inserted by this transaction
    return made


def _shown(values: Values) -> dict[str, Any]:
    """For the audit table, which more people read than may know a webhook's address."""
    return {
        name: masked("webhook", value) if name == "webhook_url" and value else value
        for name, value in values.items()
    }


async def _check_unit(connection: Connection, code: str, values: Values) -> None:
    for name in ("email", "lead_email"):
        if values.get(name) and not _MAIL.fullmatch(values[name]):
            raise ActionError("invalid", "请填写邮箱地址", "write an address such as duty@example.org", name)
    if values.get("webhook_url") and not _WEB.fullmatch(values["webhook_url"]):
        raise ActionError(
            "invalid",
            "地址应以 https:// 或 http:// 开头",
            "write an address that starts with https:// or http://",
            "webhook_url",
        )
    if values.get("hours"):
        try:
            read_hours(values["hours"])
        except HoursError as error:
            words = "请按一天内的先后写，如 09:00-12:00,14:00-18:00"
            raise ActionError("invalid", words, str(error), "hours") from error
    if ("longitude" in values or "latitude" in values) and (values.get("longitude") is None) != (
        values.get("latitude") is None
    ):
        raise ActionError(
            "invalid", "经度和纬度须同时填写或同时留空", "give both lon and lat, or neither", "lon"
        )
    await _check_others(connection, code, values)


async def _check_others(connection: Connection, code: str, values: Values) -> None:
    """Parent and stand-in are other units at work, and no unit stands above itself."""
    if not (values.get("parent") or values.get("fallback")):
        return
    at_work = {entry.unit.code: entry.unit for entry in await register.units(connection) if entry.active}
    for name in ("parent", "fallback"):
        if values.get(name) and (values[name] not in at_work or values[name] == code):
            raise ActionError("invalid", "请填写另一个在用单位的编码", "name another unit that works", name)
    above, seen = values.get("parent"), set[str]()
    while above and above not in seen:
        if above == code:
            raise ActionError(
                "invalid", "上级关系形成循环", "the units above it lead back to itself", "parent"
            )
        seen.add(above)
        above = at_work[above].parent if above in at_work else None


async def _refuse_while_it_has_work(connection: Connection, known: UnitEntry) -> None:
    incidents, responsibilities = await register.held_by(connection, known.unit.id)
    if incidents or responsibilities:
        raise ActionError(
            "conflict",
            f"该单位还有未结事件 {incidents} 件、职责 {responsibilities} 条，请先改派和修订职责清单",
            f"it still has {incidents} open incidents and leads {responsibilities} responsibilities; give those "
            "to others first",
            "active",
        )


def _in_time(expected: int | None, known: int) -> None:
    if expected is not None and expected != known:
        raise ActionError(
            "stale", "已被他人修改，请重新载入", "somebody else changed it meanwhile; load it again"
        )
