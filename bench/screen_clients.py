"""Screens without a browser, by how they behave: they follow, come and go, read slowly, or not at all."""

import asyncio
import random
import socket
import time
from contextlib import suppress

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

AGAIN_S = 0.3


class Event(msgspec.Struct):
    """What is needed of an event."""

    change: int


class Frame(msgspec.Struct):
    """What is needed of a frame; everything else is skipped, since two hundred clients share a core here."""

    t: str
    seq: int
    epoch: str = ""
    start: int = msgspec.field(default=-1, name="from")
    change: int = -1
    ev: list[Event] = []


class Follower:
    """``shown`` is when each change was first told; ``again`` those the change id gave away as known.

    ``doubled`` are those that one connection told twice, which no number may have to mend. ``began_at`` is the change
    of the first snapshot.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._epoch, self._seq, self._change = "", -1, -1
        self._leaving = asyncio.Event()
        self._decoder = msgspec.json.Decoder(Frame)
        self.standing = asyncio.Event()
        self.shown: dict[int, float] = {}
        self.began_at = -1
        self.again = self.doubled = self.snapshots = self.connections = 0

    def leave(self) -> None:
        """Disconnect for good."""
        self._leaving.set()

    async def run(self) -> None:
        """Connect again and again until told to leave."""
        leaving = asyncio.create_task(self._leaving.wait())
        while not self._leaving.is_set():
            sitting = asyncio.create_task(self._sit())
            await asyncio.wait({sitting, leaving}, return_when=asyncio.FIRST_COMPLETED)
            sitting.cancel()
            with suppress(asyncio.CancelledError, OSError, ConnectionClosed, InvalidHandshake, TimeoutError):
                await sitting
            if not self._leaving.is_set():
                await asyncio.sleep(AGAIN_S * random.uniform(0.5, 1.0))
        leaving.cancel()

    async def _sit(self) -> None:
        query = f"?epoch={self._epoch}&since={self._seq}&change={self._change}" if self._epoch else ""
        async with connect(self._address + query, compression=None, max_size=None) as peer:
            self.connections += 1
            await self._look(peer, set())

    async def _look(self, peer: ClientConnection, told: set[int]) -> None:
        while True:
            await self._take(peer, told)

    async def _take(self, peer: ClientConnection, told: set[int]) -> None:
        frame = self._decoder.decode(await peer.recv())
        if frame.t == "hello":
            return
        now = time.time()
        if frame.t == "snap":
            self._epoch, self.snapshots = frame.epoch, self.snapshots + 1
            if self.began_at < 0:
                self.began_at = frame.change
        elif frame.start != self._seq:
            raise AssertionError(f"stood at {self._seq}, was sent a delta from {frame.start}")
        self._seq, self._change = frame.seq, max(self._change, frame.change)
        for event in frame.ev:
            if event.change in told:
                self.doubled += 1
            elif event.change in self.shown:
                self.again += 1
            told.add(event.change)
            self.shown.setdefault(event.change, now)
        await peer.send(f'{{"t":"ack","seq":{frame.seq}}}')
        self.standing.set()


class Flapping(Follower):
    """Takes some frames, goes, comes back; half of them go without a word."""

    def __init__(self, address: str, number: int) -> None:
        super().__init__(address)
        self._number = number

    async def _look(self, peer: ClientConnection, told: set[int]) -> None:
        async with asyncio.timeout(random.uniform(0.3, 2.5)):
            while True:
                await self._take(peer, told)

    async def _sit(self) -> None:
        try:
            await super()._sit()
        except TimeoutError:
            await asyncio.sleep(random.uniform(0.0, 1.0))


class Slow(Follower):
    """Reads one frame in two seconds: ten wait unacknowledged, the rest is merged."""

    async def _look(self, peer: ClientConnection, told: set[int]) -> None:
        while True:
            await self._take(peer, told)
            await asyncio.sleep(2.0)


class DeadScreen:
    """Connects, asks for everything, and never reads."""

    def __init__(self, port: int) -> None:
        self._peer = socket.create_connection(("127.0.0.1", port))
        self._peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._peer.sendall(
            b"GET /ws/screen HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )

    def close(self) -> None:
        """Let the socket go."""
        self._peer.close()
