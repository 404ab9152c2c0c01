"""Accounts of devices at the broker: made, rotated, revoked, and who still shares one."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from city.storage import broker_files, credentials
from command_centre import credential_changes as changes
from command_centre.api.answers import answer, gives
from command_centre.api.problem import not_found
from command_centre.api.refusals import refusable
from command_centre.api.services import async_transaction, transaction
from command_centre.api.session import Known
from command_centre.api.shapes.credentials import BrokerAccounts, DeviceCredentials, IssuedCredential

router = APIRouter(tags=["register"])

Words = Annotated[str, Field(min_length=1, max_length=2000, pattern=r"\S", description="why; kept for good")]
_MOST_SHOWN = 500


class NewCredential(BaseModel):
    """Families and topics left out = those of the account that is replaced."""

    model_config = ConfigDict(extra="forbid")

    families: list[Annotated[str, Field(max_length=32)]] | None = Field(
        None,
        max_length=20,
        description="families of foreign senders it speaks for as a whole: a bridge, a network",
    )
    topics: list[Annotated[str, Field(max_length=500)]] | None = Field(
        None, max_length=50, description="further topic filters it may write on"
    )
    certificate: bool = Field(False, description="no secret: it comes with a client certificate of this name")
    overlap_hours: float = Field(
        changes.OVERLAP / timedelta(hours=1),
        ge=0,
        le=changes.LONGEST_OVERLAP / timedelta(hours=1),
        description="how long the account that is replaced stays good",
    )
    reason: Words


class Revoking(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: Words


@router.get(
    "/api/devices/{code}/credentials",
    summary="A device's accounts at the broker",
    operation_id="device_credentials",
    responses=gives(DeviceCredentials),
)
async def device_credentials(request: Request, code: str) -> Response:
    """Those that are good first; never a secret. ``writes`` are the topics it may publish on, with each of them."""
    async with async_transaction(request) as connection:
        if await credentials.device(connection, code) is None:
            raise not_found("device", "设备", code)
        found = await credentials.of_device(connection, code)
    return answer(
        {"items": [asdict(one) for one in found], "next": None, "writes": await _writes(request, code)}
    )


@router.post(
    "/api/devices/{code}/credentials",
    status_code=201,
    summary="Give a device an account at the broker, or the next one",
    operation_id="issue_device_credential",
    responses=gives(IssuedCredential, 201),
)
async def issue(request: Request, code: str, body: NewCredential, known: Known) -> Response:
    """The secret is answered here and kept nowhere, hence no Idempotency-Key: who lost it revokes and asks again.

    A device that has an account gets a second one, and the first ends after the overlap.
    """
    async with async_transaction(request) as connection:
        made = await refusable(
            changes.issue(connection, code, _wanted(body), now=datetime.now(UTC), actor=known.actor)
        )
    return answer(asdict(made) | {"writes": await _writes(request, code)}, 201)


@router.post(
    "/api/devices/{code}/credentials/{account}/revoke",
    summary="End an account of a device at once",
    operation_id="revoke_device_credential",
    responses=gives(DeviceCredentials),
)
async def revoke(request: Request, code: str, account: str, body: Revoking, known: Known) -> Response:
    """The broker closes its connection when it has read its files again, seconds later."""
    async with async_transaction(request) as connection:
        left = await refusable(
            changes.revoke(connection, code, account, actor=known.actor, reason=body.reason.strip())
        )
    return answer(
        {"items": [asdict(one) for one in left], "next": None, "writes": await _writes(request, code)}
    )


@router.get(
    "/api/broker-accounts",
    summary="Who has an account of his own at the broker, and who shares one",
    operation_id="broker_accounts",
    responses=gives(BrokerAccounts),
)
async def broker_accounts(request: Request) -> Response:
    """At most 500 of each list: who logged in last, and devices by code."""
    since = datetime.now(UTC) - timedelta(days=1)
    async with async_transaction(request) as connection:
        told: dict[str, Any] = dict(await credentials.counts(connection))
        told["refused_last_day"] = await credentials.refused_since(connection, since)
        told["shared"] = [
            asdict(one) for one in await credentials.shared_logins(connection, limit=_MOST_SHOWN)
        ]
        told["unprotected"] = await credentials.unprotected(connection, limit=_MOST_SHOWN)
    return answer(told)


def _wanted(body: NewCredential) -> changes.Wanted:
    return changes.Wanted(
        families=body.families,
        topics=body.topics,
        certificate_only=body.certificate,
        overlap=timedelta(hours=body.overlap_hours),
        reason=body.reason.strip(),
    )


async def _writes(request: Request, code: str) -> list[str]:
    def work() -> list[str]:
        with transaction(request) as connection:
            return broker_files.may_write(connection, code)

    return await run_in_threadpool(work)
