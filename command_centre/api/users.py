"""Accounts, for administrators: make, change, disable, log out, and give a fresh one-time secret."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from psycopg import Connection
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from city.storage import audit, identities, second_factors, sessions, users
from command_centre import accounts
from command_centre.api.answers import answer, gives
from command_centre.api.problem import Problem, field_problem, not_found
from command_centre.api.services import services, transaction
from command_centre.api.session import Known
from command_centre.api.shapes.accounts import AccountChanged, AccountMade, AccountPage, SessionPage

router = APIRouter(prefix="/api/users", tags=["users"])


class NewUser(BaseModel):
    name: str = Field(pattern=f"^{accounts.NAME}$", description="what is typed to log in")
    display_name: str = Field("", max_length=100)
    role: accounts.Role = "viewer"
    unit: str | None = Field(None, max_length=100, description="code of the unit that a handler acts for")
    scope: str | None = Field(
        None, max_length=100, description="code of the area they see and act in; none = all"
    )


class UserChange(BaseModel):
    role: accounts.Role | None = None
    unit: str | None = Field(None, max_length=100)
    scope: str | None = Field(None, max_length=100, description="an area's code; empty = the whole district")
    disabled: bool | None = None
    display_name: str | None = Field(None, max_length=100)


@dataclass(frozen=True, kw_only=True, slots=True)
class Around:
    """What is known about accounts beside their own rows."""

    units: Mapping[int, str]
    with_factor: set[int]
    linked: set[int]
    paused: Mapping[bytes, datetime]


@router.get("", summary="Accounts", operation_id="list_users", responses=gives(AccountPage))
def list_users(request: Request) -> Response:
    """Every account, without its password."""
    with transaction(request) as connection:
        around = _around(connection)
        return answer({"items": [_shown(user, around) for user in users.every(connection)], "next": None})


@router.post(
    "",
    status_code=201,
    summary="Make an account",
    operation_id="create_user",
    responses=gives(AccountMade, 201),
)
async def create_user(request: Request, body: NewUser, known: Known) -> Response:
    """Answers the one-time secret, once; it opens only the change of itself."""
    async with request.app.state.door:
        return await run_in_threadpool(_create, request, body, known.actor)


def _create(request: Request, body: NewUser, actor: str) -> Response:
    secret = accounts.one_time_secret()
    with transaction(request) as connection:
        unit_id = unit_of(connection, body.unit)
        if body.role == "handler" and unit_id is None:
            raise unit_missing()
        user = users.add(
            connection,
            unit_id=unit_id,
            name=body.name,
            display_name=body.display_name,
            password_hash=accounts.hash_password(secret),
            role=body.role,
            must_change=True,
            ends_at=datetime.now(UTC) + services(request).settings.first_secret_lasts,
        )
        if user is None:
            raise Problem(
                409, f"name = {body.name}: is taken; choose another", f"用户名 {body.name} 已被占用"
            )
        users.set_scope(connection, user.id, area_of(connection, body.scope))
        detail = {"role": body.role, "unit": body.unit, "scope": body.scope}
        audit.record(connection, actor=actor, action="user.created", subject=f"user:{user.id}", detail=detail)
        shown = _one(connection, body.name)
    return answer({"user": shown, "one_time_secret": secret}, 201, {"Cache-Control": "no-store"})


@router.patch(
    "/{name}",
    summary="Change role, reach, name or whether it is disabled",
    operation_id="change_user",
    responses=gives(AccountChanged),
)
def change_user(request: Request, name: str, body: UserChange, known: Known) -> Response:
    """Takes effect at once, also in sessions that are open. The last administrator cannot be lost."""
    with transaction(request) as connection:
        before = users.get(connection, name)
        _keep_an_administrator(connection, name, before, body)
        unit_id = unit_of(connection, body.unit or None)
        if body.role == "handler" and unit_id is None and (before is None or before.unit_id is None):
            raise unit_missing()
        user = users.change(
            connection,
            name,
            role=body.role,
            disabled=body.disabled,
            display_name=body.display_name,
            unit_id=unit_id,
        )
        if user is None:
            raise not_found("user", "用户", name)
        if body.scope is not None:
            users.set_scope(connection, user.id, area_of(connection, body.scope))
        if body.disabled:
            sessions.end_sessions(connection, user.id)
        audit.record(
            connection,
            actor=known.actor,
            action="user.changed",
            subject=f"user:{user.id}",
            detail=body.model_dump(exclude_none=True, exclude={"display_name"}),
        )
        return answer({"user": _one(connection, name)})


def _keep_an_administrator(
    connection: Connection[Any], name: str, before: users.User | None, body: UserChange
) -> None:
    """Raises Problem 409 when nobody who reaches everything could administer afterwards."""
    if before is None or before.role != "administrator":
        return
    loses = body.disabled is True or bool(body.scope) or body.role not in (None, "administrator")
    if loses and users.other_administrators(connection, name) == 0:
        raise Problem(
            409,
            f"{name} is the only administrator; make another one first",
            f"{name} 是唯一的管理员，请先另设一名管理员",
        )


@router.post(
    "/{name}/reset",
    summary="Give a fresh one-time secret",
    operation_id="reset_user",
    responses=gives(AccountMade),
)
async def reset_user(request: Request, name: str, known: Known) -> Response:
    """Ends the user's sessions and pauses; answers the secret, once. A second factor stays."""
    async with request.app.state.door:
        return await run_in_threadpool(_reset, request, name, known.actor)


def _reset(request: Request, name: str, actor: str) -> Response:
    secret = accounts.one_time_secret()
    with transaction(request) as connection:
        user = _there(connection, name)
        ends_at = datetime.now(UTC) + services(request).settings.first_secret_lasts
        accounts.begin_anew(connection, user, secret, actor, ends_at)
        shown = _one(connection, name)
    return answer({"user": shown, "one_time_secret": secret}, headers={"Cache-Control": "no-store"})


@router.post(
    "/{name}/second-factor/reset",
    summary="Take a lost second factor away",
    operation_id="reset_second_factor",
    responses=gives(AccountChanged),
)
def reset_second_factor(request: Request, name: str, known: Known) -> Response:
    """For who lost telephone and recovery codes: their sessions end, and where the role acts only with a second
    factor they add another at the next log-in. Be sure who asks."""
    with transaction(request) as connection:
        user = _there(connection, name)
        if not second_factors.remove(connection, user.id):
            raise Problem(409, f"{name} has no second factor", f"{name} 未启用两步验证")
        sessions.end_sessions(connection, user.id)
        audit.record(
            connection, actor=known.actor, action="user.second_factor_reset", subject=f"user:{user.id}"
        )
        return answer({"user": _one(connection, name)})


@router.post(
    "/{name}/unlink",
    summary="Part it from the identity provider",
    operation_id="unlink_user",
    responses=gives(AccountChanged),
)
def unlink_user(request: Request, name: str, known: Known) -> Response:
    """The account logs in with a password of its own again (give it a one-time secret); its sessions end."""
    with transaction(request) as connection:
        user = _there(connection, name)
        if not identities.unlink(connection, user.id):
            raise Problem(409, f"{name} does not log in at the provider", f"{name} 未关联统一身份认证")
        sessions.end_sessions(connection, user.id)
        audit.record(connection, actor=known.actor, action="user.unlinked", subject=f"user:{user.id}")
        return answer({"user": _one(connection, name)})


@router.get(
    "/{name}/sessions",
    summary="Where they are logged in",
    operation_id="user_sessions",
    responses=gives(SessionPage),
)
def user_sessions(request: Request, name: str, known: Known) -> Response:
    """As each person sees their own."""
    with transaction(request) as connection:
        rows = sessions.listed(connection, _there(connection, name).id, datetime.now(UTC))
    return answer(
        {"items": [{**row, "current": row["id"] == known.session_id} for row in rows], "next": None}
    )


@router.post(
    "/{name}/sessions/end", status_code=204, summary="Log them out", operation_id="end_user_sessions"
)
def end_user_sessions(request: Request, name: str, known: Known) -> Response:
    """Everywhere; they may log in again."""
    with transaction(request) as connection:
        user = _there(connection, name)
        ended = sessions.end_sessions(connection, user.id)
        audit.record(
            connection,
            actor=known.actor,
            action="session.ended",
            subject=f"user:{user.id}",
            detail={"sessions": ended},
        )
    return Response(status_code=204)


def unit_of(connection: Connection[Any], code: str | None) -> int | None:
    """Number of a working unit; raises Problem 422 for a code that is none."""
    if code is None:
        return None
    unit_id = users.unit_by_code(connection, code)
    if unit_id is None:
        raise field_problem("unit", code, "is not a working unit; see /api/units", "没有这个在用单位")
    return unit_id


def area_of(connection: Connection[Any], code: str | None) -> str | None:
    """The code, None for the whole district; raises Problem 422 for one that no area has."""
    if not code:
        return None
    if not users.is_area(connection, code):
        remedy = "is no street, community or cell; see /api/areas"
        raise field_problem("scope", code, remedy, "没有这个街道、社区或网格")
    return code


def unit_missing() -> Problem:
    return field_problem("unit", None, "a handler acts for a unit: give its code", "处置人员须指明所属单位")


def _there(connection: Connection[Any], name: str) -> users.User:
    user = users.get(connection, name)
    if user is None:
        raise not_found("user", "用户", name)
    return user


def _around(connection: Connection[Any]) -> Around:
    return Around(
        units=users.unit_codes(connection),
        with_factor=second_factors.holders(connection),
        linked=identities.linked(connection),
        paused=sessions.paused_until(connection, datetime.now(UTC)),
    )


def _one(connection: Connection[Any], name: str) -> dict[str, Any]:
    return _shown(_there(connection, name), _around(connection))


def _shown(user: users.User, around: Around) -> dict[str, Any]:
    return {
        "name": user.name,
        "display_name": user.display_name,
        "role": user.role,
        "unit": around.units.get(user.unit_id) if user.unit_id is not None else None,
        "scope": user.scope,
        "must_change": user.must_change,
        "disabled": user.disabled,
        "locked_until": around.paused.get(accounts.digest(user.name)),
        "created_at": user.created_at,
        "second_factor": user.id in around.with_factor,
        "by_provider": user.id in around.linked,
    }
