"""The responsibility list changed by people: an entry begun, changed or ended, checked against all the others first.

What dispatch went by is never rewritten. Whoever changes an entry that is in force ends it and begins another at the
same instant; one that has not begun is written over.
"""

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from city.alarms import IncidentClass
from city.clocks import LimitError, Limits, read_limits
from city.directory import Directory
from city.responsibilities import contradiction, period, periods_overlap, withdrawn
from city.storage import responsibilities as stored
from city.units import Automatic, Clock, Responsibility
from command_centre.actions import ActionError
from command_centre.responsibility_faults import circle_of, known_categories

Connection = AsyncConnection[Any]
MOST_CO_UNITS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """An entry as a person writes it, by codes; limits by stage, as ``city.clocks`` reads them."""

    category: str
    area: str | None
    area_layer: str | None
    unit: str
    co_units: Sequence[str] = ()
    incident_class: IncidentClass | None = None
    limit_minutes: int | None = None
    clock: Clock | None = None
    limits: Mapping[str, str] = field(default_factory=dict)
    automatic: Automatic | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None


async def begin(
    connection: Connection, directory: Directory, wanted: Wanted, *, actor: str, reason: str, now: datetime
) -> int:
    """A new entry, from now on or from later; its id. Raises ActionError, nothing is written then."""
    await stored.lock(connection)
    area_id = await _area(connection, wanted.area, wanted.area_layer)
    _not_past("valid_from", wanted.valid_from, now)
    entry = Responsibility(
        category=_category(wanted.category, directory),
        area_id=area_id,
        unit_id=_unit(wanted.unit, directory, "unit"),
        incident_class=wanted.incident_class,
        limit_minutes=wanted.limit_minutes,
        clock=wanted.clock,
        co_unit_ids=_co_units(wanted.co_units, directory),
        limits=_limits(wanted.limits),
        automatic=wanted.automatic,
        valid_from=wanted.valid_from or now,
        valid_to=wanted.valid_to,
    )
    _check(entry, await stored.living(connection, now), directory, now)
    await stored.speak(connection, actor, reason)
    return await stored.begin(connection, entry)


async def change(
    connection: Connection,
    directory: Directory,
    responsibility_id: int,
    given: Mapping[str, Any],
    *,
    actor: str,
    reason: str,
    now: datetime,
    expected: int | None = None,
) -> int:
    """Write what ``given`` names (fields of Wanted) over an entry; the id of the one that says it now.

    For an entry in force ``valid_from`` is when the change applies, and the answer is its successor's id; only its
    end is moved in place. Raises ActionError.
    """
    await stored.lock(connection)
    entry = await _living(connection, responsibility_id, now, expected)
    _not_past("valid_from", given.get("valid_from"), now)
    changed = replace(entry, **_resolved(given, directory))
    if changed == entry:
        return entry.id
    begun = entry.valid_from is None or entry.valid_from <= now
    moved_end = replace(entry, valid_to=changed.valid_to) == changed
    if begun and not moved_end:
        changed = replace(changed, valid_from=given.get("valid_from") or now)
    if not (begun and moved_end):
        _still_working(changed, directory)
    others = [one for one in await stored.living(connection, now) if one.id != entry.id]
    _check(changed, others, directory, now)
    await stored.speak(connection, actor, reason)
    if not begun:
        await stored.rewrite(connection, changed)
        return entry.id
    if moved_end:
        await stored.end(connection, entry.id, changed.valid_to)
        return entry.id
    if entry.valid_to is not None and changed.valid_from is not None and changed.valid_from >= entry.valid_to:
        raise ActionError(
            "invalid",
            "变更时间晚于该条目的失效时间，请另立一条",
            "the change begins after the entry has ended; write a new entry",
            "valid_from",
        )
    await stored.end(connection, entry.id, changed.valid_from)
    return await stored.begin(connection, changed)


async def end(
    connection: Connection,
    responsibility_id: int,
    *,
    at: datetime | None,
    actor: str,
    reason: str,
    now: datetime,
    expected: int | None = None,
) -> None:
    """Let an entry end now or at ``at``; one that has not begun by then is withdrawn. Raises ActionError."""
    await stored.lock(connection)
    _not_past("at", at, now)
    await _living(connection, responsibility_id, now, expected)
    await stored.speak(connection, actor, reason)
    await stored.end(connection, responsibility_id, at or now)


async def _living(
    connection: Connection, responsibility_id: int, now: datetime, expected: int | None
) -> Responsibility:
    found = await stored.locked(connection, responsibility_id)
    if found is None:
        raise ActionError(
            "not_found",
            f"职责清单中没有条目{responsibility_id}",
            f"there is no entry {responsibility_id} in the list",
        )
    entry, version = found
    if expected is not None and expected != version:
        raise ActionError(
            "stale",
            f"条目已被他人修改（版本{version}），请刷新",
            f"the entry is at version {version}, not {expected}: read it again",
        )
    if withdrawn(entry) or (entry.valid_to is not None and entry.valid_to <= now):
        raise ActionError(
            "conflict", "该条目已失效，请另立一条", "the entry has ended; write a new one instead"
        )
    return entry


# ── what is checked ──────────────────────────────────────────────────────────────────────────────────


def _check(
    entry: Responsibility, others: Collection[Responsibility], directory: Directory, now: datetime
) -> None:
    found = contradiction(entry)
    if found is not None:
        raise ActionError("invalid", found.reason, found.reason_en, found.field)
    _not_past("valid_to", entry.valid_to, now)
    for other in others:
        same = (other.category, other.area_id) == (entry.category, entry.area_id)
        if same and periods_overlap(period(other), period(entry)):
            unit = directory.units[other.unit_id]
            raise ActionError(
                "conflict",
                f"同一类别和地点在此时段已由{unit.name}主办（条目{other.id}），请先结束或修改该条",
                f"{unit.code} leads this category and place at that time (entry {other.id}); "
                "end or change that entry",
            )
    chain = circle_of(entry, others, directory)
    if chain:
        names = [directory.units[one.unit_id] for one in (*chain, chain[0])]
        raise ActionError(
            "invalid",
            f"协办形成循环：{' → '.join(unit.name for unit in names)}，请去掉其中一个协办单位",
            f"the co-handlers go round: {' -> '.join(unit.code for unit in names)}; take one of them out",
            "co_units",
        )


def _still_working(entry: Responsibility, directory: Directory) -> None:
    """What is taken over from the entry before may have been closed since."""
    for name, numbers in (("unit", (entry.unit_id,)), ("co_units", entry.co_unit_ids)):
        for number in numbers:
            if number not in directory.active:
                _unit(directory.units[number].code, directory, name)


def _not_past(name: str, instant: datetime | None, now: datetime) -> None:
    if instant is not None and instant < now:
        raise ActionError(
            "invalid",
            f"{name}不能早于现在：已经据以派遣的不能改写",
            f"{name} = {instant.isoformat()} has passed; what dispatch went by is not rewritten: "
            "leave it out for now",
            name,
        )


# ── codes ────────────────────────────────────────────────────────────────────────────────────────────


def _resolved(given: Mapping[str, Any], directory: Directory) -> dict[str, Any]:
    """Fields of an entry from those of Wanted that are given."""
    found = {
        name: given[name]
        for name in ("incident_class", "limit_minutes", "clock", "automatic", "valid_to")
        if name in given
    }
    if given.get("valid_from") is not None:
        found["valid_from"] = given["valid_from"]
    if given.get("unit") is not None:
        found["unit_id"] = _unit(given["unit"], directory, "unit")
    if "co_units" in given:
        found["co_unit_ids"] = _co_units(given["co_units"] or (), directory)
    if "limits" in given:
        found["limits"] = _limits(given["limits"] or {})
    return found


def _category(code: str, directory: Directory) -> str:
    known = known_categories(directory)
    if code in known:
        return code
    near = difflib.get_close_matches(code, known, 1)
    hint = f"；是否为{near[0]}？" if near else ""
    hint_en = f"; did you mean {near[0]!r}?" if near else "; see /api/categories"
    raise ActionError(
        "invalid",
        f"目录中没有在用的类别“{code}”{hint}",
        f"category {code!r} is not in use{hint_en}",
        "category",
    )


def _unit(code: str, directory: Directory, name: str) -> int:
    unit = directory.unit_by_code(code)
    if unit is None:
        raise ActionError(
            "invalid", f"没有在用单位“{code}”", f"unit {code!r} is not a working unit; see /api/units", name
        )
    return unit.id


def _co_units(codes: Sequence[str], directory: Directory) -> tuple[int, ...]:
    if len(codes) > MOST_CO_UNITS:
        raise ActionError(
            "invalid",
            f"协办单位最多{MOST_CO_UNITS}个",
            f"co_units: at most {MOST_CO_UNITS}, not {len(codes)}",
            "co_units",
        )
    return tuple(_unit(code, directory, "co_units") for code in codes)


def _limits(written: Mapping[str, str]) -> Limits:
    try:
        return read_limits(";".join(f"{stage}={limit}" for stage, limit in written.items()))
    except LimitError as error:
        raise ActionError("invalid", f"时限写法有误：{error}", str(error), "limits") from error


async def _area(connection: Connection, code: str | None, layer: str | None) -> int | None:
    if code is None:
        if layer is not None:
            raise ActionError(
                "invalid", "area_layer与area须同时填写", "give area too, or leave both out", "area"
            )
        return None
    found = await stored.areas_of(connection, code, layer)
    if len(found) == 1:
        return found[0][0]
    if found:
        layers = ", ".join(sorted(layer for _, layer in found))
        raise ActionError(
            "invalid",
            f"“{code}”在多个层级中存在（{layers}），请填写area_layer",
            f"area {code!r} stands in several layers ({layers}); say which in area_layer",
            "area_layer",
        )
    raise ActionError(
        "invalid",
        f"区划图上没有“{code}”",
        f"there is no {layer or 'area'} {code!r} on the map; see /api/cells",
        "area",
    )
