"""What every action on two incidents asks first: who may, which other one, both locked, and nobody was faster."""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import AsyncConnection

from city.incidents import Incident
from city.storage import merging as stored
from command_centre import actions, gathering, workflow
from command_centre.gathering import Weight

Connection = AsyncConnection[Any]


def conflict(
    reason: str, reason_en: str, field: str = "", *, of: Incident | None = None
) -> "actions.ActionError":
    """Not possible as things are now (409); ``of`` is the incident whose state stands in the way."""
    if of is None:
        return actions.ActionError("conflict", reason, reason_en, field)
    return actions.ActionError("conflict", reason, reason_en, field, state=of.state, version=of.version)


def invalid(field: str, reason: str, reason_en: str) -> "actions.ActionError":
    """The request itself is wrong (422)."""
    return actions.ActionError("invalid", f"{field}：{reason}", f"{field}: {reason_en}", field)


def wanted_id(fields: Mapping[str, object], field: str) -> int:
    """An incident's id from the request; raises ActionError."""
    given = fields.get(field)
    if isinstance(given, bool) or not isinstance(given, int) or not 0 < given < 2**63:
        raise invalid(field, "请给出事件编号(id)", f"give the id of an incident, not {given!r}")
    return given


def permitted(
    incident: Incident,
    action: str,
    *,
    actor: str,
    role: str,
    unit_id: int | None,
    reason: str,
    expected_version: int | None,
) -> None:
    """Raises ActionError when the workflow's table refuses, a reason is missing, or somebody was faster."""
    act = workflow.Act(action=action, actor=actor, role=role, unit_id=unit_id, reason=reason)
    if expected_version is not None and expected_version != incident.version:
        raise actions.stale(incident, act, workflow.NO_FACTS, expected_version)
    refused = workflow.may(incident, act)
    if refused is not None:
        raise actions.refused(incident, refused)
    if not workflow.usable_text(reason):
        most = workflow.MOST_TEXT
        raise invalid("reason", f"最多{most}字，不含控制字符", f"at most {most} characters, none of control")
    if workflow.TABLE[act.action].needs == "reason" and not reason.strip():  # type: ignore[index]  # ``may`` knows it
        raise invalid("reason", "请写明理由", f"say why: {action} goes on the record with its reason")


async def locked_together(connection: Connection, incident_ids: Sequence[int]) -> dict[int, Incident]:
    """The incidents by id, locked with their alarms in the order of the house; those that do not exist are missing.

    Raises ActionError when an alarm joined one of them in this moment.
    """
    locked = await stored.lock(connection, incident_ids)
    if locked is None:
        raise conflict("刚有新报警并入，请重试", "an alarm joined one of them just now: try again")
    return locked


async def with_other(
    connection: Connection,
    incident_id: int,
    fields: Mapping[str, object],
    field: str,
    to_itself: tuple[str, str],
) -> tuple[Incident, Incident]:
    """The incident and the other one that ``field`` names, or what that was merged into; both locked.

    Raises ActionError, with ``to_itself`` (Chinese, English) where both are one.
    """
    named = wanted_id(fields, field)
    way = await stored.way(connection, named)
    if not way:
        raise invalid(field, f"没有事件{named}", f"there is no incident {named}")
    if way[-1] == incident_id:
        raise conflict(*to_itself, field)
    locked = await locked_together(connection, [incident_id, way[-1]])
    return there(locked, incident_id), there(locked, way[-1])


def there(locked: Mapping[int, Incident], incident_id: int) -> Incident:
    """One of the locked; raises ActionError when there is none of this id."""
    incident = locked.get(incident_id)
    if incident is None:
        raise actions.ActionError(
            "not_found", f"没有事件{incident_id}", f"there is no incident {incident_id}"
        )
    return incident


async def own_weight(connection: Connection, incident: Incident) -> tuple[Weight, list[Weight]]:
    """What the locked incident is by itself, and what is merged into it."""
    merges = await stored.into(connection, incident.id)
    if not merges:
        return gathering.weight_of(incident), []
    others = [gathering.read(one.brought) for one in merges]
    came = await stored.came_since(connection, incident.id, min(one.into_seq for one in merges))
    own = gathering.alone(gathering.weight_of(incident), gathering.read(merges[-1].own), others, came=came)
    return own, others
