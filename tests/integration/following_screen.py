"""A screen as a browser keeps one, without the browser: resumes, acknowledges, and shows every event once."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect

from tests.integration.running_centre import Centre


class Screen:
    """Counts every event it shows; ``doubled`` those that arrived again and were not shown.

    ``asks`` goes into the query as it is, ``cookie`` is sent as a browser would.
    """

    def __init__(self, centre: Centre, cookie: str = "", **asks: str) -> None:
        self.address = centre.screens
        self._asks = asks
        self._cookie = cookie
        self.epoch = ""
        self.seq = -1
        self.change = -1
        self.topics: dict[str, dict[str, Any]] = {}
        self.events: Counter[tuple[str, int | str]] = Counter()
        self.changes: set[int] = set()
        self.doubled = 0
        self.snapshots = 0
        self.frames = 0

    def connect(self) -> connect:
        query = dict(self._asks)
        if self.epoch:
            query |= {"epoch": self.epoch, "since": str(self.seq)}
        if self.change >= 0:
            query["change"] = str(self.change)
        headers = {"Cookie": self._cookie} if self._cookie else None
        address = f"{self.address}?{urlencode(query)}" if query else self.address
        return connect(address, compression=None, max_size=None, additional_headers=headers)

    async def take(self, socket_: ClientConnection) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(await asyncio.wait_for(socket_.recv(), 60))
        self.frames += 1
        if frame["t"] == "snap":
            self.topics, self.epoch, self.snapshots = frame["set"], frame["epoch"], self.snapshots + 1
            self._show(frame.get("ev", []))
        elif frame["t"] == "d":
            assert frame["from"] == self.seq
            self._merge(frame)
        if frame["t"] != "hello":
            self.seq, self.change = frame["seq"], max(self.change, frame["change"])
            await socket_.send(json.dumps({"t": "ack", "seq": self.seq}))
        return frame

    def _merge(self, frame: dict[str, Any]) -> None:
        for topic, keys in frame["set"].items():
            held = self.topics.setdefault(topic, {})
            for key, value in keys.items():
                if value is None:
                    held.pop(key, None)
                else:
                    held[key] = value
        self._show(frame["ev"])

    def _show(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            if event["change"] in self.changes:
                self.doubled += 1
            else:
                self.changes.add(event["change"])
                self.events[event["kind"], event["id"]] += 1

    async def follow(self, wanted: int, kind: str = "incident.opened") -> None:
        """Stay connected until ``wanted`` events of a kind were shown."""
        async with self.connect() as socket_:
            while self.count(kind) < wanted:
                await self.take(socket_)

    async def look(self) -> "Screen":
        """Connect, take what there is, and leave."""
        async with self.connect() as socket_:
            while (await self.take(socket_))["t"] == "hello":
                pass
        return self

    def count(self, kind: str) -> int:
        return sum(number for (one, _), number in self.events.items() if one == kind)


async def until(screen: Screen, socket_: ClientConnection, seen: Callable[[], object]) -> None:
    """Take frames until what is waited for is there."""
    while not seen():
        await screen.take(socket_)
