"""Single facilities and buildings as people change them, and what stands in them; asynchronous."""

from collections.abc import Mapping
from typing import Any, Literal, LiteralString

from psycopg import AsyncConnection, sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

Connection = AsyncConnection[Any]
Row = dict[str, Any]
Sort = Literal["components", "buildings"]

_COMMON = (
    "kind",
    "name",
    "owner_unit",
    "maintainer_unit",
    "cell_id",
    "address",
    "longitude",
    "latitude",
    "state",
)
FIELDS: Mapping[Sort, tuple[str, ...]] = {
    "components": (*_COMMON, "category", "building"),
    "buildings": (*_COMMON, "floors", "floors_below", "outline"),
}
_ENTRY: Mapping[Sort, LiteralString] = {
    "components": """
        SELECT t.id, t.code, t.kind, t.name, t.owner_unit, t.maintainer_unit, a.code AS cell, t.cell_id, t.address,
            t.longitude, t.latitude, t.state, t.category, t.building, t.version, t.edited_at,
            coalesce(nullif(p.display_name, ''), p.name, t.edited_by) AS edited_by,
            ARRAY(SELECT d.code FROM devices d WHERE d.facility = t.code AND d.registration = 'registered'
                  ORDER BY d.code LIMIT 200) AS devices
        FROM components t LEFT JOIN areas a ON a.id = t.cell_id LEFT JOIN users p ON t.edited_by = 'user:' || p.id
    """,
    "buildings": """
        SELECT t.id, t.code, t.kind, t.name, t.owner_unit, t.maintainer_unit, a.code AS cell, t.cell_id, t.address,
            t.longitude, t.latitude, t.state, t.floors, t.floors_below, t.outline, t.version, t.edited_at,
            coalesce(nullif(p.display_name, ''), p.name, t.edited_by) AS edited_by,
            ARRAY(SELECT d.code FROM devices d WHERE d.building = t.code AND d.registration = 'registered'
                  ORDER BY d.code LIMIT 200) AS devices,
            ARRAY(SELECT c.code FROM components c WHERE c.building = t.code AND c.state <> 'removed'
                  ORDER BY c.code LIMIT 200) AS components
        FROM buildings t LEFT JOIN areas a ON a.id = t.cell_id LEFT JOIN users p ON t.edited_by = 'user:' || p.id
    """,
}


async def entry(connection: Connection, sort: Sort, code: str, *, locked: bool = False) -> Row | None:
    """One with what stands in it; with ``locked`` nobody else changes it until the transaction ends."""
    query = _ENTRY[sort] + " WHERE t.code = %s" + (" FOR UPDATE OF t" if locked else "")
    async with connection.cursor(row_factory=dict_row) as cursor:
        return await (await cursor.execute(query, (code,))).fetchone()


async def page(
    connection: Connection,
    sort: Sort,
    *,
    cell: str | None,
    kind: str | None,
    state: str | None,
    words: str | None,
    after: str | None,
    limit: int,
) -> list[Row]:
    """By code, removed ones only when ``state`` asks for them. ``words`` begin a code or stand in name or address."""
    literal = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") if words else ""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            _ENTRY[sort]
            + """
            WHERE (%(after)s::text IS NULL OR t.code > %(after)s)
              AND (%(cell)s::text IS NULL OR a.code = %(cell)s)
              AND (%(kind)s::text IS NULL OR t.kind = %(kind)s)
              AND (CASE WHEN %(state)s::text IS NULL THEN t.state <> 'removed' ELSE t.state = %(state)s END)
              AND (%(like)s = '' OR starts_with(t.code, %(words)s)
                   OR t.name ILIKE '%%' || %(like)s || '%%' OR t.address ILIKE '%%' || %(like)s || '%%')
            ORDER BY t.code LIMIT %(limit)s
            """,
            {
                "after": after,
                "cell": cell,
                "kind": kind,
                "state": state,
                "like": literal,
                "words": words or "",
                "limit": limit,
            },
        )
        return await cursor.fetchall()


async def update(
    connection: Connection, sort: Sort, code: str, values: Mapping[str, object], actor: str
) -> None:
    """Write the named columns (of ``FIELDS``) and mark the entry as this person's."""
    names = [name for name in values if name in FIELDS[sort]]
    await connection.execute(
        sql.SQL("UPDATE {} SET {}edited_at = now(), edited_by = %s WHERE code = %s").format(
            sql.Identifier(sort),
            sql.SQL("").join(sql.SQL("{} = %s, ").format(sql.Identifier(name)) for name in names),
        ),
        (*(_stored(name, values[name]) for name in names), actor, code),
    )


async def insert(
    connection: Connection, sort: Sort, code: str, values: Mapping[str, object], actor: str
) -> None:
    """Add one that stands in no file; the code is free."""
    names = [name for name in values if name in FIELDS[sort]]
    await connection.execute(
        sql.SQL("INSERT INTO {} (code, edited_at, edited_by{}) VALUES (%s, now(), %s{})").format(
            sql.Identifier(sort),
            sql.SQL("").join(sql.SQL(", {}").format(sql.Identifier(name)) for name in names),
            sql.SQL("").join(sql.SQL(", %s") for _ in names),
        ),
        (code, actor, *(_stored(name, values[name]) for name in names)),
    )


def _stored(name: str, value: object) -> object:
    return Jsonb(value) if name == "outline" and value is not None else value
