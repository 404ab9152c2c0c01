"""One log a process, bounded: written by the process itself, shortened and read by the supervisor.

The process holds the file open for appending, so nothing of ours stands between it and its last words,
and they survive a kill of the supervisor. When a file grows past its bound its content moves to ``.1`` and
it is emptied in place; lines written in that instant may be lost, which a log can bear.
"""

import json
import os
import shutil
from pathlib import Path

BOUND_BYTES = 8 * 1024 * 1024
TAIL_BYTES = 64 * 1024  # the most that is looked at in one go


class LogFile:
    """A process's log: where to write it, and what is new in it since the last look."""

    def __init__(self, path: Path, bound_bytes: int = BOUND_BYTES) -> None:
        self.path = path
        self._bound = bound_bytes
        self._seen = path.stat().st_size if path.exists() else 0

    def open(self) -> int:
        """A descriptor for a child to append to; the caller closes its own copy."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def new_lines(self) -> list[str]:
        """Whole lines written since the last call, at most the last 64 KiB of them; shortens a long file."""
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            return []
        start = max(min(self._seen, size), size - TAIL_BYTES)
        with self.path.open("rb") as file:
            file.seek(start)
            chunk = file.read(size - start)
        whole = chunk[: chunk.rfind(b"\n") + 1]
        self._seen = start + len(whole)
        if size > self._bound:
            self._shorten()
        return whole.decode("utf-8", errors="replace").splitlines()

    def last_lines(self, count: int = 3) -> list[str]:
        """The last lines of the file, for telling why a process ended."""
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, self.path.stat().st_size - TAIL_BYTES))
                lines = file.read().decode("utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []
        return [line for line in lines if line.strip()][-count:]

    def _shorten(self) -> None:
        shutil.copyfile(self.path, self.path.with_name(self.path.name + ".1"))
        os.truncate(self.path, 0)
        self._seen = 0


def trouble(line: str) -> str | None:
    """What a person should see of a log line, or None when it reports nothing wrong.

    Knows our own JSON lines, NATS (``[ERR]``, ``[FTL]``), PostgreSQL (``FATAL:``, ``PANIC:``; its ``ERROR:``
    lines are answered to the client, who reports them).
    """
    if line.startswith("{"):
        try:
            event = json.loads(line)
        except ValueError:
            return None
        if event.get("level") not in ("error", "critical"):
            return None
        reason = str(event.get("exception", "")).strip().rsplit("\n", 1)[-1]
        return f"{event.get('event', '')} {reason}".strip()
    marks = ("[ERR] ", "[FTL] ", "FATAL:  ", "PANIC:  ", "launch: ", "nats-server: ")
    for mark in marks:
        if mark in line and "the database system is" not in line:
            return line[line.index(mark) + len(mark) :].strip()
    return None
