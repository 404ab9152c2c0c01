"""What the flood desk looks at: stations, rain, open incidents, warnings in force, places; asynchronous.

Devices of a running drill are left out everywhere: what they say is played, and no response rests on it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

from city.flood import Facts, Place, RainFact, StationFact
from city.stations import KINDS, station_state
from city.storage import forecasts

Connection = AsyncConnection[Any]
Row = dict[str, Any]
RAIN_HOURS = (1, 3, 24)


async def facts(connection: Connection, now: datetime, unbelievable: int) -> Facts:
    """Everything a proposal rests on; ``unbelievable`` are the quality bits of readings that are not believed."""
    playing = await in_drill(connection)
    return Facts(
        stations=tuple(await stations(connection, unbelievable, playing)),
        rain=tuple(await rain(connection, now, unbelievable, playing)),
        incidents=await _incidents(connection),
        warnings=await _warnings(connection, now),
    )


# Of each listed station the newest believed reading. Online as the wall has it (city.storage.screen).
_STATIONS = """
    SELECT d.code, coalesce(nullif(d.name, ''), d.code) AS name, t.station_kind,
           t.warning_level_m AS warning_m, t.guaranteed_level_m AS guaranteed_m,
           t.highest_level_m AS highest_m, newest.value AS level_m, newest.observed_at,
           p.device_id IS NOT NULL AND p.link IS DISTINCT FROM 'offline'
               AND p.last_heard_at > now() - make_interval(secs => greatest(120,
                       3 * coalesce(d.expected_interval_s, k.expected_interval_s, 1200))) AS online
    FROM stations t
    JOIN devices d ON d.id = t.device_id
    JOIN device_kinds k ON k.code = d.kind
    LEFT JOIN metrics m ON m.code = k.main_metric
    LEFT JOIN presence p ON p.device_id = d.id
    LEFT JOIN LATERAL (
        SELECT o.value, o.observed_at FROM observations o
        WHERE o.device_id = d.id AND o.metric_id = m.id
          AND o.quality & %s = 0 AND o.observed_at < now() + interval '2 minutes'
        ORDER BY o.observed_at DESC LIMIT 1
    ) newest ON true
    WHERE d.registration <> 'retired' AND NOT d.code = ANY(%s)
    ORDER BY d.code
"""


async def stations(
    connection: Connection, unbelievable: int, without: Sequence[str] = ()
) -> list[StationFact]:
    """Listed stations that read water, with their newest level, state and forecast; by code."""
    ahead = {one.station: one for one in await forecasts.newest(connection)}
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_STATIONS, (unbelievable, list(without)))
        rows = await cursor.fetchall()
    found = []
    for row in rows:
        kind = KINDS.get(row["station_kind"])
        if kind is not None and kind.measures == "ground":
            continue
        state = station_state(
            row["level_m"],
            row["warning_m"],
            row["guaranteed_m"],
            row["highest_m"],
            is_silent=not row["online"],
        )
        levels = {name: row[name] for name in ("warning_m", "guaranteed_m", "highest_m", "level_m")}
        found.append(
            StationFact(
                code=row["code"],
                name=row["name"],
                state=state,
                observed_at=row["observed_at"],
                forecast=None if state == "silent" else ahead.get(row["code"]),
                **levels,
            )
        )
    return found


async def in_drill(connection: Connection) -> list[str]:
    """Codes of the devices of running drills: what they say now is played."""
    cursor = await connection.execute(
        """
        SELECT d.code FROM drills r JOIN drill_devices p ON p.drill_id = r.id JOIN devices d ON d.id = p.device_id
        WHERE r.ended_at IS NULL
        """
    )
    return [row[0] for row in await cursor.fetchall()]


async def rain(
    connection: Connection, now: datetime, unbelievable: int, without: Sequence[str] = ()
) -> list[RainFact]:
    """Sums of each gauge; a reading of ``rain`` is what fell since the one before it, mm."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT d.code, coalesce(nullif(d.name, ''), d.code) AS name,
                   coalesce(sum(o.value) FILTER (WHERE o.observed_at > %(now)s - interval '1 hour'), 0) AS mm_1,
                   coalesce(sum(o.value) FILTER (WHERE o.observed_at > %(now)s - interval '3 hours'), 0) AS mm_3,
                   sum(o.value) AS mm_24
            FROM metrics m
            JOIN devices d ON d.registration <> 'retired' AND NOT d.code = ANY(%(without)s)
            JOIN device_kinds k ON k.code = d.kind
            JOIN observations o ON o.device_id = d.id AND o.metric_id = m.id
            WHERE m.code = 'rain'
              AND (k.main_metric = 'rain' OR d.id IN (SELECT device_id FROM stations))
              AND o.observed_at > %(now)s - interval '24 hours' AND o.observed_at <= %(now)s
              AND o.quality & %(unbelievable)s = 0 AND o.value >= 0
            GROUP BY d.id ORDER BY d.code
            """,
            {"now": now, "unbelievable": unbelievable, "without": list(without)},
        )
        return [
            RainFact(
                code=row["code"],
                name=row["name"],
                mm={hours: float(row[f"mm_{hours}"]) for hours in RAIN_HOURS},
            )
            for row in await cursor.fetchall()
        ]


# Silent gauges are there, without sums: a desk that left them out would show a dry district.
_GAUGES = """
    SELECT d.code, coalesce(nullif(d.name, ''), d.code) AS name, t.device_id IS NOT NULL AS is_station,
           k.main_metric = 'rain' AS is_rain, d.longitude AS lon, d.latitude AS lat, c.code AS cell,
           c.name AS cell_name, fell.mm_1h, fell.mm_3h, fell.mm_24h, fell.observed_at
    FROM devices d
    JOIN device_kinds k ON k.code = d.kind
    LEFT JOIN stations t ON t.device_id = d.id
    LEFT JOIN areas c ON c.id = d.cell_id
    LEFT JOIN LATERAL (
        SELECT coalesce(sum(o.value) FILTER (WHERE o.observed_at > %(now)s - interval '1 hour'), 0) AS mm_1h,
               coalesce(sum(o.value) FILTER (WHERE o.observed_at > %(now)s - interval '3 hours'), 0) AS mm_3h,
               sum(o.value) AS mm_24h, max(o.observed_at) AS observed_at
        FROM observations o JOIN metrics m ON m.id = o.metric_id
        WHERE o.device_id = d.id AND m.code = 'rain' AND (k.main_metric = 'rain' OR t.device_id IS NOT NULL)
          AND o.observed_at > %(now)s - interval '24 hours' AND o.observed_at <= %(now)s
          AND o.quality & %(unbelievable)s = 0 AND o.value >= 0
    ) fell ON true
    WHERE d.registration <> 'retired' AND (t.device_id IS NOT NULL OR k.main_metric IN ('level', 'rain'))
    ORDER BY d.code LIMIT 2000
"""


async def gauges(connection: Connection, now: datetime, unbelievable: int) -> list[Row]:
    """Every gauge of water and rain: where it stands and, where it reads rain, the sums up to ``now``, mm."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_GAUGES, {"now": now, "unbelievable": unbelievable})
        return await cursor.fetchall()


async def _incidents(connection: Connection) -> dict[tuple[str, str], int]:
    """Open flood incidents by category and class; tasks that the desk itself set are no sign of water."""
    cursor = await connection.execute(
        """
        SELECT category, class, count(*) FROM incidents
        WHERE closed_at IS NULL AND NOT exercise AND split_part(category, '.', 1) = 'flood'
          AND id NOT IN (SELECT incident_id FROM flood_tasks)
        GROUP BY category, class
        """
    )
    return {(row[0], row[1]): int(row[2]) for row in await cursor.fetchall()}


async def _warnings(connection: Connection, now: datetime) -> dict[Any, int]:
    cursor = await connection.execute(
        "SELECT colour, count(*) FROM flood_warnings WHERE state = 'issued' AND NOT exercise AND expires_at > %s"
        " GROUP BY colour",
        (now,),
    )
    return {row[0]: int(row[1]) for row in await cursor.fetchall()}


# ── places ───────────────────────────────────────────────────────────────────────────────────────────


async def places(connection: Connection, codes: Sequence[str]) -> list[Place]:
    """The valid areas of these codes with their outlines, in the order given; what nobody knows is left out.

    Where layers share a code, the smaller area is meant.
    """
    async with connection.cursor(row_factory=class_row(Place)) as cursor:
        await cursor.execute(
            """
            SELECT DISTINCT ON (wanted.place) a.layer, a.code, a.name, a.name_en, a.geometry
            FROM unnest(%s::text[]) WITH ORDINALITY AS wanted (code, place)
            JOIN areas a ON a.code = wanted.code AND a.valid_to IS NULL
            ORDER BY wanted.place, array_position(ARRAY['cell', 'community', 'street', 'district'], a.layer)
            """,
            (list(codes),),
        )
        return await cursor.fetchall()


async def district(connection: Connection) -> Row | None:
    """Code, name, name_en, timezone and response level; None before anything was imported."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute("SELECT code, name, name_en, timezone, response_level FROM district")
        return await cursor.fetchone()


async def whole_district(connection: Connection) -> list[Place]:
    """The district as one place; its outline is its own, else that of its streets, else of its cells together."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT d.code, d.name, d.name_en, array_remove(array_agg(a.geometry), NULL) AS outlines
            FROM district d LEFT JOIN areas a ON a.valid_to IS NULL AND a.layer = (
                SELECT layer FROM areas WHERE valid_to IS NULL AND geometry IS NOT NULL
                  AND layer IN ('district', 'street', 'cell')
                ORDER BY array_position(ARRAY['district', 'street', 'cell'], layer) LIMIT 1)
            GROUP BY d.code, d.name, d.name_en
            """
        )
        row = await cursor.fetchone()
    if row is None:
        return []
    parts = [polygon for outline in row["outlines"] for polygon in _polygons(outline)]
    return [
        Place(
            layer="district",
            code=row["code"],
            name=row["name"],
            name_en=row["name_en"],
            geometry={"type": "MultiPolygon", "coordinates": parts} if parts else None,
        )
    ]


def _polygons(geometry: Row) -> list[Any]:
    coordinates = geometry["coordinates"]
    return [coordinates] if geometry["type"] == "Polygon" else list(coordinates)


async def cells_of(connection: Connection, codes: Sequence[str]) -> dict[str, list[str]]:
    """Codes of the cells in each area (itself, when it is one), by the code given; unknown ones are not there."""
    cursor = await connection.execute(
        """
        WITH RECURSIVE inside AS (
            SELECT code AS asked, id, layer, code, 0 AS depth FROM areas WHERE valid_to IS NULL AND code = ANY(%s)
            UNION
            SELECT i.asked, a.id, a.layer, a.code, i.depth + 1 FROM inside i
            JOIN areas a ON a.parent_id = i.id AND a.valid_to IS NULL WHERE i.depth < 10
        )
        SELECT asked, array_agg(DISTINCT code ORDER BY code) FROM inside WHERE layer = 'cell' GROUP BY asked
        """,
        (list(codes),),
    )
    return dict(await cursor.fetchall())
