"""Incidents, their chained events, and who must be told: written as one change; asynchronous.

Lock order everywhere: alarms, then incidents by id, then the day's number. A transaction that keeps to it
cannot stand in a circle with triage, a person's action or ingest.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from city.incidents import FINAL, GENESIS, Event, Happening, Incident, link, text_digest
from city.storage import chains
from city.storage.conditions import given

Connection = AsyncConnection[Any]
Row = dict[str, Any]

_INCIDENT = """
    SELECT i.id, i.number, i.state, i.class AS incident_class, i.base_class, i.category, i.title, i.area_id,
           i.unit_id, i.reason, i.reason_en, i.source, i.due_at, i.opened_at, i.last_alarm_at,
           i.acknowledged_at, i.acknowledged_by, i.told_at, i.awaiting_since, i.urged_at, i.urged_level,
           i.overdue_at, i.closed_at, i.exercise, i.version, i.last_seq, i.head, i.nature, i.event_level, i.steps,
           i.longitude, i.latitude, i.reported, i.collected_by, i.dispatched_at, i.arrived_at, i.handled_at,
           i.handled_by, i.verified_at, i.verified_by, i.fed_back_at, i.held_state, i.extensions, i.reworks,
           i.returned_by, i.supervised_at, i.waived_by, i.merged_into, i.parent_id
    FROM incidents i
"""
_NEAR = """
    SELECT i.id FROM incidents i
    WHERE i.closed_at IS NULL AND split_part(i.category, '.', 1) = ANY(%(families)s)
      AND (i.area_id IS NULL OR i.area_id = ANY(%(cells)s) OR EXISTS (
          SELECT FROM alarms a LEFT JOIN devices d ON d.id = a.device_id
          WHERE a.incident_id = i.id
            AND (a.cell_id = ANY(%(cells)s) OR a.device_id = ANY(%(devices)s)
                 OR d.gateway = ANY(%(gateways)s))))
"""
_THESE = _INCIDENT + " WHERE i.id = ANY(%s) AND i.closed_at IS NULL ORDER BY i.id FOR NO KEY UPDATE OF i"
_IN_LANE = " WHERE i.unit_id IS NULL AND i.state = 'filed' AND i.closed_at IS NULL"
_ONE = _INCIDENT + " WHERE i.id = %s FOR NO KEY UPDATE"


async def lock(connection: Connection, incident_id: int) -> Incident | None:
    """The incident under its row lock, which holds until the transaction ends; None when there is none."""
    async with connection.cursor(row_factory=class_row(Incident)) as cursor:
        await cursor.execute(_ONE, (incident_id,))
        return await cursor.fetchone()


async def lock_open_near(
    connection: Connection,
    families: Sequence[str],
    cells: Sequence[int],
    devices: Sequence[int],
    gateways: Sequence[str],
) -> list[Incident]:
    """Open incidents of these top-level categories that touch cells, devices or gateways, or have no place.

    Locked by id; call it after ``lock_ground``, so that it sees what others there have just opened.
    """
    near = await connection.execute(
        _NEAR,
        {
            "families": list(families),
            "cells": list(cells),
            "devices": list(devices),
            "gateways": list(gateways),
        },
    )
    ids = [row[0] for row in await near.fetchall()]
    async with connection.cursor(row_factory=class_row(Incident)) as cursor:
        await cursor.execute(_THESE, (ids,))
        return await cursor.fetchall()


async def lane(connection: Connection) -> list[Incident]:
    """Open incidents that no unit has, by id; not locked, see ``lock_lane``."""
    async with connection.cursor(row_factory=class_row(Incident)) as cursor:
        await cursor.execute(_INCIDENT + _IN_LANE + " ORDER BY i.id")
        return await cursor.fetchall()


async def lock_lane(connection: Connection, ids: Sequence[int]) -> list[Incident]:
    """Those of ``ids`` that still stand in the lane, locked by id."""
    async with connection.cursor(row_factory=class_row(Incident)) as cursor:
        await cursor.execute(
            _INCIDENT + _IN_LANE + " AND i.id = ANY(%s) ORDER BY i.id FOR NO KEY UPDATE OF i", (list(ids),)
        )
        return await cursor.fetchall()


async def set_co_units(connection: Connection, given: Sequence[tuple[int, Sequence[int]]]) -> None:
    """Make these units, and no others, handle beside the lead: incident id, unit ids."""
    if not given:
        return
    await connection.execute(
        "DELETE FROM incident_co_units WHERE incident_id = ANY(%s)", ([one for one, _ in given],)
    )
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO incident_co_units (incident_id, unit_id) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [(incident_id, unit_id) for incident_id, units in given for unit_id in units],
        )


async def co_units(connection: Connection, incident_id: int) -> list[int]:
    """Units that handle beside the lead, by id."""
    cursor = await connection.execute(
        "SELECT unit_id FROM incident_co_units WHERE incident_id = %s ORDER BY unit_id", (incident_id,)
    )
    return [row[0] for row in await cursor.fetchall()]


async def units_that_had(connection: Connection, incident_id: int) -> list[int]:
    """Units that it was ever dispatched to, by what its timeline says."""
    cursor = await connection.execute(
        """
        SELECT DISTINCT u.id FROM incident_events e JOIN units u ON u.code = e.detail ->> 'unit'
        WHERE e.incident_id = %s AND e.kind IN ('dispatched', 'redispatched', 'transferred', 'ruled')
        """,
        (incident_id,),
    )
    return [row[0] for row in await cursor.fetchall()]


async def open_children(connection: Connection, incident_id: int) -> int:
    """How many incidents under it are not over."""
    cursor = await connection.execute(
        "SELECT count(*) FROM incidents WHERE parent_id = %s AND closed_at IS NULL", (incident_id,)
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def footprints(connection: Connection, incident_ids: Sequence[int]) -> dict[int, Row]:
    """By incident: cells, standing (cells not yet clear), devices, kinds, gateways, first_at, last_at."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT a.incident_id, min(a.raised_at) AS first_at, max(a.raised_at) AS last_at,
                   coalesce(array_agg(DISTINCT a.cell_id)
                            FILTER (WHERE a.cell_id IS NOT NULL), '{}') AS cells,
                   coalesce(array_agg(DISTINCT a.cell_id)
                            FILTER (WHERE a.cell_id IS NOT NULL AND a.cleared_at IS NULL), '{}') AS standing,
                   coalesce(array_agg(DISTINCT a.device_id)
                            FILTER (WHERE a.device_id IS NOT NULL), '{}') AS devices,
                   coalesce(array_agg(DISTINCT d.kind) FILTER (WHERE d.kind IS NOT NULL), '{}') AS kinds,
                   coalesce(array_agg(DISTINCT d.gateway)
                            FILTER (WHERE d.gateway IS NOT NULL), '{}') AS gateways
            FROM alarms a LEFT JOIN devices d ON d.id = a.device_id
            WHERE a.incident_id = ANY(%s) GROUP BY a.incident_id
            """,
            (list(incident_ids),),
        )
        return {row["incident_id"]: row for row in await cursor.fetchall()}


async def take_numbers(connection: Connection, day: date, count: int) -> list[str]:
    """The next ``count`` numbers of the district's day, without gaps: the row stays locked until the end."""
    cursor = await connection.execute(
        """
        INSERT INTO incident_numbers AS n (day, last) VALUES (%s, %s)
        ON CONFLICT (day) DO UPDATE SET last = n.last + excluded.last RETURNING last
        """,
        (day, count),
    )
    row = await cursor.fetchone()
    last = int(row[0]) if row else count
    return [f"{day:%Y%m%d}-{number:04d}" for number in range(last - count + 1, last + 1)]


async def insert(connection: Connection, incidents: Sequence[Incident]) -> list[int]:
    """Store new incidents in their order; returns their ids."""
    ids = []
    async with connection.cursor() as cursor:
        await cursor.executemany(
            """
            INSERT INTO incidents (number, state, class, base_class, category, title, area_id, unit_id,
                reason, reason_en, source, due_at, opened_at, last_alarm_at, told_at, awaiting_since, exercise,
                nature, event_level, steps, longitude, latitude, reported, collected_by, dispatched_at, parent_id)
            VALUES (%(number)s, %(state)s, %(incident_class)s, %(base_class)s, %(category)s, %(title)s,
                %(area_id)s, %(unit_id)s, %(reason)s, %(reason_en)s, %(source)s, %(due_at)s, %(opened_at)s,
                %(last_alarm_at)s, %(told_at)s, %(awaiting_since)s, %(exercise)s, %(nature)s, %(event_level)s,
                %(steps)s, %(longitude)s, %(latitude)s, %(reported)s, %(collected_by)s, %(dispatched_at)s,
                %(parent_id)s)
            RETURNING id
            """,
            [_row(incident) for incident in incidents],
            returning=True,
        )
        for _ in incidents:
            row = await cursor.fetchone()
            if row is not None:
                ids.append(int(row[0]))
            cursor.nextset()
    return ids


async def save(connection: Connection, incidents: Sequence[Incident]) -> None:
    """Write locked incidents back, the end of their chain included."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            """
            UPDATE incidents SET state = %(state)s, class = %(incident_class)s, base_class = %(base_class)s,
                unit_id = %(unit_id)s, reason = %(reason)s, reason_en = %(reason_en)s, due_at = %(due_at)s,
                last_alarm_at = %(last_alarm_at)s, acknowledged_at = %(acknowledged_at)s,
                acknowledged_by = %(acknowledged_by)s, told_at = %(told_at)s,
                awaiting_since = %(awaiting_since)s, urged_at = %(urged_at)s, urged_level = %(urged_level)s,
                overdue_at = %(overdue_at)s, closed_at = %(closed_at)s, version = %(version)s,
                last_seq = %(last_seq)s, head = %(head)s, category = %(category)s, title = %(title)s,
                nature = %(nature)s, event_level = %(event_level)s, steps = %(steps)s,
                longitude = %(longitude)s, latitude = %(latitude)s, reported = %(reported)s,
                dispatched_at = %(dispatched_at)s, arrived_at = %(arrived_at)s, handled_at = %(handled_at)s,
                handled_by = %(handled_by)s, verified_at = %(verified_at)s, verified_by = %(verified_by)s,
                fed_back_at = %(fed_back_at)s, held_state = %(held_state)s, extensions = %(extensions)s,
                reworks = %(reworks)s, returned_by = %(returned_by)s, supervised_at = %(supervised_at)s,
                waived_by = %(waived_by)s, merged_into = %(merged_into)s, parent_id = %(parent_id)s,
                area_id = %(area_id)s
            WHERE id = %(id)s
            """,
            [_row(incident) for incident in incidents],
        )


def _row(incident: Incident) -> Row:
    row: Row = {name: getattr(incident, name) for name in Incident.__dataclass_fields__}
    return row | {"returned_by": list(incident.returned_by)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Chained:
    """Events ready to be appended, the texts that go beside them, and where the chain then ends."""

    events: tuple[Event, ...]
    texts: tuple[tuple[int, int, bytes, str], ...]  # incident, seq, salt, text
    last_seq: int
    head: bytes


def chain(incident: Incident, happenings: Sequence[Happening], at: datetime) -> Chained:
    """Number and link happenings after the incident's last event; a typed text is replaced by its digest."""
    seq, head = incident.last_seq, incident.head or GENESIS
    events, texts = [], []
    for happening in happenings:
        seq += 1
        detail = dict(happening.detail)
        if happening.text:
            salt = secrets.token_bytes(16)
            detail["text"] = text_digest(salt, happening.text)
            texts.append((incident.id, seq, salt, happening.text))
        event = Event(
            incident_id=incident.id,
            seq=seq,
            at=at,
            kind=happening.kind,
            actor=happening.actor,
            reason=happening.reason,
            detail=detail,
            previous=head,
        )
        head = link(head, event)
        events.append(
            Event(
                **{name: getattr(event, name) for name in Event.__dataclass_fields__ if name != "hash"},
                hash=head,
            )
        )
    return Chained(events=tuple(events), texts=tuple(texts), last_seq=seq, head=head)


async def append(connection: Connection, chained: Sequence[Chained]) -> None:
    """Append events of locked incidents; the caller saves the new end of each chain."""
    events = [event for one in chained for event in one.events]
    texts = [text for one in chained for text in one.texts]
    async with connection.cursor() as cursor:
        await cursor.executemany(
            """
            INSERT INTO incident_events (incident_id, seq, at, kind, actor, reason, detail, previous, hash)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
            """,
            [
                (
                    e.incident_id,
                    e.seq,
                    e.at,
                    e.kind,
                    e.actor,
                    e.reason,
                    Jsonb(dict(e.detail)),
                    e.previous,
                    e.hash,
                )
                for e in events
            ],
        )
        if texts:
            await cursor.executemany(
                "INSERT INTO incident_texts (incident_id, seq, salt, text) VALUES (%s, %s, %s, %s)", texts
            )


async def coordinates(connection: Connection, incident_ids: Sequence[int]) -> dict[int, tuple[float, float]]:
    """By incident: (longitude, latitude) of its first alarm's device that has a position."""
    cursor = await connection.execute(
        """
        SELECT DISTINCT ON (a.incident_id) a.incident_id, d.longitude, d.latitude
        FROM alarms a JOIN devices d ON d.id = a.device_id
        WHERE a.incident_id = ANY(%s) AND d.longitude IS NOT NULL AND d.latitude IS NOT NULL
        ORDER BY a.incident_id, a.id
        """,
        (list(incident_ids),),
    )
    return {row[0]: (row[1], row[2]) for row in await cursor.fetchall()}


# ── what people read ─────────────────────────────────────────────────────────────────────────────────

_VIEW = """
    SELECT i.id, i.number, i.state, i.class, i.category, i.title, i.reason, i.reason_en, i.source, i.due_at,
           i.opened_at, i.last_alarm_at, i.acknowledged_at, i.acknowledged_by, i.urged_at, i.overdue_at,
           i.closed_at, i.exercise, i.version,
           i.nature, i.event_level, i.steps, i.reported, i.unit_id, i.dispatched_at, i.arrived_at, i.handled_at,
           i.verified_at, i.fed_back_at, i.extensions, i.reworks, i.supervised_at, i.merged_into,
           i.parent_id AS parent,
           ARRAY(SELECT o.code FROM incident_co_units h JOIN units o ON o.id = h.unit_id
                 WHERE h.incident_id = i.id ORDER BY o.code) AS co_units,
           ARRAY(SELECT r.ask FROM incident_requests r
                 WHERE r.incident_id = i.id AND r.state = 'open' ORDER BY r.id) AS asked,
           ARRAY(SELECT h.unit_id FROM incident_co_units h WHERE h.incident_id = i.id) AS co_unit_ids,
           ARRAY(SELECT json_build_object('ask', r.ask, 'asked_by', r.asked_by, 'unit_id', r.unit_id,
                                          'to_unit_id', r.to_unit_id)
                 FROM incident_requests r WHERE r.incident_id = i.id AND r.state = 'open' ORDER BY r.id) AS waiting,
           coalesce(g.name, i.category) AS category_name,
           coalesce(nullif(g.name_en, ''), i.category) AS category_name_en,
           c.code AS cell, coalesce(c.name, '') AS cell_name,
           coalesce(CASE WHEN m.layer = 'street' THEN m.name ELSE s.name END, '') AS street_name,
           u.code AS unit, u.name AS unit_name, u.name_en AS unit_name_en, u.phone AS unit_phone,
           u.lead_phone AS unit_lead_phone,
           coalesce(sensed.alarms, '{}') AS alarms, coalesce(sensed.devices, '{}') AS devices,
           coalesce(sensed.standing, 0) AS standing_alarms,
           coalesce(i.longitude, place.longitude) AS lon, coalesce(i.latitude, place.latitude) AS lat
    FROM incidents i
    LEFT JOIN categories g ON g.code = i.category
    LEFT JOIN areas c ON c.id = i.area_id
    LEFT JOIN areas m ON m.id = c.parent_id
    LEFT JOIN areas s ON s.id = m.parent_id AND s.layer = 'street'
    LEFT JOIN units u ON u.id = i.unit_id
    LEFT JOIN LATERAL (
        SELECT array_agg(a.id ORDER BY a.id) AS alarms,
               array_agg(DISTINCT d.code) FILTER (WHERE d.code IS NOT NULL) AS devices,
               count(*) FILTER (WHERE a.cleared_at IS NULL) AS standing
        FROM alarms a LEFT JOIN devices d ON d.id = a.device_id WHERE a.incident_id = i.id
    ) sensed ON true
    LEFT JOIN LATERAL (
        SELECT d.longitude, d.latitude FROM alarms a JOIN devices d ON d.id = a.device_id
        WHERE a.incident_id = i.id AND d.longitude IS NOT NULL ORDER BY a.id LIMIT 1
    ) place ON true
"""


async def get(connection: Connection, incident_id: int) -> Row | None:
    """One incident with its names, unit's phones, device codes and alarm ids; None when there is none."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_VIEW + " WHERE i.id = %s", (incident_id,))
        return await cursor.fetchone()


async def these(connection: Connection, incident_ids: Sequence[int]) -> list[Row]:
    """Incidents as ``get`` gives them, by id; those that there are none of are left out."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_VIEW + " WHERE i.id = ANY(%s) ORDER BY i.id", (list(incident_ids),))
        return await cursor.fetchall()


async def page(
    connection: Connection,
    *,
    states: Sequence[str] = (),
    classes: Sequence[str] = (),
    unit: str | None = None,
    cell: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Row]:
    """Incidents as ``get`` gives them, newest id first, only ids below ``before``; no states means all.

    The page is chosen first, by what stands in the row and its indexes; names are looked up for it alone.
    """
    where = given(
        "closed_at IS NULL" if states and not FINAL.intersection(states) else "true",
        ("state = ANY(%(states)s)", states or None),
        ("class = ANY(%(classes)s)", classes or None),
        ("unit_id = (SELECT id FROM units WHERE code = %(unit)s)", unit),
        ("area_id IN (SELECT id FROM areas WHERE code = %(cell)s)", cell),
        ("id < %(before)s", before),
    )
    chosen = f"SELECT id FROM incidents WHERE {where} ORDER BY id DESC LIMIT %(limit)s"  # noqa: S608  # fixed texts
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            f"{_VIEW} WHERE i.id = ANY(ARRAY({chosen})) ORDER BY i.id DESC",
            {
                "states": list(states),
                "classes": list(classes),
                "unit": unit,
                "cell": cell,
                "before": before,
                "limit": limit,
            },
        )
        return await cursor.fetchall()


async def timeline(connection: Connection, incident_id: int) -> list[Row]:
    """Who did what when and why, in order: seq, at, kind, actor, reason, detail.

    An actor written as user:<id> is shown by name; a typed text stands in ``reason`` unless it was erased.
    """
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT e.seq, e.at, e.kind, coalesce(nullif(u.display_name, ''), u.name, e.actor) AS actor,
                   coalesce(t.text, e.reason) AS reason, e.detail - 'text' AS detail,
                   e.detail ? 'text' AND t.text IS NULL AS erased
            FROM incident_events e
            LEFT JOIN users u ON e.actor = 'user:' || u.id
            LEFT JOIN incident_texts t ON t.incident_id = e.incident_id AND t.seq = e.seq
            WHERE e.incident_id = %s ORDER BY e.seq
            """,
            (incident_id,),
        )
        return await cursor.fetchall()


async def events(connection: Connection, incident_id: int) -> list[Event]:
    """The chained events as they were stored, in order."""
    async with connection.cursor(row_factory=class_row(Event)) as cursor:
        await cursor.execute(
            "SELECT incident_id, seq, at, kind, actor, reason, detail, previous, hash"
            " FROM incident_events WHERE incident_id = %s ORDER BY seq",
            (incident_id,),
        )
        return await cursor.fetchall()


async def verify_all(connection: Connection) -> dict[int, int]:
    """By incident: the first seq of its timeline that is not as it was written. Empty means all are sound."""
    broken: dict[int, int] = {}
    async for proved in chains.prove(connection, await chains.incident_ids(connection)):
        broken |= {one.incident_id: one.seq for one in proved.broken if one.incident_id is not None}
    return broken
