"""Foreign names, life and papers of single devices, as people lead them; asynchronous."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

Connection = AsyncConnection[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class LifeStep:
    """One step in a device's life: from what to what, who said so and why."""

    at: datetime
    was: str
    state: str
    by: str
    reason: str


async def owners(connection: Connection, names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Of these ``family:name`` the codes and registrations of the devices that have them now."""
    cursor = await connection.execute(
        """
        SELECT n.family || ':' || n.name, d.code, d.registration
        FROM device_names n JOIN devices d ON d.id = n.device_id
        WHERE n.family || ':' || n.name = ANY(%s)
        """,
        (list(names),),
    )
    return {row[0]: (row[1], row[2]) for row in await cursor.fetchall()}


async def lock_names(connection: Connection) -> None:
    """As ingest does before it takes in strangers."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext('device_names'))")


async def set_names(connection: Connection, device_id: int, names: Sequence[str]) -> None:
    """These and no others; whoever had one of them has it no longer."""
    pairs = [name.split(":", 1) for name in names]
    wanted = {"id": device_id, "families": [one[0] for one in pairs], "names": [one[1] for one in pairs]}
    await connection.execute(
        """
        DELETE FROM device_names n WHERE n.device_id = %(id)s AND NOT EXISTS (
            SELECT FROM unnest(%(families)s::text[], %(names)s::text[]) AS w (family, name)
            WHERE (w.family, w.name) = (n.family, n.name))
        """,
        wanted,
    )
    await connection.execute(
        """
        INSERT INTO device_names AS known (family, name, device_id)
        SELECT family, name, %(id)s FROM unnest(%(families)s::text[], %(names)s::text[]) AS w (family, name)
        ON CONFLICT (family, name) DO UPDATE SET device_id = excluded.device_id
        WHERE known.device_id <> excluded.device_id
        """,
        wanted,
    )
    # Names stand in another table: the entry's version has to say that they changed.
    await connection.execute("UPDATE devices SET version = version + 1 WHERE id = %s", (device_id,))
    await connection.execute("SELECT bump_register()")


async def life(connection: Connection, device_id: int) -> list[LifeStep]:
    """Newest first."""
    async with connection.cursor(row_factory=class_row(LifeStep)) as cursor:
        await cursor.execute(
            """
            SELECT l.at, l.was, l.state, coalesce(nullif(p.display_name, ''), p.name, l.by) AS by, l.reason
            FROM device_life l LEFT JOIN users p ON l.by = 'user:' || p.id
            WHERE l.device_id = %s ORDER BY l.id DESC LIMIT 200
            """,
            (device_id,),
        )
        return await cursor.fetchall()


async def stands_there(connection: Connection, table: str, code: str) -> bool:
    """Whether a building or a facility of this code is known."""
    query = (
        "SELECT 1 FROM buildings WHERE code = %s AND state <> 'removed'"
        if table == "buildings"
        else "SELECT 1 FROM components WHERE code = %s AND state <> 'removed'"
    )
    return await (await connection.execute(query, (code,))).fetchone() is not None
