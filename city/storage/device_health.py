"""How devices are, as lists and counts read it; asynchronous. Each state is as ``command_centre.device_health`` has it.

The state of one device and of 100,000 is the same expression, and the wall's number of devices on line is its sum of
online, late and blind: both go by the view ``heard_limits``.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row

Row = dict[str, Any]
Connection = AsyncConnection[Any]
Filters = Mapping[str, str | None]  # kind, model, vendor, maintainer, cell, gateway; None = any

FILTERS = ("kind", "model", "vendor", "maintainer", "cell", "gateway")

_FROM: LiteralString = """
    FROM devices d
    JOIN device_kinds k ON k.code = d.kind
    LEFT JOIN heard_limits l ON l.interval_s = coalesce(d.expected_interval_s, k.expected_interval_s, 0)
    LEFT JOIN areas c ON c.id = d.cell_id
    LEFT JOIN presence p ON p.device_id = d.id
"""
# As command_centre.device_health.judge says it, in its order.
_STATE: LiteralString = """
    CASE WHEN d.registration = 'retired' OR d.service_state = 'out_of_service' THEN 'out'
         WHEN p.device_id IS NULL AND d.first_heard_at IS NULL THEN 'never'
         WHEN p.device_id IS NULL OR p.link IS NOT DISTINCT FROM 'offline' OR p.last_heard_at <= l.silent_before
              OR d.id IN (SELECT device_id FROM alarms WHERE cleared_at IS NULL AND category = 'device.silent'
                          AND device_id IS NOT NULL) THEN 'silent'
         WHEN d.id IN (SELECT device_id FROM device_metrics WHERE blind_since IS NOT NULL) THEN 'blind'
         WHEN p.last_heard_at <= l.late_before THEN 'late'
         ELSE 'online' END
"""
_WHERE: LiteralString = """
    WHERE (%(kind)s::text IS NULL OR d.kind = %(kind)s) AND (%(model)s::text IS NULL OR d.model = %(model)s)
      AND (%(vendor)s::text IS NULL OR d.vendor = %(vendor)s)
      AND (%(maintainer)s::text IS NULL OR d.maintainer_unit = %(maintainer)s)
      AND (%(cell)s::text IS NULL OR c.code = %(cell)s)
      AND (%(gateway)s::text IS NULL OR d.gateway = %(gateway)s)
"""
_SHOWN: LiteralString = """
    SELECT d.id, d.code, d.name, d.kind, k.name AS kind_name, k.name_en AS kind_name_en, d.model, d.vendor,
           d.maintainer_unit AS maintainer, c.code AS cell, c.name AS cell_name, d.gateway, d.registration,
           d.service_state, nullif(l.interval_s, 0) AS expected_interval_s, p.link, d.first_heard_at, p.last_heard_at,
           l.late_before, l.silent_before, (SELECT min(raised_at) FROM alarms WHERE device_id = d.id
           AND cleared_at IS NULL AND category = 'device.silent') AS silent_alarm_at, now() AS now,
           h.battery, h.battery_percent, h.battery_per_day, h.battery_since, h.end_at, h.end_early, h.end_late,
           h.signal, sm.code AS signal_metric, sm.unit AS signal_unit, h.signal_value, h.signal_per_week
"""
_TRENDS: LiteralString = """
    LEFT JOIN device_health h ON h.device_id = d.id LEFT JOIN metrics sm ON sm.id = h.signal_metric_id
"""


async def _rows(connection: Connection, query: str, parameters: Mapping[str, object]) -> list[Row]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        # A plan for these parameters: one for any would walk the whole register for a state that nobody is in.
        await cursor.execute(query, parameters, prepare=False)
        return await cursor.fetchall()


def _asked(filters: Filters, **more: object) -> dict[str, object]:
    return {**{name: filters.get(name) for name in FILTERS}, **more}


_COUNTS: LiteralString = "".join(
    ("SELECT state, count(*) FROM (SELECT ", _STATE, " AS state ", _FROM, _WHERE, ") e GROUP BY state")
)


async def counts(connection: Connection, filters: Filters) -> dict[str, int]:
    """Devices by state, of those that the filters leave; states that nobody is in are left out."""
    cursor = await connection.execute(_COUNTS, _asked(filters))
    return dict(await cursor.fetchall())


_PAGE: LiteralString = "".join(
    (
        "WITH page AS MATERIALIZED (SELECT d.id ",
        _FROM,
        _WHERE,
        " AND (%(after)s::text IS NULL OR d.code > %(after)s) AND (%(state)s::text IS NULL OR %(state)s = ",
        _STATE,
        ") ORDER BY d.code LIMIT %(limit)s)",
        _SHOWN,
        _FROM,
        _TRENDS,
        "WHERE d.id IN (SELECT id FROM page) ORDER BY d.code",
    )
)
_ONE: LiteralString = "".join((_SHOWN, _FROM, _TRENDS, "WHERE d.code = %(code)s"))


async def page(
    connection: Connection, filters: Filters, *, state: str | None, after: str | None, limit: int
) -> list[Row]:
    """At most ``limit`` devices by code, with the facts that ``judge`` needs, and battery and signal."""
    return await _rows(connection, _PAGE, _asked(filters, state=state, after=after, limit=limit))


async def one(connection: Connection, code: str) -> Row | None:
    """The same for one device, or None."""
    found = await _rows(connection, _ONE, {"code": code})
    return found[0] if found else None


async def metrics(connection: Connection, device_ids: Sequence[int]) -> dict[int, list[Row]]:
    """By device: metric, name, name_en, unit, value, last_at (arrival), every_s, limit_s, blind_since."""
    rows = await _rows(
        connection,
        """
        SELECT dm.device_id, m.code AS metric, m.name, m.name_en, m.unit, dm.value, dm.last_at, dm.every_s, dm.limit_s,
               dm.blind_since
        FROM device_metrics dm JOIN metrics m ON m.id = dm.metric_id WHERE dm.device_id = ANY(%(ids)s)
        ORDER BY dm.device_id, m.code
        """,
        {"ids": list(device_ids)},
    )
    found: dict[int, list[Row]] = {}
    for row in rows:
        found.setdefault(row.pop("device_id"), []).append(row)
    return found


_SILENT_GATEWAYS: LiteralString = "".join(
    (
        "SELECT d.code, coalesce(p.last_heard_at, d.first_heard_at) AS since ",
        _FROM,
        "WHERE d.code = ANY(%(codes)s) AND 'silent' = ",
        _STATE,
    )
)


async def silent_gateways(connection: Connection, codes: Sequence[str]) -> dict[str, Any]:
    """Those of these gateways that are silent themselves, with their last word."""
    rows = await _rows(connection, _SILENT_GATEWAYS, {"codes": list(codes)})
    return {row["code"]: row["since"] for row in rows}


# Judged over all children first; names, own state and uptime only of those shown.
_GATEWAYS: LiteralString = "".join(
    (
        "WITH each_child AS MATERIALIZED (SELECT d.gateway, p.last_heard_at, l.silent_before, ",
        _STATE,
        " AS state ",
        _FROM,
        """
        WHERE d.gateway IS NOT NULL AND d.gateway <> '' AND d.registration <> 'retired'
          AND d.service_state <> 'out_of_service'
        ), family AS (
            SELECT gateway, count(*) AS children,
                   count(*) FILTER (WHERE state = 'silent') AS silent,
                   count(*) FILTER (WHERE state = 'never') AS never,
                   count(*) FILTER (WHERE state = 'late') AS late,
                   count(*) FILTER (WHERE state = 'blind') AS blind,
                   min(last_heard_at) FILTER (WHERE state = 'silent') AS first_silent_at,
                   max(last_heard_at) FILTER (WHERE state = 'silent') AS last_silent_at,
                   max(last_heard_at) AS heard_at
            FROM each_child GROUP BY gateway
        ), own AS (SELECT d.code, d.name, d.model, d.vendor, d.maintainer_unit AS maintainer, c.code AS cell,
                          p.last_heard_at, """,
        _STATE,
        " AS state ",
        _FROM,
        """
        WHERE d.code IN (SELECT gateway FROM family) OR d.kind = 'gateway' AND d.registration <> 'retired')
        SELECT coalesce(f.gateway, o.code) AS code, coalesce(o.name, '') AS name, coalesce(o.model, '') AS model,
               coalesce(o.vendor, '') AS vendor, coalesce(o.maintainer, '') AS maintainer, o.cell,
               o.code IS NOT NULL AS registered, o.state, o.last_heard_at,
               coalesce(f.children, 0) AS children, coalesce(f.silent, 0) AS silent, coalesce(f.never, 0) AS never,
               coalesce(f.late, 0) AS late, coalesce(f.blind, 0) AS blind, f.first_silent_at, f.last_silent_at,
               f.heard_at AS children_heard_at
        FROM family f FULL JOIN own o ON o.code = f.gateway
        ORDER BY coalesce(f.silent, 0) DESC, 1
        """,
    )
)


async def gateways(connection: Connection) -> list[Row]:
    """Every gateway with what its children do, those with most silent children first. ``state`` None: unregistered."""
    return await _rows(connection, _GATEWAYS, {})


_BATTERIES: LiteralString = """
    SELECT d.code, d.name, d.kind, d.model, d.vendor, d.maintainer_unit AS maintainer, c.code AS cell, d.gateway,
           h.battery, h.battery_percent, h.battery_per_day, h.battery_since, h.end_at, h.end_early, h.end_late
    FROM device_health h JOIN devices d ON d.id = h.device_id LEFT JOIN areas c ON c.id = d.cell_id
    WHERE h.end_at IS NOT NULL AND h.end_at <= %(until)s AND d.registration <> 'retired'
      AND d.service_state <> 'out_of_service'
      AND (%(after_end)s::date IS NULL OR (h.end_at, d.code) > (%(after_end)s, %(after_code)s))
      AND (%(kind)s::text IS NULL OR d.kind = %(kind)s) AND (%(model)s::text IS NULL OR d.model = %(model)s)
      AND (%(vendor)s::text IS NULL OR d.vendor = %(vendor)s)
      AND (%(maintainer)s::text IS NULL OR d.maintainer_unit = %(maintainer)s)
      AND (%(cell)s::text IS NULL OR c.code = %(cell)s)
      AND (%(gateway)s::text IS NULL OR d.gateway = %(gateway)s)
    ORDER BY h.end_at, d.code LIMIT %(limit)s
"""
_BATTERY_COUNTS: LiteralString = """
    SELECT h.battery, count(*) FROM device_health h JOIN devices d ON d.id = h.device_id
    WHERE h.battery IS NOT NULL AND d.registration <> 'retired' AND d.service_state <> 'out_of_service' GROUP BY 1
"""


async def batteries(
    connection: Connection,
    filters: Filters,
    *,
    until: date,
    after: tuple[date, str] | None,
    limit: int,
) -> list[Row]:
    """Batteries whose end is expected up to ``until``, the next first."""
    asked = _asked(filters, until=until, limit=limit)
    return await _rows(
        connection,
        _BATTERIES,
        {**asked, "after_end": after[0] if after else None, "after_code": after[1] if after else ""},
    )


async def battery_counts(connection: Connection) -> dict[str, int]:
    """Devices by what is known of their batteries."""
    cursor = await connection.execute(_BATTERY_COUNTS)
    return dict(await cursor.fetchall())
