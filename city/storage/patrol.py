"""Patrol routes, their points, and what was found there; asynchronous."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

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
class NewCheck:
    """A check about to be stored; ``digest`` is of what was sent."""

    client_id: UUID
    digest: bytes
    point_id: int
    actor: str
    observed_at: datetime
    received_at: datetime
    longitude: float | None
    latitude: float | None
    distance_m: int | None
    note: str


@dataclass(frozen=True, kw_only=True, slots=True)
class NewAnswer:
    """One line of a check."""

    item: str
    answer: str
    note: str
    photos: tuple[str, ...]
    fixed: bool
    report_id: int | None


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


# ── routes ────────────────────────────────────────────────────────────────────────────────────────────


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
    """The id of somebody who may be sent on patrol: a log-in that is not switched off and may do more than look."""
    cursor = await connection.execute(
        "SELECT id FROM users WHERE name = %s AND NOT disabled AND role <> 'viewer'", (name,)
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
    route_id = int(row[0]) if row else 0
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


async def point(connection: Connection, route: str, code: str) -> RoutePoint | None:
    """A point that is patrolled now; None for any other."""
    async with connection.cursor(row_factory=class_row(RoutePoint)) as cursor:
        await cursor.execute(
            """
            SELECT p.id, r.code AS route, p.code, p.name, a.code AS cell, p.longitude, p.latitude, p.checklist,
                   r.assigned_to
            FROM patrol_points p JOIN patrol_routes r ON r.id = p.route_id LEFT JOIN areas a ON a.id = p.area_id
            WHERE r.code = %s AND p.code = %s AND r.active AND p.removed_at IS NULL
            """,
            (route, code),
        )
        return await cursor.fetchone()


# ── checks ────────────────────────────────────────────────────────────────────────────────────────────


async def earlier(connection: Connection, client_id: UUID) -> tuple[int, bytes] | None:
    """(id, digest) of the check that was sent under this number; None the first time.

    Whoever sends it second waits until the first one's transaction has ended.
    """
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"patrol check {client_id}",)
    )
    cursor = await connection.execute(
        "SELECT id, digest FROM patrol_checks WHERE client_id = %s", (client_id,)
    )
    row = await cursor.fetchone()
    return (int(row[0]), bytes(row[1])) if row else None


async def insert_check(connection: Connection, check: NewCheck) -> int:
    """Store a check; its answers follow in the same transaction."""
    cursor = await connection.execute(
        """
        INSERT INTO patrol_checks (client_id, digest, point_id, actor, observed_at, received_at, longitude, latitude,
                                   distance_m, note)
        VALUES (%(client_id)s, %(digest)s, %(point_id)s, %(actor)s, %(observed_at)s, %(received_at)s, %(longitude)s,
                %(latitude)s, %(distance_m)s, %(note)s) RETURNING id
        """,
        {name: getattr(check, name) for name in NewCheck.__dataclass_fields__},
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def insert_answers(connection: Connection, check_id: int, answers: Sequence[NewAnswer]) -> None:
    """What was found, item by item."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO patrol_answers (check_id, item, answer, note, photos, fixed, report_id)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            [
                (check_id, one.item, one.answer, one.note, list(one.photos), one.fixed, one.report_id)
                for one in answers
            ],
        )


_CHECKS = """
    SELECT c.id, c.client_id, r.code AS route, p.code AS point, p.name AS point_name, a.code AS cell,
           coalesce(nullif(u.display_name, ''), u.name, c.actor) AS worker, c.observed_at, c.received_at,
           c.longitude, c.latitude, c.distance_m, c.note
    FROM patrol_checks c JOIN patrol_points p ON p.id = c.point_id JOIN patrol_routes r ON r.id = p.route_id
    LEFT JOIN areas a ON a.id = p.area_id LEFT JOIN users u ON c.actor = 'user:' || u.id
"""


async def check(connection: Connection, check_id: int) -> Row | None:
    """One check with its answers; None when there is none."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_CHECKS + " WHERE c.id = %s", (check_id,))
        rows = await _with_answers(connection, await cursor.fetchall())
        return rows[0] if rows else None


async def checks(  # what a list may be narrowed by
    connection: Connection,
    *,
    route: str | None,
    actor: str | None,
    start: datetime | None,
    end: datetime | None,
    before: int | None,
    limit: int,
) -> list[Row]:
    """Checks with their answers, the last received first."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            _CHECKS
            + """
            WHERE (%(route)s::text IS NULL OR r.code = %(route)s) AND (%(actor)s::text IS NULL OR c.actor = %(actor)s)
              AND (%(start)s::timestamptz IS NULL OR c.observed_at >= %(start)s)
              AND (%(end)s::timestamptz IS NULL OR c.observed_at < %(end)s)
              AND (%(before)s::bigint IS NULL OR c.id < %(before)s)
            ORDER BY c.id DESC LIMIT %(limit)s
            """,
            {"route": route, "actor": actor, "start": start, "end": end, "before": before, "limit": limit},
        )
        return await _with_answers(connection, await cursor.fetchall())


async def _with_answers(connection: Connection, rows: Sequence[Row]) -> list[Row]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT w.check_id, w.item, w.answer, w.note, w.photos, w.fixed, r.incident_id AS incident, i.number
            FROM patrol_answers w LEFT JOIN reports r ON r.id = w.report_id
            LEFT JOIN incidents i ON i.id = r.incident_id
            WHERE w.check_id = ANY(%s) ORDER BY w.check_id, w.item
            """,
            ([row["id"] for row in rows],),
        )
        answers: dict[int, list[Row]] = {row["id"]: [] for row in rows}
        for answer in await cursor.fetchall():
            answers[answer.pop("check_id")].append(answer)
    return [{**row, "answers": answers[row["id"]]} for row in rows]


async def checked_since(
    connection: Connection, point_ids: Sequence[int], since: datetime
) -> Mapping[int, list[datetime]]:
    """When each point was checked since then."""
    cursor = await connection.execute(
        "SELECT point_id, observed_at FROM patrol_checks WHERE point_id = ANY(%s) AND observed_at >= %s",
        (list(point_ids), since),
    )
    found: dict[int, list[datetime]] = {point_id: [] for point_id in point_ids}
    for point_id, at in await cursor.fetchall():
        found[point_id].append(at)
    return found


# ── appraisal ─────────────────────────────────────────────────────────────────────────────────────────


async def appraised_points(connection: Connection, start: datetime) -> list[Row]:
    """Points that stood on a route since then: id, cadence, since, until, worker (an actor), cell, route."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT p.id, p.cadence, p.since,
                   CASE WHEN r.active THEN p.removed_at ELSE least(p.removed_at, r.changed_at) END AS until,
                   coalesce('user:' || r.assigned_to, '') AS worker, coalesce(a.code, '') AS cell, r.code AS route
            FROM patrol_points p JOIN patrol_routes r ON r.id = p.route_id LEFT JOIN areas a ON a.id = p.area_id
            WHERE p.removed_at IS NULL OR p.removed_at >= %s
            """,
            (start,),
        )
        return await cursor.fetchall()


async def appraised_checks(connection: Connection, start: datetime, end: datetime, near_m: int) -> list[Row]:
    """Checks of a span with what became of what they reported: point_id, at, actor, on_site, fixed, … void."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT c.point_id, c.observed_at AS at, c.actor, c.distance_m <= %(near)s AS on_site,
                   count(*) FILTER (WHERE w.fixed)::int AS fixed,
                   count(w.report_id)::int AS reported,
                   count(*) FILTER (WHERE coalesce(m.state, i.state)
                       IN ('handled', 'verified', 'fed_back', 'archived'))::int AS confirmed,
                   count(*) FILTER (WHERE coalesce(m.state, i.state) = 'voided')::int AS void
            FROM patrol_checks c LEFT JOIN patrol_answers w ON w.check_id = c.id AND w.answer = 'problem'
            LEFT JOIN reports r ON r.id = w.report_id LEFT JOIN incidents i ON i.id = r.incident_id
            LEFT JOIN incidents m ON m.id = i.merged_into
            WHERE c.observed_at >= %(start)s AND c.observed_at < %(end)s GROUP BY c.id
            """,
            {"start": start, "end": end, "near": near_m},
        )
        return await cursor.fetchall()


async def names(connection: Connection) -> dict[str, str]:
    """Who an actor is, for people to read."""
    cursor = await connection.execute(
        "SELECT 'user:' || id, coalesce(nullif(display_name, ''), name) FROM users"
    )
    return dict(await cursor.fetchall())
