"""What stands beside an entry of the register in the file cabinet: photos and documents; asynchronous."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

Connection = AsyncConnection[Any]
Thing = Literal["device", "component", "building"]
_TABLES = {"device": "devices", "component": "components", "building": "buildings"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """``kind`` by its content; ``digest`` is SHA-256 of the file, under which it stands outside the database."""

    id: int
    digest: bytes
    name: str
    kind: str
    bytes: int
    at: datetime
    by: str


async def thing_id(connection: Connection, thing: Thing, code: str) -> int | None:
    """By what photos and documents know it."""
    query = f"SELECT id FROM {_TABLES[thing]} WHERE code = %s"  # noqa: S608  # one of three tables
    row = await (await connection.execute(query.encode(), (code,))).fetchone()
    return None if row is None else int(row[0])


async def documents(connection: Connection, thing: Thing, thing_id: int) -> list[Document]:
    """Those that were not taken away, the newest first."""
    async with connection.cursor(row_factory=class_row(Document)) as cursor:
        await cursor.execute(
            """
            SELECT o.id, o.digest, o.name, o.kind, o.bytes, o.added_at AS at,
                coalesce(nullif(p.display_name, ''), p.name, o.added_by) AS by
            FROM documents o LEFT JOIN users p ON o.added_by = 'user:' || p.id
            WHERE o.used_for = %s AND o.object = %s AND o.removed_at IS NULL ORDER BY o.id DESC
            """,
            (thing, thing_id),
        )
        return await cursor.fetchall()


async def add_document(
    connection: Connection,
    thing: Thing,
    thing_id: int,
    *,
    digest: bytes,
    name: str,
    kind: str,
    size: int,
    actor: str,
) -> None:
    """The same file twice is one."""
    await connection.execute(
        """
        INSERT INTO documents (used_for, object, digest, name, kind, bytes, added_by)
        VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
        """,
        (thing, thing_id, digest, name, kind, size, actor),
    )


async def remove_document(
    connection: Connection, thing: Thing, thing_id: int, document: int, actor: str
) -> str | None:
    """No longer shown; its name, or None when there is none."""
    cursor = await connection.execute(
        """
        UPDATE documents SET removed_at = now(), removed_by = %s
        WHERE id = %s AND used_for = %s AND object = %s AND removed_at IS NULL RETURNING name
        """,
        (actor, document, thing, thing_id),
    )
    row = await cursor.fetchone()
    return None if row is None else str(row[0])


async def remove_photos(connection: Connection, thing: Thing, thing_id: int, digests: Sequence[bytes]) -> int:
    """They belong to it no longer; a photo that belongs to nothing goes a day later. How many there were."""
    cursor = await connection.execute(
        "DELETE FROM photo_uses WHERE used_for = %s AND object = %s AND digest = ANY(%s)",
        (thing, thing_id, list(digests)),
    )
    return cursor.rowcount


async def labelled(connection: Connection, thing: Thing, code: str) -> dict[str, Any] | None:
    """What a label's scanner is told: of a device neither name nor position, since homes have detectors too."""
    if thing == "device":
        query = """
            SELECT d.code, '' AS name, d.kind, k.name AS kind_name, k.name_en AS kind_name_en, NULL AS category,
                '' AS address, a.code AS cell, a.name AS cell_name, NULL::float8 AS longitude,
                NULL::float8 AS latitude, d.registration AS state
            FROM devices d JOIN device_kinds k ON k.code = d.kind
            LEFT JOIN areas a ON a.id = d.cell_id WHERE d.code = %s AND d.registration = 'registered'
        """
    else:
        category = "t.category" if thing == "component" else "NULL AS category"
        query = f"""
            SELECT t.code, t.name, t.kind, t.kind AS kind_name, t.kind AS kind_name_en, {category}, t.address,
                a.code AS cell, a.name AS cell_name, t.longitude, t.latitude, t.state
            FROM {_TABLES[thing]} t LEFT JOIN areas a ON a.id = t.cell_id WHERE t.code = %s
        """  # noqa: S608  # one of two tables
    async with connection.cursor(row_factory=dict_row) as cursor:
        return await (await cursor.execute(query.encode(), (code,))).fetchone()


async def labels_of(
    connection: Connection, thing: Thing, *, codes: Sequence[str], cell: str | None, limit: int
) -> list[dict[str, Any]]:
    """Code and name of what is to be labelled, by code: those named, or all of a cell."""
    gone = "d.registration = 'registered'" if thing == "device" else "d.state <> 'removed'"
    query = f"""
        SELECT d.code, d.name, d.address FROM {_TABLES[thing]} d LEFT JOIN areas a ON a.id = d.cell_id
        WHERE {gone} AND (d.code = ANY(%(codes)s) OR a.code = %(cell)s) ORDER BY d.code LIMIT %(limit)s
    """  # noqa: S608  # one of three tables
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query.encode(), {"codes": list(codes), "cell": cell, "limit": limit})
        return await cursor.fetchall()
