"""A process of ours with a wrong wall clock."""

import re
from pathlib import Path

from bench.chaos.ground import ImpossibleError
from tests.servers.debian_tree import unpacked
from tests.servers.processes import UnavailableError


def skewed(seconds: float) -> dict[str, str]:
    """The environment in which a process reads a wall clock wrong by so much; its monotonic clock stays right.

    Raises ImpossibleError where libfaketime for this machine's own C library cannot be fetched.
    """
    try:
        tree = unpacked("faketime", ["libfaketime"], [], suite=_own_suite())
    except UnavailableError as error:
        raise ImpossibleError(str(error)) from error
    library = next(tree.rglob("libfaketime.so.1"))
    return {"LD_PRELOAD": str(library), "FAKETIME": f"{seconds:+.0f}s", "DONT_FAKE_MONOTONIC": "1"}


def _own_suite() -> str:
    release = Path("/etc/os-release").read_text() if Path("/etc/os-release").exists() else ""
    found = re.search(r"^VERSION_CODENAME=(\w+)", release, re.MULTILINE)
    if found is None or "debian" not in release.lower():
        raise ImpossibleError("libfaketime is fetched for Debian only")
    return found[1]
