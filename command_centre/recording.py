"""Decisions into the database: incident, chained events, orders to people and the screens' list, as one."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog
from psycopg import AsyncConnection

from city import tracing
from city.directory import Directory
from city.incidents import Change, Incident
from city.storage import alarms, changes, contacts, incidents, notifications, requests
from command_centre import clock_keeping, notices
from command_centre.notify import telling

Connection = AsyncConnection[Any]
log = structlog.get_logger(__name__)


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
    current = await _numbered(connection, directory, [change.incident for change in decided], fresh, now)
    settled = await clock_keeping.settle(connection, directory, current, decided, now)
    current = [incident for incident, _ in settled]
    changes_of = list(zip(current, decided, strict=True))
    reachable = await _reachable(connection, changes_of, mail=mail)
    positions = await _positions(connection, changes_of)
    chained, orders = [], []
    for index, change in enumerate(decided):
        told, new_orders = telling.orders(
            current[index], directory, change, reachable, positions.get(current[index].id), now
        )
        one = incidents.chain(current[index], [*change.happenings, *settled[index][1], *told], now)
        current[index] = replace(current[index], last_seq=one.last_seq, head=one.head)
        chained.append(one)
        orders += new_orders
    await incidents.append(connection, chained)
    await incidents.save(connection, current)
    await requests.save(connection, [one for change in decided for one in change.requests])
    await incidents.set_co_units(
        connection,
        [
            (incident.id, change.co_units)
            for incident, change in zip(current, decided, strict=True)
            if change.co_units is not None
        ],
    )
    await notifications.enqueue(connection, orders, now)
    await notices.after_changes(connection, current, now)
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
    for index, (incident, change) in enumerate(zip(current, decided, strict=True)):
        _say(incident, change, opened=index in new)
    return current


def _say(incident: Incident, change: Change, *, opened: bool) -> None:
    """A line for each change: what leads to it from an alarm or a call. Before the commit, which may still fail."""
    named = (one.detail.get("alarm") for one in change.happenings)
    log.info(
        "incident opened" if opened else "incident changed",
        number=incident.number,
        category=incident.category,
        incident_class=incident.incident_class,
        assigned=incident.unit_id is not None,
        events=[one.kind for one in change.happenings][:20],
        trace=sorted({tracing.of_alarm(alarm) for alarm in named if isinstance(alarm, int)})[:20],
    )


async def _numbered(
    connection: Connection,
    directory: Directory,
    current: list[Incident],
    fresh: Sequence[int],
    now: datetime,
) -> list[Incident]:
    """The incidents, those at ``fresh`` stored with their numbers and ids."""
    if not fresh:
        return current
    day = now.astimezone(directory.zone).date()
    numbers = await incidents.take_numbers(connection, day, len(fresh))
    numbered = [replace(current[index], number=number) for index, number in zip(fresh, numbers, strict=True)]
    ids = await incidents.insert(connection, numbered)
    for index, incident, incident_id in zip(fresh, numbered, ids, strict=True):
        current[index] = replace(incident, id=incident_id)
    return current


async def _reachable(
    connection: Connection, changes_of: Sequence[tuple[Incident, Change]], *, mail: bool
) -> telling.Reachable:
    approvers = await contacts.of_approvers(connection) if telling.asks_approvers(changes_of) else ()
    units = await contacts.reachable(connection, telling.told_units(changes_of))
    return telling.Reachable(units=units, approvers=approvers, mail=mail)


async def _positions(
    connection: Connection, changes_of: Sequence[tuple[Incident, Change]]
) -> dict[int, tuple[float, float]]:
    """By incident that somebody is told of: the change's word, its own place, or its first alarm's device."""
    known: dict[int, tuple[float, float]] = {}
    lacking = []
    for incident, change in changes_of:
        if not change.tells:
            continue
        if change.position is not None:
            known[incident.id] = change.position
        elif incident.longitude is not None and incident.latitude is not None:
            known[incident.id] = (incident.longitude, incident.latitude)
        else:
            lacking.append(incident.id)
    return known | (await incidents.coordinates(connection, lacking) if lacking else {})
