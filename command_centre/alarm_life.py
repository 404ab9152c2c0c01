"""The life of an alarm as ISA-18.2 (IEC 62682) names it: its states, what leads from one to another, who may.

One table, read by everyone. An alarm is silent (nobody is sent) for one of three reasons that are kept apart: a
person shelved it for a while, the logic that made it knows better (suppressed by design), or its device is not to
be believed now (under test, out of service). All three end by themselves or by a person, and what still stands
then comes back unacknowledged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from city.alarms import AlarmState

# A shift hands over within a day: what should stay silent longer is looked at by the next shift and shelved again,
# or its device is put out of service, or its rule is mended.
LONGEST_SHELF = timedelta(hours=24)

Event = Literal[
    "raised",
    "acknowledge",
    "clear",
    "level_rises",
    "level_falls",
    "shelve",
    "unshelve",
    "suppress",
    "unsuppress",
    "withdraw",
    "return",
]
By = Literal["rule", "person", "shelf"]
RefusalCode = Literal["conflict", "forbidden", "invalid"]

STATES: Mapping[AlarmState, tuple[str, str]] = {
    "UNACK": ("未确认", "unacknowledged active"),
    "ACKED": ("已确认", "acknowledged active"),
    "RTNUN": ("已恢复未确认", "returned to normal, unacknowledged"),
    "NORM": ("正常", "normal"),
    "SHLVD": ("搁置", "shelved"),
    "DSUPR": ("按设计抑制", "suppressed by design"),
    "OOSRV": ("停用", "out of service"),
}
STANDING: tuple[AlarmState, ...] = ("UNACK", "ACKED", "SHLVD", "DSUPR", "OOSRV")


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What an episode's state follows from. ``told``: it is, or will be, somebody's to acknowledge."""

    standing: bool
    acknowledged: bool = False
    told: bool = True
    suppressed: bool = False
    shelved: bool = False  # the alarm, or its whole device
    withdrawn: bool = False  # its device is under test or out of service


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """From one of ``states`` by ``event`` to ``leads_to``."""

    states: tuple[AlarmState, ...]
    event: Event
    leads_to: AlarmState
    by: By
    words: tuple[str, str]


_BACK = ("恢复提示：须重新确认", "comes back: to be acknowledged again")

TABLE: tuple[Move, ...] = (
    Move(states=("NORM",), event="raised", leads_to="UNACK", by="rule", words=("报警产生", "raised")),
    Move(
        states=("NORM",),
        event="suppress",
        leads_to="DSUPR",
        by="rule",
        words=("产生即抑制", "raised, suppressed"),
    ),
    Move(
        states=("UNACK",), event="acknowledge", leads_to="ACKED", by="person", words=("确认", "acknowledged")
    ),
    Move(
        states=("RTNUN",),
        event="acknowledge",
        leads_to="NORM",
        by="person",
        words=("恢复后确认", "acknowledged"),
    ),
    Move(states=("UNACK",), event="clear", leads_to="RTNUN", by="rule", words=("恢复", "cleared")),
    Move(
        states=("ACKED", "SHLVD", "DSUPR", "OOSRV"),
        event="clear",
        leads_to="NORM",
        by="rule",
        words=("恢复", "cleared"),
    ),
    Move(
        states=("ACKED", "UNACK"),
        event="level_rises",
        leads_to="UNACK",
        by="rule",
        words=("升级，须重新确认", "level rose: re-alarm"),
    ),
    Move(
        states=("UNACK",),
        event="level_falls",
        leads_to="UNACK",
        by="rule",
        words=("降级，仅记录", "level fell"),
    ),
    Move(
        states=("ACKED",),
        event="level_falls",
        leads_to="ACKED",
        by="rule",
        words=("降级，仅记录", "level fell"),
    ),
    Move(states=("UNACK", "ACKED"), event="shelve", leads_to="SHLVD", by="person", words=("搁置", "shelved")),
    Move(states=("SHLVD",), event="unshelve", leads_to="UNACK", by="shelf", words=_BACK),
    Move(states=("DSUPR",), event="unsuppress", leads_to="UNACK", by="rule", words=_BACK),
    Move(
        states=("UNACK", "ACKED", "SHLVD"),
        event="withdraw",
        leads_to="OOSRV",
        by="person",
        words=("设备测试或停用", "device under test or out of service"),
    ),
    Move(states=("OOSRV",), event="return", leads_to="UNACK", by="person", words=_BACK),
)


def state_of(facts: Facts) -> AlarmState:
    """The state by its ISA-18.2 name. ``city.storage.alarms`` says the same in SQL, to filter by it."""
    if not facts.standing:
        return "RTNUN" if facts.told and not facts.acknowledged else "NORM"
    if facts.suppressed:
        return "DSUPR"
    if facts.withdrawn:
        return "OOSRV"
    if facts.shelved:
        return "SHLVD"
    return "ACKED" if facts.acknowledged else "UNACK"


def after(facts: Facts, event: Event) -> Facts:
    """The facts once ``event`` has happened: what the storage does, in one place to be read."""
    match event:
        case "raised":
            return Facts(standing=True)
        case "suppress":
            return Facts(standing=True, suppressed=True, told=False)
        case "acknowledge":
            return replace(facts, acknowledged=True)
        case "clear":
            return replace(facts, standing=False)
        case "level_rises":
            return replace(facts, acknowledged=False)
        case "level_falls":
            return facts
        case "shelve":
            return replace(facts, shelved=True, told=False)
        case "withdraw":
            return replace(facts, withdrawn=True, shelved=False, told=False)
        case "unshelve" | "return" | "unsuppress":
            return Facts(standing=facts.standing, told=facts.standing)


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """Why not, in both languages; ``field`` names what was wrong in the request."""

    code: RefusalCode
    reason: str
    reason_en: str
    field: str = ""


def may_shelve(
    *,
    state: AlarmState,
    category: str,
    incident_class: str,
    role: str,
    reason: str,
    until: datetime,
    now: datetime,
    about_a_device: bool,
) -> Refused | None:
    """None when it may be shelved. A recovered one may be, too: a flapping sensor rests between two episodes."""
    if not about_a_device:
        return Refused(
            code="conflict",
            reason="系统自身的报警不能搁置",
            reason_en="an alarm about the system itself is not shelved: mend what it says",
        )
    if state not in ("UNACK", "ACKED", "RTNUN", "NORM"):
        zh, en = STATES[state]
        return Refused(
            code="conflict",
            reason=f"报警处于“{zh}”（{state}）状态，不能搁置",
            reason_en=f"the alarm is {en} ({state}) and cannot be shelved; end that first",
        )
    if role not in roles_to_shelve(category, incident_class):
        return Refused(
            code="forbidden",
            reason=f"甲类火警只能由管理员搁置，当前角色为{role}",
            reason_en=f"a class A fire alarm is shelved by an administrator only; the role is {role}",
        )
    if not reason.strip():
        return Refused(
            code="invalid",
            field="reason",
            reason="reason：请写明搁置理由",
            reason_en="reason: say why, for whoever finds the alarm silent",
        )
    if until <= now:
        return Refused(
            code="invalid",
            field="until",
            reason=f"until = {until.isoformat()}：须晚于现在",
            reason_en=f"until = {until.isoformat()}: must lie ahead of now",
        )
    if until > now + LONGEST_SHELF:
        hours = int(LONGEST_SHELF.total_seconds() // 3600)
        return Refused(
            code="invalid",
            field="until",
            reason=f"until = {until.isoformat()}：最长{hours}小时；更久请停用设备或修改规则",
            reason_en=(
                f"until = {until.isoformat()}: {hours} hours at most; for longer put the device out of service "
                "or mend the rule"
            ),
        )
    return None


def roles_to_shelve(category: str, incident_class: str) -> tuple[str, ...]:
    """Silencing a class A fire alarm takes somebody who answers for the shift; bringing it back does not."""
    if incident_class == "A" and category.partition(".")[0] == "fire":
        return ("administrator",)
    return ("dispatcher", "flood_officer", "administrator")


def drawn() -> str:
    """States and moves as docs/alarms.md shows them; a test holds the page against this."""
    lines = ["| state | | |", "|---|---|---|"]
    lines += [f"| `{state}` | {zh} | {en} |" for state, (zh, en) in STATES.items()]
    lines += ["", "| from | what happens | by | to |", "|---|---|---|---|"]
    for move in TABLE:
        states = ", ".join(f"`{state}`" for state in move.states)
        zh, en = move.words
        lines.append(f"| {states} | {zh} · {en} | {move.by} | `{move.leads_to}` |")
    return "\n".join(lines)
