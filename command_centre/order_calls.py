"""Units that were ordered to a place and are missing: whose step has come, and who hears of it."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from city.directory import Directory
from city.incidents import Change, Happening, Incident, Tell
from city.settings import Settings
from city.storage import orders_below
from city.storage.orders_below import SentUnit, SiteOrder
from command_centre import orders_below as rules
from command_centre.order_actions import ended, locked, sent_of
from command_centre.recording import store

Connection = AsyncConnection[Any]


async def call_up(
    connection: Connection, settings: Settings, known: Directory, now: datetime, limit: int
) -> int:
    """Tell of everybody missing whose step has come; returns how many orders. Once, however many centres run."""
    async with connection.transaction():
        due = await orders_below.claim_due(connection, now, limit)
        for _, order_id in due:
            incident, order, units = await locked(connection, order_id)
            change = await _called(connection, incident, order, units, known, now)
            await store(connection, known, [change], now, mail=bool(settings.smtp_url))
    return len(due)


async def _called(
    connection: Connection,
    incident: Incident,
    order: SiteOrder,
    units: list[SentUnit],
    known: Directory,
    now: datetime,
) -> Change:
    happenings: list[Happening] = []
    tells: list[Tell] = []
    if incident.closed_at is not None:
        order, over = ended(order, units, "system", "事件已结案 / the incident is closed", now)
        units = [replace(one, next_at=None) for one in units]
        happenings.append(over)
    else:
        for index, sent in enumerate(units):
            unit = known.units.get(sent.unit_id)
            if sent.next_at is None or sent.next_at > now or unit is None:
                continue
            step, next_at = rules.steps_due(sent_of(sent), order.arrive_by, now)
            tell = rules.told(step, unit, known)
            told = known.units[tell.unit_id] if tell.unit_id is not None else unit
            kind = "site_order_reminded" if step == 1 else "site_order_escalated"
            detail = {"order": order.id, "unit": unit.code, "step": step, "told": told.code}
            happenings.append(Happening(kind=kind, detail=detail))
            tells.append(tell)
            units[index] = replace(sent, said=step, next_at=next_at)
    await orders_below.save(connection, replace(order, version=order.version + 1), units)
    return Change(
        incident=replace(incident, version=incident.version + 1),
        happenings=tuple(happenings),
        tells=tuple(tells),
    )
