"""The duty log: read, written to, corrected by a further entry, taken away as a table."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from city.storage import flood_duty_log
from command_centre.api import paging
from command_centre.api.answers import answer, files
from command_centre.api.once import Key, once
from command_centre.api.problem import Problem, field_problem
from command_centre.api.refusals import refusable
from command_centre.api.services import async_transaction, services
from command_centre.api.session import Known
from command_centre.flood import desk as desks
from command_centre.flood import duty_log

router = APIRouter(prefix="/duty-log")

MOST_EXPORTED = 100_000  # entries in one file: years of a desk


class NewEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str = Field(max_length=4000)
    refers_to: int | None = Field(None, ge=1, description="id of the entry that this one corrects")
    exercise: bool = False


@router.get(
    "", summary="The duty log", operation_id="duty_log", responses=files("text/csv", words="JSON, or a file")
)
async def entries(  # each is one parameter of the query
    request: Request,
    start: Annotated[AwareDatetime | None, Query(alias="from")] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to")] = None,
    form: Annotated[
        Literal["json", "csv"], Query(alias="format", description="csv = in order, for a file")
    ] = "json",
    limit: paging.Limit = 200,
    cursor: paging.Cursor = None,
) -> Response:
    """Newest first; entries written by the system have the actor `system`. The file is in the order of time."""
    if start is not None and end is not None and end <= start:
        raise field_problem("to", end, "lies before from; exchange them", "早于 from，请对调")
    before = paging.read(cursor, tuple[datetime, int])
    async with async_transaction(request) as connection:
        rows = await flood_duty_log.page(
            connection,
            start=start,
            end=end,
            before=(before[0], before[1]) if before else None,
            limit=MOST_EXPORTED + 1 if form == "csv" else limit + 1,
            oldest_first=form == "csv",
        )
        desk = await desks.read(connection, services(request).settings)
    if form == "csv":
        if len(rows) > MOST_EXPORTED:
            raise Problem(
                422,
                f"more than {MOST_EXPORTED} entries: name a shorter span with from and to",
                f"超过{MOST_EXPORTED}条，请用 from 和 to 缩短时间范围",
            )
        day = datetime.now(desk.zone)
        name = f"duty-log-{day:%Y%m%d-%H%M}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(duty_log.as_csv(rows, desk.zone), 200, headers, "text/csv; charset=utf-8")
    return answer(paging.page(rows, limit, lambda row: [row["at"], row["id"]]))


@router.post("", status_code=201, summary="Write into the duty log", operation_id="write_duty_log")
async def write(request: Request, body: NewEntry, known: Known, key: Key = None) -> Response:
    """Nothing written here can be changed; a correction is a further entry that names the old one."""
    async with async_transaction(request) as connection:

        async def work() -> dict[str, Any]:
            desk = await desks.read(connection, services(request).settings)
            text = await refusable(_said(body.text))
            exercise = body.exercise
            if body.refers_to is not None:
                corrected = await flood_duty_log.get(connection, body.refers_to)
                if corrected is None:
                    raise field_problem("refers_to", body.refers_to, "there is no such entry", "没有这条记录")
                exercise = corrected["exercise"]
            number = await desk.log(
                connection,
                datetime.now(UTC),
                "note" if body.refers_to is None else "correction",
                text,
                actor=known.actor,
                exercise=exercise,
                refers_to=body.refers_to,
            )
            return await flood_duty_log.get(connection, number) or {}

        return await once(connection, known.actor, "POST /api/flood/duty-log", key, body, work, status=201)


async def _said(text: str) -> str:
    return desks.said("text", text)
