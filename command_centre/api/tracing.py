"""The outermost door: every call gets an id, a line in the log, and is counted.

The line has the route's template and never the address, the query or a body: those may hold personal data. Reads
that went well are written at ``debug``: a wall asks every second.
"""

import time

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from city import tracing
from command_centre.api.access import TABLE
from command_centre.calls import Calls

HEADER = "X-Request-Id"
SLOW_S = 1.0  # a read that took longer is said
UNKNOWN = "unknown"  # the route of what is in no table
_PATTERNS = [(method, compile_path(path)[0], path) for method, path in TABLE]
_log = structlog.get_logger(__name__)


class Traced:
    """ASGI middleware. ``trusted``: proxies whose word on who asks and on the call's id counts, as uvicorn reads it."""

    def __init__(self, app: ASGIApp, *, calls: Calls, trusted: str) -> None:
        self._inner = ProxyHeadersMiddleware(app, trusted_hosts=trusted)  # type: ignore[arg-type]  # its types are uvicorn's own spelling of ASGI
        self._calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._inner(scope, receive, send)  # type: ignore[arg-type]  # as above
            return
        one = tracing.taken_over(self._given(scope))
        token = tracing.request_id.set(one)
        began = time.perf_counter()
        status = 500

        async def numbered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = one
            await send(message)

        try:
            with structlog.contextvars.bound_contextvars(request=one):
                try:
                    await self._inner(scope, receive, numbered)  # type: ignore[arg-type]  # as above
                finally:
                    if scope["type"] == "http":
                        self._answered(scope, status, time.perf_counter() - began)
        finally:
            tracing.request_id.reset(token)

    def _given(self, scope: Scope) -> str:
        peer = scope.get("client")
        trusted = peer is not None and peer[0] in self._inner.trusted_hosts
        return Headers(scope=scope).get(HEADER, "") if trusted else ""

    def _answered(self, scope: Scope, status: int, seconds: float) -> None:
        route = template(scope["method"], scope["path"])
        self._calls.add(scope["method"], route, status, seconds)
        read = scope["method"] in {"GET", "HEAD"} and status < 400 and seconds < SLOW_S
        caller = scope.get("state", {}).get("caller")
        (_log.debug if read else _log.info)(
            "answered",
            method=scope["method"],
            route=route,
            status=status,
            ms=round(seconds * 1000),
            caller=caller.actor if caller is not None else "",
        )


def template(method: str, path: str) -> str:
    """The route of the table that an address belongs to, ``unknown`` for none."""
    asked = "GET" if method == "HEAD" else method
    return next(
        (route for known, pattern, route in _PATTERNS if known == asked and pattern.match(path)), UNKNOWN
    )
