"""From a reading on the broker to the changed pixel of a wall: ``python -m bench.pixel`` beside a running product.

    .venv/bin/python -m bench.pixel --url http://127.0.0.1:8000 --mqtt-port 1883 --tries 100

Ten thousand devices report in the background (--rate messages a second; 0 leaves that to others). Each try is a new
detector far above its limit, in another cell; the clock runs from its publishing until the wall's number of open
incidents has changed in a frame that was painted, in a Chromium that draws in software. A try whose alarm joined an
open incident changes no number and is counted apart. Prints one line of JSON. Use it on a district of its own: it
opens incidents.
"""

import argparse
import json
import sys
import time

import httpx
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from playwright.sync_api import Error, Page, sync_playwright

from bench.load import Running
from tests.browser.conftest import CHROMIUM_ARGUMENTS
from tests.servers.chromium import chromium_binary

PATIENCE_MS = 8_000
SETTLED_S = 0.4  # between tries
# Looks in every frame; the frame after the one that shows another number has painted it.
AWAIT_CHANGE = """() => {
  const number = () => document.querySelector(".incidents h2 span")?.textContent ?? "";
  const before = number();
  window.painted_at = null;
  const look = () => {
    if (window.painted_at !== null) return;
    if (number() === before) return requestAnimationFrame(look);
    requestAnimationFrame(() => { window.painted_at = performance.timeOrigin + performance.now(); });
  };
  requestAnimationFrame(look);
}"""


def cells_of(url: str) -> list[str]:
    """Codes of the district's cells."""
    drawn = httpx.get(f"{url}/api/wall/map", timeout=30).json()
    return [cell["code"] for cell in drawn["cells"]]


def one(page: Page, publisher: mqtt.Client, topic: str, number: int) -> float | None:
    """Milliseconds until the pixel changed; None when the number did not."""
    page.evaluate(AWAIT_CHANGE)
    sent = time.time()
    payload = {"ts": int(sent * 1000), "value": 88.0, "seq": number}
    publisher.publish(topic, json.dumps(payload), qos=1)
    try:
        page.wait_for_function("() => window.painted_at !== null", timeout=PATIENCE_MS)
    except Error:
        page.evaluate("() => { window.painted_at = 0; }")
        return None
    return float(page.evaluate("window.painted_at")) - sent * 1000


def measure(chosen: argparse.Namespace) -> dict[str, object]:
    """Every try one after another, on a wall of the size asked for."""
    cells = cells_of(chosen.url)
    publisher = mqtt.Client(CallbackAPIVersion.VERSION2)
    publisher.connect(chosen.mqtt_host, chosen.mqtt_port)
    publisher.loop_start()
    took: list[float] = []
    with sync_playwright() as playwright:
        path = chromium_binary()
        browser = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_ARGUMENTS))
        page = browser.new_page(viewport={"width": chosen.width, "height": chosen.height})
        page.goto(f"{chosen.url}/wall")
        page.wait_for_selector(".wall[data-stale=false]", timeout=60_000)
        for number in range(chosen.tries):
            device, cell = f"pixel-{time.time_ns():x}", cells[number * 37 % len(cells)]
            found = one(page, publisher, f"city/{cell}/smoke/{device}", number)
            if found is not None:
                took.append(found)
            time.sleep(SETTLED_S)
        browser.close()
    publisher.loop_stop()
    took.sort()
    return {
        "tries": chosen.tries,
        "number_unchanged": chosen.tries - len(took),
        "devices": chosen.devices if chosen.rate else 0,
        "messages_per_s": chosen.rate,
        "size": f"{chosen.width}x{chosen.height}",
        **({"p50_ms": _at(took, 0.5), "p95_ms": _at(took, 0.95), "max_ms": _at(took, 1)} if took else {}),
    }


def _at(took: list[float], share: float) -> float:
    return round(took[min(len(took) - 1, int(len(took) * share))])


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--url", default="http://127.0.0.1:8000")
    arguments.add_argument("--mqtt-host", default="127.0.0.1")
    arguments.add_argument("--mqtt-port", type=int, default=1883)
    arguments.add_argument("--tries", type=int, default=100)
    arguments.add_argument("--devices", type=int, default=10_000)
    arguments.add_argument(
        "--rate", type=float, default=500, help="messages a second of the others; 0 = none"
    )
    arguments.add_argument("--width", type=int, default=1920)
    arguments.add_argument("--height", type=int, default=1080)
    chosen = arguments.parse_args()
    background = None
    if chosen.rate:
        seconds = chosen.tries * (SETTLED_S + PATIENCE_MS / 1000)
        background = Running(
            "bench.publisher", "--port", str(chosen.mqtt_port), "--devices", str(chosen.devices),
            "--cells", "200", "--total", str(int(chosen.rate * seconds)), "--rate", str(chosen.rate),
        )  # fmt: skip
    try:
        print(json.dumps(measure(chosen)))
    finally:
        if background is not None:
            background.kill()


if __name__ == "__main__":
    sys.exit(main())
