"""What screens show, read from the tables; asynchronous, since only the hub's loop calls it.

Rows come back as dictionaries named as the screen protocol names them (docs/screen-protocol.md). No phone
numbers and no text a citizen wrote pass through here: the wall is open to everybody in the room.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from city.observations import Quality
from city.stations import HIGHEST_BELIEVED_M, LOWEST_BELIEVED_M, ZERO_TOLERANCE_M
from city.storage.alarms import FROM_ALARMS, STATE
from city.storage.series import SUSPECT

Row = dict[str, Any]
Connection = AsyncConnection[Any]

MOST_CHANGES = 5_000  # read at once; the rest is read in the next round
MOST_STATIONS = 2_000  # shown: a stranger who invents water gauges must not fill every wall
MOST_OPEN = 5_000  # open incidents shown; a district with more has other problems than a wall


async def _rows(
    connection: Connection, query: str, parameters: Sequence[object] | Mapping[str, object] = ()
) -> list[Row]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, parameters)
        return await cursor.fetchall()


_RECENT = """
    SELECT id, kind, object, at FROM changes WHERE at > now() - interval '5 minutes' AND id <= %s
    ORDER BY id DESC LIMIT 20000
"""
_HIGHEST_ID = "SELECT coalesce(max(id), 0) AS high FROM changes"


async def recent_changes(connection: Connection) -> tuple[list[Row], int]:
    """Changes of the last five minutes in the order of their ids, and the highest id of all (0 = none)."""
    high = int((await _rows(connection, _HIGHEST_ID))[0]["high"])
    return (await _rows(connection, _RECENT, (high,)))[::-1], high


_CHANGES = """
    SELECT id, kind, object, at FROM (
        (SELECT id, kind, object, at FROM changes WHERE id > %s ORDER BY id LIMIT %s)
        UNION ALL
        SELECT id, kind, object, at FROM changes WHERE id = ANY(%s)
    ) AS wanted ORDER BY id
"""


async def changes(connection: Connection, high: int, gaps: Sequence[int]) -> list[Row]:
    """Changes above ``high`` and those of ``gaps`` that are there by now: id, kind, object, at."""
    return await _rows(connection, _CHANGES, (high, MOST_CHANGES, list(gaps)))


_INCIDENT = """
    SELECT i.id, i.number, i.state, i.class, i.category, i.reason, i.reason_en, i.opened_at, i.due_at,
           i.acknowledged_at, i.last_alarm_at, i.exercise, i.closed_at, i.version,
           coalesce(g.name, i.category) AS category_name,
           coalesce(nullif(g.name_en, ''), i.category) AS category_name_en,
           c.code AS cell, coalesce(c.name, '') AS cell_name,
           coalesce(CASE WHEN m.layer = 'street' THEN m.name ELSE s.name END, '') AS street_name,
           u.code AS unit, u.name AS unit_name, u.name_en AS unit_name_en,
           coalesce(i.longitude, place.longitude) AS lon, coalesce(i.latitude, place.latitude) AS lat,
           coalesce(sensed.alarms, 0) AS alarms, coalesce(named.devices, '{}') AS devices,
           ARRAY(SELECT o.code FROM incident_co_units h JOIN units o ON o.id = h.unit_id
                 WHERE h.incident_id = i.id ORDER BY o.code) AS co_units
    FROM incidents i
    LEFT JOIN categories g ON g.code = i.category
    LEFT JOIN areas c ON c.id = i.area_id
    LEFT JOIN areas m ON m.id = c.parent_id
    LEFT JOIN areas s ON s.id = m.parent_id AND s.layer = 'street'
    LEFT JOIN units u ON u.id = i.unit_id
    LEFT JOIN LATERAL (SELECT count(*) AS alarms FROM alarms a WHERE a.incident_id = i.id) sensed ON true
    LEFT JOIN LATERAL (
        SELECT array_agg(code ORDER BY first) AS devices FROM (
            SELECT d.code, min(a.id) AS first FROM alarms a JOIN devices d ON d.id = a.device_id
            WHERE a.incident_id = i.id GROUP BY d.code ORDER BY min(a.id) LIMIT 5) AS firsts
    ) named ON true
    LEFT JOIN LATERAL (
        SELECT d.longitude, d.latitude FROM alarms a JOIN devices d ON d.id = a.device_id
        WHERE a.incident_id = i.id AND d.longitude IS NOT NULL ORDER BY a.id LIMIT 1
    ) place ON true
"""
_OPEN_INCIDENTS = "".join((_INCIDENT, "WHERE i.closed_at IS NULL ORDER BY i.class, i.due_at LIMIT %s"))
_THESE = "WHERE i.id = ANY(%s) OR i.id IN (SELECT a.incident_id FROM alarms a WHERE a.id = ANY(%s))"
_THESE_INCIDENTS = "".join((_INCIDENT, _THESE))


async def open_incidents(connection: Connection) -> list[Row]:
    """Every open incident as screens show it, the most urgent first, at most ``MOST_OPEN``."""
    return await _rows(connection, _OPEN_INCIDENTS, (MOST_OPEN,))


async def incidents(connection: Connection, ids: Sequence[int], alarm_ids: Sequence[int]) -> list[Row]:
    """The incidents named, and those the alarms belong to; closed ones carry ``closed_at``."""
    return await _rows(connection, _THESE_INCIDENTS, (list(ids), list(alarm_ids)))


_ALARM_MARKS = """
    SELECT a.id, coalesce(a.class, g.class) AS class, a.exercise, c.code AS cell, u.code AS unit,
           ARRAY(SELECT o.code FROM incident_co_units h JOIN units o ON o.id = h.unit_id
                 WHERE h.incident_id = a.incident_id) AS co_units
    FROM alarms a
    LEFT JOIN categories g ON g.code = a.category
    LEFT JOIN areas c ON c.id = a.cell_id
    LEFT JOIN incidents i ON i.id = a.incident_id
    LEFT JOIN units u ON u.id = i.unit_id
    WHERE a.id = ANY(%s)
"""


async def alarm_marks(connection: Connection, ids: Sequence[int]) -> dict[int, Row]:
    """class (the alarm's own, else its category's), exercise, cell, and its incident's units, by alarm id."""
    return {row["id"]: row for row in await _rows(connection, _ALARM_MARKS, (list(ids),))}


_SILENT = "".join(
    (
        "SELECT cell, state, count(*) AS alarms FROM (SELECT c.code AS cell, ",
        STATE,
        " AS state ",
        FROM_ALARMS,
        " WHERE a.cleared_at IS NULL AND NOT a.exercise) each_one"
        " WHERE state IN ('SHLVD', 'DSUPR', 'OOSRV') GROUP BY cell, state",
    )
)


async def silent_alarms(connection: Connection, now: datetime) -> list[Row]:
    """Standing alarms that nobody is sent to: cell (code or null), state, alarms (how many). No exercise."""
    return await _rows(connection, _SILENT, {"now": now})


# Online: heard within three of its intervals of the time that we listened (view heard_limits; two minutes at least, an
# hour when none is known), its last will has not spoken, and no silence alarm stands. One grouped pass.
_PRESENCE = """
    SELECT cell, kind, name, name_en, count(*) AS total,
           count(*) FILTER (WHERE online) AS online,
           count(*) FILTER (WHERE never) AS never,
           count(*) FILTER (WHERE unclaimed) AS unclaimed
    FROM (
        SELECT c.code AS cell, d.kind, k.name, k.name_en,
               d.first_heard_at IS NULL AND p.device_id IS NULL AS never,
               d.registration = 'unclaimed' AS unclaimed,
               p.device_id IS NOT NULL AND p.link IS DISTINCT FROM 'offline'
                   AND p.last_heard_at > l.silent_before
                   AND d.id NOT IN (SELECT device_id FROM alarms WHERE cleared_at IS NULL
                                    AND category = 'device.silent' AND device_id IS NOT NULL) AS online
        FROM devices d
        JOIN device_kinds k ON k.code = d.kind
        LEFT JOIN heard_limits l ON l.interval_s = coalesce(d.expected_interval_s, k.expected_interval_s, 0)
        LEFT JOIN areas c ON c.id = d.cell_id
        LEFT JOIN presence p ON p.device_id = d.id
        WHERE d.registration <> 'retired' AND d.service_state <> 'out_of_service'
    ) AS each_device GROUP BY cell, kind, name, name_en
"""


async def presence(connection: Connection) -> list[Row]:
    """Devices by cell and kind: cell (code or null), kind, name, name_en, total, online, never, unclaimed."""
    return await _rows(connection, _PRESENCE)


_CELLS = """
    SELECT c.code, c.name, c.geometry, array_remove(ARRAY[m.code, s.code], NULL) AS within
    FROM areas c
    LEFT JOIN areas m ON m.id = c.parent_id AND m.layer IN ('community', 'street')
    LEFT JOIN areas s ON s.id = m.parent_id AND s.layer = 'street'
    WHERE c.layer = 'cell' AND c.valid_to IS NULL ORDER BY c.code
"""


async def cells(connection: Connection) -> list[Row]:
    """Every valid cell: code, name, geometry (GeoJSON or null), within (codes of its community and street)."""
    return await _rows(connection, _CELLS)


_STATIONS = """
    SELECT d.code, coalesce(nullif(d.name, ''), d.code) AS name,
           coalesce(nullif(d.name, ''), d.code) AS name_en, t.station_kind, c.code AS cell,
           t.warning_level_m AS warning_m, t.guaranteed_level_m AS guaranteed_m,
           t.highest_level_m AS highest_m, t.bank_level_m AS bank_m, t.design_level_m AS design_m,
           newest.value AS level_m, newest.observed_at, newest.quality,
           before.value AS before_m, before.observed_at AS before_at, m.code AS metric, m.unit,
           p.device_id IS NOT NULL AND p.link IS DISTINCT FROM 'offline'
               AND p.last_heard_at > now() - make_interval(secs => greatest(120,
                       3 * coalesce(d.expected_interval_s, k.expected_interval_s, 1200))) AS online
    FROM (
        SELECT device_id FROM stations UNION
        SELECT id FROM devices
        WHERE kind = ANY(ARRAY(SELECT code FROM device_kinds WHERE main_metric = 'level'))  -- by its index
    ) gauge
    JOIN devices d ON d.id = gauge.device_id
    JOIN device_kinds k ON k.code = d.kind
    LEFT JOIN stations t ON t.device_id = d.id
    LEFT JOIN metrics m ON m.code = k.main_metric
    LEFT JOIN areas c ON c.id = d.cell_id
    LEFT JOIN presence p ON p.device_id = d.id
    LEFT JOIN LATERAL (
        -- Bounded: a gauge that has sent -999 for a month must not have all of it read every second.
        SELECT value, observed_at, quality FROM (
            SELECT o.value, o.observed_at, o.quality FROM observations o
            WHERE o.device_id = d.id AND o.metric_id = m.id
              AND o.quality & %(ahead)s = 0 AND o.observed_at < now() + interval '2 minutes'
            ORDER BY o.observed_at DESC LIMIT 20
        ) recent
        WHERE recent.quality & %(suspect)s = 0
          AND recent.value BETWEEN coalesce(t.zero_m - %(tolerance)s, %(lowest)s) AND %(highest)s
        ORDER BY observed_at DESC LIMIT 1
    ) newest ON true
    LEFT JOIN LATERAL (
        SELECT o.value, o.observed_at FROM observations o
        WHERE o.device_id = d.id AND o.metric_id = m.id AND o.quality & %(suspect)s = 0
          AND o.observed_at <= newest.observed_at - interval '1 hour'
          AND o.observed_at > newest.observed_at - interval '90 minutes'
          AND o.value BETWEEN coalesce(t.zero_m - %(tolerance)s, %(lowest)s) AND %(highest)s
        ORDER BY o.observed_at DESC LIMIT 1
    ) before ON true
    WHERE d.registration <> 'retired'
    ORDER BY t.device_id IS NULL, d.code LIMIT %(most)s
"""


async def stations(connection: Connection) -> list[Row]:
    """Everything that reads a water level, with its levels, its newest believed reading and one an hour before it.

    Metres above its datum. A device that nobody has listed as a station comes without levels and
    ``station_kind``, listed ones first; at most ``MOST_STATIONS``.
    """
    return await _rows(
        connection,
        _STATIONS,
        {
            "ahead": int(Quality.CLOCK_AHEAD),
            "suspect": SUSPECT,
            "lowest": LOWEST_BELIEVED_M,
            "highest": HIGHEST_BELIEVED_M,
            "tolerance": ZERO_TOLERANCE_M,
            "most": MOST_STATIONS,
        },
    )


_DISTRICT = "SELECT code, name, name_en, timezone, response_level FROM district"


async def district(connection: Connection) -> Row | None:
    """The district's name and response level; None before anything was imported."""
    rows = await _rows(connection, _DISTRICT)
    return rows[0] if rows else None
