"""Orders to move people or to look: an incident for each cell, so that unit and deadline come as for any other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from shapely.geometry import shape

from city.directory import Directory
from city.flood import Counts, Place, TaskKind
from city.incidents import Change, Happening
from city.settings import Settings
from city.storage import changes, directory, flood_facts, flood_tasks, incidents
from city.storage.flood_tasks import NewTask, Task
from command_centre import dispatch
from command_centre.actions import ActionError
from command_centre.flood import desk as desks
from command_centre.flood import evacuation
from command_centre.flood.desk import Desk
from command_centre.flood.evacuation import CATEGORIES, MOST_PEOPLE, TITLES, Progress, Report
from command_centre.recording import store

Connection = AsyncConnection[Any]
MOST_CELLS = (
    200  # of one order: it holds the day's number, and a fire must not wait longer than a second for one
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What is ordered. ``cells`` by code with the people to move (None = as the headcounts say);
    ``areas`` stand for all their cells. ``deadline`` None = as the responsibility list says.
    """

    kind: TaskKind
    cells: Mapping[str, int | None]
    areas: Sequence[str]
    deadline: datetime | None
    reason: str
    note: str
    exercise: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Ordered:
    """Ids of the tasks that were set, and cells that got none with the reason (Chinese, English)."""

    tasks: tuple[int, ...]
    skipped: tuple[tuple[str, str, str], ...]


async def order(
    connection: Connection, settings: Settings, desk: Desk, given: Order, *, actor: str, now: datetime
) -> Ordered:
    """Open the incidents and their tasks, in the caller's transaction; raises ActionError, and then nothing is set."""
    reason = desks.said("reason", given.reason)
    note = desks.sayable("note", given.note)
    if given.deadline is not None and given.deadline <= now:
        raise ActionError(
            "invalid", "deadline：应晚于现在", "deadline: has passed; name a later one", "deadline"
        )
    await flood_tasks.lock_orders(connection)
    people, skipped = await _people(connection, given)
    known = await directory.load(connection, settings.zone, settings.urge_after)
    cell_ids = {way[0].code: area_id for area_id, way in known.places.items()}
    places = {place.code: place for place in await flood_facts.places(connection, list(people))}
    wanted = {cell: count for cell, count in people.items() if cell in cell_ids}
    openings = [
        _opening(
            known, desk, given, cell_ids[cell], cell, count, places.get(cell), reason, actor, now, -1 - index
        )
        for index, (cell, count) in enumerate(wanted.items())
    ]
    stored = await store(connection, known, openings, now, mail=desk.mail)
    tasks = await flood_tasks.insert(
        connection,
        [
            NewTask(
                kind=given.kind,
                incident_id=incident.id,
                area_id=cell_ids[cell],
                to_move=count,
                deadline=incident.due_at or now,
                reason=reason,
                note=note,
                exercise=given.exercise,
                opened_at=now,
                opened_by=actor,
            )
            for (cell, count), incident in zip(wanted.items(), stored, strict=True)
        ],
    )
    await _log_order(connection, desk, given, wanted, reason, actor, now)
    await changes.append(connection, [("flood.task.opened", str(task)) for task in tasks])
    return Ordered(tasks=tuple(tasks), skipped=tuple(skipped))


async def _people(connection: Connection, given: Order) -> tuple[dict[str, int], list[tuple[str, str, str]]]:
    """Cells with the people to move, and those left out; raises ActionError for unknown places or no number."""
    codes = [*given.cells, *given.areas]
    inside = await flood_facts.cells_of(connection, codes)
    unknown = [code for code in codes if code not in inside]
    unknown += [code for code in given.cells if code in inside and inside[code] != [code]]
    if unknown:
        listed = ", ".join(unknown[:10])
        raise ActionError(
            "invalid", f"没有网格或区域：{listed}", f"no cell or area: {listed}; see /api/cells", "cells"
        )
    wanted: dict[str, int | None] = {cell: None for area in given.areas for cell in inside[area]}
    wanted |= given.cells
    if not 0 < len(wanted) <= MOST_CELLS:
        raise ActionError(
            "invalid",
            f"本次共{len(wanted)}个网格，一次1至{MOST_CELLS}个，请按街道或社区分次下达",
            f"{len(wanted)} cells: one order is for 1 to {MOST_CELLS}; order by street or community",
            "cells",
        )
    busy = await flood_tasks.open_cells(connection, given.kind, exercise=given.exercise)
    counted = {row["cell"]: row["to_move"] for row in await flood_tasks.headcounts(connection)}
    people: dict[str, int] = {}
    skipped: list[tuple[str, str, str]] = []
    for cell, count in wanted.items():
        found = 0 if given.kind == "inspect" else counted.get(cell) if count is None else count
        if cell in busy:
            skipped.append((cell, "已有未完成的任务", "has such a task already"))
        elif found is None and cell in given.cells:
            raise ActionError(
                "invalid",
                f"网格{cell}没有应转移人数，请填 to_move 或先导入人员清单",
                f"cell {cell}: to_move is missing; give it, or put the cell into /api/flood/headcounts",
                "cells",
            )
        elif given.kind == "evacuate" and not found:
            skipped.append((cell, "无人需要转移", "nobody to move"))
        else:
            people[cell] = found or 0
    if not people:
        why, why_en = skipped[0][1:]
        raise ActionError(
            "conflict", f"没有可下达的网格：{why}", f"no cell is left to order: each {why_en}", "cells"
        )
    if max(people.values()) > MOST_PEOPLE:
        raise ActionError(
            "invalid", "to_move：人数过多", f"to_move: at most {MOST_PEOPLE} in a cell", "cells"
        )
    return people, skipped


def _opening(  # the parts of one incident
    known: Directory,
    desk: Desk,
    given: Order,
    cell_id: int,
    cell: str,
    count: int,
    place: Place | None,
    reason: str,
    actor: str,
    now: datetime,
    temporary_id: int,
) -> Change:
    """The incident of one cell; what to do stands first in the order's reason, since that is what people read."""
    category = CATEGORIES[given.kind]
    matter = dispatch.Matter(category=category, cell_id=cell_id)
    decision = dispatch.decide(matter, known, now)
    title, title_en = (text.format(n=count) for text in TITLES[given.kind])
    due = given.deadline or decision.due_at
    until = due.astimezone(desk.zone)
    decision = replace(
        decision,
        due_at=due,
        reason=f"{title}，{until:%m-%d %H:%M}前完成：{reason}；{decision.reason}",
        reason_en=f"{title_en} by {until:%m-%d %H:%M}: {reason}; {decision.reason_en}",
    )
    middle = shape(place.geometry).representative_point() if place and place.geometry else None
    return dispatch.opening(
        matter,
        decision,
        now,
        temporary_id=temporary_id,
        actor=actor,
        source="person",
        title=title,
        detail={"category": category, "cell": cell, "task": given.kind, "to_move": count},
        text=reason,
        exercise=given.exercise,
        position=(middle.x, middle.y) if middle is not None else None,
    )


async def _log_order(  # the parts of one entry
    connection: Connection,
    desk: Desk,
    given: Order,
    people: Mapping[str, int],
    reason: str,
    actor: str,
    now: datetime,
) -> None:
    count, total = len(people), sum(people.values())
    names = "、".join(list(people)[:10]) + ("…" if count > 10 else "")
    what, what_en = (
        (f"下达转移任务：{count}个网格，{total}人", f"Evacuation ordered: {count} cells, {total} people")
        if given.kind == "evacuate"
        else (f"下达巡查任务：{count}个网格", f"Inspection ordered: {count} cells")
    )
    await desk.log(
        connection,
        now,
        "task",
        f"{what}（{names}）。{reason}",
        f"{what_en} ({names}). {reason}",
        actor=actor,
        exercise=given.exercise,
    )


# ── reported ─────────────────────────────────────────────────────────────────────────────────────────


async def report(
    connection: Connection,
    settings: Settings,
    desk: Desk,
    task_id: int,
    given: Report,
    *,
    note: str,
    actor: str,
    now: datetime,
    expected: int | None,
) -> Task:
    """Append what was reported, in the caller's transaction; returns the task as it was before.

    Raises ActionError, evacuation.TaskError. The incident is locked before the task, as everywhere.
    """
    incident_id = await flood_tasks.incident_of(connection, task_id)
    incident = await incidents.lock(connection, incident_id) if incident_id is not None else None
    task = await flood_tasks.lock(connection, task_id)
    if task is None or incident is None:
        raise ActionError("not_found", f"没有任务{task_id}", f"there is no task {task_id}")
    desks.expect(expected, task.version, f"task {task_id}", "任务")
    if incident.closed_at is not None:
        raise ActionError(
            "conflict",
            f"事件{incident.number}已结案，任务不再接收进展",
            f"incident {incident.number} is {incident.state}: its task takes no more reports",
        )
    words = desks.sayable("note", note)
    why = desks.sayable("reason", given.reason)
    after = evacuation.report(task.kind, task.counts, task.done_at is not None, given)
    await flood_tasks.report(
        connection, task_id, after.counts, done=after.done, note=words, reason=why, actor=actor, now=now
    )
    known = await directory.load(connection, settings.zone, settings.urge_after)
    happenings = [
        Happening(kind="task_reported", actor=actor, detail=_detail(after.counts), text=_typed(why, words))
    ]
    newly = after.done and task.done_at is None
    if newly:
        happenings.append(Happening(kind="task_done", detail={"task": task_id}))
    change = Change(incident=replace(incident, version=incident.version + 1), happenings=tuple(happenings))
    await store(connection, known, [change], now, mail=desk.mail)
    if newly:
        await _log_done(connection, desk, task, after, now)
    kind = "flood.task.done" if newly else "flood.task.reported"
    await changes.append(connection, [(kind, str(task_id))])
    return task


def _detail(counts: Counts) -> dict[str, object]:
    return {
        "to_move": counts.to_move,
        "moved": counts.moved,
        "absent": counts.absent,
        "refused": counts.refused,
        "remaining": counts.remaining,
    }


def _typed(*parts: str) -> str:
    return "\n".join(part for part in parts if part)


async def _log_done(connection: Connection, desk: Desk, task: Task, after: Progress, now: datetime) -> None:
    counts = after.counts
    text, text_en = (
        (
            f"网格{task.cell}转移完成：转移{counts.moved}人，不在家{counts.absent}人",
            f"Cell {task.cell} evacuated: {counts.moved} moved, {counts.absent} not there",
        )
        if task.kind == "evacuate"
        else (f"网格{task.cell}巡查完成", f"Cell {task.cell} inspected")
    )
    await desk.log(connection, now, "task", text, text_en, about=f"task:{task.id}", exercise=task.exercise)
