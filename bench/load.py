"""Starts the processes of a measurement: publisher and comparison subscribers, each on its own."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.frames import Fleet

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is published."""

    fleet: Fleet
    total: int  # messages
    rate: float = 0  # a second; 0 = as fast as the broker takes them
    pack: int = 1  # readings in a message
    crossing_every: int = 0
    window: int = 4000  # unacknowledged on each connection
    connections: int = 2
    survive: bool = False  # reconnect and send again

    @property
    def readings(self) -> int:
        """How many observations it becomes."""
        return self.total * self.pack

    def last_of_connections(self) -> dict[str, int]:
        """Of each connection the device that speaks last, with its number of readings.

        A connection's messages are stored in order, so once these are there, the rest is.
        """
        devices = self.fleet.devices
        last: dict[int, int] = {}
        for number in range(self.total - 1, max(-1, self.total - 1 - devices), -1):
            last.setdefault(number % devices * self.connections // devices, number)
        return {
            self.fleet.code(number % devices): (number // devices + 1) * self.pack for number in last.values()
        }


class Running:
    """A publisher or subscriber at work; prints one JSON object when done."""

    def __init__(self, module: str, *arguments: str) -> None:
        """Starts `python -m module`."""
        command = [sys.executable, "-m", module, *arguments]
        self._child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def wait_line(self) -> str:
        """The next line it prints."""
        assert self._child.stdout is not None
        return self._child.stdout.readline().strip()

    def result(self, seconds: float) -> dict[str, float]:
        """Wait for its end; raises RuntimeError when it failed, TimeoutExpired when it is late."""
        try:
            output, _ = self._child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        if self._child.returncode != 0:
            raise RuntimeError(f"{self._child.args!r} ended with {self._child.returncode}")
        answer: dict[str, float] = json.loads(output.splitlines()[-1])
        return answer

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._child.pid

    def running(self) -> bool:
        """Whether it still works."""
        return self._child.poll() is None

    def kill(self) -> None:
        """End it at once."""
        self._child.kill()
        self._child.wait()


def publish(port: int, load: Load, log: Path | None = None) -> Running:
    """Start publishing; `log` takes what the checker needs."""
    fleet = load.fleet
    arguments = [
        *("--port", str(port), "--total", str(load.total), "--rate", str(load.rate)),
        *("--devices", str(fleet.devices), "--cells", str(fleet.cells), "--water", str(fleet.water)),
        *("--pack", str(load.pack), "--window", str(load.window), "--connections", str(load.connections)),
        *("--crossing-every", str(load.crossing_every)),
    ]
    if load.survive:
        arguments.append("--survive")
    if log is not None:
        arguments += ["--log", str(log)]
    return Running("bench.publisher", *arguments)
