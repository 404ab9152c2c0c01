"""Areas: written as an import draws them, read as lists and as outlines for screens."""

from collections.abc import Sequence

from psycopg import Connection
from psycopg.rows import TupleRow, class_row
from psycopg.types.json import Jsonb

from city.areas import Area, DistrictMap, MapArea, bounding_box, layers_above, rings_of
from city.district_files import DrawnArea

Key = tuple[str, str]  # layer, code


def load_areas(connection: Connection[TupleRow], *, geometry: bool = False) -> list[Area]:
    """Every area that is valid now; outlines only when asked for, since they are large."""
    column = "geometry" if geometry else "NULL::jsonb AS geometry"
    return (
        connection.cursor(row_factory=class_row(Area))
        .execute(
            f"SELECT id, layer, code, name, name_en, parent_id, {column} FROM areas"  # noqa: S608 - one of two constants
            " WHERE valid_to IS NULL ORDER BY id"
        )
        .fetchall()
    )


def load_places(connection: Connection[TupleRow]) -> dict[int, dict[str, str]]:
    """For every valid area by its id: the code of itself and of each area above it, by layer."""
    areas = load_areas(connection)
    by_id = {area.id: area for area in areas}
    return {
        area.id: {
            area.layer: area.code,
            **{layer: above.code for layer, above in layers_above(area, by_id).items()},
        }
        for area in areas
    }


def load_imported(connection: Connection[TupleRow]) -> list[Area]:
    """Every valid area that a file or a person drew, with its outline."""
    return (
        connection.cursor(row_factory=class_row(Area))
        .execute(
            "SELECT id, layer, code, name, name_en, parent_id, geometry FROM areas"
            " WHERE valid_to IS NULL AND origin <> 'topic' ORDER BY id"
        )
        .fetchall()
    )


def load_map(connection: Connection[TupleRow]) -> DistrictMap:
    """Streets and cells with their rings, for a screen to draw once; texts are empty without a district."""
    district = connection.execute("SELECT code, name, name_en FROM district").fetchone() or ("", "", "")
    areas = load_areas(connection, geometry=True)
    by_id = {area.id: area for area in areas}
    streets: list[MapArea] = []
    communities: list[MapArea] = []
    cells: list[MapArea] = []
    lists = {"street": streets, "community": communities, "cell": cells}
    for area in areas:
        if area.layer not in lists:
            continue
        above = layers_above(area, by_id)
        outline = MapArea(
            code=area.code,
            name=area.name,
            name_en=area.name_en,
            street=above["street"].code if "street" in above else "",
            community=above["community"].code if "community" in above else "",
            rings=[] if area.layer == "community" else rings_of(area.geometry),
        )
        lists[area.layer].append(outline)
    drawn = [area.geometry for area in areas if area.geometry is not None]
    return DistrictMap(
        code=district[0],
        name=district[1],
        name_en=district[2],
        bbox=bounding_box(drawn),
        streets=streets,
        communities=communities,
        cells=cells,
    )


# ── written by an import ─────────────────────────────────────────────────────────────────────────────


def write_areas(
    connection: Connection[TupleRow],
    drawn: Sequence[DrawnArea],
    parents: Sequence[Key | None],
    *,
    by: str | None = None,
) -> tuple[int, int, list[str]]:
    """Make the valid areas those drawn, parents by key in the same order; return how many changed and ended.

    An area keeps its row while its layer and code stay; one that vanished gets an end. Cells that only a
    topic named stay until a file draws them. What a person changed here stays too, and its codes come third, unless
    the file is itself a person's: then ``by`` names them.
    """
    _copy_drawn(connection, drawn, parents)
    ended = connection.execute(
        """UPDATE areas a SET valid_to = greatest(now(), valid_from + interval '1 microsecond')
           WHERE valid_to IS NULL AND (origin = 'import' OR origin = 'person' AND %(by)s::text IS NOT NULL)
             AND NOT EXISTS (SELECT FROM drawn d WHERE d.layer = a.layer AND d.code = a.code)""",
        {"by": by},
    ).rowcount
    kept: list[str] = []
    if by is None:
        kept = _agree_or_keep(connection)
    changed = connection.execute(
        """INSERT INTO areas AS known (layer, code, name, name_en, geometry, origin, edited_at, edited_by)
           SELECT d.layer, d.code, d.name, d.name_en, d.geometry,
               CASE WHEN %(by)s::text IS NULL THEN 'import' ELSE 'person' END,
               CASE WHEN %(by)s::text IS NOT NULL THEN now() END, %(by)s::text
           FROM drawn d LEFT JOIN areas a ON a.layer = d.layer AND a.code = d.code AND a.valid_to IS NULL
           WHERE a.id IS NULL OR a.origin = 'topic'
              OR (a.name, a.name_en, a.geometry) IS DISTINCT FROM (d.name, d.name_en, d.geometry)
           ORDER BY d.place
           ON CONFLICT (layer, code) WHERE valid_to IS NULL DO UPDATE SET name = excluded.name,
               name_en = excluded.name_en, geometry = excluded.geometry, edited_at = excluded.edited_at,
               edited_by = excluded.edited_by,
               origin = CASE WHEN known.origin = 'topic' THEN excluded.origin ELSE known.origin END""",
        {"by": by},
    ).rowcount
    changed += connection.execute(
        """UPDATE areas a SET parent_id = p.id FROM drawn d
           LEFT JOIN areas p ON p.layer = d.parent_layer AND p.code = d.parent_code AND p.valid_to IS NULL
           WHERE a.layer = d.layer AND a.code = d.code AND a.valid_to IS NULL
             AND a.parent_id IS DISTINCT FROM p.id"""
    ).rowcount
    return changed, ended, kept


def _copy_drawn(
    connection: Connection[TupleRow], drawn: Sequence[DrawnArea], parents: Sequence[Key | None]
) -> None:
    """The file's areas into the temporary table ``drawn``."""
    connection.execute(
        "CREATE TEMP TABLE drawn (place integer, layer text, code text, name text, name_en text, parent_layer text,"
        " parent_code text, geometry jsonb) ON COMMIT DROP"
    )
    with connection.cursor().copy("COPY drawn FROM STDIN") as copy:
        for place, (area, parent) in enumerate(zip(drawn, parents, strict=True)):
            geometry = None if area.geometry is None else Jsonb(area.geometry)
            above = parent or (None, None)
            copy.write_row((place, area.layer, area.code, area.name, area.name_en, *above, geometry))
    # Without index and figures, thousands of areas are joined by nested loops over the whole table.
    connection.execute("CREATE UNIQUE INDEX ON drawn (layer, code); ANALYZE drawn")


def _agree_or_keep(connection: Connection[TupleRow]) -> list[str]:
    """Areas that a person changed: the file's own again where it says the same, else out of ``drawn``; their codes."""
    connection.execute(
        """UPDATE areas a SET edited_at = NULL, edited_by = NULL, origin = 'import' FROM drawn d
           LEFT JOIN areas p ON p.layer = d.parent_layer AND p.code = d.parent_code AND p.valid_to IS NULL
           WHERE a.layer = d.layer AND a.code = d.code AND a.valid_to IS NULL AND a.edited_at IS NOT NULL
             AND (a.name, a.name_en, a.geometry, a.parent_id)
                 IS NOT DISTINCT FROM (d.name, d.name_en, d.geometry, p.id)"""
    )
    rows = connection.execute(
        """DELETE FROM drawn d USING areas a
           WHERE a.layer = d.layer AND a.code = d.code AND a.valid_to IS NULL AND a.edited_at IS NOT NULL
           RETURNING d.layer || ' ' || d.code"""
    )
    return sorted(row[0] for row in rows)


def edited_cells(connection: Connection[TupleRow]) -> bool:
    """Whether a person has drawn some cell otherwise than the files."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM areas WHERE layer = 'cell' AND valid_to IS NULL AND edited_at IS NOT NULL)"
    ).fetchone()
    return bool(row and row[0])


def write_neighbours(connection: Connection[TupleRow], pairs: Sequence[tuple[str, str]]) -> None:
    """Make the pairs of valid cells that share an edge those given by their codes."""
    rows = connection.execute("SELECT code, id FROM areas WHERE layer = 'cell' AND valid_to IS NULL")
    ids: dict[str, int] = dict(rows.fetchall())
    connection.execute("DELETE FROM area_neighbours")
    with connection.cursor().copy("COPY area_neighbours FROM STDIN") as copy:
        for one, other in pairs:
            copy.write_row((ids[one], ids[other]))
            copy.write_row((ids[other], ids[one]))
