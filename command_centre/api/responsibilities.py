"""The responsibility list (职责清单): looked up, and changed with a reason."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Request
from psycopg import AsyncConnection
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from city.clocks import Stage, read_limits
from city.directory import Directory
from city.storage import responsibilities as stored
from command_centre import responsibility_changes as changes
from command_centre.api import paging, responsibility_reports
from command_centre.api.answers import answer
from command_centre.api.once import Key, once, tag, version
from command_centre.api.problem import not_found
from command_centre.api.refusals import refusable
from command_centre.api.responsibility_reports import known_directory
from command_centre.api.services import async_transaction
from command_centre.api.session import Known

router = APIRouter(prefix="/api/responsibilities", tags=["responsibilities"])

IfMatch = Annotated[str | None, Header(max_length=64, description="ETag of the entry")]
Words = Annotated[str, Field(min_length=1, max_length=2000, pattern=r"\S", description="why; kept for good")]
Reason = Annotated[str, Query(min_length=1, max_length=2000, pattern=r"\S", description="why; kept for good")]
EntryId = Annotated[int, Path(ge=1, le=2**31 - 1)]
Code = Annotated[str, Field(min_length=1, max_length=128)]
Limits = Annotated[
    dict[Stage, Annotated[str, Field(max_length=12)]],
    Field(description="time of each stage: 30m, 4h, 2d run through; 240wm, 4wh, 3wd are working time"),
]
Automatic = Annotated[
    Literal["all", "alarms", "none"] | None,
    Field(description="what goes without a person; null = as catalogued"),
]


class Changes(BaseModel):
    model_config = ConfigDict(extra="forbid")

    unit: Code | None = Field(None, description="the lead unit's code")
    co_units: list[Code] = Field([], max_length=100, description="who handles beside it, in order")
    incident_class: Literal["A", "B", "C"] | None = Field(
        None, alias="class", description="null = as catalogued"
    )
    limit_minutes: int | None = Field(None, ge=1, le=2**31 - 1)
    clock: Literal["natural", "working"] | None = None
    limits: Limits = {}
    automatic: Automatic = None
    valid_from: AwareDatetime | None = Field(None, description="left out = now")
    valid_to: AwareDatetime | None = Field(None, description="left out = until further notice")
    reason: Words


class NewEntry(Changes):
    category: str = Field(max_length=200, description="a code of /api/categories, or a prefix of some")
    area: Code | None = Field(None, description="left out = the whole district")
    area_layer: Code | None = Field(None, description="needed where several layers have this code")
    unit: Code = Field(description="the lead unit's code")


# ── looking ──────────────────────────────────────────────────────────────────────────────────────────


@router.get("", summary="The responsibility list", operation_id="list_responsibilities")
async def list_responsibilities(  # each is one parameter of the query
    request: Request,
    category: Annotated[str | None, Query(max_length=200, description="itself and what lies below")] = None,
    area: Annotated[str | None, Query(max_length=128, description="code of exactly this place")] = None,
    unit: Annotated[str | None, Query(max_length=128, description="code of lead or co-handler")] = None,
    at: Annotated[
        AwareDatetime | None, Query(description="what holds then; left out = now, and what is to begin")
    ] = None,
    limit: paging.Limit = 200,
    cursor: paging.Cursor = None,
) -> Response:
    """By category. Most specific wins: the longest category, then the smallest place."""
    after = paging.read(cursor, tuple[str, int])
    now = datetime.now(UTC)
    async with async_transaction(request) as connection:
        rows = await stored.page(
            connection,
            now=now,
            at=at,
            category=category,
            area=area,
            unit=unit,
            after=(after[0], after[1]) if after else None,
            limit=limit + 1,
        )
    shown = [_shown(row, now) for row in rows]
    return answer(paging.page(shown, limit, lambda row: [row["category"], row["id"]]))


@router.get("/history", summary="Changes of the list", operation_id="responsibility_list_history")
async def list_history(request: Request, limit: paging.Limit = 200, cursor: paging.Cursor = None) -> Response:
    """Newest first, of the whole list: who changed what and why, and the incident whose dispute was ruled on."""
    return await _history(request, None, limit, cursor)


router.include_router(responsibility_reports.router)


@router.get("/{entry_id:int}", summary="One entry of the list", operation_id="get_responsibility")
async def get_responsibility(request: Request, entry_id: EntryId) -> Response:
    """Its ETag is what `PATCH` and `DELETE` want in `If-Match`."""
    async with async_transaction(request) as connection:
        shown = await _one(connection, entry_id)
    return answer(shown, headers={"ETag": tag(shown["version"])})


@router.get(
    "/{entry_id:int}/history",
    summary="Changes for one category and place",
    operation_id="responsibility_history",
)
async def entry_history(
    request: Request, entry_id: EntryId, limit: paging.Limit = 200, cursor: paging.Cursor = None
) -> Response:
    """Newest first: of this entry, and of those before and after it for the same category and place."""
    return await _history(request, entry_id, limit, cursor)


# ── changing ─────────────────────────────────────────────────────────────────────────────────────────


@router.post("", status_code=201, summary="Begin an entry", operation_id="begin_responsibility")
async def begin_responsibility(request: Request, body: NewEntry, known: Known, key: Key = None) -> Response:
    """From now on, or from later. 409 while another unit leads the same category and place."""
    now = datetime.now(UTC)
    given = body.model_dump(exclude={"reason"})
    async with async_transaction(request) as connection:
        directory = await _directory(request, connection, now)

        async def work() -> dict[str, Any]:
            begun = await refusable(
                changes.begin(
                    connection,
                    directory,
                    changes.Wanted(**given),
                    actor=known.actor,
                    reason=body.reason.strip(),
                    now=now,
                )
            )
            await stored.wake(connection)
            return await _one(connection, begun)

        return await once(
            connection, known.actor, "POST /api/responsibilities", key, body, work, status=201, etag=_tag
        )


@router.patch("/{entry_id:int}", summary="Change an entry", operation_id="change_responsibility")
async def change_responsibility(
    request: Request, entry_id: EntryId, body: Changes, known: Known, if_match: IfMatch = None
) -> Response:
    """What is named is changed. An entry in force is ended and its successor answered, which begins at that instant
    (`valid_from`, else now); one that has not begun is written over."""
    now = datetime.now(UTC)
    given = {name: getattr(body, name) for name in body.model_fields_set - {"reason"}}
    async with async_transaction(request) as connection:
        directory = await _directory(request, connection, now)
        number = await refusable(
            changes.change(
                connection,
                directory,
                entry_id,
                given,
                actor=known.actor,
                reason=body.reason.strip(),
                now=now,
                expected=version(if_match),
            )
        )
        await stored.wake(connection)
        shown = await _one(connection, number)
    headers = {"ETag": tag(shown["version"]), "Content-Location": f"/api/responsibilities/{number}"}
    return answer(shown, headers=headers)


@router.delete("/{entry_id:int}", summary="End an entry", operation_id="end_responsibility")
async def end_responsibility(
    request: Request,
    entry_id: EntryId,
    known: Known,
    reason: Reason,
    at: Annotated[AwareDatetime | None, Query(description="left out = now")] = None,
    if_match: IfMatch = None,
) -> Response:
    """It stays in the history. Whoever is next by the list leads from then on."""
    async with async_transaction(request) as connection:
        await refusable(
            changes.end(
                connection,
                entry_id,
                at=at,
                actor=known.actor,
                reason=reason.strip(),
                now=datetime.now(UTC),
                expected=version(if_match),
            )
        )
        await stored.wake(connection)
        shown = await _one(connection, entry_id)
    return answer(shown, headers={"ETag": tag(shown["version"])})


# ── what is said ─────────────────────────────────────────────────────────────────────────────────────


async def _directory(request: Request, connection: AsyncConnection[Any], now: datetime) -> Directory:
    return await known_directory(request).fresh(connection, now)


async def _one(connection: AsyncConnection[Any], entry_id: int) -> dict[str, Any]:
    row = await stored.shown(connection, entry_id)
    if row is None:
        raise not_found("entry of the responsibility list", "职责清单条目", entry_id)
    return _shown(row, datetime.now(UTC))


def _shown(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    planned = row["valid_from"] is not None and row["valid_from"] > now
    withdrawn = row["valid_to"] is not None and row["valid_to"] == row["valid_from"]
    over = row["valid_to"] is not None and row["valid_to"] <= now
    return {
        **row,
        "limits": {stage: str(limit) for stage, limit in read_limits(row["limits"]).items()},
        "state": "withdrawn" if withdrawn else "ended" if over else "planned" if planned else "in_force",
    }


def _tag(shown: Mapping[str, Any]) -> str:
    return tag(shown["version"])


async def _history(request: Request, entry_id: int | None, limit: int, cursor: str | None) -> Response:
    before = paging.read(cursor, tuple[int])
    async with async_transaction(request) as connection:
        if entry_id is not None:
            await _one(connection, entry_id)
        codes = await stored.unit_codes(connection)
        rows = await stored.history(
            connection, entry_id, before=before[0] if before else None, limit=limit + 1
        )
    items = [{**row, **{side: _said(row[side], codes) for side in ("before", "after")}} for row in rows]
    return answer(paging.page(items, limit, lambda row: [row["id"]]))


def _said(row: Mapping[str, Any] | None, codes: Mapping[int, tuple[str, bool]]) -> dict[str, Any] | None:
    """A row of the table as it was, by codes."""
    if row is None:
        return None
    limits = read_limits(row.get("limits", ""))
    return {
        "unit": codes.get(row["unit_id"], ("?", False))[0],
        "co_units": [codes.get(one, ("?", False))[0] for one in row.get("co_units", ())],
        "class": row["class"],
        "limit_minutes": row["limit_minutes"],
        "clock": row["clock"],
        "limits": {stage: str(limit) for stage, limit in limits.items()},
        "automatic": row.get("automatic"),
        "valid_from": row["valid_from"],
        "valid_to": row["valid_to"],
    }
