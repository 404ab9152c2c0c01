"""Public facilities with their codes: looked up by whoever reports or repairs one. Lists are in facility_lists."""

from typing import Any

from psycopg import AsyncConnection, Connection
from psycopg.rows import TupleRow, class_row

from city.code_forms import CodeForms, from_plain
from city.components import Component
from city.storage.conditions import given

_COMPONENT = """
    SELECT c.code, c.kind, c.category, c.name, c.owner_unit, c.maintainer_unit, a.code AS cell, c.address,
           c.longitude, c.latitude, c.state, c.building
    FROM components c LEFT JOIN areas a ON a.id = c.cell_id
"""
_IN_CELL = "c.cell_id IN (SELECT id FROM areas WHERE layer = 'cell' AND code = %(cell)s AND valid_to IS NULL)"
_WORDS = """(starts_with(c.code, %(plain)s)
    OR c.name ILIKE '%%' || %(words)s || '%%' OR c.address ILIKE '%%' || %(words)s || '%%')"""


def page(
    connection: Connection[TupleRow],
    *,
    cell: str | None = None,
    kind: str | None = None,
    words: str | None = None,
    after: str | None = None,
    limit: int,
) -> list[Component]:
    """By code. ``words`` is the beginning of a code, or stands in a name or an address; removed ones are left out."""
    beginning = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") if words else ""
    values = {
        "after": after,
        "cell": cell,
        "kind": kind,
        "words": beginning,
        "plain": words or "",
        "limit": limit,
    }
    where = given(
        "c.state <> 'removed'",
        ("c.code > %(after)s", after),
        (_IN_CELL, cell),
        ("c.kind = %(kind)s", kind),
        (_WORDS, words or None),
    )
    query = f"{_COMPONENT} WHERE {where} ORDER BY c.code LIMIT %(limit)s"
    return connection.cursor(row_factory=class_row(Component)).execute(query.encode(), values).fetchall()


def get(connection: Connection[TupleRow], code: str) -> Component | None:
    """One, removed or not; None when no list ever held it."""
    cursor = connection.cursor(row_factory=class_row(Component))
    return cursor.execute(_COMPONENT + "WHERE c.code = %s", (code,)).fetchone()


async def known(connection: AsyncConnection[Any], code: str) -> Component | None:
    """The same for a report that names it."""
    async with connection.cursor(row_factory=class_row(Component)) as cursor:
        return await (await cursor.execute(_COMPONENT + "WHERE c.code = %s", (code,))).fetchone()


async def code_forms(connection: AsyncConnection[Any]) -> CodeForms:
    """How the district writes codes; empty before the first import."""
    row = await (await connection.execute("SELECT code_forms FROM district")).fetchone()
    return {} if row is None else from_plain(row[0])
