"""Decisions into the database: incident, chained events, orders to people and the screens' list, as one."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from city.directory import Directory
from city.incidents import Change, Happening, Incident, Tell
from city.storage import alarms, changes, incidents, notifications
from city.storage.notifications import Channel, NewNotification
from city.units import Unit
from command_centre.notify import message

Connection = AsyncConnection[Any]


async def store(
    connection: Connection,
    directory: Directory,
    decided: Sequence[Change],
    now: datetime,
    *,
    mail: bool,
) -> list[Incident]:
    """Write changes inside the caller's transaction and return the incidents as stored, in the same order.

    Incidents with an id of 0 or less are new and get number and id here. ``mail`` says whether a mail server
    is configured. Every other incident must be locked by this transaction.
    """
    fresh = [index for index, change in enumerate(decided) if change.incident.id <= 0]
    current = [change.incident for change in decided]
    if fresh:
        day = now.astimezone(directory.zone).date()
        numbers = await incidents.take_numbers(connection, day, len(fresh))
        numbered = [
            replace(current[index], number=number) for index, number in zip(fresh, numbers, strict=True)
        ]
        ids = await incidents.insert(connection, numbered)
        for index, incident, incident_id in zip(fresh, numbered, ids, strict=True):
            current[index] = replace(incident, id=incident_id)
    chained, orders = [], []
    for index, change in enumerate(decided):
        told, new_orders = await _orders(connection, directory, current[index], change, mail=mail)
        one = incidents.chain(current[index], [*change.happenings, *told], now)
        current[index] = replace(current[index], last_seq=one.last_seq, head=one.head)
        chained.append(one)
        orders += new_orders
    await incidents.append(connection, chained)
    await incidents.save(connection, current)
    await notifications.enqueue(connection, orders, now)
    for incident, change in zip(current, decided, strict=True):
        if change.alarms_acknowledged_by is not None:
            await alarms.acknowledge_of_incident(connection, incident.id, change.alarms_acknowledged_by, now)
    new = set(fresh)
    await changes.append(
        connection,
        [
            ("incident.opened" if index in new else "incident.changed", str(incident.id))
            for index, incident in enumerate(current)
        ],
    )
    return current


async def _orders(
    connection: Connection, directory: Directory, incident: Incident, change: Change, *, mail: bool
) -> tuple[list[Happening], list[NewNotification]]:
    """What goes out for this change, and what the timeline says of it."""
    told: list[Happening] = []
    orders: list[NewNotification] = []
    if not change.tells:
        return told, orders
    position = change.position or await incidents.coordinates(connection, incident.id)
    for tell in change.tells:
        unit_id = tell.unit_id if tell.unit_id is not None else incident.unit_id
        unit = directory.units.get(unit_id) if unit_id is not None else None
        if unit is None:
            continue
        channels = _channels(unit, tell, mail=mail)
        detail: dict[str, object] = {"unit": unit.code, "purpose": tell.purpose, "to_lead": tell.to_lead}
        if not channels:
            told.append(
                Happening(
                    kind="nobody_told",
                    detail=detail,
                    reason=(
                        f"{unit.name}没有可用的电子通知方式，请打电话 / no webhook or mail address: telephone"
                    ),
                )
            )
            continue
        told.append(Happening(kind="told", detail={**detail, "channels": list(channels)}))
        body = message.compose(incident, directory, unit, tell.purpose, position)
        orders += [
            NewNotification(
                incident_id=incident.id,
                unit_id=unit.id,
                purpose=tell.purpose,
                channel=channel,
                to_lead=tell.to_lead,
                body=body,
            )
            for channel in channels
        ]
    return told, orders


def _channels(unit: Unit, tell: Tell, *, mail: bool) -> list[Channel]:
    channels: list[Channel] = []
    if unit.webhook_url:
        channels.append("webhook")
    if mail and message.address(tell.to_lead, unit.email, unit.lead_email):
        channels.append("smtp")
    return channels
