"""Stations over TCP into a real ingest process and a real database: stored, then confirmed; and every hostile peer."""

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from city.district import import_defaults
from rules.definitions import to_rows
from simulators import hydrology as other
from tests.conftest import _database
from tests.servers.city_process import city_environment, start_city
from tests.servers.postgres import PostgresServer
from tests.servers.processes import ServerProcess, free_port, listening

ZONE = ZoneInfo("Asia/Shanghai")
ADDRESS = other.Address(station="0012345678")


class Stand:
    """Ingest with its SL 651 port open, its database, and stations' lines. No broker: it is tried for ever."""

    def __init__(self, database: str) -> None:
        self.database = database
        self.port = free_port()
        self.connection = psycopg.connect(database, autocommit=True)
        self.ingest = self._begin()

    def _begin(self) -> ServerProcess:
        process = start_city(
            "ingest",
            database_url=self.database,
            mqtt_url="mqtt://127.0.0.1:1",
            sl651_port=str(self.port),
            sl651_password="1234, 03e8",
            listen_frame_s="0.5",
            listen_bytes_per_s="20000",
            listen_per_address="600",
        )
        process.wait_ready(lambda: listening(self.port))
        return process

    def again(self) -> None:
        self.ingest = self._begin()

    def line(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def one(self, sql: str, *values: object) -> Any:
        row = self.connection.execute(sql.encode(), values).fetchone()
        return row[0] if row is not None else None

    def until(self, sql: str, wanted: int, *values: object) -> None:
        deadline = time.monotonic() + 60
        while (found := self.one(sql, *values)) < wanted:
            assert time.monotonic() < deadline, f"{sql}: {found} < {wanted}; {self.ingest.log_tail()}"
            time.sleep(0.02)

    def stored(self, station: str) -> list[tuple[str, float]]:
        return self.connection.execute(
            "SELECT m.code, o.value FROM observations o JOIN metrics m ON m.id = o.metric_id"
            " JOIN devices d ON d.id = o.device_id WHERE d.code = %s ORDER BY o.observed_at, m.code",
            (f"sl651:{station}",),
        ).fetchall()

    def refused(self, reason: str) -> list[tuple[str, bytes]]:
        return self.connection.execute(
            "SELECT topic, payload FROM quarantine WHERE reason = %s ORDER BY id", (reason,)
        ).fetchall()

    def close(self) -> None:
        self.connection.close()
        self.ingest.stop()


@pytest.fixture(scope="module")
def stand(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Stand]:
    with _database(postgres_server, postgres_template) as url:
        import_defaults(url, parse_rules=to_rows)
        made = Stand(url)
        yield made
        made.close()


def station(number: int) -> other.Address:
    return other.Address(station=f"00{number:08d}")


def timer(address: other.Address, level: float, *, ago_s: int = 0, serial: int = 1) -> bytes:
    moment = datetime.now(ZONE).replace(second=0, microsecond=0) - timedelta(seconds=ago_s)
    text = other.opening(serial, moment, address.station, other.RIVER) + other.observed(moment)
    return other.frame(
        address, other.TIMER, text + other.element(0x39, level, 4, 3) + other.element(0x38, 12.5, 2, 2)
    )


def answer(line: socket.socket) -> bytes:
    """One downward frame."""
    found = b""
    while len(found) < 25:
        more = line.recv(25 - len(found))
        assert more, "closed without an answer"
        found += more
    return found


def closed(line: socket.socket) -> bool:
    try:
        return line.recv(100) == b""
    except (ConnectionResetError, BrokenPipeError):
        return True


def test_a_report_is_confirmed_after_it_is_committed_and_not_before(stand: Stand) -> None:
    line = stand.line()
    line.sendall(other.frame(ADDRESS, other.LINK, other.opening(0, datetime.now(ZONE))))
    stand.until("SELECT count(*) FROM presence WHERE link = 'online'", 1)
    sent = timer(ADDRESS, 3.42)
    with psycopg.connect(stand.database) as other_session:
        other_session.execute("LOCK TABLE observations IN ACCESS EXCLUSIVE MODE")
        line.sendall(sent)
        stand.until(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'observations'::regclass", 1
        )
        assert (
            select.select([line], [], [], 0.2)[0] == []
        )  # the link report had no answer, nor has this one yet
        other_session.rollback()
        assert other.confirms(answer(line), sent)
    assert stand.stored(ADDRESS.station) == [("level", 3.42), ("voltage", 12.5)]
    kind = stand.one(
        "SELECT kind || ' ' || registration || ' ' || model FROM devices WHERE code = 'sl651:0012345678'"
    )
    assert kind == "water unclaimed SL651-H"


def test_a_report_sent_twice_is_stored_once_and_confirmed_twice(stand: Stand) -> None:
    address, line = station(20), stand.line()
    sent = timer(address, 1.25)
    for _ in range(2):
        line.sendall(sent)
        assert other.confirms(answer(line), sent)
    late = stand.line()  # as after a lost connection
    late.sendall(sent)
    assert other.confirms(answer(late), sent)
    assert stand.stored(address.station) == [("level", 1.25), ("voltage", 12.5)]


def test_packets_are_confirmed_once_and_the_ascii_form_in_its_own(stand: Stand) -> None:
    address, line = station(30), stand.line()
    moment = datetime.now(ZONE).replace(second=0, microsecond=0)
    text = other.opening(9, moment, address.station, other.RIVER) + other.observed(moment)
    text += b"".join(other.element(guide, 2.0, 4, 3) for guide in (0x39, 0x3A, 0x3C))
    for packet in other.packets(address, other.HOURLY, text, 16):
        line.sendall(packet)
    assert answer(line)[14:16] == b"\x00\x09"
    assert [row[0] for row in stand.stored(address.station)] == ["Z1", "level", "level_below"]
    said = f"0011{moment:%y%m%d%H%M}00ST {address.station} H TT {moment:%y%m%d%H%M} VT 12.10 "
    line.sendall(other.text_frame(address, other.TIMER, said))
    assert line.recv(100).startswith(f"\x01{address.station}01123432".encode())
    assert ("voltage", 12.1) in stand.stored(address.station)


def test_what_is_broken_is_in_quarantine_with_topic_and_bytes(stand: Stand) -> None:
    address, line = station(40), stand.line()
    good = timer(address, 1.0)
    broken = good[:-2] + bytes((good[-2] ^ 1, good[-1]))
    line.sendall(b"GET / HTTP/1.0\r\n\r\n" + broken + good)
    assert other.confirms(answer(line), good)
    line.sendall(good[:20])
    line.close()
    stand.until("SELECT count(*) FROM quarantine WHERE payload = %s", 1, good[:20])
    assert ("sl651/-", b"GET / HTTP/1.0\r\n\r\n") in stand.refused("bad_frame")
    assert ("sl651/-", broken) in stand.refused("bad_checksum")
    assert ("sl651/-", good[:20]) in stand.refused("bad_length")


def test_a_wrong_password_is_kept_counted_and_not_confirmed(stand: Stand) -> None:
    stranger = other.Address(station="0000000050", password="9999")
    line = stand.line()
    sent = timer(stranger, 9.0)
    line.sendall(sent)
    stand.until("SELECT count(*) FROM quarantine WHERE reason = 'wrong_password'", 1)
    right = timer(other.Address(station=stranger.station, password="03E8"), 1.0, serial=2)
    line.sendall(right)
    assert other.confirms(answer(line), right)  # and nothing before it
    assert stand.refused("wrong_password") == [("sl651/0000000050/wrong-password", sent)]
    assert ("level", 9.0) not in stand.stored(stranger.station)


def test_a_peer_of_one_byte_a_while_is_closed(stand: Stand) -> None:
    line = stand.line()
    line.sendall(timer(station(60), 1.0)[:1])
    assert closed(line)


def test_a_peer_that_never_stops_is_closed(stand: Stand) -> None:
    line, report = stand.line(), timer(station(61), 1.0)
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        line.sendall(report * 200_000)
    assert closed(line)


@pytest.mark.parametrize("many", [100, pytest.param(500, marks=pytest.mark.slow)])
def test_many_stations_at_once(stand: Stand, many: int) -> None:
    stations = [station(1000 + number) for number in range(many)]
    lines = [stand.line() for _ in stations]
    reports = [timer(address, 2.0 + number / 1000) for number, address in enumerate(stations)]
    for line, report in zip(lines, reports, strict=True):
        line.sendall(report)
    for line, report in zip(lines, reports, strict=True):
        assert other.confirms(answer(line), report)
    assert stand.one("SELECT count(*) FROM devices WHERE code LIKE 'sl651:0000001%%'") == many
    for line in lines:
        line.close()


def test_what_was_not_confirmed_when_ingest_died_is_stored_when_it_is_sent_again(stand: Stand) -> None:
    address, line = station(70), stand.line()
    sent = timer(address, 4.5)
    with psycopg.connect(stand.database) as other_session:
        other_session.execute("LOCK TABLE observations IN ACCESS EXCLUSIVE MODE")
        line.sendall(sent)
        stand.until(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'observations'::regclass", 1
        )
        stand.ingest.kill()
        assert closed(line)
        other_session.rollback()
    stand.again()
    line = stand.line()
    line.sendall(sent)
    assert other.confirms(answer(line), sent)
    assert stand.stored(address.station).count(("level", 4.5)) == 1


def test_the_simulated_station_is_heard(stand: Stand) -> None:
    command = ["--port", str(stand.port), "--station", "0000000080", "--interval", "0.4", "--hours", "0.001"]
    player = subprocess.Popen(
        [sys.executable, "-m", "simulators.hydrology", *command], env=city_environment(), cwd=os.getcwd()
    )
    try:
        stand.until(
            "SELECT count(DISTINCT m.code) FROM observations o JOIN metrics m ON m.id = o.metric_id JOIN devices d"
            " ON d.id = o.device_id WHERE d.code = 'sl651:0000000080' AND m.code IN"
            " ('level', 'rain', 'rain_total', 'voltage', 'level_relative', 'mains_fault')",
            6,
        )
        stand.until("SELECT count(*) FROM devices WHERE code = 'sl651:0000000080' AND kind = 'water'", 1)
    finally:
        player.terminate()
        player.wait(10)


def test_health_says_what_befell_the_peers(stand: Stand) -> None:
    line = stand.line()
    line.sendall(timer(station(90), 1.0))
    answer(line)
    stand.until(
        "SELECT count(*) FROM ingest_sessions WHERE (figures ->> 'sl651_connections')::int >= 1"
        " AND (figures ->> 'sl651_answers')::int >= 1 AND figures ? 'sl651_closed_slow'",
        1,
    )


def test_it_ends_cleanly_with_peers_connected(stand: Stand) -> None:
    line = stand.line()
    assert stand.ingest.stop() == 0
    assert closed(line)
