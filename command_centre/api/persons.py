"""Everything about one reporter: given out, and taken away. For supervisors; each use is on the record."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import Response

from command_centre import persons
from command_centre.api.answers import answer, gives
from command_centre.api.services import async_transaction, services
from command_centre.api.session import Known
from command_centre.api.shapes.persons import Erased, Person

router = APIRouter(prefix="/api/persons", tags=["persons"])

Reason = Annotated[str, Field(min_length=2, max_length=500, description="goes on the record")]


class Asked(BaseModel):
    """By a telephone number or by a tracking number; in a body, since an address is logged on its way."""

    model_config = ConfigDict(extra="forbid")

    phone: str = Field("", max_length=25)
    tracking: str = Field("", max_length=30)
    reason: Reason

    @model_validator(mode="after")
    def _one(self) -> "Asked":
        if bool(self.phone.strip()) == bool(self.tracking.strip()):
            raise ValueError("give either phone or tracking / 请填写电话或查询码之一")
        return self

    def noun(self) -> persons.Asked:
        """For the search."""
        return persons.Asked(phone=self.phone, tracking=self.tracking)


@router.post(
    "/export",
    summary="Everything about a reporter",
    operation_id="export_person",
    responses=gives(Person),
)
async def export_person(request: Request, body: Asked, known: Known) -> Response:
    """Reports with contact, texts, timeline, notices, and who looked at them; photos by their digests."""
    keys = services(request).settings.keys.ring()
    async with async_transaction(request) as connection:
        kept = await persons.export(connection, keys, body.noun(), actor=known.actor, reason=body.reason)
    return answer({"at": datetime.now(UTC), "reports": kept})


@router.post(
    "/erase", summary="Erase what a reporter said", operation_id="erase_person", responses=gives(Erased)
)
async def erase_person(request: Request, body: Asked, known: Known) -> Response:
    """Contact, address, photos, texts of all reports found. That there were reports, and the chain, stay."""
    keys = services(request).settings.keys.ring()
    async with async_transaction(request) as connection:
        erased = await persons.erase(
            connection, keys, body.noun(), actor=known.actor, reason=body.reason, now=datetime.now(UTC)
        )
    return answer({"reports": erased})
