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
    digest = hashlib.sha256((body.model_dump_json() if body is not None else "").encode()).hexdigest()
    headers: dict[str, str] = {}
    if key:
        kept = await idempotency.earlier(connection, actor, route, key)
        if kept is not None:
            if kept["digest"] != digest:
                remedy = "was used for another content; use a fresh key"
                raise field_problem("Idempotency-Key", "(given)", remedy, "此键已用于其他内容，请换一个")
            return answer(kept["answer"], status, {"Idempotent-Replayed": "true"})
    done = await work()
    if key:
        plain = msgspec.to_builtins(done)
        await idempotency.keep(connection, actor, route, key, {"digest": digest, "answer": plain})
    if etag is not None:
        headers["ETag"] = etag(done)
    return answer(done, status, headers)


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
