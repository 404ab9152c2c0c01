"""The log in partitions with a real RabbitMQ: declared, read by several workers, and one of them killed."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import paho.mqtt.client as mqtt
import psycopg
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from city.district import import_defaults
from city.partitions import UNROUTED
from ingest.delivery import Delivery
from ingest.pipeline import Pipeline
from rules.definitions import to_rows
from runtime.scale_topology import Topology, TopologyError
from tests.servers.city_process import city_environment, start_city
from tests.servers.postgres import PostgresServer
from tests.servers.processes import ServerProcess
from tests.servers.rabbitmq import PASSWORD, USER, RabbitCluster

pytestmark = pytest.mark.slow  # the node alone costs five seconds of processor

PATIENCE_S = 120
PARTITIONS = 4
DEVICES = 12
ROUNDS = 60
CELLS = [("c0", "m0"), ("c1", "m1"), ("c2", "m2"), ("c3", "m3"), ("c4", "m0")]


class District:
    """A database, the log's workers, and a hand to publish with."""

    def __init__(self, database: str, rabbit: RabbitCluster) -> None:
        self.database = database
        self._settings = {"database_url": database, "stream_url": rabbit.stream_url}
        self.admin_url = rabbit.nodes[0].admin_url
        self.workers: list[ServerProcess] = []
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.username_pw_set(USER, PASSWORD)
        self._client.max_inflight_messages_set(200)
        self._client.connect("127.0.0.1", rabbit.nodes[0].mqtt)
        self._client.loop_start()

    def city(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "runtime.cli", *arguments],
            env=city_environment(**self._settings, stream_admin_url=self.admin_url),
            check=False,
            capture_output=True,
            text=True,
        )

    def work(self) -> ServerProcess:
        self.workers.append(start_city("ingest", **self._settings))
        return self.workers[-1]

    def publish(self, messages: list[tuple[str, bytes]]) -> None:
        """Back when every one of them is acknowledged."""
        sent = [self._client.publish(topic, payload, qos=1) for topic, payload in messages]
        for one in sent:
            one.wait_for_publish(PATIENCE_S)
            assert one.is_published()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database) as connection:
            return connection.execute(sql.encode()).fetchall()

    def until(self, sql: str, wanted: object) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while (found := self.rows(sql)[0][0]) != wanted:
            assert time.monotonic() < deadline, (
                f"{sql}: {found}, not {wanted}; {[worker.log_tail() for worker in self.workers]}"
            )
            time.sleep(0.05)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        for worker in self.workers:
            worker.kill()


def import_ground(url: str) -> None:
    import_defaults(url, parse_rules=to_rows)
    with psycopg.connect(url) as connection:
        for cell, community in CELLS:
            connection.execute(
                "INSERT INTO areas (layer, code, name) VALUES ('community', %s, %s) ON CONFLICT DO NOTHING",
                [community, community],
            )
            connection.execute(
                "INSERT INTO areas (layer, code, name, parent_id) SELECT 'cell', %s, %s, id FROM areas"
                " WHERE layer = 'community' AND code = %s",
                [cell, cell, community],
            )


@pytest.fixture(scope="module")
def district(
    postgres_server: PostgresServer, postgres_template: str, rabbit: RabbitCluster
) -> Iterator[District]:
    name = postgres_server.create_database(template=postgres_template)
    url = postgres_server.url(name)
    import_ground(url)
    made = District(url, rabbit)
    yield made
    made.close()
    postgres_server.drop_database(name)


def messages(start_ms: int) -> list[tuple[str, bytes]]:
    """Detectors that rise over the limit and fall again, a second of their clocks at a time."""
    found = []
    for second in range(ROUNDS):
        for number in range(DEVICES):
            value = 75.0 if (second + number) % 7 < 3 else 20.0
            payload = {"ts": start_ms + second * 1000, "value": value, "seq": second}
            found.append((f"city/c{number % 5}/smoke/s{number}", json.dumps(payload).encode()))
    return found


def outcome(url: str) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    with psycopg.connect(url) as connection:
        alarms = connection.execute(
            "SELECT a.rule_id, d.code, a.raised_at, a.cleared_at, a.level, a.repeats FROM alarms a JOIN devices d"
            " ON d.id = a.device_id ORDER BY 1, 2, 3"
        ).fetchall()
        states = connection.execute(
            "SELECT s.rule_id, d.code, s.state FROM rule_states s JOIN devices d ON d.id = s.device_id ORDER BY 1, 2"
        ).fetchall()
    return alarms, states


def alone(server: PostgresServer, template: str, sent: list[tuple[str, bytes]]) -> Any:
    """What one pipeline on one machine makes of the same messages."""
    name = server.create_database(template=template)
    import_ground(server.url(name))
    with psycopg.connect(server.url(name), autocommit=True) as connection:
        pipeline = Pipeline(connection, max_unclaimed=100, retention_days=30)
        pipeline.process(
            [
                Delivery(
                    topics=[topic.encode() for topic, _ in sent],
                    payloads=[payload for _, payload in sent],
                    packet_ids=[0] * len(sent),
                    received_us=time.time_ns() // 1000,
                    generation=0,
                )
            ]
        )
    found = outcome(server.url(name))
    server.drop_database(name)
    return found


def test_a_worker_killed_under_load_loses_nothing_and_the_alarms_are_those_of_one_machine(
    district: District, postgres_server: PostgresServer, postgres_template: str
) -> None:
    made = district.city("scale", "init", "--partitions", str(PARTITIONS), "--replicas", "1")
    assert made.returncode == 0, made.stderr
    assert f"{PARTITIONS} partitions, {PARTITIONS + 1} streams made, {len(CELLS)} cells bound" in made.stdout
    first, _ = district.work(), district.work()
    district.until("SELECT count(DISTINCT owner) FROM partition_state WHERE owner <> ''", 2)
    sent = messages(time.time_ns() // 1_000_000 - ROUNDS * 1000)
    half = len(sent) // 2
    district.publish(sent[: half // 2])
    first.kill()
    district.publish(sent[half // 2 : half])
    district.work()
    district.publish(sent[half:])
    district.until("SELECT count(*) FROM observations", len(sent))
    district.until(f"SELECT sum(next_offset) FROM partition_state WHERE partition <> {UNROUTED}", len(sent))
    expected = alone(postgres_server, postgres_template, sent)
    assert len(expected[0]) > DEVICES
    assert outcome(district.database) == expected

    # A cell nobody bound: its messages are read all the same.
    district.publish([("city/c9/smoke/s99", b'{"value": 75}')])
    district.until(
        "SELECT count(*) FROM alarms a JOIN devices d ON d.id = a.device_id WHERE d.code = 's99'", 1
    )
    assert district.rows(f"SELECT next_offset FROM partition_state WHERE partition = {UNROUTED}") == [(1,)]


def test_the_topology_says_what_is_wrong_and_is_declared_twice_without_harm(rabbit: RabbitCluster) -> None:
    topology = Topology(rabbit.nodes[0].admin_url)
    try:
        topology.declare(CELLS, partitions=PARTITIONS, replicas=1, days=7)
        again = topology.declare([*CELLS, ("c7", "m1")], partitions=PARTITIONS, replicas=1, days=7)
        assert (again.streams_added, again.cells_bound) == (0, 1)
        bound = topology.cells()
        assert bound["c0"] == bound["c4"]  # of one community
        assert bound["c7"] == bound["c1"]
        assert topology.faults([cell for cell, _ in CELLS]) == []
        (loose, dotted) = topology.faults(["c0", "c8.1"])
        assert loose.startswith("1 cells have no binding (c8.1)")
        assert "dot" in dotted
        limit = {"pattern": "^events-1$", "definition": {"max-length-bytes": 10**9}, "apply-to": "streams"}
        policy = f"{rabbit.nodes[0].admin_url}/api/policies/%2F/full"
        httpx.put(policy, json=limit).raise_for_status()
        deadline = time.monotonic() + PATIENCE_S
        while not (limited := topology.faults([cell for cell, _ in CELLS])):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        httpx.delete(policy).raise_for_status()
        (fault,) = limited
        assert fault.startswith("1 streams have a limit of bytes (events-1)")
        assert "lost" in fault  # doctor fails by this word
        with pytest.raises(TopologyError, match="4 partitions, not 8"):
            topology.declare(CELLS, partitions=8, replicas=1, days=7)
    finally:
        topology.close()


def test_a_management_address_that_is_wrong_is_said_in_one_line(rabbit: RabbitCluster) -> None:
    wrong = rabbit.nodes[0].admin_url.replace(f":{PASSWORD}@", ":nope@")
    with pytest.raises(TopologyError, match="does not know this user"):
        Topology(wrong).streams()
    with pytest.raises(TopologyError, match="CITY_STREAM_ADMIN_URL"):
        Topology("")
