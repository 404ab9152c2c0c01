"""The product as it is deployed, on a small generated district: real broker, PostgreSQL, ingest and centre."""

import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from simulators.district import generate
from tests.servers.city_process import city_environment, start_city
from tests.servers.mosquitto import MosquittoServer
from tests.servers.processes import ServerProcess, free_port
from tests.servers.rabbitmq import RabbitCluster

Broker = MosquittoServer | RabbitCluster
TOKEN = "token-of-the-acceptance-tests"
PATIENCE_S = 180  # a machine that others use too starts a process in a minute


@dataclass(kw_only=True)
class Stand:
    """``api`` speaks with the administrator's token; ``settings`` are what every process of the stand is given."""

    folder: Path
    settings: dict[str, str]
    api: httpx.Client
    centre: ServerProcess
    others: list[ServerProcess] = field(default_factory=list)

    @property
    def url(self) -> str:
        return str(self.api.base_url).rstrip("/")

    def start_centre(self) -> None:
        """On the same port as before; back when it answers ready."""
        self.centre = start_city("centre", **self.settings)
        self.centre.wait_ready(self._ready, PATIENCE_S)

    def simulate(self, scenario: str, *, speed: float = 1) -> ServerProcess:
        """Play it so many times faster than life; what is published still carries the clock's own time."""
        started = start_city("simulate", scenario, "--speed", str(speed), **self.settings)
        self.others.append(started)
        return started

    def detectors(self) -> list[tuple[str, str]]:
        """Cell and code of the smoke detectors, as registered."""
        with (self.folder / "devices.csv").open(encoding="utf-8", newline="") as file:
            return [(row["cell"], row["code"]) for row in csv.DictReader(file) if row["kind"] == "smoke"]

    def publish_smoke(self, cell: str, device: str, value: float) -> float:
        """Publish one reading as a device does; the time (epoch seconds) at which it was handed to the client."""
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", int(self.settings["mqtt_url"].rsplit(":", 1)[1]))
        client.loop_start()
        deadline = time.monotonic() + 60
        while not client.is_connected() and time.monotonic() < deadline:
            time.sleep(0.01)
        at = time.time()
        payload = json.dumps({"ts": int(at * 1000), "value": value})
        client.publish(f"city/{cell}/smoke/{device}", payload, qos=1).wait_for_publish(60)
        client.disconnect()
        client.loop_stop()
        return at

    def open_incidents(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api.get("/api/incidents").raise_for_status().json()["items"]
        return found

    def close(self) -> None:
        for process in (*self.others, self.centre):
            process.stop()
        self.api.close()

    def _ready(self) -> bool:
        try:
            return self.api.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def running(database_url: str, broker: Broker, folder: Path) -> Iterator[Stand]:
    """Generate and import the district, start ingest and centre, and stop all of it at the end.

    With RabbitMQ ingest reads its log, and each cell is bound to a partition.
    """
    generate(folder, cells=60, communities=6, streets=2, smoke=300, cameras=20, stations=12)
    port = free_port()
    settings = {
        "database_url": database_url,
        "mqtt_url": broker.url,
        "http_port": str(port),
        "config": str(folder),
        "api_token": TOKEN,
        "data_dir": str(folder.parent / "var"),
    }
    commands = [["import", str(folder)]]
    if isinstance(broker, RabbitCluster):
        settings |= broker.settings
        commands.append(["scale", "init", "--partitions", "2", "--replicas", "1"])
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "runtime.cli", *command],
            env=city_environment(**settings),
            cwd=folder.parent,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    api = httpx.Client(
        base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60
    )
    ingest = start_city("ingest", **settings)
    stand = Stand(
        folder=folder,
        settings=settings,
        api=api,
        centre=start_city("centre", **settings),
        others=[ingest],
    )
    try:
        stand.centre.wait_ready(stand._ready, PATIENCE_S)
        yield stand
    finally:
        stand.close()
