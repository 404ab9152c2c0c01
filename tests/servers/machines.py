"""Machines that share a network and nothing else: network namespaces behind a bridge, each with a cable to pull.

Needs root. A machine answers this host and the others at an address of its own; what was started in it lives on while
its cable is out, as on a machine behind a switch that died.
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from tests.servers.processes import UnavailableError


class Machines:
    """So many of them, on a network of their own; ``close`` removes everything."""

    def __init__(self, count: int) -> None:
        """Raises UnavailableError where namespaces or a bridge cannot be had."""
        if os.getuid() != 0 or shutil.which("ip") is None or shutil.which("nsenter") is None:
            raise UnavailableError(
                "machines of their own: need root, ip and nsenter; apt-get install iproute2"
            )
        mark = secrets.token_hex(3)
        self._bridge = f"city{mark}"
        self._net = f"10.{90 + secrets.randbelow(100)}.{secrets.randbelow(250)}"
        self._names = [f"city-{mark}-{at}" for at in range(1, count + 1)]
        self._cables = [f"cy{mark}{at}" for at in range(1, count + 1)]
        try:
            self._lay()
        except subprocess.CalledProcessError as error:
            self.close()
            why = " ".join(error.stderr.decode(errors="replace").split())
            raise UnavailableError(f"machines of their own: {' '.join(error.cmd)}: {why}") from error

    def address(self, at: int) -> str:
        """Of one machine, counted from 0."""
        return f"{self._net}.{at + 1}"

    def enter(self, at: int) -> Sequence[str]:
        """What stands before a command that shall run there."""
        return ("nsenter", f"--net=/run/netns/{self._names[at]}", "--")

    def pull(self, at: int) -> None:
        """Its cable: nobody reaches it, nobody is told."""
        _ip("link", "set", self._cables[at], "down")

    def plug(self, at: int) -> None:
        """Its cable in again."""
        _ip("link", "set", self._cables[at], "up")

    def part(self, at: int) -> None:
        """From the other machines alone: this host reaches all of them as before."""
        for here, there in self._pairs(at):
            _ip("-n", self._names[here], "route", "add", "blackhole", f"{self.address(there)}/32")

    def join(self, at: int) -> None:
        """Undo ``part``."""
        for here, there in self._pairs(at):
            _ip("-n", self._names[here], "route", "del", "blackhole", f"{self.address(there)}/32")

    def close(self) -> None:
        """Remove all of it; what still runs there has no network from now on."""
        for name in self._names:
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "del", name)
        with suppress(subprocess.CalledProcessError):
            _ip("link", "del", self._bridge)

    def _pairs(self, at: int) -> list[tuple[int, int]]:
        others = [other for other in range(len(self._names)) if other != at]
        return [(at, other) for other in others] + [(other, at) for other in others]

    def _lay(self) -> None:
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("addr", "add", f"{self._net}.254/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")
        for at, (name, cable) in enumerate(zip(self._names, self._cables, strict=True)):
            _ip("netns", "add", name)
            _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", cable, "master", self._bridge, "up")
            _ip("-n", name, "addr", "add", f"{self.address(at)}/24", "dev", "eth0")
            for own in ("lo", "eth0"):
                _ip("-n", name, "link", "set", own, "up")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
