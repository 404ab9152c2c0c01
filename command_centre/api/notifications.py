"""Messages that went out, and the addresses they go to: of a unit, and one's own."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request
from psycopg import AsyncConnection
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from city import roles
from city.contacts import Channel, ContactError
from city.incidents import Happening, Purpose
from city.sealing import KeyRing
from city.storage import contacts, notification_log
from command_centre.api import paging
from command_centre.api.answers import answer
from command_centre.api.caller import Caller
from command_centre.api.problem import Problem, not_found
from command_centre.api.services import async_transaction, services
from command_centre.api.session import Known
from command_centre.notify import outcome, wishes

router = APIRouter(prefix="/api", tags=["notifications"])

IfMatch = Annotated[str | None, Header(max_length=64, description="ETag of the list that was changed")]
State = Literal["waiting", "folded", "sent", "failed"]
_ALL_UNITS = frozenset({"hotline", *roles.CENTRE})  # see those of every unit


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ContactIn(Strict):
    id: int | None = Field(None, ge=0, le=2**62, description="of one that is there; left out = a new one")
    channel: Channel
    address: str = Field(
        "", max_length=2000, description="as shown, masked, or left out = as it is; apprise: its address"
    )
    label: str = Field("", max_length=100)
    language: Literal["zh", "en"] = "zh"
    lead: bool = Field(False, description="gets what goes to the unit's lead")
    active: bool = True
    purposes: list[Purpose] = Field(default_factory=list, max_length=20, description="empty = all")
    quiet: str = Field("", max_length=11, description="22:00-07:00; class A comes through")
    digest: bool = Field(True, description="many at once become one message; class A never")


class Contacts(Strict):
    items: list[ContactIn] = Field(max_length=wishes.MOST)


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """Whose contacts: a unit's or a person's id, and how the audit table names it."""

    unit: int | None = None
    user: int | None = None
    name: str


# ── messages ─────────────────────────────────────────────────────────────────────────────────────────


@router.get("/notifications", summary="Messages that went out or wait", operation_id="list_notifications")
async def list_notifications(
    request: Request,
    incident: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    state: State | None = None,
    limit: paging.Limit = 100,
    cursor: paging.Cursor = None,
) -> Response:
    """Newest first, without addresses. `digest` is the message that one of many went with."""
    before = paging.read(cursor, tuple[int])
    async with async_transaction(request) as connection:
        rows = await notification_log.page(
            connection, incident=incident, state=state, before=before[0] if before else None, limit=limit + 1
        )
    return answer(paging.page(rows, limit, lambda row: [row["id"]]))


@router.post(
    "/notifications/{notification_id}/resend",
    summary="Send a message again",
    operation_id="resend_notification",
)
async def resend(request: Request, notification_id: int, known: Known) -> Response:
    """By itself and under the key it had, so that a receiver which has it already can tell."""
    now = datetime.now(UTC)
    async with async_transaction(request) as connection:
        before = await notification_log.get(connection, notification_id)
        if before is None:
            raise not_found("notification", "消息", notification_id)
        if not await notification_log.send_again(connection, notification_id, now):
            raise Problem(
                409,
                f"notification {notification_id} is {before['state']}: only what was sent or given up, and whose "
                "address is still known, is sent again",
                f"消息{notification_id}处于{before['state']}状态，不能重发",
                state=before["state"],
            )
        if before["incident"] is not None:
            detail = {"unit": before["unit"], "channel": before["channel"], "purpose": before["purpose"]}
            said = Happening(kind="resent", actor=known.actor, detail=detail)
            await outcome.note(connection, {before["incident"]: [said]}, now)
        shown = await notification_log.get(connection, notification_id)
    return answer(shown)


# ── addresses ────────────────────────────────────────────────────────────────────────────────────────


@router.get("/units/{code}/contacts", summary="How a unit is told", operation_id="list_unit_contacts")
async def list_unit_contacts(request: Request, code: str, known: Known) -> Response:
    """Secrets are masked. What the district's files give the unit is not here: it is changed there."""
    async with async_transaction(request) as connection:
        return await _listed(connection, await _unit(connection, code, known, change=False))


@router.put("/units/{code}/contacts", summary="Change how a unit is told", operation_id="put_unit_contacts")
async def put_unit_contacts(
    request: Request, code: str, body: Contacts, known: Known, if_match: IfMatch = None
) -> Response:
    """The whole list. By an administrator, or by a handler of that unit."""
    async with async_transaction(request) as connection:
        owner = await _unit(connection, code, known, change=True)
        return await _put(connection, owner, body, known, if_match)


@router.post(
    "/units/{code}/contacts/test", summary="Send a unit a test message", operation_id="test_unit_contacts"
)
async def test_unit_contacts(request: Request, code: str, known: Known) -> Response:
    """To every active address of it, once a minute at most."""
    async with async_transaction(request) as connection:
        return await _test(request, connection, await _unit(connection, code, known, change=True))


@router.post(
    "/units/{code}/contacts/{contact_id}/secret",
    summary="Make the secret of a unit's webhook anew",
    operation_id="renew_unit_contact_secret",
)
async def renew_unit_secret(request: Request, code: str, contact_id: int, known: Known) -> Response:
    """Answers the secret, this once; the old one no longer serves."""
    async with async_transaction(request) as connection:
        owner = await _unit(connection, code, known, change=True)
        return await _renew(connection, services(request).settings.keys.ring(), owner, contact_id, known)


@router.get("/me/contacts", summary="How I am told", operation_id="list_my_contacts")
async def list_my_contacts(request: Request, known: Known) -> Response:
    """My own addresses and wishes."""
    async with async_transaction(request) as connection:
        return await _listed(connection, _me(known))


@router.put("/me/contacts", summary="Change how I am told", operation_id="put_my_contacts")
async def put_my_contacts(
    request: Request, body: Contacts, known: Known, if_match: IfMatch = None
) -> Response:
    """The whole list. Addresses inside the district's network are refused: an administrator gives those to a unit."""
    async with async_transaction(request) as connection:
        return await _put(connection, _me(known), body, known, if_match)


@router.post("/me/contacts/test", summary="Send me a test message", operation_id="test_my_contacts")
async def test_my_contacts(request: Request, known: Known) -> Response:
    """To every active address of mine, once a minute at most."""
    async with async_transaction(request) as connection:
        return await _test(request, connection, _me(known))


@router.post(
    "/me/contacts/{contact_id}/secret",
    summary="Make the secret of my webhook anew",
    operation_id="renew_my_contact_secret",
)
async def renew_my_secret(request: Request, contact_id: int, known: Known) -> Response:
    """Answers the secret, this once; the old one no longer serves."""
    async with async_transaction(request) as connection:
        keys = services(request).settings.keys.ring()
        return await _renew(connection, keys, _me(known), contact_id, known)


async def _unit(connection: AsyncConnection[Any], code: str, known: Caller, *, change: bool) -> Owner:
    unit = await contacts.unit_id(connection, code)
    if unit is None:
        raise not_found("unit", "单位", code)
    own = known.role == "handler" and known.unit_id == unit
    if not (own or known.role == "administrator" or (not change and known.role in _ALL_UNITS)):
        raise Problem(
            403,
            f"the contacts of {code} are for administrators and for handlers of {code}; {known.name} is {known.role}",
            f"单位{code}的联系方式由管理员和本单位处置人员维护",
        )
    return Owner(unit=unit, name=f"unit:{code}")


def _me(known: Caller) -> Owner:
    kind, _, number = known.actor.partition(":")
    if kind != "user":
        raise Problem(409, "an API token is no person and has no contacts", "API 令牌不是个人，没有联系方式")
    return Owner(user=int(number), name=known.actor)


async def _listed(connection: AsyncConnection[Any], owner: Owner) -> Response:
    listed = await contacts.own(connection, unit=owner.unit, user=owner.user)
    items = [wishes.shown(contact) for contact in listed]
    return answer({"items": items, "next": None}, headers={"ETag": wishes.tag(listed)})


async def _put(
    connection: AsyncConnection[Any], owner: Owner, body: Contacts, known: Caller, if_match: str | None
) -> Response:
    now = datetime.now(UTC)
    await contacts.lock(connection, unit=owner.unit, user=owner.user)
    before = await contacts.own(connection, unit=owner.unit, user=owner.user)
    if if_match is not None and if_match.strip() not in ("*", wishes.tag(before)):
        raise Problem(
            412,
            "somebody changed these contacts meanwhile; read them again",
            "联系方式已被他人修改，请重新读取",
            headers={"ETag": wishes.tag(before)},
        )
    try:
        items = [one.model_dump() for one in body.items]
        # In a thread: the first look at a gateway's address loads all of apprise's plugins, a second or two.
        after = await run_in_threadpool(wishes.wanted, items, before, unit=owner.unit, user=owner.user)
    except ContactError as error:
        raise Problem(
            422, str(error), error.zh, errors=[{"field": error.field, "remedy": str(error)}]
        ) from error
    await contacts.replace(connection, before, after, now)
    await contacts.record(connection, known.actor, owner.name, f"{len(before)} -> {len(after)}", now)
    return await _listed(connection, owner)


async def _renew(
    connection: AsyncConnection[Any], keys: KeyRing, owner: Owner, contact_id: int, known: Caller
) -> Response:
    secret = None
    if 0 < contact_id < 2**62:
        secret = await contacts.renew_secret(connection, keys, contact_id, unit=owner.unit, user=owner.user)
    if secret is None:
        raise not_found("webhook among these contacts", "这样的 webhook 联系方式", contact_id)
    await contacts.record(
        connection, known.actor, owner.name, f"secret of contact {contact_id}", datetime.now(UTC)
    )
    return answer({"id": contact_id, "secret": secret})


async def _test(request: Request, connection: AsyncConnection[Any], owner: Owner) -> Response:
    now = datetime.now(UTC)
    mail = bool(services(request).settings.smtp_url)
    done = await wishes.send_test(connection, now, unit=owner.unit, user=owner.user, mail=mail)
    if isinstance(done, datetime):
        seconds = max(1, int((done - now).total_seconds()) + 1)
        raise Problem(
            429,
            f"a test message went out less than a minute ago; try again in {seconds} s",
            f"刚刚已发送测试消息，请 {seconds} 秒后再试",
            headers={"Retry-After": str(seconds)},
        )
    return answer({"sent_to": done}, 202)
