"""The steps of an incident's way: what each does to the row, the clocks, the timeline, and who must hear of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from city import roles
from city.alarms import IncidentClass
from city.clocks import Effect, End, Stage, Start
from city.incidents import AUTOMATION, Change, Happening, Incident, Request, State, Tell, raised_class
from city.units import Unit
from command_centre.workflow import REOPEN_WITHIN, Act, Facts, Refused

_APPROVERS = roles.APPROVERS


def accept(incident: Incident, act: Act, _facts: Facts, _now: datetime) -> Change:
    """立案: somebody says that it is a matter; it waits for a unit."""
    changed = replace(incident, state="filed")
    return change(changed, act, "filed", effects=(End(stages=("accept",)), Start(stage="dispatch")))


def acknowledge(incident: Incident, act: Act, _facts: Facts, now: datetime) -> Change:
    """签收; in the lane it only says that somebody has seen it."""
    owned = incident.unit_id is not None
    state: State = "acknowledged" if owned else incident.state
    changed = replace(
        incident, state=state, acknowledged_at=now, acknowledged_by=act.actor, awaiting_since=None
    )
    effects = (End(stages=("acknowledge",)), Start(stage="arrive")) if owned else ()
    return change(changed, act, "acknowledged", effects=effects, alarms_acknowledged_by=act.actor)


def dispatch(incident: Incident, act: Act, facts: Facts, now: datetime) -> Change | Refused:
    """派遣 by a person, from the lane, to another unit, or again after it was handled."""
    unit = act.unit
    if unit is None:
        raise ValueError("dispatch without a unit passed its own check")
    circle = _circle(unit, act.co_units or ())
    if circle is not None:
        return circle
    # Sent on, the first clock goes on running: passing a matter round must not win time. Rework is a new stage.
    fresh = incident.unit_id is None or incident.state in ("handled", "verified", "fed_back")
    fresh = fresh or incident.due_at is None
    words = act.reason.strip()
    why = "；".join(part for part in (f"人工派遣至{unit.name}", words, act.grounds[0]) if part)
    by_hand = f"dispatched by hand to {unit.name_en or unit.name}"
    why_en = "; ".join(part for part in (by_hand, words, act.grounds[1]) if part)
    changed = replace(
        given_to(incident, unit, now),
        reason=why,
        reason_en=why_en,
        due_at=act.due_at if fresh else incident.due_at,
        overdue_at=None if fresh else incident.overdue_at,
    )
    due = changed.due_at.isoformat() if changed.due_at else None
    detail: dict[str, object] = {"unit": unit.code, "from": incident.state, "due_at": due}
    if act.grounds[0]:
        detail |= {"grounds": act.grounds[0], "grounds_en": act.grounds[1]}
    if act.co_units:
        detail["co_units"] = [one.code for one in act.co_units]
    tells = [Tell(purpose="order"), *(Tell(purpose="co_order", unit_id=one.id) for one in act.co_units or ())]
    return change(
        changed,
        act,
        "dispatched",
        detail=detail,
        tells=tells,
        effects=(_OTHERS_END, *_fresh(changed)) if fresh else (_OTHERS_END, Start(stage="acknowledge")),
        co_units=None if act.co_units is None else tuple(one.id for one in act.co_units),
        requests=withdrawn(facts.requests, act.actor, now),
    )


_OTHERS_END = End(stages=("accept", "dispatch", "arrive", "verify", "feedback", "archive", "answer"))


def _fresh(incident: Incident) -> tuple[Effect, ...]:
    return (Start(stage="handle", due_at=incident.due_at), Start(stage="acknowledge"))


def given_to(incident: Incident, unit: Unit, now: datetime) -> Incident:
    """The incident as this unit gets it: told, not acknowledged, nothing done yet."""
    return replace(
        undone(incident),
        state="dispatched",
        unit_id=unit.id,
        steps=6 if unit.tier == "district" else 5,
        dispatched_at=now,
        awaiting_since=now,
        told_at=now,
    )


def undone(incident: Incident) -> Incident:
    """The incident as if nobody had acknowledged, arrived, handled or looked: what was done stays on the timeline."""
    return replace(
        incident,
        acknowledged_at=None,
        acknowledged_by=None,
        arrived_at=None,
        handled_at=None,
        handled_by=None,
        verified_at=None,
        verified_by=None,
        fed_back_at=None,
        urged_at=None,
        urged_level=0,
    )


def _circle(unit: Unit, co_units: Sequence[Unit]) -> Refused | None:
    ids = [one.id for one in co_units]
    if unit.id in ids:
        return missing(
            "co_units",
            f"{unit.name}不能同时主办和协办",
            f"{unit.code} leads: it cannot handle beside itself; leave it out",
        )
    if len(set(ids)) < len(ids):
        return missing("co_units", "协办单位重复", "names a unit twice")
    return None


def arrive(incident: Incident, act: Act, _facts: Facts, now: datetime) -> Change:
    """到场; says acknowledged too, where nobody had."""
    changed = replace(
        incident,
        state="arrived",
        arrived_at=now,
        acknowledged_at=incident.acknowledged_at or now,
        acknowledged_by=incident.acknowledged_by or act.actor,
        awaiting_since=None,
    )
    return change(
        changed,
        act,
        "arrived",
        effects=(End(stages=("acknowledge", "arrive")),),
        alarms_acknowledged_by=act.actor,
    )


def handle(incident: Incident, act: Act, facts: Facts, now: datetime) -> Change | Refused:
    """处置完毕, never by who registered it (采办分离)."""
    if act.actor == incident.collected_by and act.actor != AUTOMATION:
        return Refused(
            code="forbidden",
            reason="采办分离：登记人不能处置同一事件",
            reason_en=f"you registered incident {incident.number}: who collects does not handle; somebody else must",
        )
    late = incident.due_at is not None and now > incident.due_at
    changed = replace(
        incident,
        state="handled",
        handled_at=now,
        handled_by=act.actor,
        acknowledged_at=incident.acknowledged_at or now,
        acknowledged_by=incident.acknowledged_by or act.actor,
        awaiting_since=None,
    )
    return change(
        changed,
        act,
        "handled",
        detail={"in_time": not late},
        effects=(
            End(stages=("acknowledge", "arrive", "handle", "answer")),
            Start(stage="verify" if incident.steps == 6 else _after_checked(incident)),
        ),
        requests=withdrawn(facts.requests, act.actor, now),
        alarms_acknowledged_by=act.actor,
    )


def verify(incident: Incident, act: Act, _facts: Facts, now: datetime) -> Change | Refused:
    """核查, by somebody who did not handle it and does not belong to who did."""
    if act.actor == incident.handled_by:
        return Refused(
            code="forbidden",
            reason="处置人不能核查同一事件，请由他人核查",
            reason_en=(
                f"you handled incident {incident.number}: who handles does not verify; "
                "log in as somebody else (the API token is one actor)"
            ),
        )
    if act.role == "grid_worker" and act.unit_id is not None and act.unit_id == incident.unit_id:
        return Refused(
            code="forbidden",
            reason="处置单位的人员不能核查本单位处置的事件",
            reason_en=f"your unit handled incident {incident.number}: somebody of another unit verifies",
        )
    changed = replace(incident, state="verified", verified_at=now, verified_by=act.actor)
    return change(
        changed,
        act,
        "verified",
        effects=(End(stages=("verify",)), Start(stage=_after_checked(incident))),
    )


def _after_checked(incident: Incident) -> Stage:
    return "feedback" if incident.reported else "archive"


def rework(incident: Incident, act: Act, _facts: Facts, now: datetime) -> Change | Refused:
    """返工: looked at and found wanting; the same unit again, with new time."""
    if act.actor == incident.handled_by:
        return Refused(
            code="forbidden",
            reason="处置人不能核查同一事件，请由他人核查",
            reason_en=f"you handled incident {incident.number}: somebody else judges it",
        )
    return _again(incident, act, now, "rework")


def reopen(incident: Incident, act: Act, _facts: Facts, now: datetime) -> Change | Refused:
    """Taken up again within a limit: by who reported it, or the centre. The chain goes on where it ended."""
    if incident.closed_at is not None and now - incident.closed_at > REOPEN_WITHIN:
        return Refused(
            code="conflict",
            reason=f"事件{incident.number}归档已超过{REOPEN_WITHIN.days}天，请重新登记",
            reason_en=f"incident {incident.number} was archived over {REOPEN_WITHIN.days} days ago: report it anew",
        )
    if incident.unit_id is None:
        again = replace(incident, state="filed", closed_at=None, waived_by=None, fed_back_at=None)
        return change(again, act, "reopened", effects=(Start(stage="dispatch"), Start(stage="handle")))
    return _again(incident, act, now, "reopened")


def _again(incident: Incident, act: Act, now: datetime, kind: str) -> Change:
    changed = replace(
        undone(incident),
        state="rework",
        reworks=incident.reworks + 1,
        closed_at=None,
        waived_by=None,
        overdue_at=None,
        awaiting_since=now,
        told_at=now,
    )
    return change(
        changed,
        act,
        kind,
        detail={"times": changed.reworks, "from": incident.state},
        tells=(Tell(purpose="again"), Tell(purpose="again", to_lead=True)),
        effects=(
            End(stages=("verify", "feedback", "archive")),
            Start(stage="handle"),
            Start(stage="acknowledge"),
        ),
    )


def feedback(incident: Incident, act: Act, _facts: Facts, now: datetime) -> Change | Refused:
    """反馈: whoever reported it was told what became of it."""
    if incident.state == "handled" and incident.steps == 6:
        return Refused(
            code="conflict",
            reason=f"事件{incident.number}为六步流程，须先核查",
            reason_en=f"incident {incident.number} has six steps: verify it first",
            allowed=("verify", "rework"),
        )
    changed = replace(incident, state="fed_back", fed_back_at=now)
    return change(changed, act, "fed_back", effects=(End(stages=("feedback",)), Start(stage="archive")))


def archive(incident: Incident, act: Act, facts: Facts, now: datetime) -> Change | Refused:
    """归档: every guard passed, or an approver answers by name for one that was not."""
    refused = _still_burns(incident, act, facts) or _unfinished(incident, act, facts)
    if refused is not None:
        return refused
    proven = incident.steps == 6 and incident.verified_at is None and _sensors_prove(incident, facts)
    told = incident.fed_back_at is not None or not incident.reported
    complete = (incident.steps == 5 or incident.verified_at is not None or proven) and told
    waived = bool(facts.standing) or incident.unit_id is None or not complete
    closed = replace(
        incident,
        state="archived",
        closed_at=now,
        awaiting_since=None,
        verified_at=now if proven else incident.verified_at,
        verified_by="system" if proven else incident.verified_by,
        waived_by=act.actor if waived else None,
    )
    done = change(
        closed,
        act,
        "archived",
        detail={"standing_alarms": facts.standing, "waived": waived},
        effects=(End(),),
        requests=withdrawn(facts.requests, act.actor, now),
    )
    if not proven:
        return done
    seen = Happening(kind="verified", reason="传感器均已恢复正常 / every sensor is back to normal")
    return replace(done, happenings=(seen, *done.happenings))


def _still_burns(incident: Incident, act: Act, facts: Facts) -> Refused | None:
    """What still burns is not filed away, unless its sensor cannot say so and an approver does."""
    believed = 0 if incident.exercise else facts.standing - facts.unbelieved
    if believed > 0:
        return Refused(
            code="conflict",
            reason=f"仍有{believed}条报警未解除，传感器在线，不能归档",
            reason_en=f"{believed} of its alarms still stand and their sensors are heard: it cannot be archived",
        )
    if facts.standing and not _answers_for_it(act):
        return Refused(
            code="conflict",
            field="reason",
            reason=f"仍有{facts.standing}条报警未解除（传感器失联、屏蔽或停用），须由督查或管理员说明理由后归档",
            reason_en=(
                f"{facts.standing} of its alarms still stand (their sensors are blind, shelved or out of service): "
                "only a supervisor or administrator may archive it, with a reason"
            ),
        )
    return None


def _unfinished(incident: Incident, act: Act, facts: Facts) -> Refused | None:
    if facts.unmoved and not act.reason.strip():
        return Refused(
            code="conflict",
            field="reason",
            reason=f"事件{incident.number}仍有{facts.unmoved}人未转移，归档须说明理由",
            reason_en=(
                f"incident {incident.number}: {facts.unmoved} people are still to be moved; "
                "say in reason why it is over"
            ),
        )
    lacking = _lacking(incident, facts)
    if lacking is None or _answers_for_it(act):
        return None
    return Refused(
        code="conflict",
        reason=f"事件{incident.number}{lacking[0]}，只有督查或管理员说明理由后才能归档",
        reason_en=(
            f"incident {incident.number} {lacking[1]}: only a supervisor or administrator may archive it, with a reason"
        ),
    )


def _lacking(incident: Incident, facts: Facts) -> tuple[str, str] | None:
    if incident.unit_id is None:
        return "尚未派遣", "was never dispatched"
    if facts.open_children:
        return f"仍有{facts.open_children}个子事件未结", f"has {facts.open_children} open incidents under it"
    if incident.steps == 6 and incident.verified_at is None and not _sensors_prove(incident, facts):
        return "尚未核查", "was not verified"
    if incident.reported and incident.fed_back_at is None:
        return "尚未向反映人反馈", "was not fed back to who reported it"
    return None


def _sensors_prove(incident: Incident, facts: Facts) -> bool:
    """What only sensors told of, they also verify: by being back to normal, every one of them."""
    return incident.source == "alarm" and not incident.reported and facts.alarms > 0 and facts.standing == 0


def _answers_for_it(act: Act) -> bool:
    return act.role in _APPROVERS and bool(act.reason.strip())


def void(incident: Incident, act: Act, facts: Facts, now: datetime) -> Change:
    """作废: it never was a matter."""
    changed = replace(incident, state="voided", closed_at=now, awaiting_since=None, held_state=None)
    return change(
        changed,
        act,
        "voided",
        detail={"standing_alarms": facts.standing},
        effects=(End(outcome="cancelled"),),
        requests=withdrawn(facts.requests, act.actor, now),
        alarms_acknowledged_by=act.actor,
    )


def escalate(incident: Incident, act: Act, _facts: Facts, now: datetime) -> Change | Refused:
    """提级: one class up, or to the one named; whoever acknowledged did so for the lower one."""
    to: IncidentClass = act.incident_class or raised_class(incident.incident_class)
    if to >= incident.incident_class:
        return Refused(
            code="conflict",
            field="class",
            reason=f"等级只升不降，当前为{incident.incident_class}",
            reason_en=f"the class only rises; it is {incident.incident_class} now",
        )
    owned = incident.unit_id is not None
    suspended = incident.state == "suspended"
    state: State = incident.state if not owned or suspended else "dispatched"
    changed = replace(
        incident if suspended else undone(incident),
        incident_class=to,
        base_class=min(incident.base_class, to),
        state=state,
        awaiting_since=now,
        told_at=now if owned else incident.told_at,
    )
    tells = (Tell(purpose="again"), Tell(purpose="again", to_lead=True)) if owned else ()
    done_with: tuple[Effect, ...] = (
        (End(stages=("verify", "feedback", "archive"), outcome="cancelled"), Start(stage="handle"))
        if incident.state in ("handled", "verified", "fed_back")
        else ()
    )
    return change(
        changed,
        act,
        "escalated",
        detail={"from": incident.incident_class, "to": to},
        tells=tells,
        effects=(*done_with, Start(stage="acknowledge")) if owned and not suspended else (),
    )


def supervise(incident: Incident, act: Act, _facts: Facts, now: datetime) -> Change:
    """督办: the supervisor's eye is on it, and its unit's lead knows."""
    changed = replace(incident, supervised_at=incident.supervised_at or now)
    tells = (Tell(purpose="supervise", to_lead=True),) if incident.unit_id is not None else ()
    return change(changed, act, "supervised", tells=tells)


def comment(incident: Incident, act: Act, _facts: Facts, _now: datetime) -> Change:
    """What somebody adds, in any state."""
    return change(incident, act, "commented")


def missing(field: str, reason: str, reason_en: str) -> Refused:
    """A field of the request that is missing or cannot be used."""
    return Refused(
        code="invalid", field=field, reason=f"{field}：{reason}", reason_en=f"{field}: {reason_en}"
    )


def withdrawn(requests: Sequence[Request], actor: str, now: datetime) -> tuple[Request, ...]:
    """What nobody needs to decide any more."""
    return tuple(
        replace(one, state="withdrawn", decided_by=actor, decided_at=now)
        for one in requests
        if one.state == "open"
    )


def change(
    incident: Incident,
    act: Act,
    kind: str,
    *,
    detail: Mapping[str, object] | None = None,
    tells: Sequence[Tell] = (),
    effects: Sequence[Effect] = (),
    requests: Sequence[Request] = (),
    co_units: tuple[int, ...] | None = None,
    alarms_acknowledged_by: str | None = None,
) -> Change:
    """A person's action as a change: one event that holds what they typed, a new version."""
    typed = "\n".join(part.strip() for part in (act.reason, act.comment) if part.strip())
    seen = {"photos": list(act.photos)} if act.photos else {}
    happening = Happening(kind=kind, actor=act.actor, detail={**(detail or {}), **seen}, text=typed)
    return Change(
        incident=replace(incident, version=incident.version + 1),
        happenings=(happening,),
        tells=tuple(tells),
        effects=tuple(effects),
        requests=tuple(requests),
        co_units=co_units,
        alarms_acknowledged_by=alarms_acknowledged_by,
    )
