"""TCP relays in user space: whatever two processes say to each other can be cut, frozen, delayed or throttled.

Needs no privileges, so it works where network namespaces do not. One process of its own (`python -m
bench.chaos.wires`) carries all wires; it is told what to do by lines of JSON on its standard input and answers each
with a line. A relay acknowledges nothing by itself above TCP: what it swallowed was never acknowledged end to end.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from bench.load import ROOT

MODES = {
    "open": "forwards at once",
    "cut": "resets what is connected and whatever connects",
    "freeze": "keeps connections and forwards nothing, as a cable that was pulled",
    "half-open": "forwards what clients say, and nothing of what servers answer",
    "delay": "forwards everything `seconds` later",
    "trickle": "forwards `rate` bytes a second in each direction",
}
_BLOCK = 1 << 16


@dataclass(kw_only=True)
class Wire:
    """``targets`` are tried in turn, one for each connection, beginning behind the last one."""

    name: str
    targets: list[tuple[str, int]]
    mode: str = "open"
    seconds: float = 0.0
    rate: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    connections: set[asyncio.StreamWriter] = field(default_factory=set)
    turn: int = 0

    def set(self, mode: str, seconds: float, rate: int) -> None:
        """Behave so from now on."""
        self.mode, self.seconds, self.rate = mode, seconds, rate
        self.changed.set()
        self.changed = asyncio.Event()
        if mode == "cut":
            for writer in list(self.connections):
                _reset(writer)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        self.connections.add(writer)
        other: asyncio.StreamWriter | None = None
        try:
            if self.mode == "cut":
                _reset(writer)
                return
            while self.mode == "freeze":
                await self.changed.wait()
            answers, other = await self._reach()
            self.connections.add(other)
            ways = [
                asyncio.create_task(self._pump(reader, other, answer=False)),
                asyncio.create_task(self._pump(answers, writer, answer=True)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
        except OSError:
            _reset(writer)
        finally:
            for end in (writer, other):
                if end is not None:
                    self.connections.discard(end)
                    end.close()

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for attempt in range(len(self.targets)):
            self.turn += 1
            try:
                return await asyncio.open_connection(*self.targets[self.turn % len(self.targets)])
            except OSError:
                if attempt == len(self.targets) - 1:
                    raise
        raise OSError("no target")

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answer: bool
    ) -> None:
        """Bytes of one direction; a delay keeps their order and their distances."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(
            256
        )  # then the sender waits, as a full pipe does
        writing = asyncio.create_task(self._write(queue, writer, answer=answer))
        clock = asyncio.get_running_loop().time
        try:
            with suppress(OSError):
                while data := await reader.read(_BLOCK):
                    await queue.put((clock(), data))
                    if writing.done():
                        break
            await queue.put((clock(), b""))
            with suppress(OSError):
                await writing
        finally:
            writing.cancel()

    async def _write(
        self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, *, answer: bool
    ) -> None:
        clock = asyncio.get_running_loop().time
        while (item := await queue.get())[1]:
            came, data = item
            while self.mode == "freeze" or (self.mode == "half-open" and answer):
                await self.changed.wait()
            if self.mode == "delay" and (left := came + self.seconds - clock()) > 0:
                await asyncio.sleep(left)
            while self.mode == "trickle" and len(data) > self.rate // 10:
                writer.write(data[: self.rate // 10])
                data = data[self.rate // 10 :]
                await asyncio.sleep(0.1)
            writer.write(data)
            await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """RST instead of a goodbye: SO_LINGER with no time throws away what was not sent."""
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


async def _serve() -> None:
    wires: dict[str, Wire] = {}
    servers: list[asyncio.Server] = []
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    while line := await orders.readline():
        order = json.loads(line)
        answer = 0
        if order["do"] == "lay":
            targets = [(host, int(port)) for host, port in order["targets"]]
            wire = wires[order["name"]] = Wire(name=order["name"], targets=targets)
            server = await asyncio.start_server(wire.carry, order["host"], 0)
            servers.append(server)
            answer = int(server.sockets[0].getsockname()[1])
        else:
            wires[order["name"]].set(order["mode"], order["seconds"], order["rate"])
        print(answer, flush=True)
    os._exit(0)  # whoever told us is gone; what is connected finds out by itself


class Wires:
    """The relay process, and what it is told."""

    def __init__(self) -> None:
        """Starts it; it ends when its standard input does, and when we are killed."""
        self._child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", "bench.chaos.wires"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )

    def lay(self, name: str, targets: Sequence[tuple[str, int]], host: str = "127.0.0.1") -> int:
        """A wire from a free port of ``host`` to the targets, in turn; returns the port."""
        return self._tell({"do": "lay", "name": name, "targets": list(targets), "host": host})

    def set(self, name: str, mode: str, *, seconds: float = 0.0, rate: int = 0) -> None:
        """Make a wire behave as ``MODES`` says; raises KeyError for a mode that does not exist."""
        if mode not in MODES:
            raise KeyError(mode)
        self._tell({"do": "set", "name": name, "mode": mode, "seconds": seconds, "rate": rate})

    def _tell(self, order: dict[str, object]) -> int:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps(order) + "\n")
        self._child.stdin.flush()
        return int(self._child.stdout.readline())

    def close(self) -> None:
        """End the relay."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.kill()
        self._child.wait()


if __name__ == "__main__":
    asyncio.run(_serve())
