"""Screens that are not let in say why: a paired wall at a real centre, and the pages behind the log-in."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from command_centre.api.screen import hub as hubs
from tests.browser import axe, geometry
from tests.browser.mock_centre import MockCentre
from tests.integration.running_centre import Centre, on_fresh_ground, raise_alarm
from tests.servers.postgres import PostgresServer

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def paired(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    """A centre that shows its wall to paired screens only."""
    quick = pytest.MonkeyPatch()
    quick.setattr(hubs, "GUESTS_S", 0.2)
    with on_fresh_ground(postgres_server, postgres_template, wall_access="paired") as made:
        yield made
    quick.undo()


def test_a_wall_is_paired_by_its_address_and_turns_old_when_its_access_ends(
    paired: Centre, open_page: OpenPage
) -> None:
    made: dict[str, Any] = paired.client.post("/api/screens", json={"name": "大厅左屏", "scope": "S1"}).json()
    raise_alarm(paired, "D1")
    page = open_page(made["pairing"]["address"])
    page.wait_for_selector("[data-stale=false]")
    assert page.url == f"{paired.base}/wall"  # the secret has left the address
    assert page.evaluate("document.cookie") == ""
    (cookie,) = page.context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == ("city_screen", True, "Strict")
    page.reload()
    page.wait_for_selector("[data-stale=false]")
    row = next(one for one in paired.client.get("/api/screens").json()["items"] if one["name"] == "大厅左屏")
    assert row["state"] == "active"
    shown = page.locator("[data-wall]").inner_text()
    assert "网格2" in shown
    paired.execute("UPDATE screens SET expires_at = now() WHERE id = %s", row["id"])
    page.wait_for_selector("[data-stale=true]")
    assert "网格2" in page.locator("[data-wall]").inner_text()  # kept, greyed
    paired.execute("UPDATE screens SET expires_at = now() + interval '1 day' WHERE id = %s", row["id"])
    page.wait_for_selector("[data-stale=false]")  # nobody touched the machine


@pytest.mark.parametrize(
    ("language", "words"),
    [("zh", "连接的屏幕已满"), ("en", "Too many screens are connected")],
)
def test_a_page_behind_the_log_in_says_why_it_is_not_let_in(
    centre: MockCentre, open_page: OpenPage, language: str, words: str
) -> None:
    centre.user = {"name": "wang", "display_name": "王", "role": "dispatcher", "must_change": False}
    centre.hub.refuse_with = 4503
    page = open_page(f"{centre.url}/desk?lang={language}", 1280, 720)
    refused = page.locator("[data-refused=full]")
    expect(refused).to_contain_text(words)
    assert geometry.cut_texts(page) == []
    assert [one for one in axe.violations(page) if "data-refused" in one] == []
    centre.hub.refuse_with = None
    page.reload()
    page.wait_for_selector("header")
    expect(refused).to_have_count(0)


def test_a_page_whose_part_does_not_come_is_loaded_anew_once_somebody_answers(
    centre: MockCentre, open_page: OpenPage
) -> None:
    page = open_page("about:blank")
    asked: list[str] = []
    page.route("**/assets/Wall-*.js", lambda route: route.abort())  # as while a centre restarts
    page.route("**/healthz", lambda route: asked.append("healthz") or route.fulfill(status=503))
    page.goto(f"{centre.url}/wall")
    while len(asked) < 2:
        page.wait_for_timeout(50)
    assert page.locator("[data-wall]").count() == 0
    page.unroute("**/assets/Wall-*.js")
    page.unroute("**/healthz")
    page.route("**/healthz", lambda route: route.fulfill(status=200, body="ok"))
    page.wait_for_selector("[data-wall]")  # nobody touched the machine
