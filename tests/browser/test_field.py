"""A handler's telephone on a real centre: orders and steps, everything without signal, each thing sent once."""

import hashlib
import io
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from city.storage import sessions, users
from command_centre.api import pages
from command_centre.api.gate import COOKIE
from hatch_build import WEB
from tests.browser import geometry
from tests.integration.running_centre import Centre, lay_ground, running
from tests.servers.postgres import PostgresServer

PHONE = {"width": 390, "height": 844}
SMALL = {"width": 320, "height": 640}
PASSWORD = "long enough for a phone"
Phone = Callable[..., BrowserContext]
SPOT = {"latitude": 0.2, "longitude": 1.9}
AXE = Path(__file__).parents[2] / "command_centre" / "web" / "node_modules" / "axe-core" / "axe.min.js"
FAULTS = """
async () => {
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "wcag2aaa"];
  const off = { "identical-links-same-purpose": { enabled: false } };
  const { violations } = await axe.run(document, { runOnly: { type: "tag", values: tags }, rules: off,
    preload: false, resultTypes: ["violations"] });
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


@pytest.fixture
def phone(browser: Browser, town: Centre) -> Iterator[Callable[..., BrowserContext]]:
    """A function (person or nobody) -> a telephone of their own, logged in, nothing on it yet."""
    made: list[BrowserContext] = []

    def taken(name: str = "", size: dict[str, int] = PHONE) -> BrowserContext:
        context = browser.new_context(
            viewport=size,  # type: ignore[arg-type]  # a dictionary of two sizes
            permissions=["geolocation"],
            geolocation=SPOT,  # type: ignore[arg-type]  # as above
            has_touch=True,
        )
        made.append(context)
        context.set_default_timeout(60_000)
        if name:
            context.add_cookies([{"name": COOKIE, "value": session_of(town, name), "url": town.base}])
        return context

    yield taken
    for context in made:
        context.close()


def session_of(centre: Centre, name: str) -> str:
    """A session without a password: hashing one takes longer than most tests."""
    token = secrets.token_urlsafe(16)
    with psycopg.connect(centre.url) as connection:
        user = users.get(connection, name)
        assert user is not None
        sessions.open_session(connection, hashlib.sha256(token.encode()).digest(), user.id, datetime.now(UTC))
    return token


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


def worker_in_place(page: Page) -> None:
    """Once all of the page's files are kept; an installation that failed is tried again by the page."""
    page.evaluate(
        """() => Promise.race([navigator.serviceWorker.ready.then(() => true), new Promise((_, give_up) =>
            setTimeout(() => give_up(new Error("no worker after a minute")), 60_000))])"""
    )


def at(phone: BrowserContext, town: Centre, address: str) -> Page:
    """A page of the field with its data, the worker in place."""
    page = phone.new_page()
    page.goto(f"{town.base}{address}?lang=zh")
    expect(page.get_by_text("的数据")).to_be_visible(timeout=15_000)
    worker_in_place(page)
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


def test_the_phone_keeps_the_files_of_the_field_and_no_others() -> None:
    built = WEB / "dist"
    worker = (built / "field" / "sw.js").read_text(encoding="utf-8")
    kept = set(re.findall(r"/assets/[\w.-]+", worker))
    assert [path for path in kept if not (built / path[1:]).exists()] == []
    assert [path for path in kept if re.search("/(Settings|Desk|FloodDesk|Wall|Register)-", path)] == []
    assert any(path.startswith("/assets/Field-") for path in kept)


def test_without_signal_steps_and_photo_are_kept_through_a_kill_and_sent_once(
    town: Centre, phone: Phone
) -> None:
    incident = ordered(town)
    own = phone()
    page = own.new_page()
    page.goto(f"{town.base}/field?lang=zh")
    log_in(page, "zhao")
    worker_in_place(page)
    page.locator(f"a[href='/field/orders/{incident['id']}']").click()
    own.set_offline(True)
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

    again = own.new_page()
    again.goto(f"{town.base}/field/outbox")  # from the worker: there is no signal
    expect(again.get_by_text("照片 1 张")).to_be_visible()
    expect(again.get_by_text("无信号")).to_be_visible()
    own.set_offline(False)
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


def test_an_order_given_to_others_meanwhile_is_one_conflict_that_can_be_kept_as_a_comment(
    town: Centre, phone: Phone
) -> None:
    incident = ordered(town, "C3")
    own = phone("zhao")
    page = at(own, town, f"/field/orders/{incident['id']}")
    own.set_offline(True)
    page.get_by_role("button", name="签收").click()
    page.get_by_role("button", name="我已到场").click()
    expect(page.get_by_text("待发送：签收 · 到场")).to_be_visible()
    moved = {"unit": "U2", "reason": "二队更近"}
    assert town.client.post(f"/api/incidents/{incident['id']}/dispatch", json=moved).status_code == 200
    own.set_offline(False)
    page.get_by_role("link", name="1 项需要您处理").click()
    conflict = page.get_by_role("group", name="未能执行")
    expect(conflict).to_have_count(1)
    expect(conflict).to_contain_text("期间已改派给二队")
    expect(conflict.get_by_role("link", name="打电话")).to_have_attribute("href", "tel:110-3")
    expect(conflict.locator("li")).to_have_count(2)
    sound(page)
    conflict.get_by_role("button", name="作为备注保留").click()
    expect(page.get_by_text("没有待发送的内容")).to_be_visible()
    timeline = town.client.get(f"/api/incidents/{incident['id']}/timeline").json()["items"]
    (said,) = [one for one in timeline if one["kind"] == "commented" or one["kind"] == "comment"]
    assert "离线操作" in said["reason"]
    assert "签收" in said["reason"]
    assert {"acknowledged", "arrived"}.isdisjoint(one["kind"] for one in timeline)
    page.close()


def test_a_session_that_ended_keeps_the_queue_for_its_owner_alone(town: Centre, phone: Phone) -> None:
    incident = ordered(town, "C4")
    own = phone("zhao")
    page = at(own, town, f"/field/orders/{incident['id']}")
    own.set_offline(True)
    page.get_by_role("button", name="签收").click()
    expect(page.get_by_text("待发送：签收")).to_be_visible()
    town.execute("DELETE FROM sessions")
    own.set_offline(False)
    expect(page.get_by_text("zhao 还有 1 项待发送")).to_be_visible(
        timeout=60_000
    )  # tried again by a timer too
    expect(page.get_by_text(incident["number"])).to_have_count(0)
    log_in(page, "wang")
    page.get_by_role("link", name="待发").click()
    expect(page.get_by_text("没有待发送的内容")).to_be_visible()
    expect(page.get_by_text(incident["number"])).to_have_count(0)
    assert "acknowledged" not in kinds(town, incident["id"])
    page.locator("header .me").click()
    page.get_by_role("button", name="退出").click()
    log_in(page, "zhao")
    page.get_by_role("link", name="待发").click()
    expect(page.get_by_text("最近已发送")).to_be_visible()
    expect(page.get_by_text(incident["number"]).first).to_be_visible()
    assert kinds(town, incident["id"]).count("acknowledged") == 1
    page.close()


def route_of(town: Centre) -> None:
    points = [
        {"code": f"P{n}", "name": name, "cell": "C1", "building": "三号楼", "longitude": 1.9, "latitude": 0.2}
        for n, name in enumerate(("东侧消防通道", "地下车库出口"), 1)
    ]
    body = {
        "name": "东街日巡",
        "name_en": "East Street daily",
        "assigned_to": "wang",
        "points": [{**point, "checklist": "fire_exits", "cadence": "daily"} for point in points],
    }
    assert town.client.put("/api/patrol/routes/R1", json=body).status_code in (200, 201)


def test_a_patrol_and_a_report_without_signal_arrive_once(town: Centre, phone: Phone) -> None:
    route_of(town)
    own = phone("wang")
    page = at(own, town, "/field/patrol")
    expect(page.get_by_text("东侧消防通道")).to_be_visible()
    own.set_offline(True)
    page.get_by_text("东侧消防通道").click()
    page.get_by_role("button", name="完成此点").click()
    expect(page.get_by_role("alert")).to_contain_text("还有 5 项未答")
    lane = page.get_by_role("group", name="消防车通道无占用")
    lane.get_by_label("有问题").check()
    lane.get_by_label("问题说明").fill("两辆货车占道")
    lane.locator("input[type=file]").first.set_input_files([picture()])
    expect(lane.get_by_role("img")).to_be_visible()
    page.get_by_role("button", name="其余均正常").click()
    page.get_by_role("button", name="完成此点").click()
    expect(page.get_by_text("待发送：巡查")).to_be_visible()

    page.get_by_role("link", name="上报").click()
    page.get_by_label("情况说明").fill("井盖松动，已放警示锥")
    page.get_by_role("button", name="上报").click()
    expect(page.get_by_text("已保存，有信号时自动发送")).to_be_visible()
    page.get_by_role("link", name="待发 2").click()
    sound(page)
    own.set_offline(False)
    expect(page.get_by_text("没有待发送的内容")).to_be_visible()
    (check,) = town.client.get("/api/patrol/checks").json()["items"]
    (found,) = [one for one in check["answers"] if one["answer"] == "problem"]
    assert (found["note"], len(found["photos"]), check["distance_m"]) == ("两辆货车占道", 1, 0)
    (report,) = town.client.get("/api/reports", params={"q": "井盖松动"}).json()["items"]
    assert (report["channel"], "操作" in report["text"]) == ("patrol", True)
    page.close()


def test_a_call_is_checked_in_by_position_and_people_moved_are_counted(town: Centre, phone: Phone) -> None:
    call = {
        "what": "清理一号楼消防通道",
        "units": ["U1"],
        "by": "2036-01-01T00:00:00Z",
        "category": "public.person",
    }
    soon = town.execute("SELECT (now() + interval '1 hour')::text")[0][0]
    place = {
        "by": str(soon).replace(" ", "T") + ":00",
        "place": "一号楼",
        "longitude": 1.9001,
        "latitude": 0.2,
    }
    answer = town.client.post("/api/orders", json={**call, **place})
    assert answer.status_code == 201, answer.text
    town.execute(
        "INSERT INTO categories (code, name, name_en, class, limit_minutes) VALUES"
        " ('flood.evacuation', '转移', 'Evacuation', 'A', 60) ON CONFLICT DO NOTHING"
    )
    ordered_move = {"kind": "evacuate", "cells": [{"cell": "C2", "to_move": 12}], "reason": "水位上涨"}
    (task,) = town.client.post("/api/flood/tasks", json=ordered_move).json()["items"]
    dispatched = {"unit": "U1", "reason": "转移"}
    town.client.post(f"/api/incidents/{task['incident']}/dispatch", json=dispatched)

    page = at(phone("zhao"), town, "/field")
    page.get_by_text("清理一号楼消防通道").click()
    page.get_by_role("button", name="我们会到").click()
    page.get_by_role("button", name="签到").click()
    expect(page.get_by_text("已签到")).to_be_visible()
    sound(page)
    page.goto(f"{town.base}/field/orders/{task['incident']}")
    page.get_by_role("button", name="上报进度").click()
    page.get_by_label("已转移").fill("5")
    sound(page)
    page.get_by_role("button", name="确定").click()
    expect(page.get_by_text("应转移 12 人，还剩 7 人")).to_be_visible()
    arrived = "SELECT arrived_how FROM site_order_units WHERE order_id = %s"
    assert town.execute(arrived, answer.json()["id"]) == [("position",)]
    page.close()


@pytest.mark.parametrize(
    ("language", "size"),
    [
        pytest.param("en", SMALL, id="en-320"),  # the longer words on the smaller screen
        pytest.param("en", PHONE, id="en-390", marks=pytest.mark.slow),
        pytest.param("zh", SMALL, id="zh-320", marks=pytest.mark.slow),
        pytest.param("zh", PHONE, id="zh-390", marks=pytest.mark.slow),
    ],
)
def test_every_view_fits_is_named_and_reads_in_sunlight(
    town: Centre, phone: Phone, language: str, size: dict[str, int]
) -> None:
    route_of(town)
    long = "一个名字很长的地方" * 8
    incident = ordered(town, "C2", text=long)
    for name, addresses in (
        (
            "zhao",
            ("/field", f"/field/orders/{incident['id']}", "/field/report", "/field/outbox", "/field/me"),
        ),
        ("wang", ("/field/patrol", "/field/patrol/R1/P2")),
    ):
        page = at(phone(name, size), town, "/field")
        for address in addresses:
            page.goto(f"{town.base}{address}?lang={language}")
            expect(page.locator("main h1")).to_be_visible()
            expect(page.get_by_text("as of" if language == "en" else "的数据")).to_be_visible()
            sound(page)


def test_a_new_version_waits_until_somebody_says_so_and_the_queue_survives(
    town: Centre, phone: Phone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = ordered(town, "C1")
    own = phone("zhao")
    page = at(own, town, f"/field/orders/{incident['id']}")
    own.set_offline(True)
    page.get_by_role("button", name="备注").click()
    page.get_by_role("textbox", name="备注").fill("更新前写的")
    page.get_by_role("button", name="确定").click()
    expect(page.get_by_text("待发送：备注")).to_be_visible()
    newer = tmp_path / "dist"
    shutil.copytree(pages.BUILT, newer)
    (newer / "field" / "sw.js").open("a").write("// newer\n")
    monkeypatch.setattr(pages, "BUILT", newer)
    town.execute("DELETE FROM sessions")
    own.set_offline(False)
    page.evaluate("navigator.serviceWorker.getRegistration('/field').then((one) => one.update())")
    log_in(page, "zhao")
    expect(page.get_by_text("有新版本")).to_be_visible()
    with page.expect_navigation():
        page.get_by_role("button", name="重新加载").click()
    page.goto(f"{town.base}/field/outbox")
    expect(page.get_by_text("没有待发送的内容")).to_be_visible()
    found = "SELECT count(*) FROM incident_texts WHERE text = '更新前写的'"
    assert town.execute(found) == [(1,)]
    page.close()


def test_storage_that_is_nearly_full_is_said(town: Centre, phone: Phone) -> None:
    page = phone("zhao").new_page()
    page.add_init_script("navigator.storage.estimate = async () => ({ usage: 95, quota: 100 })")
    page.goto(f"{town.base}/field?lang=zh")
    expect(page.get_by_role("alert").first).to_contain_text("存储空间快满")
    page.close()


def test_the_worker_may_stand_over_the_field_and_nothing_else(town: Centre) -> None:
    answer = town.stranger.get("/field/sw.js")
    assert answer.headers["service-worker-allowed"] == "/field"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "worker-src 'self'; manifest-src 'self'" in answer.headers["content-security-policy"]
    manifest = town.stranger.get("/field/manifest.webmanifest").json()
    assert (manifest["start_url"], manifest["scope"], manifest["display"]) == (
        "/field",
        "/field",
        "standalone",
    )
    for icon in manifest["icons"]:
        found = town.stranger.get(icon["src"])
        assert (found.status_code, found.headers["content-type"]) == (200, icon["type"])
    assert town.stranger.get("/field/icons/other.png").status_code == 404
