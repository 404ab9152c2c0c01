"""What could not be understood: looked at, counted, and sent through again after a fix."""

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field, model_validator
from starlette.responses import Response
from typing_extensions import TypedDict

from city.storage import quarantine
from city.storage.database import nudge
from command_centre.api import paging
from command_centre.api.answers import answer, gives
from command_centre.api.services import transaction
from command_centre.api.session import Known
from command_centre.api.shapes.things import QuarantineCount, QuarantinedPage

router = APIRouter(prefix="/api/quarantine", tags=["quarantine"])

PREVIEW = 2048  # bytes of a payload in a list
MOST_GROUPS = 500


class QuarantineGroup(TypedDict):
    """``untouched`` were never replayed, ``waiting`` are asked for, ``replayed`` have an outcome each."""

    reason: str
    topic: str
    kept: int
    first_at: str
    last_at: str
    untouched: int
    waiting: int
    replayed: int


class QuarantineGroups(TypedDict):
    items: list[QuarantineGroup]
    counts: list[QuarantineCount]
    next: str | None


class Replay(BaseModel):
    ids: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list, max_length=1000)
    reason: str | None = Field(None, max_length=64, description="all messages refused for this reason")
    topic: str | None = Field(None, max_length=1000, description="with reason: only those of this topic")

    @model_validator(mode="after")
    def _one_of_both(self) -> "Replay":
        if bool(self.ids) == bool(self.reason):
            raise ValueError("give either ids or reason")
        if self.topic is not None and self.reason is None:
            raise ValueError("topic narrows a reason; give that too")
        return self


@router.get(
    "", summary="Quarantined messages", operation_id="list_quarantine", responses=gives(QuarantinedPage)
)
def list_quarantine(
    request: Request,
    reason: Annotated[str | None, Query(max_length=64)] = None,
    topic: Annotated[str | None, Query(max_length=1000)] = None,
    *,
    pending: bool = False,
    limit: paging.Limit = 100,
    cursor: paging.Cursor = None,
) -> Response:
    """Newest first; `counts` by reason stand beside the page. `text` is a readable beginning of the bytes."""
    before = paging.read(cursor, tuple[int])
    with transaction(request) as connection:
        rows = quarantine.page(
            connection,
            reason=reason,
            topic=topic,
            pending=pending,
            before=before[0] if before else None,
            limit=limit + 1,
        )
        counts = quarantine.counts(connection)
    found = paging.page(rows, limit, lambda row: [row["id"]])
    return answer({**found, "items": [_shown(row) for row in found["items"]], "counts": counts})


@router.get(
    "/groups",
    summary="Quarantine by reason and topic",
    operation_id="quarantine_groups",
    responses=gives(QuarantineGroups),
)
def quarantine_groups(request: Request) -> Response:
    """The largest first; `counts` by reason also count what was not kept."""
    with transaction(request) as connection:
        items = quarantine.groups(connection, MOST_GROUPS)
        counts = quarantine.counts(connection)
    return answer({"items": items, "counts": counts, "next": None})


@router.post("/replay", status_code=202, summary="Replay messages", operation_id="replay_quarantine")
def replay(request: Request, body: Replay, known: Known) -> Response:
    """Asks ingest to take them again; the list shows what became of each."""
    with transaction(request) as connection:
        requested = quarantine.request_replay(
            connection, ids=body.ids, reason=body.reason, topic=body.topic, actor=known.actor
        )
        nudge(connection)
    return answer({"requested": requested}, 202)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    head = bytes(row["payload"])[:PREVIEW]
    text = head.decode("utf-8", "backslashreplace")
    readable = "".join(ch if ch.isprintable() or ch in "\n\t" else f"\\x{ord(ch):02x}" for ch in text)
    return {**row, "payload": base64.b64encode(head).decode(), "text": readable}
