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
                    "name_en": f"Cell {column:03}{row:03}",
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
        "cell": f"C{int(code[1:]) * 5:03}{int(code[1:]) * 3 % 20:03}",
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
                "disk": "ok",
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


def upset(topics: dict[str, dict[str, Any]], number: int) -> dict[str, dict[str, Any]]:
    """What one delta of an upset district changes: a cell, an incident that comes and one that goes, a level."""
    code = f"C{number % 30:03}{number % 20:03}"
    going = {str(999 + number): None} if number else {}
    return {
        "cell": {code: cell(**{"class": "ABC"[number % 3], "open": 1})},
        "incident": {str(1000 + number): incident(1000 + number, code)} | going,
        "station": {
            "W1": topics["station"]["W1"] | {"level_m": 3 + number % 50 / 100, "observed_at": at(0)},
        },
    }


def sensing() -> dict[str, Any]:
    """What `/api/wall/sensing` says at the worst moment: two detectors in alarm, cameras lost, things seen."""

    def where(number: int) -> dict[str, Any]:
        code = f"C{number % 30:03}{number % 20:03}"
        return {"cell": code, "cell_name": f"第{code[1:]}网格", "cell_name_en": f"Cell {code[1:]}"}

    def named(code: str, name: str, number: int) -> dict[str, Any]:
        return {"code": code, "name": name, **where(number)}

    return {
        "smoke": {
            "total": 2,
            "alarms": [
                {**named("SM-00012", "产业园东区三号厂房二层烟感", 3), "since": at(-4), "exercise": False},
                {**named("SM-00231", "地铁东站口商铺烟感", 8), "since": at(-19), "exercise": True},
            ],
            "highest": [
                {
                    **named(f"SM-{number:05}", f"{number} 号烟感", number),
                    "value": 96.5 - number * 3.25,
                    "unit": "µg/m³",
                    "observed_at": at(-1),
                }
                for number in range(10)
            ],
        },
        "cameras": {
            "total": 29,
            "offline": [
                {
                    **named(f"CAM-{number:03}", f"{number} 号路口摄像机", number),
                    "last_heard_at": at(-number * 50),
                }
                for number in range(1, 8)
            ]
            + [{**named("CAM-090", "新装摄像机", 9), "last_heard_at": None}],
            "detections": [
                {
                    **named(f"CAM-{number:03}", f"{number} 号路口摄像机", number),
                    "label": ["person", "motorcycle", "smoke", "forklift"][number % 4],
                    "zone": "yard",
                    "observed_at": at(-number * 7),
                }
                for number in range(10)
            ],
        },
    }


def focused() -> dict[str, Any]:
    """What `/api/wall/incidents/…` says: a fire with four devices, two of them in alarm."""
    steps = [
        "opened",
        "dispatched",
        "told",
        "alarm_again",
        "class_raised",
        "urged",
        "acknowledged",
        "arrived",
    ]
    return {
        "timeline": [
            {
                "seq": number + 1,
                "at": at(-30 + number * 4),
                "kind": kind,
                "unit_name": "凤凰山街道应急管理办公室" if kind == "dispatched" else None,
                "unit_name_en": "Phoenix Hill emergency office" if kind == "dispatched" else None,
            }
            for number, kind in reversed(list(enumerate(steps)))
        ],
        "clocks": [
            {"stage": "handle", "due_at": at(12), "paused_at": None, "ended_at": None, "outcome": None},
            {"stage": "arrive", "due_at": at(-2), "paused_at": None, "ended_at": None, "outcome": None},
            {
                "stage": "acknowledge",
                "due_at": at(-20),
                "paused_at": None,
                "ended_at": at(-22),
                "outcome": "met",
            },
        ],
        "devices": [
            {
                "code": f"SM-{number:05}",
                "name": f"产业园东区 {number} 号烟感",
                "kind_name": "烟感",
                "kind_name_en": "Smoke detector",
                "metric": "烟雾浓度",
                "metric_en": "Smoke",
                "unit": "µg/m³",
                "lon": WEST + (28.3 + number * 0.12) * CELL_DEG,
                "lat": SOUTH + (0.4 + number * 0.1) * CELL_DEG,
                "standing": number < 2,
                "readings": []
                if number == 3
                else [[at(-120 + 2 * n), round(10 + number + max(0, n - 45) * 5.5, 1)] for n in range(60)],
            }
            for number in range(4)
        ],
    }


def flooding() -> dict[str, Any]:
    """What `/api/wall/flood` says in a storm."""
    return {
        "level": "IV",
        "since": at(-90),
        "proposal": {
            "level": "III",
            "words": "人民路下穿通道超警戒 0.22 m，且 1 小时降雨 62 mm，达到III级响应条件",
            "words_en": "People's Road underpass 0.22 m above warning and 62 mm of rain in 1 h meet level III",
            "at": at(-6),
        },
        "warnings": [
            {"colour": "orange", "warnings": 1, "until": at(200)},
            {"colour": "yellow", "warnings": 2, "until": at(300)},
        ],
        "evacuation": {"tasks": 6, "done": 2, "to_move": 312, "moved": 140, "remaining": 164},
        "rain": [
            {
                "code": f"R{number}",
                "name": f"雨量站 {number} 号(凤凰山水库坝上)",
                "mm_1h": 62.0 - number * 7.5,
                "mm_3h": 101.5 - number * 9,
                "mm_24h": 150.0 - number * 10,
            }
            for number in range(8)
        ],
    }
