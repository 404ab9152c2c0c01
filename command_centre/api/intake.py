"""Reports of other systems, each signed with its system's secret; and those systems."""

import hmac
import secrets
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from city.storage import intake_systems
from command_centre import intake
from command_centre.api import turnstile
from command_centre.api.answers import answer
from command_centre.api.problem import Problem, field_problem, not_found
from command_centre.api.refusals import refusable
from command_centre.api.report_form import Read, ReportBody
from command_centre.api.reports import answered, digest_of
from command_centre.api.services import async_transaction, services
from command_centre.api.session import Known
from command_centre.notify.webhook import signature

router = APIRouter(prefix="/api", tags=["reports"])

WINDOW_S = 300  # how far a signature's time may be from ours
_NOBODY = secrets.token_hex(32)  # an unknown system is checked like a known one


class SystemReport(ReportBody):
    external_id: str = Field(
        min_length=1, max_length=100, description="the system's own number: sent again, done once"
    )


class NewSystem(BaseModel):
    model_config = ConfigDict(extra="forbid")

    code: str = Field(pattern=r"^[a-z][a-z0-9_-]{1,30}$")
    name: str = Field(min_length=1, max_length=100)


class SystemChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, min_length=1, max_length=100)
    active: bool | None = None


@router.post(
    "/intake/{system}",
    status_code=201,
    summary="Report, signed by another system",
    operation_id="import_report",
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
    },
)
async def import_report(
    request: Request,
    system: str,
    timestamp: Annotated[str, Header(max_length=20, alias="X-City-Timestamp")] = "",
    signed: Annotated[str, Header(max_length=100, alias="X-City-Signature")] = "",
) -> Response:
    """HMAC-SHA-256 over `timestamp.body` with the system's secret, as `sha256=<hex>`; a time 300 s off is refused.

    The same `external_id` again answers what became of it the first time, with 200.
    """
    raw = await request.body()
    await _check(request, system, timestamp, signed, raw)
    try:
        body = SystemReport.model_validate_json(raw)
    except ValidationError as error:
        faults = [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors(include_url=False)]
        raise RequestValidationError(faults) from error
    settings = services(request).settings
    report = intake.NewReport(
        channel=body.channel or "system",
        category=body.category,
        nature=body.nature,
        text=body.text,
        cell=body.cell,
        longitude=body.longitude,
        latitude=body.latitude,
        address=body.address,
        component=body.component,
        contact=body.contact.noun(mail=bool(settings.smtp_url)),
        photos=tuple(digest_of(one) for one in body.photos),
        actor=f"system:{system}",
        language=body.language,
        external_id=body.external_id,
    )
    report = replace(report, exercise=body.exercise, fixed_on_spot=body.found_and_fixed)  # refused: not staff
    async with async_transaction(request) as connection:
        now = datetime.now(UTC)
        done = await refusable(intake.register(connection, settings, report, now=now))
        await intake_systems.used(connection, system, now)
        shown = await answered(connection, done, Read(fields={}), len(report.photos), to_staff=True)
    return answer(shown, 200 if done.repeated else 201)


async def _check(request: Request, system: str, timestamp: str, signed: str, raw: bytes) -> None:
    """Raises Problem 401; which of system, time and signature was wrong is for the owner of the secret to find."""
    now = datetime.now(UTC)
    async with async_transaction(request) as connection:
        secret = await intake_systems.secret(connection, services(request).settings.keys.ring(), system)
    fresh = timestamp.isascii() and timestamp.isdigit() and abs(now.timestamp() - int(timestamp)) <= WINDOW_S
    right = hmac.compare_digest(
        signature(secret or _NOBODY, timestamp, raw).encode(), signed.strip().encode(errors="replace")
    )
    if secret is None or not fresh or not right:
        await turnstile.count(request, "signature")
        raise Problem(
            401,
            "system, X-City-Timestamp or X-City-Signature is not right: sign timestamp + '.' + body with your secret, "
            f"within {WINDOW_S} s",
            "系统代码、时间戳或签名不正确",
        )


@router.get("/intake-systems", summary="Systems that send reports", operation_id="list_intake_systems")
async def list_systems(request: Request) -> Response:
    """By code, with when each last sent something."""
    async with async_transaction(request) as connection:
        return answer({"items": await intake_systems.listed(connection), "next": None})


@router.post(
    "/intake-systems", status_code=201, summary="Admit a system", operation_id="create_intake_system"
)
async def create_system(request: Request, body: NewSystem, known: Known) -> Response:
    """Answers the secret, this once."""
    secret = secrets.token_hex(32)
    async with async_transaction(request) as connection:
        made = await intake_systems.create(
            connection,
            services(request).settings.keys.ring(),
            code=body.code,
            name=body.name,
            secret=secret,
            actor=known.actor,
            at=datetime.now(UTC),
        )
        if not made:
            raise field_problem("code", body.code, "is taken; use another", "已被占用，请换一个")
    return answer({"code": body.code, "name": body.name, "active": True, "secret": secret}, 201)


@router.patch(
    "/intake-systems/{code}", summary="Rename or stop a system", operation_id="change_intake_system"
)
async def change_system(request: Request, code: str, body: SystemChange, known: Known) -> Response:
    """A stopped one is refused like an unknown one."""
    async with async_transaction(request) as connection:
        if not await intake_systems.change(
            connection, code, name=body.name, active=body.active, actor=known.actor
        ):
            raise not_found("system", "系统", code[:60])
        return answer({"items": await intake_systems.listed(connection), "next": None})


@router.post(
    "/intake-systems/{code}/secret", summary="Make a system's secret anew", operation_id="renew_intake_secret"
)
async def renew_secret(request: Request, code: str, known: Known) -> Response:
    """Answers the secret, this once; the old one no longer serves."""
    secret = secrets.token_hex(32)
    async with async_transaction(request) as connection:
        keys = services(request).settings.keys.ring()
        if not await intake_systems.renew(connection, keys, code, secret, known.actor):
            raise not_found("system", "系统", code[:60])
    return answer({"code": code, "secret": secret})
