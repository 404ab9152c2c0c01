"""What processes cost, from /proc."""

import os
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def tree(pid: int) -> list[int]:
    """The process and all its living descendants."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    found, waiting = [], [pid]
    while waiting:
        current = waiting.pop()
        found.append(current)
        waiting += parents.get(current, [])
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of the process, its living descendants, and those it has reaped."""
    total = 0
    for member in tree(pid):
        try:
            total += sum(int(field) for field in _stat(member)[11:15])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total / _TICK


def on_processor(pid: int) -> float:
    """Seconds that the process itself ran, to the nanosecond, where ``cpu_seconds`` counts ticks."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def rss_mb(pid: int) -> float:
    """Resident memory of the process and its descendants, in MB (1,000,000 bytes)."""
    total = 0
    for member in tree(pid):
        for line in Path(f"/proc/{member}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total * 1024 / 1e6


def open_files(pid: int) -> int:
    """Open file descriptors of the process itself."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid: int) -> int:
    """Threads of the process itself."""
    return len(os.listdir(f"/proc/{pid}/task"))
