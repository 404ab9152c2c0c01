"""Alarms: episodes in which a rule's condition stood; acknowledged, shelved, explained."""

from datetime import UTC, datetime
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from city.alarms import AlarmState
from city.storage import alarm_shelves, alarms
from command_centre import alarm_actions, why
from command_centre.api import paging
from command_centre.api.answers import answer, gives
from command_centre.api.problem import field_problem
from command_centre.api.refusals import refusable
from command_centre.api.services import async_transaction, services
from command_centre.api.session import Known
from command_centre.api.shapes.alarms import Alarm, Alarms, WhyAlarm

router = APIRouter(prefix="/api/alarms", tags=["alarms"])

_STANDING = {"open": True, "cleared": False, "all": None}


class Shelve(BaseModel):
    model_config = ConfigDict(extra="forbid")

    until: AwareDatetime = Field(description="end, with offset; at most 24 hours from now")
    reason: str = Field(min_length=1, max_length=500)


class Unshelve(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field("", max_length=500)


@router.get("", summary="Alarms", operation_id="list_alarms", responses=gives(Alarms))
async def list_alarms(  # each is one parameter of the query
    request: Request,
    state: Annotated[
        str,
        Query(max_length=100, description="open, cleared or all; or ISA-18.2 states separated by commas"),
    ] = "all",
    incident: Annotated[int | None, Query(ge=1)] = None,
    device: Annotated[str | None, Query(max_length=100)] = None,
    exercise: Annotated[bool | None, Query(description="of drills; left out: both")] = None,
    limit: paging.Limit = 100,
    cursor: paging.Cursor = None,
) -> Response:
    """Newest first, with the evidence each rests on.

    `state` is the ISA-18.2 one; `first_out` marks the first of a group in its incident.
    """
    before = paging.read(cursor, tuple[int])
    standing, states = _wanted(state)
    async with async_transaction(request) as connection:
        rows = await alarms.page(
            connection,
            now=datetime.now(UTC),
            standing=standing,
            states=states,
            incident=incident,
            device=device,
            exercise=exercise,
            before=before[0] if before else None,
            limit=limit + 1,
        )
    return answer(paging.page(rows, limit, lambda row: [row["id"]]))


def _wanted(state: str) -> tuple[bool | None, tuple[str, ...]]:
    if state in _STANDING:
        return _STANDING[state], ()
    known = get_args(AlarmState)
    states = tuple(part.strip().upper() for part in state.split(",") if part.strip())
    if not states or any(one not in known for one in states):
        choices = ", ".join((*_STANDING, *known))
        raise field_problem("state", state, f"use {choices}", f"可用：{choices}")
    return None, states


@router.get("/shelved", summary="What a person silenced", operation_id="list_shelved")
async def list_shelved(request: Request, limit: paging.Limit = 100, cursor: paging.Cursor = None) -> Response:
    """Alarms on the shelf, and devices under test, shelved or out of service: who, why, until when, how many held."""
    after = paging.read(cursor, tuple[datetime | None, str])
    async with async_transaction(request) as connection:
        rows = await alarm_shelves.page(
            connection, datetime.now(UTC), after=(after[0], after[1]) if after else None, limit=limit + 1
        )
    found = paging.page(rows, limit, lambda row: [row["until"], row["key"]])
    return answer({**found, "items": [_without_key(row) for row in found["items"]]})


def _without_key(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "key"}


@router.get("/{alarm_id}", summary="One alarm", operation_id="get_alarm", responses=gives(Alarm))
async def get_alarm(request: Request, alarm_id: int) -> Response:
    """As the list shows it."""
    async with async_transaction(request) as connection:
        return answer(await refusable(alarm_actions.shown(connection, alarm_id, datetime.now(UTC))))


@router.get(
    "/{alarm_id}/why", summary="Why this alarm", operation_id="explain_alarm", responses=gives(WhyAlarm)
)
async def explain(request: Request, alarm_id: int) -> Response:
    """From stored data only: rule, limits, scope, evidence, readings around it, what happened to it, in words."""
    now = datetime.now(UTC)
    async with async_transaction(request) as connection:
        await refusable(alarm_actions.shown(connection, alarm_id, now))
        return answer(await why.explain(connection, services(request).settings, alarm_id, now))


@router.post("/{alarm_id}/acknowledge", summary="Acknowledge an alarm", operation_id="acknowledge_alarm")
async def acknowledge(request: Request, alarm_id: int, known: Known) -> Response:
    """The first acknowledgement counts, also after it cleared; the incident is acknowledged apart."""
    async with async_transaction(request) as connection:
        row = await refusable(
            alarm_actions.acknowledge(connection, alarm_id, actor=known.actor, now=datetime.now(UTC))
        )
    return answer(row)


@router.post("/{alarm_id}/shelve", summary="Shelve an alarm", operation_id="shelve_alarm")
async def shelve(request: Request, alarm_id: int, body: Shelve, known: Known) -> Response:
    """Its rule on its device is silent until then; what still stands afterwards comes back by itself."""
    async with async_transaction(request) as connection:
        row = await refusable(
            alarm_actions.shelve(
                connection,
                alarm_id,
                until=body.until,
                reason=body.reason,
                actor=known.actor,
                role=known.role,
                now=datetime.now(UTC),
            )
        )
    return answer(row)


@router.post("/{alarm_id}/unshelve", summary="Take an alarm off the shelf", operation_id="unshelve_alarm")
async def unshelve(request: Request, alarm_id: int, known: Known, body: Unshelve | None = None) -> Response:
    """Before its time; it comes back unacknowledged when it still stands."""
    async with async_transaction(request) as connection:
        row = await refusable(
            alarm_actions.unshelve(
                connection,
                alarm_id,
                actor=known.actor,
                reason=body.reason if body else "",
                now=datetime.now(UTC),
            )
        )
    return answer(row)
