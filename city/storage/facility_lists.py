"""Public facilities and buildings as lists: written as an import has them, and read back for an export."""

from collections.abc import Iterable, Sequence
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow, class_row
from psycopg.types.json import Jsonb

from city.buildings import Building
from city.components import Component

_COMPONENT = (
    "kind", "category", "name", "owner_unit", "maintainer_unit", "cell_id", "address", "longitude", "latitude",
    "state", "building",
)  # fmt: skip
_BUILDING = (
    "name", "kind", "owner_unit", "maintainer_unit", "cell_id", "address", "longitude", "latitude", "floors",
    "floors_below", "state", "outline",
)  # fmt: skip


def write_components(
    connection: Connection[TupleRow], listed: Sequence[Component], *, by: str | None = None
) -> tuple[int, int, list[str]]:
    """Make the facilities those listed (cells and buildings first); how many changed and were removed.

    What a person changed here stays, and its codes come third, unless the list is itself a person's (``by``).
    """
    connection.execute(
        "CREATE TEMP TABLE listed_things (code text, kind text, category text, name text, owner_unit text,"
        " maintainer_unit text, cell text, address text, longitude float8, latitude float8, state text,"
        " building text) ON COMMIT DROP"
    )
    rows = (
        (one.code, one.kind, one.category, one.name, one.owner_unit, one.maintainer_unit, one.cell, one.address,
         one.longitude, one.latitude, one.state, one.building)
        for one in listed
    )  # fmt: skip
    return _written(connection, "components", _COMPONENT, rows, by)


def write_buildings(
    connection: Connection[TupleRow], listed: Sequence[Building], *, by: str | None = None
) -> tuple[int, int, list[str]]:
    """The same of buildings."""
    connection.execute(
        "CREATE TEMP TABLE listed_things (code text, name text, kind text, owner_unit text, maintainer_unit text,"
        " cell text, address text, longitude float8, latitude float8, floors integer, floors_below integer,"
        " state text, outline jsonb) ON COMMIT DROP"
    )
    rows = (
        (one.code, one.name, one.kind, one.owner_unit, one.maintainer_unit, one.cell, one.address, one.longitude,
         one.latitude, one.floors, one.floors_below, one.state,
         None if one.outline is None else Jsonb(one.outline))
        for one in listed
    )  # fmt: skip
    return _written(connection, "buildings", _BUILDING, rows, by)


def _written(
    connection: Connection[TupleRow],
    table: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    by: str | None,
) -> tuple[int, int, list[str]]:
    with connection.cursor().copy("COPY listed_things FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    wanted = ", ".join("a.id AS cell_id" if name == "cell_id" else f"l.{name}" for name in columns)
    # Without index and figures, a hundred thousand covers are joined by nested loops.
    connection.execute(
        f"""CREATE TEMP TABLE wanted_things ON COMMIT DROP AS SELECT l.code, {wanted} FROM listed_things l
            LEFT JOIN areas a ON a.layer = 'cell' AND a.code = l.cell AND a.valid_to IS NULL;
            CREATE UNIQUE INDEX ON wanted_things (code); ANALYZE wanted_things""".encode()  # noqa: S608  # columns named above
    )
    removed = connection.execute(
        f"""UPDATE {table} c SET state = 'removed' WHERE state <> 'removed'
              AND (edited_at IS NULL OR %(by)s::text IS NOT NULL)
              AND NOT EXISTS (SELECT FROM wanted_things w WHERE w.code = c.code)""".encode(),  # noqa: S608  # one of two tables
        {"by": by},
    ).rowcount
    stands = ", ".join(f"c.{name}" for name in columns)
    wants = ", ".join(f"w.{name}" for name in columns)
    kept = [] if by is not None else _agree_or_keep(connection, table, stands, wants)
    assigned = ", ".join(f"{name} = excluded.{name}" for name in columns)
    changed = connection.execute(
        f"""INSERT INTO {table} AS known (code, {", ".join(columns)}, edited_at, edited_by)
            SELECT w.code, {wants}, CASE WHEN %(by)s::text IS NOT NULL THEN now() END, %(by)s::text
            FROM wanted_things w LEFT JOIN {table} c ON c.code = w.code
            WHERE c.code IS NULL OR ({stands}) IS DISTINCT FROM ({wants})
            ON CONFLICT (code) DO UPDATE SET {assigned}, edited_at = excluded.edited_at,
                edited_by = excluded.edited_by""".encode(),  # noqa: S608  # one of two tables, columns named above
        {"by": by},
    ).rowcount
    connection.execute("DROP TABLE listed_things, wanted_things")
    return changed, removed, kept


def _agree_or_keep(connection: Connection[TupleRow], table: str, stands: str, wants: str) -> list[str]:
    """What a person changed: the file's own again where it says the same, else out of ``wanted_things``."""
    connection.execute(
        f"""UPDATE {table} c SET edited_at = NULL, edited_by = NULL FROM wanted_things w
            WHERE c.code = w.code AND c.edited_at IS NOT NULL AND ({stands}) IS NOT DISTINCT FROM ({wants})""".encode()  # noqa: S608  # one of two tables
    )
    rows = connection.execute(
        f"""DELETE FROM wanted_things w USING {table} c WHERE c.code = w.code AND c.edited_at IS NOT NULL
            RETURNING w.code""".encode()  # noqa: S608  # one of two tables
    )
    return sorted(row[0] for row in rows)


# ── read back for an export ──────────────────────────────────────────────────────────────────────────


def listed_components(connection: Connection[TupleRow]) -> list[Component]:
    """Every facility that is not removed, by code."""
    return (
        connection.cursor(row_factory=class_row(Component))
        .execute(
            """SELECT c.code, c.kind, c.category, c.name, c.owner_unit, c.maintainer_unit, a.code AS cell, c.address,
                   c.longitude, c.latitude, c.state, c.building
               FROM components c LEFT JOIN areas a ON a.id = c.cell_id WHERE c.state <> 'removed' ORDER BY c.code"""
        )
        .fetchall()
    )


def listed_buildings(connection: Connection[TupleRow]) -> list[Building]:
    """Every building that is not removed, by code."""
    return (
        connection.cursor(row_factory=class_row(Building))
        .execute(
            """SELECT b.code, b.name, b.kind, b.owner_unit, b.maintainer_unit, a.code AS cell, b.address, b.longitude,
                   b.latitude, b.floors, b.floors_below, b.state, b.outline
               FROM buildings b LEFT JOIN areas a ON a.id = b.cell_id WHERE b.state <> 'removed' ORDER BY b.code"""
        )
        .fetchall()
    )
