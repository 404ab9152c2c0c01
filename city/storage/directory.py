"""The directory of dispatch, read as a whole; asynchronous."""

from typing import Any
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

from city.directory import Directory, Place
from city.units import Category, Responsibility, Unit

Connection = AsyncConnection[Any]

_UNIT = """
    SELECT id, code, name, name_en, kind, parent, lead, phone, lead_phone, email, lead_email, webhook_url
    FROM units
"""
_CATEGORY = """
    SELECT code, parent, name, name_en, class AS incident_class, limit_minutes, clock FROM categories
"""
_RESPONSIBILITY = """
    SELECT category, area_id, unit_id, class AS incident_class, limit_minutes, clock
    FROM responsibilities WHERE valid_to IS NULL ORDER BY id
"""
_AREAS = """
    SELECT id, layer, code, name, name_en, parent_id FROM areas
    WHERE valid_to IS NULL OR id IN (SELECT area_id FROM incidents WHERE closed_at IS NULL)
"""


async def version(connection: Connection) -> int:
    """Moves whenever something that ``load`` reads was changed."""
    cursor = await connection.execute("SELECT coalesce(sum(version), 0)::bigint FROM register_versions")
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def load(connection: Connection, default_zone: ZoneInfo) -> Directory:
    """Everything dispatch looks at; ``default_zone`` holds until a district was imported.

    A cell that only a topic named does not move ``version``; it has itself as its one place.
    """
    read_at = await version(connection)
    district_code, zone = await _district(connection, default_zone)
    async with connection.cursor(row_factory=class_row(Unit)) as cursor:
        units = await (await cursor.execute(_UNIT)).fetchall()
    async with connection.cursor(row_factory=class_row(Category)) as categories_cursor:
        categories = await (await categories_cursor.execute(_CATEGORY)).fetchall()
    async with connection.cursor(row_factory=class_row(Responsibility)) as entries_cursor:
        responsibilities = await (await entries_cursor.execute(_RESPONSIBILITY)).fetchall()
    active = await connection.execute("SELECT id FROM units WHERE active")
    windows = await connection.execute(
        "SELECT code, join_minutes FROM categories WHERE join_minutes IS NOT NULL"
    )
    return Directory(
        version=read_at,
        district_code=district_code,
        zone=zone,
        places=await _places(connection),
        categories={category.code: category for category in categories},
        join_minutes={row[0]: row[1] for row in await windows.fetchall()},
        units={unit.id: unit for unit in units},
        active=frozenset(row[0] for row in await active.fetchall()),
        responsibilities=responsibilities,
        calendar={},
    )


async def _district(connection: Connection, default_zone: ZoneInfo) -> tuple[str, ZoneInfo]:
    cursor = await connection.execute("SELECT code, timezone FROM district")
    row = await cursor.fetchone()
    return (row[0], ZoneInfo(row[1])) if row else ("", default_zone)


async def _places(connection: Connection) -> dict[int, tuple[Place, ...]]:
    """From each cell up to the district; a parent that was replaced ends the way."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        rows = {row["id"]: row for row in await (await cursor.execute(_AREAS)).fetchall()}
    places: dict[int, tuple[Place, ...]] = {}
    for row in rows.values():
        if row["layer"] != "cell":
            continue
        way: list[Place] = []
        at: dict[str, Any] | None = row
        while at is not None and len(way) < 10:  # a circle of parents must not hang dispatch
            way.append(
                Place(
                    area_id=at["id"],
                    layer=at["layer"],
                    code=at["code"],
                    name=at["name"],
                    name_en=at["name_en"],
                )
            )
            at = rows.get(at["parent_id"])
        places[row["id"]] = tuple(way)
    return places
