"""What was found on patrol, point by point, and what it is counted by; asynchronous."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import dict_row

Connection = AsyncConnection[Any]
Row = dict[str, Any]


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


async def appraised_made(connection: Connection, start: datetime, end: datetime, near_m: int) -> list[Row]:
    """By point and person, sums over a span: checks, on_site, fixed, reported, confirmed, void."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            WITH made AS (
                SELECT id, point_id, actor, distance_m FROM patrol_checks
                WHERE observed_at >= %(start)s AND observed_at < %(end)s
            ), visits AS (
                SELECT point_id, actor, count(*)::int AS checks,
                       (count(*) FILTER (WHERE distance_m <= %(near)s))::int AS on_site
                FROM made GROUP BY point_id, actor
            ), found AS (
                SELECT c.point_id, c.actor, (count(*) FILTER (WHERE w.fixed))::int AS fixed,
                       count(w.report_id)::int AS reported,
                       (count(*) FILTER (WHERE coalesce(m.state, i.state)
                           IN ('handled', 'verified', 'fed_back', 'archived')))::int AS confirmed,
                       (count(*) FILTER (WHERE coalesce(m.state, i.state) = 'voided'))::int AS void
                FROM made c JOIN patrol_answers w ON w.check_id = c.id AND w.answer = 'problem'
                LEFT JOIN reports r ON r.id = w.report_id LEFT JOIN incidents i ON i.id = r.incident_id
                LEFT JOIN incidents m ON m.id = i.merged_into
                GROUP BY c.point_id, c.actor
            )
            SELECT v.point_id, v.actor, v.checks, v.on_site, coalesce(f.fixed, 0) AS fixed,
                   coalesce(f.reported, 0) AS reported, coalesce(f.confirmed, 0) AS confirmed,
                   coalesce(f.void, 0) AS void
            FROM visits v LEFT JOIN found f USING (point_id, actor)
            """,
            {"start": start, "end": end, "near": near_m},
        )
        return await cursor.fetchall()


async def checked_days(
    connection: Connection, start: datetime, end: datetime, zone: str
) -> dict[int, list[date]]:
    """By point, the district's days on which it was checked in a span."""
    cursor = await connection.execute(
        "SELECT point_id, array_agg(DISTINCT (observed_at AT TIME ZONE %s)::date) FROM patrol_checks"
        " WHERE observed_at >= %s AND observed_at < %s GROUP BY point_id",
        (zone, start, end),
    )
    return dict(await cursor.fetchall())


async def names(connection: Connection) -> dict[str, str]:
    """Who an actor is, for people to read."""
    cursor = await connection.execute(
        "SELECT 'user:' || id, coalesce(nullif(display_name, ''), name) FROM users"
    )
    return dict(await cursor.fetchall())
