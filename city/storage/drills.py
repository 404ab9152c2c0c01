"""Drills: which devices are in exercise until when, and what their end leaves; asynchronous.

Ingest asks this table in the statement that raises an alarm (``city.storage.transitions``), by event time: a late
alarm from before the drill is real.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from city.storage import audit, changes

Connection = AsyncConnection[Any]
Row = dict[str, Any]


async def drill_active(connection: Connection) -> list[Row]:
    """Drills that run now: id, name, scenario, opened_at, until, devices (how many). Empty = none."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT d.id, d.name, d.scenario, d.opened_at, d.until,
                   (SELECT count(*) FROM drill_devices WHERE drill_id = d.id) AS devices
            FROM drills d WHERE d.ended_at IS NULL AND d.opened_at <= now() AND d.until > now() ORDER BY d.id
            """
        )
        return await cursor.fetchall()


async def find_devices(connection: Connection, codes: Sequence[str], areas: Sequence[str]) -> list[int]:
    """Ids of these devices, and of all that stand in these areas (cells, or what cells lie in); retired ones never."""
    cursor = await connection.execute(
        """
        WITH RECURSIVE ground AS (
            SELECT id FROM areas WHERE code = ANY(%(areas)s) AND valid_to IS NULL
            UNION SELECT a.id FROM areas a JOIN ground g ON a.parent_id = g.id WHERE a.valid_to IS NULL
        )
        SELECT id FROM devices WHERE registration <> 'retired'
            AND (code = ANY(%(codes)s) OR cell_id IN (SELECT id FROM ground)) ORDER BY id
        """,
        {"codes": list(codes), "areas": list(areas)},
    )
    return [row[0] for row in await cursor.fetchall()]


async def unknown(connection: Connection, codes: Sequence[str], areas: Sequence[str]) -> list[str]:
    """Which of these codes of devices and areas are not known."""
    cursor = await connection.execute(
        """
        SELECT code FROM unnest(%(codes)s::text[]) AS code
        WHERE NOT EXISTS (SELECT FROM devices d WHERE d.code = code.code AND d.registration <> 'retired')
        UNION SELECT area FROM unnest(%(areas)s::text[]) AS area
        WHERE NOT EXISTS (SELECT FROM areas a WHERE a.code = area.area AND a.valid_to IS NULL)
        ORDER BY 1
        """,
        {"codes": list(codes), "areas": list(areas)},
    )
    return [row[0] for row in await cursor.fetchall()]


async def insert(
    connection: Connection,
    *,
    name: str,
    scenario: str,
    reason: str,
    actor: str,
    now: datetime,
    until: datetime,
    devices: Sequence[int],
) -> int:
    """A running drill over these devices, on the record; its id."""
    cursor = await connection.execute(
        "INSERT INTO drills (name, scenario, reason, opened_at, opened_by, until)"
        " VALUES (%s, %s, %s, %s, %s, %s) RETURNING id",
        (name, scenario, reason, now, actor, until),
    )
    row = await cursor.fetchone()
    drill_id = int(row[0]) if row else 0
    await connection.execute(
        "INSERT INTO drill_devices (drill_id, device_id) SELECT %s, id FROM unnest(%s::int[]) AS id",
        (drill_id, list(devices)),
    )
    detail = {"name": name, "scenario": scenario, "until": until.isoformat(), "devices": len(devices)}
    await _audit(connection, "drill.opened", drill_id, actor, reason, now, detail)
    await changes.append(connection, [("drill.opened", str(drill_id))])
    return drill_id


async def _audit(
    connection: Connection,
    action: str,
    drill_id: int,
    actor: str,
    reason: str,
    now: datetime,
    detail: dict[str, object],
) -> None:
    await audit.record(
        connection, actor=actor, action=action, subject=str(drill_id), reason=reason, detail=detail, at=now
    )


# ── the end ──────────────────────────────────────────────────────────────────────────────────────────


async def end(connection: Connection, drill_id: int, *, actor: str, reason: str, now: datetime) -> bool:
    """End a running drill; False when it has ended already, or there is none."""
    cursor = await connection.execute(
        "UPDATE drills SET ended_at = greatest(least(until, %(now)s), opened_at), ended_by = %(actor)s,"
        " end_reason = %(reason)s WHERE id = %(id)s AND ended_at IS NULL",
        {"id": drill_id, "now": now, "actor": actor, "reason": reason},
    )
    if not cursor.rowcount:
        return False
    await _audit(connection, "drill.ended", drill_id, actor, reason, now, {})
    await changes.append(connection, [("drill.ended", str(drill_id))])
    return True


async def due(connection: Connection, now: datetime) -> list[int]:
    """Running drills whose time is over; what another centre ends is left to it."""
    cursor = await connection.execute(
        "SELECT id FROM drills WHERE ended_at IS NULL AND until <= %s ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",
        (now,),
    )
    return [row[0] for row in await cursor.fetchall()]


async def close_alarms(connection: Connection, now: datetime) -> int:
    """Clear what still stands of drills that have ended, late arrivals included; each is watched afterwards."""
    cursor = await connection.execute(
        """
        WITH standing AS (
            SELECT a.id, d.ended_at, d.id AS drill FROM alarms a JOIN drills d ON d.id = a.drill_id
            WHERE a.cleared_at IS NULL AND a.drill_id IS NOT NULL AND d.ended_at IS NOT NULL
            ORDER BY a.id FOR NO KEY UPDATE OF a SKIP LOCKED
        ), closed AS (
            UPDATE alarms a SET cleared_at = greatest(s.ended_at, a.raised_at),
                evidence = a.evidence || jsonb_build_object('cleared',
                    jsonb_build_object('reason', 'the drill ended', 'drill', s.drill)),
                triage = CASE WHEN a.triage = 'done' THEN 'done' ELSE 'recorded' END
            FROM standing s WHERE a.id = s.id RETURNING a.id, a.cleared_at
        ), noted AS (
            INSERT INTO alarm_events (alarm_id, at, kind, reason)
            SELECT id, cleared_at, 'cleared', 'the drill ended' FROM closed
        ), watched AS (
            INSERT INTO drill_leftovers (alarm_id, ended_at) SELECT id, %(now)s FROM closed ON CONFLICT DO NOTHING
        )
        INSERT INTO changes (kind, object) SELECT 'alarm.cleared', id::text FROM closed
        """,
        {"now": now},
    )
    return cursor.rowcount


async def incidents_left(connection: Connection) -> list[int]:
    """Open exercise incidents with an alarm of a drill that has ended and none of one that runs, by id."""
    cursor = await connection.execute(
        """
        SELECT i.id FROM incidents i
        WHERE i.closed_at IS NULL AND i.exercise
          AND EXISTS (SELECT FROM alarms a JOIN drills d ON d.id = a.drill_id
                      WHERE a.incident_id = i.id AND d.ended_at IS NOT NULL)
          AND NOT EXISTS (SELECT FROM alarms a JOIN drills d ON d.id = a.drill_id
                          WHERE a.incident_id = i.id AND d.ended_at IS NULL)
        ORDER BY i.id
        """
    )
    return [row[0] for row in await cursor.fetchall()]


async def raise_what_is_real(connection: Connection, now: datetime, patience: timedelta) -> list[int]:
    """New alarms for what goes on after a drill; their ids.

    A closed alarm's rule may still hold the condition for standing, and then nothing would raise it again. Real is
    what the device has said since the end while it is beyond the limit in the rule's eyes (not in its deadband, not in
    its off-delay); of a silence, that it stands ``patience`` later. When the rule's state has ended the watch ends,
    too; nothing said for a day ends it as well.
    """
    cursor = await connection.execute(
        """
        WITH watched AS (
            SELECT l.alarm_id, l.ended_at, a.rule_id, a.device_id, a.metric_id, r.state ? 'heard_us' AS silence,
                   coalesce((r.state ->> 'raised_us')::numeric, 0) > 0 AS stands,
                   to_timestamp(coalesce((r.state ->> 'last_us')::numeric, 0) / 1e6) AS seen_at,
                   CASE WHEN r.state ? 'steps' THEN EXISTS (
                            SELECT FROM jsonb_array_elements(r.state -> 'steps') step
                            WHERE step ->> 'phase' = 'standing' AND coalesce((step ->> 'over')::boolean, true))
                        WHEN r.state ? 'phase' THEN
                            r.state ->> 'phase' = 'standing' AND coalesce((r.state ->> 'over')::boolean, true)
                        ELSE true END AS beyond
            FROM drill_leftovers l JOIN alarms a ON a.id = l.alarm_id
            LEFT JOIN rule_states r ON r.rule_id = a.rule_id AND r.device_id = a.device_id
            FOR NO KEY UPDATE OF l SKIP LOCKED
        ), judged AS (
            SELECT w.*, w.stands AND CASE
                WHEN w.silence THEN %(now)s > w.ended_at + %(patience)s
                WHEN w.metric_id IS NULL THEN w.seen_at > w.ended_at
                ELSE w.beyond AND EXISTS (SELECT FROM observations o WHERE o.device_id = w.device_id
                             AND o.metric_id = w.metric_id AND o.observed_at > w.ended_at) END AS is_real
            FROM watched w
        ), forgotten AS (
            DELETE FROM drill_leftovers l USING judged j
            WHERE l.alarm_id = j.alarm_id AND (NOT j.stands OR j.is_real OR j.ended_at < %(now)s - interval '1 day')
        ), raised AS (
            INSERT INTO alarms (rule_id, rule_version, device_id, cell_id, metric_id, category, level, class,
                                raised_at, evidence)
            SELECT a.rule_id, a.rule_version, a.device_id, a.cell_id, a.metric_id, a.category, a.level, a.class,
                   j.ended_at, (a.evidence - 'cleared') || jsonb_build_object('after_drill', a.drill_id)
            FROM judged j JOIN alarms a ON a.id = j.alarm_id WHERE j.is_real
            ON CONFLICT (rule_id, device_id, cell_id, metric_id) WHERE cleared_at IS NULL DO NOTHING
            RETURNING id, raised_at, evidence
        ), noted AS (
            INSERT INTO alarm_events (alarm_id, at, kind, reason, evidence)
            SELECT id, raised_at, 'raised', 'it goes on after the drill', evidence FROM raised
        ), told AS (
            INSERT INTO changes (kind, object) SELECT 'alarm.raised', id::text FROM raised
        )
        SELECT id FROM raised
        """,
        {"now": now, "patience": patience},
    )
    return [row[0] for row in await cursor.fetchall()]


# ── what people read ─────────────────────────────────────────────────────────────────────────────────

_VIEW = """
    SELECT d.id, d.name, d.scenario, d.reason, d.opened_at,
           coalesce(nullif(u.display_name, ''), u.name, d.opened_by) AS opened_by, d.until, d.ended_at, d.end_reason,
           coalesce(nullif(e.display_name, ''), e.name, d.ended_by) AS ended_by,
           d.ended_at IS NULL AND d.until > %(now)s AS running,
           (SELECT count(*) FROM drill_devices m WHERE m.drill_id = d.id) AS devices,
           coalesce(said.alarms, 0) AS alarms, coalesce(said.standing, 0) AS standing_alarms,
           coalesce(said.incidents, '{}') AS incidents
    FROM drills d
    LEFT JOIN users u ON d.opened_by = 'user:' || u.id
    LEFT JOIN users e ON d.ended_by = 'user:' || e.id
    LEFT JOIN LATERAL (
        SELECT count(*) AS alarms, count(*) FILTER (WHERE a.cleared_at IS NULL) AS standing,
               array_agg(DISTINCT a.incident_id) FILTER (WHERE a.incident_id IS NOT NULL) AS incidents
        FROM alarms a WHERE a.drill_id = d.id
    ) said ON true
"""


async def get(connection: Connection, drill_id: int, now: datetime) -> Row | None:
    """One drill with how many devices and alarms it has, and its incidents' ids; None when there is none."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_VIEW + " WHERE d.id = %(id)s", {"id": drill_id, "now": now})
        return await cursor.fetchone()


async def page(
    connection: Connection, now: datetime, *, running: bool | None, before: int | None, limit: int
) -> list[Row]:
    """Drills as ``get`` gives them, newest first, those with an id below ``before``; ``running`` None is all."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            _VIEW
            + """
            WHERE (%(running)s::boolean IS NULL OR (d.ended_at IS NULL AND d.until > %(now)s) = %(running)s)
              AND (%(before)s::int IS NULL OR d.id < %(before)s)
            ORDER BY d.id DESC LIMIT %(limit)s
            """,
            {"now": now, "running": running, "before": before, "limit": limit},
        )
        return await cursor.fetchall()


async def standing_real(connection: Connection, drill_id: int, limit: int) -> list[Row]:
    """Real alarms that stand on the drill's devices: id, device, rule. They stay real."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT a.id, d.code AS device, a.rule_id AS rule FROM drill_devices m
            JOIN alarms a ON a.device_id = m.device_id JOIN devices d ON d.id = a.device_id
            WHERE m.drill_id = %s AND a.cleared_at IS NULL AND NOT a.exercise ORDER BY a.id LIMIT %s
            """,
            (drill_id, limit),
        )
        return await cursor.fetchall()
