"""Changes of public facilities and buildings by people: checked, and written with who and why."""

from collections.abc import Mapping
from typing import Any

from psycopg import AsyncConnection

from city import code_forms
from city.areas import cell_of_points
from city.district_source import Faults
from city.drawn import outline
from city.storage import components, facilities, ground, register, register_names
from city.storage.facilities import Row, Sort
from command_centre.actions import ActionError

Connection = AsyncConnection[Any]
Values = Mapping[str, Any]
WORDS: Mapping[Sort, tuple[str, str]] = {
    "components": ("部件", "facility"),
    "buildings": ("楼栋", "building"),
}


async def edit(
    connection: Connection,
    sort: Sort,
    code: str,
    wanted: Values,
    *,
    version: int | None,
    actor: str,
    reason: str,
) -> Row:
    """Write what differs from the entry as it stands; raises ActionError, nothing is written then."""
    await register.lock(connection)
    known = await facilities.entry(connection, sort, code, locked=True)
    if known is None:
        zh, en = WORDS[sort]
        raise ActionError("not_found", f"没有{zh}“{code}”", f"there is no {en} {code!r}")
    if version is not None and version != known["version"]:
        raise ActionError(
            "stale", "已被他人修改，请重新载入", "somebody else changed it meanwhile; load it again"
        )
    values = await _checked(connection, wanted, known)
    changed = {name: value for name, value in values.items() if known[name] != value}
    if not changed:
        return known
    await facilities.update(connection, sort, code, changed, actor)
    fresh = await facilities.entry(connection, sort, code)
    if fresh is None:
        raise _beyond_reach()
    verb = "removed" if changed.get("state") == "removed" else "changed"
    detail = {"before": _words(changed, known), "after": _words(changed, fresh)}
    await _record(connection, sort, verb, code, actor, reason, detail)
    return fresh


async def create(
    connection: Connection, sort: Sort, code: str, wanted: Values, *, actor: str, reason: str
) -> Row:
    """Add one that stands in no file; raises ActionError."""
    forms = (await components.code_forms(connection)).get(
        "component" if sort == "components" else "building", ()
    )
    if isinstance(fault := code_forms.read_code(code, forms), code_forms.CodeFault):
        raise ActionError("invalid", fault.reason, fault.reason_en, "code")
    await register.lock(connection)
    if await facilities.entry(connection, sort, code) is not None:
        zh, en = WORDS[sort]
        raise ActionError("conflict", f"已有{zh}“{code}”", f"there is a {en} {code!r} already", "code")
    values = await _checked(connection, wanted, None)
    await facilities.insert(connection, sort, code, values, actor)
    made = await facilities.entry(connection, sort, code)
    if made is None:
        raise _beyond_reach()
    await _record(connection, sort, "created", code, actor, reason, {"after": _words(values, made)})
    return made


def _beyond_reach() -> ActionError:
    """Written where its writer, held to an area or a unit, cannot see it; the transaction takes it back."""
    return ActionError(
        "forbidden",
        "超出您账号的区域或单位范围，请填写范围内的位置",
        "this lies beyond the area or unit of your account; give a place within it",
        "cell",
    )


async def _record(
    connection: Connection, sort: Sort, verb: str, code: str, actor: str, reason: str, detail: Values
) -> None:
    noun = sort.removesuffix("s")
    await register.record(
        connection, f"{noun}.{verb}", f"{noun}:{code}", actor=actor, reason=reason, detail=detail
    )
    await register.nudge(connection)


def _words(values: Values, entry: Row) -> dict[str, object]:
    """As people read it: the cell by its code, of an outline only that there is one."""
    said = {name: value for name, value in values.items() if name not in ("cell_id", "outline")}
    said |= {"cell": entry["cell"]} if "cell_id" in values else {}
    return said | ({"outline": entry["outline"] is not None} if "outline" in values else {})


async def _checked(connection: Connection, wanted: Values, known: Row | None) -> dict[str, Any]:
    values = {name: value for name, value in wanted.items() if name != "cell"}
    if known is not None and ("longitude" in values) != ("latitude" in values):
        values = {"longitude": known["longitude"], "latitude": known["latitude"]} | values
    if (values.get("longitude") is None) != (values.get("latitude") is None):
        raise ActionError(
            "invalid", "经度和纬度须同时填写或同时留空", "give both lon and lat, or neither", "lon"
        )
    if values.get("outline") is not None:
        faults = Faults()
        outline("outline", values["outline"], faults)
        if faults.entries:
            one = faults.entries[0]
            raise ActionError("invalid", "轮廓不是有效的多边形", f"{one.what}; {one.remedy}", "outline")
    building = values.get("building")
    if building and not await register_names.stands_there(connection, "buildings", building):
        raise ActionError("invalid", f"没有楼栋“{building}”", "there is no such building", "building")
    if "cell" in wanted:
        values["cell_id"] = await _cell(connection, wanted["cell"])
    elif values.get("longitude") is not None:
        values |= await _cell_beneath(connection, values["longitude"], values["latitude"])
    return values


async def _cell(connection: Connection, code: str | None) -> int | None:
    if not code:
        return None
    found = (await ground.ids(connection, "cell", [code])).get(code)
    if found is None:
        raise ActionError("invalid", f"没有网格“{code}”", "there is no such cell", "cell")
    return found


async def _cell_beneath(connection: Connection, longitude: float, latitude: float) -> dict[str, int]:
    cells = [area for area in await ground.areas(connection) if area.layer == "cell"]
    (index,) = cell_of_points([cell.geometry for cell in cells], [longitude], [latitude])
    return {} if index is None else {"cell_id": cells[index].id}
