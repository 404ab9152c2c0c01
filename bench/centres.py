"""Three centres, one database: from a change at one to every screen of all, also while one dies or leaves.

python -m bench.centres [--centres 3] [--screens 60] [--seconds 60] [--rate 5] [--devices 10000]

Comments are written by HTTP at the first centre, ``--rate`` a second, while another writer changes incidents five times
a second and lets every device be heard each minute. Three equal parts: nothing happens; the second centre is killed
(SIGKILL) and started again; the third is asked to leave (SIGTERM, ten seconds) and started again. Screens of a centre
that is gone try another by chance, as behind a balancer that has not noticed yet. The ceiling is a bare LISTEN/NOTIFY
between two connections, beside everything else. Prints one JSON object, times in milliseconds.
"""

import argparse
import asyncio
import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from operator import itemgetter
from statistics import quantiles
from typing import Any

import httpx
import psycopg
from websockets.asyncio.client import ClientConnection

from bench.database import started_server
from bench.screen_clients import Follower
from bench.screen_ground import lay_ground
from bench.screens import Writer
from city.storage import migrate
from tests.servers.city_process import start_city
from tests.servers.processes import ServerProcess, free_port

TOKEN = "token-of-the-measurement"  # noqa: S105  # of centres that live for minutes
DRAIN_S = 10
MOST_WAIT_S = 60.0
_OF_COMMENTS = """
    SELECT e.incident_id, c.id FROM incident_events e
    JOIN changes c ON c.kind = 'incident.changed' AND c.object = e.incident_id::text AND c.xmin = e.xmin
    WHERE e.kind = 'commented' ORDER BY e.incident_id, e.seq
"""


class Roaming(Follower):
    """Comes back to any of the centres. ``gaps``: when its line was lost, and after how many seconds it had a frame."""

    def __init__(self, addresses: Sequence[str], first: int) -> None:
        super().__init__(addresses[first % len(addresses)])
        self._addresses = addresses
        self._lost_at: float | None = None
        self.gaps: list[tuple[float, float]] = []

    async def _sit(self) -> None:
        if self.connections or self._lost_at is not None:
            self._address = random.choice(self._addresses)
        try:
            await super()._sit()
        finally:
            self._lost_at = self._lost_at or time.monotonic()

    async def _take(self, peer: ClientConnection, told: set[int]) -> None:
        frames = self._seq, self.snapshots
        await super()._take(peer, told)
        if self._lost_at is not None and (self._seq, self.snapshots) != frames:
            self.gaps.append((self._lost_at, time.monotonic() - self._lost_at))
            self._lost_at = None


class Town:
    """The centres, each at an address of its own."""

    def __init__(self, url: str, count: int) -> None:
        self.url = url
        self.ports = [free_port() for _ in range(count)]
        self.processes: list[ServerProcess] = []
        for number in range(count):
            self.processes.append(self.start(number))

    def start(self, number: int) -> ServerProcess:
        process = start_city(
            "centre", database_url=self.url, mqtt_url="mqtt://127.0.0.1:1", http_port=str(self.ports[number]),
            api_token=TOKEN, drain_s=str(DRAIN_S), log_format="json", simulate="",
            data_key_file=str(self.processes[0].log.parent / "var" / "keys" / "data.keys") if number else "",
        )  # fmt: skip
        process.wait_ready(lambda: b"screens are ready" in process.log.read_bytes(), 120)
        return process

    @property
    def screens(self) -> list[str]:
        return [f"ws://127.0.0.1:{port}/ws/screen" for port in self.ports]

    def close(self) -> None:
        for process in self.processes:
            process.kill()


class Commenting:
    """Comments at one centre; ``asked``: of which incident, and when it was sent off in seconds since the epoch."""

    def __init__(self, base: str, rate: float) -> None:
        self._base, self._rate = base, rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.asked: list[tuple[int, float]] = []
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        with httpx.Client(
            base_url=self._base, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30
        ) as client:
            rows = client.get("/api/incidents", params={"limit": 100}).json()["items"]
            due = time.monotonic()
            for turn in range(1_000_000):
                incident = int(rows[turn % len(rows)]["id"])
                self.asked.append((incident, time.time()))
                answer = client.post(f"/api/incidents/{incident}/comment", json={"comment": f"seen {turn}"})
                answer.raise_for_status()
                due += 1 / self._rate
                if self._stop.wait(max(0.0, due - time.monotonic())):
                    return


class Ceiling:
    """A bare notification between two connections; ``took`` in seconds."""

    def __init__(self, url: str, rate: float) -> None:
        self._url, self._rate = url, rate
        self._stop = threading.Event()
        self.took: list[float] = []
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._hear, self._speak)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(10)

    def _speak(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._stop.wait(1 / self._rate):
                connection.execute("SELECT pg_notify('ceiling', %s)", (repr(time.time()),))

    def _hear(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("LISTEN ceiling")
            while not self._stop.is_set():
                for said in connection.notifies(timeout=1):
                    self.took.append(time.time() - float(said.payload))


async def measure(town: Town, *, screens: int, seconds: float, rate: float, devices: int) -> dict[str, Any]:
    """See the module's first lines."""
    every = [Roaming(town.screens, number) for number in range(screens)]
    tasks = [asyncio.create_task(one.run()) for one in every]
    for one in every:
        await one.standing.wait()
    writer, ceiling = Writer(town.url, devices), Ceiling(town.url, rate)
    writer.start()
    comments = Commenting(f"http://127.0.0.1:{town.ports[0]}", rate)
    parts = {"undisturbed": await _part(seconds)}
    killed_at = time.monotonic()
    parts["killed"] = await _part(seconds, asyncio.to_thread(_kill, town, 1))
    left_at = time.monotonic()
    parts["left"] = await _part(seconds, asyncio.to_thread(_leave, town, 2))
    for one in (comments, ceiling, writer):
        await asyncio.to_thread(one.stop)
    shown = await _counted(town.url, comments, every)
    for one in every:
        one.leave()
    await asyncio.gather(*tasks)
    took = _cuts(ceiling.took)
    found: dict[str, Any] = {"screens": screens, "ceiling_ms": took}
    for name, (begin, end) in parts.items():
        on_all = [last for at, last in shown if begin <= at < end]
        found[name] = {"on_all_screens_ms": _cuts(on_all), "changes": len(on_all)}
        found[name]["of_ceiling_p50"] = round(found[name]["on_all_screens_ms"]["p50"] / took["p50"], 1)
    for name, since, until in (("killed", killed_at, left_at), ("left", left_at, float("inf"))):
        gaps = [gap for one in every for at, gap in one.gaps if since <= at < until]
        found[name] |= {"moved": len(gaps), "without_picture_ms": _cuts(gaps)}
    found["lost"] = sum(1 for _, last in shown if last == float("inf"))
    found["doubled"] = sum(one.doubled for one in every)
    return found


async def _part(seconds: float, meanwhile: Any = None) -> tuple[float, float]:
    begin = time.time()
    work = asyncio.create_task(meanwhile) if meanwhile is not None else None
    await asyncio.sleep(seconds)
    if work is not None:
        await work
    return begin, time.time()


def _kill(town: Town, number: int) -> None:
    town.processes[number].kill()
    town.processes[number] = town.start(number)


def _leave(town: Town, number: int) -> None:
    town.processes[number].stop(seconds=DRAIN_S + 30)
    town.processes[number] = town.start(number)


async def _counted(url: str, comments: Commenting, every: Sequence[Roaming]) -> list[tuple[float, float]]:
    """Of each comment: when it was sent off, and after how many seconds the last screen showed it (inf: never)."""
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(_OF_COMMENTS).fetchall()
    written: dict[int, Iterator[int]] = {
        incident: iter([int(row[1]) for row in of]) for incident, of in groupby(rows, key=itemgetter(0))
    }
    told = [(began, next(written[incident])) for incident, began in comments.asked]
    deadline = time.monotonic() + MOST_WAIT_S
    while time.monotonic() < deadline and any(id_ not in one.shown for one in every for _, id_ in told):
        await asyncio.sleep(0.1)
    never = float("inf")
    return [(began, max(one.shown.get(id_, never) for one in every) - began) for began, id_ in told]


def _cuts(seconds: Sequence[float]) -> dict[str, float]:
    if len(seconds) < 2:
        return {"p50": round(1000 * sum(seconds), 1), "p99": 0.0, "max": 0.0}
    cuts = quantiles(seconds, n=100, method="inclusive")
    return {
        name: round(1000 * value, 1)
        for name, value in (("p50", cuts[49]), ("p99", cuts[98]), ("max", max(seconds)))
    }


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--centres", type=int, default=3)
    parser.add_argument("--screens", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=60, help="of each part")
    parser.add_argument("--rate", type=float, default=5)
    parser.add_argument("--devices", type=int, default=10_000)
    asked = parser.parse_args()
    with started_server(plain=True) as server, ExitStack() as stack:
        url = server.url(server.create_database())
        migrate.apply(url)
        lay_ground(url, devices=asked.devices, cells=1000)
        town = Town(url, asked.centres)
        stack.callback(town.close)
        found = asyncio.run(
            measure(
                town,
                screens=asked.screens,
                seconds=asked.seconds,
                rate=asked.rate,
                devices=asked.devices,
            )
        )
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
