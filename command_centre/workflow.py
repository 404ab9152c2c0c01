"""The states of an incident, who may move it, and what each move does to its clocks. One table, read by everyone.

    registered ─ accept ▶ filed ─ dispatch ▶ dispatched ─ acknowledge ▶ acknowledged ─ arrive ▶ arrived ─ handle ▶
    handled ─ verify (six steps) ▶ verified ─ feedback (somebody reported it) ▶ fed_back ─ archive ▶ archived

A person closes an incident; an alarm that clears never does. ``allowed`` is what buttons are drawn from,
``apply`` is what decides, so a button that should not be there still cannot do harm. docs/workflow.md is drawn
from ``TABLE`` and ``MOVES``; the database holds ``MOVES`` too and refuses any other.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from city import roles
from city.alarms import IncidentClass
from city.clocks import Limit
from city.incidents import Ask, Incident, Request, State
from city.units import Unit

Action = Literal[
    "accept",
    "acknowledge",
    "dispatch",
    "arrive",
    "handle",
    "verify",
    "rework",
    "feedback",
    "archive",
    "reopen",
    "escalate",
    "supervise",
    "return",
    "transfer",
    "extend",
    "suspend",
    "dispute",
    "take",
    "approve",
    "refuse",
    "withdraw",
    "rule",
    "resume",
    "merge",
    "split",
    "link",
    "unlink",
    "void",
    "comment",
]
RefusalCode = Literal["conflict", "forbidden", "invalid"]
Needs = Literal["", "reason", "comment", "unit", "limit"]

MOST_TEXT = 4000  # characters a person may type into one event
MOST_EXTENSIONS = 2
REOPEN_WITHIN = timedelta(days=7)  # of the archive; later it is a new matter
# 首问负责: whoever was asked first says soon that it is not theirs, or keeps it.
TRANSFER_WITHIN: Mapping[IncidentClass, timedelta] = {
    "A": timedelta(minutes=15),
    "B": timedelta(hours=2),
    "C": timedelta(hours=24),
}

LANE: tuple[State, ...] = ("registered", "filed", "returned")
AT_WORK: tuple[State, ...] = ("dispatched", "acknowledged", "arrived", "rework")
DONE: tuple[State, ...] = ("handled", "verified", "fed_back")
_OPEN: tuple[State, ...] = (*LANE, *AT_WORK, *DONE, "suspended")
_ALL: tuple[State, ...] = (*_OPEN, "archived", "voided", "merged")

_CENTRE = roles.CENTRE
_APPROVERS = roles.APPROVERS
_UNIT = ("handler", *_CENTRE)  # the centre acts for a unit that reports by telephone
_CHECKERS = ("grid_worker", *_CENTRE)
_TELLERS = ("hotline", *_CENTRE)
_EVERYBODY = ("handler", "grid_worker", "hotline", *_CENTRE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Transition:
    """From which states, by whom, and what the person must say (``needs`` names the missing field).

    ``leads_to`` None stays, or goes where the words say. ``clocks`` tells people what it does to the clocks.
    """

    action: Action
    states: tuple[State, ...]
    roles: tuple[str, ...] = _CENTRE
    needs: Needs = ""
    leads_to: State | None = None
    zh: str
    en: str
    clocks: str = ""


TABLE: Mapping[Action, Transition] = {
    entry.action: entry
    for entry in (
        Transition(
            action="accept", states=("registered",), leads_to="filed", zh="立案", en="file",
            clocks="accept ends; dispatch starts",
        ),
        # In the lane it stops the sound and says "seen"; with a unit it is 签收.
        Transition(
            action="acknowledge", states=("filed", "returned", "dispatched", "rework"), roles=_UNIT,
            leads_to="acknowledged", zh="签收", en="acknowledge", clocks="acknowledge ends; arrive starts",
        ),
        Transition(
            action="dispatch", states=(*LANE, *AT_WORK, *DONE), needs="unit", leads_to="dispatched",
            zh="派遣", en="dispatch", clocks="acknowledge starts; handle starts, or runs on when sent to another unit",
        ),
        Transition(
            action="arrive", states=("dispatched", "acknowledged", "rework"), roles=_UNIT, leads_to="arrived",
            zh="到场", en="arrive", clocks="acknowledge and arrive end",
        ),
        Transition(
            action="handle", states=AT_WORK, roles=_UNIT, needs="comment", leads_to="handled",
            zh="处置完毕", en="handle", clocks="handle ends; verify (six steps) or feedback starts",
        ),
        Transition(
            action="verify", states=("handled",), roles=_CHECKERS, leads_to="verified",
            zh="核查通过", en="verify", clocks="verify ends; feedback or archive starts",
        ),
        Transition(
            action="rework", states=DONE, roles=_CHECKERS, needs="reason", leads_to="rework",
            zh="返工", en="rework", clocks="acknowledge and handle start anew",
        ),
        Transition(
            action="feedback", states=("handled", "verified"), roles=_TELLERS, needs="comment", leads_to="fed_back",
            zh="反馈", en="feedback", clocks="feedback ends; archive starts",
        ),
        Transition(
            action="archive", states=("filed", "returned", *DONE), leads_to="archived",
            zh="归档", en="archive", clocks="all end",
        ),
        Transition(
            action="reopen", states=("fed_back", "archived"), roles=("citizen", *_TELLERS), needs="reason",
            leads_to="rework", zh="重新办理", en="reopen", clocks="acknowledge and handle start anew",
        ),
        Transition(action="escalate", states=_OPEN, needs="reason", zh="提级", en="escalate",
                   clocks="acknowledge starts anew"),
        Transition(action="supervise", states=_OPEN, roles=_APPROVERS, needs="reason", zh="督办", en="supervise"),
        Transition(
            action="return", states=AT_WORK, roles=_UNIT, needs="reason", zh="回退", en="return",
            clocks="asked: all run on; granted: the unit's end, dispatch starts, the next unit has its full time",
        ),
        Transition(
            action="transfer", states=AT_WORK, roles=_UNIT, needs="reason", zh="移交", en="transfer",
            clocks="all run on: passing a matter round wins no time",
        ),
        Transition(
            action="extend", states=AT_WORK, roles=_UNIT, needs="limit", zh="延期", en="extend",
            clocks="granted: handle is due so much later",
        ),
        Transition(
            action="suspend", states=AT_WORK, roles=_UNIT, needs="limit", leads_to="suspended", zh="挂账",
            en="suspend", clocks="granted: all stand still; suspension starts",
        ),
        Transition(action="dispute", states=AT_WORK, roles=_UNIT, needs="reason", zh="争议", en="dispute",
                   clocks="all run on until the arbiter rules"),
        Transition(
            action="take", states=AT_WORK, roles=_UNIT, leads_to="acknowledged", zh="接收移交", en="take over",
            clocks="acknowledge ends; handle runs on",
        ),
        Transition(action="approve", states=AT_WORK, zh="批准", en="approve", clocks="answer ends"),
        Transition(action="refuse", states=AT_WORK, roles=_UNIT, needs="reason", zh="不批准", en="refuse",
                   clocks="answer ends"),
        Transition(action="withdraw", states=AT_WORK, roles=_UNIT, zh="撤回申请", en="withdraw", clocks="answer ends"),
        Transition(
            action="rule", states=AT_WORK, roles=_APPROVERS, needs="unit", leads_to="dispatched", zh="裁定",
            en="rule", clocks="answer ends; acknowledge starts with the unit it is given to, handle runs on",
        ),
        Transition(action="resume", states=("suspended",), roles=_UNIT, zh="恢复", en="resume",
                   clocks="suspension ends; the others go on with what was left"),
        Transition(action="merge", states=(*LANE, *AT_WORK, *DONE), needs="reason", leads_to="merged", zh="合并",
                   en="merge", clocks="all end, the other incident's run on"),
        Transition(action="split", states=(*AT_WORK, *LANE, *DONE, "merged"), needs="reason", zh="拆分", en="split",
                   clocks="as they were before the merge"),
        Transition(action="link", states=_OPEN, zh="关联", en="link"),
        Transition(action="unlink", states=_OPEN, zh="取消关联", en="unlink"),
        Transition(
            action="void", states=(*LANE, *AT_WORK, "suspended"), needs="reason", leads_to="voided",
            zh="作废", en="void", clocks="all are cancelled",
        ),
        Transition(action="comment", states=_ALL, roles=_EVERYBODY, needs="comment", zh="备注", en="comment"),
    )
}  # fmt: skip

# Which state follows which, by any action, by triage, or by a request that was granted.
MOVES: Mapping[State, frozenset[State]] = {
    "registered": frozenset({"filed", "dispatched", "merged", "voided"}),
    "filed": frozenset({"dispatched", "merged", "archived", "voided"}),
    "returned": frozenset({"dispatched", "merged", "archived", "voided"}),
    "dispatched": frozenset(
        {"acknowledged", "arrived", "handled", "returned", "suspended", "merged", "voided"}
    ),
    "acknowledged": frozenset(
        {"dispatched", "arrived", "handled", "returned", "suspended", "merged", "voided"}
    ),
    "arrived": frozenset(
        {"dispatched", "acknowledged", "handled", "returned", "suspended", "merged", "voided"}
    ),
    "rework": frozenset(
        {"dispatched", "acknowledged", "arrived", "handled", "returned", "suspended", "merged", "voided"}
    ),
    "handled": frozenset({"dispatched", "verified", "rework", "fed_back", "archived", "merged"}),
    "verified": frozenset({"dispatched", "rework", "fed_back", "archived", "merged"}),
    "fed_back": frozenset({"dispatched", "rework", "archived", "merged"}),
    "suspended": frozenset({"dispatched", "acknowledged", "arrived", "rework", "voided"}),
    "archived": frozenset({"filed", "rework"}),
    "voided": frozenset(),
    "merged": frozenset({*LANE, *AT_WORK, *DONE}),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Act:
    """What a person wants to do. ``unit_id`` is their own unit; ``unit`` and ``co_units`` are whom they send.

    ``due_at`` goes with a unit: the deadline that this unit's entry gives. ``grounds`` (Chinese, English) say why
    this unit when the person left the choice to the list. ``asked`` names which request is meant when several are open.
    """

    action: str
    actor: str
    role: str
    unit_id: int | None = None
    reason: str = ""
    comment: str = ""
    unit: Unit | None = None
    co_units: tuple[Unit, ...] | None = None
    grounds: tuple[str, str] = ("", "")
    due_at: datetime | None = None
    incident_class: IncidentClass | None = None
    limit: Limit | None = None
    asked: int | None = None
    amend: bool = False
    photos: tuple[str, ...] = ()  # digests in hex, of what was seen there


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What is known beside the incident's own row.

    ``standing`` counts its alarms that still stand, ``unbelieved`` those of them whose sensor is blind, shelved
    or out of service. ``requests`` are all of its requests, the oldest first.
    """

    alarms: int = 0
    standing: int = 0
    unbelieved: int = 0
    unmoved: int = 0  # people that its evacuation task still has to move
    open_children: int = 0
    co_units: frozenset[int] = frozenset()
    had_it: frozenset[int] = frozenset()  # units it was given to once: they may tell late what they did
    requests: tuple[Request, ...] = ()

    def waiting(self, ask: Ask | None = None) -> tuple[Request, ...]:
        """Open requests, of one kind or all."""
        return tuple(one for one in self.requests if one.state == "open" and ask in (None, one.ask))


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """Why not, in both languages; ``field`` names what was missing or wrong in the request.

    ``allowed`` are the actions that this person may take now instead.
    """

    code: RefusalCode
    reason: str
    reason_en: str
    field: str = ""
    allowed: tuple[Action, ...] = ()


NO_FACTS = Facts()
_ON_REQUEST = {"approve", "refuse", "withdraw", "take", "rule"}
# Sending something back to the centre is the centre's to grant; time and rest are the supervisor's.
GRANTS: Mapping[Ask, tuple[str, ...]] = {
    "return": _CENTRE,
    "transfer": _CENTRE,
    "extend": _APPROVERS,
    "suspend": _APPROVERS,
    "dispute": (),  # ruled on, not granted
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """What buttons need of a request that waits for its answer."""

    ask: Ask
    asked_by: str
    unit_id: int | None = None
    to_unit_id: int | None = None


def allowed(
    state: str,
    role: str,
    *,
    actor: str = "",
    unit_id: int | None = None,
    incident_class: str = "B",
    acknowledged: bool = False,
    mine: bool = True,
    beside: bool = False,
    part: bool = False,
    waiting: Collection[Waiting] = (),
    steps: int = 5,
) -> tuple[Action, ...]:
    """The actions this person may take now, in the order they are usually taken.

    ``mine`` and ``beside`` say for a handler whether their unit (``unit_id``) has it or handles beside who has;
    ``part``: it belongs to a larger event. ``waiting`` are its open requests.
    """
    asked = {one.ask for one in waiting}
    return tuple(
        entry.action
        for entry in TABLE.values()
        if state in entry.states
        and role in entry.roles
        and (role != "handler" or mine or _of_another(entry.action, unit_id, beside, waiting))
        and not (entry.action == "escalate" and incident_class == "A")
        and not (entry.action == "acknowledge" and acknowledged and state != "rework")
        and entry.action not in asked
        and (
            entry.action not in _ON_REQUEST
            or any(_answers(entry.action, one, role, actor, unit_id) for one in waiting)
        )
        and not (entry.action == "split" and state != "merged")
        and not (entry.action == "unlink" and not part)
        and not (entry.action == "feedback" and state == "handled" and steps == 6)
    )


def _of_another(action: Action, unit_id: int | None, beside: bool, waiting: Collection[Waiting]) -> bool:
    """What a handler does on what another unit has: say what they see there, or answer what they were asked."""
    if action == "comment":
        return beside
    to_us = any(one.ask == "transfer" and one.to_unit_id == unit_id for one in waiting)
    return unit_id is not None and to_us and action in ("take", "refuse", "dispute")


def _answers(action: Action, one: Waiting, role: str, actor: str, unit_id: int | None) -> bool:
    """Whether this person may give this answer to this request: who asks never grants."""
    was_asked = one.ask == "transfer" and unit_id is not None and one.to_unit_id == unit_id
    if action == "rule":
        return one.ask == "dispute" and actor != one.asked_by
    if action == "take":
        return one.ask == "transfer" and actor != one.asked_by and (role != "handler" or was_asked)
    if one.ask == "dispute":
        return False
    if action == "approve":
        return role in GRANTS[one.ask] and actor != one.asked_by
    if action == "refuse":
        return role in GRANTS[one.ask] or was_asked
    return actor == one.asked_by or (unit_id is not None and unit_id == one.unit_id)


def may(incident: Incident, act: Act, facts: Facts = NO_FACTS) -> Refused | None:
    """Why this person may not take this action now, if so: unknown action, role, unit or state."""
    entry = next((one for one in TABLE.values() if one.action == act.action), None)
    if entry is None:
        known = ", ".join(TABLE)
        return Refused(
            code="invalid",
            field="action",
            reason=f"没有“{act.action}”这个操作；可用：{known}",
            reason_en=f"there is no action {act.action!r}; use one of {known}",
        )
    if act.role not in entry.roles:
        return Refused(
            code="forbidden",
            reason=f"角色{act.role}不能执行{entry.action}",
            reason_en=f"role {act.role} may not {entry.action}; needs {' or '.join(entry.roles)}",
        )
    return _of_other_unit(incident, act, facts) or _wrong_state(incident, act, entry, facts)


def _of_other_unit(incident: Incident, act: Act, facts: Facts) -> Refused | None:
    """A handler acts on what their unit has; on another's only where that unit asked them."""
    if act.role != "handler" or (act.unit_id is not None and act.unit_id == incident.unit_id):
        return None
    if act.action == "comment" and act.unit_id in facts.co_units | facts.had_it:
        return None
    if act.action in ("take", "refuse", "dispute") and any(
        one.to_unit_id == act.unit_id for one in facts.waiting("transfer")
    ):
        return None
    return Refused(
        code="forbidden",
        reason=f"事件{incident.number}不在本单位，不能{TABLE[act.action].zh}",  # type: ignore[index]  # known by now
        reason_en=f"incident {incident.number} is not with your unit: you may not {act.action} it",
    )


def _wrong_state(incident: Incident, act: Act, entry: Transition, facts: Facts) -> Refused | None:
    choices = choices_of(incident, act, facts)
    listed = ", ".join(choices) or "none"
    if incident.state not in entry.states:
        return Refused(
            code="conflict",
            reason=f"事件{incident.number}处于{incident.state}状态，不能{entry.action}；可用：{listed}",
            reason_en=(
                f"incident {incident.number} is {incident.state}: {entry.action} needs "
                f"{' or '.join(entry.states)}; possible now: {listed}"
            ),
            allowed=choices,
        )
    if entry.action == "acknowledge" and incident.acknowledged_at is not None and incident.state != "rework":
        return Refused(
            code="conflict",
            reason=f"已经签收；可用：{listed}",
            reason_en=f"incident {incident.number} is already acknowledged; possible now: {listed}",
            allowed=choices,
        )
    return None


def choices_of(incident: Incident, act: Act, facts: Facts) -> tuple[Action, ...]:
    """What the same person may do instead."""
    return allowed(
        incident.state,
        act.role,
        actor=act.actor,
        unit_id=act.unit_id,
        incident_class=incident.incident_class,
        acknowledged=incident.acknowledged_at is not None,
        mine=act.unit_id is not None and act.unit_id == incident.unit_id,
        beside=act.unit_id is not None and act.unit_id in facts.co_units | facts.had_it,
        part=incident.parent_id is not None,
        waiting=[
            Waiting(ask=one.ask, asked_by=one.asked_by, unit_id=one.unit_id, to_unit_id=one.to_unit_id)
            for one in facts.waiting()
        ],
        steps=incident.steps,
    )


def usable_text(text: str) -> bool:
    """Bounded, and without control characters (line breaks and tabs apart) or halves of characters."""
    return len(text) <= MOST_TEXT and all(part.isprintable() or part in "\n\r\t\u3000\xa0" for part in text)
