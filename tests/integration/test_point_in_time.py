"""The database as it was at one moment: a base backup and the log until then, by the deployed scripts."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import yaml

from tests.conftest import REPOSITORY, lacking
from tests.integration.small_town import rows
from tests.servers.postgres import PostgresServer, wheel_binaries
from tests.servers.processes import UnavailableError

SCRIPTS = REPOSITORY / "deploy" / "postgres"


def script(name: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    path = f"{wheel_binaries()}:{os.environ['PATH']}"
    return subprocess.run(
        ["/bin/sh", str(SCRIPTS / name), *arguments],
        env={"PATH": path, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def read(url: str, query: str) -> object:
    (row,) = rows(url, query)
    return row[0]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    return folder


def _server(archive: Path) -> PostgresServer:
    command = f"/bin/sh {SCRIPTS / 'archive.sh'} {archive} %p %f"
    try:
        return PostgresServer(
            wheel_binaries(),
            settings={"archive_mode": "on", "archive_command": command, "wal_level": "replica"},
        )
    except UnavailableError as missing:
        lacking(missing)


def _marked(url: str, number: int) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO marks VALUES (%s)", (number,))


def test_what_came_after_the_moment_is_not_there_and_all_before_it_is(archive: Path, tmp_path: Path) -> None:
    first, second = _server(archive), _server(archive)
    try:
        first.start()
        name = first.create_database()
        url = first.url(name)
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE marks (number integer)")
        _marked(url, 1)
        login = {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(first.port),
            "PGUSER": "postgres",
            "PGPASSWORD": first._password,
        }
        for _ in range(2):  # the older one goes, and the log before the newer
            made = script("base.sh", str(archive), "1", **login)
            assert made.returncode == 0, made.stderr
        (base,) = (archive / "base").iterdir()
        _marked(url, 2)
        moment = read(url, "SELECT clock_timestamp()")
        _marked(url, 3)
        written = str(read(url, "SELECT pg_walfile_name(pg_switch_wal())"))
        while (
            read(url, f"SELECT coalesce(last_archived_wal >= '{written}', false) FROM pg_stat_archiver")
            is False
        ):
            assert read(url, "SELECT failed_count FROM pg_stat_archiver") == 0
        first.kill()
        shutil.rmtree(second.folder / "data")
        done = script("recover.sh", str(base), str(archive), str(second.folder / "data"), str(moment))
        assert done.returncode == 0, done.stderr
        again = script("recover.sh", str(base), str(archive), str(second.folder / "data"), str(moment))
        assert "is not empty; nothing was changed" in again.stderr
        second._password = first._password
        second.start()
        recovered = second.url(name)
        while read(recovered, "SELECT pg_is_in_recovery()"):
            pass
        assert rows(recovered, "SELECT number FROM marks ORDER BY 1") == [(1,), (2,)]
        _marked(recovered, 4)  # it is open for writing
    finally:
        first.close()
        second.close()


def test_a_file_of_the_log_is_never_overwritten(archive: Path, tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.write_text("a")
    assert script("archive.sh", str(archive), str(one), "0001").returncode == 0
    assert script("archive.sh", str(archive), str(one), "0001").returncode == 0
    one.write_text("b")
    assert script("archive.sh", str(archive), str(one), "0001").returncode != 0
    assert [(path.name, path.read_text()) for path in archive.iterdir()] == [("0001", "a")]


def test_the_compose_files_fit_each_other() -> None:
    override = REPOSITORY / "docker-compose.pitr.yml"
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        str(override),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    more = yaml.safe_load(override.read_text())["services"]
    whole = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]
    assert more["wal-archive-owner"]["image"] == whole["timescaledb"]["image"]
    assert any("archive.sh /archive %p %f" in option for option in more["timescaledb"]["command"])
    assert "./deploy/postgres:/etc/city:ro" in more["timescaledb"]["volumes"]
