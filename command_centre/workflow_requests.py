"""What a unit asks for and somebody else decides: return, transfer, extension, suspension, and disputes.

Handle first, adjust later: the unit keeps the incident, and its clocks run, until the answer. An approver's own
wish needs no answer and takes effect at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import get_args

from city import roles
from city.clocks import Effect, End, Extend, Pause, Resume, Start, read_limit
from city.incidents import Ask, Change, Incident, Request, Tell
from command_centre.workflow import GRANTS, MOST_EXTENSIONS, TRANSFER_WITHIN, Act, Facts, Refused
from command_centre.workflow_steps import change, given_to, missing

_CENTRE = roles.CENTRE
_ZH: Mapping[Ask, str] = {
    "return": "回退",
    "transfer": "移交",
    "extend": "延期",
    "suspend": "挂账",
    "dispute": "争议",
}


def ask(incident: Incident, act: Act, facts: Facts, now: datetime) -> Change | Refused:
    """The wish of the unit that has it, put before who decides; an approver's own takes effect now."""
    wish: Ask = act.action  # type: ignore[assignment]  # the table leads nothing else here
    refused = _may_ask(incident, act, facts, wish, now)
    if refused is not None:
        return refused
    asking = incident.unit_id if act.role in _CENTRE else act.unit_id
    to = act.unit if wish in ("transfer", "dispute") else None
    request = Request(
        incident_id=incident.id,
        ask=wish,
        unit_id=asking,
        asked_by=act.actor,
        asked_at=now,
        to_unit_id=to.id if to is not None and to.id != asking else None,
        limit=str(act.limit) if act.limit is not None and wish in ("extend", "suspend") else "",
    )
    if act.role in GRANTS[wish]:
        return _GRANT[wish](incident, act, request, now)
    detail: dict[str, object] = {"ask": wish, "limit": request.limit}
    if to is not None:
        detail["to"] = to.code
    tells = [Tell(purpose="asked")]
    if wish == "transfer" and to is not None:
        tells.append(Tell(purpose="asked", unit_id=to.id))
    return change(
        incident,
        act,
        f"{wish}_asked",
        detail=detail,
        tells=tells,
        requests=(request,),
        effects=(Start(stage="answer"),),
    )


def _may_ask(incident: Incident, act: Act, facts: Facts, wish: Ask, now: datetime) -> Refused | None:
    if facts.waiting(wish):
        return _conflict(f"已有未答复的{_ZH[wish]}申请", f"a request to {wish} already waits for its answer")
    if wish == "extend" and incident.extensions >= MOST_EXTENSIONS:
        return _conflict(
            f"已延期{incident.extensions}次，不能再延",
            f"it was extended {incident.extensions} times already: ask for a suspension, or escalate",
        )
    if wish == "transfer":
        if act.unit is not None and act.unit.id == incident.unit_id:
            return missing("unit", "不能移交给本单位", "has it already; name another unit")
        if act.role in _CENTRE:
            return (
                None
                if act.unit is not None
                else missing("unit", "请指明接收单位", "name the unit it goes to")
            )
        return _first_asked(incident, act, facts, now)
    return None


def _first_asked(incident: Incident, act: Act, facts: Facts, now: datetime) -> Refused | None:
    """首问负责: once, and soon."""
    if any(
        one.ask == "transfer" and one.unit_id == act.unit_id and one.state != "withdrawn"
        for one in facts.requests
    ):
        return _conflict(
            "首问负责：本单位已申请过一次移交，请先行处置，如有争议可提请裁定",
            "your unit asked for a transfer once already: handle it, or dispute it before the arbiter",
        )
    within = TRANSFER_WITHIN[incident.incident_class]
    if incident.dispatched_at is not None and now - incident.dispatched_at > within:
        minutes = int(within.total_seconds() // 60)
        return _conflict(
            f"首问负责：派遣后{minutes}分钟内可申请移交，现已超过",
            f"a transfer can be asked for within {minutes} minutes of the dispatch; that time is over",
        )
    return None


def approve(incident: Incident, act: Act, facts: Facts, now: datetime) -> Change | Refused:
    """Grant what waits; never one's own wish."""
    request = _meant(incident, act, facts)
    if isinstance(request, Refused):
        return request
    if request.ask == "dispute":
        return _conflict("争议须由仲裁人裁定（rule）", "a dispute is ruled on: use rule, with the unit")
    roles = GRANTS[request.ask]
    if act.role not in roles:
        return Refused(
            code="forbidden",
            reason=f"角色{act.role}不能批准{_ZH[request.ask]}",
            reason_en=f"role {act.role} may not grant a request to {request.ask}; needs {' or '.join(roles)}",
        )
    if act.actor == request.asked_by:
        return Refused(
            code="forbidden",
            reason="申请人不能批准自己的申请",
            reason_en="who asks does not grant: somebody else decides on your request",
        )
    return _GRANT[request.ask](incident, act, request, now)


def _granted(request: Request, act: Act, now: datetime) -> tuple[Request, ...]:
    """Who is approver and wishes it himself leaves no request behind: the event says who and why."""
    if request.id == 0:
        return ()
    return (replace(request, state="granted", decided_by=act.actor, decided_at=now),)


def _grant_return(incident: Incident, act: Act, request: Request, now: datetime) -> Change:
    back = replace(
        incident,
        state="returned",
        unit_id=None,
        returned_by=(*incident.returned_by, *(() if incident.unit_id is None else (incident.unit_id,))),
        acknowledged_at=None,
        acknowledged_by=None,
        arrived_at=None,
        awaiting_since=now,
        reason="处置单位回退，请重新派遣",
        reason_en="returned by its unit; dispatch it anew",
        urged_at=None,
        urged_level=0,
    )
    # The clock of the centre begins: it sent the matter to the wrong door. The next unit has its full time.
    effects: tuple[Effect, ...] = (End(outcome="cancelled"), Start(stage="dispatch"))
    detail: dict[str, object] = {"unit_id": incident.unit_id, "request": request.id or None}
    tells = (Tell(purpose="decided", unit_id=incident.unit_id),)
    # Returning itself is on record even where the centre did it unasked.
    kept = _granted(request, act, now)
    return change(back, act, "returned", detail=detail, tells=tells, requests=kept, effects=effects)


def _grant_transfer(incident: Incident, act: Act, request: Request, now: datetime) -> Change | Refused:
    if act.unit is None:
        return missing("unit", "请指明接收单位", "name the unit it goes to")
    return _moved(incident, act, request, now, taken=False)


def take(incident: Incident, act: Act, facts: Facts, now: datetime) -> Change | Refused:
    """The unit that was asked takes it over: from now on it is theirs, and the clock runs on."""
    request = _meant(incident, act, facts, "transfer")
    if isinstance(request, Refused):
        return request
    if act.unit is None:
        return missing("unit", "请指明接收单位", "the request names no unit: name the one that takes it")
    if request.asked_by == act.actor:
        return Refused(
            code="forbidden",
            reason="申请人不能接收自己的移交",
            reason_en="who asks does not grant: somebody of the other unit takes it over",
        )
    if act.role == "handler" and (request.to_unit_id is None or request.to_unit_id != act.unit_id):
        return Refused(
            code="forbidden",
            reason="该移交未指向本单位，由被移交单位接收或由中心批准",
            reason_en="your unit was not asked: the unit that was takes it over, or the centre grants it",
        )
    return _moved(incident, act, request, now, taken=True)


def _moved(incident: Incident, act: Act, request: Request, now: datetime, *, taken: bool) -> Change:
    unit = act.unit
    if unit is None:
        raise ValueError("a transfer without a unit passed its own check")
    before = incident.unit_id
    given = given_to(incident, unit, now)
    if taken:
        given = replace(
            given, state="acknowledged", acknowledged_at=now, acknowledged_by=act.actor, awaiting_since=None
        )
    given = replace(
        given,
        reason=f"移交至{unit.name}",
        reason_en=f"transferred to {unit.name_en or unit.name}",
    )
    tells = [Tell(purpose="decided", unit_id=before)]
    effects: list[Effect] = [End(stages=("arrive", "answer"))]
    if taken:
        effects.append(End(stages=("acknowledge",)))
    else:
        tells.append(Tell(purpose="order"))
        effects.append(Start(stage="acknowledge"))
    detail: dict[str, object] = {"unit": unit.code, "from_unit_id": before, "request": request.id or None}
    kept = _granted(request, act, now)
    return change(given, act, "transferred", detail=detail, tells=tells, requests=kept, effects=effects)


def _grant_extension(incident: Incident, act: Act, request: Request, now: datetime) -> Change:
    by = read_limit(request.limit)
    later = replace(incident, extensions=incident.extensions + 1, overdue_at=None)
    return change(
        later,
        act,
        "extended",
        detail={"by": request.limit, "times": later.extensions, "request": request.id or None},
        tells=(Tell(purpose="decided"),),
        requests=_granted(request, act, now),
        effects=(End(stages=("answer",)), Extend(stage="handle", by=by)),
    )


def _grant_suspension(incident: Incident, act: Act, request: Request, now: datetime) -> Change:
    held = replace(incident, state="suspended", held_state=incident.state, awaiting_since=None)
    return change(
        held,
        act,
        "suspended",
        detail={"for": request.limit, "request": request.id or None},
        tells=(Tell(purpose="decided"),),
        requests=_granted(request, act, now),
        effects=(
            End(stages=("answer",)),
            Pause(),
            Start(stage="suspension", limit=read_limit(request.limit)),
        ),
    )


def _unreachable(_incident: Incident, _act: Act, _request: Request, _now: datetime) -> Change:
    raise ValueError("a dispute is ruled on, never granted")


_GRANT: Mapping[Ask, Callable[[Incident, Act, Request, datetime], Change | Refused]] = {
    "return": _grant_return,
    "transfer": _grant_transfer,
    "extend": _grant_extension,
    "suspend": _grant_suspension,
    "dispute": _unreachable,
}


def resume(incident: Incident, act: Act, _facts: Facts, now: datetime) -> Change:
    """恢复: it goes on where it was, with the time that was left."""
    going = replace(
        incident,
        state=incident.held_state or "dispatched",
        held_state=None,
        awaiting_since=now if incident.acknowledged_at is None else None,
    )
    effects = (End(stages=("suspension",)), Resume())
    return change(going, act, "resumed", tells=(Tell(purpose="again"),), effects=effects)


def refuse(incident: Incident, act: Act, facts: Facts, now: datetime) -> Change | Refused:
    """No: by the approver, or by the unit that a transfer asked. The unit keeps it, and may dispute."""
    request = _meant(incident, act, facts)
    if isinstance(request, Refused):
        return request
    asked_unit = request.ask == "transfer" and act.unit_id is not None and act.unit_id == request.to_unit_id
    if act.role not in GRANTS[request.ask] and not asked_unit:
        return Refused(
            code="forbidden",
            reason="只有审批人或被移交单位可以拒绝；申请人可撤回",
            reason_en="only the approver or the unit that was asked may refuse; who asked may withdraw",
        )
    return _answered(incident, act, request, "refused", now)


def withdraw(incident: Incident, act: Act, facts: Facts, now: datetime) -> Change | Refused:
    """The unit that asked has thought better of it; a transfer that is withdrawn does not count."""
    request = _meant(incident, act, facts)
    if isinstance(request, Refused):
        return request
    if act.actor != request.asked_by and (act.unit_id is None or act.unit_id != request.unit_id):
        return Refused(
            code="forbidden",
            reason="只有申请单位可以撤回",
            reason_en="only the unit that asked may withdraw; an approver refuses",
        )
    return _answered(incident, act, request, "withdrawn", now)


def _answered(incident: Incident, act: Act, request: Request, state: str, now: datetime) -> Change:
    done = replace(request, state=state, decided_by=act.actor, decided_at=now)  # type: ignore[arg-type]  # two literals
    tells = (Tell(purpose="decided", unit_id=request.unit_id),) if state == "refused" else ()
    detail: dict[str, object] = {"request": request.id, "ask": request.ask}
    kind = f"{request.ask}_{state}"
    return change(
        incident, act, kind, detail=detail, tells=tells, requests=(done,), effects=(End(stages=("answer",)),)
    )


def rule(incident: Incident, act: Act, facts: Facts, now: datetime) -> Change | Refused:
    """裁定: the arbiter says whose it is, once and for all; with ``amend`` the list says so from now on."""
    found = _meant(incident, act, facts, "dispute")
    if isinstance(found, Refused):
        return found
    if act.actor == found.asked_by:
        return Refused(
            code="forbidden",
            reason="提出争议的人不能裁定",
            reason_en="who brought the dispute does not rule on it",
        )
    unit = act.unit
    if unit is None:
        return missing("unit", "请指明责任单位", "name the unit that answers for it")
    others = [
        replace(one, state="refused", decided_by=act.actor, decided_at=now)
        for one in facts.waiting()
        if one.id != found.id and one.ask in ("transfer", "return")
    ]
    kept = (replace(found, state="granted", decided_by=act.actor, decided_at=now), *others)
    detail: dict[str, object] = {
        "unit": unit.code,
        "from_unit_id": incident.unit_id,
        "amends_list": act.amend,
    }
    told = Tell(purpose="decided", unit_id=incident.unit_id)
    if unit.id == incident.unit_id:
        return change(incident, act, "ruled", detail=detail, tells=(told,), requests=kept,
                      effects=(End(stages=("answer",)),))  # fmt: skip
    given = replace(
        given_to(incident, unit, now),
        reason=f"裁定由{unit.name}负责",
        reason_en=f"the arbiter ruled that {unit.name_en or unit.name} answers for it",
    )
    return change(
        given,
        act,
        "ruled",
        detail=detail,
        tells=(told, Tell(purpose="order")),
        requests=kept,
        effects=(End(stages=("answer", "arrive")), Start(stage="acknowledge")),
    )


def _meant(incident: Incident, act: Act, facts: Facts, kind: Ask | None = None) -> Request | Refused:
    """The open request that the person means: the one they name, else the only one."""
    waiting = [one for one in facts.waiting(kind) if kind is not None or one.ask != "dispute"]
    if act.asked is not None:
        waiting = [one for one in waiting if one.id == act.asked]
    if len(waiting) == 1:
        return waiting[0]
    if not waiting:
        what = kind or "、".join(get_args(Ask))
        return _conflict(
            f"事件{incident.number}没有未答复的申请（{what}）",
            f"incident {incident.number} has no open request{f' to {kind}' if kind else ''}",
        )
    ids = ", ".join(f"{one.id} ({one.ask})" for one in waiting)
    return missing("request", f"有多个申请，请指明其一：{ids}", f"several wait: name one of {ids}")


def _conflict(reason: str, reason_en: str) -> Refused:
    return Refused(code="conflict", reason=reason, reason_en=reason_en)
