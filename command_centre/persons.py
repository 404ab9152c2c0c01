"""Everything about one reporter given out (PIPL art. 45, GDPR art. 15) or taken away (art. 47; art. 17).

A person is who gave a telephone number, or who holds a tracking number; then all reports with that contact's number.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from city.reports import dialled, read_tracking, spoken
from city.sealing import KeyRing
from city.storage import persons, reports, sealed

Connection = AsyncConnection[Any]
MOST_REPORTS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """By which of the two somebody is looked for; the other is empty."""

    phone: str = ""
    tracking: str = ""


async def found(connection: Connection, keys: KeyRing, asked: Asked) -> list[int]:
    """Ids of the person's reports, none when nobody is known under it. Raises SealingError."""
    if asked.tracking:
        number = read_tracking(asked.tracking)
        report = await reports.by_tracking(connection, number) if number else None
        if report is None:
            return []
        contact = await reports.contact(connection, report.id, keys)
        others = await sealed.reports_of(connection, keys, contact.phone) if contact and contact.phone else []
        return sorted({report.id, *others})[:MOST_REPORTS]
    if not dialled(asked.phone):
        return []
    return (await sealed.reports_of(connection, keys, asked.phone))[:MOST_REPORTS]


async def export(
    connection: Connection, keys: KeyRing, asked: Asked, *, actor: str, reason: str
) -> list[dict[str, Any]]:
    """What is kept, one entry a report; that it was given out is on the record. Raises SealingError."""
    ids = await found(connection, keys, asked)
    kept = await persons.reports(connection, ids)
    for row in kept:
        contact = await reports.contact(connection, row["id"], keys)
        row["contact"] = (
            {name: getattr(contact, name) for name in ("name", "phone", "email", "told_by", "call_back")}
            if contact
            else None
        )
        row["tracking"] = spoken(row["tracking"])
        await reports.record(
            connection, actor=actor, action="report.exported", report_id=row["id"], reason=reason
        )
    await persons.record(connection, actor=actor, action="person.exported", reports=len(ids), reason=reason)
    return kept


async def erase(
    connection: Connection, keys: KeyRing, asked: Asked, *, actor: str, reason: str, now: datetime
) -> int:
    """Take away everything that the person said of themselves; how many reports. That there were reports stays."""
    ids = await found(connection, keys, asked)
    for report_id in ids:
        await erase_report(connection, report_id, now)
        await reports.record(
            connection, actor=actor, action="report.erased", report_id=report_id, reason=reason
        )
    await persons.record(connection, actor=actor, action="person.erased", reports=len(ids), reason=reason)
    return len(ids)


async def erase_report(connection: Connection, report_id: int, now: datetime) -> None:
    """One report's contact, texts and photos."""
    await reports.erase(connection, report_id, now)
    await persons.take_photos(connection, report_id)


async def erase_old(connection: Connection, before: datetime, limit: int, now: datetime) -> int:
    """Reports whose matter has long been over lose their words; returns how many."""
    async with connection.transaction():
        ids = await persons.old_reports(connection, before, limit)
        for report_id in ids:
            await erase_report(connection, report_id, now)
    return len(ids)
