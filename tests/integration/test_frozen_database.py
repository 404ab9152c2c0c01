"""A database that keeps its line open and says nothing: who waits gives up, goes on by itself, and can be stopped."""

import asyncio
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import paho.mqtt.client as mqtt
import psycopg
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from psycopg import sql

from city.district import import_defaults
from city.storage import lines
from city.storage.changes import open_connection
from city.storage.database import connect
from command_centre.api.screen import feed
from rules.definitions import to_rows
from tests.integration.running_centre import lay_ground, running
from tests.servers.city_process import start_city
from tests.servers.line import Line
from tests.servers.mosquitto import MosquittoServer
from tests.servers.postgres import PostgresServer

PATIENCE_S = 60


@pytest.fixture
def line(postgres_server: PostgresServer) -> Iterator[Line]:
    line = Line(postgres_server.port)
    yield line
    line.close()


@pytest.fixture
def through(line: Line, postgres_server: PostgresServer) -> Callable[[str], str]:
    return lambda url: url.replace(f":{postgres_server.port}/", f":{line.port}/")


def test_an_answer_that_does_not_come_ends_the_wait_and_the_connection(
    line: Line, through: Callable[[str], str], postgres_server: PostgresServer
) -> None:
    connection = connect(through(postgres_server.url("postgres")), application="test", autocommit=True)
    assert isinstance(connection, lines.PatientConnection)
    connection.patience_s = 0.3
    assert connection.execute("SELECT 1").fetchone() == (1,)
    line.freeze()
    with pytest.raises(psycopg.OperationalError, match=r"nothing for 0\.3 s"):
        connection.execute("SELECT 1")
    assert connection.closed


def test_a_loop_gives_up_as_well_and_waits_for_nudges_as_long_as_it_takes(
    line: Line, through: Callable[[str], str], postgres_server: PostgresServer
) -> None:
    async def look() -> None:
        async with await open_connection(through(postgres_server.url("postgres")), "test") as connection:
            assert isinstance(connection, lines.PatientAsyncConnection)
            connection.patience_s = 0.3
            listening = asyncio.ensure_future(anext(connection.notifies()))
            assert await asyncio.wait([listening], timeout=1) == (set(), {listening})
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening
            assert not connection.closed
            line.freeze()
            with pytest.raises(psycopg.OperationalError, match="said nothing"):
                await connection.execute("SELECT 1")
            assert connection.closed

    asyncio.run(look())


def test_who_is_told_to_stop_hangs_up_on_whoever_is_silent(
    line: Line, through: Callable[[str], str], postgres_server: PostgresServer
) -> None:
    connection = connect(through(postgres_server.url("postgres")), application="test", autocommit=True)
    failed: list[str] = []

    def ask() -> None:
        try:
            connection.execute("SELECT pg_sleep(600)")
        except psycopg.OperationalError as error:
            failed.append(str(error))

    waiting = threading.Thread(target=ask)
    waiting.start()
    while connection.pgconn.transaction_status != psycopg.pq.TransactionStatus.ACTIVE:
        time.sleep(0.01)
    lines.hang_up()
    waiting.join(PATIENCE_S)
    assert not waiting.is_alive()
    assert len(failed) == 1


def test_pools_do_not_hand_out_what_does_not_answer(
    line: Line,
    through: Callable[[str], str],
    postgres_server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lines, "CHECK_PATIENCE_S", 0.3)
    connection = connect(through(postgres_server.url("postgres")), application="test")
    lines.check(connection)
    assert not connection.autocommit
    line.freeze()
    with pytest.raises(psycopg.OperationalError):
        lines.check(connection)


def test_the_kernel_is_asked_to_notice_a_host_that_is_gone(postgres_server: PostgresServer) -> None:
    with (
        connect(postgres_server.url("postgres"), application="test") as connection,
        socket.fromfd(connection.pgconn.socket, socket.AF_INET, socket.SOCK_STREAM) as end,
    ):
        asked = [
            end.getsockopt(socket.IPPROTO_TCP, name)
            for name in (
                socket.TCP_KEEPIDLE,
                socket.TCP_KEEPINTVL,
                socket.TCP_KEEPCNT,
                socket.TCP_USER_TIMEOUT,
            )
        ]
    assert asked == [5, 2, 3, 10_000]


def test_the_screens_say_that_the_database_is_silent_and_that_it_is_back(
    migrated_url: str, line: Line, through: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "UNHEARD_S", 1.0)
    monkeypatch.setattr(lines.PatientAsyncConnection, "patience_s", 3.0)
    monkeypatch.setattr(lines, "PATIENCE_S", 3.0)

    def database() -> Any:
        return centre.stranger.get("/readyz").json()["checks"]["database"]

    def until(wanted: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while (said := database()) != wanted:
            assert time.monotonic() < deadline, said
            time.sleep(0.1)

    lay_ground(migrated_url)
    with running(through(migrated_url)) as centre:
        until("ok")
        line.freeze()
        monkeypatch.setattr(
            "command_centre.api.health._migrations", _unasked
        )  # it waits in a thread of its own
        until("down")
        line.thaw()
        until("ok")


async def _unasked(_here: object) -> str:
    return "ok"


@contextmanager
def only_reads(url: str) -> Iterator[None]:
    """A database that was a primary until now, or that somebody protects from filling up."""
    with psycopg.connect(url, autocommit=True) as direct:
        database = sql.Identifier(direct.info.dbname)
        direct.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(database))
        direct.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        yield
        direct.execute(sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(database))


def test_ingest_holds_back_while_the_database_is_frozen_or_only_reads_and_goes_on_by_itself(
    migrated_url: str, mosquitto: MosquittoServer, line: Line, through: Callable[[str], str]
) -> None:
    import_defaults(migrated_url, parse_rules=to_rows)
    ingest = start_city("ingest", database_url=through(migrated_url), mqtt_url=mosquitto.url)
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", mosquitto.port)
    client.loop_start()

    def until(query: str, wanted: int) -> None:
        deadline = time.monotonic() + PATIENCE_S
        with psycopg.connect(migrated_url, autocommit=True) as direct:
            while (row := direct.execute(query.encode()).fetchone()) != (wanted,):
                assert time.monotonic() < deadline, (row, ingest.log_tail())
                time.sleep(0.05)

    def publish(first: int, last: int) -> None:
        now = time.time_ns() // 1_000_000
        for number in range(first, last):
            client.publish(
                "city/c1/smoke/s1", json.dumps({"ts": now + number, "value": 1.0, "seq": number}), qos=1
            ).wait_for_publish(PATIENCE_S)

    try:
        until("SELECT count(*) FROM ingest_sessions WHERE listening", 1)
        publish(0, 100)
        until("SELECT count(*) FROM observations", 100)
        line.freeze()
        publish(100, 200)
        line.thaw()
        until("SELECT count(*) FROM observations", 200)
        with only_reads(migrated_url):
            publish(200, 300)
            deadline = time.monotonic() + PATIENCE_S
            while "read-only" not in ingest.log_tail():
                assert time.monotonic() < deadline, ingest.log_tail()
                time.sleep(0.05)
            until("SELECT count(*) FROM observations", 200)
        until("SELECT count(*) FROM observations", 300)
        until("SELECT count(*) FROM quarantine", 0)
        line.freeze()
        publish(300, 310)
        assert ingest.stop(signal.SIGTERM, PATIENCE_S) == 0
    finally:
        ingest.kill()
        client.disconnect()
        client.loop_stop()
