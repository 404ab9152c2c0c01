"""Device health in the settings, against a real centre: states, gateways, batteries, availability."""

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import axe
from tests.browser.settings_scene import _account, log_in
from tests.integration.running_centre import Centre, on_fresh_ground
from tests.servers.postgres import PostgresServer

SHOTS = os.environ.get("CITY_SHOTS", "")

SCENE = """
INSERT INTO metrics (code, unit, name, name_en) VALUES ('temperature', '°C', '温度', 'Temperature')
    ON CONFLICT DO NOTHING;
INSERT INTO device_kinds (code, name, name_en, expected_interval_s) VALUES ('gateway', '网关', 'Gateway', 60)
    ON CONFLICT DO NOTHING;
INSERT INTO devices (code, kind, cell_id, name) SELECT 'GW1', 'gateway', id, '南湖路网关' FROM areas WHERE code = 'C4';
UPDATE devices SET name = '南湖小区 ' || code, maintainer_unit = '二队',
    model = CASE WHEN substr(code, 2)::int % 2 = 0 THEN 'JTY-GD-930' ELSE 'HM-608' END,
    vendor = CASE WHEN substr(code, 2)::int % 2 = 0 THEN '某安消防' ELSE '恒明电子' END WHERE kind = 'smoke';
UPDATE devices SET expected_interval_s = 3600 WHERE code = 'W1';
UPDATE devices SET gateway = 'GW1' WHERE code IN ('D12', 'D13', 'D14', 'D15');
UPDATE devices SET first_heard_at = now() - interval '90 days' WHERE code <> 'D20';
INSERT INTO presence (device_id, last_heard_at)
    SELECT id, now() - CASE WHEN code = 'GW1' OR gateway = 'GW1' THEN interval '3 hours'
                            WHEN code = 'D2' THEN interval '500 s' ELSE interval '20 s' END
    FROM devices WHERE code <> 'D20';
INSERT INTO device_metrics (device_id, metric_id, last_at, value, every_s, limit_s, blind_since)
    SELECT d.id, m.id, now() - interval '4 hours', 21.5, 300, 900, now() - interval '4 hours'
    FROM devices d, metrics m WHERE d.code = 'D3' AND m.code = 'temperature';
INSERT INTO device_health (device_id, look_at, battery, battery_percent, battery_per_day, end_at, end_early, end_late)
    SELECT id, 'infinity', 'falling', 10 + n * 3, -0.6, current_date + n * 5, current_date + n * 4,
           current_date + n * 6 + 1
    FROM (SELECT id, (row_number() OVER (ORDER BY code))::int AS n FROM devices WHERE kind = 'smoke'
          ORDER BY code LIMIT 8) o;
INSERT INTO listened_hours SELECT current_date - n, 16777215 FROM generate_series(1, 20) n;
INSERT INTO heard_hours
    SELECT current_date - n, d.id, CASE WHEN d.model = 'HM-608' AND n % 3 = 0 THEN 4095 ELSE 16777215 END
    FROM generate_series(1, 20) n, devices d WHERE d.code <> 'D20';
"""


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    with on_fresh_ground(postgres_server, postgres_template) as made:
        with psycopg.connect(made.url) as connection:
            connection.execute(SCENE)
            _account(connection, "boss", "administrator")
        yield made


@pytest.fixture(scope="module")
def desk(browser: Browser, centre: Centre) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1920, "height": 1080})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{centre.base}/settings/devices-health?lang=zh")
    log_in(page, "boss")
    yield page
    page.context.close()
    assert errors == []


def at(page: Page, centre: Centre, place: str, language: str) -> None:
    page.goto(f"{centre.base}/settings/devices-health{place}{'&' if '?' in place else '?'}lang={language}")
    expect(page.locator("main .settings-part table")).to_be_visible()
    expect(page.get_by_text("正在载入…" if language == "zh" else "Loading…")).to_have_count(0)


def seen(page: Page, name: str, *, anew: bool = True) -> None:
    """``anew``: not the same elements with other words."""
    assert not anew or axe.violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"settings-devices-health-{name}.png")


def test_a_count_is_a_filter_and_names_the_reason(desk: Page, centre: Centre) -> None:
    at(desk, centre, "", "zh")
    expect(
        desk.get_by_role("navigation", name="设置").get_by_role("link", name="设备健康")
    ).to_have_attribute("aria-current", "page")
    expect(desk.get_by_role("status").first).to_contain_text("在线 16，共 22 台")
    seen(desk, "zh")
    desk.get_by_role("link", name="缺测").click()
    expect(desk).to_have_url(f"{centre.base}/settings/devices-health?lang=zh&state=blind")
    expect(desk.locator("tbody tr")).to_have_count(1)
    expect(desk.locator("tbody tr")).to_contain_text("缺少：温度")
    desk.get_by_label("网关", exact=True).fill("GW1")
    desk.get_by_label("网关", exact=True).press("Tab")
    expect(desk.locator("tbody tr")).to_contain_text("没有符合条件的设备")
    desk.get_by_role("link", name="失联").click()
    expect(desk.locator("tbody tr")).to_have_count(4)
    expect(desk.locator("tbody tr").first).to_contain_text("其网关 GW1 也失联")
    at(desk, centre, "?state=late", "en")
    expect(desk.locator("tbody tr")).to_contain_text("an expected report is overdue")
    seen(desk, "en", anew=False)


def test_gateways_batteries_and_availability_in_both_languages(
    desk: Page, centre: Centre, now: datetime
) -> None:
    at(desk, centre, "/gateways", "zh")
    expect(desk.get_by_role("row", name="南湖路网关")).to_contain_text("网关失联，下挂设备随之失联")
    seen(desk, "gateways-zh")
    at(desk, centre, "/batteries", "zh")
    expect(desk.locator("tbody tr")).to_have_count(6)
    expect(desk.locator("tbody tr").first).to_contain_text((now.date() + timedelta(days=5)).isoformat())
    seen(desk, "batteries-zh")
    desk.get_by_label("预计到期").select_option("90")
    expect(desk.locator("tbody tr")).to_have_count(8)
    at(desk, centre, "/batteries", "en")
    seen(desk, "batteries-en", anew=False)
    at(desk, centre, "/availability?days=90", "en")
    expect(desk.locator("tbody tr").first).to_contain_text("HM-608")
    seen(desk, "availability-en")
    with desk.expect_download() as download:
        desk.get_by_role("link", name="Download CSV").click()
    assert "HM-608" in download.value.path().read_text(encoding="utf-8-sig")
    desk.locator(".settings-part select").first.select_option("vendor")
    expect(desk.locator("tbody tr").first).to_contain_text("恒明电子")
    at(desk, centre, "/availability", "zh")
    seen(desk, "availability-zh", anew=False)
