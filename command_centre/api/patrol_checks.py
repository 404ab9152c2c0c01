"""Checks on patrol, point by point, sent late and twice as one; and the figures of who found what."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from city.storage import directory, patrol
from command_centre import checklists, patrol_actions
from command_centre import patrol as rules
from command_centre.api import paging
from command_centre.api.answers import answer
from command_centre.api.patrol import leads, only_leaders, whole
from command_centre.api.problem import Problem
from command_centre.api.refusals import refusable
from command_centre.api.services import async_transaction, services
from command_centre.api.session import Known

router = APIRouter(prefix="/api/patrol", tags=["patrol"])

LONGEST_SPAN = timedelta(days=400)


class Answered(BaseModel):
    model_config = ConfigDict(extra="forbid")

    item: str = Field(max_length=60)
    answer: Literal["ok", "problem", "not_applicable"]
    note: str = Field("", max_length=1000, description="needed with a problem")
    photos: list[str] = Field(default_factory=list, max_length=5, description="digests from POST /api/photos")
    fixed: bool = Field(False, description="put right on the spot: counted, no incident")


class Check(BaseModel):
    model_config = ConfigDict(extra="forbid")

    client_id: UUID = Field(description="made by the phone; the same one again is the same check")
    route: str = Field(max_length=60)
    point: str = Field(max_length=60)
    observed_at: AwareDatetime
    longitude: float | None = Field(None, ge=-180, le=180)
    latitude: float | None = Field(None, ge=-90, le=90)
    note: str = Field("", max_length=1000)
    answers: list[Answered] = Field(max_length=100)


@router.post("/checks", status_code=201, summary="Check in at a point", operation_id="patrol_check")
async def check(request: Request, body: Check, known: Known) -> Response:
    """Every item answered. Sent again under the same `client_id` it is the same check (200), however late."""
    whole(body.longitude, body.latitude)
    settings = services(request).settings
    visit = patrol_actions.Visit(
        client_id=body.client_id,
        route=body.route,
        point=body.point,
        observed_at=body.observed_at,
        longitude=body.longitude,
        latitude=body.latitude,
        note=body.note,
        found=[
            patrol_actions.Found(
                item=one.item, answer=one.answer, note=one.note, photos=tuple(one.photos), fixed=one.fixed
            )
            for one in body.answers
        ],
        raw=body.model_dump_json().encode(),
    )
    async with async_transaction(request) as connection:
        check_id, again = await refusable(
            patrol_actions.check(
                connection,
                settings,
                checklists.load(settings.config),
                visit,
                actor=known.actor,
                may_all=leads(known),
                now=datetime.now(UTC),
            )
        )
        row = await patrol.check(connection, check_id)
    return answer(row, 200 if again else 201, {"Idempotent-Replayed": "true"} if again else {})


@router.get("/checks", summary="Checks", operation_id="list_patrol_checks")
async def list_checks(  # each is one parameter of the query
    request: Request,
    known: Known,
    route: Annotated[str | None, Query(max_length=60)] = None,
    start: Annotated[AwareDatetime | None, Query(alias="from")] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to")] = None,
    limit: paging.Limit = 100,
    cursor: paging.Cursor = None,
) -> Response:
    """With their answers, the last received first. Grid workers see their own."""
    before = paging.read(cursor, tuple[int])
    async with async_transaction(request) as connection:
        rows = await patrol.checks(
            connection,
            route=route,
            actor=None if leads(known) else known.actor,
            start=start,
            end=end,
            before=before[0] if before else None,
            limit=limit + 1,
        )
    return answer(paging.page(rows, limit, lambda row: [row["id"]]))


@router.get("/appraisal", summary="How much and how well was found", operation_id="patrol_appraisal")
async def appraisal(
    request: Request,
    known: Known,
    by: Literal["worker", "cell", "route"] = "worker",
    start: Annotated[AwareDatetime | None, Query(alias="from")] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to")] = None,
) -> Response:
    """Of a span (the last 30 days): checks done of those owed, problems found, put right, reported, confirmed."""
    to = min(end or datetime.now(UTC), datetime.now(UTC))
    since = start or to - timedelta(days=30)
    if not timedelta(0) < to - since <= LONGEST_SPAN:
        raise Problem(422, f"from, to: up to {LONGEST_SPAN.days} days, in this order", "时间范围不可用")
    if by != "worker":
        only_leaders(known)
    async with async_transaction(request) as connection:
        points = await patrol.appraised_points(connection, since)
        made = await patrol.appraised_made(connection, since, to, rules.ON_SITE_M)
        people = await patrol.names(connection) if by == "worker" else {}
        ground = await directory.load(connection, services(request).settings.zone)
        days = await patrol.checked_days(connection, since - timedelta(days=31), to, ground.zone.key)
    figures = rules.appraise(
        [rules.Point(**row) for row in points],
        [rules.Made(**row) for row in made],
        days,
        ground.calendar,
        (since, to),
        ground.zone,
        by,
    )
    mine = {known.actor} if not leads(known) else figures.keys()
    items = [
        {by: people.get(name, name) or None, **found.shown()}
        for name, found in sorted(figures.items())
        if name in mine
    ]
    return answer({"from": since, "to": to, "items": items, "next": None})
