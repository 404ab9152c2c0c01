"""What only an import writes: the district itself and its list of devices."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from zoneinfo import ZoneInfo

from psycopg import Connection
from psycopg.rows import TupleRow, class_row, dict_row

from city.code_forms import CodeForms, from_plain, to_plain
from city.district_files import DistrictInfo, ListedDevice
from city.storage.devices import REGISTER_LOCK


def lock(connection: Connection[TupleRow]) -> None:
    """One import at a time, and none while ingest adds devices."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (REGISTER_LOCK,))


def load_info(connection: Connection[TupleRow]) -> DistrictInfo | None:
    """The district, or None before the first import."""
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute("SELECT code, name, name_en, timezone, code_forms FROM district").fetchone()
    return None if row is None else DistrictInfo(**row | {"code_forms": from_plain(row["code_forms"])})


def code_forms(connection: Connection[TupleRow]) -> CodeForms:
    """How the district writes codes; empty before the first import."""
    row = connection.execute("SELECT code_forms FROM district").fetchone()
    return {} if row is None else from_plain(cast(Any, row[0]))


def district_zone(connection: Connection[TupleRow]) -> ZoneInfo:
    """The district's own time zone; UTC before the first import."""
    row = connection.execute("SELECT timezone FROM district").fetchone()
    return ZoneInfo("UTC" if row is None else str(row[0]))


def source_digest(connection: Connection[TupleRow]) -> str | None:
    """Digest of the files imported last; None before the first import."""
    row = connection.execute("SELECT source_digest FROM district").fetchone()
    return None if row is None else str(row[0])


def write_info(connection: Connection[TupleRow], info: DistrictInfo, digest: str) -> None:
    """Write the district's own row; its response level stays."""
    connection.execute(
        """INSERT INTO district (code, name, name_en, timezone, code_forms, source_digest)
           VALUES (%s, %s, %s, %s, %s::jsonb, %s)
           ON CONFLICT (only_one) DO UPDATE SET code = excluded.code, name = excluded.name,
               name_en = excluded.name_en, timezone = excluded.timezone, code_forms = excluded.code_forms,
               source_digest = excluded.source_digest""",
        (info.code, info.name, info.name_en, info.timezone, json.dumps(to_plain(info.code_forms)), digest),
    )


# ── devices ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenList:
    """How many entries changed and ended; ``kept`` are those that a person changed otherwise than the file."""

    changed: int
    ended: int
    kept: list[str] = field(default_factory=list)


_COLUMNS = (
    "kind", "cell_id", "name", "model", "owner_unit", "maintainer_unit", "gateway", "address", "longitude",
    "latitude", "expected_interval_s", "tags",
)  # fmt: skip
_STANDS = ", ".join(f"d.{name}" for name in _COLUMNS) + ", d.registration"
_WANTED = ", ".join(f"w.{name}" for name in _COLUMNS) + ", 'registered'"


def write_devices(
    connection: Connection[TupleRow], listed: Sequence[ListedDevice], *, by: str | None = None
) -> WrittenList:
    """Make the registered devices those listed. Kinds and cells are there.

    What people did (service state, claims of devices in no file) stays. So does an entry that a person changed here,
    unless the list is itself a person's: then ``by`` names them, and their word stands over the district's files.
    """
    _copy_listed(connection, listed)
    retired = connection.execute(
        b"""UPDATE devices d SET registration = 'retired'
           WHERE (origin = 'import' OR origin = 'person' AND %(by)s::text IS NOT NULL) AND registration = 'registered'
             AND NOT EXISTS (SELECT FROM wanted_devices w WHERE w.code = d.code)""",  # no values
        {"by": by},
    ).rowcount
    kept: list[str] = []
    if by is None:
        agreed = (
            f"d.code = w.code AND d.edited_at IS NOT NULL AND ({_STANDS}) IS NOT DISTINCT FROM ({_WANTED})"
        )
        connection.execute(
            f"""UPDATE devices d SET edited_at = NULL, edited_by = NULL, origin = 'import'
                FROM wanted_devices w WHERE {agreed}""".encode()  # noqa: S608  # columns named above
        )
        rows = connection.execute(
            b"SELECT d.code FROM devices d JOIN wanted_devices w ON w.code = d.code AND d.edited_at IS NOT NULL"
            b" ORDER BY d.code"
        )
        kept = [row[0] for row in rows]
    assigned = ", ".join(f"{name} = w.{name}" for name in _COLUMNS)
    changed = connection.execute(
        f"""UPDATE devices d SET {assigned}, registration = 'registered',
               origin = CASE WHEN %(by)s::text IS NULL THEN 'import' ELSE d.origin END,
               edited_at = CASE WHEN %(by)s::text IS NULL THEN d.edited_at ELSE now() END,
               edited_by = coalesce(%(by)s, d.edited_by)
           FROM wanted_devices w
           WHERE w.code = d.code AND (d.edited_at IS NULL OR %(by)s::text IS NOT NULL)
             AND (({_STANDS}) IS DISTINCT FROM ({_WANTED})
                  OR %(by)s::text IS NULL AND d.origin <> 'import')""".encode(),  # noqa: S608  # columns named above
        {"by": by},
    ).rowcount
    names, values = ", ".join(_COLUMNS), ", ".join(f"w.{name}" for name in _COLUMNS)
    changed += connection.execute(
        f"""INSERT INTO devices (code, {names}, origin, edited_at, edited_by)
           SELECT w.code, {values}, CASE WHEN %(by)s::text IS NULL THEN 'import' ELSE 'person' END,
               CASE WHEN %(by)s::text IS NOT NULL THEN now() END, %(by)s::text
           FROM wanted_devices w WHERE NOT EXISTS (SELECT FROM devices d WHERE d.code = w.code)
           ORDER BY w.place""".encode(),  # noqa: S608  # columns named above
        {"by": by},
    ).rowcount
    return WrittenList(changed=changed, ended=retired, kept=kept)


def _copy_listed(connection: Connection[TupleRow], listed: Sequence[ListedDevice]) -> None:
    """The list into the temporary table ``wanted_devices``, cells by their ids."""
    connection.execute(
        "CREATE TEMP TABLE listed_devices (place integer, code text, kind text, name text, cell text,"
        " longitude float8, latitude float8, model text, owner_unit text, maintainer_unit text, gateway text,"
        " expected_interval_s integer, address text, tags text) ON COMMIT DROP"
    )
    with connection.cursor().copy("COPY listed_devices FROM STDIN") as copy:
        for place, device in enumerate(listed):
            copy.write_row((place, device.code, device.kind, device.name, device.cell, device.longitude,
                            device.latitude, device.model, device.owner_unit, device.maintainer_unit,
                            device.gateway, device.expected_interval_s, device.address, device.tags))  # fmt: skip
    connection.execute(
        """CREATE TEMP TABLE wanted_devices ON COMMIT DROP AS
           SELECT l.place, l.code, l.kind, a.id AS cell_id, l.name, l.model, l.owner_unit, l.maintainer_unit,
               l.gateway, l.address, l.longitude, l.latitude, l.expected_interval_s,
               string_to_array(l.tags, ';') AS tags
           FROM listed_devices l
           LEFT JOIN areas a ON a.layer = 'cell' AND a.code = l.cell AND a.valid_to IS NULL"""
    )
    # Without index and figures, 100,000 devices are joined by nested loops over the whole table.
    connection.execute("CREATE UNIQUE INDEX ON wanted_devices (code); ANALYZE wanted_devices")


# ── read back for an export ──────────────────────────────────────────────────────────────────────────


def listed_devices(connection: Connection[TupleRow]) -> list[ListedDevice]:
    """Every registered device as a line of devices.csv, in the order of their ids."""
    return (
        connection.cursor(row_factory=class_row(ListedDevice))
        .execute(
            """SELECT '' AS "where", d.code, d.kind, d.name, a.code AS cell, d.longitude, d.latitude, d.model,
                   d.owner_unit, d.maintainer_unit, d.gateway, d.expected_interval_s, d.address,
                   array_to_string(d.tags, ';') AS tags
               FROM devices d
               LEFT JOIN areas a ON a.id = d.cell_id AND a.valid_to IS NULL AND a.origin <> 'topic'
               WHERE d.registration = 'registered' ORDER BY d.id"""
        )
        .fetchall()
    )
