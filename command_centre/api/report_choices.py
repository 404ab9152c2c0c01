"""What a reporting form needs while it is filled in: categories to choose from, and what may be the same matter."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from city import catalogue
from city.reports import MOST_TEXT, NewReport
from city.storage import categories, incidents
from command_centre import finding, intake, report_checks
from command_centre.api.answers import answer, tagged
from command_centre.api.refusals import refusable
from command_centre.api.services import async_transaction, transaction
from command_centre.api.session import Known

router = APIRouter(prefix="/api", tags=["reports"])

MOST = 5


class Draft(BaseModel):
    """A report that is still being written."""

    model_config = ConfigDict(extra="forbid")

    category: str | None = Field(None, max_length=100)
    cell: str | None = Field(None, max_length=100, description="a code of /api/cells")
    longitude: float | None = Field(None, ge=-180, le=180, allow_inf_nan=False)
    latitude: float | None = Field(None, ge=-90, le=90, allow_inf_nan=False)
    text: str = Field("", max_length=MOST_TEXT)
    exercise: bool = False


@router.get(
    "/report-categories", summary="Categories people report by", operation_id="list_report_categories"
)
def list_choices(request: Request) -> Response:
    """By code, with the names of both languages; the dots tell the tree's shape. What machines report is left out."""
    with transaction(request) as connection:
        known = categories.load_categories(connection)
    items = [
        {
            "code": code,
            "level": catalogue.level_of(code),
            "name": category.name,
            "name_en": category.name_en,
            "nature": category.nature,
        }
        for code, category in known.items()
        if category.active and code.partition(".")[0] not in report_checks.MACHINES
    ]
    return tagged(request, {"items": items, "next": None})


@router.post("/candidates", summary="What a draft may be one with", operation_id="draft_candidates")
async def candidates(request: Request, body: Draft, known: Known) -> Response:
    """Open incidents that a report being typed may be about, the likeliest first. Nothing is stored.

    POST since words may name persons, and addresses stand in logs. `certain`: the report would join it by itself.
    """
    report = NewReport(
        channel="hotline",
        category=body.category,
        text=body.text,
        cell=body.cell,
        longitude=body.longitude,
        latitude=body.latitude,
        actor=known.actor,
        exercise=body.exercise,
    )
    async with async_transaction(request) as connection:
        area_id, _ = await refusable(intake.place(connection, report))
        found = await finding.candidates(
            connection,
            category=report.category,
            cell_id=area_id,
            longitude=report.longitude,
            latitude=report.latitude,
            text=report.text,
            at=datetime.now(UTC),
            exercise=report.exercise,
            limit=MOST,
        )
        items = [_shown(one, await incidents.get(connection, one.incident_id)) for one in found]
    return answer({"items": items, "next": None})


def _shown(one: finding.Candidate, row: dict[str, Any] | None) -> dict[str, Any]:
    seen = row or {}
    return {
        "id": one.incident_id,
        "number": one.number,
        "score": one.score,
        "certain": one.certain,
        "reasons": [zh for zh, _ in one.reasons],
        "reasons_en": [en for _, en in one.reasons],
        **{
            name: seen.get(name)
            for name in ("class", "state", "category_name", "category_name_en", "cell_name", "opened_at")
        },
    }
