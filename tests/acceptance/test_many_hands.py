"""A detector smokes, and four people end it: wall, desk, telephone, verifier; in Chinese, and in English."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.acceptance.stand import Stand
from tests.acceptance.test_main_job import wait_for_state

OpenPage = Callable[..., Page]
PASSWORD = "five quiet herons"
PATIENCE_MS = 60_000
PHONE = {"width": 390, "height": 844}
WORDS = {
    "zh": {
        "name": "用户名", "password": "密码", "enter": "登录", "as_of": "的数据", "take": "签收", "there": "我已到场",
        "done": "处置完毕…", "what": "处置情况", "ok": "确定", "sent": "没有待发送的内容", "verify": "核查通过",
        "archive": "归档", "reason": "原因", "comment": "备注",
    },
    "en": {
        "name": "User name", "password": "Password", "enter": "Log in", "as_of": "as of", "take": "Acknowledge",
        "there": "I am on site", "done": "It is done…", "what": "What was done", "ok": "Confirm",
        "sent": "Nothing waits to be sent", "verify": "Verified", "archive": "Archive", "reason": "Reason",
        "comment": "Comment",
    },
}  # fmt: skip


@pytest.fixture
def telephone(browser: Browser) -> Iterator[Callable[[str], Page]]:
    """A function address -> page on a telephone of its own, with touch."""
    opened = []

    def at(address: str) -> Page:
        context = browser.new_context(viewport=PHONE, has_touch=True)  # type: ignore[arg-type]  # two sizes
        context.set_default_timeout(PATIENCE_MS)
        opened.append(context)
        page = context.new_page()
        page.goto(address)
        return page

    yield at
    for context in opened:
        context.close()


def account(stand: Stand, name: str, role: str, unit: str | None = None) -> str:
    """Somebody who has logged in once and chosen a password; answers the name."""
    made = (
        stand.api.post("/api/users", json={"name": name, "role": role, "unit": unit})
        .raise_for_status()
        .json()
    )
    with httpx.Client(base_url=stand.url, timeout=60) as client:
        secret = made["one_time_secret"]
        client.post("/api/session", json={"name": name, "password": secret}).raise_for_status()
        change = {"current": secret, "new": PASSWORD}
        client.post("/api/session/password", json=change).raise_for_status()
    return name


def enter(page: Page, name: str, words: dict[str, str]) -> Page:
    page.get_by_label(words["name"]).fill(name)
    page.get_by_label(words["password"]).fill(PASSWORD)
    page.get_by_role("button", name=words["enter"], exact=True).click()
    return page


def act(page: Page, action: str, field: str, text: str, ok: str) -> None:
    """One step on the incident's page, with what has to be said."""
    page.get_by_role("button", name=action, exact=True).first.click()
    form = page.locator("article form").last
    form.get_by_label(field).fill(text)
    # By key: once a click while the page still loaded sent nothing, as if the button had moved under the pointer.
    form.get_by_role("button", name=ok).press("Enter")
    expect(form).to_have_count(0, timeout=PATIENCE_MS)


def wait_until_clear(stand: Stand, incident: dict[str, Any]) -> None:
    deadline = time.monotonic() + PATIENCE_MS / 1000
    standing = None
    while standing != 0 and time.monotonic() < deadline:
        standing = (
            stand.api.get(f"/api/incidents/{incident['id']}").raise_for_status().json()["standing_alarms"]
        )
        time.sleep(0.05)
    assert standing == 0


def on_the_phone(phone: Page, incident: dict[str, Any], stand: Stand, words: dict[str, str]) -> None:
    """Acknowledged, arrived and handled by thumb."""
    expect(phone.get_by_text(words["as_of"])).to_be_visible(timeout=PATIENCE_MS)
    phone.locator(f"a[href='/field/orders/{incident['id']}']").click()
    phone.get_by_role("button", name=words["take"], exact=True).click()
    wait_for_state(stand, incident, "acknowledged")
    phone.get_by_role("button", name=words["there"]).click()
    wait_for_state(stand, incident, "arrived")
    phone.get_by_role("button", name=words["done"]).click()
    phone.get_by_label(words["what"]).fill("a pan on the stove; aired")
    phone.get_by_role("button", name=words["ok"]).click()
    wait_for_state(stand, incident, "handled")


@pytest.mark.parametrize("language", ["zh", pytest.param("en", marks=pytest.mark.slow)])
def test_from_smoke_to_archive_through_every_hand(
    stand: Stand, open_page: OpenPage, telephone: Callable[[str], Page], language: str
) -> None:
    cell, device = stand.detectors()[0]
    words = WORDS[language]
    wall = open_page(f"{stand.url}/wall?lang={language}")
    wall.wait_for_selector(".wall[data-stale=false]")
    stand.publish_smoke(cell, device, 88)
    row = wall.locator(".incidents [data-incident]")
    expect(row).to_have_count(1, timeout=PATIENCE_MS)
    (incident,) = [one for one in stand.open_incidents() if device in one["devices"]]

    dispatcher = account(stand, f"fen-{language}", "dispatcher")
    handler = account(stand, f"chu-{language}", "handler", incident["unit"])
    verifier = account(stand, f"ge-{language}", "grid_worker")
    desk = enter(open_page(f"{stand.url}/desk/incidents/{incident['id']}?lang={language}"), dispatcher, words)
    expect(desk.locator("article")).to_contain_text(incident["number"], timeout=PATIENCE_MS)
    phone = enter(telephone(f"{stand.url}/field?lang={language}"), handler, words)
    on_the_phone(phone, incident, stand, words)
    expect(desk.locator("[data-kind=handled]")).to_contain_text("a pan on the stove", timeout=PATIENCE_MS)

    stand.publish_smoke(cell, device, 4)
    address = f"{stand.url}/desk/incidents/{incident['id']}?lang={language}"
    second = enter(open_page(address), verifier, words)
    act(second, words["verify"], words["comment"], "no smoke, nobody hurt", words["ok"])
    wait_for_state(stand, incident, "verified")
    wait_until_clear(stand, incident)  # what still burns is not filed away
    expect(desk.locator("[data-kind=verified]")).to_have_count(1, timeout=PATIENCE_MS)
    act(desk, words["archive"], words["reason"], "closed", words["ok"])
    wait_for_state(stand, incident, "archived")
    expect(row).to_have_count(0, timeout=PATIENCE_MS)
    kinds = [
        one["kind"] for one in stand.api.get(f"/api/incidents/{incident['id']}/timeline").json()["items"]
    ]
    steps = [
        one
        for one in kinds
        if one in ("opened", "dispatched", "acknowledged", "arrived", "handled", "verified", "archived")
    ]
    assert steps == ["opened", "dispatched", "acknowledged", "arrived", "handled", "verified", "archived"]
