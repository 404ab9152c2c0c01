"""The settings against a real centre, through the page: each change is looked at before it is made, and then holds."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser import axe, geometry
from tests.browser.settings_scene import log_in, served
from tests.integration.running_centre import Centre
from tests.servers.postgres import PostgresServer


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    with served(postgres_server, postgres_template) as made:
        yield made


@pytest.fixture(scope="module")
def desk(browser: Browser, centre: Centre) -> Iterator[Page]:
    """One page for all, logged in as administrator; any error of the page fails the test that is running."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if "Content Security" in said.text else None)
    page.goto(f"{centre.base}/settings/rules?lang=zh")
    log_in(page, "boss")
    yield page
    page.context.close()
    assert errors == []


def at(page: Page, centre: Centre, place: str, language: str = "zh") -> None:
    page.goto(f"{centre.base}/settings/{place}?lang={language}")
    expect(page.locator("main .settings-part")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("正在载入…" if language == "zh" else "Loading…")).to_have_count(0, timeout=60_000)


def step(page: Page, place: str, language: str) -> None:
    """To another part without loading the page anew, as its own links do."""
    page.evaluate(
        "(to) => { history.pushState(null, '', to); dispatchEvent(new PopStateEvent('popstate')); }",
        f"/settings/{place}?lang={language}",
    )
    expect(page.locator(".settings-part")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("正在载入…" if language == "zh" else "Loading…")).to_have_count(0, timeout=60_000)


def reason(page: Page, words: str, button: str) -> None:
    form = page.locator("form", has=page.locator("textarea[required]")).last
    form.locator("textarea").fill(words)
    form.get_by_role("button", name=button, exact=True).click()


def test_a_rule_is_tried_on_history_and_then_put_in_force(desk: Page, centre: Centre) -> None:
    at(desk, centre, "rules")
    expect(desk.get_by_role("row", name=re.compile("烟雾浓度过高"))).to_contain_text("启用中（版本 1）")
    desk.get_by_role("link", name="烟雾浓度过高").click()
    expect(desk.get_by_text("范围内现有 20 台设备")).to_be_visible()

    limit = desk.locator("fieldset", has_text="按什么判断").get_by_role("textbox", name="报警限值")
    limit.fill("-5")
    limit.press("Tab")
    expect(desk.locator(".wrong").first).to_contain_text("报警限值")
    limit.fill("60")
    limit.press("Tab")
    expect(desk.locator(".wrong")).to_have_count(0)

    desk.get_by_role("button", name="预演", exact=True).click()
    result = desk.get_by_role("region", name="用历史数据预演")
    # A process of its own is started for it, which takes its time beside others.
    expect(result.locator("dl")).to_contain_text(re.compile(r"报警次数\s*4"), timeout=60_000)
    expect(result.locator("dl")).to_contain_text(re.compile(r"新增\s*\+3"))
    expect(result.locator("dl")).to_contain_text(re.compile(r"相同\s*1"))
    expect(result.get_by_role("row", name=re.compile("^新增 D1"))).to_have_count(3)
    expect(result.get_by_role("img", name=re.compile("D1"))).to_be_visible()

    reason(desk, "现场核实 60 即可见烟", "保存并启用")
    expect(desk.get_by_text("版本 2 已启用")).to_be_visible()
    assert centre.client.get("/api/rules/smoke-high").json()["definition"]["raise_at"] == 60

    desk.get_by_role("link", name="版本与变更").click()
    desk.get_by_role("button", name="与当前比较版本 1").click()
    expect(desk.get_by_role("row", name=re.compile("报警限值"))).to_contain_text("70")
    reason(desk, "误报过多", "回退到版本 1")
    expect(desk.get_by_text("版本 1 已启用")).to_be_visible()
    assert centre.client.get("/api/rules/smoke-high").json()["version"] == 1


def test_a_rule_file_says_what_is_wrong_at_the_key(desk: Page, centre: Centre) -> None:
    at(desk, centre, "rules/smoke-high", "en")
    expect(desk.get_by_text("20 devices are in its scope now")).to_be_visible()
    desk.get_by_role("button", name="Rule file (TOML)").click()
    file = desk.get_by_label("The rule as a file")
    expect(file).to_have_value(re.compile("raise_at = 70"))
    file.fill(file.input_value().replace('level = "red"', 'level = "pink"'))
    desk.get_by_role("button", name="Check and take this text").click()
    expect(desk.get_by_role("alert")).to_contain_text("choose one of blue, yellow, orange, red")
    desk.get_by_role("button", name="Form", exact=True).click()
    expect(desk.locator(".field.wrong")).to_contain_text("Colour of the alarm")


def test_a_responsibility_is_begun_and_the_simulation_follows(desk: Page, centre: Centre) -> None:
    at(desk, centre, "responsibilities")
    desk.get_by_role("button", name="新增条目").click()
    form = desk.get_by_role("region", name="职责清单条目")
    form.get_by_label("类别").fill("fire.smoke")
    form.get_by_label("牵头单位").fill("U2")
    form.get_by_label("处置", exact=True).fill("20m")
    reason(desk, "二队接手烟雾警情", "保存")
    expect(desk.get_by_text("条目已保存")).to_be_visible()
    row = desk.get_by_role("row", name=re.compile("烟雾"))
    expect(row).to_contain_text("处置 20 分钟")

    desk.get_by_role("link", name="会派给谁").click()
    desk.get_by_label("类别").fill("fire.smoke")
    desk.get_by_label("网格").fill("C1")
    desk.get_by_role("button", name="推演").click()
    expect(desk.get_by_role("heading", name="二队")).to_be_visible()
    expect(desk.get_by_role("row", name=re.compile("采用"))).to_contain_text("fire.smoke")

    desk.get_by_role("link", name="变更记录").click()
    expect(desk.get_by_text("二队接手烟雾警情")).to_be_visible()


def test_a_responsibility_that_is_changed_elsewhere_meanwhile_is_refused(desk: Page, centre: Centre) -> None:
    at(desk, centre, "responsibilities", "en")
    desk.get_by_role("row", name=re.compile("^Fire fire ")).get_by_role(
        "button", name=re.compile("Change entry")
    ).click()
    entry = next(
        one for one in centre.client.get("/api/responsibilities").json()["items"] if one["category"] == "fire"
    )
    changed = centre.client.patch(
        f"/api/responsibilities/{entry['id']}",
        json={"co_units": ["U2"], "reason": "meanwhile"},
        headers={"If-Match": f'"{entry["version"]}"'},
    )
    assert changed.status_code == 200, changed.text
    form = desk.get_by_role("region", name="Entry of the list")
    form.get_by_label("Lead unit").fill("U2")
    reason(desk, "too late", "Save")
    expect(form.get_by_role("alert")).to_be_visible()


def test_a_file_of_the_list_is_tried_before_it_is_taken_in(desk: Page, centre: Centre) -> None:
    at(desk, centre, "responsibilities/sheet", "en")
    sheet = centre.client.get("/api/responsibilities.csv").text
    kept = "\n".join(line for line in sheet.splitlines() if "fire.smoke" not in line) + "\n"
    desk.locator("input[type=file]").set_input_files(
        {"name": "list.csv", "mimeType": "text/csv", "buffer": kept.encode()}
    )
    expect(desk.get_by_role("status").filter(has_text="list.csv")).to_contain_text("1 would end")
    reason(desk, "back to one crew", "Take it in")
    expect(desk.get_by_text("Taken in: 0 began, 1 ended")).to_be_visible()


def test_a_day_is_made_free_after_its_effect_was_seen(desk: Page, centre: Centre) -> None:
    at(desk, centre, "calendar")
    desk.get_by_label("年份").fill("2026")
    day = desk.locator("[data-day='2026-12-16']")
    expect(day).to_have_accessible_name(re.compile("2026-12-16、工作日"))
    day.click()
    expect(day).to_have_accessible_name(re.compile("放假、本区规定"))
    desk.keyboard.press("ArrowRight")
    expect(desk.locator("[data-day='2026-12-17']")).to_be_focused()
    desk.get_by_label("2026-12-16 的说明").fill("建区日")
    desk.get_by_role("button", name="查看影响").click()
    expect(desk.get_by_text(re.compile("件在办事件"))).to_be_visible()
    reason(desk, "区政府办〔2026〕9 号", "保存日历")
    expect(desk.get_by_text("日历已保存")).to_be_visible()
    stored = centre.client.get("/api/calendar", params={"year": "2026"}).json()["days"]
    assert stored == [{"day": "2026-12-16", "working": False, "note": "建区日"}]


def test_the_ladder_of_urging_is_changed(desk: Page, centre: Centre) -> None:
    at(desk, centre, "calendar/urging", "en")
    before = len(centre.client.get("/api/urging").json()["items"])
    desk.get_by_role("button", name="Add a step").click()
    desk.get_by_label(f"Step {before + 1} At", exact=True).fill("+400%")
    reason(desk, "one call more", "Save the ladder")
    expect(desk.get_by_text("The ladder is saved")).to_be_visible()
    assert len(centre.client.get("/api/urging").json()["items"]) == before + 1


def test_an_account_is_made_and_logs_in_for_the_first_time(
    desk: Page, centre: Centre, browser: Browser
) -> None:
    at(desk, centre, "users")
    desk.get_by_role("button", name="新建账号").click()
    desk.get_by_label("新账号用户名").fill("wang")
    desk.get_by_role("button", name="创建账号").click()
    secret = desk.locator(".secret code").inner_text()
    assert len(secret) >= 10
    row = desk.get_by_role("row", name=re.compile("^wang"))
    expect(row).to_contain_text("待首次登录")
    row.get_by_role("button", name="修改账号 wang").click()
    form = desk.get_by_role("form", name="修改账号 wang")
    form.get_by_label("角色").select_option("dispatcher")
    form.get_by_role("button", name="保存").click()
    expect(row).to_contain_text("分拨员")
    expect(desk.get_by_role("alert")).to_have_count(0)

    own = browser.new_page()
    own.goto(f"{centre.base}/settings/users?lang=en")
    own.locator("input[autocomplete=username]").fill("wang")
    own.locator("input[type=password]").fill(secret)
    own.locator("button.main").click()
    own.get_by_label("Present password").fill(secret)
    own.get_by_label("New password (at least 15 characters, some words are fine)").fill(
        "wang-has-chosen-this"
    )
    own.get_by_label("New password again").fill("wang-has-chosen-this")
    own.locator("button.main").click()
    expect(own.get_by_text("Dispatcher", exact=False).first).to_be_visible()
    expect(own.get_by_role("link", name="Accounts")).to_have_count(0)  # not for a dispatcher

    own.goto(f"{centre.base}/settings/audit?lang=en")
    expect(own.get_by_role("alert")).to_contain_text("Audit is for another role (Supervisor or above)")
    own.goto(f"{centre.base}/settings/users/me?lang=en")
    own.get_by_role("button", name="Add a contact").click()
    own.get_by_label("Address").fill("wang@example.org")
    own.get_by_role("button", name="Save", exact=True).click()
    expect(own.get_by_text("Saved", exact=True)).to_be_visible()
    own.context.close()
    assert centre.execute("SELECT address FROM contacts WHERE user_id IS NOT NULL") == [("wang@example.org",)]


def test_what_is_kept_of_a_reporter_is_given_out_and_erased_when_asked_twice(
    desk: Page, centre: Centre
) -> None:
    contact = {"name": "陈先生", "phone": "13800001111"}
    body = {"text": "井盖冒水", "cell": "C1", "contact": contact, "category": "public.person"}
    assert centre.client.post("/api/reports", json=body).status_code == 201
    at(desk, centre, "users/reporter")
    desk.get_by_label("号码").fill("13800001111")
    desk.get_by_label("原因").fill("本人书面申请")
    with desk.expect_download() as told:
        desk.get_by_role("button", name="导出全部信息").click()
    assert (
        json.loads(told.value.path().read_text(encoding="utf-8"))["reports"][0]["contact"]["phone"]
        == "13800001111"
    )
    desk.get_by_role("button", name="删除个人信息", exact=True).click()
    expect(desk.get_by_text("无法恢复")).to_be_visible()
    assert centre.execute("SELECT count(*) FROM reports WHERE erased_at IS NULL") == [(1,)]
    desk.get_by_role("button", name="确认删除个人信息？").click()
    expect(desk.get_by_text("已删除 1 条报事中的个人信息")).to_be_visible()
    desk.get_by_role("button", name="导出全部信息").click()
    expect(desk.get_by_text("找到 0 条报事")).to_be_visible()


def test_the_last_administrator_stays_one(desk: Page, centre: Centre) -> None:
    at(desk, centre, "users", "en")
    desk.get_by_role("button", name="Change account boss").click()
    form = desk.get_by_role("form", name="Change account boss")
    form.get_by_label("Role").select_option("viewer")
    form.get_by_role("button", name="Save").click()
    expect(desk.get_by_role("alert")).to_contain_text("only administrator")
    expect(desk.get_by_role("row", name=re.compile("^boss"))).to_contain_text("Administrator")


def test_a_roster_is_written_and_its_gaps_are_told(desk: Page, centre: Centre) -> None:
    at(desk, centre, "users/duty/U1")
    desk.get_by_role("button", name="增加班次").click()
    desk.get_by_label("班次名称").fill("白班")
    desk.get_by_role("button", name="增加人员").click()
    desk.get_by_label("姓名").fill("李队长")
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    desk.get_by_label("开始").last.fill(f"{tomorrow:%Y-%m-%dT08:00}")
    desk.get_by_label("结束").last.fill(f"{tomorrow:%Y-%m-%dT20:00}")
    desk.get_by_role("button", name="保存值班表").click()
    expect(desk.get_by_text("值班表已保存")).to_be_visible()
    expect(desk.get_by_role("row", name=re.compile("^一队"))).to_contain_text("处，最近")


def test_a_roster_is_not_written_before_it_is_there(desk: Page, centre: Centre) -> None:
    held: list[Route] = []
    desk.route("**/api/units/U1/roster", lambda route: held.append(route))  # noqa: PLW0108 - it marks the function
    at(desk, centre, "users/duty/U1")
    expect(desk.get_by_role("heading", name=re.compile("U1"))).to_be_visible()
    expect(desk.get_by_role("button", name="增加班次")).to_have_count(0)
    desk.wait_for_timeout(0)  # lets what was asked for arrive here
    assert held
    for route in held:
        route.continue_()
    expect(desk.get_by_role("button", name="增加班次")).to_be_visible()


def test_quarantined_messages_are_looked_at_and_replayed(desk: Page, centre: Centre) -> None:
    at(desk, centre, "quarantine")
    group = desk.get_by_role("row", name="city/440399/smoke/D1")
    group.get_by_role("button", name="查看").click()
    messages = desk.get_by_role("region", name="消息")
    messages.get_by_role("button", name=re.compile("^#")).first.click()
    expect(messages.locator("pre")).to_have_text('{"value": \\x01')
    messages.get_by_role("button", name="按字节显示").click()
    expect(messages.locator("pre")).to_contain_text("7b 22 76 61 6c 75 65 22 3a 20 01")
    messages.get_by_role("checkbox").first.check()
    messages.get_by_role("button", name="重放所选 (1)").click()
    expect(desk.get_by_role("row", name="city/440399/smoke/D1")).to_contain_text("等待 1")


def test_who_saw_and_did_what_is_searched_and_taken_out(desk: Page, centre: Centre) -> None:
    centre.client.get("/api/register/export/devices.csv")
    at(desk, centre, "audit")
    desk.get_by_label("操作", exact=True).fill("register.exported")
    desk.get_by_label("操作", exact=True).press("Enter")
    row = desk.get_by_role("row").filter(has_text="/api/register/export/devices.csv").first
    expect(row).to_contain_text("部署令牌")
    expect(row).to_contain_text("导出设备名录")
    assert "action=register.exported" in desk.url
    href = desk.get_by_role("link", name="导出 CSV").get_attribute("href")
    assert href == "/api/audit.csv?action=register.exported"


def test_the_health_page_says_what_is_wrong_and_what_to_do(desk: Page, centre: Centre) -> None:
    at(desk, centre, "health", "en")
    expect(desk.get_by_role("heading", name=re.compile("^Not well: [1-9]"))).to_be_visible()
    expect(desk.locator("li.fail").filter(has_text=re.compile("Ingest ·"))).to_contain_text(
        "What to do: start `city ingest`"
    )


PLACES = (
    "rules", "rules/new", "rules/smoke-high", "rules/smoke-high/versions", "responsibilities",
    "responsibilities/simulate", "responsibilities/coverage", "responsibilities/sheet", "responsibilities/history",
    "calendar", "calendar/urging", "users", "users/roles", "users/duty", "users/reporter", "users/tokens", "users/me",
    "quarantine", "audit", "health",
)  # fmt: skip


@pytest.mark.parametrize(
    ("language", "places"),
    [
        ("zh", PLACES[::2]),
        ("en", (*PLACES[1::2], "users/roles")),
        pytest.param("zh", PLACES, marks=pytest.mark.slow),
        pytest.param("en", PLACES, marks=pytest.mark.slow),
    ],
    ids=["zh", "en", "zh-all", "en-all"],
)
def test_every_part_fits_and_is_for_everybody(
    desk: Page, centre: Centre, language: str, places: tuple[str, ...]
) -> None:
    desk.set_viewport_size({"width": 1280, "height": 720})
    found: dict[str, list[str]] = {}
    at(desk, centre, places[0], language)
    for place in places:
        step(desk, place, language)
        found[place] = [
            *geometry.cut_texts(desk),
            *geometry.overlapping_texts(desk),
            *axe.violations(desk),
        ]
        assert desk.evaluate("() => document.documentElement.scrollWidth") <= 1280, place
        shown = desk.locator("main").inner_text()
        assert not re.search(r"\bnull\b|NaN|undefined|rulekey\.|noun\.", shown), place
        if place == "users/roles":
            nouns = desk.locator("th[scope=row] button").all_inner_texts()
            chinese = [bool(re.search(r"[\u4e00-\u9fff]", noun)) for noun in nouns]
            assert set(chinese) == {language == "zh"}, nouns
    assert {place: wrong for place, wrong in found.items() if wrong} == {}
