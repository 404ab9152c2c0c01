"""Orders from below at work: answered, arrived at, ended, the missing called up; each step on the timeline."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from psycopg import AsyncConnection
from shapely.geometry import Point, shape
from shapely.ops import nearest_points

from city import roles
from city.directory import Directory
from city.incidents import Change, Happening, Incident, Tell
from city.settings import Settings
from city.storage import directory, incidents, orders_below
from city.storage.orders_below import SentUnit, SiteOrder
from city.units import Unit
from command_centre import evidence
from command_centre import orders_below as rules
from command_centre.actions import ActionError
from command_centre.order_giving import Person, invalid, sayable
from command_centre.orders_below import How, Sent
from command_centre.recording import store
from command_centre.workflow import Refused

Connection = AsyncConnection[Any]
ACTIONS = ("acknowledge", "decline", "arrive", "release", "end")


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """What goes with an action: for which unit, where somebody stands, which code was shown, and words.

    ``done_at`` is when it was done by a telephone that sends late.
    """

    unit: str = ""
    longitude: float | None = None
    latitude: float | None = None
    code_right: bool = False
    words: str = ""
    done_at: datetime | None = None


# ── acted upon ────────────────────────────────────────────────────────────────────────────────────────


async def act(
    connection: Connection,
    settings: Settings,
    order_id: int,
    action: str,
    said: Said,
    person: Person,
    *,
    now: datetime,
    expected: int | None = None,
) -> None:
    """acknowledge, decline, arrive, release, end; in the caller's transaction. Raises ActionError, nothing done."""
    if action not in ACTIONS:
        listed = ", ".join(ACTIONS)
        raise ActionError(
            "invalid", f"没有这个操作；可用：{listed}", f"no action {action!r}; use {listed}", "action"
        )
    incident, order, units = await locked(connection, order_id)
    if expected is not None and expected != order.version:
        raise ActionError(
            "stale",
            f"命令已被他人修改（版本{order.version}）",
            f"order {order_id} is at version {order.version}",
        )
    if order.ended_at is not None:
        raise ActionError("conflict", "该命令已结束", f"order {order_id} has ended: {order.outcome}")
    known = await directory.load(connection, settings.zone, settings.urge_after)
    words = sayable("reason", said.words, needed=action in ("decline", "release", "end"))
    happening: Happening
    tells: tuple[Tell, ...] = ()
    if action == "end":
        _only_orderer(order, person)
        order, happening = ended(order, units, person.actor, words, now)
    else:
        unit, sent = _one(known, units, said.unit, person)
        changed, tells, detail = await _step(connection, action, order, unit, sent, said, person, now)
        units = [changed if one.unit_id == changed.unit_id else one for one in units]
        happening = Happening(
            kind=rules.KINDS[action],
            actor=person.actor,
            detail={"order": order.id, "unit": unit.code, **detail, **_told(said, now)},
            text=words,
        )
    happenings = [happening]
    if action != "end" and not any(sent_of(one).missing for one in units):
        order, done = ended(order, units, "system", "", now)
        happenings.append(done)
    if order.ended_at is not None:
        units = [replace(one, next_at=None) for one in units]
    await orders_below.save(connection, replace(order, version=order.version + 1), units)
    change = Change(
        incident=replace(incident, version=incident.version + 1), happenings=tuple(happenings), tells=tells
    )
    await store(connection, known, [change], now, mail=bool(settings.smtp_url))


def _told(said: Said, now: datetime) -> dict[str, object]:
    """When it was done, for the timeline; raises ActionError for a time that cannot be."""
    told = evidence.read({"done_at": said.done_at}, now)
    if isinstance(told, Refused):
        raise ActionError(told.code, told.reason, told.reason_en, told.field)
    return evidence.times(told, now)


async def try_code(
    connection: Connection, order_id: int, unit: str, code: str, person: Person, now: datetime
) -> Literal["right", "wrong", "paused"]:
    """Whether the code is the one shown at the place; a wrong one is counted. Raises ActionError, nothing counted."""
    units = (await orders_below.units_of(connection, [order_id]))[order_id]
    own = next(
        (one for one in units if (one["unit"] == unit if unit else one["unit_id"] == person.unit_id)), None
    )
    if own is None:
        raise invalid("unit", "该单位不在此命令中，请指明单位", "name a unit of this order")
    if not rules.acts_for(person.role, person.unit_id, own["unit_id"]):
        raise ActionError(
            "forbidden", f"您不代表{own['unit_name']}", f"you do not act for unit {own['unit']}"
        )
    expected = await orders_below.begin_try(connection, order_id, own["unit_id"], now)
    if expected is None:
        return "paused"
    if not hmac.compare_digest(expected.encode(), code.strip().encode()):
        return "wrong"
    await orders_below.forget_tries(connection, order_id, own["unit_id"])
    return "right"


async def locked(connection: Connection, order_id: int) -> tuple[Incident, SiteOrder, list[SentUnit]]:
    """The order under its locks, its incident before it; raises ActionError."""
    incident_id = await orders_below.incident_of(connection, order_id)
    incident = await incidents.lock(connection, incident_id) if incident_id is not None else None
    found = await orders_below.lock(connection, order_id)
    if incident is None or found is None:
        raise ActionError("not_found", f"没有命令{order_id}", f"there is no order {order_id}")
    return incident, *found


def _one(known: Directory, units: Sequence[SentUnit], code: str, person: Person) -> tuple[Unit, SentUnit]:
    """The unit that is meant: the one named, else the person's own."""
    wanted = (
        next((one.id for one in known.units.values() if one.code == code), None) if code else person.unit_id
    )
    sent = next((one for one in units if one.unit_id == wanted), None)
    if wanted is None or sent is None:
        raise invalid("unit", "该单位不在此命令中，请指明单位", "name a unit of this order")
    return known.units[wanted], sent


async def _step(
    connection: Connection,
    action: str,
    order: SiteOrder,
    unit: Unit,
    sent: SentUnit,
    said: Said,
    person: Person,
    now: datetime,
) -> tuple[SentUnit, tuple[Tell, ...], dict[str, object]]:
    if action == "release":
        _only_orderer(order, person)
        _not_yet(sent.arrived_at or sent.released_at, unit)
        return replace(sent, released_at=now, next_at=None), (), {}
    ours = rules.acts_for(person.role, person.unit_id, unit.id)
    if not ours and not (action == "arrive" and _is_orderer(order, person)):
        raise ActionError("forbidden", f"您不代表{unit.name}", f"you do not act for unit {unit.code}")
    _not_yet(sent.arrived_at or sent.released_at, unit)
    if action == "acknowledge":
        _not_yet(sent.acknowledged_at, unit)
        return replace(sent, acknowledged_at=now), (), {}
    if action == "decline":
        _not_yet(sent.declined_at, unit)
        tells: tuple[Tell, ...] = (Tell(purpose="urge", unit_id=unit.id, to_lead=True),)
        if order.unit_id is not None:
            tells = (*tells, Tell(purpose="decided", unit_id=order.unit_id))
        return replace(sent, declined_at=now), tells, {}
    how, distance = await _how(connection, order, unit, said, person)
    arrived = replace(
        sent,
        arrived_at=now,
        arrived_by=person.actor,
        arrived_how=how,
        distance_m=distance,
        acknowledged_at=sent.acknowledged_at or now,
        next_at=None,
    )
    return arrived, (), {"how": how, "distance_m": distance, "in_time": now <= order.arrive_by}


async def _how(
    connection: Connection, order: SiteOrder, unit: Unit, said: Said, person: Person
) -> tuple[How, int | None]:
    """By which proof somebody is there; raises ActionError when there is none."""
    if said.code_right:
        return "code", None
    if said.longitude is not None and said.latitude is not None:
        away = await _away(connection, order, said.longitude, said.latitude)
        if away is None:
            raise invalid(
                "longitude",
                "此处没有坐标，请用现场签到码",
                "this place has no position: check in by its code",
            )
        if away > rules.NEAR_M:
            raise ActionError(
                "conflict",
                f"距现场{away}米，{rules.NEAR_M}米以内才能签到",
                f"{away} m from the place: checking in takes {rules.NEAR_M} m or less",
                "longitude",
            )
        return "position", away
    if _is_orderer(order, person):
        return "word", None
    raise invalid(
        "code",
        f"{unit.name}签到需要位置或现场签到码",
        "check in with a position or the code shown at the place",
    )


async def _away(connection: Connection, order: SiteOrder, longitude: float, latitude: float) -> int | None:
    """Metres from the place, or from the cell where only that was named (0 inside); None = no position known."""
    if order.longitude is not None and order.latitude is not None:
        return round(rules.metres(order.longitude, order.latitude, longitude, latitude))
    drawn = await orders_below.outline(connection, order.area_id) if order.area_id is not None else None
    if drawn is None:
        return None
    touch, _ = nearest_points(shape(drawn), Point(longitude, latitude))
    return round(rules.metres(touch.x, touch.y, longitude, latitude))


def _not_yet(at: datetime | None, unit: Unit) -> None:
    if at is not None:
        raise ActionError(
            "conflict",
            f"{unit.name}已答复或已到场",
            f"unit {unit.code} has answered that already, at {at.isoformat()}",
        )


def _is_orderer(order: SiteOrder, person: Person) -> bool:
    same_unit = (
        order.unit_id is not None and order.unit_id == person.unit_id and person.role not in roles.ONLY_LOOK
    )
    return person.role in rules.CENTRE_ROLES or person.actor == order.ordered_by or same_unit


def _only_orderer(order: SiteOrder, person: Person) -> None:
    if not _is_orderer(order, person):
        raise ActionError(
            "forbidden", "只有发令方或指挥中心可以执行", "only whoever ordered, or the centre, may do that"
        )


def ended(
    order: SiteOrder, units: Sequence[SentUnit], actor: str, words: str, now: datetime
) -> tuple[SiteOrder, Happening]:
    """The order with its record."""
    counted = rules.rate([sent_of(one) for one in units], order.arrive_by)
    said, said_en = rules.words(counted)
    outcome = f"{said} / {said_en}"
    detail: dict[str, object] = {
        "order": order.id,
        "expected": counted.expected,
        "arrived": counted.arrived,
        "in_time": counted.in_time,
    }
    over = replace(order, ended_at=now, ended_by=actor, outcome=f"{outcome}\n{words}" if words else outcome)
    return over, Happening(kind="site_order_ended", actor=actor, reason=outcome, detail=detail, text=words)


def sent_of(unit: SentUnit) -> Sent:
    """The row as the rules look at it."""
    return Sent(
        unit_id=unit.unit_id,
        acknowledged_at=unit.acknowledged_at,
        declined_at=unit.declined_at,
        released_at=unit.released_at,
        arrived_at=unit.arrived_at,
        said=unit.said,
        next_at=unit.next_at,
    )
