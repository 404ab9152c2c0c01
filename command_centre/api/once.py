"""A POST that is sent twice with the same key is done once, and answered twice."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from fastapi import Header
from psycopg import AsyncConnection
from pydantic import BaseModel
from starlette.responses import Response

from city.storage import idempotency
from command_centre.api.answers import answer
from command_centre.api.problem import field_problem

Key = Annotated[str | None, Header(max_length=200, alias="Idempotency-Key")]


async def once(  # what was asked, by whom, and what to do
    connection: AsyncConnection[Any],
    actor: str,
    route: str,
    key: str | None,
    body: BaseModel | None,
    work: Callable[[], Awaitable[dict[str, Any]]],
    *,
    status: int = 200,
    etag: Callable[[dict[str, Any]], str] | None = None,
) -> Response:
    """The answer of ``work``, in its transaction; with a key seen before, what was answered then.

    ``route`` names method and path, since one key may be used for several things. Raises Problem 422 when the
    key was used for another body.
    """
    headers: dict[str, str] = {}
    before = await kept(connection, actor, route, key, body)
    if before is not None:
        return answer(before, status, {"Idempotent-Replayed": "true"})
    done = await work()
    await keep(connection, actor, route, key, body, done)
    if etag is not None:
        headers["ETag"] = etag(done)
    return answer(done, status, headers)


async def kept(
    connection: AsyncConnection[Any], actor: str, route: str, key: str | None, body: BaseModel | None
) -> dict[str, Any] | None:
    """What was answered for this key; None the first time and without a key. Raises Problem 422 as ``once``."""
    if not key:
        return None
    found = await idempotency.earlier(connection, actor, route, key)
    if found is None:
        return None
    if found["digest"] != _digest(body):
        remedy = "was used for another content; use a fresh key"
        raise field_problem("Idempotency-Key", "(given)", remedy, "此键已用于其他内容，请换一个")
    answered: dict[str, Any] = found["answer"]
    return answered


async def keep(
    connection: AsyncConnection[Any],
    actor: str,
    route: str,
    key: str | None,
    body: BaseModel | None,
    done: dict[str, Any],
) -> None:
    """Remember what is answered, in the transaction that asked ``kept`` and found nothing."""
    if key:
        told = {"digest": _digest(body), "answer": msgspec.to_builtins(done)}
        await idempotency.keep(connection, actor, route, key, told)


def _digest(body: BaseModel | None) -> str:
    return hashlib.sha256((body.model_dump_json() if body is not None else "").encode()).hexdigest()


def version(if_match: str | None) -> int | None:
    """The number in an If-Match header; None when anything will do. Raises Problem 422."""
    if if_match is None or if_match.strip() == "*":
        return None
    bare = if_match.strip().removeprefix("W/").strip('"')
    if not (bare.isascii() and bare.isdigit() and len(bare) < 19):
        raise field_problem("If-Match", if_match, "use the ETag that was answered", "请使用返回的 ETag")
    return int(bare)


def tag(number: int) -> str:
    """A version as an entity tag."""
    return f'"{number}"'
