"""The gate before the routes: finds out who calls, and lets only those in whom ``access.TABLE`` names."""

import hmac
import ipaddress
from datetime import UTC, datetime, timedelta
from typing import get_args
from urllib.parse import urlsplit

from psycopg import OperationalError
from psycopg_pool import PoolTimeout
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from city.settings import Settings
from city.storage import api_tokens, screens, sessions
from city.storage.screens import PairedScope
from command_centre import accounts, tokens
from command_centre.api.access import ROLES, Needs, rule
from command_centre.api.caller import AUTOMATION, Caller
from command_centre.api.cookies import COOKIE, SCREEN_COOKIE, over_tls, screen_token, session_token
from command_centre.api.problem import Problem, unavailable
from command_centre.api.reaching import reach_of
from command_centre.api.services import Pool

__all__ = ["COOKIE", "SCREEN_COOKIE", "STEP_UP", "Gate"]

_SAFE = {"GET", "HEAD"}
# What a browser left alone must not do: who has a session shows again who they are when that was long ago.
STEP_UP = (
    ("POST", "/api/users"),
    ("PATCH", "/api/users/{name}"),
    ("POST", "/api/users/{name}/reset"),
    ("POST", "/api/users/{name}/second-factor/reset"),
    ("POST", "/api/users/{name}/unlink"),
    ("POST", "/api/tokens"),
    ("POST", "/api/me/second-factor"),
    ("POST", "/api/me/second-factor/codes"),
    ("POST", "/api/me/second-factor/remove"),
    ("DELETE", "/api/me/sessions"),
    ("DELETE", "/api/me/sessions/{session_id:int}"),
    ("POST", "/api/intake-systems"),
    ("POST", "/api/intake-systems/{code}/secret"),
    ("POST", "/api/open311/keys"),
    ("POST", "/api/units/{code}/webhook-secret"),
)
_STEP_UP = [(method, compile_path(path)[0]) for method, path in STEP_UP]


class Gate:
    """ASGI middleware: finds out who calls, and lets only those in whom the table names.

    The caller stands in ``request.state.caller`` afterwards, None on public routes and for strangers; in
    ``request.state.reach`` how far they reach, in ``request.state.rule`` what the tables say of the route.
    """

    def __init__(self, app: ASGIApp, *, pool: Pool, token: str | None, settings: Settings) -> None:
        self._app = app
        self._pool = pool
        self._token = token.encode() if token else None
        self._public_url = settings.public_url
        self._public_host = urlsplit(settings.public_url).netloc
        self._paired_walls = settings.wall_access == "paired"
        self._factor_roles = settings.roles_with_second_factor
        self._step_up = timedelta(minutes=settings.step_up_minutes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            request.state.rule = rule(request.method, request.url.path)
            request.state.caller = await self._admit(request)
            screen: PairedScope | None = getattr(request.state, "screen", None)
            request.state.reach = reach_of(
                request.state.rule, request.state.caller, screen.scope if screen else None
            )
        except Problem as problem:
            await problem.response(request.url.path)(scope, receive, send)
            return
        except (PoolTimeout, OperationalError):
            await unavailable().response(request.url.path)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _admit(self, request: Request) -> Caller | None:
        needs = request.state.rule.needs
        # A log-in makes the cookie. Who sends neither header is a program: every browser that keeps a cookie to its
        # own site (SameSite) names the page's origin with whatever may change something (Fetch, 3.2).
        by_cookie = self._cookie(request) is not None or needs in {"public", "anyone"}
        if request.method not in _SAFE and by_cookie:
            self._same_site(request)
        if needs == "public" or (needs == "loopback" and _from_loopback(request)):
            return None
        if needs == "wall" and (not self._paired_walls or await self._of_paired_screen(request)):
            return None
        caller = await self._caller(request)
        if needs == "anyone" and "authorization" not in request.headers:
            acts = caller is not None and not caller.must_change and not caller.must_enrol
            return caller if acts else None
        if caller is None:
            raise Problem(
                401,
                "log in first, or send Authorization: Bearer with the API token",
                "请先登录，或使用 API 令牌",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if caller.only_reads and request.method not in _SAFE:
            raise Problem(
                403,
                f"the token {caller.name} only reads; make one that may change things",
                f"令牌 {caller.name} 只能读取，请另建可写的令牌",
            )
        own = request.url.path.startswith("/api/session")
        if needs == "anyone" or (needs == "session" and (own or not caller.must_change)):
            self._still_there(caller, request)
            return caller
        if caller.must_change:
            raise Problem(
                403,
                "this password was for one log-in: change it with POST /api/session/password, then go on",
                "这是一次性密码，请先修改密码再继续",
                must_change=True,
            )
        if caller.must_enrol:
            raise Problem(
                403,
                f"the role {caller.role} acts only with a second factor: add one under my account, then go on",
                "该角色须启用两步验证，请先在“我的账号”中启用",
                must_enrol=True,
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
        self._still_there(caller, request)
        return caller

    def _still_there(self, caller: Caller, request: Request) -> None:
        """Raises Problem 403 for what asks again who it is, when that was long ago."""
        if caller.proven_at is None or not self._step_up:
            return
        asked = any(method == request.method and path.match(request.url.path) for method, path in _STEP_UP)
        if asked and datetime.now(UTC) - caller.proven_at > self._step_up:
            raise Problem(
                403,
                "show again that it is you: POST /api/session/prove with your password, then repeat this",
                "请再次验证身份后重试",
                prove=True,
            )

    def _cookie(self, request: Request) -> str | None:
        return session_token(request.cookies, tls=over_tls(request, self._public_url))

    async def _caller(self, request: Request) -> Caller | None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if given:
            right = scheme.lower() == "bearer" and self._token is not None
            if right and hmac.compare_digest(given.strip().encode(), self._token or b""):
                return AUTOMATION
            if scheme.lower() == "bearer" and tokens.looks_right(given.strip()):
                return await run_in_threadpool(self._program, given.strip())
            return None
        cookie = self._cookie(request)
        return await run_in_threadpool(self._holder, cookie) if cookie else None

    def _program(self, token: str) -> Caller | None:
        with self._pool.connection() as connection:
            found = api_tokens.held(connection, accounts.digest(token), datetime.now(UTC))
        if found is None:
            return None
        return Caller(
            actor=f"token:{found.id}",
            name=found.name,
            display_name=found.name,
            role=found.role,
            must_change=False,
            token=None,
            unit_id=found.unit_id,
            scope=found.scope,
            only_reads=found.only_reads,
        )

    async def _of_paired_screen(self, request: Request) -> bool:
        token = screen_token(request.cookies, tls=over_tls(request, self._public_url))
        request.state.screen = await run_in_threadpool(self._may_look, token) if token else None
        return request.state.screen is not None

    def _may_look(self, token: str) -> PairedScope | None:
        with self._pool.connection() as connection:
            return screens.may_look(connection, accounts.digest(token), datetime.now(UTC))

    def _holder(self, cookie: str) -> Caller | None:
        with self._pool.connection() as connection:
            user = sessions.held(connection, accounts.digest(cookie), datetime.now(UTC))
        if user is None:
            return None
        return Caller(
            actor=f"user:{user.user_id}",
            name=user.name,
            display_name=user.display_name,
            role=user.role,
            must_change=user.must_change,
            token=cookie,
            unit_id=user.unit_id,
            scope=user.scope,
            user_id=user.user_id,
            session_id=user.id,
            proven_at=user.proven_at,
            second_factor=user.second_factor,
            has_factor=user.has_factor,
            must_enrol=user.role in self._factor_roles and not user.second_factor,
            provider=user.provider,
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
