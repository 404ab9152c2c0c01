"""One action of one person on one incident, decided whole: the incident after it, or why not. Nothing is half done."""

from collections.abc import Callable, Mapping
from datetime import datetime

from city.incidents import Change, Incident
from command_centre import workflow_requests as requests
from command_centre import workflow_steps as steps
from command_centre.workflow import TABLE, Act, Facts, Refused, may, usable_text

MOST_TEXT_ZH = "最多4000字，不含控制字符"
# What somebody saw there. Decisions at a desk rest on words.
WITH_PHOTOS = frozenset({"arrive", "handle", "verify", "rework", "comment"})
Take = Callable[[Incident, Act, Facts, datetime], Change | Refused]

_TAKE: Mapping[str, Take] = {
    "accept": steps.accept,
    "acknowledge": steps.acknowledge,
    "dispatch": steps.dispatch,
    "arrive": steps.arrive,
    "handle": steps.handle,
    "verify": steps.verify,
    "rework": steps.rework,
    "feedback": steps.feedback,
    "archive": steps.archive,
    "reopen": steps.reopen,
    "escalate": steps.escalate,
    "supervise": steps.supervise,
    "void": steps.void,
    "comment": steps.comment,
    "return": requests.ask,
    "transfer": requests.ask,
    "extend": requests.ask,
    "suspend": requests.ask,
    "dispute": requests.ask,
    "take": requests.take,
    "approve": requests.approve,
    "refuse": requests.refuse,
    "withdraw": requests.withdraw,
    "rule": requests.rule,
    "resume": requests.resume,
}


def apply(incident: Incident, act: Act, facts: Facts, now: datetime) -> Change | Refused:
    """The incident after the action with its events, effects on clocks and messages; or why it is refused.

    ``merge``, ``split``, ``link`` and ``unlink`` concern two incidents and are decided in ``merging``.
    """
    refused = may(incident, act, facts) or _says_enough(incident, act)
    if refused is not None:
        return refused
    return _TAKE[act.action](incident, act, facts, now)


def _says_enough(incident: Incident, act: Act) -> Refused | None:
    for field, text in (("reason", act.reason), ("comment", act.comment)):
        if not usable_text(text):
            return steps.missing(field, MOST_TEXT_ZH, "at most 4000 characters, none of control")
    if act.photos and act.action not in WITH_PHOTOS:
        listed = ", ".join(sorted(WITH_PHOTOS))
        return steps.missing("photos", f"只能用于{listed}", f"go with {listed} only; leave them out")
    needs = TABLE[act.action].needs  # type: ignore[index]  # ``may`` knows the action
    again = act.action == "dispatch" and incident.unit_id is not None
    if needs == "unit" and act.unit is None:
        return steps.missing("unit", "请指明一个在用单位的代码", "give the code of a working unit")
    if needs == "comment" and not (act.comment.strip() or act.reason.strip()):
        return steps.missing("comment", "请写明情况", "say what was done or seen")
    if needs == "limit" and act.limit is None:
        return steps.missing("limit", "请写明时长，如30m、4wh、3wd", "say how long: 30m, 4wh, 3wd")
    if (needs in ("reason", "limit") or again or act.action == "rule") and not act.reason.strip():
        return steps.missing(
            "reason", "请写明理由", f"say why: {act.action} goes on the record with its reason"
        )
    return None
