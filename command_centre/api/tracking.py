"""What a reporter sees and says afterwards, under the tracking number; and the hotline's calls back."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from city.reports import CITIZEN, spoken
from city.storage import report_lists, report_voices
from command_centre import following, photos
from command_centre.api import paging, turnstile
from command_centre.api.answers import answer
from command_centre.api.once import Key, once
from command_centre.api.refusals import refusable
from command_centre.api.report_form import MoreBody, read
from command_centre.api.reports import form_description, of_tracking, staff, usable_key
from command_centre.api.services import async_transaction, services
from command_centre.api.session import Known

router = APIRouter(prefix="/api", tags=["reports"])

MOST_CALLS = 3  # then nobody is called any more

Mark = Annotated[int, Field(ge=1, le=5)]


class Marks(BaseModel):
    model_config = ConfigDict(extra="forbid")

    response: Mark = Field(description="how soon somebody answered")
    result: Mark = Field(description="whether it was solved")
    manner: Mark = Field(description="how people behaved")


class Rating(Marks):
    comment: str = Field("", max_length=1000)

    def marks(self) -> dict[str, int]:
        """Without the comment."""
        return self.model_dump(include={"response", "result", "manner"})


class Reopen(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=1000, description="what was not solved")


class CallBack(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reached: bool
    satisfied: bool | None = Field(None, description="left out: did not say")
    words: str = Field("", max_length=2000)
    rating: Marks | None = Field(None, description="marks told on the telephone")


@router.get("/reports/{tracking}", summary="Progress of a report", operation_id="get_report")
async def get_report(request: Request, tracking: str) -> Response:
    """Steps with dates in plain words; follows merges. Staff also see the report itself."""
    async with of_tracking(request, tracking) as (connection, report):
        shown = await following.view(connection, report)
        if staff(request) is None:
            return answer(shown)
        row = await report_lists.listed(connection, report.id) or {}
        return answer(
            {
                **shown,
                "report": {**row, "tracking": spoken(report.tracking)},
                "calls": await report_voices.callbacks(connection, report.id),
                "notices": await report_voices.notices(connection, report.id),
            },
            headers={"ETag": f'"{report.version}"'},
        )


@router.post(
    "/reports/{tracking}/more",
    summary="Add to a report",
    operation_id="add_to_report",
    openapi_extra=form_description(MoreBody),
)
async def add(request: Request, tracking: str, key: Key = None) -> Response:
    """Words, photos or both, until it is closed."""
    known = staff(request)
    if known is None:
        usable_key(key)
        await turnstile.admit(request)
    given = await read(request)
    body = given.as_body(MoreBody)
    given.raise_refused()
    actor = known.actor if known else CITIZEN
    settings = services(request).settings
    async with of_tracking(request, tracking, lock=True) as (connection, report):

        async def work() -> dict[str, Any]:
            now = datetime.now(UTC)
            kept = await photos.keep(connection, settings.photo_folder, given.taken, actor=actor, now=now)
            await refusable(
                following.add(
                    connection, settings, report, text=body.text, digests=kept, actor=actor, now=now
                )
            )
            return await following.view(connection, report)

        route = f"POST /api/reports/{report.id}/more"
        return await once(connection, actor, route, key, given.sent(body), work)


@router.post("/reports/{tracking}/rating", summary="Rate what was done", operation_id="rate_report")
async def rate(request: Request, tracking: str, body: Rating) -> Response:
    """Once it was answered; a second rating corrects the first within a week of it."""
    known = staff(request)
    if known is None:
        await turnstile.admit(request)
    async with of_tracking(request, tracking, lock=True) as (connection, report):
        await refusable(
            following.rate(
                connection,
                services(request).settings,
                report,
                marks=body.marks(),
                comment=body.comment,
                actor=known.actor if known else CITIZEN,
                now=datetime.now(UTC),
            )
        )
        return answer(await following.view(connection, report))


@router.post(
    "/reports/{tracking}/reopen", summary="Ask for it to be done again", operation_id="reopen_report"
)
async def reopen(request: Request, tracking: str, body: Reopen) -> Response:
    """Once, within seven days of its end."""
    settings = services(request).settings
    await turnstile.admit(request)
    async with of_tracking(request, tracking, lock=True) as (connection, report):
        await refusable(
            following.reopen(
                connection, settings, report, reason=body.reason, actor=CITIZEN, now=datetime.now(UTC)
            )
        )
        return answer(await following.view(connection, report))


@router.post("/reports/{tracking}/callback", summary="Record a call back", operation_id="record_callback")
async def record_callback(request: Request, tracking: str, body: CallBack, known: Known) -> Response:
    """Whether anybody answered, what they said, and the marks they gave."""
    async with of_tracking(request, tracking, lock=True) as (connection, report):
        await refusable(
            following.called_back(
                connection,
                services(request).settings,
                report,
                reached=body.reached,
                satisfied=body.satisfied,
                words=body.words,
                marks=body.rating.model_dump() if body.rating else None,
                actor=known.actor,
                now=datetime.now(UTC),
            )
        )
        return answer({"calls": await report_voices.callbacks(connection, report.id)})


@router.get("/callbacks", summary="Calls back that are due", operation_id="list_callbacks")
async def list_callbacks(
    request: Request, limit: paging.Limit = 100, cursor: paging.Cursor = None
) -> Response:
    """Answered or closed, a call was asked for, nobody was reached in up to three tries. Newest first."""
    before = paging.read(cursor, tuple[int])
    async with async_transaction(request) as connection:
        rows = await report_voices.callbacks_due(
            connection, MOST_CALLS, before[0] if before else None, limit + 1
        )
    shown = [{**row, "tracking": spoken(str(row["tracking"]))} for row in rows]
    return answer(paging.page(shown, limit, lambda row: [row["id"]]))
