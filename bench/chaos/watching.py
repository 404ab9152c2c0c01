"""A screen as a process of its own: follows `/ws/screen`, holds what it was told, and says so when asked.

`python -m bench.chaos.watching ws://…`; the token comes from CITY_API_TOKEN. A line on standard input asks, a line of
JSON answers. It shares no code with the product's hub nor with its page, only the protocol (docs/screen-protocol.md).
"""

import asyncio
import json
import os
import random
import sys
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

SILENCE_S = 7.0  # as the page does: without a frame for so long the connection counts as dead


class Screen:
    """What a wall shows, and faults of the telling that it noticed."""

    def __init__(self, address: str, token: str) -> None:
        self._address, self._headers = address, {"Authorization": f"Bearer {token}"} if token else {}
        self._epoch, self._seq = "", -1
        self.change = -1
        self.topics: dict[str, dict[str, Any]] = {}
        self.opened: set[str] = set()
        self.connections = self.snapshots = self.doubled = self.gaps = 0

    async def follow(self) -> None:
        """Connect again and again, for ever."""
        while True:
            with suppress(OSError, WebSocketException, TimeoutError):
                await self._sit()
            await asyncio.sleep(random.uniform(0.15, 0.5))

    async def _sit(self) -> None:
        query = {"change": str(self.change)} if self.change >= 0 else {}
        if self._epoch:
            query |= {"epoch": self._epoch, "since": str(self._seq)}
        address = f"{self._address}?{urlencode(query)}"
        told: set[int] = set()
        async with connect(
            address, compression=None, max_size=None, additional_headers=self._headers, open_timeout=5
        ) as peer:
            self.connections += 1
            while True:
                await self._take(peer, told)

    async def _take(self, peer: ClientConnection, told: set[int]) -> None:
        frame = json.loads(await asyncio.wait_for(peer.recv(), SILENCE_S))
        if frame["t"] == "hello":
            return
        if frame["t"] == "snap":
            self._epoch, self.topics = frame["epoch"], frame["set"]
            self.snapshots += 1
        elif frame["from"] == self._seq:
            for topic, keys in frame["set"].items():
                held = self.topics.setdefault(topic, {})
                held.update(keys)
                for gone in [key for key, value in keys.items() if value is None]:
                    del held[gone]
        else:
            self.gaps += 1
        for event in frame.get("ev", []):
            self.doubled += event["change"] in told
            told.add(event["change"])
            if event["kind"] == "incident.opened":
                self.opened.add(str(event["id"]))
        self._seq, self.change = frame["seq"], max(self.change, frame["change"])
        await peer.send(json.dumps({"t": "ack", "seq": self._seq}))

    def said(self, *, whole: bool) -> dict[str, Any]:
        """The answer to a question; `whole` with the open incidents: state, class, unit, alarms."""
        answer: dict[str, Any] = {
            "change": self.change,
            "connections": self.connections,
            "snapshots": self.snapshots,
            "doubled": self.doubled,
            "gaps": self.gaps,
            "opened": len(self.opened),
        }
        if whole:
            answer["counts"] = self.topics.get("counts", {}).get("open", {})
            answer["incidents"] = {
                key: [value["state"], value["class"], value["unit"], value["alarms"]]
                for key, value in self.topics.get("incident", {}).items()
            }
        return answer


async def _main(address: str) -> None:
    screen = Screen(address, os.environ.get("CITY_API_TOKEN", ""))
    questions = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(questions), sys.stdin)
    following = asyncio.create_task(screen.follow())
    while question := await questions.readline():
        print(json.dumps(screen.said(whole=question.strip() == b"whole")), flush=True)
        if following.done():
            await following  # what broke the screen is said, not swallowed
    following.cancel()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
