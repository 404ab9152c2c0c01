"""What intake costs: a report, a photo, a look at its progress, and what 10,000 reports from one address do to others.

    python -m bench.intake [--flood 10000] [--stored 100000]

One centre on a durable PostgreSQL with 4 cells; then 5,000 cells and 100,000 stored reports. Client and centre share
one process, so the figures are worse than between two.
"""

import argparse
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import httpx
from PIL import Image

from bench.database import started_server
from city.storage import migrate
from command_centre import photos
from tests.integration.running_centre import Centre, lay_ground, running

_CELLS = """
INSERT INTO areas (layer, code, name, geometry)
SELECT 'cell', 'X' || n, 'x', jsonb_build_object('type', 'Polygon', 'coordinates', jsonb_build_array((
    SELECT jsonb_agg(jsonb_build_array(
        114 + (n %% 100) * 0.001 + cos(k / 8.0) * 0.0008, 22 + (n / 100) * 0.001 + sin(k / 8.0) * 0.0008) ORDER BY k)
    FROM generate_series(0, 50) k)))
FROM generate_series(1, 5000) n
"""
_REPORTS = """
INSERT INTO reports (tracking, tracking_digest, channel, received_at, category, nature, text, place, actor, incident_id)
SELECT lpad(n::text, 13, '0'), sha256(n::text::bytea), 'web', now() - n * interval '1 minute', 'public.person',
    'complaint', '路灯不亮 ' || n, 'unknown', 'citizen', (SELECT min(id) FROM incidents)
FROM generate_series(1, %s) n
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flood", type=int, default=10_000)
    parser.add_argument("--stored", type=int, default=100_000)
    given = parser.parse_args()
    _photo()
    with started_server(plain=True) as server:
        url = server.url(server.create_database())
        migrate.apply(url)
        lay_ground(url)
        with running(url) as centre:
            _reports(centre, "a report, each from another address", 300)
            _flood(centre, given.flood)
            centre.execute(_CELLS)
            centre.execute(_REPORTS, given.stored)
            centre.execute("ANALYZE")
            _reports(centre, f"a report among 5,000 cells and {given.stored:,} reports", 200)
            for what, path in (
                ("newest hundred", "/api/reports"),
                ("a word of the text", "/api/reports?q=路灯不亮 77777"),
                ("calls back", "/api/callbacks"),
            ):
                _timed(what, 20, lambda _, path=path: centre.client.get(path).raise_for_status())


def _photo() -> None:
    image = Image.effect_noise((4000, 3000), 60).convert("RGB")
    out = BytesIO()
    image.save(out, "JPEG", quality=80)
    print(f"photo of 12 megapixels, {len(out.getvalue()) / 1e6:.1f} MB")
    _timed("taken in", 5, lambda _: photos.examine("a.jpg", out.getvalue()))


def _reports(centre: Centre, what: str, count: int) -> None:
    made: list[str] = []

    def send(number: int) -> None:
        made.append(_report(centre, f"10.1.{number // 250}.{number % 250}").json()["tracking"])

    _timed(what, count, send)
    _timed("  its progress", count, lambda n: centre.stranger.get(f"/api/reports/{made[n]}"))


def _report(centre: Centre, address: str) -> httpx.Response:
    number = hash((address, time.monotonic_ns())) % 4000
    body = {
        "text": "路灯不亮",
        "longitude": 114 + number % 100 * 0.001,
        "latitude": 22 + number // 100 * 0.001,
        "category": "public.person",
    }
    return centre.stranger.post("/api/reports", json=body, headers={"X-Forwarded-For": address})


def _flood(centre: Centre, count: int) -> None:
    """One address sends all at once from sixteen lines, while others report twice a second."""
    over = threading.Event()
    others: list[float] = []

    def calm() -> None:
        number = 0
        while not over.wait(0.5):
            number += 1
            began = time.perf_counter()
            assert _report(centre, f"10.2.{number // 250}.{number % 250}").status_code == 201
            others.append(time.perf_counter() - began)

    beside = threading.Thread(target=calm)
    beside.start()
    began = time.perf_counter()
    with ThreadPoolExecutor(16) as pool:
        statuses = Counter(pool.map(lambda _: _report(centre, "10.9.9.9").status_code, range(count)))
    took = time.perf_counter() - began
    over.set()
    beside.join()
    print(f"{count:,} reports from one address in {took:.1f} s ({count / took:.0f}/s): {dict(statuses)}")
    ((reports,),) = centre.execute(
        "SELECT count(*) FROM reports WHERE received_at > now() - interval '1 hour'"
    )
    print(f"  reports in all: {reports}")
    _print("  others meanwhile", others)


def _timed(what: str, count: int, work: Callable[[int], object]) -> None:
    times = []
    for number in range(count):
        began = time.perf_counter()
        work(number)
        times.append(time.perf_counter() - began)
    _print(what, times)


def _print(what: str, times: list[float]) -> None:
    ordered = sorted(times)
    print(
        f"{what}: median {statistics.median(ordered) * 1000:.1f} ms, "
        f"p95 {ordered[int(len(ordered) * 0.95)] * 1000:.1f} ms, worst {ordered[-1] * 1000:.1f} ms (n={len(ordered)})"
    )


if __name__ == "__main__":
    main()
