"""Three RabbitMQ nodes, three workers, one database, faults under load: what is lost, how long anything stands still.

    nice -n 5 .venv/bin/python bench/scale.py                    the whole plan, about four minutes
    .venv/bin/python bench/scale.py --nodes 1 --seconds 20 --only worker
    .venv/bin/python bench/scale.py --kills 22                   a worker every three seconds for a minute

Acknowledged = stored is compared as sets of (device, seq); alarms and rule state with one pipeline's that is given the
same messages in the log's order. Needs what tests/servers/rabbitmq.py needs.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import psycopg
from paho.mqtt.enums import CallbackAPIVersion

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from city.district import import_defaults
from city.storage import migrate
from ingest.delivery import Delivery
from ingest.pipeline import Pipeline
from rules.definitions import to_rows
from tests.servers.city_process import city_environment, start_city
from tests.servers.postgres import PostgresServer, wheel_binaries
from tests.servers.processes import ServerProcess
from tests.servers.rabbitmq import PASSWORD, USER, RabbitCluster, RabbitNode

CELLS = 64
LOOK_S = 0.05
DRAIN_S = 180
# Faster than the default of a minute: a node that is gone gives its partitions away (docs/scale.md).
LINES = ("stream.sac_disconnected_timeout = 5000",)


class Publisher(threading.Thread):
    """One connection of a share of the devices; what the broker did not confirm is sent again, elsewhere if need be."""

    def __init__(self, nodes: list[RabbitNode], devices: range, rate: float) -> None:
        super().__init__(daemon=True)
        self._nodes, self._devices, self._rate = nodes, devices, rate
        self.sent: dict[tuple[str, int], tuple[str, bytes]] = {}
        self.acknowledged: set[tuple[str, int]] = set()
        self.ended = threading.Event()
        self._at = devices.start % len(nodes)
        self._lost = threading.Event()
        self._waiting: dict[int, tuple[str, int]] = {}
        self._lock = threading.Lock()

    def run(self) -> None:
        """Publish until ``ended``, then until all is acknowledged."""
        client = self._connect()
        begin, number = time.monotonic(), 0
        while not self.ended.is_set() or self.sent.keys() - self.acknowledged:
            if self._lost.is_set():
                client.loop_stop()
                client = self._connect()
                for key in sorted(self.sent.keys() - self.acknowledged, key=lambda one: one[1]):
                    self._send(client, key)
            if not self.ended.is_set() and number < (time.monotonic() - begin) * self._rate:
                device, second = self._devices[number % len(self._devices)], number // len(self._devices)
                key = (f"s{device}", second)
                value = 75.0 if (second + device) % 7 < 3 else 20.0
                payload = {"ts": time.time_ns() // 1_000_000, "value": value, "seq": second}
                self.sent[key] = (f"city/c{device % CELLS}/smoke/s{device}", json.dumps(payload).encode())
                self._send(client, key)
                number += 1
            else:
                time.sleep(0.002)
        client.disconnect()
        client.loop_stop()

    def _send(self, client: mqtt.Client, key: tuple[str, int]) -> None:
        topic, payload = self.sent[key]
        with self._lock:
            told = client.publish(topic, payload, qos=1)
            if told.rc == mqtt.MQTT_ERR_SUCCESS:
                self._waiting[told.mid] = key
            else:
                self._lost.set()

    def _connect(self) -> mqtt.Client:
        while True:
            node = self._nodes[self._at % len(self._nodes)]
            self._at += 1
            client = mqtt.Client(CallbackAPIVersion.VERSION2)
            client.username_pw_set(USER, PASSWORD)
            client.max_inflight_messages_set(0)
            client.max_queued_messages_set(0)
            client.on_publish = lambda _c, _u, mid, _r, _p: self._confirmed(mid)
            client.on_disconnect = lambda *_: self._lost.set()
            try:
                client.connect("127.0.0.1", node.mqtt, keepalive=10)
            except OSError:
                time.sleep(0.2)
                continue
            with self._lock:
                self._waiting.clear()
            self._lost.clear()
            client.loop_start()
            return client

    def _confirmed(self, mid: int) -> None:
        with self._lock:
            key = self._waiting.pop(mid, None)
        if key is not None:
            self.acknowledged.add(key)


class Watch(threading.Thread):
    """The longest time that any partition's offset stood still, since it was asked last."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._since: dict[int, tuple[int, float]] = {}
        self._longest = 0.0
        self._lock = threading.Lock()

    def run(self) -> None:
        """Look for ever, also at a database that is away."""
        while True:
            try:
                with psycopg.connect(self._url, autocommit=True, connect_timeout=2) as connection:
                    while True:
                        self._look(
                            connection.execute(
                                "SELECT partition, next_offset FROM partition_state WHERE next_offset > 0"
                            ).fetchall()
                        )
                        time.sleep(LOOK_S)
            except psycopg.Error:
                time.sleep(LOOK_S)

    def longest(self) -> float:
        """Seconds; begins anew."""
        with self._lock:
            now = time.monotonic()
            still = max((now - since for _, since in self._since.values()), default=0.0)
            found, self._longest = max(self._longest, still), 0.0
            return found

    def _look(self, rows: list[tuple[Any, ...]]) -> None:
        now = time.monotonic()
        with self._lock:
            for partition, offset in rows:
                before, since = self._since.get(partition, (-1, now))
                if offset != before:
                    self._longest = max(self._longest, now - since)
                    self._since[partition] = (offset, now)


class Plan:
    """The machines of a run, and the faults by name."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.postgres = PostgresServer(wheel_binaries())
        self.cluster = RabbitCluster(options.nodes, LINES if options.nodes > 1 else ())
        self.workers: list[ServerProcess] = []
        self.faults: dict[str, Callable[[], None]] = {
            "nothing": lambda: None,
            "worker": self.kill_worker,
            "worker back": self.work,
            "node": self.cluster.nodes[-1].kill,
            "node back": lambda: self.cluster.launch(self.cluster.nodes[-1]),
            "database": self.crash_database,
        }

    def start(self) -> None:
        """Everything, up to workers that have their shares."""
        self.postgres.start()
        self.cluster.start()
        self.url = self._database()
        made = subprocess.run(
            [
                *(sys.executable, "-m", "runtime.cli", "scale", "init"),
                *("--partitions", str(self.options.partitions), "--replicas", str(self.options.nodes)),
            ],
            env=city_environment(database_url=self.url, stream_admin_url=self.cluster.nodes[0].admin_url),
            check=False,
            capture_output=True,
            text=True,
        )
        assert made.returncode == 0, made.stderr
        for _ in range(self.options.workers):
            self.work()
        wanted, deadline = self.options.partitions + 1, time.monotonic() + 120
        while self.rows("SELECT count(*) FROM partition_state WHERE epoch > 0")[0][0] < wanted:
            assert time.monotonic() < deadline, "workers own nothing"
            time.sleep(0.2)

    def stop(self) -> None:
        """Everything."""
        for worker in self.workers:
            worker.kill()
        self.cluster.close()
        self.postgres.close()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Asked of the run's database."""
        with psycopg.connect(self.url) as connection:
            return connection.execute(sql.encode()).fetchall()

    def work(self) -> None:
        """One worker more."""
        self.workers.append(start_city("ingest", database_url=self.url, stream_url=self.cluster.stream_url))

    def kill_worker(self) -> None:
        """The one that has worked longest."""
        self.workers.pop(0).kill()

    def crash_database(self) -> None:
        """Killed, and started again."""
        self.postgres.kill()
        self.postgres.start()

    def _database(self) -> str:
        url = self.postgres.url(self.postgres.create_database())
        migrate.apply(url)
        import_defaults(url, parse_rules=to_rows)
        with psycopg.connect(url) as connection:
            connection.execute(
                "INSERT INTO areas (layer, code, name) SELECT 'cell', 'c' || n, 'c' || n FROM generate_series(0, %s) n",
                [CELLS - 1],
            )
        return url

    def reference(self, sent: dict[tuple[str, int], tuple[str, bytes]]) -> Any:
        """What one pipeline makes of the same messages in the order in which the log took them."""
        order = self.rows(
            "SELECT d.code, o.seq FROM observations o JOIN devices d ON d.id = o.device_id ORDER BY o.received_at"
        )
        url = self._database()
        with psycopg.connect(url, autocommit=True) as connection:
            pipeline = Pipeline(connection, max_unclaimed=100_000, retention_days=30)
            for begin in range(0, len(order), 500):
                part = [sent[key] for key in order[begin : begin + 500]]
                pipeline.process(
                    [
                        Delivery(
                            topics=[topic.encode() for topic, _ in part],
                            payloads=[payload for _, payload in part],
                            packet_ids=[0] * len(part),
                            received_us=time.time_ns() // 1000,
                            generation=0,
                        )
                    ]
                )
        return outcome(url)


def outcome(url: str) -> Any:
    """Standing and past alarms and all rule state, by devices' codes."""
    with psycopg.connect(url) as connection:
        states = connection.execute(
            "SELECT s.rule_id, d.code, s.state FROM rule_states s JOIN devices d ON d.id = s.device_id ORDER BY 1, 2"
        ).fetchall()
        alarms = connection.execute(
            "SELECT a.rule_id, d.code, a.raised_at, a.cleared_at FROM alarms a JOIN devices d ON d.id = a.device_id"
            " WHERE a.rule_id NOT LIKE '%silent%' ORDER BY 1, 2, 3"
        ).fetchall()
    return states, alarms


def main() -> int:
    """0 when nothing is lost and the state is exact."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--partitions", type=int, default=32)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=1600, help="messages a second")
    parser.add_argument("--seconds", type=float, default=25, help="between two faults")
    parser.add_argument(
        "--kills", type=int, default=0, help="kill so many workers, one every three seconds, instead"
    )
    parser.add_argument("--only", nargs="*", default=None)
    options = parser.parse_args()
    plan = Plan(options)
    try:
        plan.start()
        return run(plan, options)
    finally:
        plan.stop()


def run(plan: Plan, options: argparse.Namespace) -> int:
    """Load, faults, and the comparison."""
    share = options.devices // 4
    publishers = [
        Publisher(plan.cluster.nodes, range(share * at, share * (at + 1)), options.rate / 4)
        for at in range(4)
    ]
    watch = Watch(plan.url)
    watch.start()
    for publisher in publishers:
        publisher.start()
    time.sleep(5)
    watch.longest()
    gaps: dict[str, float] = {}
    if options.kills:
        for _ in range(options.kills):
            plan.work()
            plan.kill_worker()
            time.sleep(3)
        gaps[f"{options.kills} kills"] = round(watch.longest(), 2)
    else:
        for name in options.only or list(plan.faults):
            plan.faults[name]()
            time.sleep(options.seconds)
            gaps[name] = round(watch.longest(), 2)
            print(f"{name}: longest gap {gaps[name]} s", flush=True)
    for publisher in publishers:
        publisher.ended.set()
    for publisher in publishers:
        publisher.join(DRAIN_S)
    sent = {key: value for publisher in publishers for key, value in publisher.sent.items()}
    acknowledged = set().union(*(publisher.acknowledged for publisher in publishers))
    stored, deadline = set(), time.monotonic() + DRAIN_S
    while acknowledged - stored and time.monotonic() < deadline:
        time.sleep(1)
        stored = set(
            plan.rows("SELECT d.code, o.seq FROM observations o JOIN devices d ON d.id = o.device_id")
        )
    exact = plan.reference(sent) == outcome(plan.url)
    figures = {
        "sent": len(sent),
        "acknowledged": len(acknowledged),
        "lost": len(acknowledged - stored),
        "strange": len(stored - set(sent)),
        "state_exact": exact,
        "longest_gap_s": gaps,
    }
    print(json.dumps(figures, indent=2))
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "scale.json").write_text(json.dumps(figures, indent=2) + "\n")
    return int(bool(acknowledged - stored) or not exact)


if __name__ == "__main__":
    sys.exit(main())
