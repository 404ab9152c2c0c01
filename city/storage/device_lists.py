"""The district's list of devices: written as an import has it, set by set, and read back for an export."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString

from psycopg import Connection
from psycopg.rows import TupleRow, kwargs_row

from city.device_files import ListedDevice


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenList:
    """How many entries changed and ended; ``kept`` are those that a person changed otherwise than the file.

    ``moved`` are foreign names with the devices that had them and have them now.
    """

    changed: int
    ended: int
    kept: list[str] = field(default_factory=list)
    moved: list[tuple[str, str, str]] = field(default_factory=list)


_MANY = 5_000  # entries: what autovacuum would find out a minute later

_COLUMNS = (
    "kind", "cell_id", "name", "model", "owner_unit", "maintainer_unit", "gateway", "address", "longitude",
    "latitude", "expected_interval_s", "tags", "vendor", "profile", "life_state", "installed_on", "calibrated_on",
    "calibration_due", "building", "facility",
)  # fmt: skip
_STANDS = ", ".join(f"d.{name}" for name in _COLUMNS) + ", d.registration"
_WANTED = ", ".join(f"w.{name}" for name in _COLUMNS) + ", 'registered'"


def write_devices(
    connection: Connection[TupleRow],
    listed: Sequence[ListedDevice],
    *,
    by: str | None = None,
    reason: str = "district files",
) -> WrittenList:
    """Make the registered devices those listed. Kinds, cells, buildings and facilities are there.

    What people did (service state, claims of devices in no file) stays. So does an entry that a person changed here,
    unless the list is itself a person's: then ``by`` names them, and their word stands over the district's files.
    """
    said = {"by": by, "who": by or "import", "reason": reason}
    _copy_listed(connection, listed)
    retired = connection.execute(
        b"""UPDATE devices d SET registration = 'retired', life_by = %(who)s, life_reason = %(reason)s
           WHERE (origin = 'import' OR origin = 'person' AND %(by)s::text IS NOT NULL) AND registration = 'registered'
             AND NOT EXISTS (SELECT FROM wanted_devices w WHERE w.code = d.code)""",  # no values
        said,
    ).rowcount
    kept = [] if by is not None else _agree_or_keep(connection)
    assigned = ", ".join(f"{name} = w.{name}" for name in _COLUMNS)
    changed = connection.execute(
        f"""UPDATE devices d SET {assigned}, registration = 'registered',
               life_by = CASE WHEN d.life_state <> w.life_state THEN %(who)s ELSE d.life_by END,
               life_reason = CASE WHEN d.life_state <> w.life_state THEN %(reason)s ELSE d.life_reason END,
               origin = CASE WHEN %(by)s::text IS NULL THEN 'import' ELSE d.origin END,
               edited_at = CASE WHEN %(by)s::text IS NULL THEN d.edited_at ELSE now() END,
               edited_by = coalesce(%(by)s, d.edited_by)
           FROM wanted_devices w
           WHERE w.code = d.code AND (d.edited_at IS NULL OR %(by)s::text IS NOT NULL)
             AND (({_STANDS}) IS DISTINCT FROM ({_WANTED})
                  OR %(by)s::text IS NULL AND d.origin <> 'import')""".encode(),  # noqa: S608  # columns named above
        said,
    ).rowcount
    names, values = ", ".join(_COLUMNS), ", ".join(f"w.{name}" for name in _COLUMNS)
    changed += connection.execute(
        f"""INSERT INTO devices (code, {names}, origin, edited_at, edited_by)
           SELECT w.code, {values}, CASE WHEN %(by)s::text IS NULL THEN 'import' ELSE 'person' END,
               CASE WHEN %(by)s::text IS NOT NULL THEN now() END, %(by)s::text
           FROM wanted_devices w WHERE NOT EXISTS (SELECT FROM devices d WHERE d.code = w.code)
           ORDER BY w.place""".encode(),  # noqa: S608  # columns named above
        said,
    ).rowcount
    moved = _write_names(connection, listed, kept, by or "import")
    if changed > _MANY:
        connection.execute("ANALYZE devices, device_names")  # else the next readers plan for an empty table
    return WrittenList(changed=changed, ended=retired, kept=kept, moved=moved)


def _agree_or_keep(connection: Connection[TupleRow]) -> list[str]:
    """Entries that a person changed: the file's own again where it says the same; the codes of the others."""
    agreed = f"d.code = w.code AND d.edited_at IS NOT NULL AND ({_STANDS}) IS NOT DISTINCT FROM ({_WANTED})"
    connection.execute(
        f"""UPDATE devices d SET edited_at = NULL, edited_by = NULL, origin = 'import'
            FROM wanted_devices w WHERE {agreed}""".encode()  # noqa: S608  # columns named above
    )
    rows = connection.execute(
        b"SELECT d.code FROM devices d JOIN wanted_devices w ON w.code = d.code AND d.edited_at IS NOT NULL"
        b" ORDER BY d.code"
    )
    return [row[0] for row in rows]


def _copy_listed(connection: Connection[TupleRow], listed: Sequence[ListedDevice]) -> None:
    """The list into the temporary table ``wanted_devices``, cells by their ids."""
    connection.execute(
        "CREATE TEMP TABLE listed_devices (place integer, code text, kind text, name text, cell text,"
        " longitude float8, latitude float8, model text, owner_unit text, maintainer_unit text, gateway text,"
        " expected_interval_s integer, address text, tags text, vendor text, profile text, life text,"
        " installed_on date, calibrated_on date, calibration_due date, building text, facility text)"
        " ON COMMIT DROP"
    )
    with connection.cursor().copy("COPY listed_devices FROM STDIN") as copy:
        for place, device in enumerate(listed):
            copy.write_row((place, device.code, device.kind, device.name, device.cell, device.longitude,
                            device.latitude, device.model, device.owner_unit, device.maintainer_unit,
                            device.gateway, device.expected_interval_s, device.address, device.tags, device.vendor,
                            device.profile, device.life, device.installed_on, device.calibrated_on,
                            device.calibration_due, device.building, device.facility))  # fmt: skip
    # What an empty cell leaves as it is, is taken from the entry that stands there.
    connection.execute(
        """CREATE TEMP TABLE wanted_devices ON COMMIT DROP AS
           SELECT l.place, l.code, l.kind, a.id AS cell_id, l.name, l.model, l.owner_unit, l.maintainer_unit,
               l.gateway, l.address, l.longitude, l.latitude, l.expected_interval_s,
               string_to_array(l.tags, ';') AS tags, coalesce(nullif(l.vendor, ''), d.vendor, '') AS vendor,
               coalesce(nullif(l.profile, ''), d.profile) AS profile,
               coalesce(nullif(l.life, ''), nullif(d.life_state, 'retired'), 'in_service') AS life_state,
               l.installed_on, l.calibrated_on, l.calibration_due, l.building, l.facility
           FROM listed_devices l LEFT JOIN devices d ON d.code = l.code
           LEFT JOIN areas a ON a.layer = 'cell' AND a.code = l.cell AND a.valid_to IS NULL"""
    )
    # Without index and figures, 100,000 devices are joined by nested loops over the whole table.
    connection.execute("CREATE UNIQUE INDEX ON wanted_devices (code); ANALYZE wanted_devices")


# ── foreign names ────────────────────────────────────────────────────────────────────────────────────


def _write_names(
    connection: Connection[TupleRow], listed: Sequence[ListedDevice], kept: Sequence[str], who: str
) -> list[tuple[str, str, str]]:
    """Devices that are listed with names have these and no others; says which names moved between devices."""
    left_alone = set(kept)
    connection.execute("CREATE TEMP TABLE listed_names (code text, family text, name text) ON COMMIT DROP")
    with connection.cursor().copy("COPY listed_names FROM STDIN") as copy:
        for device in listed:
            if device.names and device.code not in left_alone:
                for name in device.names:
                    copy.write_row((device.code, *name.split(":", 1)))
    connection.execute("CREATE UNIQUE INDEX ON listed_names (family, name); ANALYZE listed_names")
    return take_names(connection, who=who)


def take_names(connection: Connection[TupleRow], *, who: str) -> list[tuple[str, str, str]]:
    """The same from the temporary table ``listed_names``. An unclaimed device whose last name went away is retired."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('device_names'))")
    moved = connection.execute(
        """SELECT l.family || ':' || l.name, before.code, l.code FROM listed_names l
           JOIN device_names n ON (n.family, n.name) = (l.family, l.name)
           JOIN devices before ON before.id = n.device_id AND before.code <> l.code ORDER BY 1"""
    ).fetchall()
    connection.execute(
        """DELETE FROM device_names n USING devices d, (SELECT DISTINCT code FROM listed_names) l
           WHERE d.code = l.code AND n.device_id = d.id AND NOT EXISTS (
               SELECT FROM listed_names k WHERE (k.family, k.name) = (n.family, n.name) AND k.code = d.code)"""
    )
    connection.execute(
        """INSERT INTO device_names AS known (family, name, device_id)
           SELECT l.family, l.name, d.id FROM listed_names l JOIN devices d ON d.code = l.code
           ON CONFLICT (family, name) DO UPDATE SET device_id = excluded.device_id
           WHERE known.device_id <> excluded.device_id"""
    )
    connection.execute(
        "SELECT bump_register()"
    )  # ingest holds names in memory, and a new row alone wakes nobody
    connection.execute(
        """UPDATE devices d SET registration = 'retired', life_by = %(who)s, life_reason = 'heard as ' || gone.now
           FROM (SELECT m.before, min(m.now) AS now
                 FROM unnest(%(before)s::text[], %(now)s::text[]) AS m (before, now) GROUP BY m.before) gone
           WHERE d.code = gone.before AND d.registration = 'unclaimed'
             AND NOT EXISTS (SELECT FROM device_names n WHERE n.device_id = d.id)""",
        {"who": who, "before": [row[1] for row in moved], "now": [row[2] for row in moved]},
    )
    return moved


# ── read back for an export ──────────────────────────────────────────────────────────────────────────

_LISTED: LiteralString = """
    SELECT '' AS "where", d.code, d.kind, d.name, a.code AS cell, d.longitude, d.latitude, d.model,
        d.owner_unit, d.maintainer_unit, d.gateway, d.expected_interval_s, d.address,
        array_to_string(d.tags, ';') AS tags, d.vendor, coalesce(d.profile, '') AS profile, d.life_state AS life,
        d.installed_on, d.calibrated_on, d.calibration_due, d.building, d.facility
    FROM devices d
    LEFT JOIN areas a ON a.id = d.cell_id AND a.valid_to IS NULL AND a.origin <> 'topic'
    WHERE d.registration = 'registered' ORDER BY d.id
"""


def listed_devices(connection: Connection[TupleRow]) -> list[ListedDevice]:
    """Every registered device as a line of devices.csv, in the order of their ids."""
    # Apart, since a new table without figures would be joined by nested loops.
    names: dict[str, list[str]] = defaultdict(list)
    for code, name in connection.execute(
        "SELECT d.code, n.family || ':' || n.name FROM device_names n JOIN devices d ON d.id = n.device_id"
    ):
        names[code].append(name)

    def listed(code: str, **fields: Any) -> ListedDevice:
        return ListedDevice(code=code, names=tuple(sorted(names.get(code, ()))), **fields)

    return connection.cursor(row_factory=kwargs_row(listed)).execute(_LISTED).fetchall()
