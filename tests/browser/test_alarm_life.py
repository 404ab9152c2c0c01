"""Drills and silent alarms on wall and desk; shelving one, and asking why."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser import geometry, scenes
from tests.browser.mock_centre import MockCentre
from tests.browser.test_desk import desk, logged_in, opened
from tests.browser.test_wall import LEAST_PX_AT_1080, wall

__all__ = ["desk"]  # the fixture

OpenPage = Callable[..., Page]
DRILL = {
    "id": 7,
    "name": "秋季消防联合演练",
    "scenario": "fire",
    "opened_at": scenes.at(-5),
    "until": scenes.at(55),
    "devices": 312,
}


def practising(centre: MockCentre) -> None:
    centre.hub.topics["drill"] = {"7": DRILL}
    centre.hub.topics["counts"]["open"]["exercise"] = 1
    centre.hub.topics["counts"]["silent"] = {"SHLVD": 3, "DSUPR": 41, "OOSRV": 0}


@pytest.mark.parametrize(
    ("width", "height", "language"),
    [
        (3840, 1080, "zh"),
        (1280, 720, "en"),
        pytest.param(1920, 1080, "zh", marks=pytest.mark.slow),
        pytest.param(1920, 1080, "en", marks=pytest.mark.slow),
        pytest.param(3840, 1080, "en", marks=pytest.mark.slow),
        pytest.param(1280, 720, "zh", marks=pytest.mark.slow),
    ],
)
def test_a_drill_is_a_banner_on_the_wall_and_everything_still_fits(
    centre: MockCentre, open_page: OpenPage, width: int, height: int, language: str
) -> None:
    practising(centre)
    page = wall(open_page(f"{centre.url}/wall?lang={language}", width, height))
    banner = page.locator("header .drill")
    expect(banner).to_contain_text("演练" if language == "zh" else "EXERCISE")
    expect(banner).to_contain_text("秋季消防联合演练")
    expect(banner).to_contain_text("312")
    silent = page.locator(".incidents [data-silent=SHLVD]")
    expect(silent).to_have_text("搁置报警 3" if language == "zh" else "3 alarms shelved")
    expect(page.locator(".incidents [data-silent=OOSRV]")).to_have_count(0)
    assert geometry.panels_outside(page) == []
    assert geometry.overlapping_panels(page) == []
    assert geometry.cut_texts(page) == []
    assert geometry.overlapping_texts(page) == []
    assert geometry.small_texts(page, LEAST_PX_AT_1080 * height / 1080) == []
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")


def test_the_banner_goes_with_the_drill(centre: MockCentre, open_page: OpenPage) -> None:
    practising(centre)
    page = wall(open_page(f"{centre.url}/wall"))
    expect(page.locator("header .drill")).to_have_count(1)
    centre.publish(
        {"drill": {"7": None}, "counts": {"open": {**centre.hub.topics["counts"]["open"], "exercise": 0}}}
    )
    expect(page.locator("header .drill")).to_have_count(0)


def test_alarms_of_a_drill_are_no_alarm_flood(centre: MockCentre, open_page: OpenPage) -> None:
    page = wall(open_page(f"{centre.url}/wall"))
    played = [{"kind": "alarm.raised", "id": n, "class": "A", "exercise": True} for n in range(30)]
    centre.publish({}, played)
    centre.publish({}, [{**event, "exercise": False} for event in played[:5]])
    expect(page.locator("header")).not_to_contain_text("报警洪峰")
    centre.publish({}, [{**event, "exercise": False} for event in played[5:11]])
    expect(page.locator("header")).to_contain_text("报警洪峰：10 分钟 11 条")


def test_the_desk_shelves_with_end_and_reason(desk: MockCentre, open_page: OpenPage) -> None:
    practising(desk)
    desk.answers["/api/alarms"]["items"][0] |= {"state": "UNACK", "first_out": True, "shelf": None}
    page = opened(logged_in(desk, open_page))
    expect(page.locator(".drill")).to_contain_text("秋季消防联合演练")
    expect(page.locator("header [data-silent=DSUPR]")).to_contain_text("41")
    row = page.locator("tr", has_text="smoke.high")
    expect(row).to_contain_text("未确认")
    expect(row).to_contain_text("首出")
    row.get_by_role("button", name="搁置").click()
    form = row.locator("form")
    form.get_by_role("button", name="搁置").click()
    expect(form.get_by_role("alert")).to_contain_text("原因")
    assert desk.asked == []
    form.get_by_label("至").select_option("4")
    form.get_by_label("原因").fill("探头清洗")
    form.get_by_role("button", name="搁置").click()
    expect(form).to_have_count(0)
    (method, path, body) = desk.asked[-1]
    assert (method, path, body["reason"]) == ("POST", "/api/alarms/5/shelve", "探头清洗")
    assert body["until"] > scenes.at(230)
    assert body["until"] < scenes.at(241)


def test_a_shelved_alarm_says_so_and_can_be_brought_back(desk: MockCentre, open_page: OpenPage) -> None:
    shelf = {"until": scenes.at(60), "reason": "探头清洗", "by": "user:1"}
    desk.answers["/api/alarms"]["items"][0] |= {"state": "SHLVD", "shelf": shelf}
    page = opened(logged_in(desk, open_page))
    row = page.locator("tr", has_text="smoke.high")
    expect(row).to_contain_text("探头清洗")
    row.get_by_role("button", name="取消搁置").click()
    assert [one[:2] for one in desk.heard(1)] == [("POST", "/api/alarms/5/unshelve")]


def test_a_refused_shelf_is_readable(desk: MockCentre, open_page: OpenPage) -> None:
    said = {"title": "Forbidden", "detail": "administrators only", "detail_zh": "甲类火警只能由管理员搁置"}
    desk.refuse["/api/alarms/5/shelve"] = (403, said)
    page = opened(logged_in(desk, open_page))
    row = page.locator("tr", has_text="smoke.high")
    row.get_by_role("button", name="搁置").click()
    row.get_by_label("原因").fill("试试")
    row.locator("form").get_by_role("button", name="搁置").click()
    expect(row.get_by_role("alert")).to_contain_text("只能由管理员搁置")


def test_the_desk_says_why(desk: MockCentre, open_page: OpenPage) -> None:
    desk.answers["/api/alarms/5/why"] = {
        "sentence": "烟雾 75.5 % ≥ 限值 70 %；尚未恢复。",
        "sentence_en": "Smoke 75.5 % >= the limit 70 %; it still stands.",
        "notes": [{"code": "late", "text": "依据的数据迟到", "text_en": "late data"}],
    }
    page = opened(logged_in(desk, open_page))
    row = page.locator("tr", has_text="smoke.high")
    row.get_by_role("button", name="为何报警").click()
    expect(row).to_contain_text("烟雾 75.5 % ≥ 限值 70 %；尚未恢复。 依据的数据迟到")


@pytest.mark.parametrize(("width", "height"), [(1600, 900), (390, 844)])
def test_the_desk_still_fits_with_a_form_open(
    desk: MockCentre, open_page: OpenPage, width: int, height: int
) -> None:
    practising(desk)
    desk.answers["/api/alarms"]["items"][0] |= {"state": "RTNUN", "first_out": True}
    page = opened(logged_in(desk, open_page, width, height))
    page.locator("tr", has_text="smoke.high").get_by_role("button", name="搁置").click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
