"""What a wall asks for beside the screen protocol: smoke, cameras, one incident, the flood response; asynchronous.

The wall is open to everybody in the room: no person's name, no phone number and no typed text passes through here.
``cells`` everywhere: ids of the cells to look at, None for the whole district.
"""

from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from city.storage.series import SUSPECT

Row = dict[str, Any]
Connection = AsyncConnection[Any]
Cells = Sequence[int] | None

MOST_DETECTORS = 12
MOST_DETECTIONS = 12
MOST_CAMERAS = 12  # of those off line
MOST_EVENTS = 40  # of one incident's timeline, the newest
MOST_DEVICES = 6  # of one incident
READ_STEPS = 60  # points of a device's last hours
_READ_HOURS = 2

_CELLS_UNDER = """
    WITH RECURSIVE below AS (
        SELECT id, layer FROM areas WHERE code = %s AND valid_to IS NULL
        UNION SELECT a.id, a.layer FROM areas a JOIN below b ON a.parent_id = b.id WHERE a.valid_to IS NULL
    ) SELECT id FROM below
"""
# Among these: %(cells)s null is everywhere.
_WITHIN = " (%(cells)s::int[] IS NULL OR d.cell_id = ANY(%(cells)s)) "
# For values: one that is old is old, whoever was deaf.
_FRESH = """
    p.device_id IS NOT NULL AND p.link IS DISTINCT FROM 'offline'
    AND p.last_heard_at > now() - make_interval(secs => greatest(120,
            3 * coalesce(d.expected_interval_s, k.expected_interval_s, 1200)))
"""
# As city.storage.screen has it, but for devices one by one; needs heard_limits l.
_ONLINE = """
    p.device_id IS NOT NULL AND p.link IS DISTINCT FROM 'offline' AND p.last_heard_at > l.silent_before
"""
_PLACE = """
    LEFT JOIN areas c ON c.id = d.cell_id
"""
_NAMED = """
    d.code, coalesce(nullif(d.name, ''), d.code) AS name, c.code AS cell, coalesce(c.name, '') AS cell_name,
    coalesce(nullif(c.name_en, ''), c.name, '') AS cell_name_en
"""


async def _rows(connection: Connection, query: str, parameters: dict[str, object]) -> list[Row]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, parameters)
        return await cursor.fetchall()


async def cells_under(connection: Connection, code: str) -> list[int]:
    """Ids of the area of this code, of any layer, and of all below it; empty when there is none."""
    cursor = await connection.execute(_CELLS_UNDER, (code,))
    return [row[0] for row in await cursor.fetchall()]


# ── smoke ────────────────────────────────────────────────────────────────────────────────────────────

_SMOKE_ALARMS = "".join(
    (
        "SELECT ",
        _NAMED,
        """, min(a.raised_at) AS since, bool_or(a.exercise) AS exercise, count(*) OVER () AS all_of_them
        FROM alarms a JOIN devices d ON d.id = a.device_id JOIN device_kinds k ON k.code = d.kind
        """,
        _PLACE,
        "WHERE a.cleared_at IS NULL AND a.suppressed IS NULL AND k.main_metric = 'smoke'"
        " AND a.category <> 'device.silent' AND",
        _WITHIN,
        "GROUP BY d.id, c.id ORDER BY since DESC, d.code LIMIT %(most)s",
    )
)
# The newest reading of every detector that was heard: one look into the primary key each.
_SMOKE_VALUES = "".join(
    (
        "SELECT ",
        _NAMED,
        """, newest.value, newest.observed_at, m.unit
        FROM devices d JOIN device_kinds k ON k.code = d.kind JOIN metrics m ON m.code = k.main_metric
        JOIN presence p ON p.device_id = d.id
        """,
        _PLACE,
        """
        CROSS JOIN LATERAL (
            SELECT o.value, o.observed_at FROM observations o
            WHERE o.device_id = d.id AND o.metric_id = m.id AND o.quality & %(suspect)s = 0
              AND o.observed_at > now() - interval '1 hour' AND o.observed_at < now() + interval '2 minutes'
            ORDER BY o.observed_at DESC LIMIT 1
        ) newest
        WHERE k.main_metric = 'smoke' AND d.registration <> 'retired' AND d.service_state <> 'out_of_service' AND""",
        _FRESH,
        "AND",
        _WITHIN,
        "ORDER BY newest.value DESC, d.code LIMIT %(most)s",
    )
)


async def smoke_alarms(connection: Connection, cells: Cells) -> list[Row]:
    """Detectors whose alarm stands, newest first: code, name, cell, since, exercise, all_of_them (how many in all)."""
    return await _rows(connection, _SMOKE_ALARMS, {"cells": cells, "most": MOST_DETECTORS})


async def smoke_values(connection: Connection, cells: Cells) -> list[Row]:
    """The highest readings now: code, name, cell, value in ``unit``, observed_at; only detectors that are on line."""
    return await _rows(
        connection, _SMOKE_VALUES, {"cells": cells, "most": MOST_DETECTORS, "suspect": SUSPECT}
    )


# ── cameras ──────────────────────────────────────────────────────────────────────────────────────────

_DETECTIONS = "".join(
    (
        "SELECT ",
        _NAMED,
        ", seen.label, seen.zone, seen.observed_at FROM detections seen JOIN devices d ON d.id = seen.device_id",
        _PLACE,
        """
        WHERE seen.state = 'new' AND seen.quality & %(suspect)s = 0
          AND seen.observed_at > now() - interval '24 hours' AND seen.observed_at < now() + interval '2 minutes' AND""",
        _WITHIN,
        "ORDER BY seen.observed_at DESC, d.code LIMIT %(most)s",
    )
)
_CAMERAS_OFF = "".join(
    (
        "SELECT ",
        _NAMED,
        """, p.last_heard_at, count(*) OVER () AS all_of_them
        FROM devices d JOIN device_kinds k ON k.code = d.kind LEFT JOIN presence p ON p.device_id = d.id
        LEFT JOIN heard_limits l ON l.interval_s = coalesce(d.expected_interval_s, k.expected_interval_s, 0)
        """,
        _PLACE,
        "WHERE d.kind = 'camera' AND d.registration <> 'retired' AND d.service_state <> 'out_of_service'"
        " AND NOT coalesce(",
        _ONLINE,
        ", false) AND",
        _WITHIN,
        "ORDER BY p.last_heard_at DESC NULLS LAST, d.code LIMIT %(most)s",
    )
)


async def detections(connection: Connection, cells: Cells) -> list[Row]:
    """What cameras saw last within a day: code, name, cell, label, zone, observed_at."""
    return await _rows(connection, _DETECTIONS, {"cells": cells, "most": MOST_DETECTIONS, "suspect": SUSPECT})


async def cameras_off(connection: Connection, cells: Cells) -> list[Row]:
    """Cameras off line, those lost last first: code, name, cell, last_heard_at (None: never), all_of_them."""
    return await _rows(connection, _CAMERAS_OFF, {"cells": cells, "most": MOST_CAMERAS})


# ── one incident ─────────────────────────────────────────────────────────────────────────────────────

# Notices and their receipts name people and channels; how a text came and went is nothing for a wall.
_EVENTS = """
    SELECT e.seq, e.at, e.kind, u.name AS unit_name, u.name_en AS unit_name_en FROM incident_events e
    LEFT JOIN units u ON u.code = e.detail ->> 'unit'
    WHERE e.incident_id = %(id)s AND e.kind NOT IN ('told', 'receipt', 'resent', 'delivery_delayed', 'erased',
        'commented', 'comment', 'corrected', 'deadlines_recomputed')
    ORDER BY e.seq DESC LIMIT %(most)s
"""
_READINGS = """
    SELECT d.code, coalesce(nullif(d.name, ''), d.code) AS name, k.name AS kind_name, k.name_en AS kind_name_en,
           coalesce(nullif(m.name, ''), m.code) AS metric, coalesce(nullif(m.name_en, ''), m.code) AS metric_en, m.unit,
           d.longitude AS lon, d.latitude AS lat, of_these.standing, coalesce(read.steps, '[]') AS readings
    FROM (
        SELECT device_id, min(id) AS first, bool_or(cleared_at IS NULL) AS standing FROM alarms
        WHERE incident_id = %(id)s AND device_id IS NOT NULL
        GROUP BY device_id ORDER BY standing DESC, first LIMIT %(most)s
    ) of_these
    JOIN devices d ON d.id = of_these.device_id
    JOIN device_kinds k ON k.code = d.kind
    LEFT JOIN metrics m ON m.code = k.main_metric
    LEFT JOIN LATERAL (
        SELECT jsonb_agg(jsonb_build_array(at, value) ORDER BY at) AS steps FROM (
            SELECT max(o.observed_at) AS at, max(o.value) AS value FROM observations o
            WHERE o.device_id = d.id AND o.metric_id = m.id AND o.quality & %(suspect)s = 0
              AND o.observed_at > now() - make_interval(hours => %(hours)s)
              AND o.observed_at < now() + interval '2 minutes'
            GROUP BY date_bin(make_interval(secs => %(hours)s * 3600.0 / %(steps)s), o.observed_at, '2000-01-01Z')
        ) each_step
    ) read ON true
    ORDER BY of_these.standing DESC, of_these.first
"""


async def is_open(connection: Connection, incident_id: int) -> bool:
    """Whether a wall may show it: what is closed is nobody's business in the room."""
    cursor = await connection.execute(
        "SELECT 1 FROM incidents WHERE id = %s AND closed_at IS NULL", (incident_id,)
    )
    return await cursor.fetchone() is not None


async def events(connection: Connection, incident_id: int) -> list[Row]:
    """What was done, newest first, without who and what was written: seq, at, kind, unit_name, unit_name_en."""
    return await _rows(connection, _EVENTS, {"id": incident_id, "most": MOST_EVENTS})


async def device_readings(connection: Connection, incident_id: int) -> list[Row]:
    """Its devices, those whose alarm stands first; ``readings`` is [[at, highest], …] of the last two hours."""
    return await _rows(
        connection,
        _READINGS,
        {
            "id": incident_id,
            "most": MOST_DEVICES,
            "suspect": SUSPECT,
            "hours": _READ_HOURS,
            "steps": READ_STEPS,
        },
    )


# ── flood ────────────────────────────────────────────────────────────────────────────────────────────

_RESPONSE = """
    SELECT d.response_level AS level, r.at AS since FROM district d LEFT JOIN LATERAL (
        SELECT at FROM flood_responses ORDER BY id DESC LIMIT 1) r ON true
"""
_PROPOSED = """
    SELECT p.level, p.words, p.words_en, p.at FROM flood_proposals p
    WHERE p.answered_at IS NULL AND p.id = (SELECT max(id) FROM flood_proposals)
"""
_WARNINGS = """
    SELECT colour, count(*) AS warnings, max(expires_at) AS until FROM flood_warnings
    WHERE state = 'issued' AND NOT exercise AND expires_at > now() GROUP BY colour
"""


async def flood_response(connection: Connection) -> Row | None:
    """The level in force and since when; None without a district."""
    found = await _rows(connection, _RESPONSE, {})
    return found[0] if found else None


async def flood_proposal(connection: Connection) -> Row | None:
    """The level that the triggers propose and nobody has answered: level (None: end it), words(_en), at."""
    found = await _rows(connection, _PROPOSED, {})
    return found[0] if found else None


async def flood_warnings(connection: Connection) -> list[Row]:
    """Warnings in force by colour: colour, warnings (how many), until."""
    return await _rows(connection, _WARNINGS, {})
