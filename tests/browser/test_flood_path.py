"""From rising water to a warning that everybody reads, by a duty officer at a real centre, in both languages."""

import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from lxml import etree
from playwright.sync_api import Page, expect

from tests.browser import axe, geometry
from tests.integration.running_centre import Centre
from tests.integration.test_alarm_api import PASSWORD, person
from tests.integration.test_flood_desk import ATOM, flooded, level, look
from tests.servers.postgres import PostgresServer

OpenPage = Callable[..., Page]
READINGS = """
    INSERT INTO observations (device_id, metric_id, observed_at, received_at, value)
    SELECT d.id, m.id, %s, %s, %s FROM devices d, metrics m WHERE d.code = 'W1' AND m.code = 'level'
"""
WORDS = {
    "zh": {
        "name": "用户名", "password": "密码", "in": "登录", "proposal": "系统建议", "confirm": "确认建议", "ok": "确定",
        "in_force": "当前响应级别", "level": "{}级应急响应", "go": "起草预警", "areas": "影响区域",
        "preview": "保存草稿并预览", "issue": "发布",
        "reason": "发布理由", "cancel": "解除预警", "over": "解除理由", "is_in_force": "生效中",
        "is_over": "已解除", "xml": "XML 原文",
    },
    "en": {
        "name": "User name", "password": "Password", "in": "Log in", "proposal": "What is proposed",
        "confirm": "Confirm the proposal", "ok": "Confirm", "in_force": "Level in force", "level": "Response level {}",
        "go": "Draft it", "areas": "Areas", "preview": "Keep the draft and preview it", "issue": "Issue",
        "reason": "Why it is issued", "cancel": "Cancel the warning", "over": "Why it is cancelled",
        "is_in_force": "In force", "is_over": "Cancelled", "xml": "The XML itself",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    name = postgres_server.create_database(template=postgres_template)
    with flooded(postgres_server.url(name)) as made:
        with psycopg.connect(made.url, autocommit=True) as connection:
            connection.cursor().executemany(READINGS, past_floods())
        person(made, "flood_officer").close()
        person(made, "dispatcher").close()
        person(made, "viewer").close()
        yield made
    postgres_server.drop_database(name)


def past_floods() -> list[tuple[datetime, datetime, float]]:
    """Two floods of a day, ten and forty days ago, and the last five hours, which stay low."""
    now = datetime.now(UTC)
    readings = []
    for days, top in ((40, 4.4), (10, 3.6)):
        for n in range(0, 24 * 60, 20):
            rise = min(n, 1440 - n) / 720 * (top - 2)
            readings.append((now - timedelta(days=days) + timedelta(minutes=n), 2 + rise))
    readings += [(now - timedelta(minutes=n), 2.0) for n in range(300, 10, -10)]
    return [(at, at, value) for at, value in readings]


def looked(centre: Centre) -> None:
    """A round of the desk's loop; beside the page, whose own loop is in this thread."""
    thread = threading.Thread(target=look, args=(centre,))
    thread.start()
    thread.join(timeout=60)
    assert not thread.is_alive()


def entered(open_page: OpenPage, centre: Centre, who: str, path: str, language: str = "zh") -> Page:
    says = WORDS[language]
    page = open_page(f"{centre.base}{path}?lang={language}", 1280, 720)
    page.get_by_label(says["name"]).fill(who)
    page.get_by_label(says["password"]).fill(PASSWORD)
    page.get_by_role("button", name=says["in"], exact=True).click()
    expect(page.locator(".staff > header")).to_be_visible()
    return page


def sent(centre: Centre) -> list[str]:
    """Titles of the public feed, newest first."""
    tree = etree.fromstring(centre.stranger.get("/cap/feed.atom").content)
    return [entry.findtext("a:title", "", ATOM) for entry in tree.findall("a:entry", namespaces=ATOM)]


@pytest.mark.parametrize(
    ("language", "metres", "grade", "colour"),
    [("zh", 4.2, "II", "橙色"), pytest.param("en", 5.5, "I", "Red", marks=pytest.mark.slow)],
)
def test_from_rising_water_to_a_warning_and_its_end(
    centre: Centre, open_page: OpenPage, language: str, metres: float, grade: str, colour: str
) -> None:
    says = WORDS[language]
    page = entered(open_page, centre, "flood_officer", "/flood/response", language)
    before = len(sent(centre))
    level(centre, metres)
    looked(centre)
    proposal = page.get_by_role("region", name=says["proposal"])
    words = re.compile(rf"(?<![IV]){says['level'].format(grade)}(?![IV])")  # I is in II as well
    expect(proposal).to_contain_text(words)
    expect(proposal).to_contain_text(f"W1 {metres:.2f} m")
    page.get_by_role("button", name=says["confirm"]).click()
    page.get_by_role("button", name=says["ok"], exact=True).click()
    expect(page.get_by_role("region", name=says["in_force"])).to_contain_text(words)
    expect(page.locator(".parts")).to_contain_text(words)
    assert centre.execute("SELECT response_level FROM district") == [(grade,)]

    page.get_by_role("link", name=says["go"]).click()
    areas = page.get_by_role("group", name=says["areas"])
    areas.get_by_role("textbox").fill("C1")
    areas.get_by_role("textbox").press("Enter")
    page.get_by_role("button", name=says["preview"]).click()
    expect(page.locator("article[lang=zh-CN] .headline")).to_contain_text("洪水")
    expect(page.locator("article[lang=en] .headline")).to_contain_text("flood warning")
    expect(page.locator("article[lang=en] .colour")).to_contain_text(colour)
    page.get_by_text(says["xml"]).click()
    expect(page.locator("pre")).to_contain_text("urn:oasis:names:tc:emergency:cap:1.2")
    assert len(sent(centre)) == before, "a draft is nobody's business"
    assert geometry.overlapping_texts(page) == []
    assert axe.violations(page) == []

    page.get_by_role("button", name=says["issue"], exact=True).click()
    page.get_by_label(says["reason"]).fill("会商决定")
    page.get_by_role("button", name=says["ok"], exact=True).click()
    expect(page.get_by_role("heading", level=2).first).to_contain_text(says["is_in_force"])
    assert len(sent(centre)) == before + 1
    page.get_by_role("button", name=says["cancel"]).click()
    page.get_by_label(says["over"]).fill("水位回落")
    page.get_by_role("button", name=says["ok"], exact=True).click()
    expect(page.get_by_role("heading", level=2).first).to_contain_text(says["is_over"])
    assert len(sent(centre)) == before + 2
    assert "解除" in sent(centre)[0]


def test_of_two_officers_the_slower_one_is_told(centre: Centre, open_page: OpenPage) -> None:
    page = entered(open_page, centre, "flood_officer", "/flood/response")
    page.get_by_role("button", name="另定级别").click()
    page.get_by_label("原因").fill("台风登陆")
    # The page does not hear of it: what it shows is what was true when it was read.
    page.route("**/api/flood/response", lambda route: route.abort())
    done = centre.client.post("/api/flood/response/set", json={"level": "III", "reason": "雨停了"})
    assert done.status_code == 200
    expect(page.locator(".parts")).to_contain_text("III级应急响应")
    page.unroute("**/api/flood/response")
    page.get_by_role("button", name="确定").click()
    expect(page.get_by_role("alert").filter(has_text="已重新读取")).to_be_visible()
    expect(page.get_by_role("region", name="当前响应级别")).to_contain_text("雨停了")
    expect(page.get_by_label("原因")).to_have_value("台风登陆")


def test_people_are_moved_cell_by_cell_until_nobody_remains(centre: Centre, open_page: OpenPage) -> None:
    page = entered(open_page, centre, "dispatcher", "/flood/tasks")
    page.get_by_role("link", name="下达转移").click()
    cells = page.get_by_role("group", name="网格", exact=True)
    cells.get_by_role("textbox").fill("网格1")
    cells.get_by_role("button", name="网格1").click()
    page.get_by_role("spinbutton", name="网格1").fill("12")
    page.get_by_label("原因").fill("河水漫堤")
    page.get_by_role("button", name="下达", exact=True).click()
    expect(page.get_by_role("heading", name="已下达 1 项任务")).to_be_visible()
    page.get_by_role("link", name="转移与巡查", exact=True).click()
    page.get_by_role("link", name="网格1").click()
    page.get_by_label("已转移").fill("13")
    page.get_by_role("button", name="上报", exact=True).click()
    expect(page.locator(".form .wrong")).to_be_visible()  # more than there are: possible, with a reason
    page.get_by_label("已转移").fill("7")
    page.get_by_role("button", name="上报", exact=True).click()
    expect(page.get_by_role("region", name="人员转移")).to_contain_text("尚余 5")
    page.get_by_label("已转移").fill("12")
    page.get_by_role("button", name="上报", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("请办结事件")
    page.get_by_role("link", name="值班日志").click()
    expect(page.locator("main")).to_contain_text("转移完成")


def test_past_floods_lie_over_each_other(centre: Centre, open_page: OpenPage) -> None:
    page = entered(open_page, centre, "viewer", "/flood/stations/W1", "en")
    page.get_by_role("link", name="Compare events").click()
    rows = page.locator("tbody tr")
    expect(rows.filter(has_text="3.60 m")).to_contain_text("curve 2")
    expect(rows.filter(has_text="4.40 m")).to_contain_text("curve 3")
    drawn = "(digit) => window.drawn.some((item) => item.text === digit)"
    page.wait_for_function(drawn, arg="3")  # the present and two past ones
    page.get_by_role("button", name="Align crossings").click()
    page.wait_for_function("() => window.drawn.some((item) => item.text.startsWith('+18'))")
    page.get_by_label("Above (m)").fill("4")
    page.get_by_role("button", name="Find").click()
    expect(rows.filter(has_text="3.60 m")).to_have_count(0)
    expect(rows.filter(has_text="4.40 m")).to_have_count(1)
    page.get_by_label("Above (m)").fill("8")
    page.get_by_role("button", name="Find").click()
    expect(page.locator("main")).to_contain_text("Nothing above 8.00 m in the last 400 days")
