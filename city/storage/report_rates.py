"""How much each sender has sent, counted in the database so that several centres count together; asynchronous.

An allowance refills steadily: a sender may send ``burst`` at once and then one every ``every``. One row holds the
instant at which the allowance would be whole again, which is all there is to remember.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Any, Literal

from psycopg import AsyncConnection

Connection = AsyncConnection[Any]
What = Literal["address", "contact", "guess", "secret"]


def sender_digest(sender: str) -> bytes:
    """What stands in the table instead of an address or a telephone number."""
    return hashlib.sha256(b"report sender " + sender.encode()).digest()


async def take(
    connection: Connection, what: What, sender: bytes, now: datetime, *, burst: int, every: timedelta
) -> timedelta | None:
    """Use one up: None when it was free, else how long until one is. A refusal uses nothing up."""
    cursor = await connection.execute(
        """
        INSERT INTO report_rates AS r (what, sender, full_at)
        VALUES (%(what)s, %(sender)s, %(now)s::timestamptz + %(every)s)
        ON CONFLICT (what, sender) DO UPDATE SET full_at = greatest(r.full_at, %(now)s) + %(every)s
            WHERE greatest(r.full_at, %(now)s) + %(every)s <= %(now)s::timestamptz + %(every)s * %(burst)s
        RETURNING full_at
        """,
        {"what": what, "sender": sender, "now": now, "every": every, "burst": burst},
    )
    if await cursor.fetchone() is not None:
        return None
    return await wait(connection, what, sender, now, burst=burst, every=every) or every


async def wait(
    connection: Connection, what: What, sender: bytes, now: datetime, *, burst: int, every: timedelta
) -> timedelta | None:
    """How long until one is free; None when one is now. Uses nothing up."""
    cursor = await connection.execute(
        "SELECT full_at FROM report_rates WHERE what = %s AND sender = %s", (what, sender)
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    left: timedelta = row[0] + every - now - every * burst
    return left if left > timedelta(0) else None


async def refuse(connection: Connection, reason: str, now: datetime) -> None:
    """Count what was turned away."""
    await connection.execute(
        """
        INSERT INTO report_refusals AS r (hour, reason, counted) VALUES (date_trunc('hour', %s::timestamptz), %s, 1)
        ON CONFLICT (hour, reason) DO UPDATE SET counted = r.counted + 1
        """,
        (now, reason),
    )
