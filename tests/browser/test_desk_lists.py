"""The desk's lists: thousands of rows, keys, many rows at once, an alarm flood by its causes; in both languages."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser import axe, desk_scene, geometry, scenes
from tests.browser.mock_centre import MockCentre, running
from tests.integration.running_centre import Centre, on_fresh_ground
from tests.integration.test_alarm_api import PASSWORD, alarm_of, person
from tests.servers.postgres import PostgresServer

OpenPage = Callable[..., Page]
PATIENCE_MS = 30_000  # nine megabytes of rows, on a busy machine
DRAWN = 60  # rows in the document at most, of however many
# Every input with what the page did for it, as Chromium itself takes it (Event Timing).
WATCH_INPUT = """
window.inputs = [];
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) {
    if (["keydown", "input", "click", "change"].includes(one.name)) {
      window.inputs.push({ name: one.name, work: one.processingEnd - one.processingStart, shown: one.duration });
    }
  }
}).observe({ type: "event", durationThreshold: 16, buffered: true });
"""


@pytest.fixture(scope="module", params=[2_000, pytest.param(10_000, marks=pytest.mark.slow)])
def many(request: pytest.FixtureRequest) -> int:
    """Incidents that are open: far more than are drawn, and as many as there may ever be."""
    return int(request.param)


@pytest.fixture(scope="module")
def busy(many: int) -> Iterator[MockCentre]:
    """Nothing here may change the incidents for the tests that follow."""
    centre = MockCentre(ground=scenes.ground(6, 4))
    state = scenes.worst()
    state["incident"] = desk_scene.many(many)
    state["counts"] = {"open": {**scenes.counts(state["incident"]), "total": many, "exercise": 0}}
    centre.set_state(state)
    desk_scene.answered(centre)
    with running(centre) as made:
        yield made


@pytest.fixture
def flooded() -> Iterator[MockCentre]:
    """Fourteen alarms of ten minutes, and fourteen incidents."""
    centre = MockCentre(ground=scenes.ground(6, 4))
    state = scenes.worst()
    for row in state["incident"].values():
        row |= {"version": 3, "co_units": []}
    state["alarm"] = desk_scene.flood()
    centre.set_state(state)
    desk_scene.answered(centre)
    with running(centre) as made:
        yield made


def at_desk(
    centre: MockCentre,
    open_page: OpenPage,
    path: str,
    width: int = 1920,
    height: int = 1080,
    role: str = "dispatcher",
) -> Page:
    centre.user = {"name": "zhang", "display_name": "张值班", "role": role, "unit": "U2"}
    page = open_page(f"{centre.url}{path}", width, height)
    page.wait_for_selector("[data-row]", timeout=PATIENCE_MS)
    return page


def row(page: Page, key: int) -> Locator:
    return page.locator(f"[data-row='{key}']")


def sound(page: Page) -> None:
    """Nothing cut or over another, nothing wider than the screen, and nothing that keeps anybody out."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert geometry.cut_texts(page) == []
    assert geometry.overlapping_texts(page) == []
    assert axe.violations(page) == []


def test_thousands_of_rows_stay_at_hand(busy: MockCentre, many: int, open_page: OpenPage) -> None:
    """Whatever is asked of the list, the work done is for the rows in sight; what it took is printed."""
    page = at_desk(busy, open_page, "/desk/open")
    rows = page.locator("[data-row]")

    def few() -> None:
        assert 0 < rows.count() <= DRAWN

    page.evaluate(WATCH_INPUT)
    expect(page.locator(".count")).to_have_text(f"{many} / {many} 行", timeout=PATIENCE_MS)
    few()
    page.keyboard.press("End")
    expect(page.locator(".cursor")).to_have_attribute("aria-posinset", str(many))
    few()
    page.keyboard.press("Home")
    expect(page.locator(".cursor")).to_have_attribute("aria-posinset", "1")
    for _ in range(30):
        page.keyboard.press("j")
    expect(page.locator(".cursor")).to_have_attribute("aria-posinset", "31")
    page.keyboard.press("Control+a")
    expect(page.locator(".chosen")).to_contain_text(f"已选 {many} 行")
    few()
    page.keyboard.press("Escape")
    expect(page.locator(".chosen")).to_have_count(0)
    page.keyboard.press("o")
    expect(page.get_by_role("button", name="时限")).to_have_attribute("aria-pressed", "true")

    page.keyboard.press("/")
    page.keyboard.type("0777")
    expect(page.locator(".count")).to_have_text(f"1 / {many} 行")
    expect(row(page, 777)).to_be_visible()
    page.keyboard.press("Enter")
    page.get_by_label("全部街道").focus()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="清除筛选").click()
    page.get_by_label("等级", exact=True).select_option("C")
    expect(page.locator(".count")).to_have_text(f"{many // 4} / {many} 行")
    few()
    assert "class=C" in page.url
    assert "sort=deadline" in page.url
    told(page)
    page.reload()
    expect(page.locator(".count")).to_have_text(f"{many // 4} / {many} 行", timeout=PATIENCE_MS)


def told(page: Page) -> None:
    """How long the page worked on each kind of input, for whoever runs this with -s."""
    inputs: list[dict[str, Any]] = page.evaluate("window.inputs")
    for name in sorted({one["name"] for one in inputs}):
        work = sorted(one["work"] for one in inputs if one["name"] == name)
        sys.stdout.write(
            f"\n{name}: {len(work)} took a frame, median {work[len(work) // 2]:.0f} ms, most {work[-1]:.0f} ms"
        )


def test_the_chosen_row_stays_in_its_place_and_says_when_it_changes(
    busy: MockCentre, open_page: OpenPage
) -> None:
    page = at_desk(busy, open_page, "/desk/open?class=A", 1280, 720)
    for _ in range(40):
        page.keyboard.press("j")
    cursor = page.locator(".cursor")
    expect(cursor).to_have_attribute("aria-posinset", "40")
    key = cursor.get_attribute("data-row") or ""
    before = cursor.bounding_box()
    fresh = scenes.incident(
        20_004, "C001001", version=1, co_units=[], acknowledged_at=None, due_at=scenes.at(-100)
    )
    fresh |= {"class": "A"}
    busy.publish({"incident": {"20004": fresh}})
    expect(cursor).to_have_attribute("aria-posinset", "41")
    assert cursor.get_attribute("data-row") == key
    assert cursor.bounding_box() == before

    held = busy.hub.topics["incident"][key]
    busy.publish({"incident": {key: {**held, "state": "arrived", "version": 4}}})
    expect(page.locator(".said")).to_contain_text(f"{held['number']} 刚有变化：已派遣 → 已到场")
    busy.publish({"incident": {key: None, "20004": None}})
    expect(page.locator(".said")).to_contain_text("已不在本列表")
    expect(cursor).to_have_count(0)  # a key that follows must not act on the row that took its place
    busy.publish({"incident": {key: held}})
    sound(page)  # with names of eighty characters, and three hundred incidents in one cell


def test_what_was_refused_stays_ticked_with_its_reason(flooded: MockCentre, open_page: OpenPage) -> None:
    page = at_desk(flooded, open_page, "/desk/open")
    flooded.answers["/api/incidents/bulk"] = desk_scene.outcome(
        "dispatch", [4, 12], {8: ("该单位已停用", "the unit is not at work")}
    )
    page.keyboard.press("j")
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Shift+ArrowDown")
    expect(page.locator("[aria-selected=true]")).to_have_count(3)
    page.keyboard.press("u")
    form = page.get_by_role("form", name="派给…")
    form.get_by_label("原因").fill("一队在修车")
    page.keyboard.press("Enter")
    expect(form.get_by_role("alert")).to_contain_text("请选择单位")
    expect(form).to_contain_text("将立即通知相关单位")
    assert flooded.asked == []
    form.get_by_label("责任单位").select_option("U2")
    form.get_by_label("原因").press("Enter")
    expect(page.locator(".outcome")).to_contain_text("未完成 1，仍勾选")
    expect(page.locator(".outcome")).to_contain_text("该单位已停用")
    expect(page.locator("[aria-selected=true]")).to_have_count(1)
    expect(row(page, 8)).to_have_attribute("aria-selected", "true")
    (_, path, body) = flooded.asked[-1]
    assert path == "/api/incidents/bulk"
    assert (body["action"], body["ids"]) == ("dispatch", [4, 8, 12])
    assert body["fields"] == {"unit": "U2", "reason": "一队在修车"}
    assert body["versions"] == {"4": 3, "8": 3, "12": 3}
    sound(page)
    page.get_by_role("button", name="English").click()
    expect(page.locator(".outcome")).to_contain_text("the unit is not at work")
    sound(page)


def test_a_merge_is_undone_and_one_row_is_too_few(flooded: MockCentre, open_page: OpenPage) -> None:
    page = at_desk(flooded, open_page, "/desk/open")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("m")
    expect(page.locator(".chosen").get_by_role("alert")).to_contain_text("至少选择两件")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("m")
    flooded.answers["/api/incidents/bulk"] = desk_scene.outcome("merge", [8], {})
    form = page.get_by_role("form", name="合并")
    form.get_by_label("原因").fill("同一处火")
    form.get_by_label("原因").press("Enter")
    expect(page.locator(".outcome")).to_contain_text("合并：完成 1")
    assert flooded.asked[-1][2]["fields"] == {"into": 4, "reason": "同一处火"}
    assert flooded.asked[-1][2]["ids"] == [8]
    page.keyboard.press("z")
    expect(page.locator(".outcome")).to_contain_text("拆分：完成 1")
    assert (flooded.asked[-1][2]["action"], flooded.asked[-1][2]["ids"]) == ("split", [8])


def test_a_log_in_that_ends_half_way_keeps_the_rest_ticked(flooded: MockCentre, open_page: OpenPage) -> None:
    page = at_desk(flooded, open_page, "/desk/open")
    page.keyboard.press("j")
    page.keyboard.press("Control+a")
    page.keyboard.press("e")
    form = page.get_by_role("form", name="提级")
    form.get_by_label("原因").fill("全区暴雨")
    flooded.refuse["/api/incidents/bulk"] = (401, {"title": "Log in"})
    form.get_by_label("原因").press("Enter")
    expect(page.get_by_label("用户名")).to_be_visible()
    expect(page.get_by_role("listbox")).to_have_count(0)  # out of sight and out of reach, but kept
    page.keyboard.press("a")
    flooded.refuse.clear()
    flooded.answers["/api/incidents/bulk"] = desk_scene.outcome("escalate", list(range(1, 15)), {})
    page.get_by_label("用户名").fill("zhang")
    page.get_by_label("密码").fill("right")
    page.get_by_role("button", name="登录").click()
    expect(page.locator(".outcome")).to_contain_text("14 行未发送，仍勾选")
    expect(page.locator("[aria-selected=true]")).to_have_count(14)
    page.get_by_role("button", name="继续").click()
    expect(page.locator(".outcome")).to_contain_text("提级：完成 14")
    expect(page.locator("[aria-selected=true]")).to_have_count(0)
    sent = [body for _, path, body in flooded.asked if path == "/api/incidents/bulk"]
    assert len(sent) == 2
    assert sent[0] == sent[1]
    keys = [key for key in flooded.keys if key is not None]
    assert keys[-1] == keys[-2]  # what was done already is not done twice


def test_a_flood_of_alarms_is_a_few_causes(flooded: MockCentre, open_page: OpenPage) -> None:
    page = at_desk(flooded, open_page, "/desk/alarms")
    flood = page.get_by_role("region", name="报警洪峰")
    expect(flood).to_contain_text("10 分钟 14 条报警，3 组原因")
    causes = flood.locator("li")
    expect(causes.nth(0)).to_contain_text("同一事件 20261121-0008")
    expect(causes.nth(0)).to_contain_text("6 条，6 条待确认")
    expect(causes.nth(0)).to_contain_text("首出 smoke-0001")
    expect(causes.nth(1)).to_contain_text("同时失联")
    # Waiting first: unseen, then returned unseen, then known, then silent.
    states = page.locator("[data-row] .when .line:last-child").all_text_contents()
    assert [states.index(one) for one in ("未确认", "已恢复未确认", "已确认")] == [0, 14, 15]
    assert "搁置至" in states[16]

    page.keyboard.press("2")
    expect(page.locator("[aria-selected=true]")).to_have_count(6)
    flooded.answers["/api/alarms/bulk"] = desk_scene.outcome("acknowledge", [11, 12, 13, 14, 15, 16], {})
    page.keyboard.press("a")
    expect(page.locator(".outcome")).to_contain_text("确认报警：完成 6")
    assert sorted(flooded.asked[-1][2]["ids"]) == [11, 12, 13, 14, 15, 16]
    sound(page)

    causes.nth(0).get_by_role("button", name="全部搁置").click()
    form = page.get_by_role("form", name="搁置")
    form.get_by_label("原因").fill("消防演练误触")
    flooded.answers["/api/alarms/bulk"] = desk_scene.outcome("shelve", [1, 2, 3, 4, 5, 6], {})
    form.get_by_label("原因").press("Enter")
    expect(page.locator(".outcome")).to_contain_text("搁置：完成 6")
    body = flooded.asked[-1][2]
    assert (body["action"], body["fields"]["reason"]) == ("shelve", "消防演练误触")
    assert scenes.at(110) < body["fields"]["until"] < scenes.at(121)
    page.keyboard.press("z")
    expect(page.locator(".outcome")).to_contain_text("取消搁置：完成 6")
    assert flooded.asked[-1][2]["action"] == "unshelve"

    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("region", name="Alarm flood")).to_contain_text("one incident 20261121-0008")
    page.get_by_role("listbox").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    expect(page.locator(".page")).to_contain_text("the limit 70 %")
    sound(page)
    page.get_by_role("link", name="Open incidents").click()
    expect(page.locator(".flood")).to_contain_text("See by cause")


def test_every_key_is_in_the_list_and_none_fires_while_one_types(
    flooded: MockCentre, open_page: OpenPage
) -> None:
    page = at_desk(flooded, open_page, "/desk/open", 1280, 720)
    page.keyboard.press("/")
    page.keyboard.type("adumse?")
    expect(page.get_by_label("查找：")).to_have_value("adumse?")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(page.get_by_label("查找：")).to_have_value("")
    page.keyboard.press("j")
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog")
    shown = dialog.locator("kbd").all_text_contents()
    wanted = [
        "j",
        "↓",
        "k",
        "Enter",
        "Space",
        "Shift + ↓",
        "Ctrl + A",
        "a",
        "d",
        "u",
        "m",
        "s",
        "e",
        "/",
        "Esc",
        "?",
    ]
    assert [one for one in wanted if one not in shown] == []
    assert axe.violations(page) == []
    page.keyboard.press("a")  # what lies under the dialog is out of reach
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert "/incidents/" not in page.url
    page.goto(f"{flooded.url}/desk/incidents/8?in=unassigned")  # a link that somebody sent
    expect(page.locator(".page h2")).to_contain_text("烟感报警")
    expect(page.get_by_role("link", name="未分派")).to_have_attribute("aria-current", "page")
    page.keyboard.press("Escape")
    expect(page).to_have_url(f"{flooded.url}/desk/unassigned")


def test_a_unit_sees_what_it_leads_and_where_it_helps(
    busy: MockCentre, many: int, open_page: OpenPage
) -> None:
    page = at_desk(busy, open_page, "/desk/mine", role="handler")
    expect(page.locator(".count")).to_have_text(f"{many // 5} / {many // 5} 行")
    page.keyboard.press("j")
    page.keyboard.press("x")
    buttons = page.locator(".chosen .buttons button").all_text_contents()
    assert [one.strip() for one in buttons] == ["a 签收", "取消勾选"]  # the centre decides the rest


@pytest.fixture(scope="module")
def real(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    """A fire in one cell and six more alarms, each an incident; a dispatcher who may act."""
    with on_fresh_ground(postgres_server, postgres_template) as centre:
        alarm_of(centre, "D1")
        for _ in range(3):
            body = {"category": "fire", "cell": "C1", "text": "smoke"}
            assert centre.client.post("/api/incidents", json=body).status_code == 201
        alarm_of(centre, "W1", "flood.level")
        person(centre, "dispatcher").close()
        yield centre


def test_at_a_real_centre_alarms_and_incidents_are_worked_off_by_keys(
    real: Centre, open_page: OpenPage
) -> None:
    page = open_page(f"{real.base}/desk/alarms?lang=en", 1920, 1080)
    page.get_by_label("User name").fill("dispatcher")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()
    expect(page.locator("[data-row]")).to_have_count(2, timeout=PATIENCE_MS)
    page.keyboard.press("/")
    page.keyboard.type("D1")
    page.keyboard.press("Enter")
    expect(page.locator("[data-row]")).to_have_count(1)
    page.keyboard.press("j")
    page.keyboard.press("a")
    expect(page.locator(".outcome")).to_contain_text("1 done")
    expect(page.locator("[data-row]")).to_contain_text("Acknowledged")  # by the centre's own word
    page.keyboard.press("h")
    form = page.get_by_role("form", name="Shelve")
    form.get_by_label("Reason").fill("detector is being cleaned")
    form.get_by_label("Reason").press("Enter")
    expect(page.locator(".outcome")).to_contain_text("administrator only")  # a class A fire
    expect(page.locator("[aria-selected=true]")).to_have_count(1)
    page.get_by_role("button", name="Clear filters").click()
    page.get_by_role("button", name="中文").click()

    page.get_by_role("link", name="未结事件").click()
    page.get_by_label("全部单位").select_option("U1")
    page.get_by_role("listbox").focus()
    page.keyboard.press("Control+a")
    page.keyboard.press("u")
    form = page.get_by_role("form", name="派给…")
    form.get_by_label("责任单位").select_option("U2")
    form.get_by_label("原因").fill("一队在修车")
    form.get_by_label("原因").press("Enter")
    expect(page.locator(".outcome")).to_contain_text("完成")
    expect(page.get_by_text("没有符合条件的行")).to_be_visible()  # all of them are Crew 2's now
    units = real.execute(
        "SELECT DISTINCT u.code FROM incidents i JOIN units u ON u.id = i.unit_id WHERE i.category LIKE 'fire%%'"
    )
    assert units == [("U2",)]
    page.get_by_role("button", name="清除筛选").click()
    expect(page.locator("[data-row]").first).to_contain_text("二队")
    sound(page)
