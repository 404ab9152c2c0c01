"""Who may call what: one table, one gate. A route that is not in the table is answered 404 for everybody.

The gate stands before the routes, so nothing of a request's body is read for somebody who may not send it.
"""

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args
from urllib.parse import urlsplit

from psycopg import OperationalError
from psycopg_pool import PoolTimeout
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from city import incidents
from city.storage import screens
from command_centre import accounts
from command_centre.api.problem import Problem, unavailable
from command_centre.api.services import Pool

Needs = Literal[
    "public",
    "anyone",
    "wall",
    "loopback",
    "session",
    "viewer",
    "worker",
    "hotline",
    "dispatcher",
    "supervisor",
    "administrator",
]
# Roles that meet a need; what a role may do to an incident in which state is the workflow's table.
ROLES: Mapping[Needs, frozenset[str]] = {
    "viewer": frozenset(get_args(accounts.Role)),
    "worker": frozenset(get_args(accounts.Role)) - {"viewer"},
    "hotline": frozenset({"hotline", "grid_worker", "dispatcher", "supervisor", "administrator"}),
    "dispatcher": frozenset({"dispatcher", "supervisor", "administrator"}),
    "supervisor": frozenset({"supervisor", "administrator"}),
    "administrator": frozenset({"administrator"}),
}
COOKIE = "city_session"
SCREEN_COOKIE = "city_screen"  # of a paired wall
_SAFE = {"GET", "HEAD"}

# "wall" is public where the wall is open to the room, else for paired screens and people who have logged in.
# "session" is any log-in, also one that may only change its password. "anyone" is public too, but who has logged in
# is known there: citizens and staff report by one way.
TABLE: Mapping[tuple[str, str], Needs] = {
    ("GET", "/"): "public",
    ("GET", "/wall"): "public",
    ("GET", "/desk"): "public",
    ("GET", "/wall/{view}"): "public",
    ("GET", "/desk/{place:path}"): "public",
    ("GET", "/flood"): "public",
    ("GET", "/flood/{place:path}"): "public",
    ("GET", "/field"): "public",
    ("GET", "/field/sw.js"): "public",
    ("GET", "/field/manifest.webmanifest"): "public",
    ("GET", "/field/icons/{name}"): "public",
    ("GET", "/field/{place:path}"): "public",
    ("GET", "/settings"): "public",
    ("GET", "/settings/{place:path}"): "public",
    ("GET", "/login"): "public",
    ("GET", "/report"): "public",
    ("GET", "/track"): "public",
    ("GET", "/track/{tracking}"): "public",
    ("GET", "/assets/{path:path}"): "public",
    ("GET", "/api/wall/map"): "public",
    ("GET", "/api/wall/sensing"): "wall",
    ("GET", "/api/wall/incidents/{incident_id}"): "wall",
    ("GET", "/api/wall/flood"): "wall",
    ("GET", "/api/stations"): "public",
    ("GET", "/api/stations/{code}/hydrograph"): "public",
    ("GET", "/api/stations/{code}/events"): "viewer",
    ("GET", "/api/stations/{code}/model"): "viewer",
    ("GET", "/cap/feed.atom"): "public",
    ("GET", "/cap/{identifier}.xml"): "public",
    ("GET", "/healthz"): "public",
    ("GET", "/readyz"): "public",
    ("GET", "/metrics"): "loopback",
    ("GET", "/openapi.json"): "viewer",
    ("GET", "/docs"): "viewer",
    ("POST", "/api/session"): "public",
    ("GET", "/api/session"): "session",
    ("DELETE", "/api/session"): "session",
    ("POST", "/api/session/password"): "session",
    ("GET", "/api/cells"): "viewer",
    ("GET", "/sensorthings/v1.1"): "viewer",  # as whoever may read devices
    ("GET", "/sensorthings/v1.1/{path:path}"): "viewer",
    ("GET", "/api/cells.geojson"): "viewer",
    ("GET", "/api/devices.geojson"): "viewer",
    ("GET", "/api/devices/{code}/export"): "viewer",
    ("GET", "/api/devices"): "viewer",
    ("POST", "/api/devices"): "administrator",
    ("GET", "/api/devices/choices"): "viewer",
    ("PATCH", "/api/devices/{code}"): "administrator",
    ("GET", "/api/devices/{code}/entry"): "dispatcher",
    ("GET", "/api/devices/{code}/changes"): "dispatcher",
    ("GET", "/api/devices/{code}/proposal"): "dispatcher",
    ("GET", "/api/devices/{code}"): "viewer",
    ("GET", "/api/devices/{code}/readings"): "viewer",
    ("GET", "/api/devices/{code}/rules"): "viewer",
    ("GET", "/api/devices/{code}/health"): "viewer",
    ("GET", "/api/device-health"): "viewer",
    ("GET", "/api/device-health/gateways"): "viewer",
    ("GET", "/api/device-health/batteries"): "viewer",
    ("GET", "/api/device-health/availability"): "viewer",
    ("GET", "/api/device-health/availability.csv"): "viewer",
    ("POST", "/api/devices/{code}/service"): "dispatcher",
    ("POST", "/api/devices/{code}/claim"): "administrator",
    ("POST", "/api/devices/{code}/claim-as"): "administrator",
    ("GET", "/api/devices/{code}/life"): "dispatcher",
    ("GET", "/api/alarms"): "viewer",
    ("GET", "/api/alarms/shelved"): "viewer",
    ("GET", "/api/alarms/{alarm_id}"): "viewer",
    ("GET", "/api/alarms/{alarm_id}/why"): "viewer",
    ("GET", "/api/alarms/{alarm_id}/media"): "worker",
    ("GET", "/api/alarms/{alarm_id}/media/{n}"): "worker",  # people may be seen on it
    ("POST", "/api/alarms/{alarm_id}/acknowledge"): "dispatcher",
    ("POST", "/api/alarms/{alarm_id}/shelve"): "dispatcher",  # a class A fire: administrator
    ("POST", "/api/alarms/{alarm_id}/unshelve"): "dispatcher",
    ("GET", "/api/alarm-performance"): "viewer",
    ("GET", "/api/board"): "worker",  # names and telephones of people
    ("GET", "/api/handovers"): "dispatcher",
    ("GET", "/api/handovers/standing"): "dispatcher",
    ("POST", "/api/handovers"): "dispatcher",
    ("POST", "/api/handovers/{number}/take"): "dispatcher",
    ("POST", "/api/handovers/{number}/withdraw"): "dispatcher",
    ("POST", "/api/alarms/bulk"): "dispatcher",  # each alarm as by itself
    ("GET", "/api/drills"): "viewer",
    ("POST", "/api/drills"): "administrator",
    ("GET", "/api/drills/{drill_id}"): "viewer",
    ("POST", "/api/drills/{drill_id}/end"): "administrator",
    ("GET", "/api/incidents"): "viewer",
    ("POST", "/api/incidents"): "dispatcher",
    ("POST", "/api/incidents/bulk"): "worker",  # each incident as by itself: command_centre.workflow
    ("GET", "/api/incidents/{incident_id}"): "viewer",
    ("GET", "/api/incidents/{incident_id}/timeline"): "viewer",
    ("GET", "/api/incidents/{incident_id}/clocks"): "viewer",
    ("GET", "/api/clocks"): "viewer",
    ("GET", "/api/calendar"): "viewer",
    ("PUT", "/api/calendar"): "supervisor",
    ("POST", "/api/calendar/preview"): "viewer",  # writes nothing
    ("GET", "/api/urging"): "viewer",
    ("PUT", "/api/urging"): "supervisor",
    ("GET", "/api/incidents/{incident_id}/links"): "viewer",
    ("GET", "/api/incidents/{incident_id}/candidates"): "dispatcher",
    ("GET", "/api/incidents/{incident_id}/nearby"): "dispatcher",
    ("POST", "/api/incidents/{incident_id}/{action}"): "worker",  # which of them: workflow.TABLE
    ("GET", "/api/requests"): "worker",
    ("GET", "/api/field"): "worker",
    ("POST", "/api/field/incidents/{incident_id}/caller"): "worker",  # of a unit that has it; on the record
    ("GET", "/api/incidents/{incident_id}/reports"): "worker",
    ("GET", "/api/report-categories"): "public",
    ("POST", "/api/candidates"): "hotline",
    ("POST", "/api/reports"): "anyone",
    ("GET", "/api/reports"): "hotline",
    ("GET", "/api/reports/{tracking}"): "anyone",
    ("PATCH", "/api/reports/{tracking}"): "hotline",
    ("GET", "/api/reports/{tracking}/contact"): "hotline",
    ("DELETE", "/api/reports/{tracking}/contact"): "anyone",
    ("POST", "/api/reports/{tracking}/more"): "anyone",
    ("POST", "/api/reports/{tracking}/rating"): "anyone",
    ("POST", "/api/reports/{tracking}/reopen"): "anyone",
    ("POST", "/api/reports/{tracking}/callback"): "hotline",
    ("POST", "/api/reports/{tracking}/erase"): "supervisor",
    ("GET", "/api/callbacks"): "hotline",
    ("POST", "/api/photos"): "worker",
    ("GET", "/api/photos/{digest}"): "worker",
    ("GET", "/api/photos/{digest}/small"): "worker",
    ("POST", "/api/intake/{system}"): "public",  # by its signature
    ("GET", "/api/intake-systems"): "administrator",
    ("POST", "/api/intake-systems"): "administrator",
    ("PATCH", "/api/intake-systems/{code}"): "administrator",
    ("POST", "/api/intake-systems/{code}/secret"): "administrator",
    ("GET", "/api/incidents/{incident_id}/suggestion"): "worker",
    ("GET", "/api/areas"): "dispatcher",
    ("GET", "/api/areas/{layer}/{code}/history"): "dispatcher",
    ("POST", "/api/areas/changes"): "administrator",
    ("POST", "/api/register/import"): "administrator",
    ("GET", "/api/register/export"): "administrator",  # telephones, addresses and webhooks of every unit
    ("GET", "/api/register/export/{file}"): "administrator",
    ("GET", "/api/register/{thing}/{code}/papers"): "dispatcher",
    ("POST", "/api/register/{thing}/{code}/papers"): "administrator",
    ("POST", "/api/register/{thing}/{code}/papers/remove"): "administrator",
    ("GET", "/api/register/{thing}/{code}/documents/{document}"): "dispatcher",
    ("GET", "/api/labels/{sort}/sheet.svg"): "dispatcher",
    ("GET", "/api/labels/{sort}/{code}.svg"): "dispatcher",
    ("GET", "/api/scanned/{sort}/{code}"): "public",
    ("GET", "/i/{sort}/{code:path}"): "public",
    ("GET", "/api/register/units"): "dispatcher",  # telephones and addresses of people
    ("GET", "/api/units"): "viewer",
    ("POST", "/api/units"): "administrator",
    ("GET", "/api/units/{code}"): "dispatcher",
    ("PATCH", "/api/units/{code}"): "administrator",
    ("GET", "/api/units/{code}/changes"): "dispatcher",
    ("GET", "/api/units/{code}/roster"): "worker",  # names and telephones of people
    ("PUT", "/api/units/{code}/roster"): "worker",  # the unit's own, or the centre's
    ("GET", "/api/duty"): "worker",
    ("POST", "/api/units/{code}/webhook-secret"): "administrator",
    ("GET", "/api/units/{code}/contacts"): "worker",  # a handler: of the own unit
    ("PUT", "/api/units/{code}/contacts"): "worker",  # administrators, and handlers of that unit
    ("POST", "/api/units/{code}/contacts/test"): "worker",  # as PUT
    ("POST", "/api/units/{code}/contacts/{contact_id}/secret"): "worker",  # as PUT
    ("POST", "/api/me/contacts/{contact_id}/secret"): "viewer",
    ("GET", "/api/me/contacts"): "viewer",
    ("PUT", "/api/me/contacts"): "viewer",
    ("POST", "/api/me/contacts/test"): "viewer",
    ("GET", "/api/notifications"): "dispatcher",
    ("POST", "/api/notifications/{notification_id}/resend"): "dispatcher",
    ("GET", "/api/categories"): "viewer",
    ("GET", "/api/categories.csv"): "viewer",
    ("POST", "/api/categories/import"): "administrator",
    ("GET", "/api/categories/{code}"): "viewer",
    ("DELETE", "/api/categories/{code}"): "administrator",
    ("POST", "/api/categories/{code}/retire"): "administrator",
    ("GET", "/api/components"): "viewer",
    ("GET", "/api/components/{code}"): "viewer",
    ("POST", "/api/components"): "administrator",
    ("PATCH", "/api/components/{code}"): "administrator",
    ("GET", "/api/components/{code}/entry"): "dispatcher",
    ("GET", "/api/components/{code}/changes"): "dispatcher",
    ("GET", "/api/buildings"): "viewer",
    ("POST", "/api/buildings"): "administrator",
    ("GET", "/api/buildings/{code}"): "dispatcher",
    ("PATCH", "/api/buildings/{code}"): "administrator",
    ("GET", "/api/buildings/{code}/changes"): "dispatcher",
    ("GET", "/api/responsibilities"): "viewer",
    ("POST", "/api/responsibilities"): "supervisor",
    ("GET", "/api/responsibilities.csv"): "viewer",
    ("POST", "/api/responsibilities/import"): "supervisor",
    ("GET", "/api/responsibilities/history"): "viewer",
    ("GET", "/api/responsibilities/simulate"): "viewer",
    ("GET", "/api/responsibilities/gaps"): "viewer",
    ("GET", "/api/responsibilities/overlaps"): "viewer",
    ("GET", "/api/responsibilities/{entry_id:int}"): "viewer",
    ("PATCH", "/api/responsibilities/{entry_id:int}"): "supervisor",
    ("DELETE", "/api/responsibilities/{entry_id:int}"): "supervisor",
    ("GET", "/api/responsibilities/{entry_id:int}/history"): "viewer",
    ("GET", "/api/rule-kinds"): "viewer",
    ("GET", "/api/rule-alarms"): "viewer",
    ("GET", "/api/rules"): "viewer",
    ("PUT", "/api/rules"): "administrator",
    ("GET", "/api/rules.toml"): "viewer",
    ("PUT", "/api/rules.toml"): "administrator",
    ("GET", "/api/rules/{rule_id}"): "viewer",
    ("GET", "/api/rules/{rule_id}/versions"): "viewer",
    ("GET", "/api/rules/{rule_id}/diff"): "viewer",
    ("PUT", "/api/rules/{rule_id}"): "administrator",
    ("POST", "/api/rules/{rule_id}/validate"): "viewer",
    ("POST", "/api/rules/{rule_id}/activate"): "administrator",
    ("POST", "/api/rules/{rule_id}/rollback"): "administrator",
    ("POST", "/api/rules/{rule_id}/retire"): "administrator",
    ("POST", "/api/rules/backtest"): "dispatcher",
    ("GET", "/api/rules/backtest/{key}"): "dispatcher",
    ("DELETE", "/api/rules/backtest/{key}"): "dispatcher",
    ("GET", "/api/flood/response"): "viewer",
    ("POST", "/api/flood/response/confirm"): "dispatcher",
    ("POST", "/api/flood/response/set"): "dispatcher",
    ("POST", "/api/flood/response/end"): "dispatcher",
    ("GET", "/api/flood/gauges"): "viewer",
    ("GET", "/api/flood/triggers"): "viewer",
    ("PUT", "/api/flood/triggers"): "administrator",
    ("GET", "/api/flood/warnings"): "viewer",
    ("POST", "/api/flood/warnings"): "dispatcher",
    ("GET", "/api/flood/warnings/{warning_id}"): "viewer",
    ("POST", "/api/flood/warnings/{warning_id}/{action}"): "dispatcher",
    ("GET", "/api/flood/tasks"): "viewer",
    ("POST", "/api/flood/tasks"): "dispatcher",
    ("GET", "/api/flood/tasks/{task_id}"): "viewer",
    ("POST", "/api/flood/tasks/{task_id}/progress"): "worker",  # the centre, or of the unit that moves people
    ("GET", "/api/flood/headcounts"): "viewer",
    ("PUT", "/api/flood/headcounts"): "dispatcher",
    ("GET", "/api/flood/duty-log"): "viewer",
    ("POST", "/api/flood/duty-log"): "dispatcher",
    ("GET", "/open311/v2/discovery.{form}"): "public",
    ("GET", "/open311/v2/services.{form}"): "public",
    ("GET", "/open311/v2/services/{code}.{form}"): "public",
    ("POST", "/open311/v2/requests.{form}"): "public",  # with an api_key, see command_centre.open311.filing
    ("GET", "/open311/v2/requests.{form}"): "public",
    ("GET", "/open311/v2/requests/{request_id}.{form}"): "public",
    ("GET", "/open311/v2/tokens/{token}.{form}"): "public",
    ("GET", "/api/open311/keys"): "administrator",
    ("POST", "/api/open311/keys"): "administrator",
    ("POST", "/api/open311/keys/{key_id}/revoke"): "administrator",
    ("GET", "/api/orders"): "viewer",
    ("POST", "/api/orders"): "worker",  # of a street or community: command_centre.orders_below.may_order
    ("GET", "/api/orders/rates"): "viewer",
    ("GET", "/api/orders/{order_id}"): "viewer",
    ("POST", "/api/orders/{order_id}/{action}"): "worker",
    ("GET", "/api/patrol/checklists"): "hotline",
    ("GET", "/api/patrol/routes"): "hotline",  # a grid worker's own
    ("GET", "/api/patrol/routes/{code}"): "hotline",
    ("PUT", "/api/patrol/routes/{code}"): "dispatcher",
    ("GET", "/api/patrol/today"): "hotline",
    ("POST", "/api/patrol/checks"): "hotline",
    ("GET", "/api/patrol/checks"): "hotline",
    ("GET", "/api/patrol/appraisal"): "hotline",
    ("GET", "/api/health/details"): "dispatcher",
    ("GET", "/api/access"): "viewer",
    ("GET", "/api/quarantine"): "dispatcher",
    ("GET", "/api/quarantine/groups"): "dispatcher",
    ("POST", "/api/quarantine/replay"): "administrator",
    ("GET", "/api/screens"): "administrator",
    ("POST", "/api/screens"): "administrator",
    ("POST", "/api/screens/pair"): "public",  # by its one-time secret
    ("POST", "/api/screens/renew"): "public",  # by the screen's own cookie
    ("POST", "/api/screens/{screen_id:int}/pairing"): "administrator",
    ("PATCH", "/api/screens/{screen_id:int}"): "administrator",
    ("POST", "/api/screens/{screen_id:int}/revoke"): "administrator",
    ("GET", "/api/users"): "administrator",
    ("POST", "/api/users"): "administrator",
    ("PATCH", "/api/users/{name}"): "administrator",
    ("POST", "/api/users/{name}/reset"): "administrator",
}
_PATTERNS = [(method, compile_path(path)[0], needs) for (method, path), needs in TABLE.items()]


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who asks. ``token`` is the cookie's value, None for automation with a bearer token.

    ``actor`` is how timelines and the audit table name them: by number, so that no name enters the chain.
    """

    actor: str
    name: str
    display_name: str
    role: str
    must_change: bool
    token: str | None
    unit_id: int | None = None


AUTOMATION = Caller(
    actor=incidents.AUTOMATION,
    name="api-token",
    display_name="API",
    role="administrator",
    must_change=False,
    token=None,
)


def needed(method: str, path: str) -> Needs:
    """What the table says; raises Problem 404 for an unknown path, 405 for an unknown method."""
    asked = "GET" if method == "HEAD" else method
    methods = {known: needs for known, pattern, needs in _PATTERNS if pattern.match(path)}
    if not methods:
        raise Problem(404, f"there is nothing at {path}", f"没有这个地址：{path}")
    if asked not in methods:
        listed = ", ".join(sorted(methods))
        raise Problem(
            405,
            f"{method} is not possible here; use {listed}",
            f"此处不支持 {method}，可用：{listed}",
            headers={"Allow": listed},
        )
    return methods[asked]


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
