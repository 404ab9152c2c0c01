"""A screen that takes no bytes is cut off; the port to the network is the only thing faked here."""

import asyncio
from typing import Any, cast

import pytest
from starlette.websockets import WebSocket

from command_centre.api.screen import sender
from command_centre.api.screen.hub import Hub
from command_centre.api.screen.sight import WALL


class DeadSocket:
    """Accepts, and then neither reads nor answers."""

    client = ("10.0.0.7", 5000)

    def __init__(self) -> None:
        self.aborted = False
        self.scope = {"extensions": {"city.abort": {"abort": self._abort}}}

    def _abort(self) -> None:
        self.aborted = True

    async def accept(self) -> None:
        return

    async def send_text(self, _text: str) -> None:
        await asyncio.Event().wait()

    async def receive_text(self) -> str:
        await asyncio.Event().wait()
        return ""

    async def close(self, **_reason: Any) -> None:
        await asyncio.Event().wait()


def test_a_reader_that_takes_nothing_is_aborted_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "SEND_S", 0.01)

    async def serve() -> tuple[DeadSocket, Hub]:
        hub = Hub("postgresql://nowhere", cast(Any, None))
        hub.feed.loaded = True
        dead = DeadSocket()
        await sender.Screen(cast(WebSocket, dead), hub, WALL, {}).serve(sender.Standing())
        return dead, hub

    dead, hub = asyncio.run(serve())
    assert dead.aborted
    assert hub.screens == set()
    assert hub.counted["let_go"] == 1
