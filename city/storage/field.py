"""What a telephone in the field needs to know: incidents of a unit with what was reported, who waits, what is due."""

from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from city.reports import Contact
from city.sealing import KeyRing
from city.storage import sealed

Connection = AsyncConnection[Any]
Row = dict[str, Any]

MOST = 200  # of one unit on one telephone; what is due first is among them

# Beside what every list of incidents shows. The soonest clock that runs is what the countdown counts to.
_OWN = """
    SELECT i.id, i.unit_id IS NOT DISTINCT FROM %(unit)s AS lead, coalesce(said.text, x.text, '') AS text,
           coalesce(said.address, '') AS address, coalesce(said.caller, false) AS caller,
           coalesce(said.photos, '{}') AS photos, clock.stage, clock.due_at AS stage_due_at, t.id AS task
    FROM incidents i
    LEFT JOIN LATERAL (
        SELECT r.text, r.address, c.phone <> '' AS caller,
               (SELECT array_agg(encode(p.digest, 'hex') ORDER BY p.digest) FROM photo_uses p
                WHERE p.used_for = 'report' AND p.object = r.id) AS photos
        FROM reports r LEFT JOIN report_contacts c ON c.report_id = r.id
        WHERE r.incident_id = i.id ORDER BY c.phone IS NULL OR c.phone = '', r.id LIMIT 1
    ) said ON true
    LEFT JOIN LATERAL (
        SELECT k.stage, k.due_at FROM incident_clocks k
        WHERE k.incident_id = i.id AND k.ended_at IS NULL AND k.paused_at IS NULL ORDER BY k.due_at LIMIT 1
    ) clock ON true
    LEFT JOIN incident_texts x ON x.incident_id = i.id AND x.seq = 1 -- typed by whoever opened it by hand
    LEFT JOIN flood_tasks t ON t.incident_id = i.id
    WHERE i.closed_at IS NULL
      AND ((i.state = ANY(%(states)s) AND (i.unit_id = %(unit)s OR EXISTS (
              SELECT FROM incident_co_units h WHERE h.incident_id = i.id AND h.unit_id = %(unit)s)))
           OR (%(checks)s AND i.state = 'handled' AND i.steps = 6 AND i.unit_id IS DISTINCT FROM %(unit)s))
    ORDER BY clock.due_at NULLS LAST, i.id LIMIT %(most)s
"""
AT_WORK = ("dispatched", "acknowledged", "arrived", "rework", "suspended")


async def orders(connection: Connection, unit_id: int | None, *, checks: bool) -> list[Row]:
    """Incidents at work with the unit, as lead or beside it, what is due first first.

    ``checks``: also those handled elsewhere that wait for somebody to look.
    """
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_OWN, {"unit": unit_id, "states": list(AT_WORK), "checks": checks, "most": MOST})
        return await cursor.fetchall()


async def caller(
    connection: Connection, incident_id: int, unit_id: int, keys: KeyRing
) -> tuple[int, str, str] | None:
    """Report, name and telephone of whoever reported what this unit has at work; None when there is none to see.

    Raises SealingError.
    """
    cursor = await connection.execute(
        """
        SELECT r.id, c.name, c.phone FROM incidents i JOIN reports r ON r.incident_id = i.id
        JOIN report_contacts c ON c.report_id = r.id AND c.phone <> ''
        WHERE i.id = %s AND i.unit_id = %s AND i.state = ANY(%s) ORDER BY r.id LIMIT 1
        """,
        (incident_id, unit_id, list(AT_WORK)),
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    found = sealed.opened(keys, int(row[0]), Contact(name=row[1], phone=row[2]))
    return int(row[0]), found.name, found.phone


async def ground(connection: Connection, unit_id: int | None) -> Row:
    """Names and time zone of the district, and the unit's names; empty or null where there is none."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT coalesce(d.name, '') AS name, coalesce(d.name_en, '') AS name_en,
                   coalesce(d.timezone, 'Asia/Shanghai') AS timezone, u.code AS unit, u.name AS unit_name,
                   u.name_en AS unit_name_en
            FROM (VALUES (1)) AS one LEFT JOIN (SELECT name, name_en, timezone FROM district LIMIT 1) d ON true
            LEFT JOIN units u ON u.id = %s
            """,
            (unit_id,),
        )
        row = await cursor.fetchone()
        return row or {}
