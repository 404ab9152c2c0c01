"""Units."""

import secrets
from collections.abc import Sequence

from psycopg import Connection
from psycopg.rows import TupleRow, class_row

from city.units import Unit, UnitLoad


def load_units(connection: Connection[TupleRow]) -> dict[int, Unit]:
    """Every active unit by its id."""
    cursor = connection.cursor(row_factory=class_row(Unit))
    cursor.execute(
        "SELECT id, code, name, name_en, kind, parent, lead, phone, lead_phone, email, lead_email,"
        " webhook_url FROM units WHERE active ORDER BY code"
    )
    return {unit.id: unit for unit in cursor}


def list_units(connection: Connection[TupleRow]) -> list[UnitLoad]:
    """Every active unit with its number of open incidents, ordered by code."""
    units = load_units(connection)
    rows = connection.execute(
        "SELECT unit_id, count(*) FROM incidents"
        " WHERE closed_at IS NULL AND unit_id IS NOT NULL AND NOT exercise GROUP BY 1"
    )
    load: dict[int, int] = dict(rows.fetchall())
    return [UnitLoad(unit=unit, open_incidents=load.get(unit.id, 0)) for unit in units.values()]


def new_webhook_secret(connection: Connection[TupleRow], code: str, actor: str) -> str | None:
    """A fresh secret for an active unit, in force at once and on record; None when there is no such unit."""
    secret = secrets.token_urlsafe(32)
    changed = connection.execute(
        "UPDATE units SET webhook_secret = %s WHERE code = %s AND active RETURNING id", (secret, code)
    ).fetchone()
    if changed is None:
        return None
    connection.execute(
        "INSERT INTO audit (actor, action, object) VALUES (%s, 'unit.webhook_secret', %s)",
        (actor, f"unit:{code}"),
    )
    return secret


# ── written by an import ─────────────────────────────────────────────────────────────────────────────


def write_units(connection: Connection[TupleRow], units: Sequence[Unit]) -> tuple[int, int]:
    """Make the active units those listed; return how many changed and were deactivated.

    A unit that is called over the network gets a secret to sign with, made here and kept.
    """
    cursor = connection.cursor()
    cursor.executemany(
        """INSERT INTO units AS known (code, name, name_en, kind, parent, lead, phone, lead_phone, email,
               lead_email, webhook_url, webhook_secret)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
           ON CONFLICT (code) DO UPDATE SET name = excluded.name, name_en = excluded.name_en,
               kind = excluded.kind, parent = excluded.parent, lead = excluded.lead, phone = excluded.phone,
               lead_phone = excluded.lead_phone, email = excluded.email, lead_email = excluded.lead_email,
               webhook_url = excluded.webhook_url, active = true,
               webhook_secret = CASE WHEN known.webhook_secret = '' THEN excluded.webhook_secret
                                     ELSE known.webhook_secret END
           WHERE NOT known.active OR (known.name, known.name_en, known.kind, known.parent, known.lead,
                   known.phone, known.lead_phone, known.email, known.lead_email, known.webhook_url)
               IS DISTINCT FROM (excluded.name, excluded.name_en, excluded.kind, excluded.parent,
                   excluded.lead, excluded.phone, excluded.lead_phone, excluded.email, excluded.lead_email,
                   excluded.webhook_url)""",
        [
            (
                unit.code,
                unit.name,
                unit.name_en,
                unit.kind,
                unit.parent,
                unit.lead,
                unit.phone,
                unit.lead_phone,
                unit.email,
                unit.lead_email,
                unit.webhook_url,
                secrets.token_urlsafe(32) if unit.webhook_url else "",
            )
            for unit in units
        ],
    )
    changed = max(cursor.rowcount, 0)
    ended = connection.execute(
        "UPDATE units SET active = false WHERE active AND NOT code = ANY(%s)",
        ([unit.code for unit in units],),
    ).rowcount
    return changed, ended
