"""Accounts, for administrators: make, change, disable, and give a fresh one-time secret."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from psycopg import Connection
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from city.storage import users
from command_centre import accounts
from command_centre.api.answers import answer
from command_centre.api.problem import Problem, field_problem, not_found
from command_centre.api.services import transaction
from command_centre.api.session import Known

router = APIRouter(prefix="/api/users", tags=["users"])


class NewUser(BaseModel):
    name: str = Field(pattern=f"^{accounts.NAME}$", description="what is typed to log in")
    display_name: str = Field("", max_length=100)
    role: accounts.Role = "viewer"
    unit: str | None = Field(None, max_length=100, description="code of the unit that a handler acts for")


class UserChange(BaseModel):
    role: accounts.Role | None = None
    unit: str | None = Field(None, max_length=100)
    disabled: bool | None = None
    display_name: str | None = Field(None, max_length=100)


@router.get("", summary="Accounts", operation_id="list_users")
def list_users(request: Request) -> Response:
    """Every account, without its password."""
    with transaction(request) as connection:
        codes = users.unit_codes(connection)
        return answer({"items": [_shown(user, codes) for user in users.every(connection)], "next": None})


@router.post("", status_code=201, summary="Make an account", operation_id="create_user")
async def create_user(request: Request, body: NewUser, known: Known) -> Response:
    """Answers the one-time secret, once; it opens only the change of itself."""
    async with request.app.state.door:
        return await run_in_threadpool(_create, request, body, known.actor)


def _create(request: Request, body: NewUser, actor: str) -> Response:
    secret = accounts.one_time_secret()
    with transaction(request) as connection:
        unit_id = _unit(connection, body.unit)
        if body.role == "handler" and unit_id is None:
            raise _unit_missing()
        user = users.add(
            connection,
            unit_id=unit_id,
            name=body.name,
            display_name=body.display_name,
            password_hash=accounts.hash_password(secret),
            role=body.role,
            must_change=True,
        )
        if user is None:
            raise Problem(
                409, f"name = {body.name}: is taken; choose another", f"用户名 {body.name} 已被占用"
            )
        users.record(connection, actor=actor, action="user.created", name=body.name)
        codes = users.unit_codes(connection)
    return answer({"user": _shown(user, codes), "one_time_secret": secret}, 201)


@router.patch("/{name}", summary="Change role, name or whether it is disabled", operation_id="change_user")
def change_user(request: Request, name: str, body: UserChange, known: Known) -> Response:
    """Takes effect at once, also in sessions that are open. The last administrator cannot be lost."""
    with transaction(request) as connection:
        loses = body.disabled is True or (body.role is not None and body.role != "administrator")
        if loses and users.other_administrators(connection, name) == 0:
            raise Problem(
                409,
                f"{name} is the only administrator; make another one first",
                f"{name} 是唯一的管理员，请先另设一名管理员",
            )
        before = users.get(connection, name)
        unit_id = _unit(connection, body.unit)
        if body.role == "handler" and unit_id is None and (before is None or before.unit_id is None):
            raise _unit_missing()
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
        if body.disabled:
            users.end_sessions(connection, user.id)
        users.record(
            connection,
            actor=known.actor,
            action="user.changed",
            name=name,
            reason=body.model_dump_json(exclude_none=True),
        )
        return answer({"user": _shown(user, users.unit_codes(connection))})


@router.post("/{name}/reset", summary="Give a fresh one-time secret", operation_id="reset_user")
async def reset_user(request: Request, name: str, known: Known) -> Response:
    """Ends the user's sessions and pause; answers the secret, once."""
    async with request.app.state.door:
        return await run_in_threadpool(_reset, request, name, known.actor)


def _reset(request: Request, name: str, actor: str) -> Response:
    secret = accounts.one_time_secret()
    with transaction(request) as connection:
        user = users.get(connection, name)
        if user is None:
            raise not_found("user", "用户", name)
        users.set_password(connection, user.id, accounts.hash_password(secret), must_change=True)
        users.end_sessions(connection, user.id)
        users.record(connection, actor=actor, action="user.reset", name=name)
        codes = users.unit_codes(connection)
    return answer({"user": _shown(user, codes), "one_time_secret": secret})


def _unit(connection: Connection[Any], code: str | None) -> int | None:
    if code is None:
        return None
    unit_id = users.unit_by_code(connection, code)
    if unit_id is None:
        raise field_problem("unit", code, "is not a working unit; see /api/units", "没有这个在用单位")
    return unit_id


def _unit_missing() -> Problem:
    return field_problem("unit", None, "a handler acts for a unit: give its code", "处置人员须指明所属单位")


def _shown(user: users.User, codes: Mapping[int, str]) -> dict[str, Any]:
    return {
        "name": user.name,
        "display_name": user.display_name,
        "role": user.role,
        "unit": codes.get(user.unit_id) if user.unit_id is not None else None,
        "must_change": user.must_change,
        "disabled": user.disabled,
        "locked_until": user.locked_until,
        "created_at": user.created_at,
    }
