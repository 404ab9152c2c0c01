"""Reports as the hotline reads and corrects them; asynchronous. Nothing here says who reported."""

from collections.abc import Mapping
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from city.reports import dialled, tracking_digest
from city.sealed_text import digests
from city.sealing import KeyRing

Connection = AsyncConnection[Any]
Row = dict[str, Any]

_LISTED = """
    SELECT r.id, r.tracking, r.channel, r.received_at, r.category, r.nature, r.text, r.place, r.address,
           r.component, r.longitude AS lon, r.latitude AS lat, r.language, r.exercise, r.joined, r.fixed_on_spot,
           r.erased_at, r.reopened_at, r.version, coalesce(nullif(u.display_name, ''), u.name, r.actor) AS actor,
           a.code AS cell, coalesce(a.name, '') AS cell_name, i.id AS incident, i.number, i.state,
           c.report_id IS NOT NULL AS has_contact, coalesce(c.call_back, false) AS call_back,
           coalesce((SELECT array_agg(encode(p.digest, 'hex') ORDER BY p.digest) FROM photo_uses p
                     WHERE p.used_for = 'report' AND p.object = r.id), '{}') AS photos
    FROM reports r
    LEFT JOIN areas a ON a.id = r.area_id
    LEFT JOIN incidents i ON i.id = r.incident_id
    LEFT JOIN report_contacts c ON c.report_id = r.id
    LEFT JOIN users u ON r.actor = 'user:' || u.id
"""
_MERGED = """
    WITH RECURSIVE merged AS (
        SELECT id, 1 AS depth FROM incidents WHERE id = %s
        UNION ALL
        SELECT i.id, merged.depth + 1 FROM merged JOIN incidents i ON i.merged_into = merged.id
        WHERE merged.depth < 100
    )
"""
_OF_MERGED = " WHERE r.incident_id IN (SELECT id FROM merged) ORDER BY r.id LIMIT 1000"
_STATES: Mapping[str, str] = {
    "registered": "i.state = 'registered'",
    "open": "i.closed_at IS NULL AND i.id IS NOT NULL",
    "closed": "i.closed_at IS NOT NULL",
    "fixed_on_spot": "r.fixed_on_spot",
}


async def listed(connection: Connection, report_id: int) -> Row | None:
    """One report as the list shows it."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_LISTED + " WHERE r.id = %s", (report_id,))
        return await cursor.fetchone()


async def of_incident(connection: Connection, incident_id: int) -> list[Row]:
    """Reports of an incident and of what was merged into it, oldest first."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_MERGED + _LISTED + _OF_MERGED, (incident_id,))
        return await cursor.fetchall()


async def page(
    connection: Connection,
    *,
    state: str | None,
    channel: str | None,
    words: str | None,
    tracking: str | None,
    before: int | None,
    limit: int,
    keys: KeyRing,
) -> list[Row]:
    """Reports, newest first, only ids below ``before``.

    ``words`` are looked for in text, address and component, or are a whole telephone number or a sender's own
    number. Raises KeyError for a state that is none of registered, open, closed, fixed_on_spot.
    """
    conditions = ["true"] if before is None else ["r.id < %(before)s"]
    if state is not None:
        conditions.append(_STATES[state])
    if channel is not None:
        conditions.append("r.channel = %(channel)s")
    if tracking is not None:
        conditions.append("r.tracking_digest = %(digest)s")
    elif words:
        conditions.append(
            "(r.text ILIKE %(like)s OR r.address ILIKE %(like)s OR r.component = %(words)s"
            " OR c.phone_digest = ANY(%(numbers)s) OR c.phone = %(dialled)s OR r.external_id = %(words)s)"
        )
    number = dialled(words or "")
    escaped = (words or "").replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            _LISTED + " WHERE " + " AND ".join(conditions) + " ORDER BY r.id DESC LIMIT %(limit)s",
            {
                "before": before,
                "channel": channel,
                "words": words,
                "dialled": number or None,  # as it stood before numbers were sealed
                "numbers": digests(keys, number) if number else [],
                "like": f"%{escaped}%",
                "digest": tracking_digest(tracking) if tracking is not None else None,
                "limit": limit,
            },
        )
        return await cursor.fetchall()


async def correct(
    connection: Connection, report_id: int, *, category: str | None, nature: str | None, address: str | None
) -> None:
    """Write what staff found out about it; None leaves a field as it is."""
    await connection.execute(
        """
        UPDATE reports SET category = coalesce(%s, category), nature = coalesce(%s, nature),
            address = coalesce(%s, address), version = version + 1
        WHERE id = %s
        """,
        (category, nature, address, report_id),
    )


async def category_names(connection: Connection, code: str) -> tuple[str, str] | None:
    """Chinese and English; None for one that is not in the catalogue."""
    cursor = await connection.execute(
        "SELECT name, coalesce(nullif(name_en, ''), name) FROM categories WHERE code = %s", (code,)
    )
    row = await cursor.fetchone()
    return (row[0], row[1]) if row else None
