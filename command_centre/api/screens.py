"""Walls without a person: paired once by an administrator, let in by a cookie afterwards, ended by revoking."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Request
from psycopg import AsyncConnection
from starlette.responses import Response

from city.storage import screens as stored
from command_centre import accounts
from command_centre.api import once, paging
from command_centre.api.answers import answer, gives
from command_centre.api.cookies import over_tls, put_screen, screen_token
from command_centre.api.problem import Problem, field_problem, not_found
from command_centre.api.screen.guests import EXPIRED, Dismissed, still_holds
from command_centre.api.screen_shapes import (
    NewScreen,
    Pairing,
    PairingAddress,
    ScreenChange,
    ScreenMade,
    ScreenPage,
    ScreenPaired,
    ScreenRow,
)
from command_centre.api.services import async_transaction, services
from command_centre.api.session import Known

router = APIRouter(prefix="/api/screens", tags=["screens"])

PAIRING_LASTS = timedelta(minutes=30)  # somebody walks to the machine and types
LASTS = timedelta(days=30)  # of a screen that renews itself: so long it may be switched off
MOST = timedelta(days=3660)


@router.get("", summary="Paired screens", operation_id="list_screens", responses=gives(ScreenPage))
async def list_screens(request: Request, limit: paging.Limit = 100, cursor: paging.Cursor = None) -> Response:
    """By number, the ended ones too. `last_seen_at` is to the minute."""
    after = paging.read(cursor, tuple[int])
    async with async_transaction(request) as connection:
        rows = await stored.listed(connection, datetime.now(UTC), after[0] if after else 0, limit + 1)
    return answer(paging.page(rows, limit, lambda row: [row["id"]]))


@router.post(
    "",
    status_code=201,
    summary="Admit a screen",
    operation_id="create_screen",
    responses=gives(ScreenMade, 201),
)
async def create_screen(request: Request, body: NewScreen, known: Known, key: once.Key = None) -> Response:
    """Answers the one-time pairing address, this once: the same `Idempotency-Key` again answers `pairing` null."""
    now = datetime.now(UTC)
    secret = secrets.token_urlsafe(32)
    _future(body.expires_at, now)
    async with async_transaction(request) as connection:

        async def made() -> dict[str, Any]:
            number = await stored.create(
                connection,
                name=body.name,
                area_id=await _area(connection, body.scope),
                renews=body.expires_at is None,
                expires_at=body.expires_at or now + LASTS,
                pairing=accounts.digest(secret),
                pairing_until=now + PAIRING_LASTS,
                actor=known.actor,
                now=now,
            )
            await stored.record(connection, actor=known.actor, action="screen.created", screen_id=number)
            return {"screen": await _one(connection, number, now), "pairing": None}

        response = await once.once(connection, known.actor, "POST /api/screens", key, body, made, status=201)
    if "Idempotent-Replayed" in response.headers:
        return response
    shown = msgspec.json.decode(response.body)  # the secret is not kept with the answer
    return answer({**shown, "pairing": _address(request, secret, now)}, 201)


@router.post(
    "/pair", summary="Trade a pairing address", operation_id="pair_screen", responses=gives(ScreenPaired)
)
async def pair_screen(request: Request, body: Pairing) -> Response:
    """Sets the screen's cookie. The address works once; pairing another machine ends this one's access."""
    now = datetime.now(UTC)
    token = secrets.token_urlsafe(32)
    async with async_transaction(request) as connection:
        paired = await stored.trade(
            connection, accounts.digest(body.secret), accounts.digest(token), now, LASTS
        )
    if paired is None:
        raise Problem(
            403,
            "this pairing address was used before or is too old; ask an administrator for another",
            "配对地址已用过或已过期，请管理员重新生成",
        )
    return _with_cookie(request, paired, token)


@router.post("/renew", summary="More time", operation_id="renew_screen", responses=gives(ScreenPaired))
async def renew_screen(request: Request) -> Response:
    """By the screen itself while it is in use; one with a fixed end keeps it."""
    now = datetime.now(UTC)
    token = screen_token(request.cookies, tls=_tls(request)) or ""
    async with async_transaction(request) as connection:
        paired = await stored.by_token(connection, accounts.digest(token)) if token else None
        if paired is None:
            raise Problem(401, "this is no paired screen", "本机不是已配对的屏幕")
        try:
            still_holds(paired, now)
        except Dismissed as why:
            raise _over(why) from why
        if paired.renews:
            await stored.renew(connection, paired.id, now + LASTS)
            paired = await stored.by_token(connection, accounts.digest(token)) or paired
    return _with_cookie(request, paired, token)


@router.post(
    "/{screen_id:int}/pairing",
    summary="Another pairing address",
    operation_id="offer_pairing",
    responses=gives(ScreenMade),
)
async def offer_pairing(request: Request, screen_id: int, known: Known) -> Response:
    """For a machine that lost its cookie or was replaced; the address given before is worth nothing then."""
    now = datetime.now(UTC)
    secret = secrets.token_urlsafe(32)
    async with async_transaction(request) as connection:
        if not await stored.offer_pairing(
            connection, screen_id, accounts.digest(secret), now + PAIRING_LASTS
        ):
            await _refuse_ended(connection, screen_id, now)
        await stored.record(connection, actor=known.actor, action="screen.pairing", screen_id=screen_id)
        shown = await _one(connection, screen_id, now)
    return answer({"screen": shown, "pairing": _address(request, secret, now)})


@router.patch(
    "/{screen_id:int}",
    summary="Rename, move or extend",
    operation_id="change_screen",
    responses=gives(ScreenRow),
)
async def change_screen(
    request: Request,
    screen_id: int,
    body: ScreenChange,
    known: Known,
    if_match: Annotated[str | None, Header(max_length=100)] = None,
) -> Response:
    """A screen that is connected takes it over within a minute; one whose access had ended goes on by itself."""
    now = datetime.now(UTC)
    _future(body.expires_at, now)
    version = once.version(if_match)
    async with async_transaction(request) as connection:
        done = await stored.change(
            connection,
            screen_id,
            version=version,
            name=body.name,
            place="scope" in body.model_fields_set,
            area_id=await _area(connection, body.scope),
            expires_at=body.expires_at,
        )
        if not done:
            await _refuse_ended(connection, screen_id, now)
            raise Problem(412, "somebody changed it meanwhile; read it again", "已被他人修改，请重新读取")
        await stored.record(
            connection,
            actor=known.actor,
            action="screen.changed",
            screen_id=screen_id,
            reason=body.model_dump_json(exclude_unset=True),
        )
        shown = await _one(connection, screen_id, now)
    return answer(shown, headers={"ETag": once.tag(shown["version"])})


@router.post(
    "/{screen_id:int}/revoke",
    summary="End its access",
    operation_id="revoke_screen",
    responses=gives(ScreenRow),
)
async def revoke_screen(request: Request, screen_id: int, known: Known) -> Response:
    """For good. What it shows turns old within a minute, and it says so."""
    now = datetime.now(UTC)
    async with async_transaction(request) as connection:
        if not await stored.revoke(connection, screen_id, known.actor, now):
            await _refuse_ended(connection, screen_id, now)
        await stored.record(connection, actor=known.actor, action="screen.revoked", screen_id=screen_id)
        return answer(await _one(connection, screen_id, now))


async def _one(connection: AsyncConnection[Any], screen_id: int, now: datetime) -> dict[str, Any]:
    row = await stored.get(connection, screen_id, now)
    if row is None:
        raise not_found("screen", "屏幕", screen_id)
    return row


async def _refuse_ended(connection: AsyncConnection[Any], screen_id: int, now: datetime) -> None:
    """Raises when there is no such screen, or it is revoked."""
    if (await _one(connection, screen_id, now))["state"] == "revoked":
        raise Problem(409, "its access was ended for good; admit a new screen", "该屏幕已收回，请新建")


async def _area(connection: AsyncConnection[Any], scope: str | None) -> int | None:
    if scope is None:
        return None
    found = await stored.area(connection, scope)
    if found is None:
        remedy = "is no street, community or cell; see /api/cells?level="
        raise field_problem("scope", scope, remedy, "没有这个街道、社区或网格")
    return found


def _future(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is not None and not now < expires_at <= now + MOST:
        raise field_problem(
            "expires_at", expires_at.isoformat(), "must lie ahead, at most ten years", "须在未来十年之内"
        )


def _address(request: Request, secret: str, now: datetime) -> PairingAddress:
    # Behind the hash: a browser sends it to no server, and no proxy writes it down.
    base = services(request).settings.public_url.rstrip("/") or str(request.base_url).rstrip("/")
    return {"address": f"{base}/wall#pair={secret}", "until": now + PAIRING_LASTS}


def _over(why: Dismissed) -> Problem:
    words = "本屏的访问期限已到" if why.code == EXPIRED else "本屏的访问权已收回"
    return Problem(
        401, f"{why}: an administrator extends or pairs it anew", f"{words}，请管理员延期或重新配对"
    )


def _with_cookie(request: Request, paired: stored.PairedScreen, token: str) -> Response:
    shown: ScreenPaired = {"name": paired.name, "scope": paired.scope, "expires_at": paired.expires_at}
    response = answer(shown)
    put_screen(response, token, tls=_tls(request))
    return response


def _tls(request: Request) -> bool:
    return over_tls(request, services(request).settings.public_url)
