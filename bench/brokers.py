"""Brokers as they are deployed: the compose file's mosquitto, and the NATS server that `city up` brings."""

import re
from pathlib import Path

from runtime.broker_room import limit_messages
from runtime.embedded_broker import MESSAGES_BYTES, accepts, configuration
from tests.servers.mosquitto import MosquittoServer
from tests.servers.nats import NatsServer, nats_binary
from tests.servers.processes import ServerProcess
from tests.servers.rabbitmq import RabbitCluster

CONFIGURATION = Path(__file__).resolve().parent.parent / "deploy" / "mosquitto" / "mosquitto.conf"
# Who may connect, and where files lie, is the container's; all that decides what is lost stays.
_OF_THE_CONTAINER = re.compile(
    r"(listener|include_dir|allow_anonymous|password_file|acl_file|persistence_location|log_|per_listener|plugin|cafile|certfile|keyfile|"
    r"require_certificate|use_identity_as_username|tls_)"
)


def deployed_lines(text: str) -> list[str]:
    """The lines of a mosquitto.conf that hold outside its container, with the broker's own folder."""
    lines = [line.split(" #")[0].strip() for line in text.splitlines()]
    kept = [line for line in lines if line and line[0] != "#" and not _OF_THE_CONTAINER.match(line)]
    return [*kept, "persistence_location {folder}/"]


def deployed_mosquitto(**instead: str) -> MosquittoServer:
    """With deploy/mosquitto/mosquitto.conf; ``instead`` replaces settings by name."""
    lines = [
        line
        for line in deployed_lines(CONFIGURATION.read_text(encoding="utf-8"))
        if line.split()[0] not in instead
    ]
    return MosquittoServer([*lines, *(f"{name} {value}" for name, value in instead.items())])


class EmbeddedNats(NatsServer):
    """As `city up` starts it; ``instead`` replaces settings by name (``max_file_store``), ``messages_bytes`` is what
    messages may take of that."""

    def __init__(self, messages_bytes: int = MESSAGES_BYTES, **instead: str) -> None:
        super().__init__()
        self._instead = instead
        self._messages_bytes = messages_bytes

    def _start_once(self) -> None:
        self.launch().wait_ready(lambda: accepts("127.0.0.1", self.port), 15)
        limit_messages(self.folder / "store", self.pid, self._messages_bytes)

    def launch(self) -> ServerProcess:
        """Start on the port it had, and do not wait."""
        text = configuration(self.folder / "store", self.port, 1)
        for name, value in self._instead.items():
            text, found = re.subn(rf"(?m)^(\s*{name}:) *\S+", rf"\1 {value}", text)
            if found != 1:
                raise ValueError(f"the embedded broker's configuration has no {name}")
        conf = self.folder / "nats.conf"
        conf.write_text(text, encoding="utf-8")
        argv = [str(nats_binary()), "-c", str(conf)]
        self._process = ServerProcess(argv, self.folder / "nats.log", cwd=self.folder)
        return self._process


class LogBroker(RabbitCluster):
    """One node of RabbitMQ, whose log ingest reads; the streams are declared by `city scale init`."""

    @property
    def pid(self) -> int:
        """The node's."""
        return self.nodes[0].pid

    @property
    def folder(self) -> Path:
        """Where the node keeps its streams."""
        return self.nodes[0].folder
