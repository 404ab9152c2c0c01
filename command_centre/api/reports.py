"""Reports: sent by citizens and by staff, listed and corrected by the hotline."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request
from psycopg import AsyncConnection
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from city.incidents import AUTOMATION, Nature
from city.reports import CITIZEN, NewReport, Registered, Report, read_tracking, spoken
from city.storage import directory, report_lists, reports
from command_centre import following, intake, photos, progress, report_checks
from command_centre.api import paging, turnstile
from command_centre.api.access import ROLES, Caller
from command_centre.api.answers import answer
from command_centre.api.once import Key, once, tag, version
from command_centre.api.problem import Problem, field_problem, not_found
from command_centre.api.refusals import refusable
from command_centre.api.report_form import FORMS, Read, ReportBody, ReportContact, read
from command_centre.api.services import async_transaction, services
from command_centre.api.session import Known

router = APIRouter(prefix="/api/reports", tags=["reports"])

Connection = AsyncConnection[Any]
PUBLIC_CHANNELS = ("web", "qr", "miniprogram", "app")
SHORTEST_KEY = 16  # a stranger's key must not be one that the next stranger thinks of too
_PLACES: Mapping[str, tuple[str, str]] = {
    "inside": ("位置在本区内", "inside the district"),
    "outside": ("位置在本区之外，我们会核实", "outside the district; we will look into it"),
    "unknown": ("位置待核实", "the place is still to be found"),
}
STAFF_FIELDS = ("exercise", "found_and_fixed", "external_id", "photos")


def form_description(model: type[BaseModel]) -> dict[str, Any]:
    """How a body that is read by hand is described."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    kinds = ("application/json", *FORMS)
    return {
        "requestBody": {
            "required": True,
            "content": {
                kind: {
                    "schema": {
                        "type": "object",
                        "properties": {
                            name: {"description": part.get("description", "")}
                            for name, part in schema["properties"].items()
                        },
                    }
                }
                for kind in kinds
            },
        }
    }


def staff(request: Request) -> Caller | None:
    """Who may speak for others; None for a citizen, logged in to look or not at all."""
    caller: Caller | None = request.state.caller
    return caller if caller is not None and caller.role in ROLES["hotline"] else None


@router.post(
    "",
    status_code=201,
    summary="Report something",
    operation_id="create_report",
    openapi_extra=form_description(ReportBody),
)
async def create_report(request: Request, key: Key = None) -> Response:
    """JSON or a form, with up to five photos of 10 MB. The tracking number in the answer opens its progress.

    A photo that is none refuses the report and names the file, unless `keep_without_photos` is set.
    """
    known = staff(request)
    if known is None:
        usable_key(key)
        await turnstile.admit(request)
    given = await read(request)
    body = given.as_body(ReportBody)
    if not body.keep_without_photos:
        given.raise_refused()
    report = _new_report(body, known)
    if known is None:
        await turnstile.admit_contact(request, report.contact)
    actor = known.actor if known else CITIZEN
    async with async_transaction(request) as connection:

        async def work() -> dict[str, Any]:
            return await _registered(request, connection, given, report, actor)

        return await once(connection, actor, "POST /api/reports", key, given.sent(body), work, status=201)


async def _registered(
    request: Request, connection: Connection, given: Read, report: NewReport, actor: str
) -> dict[str, Any]:
    settings = services(request).settings
    now = datetime.now(UTC)
    if given.taken:
        kept = await photos.keep(connection, settings.photo_folder, given.taken, actor=actor, now=now)
        report = replace(report, photos=(*report.photos, *kept))
    done = await refusable(intake.register(connection, settings, report, now=now))
    return await answered(connection, done, given, len(report.photos), to_staff=actor != CITIZEN)


async def answered(
    connection: Connection, done: Registered, given: Read, kept: int, *, to_staff: bool
) -> dict[str, Any]:
    """What whoever reported reads; staff also which incident it became."""
    incident = await reports.standing(connection, done.incident_id) if done.incident_id else None
    where = progress.bar(done.received_at, incident)
    shown: dict[str, Any] = {
        "tracking": spoken(done.tracking),
        "url": f"/api/reports/{spoken(done.tracking)}",
        "received_at": done.received_at,
        "state": {"code": where.state, "zh": where.words[0], "en": where.words[1]},
        "place": {"code": done.place, "zh": _PLACES[done.place][0], "en": _PLACES[done.place][1]},
        "photos": {
            "kept": kept,
            "refused": [
                {"name": one.name, "reason": one.reason, "reason_en": one.reason_en} for one in given.refused
            ],
        },
    }
    if to_staff:
        shown["incident"] = incident.id if incident else None
        shown["number"] = incident.number if incident else None
        shown["joined"] = done.joined
    return shown


def usable_key(key: str | None) -> None:
    """Raises Problem 422 for a stranger's key that others may use too."""
    if key is not None and len(key) < SHORTEST_KEY:
        raise field_problem(
            "Idempotency-Key",
            "(given)",
            f"use a random one of at least {SHORTEST_KEY} characters, such as a UUID",
            f"请用至少{SHORTEST_KEY}个字符的随机值，如 UUID",
        )


def _new_report(body: ReportBody, known: Caller | None) -> NewReport:
    """Raises Problem for what only staff may say."""
    if known is None:
        for field in STAFF_FIELDS:
            if getattr(body, field):
                raise field_problem(field, "(given)", "only staff may say so", "只有工作人员可以填写")
        if body.channel is not None and body.channel not in PUBLIC_CHANNELS:
            listed = ", ".join(PUBLIC_CHANNELS)
            raise field_problem("channel", body.channel, f"use {listed}", f"可用：{listed}")
    return NewReport(
        channel=body.channel or _channel(known),
        category=body.category,
        nature=body.nature,
        text=body.text,
        cell=body.cell,
        longitude=body.longitude,
        latitude=body.latitude,
        address=body.address,
        component=body.component,
        contact=body.contact.noun(),
        photos=tuple(digest_of(one) for one in body.photos),
        actor=known.actor if known else CITIZEN,
        language=body.language,
        exercise=body.exercise,
        external_id=body.external_id,
        fixed_on_spot=body.found_and_fixed,
    )


def _channel(known: Caller | None) -> str:
    if known is None:
        return "web"
    return "patrol" if known.role == "grid_worker" else "system" if known.actor == AUTOMATION else "hotline"


def digest_of(written: str) -> bytes:
    """A photo's digest as 32 bytes; raises Problem 422."""
    try:
        digest = bytes.fromhex(written)
    except ValueError:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise field_problem(
            "photos", written, "use a digest that /api/photos answered", "请用上传照片时返回的摘要"
        )
    return digest


# ── what the hotline sees ────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def of_tracking(
    request: Request, written: str, *, lock: bool = False
) -> AsyncIterator[tuple[Connection, Report]]:
    """The report under a tracking number in a transaction; strangers who guess are stopped. Raises Problem 404."""
    stranger = staff(request) is None
    if stranger:
        await turnstile.may_guess(request)
    tracking = read_tracking(written)
    async with async_transaction(request) as connection:
        found = await reports.by_tracking(connection, tracking, lock=lock) if tracking else None
        if found is not None:
            yield connection, found
            return
    if stranger:
        await turnstile.guessed(request)
    raise not_found("report", "此编号的反映", written[:40])


class Correction(BaseModel):
    model_config = ConfigDict(extra="forbid")

    category: str | None = Field(None, max_length=100)
    nature: Nature | None = None
    address: str | None = Field(None, max_length=200)
    contact: ReportContact | None = Field(None, description="replaces what was given")


class Erasure(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=500)


@router.get("", summary="Reports", operation_id="list_reports")
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
            catalogue = await directory.load(connection, settings.zone)
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
            await refusable(_put_contact(connection, report, body.contact, known.actor))
        row = await report_lists.listed(connection, report.id)
    return answer(_shown(row or {}), headers={"ETag": tag(row["version"] if row else 0)})


async def _checked(body: Correction, catalogue: Any) -> None:
    report_checks.category(body.category, catalogue, citizen=False)


async def _put_contact(connection: Connection, report: Report, given: ReportContact, actor: str) -> None:
    contact = given.noun()
    if contact is not None:
        report_checks.contact(contact)
        await reports.put_contact(connection, report.id, contact)
    await reports.record(connection, actor=actor, action="report.contact_changed", report_id=report.id)


@router.get("/{tracking}/contact", summary="Who reported", operation_id="report_contact")
async def contact(request: Request, tracking: str, known: Known) -> Response:
    """Name, telephone, mail; that you looked is on the record."""
    async with of_tracking(request, tracking) as (connection, report):
        found = await reports.contact(connection, report.id)
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
    """Contact, address, every text here and on the timeline. That there was a report, and the chain, stay."""
    async with of_tracking(request, tracking, lock=True) as (connection, report):
        await reports.erase(connection, report.id, datetime.now(UTC))
        await reports.record(
            connection, actor=known.actor, action="report.erased", report_id=report.id, reason=body.reason
        )
    return Response(status_code=204)


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "tracking": spoken(str(row["tracking"]))}
