"""My own second factor: adding one, its recovery codes, and taking it away."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from psycopg import Connection
from pydantic import BaseModel, Field
from starlette.responses import Response

from city.storage import audit, second_factors, sessions, users
from command_centre import logging_in, second_factor
from command_centre.api.answers import answer, gives
from command_centre.api.caller import Caller
from command_centre.api.problem import Problem
from command_centre.api.services import services, transaction
from command_centre.api.session import Known, keys, paused, session_of, shown_by
from command_centre.api.shapes.accounts import FactorBegun, FactorState, RecoveryCodes

router = APIRouter(prefix="/api/me/second-factor", tags=["session"])


class Code(BaseModel):
    code: str = Field(min_length=6, max_length=40, description="what the app shows now")


@router.get("", summary="My second factor", operation_id="my_second_factor", responses=gives(FactorState))
def my_second_factor(request: Request, known: Known) -> Response:
    """`required`: the role acts only with one."""
    user_id, _ = session_of(request, known)
    with transaction(request) as connection:
        factor = second_factors.get(connection, user_id)
        left = second_factors.codes_left(connection, user_id)
    since = factor.confirmed_at if factor is not None else None
    required = known.role in services(request).settings.roles_with_second_factor
    return answer({"since": since, "codes_left": left if since else 0, "required": required})


@router.post(
    "",
    status_code=201,
    summary="Begin a second factor",
    operation_id="begin_second_factor",
    responses=gives(FactorBegun, 201),
)
def begin_second_factor(request: Request, known: Known) -> Response:
    """A secret for an authenticator app, shown this once. It guards nothing until a first code was right."""
    user_id, _ = session_of(request, known)
    with transaction(request) as connection:
        secret = second_factor.begin(connection, keys(request), user_id, datetime.now(UTC))
        issuer = next(iter(users.district_words(connection)), "City")
    if secret is None:
        raise Problem(409, "you have a second factor; remove it first", "已启用两步验证，请先停用")
    address = second_factor.address(secret, known.name, issuer)
    shown = {
        "secret": base64.b32encode(secret).decode(),
        "address": address,
        "picture": second_factor.picture(address),
    }
    return answer(shown, 201, {"Cache-Control": "no-store"})


@router.post(
    "/confirm",
    summary="Confirm it with a first code",
    operation_id="confirm_second_factor",
    responses=gives(RecoveryCodes),
)
def confirm_second_factor(request: Request, body: Code, known: Known) -> Response:
    """From now on the code is asked for. Answers ten recovery codes, this once; other sessions end."""
    now = datetime.now(UTC)
    user_id, session_id = session_of(request, known)
    with transaction(request) as connection:
        factor = second_factors.get(connection, user_id)
        if factor is None or factor.confirmed_at is not None:
            raise Problem(409, "begin a second factor first", "请先开始启用两步验证")
        with _counted(request, connection, known, body.code, now):
            codes = second_factor.recovery_codes()
        second_factors.confirm(connection, user_id, second_factor.digests(user_id, codes), now)
        sessions.end_sessions(connection, user_id, keep=session_id)
        sessions.shown_second(connection, session_id, now)
        audit.record(connection, actor=known.actor, action="user.second_factor", subject=known.actor)
    return answer({"recovery_codes": codes}, headers={"Cache-Control": "no-store"})


@router.post(
    "/codes",
    summary="Fresh recovery codes",
    operation_id="fresh_recovery_codes",
    responses=gives(RecoveryCodes),
)
def fresh_recovery_codes(request: Request, body: Code, known: Known) -> Response:
    """Ten, this once; those before are worth nothing."""
    now = datetime.now(UTC)
    user_id, _ = session_of(request, known)
    with transaction(request) as connection:
        with _counted(request, connection, known, body.code, now):
            codes = second_factor.recovery_codes()
        second_factors.replace_codes(connection, user_id, second_factor.digests(user_id, codes))
        audit.record(connection, actor=known.actor, action="user.recovery_codes", subject=known.actor)
    return answer({"recovery_codes": codes}, headers={"Cache-Control": "no-store"})


@router.post("/remove", status_code=204, summary="Remove it", operation_id="remove_second_factor")
def remove_second_factor(request: Request, body: Code, known: Known) -> Response:
    """With a code of it. Where the role acts only with one, another has to be added before anything else."""
    now = datetime.now(UTC)
    user_id, session_id = session_of(request, known)
    with transaction(request) as connection:
        with _counted(request, connection, known, body.code, now):
            second_factors.remove(connection, user_id)
        sessions.end_sessions(connection, user_id, keep=session_id)
        sessions.shown_second(connection, session_id, None)
        audit.record(connection, actor=known.actor, action="user.second_factor_removed", subject=known.actor)
    return Response(status_code=204)


@contextmanager
def _counted(
    request: Request, connection: Connection[Any], known: Caller, code: str, now: datetime
) -> Iterator[None]:
    """What follows happens only for a right code; a wrong one counts towards the pause."""
    given = shown_by(request, known.name, code=code)
    wait = logging_in.begin_proof(connection, given, now)
    if wait is not None:
        raise paused(wait)
    if not second_factor.right(connection, keys(request), known.user_id or 0, code, now):
        raise Problem(403, "code: is wrong or was used before", "验证码不正确或已使用过")
    logging_in.proof_was_right(connection, given)
    yield
