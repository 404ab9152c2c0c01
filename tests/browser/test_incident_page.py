"""One incident from alarm to archive at a real centre, by the people whose steps they are, in both languages."""

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import httpx
import psycopg
import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from psycopg.types.json import Jsonb

from tests.browser import axe, geometry
from tests.integration.running_centre import NO_TLS, Centre, on_fresh_ground, raise_alarm
from tests.integration.test_alarm_api import PASSWORD, triaged
from tests.integration.test_media import Recorder, camera_host
from tests.servers.postgres import PostgresServer

__all__ = ["camera_host"]  # the fixture

OpenPage = Callable[..., Page]
LONG = (
    "凤凰山街道东江社区第三工业园区南侧临江绿道与环城快速路辅道交叉口东北角地下综合管"
    "廊出入口及周边五十米范围内网格化治理单元示范点甲区乙片丙段丁号网格责任区域全称谓"
)  # 80 characters
# Four cells of about 600 m, two by two, with a street around them; C1 has the long name.
PLACES = f"""
UPDATE areas SET geometry = jsonb_build_object('type', 'Polygon', 'coordinates', jsonb_build_array(jsonb_build_array(
    jsonb_build_array(w, s), jsonb_build_array(w + 0.006, s), jsonb_build_array(w + 0.006, s + 0.0055),
    jsonb_build_array(w, s + 0.0055), jsonb_build_array(w, s))))
FROM (SELECT 'C' || n AS code, 114.30 + (n % 2) * 0.006 AS w, 22.60 + (n / 3) * 0.0055 AS s
      FROM generate_series(1, 4) n) laid
WHERE areas.code = laid.code;
UPDATE areas SET name = '{LONG}', name_en = 'Riverside' WHERE code = 'C1';
UPDATE devices d SET longitude = laid.x + (d.id * 37 % 50) * 0.0001, latitude = laid.y + (d.id * 53 % 45) * 0.0001
FROM (SELECT id, 114.3005 + (right(code, 1)::int % 2) * 0.006 AS x, 22.6005 + (right(code, 1)::int / 3) * 0.0055 AS y
      FROM areas WHERE layer = 'cell') laid
WHERE d.cell_id = laid.id;
UPDATE metrics SET unit = '%' WHERE code = 'smoke';
INSERT INTO device_kinds (code, name, name_en) VALUES ('camera', '摄像机', 'Camera') ON CONFLICT DO NOTHING;
INSERT INTO devices (code, kind, cell_id, longitude, latitude)
    SELECT 'K1', 'camera', id, 114.3082, 22.6021 FROM areas WHERE code = 'C1';
INSERT INTO observations (device_id, metric_id, observed_at, received_at, value)
    SELECT d.id, m.id, t, t,
        CASE WHEN t > now() - interval '6 minutes' THEN 78 + 6 * random() ELSE 31 + 5 * random() END
    FROM devices d, metrics m, generate_series(now() - interval '90 minutes', now(), interval '30 seconds') t
    WHERE d.code = 'D2' AND m.code = 'smoke';
"""
EVIDENCE = {
    "value": 81.4,
    "raise_at": 70,
    "clear_at": 60,
    "deadband": 10,
    "direction": "above",
    "metric": "smoke",
    "observed_at": "2026-11-22T07:30:00Z",
}


@pytest.fixture(scope="module")
def centre(
    camera_host: Recorder, postgres_server: PostgresServer, postgres_template: str
) -> Iterator[Centre]:
    """Six people: dispatcher, supervisor, hotline, who handles (U1), who handles beside (U2), who verifies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CITY_MEDIA_HOSTS", camera_host.base.removeprefix("http://"))
        with on_fresh_ground(postgres_server, postgres_template) as made:
            with psycopg.connect(made.url, autocommit=True) as connection:
                connection.execute(PLACES.encode())
            for name, role, unit in (
                ("fen", "dispatcher", None),
                ("du", "supervisor", None),
                ("chu", "handler", "U1"),
                ("xie", "handler", "U2"),
                ("ge", "grid_worker", None),
            ):
                account(made, name, role, unit)
            yield made


def account(centre: Centre, name: str, role: str, unit: str | None) -> None:
    made = centre.client.post("/api/users", json={"name": name, "role": role, "unit": unit})
    assert made.status_code == 201, made.text
    with httpx.Client(base_url=centre.base, timeout=60, verify=NO_TLS) as client:
        secret = made.json()["one_time_secret"]
        assert client.post("/api/session", json={"name": name, "password": secret}).status_code == 200
        client.post("/api/session/password", json={"current": secret, "new": PASSWORD})


def burning(centre: Centre, *devices: str, evidence: dict[str, Any] | None = None) -> dict[str, Any]:
    """The incident that triage makes of these devices' alarms."""
    for device in devices:
        alarm = raise_alarm(centre, device)
        centre.execute(
            "UPDATE alarms SET evidence = %s, raised_at = now() - interval '5 minutes',"
            " metric_id = (SELECT id FROM metrics WHERE code = 'smoke') WHERE id = %s",
            Jsonb(evidence or EVIDENCE),
            alarm,
        )
        incident = triaged(centre, alarm)
    answer: dict[str, Any] = centre.client.get(f"/api/incidents/{incident}").json()
    return answer


def entered(open_page: OpenPage, centre: Centre, who: str, incident: int, language: str = "zh") -> Page:
    """The incident's page as ``who`` sees it, after the log-in."""
    page = open_page(f"{centre.base}/desk/incidents/{incident}?lang={language}")
    page.get_by_label("用户名" if language == "zh" else "User name").fill(who)
    page.get_by_label("密码" if language == "zh" else "Password").fill(PASSWORD)
    page.get_by_role("button", name="登录" if language == "zh" else "Log in", exact=True).click()
    expect(page.locator("article")).to_be_visible()
    return page


def act(page: Page, action: str, words: str = "", field: str = "备注") -> None:
    page.get_by_role("button", name=action, exact=True).first.click()
    form = page.locator("article form").last
    if words:
        form.get_by_label(field).fill(words)
    # By key: once a click while the page still loaded sent nothing, as if the button had moved under the pointer.
    form.get_by_role("button", name="确定" if field in ("备注", "原因") else "Confirm").press("Enter")
    expect(form).to_have_count(0)


def sound(page: Page) -> None:
    """Nothing cut or over another, and nothing that keeps anybody out."""
    assert geometry.cut_texts(page) == []
    assert geometry.overlapping_texts(page) == []
    assert axe.violations(page) == []


def picture(colour: str) -> bytes:
    out = BytesIO()
    Image.new("RGB", (320, 240), colour).save(out, "JPEG")
    return out.getvalue()


def test_from_alarm_to_archive(centre: Centre, camera_host: Recorder, open_page: OpenPage) -> None:
    incident = burning(centre, "D2", "K1", evidence={**EVIDENCE, "url": f"{camera_host.base}/event.jpg"})
    reported = centre.client.post(
        "/api/reports", json={"text": "楼道有浓烟", "category": "fire.smoke", "cell": incident["cell"]}
    )
    assert reported.status_code == 201, reported.text

    desk = entered(open_page, centre, "fen", incident["id"])
    expect(desk.get_by_role("img", name="周边地图")).to_be_visible()
    expect(desk.locator(".chart canvas")).to_be_visible()
    expect(desk.get_by_role("img", name="event.jpg")).to_be_visible()
    expect(desk.get_by_role("region", name="群众反映")).to_contain_text("楼道有浓烟")
    drawn = {item["text"] for item in geometry.drawn(desk)}
    assert {"报警限 70", "恢复限 60"} <= drawn
    sound(desk)

    unit = entered(open_page, centre, "chu", incident["id"])
    act(unit, "签收")
    act(unit, "到场")
    unit.get_by_role("button", name="处置完毕", exact=True).click()
    form = unit.locator("article form").last
    form.get_by_role("button", name="确定").click()
    expect(unit.get_by_role("alert")).to_contain_text("备注")
    form.get_by_label("备注").fill("明火已扑灭，无人员受伤")
    form.locator("input[type=file]").set_input_files(
        {"name": "done.jpg", "mimeType": "image/jpeg", "buffer": picture("grey")}
    )
    expect(form.get_by_role("img", name="done.jpg")).to_be_visible()
    form.get_by_role("button", name="确定").click()
    handled = unit.locator("[data-kind=handled]")
    # The system's own deeds (the report that joins) may come between reading and sending; then it is asked again.
    overtaken = unit.get_by_role("alert").filter(has_text="现在可以")
    expect(handled.or_(overtaken).first).to_be_visible()
    if overtaken.count():
        form.get_by_role("button", name="确定").click()
    expect(handled).to_contain_text("明火已扑灭")
    expect(handled.get_by_role("img")).to_have_count(1)

    # The desk follows live; who handled does not verify, and the page says so and keeps the words.
    expect(desk.locator("[data-kind=handled]")).to_contain_text("明火已扑灭")
    verifier = entered(open_page, centre, "ge", incident["id"], "en")
    expect(verifier.get_by_role("heading", name="Smoke")).to_be_visible()
    act(verifier, "Verified", "no smoke any more", "Comment")
    expect(verifier.locator("[data-kind=verified]")).to_contain_text("no smoke any more")
    sound(verifier)

    act(desk, "反馈", "已电话告知反映人")
    desk.get_by_role("button", name="归档", exact=True).click()
    archive = desk.locator("article form").last
    archive.get_by_label("原因").fill("现场已恢复")
    archive.get_by_role("button", name="确定").click()
    expect(desk.get_by_role("alert")).to_contain_text("条报警未解除")
    expect(archive.get_by_label("原因")).to_have_value("现场已恢复")
    centre.execute("UPDATE alarms SET cleared_at = now() WHERE incident_id = %s", incident["id"])
    archive.get_by_role("button", name="确定").click()
    expect(desk.locator("[data-kind=archived]")).to_be_visible()
    assert centre.execute("SELECT state FROM incidents WHERE id = %s", incident["id"]) == [("archived",)]


def test_parts_leave_and_others_join(centre: Centre, open_page: OpenPage) -> None:
    """Two detectors in one incident: one of them is another matter; and the print view of what is left."""
    incident = burning(centre, "D5", "D9")
    page = entered(open_page, centre, "fen", incident["id"])
    page.get_by_role("button", name="拆分", exact=True).click()
    form = page.locator("article form").last
    form.get_by_label("原因").fill("D9 为另一处")
    form.get_by_role("button", name="确定").click()
    expect(page.get_by_role("alert")).to_contain_text("请选择要拆出的报警")
    form.get_by_role("checkbox", name="D9").check()
    form.get_by_role("button", name="确定").click()
    expect(page.locator("[data-kind=split_off]")).to_contain_text("D9 为另一处")
    rows = centre.execute(
        "SELECT d.code, a.incident_id FROM alarms a JOIN devices d ON d.id = a.device_id"
        " WHERE d.code IN ('D5', 'D9') ORDER BY d.code DESC"
    )
    (_, fresh), (_, left) = rows
    assert (left, fresh != left) == (incident["id"], True)

    # Back together: what goes and what stays are seen side by side before anybody decides.
    page.get_by_role("button", name="合并", exact=True).click()
    form = page.locator("article form").last
    form.get_by_role("radio").first.check()
    expect(form.get_by_role("columnheader", name=f"并入： {incident['number']}")).to_be_visible()
    expect(form.get_by_role("columnheader", name="保留：")).to_be_visible()
    sound(page)
    page.get_by_role("button", name="取消", exact=True).click()

    page.get_by_role("button", name="打印单").click()
    sheet = page.get_by_role("dialog")
    expect(sheet).to_contain_text(incident["number"])
    expect(sheet).to_contain_text("一案一评")
    page.emulate_media(media="print")
    expect(sheet).to_be_visible()
    expect(page.locator(".staff")).to_be_hidden()
    expect(sheet.get_by_role("button", name="关闭")).to_be_hidden()
    page.emulate_media(media="screen")
    page.keyboard.press("Escape")
    expect(sheet).to_have_count(0)


def test_who_handles_beside_the_lead_is_told_what_they_may_do(centre: Centre, open_page: OpenPage) -> None:
    incident = burning(centre, "D11")
    sent = centre.client.post(
        f"/api/incidents/{incident['id']}/dispatch", json={"unit": "U1", "co_units": ["U2"], "reason": "r"}
    )
    assert sent.status_code == 200, sent.text
    page = entered(open_page, centre, "xie", incident["id"], "en")
    expect(page.get_by_text("Your unit handles beside Crew 1")).to_be_visible()
    expect(page.locator("article .actions button")).to_have_count(1)
    act(page, "Comment", "hose laid at the east gate", "Comment")
    expect(page.locator("[data-kind=commented]")).to_contain_text("hose laid at the east gate")
    sound(page)
