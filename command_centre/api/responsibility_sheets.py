"""The responsibility list as a file: given out, tried, and taken in."""

import hashlib
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from command_centre import responsibility_sheet as sheet
from command_centre.api.answers import answer, files
from command_centre.api.problem import Problem
from command_centre.api.responsibility_reports import known_directory
from command_centre.api.services import async_transaction, transaction
from command_centre.api.session import Known

router = APIRouter(prefix="/api/responsibilities", tags=["responsibilities"])

Reason = Annotated[str, Query(min_length=1, max_length=2000, pattern=r"\S", description="why; kept for good")]
_CSV = {"requestBody": {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}}}


@router.get(
    ".csv",
    summary="The list as responsibilities.csv",
    operation_id="export_responsibilities",
    response_class=Response,
    responses=files("text/csv"),
)
def export_responsibilities(request: Request) -> Response:
    """What holds now or is to begin. `POST /api/responsibilities/import` and a district's folder take it back."""
    with transaction(request) as connection:
        text = sheet.text(connection, datetime.now(UTC))
    body = text.encode()
    headers = {
        "ETag": _tag_of_file(body),
        "Cache-Control": "no-cache",
        "Content-Disposition": 'attachment; filename="responsibilities.csv"',
    }
    return Response(body, 200, headers, "text/csv; charset=utf-8")


@router.post(
    "/import",
    summary="Make the list what a file says",
    operation_id="import_responsibilities",
    openapi_extra=_CSV,
)
async def import_responsibilities(
    request: Request,
    known: Known,
    reason: Reason,
    *,
    dry_run: Annotated[bool, Query(description="say what it would change, write nothing")] = False,
    if_match: Annotated[
        str | None, Header(max_length=64, description="ETag of GET /api/responsibilities.csv")
    ] = None,
) -> Response:
    """All of it or nothing: entries that the file leaves out are ended. Columns: docs/district-files.md."""
    body = await request.body()
    now = datetime.now(UTC)
    async with async_transaction(request) as connection:
        directory = await known_directory(request).fresh(connection, now)

    def take() -> dict[str, Any]:
        with transaction(request) as own:
            if if_match not in (None, "*"):
                sheet.lock(own)
                if if_match != _tag_of_file(sheet.text(own, now).encode()):
                    raise Problem(
                        412, "the list was changed meanwhile: export it again", "清单已被他人修改，请重新导出"
                    )
            return sheet.take(own, directory, body, actor=known.actor, reason=reason.strip(), dry_run=dry_run)

    try:
        done = await run_in_threadpool(take)
    except sheet.SheetError as error:
        raise Problem(422, str(error), error.reason, problems=list(error.lines)) from error
    return answer(done)


def _tag_of_file(exported: bytes) -> str:
    return f'"{hashlib.sha256(exported).hexdigest()[:24]}"'
