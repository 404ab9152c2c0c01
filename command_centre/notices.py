"""Telling reporters of each step, by the way they chose; and one row for each time that they were told.

What a reporter was told last is compared with how the incident stands, not with how it stood before this change:
a merge, a split or a process that died in between then neither repeats a notice nor leaves one out.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from city.incidents import Incident
from city.reports import Contact, NewReport, spoken
from city.storage import notifications, report_voices, reports

# States that reporters hear of; who has arrived is for the desk, and a merged one speaks through the other.
TOLD = frozenset(
    {
        "filed",
        "returned",
        "dispatched",
        "acknowledged",
        "rework",
        "suspended",
        "handled",
        "verified",
        "fed_back",
        "archived",
        "voided",
    }
)

Connection = AsyncConnection[Any]


async def received(
    connection: Connection,
    report_id: int,
    tracking: str,
    report: NewReport,
    incident: Incident,
    now: datetime,
) -> None:
    """The first notice: it is here, and this is its number. Where it stands then is not told again."""
    contact = report.contact or Contact()
    if contact.told_by == "none":
        return
    await _tell(
        connection,
        {
            "id": report_id,
            "tracking": tracking,
            "language": report.language,
            "told_by": contact.told_by,
            "phone": contact.phone,
            "email": contact.email,
        },
        incident,
        "received",
        now,
    )


async def after_changes(connection: Connection, changed: Sequence[Incident], now: datetime) -> None:
    """Tell everybody who follows these incidents where they stand, unless they were told that already.

    Called in the transaction that changed them.
    """
    heard = {one.id: one for one in changed if one.state in TOLD}
    if not heard:
        return
    for follower in await reports.following(connection, list(heard)):
        incident = heard[follower["incident"]]
        if follower["told"] != incident.state:
            await _tell(connection, follower, incident, incident.state, now)


async def _tell(
    connection: Connection, follower: reports.Row, incident: Incident, template: str, now: datetime
) -> None:
    by_mail = follower["told_by"] == "email"
    await notifications.enqueue_notice(
        connection,
        report_id=follower["id"],
        incident_id=incident.id,
        channel="email" if by_mail else "sms",
        address=follower["email"] if by_mail else follower["phone"],
        language=follower["language"],
        template=template,
        params={"tracking": spoken(follower["tracking"])},
        now=now,
    )
    await report_voices.told(connection, follower["id"], incident.state, follower["told_by"], now)
