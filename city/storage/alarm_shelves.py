"""The shelf: a rule on a device that a person silenced for a while; asynchronous.

Lock order: shelf, then alarms, then incidents. What a shelf holds is held and released by ``city.storage.alarms``.
"""

from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from city import tracing
from city.storage import changes

Connection = AsyncConnection[Any]
Row = dict[str, Any]


async def put(
    connection: Connection, alarm_id: int, *, until: datetime, reason: str, actor: str, now: datetime
) -> bool:
    """Shelve the rule of this alarm on its device, up to its present level; False when it is on the shelf already."""
    cursor = await connection.execute(
        """
        INSERT INTO alarm_shelves (rule_id, device_id, alarm_id, level, shelved_at, shelved_by, until, reason)
        SELECT rule_id, device_id, id, level, %(now)s, %(actor)s, %(until)s, %(reason)s FROM alarms WHERE id = %(id)s
        ON CONFLICT (rule_id, device_id) WHERE ended_at IS NULL DO UPDATE
            SET alarm_id = excluded.alarm_id, level = excluded.level, shelved_at = excluded.shelved_at,
                shelved_by = excluded.shelved_by, until = excluded.until, reason = excluded.reason
            WHERE level_rank(excluded.level) > level_rank(alarm_shelves.level)
        """,
        {"id": alarm_id, "until": until, "reason": reason, "actor": actor, "now": now},
    )
    if not cursor.rowcount:
        return False
    await _note(connection, [alarm_id], "shelved", actor, reason, now, {"until": until.isoformat()})
    await _audit(connection, "alarm.shelved", alarm_id, actor, reason, now, {"until": until.isoformat()})
    return True


async def take_off(connection: Connection, alarm_id: int, *, actor: str, reason: str, now: datetime) -> bool:
    """End the shelf over this alarm's rule and device; False when there is none."""
    cursor = await connection.execute(
        """
        UPDATE alarm_shelves s SET ended_at = %(now)s, ended_by = %(actor)s, end_reason = %(reason)s
        FROM alarms a WHERE a.id = %(id)s AND s.rule_id = a.rule_id AND s.device_id = a.device_id
            AND s.ended_at IS NULL AND s.until > %(now)s
        RETURNING s.rule_id, s.device_id, s.alarm_id
        """,
        {"id": alarm_id, "actor": actor, "reason": reason, "now": now},
    )
    row = await cursor.fetchone()
    if row is None:
        return False
    await _ended(connection, row, actor, reason, now)
    return True


async def end_due(connection: Connection, now: datetime) -> int:
    """End every shelf whose time is over; returns how many."""
    cursor = await connection.execute(
        """
        WITH due AS (
            SELECT id FROM alarm_shelves WHERE ended_at IS NULL AND until <= %(now)s
            ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE alarm_shelves s SET ended_at = s.until, ended_by = 'system', end_reason = 'its time had ended'
        FROM due WHERE s.id = due.id RETURNING s.rule_id, s.device_id, s.alarm_id
        """,
        {"now": now},
    )
    ended = await cursor.fetchall()
    for row in ended:
        await _ended(connection, row, "system", "its time had ended", now)
    return len(ended)


async def _ended(
    connection: Connection, row: tuple[Any, ...], actor: str, reason: str, now: datetime
) -> None:
    """On the record of the alarm it was asked for and of those that stand under it."""
    rule_id, device_id, alarm_id = row
    cursor = await connection.execute(
        "SELECT id FROM alarms WHERE rule_id = %s AND device_id = %s AND cleared_at IS NULL",
        (rule_id, device_id),
    )
    under_it = sorted({alarm_id, *(one[0] for one in await cursor.fetchall())})
    await _note(connection, under_it, "unshelved", actor, reason, now, {})
    await _audit(connection, "alarm.unshelved", alarm_id, actor, reason, now, {})


async def _note(
    connection: Connection,
    alarm_ids: list[int],
    kind: str,
    actor: str,
    reason: str,
    now: datetime,
    evidence: dict[str, object],
) -> None:
    await connection.execute(
        "INSERT INTO alarm_events (alarm_id, at, kind, actor, reason, evidence)"
        " SELECT id, %s, %s, %s, %s, %s FROM unnest(%s::bigint[]) AS id",
        (now, kind, actor, reason, Jsonb(evidence), alarm_ids),
    )
    await changes.append(connection, [(f"alarm.{kind}", str(alarm_id)) for alarm_id in alarm_ids])


async def _audit(
    connection: Connection,
    action: str,
    alarm_id: int,
    actor: str,
    reason: str,
    now: datetime,
    detail: dict[str, object],
) -> None:
    await connection.execute(
        """
        INSERT INTO audit (at, actor, action, object, reason, detail, request)
        SELECT %s, %s, %s, a.id::text, %s, %s || jsonb_build_object('rule', a.rule_id, 'device', d.code), %s
        FROM alarms a LEFT JOIN devices d ON d.id = a.device_id WHERE a.id = %s
        """,
        (now, actor, action, reason, Jsonb(detail), tracing.request_id.get(), alarm_id),
    )


async def page(
    connection: Connection, now: datetime, *, after: tuple[datetime | None, str] | None, limit: int
) -> list[Row]:
    """What is silent now because a person said so, the first to end first: alarms on the shelf, and whole devices.

    ``scope`` alarm or device; ``state`` as alarms have it while it lasts; ``held`` alarms stand under it. Devices
    out of service have no end and come last. ``after`` is (until or None, key) of the row before.
    """
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT * FROM (
                SELECT 'alarm' AS scope, 'alarm:' || s.id AS key, 'SHLVD' AS state, s.alarm_id AS alarm,
                       s.rule_id AS rule, d.code AS device, c.code AS cell, s.shelved_at, s.until, s.reason,
                       coalesce(nullif(u.display_name, ''), u.name, s.shelved_by) AS by,
                       (SELECT count(*) FROM alarms a WHERE a.rule_id = s.rule_id AND a.device_id = s.device_id
                            AND a.cleared_at IS NULL AND level_rank(a.level) <= level_rank(s.level)) AS held
                FROM alarm_shelves s JOIN devices d ON d.id = s.device_id LEFT JOIN areas c ON c.id = d.cell_id
                LEFT JOIN users u ON s.shelved_by = 'user:' || u.id
                WHERE s.ended_at IS NULL AND s.until > %(now)s
                UNION ALL
                SELECT 'device', 'device:' || d.code,
                       CASE d.service_state WHEN 'shelved' THEN 'SHLVD' ELSE 'OOSRV' END, NULL, NULL,
                       d.code, c.code, NULL, d.service_until, d.service_reason,
                       coalesce(nullif(u.display_name, ''), u.name, d.service_by),
                       (SELECT count(*) FROM alarms a WHERE a.device_id = d.id AND a.cleared_at IS NULL)
                FROM devices d LEFT JOIN areas c ON c.id = d.cell_id
                LEFT JOIN users u ON d.service_by = 'user:' || u.id
                WHERE d.service_state <> 'in_service' AND (d.service_until IS NULL OR d.service_until > %(now)s)
            ) silent
            WHERE %(until)s::timestamptz IS NULL OR (coalesce(until, 'infinity'), key) > (%(until)s, %(key)s::text)
            ORDER BY coalesce(until, 'infinity'), key LIMIT %(limit)s
            """,
            {
                "now": now,
                "until": (after[0] or "infinity") if after else None,
                "key": after[1] if after else None,
                "limit": limit,
            },
        )
        return await cursor.fetchall()
