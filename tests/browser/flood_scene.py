"""A district in a flood, as the routes of the flood desk answer: two hundred stations, all kinds of trouble."""

import math
from typing import Any

from tests.browser import scenes
from tests.browser.mock_centre import MockCentre

LONG = (
    "青溪河东段第二橡胶坝下游左岸三百米处自动监测水位站"
    "（原人民桥水文观测断面，与区气象局雨量观测场共用，二〇二四年迁建）"
)
LONG_EN = "Qing River east reach, automatic gauge 300 m below the second rubber dam on the left bank"
SHOWN = ("W001", "W002", "W008", "W010")  # the stations whose pages are looked at
RIVERS = (("青溪", "Qing"), ("白河", "Bai"), ("龙岗河", "Longgang"), ("石桥涵洞", "Stone Bridge Culvert"))


def stations(count: int = 200) -> dict[str, dict[str, Any]]:
    """Live rows by code: three above a level, some soon there, a silent, a doubtful, an unset one and a slope."""
    made: dict[str, dict[str, Any]] = {}
    for n in range(count):
        name, name_en = RIVERS[n % len(RIVERS)]
        row = scenes.station(
            f"W{n:03}", f"{name}{n}号站", f"{name_en} station {n}", round(2.0 - n * 0.007, 2), 3.0
        )
        made[row["code"]] = {**row, "cell": f"C{n % 30:03}{n // 30:03}", "rise_m_h": round(0.02 * (n % 4), 2)}
    special: dict[str, dict[str, Any]] = {
        "W000": {"level_m": 4.25, "state": "record", "margin_m": -1.25},
        "W001": {"level_m": 3.52, "state": "guaranteed", "margin_m": -0.52, "name": LONG, "name_en": LONG_EN},
        "W002": {"level_m": 3.12, "state": "warning", "margin_m": -0.12, "rise_m_h": 0.31},
        "W003": {"level_m": 2.71, "margin_m": 0.29, "rise_m_h": 0.14},
        "W004": {"level_m": 2.55, "margin_m": 0.45, "rise_m_h": 0.09},
        "W005": {"state": "silent", "margin_m": None, "observed_at": scenes.at(-190), "rise_m_h": None},
        "W006": {"suspect": "flat", "margin_m": None, "state": "silent", "rise_m_h": None},
        "W007": {"suspect": "step", "margin_m": None, "rise_m_h": None},
        "W008": {"state": "unset", "margin_m": None, "warning_m": None, "guaranteed_m": None, "highest_m": None},
        "W009": {"forecast_at": scenes.at(-55)},
        "W010": {"state": "silent", "level_m": None, "observed_at": None, "margin_m": None, "rise_m_h": None},
        "W011": {"station_kind": "landslide", "state": "unset", "level_m": None, "margin_m": None,
                 "warning_m": None, "guaranteed_m": None, "highest_m": None, "rise_m_h": None},
    }  # fmt: skip
    for code, changed in special.items():
        if code in made:
            made[code] |= changed
    return made


def detailed(live: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The same as /api/stations answers them."""
    ahead = {
        "W002": {"guaranteed": reach(100, 55), "highest": reach(None, 250)},
        "W003": {"warning": reach(70, 40), "guaranteed": reach(None, 150)},
        "W004": {"warning": reach(210, 95)},
        "W001": {"highest": reach(None, 120)},
        "W012": {"warning": reach(None, 320)},
    }
    return [
        {
            **row,
            "station_kind_name": "河道",
            "station_kind_name_en": "River",
            "time_to_level": ahead.get(code, {}),
            "forecast_peak_m": None if row["level_m"] is None else round(row["level_m"] + 0.4, 2),
            "forecast_peak_at": scenes.at(300),
            "refused": "读数不变，暂不预报" if row["suspect"] == "flat" else None,
            "refused_en": "the gauge stands still" if row["suspect"] == "flat" else None,
            "reading": {"metric": "displacement", "unit": "mm", "value": 4.2},
            "skill": {},
        }
        for code, row in live.items()
    ]


def reach(minutes: float | None, earliest: float) -> dict[str, Any]:
    return {
        "seconds": None if minutes is None else minutes * 60,
        "at": None if minutes is None else scenes.at(minutes),
        "earliest_at": scenes.at(earliest),
    }


def gauges(live: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    nothing = {"lon": None, "lat": None, "mm_1h": None, "mm_3h": None, "mm_24h": None, "observed_at": None}
    water = [
        {**nothing, "code": code, "name": row["name"], "is_station": True, "is_rain": False,
         "cell": row["cell"], "cell_name": row["cell"]}
        for code, row in live.items()
    ]  # fmt: skip
    rain = [
        {**nothing, "code": f"R{n}", "name": f"雨量{n}站", "is_station": False, "is_rain": True,
         "cell": f"C{n:03}005", "cell_name": "",
         **({"mm_1h": 31.5 - n, "mm_3h": 62.0 - n, "mm_24h": 128.5 - n, "observed_at": scenes.at(-3)} if n else {})}
        for n in range(15)
    ]  # fmt: skip
    return [*water, *rain]


def hydrograph(row: dict[str, Any]) -> dict[str, Any]:
    """As the station page asks for it: rain, water upstream, marks, skill."""
    shown = {**row, "level_m": row["level_m"] or 2.0}
    drawn = scenes.hydrograph(shown)
    rain = [[scenes.at(-10 * n), round(max(0.0, 6 * math.sin(n / 20)), 1)] for n in range(143, 0, -1)]
    upstream = [
        {"code": f"U{u}", "name": f"上游{u}站", "travel_min": 40 * u,
         "observed": [[scenes.at(-10 * n), round(4 + u * 0.5 + 0.3 * math.sin((n + u * 6) / 25), 2)]
                      for n in range(143, 0, -1)]}
        for u in (1, 2)
    ]  # fmt: skip
    skill = {"judged": 240, "rmse_m": 0.06, "rmse_persistence_m": 0.15, "skill": 0.84, "coverage": 0.81}
    return {
        **drawn,
        "from": scenes.at(-1440),
        "to": scenes.at(0),
        "levels": {
            "zero_m": 0.0, "warning_m": row["warning_m"], "guaranteed_m": row["guaranteed_m"],
            "highest_m": row["highest_m"], "bank_m": None, "design_m": None,
        },
        "rain": rain,
        "upstream": upstream,
        "forecast_info": {
            **drawn["forecast_info"], "basis": "回归模型，含上游与降雨", "basis_en": "regression, upstream, rain",
            "degraded": ["R3/rain"], "skill_30d": {"1h": skill, "3h": {**skill, "rmse_m": 0.12, "coverage": 0.79}},
        },
        "marks": [{"from": scenes.at(-600), "to": scenes.at(-590), "kind": "spike",
                   "text": "尖峰 9.00 m，后续读数未证实", "text_en": "spike of 9.00 m, not confirmed"}],
    }  # fmt: skip


def response(*, is_open: bool = True) -> dict[str, Any]:
    words = "建议启动Ⅲ级（现Ⅳ级）：三站及以上超警戒（青溪0号站 4.25 m ≥ 3.00 m）"
    return {
        "level": "IV", "since": scenes.at(-200), "by": "张值班", "reason": "台风外围影响", "version": 3,
        "proposal": {
            "id": 9, "at": scenes.at(-4), "level": "III", "words": words,
            "words_en": "Propose level III (now level IV): three stations over the warning level",
            "open": is_open, "answered_at": None, "answered_by": None,
            "fired": [{
                "id": "stations-warning-3", "level": "III", "words": words, "words_en": "three stations",
                "definition": {"name": "三站及以上超警戒", "name_en": "Three stations over the warning level",
                               "source": "一站可能是堵了的格栅，三站是洪水"},
                "seen": [{"text": "青溪0号站 4.25 m ≥ 3.00 m", "text_en": "Qing 0: 4.25 m ≥ 3.00 m"}],
            }],
        },
        "history": [{"id": 3, "at": scenes.at(-200), "level": "IV", "previous": None, "action": "confirm",
                     "actor": "张值班", "reason": "台风外围影响"}],
    }  # fmt: skip


CAP = """<?xml version="1.0" encoding="UTF-8"?>
<alert xmlns="urn:oasis:names:tc:emergency:cap:1.2"><identifier>440399-flood-1</identifier>
<sender>flood@440399.city</sender><sent>2026-11-22T08:15:00+08:00</sent><status>Actual</status>
<msgType>Alert</msgType><scope>Public</scope>
<info><language>zh-CN</language><category>Met</category><event>洪水</event><responseType>Prepare</responseType>
<urgency>Expected</urgency><severity>Moderate</severity><certainty>Likely</certainty>
<expires>2026-11-22T20:15:00+08:00</expires><senderName>示范区三防指挥部</senderName>
<headline>东街洪水黄色预警</headline><description>青溪水位 3.12 m，超警戒 0.12 m。
预计三小时内继续上涨。</description><instruction>请远离河岸。</instruction>
<parameter><valueName>colour</valueName><value>yellow</value></parameter>
<area><areaDesc>东街</areaDesc><geocode><valueName>city:street</valueName><value>S1</value></geocode></area></info>
<info><language>en</language><category>Met</category><event>Flood</event><responseType>Prepare</responseType>
<urgency>Expected</urgency><severity>Moderate</severity><certainty>Likely</certainty>
<expires>2026-11-22T20:15:00+08:00</expires><senderName>Flood command</senderName>
<headline>Yellow flood warning for East Street</headline><description>Qing at 3.12 m.</description>
<instruction>Keep away from the banks.</instruction>
<parameter><valueName>colour</valueName><value>yellow</value></parameter>
<area><areaDesc>East Street</areaDesc></area></info></alert>"""


def warning(number: int, state: str, **changed: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": number, "state": state, "colour": "yellow", "exercise": False,
        "content": {"headline": "", "areas": ["S1"], "stations": ["W002"], "hazard": "flood"},
        "expires_at": scenes.at(400), "created_at": scenes.at(-20), "created_by": "张值班", "ended_at": None,
        "version": 1, "messages": [], **changed,
    }  # fmt: skip
    if state == "draft":
        shown["preview"] = {"xml": CAP, "headline": "东街洪水黄色预警", "headline_en": "x", "problems": []}
    elif state == "issued":
        shown["messages"] = [{
            "identifier": f"440399-flood-{number}", "message_type": "Alert", "sent": scenes.at(-10),
            "colour": "yellow", "headline": "东街洪水黄色预警", "headline_en": "Yellow flood warning for East Street",
            "reason": "会商决定", "actor": "张值班", "href": f"/cap/440399-flood-{number}.xml", "sha256": "0" * 64,
        }]  # fmt: skip
    return shown


def task(number: int, **changed: Any) -> dict[str, Any]:
    return {
        "id": number, "kind": "evacuate", "incident": 40 + number, "number": f"20261122-{number:04}",
        "state": "dispatched", "due_at": scenes.at(60), "deadline": scenes.at(-5 if number == 1 else 90),
        "reason": "河水漫堤", "note": "老人优先", "exercise": False, "opened_at": scenes.at(-60),
        "opened_by": "张值班", "done_at": None, "version": 2, "cell": f"C00{number}001",
        "cell_name": f"第{number}网格", "street": "S1", "street_name": "东街", "unit": "U1", "unit_name": "东街办事处",
        "unit_name_en": "East Street office", "to_move": 40, "moved": 25, "absent": 3, "refused": 2, "remaining": 12,
        "reported_at": scenes.at(-8), "report_note": "", **changed,
    }  # fmt: skip


def tasks() -> dict[str, Any]:
    items = [task(1), task(2), task(3, kind="inspect", to_move=0, moved=0, absent=0, refused=0, remaining=0)]
    sums = {"tasks": 3, "done": 0, "to_move": 80, "moved": 50, "absent": 6, "refused": 4, "remaining": 24}
    return {
        "items": items,
        "next": None,
        "totals": {"district": sums, "streets": [{**sums, "code": "S1", "name": "东街"}]},
    }


def entries() -> list[dict[str, Any]]:
    def entry(number: int, minutes: float, kind: str, text: str, text_en: str, actor: str) -> dict[str, Any]:
        return {
            "id": number, "at": scenes.at(minutes), "shift": "2026-11-22 白班 day", "kind": kind, "text": text,
            "text_en": text_en, "actor": actor, "object": "", "exercise": False, "refers_to": None,
        }  # fmt: skip

    return [
        entry(5, -3, "correction", "应为 3.12 m", "", "张值班") | {"refers_to": 4},
        entry(4, -9, "note", "东街报青溪水位 3.21 m，沙袋已到位", "", "张值班"),
        entry(
            3, -20, "warning", "发布预警：东街洪水黄色预警", "Warning issued: yellow, East Street", "张值班"
        ),
        entry(2, -40, "response", "建议启动Ⅲ级：三站超警戒", "Propose level III: three stations", "system"),
        entry(
            1, -80, "station", "青溪2号站 3.05 m：超过警戒水位 3.00 m", "Qing 2 3.05 m: rose above", "system"
        ),
    ]


def flood(centre: MockCentre, count: int = 200) -> MockCentre:
    """Puts the flood into a mock centre before a page opens."""
    live = stations(count)
    state = scenes.worst()
    state["station"] = live
    state["district"]["info"]["response_level"] = "IV"
    centre.set_state(state)
    event = {"onset": scenes.at(-60 * 24 * 40), "peak": scenes.at(-60 * (24 * 40 - 9)),
             "end": scenes.at(-60 * (24 * 40 - 20)), "peak_m": 3.9, "rise_m": 0.6}  # fmt: skip
    older = {"onset": scenes.at(-60 * 24 * 90), "peak": scenes.at(-60 * (24 * 90 - 5)),
             "end": scenes.at(-60 * (24 * 90 - 12)), "peak_m": 3.4, "rise_m": None}  # fmt: skip
    centre.answers |= {
        "/api/stations": {"items": detailed(live), "next": None},
        "/api/flood/gauges": {"items": gauges(live), "next": None},
        "/api/flood/response": response(),
        "/api/flood/warnings": {"items": [warning(7, "issued")], "next": None},
        "/api/flood/warnings/7": warning(7, "issued"),
        "/api/flood/warnings/8": warning(8, "draft"),
        "/api/flood/tasks": tasks(),
        "/api/flood/tasks/1": {**task(1), "reports": [], "suggestion": None},
        "/api/flood/headcounts": {"items": [{"cell": "C001001", "cell_name": "第1网格", "to_move": 40, "note": ""},
                                            {"cell": "C005001", "cell_name": "第5网格", "to_move": 12, "note": ""}]},
        "/api/flood/duty-log": {"items": entries(), "next": None},
        "/api/cells": {"items": [{"code": "S1", "name": "东街", "name_en": "East Street", "parent": None,
                                  "level": "street"}], "next": None},
    }  # fmt: skip
    for code in SHOWN:
        centre.answers[f"/api/stations/{code}/hydrograph"] = hydrograph(live[code])
        centre.answers[f"/api/stations/{code}/events"] = {
            "level_m": 3.0,
            "items": [event, older],
            "next": None,
        }
    return centre
