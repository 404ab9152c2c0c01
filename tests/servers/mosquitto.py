"""A mosquitto broker with the configuration a test wants."""

import getpass
import shutil
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.servers.debian_tree import unpacked
from tests.servers.processes import ServerProcess, listening, start_on_kept_port

UNLIMITED = (  # what a test or a bench needs so that the broker never drops for it
    "max_inflight_messages 0",
    "max_queued_messages 0",
    "max_queued_bytes 0",
)


def mosquitto_binary() -> Path:
    """The host's broker, else Debian's from a private tree; raises UnavailableError when there is none."""
    return _program("mosquitto", "usr/sbin/mosquitto")


def mosquitto_passwd_binary() -> Path:
    """The program that writes password files."""
    return _program("mosquitto_passwd", "usr/bin/mosquitto_passwd")


def _program(name: str, inside: str) -> Path:
    found = shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if found:
        return Path(found)
    return unpacked("mosquitto", ["mosquitto"], ["usr/sbin/mosquitto", "usr/bin/mosquitto_passwd"]) / inside


class MosquittoServer:
    """One broker on a free loopback port; keeps port and stored sessions over `start` after `stop`."""

    def __init__(
        self,
        lines: Sequence[str] = UNLIMITED,
        *,
        listener: bool = True,
        anonymous: bool = True,
        parent: Path | None = None,
    ) -> None:
        """`lines` are configuration lines; `listener=False` when they hold the listener themselves.

        With persistence lines, `{folder}` in a line becomes the broker's own folder and `{port}` its port.
        The folder is made under `parent`, else the system's temporary folder.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="city-test-mosquitto-", dir=parent))
        self._lines = list(lines)
        self._listener = listener
        self._anonymous = anonymous
        self._process: ServerProcess | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Address for CITY_MQTT_URL."""
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the broker."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def log(self) -> Path:
        """What the broker wrote to standard output."""
        return self.folder / "mosquitto.log"

    def start(self) -> None:
        """Start and wait until it listens; the port of the first start is kept."""
        start_on_kept_port(self, self._start_once)

    def _start_once(self) -> None:
        self.launch().wait_ready(lambda: listening(self.port), 15)

    def launch(self) -> ServerProcess:
        """Start on the port it had, and do not wait."""
        lines = [f"user {getpass.getuser()}"]  # as root it would change to a user that may not exist
        if self._listener:
            lines += [f"listener {self.port} 127.0.0.1"]
        if self._anonymous:
            lines += ["allow_anonymous true"]
        for line in self._lines:
            lines.append(line.replace("{folder}", str(self.folder)).replace("{port}", str(self.port)))
        conf = self.folder / "mosquitto.conf"
        conf.write_text("\n".join(lines) + "\n")
        argv = [str(mosquitto_binary()), "-c", str(conf)]
        self._process = ServerProcess(argv, self.log, cwd=self.folder)
        return self._process

    def stop(self) -> int:
        """SIGTERM (saves persistent sessions); returns the exit status."""
        return self._process.stop(signal.SIGTERM) if self._process is not None else 0

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """Stop and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
