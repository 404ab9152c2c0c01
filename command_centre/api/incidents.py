"""Incidents: listed, opened by hand, acted upon, and read back event by event."""

import hashlib
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

import msgspec
from fastapi import APIRouter, Header, Query, Request
from psycopg import AsyncConnection
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from city.incidents import Incident, State
from city.storage import idempotency, incidents
from command_centre import actions, workflow
from command_centre.api import paging
from command_centre.api.access import Caller
from command_centre.api.answers import answer
from command_centre.api.problem import Problem, field_problem, not_found
from command_centre.api.services import async_transaction, services
from command_centre.api.session import Known

router = APIRouter(prefix="/api/incidents", tags=["incidents"])

STATES: tuple[str, ...] = get_args(State)
OPEN_STATES = tuple(state for state in STATES if state not in {"archived", "voided"})
_STATUS: dict[actions.Code, int] = {
    "not_found": 404,
    "conflict": 409,
    "forbidden": 403,
    "invalid": 422,
    "stale": 412,
}


class NewIncident(BaseModel):
    model_config = ConfigDict(extra="forbid")

    category: str = Field(max_length=100, description="a code of /api/categories")
    cell: str | None = Field(None, max_length=100, description="a code of /api/cells")
    text: str = Field("", max_length=4000, description="what was seen")
    incident_class: Literal["A", "B", "C"] | None = Field(None, alias="class")
    exercise: bool = False


class Act(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field("", max_length=4000)
    comment: str = Field("", max_length=4000)
    unit: str | None = Field(
        None,
        max_length=100,
        description="for dispatch: a code of /api/units; left out, an incident without unit goes where the list says",
    )
    incident_class: Literal["A", "B", "C"] | None = Field(None, alias="class", description="for escalate")


@router.get("", summary="Incidents", operation_id="list_incidents")
async def list_incidents(  # each is one parameter of the query
    request: Request,
    known: Known,
    state: Annotated[
        str | None, Query(max_length=200, description="open, or states separated by commas")
    ] = None,
    incident_class: Annotated[str | None, Query(alias="class", max_length=20, description="A,B,C")] = None,
    unit: Annotated[str | None, Query(max_length=100)] = None,
    cell: Annotated[str | None, Query(max_length=100)] = None,
    limit: paging.Limit = 100,
    cursor: paging.Cursor = None,
) -> Response:
    """Newest first. `unit` is null in the unassigned lane, and `reason` says why."""
    before = paging.read(cursor, tuple[int])
    async with async_transaction(request) as connection:
        rows = await incidents.page(
            connection,
            states=_states(state),
            classes=_listed("class", incident_class, ("A", "B", "C")),
            unit=unit,
            cell=cell,
            before=before[0] if before else None,
            limit=limit + 1,
        )
    return answer(paging.page([_shown(row, known) for row in rows], limit, lambda row: [row["id"]]))


@router.post("", status_code=201, summary="Open an incident by hand", operation_id="create_incident")
async def create_incident(
    request: Request,
    body: NewIncident,
    known: Known,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    """Dispatched like one that an alarm opened. The same `Idempotency-Key` again answers the same again."""
    digest = hashlib.sha256(body.model_dump_json().encode()).hexdigest()
    async with async_transaction(request) as connection:
        if idempotency_key:
            kept = await idempotency.earlier(connection, known.actor, "POST /api/incidents", idempotency_key)
            if kept is not None:
                return _again(kept, digest)
        stored = await _refusable(
            actions.open_by_person(
                connection,
                services(request).settings,
                category=body.category,
                cell=body.cell,
                actor=known.actor,
                role=known.role,
                now=datetime.now(UTC),
                text=body.text,
                incident_class=body.incident_class,
                exercise=body.exercise,
            )
        )
        shown = await _one(connection, stored.id, known)
        if idempotency_key:
            plain = msgspec.to_builtins(shown)
            kept = {"digest": digest, "incident": plain}
            await idempotency.keep(connection, known.actor, "POST /api/incidents", idempotency_key, kept)
    return answer(shown, 201, {"Location": f"/api/incidents/{stored.id}", "ETag": _tag(shown)})


def _again(kept: dict[str, Any], digest: str) -> Response:
    if kept["digest"] != digest:
        raise field_problem(
            "Idempotency-Key",
            "(given)",
            "was used for another content; use a fresh key",
            "此键已用于其他内容，请换一个",
        )
    incident = kept["incident"]
    headers = {"Location": f"/api/incidents/{incident['id']}", "Idempotent-Replayed": "true"}
    return answer(incident, 201, headers)


@router.get("/{incident_id}", summary="One incident", operation_id="get_incident")
async def get_incident(request: Request, incident_id: int, known: Known) -> Response:
    """With its unit's phones and the actions the caller may take now; the ETag is its version."""
    async with async_transaction(request) as connection:
        shown = await _one(connection, incident_id, known)
    return answer(shown, headers={"ETag": _tag(shown)})


@router.get("/{incident_id}/timeline", summary="Who did what when and why", operation_id="timeline")
async def timeline(request: Request, incident_id: int, known: Known) -> Response:
    """Every event in order. A text that was erased is empty and marked so."""
    async with async_transaction(request) as connection:
        await _one(connection, incident_id, known)
        return answer({"items": await incidents.timeline(connection, incident_id), "next": None})


@router.post("/{incident_id}/{action}", summary="Act on an incident", operation_id="act_on_incident")
async def act(  # path, body, caller and one header
    request: Request,
    incident_id: int,
    action: str,
    known: Known,
    body: Act | None = None,
    if_match: Annotated[str | None, Header(max_length=64)] = None,
) -> Response:
    """acknowledge, dispatch, comment, handle, archive, void, escalate; `If-Match` stops a second hand."""
    given = body or Act()
    fields = {"comment": given.comment, "unit": given.unit, "class": given.incident_class}
    async with async_transaction(request) as connection:
        await _refusable(
            actions.act(
                connection,
                services(request).settings,
                incident_id,
                action,
                actor=known.actor,
                role=known.role,
                reason=given.reason,
                fields={name: value for name, value in fields.items() if value},
                now=datetime.now(UTC),
                expected_version=_version(if_match),
            )
        )
        shown = await _one(connection, incident_id, known)
    return answer(shown, headers={"ETag": _tag(shown)})


async def _refusable(work: Awaitable[Incident]) -> Incident:
    try:
        return await work
    except actions.ActionError as error:
        faults = [{"field": error.field, "remedy": error.reason_en}] if error.field else []
        raise Problem(_STATUS[error.code], error.reason_en, error.reason, errors=faults) from error


async def _one(connection: AsyncConnection[Any], incident_id: int, known: Caller) -> dict[str, Any]:
    row = await incidents.get(connection, incident_id)
    if row is None:
        raise not_found("incident", "事件", incident_id)
    return _shown(row, known)


def _shown(row: dict[str, Any], known: Caller) -> dict[str, Any]:
    allowed = workflow.allowed(
        row["state"],
        known.role,
        incident_class=row["class"],
        acknowledged=row["acknowledged_at"] is not None,
    )
    return {**row, "allowed": allowed}


def _tag(shown: dict[str, Any]) -> str:
    return f'"{shown["version"]}"'


def _version(if_match: str | None) -> int | None:
    if if_match is None or if_match.strip() == "*":
        return None
    bare = if_match.strip().removeprefix("W/").strip('"')
    if not bare.isdigit():
        raise field_problem("If-Match", if_match, "use the ETag of the incident", "请使用事件的 ETag")
    return int(bare)


def _states(wanted: str | None) -> tuple[str, ...]:
    listed = _listed("state", wanted, ("open", *STATES))
    return tuple(dict.fromkeys(s for one in listed for s in (OPEN_STATES if one == "open" else (one,))))


def _listed(field: str, wanted: str | None, known: tuple[str, ...]) -> tuple[str, ...]:
    listed = tuple(part.strip() for part in (wanted or "").split(",") if part.strip())
    for part in listed:
        if part not in known:
            choices = ", ".join(known)
            raise field_problem(field, part, f"use {choices}", f"可用：{choices}")
    return listed
