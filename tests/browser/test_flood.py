"""The flood desk on invented content: in one look which river reaches which level when, at any size, on paper too."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser import axe, flood_scene, geometry, scenes
from tests.browser.mock_centre import MockCentre

OpenPage = Callable[..., Page]
PLACES = (
    "/flood/stations", "/flood/stations/W001", "/flood/stations/W002/events", "/flood/response", "/flood/warnings",
    "/flood/warnings/new?station=W001", "/flood/warnings/8", "/flood/warnings/7", "/flood/tasks",
    "/flood/tasks/new?kind=evacuate&cells=C001001,C005001", "/flood/tasks/1", "/flood/log", "/flood/log/print",
)  # fmt: skip
LEAST_PX = 14


@pytest.fixture
def flood(centre: MockCentre) -> MockCentre:
    flood_scene.flood(centre, 200)
    centre.user = {"name": "zhang", "display_name": "张值班", "role": "flood_officer"}
    return centre


@pytest.mark.parametrize(
    ("width", "height", "language", "places"),
    [
        (1920, 1080, "zh", PLACES[::2]),
        (1280, 720, "en", PLACES[1::2]),
        pytest.param(1920, 1080, "zh", PLACES, marks=pytest.mark.slow),
        pytest.param(1280, 720, "en", PLACES, marks=pytest.mark.slow),
    ],
    ids=["zh", "en", "zh-all", "en-all"],
)
def test_every_part_fits_and_keeps_nobody_out(
    centre: MockCentre, open_page: OpenPage, width: int, height: int, language: str, places: tuple[str, ...]
) -> None:
    flood_scene.flood(centre, 16)
    centre.user = {"name": "zhang", "display_name": "张值班", "role": "flood_officer"}
    page = open_page(f"{centre.url}/flood?lang={language}", width, height)
    for place in places:
        page.goto(centre.url + place)
        expect(page.locator("main .panel, main .paper").first).to_be_visible()
        expect(page.locator("main").get_by_text(re.compile("正在载入|Loading"))).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, place
        assert geometry.cut_texts(page) == [] or place == "/flood/stations", place
        assert geometry.overlapping_texts(page) == [], place
        assert geometry.small_texts(page, LEAST_PX) == [], place
        assert geometry.cut_drawings(page) == [], place
        words = page.locator(".staff").inner_text()
        assert not re.search(r"\b(null|NaN|undefined)\b", words), place
        assert axe.violations(page) == [], place


def test_two_hundred_stations_by_margin_and_by_time(flood: MockCentre, open_page: OpenPage) -> None:
    page = open_page(f"{flood.url}/flood")
    rows = page.locator("[data-station]")
    expect(rows).to_have_count(200)
    assert [rows.nth(n).get_attribute("data-station") for n in range(4)] == ["W000", "W001", "W002", "W003"]
    page.get_by_role("button", name="到达时间").click()
    expect(rows.nth(5)).to_have_attribute("data-station", "W012")
    assert [rows.nth(n).get_attribute("data-station") for n in range(5)] == [
        "W000",
        "W001",
        "W002",
        "W003",
        "W004",
    ]
    for code, words in {
        "W000": "超历史最高",
        "W003": "约 1 小时 10 分钟后",
        "W005": "自",  # silent since when
        "W006": "读数不变",
        "W007": "水位突变待核对",
        "W008": "未设",
        "W009": "无新预报（上次",  # the last one is too old to be believed
        "W010": "从未收到数据",
        "W011": "不测水位",
    }.items():
        expect(page.locator(f"[data-station={code}]")).to_contain_text(words)
    expect(page.get_by_role("region", name="何河何时达何水位")).to_contain_text("一成可能早至")
    expect(page.get_by_text("无法预计的测站：5 站")).to_be_visible()
    expect(page.get_by_role("region", name="降雨量")).to_contain_text("24 小时无数据")
    page.get_by_role("button", name="距警戒").click()
    far = {**flood_scene.stations()["W150"], "level_m": 9.0, "state": "record", "margin_m": -6.0}
    flood.publish({"station": {"W150": far}})
    expect(rows.first).to_have_attribute("data-station", "W150")
    page.get_by_role("searchbox").fill("w15")
    expect(rows).to_have_count(10)


def test_a_hydrograph_is_read_by_keyboard_by_pointer_and_as_a_table(
    flood: MockCentre, open_page: OpenPage
) -> None:
    page = open_page(f"{flood.url}/flood/stations/W002?lang=en")
    moment = page.get_by_role("slider", name="Moment to read out")
    expect(moment).to_have_attribute("aria-valuetext", re.compile(r"observed 3\.\d\d m"))
    moment.press("End")
    expect(moment).to_have_attribute("aria-valuetext", re.compile(r"forecast 3\.72 m \(3\.24–4\.20\)"))
    moment.press("Home")
    for _ in range(4):
        moment.press("ArrowRight")
    expect(moment).to_have_attribute("aria-valuetext", re.compile(r"rain \d"))
    before = moment.get_attribute("aria-valuetext")
    chart = page.locator("[data-chart=W002]").bounding_box()
    assert chart is not None
    page.mouse.move(chart["x"] + chart["width"] / 2, chart["y"] + chart["height"] / 2)
    expect(moment).not_to_have_attribute("aria-valuetext", before or "")
    page.get_by_text("The figures as a table").click()
    expect(page.locator("details table tbody tr").nth(40)).to_be_attached()  # drawn once the details are open
    expect(page.get_by_role("region", name="Upstream")).to_contain_text("40 min to this station")
    expect(page.get_by_text("81 % inside the 80 % band")).to_be_visible()
    flood.publish(
        {
            "station": {
                "W002": {**flood_scene.stations()["W002"], "level_m": 3.19, "observed_at": scenes.at(1)}
            }
        }
    )
    expect(page.get_by_role("region", name="Station", exact=True)).to_contain_text("3.19 m")


def test_a_station_without_levels_and_one_without_forecast_say_so(
    flood: MockCentre, open_page: OpenPage
) -> None:
    bare = flood.answers["/api/stations/W010/hydrograph"]
    flood.answers["/api/stations/W010/hydrograph"] = {
        **bare, "observed": [], "forecast": [], "rain": [], "upstream": [],
        "forecast_info": {"refused": "历史数据不足", "refused_en": "too little history", "skill_30d": {}},
    }  # fmt: skip
    flood.answers.pop("/api/stations/W008/events")
    page = open_page(f"{flood.url}/flood/stations/W008")
    expect(page.get_by_role("region", name="测站", exact=True)).to_contain_text("未设")
    page.goto(f"{flood.url}/flood/stations/W010")
    for words in ("没有预报：历史数据不足", "该时段没有读数", "未关联雨量站", "从未收到数据"):
        expect(page.locator(".staff")).to_contain_text(words)
    page.goto(f"{flood.url}/flood/stations/nobody")
    expect(page.locator(".staff")).to_contain_text("没有这个测站")


def test_who_is_slower_is_told_and_shown_what_stands_now(flood: MockCentre, open_page: OpenPage) -> None:
    page = open_page(f"{flood.url}/flood/response")
    page.get_by_role("button", name="确认建议").click()
    page.get_by_label("理由").fill("会商决定")
    flood.refuse["/api/flood/response/confirm"] = (
        412,
        {"title": "Changed", "title_zh": "已被他人修改", "detail": "x", "detail_zh": "请刷新"},
    )
    flood.answers["/api/flood/response"] = {
        **flood_scene.response(is_open=False),
        "level": "III",
        "version": 4,
    }
    page.get_by_role("button", name="确定").click()
    expect(page.get_by_role("alert")).to_contain_text("已被他人修改: 请刷新 已重新读取当前情况")
    expect(page.get_by_label("理由")).to_have_value("会商决定")
    expect(page.get_by_role("region", name="当前响应级别")).to_contain_text("III级应急响应")
    assert flood.versions == ['"3"']


def test_a_viewer_reads_and_changes_nothing(flood: MockCentre, open_page: OpenPage) -> None:
    assert flood.user is not None
    flood.user["role"] = "viewer"
    page = open_page(f"{flood.url}/flood/response")
    for place, seen in {
        "response": "III级",
        "warnings/8": "草稿",
        "tasks": "第1网格",
        "tasks/1": "应转 40",
        "log": "沙袋",
    }.items():
        page.goto(f"{flood.url}/flood/{place}")
        expect(page.locator(".staff")).to_contain_text(seen)
        expect(page.locator("form, .staff button.main")).to_have_count(0)
    for name in ("另定级别", "下达转移", "更正第 5 条", "发布"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)


def test_the_log_on_paper_is_a4_with_its_pages_numbered(flood: MockCentre, open_page: OpenPage) -> None:
    entries = [{**flood_scene.entries()[4], "id": n} for n in range(120, 0, -1)]
    flood.answers["/api/flood/duty-log"] = {"items": entries, "next": None}
    page = open_page(f"{flood.url}/flood/log/print")
    expect(page.locator(".paper tbody tr")).to_have_count(120)
    page.get_by_label("中英文对照").check()
    expect(page.locator(".paper .other").first).to_contain_text("rose above")
    page.emulate_media(media="print")
    expect(page.locator(".staff > header")).to_be_hidden()
    expect(page.get_by_role("button", name="打印", exact=True)).to_be_hidden()
    paper = page.pdf(prefer_css_page_size=True)
    boxes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", paper)
    assert len(boxes) > 2
    assert {(round(float(width)), round(float(height))) for width, height in boxes} == {(595, 842)}


def test_a_hand_over_is_prepared_and_a_slip_is_corrected_by_a_further_entry(
    flood: MockCentre, open_page: OpenPage
) -> None:
    page = open_page(f"{flood.url}/flood/log")
    expect(page.locator("#entry-2")).to_contain_text("自动")
    page.get_by_role("button", name="拟写交班记录").click()
    field = page.get_by_role("textbox", name="记一条")
    expect(field).to_have_value(
        re.compile("IV级应急响应\n生效预警：黄色.*\n超警戒：青溪0号站 4.25 m.*\n无数据或存疑：.*\n任务 3 项")
    )
    page.get_by_role("button", name="更正第 4 条").click()
    page.get_by_role("textbox", name="更正第 4 条").fill("应为 3.12 m")
    page.get_by_role("button", name="写入").click()
    expect(page.get_by_role("textbox", name="记一条")).to_have_value("")
    assert flood.asked == [("POST", "/api/flood/duty-log", {"text": "应为 3.12 m", "refers_to": 4})]


def test_a_warning_for_a_station_is_for_its_cell_and_not_for_the_whole_district(
    flood: MockCentre, open_page: OpenPage
) -> None:
    page = open_page(f"{flood.url}/flood/warnings/new?station=W002&colour=orange")
    areas = page.get_by_role("group", name="影响区域")
    expect(areas.get_by_role("button")).to_have_text("C002000 ×")
    flood.answers["/api/flood/warnings"] = flood_scene.warning(8, "draft")
    page.get_by_label("标题（英文）").fill("Qing rises")
    page.get_by_role("button", name="保存草稿并预览").click()
    expect(page.get_by_role("region", name="预览：发布后读者所见")).to_be_visible()
    ((method, path, body),) = flood.asked
    assert (method, path, body["areas"], body["stations"]) == (
        "POST",
        "/api/flood/warnings",
        ["C002000"],
        ["W002"],
    )
    assert (body["colour"], body["headline_en"], body["exercise"]) == ("orange", "Qing rises", False)
