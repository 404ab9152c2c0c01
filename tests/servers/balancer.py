"""HAProxy and pgbouncer from Debian, run with the configurations of the deployment of several machines."""

import os
import re
import shutil
import tempfile
from pathlib import Path

from tests.servers.debian_tree import unpacked
from tests.servers.deployed import ROOT
from tests.servers.processes import ServerProcess, free_port, listening

_SCALE = ROOT / "deploy/scale"
_ACCOUNTS = "/tmp/users.txt"  # noqa: S108  # in its container, where /tmp is its own
_AS_USER = ("unshare", "--user", "--map-user=1000", "--map-group=1000")  # it refuses to be root


def balancer_programs() -> Path:
    """The folder with ``haproxy`` and ``pgbouncer`` (10 MB once); raises UnavailableError."""
    programs = [f"usr/sbin/{name}" for name in ("haproxy", "pgbouncer")]
    return unpacked("balancer", ["haproxy", "pgbouncer"], programs) / "usr/sbin"


class Haproxy:
    """The part for people of ``deploy/scale/haproxy.cfg``, with these centres where Docker's names would be."""

    def __init__(self, centres: list[int]) -> None:
        """``centres``: their ports on 127.0.0.1."""
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="city-test-haproxy-"))
        said = (_SCALE / "haproxy.cfg").read_text()
        said = re.sub(r"^listen mqtt.*?(?=^# Any screen)", "", said, flags=re.M | re.S)
        said = re.sub(r"^resolvers.*?(?=^#)", "", said, flags=re.M | re.S)
        said = said.replace("bind :8000", f"bind 127.0.0.1:{self.port}").replace(
            "maxconn 200000", "maxconn 500"
        )
        said = re.sub(r"bind 127.0.0.1:8404", f"bind 127.0.0.1:{free_port()}", said)
        (template,) = re.findall(
            r"^ *server-template centre 4 centre:8000 (.*) resolvers docker .*$", said, re.M
        )
        servers = "\n".join(
            f"    server centre{n} 127.0.0.1:{port} {template}" for n, port in enumerate(centres)
        )
        said = re.sub(r"^ *server-template .*$", servers, said, flags=re.M)
        (self.folder / "haproxy.cfg").write_text(said)
        command = [str(balancer_programs() / "haproxy"), "-db", "-f", str(self.folder / "haproxy.cfg")]
        self.process = ServerProcess(command, self.folder / "haproxy.log")
        self.process.wait_ready(lambda: listening(self.port), 60)

    def close(self) -> None:
        """End it and remove its folder."""
        self.process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Pgbouncer:
    """``deploy/scale/pgbouncer.ini`` before a server on 127.0.0.1; ``pool_mode`` to see what another one breaks."""

    def __init__(self, server: int, user: str, password: str, *, pool_mode: str = "session") -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="city-test-pgbouncer-"))
        self.folder.chmod(0o755)
        (self.folder / "users.txt").write_text(f'"{user}" "{password}"\n')
        said = (_SCALE / "pgbouncer.ini").read_text()
        for ours, here in (
            ("city = host=timescaledb port=5432 dbname=city", f"* = host=127.0.0.1 port={server}"),
            ("listen_addr = 0.0.0.0", "listen_addr = 127.0.0.1"),
            ("listen_port = 6432", f"listen_port = {self.port}"),
            (f"auth_file = {_ACCOUNTS}", f"auth_file = {self.folder / 'users.txt'}"),
            ("pool_mode = session", f"pool_mode = {pool_mode}"),
        ):
            assert ours in said, ours
            said = said.replace(ours, here)
        (self.folder / "city.ini").write_text(said)
        command = [str(balancer_programs() / "pgbouncer"), str(self.folder / "city.ini")]
        self.process = ServerProcess(
            command, self.folder / "pgbouncer.log", user_change=_AS_USER if os.getuid() == 0 else ()
        )
        self.process.wait_ready(lambda: listening(self.port), 60)

    def close(self) -> None:
        """End it and remove its folder."""
        self.process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
