"""Public facilities with their codes: written by an import, looked up by whoever reports or repairs one."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection, Connection
from psycopg.rows import TupleRow, class_row

from city.code_forms import CodeForms, from_plain
from city.components import Component

_COMPONENT = """
    SELECT c.code, c.kind, c.category, c.name, c.owner_unit, c.maintainer_unit, a.code AS cell, c.address,
           c.longitude, c.latitude, c.state
    FROM components c LEFT JOIN areas a ON a.id = c.cell_id
"""
_PAGE = f"""{_COMPONENT}
    WHERE c.state <> 'removed' AND (%(after)s::text IS NULL OR c.code > %(after)s)
      AND (%(cell)s::text IS NULL OR c.cell_id IN (
          SELECT id FROM areas WHERE layer = 'cell' AND code = %(cell)s AND valid_to IS NULL))
      AND (%(kind)s::text IS NULL OR c.kind = %(kind)s)
      AND (%(words)s = '' OR starts_with(c.code, %(plain)s)
           OR c.name ILIKE '%%' || %(words)s || '%%' OR c.address ILIKE '%%' || %(words)s || '%%')
    ORDER BY c.code LIMIT %(limit)s
"""  # noqa: S608  # no value enters the text


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
    return connection.cursor(row_factory=class_row(Component)).execute(_PAGE, values).fetchall()


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


def listed(connection: Connection[TupleRow]) -> list[Component]:
    """Every one that is not removed, for an export."""
    cursor = connection.cursor(row_factory=class_row(Component))
    return cursor.execute(_COMPONENT + "WHERE c.state <> 'removed' ORDER BY c.code").fetchall()


def write_components(connection: Connection[TupleRow], listed: Sequence[Component]) -> tuple[int, int]:
    """Make the components those listed (cells first); return how many changed and were removed."""
    connection.execute(
        "CREATE TEMP TABLE listed_components (code text, kind text, category text, name text, owner_unit text,"
        " maintainer_unit text, cell text, address text, longitude float8, latitude float8, state text)"
        " ON COMMIT DROP"
    )
    with connection.cursor().copy("COPY listed_components FROM STDIN") as copy:
        for component in listed:
            copy.write_row(dataclasses.astuple(component))
    connection.execute(
        """CREATE TEMP TABLE wanted_components ON COMMIT DROP AS
           SELECT l.code, l.kind, l.category, l.name, l.owner_unit, l.maintainer_unit, a.id AS cell_id, l.address,
                  l.longitude, l.latitude, l.state
           FROM listed_components l
           LEFT JOIN areas a ON a.layer = 'cell' AND a.code = l.cell AND a.valid_to IS NULL"""
    )
    # Without index and figures, a hundred thousand covers are joined by nested loops.
    connection.execute("CREATE UNIQUE INDEX ON wanted_components (code); ANALYZE wanted_components")
    removed = connection.execute(
        """UPDATE components c SET state = 'removed' WHERE state <> 'removed'
             AND NOT EXISTS (SELECT FROM wanted_components w WHERE w.code = c.code)"""
    ).rowcount
    changed = connection.execute(
        """INSERT INTO components AS known (code, kind, category, name, owner_unit, maintainer_unit, cell_id, address,
               longitude, latitude, state)
           SELECT * FROM wanted_components
           ON CONFLICT (code) DO UPDATE SET kind = excluded.kind, category = excluded.category,
               name = excluded.name, owner_unit = excluded.owner_unit,
               maintainer_unit = excluded.maintainer_unit, cell_id = excluded.cell_id,
               address = excluded.address, longitude = excluded.longitude, latitude = excluded.latitude,
               state = excluded.state
           WHERE (known.kind, known.category, known.name, known.owner_unit, known.maintainer_unit, known.cell_id,
                  known.address, known.longitude, known.latitude, known.state)
               IS DISTINCT FROM (excluded.kind, excluded.category, excluded.name, excluded.owner_unit,
                  excluded.maintainer_unit, excluded.cell_id, excluded.address, excluded.longitude,
                  excluded.latitude, excluded.state)"""
    ).rowcount
    return changed, removed
