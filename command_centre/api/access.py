"""Who may call what: one table. A route that is not in it is answered 404 for everybody.

The gate (``gate.py``) asks it before any route, so that nothing of a body is read for somebody who may not send it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from starlette.routing import compile_path

from command_centre import accounts
from command_centre.api.problem import Problem

Needs = Literal[
    "public",
    "anyone",
    "wall",
    "loopback",
    "session",
    "reader",
    "viewer",
    "worker",
    "hotline",
    "dispatcher",
    "flood",
    "supervisor",
    "administrator",
]
# Roles that meet a need; what a role may do to an incident in which state is the workflow's table.
_STAFF = frozenset(get_args(accounts.Role)) - {"integrator"}  # people; the integrator is another system
_CENTRE = frozenset({"dispatcher", "flood_officer", "supervisor", "administrator"})
ROLES: Mapping[Needs, frozenset[str]] = {
    "reader": _STAFF | {"integrator"},  # open data: nothing of a person, nothing that people typed
    "viewer": _STAFF,
    "worker": _STAFF - {"viewer"},
    "hotline": _CENTRE | {"hotline", "grid_worker"},
    "dispatcher": _CENTRE,
    "flood": _CENTRE - {"dispatcher"},  # response levels and public warnings: 三防值班
    "supervisor": frozenset({"supervisor", "administrator"}),
    "administrator": frozenset({"administrator"}),
}

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
    ("GET", "/api/wall/city"): "wall",
    ("GET", "/api/wall/city/map"): "wall",
    ("GET", "/api/city/incidents"): "viewer",
    ("GET", "/api/stations"): "public",
    ("GET", "/api/stations/{code}/hydrograph"): "public",
    ("GET", "/api/stations/{code}/events"): "reader",
    ("GET", "/api/stations/{code}/model"): "viewer",
    ("GET", "/runbooks"): "public",  # read when the database, and so every log-in, is away
    ("GET", "/runbooks/style.css"): "public",
    ("GET", "/runbooks/{name}"): "public",
    ("GET", "/cap/feed.atom"): "public",
    ("GET", "/cap/{identifier}.xml"): "public",
    ("GET", "/healthz"): "public",
    ("GET", "/readyz"): "public",
    ("GET", "/metrics"): "loopback",
    ("GET", "/openapi.json"): "reader",
    ("GET", "/docs"): "reader",
    ("POST", "/api/session"): "public",
    ("GET", "/api/session"): "session",
    ("DELETE", "/api/session"): "session",
    ("POST", "/api/session/password"): "session",
    ("POST", "/api/session/prove"): "session",
    ("GET", "/api/session/ways"): "public",
    ("GET", "/api/oidc/start"): "anyone",  # who has logged in links their account
    ("GET", "/api/oidc/callback"): "public",  # by the flow's own cookie
    ("GET", "/api/me/sessions"): "session",
    ("DELETE", "/api/me/sessions"): "session",
    ("DELETE", "/api/me/sessions/{session_id:int}"): "session",
    ("GET", "/api/me/second-factor"): "session",
    ("POST", "/api/me/second-factor"): "session",
    ("POST", "/api/me/second-factor/confirm"): "session",
    ("POST", "/api/me/second-factor/codes"): "session",
    ("POST", "/api/me/second-factor/remove"): "session",
    ("GET", "/api/cells"): "reader",
    ("GET", "/sensorthings/v1.1"): "reader",  # as whoever may read devices
    ("GET", "/sensorthings/v1.1/{path:path}"): "reader",
    ("GET", "/api/cells.geojson"): "reader",
    ("GET", "/api/devices.geojson"): "reader",
    ("GET", "/api/devices/{code}/export"): "reader",
    ("GET", "/api/devices"): "viewer",
    ("POST", "/api/devices"): "administrator",
    ("GET", "/api/devices/choices"): "viewer",
    ("PATCH", "/api/devices/{code}"): "administrator",
    ("GET", "/api/devices/{code}/entry"): "dispatcher",
    ("GET", "/api/devices/{code}/changes"): "dispatcher",
    ("GET", "/api/devices/{code}/proposal"): "dispatcher",
    ("GET", "/api/devices/{code}"): "viewer",
    ("GET", "/api/devices/{code}/readings"): "reader",
    ("GET", "/api/devices/{code}/rules"): "viewer",
    ("GET", "/api/devices/{code}/health"): "viewer",
    ("GET", "/api/device-health"): "viewer",
    ("GET", "/api/device-health/gateways"): "viewer",
    ("GET", "/api/device-health/batteries"): "viewer",
    ("GET", "/api/device-health/availability"): "viewer",
    ("GET", "/api/device-health/availability.csv"): "reader",
    ("POST", "/api/devices/{code}/service"): "dispatcher",
    ("POST", "/api/devices/{code}/claim"): "administrator",
    ("POST", "/api/devices/{code}/claim-as"): "administrator",
    ("GET", "/api/devices/{code}/life"): "dispatcher",
    ("GET", "/api/devices/{code}/credentials"): "administrator",
    ("POST", "/api/devices/{code}/credentials"): "administrator",  # answers a secret, once
    ("POST", "/api/devices/{code}/credentials/{account}/revoke"): "administrator",
    ("GET", "/api/broker-accounts"): "administrator",
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
    ("GET", "/api/incidents"): "reader",
    ("POST", "/api/incidents"): "dispatcher",
    ("POST", "/api/incidents/bulk"): "worker",  # each incident as by itself: command_centre.workflow
    ("GET", "/api/incidents/{incident_id}"): "reader",
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
    ("POST", "/api/persons/export"): "supervisor",
    ("POST", "/api/persons/erase"): "supervisor",
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
    ("GET", "/api/categories"): "reader",
    ("GET", "/api/categories.csv"): "reader",
    ("POST", "/api/categories/import"): "administrator",
    ("GET", "/api/categories/{code}"): "reader",
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
    ("POST", "/api/flood/response/confirm"): "flood",
    ("POST", "/api/flood/response/set"): "flood",
    ("POST", "/api/flood/response/end"): "flood",
    ("GET", "/api/flood/gauges"): "viewer",
    ("GET", "/api/flood/triggers"): "viewer",
    ("PUT", "/api/flood/triggers"): "administrator",
    ("GET", "/api/flood/warnings"): "viewer",
    ("POST", "/api/flood/warnings"): "flood",
    ("GET", "/api/flood/warnings/{warning_id}"): "viewer",
    ("POST", "/api/flood/warnings/{warning_id}/{action}"): "flood",
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
    ("GET", "/api/access"): "reader",
    ("GET", "/api/audit"): "supervisor",
    ("GET", "/api/audit.csv"): "supervisor",
    ("GET", "/api/audit/state"): "supervisor",
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
    ("POST", "/api/users/{name}/second-factor/reset"): "administrator",
    ("POST", "/api/users/{name}/unlink"): "administrator",
    ("GET", "/api/users/{name}/sessions"): "administrator",
    ("POST", "/api/users/{name}/sessions/end"): "administrator",
    ("GET", "/api/tokens"): "administrator",
    ("POST", "/api/tokens"): "administrator",
    ("POST", "/api/tokens/{token_id:int}/revoke"): "administrator",
}


def _specific(path: str) -> tuple[int, ...]:
    """Sorts a pattern before those that also match what it matches, segment by segment, as routers are ordered."""
    ranks = []
    for part in path.split("/"):
        whole = part.startswith("{") and part.endswith("}") and part.count("{") == 1
        ranks.append(0 if "{" not in part else 3 if ":path}" in part else 2 if whole else 1)
    return tuple(ranks)


# The most specific first: a public `/x/{code}` must not open `/x/{code}.svg` because it stands later in the table.
_PATTERNS = sorted(
    ((_specific(path), method, path, compile_path(path)[0]) for method, path in TABLE),
    key=lambda one: (one[0], one[2]),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """What a route needs: ``method`` and ``path`` as in the table."""

    method: str
    path: str
    needs: Needs


def rule(method: str, path: str) -> Rule:
    """The table's row for a request; raises Problem 404 for an unknown path, 405 for an unknown method."""
    asked = "GET" if method == "HEAD" else method
    found: dict[str, str] = {}
    for _, known, pattern, compiled in _PATTERNS:
        if known not in found and compiled.match(path):
            found[known] = pattern
    if not found:
        raise Problem(404, f"there is nothing at {path}", f"没有这个地址：{path}")
    if asked not in found:
        listed = ", ".join(sorted(found))
        raise Problem(
            405,
            f"{method} is not possible here; use {listed}",
            f"此处不支持 {method}，可用：{listed}",
            headers={"Allow": listed},
        )
    return Rule(method=asked, path=found[asked], needs=TABLE[asked, found[asked]])


def needed(method: str, path: str) -> Needs:
    """What the table says; raises as ``rule``."""
    return rule(method, path).needs
