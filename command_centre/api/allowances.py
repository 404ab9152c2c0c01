"""How much anybody may ask: by account, by address, and by how often a secret was guessed wrong.

Two kinds of counting. What costs the machine is counted in each centre process's own memory, for a row in the database
for each request would cost more than the request: with CITY_CENTRES = 4 the limit is up to four times as high. What
guesses a secret is counted in the database, for all centres and over a restart; so are reports (turnstile).
"""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import AsyncConnection, OperationalError
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from starlette.requests import Request
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from city.incidents import AUTOMATION
from city.storage import report_rates
from command_centre.api import turnstile
from command_centre.api.problem import Problem

REMEMBERED = 50_000  # accounts and addresses; who was longest silent is forgotten first
FOR_AUTOMATION = 20  # times what a person may: it imports
FOR_ADDRESSES = 5  # times: an office comes from one address
WRONG_AT_ONCE = 30  # from one address; then one every
WRONG_EVERY = timedelta(seconds=20)
# What many small requests cost; everything else counts one.
COSTS: Mapping[tuple[str, str], int] = {
    ("GET", "/api/register/export"): 60,
    ("GET", "/api/register/export/{file}"): 20,
    ("GET", "/api/devices/{code}/export"): 20,
    ("GET", "/api/devices.geojson"): 10,
    ("GET", "/api/cells.geojson"): 5,
    ("GET", "/api/reports"): 3,  # words are looked for in texts
    ("GET", "/api/responsibilities.csv"): 10,
    ("GET", "/api/categories.csv"): 10,
    ("POST", "/api/register/import"): 60,
    ("POST", "/api/rules/backtest"): 30,
    ("POST", "/api/persons/export"): 30,
}
# Where a secret is given that could be guessed: a refusal there counts against the address. Log-ins count for
# themselves (command_centre.logging_in).
GUESSED: frozenset[tuple[str, str]] = frozenset(
    {
        ("POST", "/api/screens/pair"),
        ("POST", "/api/intake/{system}"),
        ("POST", "/open311/v2/requests.{form}"),
    }
)
_COSTS = [(method, compile_path(path)[0], cost) for (method, path), cost in COSTS.items()]
_GUESSED = [(method, compile_path(path)[0]) for method, path in sorted(GUESSED)]
_REFUSED = frozenset({401, 403})

Pool = AsyncConnectionPool[AsyncConnection[Any]]


class Buckets:
    """Allowances that refill steadily, in memory: the instant at which each would be whole again."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._full_at: OrderedDict[str, float] = OrderedDict()
        self._most = most

    def take(self, who: str, cost: float, *, burst: int, per_s: float, now: float) -> float:
        """0 when it was free, else after how many seconds it would be; a refusal uses nothing up."""
        full_at = max(self._full_at.get(who, now), now) + cost / per_s
        wait = full_at - now - burst / per_s
        if wait > 0:
            if who in self._full_at:
                self._full_at.move_to_end(who)
            return wait
        self._full_at[who] = full_at
        self._full_at.move_to_end(who)
        while len(self._full_at) > self._most:
            self._full_at.popitem(last=False)
        return 0.0


class Addresses:
    """ASGI middleware before the gate: by address, so that looking sessions up cannot be made to cost without end."""

    def __init__(self, app: ASGIApp, *, at_once: int) -> None:
        self._app = app
        self._burst = at_once * FOR_ADDRESSES
        self._buckets = Buckets()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or _here(scope):
            await self._app(scope, receive, send)
            return
        who = turnstile.digest_of((scope.get("client") or ("",))[0]).hex()
        now = time.monotonic()
        wait = self._buckets.take(who, 1, burst=self._burst, per_s=self._burst / 60, now=now)
        if not wait:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await too_many(wait).response(scope["path"])(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1013})  # RFC 6455 registry: try again later


class Allowances:
    """ASGI middleware behind the gate: by account, by what it costs; and guesses by address."""

    def __init__(self, app: ASGIApp, *, pool: Pool, at_once: int) -> None:
        self._app = app
        self._pool = pool
        self._burst = at_once
        self._buckets = Buckets()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            self._spend(request)
            guessed = is_guessed(request.method, request.url.path)
            if guessed:
                await self._may_guess(request)
        except Problem as problem:
            await problem.response(request.url.path)(scope, receive, send)
            return

        async def looked_at(message: Message) -> None:
            if guessed and message["type"] == "http.response.start" and message["status"] in _REFUSED:
                await self._guessed(request)
            await send(message)

        await self._app(scope, receive, looked_at)

    def _spend(self, request: Request) -> None:
        caller = getattr(request.state, "caller", None)
        if caller is None:
            return  # by address: Addresses has counted
        burst = self._burst * (FOR_AUTOMATION if caller.actor == AUTOMATION else 1)
        cost = cost_of(request.method, request.url.path)
        now = time.monotonic()
        wait = self._buckets.take(caller.actor, cost, burst=burst, per_s=burst / 60, now=now)
        if wait:
            raise too_many(wait)

    async def _may_guess(self, request: Request) -> None:
        wait = await self._asked(report_rates.wait, request)
        if wait is not None:
            raise too_many(wait.total_seconds())

    async def _guessed(self, request: Request) -> None:
        await self._asked(report_rates.take, request)

    async def _asked(self, how: Any, request: Request) -> timedelta | None:
        """A database that does not answer stops nobody here: whoever needs it is told so by the route."""
        try:
            async with self._pool.connection() as connection:
                found: timedelta | None = await how(
                    connection,
                    "secret",
                    turnstile.sender(request),
                    datetime.now(UTC),
                    burst=WRONG_AT_ONCE,
                    every=WRONG_EVERY,
                )
                return found
        except (PoolTimeout, OperationalError):
            return None


def cost_of(method: str, path: str) -> int:
    """How many plain requests it counts for."""
    asked = "GET" if method == "HEAD" else method
    return next((cost for known, pattern, cost in _COSTS if known == asked and pattern.match(path)), 1)


def is_guessed(method: str, path: str) -> bool:
    """Whether a secret is given there."""
    return any(known == method and pattern.match(path) for known, pattern in _GUESSED)


def too_many(wait_s: float) -> Problem:
    """429 with when to come again."""
    seconds = max(1, math.ceil(wait_s))
    return Problem(
        429,
        f"too many requests; try again in {seconds} s",
        f"请求过于频繁，请在 {seconds} 秒后重试",
        headers={"Retry-After": str(seconds)},
    )


def _here(scope: Scope) -> bool:
    """This machine itself: a proxy that says nobody's address, `city doctor`, a health check."""
    host = (scope.get("client") or ("",))[0]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
