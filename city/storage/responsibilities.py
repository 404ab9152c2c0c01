"""The responsibility list: read for dispatch and for people, and changed one entry at a time; asynchronous.

Whoever changes it says so first (``speak``); the database then writes every change into the list's history.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

from city.clocks import read_limits, write_limits
from city.directory import Place
from city.errors import CityError
from city.storage.database import CHANNEL
from city.units import Responsibility

Connection = AsyncConnection[Any]
Row = dict[str, Any]
LIST_LOCK = 7235_0060  # advisory: one change of the list at a time, so that what was checked still holds
COLUMNS = """
    r.id, r.category, r.area_id, r.unit_id, r.class AS incident_class, r.limit_minutes, r.clock, r.co_units, r.limits,
    r.automatic, r.valid_from, r.valid_to
"""
_SHOWN = """
    SELECT r.id, r.category, c.name AS category_name, c.name_en AS category_name_en, a.layer AS area_layer,
        a.code AS area, a.name AS area_name, a.name_en AS area_name_en, u.code AS unit, u.name AS unit_name,
        u.name_en AS unit_name_en, u.active AS unit_active, r.class, r.limit_minutes, r.clock, r.limits, r.automatic,
        r.valid_from, r.valid_to, r.version, coalesce(nullif(p.display_name, ''), p.name, r.begun_by) AS begun_by,
        ARRAY(SELECT o.code FROM unnest(r.co_units) WITH ORDINALITY AS x (id, place) JOIN units o ON o.id = x.id
              ORDER BY x.place) AS co_units
    FROM responsibilities r JOIN units u ON u.id = r.unit_id LEFT JOIN areas a ON a.id = r.area_id
    LEFT JOIN categories c ON c.code = r.category LEFT JOIN users p ON r.begun_by = 'user:' || p.id
"""
# Not over, and not withdrawn before it began.
LIVING = "(r.valid_to IS NULL OR r.valid_to > %(at)s AND coalesce(r.valid_from < r.valid_to, true))"


class ResponsibilityError(CityError):
    """A ruling that the list cannot take; nothing was changed. ``reason`` is the Chinese text."""

    def __init__(self, reason: str, reason_en: str) -> None:
        super().__init__(reason_en)
        self.reason = reason


def entry_of(row: Mapping[str, Any]) -> Responsibility:
    """A row of COLUMNS."""
    given = {**row, "co_unit_ids": tuple(row["co_units"]), "limits": read_limits(row["limits"])}
    del given["co_units"]
    return Responsibility(**given)


async def lock(connection: Connection) -> None:
    """Until the transaction's end nobody else changes the list."""
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (LIST_LOCK,))


async def speak(connection: Connection, actor: str, reason: str, incident_id: int | None = None) -> None:
    """Who changes the list in this transaction, and why; it stands with each change."""
    await connection.execute(
        "SELECT set_config('city.actor', %s, true), set_config('city.reason', %s, true),"
        " set_config('city.incident', %s, true)",
        (actor, reason, "" if incident_id is None else str(incident_id)),
    )


async def wake(connection: Connection) -> None:
    """At commit, whoever dispatches looks at the unassigned lane again."""
    await connection.execute(f"NOTIFY {CHANNEL}")


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────


async def living(connection: Connection, at: datetime) -> list[Responsibility]:
    """Every entry that holds at ``at`` or is to begin later, in the order they were written."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            f"SELECT {COLUMNS} FROM responsibilities r WHERE {LIVING} ORDER BY r.id",  # noqa: S608 - constants
            {"at": at},
        )
        return [entry_of(row) for row in await cursor.fetchall()]


async def shown(connection: Connection, responsibility_id: int) -> Row | None:
    """One entry as people read it, by codes and names; None when there is none."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(f"{_SHOWN} WHERE r.id = %s", (responsibility_id,))
        return await cursor.fetchone()


async def page(  # each is one filter of the list
    connection: Connection,
    *,
    now: datetime,
    at: datetime | None,
    category: str | None,
    area: str | None,
    unit: str | None,
    after: tuple[str, int] | None,
    limit: int,
) -> list[Row]:
    """By category: what holds at ``at``, or without it what holds at ``now`` or is to begin.

    ``category`` is itself and what lies below, ``area`` a code, ``unit`` a code of lead or co-handler.
    """
    conditions = [LIVING, "(%(category)s::text IS NULL OR r.category = %(category)s"
                  " OR starts_with(r.category, %(category)s || '.'))"]  # fmt: skip
    if at is not None:
        conditions.append("(r.valid_from IS NULL OR r.valid_from <= %(at)s)")
    if area is not None:
        conditions.append("a.code = %(area)s")
    if unit is not None:
        conditions.append(
            "(u.code = %(unit)s OR EXISTS (SELECT FROM units o WHERE o.code = %(unit)s AND o.id = ANY (r.co_units)))"
        )
    if after is not None:
        conditions.append("(r.category, r.id) > (%(after_category)s, %(after_id)s)")
    values = {
        "at": at or now,
        "category": category,
        "area": area,
        "unit": unit,
        "after_category": after[0] if after else "",
        "after_id": after[1] if after else 0,
        "limit": limit,
    }
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            f"{_SHOWN} WHERE {' AND '.join(conditions)} ORDER BY r.category, r.id LIMIT %(limit)s", values
        )
        return await cursor.fetchall()


async def history(
    connection: Connection, responsibility_id: int | None, *, before: int | None, limit: int
) -> list[Row]:
    """Newest first: of the whole list, or of everything there was for that entry's category and place."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT h.id, h.responsibility_id AS responsibility, h.category, a.layer AS area_layer, a.code AS area,
                h.at, h.action, h.actor, coalesce(nullif(p.display_name, ''), p.name, h.actor) AS "by", h.reason,
                h.before, h.after, h.incident_id AS incident, i.number AS incident_number
            FROM responsibility_changes h LEFT JOIN areas a ON a.id = h.area_id
            LEFT JOIN users p ON h.actor = 'user:' || p.id LEFT JOIN incidents i ON i.id = h.incident_id
            WHERE (%(id)s::integer IS NULL OR (h.category, coalesce(h.area_id, 0)) = (
                    SELECT r.category, coalesce(r.area_id, 0) FROM responsibilities r WHERE r.id = %(id)s))
                AND (%(before)s::bigint IS NULL OR h.id < %(before)s)
            ORDER BY h.id DESC LIMIT %(limit)s
            """,
            {"id": responsibility_id, "before": before, "limit": limit},
        )
        return await cursor.fetchall()


async def unit_codes(connection: Connection) -> dict[int, tuple[str, bool]]:
    """Code and whether it works, of every unit there ever was."""
    cursor = await connection.execute("SELECT id, code, active FROM units")
    return {row[0]: (row[1], row[2]) for row in await cursor.fetchall()}


async def places(connection: Connection) -> list[Place]:
    """Every place there ever was, also those without cells, which dispatch does not know."""
    async with connection.cursor(row_factory=class_row(Place)) as cursor:
        await cursor.execute("SELECT id AS area_id, layer, code, name, name_en FROM areas ORDER BY id")
        return await cursor.fetchall()


async def areas_of(connection: Connection, code: str, layer: str | None) -> list[tuple[int, str]]:
    """Id and layer of the valid areas with this code; several layers may use one."""
    cursor = await connection.execute(
        "SELECT id, layer FROM areas WHERE code = %s AND valid_to IS NULL AND (%s::text IS NULL OR layer = %s)",
        (code, layer, layer),
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]


# ── changing ─────────────────────────────────────────────────────────────────────────────────────────


async def locked(connection: Connection, responsibility_id: int) -> tuple[Responsibility, int] | None:
    """An entry with its version, locked until the transaction's end."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            f"SELECT {COLUMNS}, r.version FROM responsibilities r WHERE r.id = %s FOR UPDATE",  # noqa: S608 - a constant
            (responsibility_id,),
        )
        row = await cursor.fetchone()
    if row is None:
        return None
    version = int(row.pop("version"))
    return entry_of(row), version


async def begin(connection: Connection, entry: Responsibility) -> int:
    """Write a new entry; its id."""
    cursor = await connection.execute(
        "INSERT INTO responsibilities (category, area_id, unit_id, class, limit_minutes, clock, co_units, limits,"
        " automatic, valid_from, valid_to) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id",
        values_of(entry),
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101  # RETURNING gives the row or raises
    return int(row[0])


async def rewrite(connection: Connection, entry: Responsibility) -> None:
    """Write over an entry that has not begun; the database refuses it for one that has."""
    await connection.execute(
        "UPDATE responsibilities SET category = %s, area_id = %s, unit_id = %s, class = %s, limit_minutes = %s,"
        " clock = %s, co_units = %s, limits = %s, automatic = %s, valid_from = %s, valid_to = %s WHERE id = %s",
        (*values_of(entry), entry.id),
    )


async def end(connection: Connection, responsibility_id: int, at: datetime | None) -> None:
    """Let it end at ``at`` (None: not any more); before its beginning means that it is withdrawn."""
    await connection.execute(
        "UPDATE responsibilities SET valid_to = greatest(%s::timestamptz, CASE WHEN %s::timestamptz IS NOT NULL"
        " THEN valid_from END) WHERE id = %s",
        (at, at, responsibility_id),
    )


def values_of(entry: Responsibility) -> Sequence[object]:
    """What is stored of an entry, in the order of the table's columns."""
    return (
        entry.category,
        entry.area_id,
        entry.unit_id,
        entry.incident_class,
        entry.limit_minutes,
        entry.clock,
        list(entry.co_unit_ids),
        write_limits(entry.limits),
        entry.automatic,
        entry.valid_from,
        entry.valid_to,
    )


async def amend(  # what a ruling says
    connection: Connection,
    *,
    category: str,
    area_id: int | None,
    unit_id: int,
    actor: str,
    reason: str,
    incident_id: int | None = None,
    at: datetime,
) -> int:
    """From ``at`` on the unit leads exactly this category in exactly this place; the entry's id.

    The entry that says otherwise ends then; co-handlers, limits and end are taken over from it. An entry already
    planned for later stands: the new one lasts until it begins. Nothing is written when the unit leads there
    already. In the caller's transaction; raises ResponsibilityError for a unit that no longer works.
    """
    await lock(connection)
    if not (await unit_codes(connection)).get(unit_id, ("", False))[1]:
        raise ResponsibilityError("该单位已停用，不能写入职责清单", "the unit no longer works; name another")
    own = [e for e in await living(connection, at) if (e.category, e.area_id) == (category, area_id)]
    standing = next((e for e in own if e.valid_from is None or e.valid_from <= at), None)
    if standing is not None and standing.unit_id == unit_id:
        return standing.id
    ends = [e.valid_from for e in own if e is not standing and e.valid_from is not None]
    await speak(connection, actor, reason, incident_id)
    if standing is not None:
        await end(connection, standing.id, at)
        ends = [standing.valid_to] if standing.valid_to is not None else ends
    begun = await begin(
        connection,
        Responsibility(
            category=category,
            area_id=area_id,
            unit_id=unit_id,
            incident_class=standing.incident_class if standing else None,
            limit_minutes=standing.limit_minutes if standing else None,
            clock=standing.clock if standing else None,
            co_unit_ids=tuple(one for one in standing.co_unit_ids if one != unit_id) if standing else (),
            limits=standing.limits if standing else {},
            automatic=standing.automatic if standing else None,
            valid_from=at,
            valid_to=min(ends, default=None),
        ),
    )
    await speak(connection, "", "")
    return begun
