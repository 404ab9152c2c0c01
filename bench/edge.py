"""A district catches up with its city: a backlog of readings, live ones and warnings beside it, over a real line.

Two databases, two brokers as deployed, two ingest processes and `city uplink`, all on this machine. Prints what the
outbox costs ingest (the same load with and without it), how large it is, how long catching up takes against the rate
that was set, how old live readings and new warnings are when the city has them, and whether both places hold the same.
"""

import argparse
import json
import shutil
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import psycopg
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console

from bench.brokers import deployed_mosquitto
from bench.database import started_server
from bench.frames import Fleet
from bench.load import Load, publish
from bench.product import Product
from tests.servers.city_process import start_city
from tests.servers.postgres import PostgresServer

CELLS = 20
PATIENCE_S = 900.0

SAME = """
    SELECT count(*), sum(hashtextextended(d.code || m.code || o.observed_at || o.value || coalesce(o.seq, -1), 0))
    FROM observations o JOIN devices d ON d.id = o.device_id JOIN metrics m ON m.id = o.metric_id
    WHERE d.kind = 'smoke' AND d.code <> 'probe'
"""
AGES = """
    SELECT percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP
        (ORDER BY extract(epoch FROM o.received_at - o.observed_at)::float8)
    FROM observations o JOIN devices d ON d.id = o.device_id
    WHERE d.kind = 'smoke' AND d.code LIKE 'live%%' AND o.observed_at >= %s AND o.observed_at < %s
"""
WARNED = """
    SELECT extract(epoch FROM a.recorded_at - a.raised_at)::float8 FROM alarms a JOIN devices d ON d.id = a.device_id
    WHERE d.code LIKE 'warn%' ORDER BY 1
"""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Seconds, readings a second, bytes; ``*_ages_s`` are median, 99th percentile and the oldest."""

    backlog: int
    rate: int
    stored_a_second_without: int
    stored_a_second_with: int
    outbox_bytes_a_reading: float
    caught_up_s: float
    at_the_rate_s: float
    live_ages_s: list[float]
    live_ages_afterwards_s: list[float]
    warning_ages_s: list[float]
    same: bool


class Place:
    """One ingest with its broker and database."""

    def __init__(self, server: PostgresServer, folder: Path, stack: ExitStack, **settings: str) -> None:
        self.broker = deployed_mosquitto(allow_anonymous="true")
        self.broker.start()
        stack.callback(self.broker.close)
        name = server.create_database()
        stack.callback(server.drop_database, name)
        self.url = server.url(name)
        self.product = Product(folder, self.url, self.broker.url, **settings)
        self.product.command("migrate")
        self.product.start_ingest()
        stack.callback(self.product.stop)
        self.product.wait_listening()

    def one(self, query: str, *given: Any) -> tuple[Any, ...]:
        """The one row of a query."""
        with psycopg.connect(self.url) as connection:
            row = connection.execute(query.encode(), given or None).fetchone()
        assert row is not None
        return row

    def until(self, query: str, least: float) -> float:
        """Wait for a number; the monotonic time at which it was reached."""
        deadline = time.monotonic() + PATIENCE_S
        while (found := float(self.one(query)[0] or 0)) < least:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{query}: {found} < {least} after {PATIENCE_S:g} s")
            time.sleep(0.1)
        return time.monotonic()

    def take(self, load: Load) -> float:
        """Publish and wait until all is stored; seconds."""
        before = int(self.one("SELECT count(*) FROM observations")[0])
        began = time.monotonic()
        publisher = publish(self.broker.port, load)
        stored = self.until("SELECT count(*) FROM observations", before + load.total)
        publisher.result(60)
        return stored - began


class Live(threading.Thread):
    """Readings as they happen, and every few seconds a warning by a device that has a backlog too."""

    def __init__(self, port: int, a_second: int) -> None:
        super().__init__(daemon=True)
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._every_s = 1 / a_second
        self.ended = threading.Event()
        self.said = self.warned = 0

    def warn(self, value: float) -> None:
        """One reading of the next device that warns."""
        self._say(f"warn{self.warned}", value)
        self.warned += 1

    def _say(self, device: str, value: float) -> None:
        body = {"ts": time.time_ns() // 1_000_000, "value": value}
        self._client.publish(f"city/n00000/smoke/{device}", json.dumps(body), qos=1)

    def run(self) -> None:
        """Until ``ended``."""
        due = time.monotonic()
        while not self.ended.is_set():
            self._say(f"live{self.said % 100}", 10.0)
            self.said += 1
            due += self._every_s
            if self.said % max(1, int(4 / self._every_s)) == 0 and self.warned < 10:
                self.warn(90.0)
            self.ended.wait(max(0.0, due - time.monotonic()))


def run(server: PostgresServer, folder: Path, *, backlog: int, rate: int, live: int, devices: int) -> Outcome:
    """Raises TimeoutError when something does not come to its end."""
    load = Load(fleet=Fleet(devices=devices, cells=CELLS), total=backlog)
    with ExitStack() as stack:
        alone = Place(server, folder / "alone", stack)
        warm = Load(fleet=load.fleet, total=devices)
        alone.take(warm)
        without_s = alone.take(load)
        alone.product.stop()
        city = Place(server, folder / "city", stack)
        uplink = {"uplink_url": f"mqtt://D1@127.0.0.1:{city.broker.port}", "uplink_cell": "n00000"}
        district = Place(server, folder / "district", stack, **uplink)
        district.take(warm)
        with_s = district.take(load)
        size, bytes_ = district.one(
            "SELECT (SELECT sum(size) FROM uplink_batches), pg_total_relation_size('uplink_batches')"
        )
        clients = Live(district.broker.port, live)
        for _ in range(10):
            clients.warn(10.0)  # what waits of those that warn later
        clients.warned = 0
        settings = {"database_url": district.url, "mqtt_url": district.broker.url, **uplink}
        stack.callback(start_city("uplink", uplink_rate=str(rate), **settings).stop)
        district.until("SELECT count(*) FROM uplink_state WHERE up", 1)
        began, began_at = time.monotonic(), district.one("SELECT now()")[0]
        clients.start()
        done = city.until(
            "SELECT count(*) FROM observations o JOIN devices d ON d.id = o.device_id WHERE d.code LIKE 'b%'",
            backlog + devices,
        )
        done_at = district.one("SELECT now()")[0]
        time.sleep(10)
        clients.ended.set()
        clients.join()
        after_at = district.one("SELECT now()")[0]
        district.until("SELECT 1 - count(*) FROM uplink_batches WHERE sent_at IS NULL", 1)
        city.until(
            "SELECT count(*) FROM observations o JOIN devices d ON d.id = o.device_id"
            " WHERE d.kind = 'smoke' AND d.code <> 'probe'",
            backlog + devices + clients.said + 10,
        )
        with psycopg.connect(city.url) as connection:
            warned = [round(float(row[0]), 2) for row in connection.execute(WARNED).fetchall()]
        return Outcome(
            backlog=int(size),
            rate=rate,
            stored_a_second_without=round(backlog / without_s),
            stored_a_second_with=round(backlog / with_s),
            outbox_bytes_a_reading=round(bytes_ / size, 1),
            caught_up_s=round(done - began, 1),
            at_the_rate_s=round(int(size) / rate, 1),
            live_ages_s=[round(age, 2) for age in city.one(AGES, began_at, done_at)[0]],
            live_ages_afterwards_s=[round(age, 2) for age in city.one(AGES, done_at, after_at)[0]],
            warning_ages_s=warned,
            same=city.one(SAME) == district.one(SAME),
        )


def main() -> int:
    """Command line: see --help; exit code 1 when the places differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backlog", type=int, default=360_000, help="an hour of 100 readings a second")
    parser.add_argument("--rate", type=int, default=2000, help="CITY_UPLINK_RATE")
    parser.add_argument("--live", type=int, default=100, help="readings a second meanwhile")
    parser.add_argument("--devices", type=int, default=2000)
    parser.add_argument("--plain", action="store_true", help="plain PostgreSQL instead of TimescaleDB")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="city-edge-"))
    try:
        with started_server(plain=given.plain) as server:
            outcome = run(
                server, folder, backlog=given.backlog, rate=given.rate, live=given.live, devices=given.devices
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    Console().print_json(json.dumps(asdict(outcome)))
    return 0 if outcome.same else 1


if __name__ == "__main__":
    raise SystemExit(main())
