"""The flood desk: response level and its triggers; warnings, tasks and the duty log stand in their own files."""

import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from psycopg import AsyncConnection
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from city.flood import ResponseLevel
from city.storage import flood_facts, flood_response
from command_centre.api import duty_log, flood_gauges, flood_tasks, flood_warnings
from command_centre.api.answers import answer
from command_centre.api.caller import Caller
from command_centre.api.once import Key, once, tag, version
from command_centre.api.problem import Problem
from command_centre.api.refusals import refusable
from command_centre.api.services import async_transaction, services
from command_centre.api.session import Known
from command_centre.flood import desk as desks
from command_centre.flood import response_actions
from command_centre.flood.desk import Desk
from command_centre.flood.triggers import TriggerError, definition_of

router = APIRouter(prefix="/api/flood", tags=["flood"])
router.include_router(flood_warnings.router)
router.include_router(flood_tasks.router)
router.include_router(duty_log.router)
router.include_router(flood_gauges.router)

SHOWN_HISTORY = 100
_WRITTEN_HERE = {"version", "changed_by", "changed_at"}
Connection = AsyncConnection[Any]
IfMatch = Annotated[str | None, Header(max_length=64)]


class Confirm(BaseModel):
    model_config = ConfigDict(extra="forbid")

    proposal: int = Field(ge=1, description="id of the proposal that is confirmed; must be the newest")
    reason: str = Field("", max_length=4000, description="left out = the proposal's own words")


class SetLevel(BaseModel):
    model_config = ConfigDict(extra="forbid")

    level: ResponseLevel
    reason: str = Field(max_length=4000, description="why this and not what was proposed")


class End(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field(max_length=4000)


class Triggers(BaseModel):
    model_config = ConfigDict(extra="forbid")

    items: list[dict[str, Any]] = Field(
        max_length=500, description="the whole set, in the order people read it"
    )
    reason: str = Field(max_length=4000)


@router.get("/response", summary="The response level in force and what is proposed", operation_id="response")
async def response(request: Request) -> Response:
    """With the triggers that fired, their values and limits, and the history; the ETag goes into If-Match."""
    async with async_transaction(request) as connection:
        shown = await _response(connection)
    return answer(shown, headers={"ETag": tag(shown["version"])})


@router.post("/response/confirm", summary="Confirm a proposal", operation_id="confirm_response")
async def confirm(
    request: Request, body: Confirm, known: Known, key: Key = None, if_match: IfMatch = None
) -> Response:
    """Puts the newest proposal into force."""

    async def change(connection: Connection, desk: Desk) -> None:
        await response_actions.confirm(
            connection,
            desk,
            body.proposal,
            actor=known.actor,
            reason=body.reason,
            now=datetime.now(UTC),
            expected=version(if_match),
        )

    return await _changed(request, known, "confirm", key, body, change)


@router.post("/response/set", summary="Set another level", operation_id="set_response")
async def set_level(
    request: Request, body: SetLevel, known: Known, key: Key = None, if_match: IfMatch = None
) -> Response:
    """Puts a level into force that was not proposed, with the reason."""

    async def change(connection: Connection, desk: Desk) -> None:
        await response_actions.set_level(
            connection,
            desk,
            body.level,
            actor=known.actor,
            reason=body.reason,
            now=datetime.now(UTC),
            expected=version(if_match),
        )

    return await _changed(request, known, "set", key, body, change)


@router.post("/response/end", summary="End the response", operation_id="end_response")
async def end(
    request: Request, body: End, known: Known, key: Key = None, if_match: IfMatch = None
) -> Response:
    """No level is in force afterwards."""

    async def change(connection: Connection, desk: Desk) -> None:
        await response_actions.end(
            connection,
            desk,
            actor=known.actor,
            reason=body.reason,
            now=datetime.now(UTC),
            expected=version(if_match),
        )

    return await _changed(request, known, "end", key, body, change)


async def _changed(
    request: Request,
    known: Caller,
    action: str,
    key: str | None,
    body: BaseModel,
    change: Callable[[Connection, Desk], Awaitable[None]],
) -> Response:
    async with async_transaction(request) as connection:

        async def work() -> dict[str, Any]:
            desk = await desks.read(connection, services(request).settings)
            await refusable(change(connection, desk))
            return await _response(connection)

        route = f"POST /api/flood/response/{action}"
        return await once(connection, known.actor, route, key, body, work, etag=_tag)


async def _response(connection: Connection) -> dict[str, Any]:
    district = await flood_facts.district(connection)
    history = await flood_response.history(connection, SHOWN_HISTORY)
    proposal = await flood_response.newest_proposal(connection)
    level = district["response_level"] if district else None
    last = history[0] if history else None
    if proposal is not None:
        proposal["open"] = proposal["answered_at"] is None and proposal["level"] != level
    return {
        "level": level,
        "since": last["at"] if last else None,
        "by": last["actor"] if last else None,
        "reason": last["reason"] if last else "",
        "version": last["id"] if last else 0,
        "proposal": proposal,
        "history": history,
    }


def _tag(shown: dict[str, Any]) -> str:
    return tag(shown["version"])


# ── triggers ─────────────────────────────────────────────────────────────────────────────────────────


@router.get("/triggers", summary="What proposes a response level", operation_id="list_triggers")
async def list_triggers(request: Request) -> Response:
    """Each with its limits and where they come from, in order."""
    async with async_transaction(request) as connection:
        shown = await _triggers(request, connection)
    return answer(shown, headers={"ETag": _set_tag(shown)})


@router.put("/triggers", summary="Replace the triggers", operation_id="replace_triggers")
async def replace_triggers(
    request: Request, body: Triggers, known: Known, if_match: IfMatch = None
) -> Response:
    """The whole set at once, checked before anything is written; the change stands in the audit with its reason."""
    async with async_transaction(request) as connection:
        await flood_response.lock_level(connection)
        before = await _triggers(request, connection)
        if if_match is not None and if_match.strip() not in ("*", _set_tag(before)):
            raise Problem(
                412, "the triggers were changed meanwhile: read them again", "触发条件已被他人修改，请刷新"
            )
        try:
            await refusable(
                response_actions.replace_triggers(
                    connection,
                    [_own_keys(item) for item in body.items],
                    actor=known.actor,
                    reason=body.reason,
                    now=datetime.now(UTC),
                )
            )
        except TriggerError as error:
            fault = {"field": error.field, "value": repr(error.value)[:200], "remedy": error.remedy}
            raise Problem(422, str(error), f"触发条件有误：{error}", errors=[fault]) from error
        shown = await _triggers(request, connection)
    return answer(shown, headers={"ETag": _set_tag(shown)})


def _own_keys(item: dict[str, Any]) -> dict[str, Any]:
    """Without what only we write, so that a list that was read may be sent back."""
    return {name: value for name, value in item.items() if name not in _WRITTEN_HERE}


async def _triggers(request: Request, connection: Connection) -> dict[str, Any]:
    desk = await desks.read(connection, services(request).settings)
    made = {one.id: one for one in await response_actions.triggers(connection, desk)}
    rows = await flood_response.triggers(connection)
    items = [
        {
            "id": row["id"],
            "level": row["level"],
            "enabled": row["enabled"],
            **definition_of(made[row["id"]]),
            "version": row["version"],
            "changed_by": row["changed_by"],
            "changed_at": row["changed_at"],
        }
        for row in rows
    ]
    return {"items": items, "next": None}


def _set_tag(shown: dict[str, Any]) -> str:
    versions = " ".join(f"{item['id']}:{item['version']}" for item in shown["items"])
    return f'"{hashlib.sha256(versions.encode()).hexdigest()[:24]}"'
