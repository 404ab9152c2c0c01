"""What lies near a place: open incidents a report may belong to, and work that one trip could do; asynchronous.

Every search is bounded for each cell, newest first, so that one address with ten thousand reports costs no more.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

Connection = AsyncConnection[Any]
Row = dict[str, Any]
Box = tuple[float, float, float, float]  # west, south, east, north

# The newest of each cell and kind that are looked at, in the cell itself and in one beside it: one address cannot
# hide a district. What lies beside and long ago is found by its position.
MOST_IN_A_CELL, MOST_BESIDE = 30, 8
MOST_ALARMS_IN_A_CELL = 200
_SPOTS = """
    WITH spots AS (
        SELECT %(cell)s::int AS id WHERE %(cell)s::int IS NOT NULL
        UNION SELECT neighbour_id FROM area_neighbours WHERE area_id = %(cell)s
    ),
"""
_IN_BOX = """
    SELECT b.id FROM (
        SELECT i.id, i.longitude, i.latitude FROM incidents i
        WHERE i.closed_at IS NULL AND i.longitude IS NOT NULL AND i.latitude IS NOT NULL
            AND point(i.longitude, i.latitude) <@ box(point(%(west)s, %(south)s), point(%(east)s, %(north)s))
            AND (%(top)s::text IS NULL OR split_part(i.category, '.', 1) = %(top)s)
        LIMIT 400) b
    ORDER BY point(b.longitude, b.latitude)
        <-> point((%(west)s::float8 + %(east)s::float8) / 2, (%(south)s::float8 + %(north)s::float8) / 2)
    LIMIT %(most)s
"""
_CANDIDATES = "".join(
    (
        _SPOTS,
        """
    found AS (
        SELECT i.id FROM spots s CROSS JOIN LATERAL (
            SELECT id FROM incidents WHERE area_id = s.id AND closed_at IS NULL
                AND split_part(category, '.', 1) = %(top)s ORDER BY opened_at DESC
            LIMIT CASE WHEN s.id = %(cell)s THEN %(most)s ELSE %(beside)s END) i
        UNION
        SELECT i.id FROM spots s CROSS JOIN LATERAL (
            SELECT id FROM incidents WHERE area_id = s.id AND closed_at IS NULL AND opened_at >= %(since)s
            ORDER BY opened_at DESC LIMIT %(most)s) i WHERE %(top)s::text IS NULL
        UNION
        SELECT i.id FROM spots s CROSS JOIN LATERAL (
            SELECT id FROM incidents WHERE area_id = s.id AND state = 'merged' AND opened_at >= %(since)s
            ORDER BY opened_at DESC LIMIT %(most)s) i
        UNION
        SELECT i.id FROM spots s CROSS JOIN LATERAL (
            SELECT incident_id AS id FROM alarms WHERE cell_id = s.id AND incident_id IS NOT NULL
                AND raised_at >= %(since)s ORDER BY raised_at DESC LIMIT %(alarms)s) i
        UNION (""",
        _IN_BOX,
        """)
    )
    SELECT r.id, r.number, r.state, i.id AS sign, i.category, i.area_id, i.longitude, i.latitude, i.opened_at
    FROM found
    JOIN incidents i ON i.id = found.id
    JOIN incidents r ON r.id = CASE WHEN i.merged_into IS NULL THEN i.id ELSE (
        WITH RECURSIVE way AS (
            SELECT i.merged_into AS id, 1 AS step
            UNION ALL SELECT o.merged_into, step + 1 FROM way JOIN incidents o ON o.id = way.id
            WHERE o.merged_into IS NOT NULL AND step < 1000
        ) SELECT id FROM way ORDER BY step DESC LIMIT 1) END
    WHERE r.closed_at IS NULL AND r.exercise = %(exercise)s AND r.id IS DISTINCT FROM %(exclude)s
      AND (%(top)s::text IS NULL OR split_part(i.category, '.', 1) = %(top)s)
    """,
    )
)


async def signs_near(
    connection: Connection,
    *,
    top: str | None,
    cell_id: int | None,
    box: Box | None,
    since: datetime,
    exclude: int | None,
    exercise: bool,
) -> list[Row]:
    """Open incidents around a cell or in a box (west, south, east, north), and what was merged into them.

    One row for each ``sign``: what was opened there, with its root's ``id``, ``number`` and ``state``. ``top`` is the
    top-level category; None = any, only since then.
    """
    west, south, east, north = box or (None, None, None, None)
    return await _rows(
        connection,
        _CANDIDATES,
        {
            "top": top,
            "cell": cell_id,
            "since": since,
            "exclude": exclude,
            "exercise": exercise,
            "most": MOST_IN_A_CELL,
            "beside": MOST_BESIDE,
            "alarms": MOST_ALARMS_IN_A_CELL,
            "west": west,
            "south": south,
            "east": east,
            "north": north,
        },
    )


async def said_of(connection: Connection, signs: Sequence[int]) -> dict[int, Row]:
    """By sign: ``texts`` of the newest reports that were not erased, and ``last_at``, when somebody last reported."""
    rows = await _rows(
        connection,
        """
        SELECT s.id, coalesce(array_agg(t.text) FILTER (WHERE t.text IS NOT NULL), '{}') AS texts, max(e.at) AS last_at
        FROM unnest(%s::bigint[]) AS s (id)
        CROSS JOIN LATERAL (
            SELECT seq, at FROM incident_events
            WHERE incident_id = s.id AND kind IN ('opened', 'reported') ORDER BY seq DESC LIMIT 5) e
        LEFT JOIN incident_texts t ON t.incident_id = s.id AND t.seq = e.seq
        GROUP BY s.id
        """,
        (list(signs),),
    )
    return {row["id"]: row for row in rows}


async def sensed_at(connection: Connection, incident_ids: Sequence[int]) -> dict[int, Row]:
    """By incident: cells, standing (cells with an alarm not cleared), first_at, last_at and up to fifty positions
    (longitude, latitude) of its alarms."""
    rows = await _rows(
        connection,
        """
        SELECT a.incident_id, min(a.raised_at) AS first_at, max(a.raised_at) AS last_at,
               coalesce(array_agg(DISTINCT a.cell_id) FILTER (WHERE a.cell_id IS NOT NULL), '{}') AS cells,
               coalesce(array_agg(DISTINCT a.cell_id)
                        FILTER (WHERE a.cell_id IS NOT NULL AND a.cleared_at IS NULL), '{}') AS standing,
               coalesce((array_agg(DISTINCT ARRAY[d.longitude, d.latitude])
                        FILTER (WHERE d.longitude IS NOT NULL AND d.latitude IS NOT NULL))[1:50], '{}') AS positions
        FROM alarms a LEFT JOIN devices d ON d.id = a.device_id
        WHERE a.incident_id = ANY(%s) GROUP BY a.incident_id
        """,
        (list(incident_ids),),
    )
    return {row["incident_id"]: row for row in rows}


async def spot_of(connection: Connection, incident_id: int) -> Row | None:
    """Where an incident is and what was said of it: category, exercise, area_id, unit_id, opened_at, longitude and
    latitude (its own, else its first alarm's device's), text, beside (neighbouring cells)."""
    rows = await _rows(
        connection,
        """
        SELECT i.category, i.exercise, i.area_id, i.unit_id, i.opened_at,
               coalesce(i.longitude, d.longitude) AS longitude, coalesce(i.latitude, d.latitude) AS latitude,
               coalesce(t.text, '') AS text,
               ARRAY(SELECT neighbour_id FROM area_neighbours WHERE area_id = i.area_id) AS beside
        FROM incidents i
        LEFT JOIN LATERAL (
            SELECT d.longitude, d.latitude FROM alarms a JOIN devices d ON d.id = a.device_id
            WHERE a.incident_id = i.id AND d.longitude IS NOT NULL AND d.latitude IS NOT NULL ORDER BY a.id LIMIT 1
        ) d ON true
        LEFT JOIN LATERAL (
            SELECT x.text FROM incident_texts x JOIN incident_events e USING (incident_id, seq)
            WHERE x.incident_id = i.id AND e.kind IN ('opened', 'reported') ORDER BY x.seq LIMIT 1
        ) t ON true
        WHERE i.id = %s
        """,
        (incident_id,),
    )
    return rows[0] if rows else None


_WORK = "".join(
    (
        _SPOTS,
        """
    found AS (
        SELECT i.id FROM spots s CROSS JOIN LATERAL (
            SELECT id FROM incidents WHERE area_id = s.id AND closed_at IS NULL
            ORDER BY (unit_id = %(unit)s) IS TRUE DESC, opened_at DESC LIMIT %(most)s) i
        UNION (""",
        _IN_BOX,
        """)
    )
    SELECT i.id, i.number, i.state, i.class, i.category, i.title, i.area_id, c.code AS cell, i.unit_id, u.code AS unit,
           u.name AS unit_name, u.name_en AS unit_name_en, i.due_at, i.opened_at,
           coalesce(i.longitude, d.longitude) AS longitude, coalesce(i.latitude, d.latitude) AS latitude
    FROM found JOIN incidents i ON i.id = found.id
    LEFT JOIN areas c ON c.id = i.area_id LEFT JOIN units u ON u.id = i.unit_id
    LEFT JOIN LATERAL (
        SELECT d.longitude, d.latitude FROM alarms a JOIN devices d ON d.id = a.device_id
        WHERE i.longitude IS NULL AND a.incident_id = i.id AND d.longitude IS NOT NULL AND d.latitude IS NOT NULL
        ORDER BY a.id LIMIT 1
    ) d ON true
    WHERE i.state NOT IN ('handled', 'verified', 'fed_back', 'suspended') AND i.exercise = %(exercise)s
      AND i.id IS DISTINCT FROM %(exclude)s
    """,
    )
)


async def work_near(
    connection: Connection,
    *,
    cell_id: int | None,
    box: Box | None,
    unit_id: int | None,
    exclude: int | None,
    exercise: bool,
) -> list[Row]:
    """Incidents around a cell or in a box that somebody must still go to, each with its place, unit and deadline."""
    west, south, east, north = box or (None, None, None, None)
    given = {
        "cell": cell_id,
        "unit": unit_id,
        "exclude": exclude,
        "exercise": exercise,
        "most": MOST_IN_A_CELL,
        "top": None,
    }
    return await _rows(
        connection, _WORK, {**given, "west": west, "south": south, "east": east, "north": north}
    )


async def windows(connection: Connection, categories: Iterable[str]) -> dict[str, int]:
    """Minutes in which a further sign joins, of those categories that have their own."""
    rows = await _rows(
        connection,
        "SELECT code, join_minutes FROM categories WHERE code = ANY(%s) AND join_minutes IS NOT NULL",
        (list(categories),),
    )
    return {row["code"]: row["join_minutes"] for row in rows}


async def _rows(
    connection: Connection, query: str, given: Mapping[str, object] | Sequence[object]
) -> list[Row]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, given)
        return await cursor.fetchall()
