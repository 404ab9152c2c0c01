"""The product under load, started as its users do: `city migrate`, `import`, `ingest` and `centre`."""

import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import paho.mqtt.client as mqtt
import psycopg
from paho.mqtt.enums import CallbackAPIVersion

from bench.load import Load
from tests.servers.city_process import city_environment
from tests.servers.processes import ServerProcess, StartError, free_port

_RUN = [sys.executable, "-m", "runtime.cli"]  # `city`, also in a checkout that is not installed
PROBE = "city/n00000/smoke/probe"


class Product:
    """Ingest (and the centre) on a given database and broker; each can be killed and started again."""

    def __init__(self, folder: Path, database_url: str, mqtt_url: str, **settings: str) -> None:
        """`folder` takes logs and working data; `settings` are further CITY_ variables without the prefix."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.database_url = folder, database_url
        self.http_port = free_port()
        self._mqtt_port = int(mqtt_url.rpartition(":")[2])
        self._env = city_environment(
            database_url=database_url,
            mqtt_url=mqtt_url,
            http_port=str(self.http_port),
            data_dir=str(folder / "var"),
            log_format="json",
            simulate="",
            **settings,
        )
        self.ingest: ServerProcess | None = None
        self.centre: ServerProcess | None = None

    def prepare(self, district: Path) -> None:
        """Schema, built-in defaults, and the district's folder."""
        self.command("migrate")
        self.command("import", str(district))

    def command(self, *arguments: str) -> str:
        """Run a `city` command to its end and return what it printed; raises StartError when it failed."""
        done = subprocess.run(
            [*_RUN, *arguments],
            env=self._env,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
        )
        if done.returncode != 0:
            raise StartError(f"city {arguments[0]}: {done.stderr[-2000:] or done.stdout[-2000:]}")
        return done.stdout

    @property
    def token(self) -> str:
        """The administrator's bearer token of this run."""
        return self._env["CITY_API_TOKEN"]

    def start_ingest(self) -> None:
        """Start ingest without waiting."""
        self.ingest = self._start("ingest")

    def start_centre(self) -> None:
        """Start the centre and wait until it answers."""
        self.centre = self._start("centre")
        self.centre.wait_ready(self._centre_answers, 60)

    def _start(self, name: str) -> ServerProcess:
        log = self.folder / f"{name}.log"
        return ServerProcess([*_RUN, name], log, death_signal="TERM", env=self._env, cwd=self.folder)

    def _centre_answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/healthz", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def wait_listening(self, seconds: float = 60) -> None:
        """Wait until a probe reading of an unknown device is stored: ingest is connected and writes."""
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", self._mqtt_port)
        client.loop_start()
        deadline = time.monotonic() + seconds
        try:
            while self.stored_of("probe") == 0:
                if self.ingest is None or not self.ingest.running():
                    raise StartError(f"ingest ended: {self.ingest.log_tail() if self.ingest else ''}")
                if time.monotonic() > deadline:
                    raise StartError(f"ingest stores nothing: {self.ingest.log_tail()}")
                client.publish(PROBE, f'{{"ts":{time.time_ns() // 1_000_000},"value":1.0}}', qos=1)
                time.sleep(0.2)
        finally:
            client.disconnect()
            client.loop_stop()

    def stored_of(self, code: str) -> int:
        """How many observations of one device are stored."""
        return self._number(
            "SELECT count(*) FROM observations WHERE device_id = (SELECT id FROM devices WHERE code = %s)",
            code,
        )

    def stored(self) -> int:
        """How many observations of the load's devices are stored."""
        return self._number(
            "SELECT (SELECT count(*) FROM observations) - (SELECT count(*) FROM observations"
            " WHERE device_id = (SELECT id FROM devices WHERE code = %s))",
            "probe",
        )

    def alarms(self) -> int:
        """How many alarms were raised by the load's devices."""
        return len(self.raised())

    def raised(self) -> list[tuple[int, float, bool]]:
        """(id, epoch seconds of the reading that raised it, whether it is class A) of those alarms."""
        with psycopg.connect(self.database_url) as connection:
            rows = connection.execute(
                "SELECT a.id, extract(epoch FROM a.raised_at)::float8, coalesce(a.class, c.class) = 'A'"
                " FROM alarms a JOIN devices d ON d.id = a.device_id JOIN categories c ON c.code = a.category"
                " WHERE d.code <> 'probe' ORDER BY a.id"
            ).fetchall()
        return [(int(key), float(at), bool(first)) for key, at, first in rows]

    def _number(self, query: str, *parameters: str) -> int:
        with psycopg.connect(self.database_url) as connection:
            row = connection.execute(query.encode(), parameters).fetchone()
        assert row is not None
        return int(row[0])

    def wait_stored(self, load: Load, seconds: float) -> float:
        """Wait until a load is stored; returns the monotonic time then.

        Asks for its last readings only, since counting millions of rows would be a load of its own, and counts
        once afterwards. Raises StartError when they are not there within `seconds`.
        """
        deadline = time.monotonic() + seconds
        for code, readings in load.last_of_connections().items():
            while self.stored_of(code) < readings and time.monotonic() < deadline:
                time.sleep(0.02)
        at = time.monotonic()
        while (stored := self.stored()) < load.readings:
            if time.monotonic() > deadline:
                tail = self.ingest.log_tail() if self.ingest else ""
                raise StartError(f"{stored} of {load.readings} stored after {seconds:.0f} s; {tail}")
            time.sleep(0.5)
            at = time.monotonic()
        return at

    def stop(self) -> None:
        """SIGTERM to both."""
        for process in (self.ingest, self.centre):
            if process is not None:
                process.stop()
