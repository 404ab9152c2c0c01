"""Reports: sent by citizens and by staff, listed and corrected by the hotline."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from psycopg import AsyncConnection
from pydantic import BaseModel
from starlette.responses import Response

from city.incidents import AUTOMATION
from city.reports import CITIZEN, NewReport, Registered, Report, read_tracking, spoken
from city.storage import reports
from command_centre import intake, photos, progress
from command_centre.api import turnstile
from command_centre.api.access import ROLES
from command_centre.api.caller import Caller
from command_centre.api.once import Key, once
from command_centre.api.problem import field_problem, not_found
from command_centre.api.refusals import refusable
from command_centre.api.report_form import FORMS, Read, ReportBody, read
from command_centre.api.services import async_transaction, services
from command_centre.kept_files import RoomError

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


def _system(request: Request) -> Caller | None:
    """Another system of the city, which files what it was told; everything else of a report is not its business."""
    caller: Caller | None = request.state.caller
    return caller if caller is not None and caller.role == "integrator" else None


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
    known = staff(request) or _system(request)
    if known is None:
        usable_key(key)
        await turnstile.admit(request)
    given = await read(request)
    body = given.as_body(ReportBody)
    if not body.keep_without_photos:
        given.raise_refused()
    report = _new_report(body, known, mail=bool(services(request).settings.smtp_url))
    if known is None:
        await turnstile.admit_contact(request, report.contact)
    actor = known.actor if known else CITIZEN
    async with async_transaction(request) as connection:

        async def work() -> dict[str, Any]:
            bare = body.keep_without_photos
            return await _registered(request, connection, given, report, actor, bare=bare)

        return await once(connection, actor, "POST /api/reports", key, given.sent(body), work, status=201)


async def _registered(
    request: Request, connection: Connection, given: Read, report: NewReport, actor: str, *, bare: bool
) -> dict[str, Any]:
    """``bare``: taken without its photos where they cannot be kept."""
    settings = services(request).settings
    now = datetime.now(UTC)
    if given.taken:
        try:
            async with connection.transaction():
                kept = await photos.keep(connection, settings.photo_folder, given.taken, actor=actor, now=now)
            report = replace(report, photos=(*report.photos, *kept))
        except RoomError as error:
            if not bare:  # else the matter counts more than its picture
                raise
            given = given.without_photos(error)
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


def _new_report(body: ReportBody, known: Caller | None, *, mail: bool) -> NewReport:
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
        contact=body.contact.noun(mail=mail),
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
    if known.role == "grid_worker":
        return "patrol"
    return "system" if known.actor == AUTOMATION or known.role == "integrator" else "hotline"


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
