"""The ground redrawn by a person: areas drawn anew, begun or ended, devices moved; tried first, written as one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from psycopg import AsyncConnection

from city.areas import Geometry, bounding_box, neighbour_pairs
from city.code_forms import CodeFault, Form, read_code
from city.directory import Directory
from city.district_files import LAYERS
from city.incidents import Change, Happening
from city.outlines import Drawing, Finding, Move, check, moves, square_metres
from city.register import AreaEntry
from city.register_rows import CODE
from city.storage import alarms, ground, incidents, register
from command_centre.actions import ActionError
from command_centre.ground_words import Words, held, said
from command_centre.recording import store

Connection = AsyncConnection[Any]
Box = tuple[float, float, float, float]
Fate = Literal["new", "changed", "same", "ended"]


@dataclass(frozen=True, kw_only=True, slots=True)
class WantedArea:
    """An area as it is to be; ``version`` None: it is not there yet. ``parent`` is a code of another layer."""

    layer: str
    code: str
    name: str = ""
    name_en: str = ""
    parent: str | None = None
    geometry: Geometry | None = None
    version: int | None = None
    ended: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class WantedDevice:
    """A device that was dragged."""

    code: str
    version: int
    longitude: float
    latitude: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedArea:
    """What becomes of one area and what is said of its outline; ``blocked`` is why it cannot end."""

    wanted: WantedArea
    entry: AreaEntry | None
    parent: AreaEntry | None
    fate: Fate
    findings: tuple[Finding, ...] = ()
    blocked: Words | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class GroundPlan:
    """Everything that a save would change; ``devices`` and ``incidents`` come into other cells."""

    areas: tuple[PlannedArea, ...]
    dragged: tuple[WantedDevice, ...]
    devices: tuple[Move, ...]
    incidents: tuple[Move, ...]
    every: tuple[AreaEntry, ...] = field(repr=False)  # as they are now

    @property
    def faults(self) -> list[Words]:
        """Why it must not be saved like this."""
        return [
            words
            for one in self.areas
            for words in [
                *([one.blocked] if one.blocked else []),
                *(said(finding) for finding in one.findings if finding.fault),
            ]
        ]


async def plan(
    connection: Connection, wanted: Sequence[WantedArea], dragged: Sequence[WantedDevice]
) -> GroundPlan:
    """Hold what is wanted against the ground as it is, under the register's lock; raises ActionError."""
    await register.lock(connection)
    every = await ground.areas(connection)
    by_key = {(area.layer, area.code): area for area in every}
    forms = (await ground.cell_forms(connection)).get("cell", ())
    planned: dict[tuple[str, str], PlannedArea] = {}
    for one in wanted:
        entry = by_key.get((one.layer, one.code))
        if (one.layer, one.code) in planned:
            raise _invalid("code", f"“{one.code}”出现了两次", f"{one.code!r} stands there twice")
        _check_words(one, entry, forms)
        parent = _parent(one, every)
        planned[one.layer, one.code] = PlannedArea(
            wanted=one, entry=entry, parent=parent, fate=_fate(one, entry, parent)
        )
    await _check_devices(connection, dragged)
    for layer in {one.layer for one in wanted}:
        for finding in _judged(layer, list(planned.values()), every):
            known = planned[layer, finding.code]
            planned[layer, finding.code] = replace(known, findings=(*known.findings, finding))
    return await _with_moves(connection, list(planned.values()), dragged, every)


def _check_words(one: WantedArea, entry: AreaEntry | None, forms: Sequence[Form]) -> None:
    if entry is None and one.version is not None:
        raise ActionError("stale", f"“{one.code}”已不存在", f"{one.code!r} is not there any more", "code")
    if entry is not None and one.version is None:
        raise ActionError("conflict", f"已有“{one.code}”", f"there is {one.code!r} already", "code")
    if entry is not None and one.version != entry.version:
        raise ActionError(
            "stale",
            f"“{one.code}”已被他人修改，请重新载入",
            f"somebody else changed {one.code!r} meanwhile; load it again",
            "version",
        )
    if one.ended:
        return
    if not one.name.strip():
        raise _invalid("name", f"请填写“{one.code}”的名称", f"give {one.code!r} a name")
    if entry is None and not CODE.fullmatch(one.code):
        words = "use at most 128 characters without spaces and without / + #"
        raise _invalid("code", "编码最多 128 个字符，不能有空格和 / + #", words)
    if entry is None and one.layer == "cell" and forms:
        found = read_code(one.code, forms)
        if isinstance(found, CodeFault):
            raise _invalid("code", found.reason, found.reason_en)


def _parent(one: WantedArea, every: Sequence[AreaEntry]) -> AreaEntry | None:
    """The area with the parent's code, of the nearest layer outside where several have it."""
    if not one.parent or one.ended:
        return None
    own = LAYERS.index(one.layer) if one.layer in LAYERS else len(LAYERS)
    found = [area for area in every if area.code == one.parent and area.layer != one.layer]
    outside = [area for layer in LAYERS[:own] for area in found if area.layer == layer]
    if not outside:
        raise _invalid("parent", f"没有上级区域“{one.parent}”", f"there is no area {one.parent!r} around it")
    return outside[-1]


def _fate(one: WantedArea, entry: AreaEntry | None, parent: AreaEntry | None) -> Fate:
    if entry is None:
        return "new"
    if one.ended:
        return "ended"
    wanted = (one.name.strip(), one.name_en.strip(), parent.id if parent else None, one.geometry)
    known = (entry.name, entry.name_en, entry.parent_id, entry.geometry)
    return "same" if wanted == known else "changed"


async def _check_devices(connection: Connection, dragged: Sequence[WantedDevice]) -> None:
    known = {
        entry.code: entry.version for entry in await register.devices(connection, [d.code for d in dragged])
    }
    for one in dragged:
        if one.code not in known:
            raise ActionError("not_found", f"没有设备“{one.code}”", f"there is no device {one.code!r}")
        if known[one.code] != one.version:
            raise ActionError(
                "stale",
                f"设备“{one.code}”已被他人修改，请重新载入",
                f"somebody else changed device {one.code!r} meanwhile; load it again",
            )


# ── what is said, and who moves ──────────────────────────────────────────────────────────────────────


def _judged(layer: str, planned: Sequence[PlannedArea], every: Sequence[AreaEntry]) -> list[Finding]:
    own = [one for one in planned if one.wanted.layer == layer]
    touched = {one.wanted.code for one in own}
    ground_of = {one.entry.id: one.wanted.geometry for one in planned if one.entry and not one.wanted.ended}
    drawn = [
        Drawing(
            code=one.wanted.code,
            geometry=None if one.wanted.ended else one.wanted.geometry,
            parent=ground_of.get(one.parent.id, one.parent.geometry) if one.parent else None,
        )
        for one in own
    ]
    before = {one.wanted.code: one.entry.geometry if one.entry else None for one in own}
    box = bounding_box(
        [one for one in [*before.values(), *(drawing.geometry for drawing in drawn)] if one is not None]
    )
    others = [
        Drawing(code=area.code, geometry=area.geometry)
        for area in every
        if area.layer == layer and area.code not in touched and _meets(area.geometry, box)
    ]
    return check(drawn, others, before)


def _meets(geometry: Geometry | None, box: Box | None) -> bool:
    own = bounding_box([geometry]) if geometry is not None else None
    if own is None or box is None:
        return False
    return own[0] <= box[2] and box[0] <= own[2] and own[1] <= box[3] and box[1] <= own[3]


async def _with_moves(
    connection: Connection,
    planned: Sequence[PlannedArea],
    dragged: Sequence[WantedDevice],
    every: Sequence[AreaEntry],
) -> GroundPlan:
    cells = [one for one in planned if one.wanted.layer == "cell"]
    new = {one.code: (one.longitude, one.latitude) for one in dragged}
    outlines = [one.wanted.geometry for one in cells if one.wanted.geometry is not None]
    outlines += [one.entry.geometry for one in cells if one.entry and one.entry.geometry is not None]
    entries = await register.devices(connection, list(new)) if new else []
    points = list(new.values()) + [
        (one.longitude, one.latitude)
        for one in entries
        if one.longitude is not None and one.latitude is not None
    ]
    box = _around(bounding_box(outlines), points)
    devices: list[Move] = []
    matters: list[Move] = []
    if box is not None:
        before, after = _maps(cells, every, box)
        ended = {one.wanted.code for one in cells if one.fate == "ended"}
        standing = await ground.devices_within(connection, box)
        devices = moves(standing, before, after, moved_to=new, ended=ended)
        matters = moves(await ground.incidents_within(connection, box), before, after, ended=ended)
    left = {move.cell: 0 for move in devices if move.to is not None and move.cell}
    for move in devices:
        if move.to is not None and move.cell:
            left[move.cell] += 1
    areas = [await _held(connection, one, left) if one.fate == "ended" else one for one in planned]
    return GroundPlan(
        areas=tuple(areas),
        dragged=tuple(dragged),
        devices=tuple(devices),
        incidents=tuple(matters),
        every=tuple(every),
    )


def _around(box: Box | None, points: Sequence[tuple[float, float]]) -> Box | None:
    corners = [*points, *([(box[0], box[1]), (box[2], box[3])] if box else [])]
    if not corners:
        return None
    longitudes, latitudes = [one[0] for one in corners], [one[1] for one in corners]
    return min(longitudes), min(latitudes), max(longitudes), max(latitudes)


def _maps(
    cells: Sequence[PlannedArea], every: Sequence[AreaEntry], box: Box
) -> tuple[Mapping[str, Geometry | None], Mapping[str, Geometry | None]]:
    """The cells in a box as they are and as they are to be."""
    before = {
        area.code: area.geometry for area in every if area.layer == "cell" and _meets(area.geometry, box)
    }
    after = dict(before)
    for one in cells:
        if one.fate == "ended":
            after.pop(one.wanted.code, None)
        else:
            after[one.wanted.code] = one.wanted.geometry
    return before, after


async def _held(connection: Connection, one: PlannedArea, left: Mapping[str, int]) -> PlannedArea:
    """An area with something on it cannot end; what moves away with this change does not count."""
    assert one.entry is not None  # noqa: S101  # only what is there can end
    devices, below, responsibilities = await ground.held_by(connection, one.entry.id)
    staying = devices - left.get(one.wanted.code, 0) if one.wanted.layer == "cell" else 0
    return replace(one, blocked=held(staying, below, responsibilities))


# ── written ──────────────────────────────────────────────────────────────────────────────────────────


async def carry_out(
    connection: Connection,
    planned: GroundPlan,
    directory: Directory,
    *,
    actor: str,
    reason: str,
    now: datetime,
) -> None:
    """Write the plan in the transaction that made it. Raises ActionError when it has faults."""
    if planned.faults:
        zh, en = planned.faults[0]
        raise ActionError("invalid", zh, en, "geometry")
    ids = {(area.layer, area.code): area.id for area in planned.every}
    for one in planned.areas:
        if one.fate != "same":
            ids[one.wanted.layer, one.wanted.code] = await _write(connection, one, actor)
            await _record(connection, one, planned, actor, reason)
    await _write_neighbours(connection, planned, ids)
    await _move_devices(connection, planned, ids, actor, reason)
    await _move_incidents(connection, planned, ids, directory, actor, now)
    await register.nudge(connection)


async def _write(connection: Connection, one: PlannedArea, actor: str) -> int:
    if one.entry is not None and one.fate == "ended":
        await ground.end_area(connection, one.entry.id)
        return one.entry.id
    words = {
        "name": one.wanted.name.strip(),
        "name_en": one.wanted.name_en.strip(),
        "parent_id": one.parent.id if one.parent else None,
        "geometry": one.wanted.geometry,
        "actor": actor,
    }
    if one.entry is None:
        return await ground.insert_area(connection, one.wanted.layer, one.wanted.code, **words)  # type: ignore[arg-type]  # named above
    await ground.update_area(connection, one.entry.id, **words)  # type: ignore[arg-type]  # named above
    return one.entry.id


async def _record(
    connection: Connection, one: PlannedArea, planned: GroundPlan, actor: str, reason: str
) -> None:
    wanted, entry = one.wanted, one.entry
    action = {"new": "area.created", "ended": "area.ended"}.get(one.fate, "area.changed")
    if entry is not None and one.fate == "changed" and entry.geometry != wanted.geometry:
        action = "area.redrawn"
    before = (
        {"name": entry.name, "name_en": entry.name_en, "square_metres": _size(entry.geometry)}
        if entry
        else {}
    )
    after = {"name": wanted.name, "name_en": wanted.name_en, "square_metres": _size(wanted.geometry)}
    names = (wanted.code,)
    await register.record(
        connection,
        action,
        f"area:{wanted.layer}:{wanted.code}",
        actor=actor,
        reason=reason,
        detail={
            "before": before,
            "after": {} if one.fate == "ended" else after,
            "devices": sum(move.cell in names or move.to in names for move in planned.devices),
            "incidents": sum(move.cell in names or move.to in names for move in planned.incidents),
        },
    )


def _size(geometry: Geometry | None) -> int:
    return round(square_metres(geometry))


async def _write_neighbours(
    connection: Connection, planned: GroundPlan, ids: Mapping[tuple[str, str], int]
) -> None:
    changed = {
        ids["cell", one.wanted.code]: one
        for one in planned.areas
        if one.wanted.layer == "cell" and one.fate != "same"
    }
    if not changed:
        return
    box = bounding_box([one.wanted.geometry for one in changed.values() if one.wanted.geometry is not None])
    near = [
        (area.id, area.geometry)
        for area in planned.every
        if area.layer == "cell" and area.id not in changed and _meets(area.geometry, box)
    ]
    near += [(number, one.wanted.geometry) for number, one in changed.items() if one.fate != "ended"]
    pairs = [(near[one][0], near[other][0]) for one, other in neighbour_pairs([shape for _, shape in near])]
    await ground.write_neighbours(
        connection, list(changed), [pair for pair in pairs if pair[0] in changed or pair[1] in changed]
    )


async def _move_devices(
    connection: Connection,
    planned: GroundPlan,
    ids: Mapping[tuple[str, str], int],
    actor: str,
    reason: str,
) -> None:
    positions = {one.code: (one.longitude, one.latitude) for one in planned.dragged}
    into = {move.key: move for move in planned.devices if move.to is not None}
    cells = {key: ids["cell", move.to] for key, move in into.items() if move.to is not None}
    await ground.move_devices(connection, cells, positions, actor)
    for code in {*cells, *positions}:
        before: dict[str, object] = {}
        after: dict[str, object] = {}
        if code in into:
            before["cell"], after["cell"] = into[code].cell, into[code].to
        if code in positions:
            after["longitude"], after["latitude"] = positions[code]
        detail = {"before": before, "after": after}
        await register.record(connection, "device.moved", code, actor=actor, reason=reason, detail=detail)


async def _move_incidents(
    connection: Connection,
    planned: GroundPlan,
    ids: Mapping[tuple[str, str], int],
    directory: Directory,
    actor: str,
    now: datetime,
) -> None:
    """Their timeline says so. Unit and clocks stay: handle first, adjust later."""
    for move in sorted(planned.incidents, key=lambda one: int(one.key)):
        if move.to is None:
            continue
        await alarms.lock_of_incident(connection, int(move.key))
        incident = await incidents.lock(connection, int(move.key))
        if incident is None or incident.closed_at is not None:
            continue
        happening = Happening(
            kind="cell_changed",
            actor=actor,
            reason=f"区域调整：{move.cell or '无网格'} → {move.to}",
            detail={"from": move.cell or "", "to": move.to},
        )
        moved = replace(incident, area_id=ids["cell", move.to], version=incident.version + 1)
        await store(connection, directory, [Change(incident=moved, happenings=(happening,))], now, mail=False)


def _invalid(name: str, zh: str, en: str) -> ActionError:
    return ActionError("invalid", zh, en, name)
