"""Who saw and did what: searched by supervisors, taken out as a file, and whether its chain keeps up."""

import csv
import io
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime
from starlette.responses import Response
from typing_extensions import TypedDict

from city.storage import audit
from command_centre.api import paging
from command_centre.api.answers import answer, files, gives
from command_centre.api.problem import Problem, field_problem
from command_centre.api.services import async_transaction
from command_centre.flood.duty_log import safe

router = APIRouter(prefix="/api/audit", tags=["audit"])

MOST_EXPORTED = 50_000


class AuditEntry(TypedDict):
    """``actor`` by number, ``by`` how they are called today; ``seq`` null = not chained yet."""

    id: int
    at: str
    actor: str
    by: str
    action: str
    object: str
    reason: str
    detail: dict[str, Any]
    request: str
    seq: int | None
    erased_at: str | None


class AuditPage(TypedDict):
    items: list[AuditEntry]
    next: str | None


class AuditState(TypedDict):
    """``chained`` rows end in ``head``; ``waiting`` are not chained yet, the oldest of them since ``waiting_since``."""

    chained: int
    head: str
    waiting: int
    waiting_since: str | None


Actor = Annotated[str, Query(max_length=100, description="user:7, api-token, command-line, system")]
Action = Annotated[str, Query(max_length=100, description="a beginning: session. or user.created")]
Thing = Annotated[str, Query(alias="object", max_length=300, description="a beginning: device:D7")]
Since = Annotated[AwareDatetime | None, Query(alias="from", description="with offset, included")]
Until = Annotated[AwareDatetime | None, Query(alias="to", description="with offset, excluded")]


@router.get("", summary="Who saw and did what", operation_id="list_audit", responses=gives(AuditPage))
async def list_audit(  # each is one parameter of the query
    request: Request,
    actor: Actor = "",
    action: Action = "",
    thing: Thing = "",
    since: Since = None,
    until: Until = None,
    limit: paging.Limit = 100,
    cursor: paging.Cursor = None,
) -> Response:
    """Newest first. Looking here is recorded as well, each page of it."""
    before = paging.read(cursor, tuple[int])
    rows = await _found(
        request,
        audit.Sought(actor=actor, action=action, object=thing, since=since, until=until),
        before=before[0] if before else None,
        limit=limit + 1,
    )
    return answer(paging.page(rows, limit, lambda row: [row.id]))


@router.get(
    ".csv",
    summary="Who saw and did what, as a file",
    operation_id="export_audit",
    response_class=Response,
    responses=files("text/csv"),
)
async def export_audit(
    request: Request,
    actor: Actor = "",
    action: Action = "",
    thing: Thing = "",
    since: Since = None,
    until: Until = None,
) -> Response:
    """At most 50,000 rows, newest first, in UTC; refused with 422 where there are more."""
    sought = audit.Sought(actor=actor, action=action, object=thing, since=since, until=until)
    rows = await _found(request, sought, before=None, limit=MOST_EXPORTED + 1)
    if len(rows) > MOST_EXPORTED:
        raise Problem(
            422,
            f"more than {MOST_EXPORTED} entries: name a shorter span with from and to",
            f"超过{MOST_EXPORTED}条，请用 from 和 to 缩短时间范围",
        )
    headers = {"Content-Disposition": 'attachment; filename="audit.csv"'}
    return Response(_csv(rows).encode("utf-8-sig"), 200, headers, "text/csv; charset=utf-8")


@router.get(
    "/state", summary="How far the audit is chained", operation_id="audit_state", responses=gives(AuditState)
)
async def audit_state(request: Request) -> Response:
    """What `city audit verify` proves begins at the first row and ends in this head."""
    async with async_transaction(request) as connection:
        end = await audit.end(connection)
        waiting, since = await audit.waiting(connection)
    return answer({"chained": end.seq, "head": end.hash.hex(), "waiting": waiting, "waiting_since": since})


async def _found(
    request: Request, sought: audit.Sought, *, before: int | None, limit: int
) -> list[audit.Found]:
    if sought.since is not None and sought.until is not None and sought.until <= sought.since:
        raise field_problem("to", sought.until, "lies before from; exchange them", "早于 from，请对调")
    async with async_transaction(request) as connection:
        return await audit.find(connection, sought, before=before, limit=limit)


def _csv(rows: list[audit.Found]) -> str:
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(["seq", "at", "actor", "by", "action", "object", "reason", "detail", "request"])
    for row in rows:
        said = [row.actor, row.by, row.action, row.object, row.reason, _plain(row.detail), row.request]
        lines.writerow([row.seq or "", _instant(row.at), *(safe(one) for one in said)])
    return text.getvalue()


def _plain(detail: dict[str, Any]) -> str:
    return "; ".join(f"{name}: {value}" for name, value in detail.items())


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")
