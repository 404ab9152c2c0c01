"""The states of an incident, who may move it, and what each move does to its clocks. One table, read by everyone.

    filed ── dispatch ──▶ dispatched ── acknowledge ──▶ acknowledged ── handle ──▶ handled ── archive ──▶ archived

A person closes an incident; an alarm that clears never does. ``allowed`` is what buttons are drawn from,
``apply`` is what decides, so a button that should not be there still cannot do harm.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from city.alarms import IncidentClass
from city.incidents import Change, Happening, Incident, State, Tell, raised_class
from city.units import Unit

Action = Literal["acknowledge", "dispatch", "escalate", "handle", "archive", "void", "comment"]
Role = Literal["viewer", "dispatcher", "administrator"]
RefusalCode = Literal["conflict", "forbidden", "invalid"]

MOST_TEXT = 4000  # characters a person may type into one event
_OPEN: tuple[State, ...] = ("filed", "dispatched", "acknowledged", "handled")
_ALL: tuple[State, ...] = (*_OPEN, "archived", "voided")


@dataclass(frozen=True, kw_only=True, slots=True)
class Transition:
    """From which states, by whom, and what the person must say (``words``: they name the missing field)."""

    action: Action
    states: tuple[State, ...]
    roles: tuple[Role, ...] = ("dispatcher", "administrator")
    needs: Literal["", "reason", "comment", "unit"] = ""
    leads_to: State | None = None  # None = stays


TABLE: Mapping[Action, Transition] = {
    entry.action: entry
    for entry in (
        # In the lane it stops the sound and says "seen"; with a unit it is 签收.
        Transition(action="acknowledge", states=("filed", "dispatched"), leads_to="acknowledged"),
        Transition(action="dispatch", states=_OPEN, needs="unit", leads_to="dispatched"),
        Transition(action="escalate", states=_OPEN, needs="reason"),
        Transition(
            action="handle", states=("dispatched", "acknowledged"), needs="comment", leads_to="handled"
        ),
        Transition(action="archive", states=("filed", "handled"), leads_to="archived"),
        Transition(
            action="void", states=("filed", "dispatched", "acknowledged"), needs="reason", leads_to="voided"
        ),
        Transition(action="comment", states=_ALL, needs="comment"),
    )
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a person asks for. ``due_at`` goes with a unit: the deadline that this unit's entry gives.

    ``grounds`` (Chinese, English) say why this unit when the person left the choice to the list.
    """

    action: str
    actor: str
    role: str
    reason: str = ""
    comment: str = ""
    unit: Unit | None = None
    grounds: tuple[str, str] = ("", "")
    due_at: datetime | None = None
    incident_class: IncidentClass | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """Why not, in both languages; ``field`` names what was missing or wrong in the request."""

    code: RefusalCode
    reason: str
    reason_en: str
    field: str = ""


def allowed(
    state: str, role: str, *, incident_class: str = "B", acknowledged: bool = False
) -> tuple[Action, ...]:
    """The actions this role may take now, in the order they are usually taken."""
    return tuple(
        entry.action
        for entry in TABLE.values()
        if state in entry.states
        and role in entry.roles
        and not (entry.action == "escalate" and incident_class == "A")
        and not (entry.action == "acknowledge" and acknowledged)
    )


def apply(
    incident: Incident, request: Request, standing_alarms: int, now: datetime, *, unmoved: int = 0
) -> Change | Refused:
    """The incident after the action, with its event; or why it is refused. Nothing is half done.

    ``unmoved`` are the people that its evacuation task still has to move.
    """
    entry = next((one for one in TABLE.values() if one.action == request.action), None)
    if entry is None:
        known = ", ".join(TABLE)
        return Refused(
            code="invalid",
            field="action",
            reason=f"没有“{request.action}”这个操作；可用：{known}",
            reason_en=f"there is no action {request.action!r}; use one of {known}",
        )
    refused = _may(incident, request, entry) or _says_enough(incident, request, entry)
    if refused is None and request.action == "archive":
        refused = _may_archive(incident, request, standing_alarms) or _nobody_left(incident, request, unmoved)
    if refused is not None:
        return refused
    return _TAKE[entry.action](incident, request, standing_alarms, now)


def _may(incident: Incident, request: Request, entry: Transition) -> Refused | None:
    if request.role not in entry.roles:
        return Refused(
            code="forbidden",
            reason=f"角色{request.role}不能执行{entry.action}",
            reason_en=f"role {request.role} may not {entry.action}; needs {' or '.join(entry.roles)}",
        )
    if incident.state not in entry.states:
        return Refused(
            code="conflict",
            reason=f"事件{incident.number}处于{incident.state}状态，不能{entry.action}",
            reason_en=(
                f"incident {incident.number} is {incident.state}: "
                f"{entry.action} needs {' or '.join(entry.states)}"
            ),
        )
    if request.action == "acknowledge" and incident.acknowledged_at is not None:
        return Refused(
            code="conflict",
            reason="已经签收",
            reason_en=f"incident {incident.number} is already acknowledged",
        )
    return None


def _says_enough(incident: Incident, request: Request, entry: Transition) -> Refused | None:
    for field, text in (("reason", request.reason), ("comment", request.comment)):
        if not usable_text(text):
            return _missing(
                field, f"最多{MOST_TEXT}字，不含控制字符", f"at most {MOST_TEXT} characters, none of control"
            )
    if entry.needs == "unit" and request.unit is None:
        return _missing("unit", "请指明一个在用单位的代码", "give the code of a working unit")
    if entry.needs == "comment" and not (request.comment.strip() or request.reason.strip()):
        return _missing("comment", "请写明情况", "say what was done or seen")
    again = entry.action == "dispatch" and incident.unit_id is not None
    if (entry.needs == "reason" or again) and not request.reason.strip():
        return _missing("reason", "请写明理由", f"say why: {entry.action} goes on the record with its reason")
    if entry.action == "escalate" and _next_class(incident, request) >= incident.incident_class:
        return Refused(
            code="conflict",
            field="class",
            reason=f"等级只升不降，当前为{incident.incident_class}",
            reason_en=f"the class only rises; it is {incident.incident_class} now",
        )
    return None


def usable_text(text: str) -> bool:
    """Bounded, and without control characters (line breaks and tabs apart) or halves of characters."""
    return len(text) <= MOST_TEXT and all(part.isprintable() or part in "\n\r\t\u3000\xa0" for part in text)


def _missing(field: str, reason: str, reason_en: str) -> Refused:
    return Refused(
        code="invalid", field=field, reason=f"{field}：{reason}", reason_en=f"{field}: {reason_en}"
    )


def _may_archive(incident: Incident, request: Request, standing_alarms: int) -> Refused | None:
    """What still burns is not filed away, unless an administrator answers for it with a reason."""
    if not (standing_alarms or incident.state == "filed"):
        return None
    if request.role == "administrator" and request.reason.strip():
        return None
    why = f"仍有{standing_alarms}条报警未解除" if standing_alarms else "尚未派遣"
    why_en = f"{standing_alarms} of its alarms still stand" if standing_alarms else "it was never dispatched"
    return Refused(
        code="conflict",
        reason=f"{why}，只有管理员说明理由后才能归档",
        reason_en=f"{why_en}: only an administrator may archive it, with a reason",
    )


def _nobody_left(incident: Incident, request: Request, unmoved: int) -> Refused | None:
    """An evacuation is not filed away over people who are still there, unless somebody says why."""
    if unmoved == 0 or request.reason.strip():
        return None
    return Refused(
        code="conflict",
        field="reason",
        reason=f"事件{incident.number}仍有{unmoved}人未转移，归档须说明理由",
        reason_en=f"incident {incident.number}: {unmoved} people are still to be moved; say in reason why it is over",
    )


Take = Callable[[Incident, Request, int, datetime], Change]


def _acknowledge(incident: Incident, request: Request, _standing: int, now: datetime) -> Change:
    state: State = "acknowledged" if incident.unit_id is not None else "filed"
    changed = replace(
        incident, state=state, acknowledged_at=now, acknowledged_by=request.actor, awaiting_since=None
    )
    return _change(changed, request, "acknowledged", alarms_acknowledged_by=request.actor)


def _dispatch(incident: Incident, request: Request, _standing: int, now: datetime) -> Change:
    unit = request.unit
    if unit is None:
        raise ValueError("dispatch without a unit passed its own check")
    # Sent on, the first clock goes on running: passing a matter round must not win time. Rework is a new stage.
    fresh = incident.unit_id is None or incident.state == "handled" or incident.due_at is None
    words = request.reason.strip()
    why = "；".join(part for part in (f"人工派遣至{unit.name}", words, request.grounds[0]) if part)
    by_hand = f"dispatched by hand to {unit.name_en or unit.name}"
    why_en = "; ".join(part for part in (by_hand, words, request.grounds[1]) if part)
    changed = replace(
        incident,
        state="dispatched",
        unit_id=unit.id,
        reason=why,
        reason_en=why_en,
        due_at=request.due_at if fresh else incident.due_at,
        overdue_at=None if fresh else incident.overdue_at,
        acknowledged_at=None,
        acknowledged_by=None,
        awaiting_since=now,
        told_at=now,
        urged_at=None,
        urged_level=0,
    )
    due = changed.due_at.isoformat() if changed.due_at else None
    detail: dict[str, object] = {"unit": unit.code, "from": incident.state, "due_at": due}
    if request.grounds[0]:
        detail |= {"grounds": request.grounds[0], "grounds_en": request.grounds[1]}
    return _change(changed, request, "dispatched", detail=detail, tells=(Tell(purpose="order"),))


def _escalate(incident: Incident, request: Request, _standing: int, now: datetime) -> Change:
    to = _next_class(incident, request)
    owned = incident.unit_id is not None
    reopened = incident.state != "filed"
    changed = replace(
        incident,
        incident_class=to,
        base_class=min(incident.base_class, to),
        state="dispatched" if reopened else "filed",
        acknowledged_at=None,
        acknowledged_by=None,
        awaiting_since=now,
        told_at=now if owned else incident.told_at,
        urged_at=None,
        urged_level=0,
    )
    tells = (Tell(purpose="again"), Tell(purpose="again", to_lead=True)) if owned else ()
    return _change(
        changed, request, "escalated", detail={"from": incident.incident_class, "to": to}, tells=tells
    )


def _handle(incident: Incident, request: Request, _standing: int, now: datetime) -> Change:
    late = incident.due_at is not None and now > incident.due_at
    acknowledged = incident.acknowledged_at or now
    changed = replace(
        incident,
        state="handled",
        acknowledged_at=acknowledged,
        acknowledged_by=incident.acknowledged_by or request.actor,
        awaiting_since=None,
    )
    return _change(
        changed, request, "handled", detail={"in_time": not late}, alarms_acknowledged_by=request.actor
    )


def _archive(incident: Incident, request: Request, standing: int, now: datetime) -> Change:
    changed = replace(incident, state="archived", closed_at=now, awaiting_since=None)
    return _change(changed, request, "archived", detail={"standing_alarms": standing})


def _void(incident: Incident, request: Request, standing: int, now: datetime) -> Change:
    changed = replace(incident, state="voided", closed_at=now, awaiting_since=None)
    return _change(
        changed,
        request,
        "voided",
        detail={"standing_alarms": standing},
        alarms_acknowledged_by=request.actor,
    )


def _comment(incident: Incident, request: Request, _standing: int, _now: datetime) -> Change:
    return _change(incident, request, "commented")


_TAKE: Mapping[Action, Take] = {
    "acknowledge": _acknowledge,
    "dispatch": _dispatch,
    "escalate": _escalate,
    "handle": _handle,
    "archive": _archive,
    "void": _void,
    "comment": _comment,
}


def _next_class(incident: Incident, request: Request) -> IncidentClass:
    return request.incident_class or raised_class(incident.incident_class)


def _change(
    incident: Incident,
    request: Request,
    kind: str,
    *,
    detail: Mapping[str, object] | None = None,
    tells: Sequence[Tell] = (),
    alarms_acknowledged_by: str | None = None,
) -> Change:
    typed = "\n".join(part.strip() for part in (request.reason, request.comment) if part.strip())
    happening = Happening(kind=kind, actor=request.actor, detail=detail or {}, text=typed)
    return Change(
        incident=replace(incident, version=incident.version + 1),
        happenings=(happening,),
        tells=tuple(tells),
        alarms_acknowledged_by=alarms_acknowledged_by,
    )
