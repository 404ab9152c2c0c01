"""An upgrade while devices send: the release before goes on under the new schema, and nothing is lost on the way."""

import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt import publish
from paho.mqtt.enums import CallbackAPIVersion

from city.storage import migrate
from tests.conftest import REPOSITORY
from tests.integration.running_centre import running as serving
from tests.integration.small_town import rows
from tests.servers.city_process import city_environment
from tests.servers.mosquitto import MosquittoServer
from tests.servers.processes import ServerProcess, free_port

RELEASE_BEFORE = "2d97db1"  # at a release: the tag of the one before
ROOMS = ("city", "rules", "ingest", "command_centre", "simulators", "runtime")
PATIENCE_S = 60


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """The code of the release before."""
    tree, packed = tmp_path / "before", tmp_path / "before.tar"
    command = ["git", "-C", str(REPOSITORY), "archive", f"--output={packed}", RELEASE_BEFORE, *ROOMS]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no code of the release before here ({done.stderr.strip()[:100] or 'git failed'})")
    with tarfile.open(packed) as archive:
        archive.extractall(tree, filter="data")
    return tree


class Sender:
    """Sends readings until told to stop; counts what the broker has acknowledged."""

    def __init__(self, port: int) -> None:
        self.sent = 0
        self._stop = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.002):
            body = f'{{"ts": {time.time_ns() // 1_000_000}, "seq": {self.sent}, "value": 1.0}}'
            topic = f"city/C1/smoke/s{self.sent % 50}"
            self._client.publish(topic, body, qos=1).wait_for_publish(PATIENCE_S)
            self.sent += 1

    def stop(self) -> int:
        self._stop.set()
        self._thread.join()
        self._client.disconnect()
        self._client.loop_stop()
        return self.sent


class Release:
    """One release's `city` on a database and a broker."""

    def __init__(self, tree: Path, folder: Path, url: str, broker: MosquittoServer) -> None:
        self.folder, self.port = folder, free_port()
        folder.mkdir(exist_ok=True)
        self.env = city_environment(
            database_url=url,
            mqtt_url=broker.url,
            data_dir=str(folder / "var"),
            log_format="json",
            http_port=str(self.port),
        ) | {"PYTHONPATH": str(tree)}

    def is_ready(self) -> bool:
        """Whether its centre says that a reading would be an incident now."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5):
                return True
        except OSError:
            return False

    def run(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "runtime.cli", *arguments]
        subprocess.run(command, env=self.env, cwd=self.folder, check=True, capture_output=True)

    def start(self, *arguments: str) -> ServerProcess:
        command = [sys.executable, "-m", "runtime.cli", *arguments]
        log = self.folder / f"{arguments[0]}.log"
        return ServerProcess(command, log, death_signal="TERM", env=self.env, cwd=self.folder)


def until(what: str, found: object, url: str, query: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while (seen := rows(url, query)) != [(found,)]:
        assert time.monotonic() < deadline, f"{what}: {seen} instead of {found}"
        time.sleep(0.05)


STORED = "SELECT count(*) FROM observations"
LISTENS = (
    "SELECT count(*) > 0 FROM ingest_sessions WHERE listening AND alive_at > now() - interval '9 seconds'"
)


@pytest.fixture
def running(before: Path, tmp_path: Path, postgres_url: str, mosquitto: MosquittoServer) -> Release:
    release = Release(before, tmp_path, postgres_url, mosquitto)
    release.run("migrate")
    return release


def test_the_release_before_goes_on_while_and_after_the_schema_is_brought_up(
    running: Release, postgres_url: str, mosquitto: MosquittoServer
) -> None:
    assert migrate.missing(postgres_url), "nothing to bring up: name the release before"
    ingest = running.start("ingest")
    until("ingest listens", True, postgres_url, LISTENS)
    sender = Sender(mosquitto.port)
    try:
        until("readings come", True, postgres_url, STORED.replace("count(*)", "count(*) > 100"))
        migrate.apply(postgres_url)
        assert migrate.missing(postgres_url) == []
        (at,) = rows(postgres_url, STORED)[0]
        until("and go on", True, postgres_url, STORED.replace("count(*)", f"count(*) > {at} + 100"))
        ingest.stop()  # it may end and start again under the new schema as well
        ingest = running.start("ingest")
        until("go on again", True, postgres_url, STORED.replace("count(*)", f"count(*) > {at} + 500"))
    finally:
        sent = sender.stop()
    until("everything is stored", sent, postgres_url, STORED)
    assert rows(postgres_url, "SELECT count(DISTINCT (device_id, observed_at)) FROM observations") == [
        (sent,)
    ]
    assert rows(postgres_url, "SELECT count(*) FROM quarantine") == [(0,)]
    old = running.start("centre")
    with serving(postgres_url):  # as while one after the other is exchanged; ours needs no process of its own
        old.wait_ready(running.is_ready, PATIENCE_S)
        publish.single("city/C1/smoke/s1", '{"value": 88}', qos=1, port=mosquitto.port)
        until("one incident", 1, postgres_url, "SELECT count(*) FROM incidents")
    assert [process.stop() for process in (ingest, old)] == [0, 0]
