"""What a person does to an incident: decided by the workflow, stored under the incident's lock."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, get_args

from psycopg import AsyncConnection

from city.alarms import IncidentClass
from city.directory import Directory
from city.errors import CityError
from city.incidents import Incident
from city.settings import Settings
from city.storage import alarms, directory, flood_tasks, incidents
from city.units import Unit
from command_centre import dispatch, reporting, workflow
from command_centre.recording import store

Code = Literal["not_found", "conflict", "forbidden", "invalid", "stale"]
Connection = AsyncConnection[Any]


class ActionError(CityError):
    """An action that was refused; nothing was changed.

    ``code`` is not_found (404), conflict (409), forbidden (403), invalid (422) or stale (412: somebody was
    faster); ``field`` names what was wrong in the request; ``reason`` is the Chinese text.
    """

    def __init__(self, code: Code, reason: str, reason_en: str, field: str = "") -> None:
        super().__init__(reason_en)
        self.code = code
        self.reason = reason
        self.reason_en = reason_en
        self.field = field


async def act(
    connection: Connection,
    settings: Settings,
    incident_id: int,
    action: str,
    *,
    actor: str,
    role: str,
    reason: str = "",
    fields: Mapping[str, object] | None = None,
    now: datetime,
    expected_version: int | None = None,
) -> Incident:
    """Do it, in a transaction of its own (or inside the caller's), and return the incident as stored.

    ``actor`` is user:<id>: the chained timeline names no person, readers look the name up. ``fields`` may
    hold unit (code), comment and class. Raises ActionError.
    """
    given = fields or {}
    async with connection.transaction():
        await alarms.lock_of_incident(connection, incident_id)
        incident = await incidents.lock(connection, incident_id)
        if incident is None:
            raise ActionError("not_found", f"没有事件{incident_id}", f"there is no incident {incident_id}")
        if expected_version is not None and expected_version != incident.version:
            raise ActionError(
                "stale",
                f"事件已被他人修改（版本{incident.version}），请刷新",
                f"incident {incident.number} is at version {incident.version}, "
                f"not {expected_version}: read it again",
            )
        known = await directory.load(connection, settings.zone)
        request = _request(incident, known, given, now, action=action, actor=actor, role=role, reason=reason)
        standing = await alarms.standing(connection, incident_id)
        unmoved = (
            await flood_tasks.remaining_of_incident(connection, incident_id) if action == "archive" else 0
        )
        decided = workflow.apply(incident, request, standing, now, unmoved=unmoved)
        if isinstance(decided, workflow.Refused):
            raise ActionError(decided.code, decided.reason, decided.reason_en, decided.field)
        (stored,) = await store(connection, known, [decided], now, mail=bool(settings.smtp_url))
        return stored


def _request(
    incident: Incident,
    known: Directory,
    fields: Mapping[str, object],
    now: datetime,
    *,
    action: str,
    actor: str,
    role: str,
    reason: str,
) -> workflow.Request:
    for name in ("comment", "unit", "class"):
        if fields.get(name) is not None and not isinstance(fields[name], str):
            raise ActionError(
                "invalid", f"{name}必须是文字", f"{name} must be text, not {fields[name]!r}", name
            )
    wanted = fields.get("class")
    if wanted is not None and wanted not in get_args(IncidentClass):
        raise ActionError(
            "invalid", f"class“{wanted}”应为A、B或C", f"class {wanted!r} must be A, B or C", "class"
        )
    unit, found = None, None
    if action == "dispatch":
        unit = _unit(known, fields.get("unit"))
        if unit is None and incident.unit_id is None:
            found = dispatch.decide(dispatch.matter_of(incident), known, now)
            unit = found.unit
    return workflow.Request(
        action=action,
        actor=actor,
        role=role,
        reason=reason,
        comment=str(fields.get("comment") or ""),
        unit=unit,
        grounds=(found.reason, found.reason_en) if found is not None else ("", ""),
        due_at=(
            dispatch.due_for(incident.category, unit.id, incident.area_id, known, now)
            if unit is not None
            else None
        ),
        incident_class=wanted,  # type: ignore[arg-type]  # checked against the literal's values above
    )


def _unit(known: Directory, code: object) -> Unit | None:
    if not code:
        return None  # the workflow says what is missing
    unit = known.unit_by_code(str(code))
    if unit is None:
        raise ActionError(
            "invalid", f"没有在用单位“{code}”", f"unit {code!r} is not a working unit; see /api/units", "unit"
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
        known = await directory.load(connection, settings.zone)
        if category not in known.categories:
            raise ActionError(
                "invalid",
                f"类别“{category}”不在目录中",
                f"category {category!r} is not in the catalogue",
                "category",
            )
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
    if role not in ("dispatcher", "administrator"):
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
