"""Devices, their kinds and metrics, and the register that ingest keeps in memory."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, LiteralString

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection, Cursor
from psycopg.rows import TupleRow, class_row

from city.devices import DeviceRow, DeviceState, Kind, Metric, Register, ServiceState, UnclaimedDevice
from city.errors import CityError
from city.storage import audit
from city.storage.conditions import given
from city.storage.database import nudge

REGISTER_LOCK = 7235_0002  # advisory lock of a transaction that adds devices or areas

_REGISTER_COLUMNS: LiteralString = """
    d.id, d.code, d.kind, d.cell_id,
    CASE WHEN d.life_state IN ('in_service', 'retired')  -- who is not yet there, or broken, is not missed
        THEN coalesce(d.expected_interval_s, k.expected_interval_s) END AS expected_interval_s,
    d.service_state,
    coalesce((extract(epoch FROM d.service_until) * 1000000)::bigint, 0) AS service_until_us,
    d.registration, p.link,
    coalesce((extract(epoch FROM p.last_heard_at) * 1000000)::bigint, 0) AS last_heard_us,
    (extract(epoch FROM d.registered_at) * 1000000)::bigint AS registered_us,
    s.warning_level_m AS warning_m, s.guaranteed_level_m AS guaranteed_m, s.highest_level_m AS highest_m,
    d.model, d.tags, g.id AS gateway_id
    FROM devices d
    JOIN device_kinds k ON k.code = d.kind
    LEFT JOIN devices g ON g.code = d.gateway
    LEFT JOIN presence p ON p.device_id = d.id
    LEFT JOIN stations s ON s.device_id = d.id
"""


class UnknownDeviceError(CityError):
    """No device has this code."""


class ServiceStateError(CityError):
    """A device cannot be put into this state as asked."""


# ── kinds and metrics ────────────────────────────────────────────────────────────────────────────────


def load_kinds(connection: Connection[TupleRow]) -> dict[str, Kind]:
    """Every kind by its code."""
    rows = connection.cursor(row_factory=class_row(Kind)).execute(
        "SELECT code, name, name_en, main_metric, expected_interval_s FROM device_kinds ORDER BY code"
    )
    return {kind.code: kind for kind in rows}


def load_metrics(connection: Connection[TupleRow]) -> dict[str, Metric]:
    """Every metric by its code, with its id."""
    rows = connection.cursor(row_factory=class_row(Metric)).execute(
        "SELECT id, code, unit, name, name_en FROM metrics ORDER BY code"
    )
    return {metric.code: metric for metric in rows}


def register_metrics(connection: Connection[TupleRow], codes: Iterable[str]) -> dict[str, int]:
    """Ids of these metrics, added where missing: a payload may name a quantity that no file does.

    Ids are 16 bit: the caller bounds how many a stranger may add.
    """
    wanted = sorted(set(codes))
    _lock_register(connection)
    connection.execute(
        "INSERT INTO metrics (code) SELECT code FROM unnest(%(wanted)s::text[]) AS code"
        " WHERE NOT EXISTS (SELECT FROM metrics m WHERE m.code = code.code)",
        {"wanted": wanted},
    )
    return dict(connection.execute("SELECT code, id FROM metrics WHERE code = ANY(%s)", (wanted,)).fetchall())


def upsert_kinds(
    connection: Connection[TupleRow], metrics: Iterable[Metric], kinds: Iterable[Kind], *, overwrite: bool
) -> None:
    """Write metrics and kinds; those that are there already are changed only with ``overwrite``."""
    cursor = connection.cursor()
    cursor.executemany(
        """INSERT INTO metrics AS known (code, unit, name, name_en)
           SELECT %(code)s, %(unit)s, %(name)s, %(name_en)s
           WHERE %(overwrite)s OR NOT EXISTS (SELECT FROM metrics WHERE code = %(code)s)
           ON CONFLICT (code) DO UPDATE
           SET unit = excluded.unit, name = excluded.name, name_en = excluded.name_en
           WHERE (known.unit, known.name, known.name_en)
               IS DISTINCT FROM (excluded.unit, excluded.name, excluded.name_en)""",
        [
            {"code": m.code, "unit": m.unit, "name": m.name, "name_en": m.name_en, "overwrite": overwrite}
            for m in metrics
        ],
    )
    cursor.executemany(
        """INSERT INTO device_kinds AS known (code, name, name_en, main_metric, expected_interval_s)
           SELECT %(code)s, %(name)s, %(name_en)s, %(main)s, %(interval)s
           WHERE %(overwrite)s OR NOT EXISTS (SELECT FROM device_kinds WHERE code = %(code)s)
           ON CONFLICT (code) DO UPDATE SET name = excluded.name, name_en = excluded.name_en,
               main_metric = excluded.main_metric, expected_interval_s = excluded.expected_interval_s
           WHERE (known.name, known.name_en, known.main_metric, known.expected_interval_s) IS DISTINCT FROM
               (excluded.name, excluded.name_en, excluded.main_metric, excluded.expected_interval_s)""",
        [
            {
                "code": kind.code,
                "name": kind.name,
                "name_en": kind.name_en,
                "main": kind.main_metric,
                "interval": kind.expected_interval_s,
                "overwrite": overwrite,
            }
            for kind in kinds
        ],
    )


# ── the register in memory ───────────────────────────────────────────────────────────────────────────


def register_version(connection: Connection[TupleRow]) -> int:
    """Grows with every committed change of the register; cheap enough to ask each second.

    Rules (the slot below 0) do not count: ingest asks for them apart.
    """
    row = connection.execute(
        "SELECT coalesce(sum(version), 0)::bigint FROM register_versions WHERE slot >= 0"
    ).fetchone()
    return int(row[0]) if row else 0


def load_register(connection: Connection[TupleRow]) -> Register:
    """The whole register in columns, retired devices included."""
    return _joined(list(register_slices(connection)))


def register_slices(connection: Connection[TupleRow], partition: int | None = None) -> Iterator[Register]:
    """The register, or the devices that speak by ``partition``, a slice at a time, at least one.

    Each has the version that was read before the first.

    100,000 rows as Python objects would cost more memory than all else ingest holds; and whoever works on a slice
    before asking for the next does not leave the server waiting, which ends a transaction that is idle for 30 s.
    """
    version = register_version(connection)
    after = 0
    with connection.cursor(binary=True) as cursor:
        while True:
            cursor.execute(
                "SELECT "
                + _REGISTER_COLUMNS
                + " WHERE d.id > %s"
                + _OF_PARTITION
                + " ORDER BY d.id LIMIT %s",
                (after, partition, partition, _SLICE),
            )
            rows = cursor.fetchall()
            yield _columns(version, rows)
            if len(rows) < _SLICE:
                return
            after = rows[-1][0]


_SLICE = 10_000
_OF_PARTITION: LiteralString = """
    AND (%s::smallint IS NULL
         OR EXISTS (SELECT FROM device_partitions o WHERE o.device_id = d.id AND o.partition = %s))
"""


def _columns(version: int, rows: Sequence[TupleRow]) -> Register:
    columns: list[tuple[Any, ...]] = list(zip(*rows, strict=True)) if rows else [()] * 17
    return Register(
        version=version,
        id=_integers32(columns[0]),
        code=list(columns[1]),
        kind=[sys.intern(kind) for kind in columns[2]],
        cell_id=_integers32([cell or 0 for cell in columns[3]]),
        expected_interval_s=_integers32([interval or 0 for interval in columns[4]]),
        service_state=[sys.intern(state) for state in columns[5]],  # type: ignore[misc]  # intern forgets the literals
        service_until_us=_integers64(columns[6]),
        registration=[sys.intern(registration) for registration in columns[7]],  # type: ignore[misc]  # the same
        link=list(columns[8]),
        last_heard_us=_integers64(columns[9]),
        registered_us=_integers64(columns[10]),
        warning_m=_levels(columns[11]),
        guaranteed_m=_levels(columns[12]),
        highest_m=_levels(columns[13]),
        model=[sys.intern(model) for model in columns[14]],
        tags=[_tag_set(tags) for tags in columns[15]],
        gateway_id=_integers32([gateway or 0 for gateway in columns[16]]),
    )


_NO_TAGS: frozenset[str] = frozenset()


def _tag_set(tags: Sequence[str]) -> frozenset[str]:
    return frozenset(sys.intern(tag) for tag in tags) if tags else _NO_TAGS


def _joined(slices: Sequence[Register]) -> Register:
    """One register of slices in order."""
    together: dict[str, Any] = {}
    for field in fields(Register):
        parts = [getattr(part, field.name) for part in slices]
        if field.name == "version":
            together[field.name] = parts[0]
        elif isinstance(parts[0], list):
            together[field.name] = [value for part in parts for value in part]
        else:
            together[field.name] = np.concatenate(parts)
    return Register(**together)


def count_unclaimed(connection: Connection[TupleRow]) -> int:
    """How many devices were heard and are in nobody's list."""
    row = connection.execute("SELECT count(*) FROM devices WHERE registration = 'unclaimed'").fetchone()
    return int(row[0]) if row else 0


def load_devices(connection: Connection[TupleRow], codes: Sequence[str]) -> list[DeviceRow]:
    """The rows of these codes, ordered by id; unknown codes are left out."""
    with _device_rows(connection) as cursor:
        cursor.execute(
            "SELECT " + _REGISTER_COLUMNS + " WHERE d.code = ANY(%s) ORDER BY d.id", (list(codes),)
        )
        return cursor.fetchall()


def load_devices_by_id(connection: Connection[TupleRow], ids: Sequence[int]) -> list[DeviceRow]:
    """The rows of these ids, ordered by id."""
    with _device_rows(connection) as cursor:
        cursor.execute("SELECT " + _REGISTER_COLUMNS + " WHERE d.id = ANY(%s) ORDER BY d.id", (list(ids),))
        return cursor.fetchall()


def register_unclaimed(
    connection: Connection[TupleRow], wanted: Sequence[UnclaimedDevice]
) -> list[DeviceRow]:
    """Add unknown devices as unclaimed, unknown cells as areas only a topic named; return all wanted rows.

    Part of the caller's transaction. Devices that are known already come back as they are. Two transactions
    that add devices wait for each other, so that both see one id; kinds must be known.
    """
    first_by_code: dict[str, UnclaimedDevice] = {}
    for device in wanted:
        first_by_code.setdefault(device.code, device)
    codes = list(first_by_code)
    known = {row[0] for row in connection.execute("SELECT code FROM devices WHERE code = ANY(%s)", (codes,))}
    missing = [device for code, device in first_by_code.items() if code not in known]
    if missing:
        _lock_register(connection)
        _insert_unclaimed(connection, missing)
    return load_devices(connection, codes)


def _insert_unclaimed(connection: Connection[TupleRow], missing: Sequence[UnclaimedDevice]) -> None:
    parameters = {
        "codes": [device.code for device in missing],
        "kinds": [device.kind for device in missing],
        "cells": [device.cell_code for device in missing],
    }
    connection.execute(
        """INSERT INTO areas (layer, code, name, origin)
           SELECT DISTINCT 'cell', cell, cell, 'topic' FROM unnest(%(cells)s::text[]) AS wanted (cell)
           WHERE cell <> '' AND NOT EXISTS (
               SELECT FROM areas a WHERE a.layer = 'cell' AND a.code = wanted.cell AND a.valid_to IS NULL)""",
        parameters,
    )
    connection.execute(
        """INSERT INTO devices (code, kind, cell_id, registration, origin, first_heard_at)
           SELECT wanted.code, wanted.kind, a.id, 'unclaimed', 'topic', now()
           FROM unnest(%(codes)s::text[], %(kinds)s::text[], %(cells)s::text[])
               WITH ORDINALITY AS wanted (code, kind, cell, place)
           LEFT JOIN areas a ON a.layer = 'cell' AND a.code = wanted.cell AND a.valid_to IS NULL
           WHERE NOT EXISTS (SELECT FROM devices d WHERE d.code = wanted.code)
           ORDER BY wanted.place""",
        parameters,
    )


# ── what people do with a device ─────────────────────────────────────────────────────────────────────


def claim(connection: Connection[TupleRow], code: str, *, actor: str, reason: str = "") -> None:
    """Take an unclaimed (or retired) device into the register; one that is registered stays so.

    Raises UnknownDeviceError.
    """
    before = _locked(connection, code)[0]
    if before == "registered":
        return
    connection.execute("UPDATE devices SET registration = 'registered' WHERE code = %s", (code,))
    _audit(connection, "device.claimed", code, actor=actor, reason=reason, detail={"before": before})
    nudge(connection)


def set_service(
    connection: Connection[TupleRow],
    code: str,
    state: ServiceState,
    *,
    until: datetime | None,
    reason: str,
    actor: str,
    now: datetime,
) -> None:
    """Put a device under test, on the shelf, out of service or back into service.

    Test and shelf end at ``until``, which must lie ahead. Raises UnknownDeviceError, ServiceStateError.
    """
    ends = state in ("under_test", "shelved")
    if ends and (until is None or until <= now):
        raise ServiceStateError(
            f"until = {until.isoformat() if until else None}: {state} needs an end ahead of now; give one"
        )
    if state != "in_service" and not reason.strip():
        raise ServiceStateError(f"reason is empty: {state} needs one, for whoever finds the device silent")
    before = _locked(connection, code)[1]
    connection.execute(
        "UPDATE devices SET service_state = %s, service_until = %s, service_reason = %s, service_by = %s"
        " WHERE code = %s",
        (state, until if ends else None, reason, actor, code),
    )
    detail: dict[str, object] = {"before": before, "after": state}
    if ends and until is not None:
        detail["until"] = until.isoformat()
    _audit(connection, "device.service", code, actor=actor, reason=reason, detail=detail)
    nudge(connection)


def standing_alarms(connection: Connection[TupleRow], code: str) -> list[tuple[str, str]]:
    """(category, class) of the real alarms that stand on a device; the class is the alarm's, else its category's."""
    return [
        (str(row[0]), str(row[1] or ""))
        for row in connection.execute(
            "SELECT a.category, coalesce(a.class, g.class) FROM alarms a JOIN devices d ON d.id = a.device_id"
            " LEFT JOIN categories g ON g.code = a.category"
            " WHERE d.code = %s AND a.cleared_at IS NULL AND NOT a.exercise",
            (code,),
        )
    ]


def _locked(connection: Connection[TupleRow], code: str) -> tuple[str, str]:
    row = connection.execute(
        "SELECT registration, service_state FROM devices WHERE code = %s FOR UPDATE", (code,)
    ).fetchone()
    if row is None:
        raise UnknownDeviceError(f"device = {code!r}: there is none of this code; see the list of devices")
    return str(row[0]), str(row[1])


def _audit(
    connection: Connection[TupleRow],
    action: str,
    code: str,
    *,
    actor: str,
    reason: str,
    detail: dict[str, object],
) -> None:
    audit.record(connection, actor=actor, action=action, subject=code, reason=reason, detail=detail)


# ── what people see of devices ───────────────────────────────────────────────────────────────────────

_STATE: LiteralString = """
    SELECT d.code, d.kind, d.name, a.code AS cell, a.name AS cell_name, d.longitude, d.latitude, d.model,
        d.owner_unit, d.maintainer_unit, d.gateway, d.address,
        coalesce(d.expected_interval_s, k.expected_interval_s) AS expected_interval_s,
        d.registration, d.service_state, d.service_until, d.service_reason, d.service_by, d.clock_ahead_at,
        d.registered_at, p.link, p.last_heard_at, d.version, l.silent_before,
        (SELECT count(*) FROM alarms WHERE device_id = d.id AND cleared_at IS NULL) AS open_alarms
    FROM devices d
    JOIN device_kinds k ON k.code = d.kind
    LEFT JOIN heard_limits l ON l.interval_s = coalesce(d.expected_interval_s, k.expected_interval_s, 0)
    LEFT JOIN areas a ON a.id = d.cell_id
    LEFT JOIN presence p ON p.device_id = d.id
"""

# As ``DeviceState.online`` says it.
_ONLINE: LiteralString = """
    p.link IS DISTINCT FROM 'offline' AND p.last_heard_at IS NOT NULL AND p.last_heard_at > l.silent_before
"""


def get_device(connection: Connection[TupleRow], code: str) -> DeviceState | None:
    """One device with its live state, or None."""
    cursor = connection.cursor(row_factory=class_row(DeviceState))
    return cursor.execute(_STATE + " WHERE d.code = %s", (code,)).fetchone()


def list_devices(
    connection: Connection[TupleRow],
    *,
    kind: str | None = None,
    cell: str | None = None,
    registration: str | None = None,
    service_state: str | None = None,
    unit: str | None = None,
    online: bool | None = None,
    containing: str | None = None,
    after: str | None = None,
    limit: int = 100,
) -> list[DeviceState]:
    """At most ``limit`` devices with codes after ``after``, in the order of their codes.

    ``containing`` is looked for in code, name and address; ``unit`` is the text of owner or maintainer; the last
    row's code is the next page's ``after``.
    """
    pattern = None
    if containing:
        pattern = "%" + containing.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_") + "%"
    where = given(
        "true",
        ("d.code > %(after)s", after),
        ("d.kind = %(kind)s", kind),
        ("a.code = %(cell)s", cell),
        ("d.registration = %(registration)s", registration),
        ("d.service_state = %(service)s", service_state),
        ("(d.owner_unit = %(unit)s OR d.maintainer_unit = %(unit)s)", unit),
        (f"%(online)s = ({_ONLINE})", online),
        ("(d.code ILIKE %(pattern)s OR d.name ILIKE %(pattern)s OR d.address ILIKE %(pattern)s)", pattern),
    )
    cursor = connection.cursor(row_factory=class_row(DeviceState))
    return cursor.execute(
        f"{_STATE} WHERE {where} ORDER BY d.code LIMIT %(limit)s".encode(),
        {
            "after": after,
            "kind": kind,
            "cell": cell,
            "registration": registration,
            "service": service_state,
            "unit": unit,
            "online": online,
            "pattern": pattern,
            "limit": limit,
        },
    ).fetchall()


def _lock_register(connection: Connection[TupleRow]) -> None:
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (REGISTER_LOCK,))


def _device_rows(connection: Connection[TupleRow]) -> "Cursor[DeviceRow]":
    return connection.cursor(row_factory=class_row(DeviceRow), binary=True)


def _integers32(values: Sequence[object]) -> NDArray[np.int32]:
    return np.array(values, dtype=np.int32)


def _integers64(values: Sequence[object]) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def _levels(values: Sequence[object]) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)  # None becomes NaN
