"""Facilities, buildings, a device's papers and labels on the settings page; what a phone shows after a scan."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_register import sound
from tests.browser.test_shift_screens import entered
from tests.integration.running_centre import Centre, on_fresh_ground
from tests.integration.test_alarm_api import person
from tests.integration.test_register_edits import lay_squares
from tests.servers.postgres import PostgresServer

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def town(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    """Four square cells with detectors, a building and a manhole cover in it."""
    with on_fresh_ground(postgres_server, postgres_template) as centre:
        lay_squares(centre)
        centre.execute("INSERT INTO buildings (code, name, floors) VALUES ('B1', '六和社区一号楼', 12)")
        centre.execute(
            "INSERT INTO components (code, kind, name, building, cell_id, longitude, latitude, address)"
            " SELECT '4403990101000017', '井盖', '污水井盖', 'B1', cell_id, longitude, latitude, '沿河路 17 号'"
            " FROM devices WHERE code = 'D1'"
        )
        centre.execute("UPDATE devices SET building = 'B1', life_state = 'planned' WHERE code = 'D1'")
        person(centre, "administrator").close()
        yield centre


def test_a_building_a_cover_and_a_device_are_led_by_hand(town: Centre, open_page: OpenPage) -> None:
    page = entered(open_page, town, "administrator", "/settings/facilities/components")
    page.get_by_role("link", name="4403990101000017").click()
    expect(page.get_by_role("img", name="二维码标签")).to_be_visible()
    page.locator("form").filter(has=page.get_by_label("状态")).get_by_label("原因").fill("盖板破损")
    page.get_by_label("状态").select_option("under_repair")
    page.get_by_role("button", name="保存变更").click()
    expect(page.get_by_role("listitem").filter(has_text="盖板破损")).to_be_visible()
    sound(page)
    page.get_by_role("link", name="B1").click()
    expect(page.get_by_role("link", name="D1", exact=True)).to_be_visible()

    page.goto(f"{town.base}/settings/devices/D1?lang=en")
    form = page.locator("form").filter(has=page.get_by_label("Foreign names"))
    form.get_by_label("Life cycle").select_option("in_service")
    form.get_by_label("Foreign names").fill("zigbee2mqtt:Hall lamp\nchirpstack:24e1")
    form.get_by_label("Reason").fill("handed over")
    page.get_by_role("button", name="Save changes").click()
    expect(page.get_by_text("Planned → In service")).to_be_visible()
    expect(form.get_by_label("Foreign names")).to_have_value("chirpstack:24e1\nzigbee2mqtt:Hall lamp")
    sound(page)


def test_a_citizen_scans_a_cover_and_finds_the_form_filled_in(town: Centre, open_page: OpenPage) -> None:
    page = open_page(f"{town.base}/i/component/4403990101000017", 390, 844)
    expect(page.get_by_text("沿河路 17 号")).to_be_visible()
    sound(page)
    page.get_by_role("link", name="反映它的问题").click()
    expect(page.get_by_role("status").filter(has_text="污水井盖")).to_be_visible()
    expect(page.get_by_label("地址或附近标志")).to_have_value("沿河路 17 号")
    page.locator("textarea").first.fill("井盖翘起")
    page.get_by_role("button", name="提交", exact=True).click()
    expect(page.get_by_text("编号").first).to_be_visible()
    assert town.execute("SELECT component, channel FROM reports") == [("4403990101000017", "qr")]


def test_a_device_gets_its_secret_once(town: Centre, open_page: OpenPage) -> None:
    page = entered(open_page, town, "administrator", "/settings/devices/D2")
    page.goto(f"{town.base}/settings/devices/D2?lang=en")
    card = page.locator("section").filter(has=page.get_by_role("heading", name="Account at the broker"))
    card.get_by_role("button", name="Make an account").click()
    expect(card.get_by_role("alert")).to_be_visible()  # not without a reason
    card.get_by_label("Reason").fill("new detector")
    card.get_by_role("button", name="Make an account").click()
    expect(card.get_by_role("status")).to_contain_text("Secret of D2, shown this once")
    secret = card.get_by_role("status").locator("code").inner_text()
    assert len(secret) == 35
    sound(page)
    page.reload()
    expect(card.get_by_text("never logged in")).to_be_visible()
    expect(page.get_by_text(secret)).to_have_count(0)
    card.get_by_label("Reason").fill("half-yearly")
    card.get_by_role("button", name="Rotate").click()
    expect(card.get_by_role("status")).to_contain_text("D2 stays good until")
    card.get_by_label("Reason").fill("lost")
    card.get_by_role("button", name="Revoke D2", exact=True).click()
    expect(card.get_by_role("button", name="Revoke D2", exact=True)).to_have_count(0)
    expect(card.get_by_role("button", name="Revoke D2~2")).to_be_visible()
    assert town.execute("SELECT account FROM device_credentials WHERE ended_at IS NULL") == [("D2~2",)]
