"""The product as several machines run it, each part a process that is started again when it ends.

Broker and database keep their data on disks of their own; ingest and the two centres each live in a network of their
own where the machine allows it; every connection between two parts is a wire that can be disturbed.
"""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import paho.mqtt.client as mqtt
import psycopg
from paho.mqtt.enums import CallbackAPIVersion

from bench import district
from bench.brokers import CONFIGURATION, deployed_lines
from bench.chaos.ground import Disk, ImpossibleError, Namespace, sweep
from bench.chaos.parts import CENTRES, Part, Shape
from bench.chaos.publishing import Log
from bench.chaos.screens import Screen
from bench.chaos.wires import Wires
from bench.database import DURABLE
from bench.frames import Fleet
from bench.load import ROOT
from bench.procfs import tree
from bench.product import PROBE
from tests.servers.city_process import city_environment
from tests.servers.mosquitto import MosquittoServer
from tests.servers.nats import NatsServer
from tests.servers.postgres import PostgresServer, wheel_binaries
from tests.servers.processes import ServerProcess, StartError, free_port
from tests.servers.timescale import SETTINGS, timescale_binaries

SCREENS = 3
PATIENCE_S = 120.0
Broker = MosquittoServer | NatsServer


class Stand:
    """Everything that runs; `close` ends each process by its own id and removes what was made."""

    def __init__(self, shape: Shape, folder: Path) -> None:
        """`folder` takes logs, the district and working data."""
        sweep()
        self.shape, self.folder = shape, folder
        self.token = secrets.token_urlsafe(16)
        self.parts: dict[str, Part] = {}
        self.disks: dict[str, Disk] = {}
        self.networks: dict[str, Namespace] = {}
        self.lacking: dict[str, str] = {}
        self.screens: list[Screen] = []
        self.publisher: subprocess.Popen[bytes] | None = None
        self._closing = ExitStack()
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    # ── building ──────────────────────────────────────────────────────────────────────────────────────

    def _build(self) -> None:
        if not self.shape.simple:
            self._make_ground()
        self.wires = Wires()
        self._closing.callback(self.wires.close)
        self.server = self._database_server()
        self._closing.callback(self.server.close)
        self.server.start()
        self.broker = self._broker_server()
        self._closing.callback(self.broker.close)
        self.broker.start()
        self.database = self.server.url(self.server.create_database())
        self.parts["database"] = self._running("database", self.server.launch, self.server)
        self.parts["broker"] = self._running("broker", self.broker.launch, self.broker)
        fleet = Fleet(devices=self.shape.devices, cells=self.shape.devices)
        district.write(self.folder / "district", fleet, apart=True)
        for command in (("migrate",), ("import", str(self.folder / "district"))):
            self.city(*command)
        self.ports: dict[str, tuple[str, int]] = {}
        self._workers()

    def _make_ground(self) -> None:
        for name, size in (("database", 6000), ("broker", 512)):
            try:
                self.disks[name] = Disk(name, size)
                self._closing.callback(self.disks[name].close)
            except ImpossibleError as error:
                self.lacking["disk"] = str(error)
        for number, name in enumerate(("ingest", *CENTRES)):
            try:
                self.networks[name] = Namespace(number)
                self._closing.callback(self.networks[name].close)
            except ImpossibleError as error:
                self.lacking["network"] = str(error)

    def _database_server(self) -> PostgresServer:
        parent = self.disks["database"].folder if "database" in self.disks else None
        settings = {**DURABLE, "max_wal_size": "512MB", "shared_buffers": "128MB"}
        if self.shape.plain:
            return PostgresServer(wheel_binaries(), settings=settings, parent=parent)
        return PostgresServer(
            timescale_binaries(), settings={**SETTINGS, **settings}, extension="timescaledb", parent=parent
        )

    def _broker_server(self) -> Broker:
        parent = self.disks["broker"].folder if "broker" in self.disks else None
        if self.shape.broker == "nats":
            return NatsServer(parent=parent)
        return MosquittoServer(deployed_lines(CONFIGURATION.read_text(encoding="utf-8")), parent=parent)

    def _running(
        self, name: str, launch: Callable[[], ServerProcess], server: PostgresServer | Broker
    ) -> Part:
        assert server._process is not None
        return Part(name=name, launch=launch, process=server._process, starts=1)

    def _workers(self) -> None:
        broker, base = ("127.0.0.1", self.broker.port), self.database
        server = f"127.0.0.1:{self.server.port}"
        for name in ("ingest", *CENTRES):
            network = self.networks.get(name)
            host = network.host if network else "127.0.0.1"
            at = self.wires.lay(f"{name}-database", [("127.0.0.1", self.server.port)], host)
            settings = {"database_url": base.replace(server, f"{host}:{at}")}
            if name == "ingest":
                at = self.wires.lay("ingest-broker", [broker], host)
                settings["mqtt_url"] = f"mqtt://{host}:{at}"
            else:
                self.ports[name] = (network.address, 8000) if network else ("127.0.0.1", free_port())
                settings |= {"http_host": self.ports[name][0], "http_port": str(self.ports[name][1])}
            self.parts[name] = self._city_part(name, settings)
        self.devices_port = self.wires.lay("devices-broker", [broker])
        self.screens_port = self.wires.lay("screens-centres", list(self.ports.values()))

    def _city_part(self, name: str, settings: Mapping[str, str]) -> Part:
        env = city_environment(**self._settings(name), **settings)
        network = self.networks.get(name)
        command = [sys.executable, "-m", "runtime.cli", name.partition("-")[0]]

        def launch() -> ServerProcess:
            return ServerProcess(
                command,
                self.folder / f"{name}.log",
                user_change=network.prefix if network else (),
                env={**env, **part.env},
                cwd=self.folder,
            )

        part = Part(name=name, launch=launch)
        return part

    def _settings(self, name: str) -> dict[str, str]:
        return {
            "data_dir": str(self.folder / "var"),
            "log_format": "json",
            "simulate": "",
            "api_token": self.token,
            "mqtt_client_id": "city-ingest",
            "config": str(self.folder / "district"),
        }

    # ── running ───────────────────────────────────────────────────────────────────────────────────────

    def city(self, *arguments: str, most: int = 0) -> str:
        """Run a `city` command to its end; raises StartError when its exit code is above `most`."""
        env = city_environment(**self._settings("cli"), database_url=self.database, mqtt_url=self.broker.url)
        done = subprocess.run(
            [sys.executable, "-m", "runtime.cli", *arguments],
            env=env, capture_output=True, text=True, check=False, cwd=self.folder,
        )  # fmt: skip
        if not 0 <= done.returncode <= most:
            raise StartError(f"city {arguments[0]}: {done.stderr[-1500:] or done.stdout[-1500:]}")
        return done.stdout

    def start(self) -> Log:
        """Workers and screens, and the load; the log is being written from now on."""
        self.tend()
        self._wait_listening()
        for number in range(SCREENS):
            self.screens.append(self._screen(number))
        return self._publish()

    def _wait_listening(self) -> None:
        """Until a reading of a device that nobody knows is stored: before that nobody has subscribed."""
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", self.broker.port)
        client.loop_start()
        until = time.monotonic() + PATIENCE_S
        try:
            while not self._probed():
                if time.monotonic() > until:
                    raise StartError(f"ingest stores nothing: {self.tail('ingest')}")
                client.publish(PROBE, f'{{"ts":{time.time_ns() // 1_000_000},"value":1.0}}', qos=1)
                self.stay(0.3)
        finally:
            client.disconnect()
            client.loop_stop()

    def _probed(self) -> bool:
        with psycopg.connect(self.database) as connection:
            query = "SELECT 1 FROM observations o JOIN devices d ON d.id = o.device_id WHERE d.code = 'probe' LIMIT 1"
            return connection.execute(query).fetchone() is not None

    def tail(self, name: str) -> str:
        """The end of a part's log."""
        path = self.folder / f"{name}.log"
        return path.read_text()[-1500:] if path.exists() else "it never started"

    def _screen(self, number: int) -> Screen:
        screen = Screen(f"ws://127.0.0.1:{self.screens_port}/ws/screen", self.token, number)
        self.parts[screen.name] = Part(name=screen.name, launch=screen.launch)
        self.parts[screen.name].tend()
        return screen

    def _publish(self) -> Log:
        shape = self.shape
        log = Log.open(
            self.folder / "log",
            capacity=shape.capacity,
            devices=shape.devices,
            crossing_every=shape.crossing_every,
            mode="w+",
        )
        self.publisher = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", "bench.chaos.publishing"),
                *("--port", str(self.devices_port)),
                *("--rate", str(shape.rate), "--devices", str(shape.devices)),
                *("--crossing-every", str(shape.crossing_every), "--capacity", str(shape.capacity)),
                *("--log", str(self.folder / "log")),
            ],
            cwd=ROOT,
            start_new_session=True,
        )
        return log

    def tend(self) -> None:
        """Start again what ended: what systemd or compose does. Raises StartError when the load ended."""
        for part in self.parts.values():
            part.tend()
        if self.publisher is not None and self.publisher.poll() not in (None, 0):
            raise StartError(f"the publisher ended with {self.publisher.returncode}")

    def stay(self, seconds: float) -> None:
        """Let so much time pass, tending."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.tend()
            time.sleep(0.05)

    def pids(self, name: str) -> list[int]:
        """Of a part and its descendants; empty when it has just ended."""
        with suppress(OSError):
            return tree(self.parts[name].pid)
        return []

    def stop_load(self) -> None:
        """Send nothing new and wait for what is owed."""
        assert self.publisher is not None
        self.publisher.terminate()
        until = time.monotonic() + 90
        while self.publisher.poll() is None and time.monotonic() < until:
            self.stay(0.1)
        if self.publisher.poll() != 0:
            raise StartError(f"the publisher is owed acknowledgements ({self.publisher.poll()})")

    def close(self) -> None:
        """Children first, then what they stood on."""
        if self.publisher is not None and self.publisher.poll() is None:
            self.publisher.kill()
            self.publisher.wait()
        for name, part in reversed(list(self.parts.items())):
            if part.process is None or name in ("database", "broker"):
                continue
            with suppress(OSError):
                for pid in self.pids(name):
                    os.kill(pid, 18)  # SIGCONT: what is paused cannot end in order
            part.process.kill()
        for name in ("database", "broker"):
            for pid in self.pids(name) if name in self.parts else ():
                with suppress(OSError):
                    os.kill(pid, 18)
        self._closing.close()
