"""The test servers themselves: what every other integration test stands on."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.conftest import lacking
from tests.servers.mosquitto import MosquittoServer, mosquitto_binary
from tests.servers.nats import NatsServer
from tests.servers.postgres import PostgresServer, wheel_binaries
from tests.servers.processes import UnavailableError, listening


def _one(url: str, statement: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0]


def test_a_fresh_database_is_empty(any_database_url: str) -> None:
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    assert _one(any_database_url, tables) == 0


def test_timescale_databases_have_the_apache_edition(timescale_url: str) -> None:
    assert _one(timescale_url, "SELECT current_setting('timescaledb.license')") == "apache"
    assert _one(timescale_url, "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'") == 1


def test_databases_need_the_password(postgres_server: PostgresServer) -> None:
    url = postgres_server.url("postgres").replace("postgres:", "postgres:wrong", 1)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(url)


def test_a_killed_postgres_recovers_on_its_port() -> None:
    server = PostgresServer(wheel_binaries())
    try:
        server.start()
        port = server.port
        with psycopg.connect(server.url("postgres")) as connection:
            connection.execute("CREATE TABLE kept (n int)")
        server.kill()
        server.start()
        assert server.port == port
        assert _one(server.url("postgres"), "SELECT count(*) FROM kept") == 0
    finally:
        server.close()
    assert not listening(port)
    assert not server.folder.exists()


def test_a_killed_parent_leaves_no_server(tmp_path: Path) -> None:
    program = (
        "import os, signal; from pathlib import Path\n"
        "from tests.servers.mosquitto import MosquittoServer\n"
        "from tests.servers.postgres import PostgresServer, wheel_binaries\n"
        "m = MosquittoServer(); m.start(); p = PostgresServer(wheel_binaries()); p.start()\n"
        "print(m.pid, p.pid, m.folder, p.folder, flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=False
    )
    *pids, broker_folder, database_folder = done.stdout.split()
    shutil.rmtree(broker_folder)
    deadline = time.monotonic() + 60
    while any(_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    shutil.rmtree(database_folder)
    assert len(pids) == 2
    assert not any(_alive(pid) for pid in pids)


def _alive(pid: str) -> bool:
    """Whether it still runs; an ended one that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_brokers_keep_their_port_over_a_restart(any_broker: MosquittoServer | NatsServer) -> None:
    port = any_broker.port
    any_broker.stop()
    assert not listening(port)
    any_broker.start()
    assert any_broker.port == port
    assert listening(port)


def test_mosquitto_takes_the_lines_of_the_test(start_mosquitto: Callable[..., MosquittoServer]) -> None:
    server = start_mosquitto("persistence true", "persistence_location {folder}/")
    server.stop()
    assert (server.folder / "mosquitto.db").exists()


def test_chromium_runs(chromium_path: Path) -> None:
    done = subprocess.run(
        [str(chromium_path), "--version"], capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert "Chrom" in done.stdout


def test_the_private_tree_runs_without_the_hosts_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, **_: None if "mosquitto" in name else f"/usr/bin/{name}")
    try:
        program = mosquitto_binary()
    except UnavailableError as missing:
        lacking(missing)
    helped = subprocess.run([str(program), "-h"], capture_output=True, text=True, check=False)
    assert helped.stdout.startswith("mosquitto version 2")
    assert "city-command-centre" in str(program)


def test_migrated_databases_are_copies_of_one_template(any_migrated_url: str) -> None:
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename = 'observations'"
    assert _one(any_migrated_url, tables) == 1
    assert _one(any_migrated_url, "SELECT count(*) FROM observations") == 0


def test_postgres_runs_where_root_has_no_user_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.getuid() != 0:
        pytest.skip("not root, so there is no user to change")
    monkeypatch.setattr("tests.servers.postgres._user_namespaces", lambda: False)
    server = PostgresServer(wheel_binaries())
    try:
        server.start()
        assert Path(f"/proc/{server.pid}").stat().st_uid == 65534
    finally:
        server.close()
