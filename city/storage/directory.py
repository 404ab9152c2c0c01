"""The directory of dispatch, read as a whole; asynchronous."""

from collections.abc import Collection
from datetime import timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

import structlog
from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

from city.alarms import IncidentClass
from city.clocks import LimitError, Limits, read_limits
from city.directory import Directory, Place
from city.responsibilities import ResponsibilityList
from city.storage import calendar, rosters, urging
from city.storage.reach import beyond
from city.units import Category, Responsibility, Unit

Connection = AsyncConnection[Any]
Row = dict[str, Any]

URGE_AFTER = timedelta(minutes=5)  # as CITY_URGE_AFTER_MINUTES says when nobody sets it

_UNIT = """
    SELECT id, code, name, name_en, kind, parent, lead, phone, lead_phone, email, lead_email, webhook_url,
           tier, capacity, fallback, hours, longitude, latitude
    FROM units
"""
_CATEGORY = """
    SELECT code, parent, name, name_en, class AS incident_class, limit_minutes, clock, nature, importance, urgency,
           event_level, limits, class_limits, plan, automatic, active
    FROM categories
"""
# One that begins later comes into force by itself, without the register moving.
_RESPONSIBILITY = """
    SELECT id, category, area_id, unit_id, class AS incident_class, limit_minutes, clock, co_units AS co_unit_ids,
           limits, automatic, valid_from, valid_to
    FROM responsibilities WHERE valid_to IS NULL OR valid_to > now() ORDER BY id
"""
_AREAS = """
    SELECT id, layer, code, name, name_en, parent_id FROM areas
    WHERE valid_to IS NULL OR id IN (SELECT area_id FROM incidents WHERE closed_at IS NULL)
"""
# As far as it matters: whoever has reached its capacity is full, and counting on costs with every open incident.
_IN_WORK = """
    SELECT u.id, (SELECT count(*) FROM (
        SELECT FROM incidents WHERE unit_id = u.id AND NOT exercise
            AND state IN ('dispatched', 'acknowledged', 'arrived', 'rework') LIMIT u.capacity) working)
    FROM units u WHERE u.active AND u.capacity IS NOT NULL
"""
_PASSED_OVER = """
    SELECT incident_id, array_agg(DISTINCT unit_id) FROM incident_requests
    WHERE incident_id = ANY(%s) AND ask = 'return' AND state = 'granted' AND unit_id IS NOT NULL
    GROUP BY incident_id
"""

_MATTER = """
    SELECT i.number, i.state, i.category, i.area_id, i.base_class, i.nature, i.source, i.unit_id, i.exercise,
           coalesce(i.longitude, place.longitude) AS longitude, coalesce(i.latitude, place.latitude) AS latitude
    FROM incidents i
    LEFT JOIN LATERAL (
        SELECT d.longitude, d.latitude FROM alarms a JOIN devices d ON d.id = a.device_id
        WHERE a.incident_id = i.id AND d.longitude IS NOT NULL ORDER BY a.id LIMIT 1) place ON true
    WHERE i.id = %s
"""

# A transaction that has written may see a register which nobody else will ever see: what it reads is not kept.
_STAMP = """
    SELECT (SELECT coalesce(sum(version), 0)::bigint FROM register_versions), (SELECT max(id) FROM areas),
           pg_current_xact_id_if_assigned() IS NOT NULL
"""

log = structlog.get_logger(__name__)

# By database: process memory is a cache. More than one only where tests run several centres in one process.
_kept: dict[tuple[object, ...], tuple[tuple[object, ...], Directory]] = {}
_MOST_KEPT = 4


async def version(connection: Connection) -> int:
    """Moves whenever something that ``load`` reads was changed."""
    cursor = await connection.execute("SELECT coalesce(sum(version), 0)::bigint FROM register_versions")
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def load(
    connection: Connection, default_zone: ZoneInfo, urge_after: timedelta = URGE_AFTER
) -> Directory:
    """Everything dispatch looks at; ``default_zone`` holds until a district was imported.

    A cell that only a topic named does not move ``version``; it has itself as its one place. What this process has
    read is used again while neither the register nor the newest area moved; open work is counted every time.
    """
    info = connection.info
    key = (info.host, info.port, info.dbname, default_zone.key, urge_after)
    cursor = await connection.execute(_STAMP)
    stamp = await cursor.fetchone()
    assert stamp is not None  # noqa: S101  # an aggregate always answers
    kept = _kept.get(key)
    if kept is not None and kept[0] == stamp[:2]:
        return kept[1].with_work(await open_work(connection))
    async with beyond(connection):  # kept for all callers
        directory = await _read(connection, default_zone, urge_after, read_at=stamp[0])
    if not stamp[2]:
        _kept[key] = (stamp[:2], directory)
        while len(_kept) > _MOST_KEPT:
            _kept.pop(next(iter(_kept)))
    return directory


async def _read(
    connection: Connection, default_zone: ZoneInfo, urge_after: timedelta, read_at: int
) -> Directory:
    district_code, zone = await _district(connection, default_zone)
    async with connection.cursor(row_factory=class_row(Unit)) as cursor:
        units = await (await cursor.execute(_UNIT)).fetchall()
    active = await connection.execute("SELECT id FROM units WHERE active")
    windows = await connection.execute(
        "SELECT code, join_minutes FROM categories WHERE join_minutes IS NOT NULL"
    )
    nearest = await connection.execute("SELECT prefix FROM nearest_categories")
    calendar_version, days = await calendar.current(connection)
    return Directory(
        version=read_at,
        district_code=district_code,
        zone=zone,
        places=await _places(connection),
        categories=await _categories(connection),
        join_minutes={row[0]: row[1] for row in await windows.fetchall()},
        units={unit.id: unit for unit in units},
        active=frozenset(row[0] for row in await active.fetchall()),
        responsibilities=await _responsibilities(connection),
        calendar=days,
        calendar_version=calendar_version,
        urging=await urging.ladder(connection),
        duty=await rosters.duties(connection),
        open_work=await open_work(connection),
        nearest=frozenset(row[0] for row in await nearest.fetchall()),
        urge_after=urge_after,
    )


async def open_work(connection: Connection) -> dict[int, int]:
    """By unit with a capacity: incidents it works on now, counted up to that capacity.

    Drills do not count, nor what it has handled.
    """
    async with beyond(connection):
        return dict(await (await connection.execute(_IN_WORK)).fetchall())


async def passed_over(connection: Connection, incident_ids: Collection[int]) -> dict[int, frozenset[int]]:
    """By incident: the units that were granted to return it; it is not sent to them again by itself."""
    rows = await (await connection.execute(_PASSED_OVER, (list(incident_ids),))).fetchall()
    return {incident_id: frozenset(unit_ids) for incident_id, unit_ids in rows}


async def matter(connection: Connection, incident_id: int) -> Row | None:
    """What an incident is about, read without its lock: number, state, category, area_id, base_class, nature, source.

    Its position is its own, or else that of its first alarm's device.
    """
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_MATTER, (incident_id,))
        return await cursor.fetchone()


async def _district(connection: Connection, default_zone: ZoneInfo) -> tuple[str, ZoneInfo]:
    cursor = await connection.execute("SELECT code, timezone FROM district")
    row = await cursor.fetchone()
    return (row[0], ZoneInfo(row[1])) if row else ("", default_zone)


async def _categories(connection: Connection) -> dict[str, Category]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        rows = await (await cursor.execute(_CATEGORY)).fetchall()
    return {row["code"]: Category(**_with_limits(row), class_limits=_by_class(row)) for row in rows}


async def _responsibilities(connection: Connection) -> ResponsibilityList:
    async with connection.cursor(row_factory=dict_row) as cursor:
        rows = await (await cursor.execute(_RESPONSIBILITY)).fetchall()
    return ResponsibilityList(
        Responsibility(**_with_limits(row) | {"co_unit_ids": tuple(row["co_unit_ids"])}) for row in rows
    )


async def _places(connection: Connection) -> dict[int, tuple[Place, ...]]:
    """From each cell up to the district; a parent that was replaced ends the way."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        rows = {row["id"]: row for row in await (await cursor.execute(_AREAS)).fetchall()}
    places: dict[int, tuple[Place, ...]] = {}
    for row in rows.values():
        if row["layer"] != "cell":
            continue
        way: list[Place] = []
        at: dict[str, Any] | None = row
        while at is not None and len(way) < 10:  # a circle of parents must not hang dispatch
            way.append(
                Place(
                    area_id=at["id"],
                    layer=at["layer"],
                    code=at["code"],
                    name=at["name"],
                    name_en=at["name_en"],
                )
            )
            at = rows.get(at["parent_id"])
        places[row["id"]] = tuple(way)
    return places


def _with_limits(row: Row) -> Row:
    """The row with its limits read; what cannot be read counts as none: one wrong line must not stop dispatch."""
    limits: Limits = {}
    try:
        limits = read_limits(row["limits"])
    except LimitError as error:
        log.warning("limits cannot be read", of=row.get("category") or row.get("code"), error=str(error))
    return {key: value for key, value in row.items() if key != "class_limits"} | {"limits": limits}


def _by_class(row: Row) -> dict[IncidentClass, str]:
    """``A=30m;B=4wh`` by class; the limits themselves are read where they are used."""
    parts = dict(
        part.split("=", 1) for part in row["class_limits"].replace(" ", "").split(";") if "=" in part
    )
    return {name: parts[name] for name in get_args(IncidentClass) if name in parts}
