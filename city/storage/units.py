"""Units."""

import secrets
from collections.abc import Sequence
from dataclasses import replace

from psycopg import Connection
from psycopg.rows import TupleRow, class_row

from city.sealing import KeyRing
from city.storage import audit
from city.storage.shared_secrets import OF_UNIT
from city.units import Unit, UnitLoad

# What a district's file says of a unit, beside its code.
_LISTED = (
    "name", "name_en", "kind", "parent", "lead", "phone", "lead_phone", "email", "lead_email", "webhook_url",
    "tier", "capacity", "fallback", "hours", "longitude", "latitude",
)  # fmt: skip


def load_units(connection: Connection[TupleRow]) -> dict[int, Unit]:
    """Every active unit by its id."""
    cursor = connection.cursor(row_factory=class_row(Unit))
    cursor.execute(
        "SELECT id, code, name, name_en, kind, parent, lead, phone, lead_phone, email, lead_email,"
        " webhook_url, tier, capacity, fallback, hours, longitude, latitude"
        " FROM units WHERE active ORDER BY code"
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


def new_webhook_secret(connection: Connection[TupleRow], keys: KeyRing, code: str, actor: str) -> str | None:
    """A fresh secret for an active unit, in force at once and on record; None when there is no such unit."""
    found = connection.execute(
        "SELECT id FROM units WHERE code = %s AND active FOR NO KEY UPDATE", (code,)
    ).fetchone()
    if found is None:
        return None
    secret = secrets.token_urlsafe(32)
    connection.execute(
        "UPDATE units SET webhook_secret = %s WHERE id = %s",
        (OF_UNIT.sealed(keys, found[0], secret), found[0]),
    )
    audit.record(connection, actor=actor, action="unit.webhook_secret", subject=f"unit:{code}")
    return secret


# ── written by an import ─────────────────────────────────────────────────────────────────────────────


def write_units(
    connection: Connection[TupleRow], units: Sequence[Unit], *, by: str | None = None
) -> tuple[int, int, list[str]]:
    """Make the active units those listed; return how many changed and were deactivated.

    What a person changed here stays, and its codes come third, unless the list is itself a person's: then ``by``
    names them.
    """
    cursor = connection.cursor()
    columns = ", ".join(_LISTED)
    kept = ", ".join(f"{column} = excluded.{column}" for column in _LISTED)
    stands, wanted = (", ".join(f"{of}.{column}" for column in _LISTED) for of in ("known", "excluded"))
    values = ", ".join(f"%({column})s" for column in _LISTED)
    held = _kept(connection, units) if by is None else []
    cursor.executemany(
        f"""INSERT INTO units AS known (code, {columns}, edited_at, edited_by)
           VALUES (%(code)s, {values}, CASE WHEN %(by)s::text IS NOT NULL THEN now() END, %(by)s::text)
           ON CONFLICT (code) DO UPDATE SET {kept}, active = true, edited_at = excluded.edited_at,
               edited_by = excluded.edited_by
           WHERE NOT known.active OR ({stands}) IS DISTINCT FROM ({wanted})""".encode(),  # noqa: S608  # columns named above, no values
        [
            {
                "code": unit.code,
                "by": by,
                **{column: getattr(unit, column) for column in _LISTED},
            }
            for unit in units
            if unit.code not in held
        ],
    )
    changed = max(cursor.rowcount, 0)
    ended = connection.execute(
        "UPDATE units SET active = false WHERE active AND NOT code = ANY(%s)"
        " AND (edited_at IS NULL OR %s::text IS NOT NULL)",
        ([unit.code for unit in units], by),
    ).rowcount
    return changed, ended, held


def _kept(connection: Connection[TupleRow], units: Sequence[Unit]) -> list[str]:
    """Codes that a person changed otherwise than the file says; where both agree the file has them back."""
    known = connection.cursor(row_factory=class_row(Unit)).execute(
        f"SELECT id, code, {', '.join(_LISTED)} FROM units WHERE edited_at IS NOT NULL".encode()  # noqa: S608  # columns named above
    )
    by_code = {unit.code: replace(unit, id=0) for unit in known}
    closed = {row[0] for row in connection.execute("SELECT code FROM units WHERE NOT active")}
    agreed = [unit.code for unit in units if by_code.get(unit.code) == unit and unit.code not in closed]
    connection.execute("UPDATE units SET edited_at = NULL, edited_by = NULL WHERE code = ANY(%s)", (agreed,))
    return sorted(unit.code for unit in units if unit.code in by_code and unit.code not in agreed)
