"""Patrol routes, their points and who walks them; asynchronous."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

from city.storage import audit

Connection = AsyncConnection[Any]
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class NewPoint:
    """A point as it is written; ``cell_id`` None = not known. Positions are WGS 84."""

    code: str
    name: str
    cell_id: int | None
    building: str
    longitude: float | None
    latitude: float | None
    checklist: str
    cadence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RoutePoint:
    """A point with what a check at it needs to know."""

    id: int
    route: str
    code: str
    name: str
    cell: str | None
    longitude: float | None
    latitude: float | None
    checklist: str
    assigned_to: int | None
    changed_at: datetime  # its route


async def lock_route(connection: Connection, code: str) -> tuple[int, int] | None:
    """(id, version) of a route under its lock; None when there is none yet."""
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"patrol route {code}",)
    )
    cursor = await connection.execute(
        "SELECT id, version FROM patrol_routes WHERE code = %s FOR NO KEY UPDATE", (code,)
    )
    row = await cursor.fetchone()
    return (int(row[0]), int(row[1])) if row else None


async def person(connection: Connection, name: str) -> int | None:
    """The id of somebody who may be sent on patrol: neither switched off, nor of those who only look or handle."""
    cursor = await connection.execute(
        "SELECT id FROM users WHERE name = %s AND NOT disabled AND NOT role = ANY(%s)",
        (name, ["viewer", "handler", "integrator"]),
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else None


async def write_route(  # the parts of a route
    connection: Connection,
    *,
    code: str,
    name: str,
    name_en: str,
    assigned_to: int | None,
    active: bool,
    points: Sequence[NewPoint],
    actor: str,
    now: datetime,
) -> None:
    """Make the route what is given, points in their order; those left out are removed and what was found stays."""
    cursor = await connection.execute(
        """
        INSERT INTO patrol_routes AS r (code, name, name_en, assigned_to, active, changed_at, changed_by)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (code) DO UPDATE SET name = excluded.name, name_en = excluded.name_en,
            assigned_to = excluded.assigned_to, active = excluded.active, version = r.version + 1,
            changed_at = excluded.changed_at, changed_by = excluded.changed_by
        RETURNING id
        """,
        (code, name, name_en, assigned_to, active, now, actor),
    )
    row = await cursor.fetchone()
    await _write_points(connection, int(row[0]) if row else 0, points, now)
    await audit.record(connection, actor=actor, action="patrol_route.written", subject=f"patrol_route:{code}")


async def _write_points(
    connection: Connection, route_id: int, points: Sequence[NewPoint], now: datetime
) -> None:
    async with connection.cursor() as writing:
        await writing.executemany(
            """
            INSERT INTO patrol_points AS p (route_id, code, place, name, area_id, building, longitude, latitude,
                                            checklist, cadence, since)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
            ON CONFLICT (route_id, code) DO UPDATE SET place = excluded.place, name = excluded.name,
                area_id = excluded.area_id, building = excluded.building, longitude = excluded.longitude,
                latitude = excluded.latitude, checklist = excluded.checklist, cadence = excluded.cadence,
                since = CASE WHEN p.removed_at IS NULL AND p.cadence = excluded.cadence THEN p.since
                             ELSE excluded.since END,
                removed_at = NULL
            """,
            [
                (
                    route_id,
                    point.code,
                    number,
                    point.name,
                    point.cell_id,
                    point.building,
                    point.longitude,
                    point.latitude,
                    point.checklist,
                    point.cadence,
                    now,
                )
                for number, point in enumerate(points, 1)
            ],
        )
    await connection.execute(
        "UPDATE patrol_points SET removed_at = %s WHERE route_id = %s AND removed_at IS NULL AND NOT code = ANY(%s)",
        (now, route_id, [point.code for point in points]),
    )


async def routes(
    connection: Connection,
    *,
    code: str | None = None,
    worker_id: int | None = None,
    active_only: bool = False,
) -> list[Row]:
    """Routes by code, one of them, or those that ``worker_id`` walks (nobody's among them), each with its points."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT r.id, r.code, r.name, r.name_en, u.name AS assigned_to, r.active, r.version, r.changed_at
            FROM patrol_routes r LEFT JOIN users u ON u.id = r.assigned_to
            WHERE (%(code)s::text IS NULL OR r.code = %(code)s) AND (r.active OR NOT %(active)s)
              AND (%(worker)s::integer IS NULL OR r.assigned_to IS NULL OR r.assigned_to = %(worker)s)
            ORDER BY r.code
            """,
            {"code": code, "worker": worker_id, "active": active_only},
        )
        found = await cursor.fetchall()
        await cursor.execute(
            """
            SELECT p.id, p.route_id, p.code, p.place, p.name, a.code AS cell, p.building, p.longitude, p.latitude,
                   p.checklist, p.cadence, p.since
            FROM patrol_points p LEFT JOIN areas a ON a.id = p.area_id
            WHERE p.route_id = ANY(%s) AND p.removed_at IS NULL ORDER BY p.route_id, p.place, p.id
            """,
            ([row["id"] for row in found],),
        )
        points = await cursor.fetchall()
    by_route: dict[int, list[Row]] = {row["id"]: [] for row in found}
    for point in points:
        by_route[point.pop("route_id")].append(point)
    return [{**row, "points": by_route[row["id"]]} for row in found]


async def point(connection: Connection, route: str, code: str, at: datetime) -> RoutePoint | None:
    """A point that was patrolled then: a phone without signal sends late. None for any other."""
    async with connection.cursor(row_factory=class_row(RoutePoint)) as cursor:
        await cursor.execute(
            """
            SELECT p.id, r.code AS route, p.code, p.name, a.code AS cell, p.longitude, p.latitude, p.checklist,
                   r.assigned_to, r.changed_at
            FROM patrol_points p JOIN patrol_routes r ON r.id = p.route_id LEFT JOIN areas a ON a.id = p.area_id
            WHERE r.code = %s AND p.code = %s AND (r.active OR r.changed_at > %s)
              AND (p.removed_at IS NULL OR p.removed_at > %s)
            """,
            (route, code, at, at),
        )
        return await cursor.fetchone()
