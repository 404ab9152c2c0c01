"""Orders to people: written with the decision, claimed by the outbox, kept with receipt; asynchronous."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

Connection = AsyncConnection[Any]
Channel = Literal["webhook", "smtp"]


@dataclass(frozen=True, kw_only=True, slots=True)
class NewNotification:
    """One order through one channel."""

    incident_id: int
    unit_id: int
    purpose: str
    channel: Channel
    to_lead: bool
    body: Mapping[str, object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Claimed:
    """An order to be sent now, with its unit's addresses; ``attempts`` counts this one already."""

    id: int
    key: UUID
    incident_id: int
    unit_id: int
    unit: str
    purpose: str
    channel: Channel
    to_lead: bool
    body: Mapping[str, object]
    attempts: int
    created_at: datetime
    webhook_url: str
    webhook_secret: str
    email: str
    lead_email: str


async def enqueue(connection: Connection, orders: Sequence[NewNotification], now: datetime) -> None:
    """Write orders in the transaction of the decision they tell of."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            """
            INSERT INTO notifications
                (incident_id, unit_id, purpose, channel, to_lead, body, next_attempt_at, created_at)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
            """,
            [
                (o.incident_id, o.unit_id, o.purpose, o.channel, o.to_lead, Jsonb(dict(o.body)), now, now)
                for o in orders
            ],
        )


async def claim(connection: Connection, now: datetime, limit: int, lease: timedelta) -> list[Claimed]:
    """Take orders that are due; until the lease ends nobody else does, after it they are due again.

    The caller commits before it sends: a worker killed in between leaves an order that is sent once more,
    under the same key. A unit's webhook secret is made when it is first needed.
    """
    async with connection.cursor(row_factory=class_row(Claimed)) as cursor:
        await cursor.execute(
            """
            WITH due AS (
                SELECT id FROM notifications WHERE state = 'waiting' AND next_attempt_at <= %(now)s
                ORDER BY next_attempt_at, id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
            ), secret AS (
                UPDATE units SET webhook_secret =
                    replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '')
                WHERE webhook_url <> '' AND webhook_secret = ''
                  AND id IN (SELECT unit_id FROM notifications JOIN due USING (id) WHERE channel = 'webhook')
                RETURNING id, webhook_secret
            )
            UPDATE notifications n SET attempts = n.attempts + 1, next_attempt_at = %(leased)s
            FROM due, units u LEFT JOIN secret s ON s.id = u.id
            WHERE n.id = due.id AND u.id = n.unit_id
            RETURNING n.id, n.key, n.incident_id, n.unit_id, u.code AS unit, n.purpose, n.channel, n.to_lead,
                n.body, n.attempts, n.created_at, u.webhook_url, u.email, u.lead_email,
                coalesce(s.webhook_secret, u.webhook_secret) AS webhook_secret
            """,
            {"now": now, "limit": limit, "leased": now + lease},
        )
        return await cursor.fetchall()


async def next_due(connection: Connection) -> datetime | None:
    """When the earliest waiting order is due; None when none waits."""
    cursor = await connection.execute(
        "SELECT min(next_attempt_at) FROM notifications WHERE state = 'waiting'"
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def settle(
    connection: Connection,
    claimed: Claimed,
    *,
    state: Literal["waiting", "sent", "failed"],
    next_attempt_at: datetime,
    receipt: str | None = None,
    last_error: str | None = None,
) -> bool:
    """Write how an attempt ended; False when our lease had ended and somebody else took the order."""
    cursor = await connection.execute(
        """
        UPDATE notifications SET state = %s, next_attempt_at = %s, receipt = %s, last_error = %s
        WHERE id = %s AND state = 'waiting' AND attempts = %s
        """,
        (state, next_attempt_at, receipt, last_error, claimed.id, claimed.attempts),
    )
    return cursor.rowcount == 1


async def of_incident(connection: Connection, incident_id: int) -> list[tuple[Any, ...]]:
    """(purpose, channel, state, attempts, receipt, last_error, to_lead) of its orders, oldest first."""
    cursor = await connection.execute(
        "SELECT purpose, channel, state, attempts, receipt, last_error, to_lead FROM notifications"
        " WHERE incident_id = %s ORDER BY id",
        (incident_id,),
    )
    return await cursor.fetchall()
