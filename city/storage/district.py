"""What only an import writes: the district itself and its list of devices."""

import json
from collections.abc import Sequence
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


def write_devices(connection: Connection[TupleRow], listed: Sequence[ListedDevice]) -> tuple[int, int]:
    """Make the registered devices those listed; return how many changed and were retired.

    What people did (service state, claims of devices in no file) stays. Kinds and cells are there.
    """
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
    retired = connection.execute(
        """UPDATE devices d SET registration = 'retired'
           WHERE origin = 'import' AND registration = 'registered'
             AND NOT EXISTS (SELECT FROM wanted_devices w WHERE w.code = d.code)"""
    ).rowcount
    changed = connection.execute(
        """UPDATE devices d SET kind = w.kind, cell_id = w.cell_id, name = w.name, model = w.model,
               owner_unit = w.owner_unit, maintainer_unit = w.maintainer_unit, gateway = w.gateway,
               address = w.address, longitude = w.longitude, latitude = w.latitude,
               expected_interval_s = w.expected_interval_s, tags = w.tags, registration = 'registered',
               origin = 'import'
           FROM wanted_devices w WHERE w.code = d.code AND
               (d.kind, d.cell_id, d.name, d.model, d.owner_unit, d.maintainer_unit, d.gateway, d.address,
                d.longitude, d.latitude, d.expected_interval_s, d.tags, d.registration, d.origin)
               IS DISTINCT FROM
               (w.kind, w.cell_id, w.name, w.model, w.owner_unit, w.maintainer_unit, w.gateway, w.address,
                w.longitude, w.latitude, w.expected_interval_s, w.tags, 'registered', 'import')"""
    ).rowcount
    changed += connection.execute(
        """INSERT INTO devices (code, kind, cell_id, name, model, owner_unit, maintainer_unit, gateway,
               address, longitude, latitude, expected_interval_s, tags)
           SELECT w.code, w.kind, w.cell_id, w.name, w.model, w.owner_unit, w.maintainer_unit, w.gateway,
               w.address, w.longitude, w.latitude, w.expected_interval_s, w.tags
           FROM wanted_devices w WHERE NOT EXISTS (SELECT FROM devices d WHERE d.code = w.code)
           ORDER BY w.place"""
    ).rowcount
    return changed, retired


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
               LEFT JOIN areas a ON a.id = d.cell_id AND a.valid_to IS NULL AND a.origin = 'import'
               WHERE d.registration = 'registered' ORDER BY d.id"""
        )
        .fetchall()
    )
