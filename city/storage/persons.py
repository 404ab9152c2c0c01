"""Everything that is kept of one reporter, and taking it away; asynchronous, in the caller's transaction."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from city.storage import audit

Connection = AsyncConnection[Any]
Row = dict[str, Any]

# What each holds of a report; all of them are given out and said in docs/personal-data.md.
_PARTS: Mapping[str, str] = {
    "additions": "SELECT at, actor, text FROM report_additions WHERE report_id = %s ORDER BY id",
    "ratings": "SELECT response, result, manner, comment, rated_at, changed_at, actor FROM report_ratings"
    " WHERE report_id = %s",
    "callbacks": "SELECT at, actor, reached, satisfied, words FROM report_callbacks WHERE report_id = %s ORDER BY id",
    "notices": "SELECT step, at, channel FROM report_notices WHERE report_id = %s ORDER BY id",
    "messages": "SELECT created_at, channel, state, language, body, address <> '' AS address_kept FROM notifications"
    " WHERE report_id = %s ORDER BY id",
    "looked_at": "SELECT at, actor, action, reason FROM audit WHERE object = 'report:' || %s::text ORDER BY id",
    "timeline": """
        SELECT e.at, e.kind, e.actor, coalesce(t.text, '') AS text FROM incident_events e
        LEFT JOIN incident_texts t ON t.incident_id = e.incident_id AND t.seq = e.seq
        WHERE e.detail ->> 'report' = %s::text ORDER BY e.at, e.incident_id, e.seq
    """,
}
_REPORT = """
    SELECT r.id, r.tracking, r.channel, r.received_at, r.category, r.nature, r.text, r.address, r.longitude, r.latitude,
           r.component, r.language, r.actor, r.external_id, r.erased_at, i.number AS incident, i.state,
           coalesce((SELECT array_agg(encode(u.digest, 'hex') ORDER BY u.digest) FROM photo_uses u
                     WHERE u.used_for = 'report' AND u.object = r.id), '{}') AS photos
    FROM reports r LEFT JOIN incidents i ON i.id = r.incident_id WHERE r.id = ANY(%s) ORDER BY r.id
"""


async def reports(connection: Connection, ids: Sequence[int]) -> list[Row]:
    """Each report with what belongs to it, but for the contact, which is sealed."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_REPORT, (list(ids),))
        found = await cursor.fetchall()
        for row in found:
            for part, query in _PARTS.items():
                await cursor.execute(query, (row["id"],))
                row[part] = await cursor.fetchall()
    return found


async def take_photos(connection: Connection, report_id: int) -> None:
    """Its photos belong to nobody any more, and go with the next housekeeping, unless another report has them too."""
    await connection.execute(
        """
        DELETE FROM photo_uses own USING photo_uses sent, reports r
        WHERE sent.used_for = 'report' AND sent.object = %(report)s AND r.id = sent.object
          AND own.digest = sent.digest AND own.used_for = 'incident' AND own.object = r.incident_id
          AND NOT EXISTS (SELECT FROM photo_uses o JOIN reports p ON p.id = o.object
                          WHERE o.used_for = 'report' AND o.digest = own.digest AND o.object <> %(report)s
                            AND p.incident_id = r.incident_id)
        """,
        {"report": report_id},
    )
    await connection.execute("DELETE FROM photo_uses WHERE used_for = 'report' AND object = %s", (report_id,))


async def old_reports(connection: Connection, before: datetime, limit: int) -> list[int]:
    """Reports not erased yet whose matter was over before ``before`` and is still; locked."""
    cursor = await connection.execute(
        """
        SELECT r.id FROM reports r LEFT JOIN incidents i ON i.id = r.incident_id
        WHERE r.erased_at IS NULL AND r.received_at < %(before)s
          AND CASE WHEN r.incident_id IS NULL THEN r.received_at ELSE i.closed_at END < %(before)s
        ORDER BY r.received_at LIMIT %(limit)s FOR NO KEY UPDATE OF r SKIP LOCKED
        """,
        {"before": before, "limit": limit},
    )
    return [int(row[0]) for row in await cursor.fetchall()]


async def record(connection: Connection, *, actor: str, action: str, reports: int, reason: str) -> None:
    """Who asked for everything of somebody; the somebody is not named."""
    await audit.record(
        connection, actor=actor, action=action, subject=f"person of {reports} reports", reason=reason
    )
