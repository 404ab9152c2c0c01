"""How long each process takes to stop, loaded and with what it waits for gone: `python bench/stopping.py`.

Ingest and centre under a load, with screens connected, with a request that waits for a lock, with a database that is
frozen; the simulators while they play; `city up` with everything in it. SIGTERM each time; the bound is five seconds.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from rich.console import Console

sys.path.insert(
    0, str(Path(__file__).resolve().parent.parent)
)  # run as a file, with the repository's packages

from bench import district, procfs
from bench.brokers import deployed_mosquitto
from bench.frames import Fleet
from bench.load import Load, publish
from bench.product import Product
from bench.soak import looked_at
from simulators import district as demonstration
from tests.servers.city_process import city_environment
from tests.servers.postgres import PostgresServer
from tests.servers.processes import ServerProcess, StartError, free_port

FLEET = Fleet(devices=1000, cells=100)
BOUND_S = 5.0
SETTLE_S = 3.0
_TOKEN = "of-this-measurement"  # noqa: S105 - of a server that ends with it
_CITY = [sys.executable, "-m", "runtime.cli"]


def timed(process: ServerProcess, number: signal.Signals = signal.SIGTERM) -> float:
    """Seconds from the signal to the end."""
    began = time.monotonic()
    process.stop(number, 60)
    return round(time.monotonic() - began, 2)


class Stops:
    """A server and a broker; each case starts what it stops."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self._server, self._folder = server, folder
        self.found: dict[str, float] = {}
        self._broker = deployed_mosquitto()
        self._broker.start()
        self._url = server.url(server.create_database())
        self._product = Product(folder / "product", self._url, self._broker.url, api_token=_TOKEN)
        district.write(folder / "district", FLEET)
        self._product.prepare(folder / "district")

    def run(self) -> None:
        """Every case, one after the other."""
        for case in (self._ingest_loaded, self._ingest_frozen, self._centre_looked_at, self._centre_frozen):
            case()
        self._simulator()
        self._everything()

    def close(self) -> None:
        """Stop what is left."""
        self._product.stop()
        self._broker.close()

    def _ingest(self) -> ServerProcess:
        before = self._sessions()
        self._product.start_ingest()
        assert self._product.ingest is not None
        while self._sessions() == before:
            if not self._product.ingest.running():
                raise StartError(self._product.ingest.log_tail())
            time.sleep(0.1)
        return self._product.ingest

    def _sessions(self) -> int:
        """The newest session in which ingest was connected to the broker."""
        with psycopg.connect(self._url) as connection:
            row = connection.execute(
                "SELECT coalesce(max(id), 0) FROM ingest_sessions WHERE figures ->> 'broker_connected' = 'true'"
            ).fetchone()
        return int(row[0]) if row else 0

    def _ingest_loaded(self) -> None:
        ingest = self._ingest()
        load = publish(self._broker.port, Load(fleet=FLEET, total=10_000_000, rate=5000))
        time.sleep(SETTLE_S)
        self.found["ingest at 5,000 a second"] = timed(ingest)
        ingest = self._ingest()
        time.sleep(SETTLE_S)
        self.found["ingest with a backlog, second Ctrl-C"] = self._twice(ingest)
        load.kill()

    def _twice(self, process: ServerProcess) -> float:
        began = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        threading.Timer(0.7, lambda: process.running() and os.kill(process.pid, signal.SIGINT)).start()
        while process.running():
            time.sleep(0.01)
        return round(time.monotonic() - began, 2)

    def _ingest_frozen(self) -> None:
        ingest = self._ingest()
        load = publish(self._broker.port, Load(fleet=FLEET, total=10_000_000, rate=5000))
        with self._frozen():
            time.sleep(SETTLE_S)
            self.found["ingest, the database frozen"] = timed(ingest)
        load.kill()

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        members = procfs.tree(self._server.pid)
        for pid in members:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in members:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _centre(self, stop: Callable[[ServerProcess], float]) -> float:
        self._product.start_centre()
        assert self._product.centre is not None
        with looked_at(f"ws://127.0.0.1:{self._product.http_port}/ws/screen", 50):
            time.sleep(SETTLE_S)
            return stop(self._product.centre)

    def _ask(self, path: str) -> None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._product.http_port}{path}",
            headers={"Authorization": f"Bearer {_TOKEN}"},
        )
        with suppress(OSError), urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - http, just above
            answer.read()

    def _centre_looked_at(self) -> None:
        def locked(centre: ServerProcess) -> float:
            with psycopg.connect(self._url) as connection:
                connection.execute("LOCK TABLE incidents IN ACCESS EXCLUSIVE MODE")
                for path in ("/api/incidents", "/api/devices", "/api/register/devices"):
                    threading.Thread(target=self._ask, args=(path,), daemon=True).start()
                time.sleep(SETTLE_S)
                return timed(centre)

        self.found["centre, 50 screens"] = self._centre(timed)
        self.found["centre, 50 screens, requests waiting for a lock"] = self._centre(locked)

    def _centre_frozen(self) -> None:
        def frozen(centre: ServerProcess) -> float:
            with self._frozen():
                for path in ("/api/incidents", "/api/devices"):
                    threading.Thread(target=self._ask, args=(path,), daemon=True).start()
                time.sleep(SETTLE_S)
                return timed(centre)

        self.found["centre, 50 screens, the database frozen"] = self._centre(frozen)

    def _simulator(self) -> None:
        environment = city_environment(
            mqtt_url=self._broker.url,
            data_dir=str(self._folder / "simulate"),
            log_format="json",
            config=str(self._folder / "demo"),
        )
        demonstration.generate(self._folder / "demo")
        log = self._folder / "simulate.log"
        process = ServerProcess([*_CITY, "simulate", "demo"], log, env=environment, cwd=self._folder)
        time.sleep(2 * SETTLE_S)
        if not process.running():
            raise RuntimeError(process.log_tail())
        self.found["simulators"] = timed(process)

    def _everything(self) -> None:
        environment = city_environment(
            data_dir=str(self._folder / "up"), http_port=str(free_port()), mqtt_port=str(free_port())
        )
        log = self._folder / "up.log"
        process = ServerProcess([*_CITY, "up", "--demo"], log, env=environment, cwd=self._folder)
        process.wait_ready(lambda: b"http://" in log.read_bytes(), 300)
        time.sleep(2 * SETTLE_S)
        self.found["city up --demo"] = timed(process)
        left = subprocess.run(
            ["pgrep", "-f", str(self._folder / "up")], capture_output=True, text=True, check=False
        )
        self.found["processes left behind"] = len(left.stdout.split())


def main() -> int:
    """Command line: see --help; exit code 1 when one takes longer than five seconds."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    from bench.database import started_server  # noqa: PLC0415 - only the command line chooses a server

    folder = Path(tempfile.mkdtemp(prefix="city-stopping-"))
    try:
        with started_server(plain=True) as server:
            stops = Stops(server, folder)
            try:
                stops.run()
            finally:
                stops.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    Console().print_json(json.dumps(stops.found))
    return 1 if max(stops.found.values()) > BOUND_S else 0


if __name__ == "__main__":
    raise SystemExit(main())
