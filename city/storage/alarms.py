"""Alarms on their way through triage, and as people list them; asynchronous. Ingest writes them elsewhere."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from city.storage import changes

Connection = AsyncConnection[Any]
Row = dict[str, Any]

# First numbers of our advisory locks; the second is an area's id or the hash of a name.
_GROUND, _GATEWAY, _NOWHERE = 7235_01, 7235_02, 7235_03


async def claim(connection: Connection, now: datetime, limit: int) -> list[Row]:
    """Lock up to ``limit`` alarms that wait for triage, the most urgent first, with what is known of their devices.

    Those another centre holds are skipped. A service state that has ended counts as in service.
    """
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT a.id, a.rule_id, a.category, a.class, a.raised_at, a.cleared_at, a.late, a.exercise,
                   a.device_id, coalesce(d.code, '') AS device_code, coalesce(d.kind, '') AS kind, d.gateway,
                   coalesce(d.registration = 'unclaimed', false) AS unclaimed,
                   CASE WHEN d.id IS NULL OR d.service_until <= %(now)s THEN 'in_service'
                        ELSE d.service_state END AS service_state,
                   a.cell_id, coalesce(c.code, '') AS cell_code, d.longitude, d.latitude,
                   ARRAY(SELECT neighbour_id FROM area_neighbours n WHERE n.area_id = a.cell_id) AS neighbours
            FROM alarms a
            LEFT JOIN devices d ON d.id = a.device_id
            LEFT JOIN areas c ON c.id = a.cell_id
            LEFT JOIN categories g ON g.code = a.category
            WHERE a.triage = 'new' AND a.page_after <= %(now)s
            ORDER BY coalesce(a.class, g.class, 'B'), a.raised_at, a.id
            LIMIT %(limit)s FOR NO KEY UPDATE OF a SKIP LOCKED
            """,
            {"now": now, "limit": limit},
        )
        return await cursor.fetchall()


async def lock_ground(
    connection: Connection, cells: Sequence[int], gateways: Sequence[str], *, nowhere: bool
) -> None:
    """Lock the communities of these cells, and these gateways, until the transaction ends.

    Two centres that look at the same ground, or at both sides of a border, do so one after the other. Taken
    in one order, so that they cannot wait for each other in a circle.
    """
    await connection.execute(
        """
        SELECT pg_advisory_xact_lock(class, key) FROM (
            SELECT DISTINCT %(ground)s::int AS class, coalesce(parent_id, id) AS key
            FROM areas WHERE id = ANY(%(cells)s)
            UNION SELECT %(gateway)s::int, hashtext(name) FROM unnest(%(gateways)s::text[]) AS name
            UNION SELECT %(nowhere_class)s::int, 0 WHERE %(nowhere)s
            ORDER BY 1, 2 OFFSET 0
        ) AS wanted
        """,
        {
            "ground": _GROUND,
            "gateway": _GATEWAY,
            "nowhere_class": _NOWHERE,
            "cells": list(cells),
            "gateways": list(gateways),
            "nowhere": nowhere,
        },
    )


async def mark(connection: Connection, verdicts: Sequence[tuple[str, int | None, int]]) -> None:
    """(triage state, incident or None, alarm id) of claimed alarms."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "UPDATE alarms SET triage = %s, incident_id = coalesce(%s, incident_id) WHERE id = %s", verdicts
        )


async def release_held(connection: Connection, now: datetime) -> int:
    """Alarms whose device is back in service go to triage when they still stand, else to history."""
    cursor = await connection.execute(
        """
        WITH back AS (
            SELECT a.id FROM alarms a LEFT JOIN devices d ON d.id = a.device_id
            WHERE a.triage = 'held'
              AND (a.cleared_at IS NOT NULL OR d.id IS NULL OR d.service_until <= %(now)s
                   OR d.service_state NOT IN ('under_test', 'shelved'))
            ORDER BY a.id FOR NO KEY UPDATE OF a SKIP LOCKED
        )
        UPDATE alarms SET triage = CASE WHEN cleared_at IS NULL THEN 'new' ELSE 'recorded' END
        FROM back WHERE alarms.id = back.id
        """,
        {"now": now},
    )
    return cursor.rowcount


async def acknowledge_of_incident(
    connection: Connection, incident_id: int, actor: str, now: datetime
) -> None:
    """Acknowledge what is unacknowledged among the incident's alarms."""
    await connection.execute(
        "UPDATE alarms SET acknowledged_at = %s, acknowledged_by = %s"
        " WHERE incident_id = %s AND acknowledged_at IS NULL",
        (now, actor, incident_id),
    )


async def lock_of_incident(connection: Connection, incident_id: int) -> None:
    """Lock the incident's alarms, before the incident itself (lock order: city.storage.incidents)."""
    await connection.execute(
        "SELECT id FROM alarms WHERE incident_id = %s AND acknowledged_at IS NULL"
        " ORDER BY id FOR NO KEY UPDATE",
        (incident_id,),
    )


async def standing(connection: Connection, incident_id: int) -> int:
    """How many of the incident's alarms are not cleared."""
    cursor = await connection.execute(
        "SELECT count(*) FROM alarms WHERE incident_id = %s AND cleared_at IS NULL", (incident_id,)
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def acknowledge(connection: Connection, alarm_id: int, actor: str, now: datetime) -> Row | None:
    """Acknowledge one alarm, the first time counts; returns it as ``page`` does, None when there is none."""
    cursor = await connection.execute(
        "UPDATE alarms SET acknowledged_at = %s, acknowledged_by = %s"
        " WHERE id = %s AND acknowledged_at IS NULL",
        (now, actor, alarm_id),
    )
    if cursor.rowcount:
        await changes.append(connection, [("alarm.acknowledged", str(alarm_id))])
    async with connection.cursor(row_factory=dict_row) as reading:
        await reading.execute(_VIEW + " WHERE a.id = %s", (alarm_id,))
        return await reading.fetchone()


_VIEW = """
    SELECT a.id, a.rule_id AS rule, a.rule_version, d.code AS device, c.code AS cell, m.code AS metric,
           a.category, a.level, coalesce(a.class, g.class) AS class, a.raised_at, a.cleared_at, a.late,
           a.repeats, a.evidence, a.acknowledged_at, a.acknowledged_by, a.triage,
           a.incident_id AS incident, a.exercise,
           coalesce(d.registration = 'unclaimed', false) AS unclaimed
    FROM alarms a
    LEFT JOIN devices d ON d.id = a.device_id
    LEFT JOIN areas c ON c.id = a.cell_id
    LEFT JOIN metrics m ON m.id = a.metric_id
    LEFT JOIN categories g ON g.code = a.category
"""


async def page(
    connection: Connection,
    *,
    state: str = "all",
    incident: int | None = None,
    device: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Row]:
    """Alarms newest id first, those with an id below ``before``; ``state`` is open, cleared or all."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            _VIEW
            + """
            WHERE (%(state)s = 'all' OR (a.cleared_at IS NULL) = (%(state)s = 'open'))
              AND (%(incident)s::bigint IS NULL OR a.incident_id = %(incident)s)
              AND (%(device)s::text IS NULL OR d.code = %(device)s)
              AND (%(before)s::bigint IS NULL OR a.id < %(before)s)
            ORDER BY a.id DESC LIMIT %(limit)s
            """,
            {"state": state, "incident": incident, "device": device, "before": before, "limit": limit},
        )
        return await cursor.fetchall()
