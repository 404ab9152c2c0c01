"""Warnings drafted, issued, updated, cancelled: each message is kept byte for byte with who, when and why."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
from psycopg import AsyncConnection

from city.flood import COLOUR_NAMES, Content, MessageType, Place, Sent, WarningState
from city.storage import changes, flood_facts, flood_warnings
from city.storage.flood_warnings import FloodWarning, NewMessage
from command_centre.actions import ActionError
from command_centre.flood import cap_xml, warnings
from command_centre.flood import desk as desks
from command_centre.flood.cap import Alert, CapError, Reference
from command_centre.flood.cap_check import Fault
from command_centre.flood.desk import Desk, NotIssuableError
from command_centre.flood.warnings import Action, Circumstances

Connection = AsyncConnection[Any]
_TYPES: Mapping[Action, MessageType] = {"issue": "Alert", "update": "Update", "cancel": "Cancel"}
_TURNS = {"issue": ("发布", "issued"), "update": ("更新", "updated"), "cancel": ("解除", "cancelled")}


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """What would go out now. ``xml`` is empty when it cannot even be written; ``faults`` say why it may not."""

    alert: Alert
    xml: bytes
    faults: tuple[Fault, ...]
    headline: str
    headline_en: str


def content_of(stored: Mapping[str, Any]) -> Content:
    """A stored content as its noun."""
    return msgspec.convert(stored, Content)


def stored_of(content: Content) -> dict[str, Any]:
    """A content as it is stored."""
    found: dict[str, Any] = msgspec.to_builtins(content)
    return found


async def draft(
    connection: Connection, desk: Desk, content: Content, *, exercise: bool, actor: str, now: datetime
) -> int:
    """Keep a draft, whole or not: what is wrong with it is shown, and hinders only its issue. Returns its id."""
    number = await flood_warnings.draft(
        connection,
        colour=content.colour,
        exercise=exercise,
        content=stored_of(content),
        expires_at=content.expires,
        actor=actor,
        now=now,
    )
    await changes.append(connection, [("flood.warning.drafted", str(number))])
    return number


async def preview(connection: Connection, desk: Desk, warning_id: int, now: datetime) -> Preview | None:
    """What a draft would say if it were issued now; None when there is no such warning."""
    warning = await flood_warnings.lock(connection, warning_id)
    if warning is None:
        return None
    content = content_of(warning.content)
    return await _made(connection, desk, warning_id, content, "Alert", (), now, exercise=warning.exercise)


async def act(
    connection: Connection,
    desk: Desk,
    warning_id: int,
    action: Action,
    *,
    changed: Mapping[str, Any],
    actor: str,
    reason: str,
    now: datetime,
    expected: int | None,
) -> None:
    """Issue, update or cancel, in the caller's transaction; raises ActionError or NotIssuableError."""
    warning = await flood_warnings.lock(connection, warning_id)
    if warning is None:
        raise ActionError("not_found", f"没有预警{warning_id}", f"there is no warning {warning_id}")
    desks.expect(expected, warning.version, f"warning {warning_id}", "预警")
    if warning.state not in warnings.LIFE[action]:
        raise ActionError(
            "conflict",
            f"预警{warning_id}处于{warning.state}状态，不能{action}",
            f"warning {warning_id} is {warning.state}: {action} needs {' or '.join(warnings.LIFE[action])}",
        )
    why = desks.said("reason", reason)
    content = replace(content_of(warning.content), **changed)
    if warning.state == "draft" and action == "cancel":
        await _save(connection, warning_id, content, "cancelled", now)
        await changes.append(connection, [("flood.warning.discarded", str(warning_id))])
        return
    before = await flood_warnings.of_warning(connection, warning_id)
    kind = _TYPES[action]
    made = await _made(connection, desk, warning_id, content, kind, before, now, exercise=warning.exercise)
    if made.faults:
        raise NotIssuableError(made.faults)
    await flood_warnings.add_message(
        connection, _message(warning, content, kind, before, made, actor=actor, reason=why)
    )
    await _save(connection, warning_id, content, "cancelled" if action == "cancel" else "issued", now)
    await _tell(connection, desk, warning_id, action, made, why, actor, now, exercise=warning.exercise)


def _message(
    warning: FloodWarning,
    content: Content,
    kind: MessageType,
    before: Sequence[Sent],
    made: Preview,
    *,
    actor: str,
    reason: str,
) -> NewMessage:
    return NewMessage(
        warning_id=warning.id,
        seq=len(before) + 1,
        message_type=kind,
        exercise=warning.exercise,
        colour=content.colour,
        identifier=made.alert.identifier,
        sender=made.alert.sender,
        sent=made.alert.sent,
        headline=made.headline,
        headline_en=made.headline_en,
        refers_to=[one.identifier for one in before],
        content=stored_of(content),
        xml=made.xml,
        sha256=hashlib.sha256(made.xml).digest(),
        actor=actor,
        reason=reason,
    )


async def _save(
    connection: Connection, warning_id: int, content: Content, state: WarningState, now: datetime
) -> None:
    await flood_warnings.save(
        connection,
        warning_id,
        state=state,
        colour=content.colour,
        content=stored_of(content),
        expires_at=content.expires,
        ended_at=now if state == "cancelled" else None,
    )


async def _tell(  # the parts of one entry
    connection: Connection,
    desk: Desk,
    warning_id: int,
    action: Action,
    made: Preview,
    reason: str,
    actor: str,
    now: datetime,
    *,
    exercise: bool,
) -> None:
    turn, turn_en = _TURNS[action]
    await desk.log(
        connection,
        now,
        "warning",
        f"{turn}预警：{made.headline}。{reason}",
        f"Warning {turn_en}: {made.headline_en}. {reason}",
        actor=actor,
        about=f"warning:{warning_id}",
        exercise=exercise,
    )
    await changes.append(connection, [(f"flood.warning.{turn_en}", str(warning_id))])


async def _made(
    connection: Connection,
    desk: Desk,
    warning_id: int,
    content: Content,
    kind: MessageType,
    before: Sequence[Sent],
    now: datetime,
    *,
    exercise: bool,
) -> Preview:
    """The message of this content now, and everything that is wrong with it."""
    places = await _places(connection, content)
    stations = []
    if content.stations:
        every = await flood_facts.stations(connection, desks.UNBELIEVED)
        stations = [one for one in every if one.code in content.stations]
    known = {place.code for place in places} | {one.code for one in stations}
    moment = now.astimezone(desk.zone).replace(microsecond=0)
    given = Circumstances(
        district=desk.code,
        district_name=desk.name,
        district_name_en=desk.name_en,
        sender=desk.defaults.sender,
        now=moment,
        places=places,
        stations=stations,
        response_level=None if exercise else desk.level,
        references=[
            Reference(sender=one.sender, identifier=one.identifier, sent=one.sent.astimezone(desk.zone))
            for one in before
        ],
        exercise=exercise,
        web=desk.web,
    )
    missing = [code for code in (*content.areas, *content.stations) if code not in known]
    played = (
        []
        if exercise
        else [code for code in await flood_facts.in_drill(connection) if code in content.stations]
    )
    name = warnings.identifier(desk.code, warning_id, len(before) + 1, moment)
    # In a thread: screens tick in this loop, and joining a district's outlines takes longer than a tick.
    return await asyncio.to_thread(_built, content, kind, name, given, desk.defaults.longest, missing, played)


def _built(  # a message's own parts
    content: Content,
    kind: MessageType,
    name: str,
    given: Circumstances,
    longest: timedelta,
    missing: Sequence[str],
    played: Sequence[str],
) -> Preview:
    alert = warnings.message(content, kind, name, given)
    found = warnings.faults(content, alert, longest, missing, played)
    headline, headline_en = warnings.titles(content, kind, given)
    xml = b""
    if not found:
        try:
            xml = cap_xml.write(alert)
        except CapError as error:
            found.append(
                Fault(field=error.field, value=error.value, remedy=error.remedy, remedy_zh="内容无法写成XML")
            )
        if len(xml) > cap_xml.LARGEST:
            remedy = f"is more than {cap_xml.LARGEST} bytes of message: name streets"
            found.append(
                Fault(field="areas", value=str(len(xml)), remedy=remedy, remedy_zh="消息过大，请改用街道")
            )
    return Preview(alert=alert, xml=xml, faults=tuple(found), headline=headline, headline_en=headline_en)


async def _places(connection: Connection, content: Content) -> list[Place]:
    if content.areas:
        return await flood_facts.places(connection, content.areas)
    return await flood_facts.whole_district(connection)


# ── what only time changes ───────────────────────────────────────────────────────────────────────────


async def follow_time(connection: Connection, desk: Desk, now: datetime) -> int:
    """End what is over and remind of what is about to end, in the caller's transaction; returns how many."""
    ended = await flood_warnings.expire(connection, now)
    for row in ended:
        colour, colour_en = COLOUR_NAMES[row["colour"]]
        await desk.log(
            connection,
            now,
            "warning",
            f"{colour}预警{row['id']}有效期已过，自动失效",
            f"{colour_en} warning {row['id']} expired",
            about=f"warning:{row['id']}",
            exercise=row["exercise"],
        )
    ending = await flood_warnings.remind(connection, now, now + desk.defaults.remind_before)
    for row in ending:
        colour, colour_en = COLOUR_NAMES[row["colour"]]
        minutes = max(0, round((row["expires_at"] - now) / timedelta(minutes=1)))
        await desk.log(
            connection,
            now,
            "warning",
            f"{colour}预警{row['id']}将在{minutes}分钟后失效，请决定更新或解除",
            f"{colour_en} warning {row['id']} ends in {minutes} min: update it or let it end",
            about=f"warning:{row['id']}",
            exercise=row["exercise"],
        )
    told = [("flood.warning.expired", str(row["id"])) for row in ended]
    told += [("flood.warning.expiring", str(row["id"])) for row in ending]
    await changes.append(connection, told)
    return len(told)
