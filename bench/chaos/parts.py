"""What the stand is made of: its shape, and processes that are started again when they end."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.chaos.screens import Watching
from tests.servers.processes import ServerProcess

AGAIN_S = 0.2  # a process that ended is started after so long; systemd's default is half of it
CENTRES = ("centre-a", "centre-b")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What is run: `rate` in messages a second, each device in a cell of its own."""

    rate: float = 2000
    devices: int = 2000
    crossing_every: int = 1999
    capacity: int = 4_000_000  # the most messages that may be sent
    broker: str = "mosquitto"
    plain: bool = False  # PostgreSQL of the wheel instead of TimescaleDB
    simple: bool = False  # neither disks nor networks of its own: for a short run without privileges


@dataclass(kw_only=True)
class Part:
    """A process that shall run. ``held``: somebody keeps it down or paused on purpose."""

    name: str
    launch: Callable[[], ServerProcess | Watching]
    env: dict[str, str] = field(default_factory=dict)  # added to what it is started with
    process: ServerProcess | Watching | None = None
    held: bool = False
    expected: bool = False  # its next end is our doing
    starts: int = 0
    ended_by_itself: int = 0
    next_start: float = 0.0

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self.process is not None, f"{self.name} never started"
        return self.process.pid

    def tend(self) -> None:
        """Start it when it does not run."""
        if self.held or (self.process is not None and self.process.running()):
            return
        now = time.monotonic()
        if self.process is not None and self.next_start == 0.0:
            self.ended_by_itself += not self.expected
            self.expected = False
            self.next_start = now + AGAIN_S
        if now >= self.next_start:
            self.process = self.launch()
            self.starts += 1
            self.next_start = 0.0
