"""Evacuation and inspection: ordered by cell, reported by grid workers, added up for the desk."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request
from psycopg import AsyncConnection
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from city.flood import TaskKind
from city.storage import changes, flood_tasks
from command_centre.api.access import ROLES
from command_centre.api.answers import answer
from command_centre.api.caller import Caller
from command_centre.api.once import Key, once, tag, version
from command_centre.api.problem import Problem, field_problem, not_found
from command_centre.api.refusals import refusable
from command_centre.api.services import async_transaction, services
from command_centre.api.session import Known
from command_centre.flood import desk as desks
from command_centre.flood import evacuation, headcounts, task_actions
from command_centre.flood.evacuation import MOST_PEOPLE, Report, TaskError
from command_centre.flood.task_actions import MOST_CELLS, Order

router = APIRouter()

Connection = AsyncConnection[Any]
Code = Annotated[str, Field(min_length=1, max_length=100)]
People = Annotated[int, Field(ge=0, le=MOST_PEOPLE)]


class CellOrder(BaseModel):
    model_config = ConfigDict(extra="forbid")

    cell: Code
    to_move: People | None = Field(None, description="left out = as /api/flood/headcounts says")


class NewTasks(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: TaskKind
    cells: list[CellOrder | Code] = Field([], max_length=MOST_CELLS)
    areas: list[Code] = Field([], max_length=500, description="streets or communities, for all their cells")
    deadline: AwareDatetime | None = Field(None, description="left out = as the responsibility list says")
    reason: str = Field(max_length=4000)
    note: str = Field("", max_length=4000)
    exercise: bool = False


class TaskReport(BaseModel):
    """Sums so far, so that a report sent twice counts once. Left out = as before."""

    model_config = ConfigDict(extra="forbid")

    moved: int | None = Field(None, description="people moved so far")
    absent: int | None = Field(None, description="not there, checked at the door: need not be moved")
    refused: int | None = Field(None, description="unwilling: they remain to be moved")
    to_move: int | None = Field(None, description="how many there really are; needs a reason")
    done: bool | None = Field(None, description="for an inspection: the round was made")
    note: str = Field("", max_length=4000)
    reason: str = Field("", max_length=4000, description="needed for what is possible but rare")


@router.get("/tasks", summary="Evacuation and inspection tasks", operation_id="list_flood_tasks")
async def list_tasks(
    request: Request,
    kind: TaskKind | None = None,
    state: Annotated[
        Literal["open", "done", "all"], Query(description="open = incident not closed")
    ] = "open",
    street: Annotated[str | None, Query(max_length=100)] = None,
    exercise: Annotated[bool, Query(description="a drill's tasks are a list of their own")] = False,
) -> Response:
    """Whoever remains to be moved first, with totals of the list for the district and for each street."""
    async with async_transaction(request) as connection:
        rows = await flood_tasks.listed(connection, kind=kind, state=state, street=street, exercise=exercise)
    whole = evacuation.totals(rows, "district")
    return answer(
        {
            "items": rows,
            "next": None,
            "totals": {
                "district": whole[0] if whole else evacuation.NOBODY,
                "streets": evacuation.totals(rows, "street"),
            },
        }
    )


@router.post(
    "/tasks", status_code=201, summary="Order an evacuation or inspection", operation_id="order_flood_tasks"
)
async def order(request: Request, body: NewTasks, known: Known, key: Key = None) -> Response:
    """Opens one incident for each cell, dispatched by the responsibility list; all of them or none.

    `skipped` names cells that have such a task already, or nobody to move.
    """
    cells: dict[str, int | None] = {}
    for given in body.cells:
        code, count = (given, None) if isinstance(given, str) else (given.cell, given.to_move)
        if code in cells:
            raise field_problem("cells", code, "stands twice; add the numbers up", "网格重复，请合并人数")
        if count is not None and body.kind == "inspect":
            raise field_problem("to_move", count, "an inspection moves nobody", "巡查任务不计人数")
        cells[code] = count
    wanted = Order(
        kind=body.kind,
        cells=cells,
        areas=tuple(dict.fromkeys(body.areas)),
        deadline=body.deadline,
        reason=body.reason,
        note=body.note,
        exercise=body.exercise,
    )
    async with async_transaction(request) as connection:

        async def work() -> dict[str, Any]:
            settings = services(request).settings
            desk = await desks.read(connection, settings)
            done = await refusable(
                task_actions.order(
                    connection, settings, desk, wanted, actor=known.actor, now=datetime.now(UTC)
                )
            )
            return {
                "items": await flood_tasks.these(connection, done.tasks),
                "skipped": [
                    {"cell": cell, "reason": why, "reason_en": why_en} for cell, why, why_en in done.skipped
                ],
            }

        return await once(connection, known.actor, "POST /api/flood/tasks", key, body, work, status=201)


@router.get("/tasks/{task_id}", summary="One task with its reports", operation_id="get_flood_task")
async def get_task(request: Request, task_id: int) -> Response:
    """Every report in order; the ETag is the task's version."""
    async with async_transaction(request) as connection:
        shown = await _task(connection, task_id)
    return answer(shown, headers={"ETag": tag(shown["version"])})


@router.post("/tasks/{task_id}/progress", summary="Report on a task", operation_id="report_flood_task")
async def progress(  # path, body, caller and two headers
    request: Request,
    task_id: int,
    body: TaskReport,
    known: Known,
    key: Key = None,
    if_match: Annotated[str | None, Header(max_length=64)] = None,
) -> Response:
    """Appended to the task and to its incident's timeline. When nobody remains, `suggestion` says to handle it.

    By the centre, or by whoever acts for the unit that has the incident, or for one that handles beside it.
    """
    given = Report(
        moved=body.moved,
        absent=body.absent,
        refused=body.refused,
        to_move=body.to_move,
        done=body.done,
        reason=body.reason,
    )
    async with async_transaction(request) as connection:

        async def work() -> dict[str, Any]:
            settings = services(request).settings
            await _only_those_who_move(connection, task_id, known)
            desk = await desks.read(connection, settings)
            try:
                await refusable(
                    task_actions.report(
                        connection,
                        settings,
                        desk,
                        task_id,
                        given,
                        note=body.note,
                        actor=known.actor,
                        now=datetime.now(UTC),
                        expected=version(if_match),
                    )
                )
            except TaskError as error:
                raise field_problem(error.field, error.value, error.remedy, error.remedy_zh) from error
            return await _task(connection, task_id)

        route = f"POST /api/flood/tasks/{task_id}/progress"
        return await once(connection, known.actor, route, key, body, work, etag=_tag)


async def _only_those_who_move(connection: Connection, task_id: int, known: Caller) -> None:
    """Raises Problem 403 for people of a unit that has nothing to do with the task."""
    if known.role in ROLES["dispatcher"]:
        return
    units = await flood_tasks.units_of(connection, task_id)
    if known.unit_id is None or known.unit_id not in units:
        raise Problem(403, "this task is not with your unit", "此任务不在本单位")


async def _task(connection: Connection, task_id: int) -> dict[str, Any]:
    row = await flood_tasks.get(connection, task_id)
    if row is None:
        raise not_found("task", "任务", task_id)
    suggestion = None
    if row["done_at"] is not None and row["state"] in ("dispatched", "acknowledged"):
        suggestion = {
            "action": "handle",
            "href": f"/api/incidents/{row['incident']}/handle",
            "reason": "任务已完成，请办结事件",
            "reason_en": "the task is done: handle its incident",
        }
    return {**row, "reports": await flood_tasks.reports(connection, task_id), "suggestion": suggestion}


def _tag(shown: dict[str, Any]) -> str:
    return tag(shown["version"])


# ── headcounts ───────────────────────────────────────────────────────────────────────────────────────


@router.get("/headcounts", summary="Who must be moved when water comes", operation_id="list_headcounts")
async def list_headcounts(request: Request) -> Response:
    """By cell, as the streets' list was last sent."""
    async with async_transaction(request) as connection:
        return answer({"items": await flood_tasks.headcounts(connection), "next": None})


@router.put(
    "/headcounts",
    summary="Send the list of people to move",
    operation_id="write_headcounts",
    openapi_extra={
        "requestBody": {"content": {"text/csv": {"schema": {"type": "string"}}}, "required": True}
    },
)
async def write_headcounts(request: Request, known: Known) -> Response:
    """CSV in UTF-8 with the columns cell, to_move, note. Cells in it are written over, others stay; all or nothing."""
    try:
        rows = headcounts.read(await request.body())
    except headcounts.HeadcountsError as error:
        faults = [{"field": "body", "remedy": line} for line in str(error).splitlines()]
        raise Problem(422, str(error).splitlines()[0], f"人员清单有误：{error}", errors=faults) from error
    async with async_transaction(request) as connection:
        listed = [(row.cell, row.to_move, row.note) for row in rows]
        unknown = await flood_tasks.write_headcounts(connection, listed, known.actor, datetime.now(UTC))
        if unknown:
            shown = ", ".join(unknown[:20])
            raise field_problem("cell", shown, "no cell of this district; see /api/cells", "不是本区网格")
        await changes.append(connection, [("flood.headcounts", str(len(rows)))])
        return answer({"items": await flood_tasks.headcounts(connection), "next": None})
