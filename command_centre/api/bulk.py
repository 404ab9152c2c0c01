"""One action on many alarms or incidents: each in a transaction of its own, each with an outcome of its own.

A flood of alarms is cleared by groups, and one that cannot be done must not hold back the others. Every row goes
through the same action as by itself, so rights, refusals and timelines are the same.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from psycopg import AsyncConnection
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response
from typing_extensions import TypedDict

from command_centre import actions, alarm_actions
from command_centre.api import once
from command_centre.api.answers import answer, gives
from command_centre.api.caller import Caller
from command_centre.api.incidents import OF_TWO, Act
from command_centre.api.problem import field_problem
from command_centre.api.services import async_transaction, services
from command_centre.api.session import Known

router = APIRouter(prefix="/api", tags=["alarms", "incidents"])

MOST = 500
Ids = Annotated[
    list[Annotated[int, Field(ge=1, lt=2**63)]],
    Field(min_length=1, max_length=MOST, description=f"at most {MOST}; each once, in this order"),
]
Outcome = Literal["done", "refused", "changed"]
Work = Callable[[AsyncConnection[Any], int], Awaitable[object]]


class AlarmFields(BaseModel):
    model_config = ConfigDict(extra="forbid")

    until: AwareDatetime | None = Field(None, description="shelve: end, at most 24 hours from now")
    reason: str = Field("", max_length=500, description="shelve: needed; unshelve: welcome")


class AlarmBulk(BaseModel):
    model_config = ConfigDict(extra="forbid")

    action: Literal["acknowledge", "shelve", "unshelve"]
    ids: Ids
    fields: AlarmFields = Field(default_factory=AlarmFields)


class IncidentBulk(BaseModel):
    model_config = ConfigDict(extra="forbid")

    action: Literal[
        "accept", "acknowledge", "dispatch", "escalate", "supervise", "merge", "split", "link", "unlink",
        "archive", "void", "comment",
    ]  # fmt: skip
    ids: Ids
    fields: Act = Field(default_factory=Act)
    versions: dict[int, int] = Field(
        default_factory=dict,
        max_length=MOST,
        description="id -> version that was seen: one that has changed since is left as it is",
    )


class BulkRow(TypedDict):
    id: int
    outcome: Outcome
    """`changed`: somebody was faster, nothing was done."""
    reason: str
    """Why not; empty when done."""
    reason_en: str
    field: str
    """What was wrong in the request, when it was that."""
    state: str
    """How a refused incident stands; empty otherwise."""
    allowed: list[str]


class BulkAnswer(TypedDict):
    action: str
    done: int
    refused: int
    changed: int
    items: list[BulkRow]


@router.post(
    "/alarms/bulk",
    summary="Act on many alarms",
    operation_id="act_on_alarms",
    responses=gives(BulkAnswer, words="What became of each"),
)
async def act_on_alarms(
    request: Request, body: AlarmBulk, known: Known, idempotency_key: once.Key = None
) -> Response:
    """Acknowledge, shelve or unshelve up to 500. What is refused for one alarm is done for the others."""
    if body.action == "shelve" and body.fields.until is None:
        raise field_problem("fields.until", None, "say until when, with offset", "请写明截止时间")

    def one(connection: AsyncConnection[Any], alarm_id: int) -> Awaitable[object]:
        now, reason = datetime.now(UTC), body.fields.reason
        if body.action == "shelve" and body.fields.until is not None:
            return alarm_actions.shelve(
                connection,
                alarm_id,
                until=body.fields.until,
                reason=reason,
                actor=known.actor,
                role=known.role,
                now=now,
            )
        if body.action == "unshelve":
            return alarm_actions.unshelve(connection, alarm_id, actor=known.actor, reason=reason, now=now)
        return alarm_actions.acknowledge(connection, alarm_id, actor=known.actor, now=now)

    return await _each(request, known, "alarms", idempotency_key, body, one)


@router.post(
    "/incidents/bulk",
    summary="Act on many incidents",
    operation_id="act_on_incidents",
    responses=gives(BulkAnswer, words="What became of each"),
)
async def act_on_incidents(
    request: Request, body: IncidentBulk, known: Known, idempotency_key: once.Key = None
) -> Response:
    """The same action on up to 500. `versions` leaves alone what has changed since it was seen."""
    work = OF_TWO.get(body.action) or partial(actions.act, action=body.action)
    fields = body.fields.model_dump(by_alias=True, exclude_none=True, exclude={"reason"})

    def one(connection: AsyncConnection[Any], incident_id: int) -> Awaitable[object]:
        return work(
            connection,
            services(request).settings,
            incident_id,
            actor=known.actor,
            role=known.role,
            unit_id=known.unit_id,
            reason=body.fields.reason,
            fields=fields,
            now=datetime.now(UTC),
            expected_version=body.versions.get(incident_id),
        )

    return await _each(request, known, "incidents", idempotency_key, body, one)


async def _each(
    request: Request, known: Caller, noun: str, key: str | None, body: AlarmBulk | IncidentBulk, work: Work
) -> Response:
    """A centre that dies half way has kept what it did, row by row: the same key again does the rest."""
    route = f"POST /api/{noun}/bulk"
    async with async_transaction(request) as connection:
        before = await once.kept(connection, known.actor, route, key, body)
    if before is not None:
        return answer(before, headers={"Idempotent-Replayed": "true"})
    rows = [await _row(request, known, route, key, body, one, work) for one in dict.fromkeys(body.ids)]
    counted = {
        outcome: sum(row["outcome"] == outcome for row in rows) for outcome in ("done", "refused", "changed")
    }
    told: dict[str, Any] = {"action": body.action, **counted, "items": rows}
    async with async_transaction(request) as connection:
        # Sent twice at the same moment: both did the same rows, the first one's account of it counts.
        before = await once.kept(connection, known.actor, route, key, body)
        if before is None:
            await once.keep(connection, known.actor, route, key, body, told)
    return answer(before or told)


async def _row(  # one row of the whole request
    request: Request,
    known: Caller,
    route: str,
    key: str | None,
    body: AlarmBulk | IncidentBulk,
    number: int,
    work: Work,
) -> BulkRow:
    own = f"{route} {number}"
    try:
        async with async_transaction(request) as connection:
            before = await once.kept(connection, known.actor, own, key, body)
            if before is not None:
                return _outcome(number, "done")
            await work(connection, number)
            await once.keep(connection, known.actor, own, key, body, {"outcome": "done"})
    except actions.ActionError as error:
        return _outcome(number, "changed" if error.code == "stale" else "refused", error)
    return _outcome(number, "done")


def _outcome(number: int, outcome: Outcome, error: actions.ActionError | None = None) -> BulkRow:
    return {
        "id": number,
        "outcome": outcome,
        "reason": error.reason if error else "",
        "reason_en": error.reason_en if error else "",
        "field": error.field if error else "",
        "state": error.state if error else "",
        "allowed": list(error.allowed) if error else [],
    }
