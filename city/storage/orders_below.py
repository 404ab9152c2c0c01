"""Orders from below and the units they name; asynchronous. Lock order: the incident, then its order, then its units."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

Connection = AsyncConnection[Any]
Row = dict[str, Any]

FREE_TRIES = 5  # wrong codes before a unit pauses; each further one doubles the pause
FIRST_PAUSE_S = 30
LONGEST_PAUSE_S = 15 * 60


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteOrder:
    """A row of site_orders; id 0 is not stored yet."""

    id: int = 0
    incident_id: int
    unit_id: int | None
    ordered_by: str
    ordered_at: datetime
    arrive_by: datetime
    what: str
    area_id: int | None
    place: str
    longitude: float | None
    latitude: float | None
    code: str
    version: int = 1
    ended_at: datetime | None = None
    ended_by: str | None = None
    outcome: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SentUnit:
    """A row of site_order_units."""

    order_id: int
    unit_id: int
    acknowledged_at: datetime | None = None
    declined_at: datetime | None = None
    released_at: datetime | None = None
    arrived_at: datetime | None = None
    arrived_by: str | None = None
    arrived_how: str | None = None
    distance_m: int | None = None
    said: int = 0
    next_at: datetime | None = None


_ORDER = """
    SELECT id, incident_id, unit_id, ordered_by, ordered_at, arrive_by, what, area_id, place, longitude, latitude, code,
           version, ended_at, ended_by, outcome FROM site_orders
"""
_UNITS = """
    SELECT order_id, unit_id, acknowledged_at, declined_at, released_at, arrived_at, arrived_by, arrived_how,
           distance_m, said, next_at FROM site_order_units
"""


async def insert(connection: Connection, order: SiteOrder, units: Sequence[SentUnit]) -> int:
    """Store an order with its units (their order_id is set here); returns its id."""
    names = [name for name in SiteOrder.__dataclass_fields__ if name != "id"]
    cursor = await connection.execute(
        "INSERT INTO site_orders (incident_id, unit_id, ordered_by, ordered_at, arrive_by, what, area_id, place,"
        " longitude, latitude, code, version, ended_at, ended_by, outcome) VALUES (%s, %s, %s, %s, %s, %s, %s, %s,"
        " %s, %s, %s, %s, %s, %s, %s) RETURNING id",
        [getattr(order, name) for name in names],
    )
    row = await cursor.fetchone()
    order_id = int(row[0]) if row else 0
    async with connection.cursor() as writing:
        await writing.executemany(
            "INSERT INTO site_order_units (order_id, unit_id, said, next_at) VALUES (%s, %s, %s, %s)",
            [(order_id, unit.unit_id, unit.said, unit.next_at) for unit in units],
        )
    return order_id


async def incident_of(connection: Connection, order_id: int) -> int | None:
    """Its incident, which is locked before the order; None when there is no such order."""
    cursor = await connection.execute("SELECT incident_id FROM site_orders WHERE id = %s", (order_id,))
    row = await cursor.fetchone()
    return int(row[0]) if row else None


async def lock(connection: Connection, order_id: int) -> tuple[SiteOrder, list[SentUnit]] | None:
    """The order with its units under their row locks; None when there is none."""
    async with connection.cursor(row_factory=class_row(SiteOrder)) as cursor:
        await cursor.execute(_ORDER + " WHERE id = %s FOR NO KEY UPDATE", (order_id,))
        order = await cursor.fetchone()
    if order is None:
        return None
    async with connection.cursor(row_factory=class_row(SentUnit)) as units:
        await units.execute(_UNITS + " WHERE order_id = %s ORDER BY unit_id FOR NO KEY UPDATE", (order_id,))
        return order, await units.fetchall()


async def save(connection: Connection, order: SiteOrder, units: Sequence[SentUnit]) -> None:
    """Write a locked order and its units back; the version is the order's own."""
    await connection.execute(
        "UPDATE site_orders SET version = %s, ended_at = %s, ended_by = %s, outcome = %s WHERE id = %s",
        (order.version, order.ended_at, order.ended_by, order.outcome, order.id),
    )
    async with connection.cursor() as cursor:
        await cursor.executemany(
            """
            UPDATE site_order_units SET acknowledged_at = %s, declined_at = %s, released_at = %s, arrived_at = %s,
                arrived_by = %s, arrived_how = %s, distance_m = %s, said = %s, next_at = %s
            WHERE order_id = %s AND unit_id = %s
            """,
            [
                (
                    unit.acknowledged_at,
                    unit.declined_at,
                    unit.released_at,
                    unit.arrived_at,
                    unit.arrived_by,
                    unit.arrived_how,
                    unit.distance_m,
                    unit.said,
                    unit.next_at,
                    order.id,
                    unit.unit_id,
                )
                for unit in units
            ],
        )


async def begin_try(connection: Connection, order_id: int, unit_id: int, now: datetime) -> str | None:
    """Count a code before it is looked at, so that parallel guesses cannot outrun the pause; the right code.

    None while the unit is paused, or when it is not of this order. Committed by the caller before it compares.
    """
    cursor = await connection.execute(
        """
        UPDATE site_order_units u SET tries = tries + 1, paused_until = CASE WHEN tries + 1 >= %(free)s THEN
            %(now)s::timestamptz + make_interval(
                secs => least(%(longest)s, %(first)s * 2 ^ least(tries + 1 - %(free)s, 10))) END
        FROM site_orders o WHERE o.id = u.order_id AND u.order_id = %(order)s AND u.unit_id = %(unit)s
          AND (paused_until IS NULL OR paused_until <= %(now)s) RETURNING o.code
        """,
        {
            "free": FREE_TRIES,
            "first": FIRST_PAUSE_S,
            "longest": LONGEST_PAUSE_S,
            "now": now,
            "order": order_id,
            "unit": unit_id,
        },
    )
    row = await cursor.fetchone()
    return str(row[0]) if row else None


async def forget_tries(connection: Connection, order_id: int, unit_id: int) -> None:
    """After a right code."""
    await connection.execute(
        "UPDATE site_order_units SET tries = 0, paused_until = NULL WHERE order_id = %s AND unit_id = %s",
        (order_id, unit_id),
    )


async def claim_due(connection: Connection, now: datetime, limit: int) -> list[tuple[int, int]]:
    """(incident, order) of orders with a step due, their incidents locked; what another centre holds is left to it."""
    cursor = await connection.execute(
        """
        SELECT i.id, o.id FROM site_orders o JOIN incidents i ON i.id = o.incident_id
        WHERE o.ended_at IS NULL AND EXISTS (
            SELECT FROM site_order_units u WHERE u.order_id = o.id AND u.next_at <= %s)
        ORDER BY i.id, o.id LIMIT %s FOR NO KEY UPDATE OF i, o SKIP LOCKED
        """,
        (now, limit),
    )
    return [(int(row[0]), int(row[1])) for row in await cursor.fetchall()]


async def outline(connection: Connection, area_id: int) -> dict[str, Any] | None:
    """The cell's outline as GeoJSON; None where nobody drew one."""
    cursor = await connection.execute("SELECT geometry FROM areas WHERE id = %s", (area_id,))
    row = await cursor.fetchone()
    return row[0] if row else None


# ── what people read ──────────────────────────────────────────────────────────────────────────────────

_VIEW = """
    SELECT o.id, o.incident_id AS incident, i.number, i.state AS incident_state, i.exercise, o.what, o.place,
           a.code AS cell, a.name AS cell_name, o.longitude, o.latitude, o.ordered_at, o.arrive_by AS by,
           b.code AS ordered_for, b.name AS ordered_for_name,
           coalesce(nullif(p.display_name, ''), p.name, o.ordered_by) AS ordered_by,
           o.unit_id, o.ordered_by AS ordered_by_actor, o.code, o.version, o.ended_at, o.outcome,
           coalesce(nullif(e.display_name, ''), e.name, o.ended_by) AS ended_by
    FROM site_orders o JOIN incidents i ON i.id = o.incident_id LEFT JOIN areas a ON a.id = o.area_id
    LEFT JOIN units b ON b.id = o.unit_id LEFT JOIN users p ON o.ordered_by = 'user:' || p.id
    LEFT JOIN users e ON o.ended_by = 'user:' || e.id
"""


async def get(connection: Connection, order_id: int) -> Row | None:
    """One order as people read it; None when there is none."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_VIEW + " WHERE o.id = %s", (order_id,))
        return await cursor.fetchone()


async def page(  # what a list may be narrowed by
    connection: Connection, *, open_only: bool, unit_id: int | None, before: int | None, limit: int
) -> list[Row]:
    """Newest first; ``unit_id`` gave or got them."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            _VIEW
            + """
            WHERE (NOT %(open)s OR o.ended_at IS NULL) AND (%(before)s::bigint IS NULL OR o.id < %(before)s)
              AND (%(unit)s::integer IS NULL OR o.unit_id = %(unit)s OR EXISTS (
                  SELECT FROM site_order_units s WHERE s.order_id = o.id AND s.unit_id = %(unit)s))
            ORDER BY o.id DESC LIMIT %(limit)s
            """,
            {"open": open_only, "before": before, "unit": unit_id, "limit": limit},
        )
        return await cursor.fetchall()


async def units_of(connection: Connection, order_ids: Sequence[int]) -> dict[int, list[Row]]:
    """By order: unit, unit_name, …, what became of each."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT s.order_id, u.code AS unit, u.name AS unit_name, u.name_en AS unit_name_en, s.unit_id,
                   s.acknowledged_at, s.declined_at, s.released_at, s.arrived_at, s.arrived_how, s.distance_m, s.said
            FROM site_order_units s JOIN units u ON u.id = s.unit_id WHERE s.order_id = ANY(%s) ORDER BY u.code
            """,
            (list(order_ids),),
        )
        found: dict[int, list[Row]] = {order_id: [] for order_id in order_ids}
        for row in await cursor.fetchall():
            found[row.pop("order_id")].append(row)
        return found


async def rates(connection: Connection, start: datetime, end: datetime) -> list[Row]:
    """By unit, orders whose time lay in the span: expected, arrived, in_time, declined; drills left out."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT u.code AS unit, u.name AS unit_name, u.name_en AS unit_name_en,
                   count(*) FILTER (WHERE s.released_at IS NULL) AS expected,
                   count(*) FILTER (WHERE s.released_at IS NULL AND s.arrived_at IS NOT NULL) AS arrived,
                   count(*) FILTER (WHERE s.released_at IS NULL AND s.arrived_at <= o.arrive_by) AS in_time,
                   count(*) FILTER (WHERE s.declined_at IS NOT NULL) AS declined
            FROM site_order_units s JOIN site_orders o ON o.id = s.order_id
            JOIN incidents i ON i.id = o.incident_id JOIN units u ON u.id = s.unit_id
            WHERE o.arrive_by >= %s AND o.arrive_by < %s AND NOT i.exercise
            GROUP BY u.id ORDER BY u.code
            """,
            (start, end),
        )
        return await cursor.fetchall()
