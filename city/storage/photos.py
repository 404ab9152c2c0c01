"""What is known of photos and what they belong to; the files stand outside the database. Asynchronous."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg import AsyncConnection

Connection = AsyncConnection[Any]
UsedFor = Literal["report", "incident", "patrol", "device", "component", "building"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Photo:
    """``digest`` is SHA-256 of what is kept, ``original`` of what was sent; 32 bytes each. Sizes in pixels."""

    digest: bytes
    original: bytes
    bytes: int
    width: int
    height: int


async def add(connection: Connection, photos: Sequence[Photo], actor: str, at: datetime) -> None:
    """Know photos; the same picture twice is one."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            """
            INSERT INTO photos (digest, original, bytes, width, height, stored_at, actor)
            VALUES (%s, %s, %s, %s, %s, %s, %s)
            ON CONFLICT (digest) DO UPDATE SET stored_at = excluded.stored_at
            """,
            [(p.digest, p.original, p.bytes, p.width, p.height, at, actor) for p in photos],
        )


async def unknown(connection: Connection, digests: Sequence[bytes]) -> list[bytes]:
    """Those of ``digests`` that nobody has sent."""
    cursor = await connection.execute("SELECT digest FROM photos WHERE digest = ANY(%s)", (list(digests),))
    known = {bytes(row[0]) for row in await cursor.fetchall()}
    return [digest for digest in digests if digest not in known]


async def use(connection: Connection, used_for: UsedFor, thing: int, digests: Sequence[bytes]) -> None:
    """They belong to this thing from now on, and are kept as long as it."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO photo_uses (digest, used_for, object) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            [(digest, used_for, thing) for digest in digests],
        )


async def of(connection: Connection, used_for: UsedFor, thing: int) -> list[bytes]:
    """Digests of what belongs to a thing."""
    cursor = await connection.execute(
        "SELECT digest FROM photo_uses WHERE used_for = %s AND object = %s ORDER BY digest", (used_for, thing)
    )
    return [bytes(row[0]) for row in await cursor.fetchall()]


async def drop_unused(connection: Connection, before: datetime, limit: int) -> list[bytes]:
    """Forget photos that were sent before ``before`` and belong to nothing; their digests, to remove the files."""
    cursor = await connection.execute(
        """
        DELETE FROM photos WHERE digest IN (
            SELECT p.digest FROM photos p WHERE p.stored_at < %s
              AND NOT EXISTS (SELECT FROM photo_uses u WHERE u.digest = p.digest)
            ORDER BY p.stored_at LIMIT %s FOR UPDATE OF p SKIP LOCKED)
        RETURNING digest
        """,
        (before, limit),
    )
    return [bytes(row[0]) for row in await cursor.fetchall()]
