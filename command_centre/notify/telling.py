"""What goes out for a decision and what the timeline says of it: from tells to messages, one for each address."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from city.catalogue import family
from city.contacts import Contact
from city.directory import Directory
from city.incidents import Change, Happening, Incident, Tell
from city.storage.notifications import Channel, NewNotification
from city.units import Unit
from command_centre.notify import message, preferences


@dataclass(frozen=True, kw_only=True, slots=True)
class Reachable:
    """Who can be reached, read for all changes at once. ``mail`` says whether a mail server is configured."""

    units: Mapping[int, Sequence[Contact]]
    approvers: Sequence[Contact]
    mail: bool


def told_units(changes: Sequence[tuple[Incident, Change]]) -> list[int]:
    """The units whose addresses are needed."""
    return sorted(
        {
            unit_id
            for incident, change in changes
            for tell in change.tells
            if (unit_id := _unit_id(incident, tell)) is not None
        }
    )


def asks_approvers(changes: Sequence[tuple[Incident, Change]]) -> bool:
    """Whether anything goes to the approvers."""
    return any(_to_approvers(tell) for _, change in changes for tell in change.tells)


def orders(
    incident: Incident,
    directory: Directory,
    change: Change,
    reachable: Reachable,
    position: tuple[float, float] | None,
    now: datetime,
) -> tuple[list[Happening], list[NewNotification]]:
    """What goes out for this change, and what the timeline says of it."""
    told: list[Happening] = []
    new: list[NewNotification] = []
    urgent = preferences.is_urgent(incident.incident_class, incident.event_level)
    # Work on devices is for the day, whatever quiet hours an address has.
    upkeep = incident.incident_class == "C" and family(incident.category) == "device" and not urgent
    told_from = preferences.by_day(now, directory.zone) if upkeep else now
    already: set[tuple[str, int]] = set()  # a lead reached at the unit's contact is not told the same twice
    for tell in change.tells:
        unit_id = _unit_id(incident, tell)
        unit = directory.units.get(unit_id) if unit_id is not None else None
        if unit is None and not _to_approvers(tell):
            continue
        known = reachable.approvers if unit is None else reachable.units.get(unit.id, ())
        usable = [one for one in known if reachable.mail or one.channel != "smtp"]
        contacts = preferences.chosen(usable, purpose=tell.purpose, to_lead=tell.to_lead, urgent=urgent)
        detail: dict[str, object] = {"purpose": tell.purpose, "to_lead": tell.to_lead}
        detail["unit" if unit else "to"] = unit.code if unit else "approvers"
        if not contacts:
            told.append(
                Happening(kind="nobody_told", detail=detail, reason=_nobody(unit, wished=bool(usable)))
            )
            continue
        contacts = [one for one in contacts if not one.id or (tell.purpose, one.id) not in already]
        if not contacts:
            continue
        already |= {(tell.purpose, one.id) for one in contacts}
        body = message.compose(incident, directory, unit, tell.purpose, position, change.requests)
        messages = [
            new_message(incident.id, unit, tell, one, body, urgent=urgent, now=told_from, zone=directory.zone)
            for one in contacts
        ]
        held = [one.send_at for one in messages if one.send_at is not None and one.send_at > now]
        if held:
            detail["held"] = len(held)
            detail["held_until"] = max(held).isoformat()
        channels = list(dict.fromkeys(one.channel for one in messages))
        told.append(Happening(kind="told", detail={**detail, "channels": channels}))
        new += messages
    return told, new


def new_message(
    incident_id: int,
    unit: Unit | None,
    tell: Tell,
    contact: Contact,
    body: Mapping[str, object],
    *,
    urgent: bool,
    now: datetime,
    zone: ZoneInfo,
) -> NewNotification:
    """One message to one address; an address from the district's files is looked up again when it is sent."""
    channel: Channel = contact.channel
    return NewNotification(
        incident_id=incident_id,
        # An approver's message is of no unit, except where the address is one of the files', which only names it.
        unit_id=unit.id if unit else (contact.unit_id if contact.id == 0 else None),
        purpose=tell.purpose,
        channel=channel,
        to_lead=tell.to_lead or contact.lead is True,
        body=body,
        contact_id=contact.id or None,
        language=contact.language,
        urgent=urgent,
        fold=contact.digest and not urgent,
        send_at=preferences.send_at(contact, urgent=urgent, now=now, zone=zone),
    )


def _unit_id(incident: Incident, tell: Tell) -> int | None:
    if tell.unit_id is not None or tell.purpose == "asked":
        return tell.unit_id
    return incident.unit_id


def _to_approvers(tell: Tell) -> bool:
    return tell.purpose == "asked" and tell.unit_id is None


def _nobody(unit: Unit | None, *, wished: bool) -> str:
    if wished:
        return "按其通知设置不予通知 / not told, as its preferences wish"
    if unit is None:
        return "没有可通知的审批人，申请在待办列表中 / no approver has an address: see the list of requests"
    return f"{unit.name}没有可用的电子通知方式，请打电话 / no webhook or mail address: telephone"
