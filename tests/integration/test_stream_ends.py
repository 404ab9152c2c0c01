"""The ends of the log with real RabbitMQ: a node short of disk, two of three nodes gone, TLS, codes with a dot."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as mqtt
import psycopg
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from city.partitions import UNROUTED
from runtime import certificates
from tests.conftest import lacking
from tests.integration.test_gateway import answer, report
from tests.integration.test_stream_log import import_ground
from tests.servers.city_process import city_environment, start_city
from tests.servers.postgres import PostgresServer
from tests.servers.processes import ServerProcess, UnavailableError, free_port, listening
from tests.servers.rabbitmq import PASSWORD, USER, RabbitCluster, RabbitNode

pytestmark = pytest.mark.slow  # nodes cost five seconds of processor each

PATIENCE_S = 180
PARTITIONS = 4


def until(holds: Callable[[], bool], worker: ServerProcess | None = None) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, worker.log_tail() if worker else ""
        time.sleep(0.05)


class Device:
    """A sender as devices are: keeps what nobody acknowledged, and sends it again at the next node that answers."""

    def __init__(self, nodes: list[RabbitNode]) -> None:
        self._nodes = nodes
        self._at = 0
        self._unsent: dict[int, tuple[str, bytes]] = {}
        self._mids: dict[int, int] = {}
        self._numbers = 0
        self.acknowledged: set[int] = set()
        self._client = self._connected()

    def _connected(self) -> mqtt.Client:
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.username_pw_set(USER, PASSWORD)
        client.on_publish = lambda _c, _u, mid, _r, _p: self._told(mid)
        while True:
            node = self._nodes[self._at % len(self._nodes)]
            self._at += 1
            try:
                client.connect("127.0.0.1", node.mqtt, keepalive=5)
            except OSError:
                time.sleep(0.2)
                continue
            client.loop_start()
            return client

    def _told(self, mid: int) -> None:
        if mid in self._mids:
            number = self._mids.pop(mid)
            self.acknowledged.add(number)
            self._unsent.pop(number, None)

    def say(self, topic: str, value: float) -> None:
        number = self._numbers = self._numbers + 1
        payload = {"ts": time.time_ns() // 1_000_000, "value": value, "seq": number}
        self._unsent[number] = topic, json.dumps(payload).encode()
        self._send(number)

    def _send(self, number: int) -> None:
        topic, payload = self._unsent[number]
        self._mids[self._client.publish(topic, payload, qos=1).mid] = number

    def again(self) -> None:
        """At another node, with everything that nobody acknowledged."""
        self._client.disconnect()
        self._client.loop_stop()
        self._mids.clear()
        self._client = self._connected()
        for number in sorted(self._unsent):
            self._send(number)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@dataclass
class City:
    """A database, one worker, and the command line."""

    url: str
    settings: dict[str, str]
    admin: dict[str, str]
    workers: list[ServerProcess] = field(default_factory=list)

    def command(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "runtime.cli", *arguments],
            env=city_environment(database_url=self.url, **self.settings, **self.admin),
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0 or arguments == ("doctor",), done.stderr
        return done.stdout

    def work(self) -> ServerProcess:
        self.workers.append(start_city("ingest", database_url=self.url, **self.settings))
        until(lambda: self.one("SELECT count(*) FROM partition_state WHERE epoch > 0") == PARTITIONS + 1)
        return self.workers[-1]

    def one(self, sql: str) -> Any:
        with psycopg.connect(self.url) as connection:
            row = connection.execute(sql.encode()).fetchone()
        return row[0] if row else None

    def seqs(self) -> list[int]:
        with psycopg.connect(self.url) as connection:
            return [row[0] for row in connection.execute("SELECT seq FROM observations ORDER BY seq")]


@pytest.fixture
def city(postgres_server: PostgresServer, postgres_template: str) -> Iterator[City]:
    name = postgres_server.create_database(template=postgres_template)
    made = City(postgres_server.url(name), {}, {})
    import_ground(made.url)
    yield made
    for worker in made.workers:
        worker.kill()
    postgres_server.drop_database(name)


def started(cluster: RabbitCluster) -> None:
    try:
        cluster.start()
    except UnavailableError as missing:
        lacking(missing)


def tls_lines(stream: int, admin: int) -> list[str]:
    """What a node's own configuration gets; its folder is /srv."""
    files = ("cacertfile = /srv/ca.pem", "certfile = /srv/server.pem", "keyfile = /srv/server.key")
    return [
        *(f"ssl_options.{one}" for one in files),
        "ssl_options.verify = verify_none",
        f"stream.listeners.ssl.1 = 127.0.0.1:{stream}",
        "stream.advertised_tls_host = 127.0.0.1",
        f"stream.advertised_tls_port = {stream}",
        "management.ssl.ip = 127.0.0.1",
        f"management.ssl.port = {admin}",
        *(f"management.ssl.{one}" for one in files),
    ]


def authority(folder: Path, node: RabbitNode) -> Path:
    now = datetime.now(UTC)
    certificates.init(folder, "Test CA", None, now)
    made = certificates.issue(folder, "server", "localhost", ["127.0.0.1"], None, now)
    for source, name in (
        (folder / "ca.pem", "ca.pem"),
        (made.certificate, "server.pem"),
        (made.key, "server.key"),
    ):
        shutil.copy(source, node.folder / name)
        (node.folder / name).chmod(0o644)
    return folder / "ca.pem"


def secured(cluster: RabbitCluster, city: City, folder: Path) -> list[str]:
    """The only node speaks TLS as well, and the city only that, with its passwords in files; the node's lines."""
    (node,) = cluster.nodes
    stream, admin = free_port(), free_port()
    lines = tls_lines(stream, admin)
    cluster._lines = lines
    password = folder / "password"
    password.write_text(PASSWORD)
    city.settings = {
        "stream_url": f"rabbitmq-stream+tls://{USER}@127.0.0.1:{stream}",
        "stream_password_file": str(password),
        "stream_ca_file": str(authority(folder / "ca", node)),
    }
    city.admin = {
        "stream_admin_url": f"https://{USER}@127.0.0.1:{admin}",
        "stream_admin_password_file": str(password),
    }
    return lines


def station_behind_a_gateway(city: City, node: RabbitNode, worker: ServerProcess) -> None:
    """It is of no cell, answered when RabbitMQ has its frame, and stored like the others."""
    port = free_port()
    gateway = start_city("gateway", mqtt_url=node.url, sl651_port=str(port), sl651_password="1234, 03e8")
    city.workers.append(gateway)
    gateway.wait_ready(lambda: listening(port), PATIENCE_S)
    line = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    line.sendall(report(3.42))
    assert answer(line)
    levels = (
        "SELECT value FROM observations o JOIN devices d ON d.id = o.device_id WHERE d.code LIKE 'sl651:%'"
    )
    until(lambda: city.one(levels) == 3.42, worker)


def test_over_tls_and_with_a_disk_that_is_short_nothing_is_acknowledged_nor_lost(
    city: City, tmp_path: Path
) -> None:
    cluster = RabbitCluster()
    (node,) = cluster.nodes
    lines = secured(cluster, city, tmp_path)
    device: Device | None = None
    try:
        started(cluster)
        city.command("scale", "init", "--partitions", str(PARTITIONS), "--replicas", "1")
        worker = city.work()
        device = Device([node])
        for number in range(10):
            device.say(f"city/c{number % 5}/smoke/s{number}", 20.0)
        device.say("city/c1/smoke/s1.5", 20.0)  # a code with a dot: two levels behind the log
        device.say("city/c9/smoke/s99", 20.0)  # a cell without a binding
        until(lambda: len(city.seqs()) == 11, worker)
        until(lambda: city.one("SELECT count(*) FROM quarantine") == 1, worker)
        unrouted = f"SELECT next_offset FROM partition_state WHERE partition = {UNROUTED}"
        until(lambda: city.one(unrouted) == 1, worker)

        node.kill()
        node.launch([node.name], [*lines, "disk_free_limit.absolute = 900TB"])
        node.wait()
        device.again()
        blocked = f"{node.admin_url}/api/nodes?columns=disk_free_alarm"
        until(lambda: httpx.get(blocked).json() == [{"disk_free_alarm": True}])
        before = set(device.acknowledged)
        for number in range(10):
            device.say(f"city/c{number % 5}/smoke/s{number}", 30.0)
        looked = "SELECT min(looked_at) > to_timestamp(%s) + interval '6 seconds' FROM partition_state"
        said_at = time.time()
        until(lambda: bool(city.one(looked % said_at)), worker)  # who reads goes on meanwhile
        assert device.acknowledged == before
        said = city.command("doctor")
        assert "1 cells have no binding (c9)" in said  # ingest made the cell; nothing else is wrong:
        assert not any(word in said for word in ("read by nobody", "wait in the log", "lost")), said

        node.kill()
        node.launch([node.name], lines)
        node.wait()
        device.again()
        until(lambda: len(city.seqs()) == 21, worker)
        assert city.seqs() == [*range(1, 11), *range(12, 23)]  # 11 had a dot in its topic
        assert city.one("SELECT sum(lost) FROM partition_state") == 0

        station_behind_a_gateway(city, node, worker)
    finally:
        if device is not None:
            device.close()
        cluster.close()


def test_while_two_of_three_nodes_are_gone_nothing_is_acknowledged_and_nothing_is_lost(city: City) -> None:
    cluster = RabbitCluster(3)
    device: Device | None = None
    city.settings = {"stream_url": cluster.stream_url}
    city.admin = {"stream_admin_url": cluster.nodes[0].admin_url}
    try:
        started(cluster)
        city.command("scale", "init", "--partitions", str(PARTITIONS), "--replicas", "3")
        worker = city.work()
        device = Device(cluster.nodes)
        for number in range(10):
            device.say(f"city/c{number % 5}/smoke/s{number}", 20.0)
        until(lambda: len(city.seqs()) == 10, worker)
        until(lambda: city.one("SELECT count(*) FROM partition_state WHERE looked_at IS NULL") == 0, worker)
        for node in cluster.nodes[1:]:
            node.kill()
        connected = "SELECT figures->>'broker_connected' FROM ingest_sessions ORDER BY alive_at DESC LIMIT 1"
        until(lambda: city.one(connected) == "false", worker)
        before = set(device.acknowledged)
        for number in range(10):
            device.say(f"city/c{number % 5}/smoke/s{number}", 30.0)
        old = "SELECT max(looked_at) < now() - interval '8 seconds' FROM partition_state"
        until(lambda: bool(city.one(old)), worker)  # the age that LogUnread watches grows
        assert device.acknowledged == before
        assert len(city.seqs()) == 10
        for node in cluster.nodes[1:]:
            cluster.launch(node)
        for node in cluster.nodes:
            node.wait()
        device.again()
        until(lambda: len(device.acknowledged) == 20, worker)
        until(lambda: len(city.seqs()) == 20, worker)
        assert city.seqs() == list(range(1, 21))
        assert city.one("SELECT sum(lost) FROM partition_state") == 0
    finally:
        if device is not None:
            device.close()
        cluster.close()
