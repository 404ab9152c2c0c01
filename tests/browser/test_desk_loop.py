"""The loop on the desk: suggestions, requests, clocks, a handler's own work, intake."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser import scenes
from tests.browser.mock_centre import MockCentre
from tests.browser.test_desk import TIMELINE, assert_fits, desk, logged_in, opened

__all__ = ["desk"]  # the fixture

OpenPage = Callable[..., Page]
SUGGESTION = {
    "incident": 8,
    "unit": {
        "code": "U2",
        "name": "区消防大队",
        "name_en": "Fire brigade",
        "phone": "0755-0000003",
        "full": False,
        "capacity": None,
    },
    "co_units": [
        {
            "code": "U1",
            "name": "街道应急办",
            "name_en": "Street office",
            "phone": "",
            "full": False,
            "capacity": 3,
        }
    ],
    "reason": "职责清单：fire × 全区",
    "reason_en": "by the list: fire × district",
    "alternatives": [
        {
            "unit": {
                "code": "U1",
                "name": "街道应急办",
                "name_en": "Street office",
                "phone": "",
                "full": True,
                "capacity": 3,
            },
            "reason": "已满负荷",
            "reason_en": "full",
        }
    ],
    "nearby": [
        {
            "id": 3,
            "number": "20261121-0003",
            "state": "arrived",
            "class": "C",
            "category": "facility.road",
            "title": "路面破损",
            "unit_name": "区消防大队",
            "unit_name_en": "Fire brigade",
            "same_unit": True,
            "metres": 120,
        }
    ],
}
WISH = {
    "id": 31,
    "incident": 8,
    "number": "20261121-0008",
    "incident_state": "acknowledged",
    "class": "A",
    "category": "fire.smoke",
    "ask": "extend",
    "unit": "U1",
    "unit_name": "街道应急办",
    "unit_name_en": "Street office",
    "to_unit": None,
    "to_unit_name": None,
    "to_unit_name_en": None,
    "limit": "2wd",
    "state": "open",
    "asked_by": "赵工",
    "asked_at": scenes.at(-3),
    "answer_due_at": scenes.at(60),
}
CANDIDATE = {
    "id": 3,
    "number": "20261121-0003",
    "score": 0.8,
    "certain": True,
    "reasons": ["同一网格"],
    "reasons_en": ["same cell"],
    "class": "C",
    "state": "arrived",
    "category_name": "路面破损",
    "category_name_en": "Road damage",
    "cell_name": "第000000网格",
    "opened_at": scenes.at(-30),
}


def in_state(desk: MockCentre, state: str, *allowed: str, **more: Any) -> None:
    desk.answers["/api/incidents/8"] |= {"state": state, "allowed": list(allowed), **more}


def test_the_lane_is_dispatched_as_suggested_with_one_click(desk: MockCentre, open_page: OpenPage) -> None:
    in_state(desk, "returned", "dispatch", "comment", unit=None)
    desk.answers["/api/incidents/8/suggestion"] = SUGGESTION
    page = opened(logged_in(desk, open_page, 1920, 1080))
    suggestion = page.locator(".suggestion")
    for words in ("职责清单：fire × 全区", "协办单位: 街道应急办", "120 米", "为何不选"):
        expect(suggestion).to_contain_text(words)
    assert_fits(page)
    suggestion.get_by_role("button", name="派遣给 区消防大队").click()
    expect(suggestion.get_by_role("button", name="派遣给 区消防大队")).to_be_enabled()
    body = {"unit": "U2", "reason": "职责清单：fire × 全区", "co_units": ["U1"]}
    assert desk.heard(1) == [("POST", "/api/incidents/8/dispatch", body)]
    assert desk.versions == ['"1"']


def test_what_waits_is_approved_and_refused_where_it_is_listed(desk: MockCentre, open_page: OpenPage) -> None:
    in_state(desk, "acknowledged", "extend", "approve", "refuse", "comment", asked=["extend"])
    desk.answers["/api/requests"] = {"items": [WISH], "next": None}
    asked = {
        "seq": 3,
        "at": scenes.at(-3),
        "kind": "extend_asked",
        "actor": "赵工",
        "reason": "等待材料",
        "detail": {},
    }
    desk.answers["/api/incidents/8/timeline"] = {"items": [*TIMELINE, asked]}
    page = logged_in(desk, open_page, 1920, 1080, role="supervisor")
    page.get_by_role("navigation").get_by_role("link", name="待审批").click()
    page.locator("[data-wish='31'] button").click()
    waiting = page.get_by_role("region", name="待批申请")
    for words in ("延期", "2 工作日", "等待材料", "赵工"):
        expect(waiting).to_contain_text(words)
    assert_fits(page)
    waiting.get_by_role("button", name="不批准").click()
    page.get_by_role("button", name="确定").click()
    expect(page.get_by_role("alert")).to_contain_text("请填写原因")
    page.get_by_label("原因").fill("材料已到")
    page.get_by_role("button", name="确定").click()
    expect(page.locator(".page form")).to_have_count(0)
    waiting.get_by_role("button", name="批准", exact=True).click()
    assert desk.heard(2) == [
        ("POST", "/api/incidents/8/refuse", {"request": 31, "reason": "材料已到"}),
        ("POST", "/api/incidents/8/approve", {"request": 31}),
    ]


def test_clocks_say_what_is_left_and_what_is_provisional(desk: MockCentre, open_page: OpenPage) -> None:
    page = opened(logged_in(desk, open_page))
    clocks = page.locator("h3:has-text('时限') + ul li")
    expect(clocks).to_have_count(2)
    expect(clocks.first).to_contain_text("签收")
    expect(clocks.first).to_contain_text("催办处置单位")
    expect(clocks.last).to_contain_text("3 工作日 · 工作时间 暂定")


def test_a_conflict_says_what_is_possible_now(desk: MockCentre, open_page: OpenPage) -> None:
    in_state(desk, "acknowledged", "suspend")
    page = opened(logged_in(desk, open_page))
    gone = {
        "title": "Conflict",
        "title_zh": "冲突",
        "detail": "handled",
        "detail_zh": "已处置",
        "allowed": ["archive"],
    }
    desk.refuse["/api/incidents/8/suspend"] = (409, gone)
    page.get_by_role("button", name="挂账").click()
    page.get_by_role("spinbutton", name="时长").fill("5")
    page.get_by_label("时间单位").select_option("wh")
    page.get_by_role("button", name="确定").click()
    expect(page.get_by_role("alert")).to_contain_text("现在可以：归档")
    assert desk.asked == [("POST", "/api/incidents/8/suspend", {"limit": "5wh"})]


def test_a_handler_sees_the_own_units_work_in_large_buttons(desk: MockCentre, open_page: OpenPage) -> None:
    in_state(desk, "dispatched", "acknowledge", "arrive", "handle", "return", "comment")
    desk.hub.topics["incident"]["8"]["unit"] = "U2"
    desk.user = {"name": "zhao", "display_name": "赵工", "role": "handler", "unit": "U2"}
    page = open_page(f"{desk.url}/desk", 390, 844)
    expect(page.locator("[data-row]")).to_have_count(1)
    page.locator("[data-row='8']").click()
    expect(page.locator(".large button")).to_have_text(["签收", "到场", "处置完毕", "申请回退", "备注"])
    height: Any = page.locator(".large button").first.evaluate(
        "(button) => button.getBoundingClientRect().height"
    )
    assert height >= 48
    assert_fits(page)


def test_a_report_is_taken_by_keys_alone_and_shows_what_it_may_be(
    desk: MockCentre, open_page: OpenPage
) -> None:
    choices = [("facility", 1, "市政设施"), ("facility.road", 2, "路面破损")]
    desk.answers |= {
        "/api/report-categories": {
            "items": [
                {"code": code, "level": level, "name": name, "name_en": code, "nature": None}
                for code, level, name in choices
            ],
            "next": None,
        },
        "/api/candidates": {"items": [CANDIDATE], "next": None},
        "/api/reports": {
            "items": [],
            "next": None,
            "tracking": "7K3Q-M9XA-42TBC",
            "incident": 9,
            "number": "N9",
            "joined": True,
        },
    }
    page = logged_in(desk, open_page, 1920, 1080)
    page.get_by_role("navigation").get_by_role("link", name="受理").click()
    expect(page.get_by_label("情况说明")).to_be_focused()
    page.keyboard.type("路上有个坑")
    page.keyboard.press("Tab")
    page.keyboard.type("路面")
    page.keyboard.press("Enter")
    page.get_by_role("combobox", name="网格").fill("第000000网格")
    page.keyboard.press("Enter")
    expect(page.locator("[data-candidate='3']")).to_contain_text("同一网格")
    assert_fits(page)
    page.keyboard.press("Control+Enter")
    expect(page.locator(".taken")).to_contain_text("7K3Q-M9XA-42TBC · 并入事件 N9")
    assert (
        "POST",
        "/api/candidates",
        {"category": "facility.road", "cell": "C000000", "text": "路上有个坑"},
    ) in desk.asked
