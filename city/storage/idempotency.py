"""What a repeated POST with the same key answers; asynchronous, in the transaction of the work itself."""

from typing import Any

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

Connection = AsyncConnection[Any]


async def earlier(connection: Connection, actor: str, route: str, key: str) -> dict[str, Any] | None:
    """What was kept for this key; None the first time.

    Whoever asks second waits until the first one's transaction has ended, and then sees what it kept.
    """
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"idempotency {actor} {route} {key}",)
    )
    cursor = await connection.execute(
        "SELECT answer FROM idempotency_keys WHERE actor = %s AND route = %s AND key = %s",
        (actor, route, key),
    )
    row = await cursor.fetchone()
    return None if row is None else dict(row[0])


async def keep(connection: Connection, actor: str, route: str, key: str, answer: dict[str, Any]) -> None:
    """Keep an answer for those who ask again; committed together with the work."""
    await connection.execute(
        "INSERT INTO idempotency_keys (key, actor, route, answer) VALUES (%s, %s, %s, %s)",
        (key, actor, route, Jsonb(answer)),
    )
