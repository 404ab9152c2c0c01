"""Categories of incidents: their names, class and limit."""

from collections.abc import Iterable

from psycopg import Connection
from psycopg.rows import TupleRow, class_row

from city.units import Category


def load_categories(connection: Connection[TupleRow]) -> dict[str, Category]:
    """Every category by its code."""
    rows = connection.cursor(row_factory=class_row(Category)).execute(
        'SELECT code, parent, name, name_en, "class" AS incident_class, limit_minutes, clock'
        " FROM categories ORDER BY code"
    )
    return {category.code: category for category in rows}


def upsert_categories(
    connection: Connection[TupleRow], categories: Iterable[Category], *, overwrite: bool
) -> None:
    """Write categories; those that are there already are changed only with ``overwrite``."""
    connection.cursor().executemany(
        """INSERT INTO categories AS known (code, parent, name, name_en, "class", limit_minutes, clock)
           SELECT %(code)s, %(parent)s, %(name)s, %(name_en)s, %(class)s, %(limit)s, %(clock)s
           WHERE %(overwrite)s OR NOT EXISTS (SELECT FROM categories WHERE code = %(code)s)
           ON CONFLICT (code) DO UPDATE SET parent = excluded.parent, name = excluded.name,
               name_en = excluded.name_en, "class" = excluded."class", limit_minutes = excluded.limit_minutes,
               clock = excluded.clock
           WHERE (known.parent, known.name, known.name_en, known."class", known.limit_minutes, known.clock)
               IS DISTINCT FROM (excluded.parent, excluded.name, excluded.name_en, excluded."class",
                   excluded.limit_minutes, excluded.clock)""",
        [
            {
                "code": category.code,
                "parent": category.parent,
                "name": category.name,
                "name_en": category.name_en,
                "class": category.incident_class,
                "limit": category.limit_minutes,
                "clock": category.clock,
                "overwrite": overwrite,
            }
            for category in categories
        ],
    )
