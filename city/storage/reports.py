"""Reports and who waits for an answer to them; asynchronous.

Contacts are personal data: they stand sealed (``city.sealing``) in a table of their own and leave it through
``contact`` only, which the caller puts on the record.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

from city.areas import Geometry
from city.incidents import Incident
from city.reports import Contact, NewReport, Place, Report, tracking_digest
from city.sealing import KeyRing
from city.storage import audit, notifications, sealed

Connection = AsyncConnection[Any]
Row = dict[str, Any]

_REPORT = """
    SELECT r.id, r.tracking, r.channel, r.received_at, r.category, r.nature, r.text, r.area_id, r.longitude,
           r.latitude, r.place, r.address, r.component, r.language, r.actor, r.exercise, r.incident_id, r.joined,
           r.fixed_on_spot, r.reopened_at, r.erased_at, r.version
    FROM reports r
"""


async def earlier(connection: Connection, actor: str, channel: str, external_id: str) -> Report | None:
    """The report that the same sender sent under the same number.

    Whoever asks second waits until the first one's transaction has ended, and then sees what it stored.
    """
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"report {actor} {channel} {external_id}",)
    )
    return await _one(
        connection,
        " WHERE r.actor = %s AND r.channel = %s AND r.external_id = %s",
        (actor, channel, external_id),
    )


async def take_id(connection: Connection) -> int:
    """The id of a report about to be stored: the timeline of its incident names it before it is there."""
    cursor = await connection.execute("SELECT nextval(pg_get_serial_sequence('reports', 'id'))")
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def insert(
    connection: Connection,
    report: NewReport,
    *,
    report_id: int,
    tracking: str,
    received_at: datetime,
    area_id: int | None,
    place: Place,
    incident_id: int | None,
    joined: bool,
    keys: KeyRing,
) -> None:
    """Store a report under an id of ``take_id``, with its contact."""
    await connection.execute(
        """
        INSERT INTO reports (id, tracking, tracking_digest, channel, received_at, category, nature, text, area_id,
            longitude, latitude, place, address, component, language, actor, external_id, exercise, incident_id,
            joined, fixed_on_spot)
        OVERRIDING SYSTEM VALUE
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        (
            report_id,
            tracking,
            tracking_digest(tracking),
            report.channel,
            received_at,
            report.category,
            report.nature,
            report.text,
            area_id,
            report.longitude,
            report.latitude,
            place,
            report.address,
            report.component,
            report.language,
            report.actor,
            report.external_id,
            report.exercise,
            incident_id,
            joined,
            report.fixed_on_spot,
        ),
    )
    if report.contact is not None:
        await put_contact(connection, report_id, report.contact, keys)


async def by_tracking(connection: Connection, tracking: str, *, lock: bool = False) -> Report | None:
    """The report under this number (as stored, see ``read_tracking``), locked until the end if asked for."""
    return await _one(
        connection,
        " WHERE r.tracking_digest = %s" + (" FOR NO KEY UPDATE" if lock else ""),
        (tracking_digest(tracking),),
    )


async def _one(connection: Connection, where: str, values: Sequence[object]) -> Report | None:
    async with connection.cursor(row_factory=class_row(Report)) as cursor:
        await cursor.execute(_REPORT + where, values)
        return await cursor.fetchone()


async def standing(connection: Connection, incident_id: int) -> Incident | None:
    """The incident at the end of all merges, as far as a reporter's view of it goes; not locked."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            WITH RECURSIVE way AS (
                SELECT id, merged_into, 1 AS depth FROM incidents WHERE id = %s
                UNION ALL
                SELECT i.id, i.merged_into, way.depth + 1 FROM way JOIN incidents i ON i.id = way.merged_into
                WHERE way.depth < 100
            )
            SELECT i.id, i.number, i.state, i.class AS incident_class, i.base_class, i.category, i.title, i.area_id,
                   i.unit_id, i.reason, i.nature, i.steps, i.reported, i.dispatched_at, i.arrived_at,
                   i.acknowledged_at, i.handled_at, i.verified_at, i.fed_back_at, i.due_at, i.opened_at,
                   i.closed_at, i.exercise, i.version
            FROM way JOIN incidents i USING (id) ORDER BY way.depth DESC LIMIT 1
            """,
            (incident_id,),
        )
        row = await cursor.fetchone()
    return Incident(**row) if row else None


async def following(connection: Connection, incident_ids: Sequence[int]) -> list[Row]:
    """Who waits for news of these incidents, or of ones merged into them, and how they are told.

    ``incident`` (that of the ids), id, tracking, language, told_by, phone and email as they stand sealed, and
    ``told``: the state they were told of last, None = of none. Never for a screen.
    """
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            WITH RECURSIVE merged AS (
                SELECT id, id AS top, 1 AS depth FROM incidents WHERE id = ANY(%s)
                UNION ALL
                SELECT i.id, merged.top, merged.depth + 1 FROM merged JOIN incidents i ON i.merged_into = merged.id
                WHERE merged.depth < 100
            )
            SELECT merged.top AS incident, r.id, r.tracking, r.language, c.told_by, c.phone, c.email, said.step AS told
            FROM merged JOIN reports r ON r.incident_id = merged.id
            JOIN report_contacts c ON c.report_id = r.id AND c.told_by <> 'none'
            LEFT JOIN LATERAL (
                SELECT n.step FROM report_notices n WHERE n.report_id = r.id ORDER BY n.id DESC LIMIT 1
            ) said ON true
            ORDER BY r.id
            """,
            (list(incident_ids),),
        )
        return await cursor.fetchall()


async def filed_at(connection: Connection, incident_id: int) -> datetime | None:
    """When somebody first accepted it or gave it to a unit."""
    cursor = await connection.execute(
        """
        SELECT min(at) FROM incident_events
        WHERE incident_id = %s AND kind IN ('accepted', 'filed', 'dispatched', 'unassigned')
        """,
        (incident_id,),
    )
    row = await cursor.fetchone()
    return row[0] if row else None


# ── where ────────────────────────────────────────────────────────────────────────────────────────────


async def cells_around(
    connection: Connection, longitude: float, latitude: float
) -> list[tuple[int, Geometry]]:
    """Id and outline of the few valid cells whose box holds the point; which one it is, ``city.areas`` says."""
    cursor = await connection.execute(
        """
        SELECT id, geometry FROM areas
        WHERE layer = 'cell' AND valid_to IS NULL AND outline @> point(%s, %s) ORDER BY id
        """,
        (longitude, latitude),
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def cell_by_code(connection: Connection, code: str) -> int | None:
    """Id of the valid cell under this code."""
    cursor = await connection.execute(
        "SELECT id FROM areas WHERE layer = 'cell' AND code = %s AND valid_to IS NULL", (code,)
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else None


# ── who ──────────────────────────────────────────────────────────────────────────────────────────────


async def put_contact(connection: Connection, report_id: int, contact: Contact, keys: KeyRing) -> None:
    """Write or replace how to reach the reporter; the number as it is dialled."""
    columns = sealed.columns(keys, report_id, contact)
    await connection.execute(
        """
        INSERT INTO report_contacts (report_id, name, phone, email, told_by, call_back, phone_digest)
        VALUES (%(report)s, %(name)s, %(phone)s, %(email)s, %(told_by)s, %(call_back)s, %(digest)s)
        ON CONFLICT (report_id) DO UPDATE SET name = excluded.name, phone = excluded.phone,
            email = excluded.email, told_by = excluded.told_by, call_back = excluded.call_back,
            phone_digest = excluded.phone_digest
        """,
        {"report": report_id, "told_by": contact.told_by, "call_back": contact.call_back, **columns},
    )


async def contact(connection: Connection, report_id: int, keys: KeyRing) -> Contact | None:
    """How to reach the reporter; the caller puts on the record who looked. Raises SealingError."""
    async with connection.cursor(row_factory=class_row(Contact)) as cursor:
        await cursor.execute(
            "SELECT name, phone, email, told_by, call_back FROM report_contacts WHERE report_id = %s",
            (report_id,),
        )
        found = await cursor.fetchone()
    return sealed.opened(keys, report_id, found) if found else None


async def forget_contact(connection: Connection, report_id: int) -> None:
    """Nobody knows any more who it was; what waits to be sent is not sent."""
    await connection.execute("DELETE FROM report_contacts WHERE report_id = %s", (report_id,))
    await notifications.forget_report(connection, report_id)


async def erase(connection: Connection, report_id: int, at: datetime) -> None:
    """Take away everything a reporter said of themselves: contact, address, texts here and on the timeline.

    The chain stays whole: it holds only salted digests of texts (docs/incidents.md).
    """
    await forget_contact(connection, report_id)
    await connection.execute("UPDATE report_additions SET text = '' WHERE report_id = %s", (report_id,))
    await connection.execute("UPDATE report_ratings SET comment = '' WHERE report_id = %s", (report_id,))
    await connection.execute("UPDATE report_callbacks SET words = '' WHERE report_id = %s", (report_id,))
    await connection.execute(
        """
        DELETE FROM incident_texts t USING incident_events e
        WHERE e.incident_id = t.incident_id AND e.seq = t.seq AND e.detail ->> 'report' = %s::text
        """,
        (report_id,),
    )
    await connection.execute(
        "UPDATE reports SET text = '', address = '', erased_at = %s, version = version + 1 WHERE id = %s",
        (at, report_id),
    )


async def forget_contacts(connection: Connection, before: datetime, limit: int) -> int:
    """Delete contacts whose matter was over before ``before`` and is still, and the addresses of notices to them
    that failed; returns how many contacts."""
    cursor = await connection.execute(
        """
        WITH gone AS (
            DELETE FROM report_contacts WHERE report_id IN (
                SELECT c.report_id FROM report_contacts c JOIN reports r ON r.id = c.report_id
                LEFT JOIN incidents i ON i.id = r.incident_id
                WHERE CASE WHEN r.incident_id IS NULL THEN r.received_at ELSE i.closed_at END < %s LIMIT %s)
            RETURNING report_id
        ), forgotten AS (
            UPDATE notifications n SET address = '' FROM gone
            WHERE n.report_id = gone.report_id AND n.state <> 'waiting' AND n.address <> ''
        )
        SELECT report_id FROM gone
        """,
        (before, limit),
    )
    return cursor.rowcount


async def record(
    connection: Connection, *, actor: str, action: str, report_id: int, reason: str = ""
) -> None:
    """Who looked at or changed what of a report: one row in the audit table."""
    await audit.record(connection, actor=actor, action=action, subject=f"report:{report_id}", reason=reason)
