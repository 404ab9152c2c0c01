"""Logging in and out, showing again who one is, and changing one's own password."""

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field, SecretStr
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from city.reach import of_account
from city.sealing import KeyRing
from city.settings import Settings
from city.storage import audit, sessions, users
from command_centre import accounts, logging_in, passwords, second_factor
from command_centre.api.access import ROLES
from command_centre.api.answers import answer, gives
from command_centre.api.caller import Caller
from command_centre.api.cookies import (
    device_token,
    drop_session,
    over_tls,
    put_device,
    put_session,
    session_token,
)
from command_centre.api.problem import Problem
from command_centre.api.services import services, transaction
from command_centre.api.shapes.accounts import LogInWays, SessionOpened, WhoAmI
from command_centre.logging_in import Lasting, LoggedIn, Paused, SecretEnded, Try

router = APIRouter(prefix="/api/session", tags=["session"])

AT_ONCE = 2  # log-ins whose password is hashed at the same time: 64 MiB and a core each
WAITING = 30  # further ones that wait; the next is told to come back


class LogIn(BaseModel):
    name: str = Field(min_length=1, max_length=100)
    password: SecretStr = Field(min_length=1, max_length=1000)
    code: str = Field(
        "", max_length=40, description="of the second factor, or a recovery code; when asked for"
    )


class NewPassword(BaseModel):
    current: SecretStr = Field(min_length=1, max_length=1000)
    new: SecretStr = Field(min_length=1, max_length=1000)


class Proof(BaseModel):
    password: SecretStr = Field(min_length=1, max_length=1000)
    code: str = Field("", max_length=40, description="of the second factor, for who has one")


class Door:
    """Bounds how much memory and processor time guessing passwords can take from the rest."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(AT_ONCE)
        self._inside = 0

    async def __aenter__(self) -> None:
        if self._inside >= WAITING + AT_ONCE:
            raise Problem(
                429,
                "too many people log in at this moment; try again in a few seconds",
                "登录人数过多，请稍候重试",
                headers={"Retry-After": "3"},
            )
        self._inside += 1
        await self._places.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._inside -= 1
        self._places.release()


def caller(request: Request) -> Caller:
    """A dependency of routes: who the gate let in."""
    found: Caller = request.state.caller
    return found


Known = Annotated[Caller, Depends(caller)]


def keys(request: Request) -> KeyRing:
    """What seals and unseals now."""
    return services(request).settings.keys.ring()


def lasting(settings: Settings) -> Lasting:
    return Lasting(
        idle=timedelta(hours=settings.session_idle_hours), longest=timedelta(days=settings.session_days)
    )


def shown_by(request: Request, name: str, password: str = "", code: str = "") -> Try:
    """What somebody shows, and where they are."""
    return Try(
        name=name,
        password=password,
        code=code,
        address=request.client.host if request.client else "",
        browser=request.headers.get("user-agent", ""),
        device=device_token(request.cookies, tls=over_tls(request, services(request).settings.public_url)),
    )


def session_of(request: Request, known: Caller) -> tuple[int, int]:
    """Number of the person and of their session; raises Problem 403 for a program."""
    if known.user_id is None or known.session_id is None:
        raise Problem(403, "a token has no such thing; log in as a person", "令牌没有此项，请以个人身份登录")
    return known.user_id, known.session_id


def paused(outcome: Paused) -> Problem:
    return Problem(
        429,
        f"too many wrong passwords or codes; try again in {outcome.seconds} s",
        f"密码或验证码错误次数过多，请在 {outcome.seconds} 秒后重试",
        headers={"Retry-After": str(outcome.seconds)},
    )


@router.get("/ways", summary="Ways to log in", operation_id="log_in_ways", responses=gives(LogInWays))
def log_in_ways(request: Request) -> Response:
    """By password always; `provider` is what the city's identity provider is called, null without one."""
    settings = services(request).settings
    name = settings.oidc_name or settings.oidc_issuer
    return answer({"provider": name or None, "shortest_password": passwords.SHORTEST})


@router.post("", summary="Log in", operation_id="log_in", responses=gives(SessionOpened))
async def log_in(request: Request, body: LogIn) -> Response:
    """Sets the session cookie. With `must_change` true only the password can be changed, with `must_enrol` only a
    second factor be added. 401 with `code_wanted`: the password was right, send it again with the code."""
    async with request.app.state.door:
        outcome = await run_in_threadpool(_log_in, request, body)
    if isinstance(outcome, Paused):
        raise paused(outcome)
    if outcome is None:
        raise Problem(401, "name or password is wrong", "用户名或密码错误")
    if isinstance(outcome, SecretEnded):
        raise _ended(outcome, services(request).settings.zone)
    if not isinstance(outcome, LoggedIn):
        detail = (
            "the code is wrong or was used before" if outcome.wrong else "send the second factor's code too"
        )
        detail_zh = "验证码不正确或已使用过" if outcome.wrong else "请输入两步验证码"
        raise Problem(401, detail, detail_zh, code_wanted=True)
    settings = services(request).settings
    unit = await run_in_threadpool(_unit, request, outcome.user.unit_id)
    must_enrol = outcome.user.role in settings.roles_with_second_factor and not outcome.second_factor
    city = _over_districts(request, outcome.user.role, outcome.user.scope)
    response = answer({"user": shown(outcome.user, unit, must_enrol=must_enrol, city=city)})
    set_session(request, response, outcome.token)
    if outcome.device is not None:
        put_device(response, outcome.device, tls=over_tls(request, settings.public_url))
    return response


def _ended(outcome: SecretEnded, zone: ZoneInfo) -> Problem:
    at = f"{outcome.at.astimezone(zone):%Y-%m-%d %H:%M}"
    return Problem(
        401,
        f"this one-time secret was good until {at}; ask an administrator for another, or run `city password NAME`",
        f"一次性密码已于 {at} 过期，请向管理员重新索取，或运行 `city password NAME`",
        errors=[{"field": "password", "remedy": "ask an administrator for another one-time secret"}],
    )


def _log_in(request: Request, body: LogIn) -> logging_in.Outcome:
    given = shown_by(request, body.name, body.password.get_secret_value(), body.code)
    settings = services(request).settings
    before = session_token(request.cookies, tls=over_tls(request, settings.public_url))
    with transaction(request) as connection:
        outcome = logging_in.log_in(connection, keys(request), given, lasting(settings), datetime.now(UTC))
        if before and isinstance(outcome, LoggedIn):  # its cookie is replaced: nobody could end it any more
            sessions.end_session(connection, accounts.digest(before))
    return outcome


def set_session(request: Request, response: Response, token: str) -> None:
    """The cookie of a session that was just opened or renewed."""
    settings = services(request).settings
    lasts_s = int(lasting(settings).longest.total_seconds())
    put_session(response, token, lasts_s=lasts_s, tls=over_tls(request, settings.public_url))


@router.get("", summary="Who am I", operation_id="who_am_i", responses=gives(WhoAmI))
def who_am_i(request: Request, known: Known) -> Response:
    """The user of this session; `unit` is whom they act for, `scope` the area they see and act in (null: all), `city`
    whether they see the districts of a city from here."""
    return answer(
        {
            "user": {
                "name": known.name,
                "display_name": known.display_name,
                "role": known.role,
                "must_change": known.must_change,
                "must_enrol": known.must_enrol,
                "unit": _unit(request, known.unit_id),
                "scope": known.scope,
                "by_provider": known.provider is not None,
                "city": _over_districts(request, known.role, known.scope),
            }
        }
    )


@router.delete("", status_code=204, summary="Log out", operation_id="log_out")
async def log_out(request: Request, known: Known) -> Response:
    """Ends this session; the cookie is worth nothing afterwards. 200 with `continue_at` after a log-in at the
    provider: the address at which its own session ends too."""
    if known.token is not None:
        await run_in_threadpool(_end, request, known)
    there = await request.app.state.provider.log_out_address() if known.provider is not None else None
    response = answer({"continue_at": there}) if there else Response(status_code=204)
    drop_session(response, tls=over_tls(request, services(request).settings.public_url))
    return response


def _end(request: Request, known: Caller) -> None:
    with transaction(request) as connection:
        sessions.end_session(connection, accounts.digest(known.token or ""))
        audit.record(connection, actor=known.actor, action="session.ended", subject=known.actor)


@router.post("/prove", status_code=204, summary="Show again that it is me", operation_id="prove_session")
async def prove_session(request: Request, body: Proof, known: Known) -> Response:
    """Password, and the code for who has a second factor. What asks for it works again for a while; the session's
    cookie is another one from now on."""
    session_of(request, known)
    async with request.app.state.door:
        token = await run_in_threadpool(_prove, request, body, known)
    response = Response(status_code=204)
    set_session(request, response, token)
    return response


def _prove(request: Request, body: Proof, known: Caller) -> str:
    now = datetime.now(UTC)
    given = shown_by(request, known.name, body.password.get_secret_value(), body.code)
    user_id, session_id = session_of(request, known)
    token = secrets.token_urlsafe(32)
    with transaction(request) as connection:
        outcome = logging_in.right_password(connection, given, now)
        if isinstance(outcome, Paused):
            raise paused(outcome)
        if outcome is None:
            raise Problem(403, "password: is not your password", "密码不正确")
        if known.has_factor and not second_factor.right(connection, keys(request), user_id, given.code, now):
            if not given.code:
                logging_in.proof_was_right(connection, given)
                connection.commit()
            detail = (
                "code: is wrong or was used before"
                if given.code
                else "code: send the second factor's code too"
            )
            raise Problem(
                403, detail, "验证码不正确或已使用过" if given.code else "请输入两步验证码", code_wanted=True
            )
        logging_in.proof_was_right(connection, given)
        sessions.proven(connection, session_id, accounts.digest(token), now, second_factor=known.has_factor)
        audit.record(connection, actor=known.actor, action="session.proven", subject=known.actor)
    return token


@router.post("/password", status_code=204, summary="Change my password", operation_id="change_password")
async def change_password(request: Request, body: NewPassword, known: Known) -> Response:
    """Ends every other session of this user. Fifteen characters or more, of any kind; words are fine."""
    session_of(request, known)
    async with request.app.state.door:
        token = await run_in_threadpool(_change_password, request, body, known)
    response = Response(status_code=204)
    set_session(request, response, token)
    return response


def _change_password(request: Request, body: NewPassword, known: Caller) -> str:
    now = datetime.now(UTC)
    new = body.new.get_secret_value()
    if new == body.current.get_secret_value():
        raise Problem(422, "new: is the current password; choose another", "新密码与当前密码相同，请另选")
    user_id, session_id = session_of(request, known)
    given = shown_by(request, known.name, body.current.get_secret_value())
    token = secrets.token_urlsafe(32)
    with transaction(request) as connection:
        words = (known.name, known.display_name, *users.district_words(connection))
    passwords.check(new, words, services(request).settings.breached_passwords)
    with transaction(request) as connection:
        outcome = logging_in.right_password(connection, given, now)
        if isinstance(outcome, Paused):
            raise paused(outcome)
        if outcome is None:
            raise Problem(403, "current: is not your password", "当前密码不正确")
        logging_in.proof_was_right(connection, given)
        users.set_password(connection, user_id, accounts.hash_password(new), must_change=False)
        sessions.end_sessions(connection, user_id, keep=session_id)
        sessions.proven(connection, session_id, accounts.digest(token), now, second_factor=False)
        audit.record(connection, actor=known.actor, action="user.password", subject=known.actor)
    return token


def _unit(request: Request, unit_id: int | None) -> str | None:
    if unit_id is None:
        return None
    with transaction(request) as connection:
        return users.unit_codes(connection).get(unit_id)


def _over_districts(request: Request, role: str, scope: str | None) -> bool:
    """Whether this is a city's own centre, and the account may see all of it."""
    return (
        services(request).city is not None
        and role in ROLES["viewer"]
        and of_account(role, scope, None, "").whole
    )


def shown(user: users.User, unit: str | None, *, must_enrol: bool, city: bool) -> dict[str, Any]:
    """A user as its own session sees it; ``unit`` is the code of whom they act for."""
    return {
        "name": user.name,
        "display_name": user.display_name,
        "role": user.role,
        "must_change": user.must_change,
        "must_enrol": must_enrol,
        "unit": unit,
        "scope": user.scope,
        "by_provider": False,
        "city": city,
    }
