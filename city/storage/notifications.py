"""Messages to people: written with the decision, claimed by the outbox, kept with receipt; asynchronous."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from city.contacts import Language
from city.storage.digests import FULL, MOST_SINGLY, STORM, WINDOW

Connection = AsyncConnection[Any]
Row = dict[str, Any]
Channel = Literal["webhook", "smtp", "apprise", "sms"]
State = Literal["waiting", "sent", "failed"]

AT_ONCE_EACH = 4  # attempts at one receiver at the same time: one that hangs takes no more places than these


@dataclass(frozen=True, kw_only=True, slots=True)
class NewNotification:
    """One message through one channel. ``send_at`` later than now holds it back until then.

    ``contact_id`` None = the unit's own address in the district's files, or ``address`` where it is no unit's.
    """

    incident_id: int | None
    unit_id: int | None
    purpose: str
    channel: Channel
    to_lead: bool
    body: Mapping[str, object]
    contact_id: int | None = None
    report_id: int | None = None
    address: str = ""
    language: Language = "both"
    urgent: bool = False
    fold: bool = False
    send_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Claimed:
    """A message to be sent now, with its address; ``attempts`` counts this one already.

    ``reachable`` is False when the contact was removed or switched off meanwhile; ``personal`` when a person gave
    the address themselves. ``secret`` is as it is stored: sealed, and empty until it is first needed.
    """

    id: int
    key: UUID
    incident_id: int | None
    unit_id: int | None
    unit: str
    contact_id: int | None
    report_id: int | None
    purpose: str
    channel: Channel
    to_lead: bool
    language: Language
    body: Mapping[str, object]
    urgent: bool
    attempts: int
    created_at: datetime
    began_at: datetime
    address: str
    secret: str
    reachable: bool
    personal: bool
    receiver: str


async def enqueue(connection: Connection, orders: Sequence[NewNotification], now: datetime) -> None:
    """Write messages in the transaction of the decision they tell of."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            """
            INSERT INTO notifications
                (incident_id, unit_id, purpose, channel, to_lead, body, contact_id, report_id, address, language,
                 urgent, fold, held, next_attempt_at, began_at, created_at)
            VALUES (%(incident_id)s, %(unit_id)s, %(purpose)s, %(channel)s, %(to_lead)s, %(body)s, %(contact_id)s,
                    %(report_id)s, %(address)s, %(language)s, %(urgent)s, %(fold)s AND NOT %(urgent)s,
                    %(at)s > %(now)s AND NOT %(urgent)s, %(at)s, %(at)s, %(now)s)
            """,
            [
                {name: getattr(order, name) for name in NewNotification.__dataclass_fields__}
                | {"body": Jsonb(dict(order.body)), "at": order.send_at or now, "now": now}
                for order in orders
            ],
        )


async def enqueue_notice(
    connection: Connection,
    *,
    report_id: int,
    incident_id: int | None,
    channel: Literal["email", "sms", "webhook"],
    address: str,
    language: Language,
    template: str,
    params: Mapping[str, str],
    now: datetime,
) -> None:
    """A notice to whoever reported something, by the way they gave; templates are those of notices.toml.

    The address is forgotten as soon as it was sent. Another system (webhook) gets template and parameters as data.
    """
    way: Channel = "smtp" if channel == "email" else channel
    notice = NewNotification(
        incident_id=incident_id,
        unit_id=None,
        purpose="notice",
        channel=way,
        to_lead=False,
        body={"purpose": "notice", "template": template, "params": dict(params)},
        report_id=report_id,
        address=address,
        language=language,
    )
    await enqueue(connection, [notice], now)


async def forget_report(connection: Connection, report_id: int) -> None:
    """Addresses of a reporter who is to be forgotten; what waits is not sent any more."""
    await connection.execute(
        "UPDATE notifications SET address = '', state = CASE state WHEN 'waiting' THEN 'failed' ELSE state END,"
        " last_error = CASE state WHEN 'waiting' THEN 'the reporter was forgotten' ELSE last_error END"
        " WHERE report_id = %s",
        (report_id,),
    )


# ── sending ──────────────────────────────────────────────────────────────────────────────────────────


_CLAIM = f"""
    WITH ranked AS (
        SELECT id, row_number() OVER (
            PARTITION BY receiver ORDER BY urgent DESC, next_attempt_at, id) AS place
        FROM notifications
        WHERE state = 'waiting' AND next_attempt_at <= %(now)s AND receiver <> ALL(%(crowded)s::text[])
          AND NOT (fold AND receiver IN ({STORM} UNION ALL SELECT receiver FROM ({FULL}) f
                   WHERE f.free_at > %(now)s))
    ), due AS (
        SELECT n.id, n.unit_id, n.contact_id FROM notifications n JOIN ranked r USING (id)
        WHERE r.place <= %(each)s AND n.state = 'waiting' AND n.next_attempt_at <= %(now)s
        ORDER BY n.urgent DESC, n.next_attempt_at, n.id LIMIT %(limit)s
        FOR NO KEY UPDATE OF n SKIP LOCKED
    )
    UPDATE notifications n
    SET attempts = n.attempts + 1, next_attempt_at = %(leased)s, attempted_at = %(now)s
    FROM due LEFT JOIN units u ON u.id = due.unit_id LEFT JOIN contacts c ON c.id = due.contact_id
        LEFT JOIN users p ON p.id = c.user_id
    WHERE n.id = due.id
    RETURNING n.id, n.key, n.incident_id, n.unit_id, coalesce(u.code, '') AS unit, n.contact_id, n.report_id,
        n.purpose, n.channel, n.to_lead, n.language, n.body, n.urgent, n.attempts, n.created_at, n.began_at,
        CASE WHEN n.contact_id IS NOT NULL THEN c.address
             WHEN n.unit_id IS NULL THEN n.address
             WHEN n.channel = 'webhook' THEN u.webhook_url
             WHEN n.to_lead AND u.lead_email <> '' THEN u.lead_email
             ELSE u.email END AS address,
        CASE WHEN n.contact_id IS NOT NULL THEN c.secret ELSE coalesce(u.webhook_secret, '') END AS secret,
        c.id IS NULL OR (c.active AND c.removed_at IS NULL AND p.disabled IS NOT TRUE) AS reachable,
        c.user_id IS NOT NULL AS personal, n.receiver
"""  # noqa: S608  # constants of this file


async def claim(
    connection: Connection,
    now: datetime,
    limit: int,
    lease: timedelta,
    crowded: Collection[str] = (),
) -> list[Claimed]:
    """Take messages that are due, the urgent first; until the lease ends nobody else does, then they are due again.

    The caller commits before it sends: a worker killed in between leaves a message that is sent once more, under
    the same key. ``crowded`` receivers are passed over; of others at most AT_ONCE_EACH are taken. What is to become
    a digest is left alone.
    """
    async with connection.cursor(row_factory=class_row(Claimed)) as cursor:
        await cursor.execute(
            _CLAIM,
            {
                "now": now,
                "limit": limit,
                "leased": now + lease,
                "crowded": list(crowded),
                "each": AT_ONCE_EACH,
                "most": MOST_SINGLY,
                "window": WINDOW,
            },
        )
        return await cursor.fetchall()


async def renew(
    connection: Connection, claims: Sequence[tuple[int, int]], until: datetime
) -> set[tuple[int, int]]:
    """Lease these (message, attempt) until then; returns those that are still the caller's."""
    cursor = await connection.execute(
        """
        UPDATE notifications n SET next_attempt_at = %s
        FROM unnest(%s::bigint[], %s::integer[]) AS c (id, attempts)
        WHERE n.id = c.id AND n.attempts = c.attempts AND n.state = 'waiting' RETURNING n.id, n.attempts
        """,
        (until, [claim[0] for claim in claims], [claim[1] for claim in claims]),
    )
    return {(row[0], row[1]) for row in await cursor.fetchall()}


async def settle(
    connection: Connection,
    claimed: Claimed,
    *,
    state: State,
    next_attempt_at: datetime,
    receipt: str | None = None,
    last_error: str | None = None,
) -> bool:
    """Write how an attempt ended; False when our lease had ended and somebody else took the message."""
    cursor = await connection.execute(
        """
        UPDATE notifications SET state = %(state)s, next_attempt_at = %(next)s, receipt = %(receipt)s,
            last_error = %(error)s, address = CASE WHEN %(state)s = 'sent' THEN '' ELSE address END
        WHERE id = %(id)s AND state = 'waiting' AND attempts = %(attempts)s
        """,
        {
            "state": state,
            "next": next_attempt_at,
            "receipt": receipt,
            "error": last_error,
            "id": claimed.id,
            "attempts": claimed.attempts,
        },
    )
    return cursor.rowcount == 1


async def siblings(connection: Connection, notification_id: int) -> list[Row]:
    """Messages of the same telling through other channels: contact_id, channel, to_lead, state.

    The same telling is the same incident, unit, purpose and instant.
    """
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT o.contact_id, o.channel, o.to_lead, o.state FROM notifications n JOIN notifications o
            ON o.incident_id = n.incident_id AND o.unit_id IS NOT DISTINCT FROM n.unit_id AND o.purpose = n.purpose
                AND o.created_at = n.created_at
            WHERE n.id = %s
            """,
            (notification_id,),
        )
        return await cursor.fetchall()


async def enqueue_instead(
    connection: Connection, failed_id: int, other: NewNotification, now: datetime
) -> None:
    """The same message by another way; it counts to the same telling, so that each way is tried once."""
    await connection.execute(
        """
        INSERT INTO notifications (incident_id, unit_id, purpose, channel, to_lead, body, contact_id, language, urgent,
                                   fold, held, next_attempt_at, began_at, created_at)
        SELECT incident_id, unit_id, purpose, %(channel)s, %(to_lead)s, body, %(contact)s, %(language)s, urgent,
               %(fold)s AND NOT urgent, %(at)s > %(now)s AND NOT urgent, %(at)s, %(at)s, created_at
        FROM notifications WHERE id = %(id)s
        """,
        {
            "id": failed_id,
            "channel": other.channel,
            "to_lead": other.to_lead,
            "contact": other.contact_id,
            "language": other.language,
            "fold": other.fold,
            "at": other.send_at or now,
            "now": now,
        },
    )
