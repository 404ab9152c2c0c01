"""How far each route reaches: one table beside ``access.TABLE``, and what it means for a request.

A route that is not in it is for accounts of the whole district alone, so that forgetting it opens nothing. The rows
themselves are picked by the database (``city.storage.reach``): every transaction of a request is held to its caller,
and what an address names is looked up before the route runs, so that beyond reach and not there are one answer.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from fastapi import Request

from city.reach import WHOLE, Reach, of_account
from city.reports import read_tracking, tracking_digest
from city.storage.reach import reached
from command_centre.api.access import Rule
from command_centre.api.caller import Caller
from command_centre.api.problem import beyond_reach, not_found
from command_centre.api.services import async_transaction

Kind = Literal["open", "own", "area", "department", "both", "district", "whole"]
MEANING: Mapping[Kind, tuple[str, str]] = {
    "open": ("人人相同的内容", "the same for everybody who may ask"),
    "own": ("仅本人的内容", "the caller's own things alone"),
    "area": ("账号区域内的内容", "what lies in the account's area"),
    "department": ("处置人员仅限本单位", "a handler: the own unit's; others all"),
    "both": ("账号区域内或本单位的内容", "what lies in the account's area, or is the own unit's"),
    "district": (
        "全区共用：均可查看，仅全区账号可修改",
        "the district's: all may look, whole-district accounts change",
    ),
    "whole": ("仅全区账号", "accounts of the whole district alone"),
}

# By path, the longest that a route begins with. Routes without a log-in are open, see ``kind_of``.
REACH: Mapping[str, Kind] = {
    "/openapi.json": "open",
    "/docs": "open",
    "/metrics": "district",
    "/api/access": "open",
    "/api/session": "own",
    "/api/me": "own",
    "/api/wall": "area",
    "/api/wall/city": "whole",
    "/api/city": "whole",
    "/api/cells": "area",
    "/api/areas": "area",
    "/api/devices": "area",
    "/api/device-health": "area",
    "/api/components": "area",
    "/api/buildings": "area",
    "/api/register": "area",
    "/api/register/units": "district",
    "/api/register/import": "whole",
    "/api/register/export": "whole",
    "/api/labels": "area",
    "/api/stations": "area",
    "/sensorthings": "area",
    "/api/quarantine": "area",
    "/api/alarms": "both",
    "/api/alarm-performance": "both",
    "/api/rule-alarms": "both",
    "/api/incidents": "both",
    "/api/board": "both",
    "/api/clocks": "both",
    "/api/requests": "both",
    "/api/field": "both",
    "/api/candidates": "both",
    "/api/reports": "both",
    "/api/callbacks": "both",
    "/api/photos": "both",
    "/api/notifications": "both",
    "/api/orders": "both",
    "/api/patrol": "both",
    "/api/units": "district",
    "/api/units/{code}/roster": "department",
    "/api/units/{code}/contacts": "department",
    "/api/duty": "department",
    "/api/flood": "district",
    "/api/flood/gauges": "area",
    "/api/flood/tasks": "both",
    "/api/flood/headcounts": "area",
    "/api/flood/duty-log": "both",
    "/api/drills": "district",
    "/api/calendar": "district",
    "/api/urging": "district",
    "/api/categories": "district",
    "/api/responsibilities": "district",
    "/api/rules": "district",
    "/api/rule-kinds": "district",
    "/api/health/details": "district",
    "/api/rules/backtest": "whole",
    "/api/handovers": "whole",
    "/api/intake-systems": "whole",
    "/api/open311/keys": "whole",
    "/api/screens": "whole",
    "/api/users": "whole",
    "/api/tokens": "whole",
    "/api/broker-accounts": "whole",
    "/api/audit": "whole",
    "/api/persons": "whole",
}
# Where one method goes another way than its path.
EXCEPT: Mapping[tuple[str, str], Kind] = {
    ("POST", "/api/reports"): "open",  # whoever sees something reports it, wherever it is
    ("POST", "/api/areas/changes"): "district",
    ("GET", "/api/oidc/start"): "open",
}
# Sent with a body, and yet nothing is written.
ONLY_LOOK = frozenset(
    {
        "/api/rules/{rule_id}/validate",
        "/api/rules/backtest",
        "/api/rules/backtest/{key}",
        "/api/calendar/preview",
        "/api/candidates",
    }
)

# What an address names: by the path up to the name, the words for it, and which kind of row.
NAMED: Mapping[str, tuple[str, str, str]] = {
    "/api/incidents/{incident_id}": ("incident", "incident", "事件"),
    "/api/wall/incidents/{incident_id}": ("incident", "incident", "事件"),
    "/api/field/incidents/{incident_id}": ("incident", "incident", "事件"),
    "/api/alarms/{alarm_id}": ("alarm", "alarm", "告警"),
    "/api/devices/{code}": ("device", "device", "设备"),
    "/api/stations/{code}": ("station", "station", "测站"),
    "/api/components/{code}": ("component", "component", "部件"),
    "/api/buildings/{code}": ("building", "building", "楼栋"),
    "/api/register/{thing}/{code}": ("{thing}", "entry", "登记"),
    "/api/labels/{sort}/{code}": ("{sort}", "entry", "登记"),
    "/api/areas/{layer}/{code}": ("area", "area", "区域"),
    "/api/reports/{tracking}": ("report", "report", "上报"),
    "/api/photos/{digest}": ("photo", "photo", "照片"),
    "/api/notifications/{notification_id}": ("notification", "notification", "通知"),
    "/api/orders/{order_id}": ("order", "order", "指令"),
    "/api/flood/tasks/{task_id}": ("task", "task", "任务"),
    "/api/patrol/routes/{code}": ("route", "route", "路线"),
}
_CREATES = frozenset({("PUT", "/api/patrol/routes/{code}")})  # the name may be new


def _begins(path: str, prefix: str) -> bool:
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/", ".", "?")


def kind_of(rule: Rule) -> Kind | None:
    """What the table says of a route; None for one it forgot, which then counts as ``whole``."""
    if rule.needs in ("public", "session"):
        return "open" if rule.needs == "public" else "own"
    if (rule.method, rule.path) in EXCEPT:
        return EXCEPT[rule.method, rule.path]
    fitting = [prefix for prefix in REACH if _begins(rule.path, prefix)]
    return REACH[max(fitting, key=len)] if fitting else None


def named_by(rule: Rule) -> tuple[str, str, str] | None:
    """What kind of row the route's address names, and its words; None when it names none of a place or unit."""
    fitting = [prefix for prefix in NAMED if _begins(rule.path, prefix)]
    return NAMED[max(fitting, key=len)] if fitting and (rule.method, rule.path) not in _CREATES else None


def changes(rule: Rule) -> bool:
    """Whether it writes."""
    return rule.method != "GET" and rule.path not in ONLY_LOOK


def reach_of(rule: Rule, caller: Caller | None, screen_scope: str | None = None) -> Reach:
    """Within what this request is answered; raises Problem 403 where it needs the whole district.

    ``screen_scope`` is the area of a paired screen.
    """
    kind = kind_of(rule) or "whole"
    if caller is None:
        return Reach(scope=screen_scope)
    if kind in ("open", "own"):
        return WHOLE
    reach = of_account(caller.role, caller.scope, caller.unit_id, caller.actor)
    if reach.whole or kind not in ("district", "whole"):
        return WHOLE if reach.whole else reach
    if kind == "whole" or changes(rule):
        raise beyond_reach()
    return reach


async def held(request: Request) -> None:
    """A dependency of every route: what its address names is within the caller's reach, else Problem 404."""
    reach: Reach = request.state.reach
    rule: Rule = request.state.rule
    named = None if reach.whole else named_by(rule)
    if named is None:
        return
    kind, word, word_zh = named
    if kind.startswith("{"):
        kind = str(request.path_params[kind[1:-1]])
    last = re.findall(r"{(\w+)[:}]", next(prefix for prefix in NAMED if NAMED[prefix] is named))[-1]
    written = str(request.path_params[last])
    value = _value(kind, written)
    if value is None:
        return  # no such thing can be; the route says how to write one
    async with async_transaction(request) as connection:
        if not await reached(connection, kind, value):
            raise not_found(word, word_zh, written[:64])
    if kind == "incident" and isinstance(value, int):
        request.state.reach = replace(reach, incident=value)


def _value(kind: str, written: str) -> int | str | bytes | None:
    if kind in ("incident", "alarm", "order", "task", "notification"):
        return int(written) if written.isascii() and written.isdigit() and len(written) < 19 else None
    if kind == "report":
        tracking = read_tracking(written)
        return tracking_digest(tracking) if tracking else None
    if kind == "photo":
        return bytes.fromhex(written) if re.fullmatch("[0-9a-f]{64}", written) else None
    if kind in ("device", "station", "component", "building", "area", "route"):
        return None if "\0" in written else written
    return None
