"""What the mock centre shows: an invented district and moments of it at which the panels are full."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

WEST, SOUTH = 114.30, 22.60
CELL_DEG = 0.004
STREETS = [
    ("S1", "临江街道", "Riverside Street"),
    ("S2", "南湖街道", "South Lake Street"),
    ("S3", "凤凰山街道", "Phoenix Hill Street"),
    ("S4", "老城街道", "Old Town Street"),
    ("S5", "科学园街道", "Science Park Street"),
    ("S6", "东港街道", "East Harbour Street"),
]
KINDS = [
    ("smoke", "烟感", "Smoke detector", 5000, 4905),
    ("camera", "摄像机", "Camera", 400, 371),
    ("water", "水位计", "Water gauge", 60, 59),
    ("manhole", "井盖传感器", "Manhole sensor", 820, 800),
    ("rain", "雨量计", "Rain gauge", 24, 24),
]
CATEGORIES = [
    ("fire.smoke", "烟感报警", "Smoke alarm", "A"),
    ("flood.level", "下穿通道积水超过警戒水位", "Underpass above its warning level", "A"),
    ("public.person", "禁入区域人员闯入", "Person in a closed area", "B"),
    ("device.silent", "设备失联", "Device silent", "C"),
]


def at(minutes: float) -> str:
    """RFC 3339 in UTC, ``minutes`` from now."""
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


def corner(column: float, row: float) -> list[float]:
    """A grid corner, shaken so that cells look drawn by people."""
    shake_x, shake_y = (
        math.sin(column * 12.9 + row * 78.2) * 0.18,
        math.sin(column * 39.3 + row * 11.1) * 0.18,
    )
    return [WEST + (column + shake_x) * CELL_DEG, SOUTH + (row + shake_y) * CELL_DEG]


def ground(columns: int = 30, rows: int = 20) -> dict[str, Any]:
    """``columns`` x ``rows`` cells under six streets, three by two."""
    cells = []
    for column in range(columns):
        for row in range(rows):
            street = STREETS[min(column * 3 // columns, 2) + 3 * min(row * 2 // rows, 1)][0]
            ring = [corner(column + dx, row + dy) for dx, dy in ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))]
            cells.append(
                {
                    "code": f"C{column:03}{row:03}",
                    "name": f"第{column:03}{row:03}网格",
                    "street": street,
                    "community": street + "-1",
                    "rings": [ring],
                }
            )
    streets = []
    for number, (code, name, name_en) in enumerate(STREETS):
        left, right = columns * (number % 3) // 3, columns * (number % 3 + 1) // 3
        low, high = rows * (number // 3) // 2, rows * (number // 3 + 1) // 2
        edge = [(c, low) for c in range(left, right)] + [(right, r) for r in range(low, high)]
        edge += [(c, high) for c in range(right, left, -1)] + [(left, r) for r in range(high, low - 1, -1)]
        streets.append(
            {"code": code, "name": name, "name_en": name_en, "rings": [[corner(*p) for p in edge]]}
        )
    west, south = corner(-0.2, -0.2)
    east, north = corner(columns + 0.2, rows + 0.2)
    return {
        "district": {"code": "440399", "name": "示范区", "name_en": "Demonstration District"},
        "bbox": [west, south, east, north],
        "streets": streets,
        "cells": cells,
    }


def cell(**changed: Any) -> dict[str, Any]:
    return {"state": "normal", "class": None, "open": 0, "devices": 9, "online": 9, **changed}


def incident(number: int, cell_code: str, **changed: Any) -> dict[str, Any]:
    category, name, name_en, urgency = CATEGORIES[number % len(CATEGORIES)]
    return {
        "id": number,
        "number": f"20261121-{number:04}",
        "state": "dispatched",
        "class": urgency,
        "category": category,
        "category_name": name,
        "category_name_en": name_en,
        "cell": cell_code,
        "cell_name": f"凤凰山社区第{number:02}网格(产业园东区)",
        "street_name": STREETS[number % 6][1],
        "lon": None,
        "lat": None,
        "unit": "U1",
        "unit_name": "凤凰山街道应急管理办公室",
        "unit_name_en": "Phoenix Hill emergency office",
        "reason": "按职责清单",
        "reason_en": "by the responsibility list",
        "opened_at": at(-3 - number * 7),
        "due_at": at(number * 11 - 14),
        "acknowledged_at": at(-1) if number % 2 else None,
        "last_alarm_at": at(-1),
        "alarms": 2,
        "devices": [f"smoke-{number:04}"],
        "exercise": number == 2,
        **changed,
    }


def counts(incidents: dict[str, Any]) -> dict[str, int]:
    shown = list(incidents.values())
    return {
        **{one: sum(item["class"] == one for item in shown) for one in "ABC"},
        "unassigned": sum(item["unit"] is None for item in shown),
        "unacknowledged": sum(item["acknowledged_at"] is None for item in shown),
        "total": len(shown),
    }


def station(code: str, name: str, name_en: str, level: float, warning: float | None) -> dict[str, Any]:
    margin = None if warning is None else round(warning - level, 3)
    state = (
        "unset"
        if margin is None
        else "normal"
        if margin > 0
        else "warning"
        if margin > -0.4
        else "guaranteed"
    )
    return {
        "code": code,
        "name": name,
        "name_en": name_en,
        "station_kind": "river",
        "cell": "C001001",
        "level_m": level,
        "observed_at": at(-1),
        "warning_m": warning,
        "guaranteed_m": None if warning is None else round(warning + 0.4, 2),
        "highest_m": None if warning is None else round(warning + 1.1, 2),
        "margin_m": margin,
        "state": state,
        "suspect": None,
        "rise_m_h": 0.12,
        "forecast_m_3h": round(level + 0.3, 2),
        "forecast_at": at(-2),
        # By the forecast's line: 0.3 m in three hours.
        "time_to_warning_s": None if margin is None or not 0 < margin < 0.3 else round(margin / 0.3 * 10_800),
    }


def hydrograph(shown: dict[str, Any]) -> dict[str, Any]:
    """A day in steps of five minutes that ends at the station's level, and six hours of what is expected."""
    level = shown["level_m"]
    observed = [
        [at(-5 * step), round(level - step * 0.004 + 0.25 * math.sin(step / 30) - 0.05, 3)]
        for step in range(287, 0, -1)
    ]
    forecast = [
        [at(60 * hours), *(round(level + 0.1 * hours + spread * 0.08 * hours, 3) for spread in (-1, 0, 1))]
        for hours in (0.5, 1, 2, 3, 6)
    ]
    return {
        "station": shown,
        "observed": observed,
        "forecast": forecast,
        "forecast_info": {"refused": None, "issued_at": at(0), "level_m": level},
        "time_to_level": {},
    }


def calm(columns: int = 30, rows: int = 20) -> dict[str, dict[str, Any]]:
    return {
        "district": {
            "info": {
                "code": "440399",
                "name": "示范区",
                "name_en": "Demonstration District",
                "timezone": "Asia/Shanghai",
                "response_level": None,
            }
        },
        "cell": {f"C{c:03}{r:03}": cell() for c in range(columns) for r in range(rows)},
        "incident": {},
        "counts": {"open": counts({})},
        "station": {},
        "online": {
            kind: {
                "kind": kind,
                "name": name,
                "name_en": name_en,
                "total": total,
                "online": online,
                "offline": total - online,
                "never": 0,
            }
            for kind, name, name_en, total, online in KINDS
        },
        "health": {
            "system": {
                "ingest": "ok",
                "broker": "ok",
                "database": "ok",
                "lag_s": 0.1,
                "ingest_seen_at": at(0),
                "quarantined_1h": 3,
                "unclaimed": 2,
                "broker_dropped": 0,
            }
        },
    }


def worst(total: int = 14) -> dict[str, dict[str, Any]]:
    """Fire and storm at once: more incidents than rows, one in the unassigned lane, blind and unset cells."""
    state = calm()
    incidents = {str(n): incident(n, f"C{(n * 7) % 30:03}{(n * 5) % 20:03}") for n in range(1, total + 1)}
    lost = {"unit": None, "unit_name": None, "unit_name_en": None, "state": "filed", "acknowledged_at": None}
    incidents[str(min(4, total))].update(
        lost, reason="该网格没有责任单位", reason_en="no unit is responsible for this cell"
    )
    state["incident"] = incidents
    state["counts"] = {"open": counts(incidents)}
    state["district"]["info"]["response_level"] = "IV"
    for item in incidents.values():
        state["cell"][item["cell"]].update({"class": item["class"], "open": 1})
    for row in range(4, 9):
        for column in range(20, 24):
            state["cell"][f"C{column:03}{row:03}"].update({"state": "blind", "online": 0})
    for column in range(5, 8):
        state["cell"][f"C{column:03}015"].update({"state": "unset", "devices": 0, "online": 0})
    stations = [
        station("W1", "人民路下穿通道(地铁东站口)", "People's Road underpass at East Station", 3.52, 3.3),
        station("W2", "南湖湖心", "South Lake centre", 21.85, 21.4),
        station("W3", "城东涵洞", "East Town culvert", 0.24, 0.25),
        station("W4", "临江闸", "Riverside gate", 5.1, 7.0),
        station("W5", "老城河", "Old Town river", 1.0, None),
    ]
    state["station"] = {item["code"]: item for item in stations}
    return state
