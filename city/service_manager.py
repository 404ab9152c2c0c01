"""Tells systemd that a process of ours is ready, alive and stopping (sd_notify(3)): one datagram each.

The address comes from NOTIFY_SOCKET, which whoever starts the process reads and hands over. Without one, nothing is
said. A datagram that cannot be sent is forgotten: systemd then restarts us by its own watchdog, which is right.
"""

import socket
import time
from contextlib import suppress


class ServiceManager:
    """``address`` is a socket's path, or ``@name`` of Linux' abstract ones; ``every_s`` 0 = no watchdog."""

    def __init__(self, address: str = "", every_s: float = 0.0) -> None:
        self._address = ("\0" + address[1:]) if address.startswith("@") else address
        self.every_s = every_s
        self._next = 0.0

    def ready(self) -> None:
        """What the process is for can be asked of it now."""
        self._say("READY=1")

    def stopping(self) -> None:
        """It was asked to stop and is about to."""
        self._say("STOPPING=1")

    def watched(self) -> None:
        """The loop still goes round; said as often as the watchdog wants, however often it is called."""
        if self.every_s and (now := time.monotonic()) >= self._next:
            self._next = now + self.every_s
            self._say("WATCHDOG=1")

    def _say(self, words: str) -> None:
        if not self._address:
            return
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door,
        ):
            door.setblocking(False)
            door.sendto(words.encode(), self._address)


SILENT = ServiceManager()


def from_words(address: str, watchdog_us: str, watchdog_pid: str, pid: int) -> ServiceManager:
    """From NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID as systemd sets them; half the interval, as it advises."""
    meant = not watchdog_pid or watchdog_pid == str(pid)
    microseconds = int(watchdog_us) if watchdog_us.isdigit() and meant else 0
    return ServiceManager(address, microseconds / 2_000_000)
