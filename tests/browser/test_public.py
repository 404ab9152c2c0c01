"""What citizens see, on a real centre: a report with place and photo, its progress, words added, rated, reopened."""

import io
from collections.abc import Callable, Iterator

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser import axe, geometry
from tests.integration.running_centre import Centre, lay_ground, running
from tests.servers.postgres import PostgresServer

OpenPage = Callable[..., Page]
PHONE = (390, 844)
SMALL = (320, 640)


@pytest.fixture(scope="module")
def town(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    name = postgres_server.create_database(template=postgres_template)
    lay_ground(postgres_server.url(name))
    try:
        with running(postgres_server.url(name)) as centre:
            yield centre
    finally:
        postgres_server.drop_database(name)


def photo() -> dict[str, object]:
    held = io.BytesIO()
    Image.new("RGB", (640, 480), (120, 90, 60)).save(held, "JPEG")
    return {"name": "pit.jpg", "mimeType": "image/jpeg", "buffer": held.getvalue()}


def sound(page: Page) -> None:
    """Nothing cut or covered, and nothing that keeps anybody out."""
    page.evaluate("scrollTo(0, 0)")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert geometry.cut_texts(page) == []
    assert geometry.overlapping_texts(page) == []
    assert axe.violations(page) == []


def reported(page: Page, base: str, words: str) -> str:
    page.goto(f"{base}/report?lang=zh")
    page.get_by_label("情况说明").fill(words)
    page.get_by_role("button", name="提交").click()
    number = page.locator("[data-tracking]")
    expect(number).to_be_visible()
    return number.inner_text()


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_form_fits_a_small_telephone_and_is_named(
    town: Centre, open_page: OpenPage, language: str
) -> None:
    page = open_page(f"{town.base}/report?lang={language}", *SMALL)
    page.wait_for_selector("canvas")
    sound(page)


def test_a_report_by_a_tap_a_search_and_a_photo_is_followed(town: Centre, open_page: OpenPage) -> None:
    page = open_page(f"{town.base}/report?lang=zh", *PHONE)
    page.get_by_role("button", name="提交").click()
    expect(page.get_by_role("alert")).to_contain_text("请先说明情况")
    expect(page.get_by_label("情况说明")).to_be_focused()

    page.get_by_label("情况说明").fill("楼道里有烟味")
    page.get_by_role("combobox", name="查找类别").fill("烟雾")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.get_by_text("火灾 › 烟雾")).to_be_visible()
    page.locator("canvas").click(position={"x": 150, "y": 128})
    expect(page.locator("[role=application] ~ p")).to_contain_text("网格")
    page.get_by_label("最多 5 张").set_input_files(
        [photo(), {**photo(), "name": "note.txt", "mimeType": "text/plain"}]
    )  # type: ignore[list-item]  # a file's three fields
    expect(page.get_by_role("alert")).to_contain_text("note.txt 不是")
    expect(page.get_by_role("img", name="pit.jpg")).to_be_visible()
    page.get_by_label("电话").fill("很多数字")
    page.get_by_role("button", name="提交").click()
    expect(page.locator(".fault", has_text="请填写电话号码")).to_be_visible()
    expect(page.get_by_label("电话")).to_be_focused()
    sound(page)
    page.get_by_label("电话").fill("13800000000")
    page.get_by_role("button", name="提交").click()

    number = page.locator("[data-tracking]").inner_text()
    expect(page.get_by_role("heading", name="已登记")).to_be_focused()
    expect(page.get_by_text("位置在本区内")).to_be_visible()
    expect(page.get_by_text("照片 1 张已收到")).to_be_visible()
    sound(page)
    row = town.client.get("/api/reports", params={"q": number}).json()["items"][0]
    assert (row["category"], row["text"], len(row["photos"])) == ("fire.smoke", "楼道里有烟味", 1)
    assert row["cell"] is not None

    page.get_by_role("link", name="查看办理进度").click()
    expect(page.locator("[aria-current=step]")).to_be_visible()
    sound(page)


def test_what_is_sent_again_after_a_lost_answer_is_one_report(town: Centre, open_page: OpenPage) -> None:
    page = open_page(f"{town.base}/report?lang=zh", *PHONE)
    lost = []

    def lose(route: object) -> None:
        if not lost:
            route.fetch()  # type: ignore[attr-defined]  # playwright's own route
            lost.append(route)
            route.abort()  # type: ignore[attr-defined]  # as above
        else:
            route.continue_()  # type: ignore[attr-defined]  # as above

    page.route("**/api/reports", lose)
    page.context.grant_permissions(["geolocation"])
    page.context.set_geolocation({"latitude": 0.2, "longitude": 1.9})
    page.get_by_role("button", name="使用我的位置").click()
    expect(page.locator("[role=application] ~ p")).to_contain_text("网格1")
    page.get_by_label("情况说明").fill("只应登记一次")
    page.get_by_role("button", name="提交").click()
    expect(page.get_by_role("alert")).to_contain_text("不会重复登记")
    page.get_by_role("button", name="提交").click()
    expect(page.locator("[data-tracking]")).to_be_visible()
    kept = town.client.get("/api/reports", params={"q": "只应登记一次"}).json()["items"]
    assert [(one["cell"], one["lon"]) for one in kept] == [("C1", 1.9)]


def test_progress_is_added_to_rated_and_reopened(town: Centre, open_page: OpenPage) -> None:
    page = open_page(f"{town.base}/track", *SMALL)
    page.get_by_label("查询编号").fill("7k3q")
    page.get_by_role("button", name="查询").click()
    expect(page.get_by_role("alert")).to_contain_text("13 位")
    number = reported(page, town.base, "电梯困人后仍有异响")
    incident = town.client.get("/api/reports", params={"q": number}).json()["items"][0]["incident"]

    page.goto(f"{town.base}/track")
    page.get_by_label("查询编号").fill(number.replace("-", "").lower())
    page.get_by_role("button", name="查询").click()
    page.get_by_label("补充说明").fill("三号楼")
    page.get_by_role("button", name="提交补充").click()
    expect(page.get_by_text("已补充")).to_be_visible()

    close(town, incident)
    page.goto(f"{town.base}/track/{number}")
    expect(page.get_by_text("已修好，并复测")).to_be_visible()
    sound(page)
    page.get_by_role("button", name="提交评价").click()
    expect(page.get_by_role("alert")).to_contain_text("三项")
    for mark in ("响应速度", "办理结果", "服务态度"):
        page.get_by_role("radiogroup", name=mark).get_by_label("4").check()
    page.get_by_role("button", name="提交评价").click()
    expect(page.get_by_text("感谢评价")).to_be_visible()
    page.get_by_label("哪里没有解决").fill("今早又响")
    page.get_by_role("button", name="申请重新办理").click()
    expect(page.get_by_text("已重新办理")).to_be_visible()
    page.get_by_text("删除我的联系方式").click()
    page.get_by_role("button", name="删除", exact=True).click()
    expect(page.get_by_text("联系方式已删除")).to_be_visible()
    assert not town.client.get("/api/reports", params={"q": number}).json()["items"][0]["has_contact"]
    assert town.client.get(f"/api/incidents/{incident}").json()["state"] == "rework"


def close(town: Centre, incident: int) -> None:
    """To its archive in as many steps as it needs; the token handles, so somebody else's word stands for the check."""
    town.execute("UPDATE units SET tier = 'community' WHERE code = 'U1'")
    steps: list[tuple[str, dict[str, object]]] = [
        ("dispatch", {"unit": "U1"}),
        ("acknowledge", {}),
        ("handle", {"comment": "更换导轨"}),
        ("feedback", {"comment": "已修好，并复测"}),
        ("archive", {"reason": "办结"}),
    ]
    for action, body in steps:
        answer = town.client.post(f"/api/incidents/{incident}/{action}", json=body)
        assert answer.status_code == 200, f"{action}: {answer.text}"


def test_the_forms_choices_are_public_and_its_candidates_are_not(town: Centre) -> None:
    choices = town.stranger.get("/api/report-categories").json()["items"]
    codes = {one["code"]: one["level"] for one in choices}
    assert (codes["fire"], codes["fire.smoke"]) == (1, 2)
    assert not [code for code in codes if code.partition(".")[0] in ("device", "system")]

    draft = {"category": "public.person", "cell": "C2", "text": "有人翻墙"}
    report = {**draft, "external_id": "candidates-1", "channel": "hotline"}
    taken = town.client.post("/api/reports", json=report).json()
    found = town.client.post("/api/candidates", json=draft).json()["items"]
    assert [(one["id"], one["number"], one["cell_name"]) for one in found] == [
        (taken["incident"], taken["number"], "网格2")
    ]
    assert found[0]["reasons"]
    assert found[0]["reasons_en"]
    elsewhere = {**draft, "category": "fire.smoke", "cell": "C4"}
    assert town.client.post("/api/candidates", json=elsewhere).json()["items"] == []

    assert town.stranger.post("/api/candidates", json=draft).status_code == 401
    refused = town.client.post("/api/candidates", json={**draft, "cell": "nowhere"})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "cell"
    assert town.client.post("/api/candidates", json={"longitude": 999}).status_code == 422


def test_a_session_says_whose_unit_it_acts_for(town: Centre) -> None:
    made = town.client.post("/api/users", json={"name": "zhao", "role": "handler", "unit": "U1"})
    first = {"name": "zhao", "password": made.json()["one_time_secret"]}
    with httpx.Client(base_url=town.base) as person:
        assert person.post("/api/session", json=first).json()["user"]["unit"] == "U1"
        assert person.get("/api/session").json()["user"]["unit"] == "U1"
    assert town.client.get("/api/session").json()["user"]["unit"] is None
