"""Fire alarm transmitters and environmental stations through socket, ingest and database, to alarm and answer."""

import json
import socket
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from city.district import import_defaults
from rules.definitions import to_rows
from simulators import gb26875 as sim
from tests.integration.running_ingest import Stand
from tests.servers.mosquitto import UNLIMITED, MosquittoServer
from tests.servers.postgres import PostgresServer
from tests.servers.processes import UnavailableError, free_port
from tests.unit.test_hj212 import line

ZONE = ZoneInfo("Asia/Shanghai")
FIRE_ALARMS = (
    "SELECT count(*) FROM alarms a JOIN devices d ON d.id = a.device_id WHERE a.rule_id LIKE 'fire-alarm%'"
)


class Hall:
    """One ingest process that listens for transmitters and stations; every test has transmitters of its own."""

    def __init__(self, database: str, broker: MosquittoServer) -> None:
        self.fire, self.environment = free_port(), free_port()
        self.stand = Stand(
            database,
            broker.url,
            broker.port,
            gb26875_port=str(self.fire),
            hj212_port=str(self.environment),
            batch_interval_ms="5",
        )

    def transmitter(self, number: int) -> sim.Transmitter:
        """Not yet connected."""
        return sim.Transmitter(("127.0.0.1", self.fire), number, centre=90936, clock=now)

    def alarms(self, device: str) -> list[tuple[Any, ...]]:
        """Rule, class, level, whether it stands, triage and why it is held back, of every alarm of a device."""
        return self.stand.rows(
            "SELECT rule_id, class, level, cleared_at IS NULL, triage, suppressed FROM alarms a"
            f" JOIN devices d ON d.id = a.device_id WHERE d.code = 'gb26875:{device}' ORDER BY a.id"
        )

    def until_alarms(self, device: str, what: str, at_least: int = 1) -> None:
        """Wait for alarms of a device that are so."""
        self.stand.until(f"{FIRE_ALARMS} AND d.code = 'gb26875:{device}' AND {what}", at_least)


def now() -> datetime:
    return datetime.now(ZONE)


@pytest.fixture(scope="module")
def hall(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Hall]:
    database = postgres_server.create_database(template=postgres_template)
    broker = MosquittoServer(UNLIMITED)
    try:
        broker.start()
    except UnavailableError as missing:
        pytest.skip(f"this machine lacks {missing}")
    import_defaults(postgres_server.url(database), parse_rules=to_rows)
    with psycopg.connect(postgres_server.url(database)) as connection:
        connection.execute(
            "INSERT INTO district (code, name, timezone) VALUES ('440399', '示范区', %s)", (ZONE.key,)
        )
    made = Hall(postgres_server.url(database), broker)
    yield made
    made.stand.close()
    broker.close()
    postgres_server.drop_database(database)


def smoke(state: int, at: datetime, number: int = 1) -> bytes:
    return sim.component_state((1, 1), (40, number), state, "三层走廊烟感", at)


def test_a_fire_is_an_alarm_of_class_a_and_clears_with_its_bit(hall: Hall) -> None:
    begin = now() - timedelta(seconds=3)
    with hall.transmitter(1001) as transmitter:
        assert transmitter.heartbeat().confirmed
        assert transmitter.report(2, smoke(sim.bits(0, 1), begin)).confirmed
        hall.until_alarms("1001.1.1.40.1", "a.cleared_at IS NULL")
        assert hall.alarms("1001.1.1.40.1") == [("fire-alarm", "A", "red", True, "new", None)]
        assert transmitter.report(2, smoke(sim.bits(0), begin + timedelta(seconds=2))).confirmed
        hall.until_alarms("1001.1.1.40.1", "a.cleared_at IS NOT NULL")
    devices = hall.stand.rows(
        "SELECT code, kind, name, model, registration FROM devices WHERE code LIKE 'gb26875:1001%' ORDER BY code"
    )
    assert devices == [
        ("gb26875:1001", "fire_transmitter", "", "用户信息传输装置", "unclaimed"),
        ("gb26875:1001.1.1.40.1", "fire_alarm", "三层走廊烟感", "感烟火灾探测器 (40)", "unclaimed"),
    ]


def test_it_is_confirmed_after_the_commit_only(hall: Hall) -> None:
    with hall.transmitter(1002) as transmitter, psycopg.connect(hall.stand.database) as other:
        assert transmitter.heartbeat().confirmed
        other.execute("LOCK TABLE observations IN EXCLUSIVE MODE")
        frame = transmitter.next_frame(sim.unit(2, smoke(sim.bits(0, 1), now())))
        transmitter.line.sendall(frame)
        with pytest.raises(TimeoutError):
            transmitter.hear(wait_s=0.5)
        transmitter.line.sendall(frame)  # no answer in time: the same again
        other.rollback()
        answers = [transmitter.hear(), transmitter.hear()]
    assert [(one.confirmed, one.serial) for one in answers] == [(True, 2), (True, 2)]
    assert len(hall.alarms("1002.1.1.40.1")) == 1
    stored = hall.stand.rows(
        "SELECT count(*), count(DISTINCT metric_id) FROM observations o JOIN devices d ON d.id = o.device_id"
        " WHERE d.code = 'gb26875:1002.1.1.40.1'"
    )
    assert stored[0][0] == stored[0][1] > 8


def test_a_test_pages_nobody_where_the_transmitter_tells_tests_apart(hall: Hall) -> None:
    begin = now() - timedelta(seconds=5)
    with hall.transmitter(1003) as transmitter:
        # Bit 0 beside another bit: from now on its absence means a test.
        assert transmitter.report(2, smoke(sim.bits(0, 6), begin, 2)).confirmed
        assert transmitter.report(2, smoke(sim.bits(1), begin, 1)).confirmed
        hall.until_alarms("1003.1.1.40.1", "a.suppressed IS NOT NULL")
        assert hall.alarms("1003.1.1.40.1") == [
            ("fire-alarm", "A", "red", True, "recorded", "self-test running")
        ]
        assert transmitter.report(2, smoke(0, begin + timedelta(seconds=2), 1)).confirmed
        hall.until_alarms("1003.1.1.40.1", "a.cleared_at IS NOT NULL")
    assert hall.stand.rows(
        "SELECT count(*) FROM alarm_events e JOIN alarms a ON a.id = e.alarm_id JOIN devices d ON d.id = a.device_id"
        " WHERE d.code = 'gb26875:1003.1.1.40.1' AND e.kind = 'unsuppressed'"
    ) == [(0,)]


def test_a_fire_without_bit_0_pages_where_nothing_says_that_the_bit_means_anything(hall: Hall) -> None:
    with hall.transmitter(1004) as transmitter:
        assert transmitter.report(2, smoke(sim.bits(0), now() - timedelta(seconds=2))).confirmed
        assert transmitter.report(2, smoke(sim.bits(1), now())).confirmed
        hall.until_alarms("1004.1.1.40.1", "a.suppressed IS NULL")
    assert hall.alarms("1004.1.1.40.1") == [("fire-alarm", "A", "red", True, "new", None)]


def test_a_fault_is_maintenance_and_a_manual_alarm_a_fire(hall: Hall) -> None:
    with hall.transmitter(1005) as transmitter:
        assert transmitter.report(21, sim.transmitter_state(sim.bits(0, 3), now())).confirmed
        hall.until_alarms("1005", "a.rule_id = 'fire-alarm-fault'")
        assert transmitter.report(24, sim.transmitter_operation(sim.bits(2), 7, now())).confirmed
        hall.until_alarms("1005.manual", "a.cleared_at IS NULL")
    assert [row[:2] for row in hall.alarms("1005")] == [("fire-alarm-fault", "C")]
    assert [row[:2] for row in hall.alarms("1005.manual")] == [("fire-alarm", "A")]


def test_a_clock_that_runs_ahead_holds_no_fire_back(hall: Hall) -> None:
    with hall.transmitter(1006) as transmitter:
        ahead = now() + timedelta(hours=8)
        assert transmitter.report(1, sim.system_state((1, 1), sim.bits(0, 1), ahead)).confirmed
        hall.until_alarms("1006.1.1", "a.cleared_at IS NULL")


def test_a_wrong_sum_is_denied_quarantined_and_counted(hall: Hall) -> None:
    with hall.transmitter(1007) as transmitter:
        frame = transmitter.next_frame(sim.unit(2, smoke(sim.bits(0, 1), now())))
        broken = frame[:40] + bytes([frame[40] ^ 8]) + frame[41:]
        answer = transmitter.send(broken)
        assert (answer.confirmed, answer.command, answer.serial) == (False, sim.DENIED, 1)
        assert transmitter.send(frame).confirmed
    assert hall.stand.rows("SELECT payload, reason FROM quarantine WHERE topic = 'gb26875/-'") == [
        (broken, "bad_checksum")
    ]
    hall.stand.until("SELECT coalesce(max((figures ->> 'gb26875_garbage')::int), 0) FROM ingest_sessions", 1)
    assert len(hall.alarms("1007.1.1.40.1")) == 1


def test_the_recorded_fire_is_an_alarm_though_its_time_is_years_old(hall: Hall, shared_data: Path) -> None:
    case = json.loads((shared_data / "vectors" / "gb26875" / "vectors.json").read_text("utf-8"))["frames"][0]
    with hall.transmitter(0) as transmitter:
        answer = transmitter.send(bytes.fromhex(case["hex"]))
    assert (answer.confirmed, answer.source, answer.destination) == (True, 1108152157446, 0)
    hall.until_alarms("0.1.3.0.393433", "a.cleared_at IS NULL")
    assert hall.alarms("0.1.3.0.393433") == [("fire-alarm", "A", "red", True, "new", None)]
    assert hall.stand.rows("SELECT reason FROM quarantine WHERE topic = 'gb26875/0'") == [
        ("time_out_of_range",)
    ]


def test_a_stations_values_are_stored_in_our_words_and_answered(hall: Hall) -> None:
    data = (
        f"QN={now():%Y%m%d%H%M%S}000;ST=32;CN=2011;PW=123456;MN=STATION1;Flag=5;CP=&&DataTime={now():%Y%m%d%H%M%S};"
        "w01018-Rtd=21.5,w01018-Flag=N;w01001-Rtd=7.1,w01001-Flag=D&&"
    )
    with socket.create_connection(("127.0.0.1", hall.environment), timeout=10) as client:
        client.sendall(line(data))
        answer = client.recv(4096)
    assert b"CN=9014" in answer
    assert b"MN=STATION1" in answer
    assert hall.stand.rows(
        "SELECT d.kind, m.code, o.value FROM observations o JOIN devices d ON d.id = o.device_id"
        " JOIN metrics m ON m.id = o.metric_id WHERE d.code = 'hj212:STATION1' ORDER BY m.code"
    ) == [("water_quality", "cod", 21.5), ("water_quality", "flagged", 1.0)]
