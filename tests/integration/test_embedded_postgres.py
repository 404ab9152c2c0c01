"""The embedded PostgreSQL: durable, private, gone with its owner, and startable again at once."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from city.errors import CityError
from runtime import embedded_postgres, ports
from runtime.embedded_postgres import EmbeddedPostgres, Place, choose_place, read_access
from runtime.process import Identity

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder made once: creating one is most of what these tests would otherwise do."""
    folder = tmp_path_factory.mktemp("template")
    server = EmbeddedPostgres(folder)
    server.start()
    server.wait()
    server.stop(within_s=60)
    return folder


@pytest.fixture
def made(template: Path, tmp_path: Path) -> Path:
    """The data folder of an installation that was started and stopped before, with a port of its own."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    access = json.loads((tmp_path / "postgres.json").read_text())
    (tmp_path / "postgres.json").write_text(json.dumps(access | {"port": ports.any_free()}))
    return tmp_path


@pytest.fixture
def started(made: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(made)
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.stop()


def remember(url: str, word: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS words (word text)")
        connection.execute("INSERT INTO words VALUES (%s)", (word,))


def words(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [str(row[0]) for row in connection.execute("SELECT word FROM words ORDER BY word")]


def setting(url: str, name: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    assert row is not None
    return str(row[0])


def test_data_port_and_password_are_there_after_a_restart(tmp_path: Path) -> None:
    first = EmbeddedPostgres(tmp_path)
    first.start()
    first.wait()
    remember(first.url, "kept")
    first.stop()
    again = EmbeddedPostgres(tmp_path)
    again.start()
    again.wait()
    assert again.url == first.url
    assert words(again.url) == ["kept"]
    again.stop()
    assert again.process.exit_code() == 0


def test_it_is_durable_and_listens_on_loopback_with_a_password_only(
    started: EmbeddedPostgres, tmp_path: Path
) -> None:
    assert setting(started.url, "synchronous_commit") == "on"
    assert setting(started.url, "fsync") == "on"
    assert setting(started.url, "listen_addresses") == "127.0.0.1"
    assert setting(started.url, "unix_socket_directories") == ""
    assert setting(started.url, "server_encoding") == "UTF8"
    access = read_access(tmp_path / "postgres.json")
    assert access is not None
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(started.url.replace(access.password, "guess"))


def test_nobody_else_can_read_password_and_data(started: EmbeddedPostgres, tmp_path: Path) -> None:
    for name in ("postgres.json", "postgres"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
    assert started.url
    assert not list(tmp_path.glob("*.password"))


KILLED = """
import os, sys
from pathlib import Path
import psycopg
from runtime.embedded_postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
server.wait()
connection = psycopg.connect(server.url, autocommit=True)
connection.execute("CREATE TABLE IF NOT EXISTS words (word text)")
for number in range(200):
    connection.execute("INSERT INTO words VALUES (%s)", (sys.argv[2] + f" {number:03}",))
print(server.process.pid, flush=True)
if sys.argv[3] == "both":
    os.kill(server.process.pid, 9)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("who", ["parent", "both"])
def test_after_a_kill_nothing_runs_and_the_next_start_at_once_has_every_commit(made: Path, who: str) -> None:
    for word in ("first", "second"):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(made), word, who],
            capture_output=True,
            text=True,
            check=False,
            cwd=REPOSITORY,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
    server = EmbeddedPostgres(made)
    server.start()
    server.wait()
    assert words(server.url) == [
        f"{word} {number:03}" for word in ("first", "second") for number in range(200)
    ]
    server.stop()
    while server_processes(made):
        time.sleep(0.05)


def server_processes(data_dir: Path) -> list[int]:
    """Every process that was started for this folder, whoever its parent is now."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(data_dir).encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


def test_a_server_that_was_killed_starts_again_where_its_clients_look(started: EmbeddedPostgres) -> None:
    remember(started.url, "kept")
    url = started.url
    os.kill(started.process.pid, signal.SIGKILL)
    while started.process.exit_code() is None:
        time.sleep(0.02)
    started.restart()
    started.wait()
    assert started.url == url
    assert words(url) == ["kept"]


def test_a_port_taken_meanwhile_is_exchanged(made: Path) -> None:
    access = read_access(made / "postgres.json")
    assert access is not None
    with socket.create_server(("127.0.0.1", access.port)):
        again = EmbeddedPostgres(made)
        again.start()
        again.wait()
        assert f":{access.port}/" not in again.url
        again.stop()


def test_an_interrupted_creation_leaves_nothing_half_made(tmp_path: Path) -> None:
    leftover = tmp_path / "postgres.new"
    leftover.mkdir()
    (leftover / "PG_VERSION").write_text("18\n")
    server = EmbeddedPostgres(tmp_path)
    server.start()
    server.wait()
    server.stop()
    assert not leftover.exists()


def test_a_lost_password_file_is_named(made: Path) -> None:
    (made / "postgres.json").write_text("{")
    with pytest.raises(CityError, match=r"postgres\.json"):
        EmbeddedPostgres(made).start()


def test_data_of_another_major_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir(mode=0o700)
    (tmp_path / "postgres" / "PG_VERSION").write_text("17\n")
    (tmp_path / "postgres.json").write_text(json.dumps({"port": 1, "password": "x"}))
    with pytest.raises(CityError, match="made by PostgreSQL 17"):
        EmbeddedPostgres(tmp_path).start()


def test_a_server_that_cannot_start_says_why(made: Path) -> None:
    (made / "postgres" / "global" / "pg_control").unlink()
    again = EmbeddedPostgres(made)
    again.start()
    with pytest.raises(CityError, match="pg_control"):
        again.wait()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who may become another user")


@needs_root
def test_data_of_another_user_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    os.chown(tmp_path / "postgres", 65534, 65534)
    with pytest.raises(CityError, match="belongs to user nobody"):
        choose_place(tmp_path)


@needs_root
def test_root_without_user_namespaces_has_it_run_by_nobody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(embedded_postgres, "_runs", lambda _binaries, identity: identity.namespace is None)
    shared = Path(tempfile.mkdtemp(dir="/var/tmp"))
    shared.chmod(0o755)
    monkeypatch.setattr(embedded_postgres, "SHARED_PLACE", shared / "city")
    try:
        for _ in range(2):
            server = EmbeddedPostgres(tmp_path)
            assert server.place.identity == Identity(user=(65534, 65534))
            server.start()
            server.wait()
            assert Path(f"/proc/{server.process.pid}").stat().st_uid == 65534
            remember(server.url, "kept")
            server.stop()
        monkeypatch.undo()
        monkeypatch.setattr(embedded_postgres, "SHARED_PLACE", shared / "city")
        assert choose_place(tmp_path).data.is_relative_to(shared)  # stays where the data are
    finally:
        shutil.rmtree(shared)


PROBE = """
import subprocess, sys, runtime.cli
subprocess.run([sys.executable, "-c", ""], check=True)
"""


@needs_root
def test_an_ordinary_user_runs_it_in_place() -> None:
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    os.chown(folder, 65534, 65534)
    reachable = subprocess.run(
        [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            sys.executable,
            "-c",
            PROBE,
        ],
        cwd="/",
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        check=False,
    )
    try:
        if reachable.returncode != 0:
            pytest.skip(f"user nobody may not run {sys.executable} or read {REPOSITORY}")
        done = subprocess.run(
            [
                *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
                *(sys.executable, "-c", KILLED, str(folder), "word", "parent"),
            ],
            cwd="/",
            env={"PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert (folder / "postgres" / "PG_VERSION").stat().st_uid == 65534
        while server_processes(folder):
            time.sleep(0.05)
    finally:
        shutil.rmtree(folder)


def test_place_names_where_things_are(started: EmbeddedPostgres, tmp_path: Path) -> None:
    assert isinstance(started.place, Place)
    assert started.place.data == tmp_path / "postgres"
