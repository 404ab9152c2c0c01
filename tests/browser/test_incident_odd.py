"""The incident's page with what goes wrong: others' hands, lost log-ins, storms of alarms, no place, no picture."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import axe, desk_scene, geometry, scenes
from tests.browser.mock_centre import MockCentre
from tests.browser.test_desk import TIMELINE, desk, logged_in

__all__ = ["desk"]  # the fixture

OpenPage = Callable[..., Page]
STALE = {
    "title": "Precondition Failed",
    "title_zh": "已被他人修改",
    "detail": "incident is at version 2, not 1: read it again",
    "detail_zh": "事件已被他人修改（版本2），请刷新",
    "allowed": ["arrive", "comment"],
}


def incident_page(desk: MockCentre, open_page: OpenPage) -> Page:
    page = logged_in(desk, open_page)
    page.evaluate(
        "history.pushState(null, '', '/desk/incidents/8'); dispatchEvent(new PopStateEvent('popstate'))"
    )
    expect(page.locator("article")).to_be_visible()
    return page


def alarm(number: int, **changes: Any) -> dict[str, Any]:
    raised = {
        "id": number,
        "rule": "smoke.high",
        "device": f"smoke-{number // 3:04}",
        "metric": "smoke",
        "raised_at": scenes.at(-60 + number / 10),
        "cleared_at": None,
        "evidence": {"value": 81.5, "url": "http://cam.example/x.jpg"},
    }
    return raised | changes


def test_another_hand_is_shown_and_the_words_stay(desk: MockCentre, open_page: OpenPage) -> None:
    desk.answers["/api/incidents/8"]["allowed"] = ["handle", "comment"]
    page = incident_page(desk, open_page)
    page.get_by_role("button", name="处置完毕", exact=True).click()
    page.get_by_label("备注").fill("门窗已打开，正在排烟")
    desk.refuse["/api/incidents/8/handle"] = (412, STALE)
    done = {
        "seq": 3,
        "at": scenes.at(0),
        "kind": "dispatched",
        "actor": "王五",
        "reason": "改派二队",
        "detail": {},
    }
    desk.answers["/api/incidents/8/timeline"] = {"items": [*TIMELINE, done]}
    page.get_by_role("button", name="确定", exact=True).click()
    meanwhile = page.get_by_role("status", name="填写期间他人已处理")
    expect(meanwhile).to_contain_text("王五")
    expect(meanwhile).to_contain_text("改派二队")
    expect(page.get_by_role("alert")).to_contain_text("已被他人修改")
    expect(page.get_by_label("备注")).to_have_value("门窗已打开，正在排烟")
    first = desk.asked[-1]
    page.get_by_role("button", name="知道了").click()
    expect(meanwhile).to_have_count(0)

    # The log-in ends while somebody types: after another one the words are there, and they are sent.
    desk.refuse["/api/incidents/8/handle"] = (401, {"title": "Unauthorized"})
    page.get_by_role("button", name="确定", exact=True).click()
    desk.user = None
    expect(page.get_by_label("密码")).to_be_visible()
    del desk.refuse["/api/incidents/8/handle"]
    page.get_by_label("用户名").fill("zhang")
    page.get_by_label("密码").fill("right")
    page.get_by_role("button", name="登录").click()
    expect(page.get_by_label("备注")).to_have_value("门窗已打开，正在排烟")
    page.get_by_role("button", name="确定", exact=True).click()
    expect(page.get_by_label("备注")).to_have_count(0)
    assert desk.asked[-1] == first == ("POST", "/api/incidents/8/handle", {"comment": "门窗已打开，正在排烟"})


@pytest.mark.parametrize("width", [1280, pytest.param(1920, marks=pytest.mark.slow)])
def test_a_storm_of_alarms_without_place_readings_or_pictures(
    desk: MockCentre, open_page: OpenPage, width: int
) -> None:
    long = "A very long name of a place in the eastern industrial park that nobody ever shortened"
    desk.answers["/api/incidents/8"] |= {
        "cell": None,
        "cell_name": "",
        "lon": None,
        "lat": None,
        "category_name": long,
        "category_name_en": long,
        "unit_name": long,
        "unit_name_en": long,
    }
    desk.answers["/api/alarms"] = {"items": [alarm(number) for number in range(300)], "next": None}
    device = "smoke-0000"
    desk.answers[f"/api/devices/{device}/readings"] = {"items": [], "next": None}
    refused = {
        "n": 0,
        "host": "cam.example",
        "file": "x.jpg",
        "refused": "未允许从 cam.example 读取图像，请管理员将其加入 CITY_MEDIA_HOSTS",
        "refused_en": "an administrator adds it to CITY_MEDIA_HOSTS",
    }
    down = {**refused, "n": 1, "file": "down.jpg", "refused": None, "refused_en": None}
    desk.answers["/api/alarms/2/media"] = {"items": [refused, down], "next": None}
    page = incident_page(desk, open_page)
    page.set_viewport_size({"width": width, "height": 1080 if width == 1920 else 720})
    expect(page.get_by_text("位置待核实，无法显示地图")).to_be_visible()
    expect(page.get_by_role("heading", name="相关设备")).to_contain_text("100 台 · 300 条报警")
    expect(page.get_by_text("该时段无读数")).to_be_visible()
    expect(page.get_by_text("请管理员将其加入 CITY_MEDIA_HOSTS")).to_be_visible()
    page.get_by_role("button", name="查看图像 down.jpg").click()
    expect(page.get_by_role("button", name="重新读取 down.jpg")).to_be_visible()
    expect(page.locator("article details")).to_have_count(10)
    page.get_by_role("button", name="另有 90 件").click()
    expect(page.locator("article details")).to_have_count(60)
    assert not any(word in page.locator("article").inner_text() for word in ("null", "NaN", "undefined"))
    assert geometry.cut_texts(page) == []
    assert geometry.overlapping_texts(page) == []
    assert axe.violations(page) == []


WATCH_SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) for (const one of entry.sources) {
    const node = one.node?.nodeType === 1 ? one.node : one.node?.parentElement;
    if (node?.closest(".actions, article form")) window.shifts.push(node.outerHTML.slice(0, 80));
  }
}).observe({ type: "layout-shift" });
"""


def test_the_button_to_confirm_stays_where_it_is_whatever_arrives(
    desk: MockCentre, open_page: OpenPage
) -> None:
    """A click while the page still loaded once sent nothing: a flood's banner had moved the button away."""
    desk.user = {"name": "zhang", "display_name": "张值班", "role": "dispatcher"}
    later = {topic: dict(desk.hub.topics[topic]) for topic in ("district", "counts", "health")}
    desk.set_state({topic: {} if topic in later else keys for topic, keys in desk.hub.topics.items()})
    page = open_page(f"{desk.url}/desk/incidents/8", 1366, 768)
    page.get_by_role("button", name="备注").first.click()
    button = page.locator("article form").get_by_role("button", name="确定")
    before = button.bounding_box()
    page.evaluate(WATCH_SHIFTS)

    ill = {
        "system": {
            **later["health"]["system"],
            "database": "down",
            "broker_dropped": 7,
            "quarantined_1h": 12,
            "uplink": "cut",
            "uplink_since": "2026-11-21T08:00:00Z",
            "uplink_waiting": 1234,
        }
    }
    loud = {"silent": {"SHLVD": 12, "DSUPR": 3, "OOSRV": 40}}
    desk.publish({**later, "health": ill, "counts": {**later["counts"], **loud}, "alarm": desk_scene.flood()})
    expect(page.locator("nav .flood")).to_contain_text("报警洪峰")
    expect(page.get_by_role("link", name="数据库中断")).to_have_attribute(
        "href", "/runbooks/DatabaseDown?lang=zh"
    )
    expect(page.get_by_role("link", name="条读数待上报")).to_have_attribute(
        "href", "/runbooks/UplinkCut?lang=zh"
    )
    another = {**TIMELINE[-1], "seq": 99, "kind": "commented", "actor": "user:9", "reason": "另一人的话"}
    desk.answers["/api/incidents/8/timeline"] = {"items": [*TIMELINE, another]}
    desk.publish({"incident": {"8": {**desk.hub.topics["incident"]["8"], "version": 2}}})
    expect(page.get_by_role("status", name="填写期间他人已处理")).to_be_visible()
    desk.hub.muted = True  # the line is lost: the page says so, over what is there
    expect(page.locator(".notices")).to_contain_text("数据中断")
    assert button.bounding_box() == before
    assert page.evaluate("window.shifts") == []
    desk.hub.muted = False
