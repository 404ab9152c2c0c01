"""A reading over its limit is an incident with a unit and a deadline, on wall and desk, until a person has it."""

import json
import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect
from websockets.sync.client import ClientConnection, connect

from tests.acceptance.stand import Stand

OpenPage = Callable[..., Page]
PATIENCE_MS = 60_000
PASSWORD = "five quiet herons"
# When the first row stood on the page, in epoch milliseconds, taken as the next frame begins.
NOTE_FIRST_ROW = """
() => {
  window.firstRow = null;
  new MutationObserver(() => {
    if (window.firstRow === null && document.querySelector(".incidents [data-incident]")) {
      window.firstRow = 0;
      requestAnimationFrame(() => { window.firstRow = performance.timeOrigin + performance.now(); });
    }
  }).observe(document.body, { childList: true, subtree: true });
}
"""


def test_a_reading_becomes_an_incident_that_a_person_takes(stand: Stand, open_page: OpenPage) -> None:
    wall = open_page(f"{stand.url}/wall?lang=zh")
    wall.wait_for_selector(".wall[data-stale=false]")
    expect(wall.locator(".incidents")).to_contain_text("无未结事件")
    wall.evaluate(NOTE_FIRST_ROW)
    cell, device = stand.detectors()[0]
    with connect(f"{stand.url.replace('http', 'ws')}/ws/screen") as screen:
        published = stand.publish_smoke(cell, device, 88)
        told = event(screen, "incident.opened")

    (incident,) = stand.open_incidents()
    assert str(told["id"]) == str(incident["id"])
    assert incident["unit"] is not None
    assert incident["due_at"] > incident["opened_at"]
    assert incident["cell"] == cell
    assert incident["devices"] == [device]
    row = wall.locator(f".incidents [data-incident='{incident['id']}']")
    expect(row).to_contain_text(incident["cell_name"], timeout=PATIENCE_MS)
    wall.wait_for_function("() => window.firstRow > 0")
    took = wall.evaluate("() => window.firstRow") - published * 1000
    print(f"publish to pixel on an idle stand: {took:.0f} ms")  # noqa: T201  # the figure is wanted

    desk = logged_in(stand, open_page)
    take_by_keyboard(desk, incident)
    wait_for_state(stand, incident, "acknowledged")
    expect(row).to_contain_text("已签收", timeout=PATIENCE_MS)
    hand_to_another_unit(stand, desk, incident)


def event(screen: ClientConnection, kind: str) -> dict[str, Any]:
    """The next event of this kind; acknowledges what comes, as a screen does."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while time.monotonic() < deadline:
        message = json.loads(screen.recv(timeout=PATIENCE_MS / 1000))
        if message["t"] in ("d", "snap"):
            screen.send(json.dumps({"t": "ack", "seq": message["seq"]}))
        for one in message.get("ev", ()):
            if one["kind"] == kind:
                found: dict[str, Any] = one
                return found
    raise AssertionError(f"no {kind} on the screen")


def logged_in(stand: Stand, open_page: OpenPage) -> Page:
    """The desk of a new dispatcher, who has to replace the one-time secret first."""
    body = {"name": "zhang", "display_name": "张值班", "role": "dispatcher"}
    made = stand.api.post("/api/users", json=body).raise_for_status().json()
    desk = open_page(f"{stand.url}/desk?lang=zh", 1600, 900)
    desk.get_by_label("用户名").fill("zhang")
    desk.get_by_label("密码").fill(made["one_time_secret"])
    desk.get_by_role("button", name="登录").click()
    desk.get_by_label("当前密码").fill(made["one_time_secret"])
    desk.get_by_label("新密码（至少").fill(PASSWORD)
    desk.get_by_label("再输入一次").fill(PASSWORD)
    desk.get_by_role("button", name="确定").click()
    expect(desk.locator("header")).to_contain_text("张值班", timeout=PATIENCE_MS)
    return desk


def take_by_keyboard(desk: Page, incident: dict[str, Any]) -> None:
    row = desk.locator(f"[data-row='{incident['id']}']")
    expect(row).to_contain_text(incident["number"], timeout=PATIENCE_MS)
    desk.keyboard.press("j")
    desk.keyboard.press("a")
    expect(desk.locator("form textarea")).to_be_focused(timeout=PATIENCE_MS)
    desk.keyboard.type("值班员已电话核实")
    desk.keyboard.press("Tab")
    desk.keyboard.press("Enter")
    expect(row).to_contain_text("已签收", timeout=PATIENCE_MS)


def hand_to_another_unit(stand: Stand, desk: Page, incident: dict[str, Any]) -> None:
    units = stand.api.get("/api/units").raise_for_status().json()["items"]
    other = next(unit for unit in units if unit["code"] != incident["unit"])
    desk.keyboard.press("d")
    desk.locator("form select").select_option(other["code"])
    desk.locator("form textarea").fill("辖区调整")
    desk.locator("form button.main").click()
    expect(desk.locator(f"[data-row='{incident['id']}']")).to_contain_text(other["name"], timeout=PATIENCE_MS)
    now = stand.api.get(f"/api/incidents/{incident['id']}").raise_for_status().json()
    assert now["unit"] == other["code"]
    kinds = [item["kind"] for item in timeline(stand, incident)]
    assert kinds[0] == "opened"
    assert "acknowledged" in kinds
    assert kinds.count("dispatched") >= 1


def timeline(stand: Stand, incident: dict[str, Any]) -> list[dict[str, Any]]:
    answered = stand.api.get(f"/api/incidents/{incident['id']}/timeline").raise_for_status()
    items: list[dict[str, Any]] = answered.json()["items"]
    return items


def wait_for_state(stand: Stand, incident: dict[str, Any], state: str) -> None:
    deadline = time.monotonic() + PATIENCE_MS / 1000
    now = ""
    while now != state and time.monotonic() < deadline:
        now = stand.api.get(f"/api/incidents/{incident['id']}").raise_for_status().json()["state"]
        time.sleep(0.05)
    assert now == state
