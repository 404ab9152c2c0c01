"""Which centres run, what each sees of its own machine, and what one of them has done for all; asynchronous.

Times are the database's: the clocks of two machines differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

Connection = AsyncConnection[Any]

ALIVE = timedelta(seconds=15)  # three of a centre's words may be missed


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """A centre's word about itself. ``disk`` is ok, little or none; ``certificates_end`` name to instant, ISO 8601."""

    id: str
    host: str
    leaving: bool = False
    disk: str = "ok"
    disk_free_bytes: int | None = None
    certificates_end: Mapping[str, str]


async def say(connection: Connection, said: Said) -> None:
    """It runs, and this is what it sees."""
    await connection.execute(
        """
        INSERT INTO centres (id, host, leaving, disk, disk_free_bytes, certificates_end)
        VALUES (%(id)s, %(host)s, %(leaving)s, %(disk)s, %(free)s, %(ends)s)
        ON CONFLICT (id) DO UPDATE SET seen_at = now(), leaving = EXCLUDED.leaving, disk = EXCLUDED.disk,
            disk_free_bytes = EXCLUDED.disk_free_bytes, certificates_end = EXCLUDED.certificates_end
        """,
        {
            "id": said.id,
            "host": said.host,
            "leaving": said.leaving,
            "disk": said.disk,
            "free": said.disk_free_bytes,
            "ends": Jsonb(dict(said.certificates_end)),
        },
    )


async def gone(connection: Connection, centre: str) -> None:
    """It has ended; the others need not wait for its silence."""
    await connection.execute("DELETE FROM centres WHERE id = %s", (centre,))


async def others(connection: Connection, centre: str) -> int:
    """How many centres beside this one run and stay."""
    cursor = await connection.execute(
        "SELECT count(*) FROM centres WHERE id <> %s AND NOT leaving AND seen_at > now() - %s",
        (centre, ALIVE),
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def disks(connection: Connection) -> list[tuple[str, str, int]]:
    """Host, ok, little or none, and bytes free, of each running centre's folder."""
    cursor = await connection.execute(
        "SELECT host, disk, disk_free_bytes FROM centres WHERE seen_at > now() - %s AND disk_free_bytes IS NOT NULL",
        (ALIVE,),
    )
    return [(str(row[0]), str(row[1]), int(row[2])) for row in await cursor.fetchall()]


async def certificates(connection: Connection) -> dict[str, datetime]:
    """Until when each certificate is good, as running centres see them; of one name the first that ends."""
    cursor = await connection.execute(
        """
        SELECT e.key, min(e.value::timestamptz) FROM centres c, jsonb_each_text(c.certificates_end) e
        WHERE c.seen_at > now() - %s GROUP BY e.key
        """,
        (ALIVE,),
    )
    return {str(row[0]): row[1] for row in await cursor.fetchall()}


async def take_turn(connection: Connection, duty: str, every: timedelta) -> bool:
    """Whether it is time for this duty and nobody else has taken it; taken with the caller's transaction."""
    cursor = await connection.execute(
        """
        INSERT INTO duties (name, done_at) VALUES (%(duty)s, now())
        ON CONFLICT (name) DO UPDATE SET done_at = now() WHERE duties.done_at <= now() - %(every)s RETURNING name
        """,
        {"duty": duty, "every": every},
    )
    return await cursor.fetchone() is not None
