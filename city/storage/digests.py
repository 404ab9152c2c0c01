"""Messages that go together: found, held until they do, folded, and ended as their digest ended; asynchronous."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

Connection = AsyncConnection[Any]
Row = dict[str, Any]
State = Literal["waiting", "sent", "failed"]

MOST_SINGLY = 10  # to one receiver within WINDOW; what is more goes together in a digest
WINDOW = timedelta(seconds=60)

# Waiting ones that are due: too many for one receiver, or more than one that had to wait (night, or a storm).
STORM = """
    SELECT receiver FROM notifications WHERE fold AND state = 'waiting' AND next_attempt_at <= %(now)s
    GROUP BY receiver HAVING count(*) > %(most)s OR (count(*) > 1 AND bool_or(held))
"""
# Receivers that have had enough for this minute, and when it is over.
FULL = """
    SELECT receiver, min(attempted_at) + %(window)s AS free_at FROM notifications
    WHERE (fold OR purpose = 'digest') AND attempted_at > %(now)s - %(window)s
    GROUP BY receiver HAVING count(*) >= %(most)s
"""


async def hold_storms(connection: Connection, now: datetime) -> None:
    """What a receiver gets beyond its share of a minute waits for the minute's end, to go together."""
    await connection.execute(
        f"""
        UPDATE notifications n SET held = true, next_attempt_at = f.free_at, began_at = greatest(n.began_at, f.free_at)
        FROM ({FULL}) f
        WHERE n.receiver = f.receiver AND n.fold AND n.state = 'waiting' AND n.next_attempt_at <= %(now)s AND NOT n.held
          AND f.free_at > %(now)s
        """,  # noqa: S608  # constants of this file
        {"now": now, "most": MOST_SINGLY, "window": WINDOW},
    )


async def storms(connection: Connection, now: datetime) -> list[str]:
    """Receivers whose waiting messages are to become one digest."""
    cursor = await connection.execute(STORM, {"now": now, "most": MOST_SINGLY})
    return [row[0] for row in await cursor.fetchall()]


async def lock_storm(connection: Connection, receiver: str, now: datetime, limit: int) -> list[Row]:
    """One receiver's due messages, locked, oldest first; those that somebody else has are left to them."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT id, unit_id, contact_id, channel, to_lead, language, body FROM notifications
            WHERE receiver = %s AND fold AND state = 'waiting' AND next_attempt_at <= %s
            ORDER BY id LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
            """,
            (receiver, now, limit),
        )
        return await cursor.fetchall()


async def fold(
    connection: Connection, folded: Sequence[Row], body: Mapping[str, object], now: datetime
) -> int:
    """Write the digest of locked messages of one receiver; they go with it from now on. Returns its id."""
    first = folded[0]
    cursor = await connection.execute(
        """
        INSERT INTO notifications (unit_id, contact_id, channel, to_lead, language, purpose, body, next_attempt_at,
                                   began_at, created_at)
        VALUES (%(unit_id)s, %(contact_id)s, %(channel)s, %(to_lead)s, %(language)s, 'digest', %(digest)s, %(now)s,
                %(now)s, %(now)s) RETURNING id
        """,
        {**first, "digest": Jsonb(dict(body)), "now": now},
    )
    row = await cursor.fetchone()
    digest_id = int(row[0]) if row else 0
    await connection.execute(
        "UPDATE notifications SET state = 'folded', folded_into = %s WHERE id = ANY(%s)",
        (digest_id, [one["id"] for one in folded]),
    )
    return digest_id


async def settle_folded(
    connection: Connection, digest_id: int, *, state: State, receipt: str | None, last_error: str | None
) -> list[Row]:
    """What went with a digest ends as it did; returns their id, incident_id, purpose. ``waiting`` changes nothing."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        if state == "waiting":
            await cursor.execute(
                "SELECT id, incident_id, purpose FROM notifications WHERE folded_into = %s ORDER BY id",
                (digest_id,),
            )
        else:
            await cursor.execute(
                "UPDATE notifications SET state = %s, receipt = %s, last_error = %s"
                " WHERE folded_into = %s AND state = 'folded' RETURNING id, incident_id, purpose",
                (state, receipt, last_error, digest_id),
            )
        return await cursor.fetchall()
