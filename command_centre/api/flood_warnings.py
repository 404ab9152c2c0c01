"""Warnings at the desk: drafted with a preview, issued, updated, cancelled."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Header, Query, Request
from psycopg import AsyncConnection
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from city.flood import Colour, Content, Hazard, WarningState
from city.storage import flood_warnings
from command_centre.api import paging
from command_centre.api.answers import answer
from command_centre.api.once import Key, once, tag, version
from command_centre.api.problem import Problem, field_problem, not_found
from command_centre.api.refusals import refusable
from command_centre.api.services import async_transaction, services
from command_centre.api.session import Known
from command_centre.flood import desk as desks
from command_centre.flood import warning_actions
from command_centre.flood.cap_check import Fault
from command_centre.flood.desk import Desk, NotIssuableError

router = APIRouter(prefix="/warnings")

Connection = AsyncConnection[Any]
Text = Annotated[str, Field(max_length=8000)]
Headline = Annotated[str, Field(max_length=160)]
Codes = Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=2000)]
STATES: tuple[str, ...] = get_args(WarningState)


class Said(BaseModel):
    """What a warning says; texts left out are written from colour, place and stations."""

    model_config = ConfigDict(extra="forbid")

    hazard: Hazard = "flood"
    headline: Headline = ""
    headline_en: Headline = ""
    description: Text = ""
    description_en: Text = ""
    instruction: Text = ""
    instruction_en: Text = ""
    areas: Codes = Field([], description="codes of cells, communities or streets; none = the whole district")
    stations: Codes = Field([], description="codes of /api/stations whose levels it rests on")
    onset: AwareDatetime | None = None
    certainty: Literal["Observed", "Likely", "Possible"] | None = Field(
        None, description="left out: Observed when a station is over its warning level, else by colour"
    )


class NewWarning(Said):
    colour: Colour
    expires: AwareDatetime
    exercise: bool = Field(False, description="fixed with the draft: its messages have CAP status Exercise")


class Act(Said):
    """A reason, and for issue and update what is said otherwise than before; fields left out stay."""

    reason: str = Field("", max_length=4000)
    colour: Colour | None = None
    expires: AwareDatetime | None = None


@router.get("", summary="Warnings", operation_id="list_warnings")
async def list_warnings(
    request: Request,
    state: Annotated[str | None, Query(max_length=100, description="states separated by commas")] = None,
    exercise: Annotated[bool | None, Query(description="left out = both")] = None,
    limit: paging.Limit = 100,
    cursor: paging.Cursor = None,
) -> Response:
    """Newest first, each with every message that went out for it. Statistics leave exercises out."""
    before = paging.read(cursor, tuple[int])
    wanted = [part.strip() for part in (state or "").split(",") if part.strip()]
    for part in wanted:
        if part not in STATES:
            raise field_problem("state", part, f"use {', '.join(STATES)}", f"可用：{', '.join(STATES)}")
    async with async_transaction(request) as connection:
        rows = await flood_warnings.page(
            connection,
            states=wanted,
            exercise=exercise,
            before=before[0] if before else None,
            limit=limit + 1,
        )
    return answer(paging.page(rows, limit, lambda row: [row["id"]]))


@router.post("", status_code=201, summary="Draft a warning", operation_id="draft_warning")
async def draft(request: Request, body: NewWarning, known: Known, key: Key = None) -> Response:
    """Answers the draft with `preview`: the CAP message as it would go out now, and what still hinders it."""
    async with async_transaction(request) as connection:

        async def work() -> dict[str, Any]:
            desk = await desks.read(connection, services(request).settings)
            given = _fields(body, desk)
            given.pop("exercise", None)
            number = await warning_actions.draft(
                connection,
                desk,
                Content(**given),
                exercise=body.exercise,
                actor=known.actor,
                now=datetime.now(UTC),
            )
            return await _shown(request, connection, number)

        route = "POST /api/flood/warnings"
        return await once(connection, known.actor, route, key, body, work, status=201, etag=_tag)


@router.get("/{warning_id}", summary="One warning", operation_id="get_warning")
async def get_warning(request: Request, warning_id: int) -> Response:
    """A draft comes with its preview; the ETag is its version."""
    async with async_transaction(request) as connection:
        shown = await _shown(request, connection, warning_id)
    return answer(shown, headers={"ETag": _tag(shown)})


@router.post(
    "/{warning_id}/{action}", summary="Issue, update or cancel a warning", operation_id="act_on_warning"
)
async def act(  # path, body, caller and two headers
    request: Request,
    warning_id: int,
    action: Literal["issue", "update", "cancel"],
    known: Known,
    body: Act,
    key: Key = None,
    if_match: Annotated[str | None, Header(max_length=64)] = None,
) -> Response:
    """Each writes one CAP message for good. `update` and `cancel` refer to every message before them."""
    async with async_transaction(request) as connection:

        async def work() -> dict[str, Any]:
            desk = await desks.read(connection, services(request).settings)
            changed = _fields(body, desk)
            changed.pop("reason", None)
            if changed and action == "cancel":
                raise field_problem(
                    next(iter(changed)), "(given)", "a cancellation only gives its reason", "解除预警只需理由"
                )
            try:
                await refusable(
                    warning_actions.act(
                        connection,
                        desk,
                        warning_id,
                        action,
                        changed=changed,
                        actor=known.actor,
                        reason=body.reason,
                        now=datetime.now(UTC),
                        expected=version(if_match),
                    )
                )
            except NotIssuableError as error:
                listed = "；".join(f"{fault.field}：{fault.remedy_zh}" for fault in error.faults[:5])
                raise Problem(
                    422,
                    str(error),
                    f"预警不能发布：{listed}",
                    errors=[_fault(one) for one in error.faults[:50]],
                ) from error
            return await _shown(request, connection, warning_id)

        route = f"POST /api/flood/warnings/{warning_id}/{action}"
        return await once(connection, known.actor, route, key, body, work, etag=_tag)


async def _shown(request: Request, connection: Connection, warning_id: int) -> dict[str, Any]:
    row = await flood_warnings.get(connection, warning_id)
    if row is None:
        raise not_found("warning", "预警", warning_id)
    if row["state"] != "draft":
        return row
    desk = await desks.read(connection, services(request).settings)
    made = await warning_actions.preview(connection, desk, warning_id, datetime.now(UTC))
    if made is None:
        return row
    shown = {
        "xml": made.xml.decode(),
        "headline": made.headline,
        "headline_en": made.headline_en,
        "problems": [_fault(fault) for fault in made.faults],
    }
    return {**row, "preview": shown}


def _fields(body: Said, desk: Desk) -> dict[str, Any]:
    """What was given, as ``Content`` has it: whole seconds, in the district's zone."""
    given: dict[str, Any] = {}
    for name in body.model_fields_set:
        value = getattr(body, name)
        if isinstance(value, datetime):
            value = value.astimezone(desk.zone).replace(microsecond=0)
        if isinstance(value, list):
            value = tuple(dict.fromkeys(value))
        if value is not None or name in ("onset", "certainty"):
            given[name] = value
    return given


def _fault(fault: Fault) -> dict[str, str]:
    return {"field": fault.field, "value": fault.value, "remedy": fault.remedy, "remedy_zh": fault.remedy_zh}


def _tag(shown: dict[str, Any]) -> str:
    return tag(shown["version"])
