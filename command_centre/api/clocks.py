"""All clocks of an incident, the board of running clocks, and the ladder of urging."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from city.clocks import Stage
from city.storage import clocks, urging
from city.urging import UrgingError, UrgingStep, check
from command_centre import clock_words
from command_centre.api import paging
from command_centre.api.answers import answer, gives
from command_centre.api.problem import Problem, not_found
from command_centre.api.services import async_transaction, known_directory
from command_centre.api.session import Known
from command_centre.api.shapes.incidents import Clocks

router = APIRouter(prefix="/api", tags=["clocks"])


@router.get(
    "/incidents/{incident_id}/clocks",
    summary="All clocks of an incident",
    operation_id="incident_clocks",
    responses=gives(Clocks),
)
async def incident_clocks(request: Request, incident_id: int) -> Response:
    """In the order they were started, those that are over too; `next` says who hears of it next, and when."""
    now = datetime.now(UTC)
    async with async_transaction(request) as connection:
        directory = await known_directory(request).fresh(connection, now)
        incident = await clocks.owner(connection, incident_id)
        if incident is None:
            raise not_found("incident", "事件", incident_id)
        found = await clocks.of(connection, incident_id)
    items = [clock_words.shown(clock, incident, directory, now) for clock in found]
    return answer({"items": items, "next": None})


@router.get("/clocks", summary="Running clocks", operation_id="list_clocks")
async def list_clocks(
    request: Request,
    unit: Annotated[
        str | None, Query(max_length=100, description="code of the unit whose time it is")
    ] = None,
    stage: Stage | None = None,
    overdue: Annotated[
        bool | None, Query(description="only those past their deadline, or only the others")
    ] = None,
    limit: paging.Limit = 100,
    cursor: paging.Cursor = None,
) -> Response:
    """The most pressing first. A clock without unit is the centre's own time."""
    after = paging.read(cursor, tuple[datetime, int])
    async with async_transaction(request) as connection:
        rows = await clocks.board(
            connection,
            datetime.now(UTC),
            unit=unit,
            stage=stage,
            overdue=overdue,
            after=(after[0], after[1]) if after else None,
            limit=limit + 1,
        )
    return answer(paging.page(rows, limit, lambda row: [row["due_at"], row["id"]]))


# ── who is told ──────────────────────────────────────────────────────────────────────────────────────


class GivenStep(BaseModel):
    model_config = ConfigDict(extra="forbid")

    event_level: int = Field(0, description="1 to 4; 0 = all")
    incident_class: str = Field("", alias="class", max_length=10, description="A, B or C; empty = all")
    stage: str = Field(max_length=40)
    step: int = Field(description="from 1, in order of time")
    at: str = Field(max_length=20, description="relative to the deadline: -20%, -30m, 0, +50%, +4wh")
    purpose: str = Field(max_length=40, description="remind, overdue, urge or escalate")
    tell: list[str] = Field(
        max_length=10, description="handler, unit_lead, parent_lead, district, supervisor"
    )


class GivenLadder(BaseModel):
    model_config = ConfigDict(extra="forbid")

    items: list[GivenStep] = Field(max_length=2000, description="the whole ladder, each set in its order")
    reason: str = Field(min_length=1, max_length=2000, pattern=r"\S", description="why; kept for good")


@router.get("/urging", summary="Who hears of deadlines, and when", operation_id="get_urging")
async def get_urging(request: Request) -> Response:
    """All steps; what names an event level or class holds instead of what names none."""
    async with async_transaction(request) as connection:
        return _ladder((await urging.ladder(connection)).steps)


@router.put("/urging", summary="Change who hears of deadlines", operation_id="put_urging")
async def put_urging(
    request: Request,
    body: GivenLadder,
    known: Known,
    if_match: Annotated[str | None, Header(max_length=64)] = None,
) -> Response:
    """Replaces the whole ladder. Running clocks take the steps to come from it; what was told stays told."""
    steps = [_step(one) for one in body.items]
    try:
        check(steps)
    except UrgingError as error:
        raise Problem(
            422,
            f"{error.field} = {error.value}: {error.remedy}",
            f"{error.field} = {error.value}：{error.remedy_zh}",
            errors=[{"field": error.field, "value": str(error.value), "remedy": error.remedy}],
        ) from error
    now = datetime.now(UTC)
    async with async_transaction(request) as connection:
        await urging.lock(connection)
        if if_match not in (None, "*", _tag(_listed((await urging.ladder(connection)).steps))):
            raise Problem(412, "the ladder is another by now: read it again", "催办规则已被修改，请重新读取")
        await clocks.look_again(connection, now)
        await urging.replace_all(connection, steps, actor=known.actor, reason=body.reason.strip(), now=now)
        return _ladder((await urging.ladder(connection)).steps)


def _step(given: GivenStep) -> UrgingStep:
    return UrgingStep(
        event_level=given.event_level,
        incident_class=given.incident_class,
        stage=given.stage,  # type: ignore[arg-type]  # here and below: ``check`` refuses what is no such word
        step=given.step,
        at=given.at,
        purpose=given.purpose,  # type: ignore[arg-type]
        tell=tuple(given.tell),  # type: ignore[arg-type]
    )


def _ladder(steps: Sequence[UrgingStep]) -> Response:
    items = _listed(steps)
    return answer({"items": items, "next": None}, headers={"ETag": _tag(items)})


def _listed(steps: Sequence[UrgingStep]) -> list[dict[str, Any]]:
    return [
        {
            "event_level": step.event_level,
            "class": step.incident_class,
            "stage": step.stage,
            "step": step.step,
            "at": step.at,
            "purpose": step.purpose,
            "tell": list(step.tell),
        }
        for step in steps
    ]


def _tag(items: list[dict[str, Any]]) -> str:
    return f'"{hashlib.sha256(msgspec.json.encode(items)).hexdigest()[:24]}"'
