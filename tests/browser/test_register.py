"""The register on the settings page, at a real centre: devices, units, the ground on the map, files with a preview."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser import axe, geometry
from tests.browser.test_shift_screens import entered
from tests.integration.running_centre import Centre, on_fresh_ground, raise_alarm
from tests.integration.test_alarm_api import person
from tests.integration.test_register_edits import lay_squares
from tests.servers.postgres import PostgresServer

OpenPage = Callable[..., Page]
LONG = (
    "坪山街道六和社区第十二网格沿河路与比亚迪路交汇处地下一层东侧强电井烟雾探测器备用回路二号点位（物业代管）"
    * 2
)


@pytest.fixture(scope="module")
def town(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    """Four square cells in a row, two detectors in the first, one of them in alarm; a device nobody has claimed."""
    with on_fresh_ground(postgres_server, postgres_template) as centre:
        lay_squares(centre)
        centre.execute("UPDATE devices SET name = %s WHERE code = 'D9'", LONG[:80])
        centre.execute("UPDATE devices SET owner_unit = '六和社区', model = 'S-1' WHERE code <> 'W1'")
        centre.execute(
            "INSERT INTO devices (code, kind, cell_id, registration, origin)"
            " SELECT 'H1', 'smoke', cell_id, 'unclaimed', 'topic' FROM devices WHERE code = 'D1'"
        )
        centre.execute(
            "INSERT INTO observations (device_id, metric_id, observed_at, received_at, value)"
            " SELECT d.id, m.id, now() - n * interval '10 minutes', now(), 20 + mod(n, 7) FROM devices d, metrics m,"
            " generate_series(1, 100) n WHERE d.code = 'D1' AND m.code = 'smoke'"
        )
        raise_alarm(centre, "D2")
        person(centre, "administrator").close()
        person(centre, "dispatcher").close()
        yield centre


def sound(page: Page) -> None:
    """Nothing cut or over another, and nothing that keeps anybody out."""
    page.evaluate("scrollTo(0, 0)")  # what a field further down has scrolled away is not cut
    assert geometry.cut_texts(page, shortened=False) == []
    assert geometry.overlapping_texts(page) == []
    assert axe.violations(page) == []


def test_devices_are_found_changed_and_claimed(town: Centre, open_page: OpenPage) -> None:
    page = entered(open_page, town, "administrator", "/settings/devices")
    expect(page.get_by_role("option", name="W1")).to_be_visible()
    sound(page)
    page.get_by_label("登记状态").select_option("unclaimed")
    expect(page.get_by_role("status").filter(has_text="共 1 台")).to_be_visible()
    page.get_by_role("option", name="H1").click()
    page.wait_for_url("**/settings/devices/H1")
    page.get_by_role("button", name="采用 六和社区").click()
    expect(page.get_by_label("权属单位")).to_have_value("六和社区")
    page.get_by_role("button", name="认领").click()
    expect(page.get_by_role("alert")).to_contain_text("请填写原因")
    page.locator("form").filter(has=page.get_by_label("权属单位")).get_by_label("原因").fill("现场核对")
    page.get_by_role("button", name="认领").click()
    expect(page.get_by_role("listitem").filter(has_text="现场核对")).to_contain_text(
        "权属单位: 空 → 六和社区"
    )
    assert town.execute("SELECT registration, owner_unit FROM devices WHERE code = 'H1'") == [
        ("registered", "六和社区")
    ]

    page.goto(f"{town.base}/settings/devices/D1?lang=en")
    expect(page.locator(".chart canvas")).to_be_visible()
    page.get_by_label("Reports every").fill("0")
    form = page.locator("form").filter(has=page.get_by_label("Reports every"))
    form.get_by_label("Reason").fill("typo")
    page.get_by_role("button", name="Save changes").click()
    expect(form.locator("small.fault")).to_contain_text("greater than or equal to 1")
    page.get_by_label("Reports every").fill("600")
    page.get_by_role("button", name="Save changes").click()
    expect(page.get_by_role("listitem").filter(has_text="typo")).to_contain_text(
        "Reports every (s): empty → 600"
    )
    sound(page)


def test_a_cell_is_redrawn_with_its_neighbour_and_devices_follow(town: Centre, open_page: OpenPage) -> None:
    page = entered(open_page, town, "administrator", "/settings/areas/cell/C1")
    # The eastern edge goes west by coordinates; the neighbour's corners lie on it and go along.
    page.get_by_text("折点坐标（4）").click()
    for corner in (2, 3):
        field = page.get_by_label(f"经度 {corner}", exact=True)
        field.fill("114.0005")
        field.press("Tab")
    preview = page.get_by_role("region", name="保存前预览")
    expect(preview).to_contain_text("D2 : C1 → C2")
    expect(preview).to_contain_text("改变网格的未结事件：1")
    expect(preview).to_contain_text("网格2 变更")
    expect(page.locator("[data-device=D1]")).to_be_visible()
    sound(page)
    assert town.execute("SELECT count(*) FROM audit WHERE starts_with(action, 'area.')") == [(0,)]
    preview.get_by_label("原因").fill("按新门牌划分")
    preview.get_by_role("button", name="保存").click()
    expect(page.get_by_role("status").filter(has_text="已保存")).to_be_visible()
    assert town.execute(
        "SELECT a.code FROM devices d JOIN areas a ON a.id = d.cell_id WHERE d.code = 'D2'"
    ) == [("C2",)]
    page.get_by_text(re.compile("历次边界（")).click()
    expect(page.get_by_text("按新门牌划分")).to_be_visible()
    page.get_by_role("button", name="在图上显示").first.click()
    expect(page.locator("path.past")).to_have_count(1)

    page.goto(f"{town.base}/settings/areas/cell/C3?lang=en")
    corner = page.locator("[data-corner='0,0,0']")
    corner.focus()
    # Alone it grows over its neighbour: said at once, and not to be saved.
    page.get_by_label("Shared corners move together").uncheck()
    corner.focus()
    for _ in range(3):
        corner.press("Shift+ArrowLeft")
    panel = page.get_by_role("region", name="What a save would change")
    expect(panel).to_contain_text("it overlaps 'C2'")
    expect(panel.get_by_role("button", name="Save")).to_be_disabled()
    sound(page)
    panel.get_by_role("button", name="Discard all").click()
    expect(panel).to_have_count(0)


def test_a_device_is_dragged_and_an_area_begun(town: Centre, open_page: OpenPage) -> None:
    page = entered(open_page, town, "administrator", "/settings/areas/cell/C1", "en")
    device = page.locator("[data-device=D1]")
    box = device.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 6, box["y"] + 6)
    page.mouse.down()
    page.mouse.move(box["x"] + 30, box["y"] + 30, steps=4)
    page.mouse.up()
    expect(page.locator("[data-device=D1].moved")).to_have_count(1)
    page.get_by_label("Code of a new area").fill("C8")
    page.get_by_role("button", name="Begin").click()
    page.wait_for_url("**/areas/cell/C8")
    panel = page.get_by_role("region", name="What a save would change")
    expect(panel).to_contain_text("C8 New")
    panel.get_by_role("button", name="Discard all").click()
    assert town.execute("SELECT count(*) FROM areas WHERE code = 'C8'") == [(0,)]


def test_a_unit_is_changed_and_a_wrong_field_named(town: Centre, open_page: OpenPage) -> None:
    page = entered(open_page, town, "administrator", "/settings/units")
    expect(page.locator("[data-unit=U2]")).to_contain_text("二队")
    sound(page)
    page.get_by_role("link", name="二队").click()
    page.get_by_label("值守时段").fill("noon")
    page.get_by_label("同时办理上限").fill("7")
    page.get_by_label("原因").fill("夏季值守")
    page.get_by_role("button", name="保存变更").click()
    expect(page.locator("small.fault")).to_contain_text("09:00-12:00")
    page.get_by_label("值守时段").fill("08:00-20:00")
    page.get_by_role("button", name="保存变更").click()
    expect(page.get_by_role("listitem").filter(has_text="夏季值守")).to_contain_text("08:00-20:00")
    assert town.execute("SELECT capacity, hours FROM units WHERE code = 'U2'") == [(7, "08:00-20:00")]
    sound(page)


def test_files_are_shown_row_by_row_and_taken_in_as_shown(
    town: Centre, open_page: OpenPage, tmp_path: Path
) -> None:
    page = entered(open_page, town, "administrator", "/settings/import")
    page.get_by_label("原因").fill("年度核对")
    units = tmp_path / "units.csv"
    units.write_text(
        "code,name,phone,hours\nU1,一队,110-1,soon\nU2,二队,119,\nU3,三队,120,\n", encoding="utf-8"
    )
    page.get_by_label("文件", exact=True).set_input_files(units)
    page.get_by_role("button", name="预览", exact=True).click()
    expect(page.get_by_role("heading", name="有行被拒绝，不能写入")).to_be_visible()
    refused = page.get_by_role("option", name=re.compile("被拒绝.*第 2 行.*U1"))
    expect(refused).to_contain_text("write windows of one day in order")
    expect(page.get_by_role("option", name=re.compile("新增.*U3"))).to_be_visible()
    sound(page)

    units.write_text("code,name,phone\nU1,一队,110-1\nU2,二队,119\nU3,三队,120\n", encoding="utf-8")
    page.get_by_label("文件", exact=True).set_input_files(units)
    page.get_by_role("button", name="预览", exact=True).click()
    expect(page.get_by_role("heading", name="预览：尚未写入")).to_be_visible()
    expect(page.get_by_role("option", name=re.compile("变更.*U2"))).to_contain_text("电话: 110-3 → 119")
    assert town.execute("SELECT code FROM units WHERE code = 'U3'") == []
    page.get_by_role("button", name="English").click()
    page.get_by_role("button", name="Write it as shown").click()
    expect(page.get_by_role("heading", name="Written", exact=True)).to_be_visible()
    assert town.execute("SELECT phone FROM units WHERE code = 'U2'") == [("119",)]
    sound(page)


def test_a_screen_is_admitted_and_revoked(town: Centre, open_page: OpenPage) -> None:
    page = entered(open_page, town, "administrator", "/settings/screens", "en")
    page.get_by_label("Name").fill("Hall")
    page.get_by_role("button", name="Make a pairing address").click()
    expect(page.get_by_label("Pairing address", exact=True)).to_have_value(re.compile("/wall#pair="))
    sound(page)
    page.get_by_role("button", name="Revoke", exact=True).click()
    page.get_by_role("button", name="Really revoke").click()
    expect(page.get_by_role("cell", name="Revoked")).to_be_visible()


def test_who_may_not_change_it_sees_it_and_no_form(town: Centre, open_page: OpenPage) -> None:
    page = entered(open_page, town, "dispatcher", "/settings/units/U1")
    expect(page.get_by_text("只有管理员可以修改")).to_be_visible()
    expect(page.get_by_role("link", name="导入")).to_have_count(0)
    page.set_viewport_size({"width": 1280, "height": 720})
    page.goto(f"{town.base}/settings/areas/cell/C4")
    expect(page.get_by_text("历次边界")).to_be_visible()
    expect(page.locator("[data-corner]")).to_have_count(0)
    sound(page)
