"""The duty desk: log-in, list, keys, actions and their refusals, devices, quarantine; at any size."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser import geometry, scenes
from tests.browser.mock_centre import MockCentre

OpenPage = Callable[..., Page]
SIZES = [(390, 844), (1280, 720), (1920, 1080)]
TIMELINE = [
    {
        "seq": 1,
        "at": scenes.at(-9),
        "kind": "opened",
        "actor": "system",
        "reason": "烟感 41 ≥ 30",
        "detail": {},
    },
    {
        "seq": 2,
        "at": scenes.at(-8),
        "kind": "dispatched",
        "actor": "system",
        "reason": "",
        "detail": {"unit": "U1"},
    },
]


CLOCKS = [
    {
        "id": 1,
        "stage": "acknowledge",
        "limit": "15m",
        "started_at": scenes.at(-8),
        "due_at": scenes.at(7),
        "left_minutes": 7,
        "overdue": False,
        "paused": False,
        "ended_at": None,
        "outcome": None,
        "provisional": False,
        "next": {"at": scenes.at(7), "words": "11-22 12:00 催办处置单位", "words_en": "urge the unit"},
    },
    {
        "id": 2,
        "stage": "handle",
        "limit": "3wd",
        "started_at": scenes.at(-8),
        "due_at": scenes.at(4000),
        "left_minutes": 1440,
        "overdue": False,
        "paused": False,
        "ended_at": None,
        "outcome": None,
        "provisional": True,
        "next": None,
    },
]


# Over sixty lines because it is the whole of what a desk is answered.
@pytest.fixture
def desk(centre: MockCentre) -> MockCentre:
    """Incident 1 may be acted on; a unit, a device and a quarantined message are there."""
    centre.answers |= {
        "/api/incidents/8": {
            **centre.hub.topics["incident"]["8"],
            "unit_phone": "0755-0000001",
            "unit_lead_phone": "0755-0000002",
            "version": 1,
            "allowed": ["acknowledge", "dispatch", "comment", "handle", "void"],
        },
        "/api/incidents/8/timeline": {"items": TIMELINE},
        "/api/incidents/8/clocks": {"items": CLOCKS, "next": None},
        "/api/alarms": {
            "items": [
                {
                    "id": 5,
                    "rule": "smoke.high",
                    "device": "smoke-0008",
                    "raised_at": scenes.at(-9),
                    "cleared_at": None,
                }
            ],
            "next": None,
        },
        "/api/units": {
            "items": [
                {"code": "U1", "name": "街道应急办", "name_en": "Street office", "open_incidents": 3},
                {"code": "U2", "name": "区消防大队", "name_en": "Fire brigade", "open_incidents": 0},
            ],
            "next": None,
        },
        "/api/devices": {
            "items": [
                {
                    "code": "smoke-0008",
                    "kind": "smoke",
                    "cell": "C1",
                    "name": "",
                    "registration": "unclaimed",
                    "service_state": "in_service",
                    "service_until": None,
                    "service_reason": "",
                    "last_heard_at": None,
                    "online": False,
                }
            ],
            "next": None,
        },
        "/api/quarantine": {
            "items": [
                {
                    "id": 71,
                    "topic": "city/C1/smoke/x",
                    "reason": "not JSON",
                    "received_at": scenes.at(-1),
                    "text": "{",
                    "replay_requested_at": None,
                    "replayed_at": None,
                    "outcome": None,
                }
            ],
            "next": None,
        },
    }
    return centre


def logged_in(
    centre: MockCentre,
    open_page: OpenPage,
    width: int = 1600,
    height: int = 900,
    role: str = "dispatcher",
) -> Page:
    centre.user = {"name": "zhang", "display_name": "张值班", "role": role}
    page = open_page(f"{centre.url}/desk", width, height)
    page.wait_for_selector("[data-row]")
    return page


def opened(page: Page) -> Page:
    page.locator("[data-row='8']").click()
    expect(page.locator(".page h2")).to_contain_text("烟感报警")
    return page


def test_a_wrong_password_is_explained_and_a_right_one_lets_in(desk: MockCentre, open_page: OpenPage) -> None:
    page = open_page(f"{desk.url}/desk")
    page.get_by_label("用户名").fill("zhang")
    page.get_by_label("密码").fill("wrong")
    page.get_by_role("button", name="登录").click()
    expect(page.get_by_role("alert")).to_contain_text("用户名或密码不对")
    page.get_by_label("密码").fill("right")
    page.get_by_role("button", name="登录").click()
    expect(page.locator("header")).to_contain_text("分拨员")
    expect(page.locator("[data-row]")).to_have_count(14)

    page.get_by_role("button", name="退出").click()
    expect(page.get_by_label("用户名")).to_be_visible()


def test_a_password_set_by_somebody_else_must_be_changed_first(desk: MockCentre, open_page: OpenPage) -> None:
    desk.user = {"name": "zhang", "display_name": "张值班", "role": "administrator", "must_change": True}
    page = open_page(f"{desk.url}/desk")
    expect(page.locator("form")).to_contain_text("请先设置自己的密码")
    page.get_by_label("当前密码").fill("one-time-secret")
    page.get_by_label("新密码（至少").fill("long enough by far 1")
    page.get_by_label("再输入一次").fill("long enough by far 2")
    page.get_by_role("button", name="确定").click()
    expect(page.get_by_role("alert")).to_contain_text("两次输入的新密码不同")
    page.get_by_label("再输入一次").fill("long enough by far 1")
    desk.user.pop("must_change")
    page.get_by_role("button", name="确定").click()
    expect(page.locator("[data-row]")).to_have_count(14)
    changed = {"current": "one-time-secret", "new": "long enough by far 1"}
    assert desk.asked == [("POST", "/api/session/password", changed)]


def test_sorting(desk: MockCentre, open_page: OpenPage) -> None:
    page = logged_in(desk, open_page)
    first = page.locator("[data-row]").first
    expect(first).to_have_attribute("data-row", "4")  # first class, nobody has acknowledged, soonest due
    page.get_by_role("button", name="时限").click()
    expect(first).to_have_attribute("data-row", "1")
    page.get_by_role("button", name="时长").click()
    expect(first).to_have_attribute("data-row", "14")


def test_the_unassigned_lane_shows_why(desk: MockCentre, open_page: OpenPage) -> None:
    page = logged_in(desk, open_page)
    page.get_by_role("navigation").get_by_role("link", name="未分派").click()
    expect(page.locator("[data-row]")).to_have_count(1)
    expect(page.locator("[data-row='4']")).to_contain_text("该网格没有责任单位")


def test_the_incident_page_says_who_when_why(desk: MockCentre, open_page: OpenPage) -> None:
    page = opened(logged_in(desk, open_page))
    for words in ("0755-0000001", "0755-0000002", "按职责清单", "烟感 41 ≥ 30", "smoke.high", "smoke-0008"):
        expect(page.locator(".page")).to_contain_text(words)


def test_keys_alone_acknowledge(desk: MockCentre, open_page: OpenPage) -> None:
    page = logged_in(desk, open_page)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("下一行")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_have_count(0)
    for _ in range(3):
        page.keyboard.press("j")
    page.keyboard.press("k")
    expect(page.locator(".cursor")).to_have_attribute("data-row", "8")
    page.keyboard.press("Enter")
    expect(page.locator(".page h2")).to_contain_text("烟感报警")
    page.keyboard.press("a")
    page.get_by_role("button", name="确定").click()
    expect(page.locator("form")).to_have_count(0)
    assert desk.asked == [("POST", "/api/incidents/8/acknowledge", {})]


def test_dispatch_names_unit_and_reason(desk: MockCentre, open_page: OpenPage) -> None:
    page = opened(logged_in(desk, open_page))
    page.keyboard.press("d")
    page.get_by_role("button", name="确定").click()
    expect(page.get_by_role("alert").filter(has_text="请选择单位")).to_be_visible()
    page.get_by_label("责任单位").select_option("U2")
    page.get_by_label("原因").fill("火势扩大")
    page.get_by_role("button", name="确定").click()
    expect(page.locator("form")).to_have_count(0)
    assert desk.asked == [("POST", "/api/incidents/8/dispatch", {"unit": "U2", "reason": "火势扩大"})]
    assert desk.versions == ['"1"']  # refused by the centre if somebody else was faster


def test_a_refusal_is_readable_and_keeps_what_was_typed(desk: MockCentre, open_page: OpenPage) -> None:
    page = opened(logged_in(desk, open_page))
    conflict = {
        "title": "Conflict",
        "title_zh": "与当前状态冲突",
        "detail": "the incident is archived",
        "detail_zh": "事件已归档",
    }
    desk.refuse["/api/incidents/8/comment"] = (409, conflict)
    page.get_by_role("button", name="备注").click()
    page.get_by_label("备注").fill("现场已核实")
    page.get_by_role("button", name="确定").click()
    expect(page.get_by_role("alert")).to_contain_text("与当前状态冲突: 事件已归档")
    expect(page.get_by_label("备注")).to_have_value("现场已核实")


def test_only_what_is_allowed_is_offered(desk: MockCentre, open_page: OpenPage) -> None:
    desk.answers["/api/incidents/8"]["allowed"] = ["comment"]
    page = opened(logged_in(desk, open_page))
    buttons = page.locator(".page .actions button")
    expect(buttons).to_have_count(1)
    expect(buttons).to_have_text(re.compile("^备注"))
    page.keyboard.press("a")
    expect(page.locator("form")).to_have_count(0)


def test_an_ended_session_asks_to_log_in_again(desk: MockCentre, open_page: OpenPage) -> None:
    page = opened(logged_in(desk, open_page))
    desk.refuse["/api/incidents/8/void"] = (401, {"title": "Log in"})
    page.get_by_role("button", name="作废").click()
    page.get_by_label("原因").fill("误报")
    page.get_by_role("button", name="确定").click()
    expect(page.get_by_label("用户名")).to_be_visible()


def test_the_open_incident_follows_the_centre(desk: MockCentre, open_page: OpenPage) -> None:
    page = opened(logged_in(desk, open_page))
    page.get_by_role("button", name="备注").click()
    page.get_by_label("备注").fill("正在写")
    handled = {
        "seq": 3,
        "at": scenes.at(0),
        "kind": "handled",
        "actor": "li",
        "reason": "已扑灭",
        "detail": None,
    }
    desk.answers["/api/incidents/8/timeline"] = {"items": [*TIMELINE, handled]}
    desk.publish({"incident": {"8": {**desk.hub.topics["incident"]["8"], "state": "handled"}}})
    expect(page.locator(".page")).to_contain_text("已扑灭")
    expect(page.get_by_label("备注")).to_have_value("正在写")  # what a person types survives the news


def test_a_device_is_put_under_test_with_end_and_reason(desk: MockCentre, open_page: OpenPage) -> None:
    page = logged_in(desk, open_page)
    page.get_by_role("navigation").get_by_role("link", name="设备").click()
    page.get_by_role("button", name="变更使用状态").click()
    page.get_by_role("button", name="确定").click()
    expect(page.get_by_role("alert")).to_contain_text("请填写原因")
    page.get_by_label("原因").fill("安装调试")
    page.get_by_role("button", name="确定").click()
    expect(page.get_by_role("status")).to_contain_text("已保存")
    method, path, body = desk.asked[-1]
    assert (method, path, body["state"], body["reason"]) == (
        "POST",
        "/api/devices/smoke-0008/service",
        "under_test",
        "安装调试",
    )
    assert body["until"] > scenes.at(0)[:16]


def test_quarantine_is_shown_and_replayed(desk: MockCentre, open_page: OpenPage) -> None:
    page = logged_in(desk, open_page, role="administrator")
    page.get_by_role("navigation").get_by_role("link", name="隔离消息").click()
    expect(page.locator("table")).to_contain_text("not JSON")
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="重放所选").click()
    expect(page.get_by_role("status")).to_contain_text("已提交重放")
    assert desk.asked == [("POST", "/api/quarantine/replay", {"ids": [71]})]


def test_the_desk_fits(desk: MockCentre, open_page: OpenPage) -> None:
    page = logged_in(desk, open_page, *SIZES[0])
    assert_fits(page)
    opened(page)
    assert_fits(page)


def assert_fits(page: Page) -> None:
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_function("(width) => innerWidth === width", arg=width)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, width
        assert geometry.settled(geometry.cut_texts, page) == [], width
        assert geometry.settled(geometry.overlapping_texts, page) == [], width
