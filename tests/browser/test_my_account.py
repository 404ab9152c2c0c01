"""One's own account through the page: second factor, sessions, showing again who one is; and a token for a program."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pyotp
import pytest
from playwright.sync_api import Browser, Page, expect

from city.storage import users
from command_centre import accounts
from tests.browser import axe
from tests.integration.running_centre import Centre, on_fresh_ground
from tests.servers.postgres import PostgresServer

PASSWORD = "five quiet herons"
SHOTS = os.environ.get("CITY_TEST_SHOTS", "")


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    with on_fresh_ground(postgres_server, postgres_template, second_factor_roles="administrator") as made:
        with psycopg.connect(made.url) as connection:
            users.add(
                connection,
                name="boss",
                display_name="",
                password_hash=accounts.hash_password(PASSWORD),
                role="administrator",
                must_change=False,
            )
        yield made


def shot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def code_of(secret: str, steps: int = 0) -> str:
    return pyotp.TOTP(secret).at(int(time.time()) + 30 * steps)


def log_in(page: Page) -> None:
    page.locator("input[autocomplete=username]").fill("boss")
    page.locator("input[type=password]").fill(PASSWORD)
    page.get_by_role("button", name="登录", exact=True).click()


# One day of one person, in its order.
def test_an_administrator_adds_a_second_factor_and_works_with_it(  # noqa: PLR0915 - see above
    centre: Centre, browser: Browser
) -> None:
    page = browser.new_page(viewport={"width": 1920, "height": 1080})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if "Content Security" in said.text else None)
    page.goto(f"{centre.base}/settings/users/tokens?lang=zh")
    log_in(page)
    expect(page.get_by_text("必须启用两步验证")).to_be_visible()
    page.get_by_role("button", name="启用两步验证").click()
    picture = page.get_by_alt_text("二维码")
    expect(picture).to_be_visible()
    assert picture.evaluate("(image) => image.naturalWidth") > 50
    shot(page, "enrol")
    secret = page.locator("code.secret").inner_text()
    page.get_by_label("应用显示的 6 位数字").fill(code_of(secret))
    page.get_by_role("button", name="确认启用").click()
    expect(page.locator(".codes li")).to_have_count(10)
    recovery = page.locator(".codes code").first.inner_text()
    shot(page, "recovery")
    page.get_by_role("button", name="已保存恢复码").click()

    expect(page.get_by_label("用途")).to_be_visible()
    centre.execute("UPDATE sessions SET proven_at = now() - interval '1 hour'")
    page.get_by_label("用途").fill("看板")
    page.get_by_label("辖区").select_option("S1")
    page.get_by_role("button", name="生成令牌").click()
    dialog = page.get_by_role("dialog", name="请再次验证身份")
    dialog.get_by_label("密码").fill(PASSWORD)
    dialog.get_by_role("button", name="确定").click()
    shot(page, "prove")
    dialog.get_by_label("两步验证码").fill(code_of(secret, 1))
    dialog.get_by_role("button", name="确定").click()
    token = page.locator(".secret code").inner_text()
    assert (
        httpx.get(f"{centre.base}/api/incidents", headers={"Authorization": f"Bearer {token}"}).status_code
        == 200
    )
    shot(page, "tokens")
    page.get_by_role("button", name="作废").click()
    page.get_by_role("button", name="确认作废").click()
    expect(page.get_by_role("row", name="看板")).to_contain_text("已作废")

    phone = browser.new_page(viewport={"width": 390, "height": 844})
    phone.goto(f"{centre.base}/desk?lang=zh")
    log_in(phone)
    phone.get_by_label("两步验证码").fill(recovery)
    shot(phone, "phone-login")
    phone.get_by_role("button", name="登录", exact=True).click()
    phone.get_by_role("button", name="我的账号").click()
    expect(phone.get_by_text("剩余恢复码 9 个")).to_be_visible()
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    assert axe.violations(phone) == []
    shot(phone, "phone-account")

    page.get_by_role("button", name="我的账号").click()
    expect(page.get_by_role("button", name="退出此设备：Chrome")).to_have_count(1)
    shot(page, "account")
    page.get_by_role("button", name="退出此设备：Chrome").click()
    expect(page.get_by_role("button", name="退出此设备：Chrome")).to_have_count(0)
    expect(phone.get_by_text("登录已失效")).to_be_visible(timeout=60_000)
    phone.context.close()
    page.context.close()
    assert errors == []
