"""Board, handover and the report on alarms, by two people at a real centre, in both languages."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser import axe, geometry
from tests.integration.running_centre import Centre, on_fresh_ground
from tests.integration.test_alarm_api import PASSWORD, alarm_of, person
from tests.servers.postgres import PostgresServer

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def shift(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    """One fire with its unit, one water alarm in the lane, and two people who may act."""
    with on_fresh_ground(postgres_server, postgres_template) as centre:
        alarm_of(centre, "D1")
        alarm_of(centre, "W1", "flood.level")
        person(centre, "dispatcher").close()
        person(centre, "supervisor").close()
        yield centre


def entered(open_page: OpenPage, centre: Centre, name: str, path: str, language: str = "zh") -> Page:
    """``path`` seen by ``name``, who logs in by the form."""
    page = open_page(f"{centre.base}{path}?lang={language}")
    page.get_by_label("用户名" if language == "zh" else "User name").fill(name)
    page.get_by_label("密码" if language == "zh" else "Password").fill(PASSWORD)
    page.get_by_role("button", name="登录" if language == "zh" else "Log in", exact=True).click()
    expect(page.locator(".staff > header")).to_be_visible()
    return page


def sound(page: Page) -> None:
    """Nothing cut or over another, and nothing that keeps anybody out."""
    assert geometry.cut_texts(page) == []
    assert geometry.overlapping_texts(page) == []
    assert axe.violations(page) == []


def test_an_incident_of_the_lane_is_given_to_a_unit(shift: Centre, open_page: OpenPage) -> None:
    page = entered(open_page, shift, "dispatcher", "/desk/board")
    lane = page.get_by_role("region", name="未分派 1")
    expect(lane).to_contain_text("水位")
    row = page.locator("[data-unit=U2]")
    expect(row).to_contain_text("二队")
    sound(page)

    lane.get_by_role("radio").check()
    row.get_by_role("button", name="派给该单位").click()
    row.get_by_label("派遣依据").fill("河道巡查由二队负责")
    row.get_by_role("button", name="派给二队").click()
    expect(page.get_by_role("heading", name="未分派 0")).to_be_visible()
    expect(row.locator("td").nth(3)).to_have_text("1")
    assert shift.execute(
        "SELECT u.code FROM incidents i JOIN units u ON u.id = i.unit_id WHERE category = 'flood.level'"
    )
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", name="Unassigned 0")).to_be_visible()
    expect(row).to_contain_text("Crew 2")
    sound(page)


def test_a_shift_is_handed_over_and_taken_over(shift: Centre, open_page: OpenPage) -> None:
    early = entered(open_page, shift, "dispatcher", "/desk/handover")
    expect(early.get_by_role("heading", name="须交代的事件")).to_be_visible()
    early.get_by_label("交班说明").fill("一队的水带在修，遇火情先派二队")
    early.reload()
    expect(early.get_by_label("交班说明")).to_have_value("一队的水带在修，遇火情先派二队")
    sound(early)
    early.get_by_role("button", name="交班", exact=True).click()
    expect(early.get_by_role("button", name="接班")).to_be_visible()
    early.get_by_role("button", name="接班").click()
    expect(early.get_by_role("alert")).to_contain_text("须由他人接班")

    late = entered(open_page, shift, "supervisor", "/desk/handover", "en")
    expect(late.locator("main")).to_contain_text("一队的水带在修")
    late.get_by_role("button", name="Take over").click()
    expect(late.get_by_text("taken over by supervisor")).to_be_visible()
    # The other desk hears of it without asking.
    expect(early.get_by_role("heading", name="现在交班")).to_be_visible()
    sound(late)


@pytest.mark.parametrize(
    ("language", "title"), [("zh", "每 10 分钟报警"), ("en", "Alarms in each 10 minutes")]
)
def test_the_report_judges_the_alarm_system(
    shift: Centre, open_page: OpenPage, language: str, title: str
) -> None:
    page = entered(open_page, shift, "dispatcher", "/desk/performance", language)
    expect(page.get_by_role("heading", name=title)).to_be_visible()
    expect(page.locator("[data-verdict]")).to_have_count(9)
    expect(page.locator(".chart canvas")).to_be_visible()
    sound(page)
    page.get_by_role("spinbutton").fill("3")
    page.get_by_role("spinbutton").press("Enter")
    page.wait_for_url("**operators=3**")
