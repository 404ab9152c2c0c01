"""The wall in a real Chromium without a graphics card: frames at 5,000 cells, memory over many ticks, weight.

    .venv/bin/python -m bench.wall frames           5,000 cells on 3840 x 2160, 5 % changing five times a second
    .venv/bin/python -m bench.wall soak 50000       so many deltas as fast as the page takes them, heap and nodes
    .venv/bin/python -m bench.wall pixel            from a delta on the wire to the changed pixel
    .venv/bin/python -m bench.wall weight           JS and CSS that each view asks for, gzip

Against the mock centre of the browser tests; bench/pixel.py measures the running product.
"""

import gzip
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser import scenes
from tests.browser.conftest import CHROMIUM_ARGUMENTS
from tests.browser.mock_centre import MockCentre, running
from tests.servers.chromium import chromium_binary

COLUMNS, ROWS = 100, 50
AHEAD = 8  # deltas that may be unacknowledged: the hub itself holds at ten
VIEWS = ("", "/flood", "/incident", "/night", "/calibrate")


def main() -> None:
    """Prints one line of JSON for each measurement."""
    what = sys.argv[1] if len(sys.argv) > 1 else "frames"
    ticks = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    found = {"frames": frames, "soak": soak, "pixel": pixel, "weight": weight}[what]
    with sync_playwright() as playwright:
        path = chromium_binary()
        browser = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_ARGUMENTS))
        for line in found(browser, ticks):
            print(json.dumps({"what": what, **line}), flush=True)
        browser.close()


def centre_of(columns: int, rows: int, incidents: int) -> MockCentre:
    """A mock centre with that many cells, in a storm."""
    made = MockCentre(ground=scenes.ground(columns, rows))
    state = scenes.calm(columns, rows)
    storm = scenes.worst(incidents)
    for topic in ("incident", "counts", "station"):
        state[topic] = storm[topic]
    made.set_state(state)
    for code, station in storm["station"].items():
        made.answers[f"/api/stations/{code}/hydrograph"] = scenes.hydrograph(station)
    made.answers["/api/wall/sensing"] = scenes.sensing()
    made.answers["/api/wall/flood"] = scenes.flooding()
    return made


def opened(browser: Browser, url: str, width: int, height: int) -> Page:
    """The wall with its data and its map."""
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(f"{url}/wall")
    page.wait_for_selector(".wall[data-stale=false]")
    page.wait_for_function("() => document.querySelectorAll('.map canvas').length === 3")
    return page


COUNT_FRAMES = """() => {
  const gaps = window.gaps = []; let last = performance.now();
  const count = (now) => {
    if (window.gaps === gaps) { gaps.push(now - last); last = now; requestAnimationFrame(count); } };
  requestAnimationFrame(count); }"""


# What the page and this machine reach when the map draws nothing at all: the ceiling of the measurement.
DRAW_NOTHING = """() => { for (const name of ["fill", "clearRect", "clip", "rect", "save", "restore"])
  CanvasRenderingContext2D.prototype[name] = () => {}; }"""


def frames(browser: Browser, seconds: int) -> list[dict[str, Any]]:
    """Frames a second while 250 of 5,000 cells change five times a second, and the ceiling without any drawing."""
    found = []
    with running(centre_of(COLUMNS, ROWS, 40)) as centre:
        page = opened(browser, centre.url, 3840, 2160)
        for drawing in (True, False):
            if not drawing:
                page.evaluate(DRAW_NOTHING)
            page.wait_for_timeout(2000)
            page.evaluate(COUNT_FRAMES)
            change_cells(centre, (seconds or 20) * 5)
            gaps: list[float] = sorted(page.evaluate("window.gaps.slice(5)"))
            found.append(
                {
                    "cells": COLUMNS * ROWS,
                    "size": "3840x2160",
                    "drawing": drawing,
                    "frames_per_s": round(1000 / statistics.fmean(gaps), 1),
                    "gap_p50_ms": round(gaps[len(gaps) // 2], 1),
                    "gap_p99_ms": round(gaps[int(len(gaps) * 0.99)], 1),
                    "longest_ms": round(gaps[-1], 1),
                }
            )
        page.close()
    return found


def change_cells(centre: MockCentre, ticks: int) -> None:
    """Every fifth of a second another 250 cells."""
    codes = list(centre.hub.topics["cell"])
    began = time.perf_counter()
    for tick in range(ticks):
        changed = [codes[(tick * 250 + n) % len(codes)] for n in range(250)]
        of = (None, "A", "B", "C")[tick % 4]
        centre.publish({"cell": {code: scenes.cell(**{"class": of, "open": 1}) for code in changed}})
        time.sleep(max(0.0, began + (tick + 1) * 0.2 - time.perf_counter()))


def soak(browser: Browser, ticks: int) -> list[dict[str, Any]]:
    """Heap after collection and DOM nodes, ten times on the way, over all views in turn."""
    ticks = ticks or 50_000
    found = []
    with running(centre_of(30, 20, 14)) as centre:
        page = opened(browser, centre.url, 1920, 1080)
        storm(centre, 0, 500)
        for part in range(10):
            view = VIEWS[part % 4]
            go = "(to) => { history.pushState(null, '', to); dispatchEvent(new PopStateEvent('popstate')); }"
            storm(centre, 500 + part * (ticks // 10), ticks // 10)
            page.evaluate(go, f"/wall{view}")
            page.wait_for_timeout(1500)
            page.evaluate(go, "/wall")
            page.wait_for_timeout(1500)
            found.append({"ticks": (part + 1) * (ticks // 10), **footprint(page)})
        page.close()
    return found


def storm(centre: MockCentre, first: int, ticks: int) -> None:
    """Deltas as an upset district sends them, as fast as the page acknowledges."""
    for number in range(first, first + ticks):
        centre.publish(
            scenes.upset(centre.hub.topics, number),
            [{"kind": "incident.opened", "id": 1000 + number}, {"kind": "alarm.raised", "id": number}],
        )
        centre.hub.log.clear()  # the mock keeps every delta for resuming; this is about the page
        while centre.hub.seq - max(centre.hub.acknowledged[-1:], default=0) > AHEAD:
            time.sleep(0.0005)
    del centre.hub.acknowledged[:-1]


def footprint(page: Page) -> dict[str, Any]:
    """Heap after two collections and DOM nodes."""
    inside = page.context.new_cdp_session(page)
    inside.send("Performance.enable")
    for _ in range(2):
        inside.send("HeapProfiler.collectGarbage")
    held = {item["name"]: item["value"] for item in inside.send("Performance.getMetrics")["metrics"]}
    inside.detach()
    return {
        "heap_mb": round(held["JSHeapUsedSize"] / 1e6, 2),
        "nodes": int(held["Nodes"]),
        "listeners": int(held["JSEventListeners"]),
    }


def pixel(browser: Browser, times: int) -> list[dict[str, Any]]:
    """Milliseconds from sending a delta until the number on the wall has changed in a frame that was painted."""
    took = []
    with running(centre_of(COLUMNS, ROWS, 40)) as centre:
        page = opened(browser, centre.url, 3840, 2160)
        counts = centre.hub.topics["counts"]["open"]
        for number in range(times or 100):
            page.evaluate(AWAIT_NUMBER, str(5000 + number))
            sent = time.time()
            centre.publish({"counts": {"open": {**counts, "total": 5000 + number}}})
            page.wait_for_function("() => window.painted_at !== null")
            took.append(page.evaluate("window.painted_at") - sent * 1000)
        page.close()
    took.sort()
    return [
        {
            "times": len(took),
            "p50_ms": round(took[len(took) // 2], 1),
            "p95_ms": round(took[int(len(took) * 0.95)], 1),
            "max_ms": round(took[-1], 1),
        }
    ]


# The frame after the one that shows it: then it has been painted.
AWAIT_NUMBER = """(wanted) => {
  window.painted_at = null;
  const look = () => {
    if (!document.querySelector(".incidents h2")?.textContent.includes(wanted)) return requestAnimationFrame(look);
    requestAnimationFrame(() => { window.painted_at = performance.timeOrigin + performance.now(); });
  };
  requestAnimationFrame(look);
}"""


def weight(browser: Browser, _: int) -> list[dict[str, Any]]:
    """KB of JS and CSS after gzip, by view, all that the page asks for until it is drawn."""
    found = []
    with running(centre_of(30, 20, 14)) as centre:
        for view in VIEWS:
            page = browser.new_page(viewport={"width": 1920, "height": 1080})
            bodies: list[Callable[[], bytes]] = []
            page.on(
                "response",
                lambda answer, bodies=bodies: (
                    bodies.append(answer.body)
                    if answer.request.resource_type in ("script", "stylesheet")
                    else None
                ),
            )
            page.goto(f"{centre.url}/wall{view}")
            page.wait_for_selector(".wall[data-stale=false] main > *")
            page.wait_for_load_state("networkidle")
            size = sum(len(gzip.compress(body())) for body in bodies)
            found.append({"view": f"/wall{view}", "files": len(bodies), "kb_gzip": round(size / 1024, 1)})
            page.close()
    return found


if __name__ == "__main__":
    main()
