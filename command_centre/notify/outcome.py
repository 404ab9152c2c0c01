"""How an attempt ended, into the database and onto the timelines; a way that failed for good is replaced by another."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection

from city.contacts import Contact
from city.incidents import Happening
from city.storage import changes, contacts, digests, incidents, notifications
from city.storage.notifications import Claimed, NewNotification
from command_centre.notify import preferences

Connection = AsyncConnection[Any]
Said = Mapping[int, Sequence[Happening]]  # by incident


async def sent(connection: Connection, message: Claimed, status: str, words: str, now: datetime) -> None:
    """Keep the receipt; every order that went with a digest has it too, with the digest's id."""
    if not await notifications.settle(connection, message, state="sent", next_attempt_at=now, receipt=words):
        return
    detail: dict[str, object] = {"status": status}
    if message.purpose == "digest":
        went = await digests.settle_folded(
            connection, message.id, state="sent", receipt=words, last_error=None
        )
        await note(connection, _of_each(message, "receipt", went, detail), now)
    elif message.incident_id is not None:
        said = Happening(kind="receipt", detail=_detail(message, message.purpose) | detail)
        await note(connection, {message.incident_id: [said]}, now)


async def failed(
    connection: Connection,
    message: Claimed,
    error: str,
    again: datetime | None,
    now: datetime,
    *,
    zone: ZoneInfo,
    mail: bool,
) -> None:
    """Wait for ``again``, or give up (None): on the timeline, and by another way of the unit when there is one."""
    state: notifications.State = "waiting" if again else "failed"
    if not await notifications.settle(
        connection, message, state=state, next_attempt_at=again or now, last_error=error
    ):
        return
    if again is not None and message.attempts > 1:
        return  # once on the timeline; a receiver that is down for an hour is one fact
    kind = "delivery_delayed" if again else "delivery_failed"
    if message.purpose == "digest":
        went = await digests.settle_folded(
            connection, message.id, state=state, receipt=None, last_error=error
        )
    else:
        went = [{"id": message.id, "incident_id": message.incident_id, "purpose": message.purpose}]
    notes: dict[int, list[Happening]] = {}
    for one in went:
        detail = _detail(message, one["purpose"])
        if message.purpose == "digest":
            detail["digest"] = message.id
        if again is None:
            detail["attempts"] = message.attempts
            detail |= await _instead(connection, message, one["id"], now, zone=zone, mail=mail)
        if one["incident_id"] is not None:
            notes.setdefault(one["incident_id"], []).append(Happening(kind=kind, detail=detail))
    await note(connection, notes, now)


async def _instead(
    connection: Connection, message: Claimed, failed_id: int, now: datetime, *, zone: ZoneInfo, mail: bool
) -> dict[str, object]:
    """Another way for a unit's message, unless one that was tried with it arrived or may still arrive."""
    if message.unit_id is None or (message.incident_id is None and message.purpose != "digest"):
        return {}
    tried = await notifications.siblings(connection, failed_id)
    if any(one["state"] in ("sent", "waiting", "folded") for one in tried):
        return {}
    known = (await contacts.reachable(connection, [message.unit_id]))[message.unit_id]
    ways = {(one["contact_id"], one["channel"], one["to_lead"]) for one in tried}
    other = next((one for one in known if _untried(one, ways, mail=mail)), None)
    if other is None:
        return {"instead": "telephone"}
    await notifications.enqueue_instead(
        connection,
        failed_id,
        NewNotification(
            incident_id=None,
            unit_id=None,
            purpose=message.purpose,
            channel=other.channel,
            to_lead=other.lead is True,
            body={},
            contact_id=other.id or None,
            language=other.language,
            fold=other.digest,
            send_at=preferences.send_at(other, urgent=message.urgent, now=now, zone=zone),
        ),
        now,
    )
    return {"instead": other.channel}


def _untried(contact: Contact, tried: set[tuple[int | None, str, bool]], *, mail: bool) -> bool:
    if not contact.active or (contact.channel == "smtp" and not mail):
        return False
    if contact.id:
        return all(contact.id != contact_id for contact_id, _, _ in tried)
    same = [lead for contact_id, channel, lead in tried if contact_id is None and channel == contact.channel]
    return not same if contact.lead is None else contact.lead not in same


def _detail(message: Claimed, purpose: str) -> dict[str, object]:
    detail: dict[str, object] = {"channel": message.channel, "purpose": purpose}
    if message.purpose == "notice":
        return detail | {"to": "reporter", "template": str(message.body.get("template"))}
    return detail | ({"unit": message.unit} if message.unit else {"to": "approvers"})


def _of_each(
    message: Claimed, kind: str, went: Sequence[Mapping[str, Any]], more: Mapping[str, object]
) -> dict[int, list[Happening]]:
    notes: dict[int, list[Happening]] = {}
    for one in went:
        detail = _detail(message, one["purpose"]) | {"digest": message.id, **more}
        notes.setdefault(one["incident_id"], []).append(Happening(kind=kind, detail=detail))
    return notes


async def note(connection: Connection, notes: Said, now: datetime) -> None:
    """Append to the timelines; the incidents' versions stay, since nothing a person edits has changed.

    Locks incidents by id, as everybody does.
    """
    for incident_id, happenings in sorted(notes.items()):
        incident = await incidents.lock(connection, incident_id)
        if incident is None:
            continue
        chained = incidents.chain(incident, happenings, now)
        await incidents.append(connection, [chained])
        await incidents.save(connection, [replace(incident, last_seq=chained.last_seq, head=chained.head)])
    await changes.append(connection, [("incident.changed", str(incident_id)) for incident_id in notes])
