"""Other systems that send signed reports: their secrets, and when they last did; asynchronous."""

from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from city.sealing import KeyRing
from city.storage import audit
from city.storage.shared_secrets import OF_SYSTEM

Connection = AsyncConnection[Any]
Row = dict[str, Any]


async def secret(connection: Connection, keys: KeyRing, code: str) -> str | None:
    """What an active system signs with; None for an unknown or stopped one. Raises SealingError."""
    cursor = await connection.execute("SELECT secret FROM intake_systems WHERE code = %s AND active", (code,))
    row = await cursor.fetchone()
    return OF_SYSTEM.opened(keys, code, str(row[0])) if row else None


async def used(connection: Connection, code: str, at: datetime) -> None:
    """It sent something with a right signature; noted once a minute."""
    await connection.execute(
        "UPDATE intake_systems SET last_used_at = %(at)s WHERE code = %(code)s"
        " AND (last_used_at IS NULL OR last_used_at < %(at)s - interval '1 minute')",
        {"at": at, "code": code},
    )


async def create(
    connection: Connection, keys: KeyRing, *, code: str, name: str, secret: str, actor: str, at: datetime
) -> bool:
    """A new system, on the record; False when the code is taken."""
    cursor = await connection.execute(
        """
        INSERT INTO intake_systems (code, name, secret, created_at, created_by) VALUES (%s, %s, %s, %s, %s)
        ON CONFLICT DO NOTHING
        """,
        (code, name, OF_SYSTEM.sealed(keys, code, secret), at, actor),
    )
    if cursor.rowcount:
        await _record(connection, actor, "intake_system.create", code)
    return bool(cursor.rowcount)


async def change(
    connection: Connection,
    code: str,
    *,
    name: str | None = None,
    active: bool | None = None,
    actor: str,
) -> bool:
    """Change what is given, on the record; False when there is no such system."""
    cursor = await connection.execute(
        "UPDATE intake_systems SET name = coalesce(%s, name), active = coalesce(%s, active) WHERE code = %s",
        (name, active, code),
    )
    if cursor.rowcount:
        await _record(connection, actor, "intake_system.change", code)
    return bool(cursor.rowcount)


async def renew(connection: Connection, keys: KeyRing, code: str, secret: str, actor: str) -> bool:
    """Another secret, in force at once and on the record; False when there is no such system."""
    cursor = await connection.execute(
        "UPDATE intake_systems SET secret = %s WHERE code = %s", (OF_SYSTEM.sealed(keys, code, secret), code)
    )
    if cursor.rowcount:
        await _record(connection, actor, "intake_system.secret", code)
    return bool(cursor.rowcount)


async def listed(connection: Connection) -> list[Row]:
    """Every system without its secret, by code."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "SELECT code, name, active, created_at, last_used_at FROM intake_systems ORDER BY code"
        )
        return await cursor.fetchall()


async def _record(connection: Connection, actor: str, action: str, code: str) -> None:
    await audit.record(connection, actor=actor, action=action, subject=f"system:{code}")
