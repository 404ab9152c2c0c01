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
from city.sealing import KeyRing
from city.storage import notifications, report_voices, reports, sealed
from city.storage.notifications import NewNotification

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
    keys: KeyRing,
    now: datetime,
) -> None:
    """The first notice: it is here, and this is its number. Where it stands then is not told again."""
    contact = report.contact or Contact()
    if contact.told_by == "none":
        return
    follower = {
        "id": report_id,
        "tracking": tracking,
        "language": report.language,
        "told_by": contact.told_by,
        **sealed.columns(keys, report_id, contact),
    }
    await _tell(connection, [(follower, incident, "received")], now)


async def after_changes(connection: Connection, changed: Sequence[Incident], now: datetime) -> None:
    """Tell everybody who follows these incidents where they stand, unless they were told that already.

    Called in the transaction that changed them.
    """
    heard = {one.id: one for one in changed if one.state in TOLD}
    if not heard:
        return
    followers = await reports.following(connection, list(heard))
    news = [(one, heard[one["incident"]]) for one in followers if one["told"] != heard[one["incident"]].state]
    await _tell(connection, [(one, incident, incident.state) for one, incident in news], now)


async def _tell(
    connection: Connection, news: Sequence[tuple[reports.Row, Incident, str]], now: datetime
) -> None:
    """Follower, incident and template of each notice; a power cut has thousands, so all are written at once."""
    await notifications.enqueue(
        connection, [_notice(follower, incident, template) for follower, incident, template in news], now
    )
    await report_voices.told(
        connection,
        [(follower["id"], incident.state, now, follower["told_by"]) for follower, incident, _ in news],
    )


def _notice(follower: reports.Row, incident: Incident, template: str) -> NewNotification:
    by_mail = follower["told_by"] == "email"
    return NewNotification(
        incident_id=incident.id,
        unit_id=None,
        purpose="notice",
        channel="smtp" if by_mail else "sms",
        to_lead=False,
        body={
            "purpose": "notice",
            "template": template,
            "params": {"tracking": spoken(follower["tracking"])},
        },
        report_id=follower["id"],
        address=follower["email"] if by_mail else follower["phone"],
        language=follower["language"],
    )
