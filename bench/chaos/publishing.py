"""A load without an end: what was sent, when, and what was acknowledged can be read by others while it runs.

A process of its own (`python -m bench.chaos.publishing`). The log is a folder of arrays that both sides map into
their memory, so a checker needs no pause of the load. SIGTERM ends the sending; what is owed is waited for.
"""

import argparse
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.frames import Fleet
from bench.publisher import Publisher

OWED_S = 60.0  # how long the broker's last acknowledgements are waited for


@dataclass(frozen=True, kw_only=True)
class Log:
    """Message n is reading n // devices of device n % devices; ``ts_ms`` is the time it carried, 0 = not sent."""

    acked: NDArray[np.bool_]
    ts_ms: NDArray[np.int64]
    devices: int
    crossing_every: int

    @classmethod
    def open(
        cls, folder: Path, *, capacity: int, devices: int, crossing_every: int, mode: str = "r"
    ) -> "Log":
        """Map the arrays; ``mode`` w+ makes them (sparse, so capacity costs nothing until it is used)."""
        folder.mkdir(parents=True, exist_ok=True)
        return cls(
            acked=np.memmap(folder / "acked", bool, mode, shape=(capacity,)),
            ts_ms=np.memmap(folder / "ts_ms", np.int64, mode, shape=(capacity,)),
            devices=devices,
            crossing_every=crossing_every,
        )

    def sent(self, since: int = 0) -> int:
        """How many messages were sent, when at least ``since`` were."""
        step = 1 << 16
        while since < len(self.ts_ms):
            some = self.ts_ms[since : since + step]
            empty = np.flatnonzero(some == 0)
            if len(empty):
                return since + int(empty[0])
            since += len(some)
        return since

    def save(self, path: Path) -> int:
        """What `tests/acceptance/checker.py` reads; returns the number of messages."""
        sent = self.sent()
        numbers = np.arange(sent)
        crossed = numbers % self.crossing_every == self.crossing_every - 1
        np.savez(
            path, acked=self.acked[:sent], ts_ms=self.ts_ms[:sent], crossed=crossed, devices=self.devices
        )
        return sent


class Endless(Publisher):
    """Publishes until told to stop; its arrays are the log's."""

    def __init__(self, port: int, fleet: Fleet, log: Log, rate: float) -> None:
        """`rate` in messages a second; after an outage it catches up."""
        super().__init__(port, fleet, total=1, rate=rate, crossing_every=log.crossing_every, survive=True)
        self.total = len(log.ts_ms)
        self.acked, self.ts_ms = log.acked, log.ts_ms
        self._stopping_until = 0.0

    def stop(self) -> None:
        """Send nothing new; end when everything is acknowledged, or after OWED_S. May be called by a signal."""
        self._stopping_until = time.monotonic() + OWED_S

    def _exchange(self, wait_s: float) -> None:
        super()._exchange(wait_s)
        if (
            self._stopping_until
        ):  # here, between two chunks: in the middle of one its messages would not be counted
            self.total = self._sent
            if time.monotonic() > self._stopping_until:
                raise SystemExit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--devices", type=int, required=True)
    parser.add_argument("--crossing-every", type=int, required=True)
    parser.add_argument("--capacity", type=int, required=True)
    parser.add_argument("--log", type=Path, required=True)
    given = parser.parse_args()
    log = Log.open(
        given.log,
        capacity=given.capacity,
        devices=given.devices,
        crossing_every=given.crossing_every,
        mode="r+",
    )
    publisher = Endless(given.port, Fleet(devices=given.devices, cells=given.devices), log, given.rate)
    signal.signal(signal.SIGTERM, lambda *_: publisher.stop())
    publisher.run()


if __name__ == "__main__":
    main()
