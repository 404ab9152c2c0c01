"""The fire and the storm of the simulators on the real wall, and nothing of it cut, covered or tiny."""

import time
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.acceptance.stand import Stand
from tests.browser import geometry

OpenPage = Callable[..., Page]
PATIENCE_MS = 150_000
SPEED = 8  # a detector that says every three seconds that it burns says it twice a second
LEAST_PX = 18  # 23 mm on a wall whose picture is 1.38 m high, seen from 5 m


def opened_wall(stand: Stand, open_page: OpenPage) -> Page:
    wall = open_page(f"{stand.url}/wall?lang=zh")
    wall.wait_for_selector(".wall[data-stale=false]")
    return wall


def assert_readable(wall: Page) -> None:
    wall.wait_for_function("() => window.drawn.some((item) => /街道/.test(item.text))")
    assert geometry.panels_outside(wall) == []
    assert geometry.overlapping_panels(wall) == []
    assert geometry.cut_texts(wall) == []
    assert geometry.overlapping_texts(wall) == []
    assert geometry.cut_drawings(wall) == []
    assert geometry.small_texts(wall, LEAST_PX) == []


def test_a_fire_is_one_incident_of_several_detectors(stand: Stand, open_page: OpenPage) -> None:
    wall = opened_wall(stand, open_page)
    stand.simulate("fire", speed=SPEED)
    expect(wall.locator(".incidents [data-incident]").first).to_be_visible(timeout=PATIENCE_MS)
    assert_readable(wall)

    fires = stand.open_incidents()
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while max(len(fire["devices"]) for fire in fires) < 2 and time.monotonic() < deadline:
        time.sleep(0.5)
        fires = stand.open_incidents()
    assert max(len(fire["devices"]) for fire in fires) >= 2, fires
    assert len({fire["cell"] for fire in fires}) == len(fires), "two incidents for one place"
    assert all(fire["category"].startswith("fire") and fire["unit"] is not None for fire in fires)


def test_a_storm_fills_the_wall_and_it_stays_readable(stand: Stand, open_page: OpenPage) -> None:
    wall = opened_wall(stand, open_page)
    stand.simulate("storm", speed=SPEED)
    expect(wall.locator(".incidents [data-incident]").nth(4)).to_be_visible(timeout=PATIENCE_MS)
    expect(wall.locator(".water")).to_contain_text("超警戒", timeout=PATIENCE_MS)
    wall.wait_for_function("() => window.drawn.some((item) => /警戒/.test(item.text))")
    assert_readable(wall)

    floods = [incident for incident in stand.open_incidents() if incident["category"].startswith("flood")]
    assert len(floods) >= 5
    assert len({incident["id"] for incident in floods}) == len(floods)
