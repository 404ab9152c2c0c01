"""Child processes that cannot outlive the test run, and the ports they listen on."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol


class UnavailableError(Exception):
    """This machine cannot run a server: one line saying what is missing and the remedy."""


class StartError(Exception):
    """A server ended or stayed deaf while starting; carries the end of its log."""


def free_port() -> int:
    """A loopback TCP port nobody listened on a moment ago; callers retry when somebody took it since."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something accepts connections on this port now."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


class Listener(Protocol):
    """A server with a port of its own; 0 until its first start."""

    port: int


def start_on_kept_port(server: Listener, start_once: Callable[[], None]) -> None:
    """Start on the port of the first start; a first start tries others when somebody took the free one since."""
    for attempt in range(4):
        fresh = server.port == 0
        if fresh:
            server.port = free_port()
        try:
            start_once()
            return
        except StartError:
            if not fresh or attempt == 3:
                raise
            server.port = 0


class ServerProcess:
    """One running server: a direct child with a log file."""

    def __init__(
        self,
        argv: Sequence[str],
        log: Path,
        *,
        user_change: Sequence[str] = (),
        death_signal: str = "KILL",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Start `argv`; `user_change` is a command prefix that gives up privileges first.

        The kernel forgets a parent-death signal at a change of user, so setpriv sets it after that.
        """
        self.log = log
        guarded = [*user_change, "setpriv", "--pdeathsig", death_signal, "--", *argv]
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                guarded,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                cwd=cwd,
                start_new_session=True,  # a Ctrl-C is for the test run, which stops us in order
            )

    @property
    def pid(self) -> int:
        """Process id; the prefixes exec, so it is the server's own."""
        return self._child.pid

    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._child.poll() is None

    def wait_ready(self, ready: Callable[[], bool], seconds: float = 60) -> None:
        """Poll until `ready()`; raises StartError with the end of the log when it ends or time is up."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self.running():
                raise StartError(f"{self.log.name}: ended with {self._child.returncode}: {self.log_tail()}")
            if ready():
                return
            time.sleep(0.03)
        self.kill()
        raise StartError(f"{self.log.name}: not ready after {seconds:.0f} s: {self.log_tail()}")

    def log_tail(self, size: int = 2000) -> str:
        """The last `size` bytes of the log."""
        return self.log.read_bytes()[-size:].decode(errors="replace")

    def stop(self, sig: signal.Signals = signal.SIGTERM, seconds: float = 60) -> int:
        """Ask it to end, wait, kill it when it does not; returns its exit status."""
        if self.running():
            os.kill(self.pid, sig)
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """SIGKILL and reap; returns its exit status."""
        if self.running():
            os.kill(self.pid, signal.SIGKILL)
        return self._child.wait()
