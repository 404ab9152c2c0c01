"""Patrol routes of a district's own files: missing ones are written, those that stand stay as people made them."""

from collections.abc import Sequence

from psycopg import Connection
from psycopg.rows import TupleRow, class_row

from city.patrol_files import ListedPoint

IMPORT = "import"  # the actor


def write_missing(connection: Connection[TupleRow], points: Sequence[ListedPoint]) -> list[str]:
    """Write the routes that are new, cells by code; returns codes of routes that stood already and stay as they are."""
    listed = {point.route: point for point in points}
    cursor = connection.cursor()
    cursor.executemany(
        "INSERT INTO patrol_routes (code, name, name_en, changed_at, changed_by) VALUES (%s, %s, %s, now(), %s)"
        " ON CONFLICT (code) DO NOTHING",
        [(one.route, one.route_name, one.route_name_en, IMPORT) for one in listed.values()],
    )
    fresh: dict[str, int] = dict(
        connection.execute(
            "SELECT code, id FROM patrol_routes r WHERE code = ANY(%s) AND changed_by = %s"
            " AND NOT EXISTS (SELECT FROM patrol_points WHERE route_id = r.id)",
            (list(listed), IMPORT),
        ).fetchall()
    )
    cursor.executemany(
        """
        INSERT INTO patrol_points (route_id, code, place, name, area_id, building, longitude, latitude, checklist,
                                   cadence, since)
        VALUES (%s, %s, %s, %s,
                (SELECT id FROM areas WHERE layer = 'cell' AND code = %s AND valid_to IS NULL),
                %s, %s, %s, %s, %s, now())
        """,
        [
            (
                fresh[one.route],
                one.code,
                number,
                one.name,
                one.cell,
                one.building,
                one.longitude,
                one.latitude,
                one.checklist,
                one.cadence,
            )
            for number, one in enumerate(points, 1)
            if one.route in fresh
        ],
    )
    return sorted(listed.keys() - fresh.keys())


def listed_points(connection: Connection[TupleRow]) -> list[ListedPoint]:
    """Every point that is patrolled, by route and in the order of walking."""
    return (
        connection.cursor(row_factory=class_row(ListedPoint))
        .execute(
            """
            SELECT '' AS where, r.code AS route, r.name AS route_name, r.name_en AS route_name_en, p.code, p.name,
                   a.code AS cell, p.building, p.longitude, p.latitude, p.checklist, p.cadence
            FROM patrol_points p JOIN patrol_routes r ON r.id = p.route_id LEFT JOIN areas a ON a.id = p.area_id
            WHERE r.active AND p.removed_at IS NULL ORDER BY r.code, p.place, p.id
            """
        )
        .fetchall()
    )
