"""What could not be understood: looked at, counted, and sent through again after a fix."""

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field, model_validator
from starlette.responses import Response

from city.storage import quarantine
from city.storage.database import nudge
from command_centre.api import paging
from command_centre.api.answers import answer
from command_centre.api.services import transaction
from command_centre.api.session import Known

router = APIRouter(prefix="/api/quarantine", tags=["quarantine"])

PREVIEW = 2048  # bytes of a payload in a list


class Replay(BaseModel):
    ids: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list, max_length=1000)
    reason: str | None = Field(None, max_length=64, description="all messages refused for this reason")

    @model_validator(mode="after")
    def _one_of_both(self) -> "Replay":
        if bool(self.ids) == bool(self.reason):
            raise ValueError("give either ids or reason")
        return self


@router.get("", summary="Quarantined messages", operation_id="list_quarantine")
def list_quarantine(
    request: Request,
    reason: Annotated[str | None, Query(max_length=64)] = None,
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
            pending=pending,
            before=before[0] if before else None,
            limit=limit + 1,
        )
        counts = quarantine.counts(connection)
    found = paging.page(rows, limit, lambda row: [row["id"]])
    return answer({**found, "items": [_shown(row) for row in found["items"]], "counts": counts})


@router.post("/replay", status_code=202, summary="Replay messages", operation_id="replay_quarantine")
def replay(request: Request, body: Replay, known: Known) -> Response:
    """Asks ingest to take them again; the list shows what became of each."""
    with transaction(request) as connection:
        requested = quarantine.request_replay(connection, ids=body.ids, reason=body.reason, actor=known.actor)
        nudge(connection)
    return answer({"requested": requested}, 202)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    head = bytes(row["payload"])[:PREVIEW]
    text = head.decode("utf-8", "backslashreplace")
    readable = "".join(ch if ch.isprintable() or ch in "\n\t" else f"\\x{ord(ch):02x}" for ch in text)
    return {**row, "payload": base64.b64encode(head).decode(), "text": readable}
