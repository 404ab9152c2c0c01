"""Bodies before anything reads them: here whole within a bounded time, and not nested without end.

Stands behind the gate, so that nothing is read for somebody who may not send it, and before the routes, so that a
sender who dribbles holds no thread and no connection to the database.
"""

import asyncio
import re
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from command_centre.api.problem import Problem

KEPT_WHOLE = 1024 * 1024  # a larger one is read by its route, piece by piece, within the same bounds
SLOWEST = 50_000  # bytes a second, beside the seconds that everybody has
DEEPEST = 32  # levels of JSON; an outline has six
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"')
_BRACKETS = re.compile(rb"[\[\]{}]")


class Bodies:
    """ASGI middleware; ``seconds`` is what a body of no length may take."""

    def __init__(self, app: ASGIApp, *, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"]) if scope["type"] == "http" else {}
        length = int(
            headers.get(b"content-length", b"0") or 0
        )  # digits: command_centre.api.headers has looked
        if not length:
            await self._app(scope, receive, send)
            return
        until = time.monotonic() + self._seconds + length / SLOWEST
        if length > KEPT_WHOLE:
            await self._app(scope, _until(receive, until), send)
            return
        try:
            body = await _whole(receive, until)
        except TimeoutError:
            await _slow(self._seconds).response(scope["path"])(scope, receive, send)
            return
        if body is None:
            return  # the sender has gone
        if b"json" in headers.get(b"content-type", b"") and too_deep(body):
            await _deep().response(scope["path"])(scope, receive, send)
            return
        await self._app(scope, _again(body, receive), send)


def too_deep(body: bytes, most: int = DEEPEST) -> bool:
    """Whether JSON nests deeper; brackets in texts do not count. It need not be JSON."""
    if body.count(b"[") + body.count(b"{") <= most:
        return False
    depth = 0
    for found in _BRACKETS.finditer(_STRINGS.sub(b"", body)):
        depth += 1 if found[0] in b"[{" else -1
        if depth > most:
            return True
    return False


async def _whole(receive: Receive, until: float) -> bytes | None:
    """None when the sender has gone; raises TimeoutError."""
    parts = []
    while True:
        message = await _next(receive, until)
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def _next(receive: Receive, until: float) -> Message:
    async with asyncio.timeout(max(0.0, until - time.monotonic())):
        return await receive()


def _until(receive: Receive, until: float) -> Receive:
    """What is read piece by piece ends as if its sender had gone, which it then has."""
    over = False

    async def bounded() -> Message:
        nonlocal over
        if over:
            return await receive()
        try:
            message = await _next(receive, until)
        except TimeoutError:
            over = True
            return {"type": "http.disconnect"}
        over = not message.get("more_body", False)
        return message

    return bounded


def _again(body: bytes, receive: Receive) -> Receive:
    given = False

    async def once() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once


def _slow(seconds: float) -> Problem:
    return Problem(
        408,
        f"the body did not arrive within {seconds:.0f} s; send it again over a better line",
        f"请求内容未在 {seconds:.0f} 秒内到齐，请检查网络后重试",
        headers={"Connection": "close"},
    )


def _deep() -> Problem:
    return Problem(
        400, f"the JSON nests deeper than {DEEPEST} levels", f"JSON 嵌套超过 {DEEPEST} 层，请简化后重试"
    )
