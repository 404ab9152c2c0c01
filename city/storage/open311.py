"""Keys of those who may file by Open311, and what they filed; asynchronous. Text and place stand with the report."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation
from psycopg.rows import dict_row

from city.storage import audit

Connection = AsyncConnection[Any]
Row = dict[str, Any]

_LEAVES = """
    SELECT c.code, c.name, c.name_en, coalesce(g.name, c.name) AS "group", coalesce(g.name_en, c.name_en) AS group_en
    FROM categories c LEFT JOIN categories g ON g.code = split_part(c.code, '.', 1)
    WHERE c.active AND NOT split_part(c.code, '.', 1) = ANY(%(technical)s)
      AND NOT EXISTS (SELECT FROM categories b WHERE b.active AND starts_with(b.code, c.code || '.'))
      AND (%(code)s::text IS NULL OR c.code = %(code)s)
    ORDER BY c.code
"""
# A merged incident is asked for by the one it ended in; a circle of merges cannot be, but must not hang us.
_REQUESTS = """
    WITH RECURSIVE wanted AS (
        SELECT o.id, o.service_code, o.address_id, o.media_url, o.requested_at, r.text AS description,
               r.address, r.longitude, r.latitude, r.received_at, r.incident_id, r.fixed_on_spot
        FROM open311_requests o JOIN reports r ON r.id = o.report_id
        WHERE (%(ids)s::text[] IS NOT NULL AND o.id = ANY(%(ids)s))
           OR (%(ids)s::text[] IS NULL AND o.requested_at BETWEEN %(start)s AND %(end)s
               AND NOT r.exercise AND (%(services)s::text[] IS NULL OR o.service_code = ANY(%(services)s)))
        ORDER BY o.requested_at DESC, o.id LIMIT CASE WHEN %(open)s AND %(closed)s THEN %(limit)s::integer END
    ), way AS (
        SELECT w.id AS request_id, i.id, i.merged_into, 0 AS steps
        FROM wanted w JOIN incidents i ON i.id = w.incident_id
        UNION ALL
        SELECT y.request_id, i.id, i.merged_into, y.steps + 1 FROM way y JOIN incidents i ON i.id = y.merged_into
        WHERE y.steps < 20
    ), root AS (
        SELECT DISTINCT ON (request_id) request_id, id FROM way ORDER BY request_id, steps DESC
    )
    SELECT w.id, w.service_code, coalesce(c.name, w.service_code) AS service_name,
           coalesce(c.name_en, '') AS service_name_en, w.description, i.state,
           coalesce(u.name, '') AS unit, coalesce(u.name_en, '') AS unit_en, w.requested_at,
           greatest(w.requested_at, i.dispatched_at, i.acknowledged_at, i.arrived_at, i.handled_at, i.verified_at,
               i.fed_back_at, i.closed_at) AS updated_at,
           i.due_at, w.address, w.address_id, w.longitude, w.latitude, w.media_url
    FROM wanted w LEFT JOIN root ON root.request_id = w.id LEFT JOIN incidents i ON i.id = root.id
    LEFT JOIN units u ON u.id = i.unit_id LEFT JOIN categories c ON c.code = w.service_code
    WHERE %(open)s AND i.closed_at IS NULL AND i.id IS NOT NULL
       OR %(closed)s AND (i.closed_at IS NOT NULL OR i.id IS NULL)
    ORDER BY w.requested_at DESC, w.id LIMIT %(limit)s
"""


async def services(connection: Connection, technical: Sequence[str], code: str | None = None) -> list[Row]:
    """Leaves of the catalogue that people report, by code, with their top category: code, name, …, group_en."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_LEAVES, {"technical": list(technical), "code": code})
        return await cursor.fetchall()


async def district(connection: Connection) -> tuple[str, str]:
    """Code and time zone; empty texts before a district was imported."""
    cursor = await connection.execute("SELECT code, timezone FROM district")
    row = await cursor.fetchone()
    return (str(row[0]), str(row[1])) if row else ("", "")


async def key_of(connection: Connection, digest: bytes) -> int | None:
    """The id of a key that holds; None for any other."""
    cursor = await connection.execute(
        "SELECT id FROM api_keys WHERE digest = %s AND revoked_at IS NULL", (digest,)
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else None


async def filed_since(connection: Connection, key_id: int, since: datetime) -> int:
    """How many requests this key has filed since then."""
    cursor = await connection.execute(
        "SELECT count(*) FROM open311_requests WHERE api_key_id = %s AND requested_at > %s", (key_id, since)
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def insert(  # a row
    connection: Connection,
    *,
    request_id: str,
    report_id: int,
    key_id: int,
    service_code: str,
    address_id: str,
    media_url: str,
    at: datetime,
) -> None:
    """What the protocol knows of a report that was just registered."""
    await connection.execute(
        "INSERT INTO open311_requests (id, report_id, api_key_id, service_code, address_id, media_url, requested_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (request_id, report_id, key_id, service_code, address_id, media_url, at),
    )


async def by_ids(connection: Connection, ids: Sequence[str], *, limit: int) -> list[Row]:
    """Requests by their public numbers, newest first."""
    return await _requests(connection, ids=list(ids), limit=limit)


async def found(  # what a search may name
    connection: Connection,
    *,
    services: Sequence[str],
    statuses: Sequence[str],
    start: datetime,
    end: datetime,
    limit: int,
) -> list[Row]:
    """Requests filed in this span, newest first; no services named = all, drills left out."""
    return await _requests(
        connection, services=list(services) or None, statuses=statuses, start=start, end=end, limit=limit
    )


async def _requests(
    connection: Connection,
    *,
    limit: int,
    ids: list[str] | None = None,
    services: list[str] | None = None,
    statuses: Sequence[str] = ("open", "closed"),
    start: datetime | None = None,
    end: datetime | None = None,
) -> list[Row]:
    asked = {
        "ids": ids,
        "services": services,
        "start": start,
        "end": end + timedelta(microseconds=999_999) if end else None,  # written in whole seconds
        "open": "open" in statuses,
        "closed": "closed" in statuses,
        "limit": limit,
    }
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_REQUESTS, asked)
        return await cursor.fetchall()


async def of_report(connection: Connection, report_id: int) -> str | None:
    """The public number of a report that was filed before; None for any other."""
    cursor = await connection.execute("SELECT id FROM open311_requests WHERE report_id = %s", (report_id,))
    row = await cursor.fetchone()
    return str(row[0]) if row else None


async def by_tracking(connection: Connection, tracking_digest: bytes) -> str | None:
    """The public number of the report with this tracking number; None when it did not come by Open311."""
    cursor = await connection.execute(
        "SELECT o.id FROM reports r JOIN open311_requests o ON o.report_id = r.id WHERE r.tracking_digest = %s",
        (tracking_digest,),
    )
    row = await cursor.fetchone()
    return str(row[0]) if row else None


# ── keys ──────────────────────────────────────────────────────────────────────────────────────────────


async def add_key(connection: Connection, name: str, digest: bytes, actor: str, now: datetime) -> int | None:
    """A new key, on record; None when the name is taken."""
    try:
        async with connection.transaction():
            cursor = await connection.execute(
                "INSERT INTO api_keys (name, digest, created_at, created_by) VALUES (%s, %s, %s, %s) RETURNING id",
                (name, digest, now, actor),
            )
            row = await cursor.fetchone()
    except UniqueViolation:
        return None
    await _record(connection, actor, "api_key.created", name)
    return int(row[0]) if row else None


async def revoke_key(connection: Connection, key_id: int, actor: str, now: datetime) -> Row | None:
    """Take a key out of use, on record; None when there is none that holds."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "UPDATE api_keys SET revoked_at = %s, revoked_by = %s WHERE id = %s AND revoked_at IS NULL"
            " RETURNING id, name, created_at, created_by, revoked_at, revoked_by",
            (now, actor, key_id),
        )
        row = await cursor.fetchone()
    if row is not None:
        await _record(connection, actor, "api_key.revoked", row["name"])
    return row


async def keys(connection: Connection) -> list[Row]:
    """Every key without its secret, with how much it filed: id, name, created_at, …, filed, last_filed_at."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT k.id, k.name, k.created_at, k.created_by, k.revoked_at, k.revoked_by,
                   coalesce(f.filed, 0) AS filed, f.last_filed_at
            FROM api_keys k LEFT JOIN LATERAL (
                SELECT count(*) AS filed, max(requested_at) AS last_filed_at FROM open311_requests
                WHERE api_key_id = k.id) f ON true
            ORDER BY k.id
            """
        )
        return await cursor.fetchall()


async def _record(connection: Connection, actor: str, action: str, name: str) -> None:
    await audit.record(connection, actor=actor, action=action, subject=f"api_key:{name}")
