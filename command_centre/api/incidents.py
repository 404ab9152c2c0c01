"""Incidents: listed, opened by hand, acted upon, and read back event by event."""

from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal, get_args

import msgspec
from fastapi import APIRouter, Header, Query, Request
from psycopg import AsyncConnection
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from city.clocks import Clock
from city.incidents import FINAL, State
from city.reports import masked
from city.storage import clocks, incidents
from command_centre import actions, merging, workflow
from command_centre.api import once, paging
from command_centre.api.answers import answer, gives
from command_centre.api.caller import Caller
from command_centre.api.problem import field_problem, not_found
from command_centre.api.refusals import refusable
from command_centre.api.services import async_transaction, services
from command_centre.api.session import Known
from command_centre.api.shapes.incidents import IncidentDetail, Incidents, Timeline

router = APIRouter(prefix="/api/incidents", tags=["incidents"])

STATES: tuple[str, ...] = get_args(State)
OPEN_STATES = tuple(state for state in STATES if state not in FINAL)
# What another system does not read of an incident: who did it, how to reach them, and what people typed.
_PERSONAL = {
    "reason": "",
    "reason_en": "",
    "acknowledged_by": None,
    "unit_phone": None,
    "unit_lead_phone": None,
}
OF_TWO = {
    "merge": merging.merge,
    "split": merging.split,
    "link": merging.link,
    "unlink": merging.unlink,
}


class NewIncident(BaseModel):
    model_config = ConfigDict(extra="forbid")

    category: str = Field(max_length=100, description="a code of /api/categories")
    cell: str | None = Field(None, max_length=100, description="a code of /api/cells")
    text: str = Field("", max_length=4000, description="what was seen")
    incident_class: Literal["A", "B", "C"] | None = Field(None, alias="class")
    exercise: bool = False


class Act(BaseModel):
    """What goes with an action; docs/workflow.md says which needs what."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field("", max_length=4000)
    comment: str = Field("", max_length=4000)
    unit: str | None = Field(
        None,
        max_length=100,
        description="dispatch, transfer, rule: a code of /api/units; left out, an incident without unit goes "
        "where the list says",
    )
    co_units: list[Annotated[str, Field(max_length=100)]] | None = Field(
        None, max_length=20, description="dispatch: who handles beside the lead"
    )
    incident_class: Literal["A", "B", "C"] | None = Field(None, alias="class", description="escalate")
    limit: str | None = Field(None, max_length=10, description="extend, suspend: how long, 30m, 4wh, 3wd")
    request: int | None = Field(None, description="approve, refuse, withdraw: which of several")
    amend: bool = Field(False, description="rule: the responsibility list says so from now on")
    co_unit: bool | None = Field(None, description="merge: the other's unit handles beside the lead")
    into: int | None = Field(None, description="merge: the incident that stays")
    parent: int | None = Field(None, description="link: the large event it belongs to")
    photos: list[Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] | None = Field(
        None,
        max_length=actions.MOST_PHOTOS,
        description="arrive, handle, verify, rework, comment: digests that POST /api/photos answered",
    )
    alarms: list[int] | None = Field(None, max_length=1000, description="split: only these leave")
    reports: list[int] | None = Field(None, max_length=1000, description="split: only these leave")
    done_at: AwareDatetime | None = Field(
        None, description="when it was done, by a phone that sends late; kept beside the centre's time"
    )
    longitude: float | None = Field(None, ge=-180, le=180, description="where somebody stood, WGS 84")
    latitude: float | None = Field(None, ge=-90, le=90)


@router.get("", summary="Incidents", operation_id="list_incidents", responses=gives(Incidents))
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
    request: Request, body: NewIncident, known: Known, idempotency_key: once.Key = None
) -> Response:
    """Dispatched like one that an alarm opened. The same `Idempotency-Key` again answers the same again."""
    async with async_transaction(request) as connection:

        async def opened() -> dict[str, Any]:
            stored = await refusable(
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
            return await _one(connection, stored.id, known)

        response = await once.once(
            connection,
            known.actor,
            "POST /api/incidents",
            idempotency_key,
            body,
            opened,
            status=201,
            etag=_tag,
        )
    response.headers["Location"] = f"/api/incidents/{msgspec.json.decode(response.body)['id']}"
    return response


@router.get(
    "/{incident_id}", summary="One incident", operation_id="get_incident", responses=gives(IncidentDetail)
)
async def get_incident(request: Request, incident_id: int, known: Known) -> Response:
    """With its unit's phones and the actions the caller may take now; the ETag is its version."""
    async with async_transaction(request) as connection:
        shown = await _one(connection, incident_id, known)
    return answer(shown, headers={"ETag": _tag(shown)})


@router.get(
    "/{incident_id}/timeline",
    summary="Who did what when and why",
    operation_id="timeline",
    responses=gives(Timeline),
)
async def timeline(request: Request, incident_id: int, known: Known) -> Response:
    """Every event in order. A text that was erased is empty and marked so."""
    async with async_transaction(request) as connection:
        await _one(connection, incident_id, known)
        return answer({"items": await incidents.timeline(connection, incident_id), "next": None})


@router.post("/{incident_id}/{action}", summary="Act on an incident", operation_id="act_on_incident")
async def act(  # path, body, caller and two headers
    request: Request,
    incident_id: int,
    action: str,
    known: Known,
    body: Act | None = None,
    if_match: Annotated[str | None, Header(max_length=64)] = None,
    idempotency_key: once.Key = None,
) -> Response:
    """The actions of docs/workflow.md. `If-Match` stops a second hand; a conflict says what is possible now."""
    given = body or Act()
    fields = given.model_dump(by_alias=True, exclude_none=True, exclude={"reason"})
    route = f"POST /api/incidents/{incident_id}/{action}"
    async with async_transaction(request) as connection:

        async def done() -> dict[str, Any]:
            work = OF_TWO.get(action) or partial(actions.act, action=action)
            await refusable(
                work(
                    connection,
                    services(request).settings,
                    incident_id,
                    actor=known.actor,
                    role=known.role,
                    unit_id=known.unit_id,
                    reason=given.reason,
                    fields=fields,
                    now=datetime.now(UTC),
                    expected_version=once.version(if_match),
                )
            )
            return await _one(connection, incident_id, known)

        return await once.once(connection, known.actor, route, idempotency_key, given, done, etag=_tag)


async def _one(connection: AsyncConnection[Any], incident_id: int, known: Caller) -> dict[str, Any]:
    row = await incidents.get(connection, incident_id)
    if row is None:
        raise not_found("incident", "事件", incident_id)
    running = [_clock(one) for one in await clocks.of(connection, incident_id)]
    return {**_shown(row, known), "clocks": running}


def _clock(clock: Clock) -> dict[str, Any]:
    return {
        "stage": clock.stage,
        "limit": str(clock.limit),
        "started_at": clock.started_at,
        "due_at": clock.due_at,
        "paused_at": clock.paused_at,
        "left_minutes": clock.left_minutes,
        "ended_at": clock.ended_at,
        "outcome": clock.outcome,
        "provisional": clock.provisional,
    }


def _shown(row: dict[str, Any], known: Caller) -> dict[str, Any]:
    unit_id, beside = row.pop("unit_id"), row.pop("co_unit_ids")
    waiting = [workflow.Waiting(**one) for one in row.pop("waiting")]
    allowed = workflow.allowed(
        row["state"],
        known.role,
        actor=known.actor,
        unit_id=known.unit_id,
        incident_class=row["class"],
        acknowledged=row["acknowledged_at"] is not None,
        mine=known.unit_id is not None and known.unit_id == unit_id,
        beside=known.unit_id is not None and known.unit_id in beside,
        part=row["parent"] is not None,
        waiting=waiting,
        steps=row["steps"],
    )
    hidden: dict[str, Any] = dict(_PERSONAL) if known.role == "integrator" else {}
    if known.role == "viewer":  # looks on, and telephones nobody: of a person's number what tells two apart
        hidden["unit_lead_phone"] = masked(row["unit_lead_phone"])
    return {**row, **hidden, "allowed": allowed}


def _tag(shown: dict[str, Any]) -> str:
    return once.tag(shown["version"])


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
