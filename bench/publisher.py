"""A publisher that costs little: whole chunks of ready frames on a few raw sockets, PUBACKs counted by array.

Runs as a process of its own (`python -m bench.publisher`). Messages are numbered from 0; number n is reading
`n // devices` (its seq) of device `n % devices`. The log holds what was acknowledged, for checkers.
"""

import argparse
import json
import select
import socket
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.frames import DISCONNECT, Fleet, Template, connect

_IDS = 65_535
_TICK_S = 0.005


class Connection:
    """One MQTT connection: what it owes the broker, and what the broker owes it."""

    def __init__(self, port: int, client_id: str, window: int) -> None:
        """`window`: the most messages unacknowledged at a time."""
        self._port, self._client_id, self.window = port, client_id, window
        self.pending = np.full(_IDS + 1, -1, np.int64)  # message number by packet id
        self.in_flight = 0
        self._frames: dict[int, bytes] = {}
        self.keep = False  # whether frames are kept for sending again after a reconnect
        self._next_id = 1
        self._out = bytearray()
        self._tail = b""
        self.socket: socket.socket | None = None

    def open(self, seconds: float = 10) -> None:
        """Connect, waiting for a broker that is just starting."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.socket = self._try_open()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def _try_open(self) -> socket.socket:
        link = socket.create_connection(("127.0.0.1", self._port), 5)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        link.sendall(connect(self._client_id, clean=True))
        answer = link.recv(4)
        if answer != b"\x20\x02\x00\x00":
            link.close()
            raise ConnectionError(f"CONNACK {answer!r}")
        link.setblocking(False)
        return link

    def room(self) -> int:
        """How many messages may be put now."""
        return 0 if len(self._out) > 1 << 20 else self.window - self.in_flight

    def take_ids(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Packet ids for these messages, remembered until acknowledged."""
        ids = (self._next_id - 1 + np.arange(len(numbers))) % _IDS + 1
        self._next_id = int(ids[-1]) % _IDS + 1
        self.pending[ids] = numbers
        self.in_flight += len(ids)
        return ids

    def put(self, ids: NDArray[np.int64], frames: NDArray[np.uint8]) -> None:
        """Queue frames for sending."""
        if self.keep:
            for packet_id, frame in zip(ids.tolist(), frames, strict=True):
                self._frames[packet_id] = frame.tobytes()
        self._out += frames.tobytes()

    def flush(self) -> None:
        """Send what the socket takes."""
        if self._out and self.socket is not None:
            try:
                sent = self.socket.send(memoryview(self._out)[: 1 << 18])
            except BlockingIOError:
                return
            del self._out[:sent]

    @property
    def wants_to_write(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._out)

    def acknowledged(self) -> NDArray[np.int64]:
        """Numbers of the messages acknowledged since the last call; raises OSError when the link is gone."""
        assert self.socket is not None
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return np.empty(0, np.int64)
        if not data:
            raise ConnectionError("closed by the broker")
        data = self._tail + data
        whole = len(data) // 4 * 4
        self._tail = data[whole:]
        packets = np.frombuffer(data, np.uint8, whole).reshape(-1, 4)
        if not (packets[:, 0] == 0x40).all():
            raise ConnectionError(f"not a PUBACK: {data[:16]!r}")
        ids = packets[:, 2].astype(np.int64) * 256 + packets[:, 3]
        numbers: NDArray[np.int64] = self.pending[ids]
        self.pending[ids] = -1
        self.in_flight -= len(ids)
        if self.keep:
            for packet_id in ids.tolist():
                self._frames.pop(packet_id, None)
        return numbers[numbers >= 0]

    def reopen(self) -> None:
        """Connect again and send everything unacknowledged once more, in order."""
        if self.socket is not None:
            self.socket.close()
        self._tail = b""
        self.open(60)
        self._out = bytearray()
        for frame in self._frames.values():  # a dict keeps the order of sending
            self._out += bytes([frame[0] | 0x08]) + frame[1:]

    def close(self) -> None:
        """Say goodbye."""
        if self.socket is not None:
            self.socket.setblocking(True)
            self.socket.sendall(DISCONNECT)
            self.socket.close()


class Publisher:
    """Sends `total` messages at `rate` a second (0 = as fast as the broker takes them)."""

    def __init__(
        self,
        port: int,
        fleet: Fleet,
        *,
        total: int,
        rate: float,
        pack: int = 1,
        connections: int = 2,
        window: int = 4000,
        crossing_every: int = 0,
        survive: bool = False,
    ) -> None:
        """`crossing_every` n: each n-th reading is above its limit, the device's next one below again.

        `survive`: reconnect and resend when the broker goes away.
        """
        self.fleet, self.total, self.rate = fleet, total, rate
        self.template = Template(fleet, pack)
        self._crossing_every = crossing_every
        self._survive = survive
        self._links = [Connection(port, f"bench-{i}", window) for i in range(connections)]
        for link in self._links:
            link.keep = survive
        self.acked = np.zeros(total, bool)
        self.ts_ms = np.zeros(total, np.int64)
        self._sent = 0
        self._acked = 0
        self._last_ts = 0
        self._earliest = 0

    def run(self) -> dict[str, float]:
        """Send all, wait for the acknowledgements; returns counts and seconds."""
        for link in self._links:
            link.open()
        began = time.monotonic()
        while self._acked < self.total:
            allowed = self.total if not self.rate else int((time.monotonic() - began) * self.rate) + 1
            progress = self._send_some(min(allowed, self.total))
            self._exchange(0.0 if progress else _TICK_S)
        seconds = time.monotonic() - began
        for link in self._links:
            link.close()
        return {"sent": self._sent, "acknowledged": self._acked, "seconds": seconds}

    def _send_some(self, allowed: int) -> bool:
        """Put the next chunk on the connection its devices belong to, so that each device's stay in order."""
        devices, links = self.fleet.devices, len(self._links)
        at = self._sent % devices
        owner = at * links // devices
        link = self._links[owner]
        last_of_owner = -(-(owner + 1) * devices // links)
        count = min(allowed - self._sent, link.room(), last_of_owner - at, 1000)
        if count <= 0:
            return False
        numbers = self._sent + np.arange(count)
        if (
            at == 0
        ):  # a new round of the fleet: later than the last one, so no device has two readings at one time
            self._earliest = self._last_ts + self.template.pack
        self._last_ts = ts = max(time.time_ns() // 1_000_000, self._earliest)
        self.ts_ms[numbers] = ts
        ids = link.take_ids(numbers)
        frames = self.template.fill(numbers % devices, ids, ts, self.values(numbers), numbers // devices)
        link.put(ids, frames)
        self._sent += count
        return True

    def values(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Readings in tenths: calm noise below 50, and 90.0 at a crossing."""
        calm = 100 + numbers * 7919 % 400
        return np.where(self.crossing(numbers), 900, calm) if self._crossing_every else calm

    def crossing(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which messages are above the limit; a device's readings before and after are always calm."""
        above: NDArray[np.bool_] = numbers % self._crossing_every == self._crossing_every - 1
        return above

    def _exchange(self, wait_s: float) -> None:
        readers = [link.socket for link in self._links if link.socket]
        writers = [link.socket for link in self._links if link.socket and link.wants_to_write]
        readable, writable, _ = select.select(readers, writers, [], wait_s)
        for link in self._links:
            try:
                if link.socket in writable:
                    link.flush()
                if link.socket in readable:
                    numbers = link.acknowledged()
                    self._acked += len(numbers) - int(self.acked[numbers].sum())
                    self.acked[numbers] = True
            except OSError:
                if not self._survive:
                    raise
                link.reopen()

    def save(self, path: Path) -> None:
        """The log for checkers: which messages were acknowledged, when observed, which crossed."""
        numbers = np.arange(self.total)
        crossed = self.crossing(numbers) if self._crossing_every else np.zeros(self.total, bool)
        np.savez(path, acked=self.acked, ts_ms=self.ts_ms, crossed=crossed, devices=self.fleet.devices)


def main() -> None:
    """Command line: see --help; prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--total", type=int, required=True)
    parser.add_argument("--rate", type=float, default=0, help="messages a second; 0 = as fast as possible")
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--water", type=int, default=0)
    parser.add_argument("--pack", type=int, default=1)
    parser.add_argument("--connections", type=int, default=2)
    parser.add_argument("--window", type=int, default=4000)
    parser.add_argument("--crossing-every", type=int, default=0)
    parser.add_argument("--survive", action="store_true")
    parser.add_argument("--log", type=Path)
    given = parser.parse_args()
    fleet = Fleet(devices=given.devices, cells=given.cells, water=given.water)
    publisher = Publisher(
        given.port,
        fleet,
        total=given.total,
        rate=given.rate,
        pack=given.pack,
        connections=given.connections,
        window=given.window,
        crossing_every=given.crossing_every,
        survive=given.survive,
    )
    result = publisher.run()
    if given.log:
        publisher.save(given.log)
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
