"""A program of ours running as our direct child: it dies with us, and its words go to its log file."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.log_files import LogFile

LAUNCHER = Path(__file__).with_name("launch.py")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Which user a child runs as: ours (both None), another one, or ours under another number.

    ``namespace``: the user id it sees itself as, inside its own user namespace. ``user``: (uid, gid) it becomes.
    """

    namespace: int | None = None
    user: tuple[int, int] | None = None

    def options(self) -> list[str]:
        """The launcher's options that make it so."""
        if self.namespace is not None:
            return ["--namespace", str(self.namespace)]
        if self.user is not None:
            return ["--user", f"{self.user[0]}:{self.user[1]}"]
        return []


OURSELVES = Identity()


def launcher(identity: Identity, parent_death: signal.Signals) -> list[str]:
    """The beginning of a command line that runs the rest of it tied to this process."""
    options = ["--parent", str(os.getpid()), "--signal", parent_death.name, *identity.options()]
    return [sys.executable, "-I", "-S", str(LAUNCHER), *options, "--"]


class Process:
    """A started program: ``stop_signal`` asks it to end, ``parent_death`` reaches it if we are killed."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: LogFile,
        environment: Mapping[str, str],
        stop_signal: signal.Signals,
        parent_death: signal.Signals,
        identity: Identity = OURSELVES,
        folder: Path | None = None,
    ) -> None:
        if threading.current_thread() is not threading.main_thread():
            # the kernel sends the parent-death signal when the *thread* that forked ends
            raise RuntimeError("children must be started from the main thread")
        self._stop_signal = stop_signal
        self._log = log
        output = log.open()
        try:
            self._popen = subprocess.Popen(
                [*launcher(identity, parent_death), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,  # Ctrl-C goes to us alone, and we stop things in order
            )
        finally:
            os.close(output)
        self.started = time.monotonic()

    @property
    def pid(self) -> int:
        """The program's process id: the launcher becomes it, so it is the same."""
        return self._popen.pid

    @property
    def log(self) -> LogFile:
        """Where its words go."""
        return self._log

    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number when one ended it."""
        return self._popen.poll()

    def ask_to_stop(self) -> None:
        """Send the stop signal; nothing when it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._popen.send_signal(self._stop_signal)

    def end_by(self, deadline: float, last_resort: signal.Signals = signal.SIGKILL) -> bool:
        """Wait for the end until ``deadline`` (monotonic seconds), then force it; True if it just went."""
        try:
            self._popen.wait(max(0.0, deadline - time.monotonic()))
            return True
        except subprocess.TimeoutExpired:
            pass
        self._popen.send_signal(last_resort)
        try:
            self._popen.wait(1)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        return False


def plain_environment() -> dict[str, str]:
    """What a server of others' making gets to know: no setting of ours, hence no secret."""
    kept = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C", "TZ": "UTC"}
