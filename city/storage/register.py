"""Entries of the register as people change them, and what is written down about it; asynchronous."""

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

from psycopg import AsyncConnection, sql
from psycopg.rows import class_row, dict_row

from city.register import DeviceEntry, Edited, Heard, Sibling, UnitEntry
from city.storage import audit
from city.storage.database import CHANNEL
from city.storage.devices import REGISTER_LOCK
from city.units import Unit

Connection = AsyncConnection[Any]
Row = dict[str, Any]

_DEVICE: LiteralString = """
    SELECT d.id, d.code, d.kind, d.name, a.code AS cell, d.cell_id, d.longitude, d.latitude, d.model, d.owner_unit,
        d.maintainer_unit, d.gateway, d.address, d.expected_interval_s, d.tags, d.registration, d.origin, d.version,
        d.edited_at, coalesce(nullif(p.display_name, ''), p.name, d.edited_by) AS edited_by, d.vendor, d.profile,
        d.life_state, d.installed_on, d.calibrated_on, d.calibration_due, d.building, d.facility,
        ARRAY(SELECT n.family || ':' || n.name FROM device_names n WHERE n.device_id = d.id ORDER BY 1) AS names,
        (SELECT u.code FROM units u WHERE d.owner_unit <> '' AND d.owner_unit IN (u.code, u.name)
         ORDER BY u.code <> d.owner_unit, u.code LIMIT 1) AS owner,
        (SELECT u.code FROM units u WHERE d.maintainer_unit <> '' AND d.maintainer_unit IN (u.code, u.name)
         ORDER BY u.code <> d.maintainer_unit, u.code LIMIT 1) AS maintainer
    FROM devices d LEFT JOIN areas a ON a.id = d.cell_id LEFT JOIN users p ON d.edited_by = 'user:' || p.id
"""
_UNIT: LiteralString = """
    SELECT u.id, u.code, u.name, u.name_en, u.kind, u.parent, u.lead, u.phone, u.lead_phone, u.email, u.lead_email,
        u.webhook_url, u.tier, u.capacity, u.fallback, u.hours, u.longitude, u.latitude, u.active, u.version,
        u.edited_at, coalesce(nullif(p.display_name, ''), p.name, u.edited_by) AS edited_by
    FROM units u LEFT JOIN users p ON u.edited_by = 'user:' || p.id
"""
DEVICE_FIELDS = frozenset(
    {
        *("kind", "name", "cell_id", "longitude", "latitude", "model", "owner_unit", "maintainer_unit"),
        *("gateway", "address", "expected_interval_s", "tags", "registration", "vendor", "profile"),
        *("life_state", "life_by", "life_reason", "installed_on", "calibrated_on", "calibration_due"),
        *("building", "facility"),
    }
)
UNIT_FIELDS = frozenset(
    {
        *("name", "name_en", "kind", "parent", "lead", "phone", "lead_phone", "email", "lead_email"),
        *("webhook_url", "tier", "capacity", "fallback", "hours", "longitude", "latitude", "active"),
    }
)


async def lock(connection: Connection) -> None:
    """One change of the ground or the lists at a time, and none while ingest adds devices or files come in."""
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (REGISTER_LOCK,))


async def nudge(connection: Connection) -> None:
    """Wake whoever listens, at commit."""
    await connection.execute(f"NOTIFY {CHANNEL}")


# ── devices ──────────────────────────────────────────────────────────────────────────────────────────


async def device(connection: Connection, code: str, *, locked: bool = False) -> DeviceEntry | None:
    """One entry; with ``locked`` nobody else changes it until the transaction ends."""
    async with connection.cursor(row_factory=class_row(DeviceEntry)) as cursor:
        await cursor.execute(_DEVICE + " WHERE d.code = %s" + (" FOR UPDATE OF d" if locked else ""), (code,))
        return await cursor.fetchone()


async def devices(connection: Connection, codes: Sequence[str]) -> list[DeviceEntry]:
    """The entries of these codes under their locks, by id."""
    async with connection.cursor(row_factory=class_row(DeviceEntry)) as cursor:
        await cursor.execute(
            _DEVICE + " WHERE d.code = ANY(%s) ORDER BY d.id FOR UPDATE OF d", (list(codes),)
        )
        return await cursor.fetchall()


async def update_device(
    connection: Connection, device_id: int, values: Mapping[str, object], actor: str
) -> None:
    """Write the named columns (of ``DEVICE_FIELDS``) and mark the entry as this person's."""
    await _update(connection, "devices", DEVICE_FIELDS, device_id, values, actor)


async def insert_device(connection: Connection, code: str, values: Mapping[str, object], actor: str) -> None:
    """Add an entry that stands in no file. The code is free and the kind known."""
    names = [name for name in values if name in DEVICE_FIELDS]
    await connection.execute(
        sql.SQL(
            "INSERT INTO devices (code, origin, edited_at, edited_by, {}) VALUES (%s, 'person', now(), %s, {})"
        ).format(
            sql.SQL(", ").join(map(sql.Identifier, names)), sql.SQL(", ").join(sql.Placeholder() * len(names))
        ),
        (code, actor, *(values[name] for name in names)),
    )


async def siblings(connection: Connection, code: str) -> list[Sibling]:
    """Registered devices of its kind, those of its cell first; at most 2,000, which is enough to count votes."""
    async with connection.cursor(row_factory=class_row(Sibling)) as cursor:
        await cursor.execute(
            """
            SELECT s.code, s.cell_id IS NOT DISTINCT FROM d.cell_id AND d.cell_id IS NOT NULL AS same_cell, s.model,
                s.owner_unit, s.maintainer_unit, s.gateway
            FROM devices d JOIN devices s ON s.kind = d.kind AND s.id <> d.id AND s.registration = 'registered'
            WHERE d.code = %s ORDER BY same_cell DESC, s.id LIMIT 2000
            """,
            (code,),
        )
        return await cursor.fetchall()


async def gaps(connection: Connection, code: str) -> list[float]:
    """Seconds between its newest reports, at most 50 of them."""
    cursor = await connection.execute(
        """
        WITH heard AS (
            SELECT DISTINCT o.observed_at FROM devices d JOIN observations o ON o.device_id = d.id
            WHERE d.code = %s AND o.observed_at > now() - interval '7 days' ORDER BY o.observed_at DESC LIMIT 51)
        SELECT extract(epoch FROM observed_at - lag(observed_at) OVER (ORDER BY observed_at))::float8 FROM heard
        """,
        (code,),
    )
    return [row[0] for row in await cursor.fetchall() if row[0] is not None]


async def heard(connection: Connection, code: str) -> Heard:
    """Kinds whose main metric it has reported, and the cells of its gateway and of what reports through that."""
    cursor = await connection.execute(
        """
        SELECT ARRAY(SELECT k.code FROM device_kinds k JOIN metrics m ON m.code = k.main_metric
                     WHERE EXISTS (SELECT FROM observations o WHERE o.device_id = d.id AND o.metric_id = m.id)
                     ORDER BY k.code),
               ARRAY(SELECT a.code FROM devices n JOIN areas a ON a.id = n.cell_id AND a.valid_to IS NULL
                     WHERE d.gateway IS NOT NULL AND (n.code = d.gateway OR n.gateway = d.gateway) AND n.id <> d.id
                     ORDER BY n.code <> d.gateway, n.id LIMIT 200)
        FROM devices d WHERE d.code = %s
        """,
        (code,),
    )
    row = await cursor.fetchone()
    return Heard() if row is None else Heard(kinds=row[0], cells=row[1])


async def kind_interval(connection: Connection, kind: str) -> tuple[bool, int | None]:
    """Whether there is such a kind, and how often its devices report."""
    cursor = await connection.execute("SELECT expected_interval_s FROM device_kinds WHERE code = %s", (kind,))
    row = await cursor.fetchone()
    return (False, None) if row is None else (True, row[0])


# ── units ────────────────────────────────────────────────────────────────────────────────────────────


async def units(connection: Connection) -> list[UnitEntry]:
    """Every unit there ever was, those at work first, by code."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_UNIT + " ORDER BY NOT u.active, u.code")
        return [_unit(row) for row in await cursor.fetchall()]


async def unit(connection: Connection, code: str, *, locked: bool = False) -> UnitEntry | None:
    """One unit; with ``locked`` nobody else changes it until the transaction ends."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_UNIT + " WHERE u.code = %s" + (" FOR UPDATE OF u" if locked else ""), (code,))
        row = await cursor.fetchone()
    return None if row is None else _unit(row)


def _unit(row: Row) -> UnitEntry:
    edited = Edited(at=row.pop("edited_at"), by=row.pop("edited_by"))
    active, version = row.pop("active"), row.pop("version")
    return UnitEntry(unit=Unit(**row), active=active, version=version, edited=edited)


async def update_unit(connection: Connection, unit_id: int, values: Mapping[str, object], actor: str) -> None:
    """Write the named columns (of ``UNIT_FIELDS``) and mark the entry as this person's."""
    await _update(connection, "units", UNIT_FIELDS, unit_id, values, actor)


async def insert_unit(connection: Connection, code: str, values: Mapping[str, object], actor: str) -> None:
    """Add a unit that stands in no file; the code is free."""
    names = [name for name in values if name in UNIT_FIELDS]
    await connection.execute(
        sql.SQL("INSERT INTO units (code, edited_at, edited_by, {}) VALUES (%s, now(), %s, {})").format(
            sql.SQL(", ").join(map(sql.Identifier, names)), sql.SQL(", ").join(sql.Placeholder() * len(names))
        ),
        (code, actor, *(values[name] for name in names)),
    )


async def held_by(connection: Connection, unit_id: int) -> tuple[int, int]:
    """Open incidents and entries of the responsibility list that a unit leads."""
    cursor = await connection.execute(
        """
        SELECT (SELECT count(*) FROM incidents WHERE unit_id = %(unit)s AND closed_at IS NULL AND NOT exercise),
               (SELECT count(*) FROM responsibilities
                WHERE unit_id = %(unit)s AND (valid_to IS NULL OR valid_to > now()))
        """,
        {"unit": unit_id},
    )
    row = await cursor.fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


# ── what is written down ─────────────────────────────────────────────────────────────────────────────


async def record(
    connection: Connection,
    action: str,
    thing: str,
    *,
    actor: str,
    reason: str,
    detail: Mapping[str, object],
) -> None:
    """One row in the audit table; ``detail`` says before and after."""
    await audit.record(connection, actor=actor, action=action, subject=thing, reason=reason, detail=detail)


async def history(
    connection: Connection, thing: str, actions: str, *, before: int | None, limit: int
) -> list[Row]:
    """Newest first: id, at, action, by, reason, detail of one object, of actions that begin with ``actions``."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT h.id, h.at, h.action, coalesce(nullif(p.display_name, ''), p.name, h.actor) AS "by", h.reason,
                h.detail
            FROM audit h LEFT JOIN users p ON h.actor = 'user:' || p.id
            WHERE h.object = %(object)s AND starts_with(h.action, %(actions)s)
                AND (%(before)s::bigint IS NULL OR h.id < %(before)s)
            ORDER BY h.id DESC LIMIT %(limit)s
            """,
            {"object": thing, "actions": actions, "before": before, "limit": limit},
        )
        return await cursor.fetchall()


async def _update(
    connection: Connection,
    table: str,
    known: frozenset[str],
    entry: int,
    values: Mapping[str, object],
    actor: str,
) -> None:
    names = [name for name in values if name in known]
    await connection.execute(
        sql.SQL("UPDATE {} SET {}edited_at = now(), edited_by = %s WHERE id = %s").format(
            sql.Identifier(table),
            sql.SQL("").join(sql.SQL("{} = %s, ").format(sql.Identifier(name)) for name in names),
        ),
        (*(values[name] for name in names), actor, entry),
    )
