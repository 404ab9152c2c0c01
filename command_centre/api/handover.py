"""The change of shift: what stands, the note, taking over."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response
from typing_extensions import TypedDict

from city.storage import handovers
from command_centre import handover
from command_centre.api import paging
from command_centre.api.answers import answer, gives
from command_centre.api.once import Key, once
from command_centre.api.refusals import refusable
from command_centre.api.services import async_transaction
from command_centre.api.session import Known

router = APIRouter(prefix="/api/handovers", tags=["shift"])

Number = Annotated[int, Path(ge=1, le=2**62)]


class NewNote(BaseModel):
    model_config = ConfigDict(extra="forbid")

    notes: str = Field("", max_length=8000, description="what the figures do not say")


class Taking(BaseModel):
    model_config = ConfigDict(extra="forbid")

    note: str = Field("", max_length=2000)


class HandoverCounts(TypedDict):
    open: dict[str, int] | None
    opened: int
    closed: int
    overdue: int
    lane: int
    unacknowledged: int
    requests: int
    alarms: int
    standing: int
    undelivered: int
    drills: int
    response_level: str | None


# Written as a call because "class" is a word of the language.
HandoverIncident = TypedDict(
    "HandoverIncident",
    {
        "id": int,
        "number": str,
        "class": Literal["A", "B", "C"],
        "state": str,
        "due_at": str | None,
        "opened_at": str,
        "category": str,
        "category_name": str,
        "category_name_en": str,
        "cell": str | None,
        "cell_name": str | None,
        "unit": str | None,
        "unit_name": str | None,
        "unit_name_en": str | None,
        "acknowledged": bool,
        "supervised": bool,
        "overdue": bool | None,
    },
)


class Silenced(TypedDict):
    scope: str
    state: str
    alarm: int | None
    rule: str | None
    device: str
    cell: str | None
    until: str | None
    reason: str
    by: str
    held: int


class WarningInForce(TypedDict):
    id: int
    colour: str
    expires_at: str


class HandoverFigures(TypedDict):
    counts: HandoverCounts
    incidents: list[HandoverIncident]
    incidents_of: int
    silenced: list[Silenced]
    warnings: list[WarningInForce]


class Standing(TypedDict):
    began_at: str
    at: str
    figures: HandoverFigures


class Handover(TypedDict):
    id: int
    began_at: str
    written_at: str
    written_by: str
    writer: str
    notes: str
    figures: HandoverFigures
    taken_at: str | None
    taken_by: str | None
    taker: str | None
    taken_note: str
    withdrawn_at: str | None


class Handovers(TypedDict):
    items: list[Handover]
    next: str | None


@router.get("", summary="Handovers", operation_id="list_handovers", responses=gives(Handovers))
async def list_handovers(
    request: Request, limit: paging.Limit = 20, cursor: paging.Cursor = None
) -> Response:
    """Newest first, withdrawn ones too."""
    before = paging.read(cursor, tuple[datetime, int])
    async with async_transaction(request) as connection:
        rows = await handovers.page(
            connection, before=(before[0], before[1]) if before else None, limit=limit + 1
        )
    return answer(paging.page(rows, limit, lambda row: [row["written_at"], row["id"]]))


@router.get(
    "/standing",
    summary="What a handover written now would say",
    operation_id="handover_standing",
    responses=gives(Standing),
)
async def standing(request: Request) -> Response:
    """Since the last one was written, or the last twelve hours."""
    async with async_transaction(request) as connection:
        return answer(await handover.standing(connection, datetime.now(UTC)))


@router.post(
    "", status_code=201, summary="Hand over", operation_id="write_handover", responses=gives(Handover, 201)
)
async def write(request: Request, body: NewNote, known: Known, key: Key = None) -> Response:
    """The figures are taken now and never again; 409 while the last one waits to be taken over."""
    async with async_transaction(request) as connection:

        async def work() -> dict[str, Any]:
            now = datetime.now(UTC)
            return await refusable(handover.write(connection, actor=known.actor, notes=body.notes, now=now))

        return await once(connection, known.actor, "POST /api/handovers", key, body, work, status=201)


@router.post("/{number}/take", summary="Take over", operation_id="take_handover", responses=gives(Handover))
async def take(request: Request, number: Number, body: Taking, known: Known) -> Response:
    """Somebody else than the writer; what is open belongs to the new shift from now on."""
    async with async_transaction(request) as connection:
        now = datetime.now(UTC)
        return answer(
            await refusable(handover.take(connection, number, actor=known.actor, note=body.note, now=now))
        )


@router.post(
    "/{number}/withdraw",
    summary="Withdraw one's own handover",
    operation_id="withdraw_handover",
    responses=gives(Handover),
)
async def withdraw(request: Request, number: Number, known: Known) -> Response:
    """Before anybody took it over."""
    async with async_transaction(request) as connection:
        now = datetime.now(UTC)
        return answer(await refusable(handover.withdraw(connection, number, actor=known.actor, now=now)))
