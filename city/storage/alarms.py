"""Alarms on their way through triage, and as people list them; asynchronous. Ingest writes them elsewhere."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from city.storage import changes
from city.storage.conditions import given

Connection = AsyncConnection[Any]
Row = dict[str, Any]

# First numbers of our advisory locks; the second is an area's id or the hash of a name.
_GROUND, _GATEWAY, _NOWHERE = 7235_01, 7235_02, 7235_03

FIRST_OUT_WINDOW = timedelta(minutes=10)  # the interval in which ISA-18.2 counts an alarm flood


async def claim(connection: Connection, now: datetime, limit: int) -> list[Row]:
    """Lock up to ``limit`` alarms that wait for triage, the most urgent first, with what is known of their devices.

    Those another centre holds are skipped. A service state or a shelf that has ended counts as none. One with an
    ``incident`` is looked at again: its level rose, or it came back from being silent.
    """
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT a.id, a.rule_id, a.category, a.class, a.level, a.raised_at, a.cleared_at, a.late, a.exercise,
                   a.device_id, coalesce(d.code, '') AS device_code, coalesce(d.kind, '') AS kind, d.gateway,
                   coalesce(d.maintainer_unit, '') AS maintainer,
                   coalesce(d.registration = 'unclaimed', false) AS unclaimed,
                   CASE WHEN d.id IS NULL OR d.service_until <= %(now)s THEN 'in_service'
                        ELSE d.service_state END AS service_state,
                   EXISTS (SELECT FROM alarm_shelves s WHERE s.rule_id = a.rule_id AND s.device_id = a.device_id
                           AND s.ended_at IS NULL AND s.until > %(now)s
                           AND level_rank(a.level) <= level_rank(s.level)) AS shelved,
                   a.cell_id, coalesce(c.code, '') AS cell_code, d.longitude, d.latitude, a.incident_id,
                   EXISTS (SELECT FROM devices n WHERE n.code = d.gateway AND n.kind = 'district_node'
                           AND n.registration = 'registered') AS decided_below,
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


async def mark(
    connection: Connection, verdicts: Sequence[tuple[str, int | None, int, str]], now: datetime
) -> None:
    """(triage state, incident or None, alarm id, why) of claimed alarms; who is held is noted with the reason."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            """
            WITH marked AS (
                UPDATE alarms SET triage = %(state)s, incident_id = coalesce(%(incident)s, incident_id)
                WHERE id = %(id)s RETURNING id
            )
            INSERT INTO alarm_events (alarm_id, at, kind, reason)
            SELECT id, %(now)s, 'held', %(why)s FROM marked WHERE %(state)s::text = 'held'
            """,
            [
                {"state": state, "incident": incident, "id": alarm_id, "why": why, "now": now}
                for state, incident, alarm_id, why in verdicts
            ],
        )


# Why an alarm is silent for the sake of its device or its shelf; null = it is not. Needs a, d and now.
_SILENT = """
    CASE WHEN d.service_state <> 'in_service' AND (d.service_until IS NULL OR d.service_until > %(now)s)
             THEN d.service_state
         WHEN EXISTS (SELECT FROM alarm_shelves s WHERE s.rule_id = a.rule_id AND s.device_id = a.device_id
                      AND s.ended_at IS NULL AND s.until > %(now)s
                      AND level_rank(a.level) <= level_rank(s.level)) THEN 'shelf' END
"""


_HOLD = "".join(
    (
        "WITH silent AS (SELECT a.id, ",
        _SILENT,
        " AS why FROM alarms a JOIN devices d ON d.id = a.device_id"
        " WHERE a.cleared_at IS NULL AND a.triage = 'done' AND (",
        _SILENT,
        """) IS NOT NULL ORDER BY a.id FOR NO KEY UPDATE OF a SKIP LOCKED
        ), held AS (
            UPDATE alarms SET triage = 'held' FROM silent WHERE alarms.id = silent.id RETURNING alarms.id, why
        )
        INSERT INTO alarm_events (alarm_id, at, kind, reason) SELECT id, %(now)s, 'held', why FROM held
        """,
    )
)
_RELEASE = "".join(
    (
        """
        WITH back AS (
            SELECT a.id FROM alarms a LEFT JOIN devices d ON d.id = a.device_id
            WHERE a.triage = 'held' AND (a.cleared_at IS NOT NULL OR (""",
        _SILENT,
        """) IS NULL) ORDER BY a.id FOR NO KEY UPDATE OF a SKIP LOCKED
        ), released AS (
            UPDATE alarms SET triage = CASE WHEN cleared_at IS NULL THEN 'new' ELSE 'recorded' END,
                acknowledged_at = CASE WHEN cleared_at IS NOT NULL THEN acknowledged_at END,
                acknowledged_by = CASE WHEN cleared_at IS NOT NULL THEN acknowledged_by END
            FROM back WHERE alarms.id = back.id RETURNING alarms.id, triage
        ), told AS (
            INSERT INTO changes (kind, object) SELECT 'alarm.released', id::text FROM released WHERE triage = 'new'
        )
        INSERT INTO alarm_events (alarm_id, at, kind) SELECT id, %(now)s, 'released' FROM released
        """,
    )
)


async def hold_silent(connection: Connection, now: datetime) -> int:
    """Alarms that had been triaged and whose device or rule a person silenced since: held until that ends."""
    return (await connection.execute(_HOLD, {"now": now})).rowcount


async def release_held(connection: Connection, now: datetime) -> int:
    """Alarms no longer silenced go to triage when they still stand, unacknowledged, else to history."""
    return (await connection.execute(_RELEASE, {"now": now})).rowcount


async def acknowledge_of_incident(
    connection: Connection, incident_id: int, actor: str, now: datetime
) -> None:
    """Acknowledge what is unacknowledged among the incident's alarms."""
    await connection.execute(
        """
        WITH acknowledged AS (
            UPDATE alarms SET acknowledged_at = %(now)s, acknowledged_by = %(actor)s
            WHERE incident_id = %(incident)s AND acknowledged_at IS NULL RETURNING id
        )
        INSERT INTO alarm_events (alarm_id, at, kind, actor, reason)
        SELECT id, %(now)s, 'acknowledged', %(actor)s, 'with its incident' FROM acknowledged
        """,
        {"now": now, "actor": actor, "incident": incident_id},
    )


async def lock_of_incident(connection: Connection, incident_id: int) -> None:
    """Lock the incident's alarms, before the incident itself (lock order: city.storage.incidents)."""
    await connection.execute(
        "SELECT id FROM alarms WHERE incident_id = %s AND acknowledged_at IS NULL"
        " ORDER BY id FOR NO KEY UPDATE",
        (incident_id,),
    )


async def counts(connection: Connection, incident_id: int) -> tuple[int, int, int]:
    """The incident's alarms, those not cleared, and of these those whose sensor is blind, shelved or out of service."""
    cursor = await connection.execute(
        """
        SELECT (SELECT count(*) FROM alarms WHERE incident_id = %(id)s), count(*),
               count(*) FILTER (WHERE NOT believed)
        FROM standing_alarms(%(id)s)
        """,
        {"id": incident_id},
    )
    row = await cursor.fetchone()
    return (row[0], row[1], row[2]) if row else (0, 0, 0)


async def acknowledge(connection: Connection, alarm_id: int, actor: str, now: datetime) -> bool:
    """Acknowledge one alarm; False when somebody has already, or there is none. The first time counts."""
    cursor = await connection.execute(
        """
        WITH acknowledged AS (
            UPDATE alarms SET acknowledged_at = %(now)s, acknowledged_by = %(actor)s
            WHERE id = %(id)s AND acknowledged_at IS NULL RETURNING id
        )
        INSERT INTO alarm_events (alarm_id, at, kind, actor)
        SELECT id, %(now)s, 'acknowledged', %(actor)s FROM acknowledged
        """,
        {"now": now, "actor": actor, "id": alarm_id},
    )
    if cursor.rowcount:
        await changes.append(connection, [("alarm.acknowledged", str(alarm_id))])
    return cursor.rowcount == 1


# ── what people read ─────────────────────────────────────────────────────────────────────────────────

# ISA-18.2 as command_centre.alarm_life.state_of has it. Needs a, d, s (its open shelf) and now.
STATE = """
    CASE WHEN a.cleared_at IS NOT NULL THEN
             CASE WHEN a.acknowledged_at IS NULL AND a.triage IN ('new', 'done') THEN 'RTNUN' ELSE 'NORM' END
         WHEN a.suppressed IS NOT NULL THEN 'DSUPR'
         WHEN d.service_state IN ('under_test', 'out_of_service')
             AND (d.service_until IS NULL OR d.service_until > %(now)s) THEN 'OOSRV'
         WHEN s.id IS NOT NULL OR d.service_state = 'shelved' AND d.service_until > %(now)s THEN 'SHLVD'
         WHEN a.acknowledged_at IS NOT NULL THEN 'ACKED' ELSE 'UNACK' END
"""
FROM_ALARMS = """
    FROM alarms a
    LEFT JOIN devices d ON d.id = a.device_id
    LEFT JOIN areas c ON c.id = a.cell_id
    LEFT JOIN metrics m ON m.id = a.metric_id
    LEFT JOIN categories g ON g.code = a.category
    LEFT JOIN alarm_shelves s ON s.rule_id = a.rule_id AND s.device_id = a.device_id
        AND s.ended_at IS NULL AND s.until > %(now)s AND level_rank(a.level) <= level_rank(s.level)
"""
# First-out: of a group of alarms in one incident, each within the window of the one before it, the first in event
# time. Looked up, not stored: late data may bring an earlier one at any time.
_VIEW = "".join(
    (
        """
        SELECT a.id, a.rule_id AS rule, a.rule_version, d.code AS device, c.code AS cell, m.code AS metric,
               a.category, a.level, a.level_since, coalesce(a.class, g.class) AS class, a.raised_at, a.cleared_at,
               a.late, a.repeats, a.evidence, a.acknowledged_at, a.acknowledged_by, a.triage, """,
        STATE,
        """ AS state, a.suppressed, a.incident_id AS incident, a.exercise, a.drill_id AS drill,
               coalesce(d.registration = 'unclaimed', false) AS unclaimed,
               CASE WHEN s.id IS NOT NULL THEN json_build_object('shelved_at', s.shelved_at, 'until', s.until,
                   'reason', s.reason, 'by', s.shelved_by) END AS shelf,
               a.incident_id IS NOT NULL AND NOT EXISTS (
                   SELECT FROM alarms e WHERE e.incident_id = a.incident_id
                       AND (e.raised_at, e.id) < (a.raised_at, a.id) AND e.raised_at >= a.raised_at - %(window)s
               ) AS first_out
        """,
        FROM_ALARMS,
    )
)
_SILENT_COUNTS = "".join(
    (
        "SELECT state, count(*) FROM (SELECT ",
        STATE,
        " AS state ",
        FROM_ALARMS,
        " WHERE a.cleared_at IS NULL AND NOT a.exercise) each_one"
        " WHERE state IN ('SHLVD', 'DSUPR', 'OOSRV') GROUP BY state",
    )
)


async def get(connection: Connection, alarm_id: int, now: datetime) -> Row | None:
    """One alarm as ``page`` gives it; None when there is none."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            _VIEW + " WHERE a.id = %(id)s", {"id": alarm_id, "now": now, "window": FIRST_OUT_WINDOW}
        )
        return await cursor.fetchone()


async def page(
    connection: Connection,
    *,
    now: datetime,
    standing: bool | None = None,
    states: Sequence[str] = (),
    incident: int | None = None,
    device: str | None = None,
    exercise: bool | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Row]:
    """Alarms newest id first, those with an id below ``before``.

    ``standing`` None is any; ``states`` are ISA-18.2 names, none means all.
    """
    where = given(
        {None: "true", True: "a.cleared_at IS NULL", False: "a.cleared_at IS NOT NULL"}[standing],
        ("a.incident_id = %(incident)s", incident),
        ("d.code = %(device)s", device),
        ("a.exercise = %(exercise)s", exercise),
        ("a.id < %(before)s", before),
    )
    if states:
        where += " AND (" + STATE + ") = ANY(%(states)s)"
        if "NORM" not in states and "RTNUN" not in states:
            where += " AND a.cleared_at IS NULL"
        elif set(states) == {"RTNUN"}:
            where += (
                " AND a.acknowledged_at IS NULL AND a.cleared_at IS NOT NULL AND a.triage IN ('new', 'done')"
            )
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            f"{_VIEW} WHERE {where} ORDER BY a.id DESC LIMIT %(limit)s",
            {
                "now": now,
                "window": FIRST_OUT_WINDOW,
                "states": list(states),
                "incident": incident,
                "device": device,
                "exercise": exercise,
                "before": before,
                "limit": limit,
            },
        )
        return await cursor.fetchall()


async def silent_counts(connection: Connection, now: datetime) -> dict[str, int]:
    """Standing alarms that nobody is sent to, by state: SHLVD, DSUPR, OOSRV. Exercise is not among them."""
    cursor = await connection.execute(_SILENT_COUNTS, {"now": now})
    return {"SHLVD": 0, "DSUPR": 0, "OOSRV": 0} | {row[0]: row[1] for row in await cursor.fetchall()}
