"""What goes out, measured: files of one device, SensorThings' usual questions, and the centre's memory meanwhile.

python -m bench.outputs [--readings 1000000] [--devices 2000]

One gauge has ``--readings`` (one every ten seconds), the others four each; a third of the district's days is rolled up.
"""

import argparse
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psycopg

from bench.database import started_server
from bench.procfs import rss_mb
from city.storage import migrate
from tests.servers.city_process import start_city
from tests.servers.processes import ServerProcess, free_port

_GROUND = """
    INSERT INTO district (code, name, timezone) VALUES ('B', 'bench', 'Asia/Shanghai');
    INSERT INTO areas (layer, code, name) VALUES ('cell', 'C1', 'one');
    INSERT INTO metrics (code, unit, name_en) SELECT 'metric' || n, 'm', 'Metric ' || n FROM generate_series(1, 60) n;
    INSERT INTO device_kinds (code, name, main_metric, expected_interval_s) VALUES ('water', 'water', 'metric1', 10);
"""
_DEVICES = """
    INSERT INTO devices (code, kind, cell_id, longitude, latitude)
    SELECT 'D' || to_char(n, 'FM000000'), 'water', (SELECT id FROM areas), 114, 22.5 FROM generate_series(1, %s) n
"""
_LONG = """
    INSERT INTO observations (device_id, metric_id, observed_at, received_at, value)
    SELECT 1, 1, now() - n * interval '10 seconds', now() - n * interval '10 seconds', sin(n / 1000.0)
    FROM generate_series(1, %s) n
"""
_OTHERS = """
    INSERT INTO observations (device_id, metric_id, observed_at, received_at, value)
    SELECT d.id, 1 + n % 2, now() - n * interval '1 minute', now(), n
    FROM devices d, generate_series(1, 4) n WHERE d.id > 1
"""
_ROLLED = """
    INSERT INTO rollups (step_s, device_id, metric_id, bucket, readings, minimum, mean, maximum)
    SELECT 3600, d.id, 3, date_trunc('hour', now() - n * interval '1 hour'), 60, 0, 0, 0
    FROM devices d, generate_series(24, 60) n WHERE d.id % 3 = 0
"""


@contextmanager
def centre(url: str) -> Iterator[tuple[ServerProcess, httpx.Client]]:
    port = free_port()
    process = start_city("centre", database_url=url, http_port=str(port), api_token="bench")  # noqa: S106 - thrown away
    try:
        process.wait_ready(lambda: b"screens are ready" in process.log.read_bytes(), 60)
        headers = {"Authorization": "Bearer bench"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=120) as client:
            yield process, client
    finally:
        process.stop()


class Watch:
    """The most memory that a process has had since it was made, in MB."""

    def __init__(self, pid: int) -> None:
        self.most = self.before = rss_mb(pid)
        self._pid, self._over = pid, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(0.05):
            self.most = max(self.most, rss_mb(self._pid))

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def files(process: ServerProcess, client: httpx.Client, readings: int) -> None:
    for form in ("csv", "parquet"):
        with Watch(process.pid) as watch:
            began, size = time.monotonic(), 0
            period = {"from": "2026-01-01T00:00:00Z", "format": form}
            with client.stream("GET", "/api/devices/D000001/export", params=period) as answer:
                assert answer.status_code == 200, answer.read()
                for part in answer.iter_raw():
                    size += len(part)
            took = time.monotonic() - began
        print(
            f"| {form} | {took:.1f} s | {readings / took:,.0f}/s | {size / 1e6:.1f} MB |"
            f" {watch.before:.0f} -> {watch.most:.0f} MB |"
        )


def questions(client: httpx.Client) -> None:
    root = "/sensorthings/v1.1"
    stream = 1 * 32768 + 1
    deep = client.get(f"{root}/Datastreams({stream})/Observations?$top=1&$skip=100000").json()[
        "@iot.nextLink"
    ]
    asked = {
        "newest observation of a datastream": f"/Datastreams({stream})/Observations?"
        "$orderby=phenomenonTime desc&$top=1",
        "1,000 observations": f"/Datastreams({stream})/Observations?$top=1000",
        "the same, 100,000 further on, by its link": deep.replace("$top=1&", "$top=1000&"),
        "1,000 observations as a table": f"/Datastreams({stream})/Observations?$top=1000&$resultFormat=dataArray",
        "observations of an hour, by filter": "/Observations?$top=1000&$filter=Datastream/id eq 32769 and"
        f" phenomenonTime ge {time.strftime('%Y-%m-%dT%H:00:00Z', time.gmtime(time.time() - 86_400))}",
        "100 things": "/Things",
        "100 things with datastreams and the newest of each": "/Things?$expand=Datastreams($expand=Observations($top=1;"
        "$orderby=phenomenonTime desc))",
        "100 datastreams of the district": "/Datastreams",
        "things by a metric's name": "/Things?$filter=Datastreams/ObservedProperty/name eq 'Metric 3'&$top=20",
        "things counted": "/Things?$count=true&$top=1",
        "datastreams counted": "/Datastreams?$count=true&$top=1",
    }
    for name, path in asked.items():
        times = []
        for _ in range(7):
            began = time.monotonic()
            answer = client.get(path if path.startswith("http") else root + path)
            times.append(time.monotonic() - began)
            assert answer.status_code in (200, 503), answer.text
        print(
            f"| {name} | {answer.status_code} | {statistics.median(times) * 1000:.0f} ms | {max(times) * 1000:.0f} ms |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readings", type=int, default=1_000_000)
    parser.add_argument("--devices", type=int, default=2_000)
    given = parser.parse_args()
    with started_server() as server:
        url = server.url(server.create_database())
        migrate.apply(url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_GROUND)
            connection.execute(_DEVICES, (given.devices,))
            connection.execute(_LONG, (given.readings,))
            for statement in (_OTHERS, _ROLLED, "ANALYZE"):
                connection.execute(statement)
        with centre(url) as (process, client):
            files(process, client, given.readings)
            questions(client)


if __name__ == "__main__":
    main()
