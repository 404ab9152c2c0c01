"""What a city's wall and its page at the desk are shown: districts of every kind, some of them silent."""

from typing import Any

from tests.browser import scenes

NAMES = (
    ("滨江区", "Riverside"), ("老城区", "Old Town"), ("高新区", "High-Tech Park and University"),
    ("港口区", "Harbour"), ("北山区", "North Hills"), ("机场区", "Airport"),
)  # fmt: skip
SILENT = {
    3: ("数据库无法连接", "its database cannot be reached"),
    5: ("数据库只读：已迁移或正在迁移", "its database is read-only: it was moved, or is being moved"),
}


def _of_class(n: int, overdue: int) -> dict[str, int]:
    return {"open": n, "unacknowledged": 0, "overdue": overdue}


def overview() -> dict[str, Any]:
    """Six districts, of which four answer."""
    items = []
    for number, (name, name_en) in enumerate(NAMES):
        figures = {
            "devices": 120_000 + number * 11_111,
            "online": 118_000 + number * 11_000,
            "alarms": 37 * number,
            "stations": 40,
            "above_warning": 2 if number == 1 else 0,
            "classes": {
                "A": _of_class(3 if number == 1 else 0, 1),
                "B": _of_class(number * 2, 0),
                "C": _of_class(8, 0),
            },
        }
        why = SILENT.get(number)
        items.append(
            {
                "code": f"d{number}",
                "name": name,
                "name_en": name_en,
                "url": f"https://d{number}.city.example",
                "state": "silent" if why else "answers",
                "silent_since": "2026-11-22T07:41:12Z" if number == 3 else None,
                "why": why[1] if why else "",
                "why_zh": why[0] if why else "",
                "response_level": "III" if number == 1 else None,
                "figures": None if why else figures,
            }
        )
    answering = [item["figures"] for item in items if item["figures"] is not None]
    total: dict[str, Any] = {
        name: sum(one[name] for one in answering)
        for name in ("devices", "online", "alarms", "stations", "above_warning")
    }
    total["classes"] = {
        of: {count: sum(one["classes"][of][count] for one in answering) for count in _of_class(0, 0)}
        for of in "ABC"
    }
    return {
        "sum": {"districts": len(items), "answering": len(answering), **total},
        "response": {"level": "III", "centre": False, "districts": ["d1"], "unknown": len(SILENT)},
        "items": items,
    }


def outlines() -> dict[str, Any]:
    """Two rows of three blocks."""
    items = []
    for number in range(len(NAMES)):
        west, south = 121.0 + number % 3 * 0.1, 31.0 + number // 3 * 0.08
        ring = [(west, south), (west + 0.1, south + 0.01), (west + 0.1, south + 0.09), (west, south + 0.08)]
        items.append({"code": f"d{number}", "rings": [[*ring, ring[0]]]})
    return {"items": items}


_LONG = (
    "凤凰山街道产业园东区临江商务综合体地下二层配电房",
    "Phoenix Hill Industrial Park East, Riverside Complex",
)
_WHAT = (
    ("厂房起火", "Fire in a works"), ("水位超警戒", "Water above warning"), _LONG, ("路面塌陷", "Sunken road"),
    ("烟感报警", "Smoke alarm"), ("垃圾堆积", "Refuse"),
)  # fmt: skip


def incident(number: int, district: int, **changed: Any) -> dict[str, Any]:
    zh, en = _WHAT[number % len(_WHAT)]
    return {
        "district": f"d{district}",
        "id": number,
        "number": f"20261122-{number:04}",
        "state": "dispatched",
        "class": "ABC"[number % 3],
        "category": "fire",
        "category_name": zh,
        "category_name_en": en,
        "cell": f"C{number}",
        "cell_name": f"第{number}网格",
        "cell_name_en": f"Cell {number}",
        "unit_name": "区消防大队",
        "unit_name_en": "District fire brigade",
        "opened_at": scenes.at(-number * 7),
        "due_at": scenes.at(30 - number * 6),
        "acknowledged_at": None,
        "closed_at": None,
        "exercise": False,
        **changed,
    }


def incidents() -> dict[str, Any]:
    """Of the four districts that answer; one of those has no address, two others are silent."""
    items = [
        incident(1, 0),
        incident(2, 1, unit_name=None, unit_name_en=None, state="filed"),
        incident(3, 4, exercise=True),
        incident(4, 2, state="suspended"),
        incident(5, 1, unit_name=_LONG[0], unit_name_en=_LONG[1], state="arrived"),
        incident(6, 4),
        incident(8, 0, cell_name="", cell_name_en="", due_at=None),
        incident(900, 4, state="archived", closed_at=scenes.at(-5), due_at=scenes.at(-6000)),
    ]
    shown = overview()["items"]
    return {
        "items": items,
        "districts": [
            {name: one[name] for name in ("code", "name", "name_en", "url")}
            | ({"url": ""} if one["code"] == "d4" else {})
            for one in shown
        ],
        "missing": [
            {name: one[name] for name in ("code", "silent_since", "why", "why_zh")}
            for one in shown
            if one["state"] == "silent"
        ],
        "next": None,
    }
