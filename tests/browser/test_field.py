"""A handler's telephone on a real centre: orders and steps, everything without signal, each thing sent once."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser import geometry
from tests.integration.running_centre import Centre, lay_ground, running
from tests.servers.postgres import PostgresServer

PHONE = {"width": 390, "height": 844}
SMALL = {"width": 320, "height": 640}
PASSWORD = "long enough for a phone"
SPOT = {"latitude": 0.2, "longitude": 1.9}
AXE = Path(__file__).parents[2] / "command_centre" / "web" / "node_modules" / "axe-core" / "axe.min.js"
FAULTS = """
async () => {
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "wcag2aaa"];
  const off = { "identical-links-same-purpose": { enabled: false } };
  const { violations } = await axe.run(document, { runOnly: { type: "tag", values: tags }, rules: off });
  return violations.map((one) => [one.id, one.nodes.map((node) => node.html.slice(0, 160))]);
}
"""
# What a thumb must hit: 48 px, with gloves and in the rain.
SMALL_TARGETS = """
() => [...document.querySelectorAll("button, a, select, input:not([type=checkbox], [type=radio]), label.tick")]
  .filter((one) => one.checkVisibility() && !one.disabled)
  .map((one) => [one.outerHTML.slice(0, 90), one.getBoundingClientRect()])
  .filter(([, box]) => box.height < 47.5 || box.width < 47.5)
  .map(([html, box]) => `${html} ${Math.round(box.width)}x${Math.round(box.height)}`)
"""


@pytest.fixture(scope="module")
def town(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    name = postgres_server.create_database(template=postgres_template)
    lay_ground(postgres_server.url(name))
    try:
        with running(postgres_server.url(name)) as centre:
            for person, role, unit in (("zhao", "handler", "U1"), ("wang", "grid_worker", "U2")):
                enrol(centre, person, role, unit)
            yield centre
    finally:
        postgres_server.drop_database(name)


@pytest.fixture(scope="module")
def phone(browser: Browser) -> Iterator[BrowserContext]:
    """One telephone for the file, as in a pocket: what one test leaves on it the next one finds."""
    with browser.new_context(
        viewport=PHONE,  # type: ignore[arg-type]  # a dictionary of two sizes
        permissions=["geolocation"],
        geolocation=SPOT,  # type: ignore[arg-type]  # as above
        has_touch=True,
    ) as context:
        context.set_default_timeout(15_000)
        yield context


def enrol(centre: Centre, name: str, role: str, unit: str) -> None:
    """Somebody with a password of their own."""
    made = centre.client.post("/api/users", json={"name": name, "role": role, "unit": unit}).json()
    with httpx.Client(base_url=centre.base) as person:
        first = {"name": name, "password": made["one_time_secret"]}
        assert person.post("/api/session", json=first).status_code == 200
        change = {"current": made["one_time_secret"], "new": PASSWORD}
        assert person.post("/api/session/password", json=change).status_code == 204


def picture() -> Any:
    """As a camera gives it: large, and telling of its maker."""
    held = io.BytesIO()
    taken = Image.new("RGB", (2400, 1800), (120, 90, 60))
    exif = taken.getexif()
    exif[0x010F] = "Maker"
    taken.save(held, "JPEG", exif=exif)
    return {"name": "site.jpg", "mimeType": "image/jpeg", "buffer": held.getvalue()}


def ordered(centre: Centre, cell: str = "C1", **more: Any) -> dict[str, Any]:
    """An order for zhao's unit; somebody else than automation collected nothing of it."""
    body = {"category": "fire.smoke", "cell": cell, "text": "三楼楼道冒烟，有电动车", **more}
    incident: dict[str, Any] = centre.client.post("/api/incidents", json=body).json()
    return incident


def kinds(centre: Centre, incident: int) -> list[str]:
    found = centre.execute("SELECT kind FROM incident_events WHERE incident_id = %s ORDER BY seq", incident)
    return [str(kind) for (kind,) in found]


def log_in(page: Page, name: str) -> None:
    page.get_by_label("用户名").fill(name)
    page.get_by_label("密码").fill(PASSWORD)
    page.get_by_role("button", name="登录").click()
    expect(page.get_by_text("的数据")).to_be_visible()


def at(phone: BrowserContext, town: Centre, address: str, name: str = "zhao") -> Page:
    """A page of the field, by this person, with its worker in place."""
    page = phone.new_page()
    page.goto(f"{town.base}{address}{'&' if '?' in address else '?'}lang=zh")
    known = page.locator("header .me")
    known.or_(page.get_by_label("用户名")).first.wait_for()
    if known.is_visible() and name not in known.inner_text():
        page.goto(f"{town.base}/field/me")
        page.get_by_role("button", name="退出").click()
        page.get_by_label("用户名").wait_for()
        page.goto(f"{town.base}{address}")
    if page.get_by_label("用户名").is_visible():
        log_in(page, name)
    expect(page.get_by_text("的数据")).to_be_visible()
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    return page


def sound(page: Page) -> None:
    """Nothing cut, covered, too small to hit or hard to read; nothing that axe finds, contrast 7 to 1 included."""
    page.evaluate("scrollTo(0, 0)")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert geometry.cut_texts(page) == []
    assert page.evaluate(SMALL_TARGETS) == []
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(AXE.read_text(encoding="utf-8"))
    assert page.evaluate(FAULTS) == []


def test_without_signal_steps_and_photo_are_kept_through_a_kill_and_sent_once(
    town: Centre, phone: BrowserContext
) -> None:
    incident = ordered(town)
    page = at(phone, town, "/field")
    page.locator(f"a[href='/field/orders/{incident['id']}']").click()
    phone.set_offline(True)
    page.get_by_role("button", name="签收").click()
    page.get_by_role("button", name="我已到场").click()
    page.get_by_role("button", name="处置完毕…").click()
    page.get_by_role("button", name="确定").click()
    expect(page.get_by_role("alert")).to_contain_text("请先填写说明")
    page.get_by_label("处置情况").fill("已扑灭，清理完毕")
    page.locator("input[type=file]").first.set_input_files([picture()])
    expect(page.get_by_role("img", name="照片 1")).to_be_visible()
    page.get_by_role("button", name="确定").click()
    expect(page.get_by_text("待发送：签收 · 到场 · 处置完毕")).to_be_visible()
    assert kinds(town, incident["id"]).count("acknowledged") == 0
    page.close()

    again = phone.new_page()
    again.goto(f"{town.base}/field/outbox")  # from the worker: there is no signal
    expect(again.get_by_text("照片 1 张")).to_be_visible()
    expect(again.get_by_text("无信号")).to_be_visible()
    phone.set_offline(False)
    expect(again.get_by_text("没有待发送的内容")).to_be_visible()
    happened = kinds(town, incident["id"])
    assert [happened.count(one) for one in ("acknowledged", "arrived", "handled")] == [1, 1, 1]
    details = dict(
        town.execute("SELECT kind, detail FROM incident_events WHERE incident_id = %s", incident["id"])
    )
    assert details["arrived"]["stood_at"] == "1.900000,0.200000"  # type: ignore[index]  # jsonb
    (digest,) = details["handled"]["photos"]  # type: ignore[index]  # as above
    kept = Image.open(io.BytesIO(town.client.get(f"/api/photos/{digest}").content))
    assert (kept.size, dict(kept.getexif())) == ((1600, 1200), {})
    again.close()
