"""Every view of the wall at every size, in both languages, full and in trouble: nothing cut, covered or tiny."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import city_scene, geometry, scenes
from tests.browser.conftest import RECORD_CANVAS_TEXT
from tests.browser.mock_centre import MockCentre, running

VIEWS = ["overview", "flood", "incident", "night", "calibrate", "city"]
# width, height, scale: 0.5 is what a wall 2.7 m high asks for that is seen from 5 m
HD, WIDE, FAR = (1920, 1080, 1.0), (3840, 1080, 1.0), (3840, 2160, 0.5)
HUGE, HUGE_FAR, PHONE = (6720, 2160, 1.0), (6720, 2160, 0.5), (390, 844, 1.0)
SIZES = [HD, WIDE, FAR, HUGE, HUGE_FAR, PHONE]
# Each view in each language, each size in each language; the view with most to lose at the extremes.
FEW = {
    "zh": {
        "overview": [WIDE, HUGE_FAR], "flood": [HD], "incident": [PHONE], "night": [FAR], "calibrate": [WIDE],
        "city": [HD],
    },
    "en": {
        "overview": [HD, PHONE], "flood": [WIDE], "incident": [FAR], "night": [PHONE], "calibrate": [HD],
        "city": [PHONE],
    },
}  # fmt: skip
LEAST_PX = 18  # at scale 1 on 1920 x 1080; 23 mm on a picture 1.4 m high, seen from 5 m
# What must be drawn before a view is looked at.
DRAWN = {
    "overview": "() => window.drawn.some((item) => /警戒 |Warning /.test(item.text))",
    "flood": "() => window.drawn.some((item) => /警戒 |Warning /.test(item.text))"
    " && !!document.querySelector('.rain li')",
    "incident": "() => document.querySelectorAll('.timeline li').length > 3",
    "night": "() => document.querySelectorAll('.figures li').length === 5",
    "calibrate": "() => !!document.querySelector('.lines')",
    "city": "() => document.querySelectorAll('[data-district]').length === 6 && !!document.querySelector('.map path')",
}
GO = "(address) => { history.pushState(null, '', address); dispatchEvent(new PopStateEvent('popstate')); }"
SCALE = "(scale) => document.documentElement.style.setProperty('--ui-scale', scale)"
FRAMES = """(n) => new Promise((done) => {
  const next = (left) => left === 0 ? done() : requestAnimationFrame(() => next(left - 1));
  next(n); })"""


def storm() -> MockCentre:
    made = MockCentre(ground=scenes.ground())
    made.set_state(scenes.worst(40))
    answer(made)
    return made


def answer(made: MockCentre) -> None:
    for code, station in made.hub.topics["station"].items():
        made.answers[f"/api/stations/{code}/hydrograph"] = scenes.hydrograph(station)
    made.answers["/api/wall/sensing"] = scenes.sensing()
    made.answers["/api/wall/flood"] = scenes.flooding()
    made.answers["/api/wall/city"] = city_scene.overview()
    made.answers["/api/wall/city/map"] = city_scene.outlines()
    for number in made.hub.topics["incident"]:
        made.answers[f"/api/wall/incidents/{number}"] = scenes.focused()


class Watched:
    """One page for many looks, which also notes what no look may bring: errors and other hosts."""

    language = "zh"

    def __init__(self, browser: Browser, url: str, address: str = "/wall", script: str = "") -> None:
        self.url = url
        self.faults: list[str] = []
        self.page = browser.new_page(viewport={"width": 1280, "height": 720})
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda said: self._said(said.type, said.text))
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.add_init_script(RECORD_CANVAS_TEXT)
        if script:
            self.page.add_init_script(script)
        self.page.goto(url + address)
        self.page.wait_for_selector(".wall[data-stale=false]")

    def _said(self, kind: str, text: str) -> None:
        if kind == "error":
            self.faults.append(text)

    def _asked(self, url: str) -> None:
        if not url.startswith((self.url, self.url.replace("http", "ws"))):
            self.faults.append(url)

    def show(self, view: str, width: int, height: int, scale: float) -> Page:
        """The view, laid out and drawn."""
        self.page.evaluate(GO, f"/wall/{view}")
        self.page.wait_for_selector(f".wall[data-wall={view}] main > *")
        self.page.evaluate(SCALE, str(scale))
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.wait_for_function(DRAWN[view])
        self.page.evaluate(FRAMES, 4)
        return self.page


@pytest.fixture(scope="module", params=["zh", "en"])
def shown(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Watched]:
    with running(storm()) as centre:
        watched = Watched(browser, centre.url, f"/wall?lang={request.param}")
        watched.language = request.param
        yield watched
        watched.page.close()
        assert watched.faults == []


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_fits_a_wall(shown: Watched, view: str) -> None:
    fits(shown, view, FEW[shown.language][view])


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_fits_every_wall(shown: Watched, view: str) -> None:
    # Less fits at the largest size without a scale: the overview has most to lose.
    fits(shown, view, [size for size in SIZES if size != HUGE or view == "overview"])


def fits(shown: Watched, view: str, sizes: list[tuple[int, int, float]]) -> None:
    """Nothing cut, covered, tiny or faint at any of these sizes."""
    for width, height, scale in sizes:
        page = shown.show(view, width, height, scale)
        where = (view, width, height, scale)
        upright = width < height
        if not upright:
            assert geometry.panels_outside(page) == [], where
            assert page.evaluate("document.documentElement.scrollHeight <= innerHeight"), where
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), where
        assert geometry.overlapping_panels(page) == [], where
        assert geometry.settled(geometry.cut_texts, page) == [], where
        assert geometry.settled(geometry.overlapping_texts, page) == [], where
        assert geometry.settled(geometry.cut_drawings, page) == [], where
        least = LEAST_PX * (1 if upright else min(width / 1920, height / 1080) * scale)
        assert geometry.small_texts(page, least) == [], where
        assert geometry.low_contrasts(page) == [], where


def rows(page: Page, selector: str) -> int:
    return page.locator(selector).locator("visible=true").count()


def test_a_large_wall_shows_more_and_not_larger(shown: Watched) -> None:
    page = shown.show("overview", 1920, 1080, 1.0)
    few = {
        panel: rows(page, f".{panel} li") for panel in ("incidents", "smoke", "cameras", "water", "deadlines")
    }
    page = shown.show("overview", 3840, 2160, 0.5)
    many = {panel: rows(page, f".{panel} li") for panel in few}
    assert all(many[panel] > few[panel] for panel in few), (few, many)


# ── trouble ──────────────────────────────────────────────────────────────────────────────────────────

LONG_ZH = "下穿通道及周边地下空间综合治理责任网格" * 4 + "东南侧出入口"
LONG_EN = "Pinghu Street, Fuchengao community, underpass at Industry Avenue and Pingxin N Rd"


def trouble() -> MockCentre:
    """Cells without a polygon, 300 incidents in one cell, names of 80 characters, a station without levels."""
    assert len(LONG_ZH) >= 80
    assert len(LONG_EN) >= 80
    made = MockCentre(ground=scenes.ground())
    state = scenes.worst(1)
    many = {str(n): scenes.incident(n, "C010010", lon=None, lat=None) for n in range(1, 301)}
    lost = scenes.incident(400, "C002002", **{"class": "A", "acknowledged_at": None})
    named: dict[str, Any] = {
        "category_name": LONG_ZH, "category_name_en": LONG_EN, "cell_name": LONG_ZH, "unit_name": LONG_ZH,
        "unit_name_en": LONG_EN, "reason": LONG_ZH, "reason_en": LONG_EN,
    }  # fmt: skip
    state["incident"] = {number: {**one, **named} for number, one in {**many, "400": lost}.items()}
    state["counts"] = {"open": scenes.counts(state["incident"])}
    for code in ("C002002", "C003003"):
        state["cell"][code]["state"] = "blind"
    state["district"]["info"].update(name=LONG_ZH[:40], name_en=LONG_EN[:40])
    for station in state["station"].values():
        station.update(name=LONG_ZH, name_en=LONG_EN)
    state["station"]["W6"] = scenes.station("W6", LONG_ZH, LONG_EN, 1.0, None)
    for kind in state["online"].values():
        kind.update(name=LONG_ZH, name_en=LONG_EN)
    made.set_state(state)
    for cell in made.ground["cells"]:
        cell.update(name=LONG_ZH, name_en=LONG_EN)
        if cell["code"] in ("C002002", "C003003"):
            cell["rings"] = []
    for street in made.ground["streets"]:
        street.update(name=LONG_ZH[:30], name_en=LONG_EN[:30])
    answer(made)
    state["station"]["W6"]["level_m"] = None
    sensing = made.answers["/api/wall/sensing"]
    for row in (*sensing["smoke"]["alarms"], *sensing["smoke"]["highest"], *sensing["cameras"]["offline"]):
        row.update(name=LONG_ZH, cell_name=LONG_ZH, cell_name_en=LONG_EN)
    for gauge in made.answers["/api/wall/flood"]["rain"]:
        gauge["name"] = LONG_ZH
    for device in scenes.focused()["devices"]:
        device["name"] = LONG_ZH
    return made


@pytest.fixture(scope="module")
def troubled(browser: Browser) -> Iterator[Watched]:
    with running(trouble()) as centre:
        watched = Watched(browser, centre.url)
        yield watched
        watched.page.close()
        assert watched.faults == []


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["some", "every"])
def test_long_names_and_300_incidents_in_a_cell_break_nothing(
    troubled: Watched, language: str, every: bool
) -> None:
    other = troubled.page.get_by_role("button", name={"en": "English", "zh": "中文"}[language])
    if other.count() > 0:
        other.click()
    for number, view in enumerate(("overview", "flood", "incident", "night")):
        some = number % 2 == (language == "en")  # in the other language at the other size
        for width, height in ((1920, 1080), (3840, 1080)) if every else ((1920 if some else 3840, 1080),):
            page = troubled.show(view, width, height, 1.0)
            where = (view, width, language)
            assert geometry.panels_outside(page) == [], where
            assert geometry.overlapping_panels(page) == [], where
            assert geometry.cut_texts(page, shortened=False) == [], where
            assert geometry.overlapping_texts(page) == [], where
            assert geometry.cut_drawings(page) == [], where
            if view != "night":
                assert "×300" in {item["text"] for item in geometry.drawn(page)} or view == "incident", where


def test_a_cell_without_a_polygon_stands_beside_the_map(troubled: Watched) -> None:
    page = troubled.show("overview", 1920, 1080, 1.0)
    legend = page.locator("section.map .legend")
    expect(legend).to_contain_text("2")
    assert rows(page, "section.map .place") == 2
    first = page.locator("section.map .place").first
    expect(first.locator("svg")).to_have_attribute(
        "aria-label", "Critical" if "Views" in page.inner_text("header") else "特急"
    )


def test_a_station_without_levels_is_listed_and_said(troubled: Watched) -> None:
    page = troubled.show("flood", 1920, 1080, 1.0)
    listed = page.locator(".stations")
    expect(listed).to_contain_text("–")
    assert page.locator(".stations").get_by_text("null").count() == 0
    texts = " ".join(item["text"] for item in geometry.texts(page))
    for wrong in ("null", "undefined", "NaN", "Invalid"):
        assert wrong not in texts


# ── a wall without a person ──────────────────────────────────────────────────────────────────────────

WAKE_LOCK = """
window.asked = 0;
Object.defineProperty(navigator, "wakeLock", { value: { request: () => {
  window.asked++; return Promise.resolve({ released: false, release: () => Promise.resolve() }); } } });
"""


def quiet() -> MockCentre:
    """Incidents, and none of them first class and unacknowledged."""
    made = storm()
    for one in made.hub.topics["incident"].values():
        one["acknowledged_at"] = scenes.at(-1)
    return made


def test_a_kiosk_turns_its_views_and_stops_at_an_urgent_incident(browser: Browser) -> None:
    with running(quiet()) as centre:
        page = browser.new_page(viewport={"width": 1920, "height": 1080})
        page.add_init_script(WAKE_LOCK)
        page.clock.install()
        page.goto(f"{centre.url}/wall?kiosk&rotate=overview,night&every=10")
        page.wait_for_selector(".wall[data-stale=false][data-wall=overview]")
        assert page.evaluate("window.asked") == 1
        assert page.evaluate("getComputedStyle(document.body).cursor") == "none"
        expect(page.get_by_role("button", name="视图")).to_be_hidden()
        page.clock.run_for(11_000)
        page.wait_for_selector(".wall[data-wall=night]")

        fire = scenes.incident(
            900, "C010010", **{"class": "A", "acknowledged_at": None, "category_name": "厂房起火"}
        )
        centre.answers["/api/wall/incidents/900"] = scenes.focused()
        centre.publish({"incident": {"900": fire}}, [{"kind": "incident.opened", "id": 900, "class": "A"}])
        page.wait_for_selector(".wall[data-wall=incident]")
        expect(page.locator(".head")).to_contain_text("厂房起火")
        page.clock.run_for(30_000)
        page.wait_for_selector(".wall[data-wall=incident]")

        centre.publish({"incident": {"900": {**fire, "acknowledged_at": scenes.at(0)}}})
        page.wait_for_selector(".wall[data-wall=night]")  # where it stopped
        page.clock.run_for(11_000)
        page.wait_for_selector(".wall[data-wall=overview]")
        page.close()


def test_night_comes_by_the_districts_clock_and_lights_what_is_abnormal(browser: Browser) -> None:
    made = quiet()
    calm = scenes.calm()
    made.set_state(calm)
    with running(made) as centre:
        page = browser.new_page(viewport={"width": 1920, "height": 1080}, timezone_id="America/New_York")
        hour = (time.gmtime().tm_hour + 8) % 24  # in the district
        page.goto(f"{centre.url}/wall?night={hour}-{(hour + 2) % 24}")
        page.wait_for_selector(".wall[data-stale=false][data-wall=night]")
        expect(page.locator(".night h2")).to_have_text("未结事件")  # two detectors are in alarm
        assert rows(page, "main .odd") == 1
        lit = "(element) => getComputedStyle(element).color"
        assert page.locator("main .odd").first.evaluate(lit) == "rgb(255, 255, 255)"
        assert page.locator("[data-class=A]").evaluate(lit) == "rgb(118, 130, 142)"
        page.goto(f"{centre.url}/wall?night={(hour + 3) % 24}-{(hour + 4) % 24}")
        page.wait_for_selector(".wall[data-stale=false][data-wall=overview]")
        page.close()


def test_a_screen_is_calibrated_for_its_distance(browser: Browser) -> None:
    with running(quiet()) as centre:
        watched = Watched(browser, centre.url, "/wall/calibrate")
        page = watched.page
        page.set_viewport_size({"width": 3840, "height": 2160})
        distance, height = page.get_by_label("观看距离"), page.get_by_label("画面高度")
        distance.fill("20")
        expect(page.get_by_role("alert")).to_contain_text("画面对该距离太小")
        distance.fill("")
        expect(page.get_by_role("alert")).to_contain_text("0.5 至 60 米")
        distance.fill("5")
        height.fill("2.7")
        expect(page.get_by_role("alert")).to_have_count(0)
        page.get_by_role("button", name="保存到本屏").click()
        expect(page.get_by_role("status")).to_have_text("已保存到本屏")
        page.goto(f"{centre.url}/wall")
        page.wait_for_selector(".wall[data-stale=false]")
        rem = page.evaluate("parseFloat(getComputedStyle(document.documentElement).fontSize)")
        least_mm = 1.125 * rem / 2160 * 2700
        assert 23.2 < least_mm < 24
        page.goto(f"{centre.url}/wall/calibrate")
        expect(height).to_have_value("2.7")
        page.get_by_role("button", name="恢复默认").click()
        assert page.evaluate("localStorage.getItem('city.ui-scale')") is None
        page.close()
        assert watched.faults == []


# ── what it shows ────────────────────────────────────────────────────────────────────────────────────


def test_the_incident_is_the_most_urgent_or_the_one_asked_for(browser: Browser) -> None:
    with running(storm()) as centre:
        watched = Watched(browser, centre.url, "/wall/incident?lang=en")
        page = watched.page
        expect(page.locator(".head")).to_contain_text("Smoke alarm")
        expect(page.locator(".head")).to_contain_text("no unit is responsible for this cell")
        expect(page.locator(".clocks")).to_contain_text("overdue")
        expect(page.locator(".timeline")).to_contain_text("Phoenix Hill emergency office")
        expect(page.locator(".devices")).to_contain_text("in alarm")
        page.wait_for_function("() => window.drawn.some((item) => item.text === 'Cell 028000')")

        page.goto(f"{centre.url}/wall/incident?id=3&lang=en")
        expect(page.locator(".head")).to_contain_text("20261121-0003")
        page.goto(f"{centre.url}/wall/incident?id=777&lang=en")
        expect(page.locator(".head")).to_contain_text("Incident 777 is not open")
        centre.publish({"incident": dict.fromkeys(centre.hub.topics["incident"])})
        expect(page.locator(".head")).to_contain_text("No open incidents")
        page.close()
        assert watched.faults == []


def test_a_scope_shows_only_its_street(browser: Browser) -> None:
    with running(storm()) as centre:
        watched = Watched(browser, centre.url, "/wall?scope=S1")
        page = watched.page
        expect(page.locator("header")).to_contain_text("范围：临江街道")
        inside = {cell["code"] for cell in centre.ground["cells"] if cell["street"] == "S1"}
        expected = [one for one in centre.hub.topics["incident"].values() if one["cell"] in inside]
        real = [one for one in expected if not one["exercise"]]
        expect(page.locator(".incidents h2")).to_contain_text(str(len(real)))
        assert 0 < len(expected) < 40
        shown = {row.get_attribute("data-incident") for row in page.locator("[data-incident]").all()}
        assert shown <= {str(one["id"]) for one in expected}
        page.goto(f"{centre.url}/wall?scope=nowhere")
        expect(page.locator("main")).to_contain_text("没有编码为 nowhere")
        page.close()


def test_the_citys_head_says_the_highest_response_and_whose(browser: Browser) -> None:
    made = storm()  # this centre's own is IV
    with running(made) as centre:
        watched = Watched(browser, centre.url, "/wall?lang=en")
        page = watched.page
        head = page.locator("header")
        expect(head).to_contain_text("Response level IV")
        page.evaluate(GO, "/wall/city")
        expect(head.locator("[data-response=III]")).to_have_text("Response level III · Old Town")
        expect(head).to_contain_text("level unknown in 2 districts")
        assert "level IV" not in head.inner_text()
        nobody = {"level": None, "centre": False, "districts": [], "unknown": 0}
        made.answers["/api/wall/city"] = {**city_scene.overview(), "response": nobody}
        expect(head).not_to_contain_text("evel")  # neither a level nor an unknown one
        page.close()
        assert watched.faults == []


def test_the_screens_own_clock_may_be_wrong_by_a_day(browser: Browser) -> None:
    with running(storm()) as centre:
        page = browser.new_page(viewport={"width": 1920, "height": 1080})
        page.clock.install(time=time.time() - 86_400)
        page.goto(f"{centre.url}/wall")
        page.wait_for_selector(".wall[data-stale=false]")
        today = time.gmtime(time.time() + 8 * 3600)
        expect(page.locator("header .date")).to_contain_text(f"{today.tm_mon}月{today.tm_mday}日")
        ages = page.locator(".incidents time").all_inner_texts()
        assert ages
        assert not any("天" in age for age in ages)
        page.close()


def test_an_hour_without_the_server_stays_readable_and_ends_at_once(browser: Browser) -> None:
    with running(storm()) as centre:
        page = browser.new_page(viewport={"width": 1920, "height": 1080})
        page.clock.install()
        page.goto(f"{centre.url}/wall")
        page.wait_for_selector(".wall[data-stale=false]")
        centre.hub.muted = True
        page.clock.run_for(8_000)
        expect(page.locator("[role=alert]")).to_contain_text("数据中断")
        page.clock.fast_forward("01:00:00")
        expect(page.locator("[role=alert]")).to_contain_text("起未更新")
        assert rows(page, ".incidents [data-incident]") >= 8
        assert geometry.overlapping_panels(page) == []
        centre.hub.muted = False
        page.clock.run_for(3_000)
        page.wait_for_selector(".wall[data-stale=false]")
        page.close()
