"""Evacuation and inspection tasks, what was reported on them, and the list of who must be moved; asynchronous."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

from city.flood import Counts, TaskKind

Connection = AsyncConnection[Any]
Row = dict[str, Any]
_ORDERS = 7235_0052  # advisory


@dataclass(frozen=True, kw_only=True, slots=True)
class NewTask:
    """A task about to be stored, its incident being there."""

    kind: TaskKind
    incident_id: int
    area_id: int
    to_move: int
    deadline: datetime
    reason: str
    note: str
    exercise: bool
    opened_at: datetime
    opened_by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A task with its newest counts."""

    id: int
    kind: TaskKind
    incident_id: int
    cell: str
    exercise: bool
    version: int
    done_at: datetime | None
    to_move: int
    moved: int
    absent: int
    refused: int

    @property
    def counts(self) -> Counts:
        """The people of this task."""
        return Counts(to_move=self.to_move, moved=self.moved, absent=self.absent, refused=self.refused)


async def lock_orders(connection: Connection) -> None:
    """One order at a time, until the transaction ends: two of them for one cell would count its people twice."""
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_ORDERS,))


async def insert(connection: Connection, tasks: Sequence[NewTask]) -> list[int]:
    """Store tasks; returns their ids in the same order."""
    ids = []
    async with connection.cursor() as cursor:
        await cursor.executemany(
            """
            INSERT INTO flood_tasks (kind, incident_id, area_id, to_move, deadline, reason, note, exercise,
                                     opened_at, opened_by)
            VALUES (%(kind)s, %(incident_id)s, %(area_id)s, %(to_move)s, %(deadline)s, %(reason)s, %(note)s,
                    %(exercise)s, %(opened_at)s, %(opened_by)s)
            RETURNING id
            """,
            [{name: getattr(task, name) for name in NewTask.__dataclass_fields__} for task in tasks],
            returning=True,
        )
        for _ in tasks:
            row = await cursor.fetchone()
            if row is not None:
                ids.append(int(row[0]))
            cursor.nextset()
    return ids


async def open_cells(connection: Connection, kind: TaskKind, *, exercise: bool) -> set[str]:
    """Cells that have such a task which is not over: a second one would count its people twice."""
    cursor = await connection.execute(
        """
        SELECT c.code FROM flood_tasks t JOIN incidents i ON i.id = t.incident_id JOIN areas c ON c.id = t.area_id
        WHERE t.kind = %s AND t.exercise = %s AND t.done_at IS NULL AND i.closed_at IS NULL
        """,
        (kind, exercise),
    )
    return {row[0] for row in await cursor.fetchall()}


async def incident_of(connection: Connection, task_id: int) -> int | None:
    """Its incident, which is locked before the task; None when there is no such task."""
    cursor = await connection.execute("SELECT incident_id FROM flood_tasks WHERE id = %s", (task_id,))
    row = await cursor.fetchone()
    return int(row[0]) if row else None


async def units_of(connection: Connection, task_id: int) -> list[int]:
    """Who has its incident: the lead unit and those beside it; none while nobody has it."""
    cursor = await connection.execute(
        """
        SELECT i.unit_id FROM flood_tasks t JOIN incidents i ON i.id = t.incident_id
        WHERE t.id = %(task)s AND i.unit_id IS NOT NULL
        UNION SELECT c.unit_id FROM flood_tasks t JOIN incident_co_units c ON c.incident_id = t.incident_id
        WHERE t.id = %(task)s
        """,
        {"task": task_id},
    )
    return [row[0] for row in await cursor.fetchall()]


async def lock(connection: Connection, task_id: int) -> Task | None:
    """The task under its row lock with its newest counts; None when there is none."""
    async with connection.cursor(row_factory=class_row(Task)) as cursor:
        await cursor.execute(
            """
            SELECT t.id, t.kind, t.incident_id, c.code AS cell, t.exercise, t.version, t.done_at,
                   coalesce(r.to_move, t.to_move) AS to_move, coalesce(r.moved, 0) AS moved,
                   coalesce(r.absent, 0) AS absent, coalesce(r.refused, 0) AS refused
            FROM flood_tasks t JOIN areas c ON c.id = t.area_id
            LEFT JOIN LATERAL (
                SELECT to_move, moved, absent, refused FROM flood_task_reports
                WHERE task_id = t.id ORDER BY id DESC LIMIT 1) r ON true
            WHERE t.id = %s FOR NO KEY UPDATE OF t
            """,
            (task_id,),
        )
        return await cursor.fetchone()


async def report(  # a row
    connection: Connection,
    task_id: int,
    counts: Counts,
    *,
    done: bool,
    note: str,
    reason: str,
    actor: str,
    now: datetime,
) -> None:
    """Append a report and move the locked task on."""
    await connection.execute(
        """
        INSERT INTO flood_task_reports (task_id, at, actor, to_move, moved, absent, refused, done, note, reason)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        (
            task_id,
            now,
            actor,
            counts.to_move,
            counts.moved,
            counts.absent,
            counts.refused,
            done,
            note,
            reason,
        ),
    )
    await connection.execute(
        "UPDATE flood_tasks SET version = version + 1, done_at = CASE WHEN %s THEN coalesce(done_at, %s) END"
        " WHERE id = %s",
        (done, now, task_id),
    )


async def remaining_of_incident(connection: Connection, incident_id: int) -> int:
    """How many people of this incident's task are still to be moved; 0 when it is no evacuation."""
    cursor = await connection.execute(
        """
        SELECT greatest(0, coalesce(r.to_move - r.moved - r.absent, t.to_move)) FROM flood_tasks t
        LEFT JOIN LATERAL (
            SELECT to_move, moved, absent FROM flood_task_reports WHERE task_id = t.id ORDER BY id DESC LIMIT 1
        ) r ON true
        WHERE t.incident_id = %s AND t.kind = 'evacuate'
        """,
        (incident_id,),
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


# ── what the desk reads ──────────────────────────────────────────────────────────────────────────────

_VIEW = """
    SELECT t.id, t.kind, t.incident_id AS incident, i.number, i.state, i.due_at, t.deadline, t.reason, t.note,
           t.exercise, t.opened_at, t.done_at, t.version, c.code AS cell, c.name AS cell_name,
           CASE WHEN m.layer = 'street' THEN m.code ELSE s.code END AS street,
           CASE WHEN m.layer = 'street' THEN m.name ELSE coalesce(s.name, '') END AS street_name,
           u.code AS unit, u.name AS unit_name, u.name_en AS unit_name_en,
           coalesce(nullif(p.display_name, ''), p.name, t.opened_by) AS opened_by,
           coalesce(r.to_move, t.to_move) AS to_move, coalesce(r.moved, 0) AS moved,
           coalesce(r.absent, 0) AS absent, coalesce(r.refused, 0) AS refused,
           greatest(0, coalesce(r.to_move - r.moved - r.absent, t.to_move)) AS remaining,
           r.at AS reported_at, coalesce(r.note, '') AS report_note
    FROM flood_tasks t
    JOIN incidents i ON i.id = t.incident_id
    JOIN areas c ON c.id = t.area_id
    LEFT JOIN areas m ON m.id = c.parent_id
    LEFT JOIN areas s ON s.id = m.parent_id AND s.layer = 'street'
    LEFT JOIN units u ON u.id = i.unit_id
    LEFT JOIN users p ON t.opened_by = 'user:' || p.id
    LEFT JOIN LATERAL (
        SELECT at, to_move, moved, absent, refused, note FROM flood_task_reports
        WHERE task_id = t.id ORDER BY id DESC LIMIT 1) r ON true
"""
MOST_TASKS = 10_000  # one for each cell of the largest district, several times over

_LISTED = "".join(
    (
        "SELECT * FROM (",
        _VIEW,
        """
        WHERE t.exercise = %(exercise)s AND (%(kind)s::text IS NULL OR t.kind = %(kind)s)
          AND (%(state)s = 'all' OR (%(state)s = 'done' AND t.done_at IS NOT NULL)
               OR (%(state)s = 'open' AND i.closed_at IS NULL))
        ) AS each_task WHERE %(street)s::text IS NULL OR street = %(street)s
        ORDER BY remaining DESC, id LIMIT %(limit)s
        """,
    )
)


async def listed(
    connection: Connection, *, kind: str | None, state: str, street: str | None, exercise: bool
) -> list[Row]:
    """Tasks with their counts, what remains most first. ``state`` is open (not closed), done or all."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            _LISTED,
            {"exercise": exercise, "kind": kind, "state": state, "street": street, "limit": MOST_TASKS},
        )
        return await cursor.fetchall()


async def these(connection: Connection, ids: Sequence[int]) -> list[Row]:
    """Tasks by their ids, in the order of the ids."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_VIEW + " WHERE t.id = ANY(%s) ORDER BY t.id", (list(ids),))
        return await cursor.fetchall()


async def get(connection: Connection, task_id: int) -> Row | None:
    """One task; None when there is none."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_VIEW + " WHERE t.id = %s", (task_id,))
        return await cursor.fetchone()


async def reports(connection: Connection, task_id: int) -> list[Row]:
    """Everything reported on a task, in order."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT r.at, coalesce(nullif(u.display_name, ''), u.name, r.actor) AS actor, r.to_move, r.moved,
                   r.absent, r.refused, greatest(0, r.to_move - r.moved - r.absent) AS remaining, r.done,
                   r.note, r.reason
            FROM flood_task_reports r LEFT JOIN users u ON r.actor = 'user:' || u.id
            WHERE r.task_id = %s ORDER BY r.id
            """,
            (task_id,),
        )
        return await cursor.fetchall()


# ── headcounts ───────────────────────────────────────────────────────────────────────────────────────


async def headcounts(connection: Connection) -> list[Row]:
    """Who must be moved when water comes, by cell: cell, cell_name, to_move, note, changed_at."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT a.code AS cell, a.name AS cell_name, h.to_move, h.note, h.changed_at
            FROM flood_headcounts h JOIN areas a ON a.id = h.area_id WHERE a.valid_to IS NULL ORDER BY a.code
            """
        )
        return await cursor.fetchall()


async def write_headcounts(
    connection: Connection, listed_cells: Sequence[tuple[str, int, str]], actor: str, now: datetime
) -> list[str]:
    """Write (cell, people, note) over what was there; returns codes that are no valid cell, and then writes nothing."""
    codes = [cell for cell, _, _ in listed_cells]
    cursor = await connection.execute(
        "SELECT code FROM unnest(%s::text[]) AS code WHERE NOT EXISTS ("
        "SELECT FROM areas a WHERE a.layer = 'cell' AND a.code = code.code AND a.valid_to IS NULL)",
        (codes,),
    )
    unknown = [row[0] for row in await cursor.fetchall()]
    if unknown:
        return unknown
    async with connection.cursor() as writing:
        await writing.executemany(
            """
            INSERT INTO flood_headcounts (area_id, to_move, note, changed_by, changed_at)
            SELECT id, %s, %s, %s, %s FROM areas WHERE layer = 'cell' AND code = %s AND valid_to IS NULL
            ON CONFLICT (area_id) DO UPDATE SET to_move = excluded.to_move, note = excluded.note,
                changed_by = excluded.changed_by, changed_at = excluded.changed_at
            """,
            [(people, note, actor, now, cell) for cell, people, note in listed_cells],
        )
    return []
