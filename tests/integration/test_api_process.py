"""The centre as a process: readable refusals at start, and an end on SIGTERM that leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psycopg
import pytest

from city.settings import Settings
from command_centre.main import CentreError, listen, run, wait_for_schema
from tests.integration.running_centre import lay_ground

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = (
    "import sys; from city.settings import load; from command_centre.main import run; sys.exit(run(load()))"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def connections(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND starts_with(application_name, 'city centre')"
        ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_ends_it_cleanly(migrated_url: str, tmp_path: Path, number: signal.Signals) -> None:
    lay_ground(migrated_url)
    port = free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CITY_")},
        "CITY_DATABASE_URL": migrated_url,
        "CITY_HTTP_PORT": str(port),
        "PYTHONPATH": str(REPOSITORY),
    }
    with subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, cwd=tmp_path) as process:
        try:
            answered = None
            while answered != 200:
                assert process.poll() is None
                try:
                    answered = httpx.get(f"http://127.0.0.1:{port}/healthz").status_code
                except httpx.TransportError:
                    time.sleep(0.05)
            process.send_signal(number)
            assert process.wait(timeout=60) == 0
        finally:
            if process.poll() is None:
                process.kill()
    while connections(migrated_url):
        time.sleep(0.05)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_taken_port_is_said_with_the_remedy() -> None:
    with listen("127.0.0.1", 0) as first:
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(CentreError, match=rf"CITY_HTTP_PORT = {port}.*another port"):
            listen("127.0.0.1", port)


def test_a_missing_database_setting_is_said() -> None:
    with pytest.raises(CentreError, match="CITY_DATABASE_URL"):
        run(Settings(_env_file=None, database_url=""))


def test_a_database_without_schema_is_waited_for_and_then_named(postgres_url: str) -> None:
    with pytest.raises(CentreError, match=r"0001_memory.*city migrate"):
        wait_for_schema(postgres_url, patience_s=0)


def test_what_it_accepts_sends_at_once() -> None:
    """asyncio sets TCP_NODELAY only where a socket names its protocol; without it each answer waits 40 ms."""
    with listen("127.0.0.1", 0) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            assert accepted.proto == socket.IPPROTO_TCP
