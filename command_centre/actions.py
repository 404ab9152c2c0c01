"""What a person does to an incident: decided by the workflow, stored under the incident's lock."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from psycopg import AsyncConnection

from city import roles
from city.alarms import IncidentClass
from city.catalogue import why_not_chosen
from city.clocks import Limit, LimitError, read_limit
from city.directory import Directory
from city.errors import CityError
from city.incidents import Incident
from city.settings import Settings
from city.storage import alarms, directory, flood_tasks, incidents, photos, requests, responsibilities
from city.storage.responsibilities import ResponsibilityError
from city.units import Unit
from command_centre import acting, dispatch, evidence, reporting, workflow
from command_centre.evidence import Evidence
from command_centre.recording import store
from command_centre.responsibility import ranked
from command_centre.workflow import Act, Facts

Code = Literal["not_found", "conflict", "forbidden", "invalid", "stale"]
Connection = AsyncConnection[Any]
MOST_PHOTOS = 10  # of one action


class ActionError(CityError):
    """An action that was refused; nothing was changed.

    ``code`` is not_found (404), conflict (409), forbidden (403), invalid (422) or stale (412: somebody was
    faster); ``field`` names what was wrong in the request; ``reason`` is the Chinese text. ``state``, ``version``
    and ``allowed`` tell of a conflict how the incident stands and what the same person may do now.
    """

    def __init__(
        self,
        code: Code,
        reason: str,
        reason_en: str,
        field: str = "",
        *,
        state: str = "",
        version: int = 0,
        allowed: Sequence[str] = (),
    ) -> None:
        super().__init__(reason_en)
        self.code = code
        self.reason = reason
        self.reason_en = reason_en
        self.field = field
        self.state = state
        self.version = version
        self.allowed = tuple(allowed)


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """Who acts: user:<id>, api-token or citizen; ``unit_id`` is whom they act for."""

    actor: str
    role: str
    unit_id: int | None = None


async def act(
    connection: Connection,
    settings: Settings,
    incident_id: int,
    action: str,
    *,
    actor: str,
    role: str,
    unit_id: int | None = None,
    reason: str = "",
    fields: Mapping[str, object] | None = None,
    now: datetime,
    expected_version: int | None = None,
) -> Incident:
    """Do it, in a transaction of its own (or inside the caller's), and return the incident as stored.

    ``actor`` is user:<id>: the chained timeline names no person, readers look the name up. ``fields`` may hold
    unit (code), co_units (codes), comment, class, limit (30m, 4wh, 3wd), request (id), amend, photos (digests in
    hex, of photos that were sent before), and when and where a telephone says it was done (see ``evidence``).
    Raises ActionError.
    What concerns two incidents (merge, split, link, unlink) is done by ``merging``.
    """
    given = fields or {}
    person = Person(actor=actor, role=role, unit_id=unit_id)
    async with connection.transaction():
        await alarms.lock_of_incident(connection, incident_id)
        incident = await incidents.lock(connection, incident_id)
        if incident is None:
            raise ActionError("not_found", f"没有事件{incident_id}", f"there is no incident {incident_id}")
        facts = await facts_of(connection, incident)
        known = await directory.load(connection, settings.zone, settings.urge_after)
        wish = await _wish(connection, incident, known, given, now, facts, person, action, reason)
        if expected_version is not None and expected_version != incident.version:
            raise stale(incident, wish, facts, expected_version)
        amended = action == "rule" and wish.amend
        area = _ruled_area(incident, known, now) if amended else None
        decided = acting.apply(incident, wish, facts, now)
        if isinstance(decided, workflow.Refused):
            raise refused(incident, decided)
        told = _evidence(incident, given, now)
        decided = evidence.added(decided, told, await _place(connection, incident, told), now)
        (stored,) = await store(connection, known, [decided], now, mail=bool(settings.smtp_url))
        if wish.photos:
            await photos.use(connection, "incident", incident_id, [bytes.fromhex(one) for one in wish.photos])
        if amended and wish.unit is not None:
            await _amend(connection, stored, area, wish, now)
        return stored


def _evidence(incident: Incident, given: Mapping[str, object], now: datetime) -> Evidence:
    told = evidence.read(given, now)
    if isinstance(told, workflow.Refused):
        raise refused(incident, told)
    return told


async def _place(connection: Connection, incident: Incident, told: Evidence) -> tuple[float, float] | None:
    """Where the incident is; looked up only for somebody who says where they stand."""
    if told.position is None:
        return None
    if incident.longitude is not None and incident.latitude is not None:
        return incident.longitude, incident.latitude
    return (await incidents.coordinates(connection, [incident.id])).get(incident.id)


async def _amend(
    connection: Connection, incident: Incident, area: int | None, wish: Act, now: datetime
) -> None:
    if wish.unit is None:
        return
    try:
        await responsibilities.amend(
            connection,
            category=incident.category,
            area_id=area,
            unit_id=wish.unit.id,
            actor=wish.actor,
            reason=wish.reason,
            incident_id=incident.id,
            at=now,
        )
    except ResponsibilityError as error:
        raise ActionError("conflict", f"职责清单未能修改：{error}", str(error), "amend") from error


async def facts_of(connection: Connection, incident: Incident) -> Facts:
    """What the workflow must know beside the row, read under the incident's lock."""
    counted, standing, unbelieved = await alarms.counts(connection, incident.id)
    return Facts(
        alarms=counted,
        standing=standing,
        unbelieved=unbelieved,
        unmoved=await flood_tasks.remaining_of_incident(connection, incident.id),
        open_children=await incidents.open_children(connection, incident.id),
        co_units=frozenset(await incidents.co_units(connection, incident.id)),
        had_it=frozenset(await incidents.units_that_had(connection, incident.id)),
        requests=await requests.of_incident(connection, incident.id),
    )


def stale(incident: Incident, wish: Act, facts: Facts, expected: int) -> ActionError:
    """Somebody was faster than this person's page."""
    return ActionError(
        "stale",
        f"事件已被他人修改（版本{incident.version}，状态{incident.state}），请刷新",
        f"incident {incident.number} is at version {incident.version} ({incident.state}), "
        f"not {expected}: read it again",
        state=incident.state,
        version=incident.version,
        allowed=workflow.choices_of(incident, wish, facts),
    )


def refused(incident: Incident, why: workflow.Refused) -> ActionError:
    """What the workflow refused, with how the incident stands."""
    return ActionError(
        why.code,
        why.reason,
        why.reason_en,
        why.field,
        state=incident.state,
        version=incident.version,
        allowed=why.allowed,
    )


def _ruled_area(incident: Incident, known: Directory, now: datetime) -> int:
    """Where a ruling holds from now on: the street, or the smaller place for which the list has an entry of its own."""
    places = known.places.get(incident.area_id or 0, ())
    street = next((number for number, place in enumerate(places) if place.layer == "street"), None)
    if street is None:
        raise ActionError(
            "invalid",
            "amend：事件没有所在街道，不能据此修改职责清单",
            "amend: the incident lies in no street; a ruling would change the list for the whole district",
            "amend",
        )
    entries = ranked(incident.category, places, known.responsibilities, now)
    smaller = {place.area_id for place in places[:street]}
    deciding = entries[0].area_id if entries else None
    return deciding if deciding in smaller and deciding is not None else places[street].area_id


async def _wish(
    connection: Connection,
    incident: Incident,
    known: Directory,
    fields: Mapping[str, object],
    now: datetime,
    facts: Facts,
    person: Person,
    action: str,
    reason: str,
) -> Act:
    _texts(fields, ("comment", "unit", "class", "limit"))
    wanted = fields.get("class")
    if wanted is not None and wanted not in get_args(IncidentClass):
        raise ActionError(
            "invalid", f"class“{wanted}”应为A、B或C", f"class {wanted!r} must be A, B or C", "class"
        )
    unit, co_units, found = _unit(known, fields.get("unit")), _co_units(known, fields), None
    if action == "dispatch" and unit is None and incident.unit_id is None:
        matter = dispatch.matter_of(incident, frozenset(incident.returned_by))
        found = dispatch.decide(matter, known, now)
        unit = found.unit or found.suggestion
        if co_units is None and found.co_units:
            co_units = tuple(known.units[one] for one in found.co_units if one in known.active)
    if action in ("take", "approve") and unit is None:
        unit = _asked_unit(known, facts, person)
    return Act(
        action=action,
        actor=person.actor,
        role=person.role,
        unit_id=person.unit_id,
        reason=reason,
        comment=str(fields.get("comment") or ""),
        unit=unit,
        co_units=co_units,
        grounds=(found.reason, found.reason_en) if found is not None else ("", ""),
        due_at=(
            dispatch.due_for(incident.category, unit.id, incident.area_id, known, now)
            if unit is not None
            else None
        ),
        incident_class=wanted,  # type: ignore[arg-type]  # checked against the literal's values above
        limit=_limit(fields),
        asked=_number(fields, "request"),
        amend=fields.get("amend") is True,
        photos=await _photos(connection, fields.get("photos")),
    )


def _texts(fields: Mapping[str, object], names: Sequence[str]) -> None:
    for name in names:
        if fields.get(name) is not None and not isinstance(fields[name], str):
            raise ActionError(
                "invalid", f"{name}必须是文字", f"{name} must be text, not {fields[name]!r}", name
            )


def _limit(fields: Mapping[str, object]) -> Limit | None:
    if not fields.get("limit"):
        return None
    try:
        return read_limit(str(fields["limit"]))
    except LimitError as error:
        raise ActionError("invalid", f"limit：应写作30m、4wh或3wd；{error}", str(error), "limit") from error


def _number(fields: Mapping[str, object], name: str) -> int | None:
    given = fields.get(name)
    if given is None:
        return None
    if not isinstance(given, int) or isinstance(given, bool):
        raise ActionError("invalid", f"{name}应为编号", f"{name} must be a number, not {given!r}", name)
    return given


async def _photos(connection: Connection, given: object) -> tuple[str, ...]:
    if not given:
        return ()
    if not isinstance(given, list) or len(given) > MOST_PHOTOS or not all(_is_digest(one) for one in given):
        raise ActionError(
            "invalid",
            f"photos：应为已上传照片的编号，最多{MOST_PHOTOS}张",
            f"photos: digests that POST /api/photos answered, at most {MOST_PHOTOS}",
            "photos",
        )
    wanted = tuple(dict.fromkeys(str(one) for one in given))
    lost = await photos.unknown(connection, [bytes.fromhex(one) for one in wanted])
    if lost:
        raise ActionError(
            "invalid",
            f"photos：有{len(lost)}张照片未上传或已清理，请重新上传",
            f"photos: {len(lost)} of them were never sent or are gone: send them again with POST /api/photos",
            "photos",
        )
    return wanted


def _is_digest(one: object) -> bool:
    return isinstance(one, str) and re.fullmatch("[0-9a-f]{64}", one) is not None


def _asked_unit(known: Directory, facts: Facts, person: Person) -> Unit | None:
    """Whom a transfer that waits would give it to: the unit it names, else that of the person who takes it."""
    for one in facts.waiting("transfer"):
        unit_id = one.to_unit_id or person.unit_id
        if unit_id in known.active:
            return known.units[unit_id] if unit_id is not None else None
    return None


def _co_units(known: Directory, fields: Mapping[str, object]) -> tuple[Unit, ...] | None:
    given = fields.get("co_units")
    if given is None:
        return None
    if not isinstance(given, list | tuple) or len(given) > 20:
        raise ActionError(
            "invalid", "co_units应为单位代码列表", "co_units must be a list of unit codes", "co_units"
        )
    return tuple(unit for code in given if (unit := _unit(known, code, "co_units")) is not None)


def _unit(known: Directory, code: object, field: str = "unit") -> Unit | None:
    if not code:
        return None  # the workflow says what is missing
    unit = known.unit_by_code(str(code))
    if unit is None:
        raise ActionError(
            "invalid", f"没有在用单位“{code}”", f"unit {code!r} is not a working unit; see /api/units", field
        )
    return unit


async def open_by_person(
    connection: Connection,
    settings: Settings,
    *,
    category: str,
    cell: str | None,
    actor: str,
    role: str,
    now: datetime,
    text: str = "",
    incident_class: IncidentClass | None = None,
    exercise: bool = False,
) -> Incident:
    """An incident that somebody reports by hand, dispatched like any other. Raises ActionError.

    A report that confirms what devices say there already, by a fusion rule, is added to their incident instead.
    """
    _may_open(role, text)
    async with connection.transaction():
        known = await directory.load(connection, settings.zone, settings.urge_after)
        unfit = why_not_chosen(known.categories.get(category), category)
        if unfit is not None:
            raise ActionError("invalid", *unfit, "category")
        cell_id = _cell(known, cell)
        report = reporting.Report(category, cell_id, incident_class, exercise, actor, text)
        joined = await reporting.join_open(connection, known, report, now, mail=bool(settings.smtp_url))
        if joined is not None:
            return joined
        matter = dispatch.Matter(category=category, cell_id=cell_id, alarm_class=incident_class)
        change = dispatch.opening(
            matter,
            dispatch.decide(matter, known, now),
            now,
            actor=actor,
            source="person",
            title=known.categories[category].name,
            detail={"category": category, "cell": cell},
            text=text,
            exercise=exercise,
        )
        (stored,) = await store(connection, known, [change], now, mail=bool(settings.smtp_url))
        return stored


def _may_open(role: str, text: str) -> None:
    if role not in ("hotline", "grid_worker", *roles.CENTRE):
        raise ActionError("forbidden", f"角色{role}不能立案", f"role {role} may not open an incident")
    if not workflow.usable_text(text):
        limit = workflow.MOST_TEXT
        raise ActionError(
            "invalid",
            f"text：最多{limit}字，不含控制字符",
            f"text: at most {limit} characters, none of control",
            "text",
        )


def _cell(known: Directory, code: str | None) -> int | None:
    if code is None:
        return None
    for area_id, places in known.places.items():
        if places[0].code == code:
            return area_id
    raise ActionError("invalid", f"没有网格“{code}”", f"cell {code!r} is not known; see /api/cells", "cell")
