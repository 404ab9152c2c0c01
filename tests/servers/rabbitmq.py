"""RabbitMQ 4 (Debian sid's) with native MQTT and streams: one node, or several that are a cluster; on loopback, or each
on a machine of its own that can be cut off (``Machines``).

Erlang finds its parts by absolute paths, so a node runs with the private tree as its root: in a mount namespace of its
own, where /proc, /dev and the node's folder are mounted, and of its own processes: both vanish with its first process.
Needs root or user namespaces. 76 MB are fetched once and kept.
"""

import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from tests.servers.debian_tree import unpacked
from tests.servers.machines import Machines
from tests.servers.processes import ServerProcess, UnavailableError, listening

USER, PASSWORD = "guest", "guest"  # RabbitMQ's own
_PACKAGES = ["rabbitmq-server", "base-files", "dash", "coreutils", "sed", "grep", "mawk", "hostname"]
_PATIENCE_S = 120
# In the namespace: what Erlang needs of the machine, the node's folder, then the tree as root.
_ENTER = """
set -e
mount -t proc proc "$0/proc"
mount --rbind /dev "$0/dev"
mount --bind "$1" "$0/srv"
exec chroot "$0" /usr/bin/env -i PATH=/usr/sbin:/usr/bin HOME=/srv LANG=C.UTF-8 ERL_EPMD_ADDRESS="$2" \
    ERL_EPMD_PORT="$3" /usr/bin/sh -c "$4"
"""


def rabbitmq_tree() -> Path:
    """The private tree; raises UnavailableError with the reason where it cannot be had or entered."""
    for tool in ("unshare", "chroot", "mount"):
        if shutil.which(tool) is None:
            raise UnavailableError(f"RabbitMQ: needs {tool}; apt-get install util-linux coreutils")
    probe = subprocess.run([*_namespace(), "true"], check=False, capture_output=True)
    if probe.returncode:
        raise UnavailableError(
            "RabbitMQ: mount namespaces are refused here; run as root or allow user namespaces"
        )
    return unpacked("rabbitmq", _PACKAGES, [], suite="sid")


def _namespace() -> list[str]:
    own = [] if os.getuid() == 0 else ["--map-root-user"]
    return ["unshare", *own, "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--"]


class RabbitNode:
    """One node on ports that it keeps; it finds its cluster's others through the port mapper ``epmd``."""

    def __init__(self, number: int, epmd: int, host: str = "127.0.0.1", entrance: Sequence[str] = ()) -> None:
        """``entrance`` stands before its commands: the way to its machine, at ``host``.

        Set ``guarded`` to False before the launch for a node without deploy/scale/guard.erl.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="city-test-rabbit-"))
        self.host = host
        self.entrance = entrance
        self.guarded = True
        self.name = f"rabbit{number}@{host}"
        self.mqtt, self.stream, self.admin, self.amqp, self.dist = (_kept_port() for _ in range(5))
        self._epmd = epmd
        self._process: ServerProcess | None = None

    @property
    def url(self) -> str:
        """Address for CITY_MQTT_URL."""
        return f"mqtt://{USER}:{PASSWORD}@{self.host}:{self.mqtt}"

    @property
    def stream_url(self) -> str:
        """One of the addresses for CITY_STREAM_URL."""
        return f"rabbitmq-stream://{USER}:{PASSWORD}@{self.host}:{self.stream}"

    @property
    def admin_url(self) -> str:
        """Address for CITY_STREAM_ADMIN_URL."""
        return f"http://{USER}:{PASSWORD}@{self.host}:{self.admin}"

    @property
    def log(self) -> Path:
        """What the node wrote."""
        return self.folder / "node.log"

    @property
    def pid(self) -> int:
        """Of the process whose death is the node's."""
        assert self._process is not None, "not started"
        return self._process.pid

    def launch(self, members: list[str], lines: Sequence[str] = ()) -> None:
        """Start as one of ``members`` and do not wait; ``lines`` go into its configuration."""
        tree = rabbitmq_tree()
        program = next((tree / "usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
        peers = [f"cluster_formation.classic_config.nodes.{at} = {one}" for at, one in enumerate(members, 1)]
        conf = [_CONF.format(node=self), *([*_CLUSTER, *peers] if len(members) > 1 else ())]
        (self.folder / "rabbitmq.conf").write_text("\n".join([*conf, *lines]) + "\n")
        for name in ("advanced.config", "guard.erl"):
            shutil.copy(_DEPLOYED / name, self.folder)
        env = (_DEPLOYED / "rabbitmq-env.conf").read_text()
        (self.folder / "rabbitmq-env.conf").write_text(
            env.replace("/etc/city/", "/srv/") if self.guarded else ""
        )
        (self.folder / "enabled_plugins").write_text("[rabbitmq_mqtt,rabbitmq_stream,rabbitmq_management].\n")
        cookie = self.folder / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text("city-tests")
            cookie.chmod(0o400)
        (self.folder / "tmp").mkdir(exist_ok=True)
        octets = self.host.replace(".", ",")
        start = _START.format(node=self, octets=octets, program=f"/{program.relative_to(tree)}")
        self._process = _entered(self, tree, self.folder, self._epmd, start, self.log)

    def wait(self) -> None:
        """Until it takes MQTT and streams and answers about itself."""
        assert self._process is not None, "not started"
        self._process.wait_ready(self._ready, _PATIENCE_S)

    def kill(self) -> None:
        """SIGKILL to all of the node, as a crash; back when it is gone, which is a moment after its first process."""
        if self._process is not None:
            self._process.kill()
            while any(map(listening, (self.mqtt, self.stream, self.admin))):
                time.sleep(0.01)

    def close(self) -> None:
        """End and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _ready(self) -> bool:
        if not all(listening(port, self.host) for port in (self.mqtt, self.stream, self.admin)):
            return False
        try:
            return httpx.get(f"{self.admin_url}/api/overview", timeout=5).status_code == 200
        except httpx.TransportError:
            return False


class RabbitCluster:
    """So many nodes; one node is a cluster as well. ``machines``: each on one of its own, else all on loopback."""

    def __init__(
        self, nodes: int = 1, lines: Sequence[str] = (), *, machines: Machines | None = None
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="city-test-epmd-"))
        self._lines = lines
        self._epmd_port = _kept_port()
        self._epmds: list[ServerProcess] = []
        places = [
            (machines.address(at), machines.enter(at)) if machines else ("127.0.0.1", ())
            for at in range(nodes)
        ]
        self.nodes = [
            RabbitNode(number, self._epmd_port, host, entrance)
            for number, (host, entrance) in enumerate(places, 1)
        ]

    @property
    def stream_url(self) -> str:
        """Every node, for CITY_STREAM_URL."""
        return ",".join(node.stream_url for node in self.nodes)

    @property
    def url(self) -> str:
        """The first node's address for CITY_MQTT_URL; it takes the nameless as its own guest."""
        return self.nodes[0].url

    @property
    def port(self) -> int:
        """The first node's MQTT port."""
        return self.nodes[0].mqtt

    @property
    def settings(self) -> dict[str, str]:
        """What ingest is given to read the log, and city scale to declare it."""
        return {"stream_url": self.stream_url, "stream_admin_url": self.nodes[0].admin_url}

    def start(self) -> None:
        """Start all of them at once and wait until all are there."""
        for node in {node.host: node for node in self.nodes}.values():
            self._epmds.append(self._mapper(node))
        for node in self.nodes:
            self.launch(node)
        for node in self.nodes:
            node.wait()

    def kill(self) -> None:
        """SIGKILL to all of them; what they stored stays for the next start, on the same ports."""
        for node in self.nodes:
            node.kill()
        for mapper in self._epmds:
            mapper.kill()
        self._epmds.clear()

    stop = kill

    def launch(self, node: RabbitNode) -> None:
        """Start one of them, again or for the first time, and do not wait."""
        node.launch([one.name for one in self.nodes], self._lines)

    def close(self) -> None:
        """End all and remove their folders."""
        self.kill()
        for node in self.nodes:
            node.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _mapper(self, node: RabbitNode) -> ServerProcess:
        """Where the nodes of one address ask for each other's ports; it outlives them."""
        command = f"exec /usr/bin/epmd -address {node.host} -port {self._epmd_port}"
        log = self._folder / f"epmd-{node.host}.log"
        mapper = _entered(node, rabbitmq_tree(), self._folder, self._epmd_port, command, log)
        mapper.wait_ready(lambda: listening(self._epmd_port, node.host), 30)
        return mapper


_given: set[int] = set()


def _kept_port() -> int:
    """A free port below those that the kernel gives to clients: a node that was killed finds its own free again."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            if port not in _given and probe.connect_ex(("127.0.0.1", port)):
                _given.add(port)
                return port


def _entered(node: RabbitNode, tree: Path, folder: Path, epmd: int, command: str, log: Path) -> ServerProcess:
    for place in ("srv", "proc", "dev"):
        (tree / place).mkdir(exist_ok=True)
    inside = ["sh", "-c", _ENTER, str(tree), str(folder), node.host, str(epmd), command]
    return ServerProcess([*node.entrance, *_namespace(), *inside], log)


_CONF = """
listeners.tcp.1 = {node.host}:{node.amqp}
mqtt.listeners.tcp.1 = {node.host}:{node.mqtt}
loopback_users = none
mqtt.exchange = city.in
stream.listeners.tcp.1 = {node.host}:{node.stream}
stream.advertised_host = {node.host}
stream.advertised_port = {node.stream}
management.tcp.ip = {node.host}
management.tcp.port = {node.admin}
log.console = true
log.file = false
disk_free_limit.absolute = 50MB
"""
_DEPLOYED = Path(__file__).resolve().parents[2] / "deploy" / "scale"
_SHARED = ("net_ticktime", "raft.")  # when a node is believed gone, as it is deployed
_CLUSTER = [
    "cluster_formation.peer_discovery_backend = classic_config",
    *(line for line in (_DEPLOYED / "rabbitmq.conf").read_text().splitlines() if line.startswith(_SHARED)),
]
_START = """
export RABBITMQ_NODENAME={node.name} RABBITMQ_USE_LONGNAME=true RABBITMQ_DIST_PORT={node.dist}
export RABBITMQ_MNESIA_BASE=/srv/data RABBITMQ_LOG_BASE=/srv/log RABBITMQ_LOGS=- TMPDIR=/srv/tmp
export RABBITMQ_CONFIG_FILE=/srv/rabbitmq RABBITMQ_ADVANCED_CONFIG_FILE=/srv/advanced.config
export RABBITMQ_ENABLED_PLUGINS_FILE=/srv/enabled_plugins RABBITMQ_CONF_ENV_FILE=/srv/rabbitmq-env.conf
export RABBITMQ_GENERATED_CONFIG_DIR=/srv/config RABBITMQ_PID_FILE=/srv/pid
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {{{octets}}} +S 1:1 +sbwt none'
exec {program}
"""
