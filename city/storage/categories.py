"""Categories of incidents: the catalogue as it is, what names each of them, and changes to it."""

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

from psycopg import Connection
from psycopg.rows import TupleRow, dict_row

from city.catalogue import read_class_limits, write_class_limits
from city.catalogue_plan import Usage
from city.clocks import read_limits, write_limits
from city.storage import audit
from city.units import Category

Origin = Literal["built-in", "district", "catalogue"]
_LOCK = (
    7235_0013  # advisory: one change of the catalogue at a time, so that what was checked is what is written
)

_ALL = """
    SELECT code, parent, name, name_en, "class" AS incident_class, limit_minutes, clock, nature, importance, urgency,
           event_level, limits, class_limits, plan, automatic, active
    FROM categories
"""
_USAGE = """
    WITH asked AS (SELECT DISTINCT unnest(%(codes)s::text[]) AS code),
    i AS (SELECT category AS code, count(*) FILTER (WHERE closed_at IS NULL) AS open, count(*) AS ever FROM incidents
          WHERE category = ANY(%(codes)s) AND (%(ever)s OR closed_at IS NULL) GROUP BY 1),
    a AS (SELECT category AS code, count(*) FILTER (WHERE cleared_at IS NULL) AS standing, count(*) AS ever FROM alarms
          WHERE category = ANY(%(codes)s) AND (%(ever)s OR cleared_at IS NULL) GROUP BY 1),
    n AS (SELECT value #>> '{}' AS code, count(DISTINCT r.id) AS rules
          FROM rules r, jsonb_path_query(r.definition, '$.**.category ? (@.type() == "string")') AS value
          WHERE r.active GROUP BY 1),
    r AS (SELECT category AS code, count(*) AS entries FROM responsibilities
          WHERE category = ANY(%(codes)s) AND (valid_to IS NULL OR valid_to > now()) GROUP BY 1),
    c AS (SELECT category AS code, count(*) AS components FROM components
          WHERE category = ANY(%(codes)s) AND state <> 'removed' GROUP BY 1),
    b AS (SELECT up AS code, count(*) AS active FROM categories k, unnest(ARRAY[
              split_part(k.code, '.', 1), split_part(k.code, '.', 1) || '.' || split_part(k.code, '.', 2)]) AS up
          WHERE k.active AND starts_with(k.code, up || '.') GROUP BY 1)
    SELECT code, coalesce(i.open, 0) AS open_incidents, coalesce(a.standing, 0) AS standing_alarms,
           coalesce(n.rules, 0) AS rules, coalesce(r.entries, 0) AS responsibilities,
           coalesce(c.components, 0) AS components, coalesce(b.active, 0) AS active_below,
           CASE WHEN %(ever)s THEN coalesce(i.ever, 0) ELSE 0 END AS incidents,
           CASE WHEN %(ever)s THEN coalesce(a.ever, 0) ELSE 0 END AS alarms
    FROM asked LEFT JOIN i USING (code) LEFT JOIN a USING (code) LEFT JOIN n USING (code) LEFT JOIN r USING (code)
        LEFT JOIN c USING (code) LEFT JOIN b USING (code)
"""
_UPSERT = """
    INSERT INTO categories AS known (code, parent, name, name_en, "class", limit_minutes, clock, nature, importance,
        urgency, event_level, limits, class_limits, plan, automatic, active, origin)
    SELECT w.*, %(origin)s FROM jsonb_to_recordset(%(rows)s::jsonb) AS w (code text, parent text, name text,
        name_en text, "class" text, limit_minutes integer, clock text, nature text, importance smallint,
        urgency smallint, event_level smallint, limits text, class_limits text, plan text, automatic text,
        active boolean)
    ON CONFLICT (code) DO UPDATE SET parent = excluded.parent, name = excluded.name, name_en = excluded.name_en,
        "class" = excluded."class", limit_minutes = excluded.limit_minutes, clock = excluded.clock,
        nature = excluded.nature, importance = excluded.importance, urgency = excluded.urgency,
        event_level = excluded.event_level, limits = excluded.limits, class_limits = excluded.class_limits,
        plan = excluded.plan, automatic = excluded.automatic, active = excluded.active, origin = excluded.origin
    WHERE (excluded.origin = 'catalogue' OR known.origin <> 'catalogue')
        AND (%(overwrite)s OR known.origin = 'built-in')
        AND (known.parent, known.name, known.name_en, known."class", known.limit_minutes, known.clock, known.nature,
             known.importance, known.urgency, known.event_level, known.limits, known.class_limits, known.plan,
             known.automatic, known.active, known.origin)
        IS DISTINCT FROM
            (excluded.parent, excluded.name, excluded.name_en, excluded."class", excluded.limit_minutes,
             excluded.clock, excluded.nature, excluded.importance, excluded.urgency, excluded.event_level,
             excluded.limits, excluded.class_limits, excluded.plan, excluded.automatic, excluded.active,
             excluded.origin)
"""


def load_categories(connection: Connection[TupleRow]) -> dict[str, Category]:
    """Every category by its code, retired ones too."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return {row["code"]: _category(row) for row in cursor.execute(_ALL + " ORDER BY code")}


def get(connection: Connection[TupleRow], code: str) -> Category | None:
    """One category, or None."""
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(_ALL + " WHERE code = %s", (code,)).fetchone()
    return None if row is None else _category(row)


def origins(connection: Connection[TupleRow]) -> dict[str, Origin]:
    """Who has the last word on each category."""
    return dict(connection.execute("SELECT code, origin FROM categories"))


def usage(
    connection: Connection[TupleRow], codes: Collection[str], *, ever: bool = False
) -> dict[str, Usage]:
    """What names each of these categories; ``ever`` counts closed incidents and cleared alarms too (slower)."""
    counted: dict[str, Usage] = {}
    with connection.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(_USAGE, {"codes": list(codes), "ever": ever}):
            code = row.pop("code")
            counted[code] = Usage(**row)
    return counted


def lock(connection: Connection[TupleRow]) -> None:
    """Whoever changes the catalogue waits here until the transaction before is over."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))


def upsert_categories(
    connection: Connection[TupleRow], categories: Iterable[Category], *, overwrite: bool, origin: Origin
) -> int:
    """Write categories and say how many changed; those that are there already change only with ``overwrite``,
    except that what came with the product goes on with the product.

    What a person imported or retired (origin ``catalogue``) changes by another import only.
    """
    rows = [_row(category) for category in categories]
    if not rows:
        return 0
    values = {"rows": json.dumps(rows), "overwrite": overwrite, "origin": origin}
    return connection.execute(_UPSERT, values).rowcount


def retire_unlisted(connection: Connection[TupleRow], listed: Collection[str]) -> list[str]:
    """Categories of the district's folder that its files no longer hold: kept for what names them, in order."""
    rows = connection.execute(
        "UPDATE categories SET active = false WHERE origin = 'district' AND active AND NOT code = ANY(%s)"
        " RETURNING code",
        (list(listed),),
    )
    return sorted(str(row[0]) for row in rows)


def retire(connection: Connection[TupleRow], code: str) -> None:
    """Take it out of every choice; what names it keeps it."""
    connection.execute("UPDATE categories SET active = false, origin = 'catalogue' WHERE code = %s", (code,))


def delete(connection: Connection[TupleRow], code: str) -> None:
    """Remove the row; the caller has seen that nothing names it."""
    connection.execute("DELETE FROM categories WHERE code = %s", (code,))


def record(
    connection: Connection[TupleRow],
    *,
    actor: str,
    action: str,
    code: str,
    reason: str,
    detail: Mapping[str, object],
) -> None:
    """Who changed the catalogue and why, kept for good."""
    audit.record(connection, actor=actor, action=action, subject=code, reason=reason, detail=detail)


def _category(row: dict[str, Any]) -> Category:
    row["limits"] = read_limits(row["limits"])
    row["class_limits"] = read_class_limits(row["class_limits"])
    return Category(**row)


def _row(category: Category) -> dict[str, object]:
    return {
        "code": category.code,
        "parent": category.parent,
        "name": category.name,
        "name_en": category.name_en,
        "class": category.incident_class,
        "limit_minutes": category.limit_minutes,
        "clock": category.clock,
        "nature": category.nature,
        "importance": category.importance,
        "urgency": category.urgency,
        "event_level": category.event_level,
        "limits": write_limits(category.limits),
        "class_limits": write_class_limits(category.class_limits),
        "plan": category.plan,
        "automatic": category.automatic,
        "active": category.active,
    }
