"""A desk with far too much to do: thousands of incidents, an alarm flood, names as long as names get."""

from typing import Any

from tests.browser import scenes
from tests.browser.mock_centre import MockCentre

LONG_ZH = (
    "凤凰山街道产业园东区临江商务综合体地下二层配电房及消防控制室联合值守应急处置与综合协调保障中队（夜间备勤）"
    * 2
)
LONG_EN = "Phoenix Hill Industrial Park East Riverside Complex basement two switch room crew (night)"
DETAIL = {"version": 1, "allowed": ["acknowledge", "dispatch", "comment", "void"]}


def many(total: int, *, in_one_cell: int = 300) -> dict[str, Any]:
    """``total`` incidents of the topic; the first ``in_one_cell`` lie in one cell, every tenth has a long name."""
    found = {}
    for number in range(1, total + 1):
        cell = "C001001" if number <= in_one_cell else f"C{number % 30:03}{number % 20:03}"
        row = scenes.incident(number, cell, version=3, co_units=["U2"] if number % 5 == 0 else [])
        row["opened_at"] = scenes.at(-3 - number / 60)
        row["due_at"] = scenes.at(number / 10 - 14)
        if number % 10 == 0:
            row |= {"unit": "U9", "unit_name": LONG_ZH[:80], "unit_name_en": LONG_EN[:80]}
            row |= {
                "cell_name": LONG_ZH[:80],
                "category_name": LONG_ZH[:80],
                "category_name_en": LONG_EN[:80],
            }
        found[str(number)] = row
    return found


def alarm(number: int, minutes: float, **changed: Any) -> dict[str, Any]:
    return {
        "id": number,
        "rule": "fire-smoke",
        "rule_version": 1,
        "device": f"smoke-{number:04}",
        "device_name": "",
        "cell": f"C{number:06}",
        "cell_name": f"第{number}网格",
        "metric": "smoke",
        "category": "fire.smoke",
        "category_name": "烟感报警",
        "category_name_en": "Smoke alarm",
        "level": "red",
        "level_since": None,
        "class": "A",
        "raised_at": scenes.at(-minutes),
        "cleared_at": None,
        "late": False,
        "repeats": 0,
        "acknowledged_at": None,
        "acknowledged_by": None,
        "triage": "done",
        "state": "UNACK",
        "suppressed": None,
        "incident": None,
        "exercise": False,
        "drill": None,
        "unclaimed": False,
        "shelf": None,
        "first_out": False,
        **changed,
    }


def flood() -> dict[str, Any]:
    """Fourteen alarms of ten minutes with three causes, and older ones: acknowledged, returned unacknowledged."""
    silent = {"category": "device.silent", "category_name": "设备失联", "category_name_en": "Device silent"}
    rows = [alarm(n, 4 - n / 10, incident=8, cell="C8", first_out=n == 1) for n in range(1, 7)]
    rows += [alarm(n, 2, rule="silent-camera", **{**silent, "class": "C"}) for n in range(11, 17)]
    rows += [
        alarm(
            21,
            1,
            rule="person",
            category="public.person",
            category_name="人员闯入",
            category_name_en="Person",
        )
    ]
    rows += [alarm(22, 1, repeats=3, **{"class": None}, device=None, rule="self-check", category="system.ingest",
                   category_name="接入异常", category_name_en="Ingest", device_name="")]  # fmt: skip
    rows += [alarm(31, 300, state="ACKED", acknowledged_at=scenes.at(-290))]
    rows += [alarm(32, 200, state="RTNUN", cleared_at=scenes.at(-100), device_name=LONG_ZH[:80])]
    return {str(row["id"]): row for row in rows}


def answered(centre: MockCentre) -> None:
    """What the pages beside the lists ask for."""
    empty: dict[str, Any] = {"items": [], "next": None}
    shelf = {"until": scenes.at(90), "reason": "探头清洗", "by": "user:1"}
    silent = alarm(41, 60, state="SHLVD", shelf=shelf)
    centre.answers |= {
        "/api/units": {
            "items": [
                {"code": "U1", "name": "街道应急办", "name_en": "Street office", "open_incidents": 3},
                {"code": "U2", "name": "区消防大队", "name_en": "Fire brigade", "open_incidents": 0},
            ],
            "next": None,
        },
        "/api/alarms": {"items": [silent], "next": None},
    }
    for number in (1, 5, 8, 9, 13):
        if str(number) not in centre.hub.topics["incident"]:
            continue
        one = f"/api/incidents/{number}"
        centre.answers[one] = {**centre.hub.topics["incident"][str(number)], **DETAIL}
        for part in ("timeline", "clocks", "links", "candidates"):
            centre.answers[f"{one}/{part}"] = empty
    for number in (1, 21):
        centre.answers[f"/api/alarms/{number}"] = flood()[str(number)]
        centre.answers[f"/api/alarms/{number}/why"] = {
            "sentence": "烟雾 75.5 % ≥ 限值 70 %；尚未恢复。",
            "sentence_en": "Smoke 75.5 % >= the limit 70 %; it still stands.",
            "notes": [],
        }


def outcome(action: str, done: list[int], refused: dict[int, tuple[str, str]]) -> dict[str, Any]:
    """The answer to a bulk request."""
    plain = {"reason": "", "reason_en": "", "field": "", "state": "", "allowed": []}
    items = [{"id": one, "outcome": "done", **plain} for one in done]
    items += [
        {**plain, "id": one, "outcome": "refused", "reason": zh, "reason_en": en}
        for one, (zh, en) in refused.items()
    ]
    return {"action": action, "done": len(done), "refused": len(refused), "changed": 0, "items": items}
