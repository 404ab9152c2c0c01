"""Areas as people redraw them: what is valid now, how it was before, and who stands on it; asynchronous."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, LiteralString, cast

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from city.areas import Geometry
from city.code_forms import CodeForms, from_plain
from city.outlines import Standing
from city.register import AreaEntry

Connection = AsyncConnection[Any]
Row = dict[str, Any]

_AREA: LiteralString = """
    SELECT a.id, a.layer, a.code, a.name, a.name_en, a.parent_id, a.geometry, a.origin, a.version,
        coalesce(a.drawn_at, a.valid_from) AS drawn_at, a.edited_at,
        coalesce(nullif(p.display_name, ''), p.name, a.edited_by) AS edited_by
    FROM areas a LEFT JOIN users p ON a.edited_by = 'user:' || p.id WHERE a.valid_to IS NULL
"""


async def areas(connection: Connection) -> list[AreaEntry]:
    """Every valid area with its outline, by id."""
    async with connection.cursor(row_factory=class_row(AreaEntry)) as cursor:
        await cursor.execute(_AREA + " ORDER BY a.id")
        return await cursor.fetchall()


async def ids(connection: Connection, layer: str, codes: Collection[str]) -> dict[str, int]:
    """Ids of valid areas of one layer by their codes; those that are not there are left out."""
    cursor = await connection.execute(
        "SELECT code, id FROM areas WHERE layer = %s AND code = ANY(%s) AND valid_to IS NULL",
        (layer, list(codes)),
    )
    return dict(await cursor.fetchall())


async def cell_forms(connection: Connection) -> CodeForms:
    """How the district writes codes; empty where it does not say."""
    cursor = await connection.execute("SELECT code_forms FROM district")
    row = await cursor.fetchone()
    return {} if row is None else from_plain(cast(Any, row[0]))


async def history(connection: Connection, layer: str, code: str) -> list[Row]:
    """How an area was drawn and named, newest first; the first row is what holds now, its ``valid_to`` None."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT coalesce(a.drawn_at, a.valid_from) AS valid_from, a.valid_to, a.name, a.name_en, p.code AS parent,
                a.geometry
            FROM areas a LEFT JOIN areas p ON p.id = a.parent_id WHERE a.layer = %(layer)s AND a.code = %(code)s
            UNION ALL
            SELECT h.valid_from, h.valid_to, h.name, h.name_en, p.code, h.geometry
            FROM area_history h JOIN areas a ON a.id = h.area_id LEFT JOIN areas p ON p.id = h.parent_id
            WHERE a.layer = %(layer)s AND a.code = %(code)s
            ORDER BY valid_from DESC LIMIT 200
            """,
            {"layer": layer, "code": code},
        )
        return await cursor.fetchall()


# ── who stands on it ─────────────────────────────────────────────────────────────────────────────────


async def devices_within(connection: Connection, box: tuple[float, float, float, float]) -> list[Standing]:
    """Devices with a position in a box of west, south, east, north; retired ones left out."""
    return await _standing(
        connection,
        """
        SELECT d.code AS key, d.longitude, d.latitude, a.code AS cell FROM devices d
        LEFT JOIN areas a ON a.id = d.cell_id
        WHERE d.registration <> 'retired' AND d.longitude BETWEEN %(west)s AND %(east)s
            AND d.latitude BETWEEN %(south)s AND %(north)s ORDER BY d.id
        """,
        box,
    )


async def incidents_within(connection: Connection, box: tuple[float, float, float, float]) -> list[Standing]:
    """Open incidents that stand in a box: at their own place, else where their first alarm's device stands."""
    return await _standing(
        connection,
        """
        SELECT i.id::text AS key, i.longitude, i.latitude, i.cell FROM (
            SELECT i.id, coalesce(i.longitude, d.longitude) AS longitude, coalesce(i.latitude, d.latitude) AS latitude,
                c.code AS cell
            FROM incidents i LEFT JOIN areas c ON c.id = i.area_id
            LEFT JOIN LATERAL (
                SELECT d.longitude, d.latitude FROM alarms a JOIN devices d ON d.id = a.device_id
                WHERE a.incident_id = i.id AND d.longitude IS NOT NULL ORDER BY a.id LIMIT 1) d ON true
            WHERE i.closed_at IS NULL) i
        WHERE i.longitude BETWEEN %(west)s AND %(east)s AND i.latitude BETWEEN %(south)s AND %(north)s ORDER BY i.id
        """,
        box,
    )


async def _standing(
    connection: Connection, query: LiteralString, box: tuple[float, float, float, float]
) -> list[Standing]:
    async with connection.cursor(row_factory=class_row(Standing)) as cursor:
        await cursor.execute(query, dict(zip(("west", "south", "east", "north"), box, strict=True)))
        return await cursor.fetchall()


async def named_incidents(connection: Connection, incident_ids: Sequence[int]) -> dict[int, Row]:
    """number and title by id."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "SELECT id, number, title FROM incidents WHERE id = ANY(%s)", (list(incident_ids),)
        )
        return {row["id"]: row for row in await cursor.fetchall()}


async def named_devices(connection: Connection, codes: Sequence[str]) -> dict[str, Row]:
    """name, kind and version by code."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "SELECT code, name, kind, version FROM devices WHERE code = ANY(%s)", (list(codes),)
        )
        return {row["code"]: row for row in await cursor.fetchall()}


async def held_by(connection: Connection, area_id: int) -> tuple[int, int, int]:
    """Devices listed in an area, areas below it, and responsibilities for it that hold or are to begin."""
    cursor = await connection.execute(
        """
        SELECT (SELECT count(*) FROM devices WHERE cell_id = %(area)s AND registration <> 'retired'),
               (SELECT count(*) FROM areas WHERE parent_id = %(area)s AND valid_to IS NULL),
               (SELECT count(*) FROM responsibilities
                WHERE area_id = %(area)s AND (valid_to IS NULL OR valid_to > now()))
        """,
        {"area": area_id},
    )
    row = await cursor.fetchone()
    return (int(row[0]), int(row[1]), int(row[2])) if row else (0, 0, 0)


# ── written ──────────────────────────────────────────────────────────────────────────────────────────


async def insert_area(
    connection: Connection,
    layer: str,
    code: str,
    *,
    name: str,
    name_en: str,
    parent_id: int | None,
    geometry: Geometry | None,
    actor: str,
) -> int:
    """Add an area that a person drew; returns its id."""
    cursor = await connection.execute(
        """
        INSERT INTO areas (layer, code, name, name_en, parent_id, geometry, origin, edited_at, edited_by)
        VALUES (%s, %s, %s, %s, %s, %s, 'person', now(), %s) RETURNING id
        """,
        (layer, code, name, name_en, parent_id, _json(geometry), actor),
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101  # RETURNING answers
    return int(row[0])


async def update_area(
    connection: Connection,
    area_id: int,
    *,
    name: str,
    name_en: str,
    parent_id: int | None,
    geometry: Geometry | None,
    actor: str,
) -> None:
    """Write an area anew; how it was stays in its history. A cell that only a topic named becomes a person's."""
    await connection.execute(
        """
        UPDATE areas SET name = %s, name_en = %s, parent_id = %s, geometry = %s, edited_at = now(), edited_by = %s,
            origin = CASE WHEN origin = 'topic' THEN 'person' ELSE origin END
        WHERE id = %s
        """,
        (name, name_en, parent_id, _json(geometry), actor, area_id),
    )


async def end_area(connection: Connection, area_id: int) -> None:
    """From now on it is not valid; what names it goes on doing so."""
    await connection.execute(
        "UPDATE areas SET valid_to = greatest(now(), valid_from + interval '1 microsecond') WHERE id = %s",
        (area_id,),
    )


async def move_devices(
    connection: Connection,
    cells: Mapping[str, int],
    positions: Mapping[str, tuple[float, float]],
    actor: str,
) -> None:
    """Into other cells (ids by device code), and to other positions; marked as this person's."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "UPDATE devices SET cell_id = %s, edited_at = now(), edited_by = %s WHERE code = %s",
            [(cell, actor, code) for code, cell in cells.items()],
        )
        await cursor.executemany(
            "UPDATE devices SET longitude = %s, latitude = %s, edited_at = now(), edited_by = %s WHERE code = %s",
            [(longitude, latitude, actor, code) for code, (longitude, latitude) in positions.items()],
        )


async def write_neighbours(
    connection: Connection, changed: Sequence[int], pairs: Sequence[tuple[int, int]]
) -> None:
    """Make the neighbours of the changed cells those of ``pairs``; both directions are stored."""
    await connection.execute(
        "DELETE FROM area_neighbours WHERE area_id = ANY(%(ids)s) OR neighbour_id = ANY(%(ids)s)",
        {"ids": list(changed)},
    )
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO area_neighbours (area_id, neighbour_id) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [pair for one, other in pairs for pair in ((one, other), (other, one))],
        )


def _json(geometry: Geometry | None) -> Jsonb | None:
    return None if geometry is None else Jsonb(geometry)
