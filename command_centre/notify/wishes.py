"""Contacts as their owners see and change them: secrets masked, every address judged before it is kept."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection

from city.contacts import Contact, ContactError, read_quiet
from city.storage import contacts, notification_log, notifications
from city.storage.notifications import NewNotification
from command_centre.notify import addresses, gateways

Connection = AsyncConnection[Any]

MOST = 20  # contacts of one owner
TEST_EVERY = timedelta(seconds=60)


def shown(contact: Contact) -> dict[str, object]:
    """With its address masked; sending that back keeps the address."""
    return {
        "id": contact.id,
        "channel": contact.channel,
        "address": addresses.masked(contact.channel, contact.address),
        "label": contact.label,
        "language": contact.language,
        "lead": contact.lead,
        "active": contact.active,
        "purposes": list(contact.purposes),
        "quiet": contact.quiet,
        "digest": contact.digest,
    }


def tag(listed: Sequence[Contact]) -> str:
    """An entity tag that moves with everything, hidden addresses included."""
    return f'"{hashlib.sha256(repr(listed).encode()).hexdigest()[:24]}"'


def wanted(
    given: Sequence[Mapping[str, Any]], before: Sequence[Contact], *, unit: int | None, user: int | None
) -> list[Contact]:
    """The contacts that were asked for, checked; raises ContactError whose field is ``items.0.address``."""
    known = {contact.id: contact for contact in before}
    made: list[Contact] = []
    for index, one in enumerate(given):
        try:
            made.append(_one(one, known, unit=unit, user=user))
        except ContactError as error:
            raise ContactError(f"items.{index}.{error.field}", str(error), error.zh) from error
    ids = [contact.id for contact in made if contact.id]
    if len(ids) != len(set(ids)):
        raise ContactError("items", "items: one id stands twice", "items：同一 id 出现两次")
    return made


def _one(
    given: Mapping[str, Any], known: Mapping[int, Contact], *, unit: int | None, user: int | None
) -> Contact:
    number = int(given.get("id") or 0)
    before = known.get(number)
    if number and before is None:
        raise ContactError(
            "id",
            f"id = {number}: is none of these contacts; leave it out for a new one",
            f"没有联系方式{number}",
        )
    address = str(given.get("address") or "").strip()
    if (
        before is not None
        and before.channel == given["channel"]
        and address in ("", shown(before)["address"])
    ):
        address = before.address
    read_quiet(given["quiet"])
    (addresses.check_personal if user is not None else addresses.check)(given["channel"], address)
    if given["channel"] == "apprise" and not gateways.usable(address):
        raise ContactError(
            "address",
            "address: this service's address is incomplete; see docs/notifications.md",
            "地址不完整",
        )
    contact = Contact(
        id=number,
        unit_id=unit,
        user_id=user,
        channel=given["channel"],
        address=address,
        lead=bool(given["lead"]),
    )
    rest = {name: given[name] for name in ("label", "language", "active", "quiet", "digest")}
    return replace(contact, **rest, purposes=tuple(given["purposes"]))


async def send_test(
    connection: Connection, now: datetime, *, unit: int | None, user: int | None, mail: bool
) -> int | datetime:
    """Send a test message to every active address of an owner; how many, or until when it was too soon."""
    await contacts.lock(connection, unit=unit, user=user)
    last = await notification_log.tested_since(connection, now, TEST_EVERY, unit=unit, user=user)
    if last is not None:
        return last + TEST_EVERY
    listed = await contacts.own(connection, unit=unit, user=user)
    if unit is not None:
        reachable = (await contacts.reachable(connection, [unit]))[unit]
        listed = [one for one in reachable if one.user_id is None]
    messages = [
        NewNotification(
            incident_id=None,
            unit_id=unit,
            purpose="test",
            channel=one.channel,
            to_lead=one.lead is True,
            body={"purpose": "test"},
            contact_id=one.id or None,
            language=one.language,
        )
        for one in listed
        if one.active and (mail or one.channel != "smtp")
    ]
    await notifications.enqueue(connection, messages, now)
    return len(messages)
