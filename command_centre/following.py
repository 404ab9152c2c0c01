"""What a reporter may do after the report: look, add, rate, ask to reopen; and what a hotline notes of a call back.

The report under its tracking number is the way in; the incident behind it, at the end of all merges, is what is
looked at and acted upon. Nothing here says that an incident stood before the report, or who else reported it.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection

from city.incidents import Change, Happening, Incident, more_urgent
from city.reports import Report, spoken
from city.settings import Settings
from city.storage import directory, incidents, photos, report_lists, report_voices, reports
from command_centre import actions, progress
from command_centre.actions import ActionError
from command_centre.recording import store
from command_centre.report_checks import wrong
from command_centre.workflow import REOPEN_WITHIN, usable_text

RATING_CHANGES = timedelta(days=7)  # so long after it was first given a rating may be corrected
MOST_ADDITIONS = 10
MOST_PHOTOS = 20  # of one report, with what was added
_RATED_IN = ("fed_back", "archived")

Connection = AsyncConnection[Any]


async def view(connection: Connection, report: Report) -> dict[str, Any]:
    """The public side of a report: progress with dates and words, the answer, what may be done next."""
    incident = await _behind(connection, report)
    filed_at = await reports.filed_at(connection, incident.id) if incident else None
    where = progress.bar(report.received_at, incident, filed_at)
    told = (
        await report_voices.answered(connection, incident.id) if incident and incident.fed_back_at else None
    )
    rating = await report_voices.rating(connection, report.id)
    category = await report_lists.category_names(
        connection, incident.category if incident else report.category or ""
    )
    return {
        "tracking": spoken(report.tracking),
        "received_at": report.received_at,
        "nature": report.nature,
        "category": {"zh": category[0], "en": category[1]} if category else None,
        "place": report.place,
        "address": report.address,
        "text": report.text,
        "photos": len(await photos.of(connection, "report", report.id)),
        "state": {"code": where.state, "zh": where.words[0], "en": where.words[1]},
        "steps": [
            {
                "step": step.step,
                "at": step.at,
                "done": step.done,
                "current": step.current,
                "zh": step.words[0],
                "en": step.words[1],
            }
            for step in where.steps
        ],
        # Of a matter that others reported first the deadline tells since when it is known.
        "due_at": incident.due_at if incident and incident.closed_at is None and not report.joined else None,
        "answer": {"at": max(told[0], report.received_at), "text": told[1]} if told else None,
        "rating": rating,
        "reopened_at": report.reopened_at,
        "may": {
            "add": incident is not None and incident.state not in ("archived", "voided"),
            "rate": incident is not None and incident.state in _RATED_IN,
            "reopen": incident is not None and _may_reopen(report, incident),
        },
    }


def _may_reopen(report: Report, incident: Incident) -> bool:
    return incident.state in ("fed_back", "archived") and report.reopened_at is None


async def _behind(connection: Connection, report: Report) -> Incident | None:
    if report.incident_id is None:
        return None
    return await reports.standing(connection, report.incident_id)


async def _behind_locked(connection: Connection, report: Report) -> Incident:
    """The incident under its lock; raises ActionError when there is none."""
    seen = await _behind(connection, report)
    incident = await incidents.lock(connection, seen.id) if seen else None
    if incident is None or incident.state == "merged":
        raise ActionError(
            "conflict", "现在不能操作，请稍后再试", "this cannot be done now; try again in a moment"
        )
    return incident


async def add(
    connection: Connection,
    settings: Settings,
    report: Report,
    *,
    text: str,
    digests: tuple[bytes, ...],
    actor: str,
    now: datetime,
) -> None:
    """More words or photos to a report that is not closed, within the caller's transaction; raises ActionError."""
    _words("text", text)
    if not text.strip() and not digests:
        raise wrong("text", "请补充说明或照片", "add words or photos")
    incident = await _behind_locked(connection, report)
    if incident.state in ("archived", "voided"):
        raise ActionError(
            "conflict",
            "已办结，不能再补充；可申请重新办理或重新登记",
            "it is closed: ask to reopen it, or report it anew",
        )
    kept = await photos.of(connection, "report", report.id)
    if await report_voices.additions(connection, report.id) >= MOST_ADDITIONS:
        raise wrong("text", f"最多补充{MOST_ADDITIONS}次", f"a report takes {MOST_ADDITIONS} additions")
    if len({*kept, *digests}) > MOST_PHOTOS:
        raise wrong("photos", f"最多{MOST_PHOTOS}张", f"a report takes {MOST_PHOTOS} photos")
    await report_voices.add(connection, report.id, text, actor, now)
    await photos.use(connection, "report", report.id, digests)
    await photos.use(connection, "incident", incident.id, digests)
    detail: dict[str, object] = {"report": report.id, "photos": len(digests)}
    await _note(
        connection,
        settings,
        incident,
        Happening(kind="report_added", actor=actor, detail=detail, text=text),
        now,
    )


async def rate(
    connection: Connection,
    settings: Settings,
    report: Report,
    *,
    marks: Mapping[str, int],
    comment: str,
    actor: str,
    now: datetime,
) -> None:
    """Marks from 1 to 5 for response, result and manner, once it was answered; raises ActionError.

    A second rating corrects the first within a week of it.
    """
    _words("comment", comment)
    incident = await _behind_locked(connection, report)
    if incident.state not in _RATED_IN:
        raise ActionError(
            "conflict", "办结反馈后才能评价", "it can be rated once it was answered; until then add to it"
        )
    earlier = await report_voices.rating(connection, report.id)
    if earlier is not None and now - earlier["rated_at"] > RATING_CHANGES:
        raise ActionError(
            "conflict",
            f"评价提交{RATING_CHANGES.days}天后不能再修改",
            f"a rating can be changed for {RATING_CHANGES.days} days after it was given",
        )
    await report_voices.rate(
        connection,
        report.id,
        response=marks["response"],
        result=marks["result"],
        manner=marks["manner"],
        comment=comment,
        actor=actor,
        at=now,
    )
    detail: dict[str, object] = {"report": report.id, **marks, "changed": earlier is not None}
    said = Happening(kind="rated", actor=actor, detail=detail, text=comment)
    await _note(connection, settings, incident, said, now)


async def reopen(
    connection: Connection, settings: Settings, report: Report, *, reason: str, actor: str, now: datetime
) -> None:
    """Ask for it to be done again: once for a report, within a week of its end; raises ActionError."""
    if not reason.strip():
        raise wrong("reason", "请说明哪里没有解决", "say what was not solved")
    _words("reason", reason)
    seen = await _behind(connection, report)
    if seen is None:
        raise ActionError(
            "conflict", "已当场处置，请重新登记", "it was put right on the spot: report it anew"
        )
    if report.reopened_at is not None:
        raise ActionError(
            "conflict", "只能申请一次重新办理，请重新登记", "it was reopened once already: report it anew"
        )
    ended = max(filter(None, (seen.fed_back_at, seen.closed_at)), default=None)
    if ended is None:
        raise ActionError(
            "conflict", "尚在办理中，可补充说明", "it is still being handled: add to it instead"
        )
    if now - ended > REOPEN_WITHIN:
        raise ActionError(
            "conflict",
            f"办结已超过{REOPEN_WITHIN.days}天，请重新登记",
            f"it ended over {REOPEN_WITHIN.days} days ago: report it anew",
        )
    await actions.act(
        connection,
        settings,
        seen.id,
        "reopen",
        actor=actor,
        role="citizen",
        reason=reason,
        now=now,
    )
    await report_voices.reopened(connection, report.id, now)


async def called_back(
    connection: Connection,
    settings: Settings,
    report: Report,
    *,
    reached: bool,
    satisfied: bool | None,
    words: str,
    marks: Mapping[str, int] | None,
    actor: str,
    now: datetime,
) -> None:
    """A call back by the hotline, with the marks that were told on the telephone; raises ActionError."""
    _words("words", words)
    if not reached and (satisfied is not None or marks is not None):
        raise wrong("reached", "未接通则没有评价", "nobody rates who was not reached")
    incident = await _behind_locked(connection, report)
    await report_voices.called_back(
        connection, report.id, actor=actor, reached=reached, satisfied=satisfied, words=words, at=now
    )
    detail: dict[str, object] = {"report": report.id, "reached": reached, "satisfied": satisfied}
    said = Happening(kind="called_back", actor=actor, detail=detail, text=words)
    await _note(connection, settings, incident, said, now)
    if marks is not None:
        await rate(connection, settings, report, marks=marks, comment="", actor=actor, now=now)


async def correct(
    connection: Connection,
    settings: Settings,
    report: Report,
    *,
    category: str | None,
    nature: str | None,
    address: str | None,
    actor: str,
    now: datetime,
) -> None:
    """What staff found out about a report that is not accepted yet; its incident follows. Raises ActionError."""
    incident = await _behind_locked(connection, report)
    if report.joined or incident.state != "registered":
        raise ActionError(
            "conflict",
            "已受理或已并入其他事件，请在事件上更改",
            "it was accepted or joined another: change the incident instead",
            state=incident.state,
            version=incident.version,
        )
    await report_lists.correct(connection, report.id, category=category, nature=nature, address=address)
    known = await directory.load(connection, settings.zone, settings.urge_after)
    detail: dict[str, object] = {"report": report.id, "category": category, "nature": nature}
    named = known.categories.get(category or "")
    changed = replace(
        incident,
        category=category or incident.category,
        title=named.name if named else incident.title,
        incident_class=more_urgent(incident.incident_class, known.class_of(category or incident.category)),
        nature=nature or incident.nature,  # type: ignore[arg-type]  # one of the natures: checked by the route
    )
    await _note(connection, settings, changed, Happening(kind="corrected", actor=actor, detail=detail), now)


async def _note(
    connection: Connection, settings: Settings, incident: Incident, said: Happening, now: datetime
) -> None:
    """An event on the timeline of a locked incident, whatever state it is in."""
    known = await directory.load(connection, settings.zone, settings.urge_after)
    change = Change(incident=replace(incident, version=incident.version + 1), happenings=(said,))
    await store(connection, known, [change], now, mail=bool(settings.smtp_url))


def _words(field: str, text: str) -> None:
    if not usable_text(text):
        raise wrong(field, "不含控制字符", "none of control characters")
