"""`city up` with everything real: starts, keeps running, stops, is killed, and finds its data again."""

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from runtime import ports
from runtime.embedded_postgres import read_access

REPOSITORY = Path(__file__).resolve().parents[2]


class City:
    """One installation in a folder, started and stopped as a person would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "var"
        self.http_port = ports.any_free()
        self.output = folder / "output"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CITY_")}
        self._environment = kept | {
            "PYTHONPATH": str(REPOSITORY),
            "CITY_DATA_DIR": str(self.data_dir),
            "CITY_HTTP_PORT": str(self.http_port),
            "CITY_MQTT_PORT": str(ports.any_free()),
            "CITY_SIMULATE": "calm",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start and return what it printed once it says how to get in."""
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "runtime.cli", "up"],
                cwd=self.folder,
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        while "/wall" not in self.said():
            if self.process.poll() is not None:
                pytest.fail(f"city up ended with {self.process.returncode}:\n{self.said()}\n{self.logs()}")
            time.sleep(0.1)
        return self.said()

    def said(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def logs(self) -> str:
        return "\n".join(
            f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}"
            for log in self.data_dir.glob("log/*.log")
        )

    def send(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait()

    def members(self) -> dict[int, str]:
        """Every running process that belongs to this data folder, by number, with its command line."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (
                    (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                )
                told = (process / "environ").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if str(self.data_dir) in command or f"CITY_DATA_DIR={self.data_dir}\0" in told:
                found[int(process.name)] = command
        return {pid: command for pid, command in found.items() if command}

    def pid_of(self, command: str) -> int | None:
        return next(
            (pid for pid, line in self.members().items() if line.endswith(f"runtime.cli {command}")), None
        )

    def wait_until_gone(self) -> None:
        while self.members():
            time.sleep(0.05)

    def signed_in(self) -> set[str]:
        """The database accounts of what serves, by what it calls itself there."""
        access = read_access(self.data_dir / "postgres.json")
        assert access is not None
        with psycopg.connect(access.url()) as connection:
            return {
                name
                for (name,) in connection.execute(
                    "SELECT usename FROM pg_stat_activity WHERE application_name IN ('city ingest', 'city centre')"
                )
            }

    def status(self, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    installation = City(tmp_path)
    yield installation
    if installation.process is not None and installation.process.poll() is None:
        installation.process.kill()
        installation.process.wait()
    installation.wait_until_gone()


def test_a_day_in_its_life(city: City) -> None:
    first = city.start()
    assert re.search(r"one-time secret\s+\S{8,}", first)
    assert f"http://127.0.0.1:{city.http_port}/desk" in first
    assert city.status("/readyz") == 200
    assert city.status("/wall") == 200
    names = {line.rsplit(" ", 1)[-1] for line in city.members().values() if "runtime.cli" in line}
    assert {"up", "ingest", "centre", "calm"} <= names
    assert city.signed_in() == {"city_running"}, "who serves does not own the schema"

    ingest = city.pid_of("ingest")
    assert ingest is not None
    os.kill(ingest, signal.SIGKILL)
    while "ingest started again" not in city.said():
        time.sleep(0.1)
    assert "ingest ended (killed by signal 9)" in city.said()
    assert city.pid_of("ingest") not in (None, ingest)
    district = sorted((city.data_dir / "district").iterdir())
    assert district
    city.send(signal.SIGKILL)
    city.wait_until_gone()

    again = city.start()  # at once after the kill, on the same ports
    assert "one-time secret" not in again
    assert city.status("/readyz") == 200
    assert city.send(signal.SIGINT) == 0
    assert city.members() == {}
    assert sorted((city.data_dir / "district").iterdir()) == district


@pytest.mark.slow
def test_it_starts_again_after_each_way_to_end(city: City) -> None:
    city.start()
    assert city.send(signal.SIGTERM) == 0
    assert city.members() == {}
    assert "one-time secret" not in city.start()
    city.send(signal.SIGKILL)
    city.wait_until_gone()
    city.start()
    assert city.status("/readyz") == 200
    assert city.send(signal.SIGTERM) == 0
    assert city.members() == {}


def test_a_faulty_district_stops_the_start_with_its_lines_and_leaves_nothing(city: City) -> None:
    wrong = city.folder / "district"
    wrong.mkdir()
    (wrong / "district.toml").write_text('code = "1"\nname = ')
    done = subprocess.run(
        [sys.executable, "-P", "-m", "runtime.cli", "up"],
        cwd=city.folder,
        env=city._environment | {"CITY_CONFIG": str(wrong)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "district.toml" in done.stderr
    assert "Traceback" not in done.stderr
    assert city.members() == {}
