"""The list of what happened that screens follow, and the nudge that wakes every process; asynchronous."""

import asyncio
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import AsyncConnection

from city.storage.database import CHANNEL, DatabaseError, connection_arguments
from city.storage.lines import PatientAsyncConnection

Connection = AsyncConnection[Any]


async def append(connection: Connection, happened: Sequence[tuple[str, str]]) -> None:
    """Rows of (kind, id or code of the object), and one nudge; both take effect at commit."""
    if not happened:
        return
    await connection.execute(
        "INSERT INTO changes (kind, object) SELECT * FROM unnest(%s::text[], %s::text[])",
        ([kind for kind, _ in happened], [thing for _, thing in happened]),
    )
    await connection.execute(f"NOTIFY {CHANNEL}")


async def open_connection(url: str, application: str, *, autocommit: bool = False) -> Connection:
    """A connection of one loop's own; raises DatabaseError with one readable line."""
    try:
        return await PatientAsyncConnection.connect(
            url,
            autocommit=autocommit,
            **connection_arguments(application),  # type: ignore[arg-type]  # psycopg types its options one by one
        )
    except psycopg.OperationalError as error:
        raise DatabaseError("database: " + " ".join(str(error).split())[:300], retry=True) from error


async def follow(url: str, application: str, nudged: asyncio.Event) -> None:
    """Set ``nudged`` at every nudge until cancelled; raises DatabaseError when the connection is lost.

    The connection is direct: through a pooler a LISTEN would be lost without a word.
    """
    connection = await open_connection(url, application, autocommit=True)
    try:
        await connection.execute(f"LISTEN {CHANNEL}")
        nudged.set()  # what was committed before we listened
        async for _ in connection.notifies():
            nudged.set()
    except psycopg.OperationalError as error:
        raise DatabaseError("database: " + " ".join(str(error).split())[:300], retry=True) from error
    finally:
        await connection.close()
