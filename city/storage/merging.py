"""What went into what, and whose alarms are whose: read and written; asynchronous.

Lock order is that of city.storage.incidents: alarms, then incidents by id (``lock``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from city.incidents import Incident
from city.storage import incidents

Connection = AsyncConnection[Any]
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Merge:
    """A row of incident_merges. ``clocks`` are stage, limit and due_at of the clocks that were open.

    ``brought`` and ``own`` are as ``command_centre.gathering`` writes them; ``into_seq`` is the other's last event
    before; ``co_units`` handle beside the other's unit on account of it. id 0 is not stored yet.
    """

    id: int = 0
    from_id: int
    into_id: int
    at: datetime
    by: str
    before_state: str
    clocks: list[dict[str, str]]
    brought: Mapping[str, object]
    own: Mapping[str, object]
    into_seq: int
    co_units: Sequence[int] = ()


_MERGE = """
    SELECT id, from_id, into_id, at, by, before_state, clocks, brought, own, into_seq, co_units
    FROM incident_merges WHERE undone_at IS NULL
"""


async def way(connection: Connection, incident_id: int) -> list[int]:
    """The incident, what it was merged into, and so on to the root; empty when there is no such incident."""
    cursor = await connection.execute(
        """
        WITH RECURSIVE way AS (
            SELECT id, merged_into, 1 AS step FROM incidents WHERE id = %s
            UNION ALL
            SELECT i.id, i.merged_into, step + 1 FROM way JOIN incidents i ON i.id = way.merged_into
            WHERE step < 1000
        )
        SELECT id FROM way ORDER BY step
        """,
        (incident_id,),
    )
    return [row[0] for row in await cursor.fetchall()]


async def lock(connection: Connection, incident_ids: Sequence[int]) -> dict[int, Incident] | None:
    """These incidents and all their alarms, locked in the order of the house; None = an alarm joined meanwhile.

    A late alarm's lock would be taken after the incidents', and two transactions could wait in a circle: the caller
    gives up instead, and whoever asked asks again.
    """
    ids = sorted(set(incident_ids))
    lock_alarms = "SELECT id FROM alarms WHERE incident_id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"
    first = {row[0] for row in await (await connection.execute(lock_alarms, (ids,))).fetchall()}
    locked: dict[int, Incident] = {}
    for incident_id in ids:
        incident = await incidents.lock(connection, incident_id)
        if incident is not None:
            locked[incident_id] = incident
    now = await connection.execute("SELECT id FROM alarms WHERE incident_id = ANY(%s)", (ids,))
    if {row[0] for row in await now.fetchall()} - first:
        return None
    return locked


async def active(connection: Connection, incident_id: int) -> Merge | None:
    """The merge that took this incident in, if it is merged now."""
    async with connection.cursor(row_factory=class_row(Merge)) as cursor:
        await cursor.execute(_MERGE + " AND from_id = %s", (incident_id,))
        return await cursor.fetchone()


async def into(connection: Connection, incident_id: int) -> list[Merge]:
    """What is merged directly into this incident now, the oldest first."""
    async with connection.cursor(row_factory=class_row(Merge)) as cursor:
        await cursor.execute(_MERGE + " AND into_id = %s ORDER BY id", (incident_id,))
        return await cursor.fetchall()


async def remember(connection: Connection, merge: Merge) -> None:
    """Write a merge, and that what it brings weighs on an incident that is by itself as ``own`` says."""
    await connection.execute(
        """
        INSERT INTO incident_merges (from_id, into_id, at, by, before_state, clocks, brought, own, into_seq, co_units)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        (
            merge.from_id,
            merge.into_id,
            merge.at,
            merge.by,
            merge.before_state,
            Jsonb(merge.clocks),
            Jsonb(dict(merge.brought)),
            Jsonb(dict(merge.own)),
            merge.into_seq,
            list(merge.co_units),
        ),
    )
    await set_own(connection, merge.into_id, merge.own)


async def set_own(connection: Connection, into_id: int, own: Mapping[str, object]) -> None:
    """What an incident is by itself, on every merge into it that holds."""
    await connection.execute(
        "UPDATE incident_merges SET own = %s WHERE into_id = %s AND undone_at IS NULL",
        (Jsonb(dict(own)), into_id),
    )


async def lighten(
    connection: Connection, merge_id: int, brought: Mapping[str, object], clocks: Sequence[Mapping[str, str]]
) -> None:
    """What a merge brings, and which clocks it would give back, now that something left what was merged."""
    await connection.execute(
        "UPDATE incident_merges SET brought = %s, clocks = %s WHERE id = %s",
        (Jsonb(dict(brought)), Jsonb([dict(one) for one in clocks]), merge_id),
    )


async def undo(connection: Connection, merge_id: int, by: str, now: datetime) -> None:
    """The merge holds no longer."""
    await connection.execute(
        "UPDATE incident_merges SET undone_at = %s, undone_by = %s WHERE id = %s", (now, by, merge_id)
    )


async def set_opened(connection: Connection, incident_id: int, opened_at: datetime) -> None:
    """When its matter began, which only a merge or a split moves; the incident is locked and stored right after."""
    await connection.execute("UPDATE incidents SET opened_at = %s WHERE id = %s", (opened_at, incident_id))


async def came_since(connection: Connection, incident_id: int, seq: int) -> bool:
    """Whether anything of its own came to this incident after that event, or somebody raised it."""
    cursor = await connection.execute(
        """
        SELECT EXISTS (SELECT FROM incident_events WHERE incident_id = %s AND seq > %s
            AND kind IN ('joined', 'reported', 'fused', 'alarm_again', 'class_raised', 'escalated'))
        """,
        (incident_id, seq),
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


# ── alarms ────────────────────────────────────────────────────────────────────────────────────────────


async def move_alarms(connection: Connection, from_id: int, into_id: int) -> list[int]:
    """Every alarm of one incident to another that answers for it from now on; each remembers its home. Their ids."""
    await connection.execute(
        "INSERT INTO alarm_homes (alarm_id, incident_id) SELECT id, incident_id FROM alarms WHERE incident_id = %s"
        " ON CONFLICT DO NOTHING",
        (from_id,),
    )
    return await _moved(
        connection,
        "UPDATE alarms SET incident_id = %s WHERE incident_id = %s RETURNING id",
        (into_id, from_id),
    )


async def bring_alarms_home(connection: Connection, incident_id: int) -> list[int]:
    """The alarms whose home is this incident, or one merged into it, answer to it again. Their ids."""
    moved = await _moved(
        connection,
        """
        WITH RECURSIVE part AS (
            SELECT %(id)s::bigint AS id UNION SELECT i.id FROM part JOIN incidents i ON i.merged_into = part.id
        )
        UPDATE alarms SET incident_id = %(id)s FROM alarm_homes h
        WHERE h.alarm_id = alarms.id AND h.incident_id IN (SELECT id FROM part) RETURNING alarms.id
        """,
        {"id": incident_id},
    )
    await connection.execute("DELETE FROM alarm_homes WHERE incident_id = %s", (incident_id,))
    return moved


async def give_alarms(connection: Connection, alarm_ids: Sequence[int], incident_id: int) -> None:
    """These alarms belong to this incident for good: it is their home."""
    await connection.execute("DELETE FROM alarm_homes WHERE alarm_id = ANY(%s)", (list(alarm_ids),))
    await connection.execute(
        "UPDATE alarms SET incident_id = %s WHERE id = ANY(%s)", (incident_id, list(alarm_ids))
    )


async def _moved(
    connection: Connection, statement: str, given: Mapping[str, object] | Sequence[object]
) -> list[int]:
    return sorted(row[0] for row in await (await connection.execute(statement, given)).fetchall())


async def alarms_of(connection: Connection, incident_id: int) -> list[Row]:
    """Its alarms with what dispatch asks of one: id, category, class, at (raised), late, cell_id, device, unclaimed,
    longitude, latitude, and ``sensed`` true."""
    return await _rows(
        connection,
        """
        SELECT a.id, a.category, a.class, a.raised_at AS at, a.late, a.cell_id, d.code AS device,
               coalesce(d.registration = 'unclaimed', false) AS unclaimed, d.longitude, d.latitude, true AS sensed
        FROM alarms a LEFT JOIN devices d ON d.id = a.device_id WHERE a.incident_id = %s
        """,
        (incident_id,),
    )


async def reports_of(connection: Connection, incident_id: int) -> list[Row]:
    """The reports made to it, in the same columns; category None where the reporter did not say."""
    return await _rows(
        connection,
        """
        SELECT id, category, NULL AS class, received_at AS at, false AS late, area_id AS cell_id, NULL AS device,
               false AS unclaimed, longitude, latitude, false AS sensed
        FROM reports WHERE incident_id = %s
        """,
        (incident_id,),
    )


async def give_reports(connection: Connection, report_ids: Sequence[int], incident_id: int) -> None:
    """These reports are about this incident from now on: who made them follows it."""
    await connection.execute(
        "UPDATE reports SET incident_id = %s WHERE id = ANY(%s)", (incident_id, list(report_ids))
    )


async def _rows(
    connection: Connection, query: str, given: Mapping[str, object] | Sequence[object]
) -> list[Row]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, given)
        return await cursor.fetchall()


async def has_task(connection: Connection, incident_id: int) -> bool:
    """Whether a flood task stands behind it: people are counted there, so it stays by itself."""
    cursor = await connection.execute(
        "SELECT EXISTS (SELECT FROM flood_tasks WHERE incident_id = %s)", (incident_id,)
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def parent_of(connection: Connection, incident_id: int) -> int | None:
    """The large event it is a part of, read without a lock."""
    cursor = await connection.execute("SELECT parent_id FROM incidents WHERE id = %s", (incident_id,))
    row = await cursor.fetchone()
    return row[0] if row else None


async def has_children(connection: Connection, incident_id: int) -> bool:
    """Whether anything is a part of it, open or not."""
    cursor = await connection.execute(
        "SELECT EXISTS (SELECT FROM incidents WHERE parent_id = %s)", (incident_id,)
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def links(connection: Connection, incident_id: int) -> list[Row]:
    """What belongs together with this incident: id, number, state, class, category, title, opened_at and as
    ``relation`` merged (into it), root (it went into), parent or child."""
    return await _rows(
        connection,
        """
        SELECT o.id, o.number, o.state, o.class, o.category, o.title, o.opened_at,
               CASE WHEN o.merged_into = i.id THEN 'merged' WHEN o.id = i.merged_into THEN 'root'
                    WHEN o.id = i.parent_id THEN 'parent' ELSE 'child' END AS relation
        FROM incidents i JOIN incidents o
             ON o.merged_into = i.id OR o.id = i.merged_into OR o.id = i.parent_id OR o.parent_id = i.id
        WHERE i.id = %s ORDER BY o.id LIMIT 200
        """,
        (incident_id,),
    )
