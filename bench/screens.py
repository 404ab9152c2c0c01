"""Many screens on one centre, or on several behind one address: CPU, delay, and every event counted by every screen.

python -m bench.screens [--screens 200] [--seconds 60] [--centres 1] [--devices 10000] [--kill]

One screen never reads, one reads slowly, ten come and go; with ``--centres`` more of them do, since that is what
several centres are there for. ``--kill`` ends one centre with SIGKILL halfway and starts it again.
"""

import argparse
import asyncio
import json
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import quantiles
from typing import Protocol

import httpx
import psycopg

from bench.database import started_server
from bench.procfs import cpu_seconds, rss_mb
from bench.screen_clients import DeadScreen, Flapping, Follower, Slow
from bench.screen_ground import lay_ground
from city.storage import migrate
from tests.servers.city_process import start_city
from tests.servers.processes import ServerProcess, free_port

CHANGES_HZ = 5
SETTLE_S = 1.0
MOST_WAIT_S = 60.0
_CHANGE = """
    WITH moved AS (
        UPDATE incidents SET last_alarm_at = clock_timestamp()
        WHERE id = (SELECT min(id) FROM incidents) + %s RETURNING id)
    INSERT INTO changes (kind, object) SELECT 'incident.changed', id::text FROM moved RETURNING id
"""
_TOLD = """
    SELECT id FROM changes WHERE id > %s
       AND (kind LIKE 'incident.%%' OR kind LIKE 'alarm.%%' OR kind LIKE 'drill.%%' OR kind LIKE 'district.%%')
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """``lost``, ``doubled``, ``again`` are summed over all screens but the dead one; times in milliseconds.

    ``again``: told twice by the centres and shown once, since the change's number was known.
    """

    screens: int
    events: int
    lost: int
    doubled: int
    again: int
    snapshots: int
    connections: int
    p50_ms: float
    p99_ms: float
    worst_ms: float
    cpu_percent: float
    rss_mb: float
    let_go: int


class Writer:
    """Changes incidents five times a second and lets 10,000 devices be heard; ``said`` is when each committed."""

    def __init__(self, url: str, devices: int) -> None:
        self._url = url
        self._devices = devices
        self.said: dict[int, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(20)

    def _run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            turn = 0
            due = time.monotonic()
            while not self._stop.is_set():
                turn += 1
                with connection.transaction():
                    rows = [
                        connection.execute(_CHANGE, ((7 * turn + k) % 300,)).fetchone()
                        for k in range(1 + turn % 3)
                    ]
                    connection.execute("NOTIFY changed")
                at = time.time()
                self.said.update({row[0]: at for row in rows if row is not None})
                # All of them within a minute, as devices that report each minute do.
                first = turn * (self._devices // 300) % self._devices
                connection.execute(
                    "UPDATE presence SET last_heard_at = now() WHERE device_id BETWEEN %s AND %s",
                    (first, first + self._devices // 300),
                )
                due += 1 / CHANGES_HZ
                self._stop.wait(max(0.0, due - time.monotonic()))


class House(Protocol):
    """Centres behind one port."""

    port: int

    def end_one_and_start_it_again(self) -> None: ...
    def cpu_seconds(self) -> float: ...
    def rss_mb(self) -> float: ...


class Centres:
    """So many centre processes behind one port."""

    def __init__(self, url: str, count: int) -> None:
        self.port = free_port()
        self._settings = {
            "database_url": url, "mqtt_url": "mqtt://127.0.0.1:1", "http_port": str(self.port), "centres": str(count),
            "log_format": "json", "simulate": "",
        }  # fmt: skip
        self.processes = [self._start() for _ in range(count)]

    def _start(self) -> ServerProcess:
        process = start_city("centre", **self._settings)
        process.wait_ready(lambda: b"screens are ready" in process.log.read_bytes(), 60)
        return process

    def end_one_and_start_it_again(self) -> None:
        self.processes[0].kill()
        self.processes[0] = self._start()

    def cpu_seconds(self) -> float:
        return sum(cpu_seconds(process.pid) for process in self.processes)

    def rss_mb(self) -> float:
        return sum(rss_mb(process.pid) for process in self.processes)

    def close(self) -> None:
        for process in self.processes:
            process.stop()


def let_go(port: int) -> int:
    """Screens that were sent away, by whichever centre answers."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    lines = [line for line in text.splitlines() if line.startswith('city_screens_total{what="let_go"}')]
    return int(float(lines[0].split()[1])) if lines else 0


def measure(
    house: House,
    url: str,
    *,
    screens: int,
    flapping: int,
    seconds: float,
    devices: int,
    end_one: bool = False,
) -> Outcome:
    """On a database whose ground is laid; so many of the screens come and go, one is slow and one is dead."""
    writer = Writer(url, devices)
    return asyncio.run(_measured(house, writer, url, screens, flapping, seconds, end_one=end_one))


async def _measured(
    house: House, writer: Writer, url: str, count: int, flapping: int, seconds: float, *, end_one: bool
) -> Outcome:
    address = f"ws://127.0.0.1:{house.port}/ws/screen"
    steady = [Follower(address) for _ in range(count - flapping - 2)]
    others = [Flapping(address, n) for n in range(flapping)]
    slow, dead = Slow(address), DeadScreen(house.port)
    every: list[Follower] = [*steady, *others, slow]
    tasks = [asyncio.create_task(one.run()) for one in every]
    for one in every:
        await one.standing.wait()
    writer.start()
    await asyncio.sleep(SETTLE_S)
    began, used = time.monotonic(), house.cpu_seconds()
    if end_one:
        await asyncio.sleep(seconds / 2)
        await asyncio.to_thread(house.end_one_and_start_it_again)
        used = house.cpu_seconds()  # those of the one that is gone cannot be asked any more
        began = time.monotonic()
    await asyncio.sleep(seconds / 2 if end_one else seconds)
    cpu = 100 * (house.cpu_seconds() - used) / (time.monotonic() - began)
    await asyncio.to_thread(writer.stop)
    last = max(writer.said)
    await _everybody_has(every, last)
    for one in every:
        one.leave()
    await asyncio.gather(*tasks)
    dead.close()
    return _counted(house, writer, url, steady, every, cpu)


async def _everybody_has(every: Sequence[Follower], change: int) -> None:
    """Until all have seen the last change, or a minute; what is missing then counts as lost."""
    deadline = time.monotonic() + MOST_WAIT_S
    while time.monotonic() < deadline and any(change not in one.shown for one in every):
        await asyncio.sleep(0.1)


def _counted(
    house: Centres,
    writer: Writer,
    url: str,
    steady: Sequence[Follower],
    every: Sequence[Follower],
    cpu: float,
) -> Outcome:
    with psycopg.connect(url) as connection:
        stored = {row[0] for row in connection.execute(_TOLD, (min(writer.said) - 1,))}
    stored = {change for change in stored if change <= max(writer.said)}
    lost = sum(len({id_ for id_ in stored if id_ > one.began_at} - set(one.shown)) for one in every)
    delays = sorted(
        1000 * (at - writer.said[change])
        for one in steady
        for change, at in one.shown.items()
        if change in writer.said
    )
    cuts = quantiles(delays, n=100)
    return Outcome(
        screens=len(every) + 1,
        events=len(stored),
        lost=lost,
        doubled=sum(one.doubled for one in every),
        again=sum(one.again for one in every),
        snapshots=sum(one.snapshots for one in every),
        connections=sum(one.connections for one in every),
        p50_ms=round(cuts[49], 1),
        p99_ms=round(cuts[98], 1),
        worst_ms=round(delays[-1], 1),
        cpu_percent=round(cpu, 1),
        rss_mb=round(house.rss_mb()),
        let_go=let_go(house.port),
    )


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--screens", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--centres", type=int, default=1)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--kill", action="store_true")
    asked = parser.parse_args()
    with started_server(plain=True) as server, ExitStack() as stack:
        url = server.url(server.create_database())
        migrate.apply(url)
        lay_ground(url, devices=asked.devices, cells=1000)
        house = Centres(url, asked.centres)
        stack.callback(house.close)
        outcome = measure(
            house,
            url,
            screens=asked.screens,
            flapping=asked.screens // 2 if asked.centres > 1 else max(1, asked.screens // 20),
            seconds=asked.seconds,
            devices=asked.devices,
            end_one=asked.kill,
        )
    print(json.dumps({name: getattr(outcome, name) for name in outcome.__slots__}, indent=1))


if __name__ == "__main__":
    main()
