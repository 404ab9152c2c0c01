"""Reports as the hotline works with them: listed, corrected, and forgotten where somebody asks for it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request
from psycopg import AsyncConnection
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from city.directory import Directory
from city.incidents import Nature
from city.reports import CITIZEN, Contact, Report, read_tracking, spoken
from city.sealing import KeyRing
from city.storage import directory, report_lists, reports
from command_centre import following, persons, report_checks
from command_centre.api import paging, turnstile
from command_centre.api.answers import answer, gives
from command_centre.api.once import tag, version
from command_centre.api.problem import Problem, not_found
from command_centre.api.refusals import refusable
from command_centre.api.report_form import ReportContact
from command_centre.api.reports import of_tracking, staff
from command_centre.api.services import async_transaction, services
from command_centre.api.session import Known
from command_centre.api.shapes.reports import Reports

router = APIRouter(prefix="/api/reports", tags=["reports"])
of_incidents = APIRouter(prefix="/api/incidents", tags=["reports"])

Connection = AsyncConnection[Any]


class Correction(BaseModel):
    model_config = ConfigDict(extra="forbid")

    category: str | None = Field(None, max_length=100)
    nature: Nature | None = None
    address: str | None = Field(None, max_length=200)
    contact: ReportContact | None = Field(None, description="replaces what was given")


class Erasure(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=500)


@router.get("", summary="Reports", operation_id="list_reports", responses=gives(Reports))
async def list_reports(
    request: Request,
    state: Annotated[
        Literal["registered", "open", "closed", "fixed_on_spot"] | None, Query(description="left out: all")
    ] = None,
    channel: Annotated[str | None, Query(max_length=32)] = None,
    q: Annotated[
        str | None,
        Query(
            max_length=100,
            description="words of text or address; or a whole tracking, telephone or component number",
        ),
    ] = None,
    limit: paging.Limit = 100,
    cursor: paging.Cursor = None,
) -> Response:
    """Newest first; who reported is asked for one by one, see `contact`."""
    before = paging.read(cursor, tuple[int])
    words = (q or "").strip()
    async with async_transaction(request) as connection:
        rows = await report_lists.page(
            connection,
            state=state,
            channel=channel,
            words=words,
            tracking=read_tracking(words) if words else None,
            before=before[0] if before else None,
            limit=limit + 1,
            keys=services(request).settings.keys.ring(),
        )
    return answer(paging.page([_shown(row) for row in rows], limit, lambda row: [row["id"]]))


@router.patch("/{tracking}", summary="Correct a report", operation_id="correct_report")
async def correct(
    request: Request,
    tracking: str,
    body: Correction,
    known: Known,
    if_match: Annotated[str | None, Header(max_length=64)] = None,
) -> Response:
    """Category, nature and address until it is accepted; the contact as long as it is kept."""
    settings = services(request).settings
    async with of_tracking(request, tracking, lock=True) as (connection, report):
        wanted = version(if_match)
        if wanted is not None and wanted != report.version:
            raise Problem(
                412,
                f"the report is at version {report.version}, not {wanted}: read it again",
                f"反映已被他人修改（版本{report.version}），请刷新",
            )
        if body.category or body.nature or body.address is not None:
            catalogue = await directory.load(connection, settings.zone, settings.urge_after)
            await refusable(_checked(body, catalogue))
            await refusable(
                following.correct(
                    connection,
                    settings,
                    report,
                    category=body.category,
                    nature=body.nature,
                    address=body.address,
                    actor=known.actor,
                    now=datetime.now(UTC),
                )
            )
        if body.contact is not None:
            given = body.contact.noun(mail=bool(settings.smtp_url))
            await refusable(_put_contact(connection, report, given, known.actor, settings.keys.ring()))
        row = await report_lists.listed(connection, report.id)
    return answer(_shown(row or {}), headers={"ETag": tag(row["version"] if row else 0)})


async def _checked(body: Correction, catalogue: Directory) -> None:
    report_checks.category(body.category, catalogue, citizen=False)


async def _put_contact(
    connection: Connection, report: Report, contact: Contact | None, actor: str, keys: KeyRing
) -> None:
    if contact is not None:
        report_checks.contact(contact)
        await reports.put_contact(connection, report.id, contact.dialled(), keys)
    await reports.record(connection, actor=actor, action="report.contact_changed", report_id=report.id)


@router.get("/{tracking}/contact", summary="Who reported", operation_id="report_contact")
async def read_contact(request: Request, tracking: str, known: Known) -> Response:
    """Name, telephone, mail; that you looked is on the record."""
    async with of_tracking(request, tracking) as (connection, report):
        found = await reports.contact(connection, report.id, services(request).settings.keys.ring())
        await reports.record(connection, actor=known.actor, action="report.contact_read", report_id=report.id)
    return answer({"contact": found})


@router.delete(
    "/{tracking}/contact", status_code=204, summary="Forget who reported", operation_id="forget_contact"
)
async def forget(request: Request, tracking: str) -> Response:
    """By whoever holds the tracking number, or by staff. Nobody is told or called any more."""
    known = staff(request)
    if known is None:
        await turnstile.admit(request)
    async with of_tracking(request, tracking, lock=True) as (connection, report):
        await reports.forget_contact(connection, report.id)
        actor = known.actor if known else CITIZEN
        await reports.record(connection, actor=actor, action="report.contact_erased", report_id=report.id)
    return Response(status_code=204)


@router.post(
    "/{tracking}/erase", status_code=204, summary="Erase what a reporter said", operation_id="erase_report"
)
async def erase(request: Request, tracking: str, body: Erasure, known: Known) -> Response:
    """Contact, address, photos, every text here and on the timeline. That there was a report, and the chain, stay."""
    async with of_tracking(request, tracking, lock=True) as (connection, report):
        await persons.erase_report(connection, report.id, datetime.now(UTC))
        await reports.record(
            connection, actor=known.actor, action="report.erased", report_id=report.id, reason=body.reason
        )
    return Response(status_code=204)


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "tracking": spoken(str(row["tracking"]))}


@of_incidents.get(
    "/{incident_id}/reports", summary="What was reported of an incident", operation_id="list_incident_reports"
)
async def list_of_incident(request: Request, incident_id: int) -> Response:
    """With digests of photos, oldest first; those of incidents merged into it too. At most 1,000."""
    async with async_transaction(request) as connection:
        if await reports.standing(connection, incident_id) is None:
            raise not_found("incident", "事件", incident_id)
        rows = await report_lists.of_incident(connection, incident_id)
    return answer({"items": [_shown(row) for row in rows], "next": None})
