"""Incidents of all districts at the desk of the city: who sees them, who is silent, and where one acts."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import axe, city_scene, desk_scene, geometry, scenes
from tests.browser.mock_centre import MockCentre, running

OpenPage = Callable[..., Page]
WORDS = {
    "zh": {
        "tab": "全市事件", "silent": "港口区", "why": "数据库无法连接", "some": "仅 4/6 个区应答", "act": "到该区办理",
        "none": "未配置网址", "over": "超时", "class": "全部等级", "closed": "含已办结", "old": "以下为",
    },
    "en": {
        "tab": "City incidents", "silent": "Harbour", "why": "its database cannot be reached",
        "some": "4 of 6 districts answer", "act": "Open there", "none": "No address known", "over": "overdue",
        "class": "All classes", "closed": "Closed ones too", "old": "Below is as of",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def running_city() -> Iterator[MockCentre]:
    with running(MockCentre(ground=scenes.ground(6, 4))) as made:
        yield made


@pytest.fixture
def city(running_city: MockCentre) -> MockCentre:
    running_city.renew(scenes.ground(6, 4))
    running_city.set_state(scenes.calm())
    desk_scene.answered(running_city)
    running_city.answers["/api/city/incidents"] = city_scene.incidents()
    return running_city


def at_desk(
    centre: MockCentre, open_page: OpenPage, path: str, size: tuple[int, int], *, whole: bool = True
) -> Page:
    centre.user = {
        "name": "zhang",
        "display_name": "张值班",
        "role": "viewer",
        "scope": None if whole else "S1",
        "city": whole,
    }
    page = open_page(f"{centre.url}{path}", *size)
    expect(page.locator(".staff > header")).to_be_visible()
    return page


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("size", [(1920, 1080), (1280, 800), (390, 844)])
def test_every_district_is_in_one_list_and_the_silent_are_named(
    city: MockCentre, open_page: OpenPage, size: tuple[int, int], language: str
) -> None:
    said = WORDS[language]
    page = at_desk(city, open_page, f"/desk/city?lang={language}", size)
    expect(page.locator("[data-incident]")).to_have_count(8)
    gone = page.locator("[data-district=d3]")
    expect(gone).to_contain_text(said["silent"])
    expect(gone).to_contain_text("15:41")  # since when, in the district's own time
    expect(gone).to_contain_text(said["why"])
    expect(page.locator("aside")).to_contain_text(said["some"])
    expect(page.locator("[data-incident='d1/5'] .due b")).to_have_text(re.compile(r"\d:\d\d"))
    expect(page.locator("[data-incident='d4/6'] .due b")).to_contain_text(said["over"])
    expect(page.locator("[data-incident='d2/4'] .due b")).to_have_text("–")  # suspended: no clock runs
    expect(page.locator("[data-incident='d4/900'] .due b")).to_have_text("–")  # closed
    there = page.locator("[data-incident='d1/2']").get_by_role("link", name=said["act"])
    expect(there).to_have_attribute("href", "https://d1.city.example/desk/incidents/2")
    expect(page.locator("[data-incident='d4/3'] .act")).to_have_text(said["none"])
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert geometry.cut_texts(page) == []
    assert geometry.overlapping_texts(page) == []
    assert axe.violations(page) == []
    assert page.locator("section[aria-label] form").count() == 0  # nothing is done here


def test_what_is_looked_for_stands_in_the_address_and_is_asked_of_the_centre(
    city: MockCentre, open_page: OpenPage
) -> None:
    page = at_desk(city, open_page, "/desk/open?lang=zh", (1280, 800))
    page.get_by_role("link", name="全市事件").click()
    expect(page.locator("[data-incident]")).to_have_count(8)
    with page.expect_request(lambda request: "class=A" in request.url):
        page.get_by_label("全部等级").select_option("A")
    with page.expect_request(lambda request: "closed=true" in request.url and "class=A" in request.url):
        page.get_by_label("含已办结").check()
    with page.expect_request(lambda request: "q=%E5%8E%82%E6%88%BF" in request.url):
        page.get_by_role("searchbox").fill("厂房")
    assert page.url.endswith("/desk/city?q=%E5%8E%82%E6%88%BF&class=A&closed=true")
    page.reload()
    expect(page.get_by_role("searchbox")).to_have_value("厂房")
    expect(page.get_by_label("含已办结")).to_be_checked()


def test_further_pages_are_asked_for_behind_the_first(city: MockCentre, open_page: OpenPage) -> None:
    answer = city_scene.incidents()
    city.answers["/api/city/incidents"] = {**answer, "next": "behind-8"}
    page = at_desk(city, open_page, "/desk/city?lang=zh", (1280, 800))
    with page.expect_request(lambda request: "cursor=behind-8" in request.url):
        page.get_by_role("button", name="更多").click()
    expect(page.locator("[data-incident]")).to_have_count(8)  # what both pages have stands there once
    city.answers["/api/city/incidents"] = answer
    expect(page.get_by_role("button", name="更多")).to_have_count(0)


def test_it_is_read_again_and_says_when_what_is_shown_is_old(city: MockCentre, open_page: OpenPage) -> None:
    page = at_desk(city, open_page, "/desk/city?lang=zh", (1280, 800))
    expect(page.locator("[data-incident]")).to_have_count(8)
    answer: dict[str, Any] = city_scene.incidents()
    city.answers["/api/city/incidents"] = {**answer, "items": answer["items"][:1], "missing": []}
    expect(page.locator("[data-incident]")).to_have_count(1)
    expect(page.get_by_role("status").filter(has_text="区")).to_have_text("6 个区全部应答")
    del city.answers["/api/city/incidents"]
    expect(page.get_by_role("alert")).to_contain_text("以下为")
    expect(page.locator("[data-incident]")).to_have_count(1)  # old, and said to be
    nothing = {**answer, "items": []}
    city.answers["/api/city/incidents"] = nothing
    expect(page.locator(".none")).to_have_text("已应答的区无未结事件")  # which is not: there are none
    expect(page.get_by_role("alert")).to_have_count(0)


def test_who_does_not_see_the_whole_city_is_not_led_there(city: MockCentre, open_page: OpenPage) -> None:
    page = at_desk(city, open_page, "/desk/open?lang=zh", (1280, 800), whole=False)
    expect(page.get_by_role("link", name="未分派")).to_be_visible()
    expect(page.get_by_role("link", name="全市事件")).to_have_count(0)
