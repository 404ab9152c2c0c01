"""The gate before the routes: finds out who calls, and lets only those in whom ``access.TABLE`` names."""

import hmac
import ipaddress
from datetime import UTC, datetime
from typing import get_args
from urllib.parse import urlsplit

from psycopg import OperationalError
from psycopg_pool import PoolTimeout
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from city.storage import screens
from command_centre import accounts
from command_centre.api.access import ROLES, Needs, needed
from command_centre.api.caller import AUTOMATION, Caller
from command_centre.api.problem import Problem, unavailable
from command_centre.api.services import Pool

COOKIE = "city_session"
SCREEN_COOKIE = "city_screen"  # of a paired wall
_SAFE = {"GET", "HEAD"}


class Gate:
    """ASGI middleware: finds out who calls, and lets only those in whom the table names.

    The caller stands in ``request.state.caller`` afterwards, None on public routes and for strangers.
    """

    def __init__(
        self, app: ASGIApp, *, pool: Pool, token: str | None, public_url: str, paired_walls: bool
    ) -> None:
        self._app = app
        self._pool = pool
        self._token = token.encode() if token else None
        self._public_host = urlsplit(public_url).netloc
        self._paired_walls = paired_walls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            request.state.caller = await self._admit(request)
        except Problem as problem:
            await problem.response(request.url.path)(scope, receive, send)
            return
        except (PoolTimeout, OperationalError):
            await unavailable().response(request.url.path)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _admit(self, request: Request) -> Caller | None:
        needs = needed(request.method, request.url.path)
        by_cookie = COOKIE in request.cookies or needs in {"public", "anyone"}  # a log-in makes the cookie
        if request.method not in _SAFE and by_cookie:
            self._same_site(request)
        if needs == "public" or (needs == "loopback" and _from_loopback(request)):
            return None
        if needs == "wall" and (not self._paired_walls or await self._of_paired_screen(request)):
            return None
        caller = await self._caller(request)
        if needs == "anyone" and "authorization" not in request.headers:
            return caller if caller is not None and not caller.must_change else None
        if caller is None:
            raise Problem(
                401,
                "log in first, or send Authorization: Bearer with the API token",
                "请先登录，或使用 API 令牌",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if needs in {"session", "anyone"}:
            return caller
        if caller.must_change:
            raise Problem(
                403,
                "this password was for one log-in: change it with POST /api/session/password, then go on",
                "这是一次性密码，请先修改密码再继续",
                must_change=True,
            )
        instead: dict[str, Needs] = {"loopback": "administrator", "wall": "viewer"}
        wanted = instead.get(needs, needs)
        if caller.role not in ROLES[wanted]:
            named = [role for role in get_args(accounts.Role) if role in ROLES[wanted]]
            raise Problem(
                403,
                f"this needs the role {' or '.join(named)}; {caller.name} is {caller.role}",
                f"需要 {'、'.join(named)} 角色，{caller.name} 的角色是 {caller.role}",
            )
        return caller

    async def _caller(self, request: Request) -> Caller | None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if given:
            right = scheme.lower() == "bearer" and self._token is not None
            if right and hmac.compare_digest(given.strip().encode(), self._token or b""):
                return AUTOMATION
            return None
        cookie = request.cookies.get(COOKIE)
        return await run_in_threadpool(self._holder, cookie) if cookie else None

    async def _of_paired_screen(self, request: Request) -> bool:
        token = request.cookies.get(SCREEN_COOKIE)
        return await run_in_threadpool(self._may_look, token) if token else False

    def _may_look(self, token: str) -> bool:
        with self._pool.connection() as connection:
            return screens.may_look(connection, accounts.digest(token), datetime.now(UTC))

    def _holder(self, cookie: str) -> Caller | None:
        with self._pool.connection() as connection:
            user = accounts.holder(connection, cookie, datetime.now(UTC))
        if user is None:
            return None
        return Caller(
            actor=f"user:{user.id}",
            name=user.name,
            display_name=user.display_name,
            role=user.role,
            must_change=user.must_change,
            token=cookie,
            unit_id=user.unit_id,
            scope=user.scope,
        )

    def _same_site(self, request: Request) -> None:
        """Refuse what another site's page makes a browser send; programs send neither header."""
        site = request.headers.get("sec-fetch-site")
        origin = request.headers.get("origin")
        foreign = site is not None and site not in {"same-origin", "none"}
        if origin is not None and site is None:
            foreign = urlsplit(origin).netloc not in {request.headers.get("host", ""), self._public_host} - {
                ""
            }
        if foreign:
            raise Problem(403, "this request comes from another site's page", "拒绝来自其他网站页面的请求")


def _from_loopback(request: Request) -> bool:
    if request.client is None:
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
