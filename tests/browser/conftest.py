"""A real Chromium, and the mock centre that it looks at."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from hatch_build import WEB, up_to_date
from tests.browser import scenes
from tests.browser.mock_centre import MockCentre, running

CHROMIUM_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Three workers share two cores: what takes a moment here takes ten there, and waiting longer costs nothing that passes.
expect.set_options(timeout=60_000)
# Canvas text has no box that could be asked, so what is drawn is written down until its canvas is cleared.
RECORD_CANVAS_TEXT = """
window.drawn = [];
const numbers = new WeakMap();
let canvases = 0;
const numberOf = (canvas) => {
  if (!numbers.has(canvas)) numbers.set(canvas, ++canvases);
  return numbers.get(canvas);
};
const clearRect = CanvasRenderingContext2D.prototype.clearRect;
CanvasRenderingContext2D.prototype.clearRect = function (x, y, width, height) {
  if (width >= this.canvas.width && height >= this.canvas.height) {
    const number = numberOf(this.canvas);
    window.drawn = window.drawn.filter((item) => item.canvas !== number);
  }
  return clearRect.apply(this, arguments);
};
window.drawnNow = () => {
  const there = new Set([...document.querySelectorAll("canvas")].map(numberOf));
  return window.drawn.filter((item) => there.has(item.canvas));
};
const fillText = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
  const width = this.measureText(text).width;
  const before = { left: 0, start: 0, right: width, end: width, center: width / 2 }[this.textAlign];
  const at = this.getTransform().transformPoint({ x: x - before, y });
  window.drawn.push({ text, size: parseFloat(this.font.match(/([\\d.]+)px/)[1]), left: at.x, y: at.y,
    right: at.x + width, canvas: numberOf(this.canvas), width: this.canvas.width, height: this.canvas.height });
  return fillText.apply(this, arguments);
};
"""


@pytest.fixture(scope="session", autouse=True)
def _built_screens() -> None:
    if not up_to_date(WEB):
        pytest.fail(f"the screens in {WEB}/dist are not built from the present sources: run `make setup`")


@pytest.fixture(scope="module")
def browser(chromium_path: Path) -> Iterator[Browser]:
    """One for each file, not longer: its event loop would be in the way of tests that run one of their own."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium_path, args=list(CHROMIUM_ARGUMENTS))
        yield started
        started.close()


@pytest.fixture(scope="module")
def mock() -> Iterator[MockCentre]:
    """One server for each file: at one address the browser need not fetch and compile everything for every test."""
    with running(MockCentre(ground=scenes.ground())) as made:
        yield made


@pytest.fixture
def centre(mock: MockCentre) -> MockCentre:
    """Fire and storm at once; change its state before a page opens or publish afterwards."""
    mock.renew(scenes.ground())
    mock.set_state(scenes.worst())
    for code, station in mock.hub.topics["station"].items():
        mock.answers[f"/api/stations/{code}/hydrograph"] = scenes.hydrograph(station)
    mock.answers["/api/wall/sensing"] = scenes.sensing()
    mock.answers["/api/wall/flood"] = scenes.flooding()
    for number in mock.hub.topics["incident"]:
        mock.answers[f"/api/wall/incidents/{number}"] = scenes.focused()
    return mock


class Tab:
    """One page of one person, which notes errors; ``leave`` makes it a stranger's, for the next test."""

    def __init__(self, browser: Browser) -> None:
        self.page = browser.new_page()
        self.page.set_default_timeout(60_000)
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: _note_policy(said.text, self.errors))
        self.page.add_init_script(RECORD_CANVAS_TEXT)

    def leave(self) -> None:
        self.page.unroute_all(behavior="ignoreErrors")
        self.page.emulate_media(media="null")
        if self.page.url.startswith("http"):
            self.page.evaluate("localStorage.clear()")
        self.page.goto("about:blank")
        self.page.context.clear_cookies()
        self.page.context.clear_permissions()
        self.errors.clear()


@pytest.fixture(scope="module")
def kept_tab(browser: Browser) -> Iterator[Tab]:
    """A page that is used again, as opening one costs a second: a process, the scripts compiled, the fonts found."""
    tab = Tab(browser)
    yield tab
    tab.page.context.close()


@pytest.fixture
def open_page(
    browser: Browser, kept_tab: Tab, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Page]]:
    """A function (url, width, height) -> page that has its data. Fails the test on any page error.

    The first is one that earlier tests had, empty again; further ones are other people's, and "about:blank" is
    fresh as well, for scripts and listeners that a page cannot lose. Pictures go to CITY_TEST_PICTURES when
    that names a folder, for people to look at.
    """
    tabs: list[Tab] = []

    def opened(url: str, width: int = 1920, height: int = 1080) -> Page:
        tab = Tab(browser) if kept_tab in tabs or url == "about:blank" else kept_tab
        tabs.append(tab)
        tab.page.set_viewport_size({"width": width, "height": height})
        tab.page.goto(url)
        return tab.page

    yield opened
    folder = os.environ.get("CITY_TEST_PICTURES")
    errors = [error for tab in tabs for error in tab.errors]
    for number, tab in enumerate(tabs):
        if folder:
            tab.page.screenshot(path=Path(folder) / f"{request.node.name}-{number}.png".replace("/", "-"))
        if tab is kept_tab:
            tab.leave()
        else:
            tab.page.context.close()
    assert errors == []


def _note_policy(text: str, errors: list[str]) -> None:
    if "Content Security Policy" in text or "Refused to" in text:
        errors.append(text)
