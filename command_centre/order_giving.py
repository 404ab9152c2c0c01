"""An order from below is given: to an incident that stands, or to one of its own that it opens."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from city.areas import cell_of_points
from city.catalogue import why_not_chosen
from city.directory import Directory
from city.incidents import Change, Happening, Incident, Tell
from city.settings import Settings
from city.storage import directory, incidents, orders_below, reports
from city.storage.orders_below import SentUnit, SiteOrder
from city.units import Unit
from command_centre import dispatch
from command_centre import orders_below as rules
from command_centre.actions import ActionError
from command_centre.recording import store
from command_centre.workflow import usable_text

Connection = AsyncConnection[Any]
CATEGORY = "public"  # of an incident that an order opens, when nobody names a better one
MOST_WORDS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """Who acts: as the gate let them in."""

    actor: str
    role: str
    unit_id: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class NewOrder:
    """What is ordered. ``cell`` is a code, positions WGS 84; ``incident_id`` None opens one of ``category``."""

    what: str
    units: Sequence[str]
    by: datetime
    cell: str | None
    place: str
    longitude: float | None
    latitude: float | None
    incident_id: int | None
    category: str
    exercise: bool = False


def invalid(field: str, reason: str, reason_en: str) -> ActionError:
    """422 naming the field and the remedy."""
    return ActionError("invalid", f"{field}：{reason}", f"{field}: {reason_en}", field)


def sayable(field: str, text: str, *, needed: bool) -> str:
    """The words without blanks around them; raises ActionError."""
    said = text.strip()
    if len(said) > MOST_WORDS or not usable_text(said):
        raise invalid(
            field, f"最多{MOST_WORDS}字，不含控制字符", f"at most {MOST_WORDS} characters, none of control"
        )
    if needed and not said:
        raise invalid(field, "请写明", "say it in words: it goes on the record")
    return said


# ── given ─────────────────────────────────────────────────────────────────────────────────────────────


async def give(
    connection: Connection, settings: Settings, given: NewOrder, person: Person, *, now: datetime
) -> int:
    """Order units to a place, in the caller's transaction; returns the order's id. Raises ActionError, nothing done."""
    incident = await _standing(connection, given)
    known = await directory.load(connection, settings.zone, settings.urge_after)
    own = known.units.get(person.unit_id) if person.unit_id is not None else None
    if not rules.may_order(person.role, own):
        raise ActionError(
            "forbidden",
            "只有街道、社区的人员或指挥中心可以发令",
            "only people of a street or community, or the centre, may order units",
        )
    what = sayable("what", given.what, needed=True)
    place = sayable("place", given.place, needed=False)
    for fault in rules.faults(given.units, given.by, known, now):
        raise invalid(fault.field, fault.reason, fault.reason_en)
    area_id = await _where(connection, known, given)
    units = [unit for code in given.units if (unit := known.unit_by_code(code)) is not None]
    order = SiteOrder(
        incident_id=0,
        unit_id=own.id if own is not None and own.tier in rules.BELOW else None,
        ordered_by=person.actor,
        ordered_at=now,
        arrive_by=given.by,
        what=what,
        area_id=area_id,
        place=place,
        longitude=given.longitude,
        latitude=given.latitude,
        code=f"{secrets.randbelow(10**6):06d}",
    )
    if incident is None:
        change = _opening(known, given, order, units, now)
    else:
        tells = tuple(Tell(purpose="co_order", unit_id=unit.id) for unit in units)
        change = Change(incident=replace(incident, version=incident.version + 1), happenings=(), tells=tells)
    change = replace(change, happenings=(*change.happenings, _given(order, units, known)))
    (stored,) = await store(connection, known, [change], now, mail=bool(settings.smtp_url))
    said, next_at = rules.first_step(given.by, now)
    sent = [SentUnit(order_id=0, unit_id=unit.id, said=said, next_at=next_at) for unit in units]
    return await orders_below.insert(connection, replace(order, incident_id=stored.id), sent)


async def _standing(connection: Connection, given: NewOrder) -> Incident | None:
    """The incident the order belongs to, locked; None when one is to be opened."""
    if given.incident_id is None:
        return None
    incident = await incidents.lock(connection, given.incident_id)
    if incident is None:
        raise invalid("incident", f"没有事件{given.incident_id}", f"there is no incident {given.incident_id}")
    if incident.closed_at is not None:
        raise ActionError(
            "conflict",
            f"事件{incident.number}已结案，不能再发令",
            f"incident {incident.number} is {incident.state}: nobody is ordered to it any more",
            "incident",
        )
    return incident


async def _where(connection: Connection, known: Directory, given: NewOrder) -> int | None:
    """The cell of the place; a place outside the district is refused, since nobody there could be held to it."""
    coded = None
    if given.cell is not None:
        coded = next((number for number, way in known.places.items() if way[0].code == given.cell), None)
        if coded is None:
            raise invalid(
                "cell", f"没有网格“{given.cell}”", f"cell {given.cell!r} is not known; see /api/cells"
            )
    if given.longitude is None or given.latitude is None:
        if coded is None:
            raise invalid("place", "请给出网格或坐标", "name a cell, or longitude and latitude")
        return coded
    around = await reports.cells_around(connection, given.longitude, given.latitude)
    (found,) = cell_of_points([drawn for _, drawn in around], [given.longitude], [given.latitude])
    inside = around[found][0] if found is not None else None
    undrawn = coded is not None and await orders_below.outline(connection, coded) is None
    if inside is None and not undrawn:
        raise invalid(
            "longitude", "该位置不在本区任何网格内", "this position lies in no cell of the district"
        )
    if inside is not None and coded is not None and inside != coded:
        code = known.places[inside][0].code if inside in known.places else str(inside)
        raise invalid("cell", f"该位置在网格{code}内", f"this position lies in cell {code}")
    return inside if inside is not None else coded


def _opening(
    known: Directory, given: NewOrder, order: SiteOrder, units: Sequence[Unit], now: datetime
) -> Change:
    """An incident of its own: the first unit named has it, the others handle beside it."""
    unfit = why_not_chosen(known.categories.get(given.category), given.category)
    if unfit is not None:
        raise invalid("category", *unfit)
    lead = units[0]
    matter = dispatch.Matter(category=given.category, cell_id=order.area_id)
    until = order.arrive_by.astimezone(known.zone)
    where = order.place or given.cell or "见坐标 / see the position"
    decision = replace(
        dispatch.decide(matter, known, now),
        unit=lead,
        due_at=order.arrive_by,
        reason=f"基层发令：{until:%m-%d %H:%M}前到{where}：{order.what}",
        reason_en=f"ordered from below: be at {where} by {until:%m-%d %H:%M}: {order.what}",
    )
    position = (
        (order.longitude, order.latitude)
        if order.longitude is not None and order.latitude is not None
        else None
    )
    change = dispatch.opening(
        matter,
        decision,
        now,
        actor=order.ordered_by,
        source="person",
        title="基层发令",
        detail={"category": given.category, "cell": given.cell},
        exercise=given.exercise,
        position=position,
    )
    incident = replace(
        change.incident, collected_by=order.ordered_by, longitude=order.longitude, latitude=order.latitude
    )
    others = tuple(unit.id for unit in units[1:])
    tells = (*change.tells, *(Tell(purpose="co_order", unit_id=unit_id) for unit_id in others))
    return replace(change, incident=incident, tells=tells, co_units=others)


def _given(order: SiteOrder, units: Sequence[Unit], known: Directory) -> Happening:
    detail = {
        "units": [unit.code for unit in units],
        "by": order.arrive_by.isoformat(),
        "for": known.units[order.unit_id].code if order.unit_id is not None else None,
    }
    return Happening(
        kind="site_order_given",
        actor=order.ordered_by,
        detail=detail,
        text="\n".join(part for part in (order.what, order.place) if part),
    )
