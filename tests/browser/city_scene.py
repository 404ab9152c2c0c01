"""What a city's wall is shown: districts of every kind, some of them silent."""

from typing import Any

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
