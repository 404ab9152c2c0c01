"""Logging in and out, and changing one's own password."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field, SecretStr
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from city.settings import Settings
from city.storage import users
from command_centre import accounts
from command_centre.api.answers import answer
from command_centre.api.caller import Caller
from command_centre.api.gate import COOKIE
from command_centre.api.problem import Problem
from command_centre.api.services import services, transaction

router = APIRouter(prefix="/api/session", tags=["session"])

AT_ONCE = 2  # log-ins whose password is hashed at the same time: 64 MiB and a core each
WAITING = 30  # further ones that wait; the next is told to come back


class LogIn(BaseModel):
    name: str = Field(min_length=1, max_length=100)
    password: SecretStr = Field(min_length=1, max_length=1000)


class NewPassword(BaseModel):
    current: SecretStr = Field(min_length=1, max_length=1000)
    new: SecretStr = Field(min_length=1, max_length=1000)


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


@router.post("", summary="Log in", operation_id="log_in")
async def log_in(request: Request, body: LogIn) -> Response:
    """Sets the session cookie. With `must_change` true only the password can be changed."""
    async with request.app.state.door:
        outcome = await run_in_threadpool(_log_in, request, body)
    if isinstance(outcome, accounts.Paused):
        raise Problem(
            429,
            f"too many wrong passwords for {body.name}; try again in {outcome.seconds} s",
            f"{body.name} 密码错误次数过多，请在 {outcome.seconds} 秒后重试",
            headers={"Retry-After": str(outcome.seconds)},
        )
    if outcome is None:
        raise Problem(401, "name or password is wrong", "用户名或密码错误")
    unit = await run_in_threadpool(_unit, request, outcome.user.unit_id)
    response = answer({"user": shown(outcome.user, unit)})
    response.set_cookie(
        COOKIE,
        outcome.token,
        max_age=int(users.LONGEST.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=_over_tls(request, services(request).settings),
    )
    return response


def _log_in(request: Request, body: LogIn) -> accounts.LoggedIn | accounts.Paused | None:
    with transaction(request) as connection:
        return accounts.log_in(connection, body.name, body.password.get_secret_value(), datetime.now(UTC))


def _over_tls(request: Request, settings: Settings) -> bool:
    return request.url.scheme == "https" or settings.public_url.startswith("https:")


@router.get("", summary="Who am I", operation_id="who_am_i")
def who_am_i(request: Request, known: Known) -> Response:
    """The user of this session; `unit` is whom they act for."""
    return answer(
        {
            "user": {
                "name": known.name,
                "display_name": known.display_name,
                "role": known.role,
                "must_change": known.must_change,
                "unit": _unit(request, known.unit_id),
            }
        }
    )


@router.delete("", status_code=204, summary="Log out", operation_id="log_out")
def log_out(request: Request, known: Known) -> Response:
    """Ends this session; the cookie is worth nothing afterwards."""
    if known.token is not None:
        with transaction(request) as connection:
            users.end_session(connection, accounts.digest(known.token))
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


@router.post("/password", status_code=204, summary="Change my password", operation_id="change_password")
async def change_password(request: Request, body: NewPassword, known: Known) -> Response:
    """Ends every other session of this user. At least ten characters."""
    if known.token is None:
        raise Problem(
            403, "the API token has no password; log in as a person", "API 令牌没有密码，请以个人身份登录"
        )
    async with request.app.state.door:
        await run_in_threadpool(_change_password, request, body, known)
    return Response(status_code=204)


def _change_password(request: Request, body: NewPassword, known: Caller) -> None:
    new = body.new.get_secret_value()
    if new == body.current.get_secret_value():
        raise Problem(422, "new: is the current password; choose another", "新密码与当前密码相同，请另选")
    with transaction(request) as connection:
        outcome = accounts.check_current(
            connection, known.name, body.current.get_secret_value(), datetime.now(UTC)
        )
        if outcome is None:
            raise Problem(403, "current: is not your password", "当前密码不正确")
        users.set_password(connection, outcome.id, accounts.hash_password(new), must_change=False)
        users.end_sessions(connection, outcome.id, keep=accounts.digest(known.token or ""))
        users.record(connection, actor=known.actor, action="user.password", name=known.name)


def _unit(request: Request, unit_id: int | None) -> str | None:
    if unit_id is None:
        return None
    with transaction(request) as connection:
        return users.unit_codes(connection).get(unit_id)


def shown(user: users.User, unit: str | None) -> dict[str, Any]:
    """A user as its own session sees it; ``unit`` is the code of whom they act for."""
    return {
        "name": user.name,
        "display_name": user.display_name,
        "role": user.role,
        "must_change": user.must_change,
        "unit": unit,
    }
