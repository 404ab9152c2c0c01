"""Back-tests that people wait for, seen by every centre that shares an address; asynchronous."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

Connection = AsyncConnection[Any]

_LOCK = 7235_0021  # advisory: who starts one counts those that run
LOST_AFTER = timedelta(seconds=15)  # a centre says every second that its back-tests run


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """One back-test as any centre knows it. ``state`` lost: the centre that ran it is gone."""

    key: str
    owner: str
    state: str
    done: int
    expected: int
    report: bytes | None
    error: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Busy:
    """Who asks has one running (``own`` is its key), or all together have enough."""

    own: str | None


async def begin(
    connection: Connection, key: str, owner: str, now: datetime, at_once: int, kept: timedelta
) -> Busy | None:
    """Write down one that starts now, or say why it may not; forgets those nobody asked for in ``kept``."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        await connection.execute("DELETE FROM backtests WHERE looked_at < %s", (now - kept,))
        cursor = await connection.execute(
            "SELECT key, owner FROM backtests WHERE state = 'running' AND alive_at > %s", (now - LOST_AFTER,)
        )
        running = await cursor.fetchall()
        own = next((row[0] for row in running if row[1] == owner), None)
        if own is not None or len(running) >= at_once:
            return Busy(own=own)
        await connection.execute(
            "INSERT INTO backtests (key, owner, looked_at, alive_at) VALUES (%s, %s, %s, %s)",
            (key, owner, now, now),
        )
    return None


async def look(connection: Connection, key: str, now: datetime) -> Stored | None:
    """How it stands, and that somebody still waits for it."""
    async with connection.cursor(row_factory=class_row(Stored)) as cursor:
        await cursor.execute(
            """
            UPDATE backtests SET looked_at = %(now)s WHERE key = %(key)s
            RETURNING key, owner, done, expected, report, error,
                CASE WHEN state = 'running' AND alive_at < %(lost)s THEN 'failed' ELSE state END AS state
            """,
            {"key": key, "now": now, "lost": now - LOST_AFTER},
        )
        return await cursor.fetchone()


async def progress(
    connection: Connection, key: str, done: int, expected: int, now: datetime
) -> tuple[str, datetime] | None:
    """Say that it runs; returns whether it still shall (its state, when somebody last asked)."""
    cursor = await connection.execute(
        "UPDATE backtests SET done = %s, expected = %s, alive_at = %s WHERE key = %s RETURNING state, looked_at",
        (done, expected, now, key),
    )
    row = await cursor.fetchone()
    return (row[0], row[1]) if row else None


async def end(connection: Connection, key: str, state: str, report: bytes | None, error: str | None) -> str:
    """Once: what has ended stays as it ended. Returns how that is."""
    await connection.execute(
        "UPDATE backtests SET state = %s, report = %s, error = %s WHERE key = %s AND state = 'running'",
        (state, report, error, key),
    )
    cursor = await connection.execute("SELECT state FROM backtests WHERE key = %s", (key,))
    row = await cursor.fetchone()
    return str(row[0]) if row else state
