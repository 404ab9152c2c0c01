"""Which TCP ports are free, and who has those that are not."""

import errno
import os
import socket
import time
from pathlib import Path

from city.errors import CityError


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """True when a server could listen there now."""
    return _obstacle(port, host) is None


def _obstacle(port: int, host: str) -> OSError | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # servers set it: TIME_WAIT is free
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
    return None


def any_free(host: str = "127.0.0.1") -> int:
    """A port nobody has now; take it soon."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def require_free(
    variable: str, port: int, remedy: str, host: str = "127.0.0.1", patience_s: float = 0
) -> None:
    """Raise CityError naming ``variable``, the port, its holder and ``remedy`` unless the port is free.

    ``patience_s``: how long to wait for a predecessor that is still leaving.
    """
    deadline = time.monotonic() + patience_s
    while (obstacle := _obstacle(port, host)) is not None:
        if obstacle.errno != errno.EADDRINUSE:
            raise CityError(f"{variable} = {port}: cannot listen on {host} ({obstacle.strerror}); {remedy}")
        if time.monotonic() >= deadline:
            owner = holder(port)
            by = f" by {owner}" if owner else ""
            raise CityError(f"{variable} = {port}: the port on {host} is already taken{by}; {remedy}")
        time.sleep(0.1)


def holder(port: int) -> str | None:
    """The program listening on ``port`` as ``name (pid N)``; None when it cannot be told (another user's)."""
    inodes = _listening_inodes(port)
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        try:
            for entry in (process / "fd").iterdir():
                if os.readlink(entry) in inodes:
                    return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:
            continue  # another user's process, or one that has just ended
    return None


def _listening_inodes(port: int) -> set[str]:
    listening, wanted = "0A", f":{port:04X}"
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[1].endswith(wanted) and fields[3] == listening:
                found.add(f"socket:[{fields[9]}]")
    return found
