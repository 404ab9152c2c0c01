"""Alarms about devices that no rule can see: raised and cleared from what the device health loop found; asynchronous.

Part of the caller's transaction. Each statement raises what is due and does not stand, and clears what stands and is
over; the schema allows one standing alarm for each device and metric.
"""

from datetime import date, datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection

from city.storage import changes

Connection = AsyncConnection[Any]

_RAISE: LiteralString = """
    , raised AS (
        INSERT INTO alarms (rule_id, rule_version, device_id, cell_id, metric_id, category, level, class, raised_at,
                            evidence)
        SELECT %(rule)s, 1, w.device_id, d.cell_id, w.metric_id, %(category)s, 'blue', 'C', %(now)s, w.evidence
        FROM wanted w JOIN devices d ON d.id = w.device_id
        WHERE d.registration <> 'retired' AND d.service_state <> 'out_of_service'
          AND NOT EXISTS (SELECT FROM alarms a WHERE a.rule_id = %(rule)s AND a.device_id = w.device_id
                          AND a.metric_id IS NOT DISTINCT FROM w.metric_id AND a.cleared_at IS NULL)
        ORDER BY w.device_id
        ON CONFLICT (rule_id, device_id, cell_id, metric_id) WHERE cleared_at IS NULL DO NOTHING
        RETURNING id, evidence
    )
    INSERT INTO alarm_events (alarm_id, at, kind, evidence)
    SELECT id, %(now)s, 'raised', evidence FROM raised RETURNING alarm_id
"""
_CLEAR: LiteralString = """
    , over AS (
        UPDATE alarms a SET cleared_at = greatest(%(now)s, a.raised_at)
        WHERE a.rule_id = %(rule)s AND a.cleared_at IS NULL AND a.device_id IS NOT NULL
          AND NOT EXISTS (SELECT FROM wanted w WHERE w.device_id = a.device_id
                          AND w.metric_id IS NOT DISTINCT FROM a.metric_id)
        RETURNING a.id
    )
    INSERT INTO alarm_events (alarm_id, at, kind) SELECT id, %(now)s, 'cleared' FROM over RETURNING alarm_id
"""
_BLIND: LiteralString = """
    WITH wanted AS MATERIALIZED (
        SELECT dm.device_id, dm.metric_id,
               jsonb_build_object('metric', m.code, 'last_at', dm.blind_since, 'limit_s', round(dm.limit_s),
                                  'value', dm.value) AS evidence
        FROM device_metrics dm JOIN metrics m ON m.id = dm.metric_id WHERE dm.blind_since IS NOT NULL
    )
"""
_BATTERIES: LiteralString = """
    WITH wanted AS MATERIALIZED (
        SELECT h.device_id, NULL::smallint AS metric_id,
               jsonb_build_object('value', h.battery_percent, 'per_day', h.battery_per_day, 'end', h.end_at,
                                  'end_early', h.end_early, 'end_late', h.end_late) AS evidence
        FROM device_health h WHERE h.end_at <= %(until)s
    )
"""


async def blind(connection: Connection, rule: str, category: str, now: datetime) -> tuple[int, int]:
    """One alarm for each blind metric of a device; (raised, cleared)."""
    return await _both(connection, _BLIND, {"rule": rule, "category": category, "now": now})


async def batteries(
    connection: Connection, rule: str, category: str, now: datetime, *, until: date
) -> tuple[int, int]:
    """One alarm for each device whose battery ends up to ``until``; (raised, cleared)."""
    asked = {"rule": rule, "category": category, "now": now, "until": until}
    return await _both(connection, _BATTERIES, asked)


async def _both(connection: Connection, wanted: LiteralString, asked: dict[str, object]) -> tuple[int, int]:
    cursor = await connection.execute("".join((wanted, _CLEAR)), asked)
    cleared = [row[0] for row in await cursor.fetchall()]
    raise_now: LiteralString = "".join((wanted, _RAISE))
    cursor = await connection.execute(raise_now, asked)
    raised = [row[0] for row in await cursor.fetchall()]
    happened = [("alarm.cleared", str(one)) for one in cleared] + [
        ("alarm.raised", str(one)) for one in raised
    ]
    await changes.append(connection, happened)
    return len(raised), len(cleared)
