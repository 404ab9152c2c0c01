"""Which share of the time devices were heard, over a period, by what they have in common; asynchronous.

Counted in spans of whole UTC hours that we listened to in full: one hour for what reports twice an hour or more often,
longer ones for what reports less often, so that a device in order is heard in every one.
"""

from datetime import datetime
from typing import Any, Literal, LiteralString, get_args

from psycopg import AsyncConnection
from psycopg.rows import dict_row

Row = dict[str, Any]
Connection = AsyncConnection[Any]
By = Literal["model", "vendor", "maintainer", "kind", "gateway"]
BY: tuple[By, ...] = get_args(By)

_KEYS: dict[By, LiteralString] = {
    "model": "d.model",
    "vendor": "d.vendor",
    "maintainer": "d.maintainer_unit",
    "kind": "d.kind",
    "gateway": "coalesce(d.gateway, '')",
}
# Hours of a span: the least divisor of a day that is twice the expected interval; a day for what comes once a day.
# Null: it reports less often than daily, and nothing is said of it.
_SPAN: LiteralString = """
    CASE WHEN every <= 1800 THEN 1 WHEN every <= 3600 THEN 2 WHEN every <= 5400 THEN 3 WHEN every <= 7200 THEN 4
         WHEN every <= 10800 THEN 6 WHEN every <= 14400 THEN 8 WHEN every <= 21600 THEN 12
         WHEN every <= 86400 THEN 24 END
"""
_DAYS: LiteralString = """
    WITH days AS MATERIALIZED (
        SELECT g.day::date AS day, coalesce(l.hours, 0)
               & CASE WHEN g.day::date = %(first)s THEN %(first_mask)s ELSE 16777215 END
               & CASE WHEN g.day::date = %(last)s THEN %(last_mask)s ELSE 16777215 END AS mask
        FROM generate_series(%(first)s::date, %(last)s::date, '1 day') g (day)
        LEFT JOIN listened_hours l ON l.day = g.day::date
    )
"""
# A device counts from the hour after its first word.
_DEVICES: LiteralString = """
    FROM (
        SELECT d.*, coalesce(d.expected_interval_s, k.expected_interval_s, 1200) AS every,
               greatest((d.first_heard_at AT TIME ZONE 'UTC')::date, %(first)s::date) AS start_day,
               CASE WHEN (d.first_heard_at AT TIME ZONE 'UTC')::date >= %(first)s::date
                    THEN ((16777215 << (extract(hour FROM d.first_heard_at AT TIME ZONE 'UTC')::int + 1)) & 16777215)
                    ELSE 16777215 END AS start_mask
        FROM devices d JOIN device_kinds k ON k.code = d.kind
        WHERE d.registration <> 'retired' AND d.service_state <> 'out_of_service' AND d.first_heard_at IS NOT NULL
    ) d
"""
_COUNTED: LiteralString = """
    , spans AS (
        SELECT day, mask, span, heard_spans(mask, mask, span) AS n
        FROM days CROSS JOIN (SELECT DISTINCT span FROM fleet WHERE span IS NOT NULL) s
    ), later AS (
        SELECT day, mask, span, n, sum(n) OVER (PARTITION BY span ORDER BY day DESC) - n AS after FROM spans
    ), heard AS (
        -- Nearly all have spans of one hour, whose bits are counted without a call for each day of each device.
        SELECT id, sum(CASE WHEN span = 1 THEN bit_count((hours & mask)::bit(24))
                            ELSE heard_spans(hours, mask, span) END) AS heard
        FROM (
            SELECT f.id, f.span, h.hours,
                   y.mask & CASE WHEN h.day = f.start_day THEN f.start_mask ELSE 16777215 END AS mask
            FROM heard_hours h JOIN days y ON y.day = h.day JOIN fleet f ON f.id = h.device_id
            WHERE f.span IS NOT NULL AND h.day >= f.start_day
        ) each_day GROUP BY id
    )
    , each_device AS (
        SELECT f.key, f.span, coalesce(h.heard, 0) AS heard,
               l.after + CASE WHEN f.start_mask = 16777215 THEN l.n
                              ELSE heard_spans(l.mask & f.start_mask, l.mask & f.start_mask, f.span) END AS expected
        FROM fleet f LEFT JOIN later l ON l.span = f.span AND l.day = f.start_day LEFT JOIN heard h ON h.id = f.id
    )
    SELECT key, count(*) AS devices, count(*) FILTER (WHERE span IS NULL) AS unjudged,
           coalesce(sum(expected), 0)::bigint AS expected, coalesce(sum(heard), 0)::bigint AS heard
    FROM each_device GROUP BY key ORDER BY sum(heard)::float8 / nullif(sum(expected), 0) NULLS LAST, key
"""
_BY: dict[By, LiteralString] = {
    by: "".join(
        (
            _DAYS,
            ", fleet AS MATERIALIZED (SELECT d.id, ",
            key,
            " AS key, start_day, start_mask, ",
            _SPAN,
            " AS span ",
            _DEVICES,
            " WHERE ",
            key,
            " <> ''" if by == "gateway" else " IS NOT NULL",
            ")",
            _COUNTED,
        )
    )
    for by, key in _KEYS.items()
}


def _period(start: datetime, end: datetime) -> dict[str, object]:
    """Days of the period and the bits of its first and last one; hours that it holds in full. UTC."""
    first_hour = start.hour + (1 if start != start.replace(minute=0, second=0, microsecond=0) else 0)
    last, last_hour = end.date(), end.hour
    return {
        "first": start.date(),
        "last": last,
        "first_mask": (16777215 << first_hour) & 16777215,
        "last_mask": (1 << last_hour) - 1,
    }


async def by(connection: Connection, name: By, start: datetime, end: datetime) -> list[Row]:
    """key, devices, unjudged (report less often than daily), expected and heard spans; the worst share first.

    ``start`` and ``end`` in UTC; hours that they cut are left out.
    """
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_BY[name], _period(start, end), prepare=False)
        return await cursor.fetchall()


_UPTIME: LiteralString = "".join(
    (
        _DAYS,
        ", fleet AS MATERIALIZED (SELECT d.id, CASE WHEN d.kind = 'gateway' THEN d.code ELSE d.gateway END AS gateway,",
        " start_day, ",
        _SPAN,
        " AS span ",
        _DEVICES,
        """
            WHERE d.kind = 'gateway' OR d.gateway <> ''
        ), families AS (
            SELECT gateway, min(span) AS span, min(start_day) AS start_day FROM fleet GROUP BY gateway
        ), together AS (
            SELECT f.gateway, h.day, bit_or(h.hours) AS hours
            FROM heard_hours h JOIN days y ON y.day = h.day JOIN fleet f ON f.id = h.device_id GROUP BY 1, 2
        )
        SELECT m.gateway, sum(CASE WHEN m.span = 1 THEN bit_count(y.mask::bit(24))
                                   ELSE heard_spans(y.mask, y.mask, m.span) END) AS expected,
               sum(CASE WHEN m.span = 1 THEN bit_count((t.hours & y.mask)::bit(24))
                        ELSE heard_spans(coalesce(t.hours, 0), y.mask, m.span) END) AS heard
        FROM families m JOIN days y ON y.day >= m.start_day
        LEFT JOIN together t ON t.gateway = m.gateway AND t.day = y.day
        WHERE m.span IS NOT NULL GROUP BY m.gateway
        """,
    )
)


async def uptime(connection: Connection, start: datetime, end: datetime) -> dict[str, tuple[int, int]]:
    """By gateway: (expected, heard) spans in which it, or any device behind it, was to be heard and was."""
    cursor = await connection.execute(_UPTIME, _period(start, end), prepare=False)
    return {code: (int(expected), int(heard or 0)) for code, expected, heard in await cursor.fetchall()}
