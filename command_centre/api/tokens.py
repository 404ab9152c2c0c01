"""Tokens of programs, for administrators: each with a role, a reach and an end; shown once."""

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from city.storage import api_tokens, audit
from command_centre import accounts, tokens
from command_centre.api import paging
from command_centre.api.answers import answer, gives
from command_centre.api.problem import Problem, not_found
from command_centre.api.services import transaction
from command_centre.api.session import Known
from command_centre.api.shapes.accounts import TokenMade, TokenPage, TokenRow
from command_centre.api.users import area_of, unit_missing, unit_of

router = APIRouter(prefix="/api/tokens", tags=["users"])


class NewToken(BaseModel):
    name: str = Field(min_length=1, max_length=100, description="which program, and whose")
    role: accounts.Role = "viewer"
    only_reads: bool = Field(True, description="changes nothing, whatever the role could")
    scope: str | None = Field(None, max_length=100, description="code of the area it reaches; none = all")
    unit: str | None = Field(None, max_length=100, description="code of the unit it acts for, as a handler")
    days: int = Field(90, ge=1, le=366, description="so long it is good")


@router.get("", summary="Tokens", operation_id="list_tokens", responses=gives(TokenPage))
def list_tokens(request: Request, limit: paging.Limit = 100, cursor: paging.Cursor = None) -> Response:
    """The newest first, the ended ones too. `last_used_at` is to the minute."""
    after = paging.read(cursor, tuple[int])
    with transaction(request) as connection:
        rows = api_tokens.listed(
            connection, datetime.now(UTC), before=after[0] if after else None, limit=limit + 1
        )
    return answer(paging.page(rows, limit, lambda row: [row["id"]]))


@router.post(
    "", status_code=201, summary="Make a token", operation_id="create_token", responses=gives(TokenMade, 201)
)
def create_token(request: Request, body: NewToken, known: Known) -> Response:
    """Answers the token itself, this once; send it as `Authorization: Bearer`, never in an address."""
    now = datetime.now(UTC)
    secret = tokens.fresh()
    with transaction(request) as connection:
        unit_id = unit_of(connection, body.unit or None)
        if body.role == "handler" and unit_id is None:
            raise unit_missing()
        number = api_tokens.create(
            connection,
            name=body.name,
            digest=accounts.digest(secret),
            role=body.role,
            only_reads=body.only_reads,
            scope=area_of(connection, body.scope),
            unit_id=unit_id,
            actor=known.actor,
            now=now,
            expires_at=now + timedelta(days=body.days),
        )
        detail = body.model_dump(exclude_none=True)
        audit.record(
            connection, actor=known.actor, action="token.created", subject=f"token:{number}", detail=detail
        )
        shown = api_tokens.get(connection, number, now)
    return answer({"token": shown, "secret": secret}, 201, {"Cache-Control": "no-store"})


@router.post(
    "/{token_id:int}/revoke", summary="End a token", operation_id="revoke_token", responses=gives(TokenRow)
)
def revoke_token(request: Request, token_id: int, known: Known) -> Response:
    """For good; what it asks from now on is answered 401."""
    now = datetime.now(UTC)
    with transaction(request) as connection:
        if not api_tokens.revoke(connection, token_id, known.actor, now):
            if api_tokens.get(connection, token_id, now) is None:
                raise not_found("token", "令牌", token_id)
            raise Problem(409, f"token {token_id} was revoked before", "该令牌已作废")
        audit.record(connection, actor=known.actor, action="token.revoked", subject=f"token:{token_id}")
        return answer(api_tokens.get(connection, token_id, now))
