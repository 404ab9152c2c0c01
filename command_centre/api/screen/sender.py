"""One screen's connection: hello, what it missed, then every tick; never faster than it reads.

A screen that leaves ten frames unacknowledged is not sent more: what happens meanwhile is merged into its
next frame. One that takes no bytes for five seconds, or acknowledges nothing for thirty, is let go; it
connects again and resumes where it stood.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import msgspec
import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from command_centre.api.screen.hub import Hub

WINDOW = 10
SEND_S = 5.0
SILENT_S = 30.0
_ABORT = "city.abort"
_log = structlog.get_logger(__name__)


class Acknowledgement(msgspec.Struct, tag_field="t", tag="ack"):
    """The only thing a screen says."""

    seq: int


class SlowScreenError(Exception):
    """The screen does not keep up; says how."""


class ScreenProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol, which closes politely only; a reader that takes nothing needs an abort.

    A polite close waits until the peer has read what is buffered, which a dead reader never does.
    """

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):
            self.scope["extensions"][_ABORT] = {"abort": self.transport.abort}


class Screen:
    """What is known of one screen. ``seq`` None = it has nothing yet."""

    def __init__(self, websocket: WebSocket, hub: Hub) -> None:
        self._socket = websocket
        self._hub = hub
        self._wake = asyncio.Event()
        self._unacknowledged: deque[tuple[int, float]] = deque()
        self._seq: int | None = None
        self._beat = -1

    async def serve(self, epoch: str | None, since: int | None) -> None:
        """Until the screen leaves or is let go; raises nothing."""
        hub = self._hub
        await self._socket.accept()
        hub.screens.add(self._wake)
        reader = asyncio.create_task(self._read())
        writer = asyncio.create_task(self._write(epoch, since))
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hub.screens.discard(self._wake)
            for task in (reader, writer):
                task.cancel()
            outcomes = await asyncio.gather(reader, writer, return_exceptions=True)
        for outcome in outcomes:
            await self._part(outcome)

    async def _write(self, epoch: str | None, since: int | None) -> None:
        self._seq = since if epoch == self._hub.log.epoch else None
        epoch = None
        self._wake.set()
        while True:
            await self._wait()
            if self._held() or self._beat == self._hub.beat or not self._hub.loaded:
                continue
            if epoch != self._hub.log.epoch:
                self._seq = self._seq if epoch is None else None  # another database: nothing of before holds
                epoch = self._hub.log.epoch
                await self._send(self._hub.hello())
            self._beat = self._hub.beat
            frame = self._hub.frame(self._seq)
            self._seq = self._hub.log.seq
            self._unacknowledged.append((self._seq, time.monotonic()))
            await self._send(frame)

    async def _wait(self) -> None:
        with suppress(TimeoutError):  # nothing to send; but look at the acknowledgements
            async with asyncio.timeout(SILENT_S):  # not wait_for, which may swallow a cancellation
                await self._wake.wait()
        self._wake.clear()
        if self._unacknowledged and time.monotonic() - self._unacknowledged[0][1] > SILENT_S:
            raise SlowScreenError(f"acknowledged nothing for {SILENT_S:.0f} s")

    def _held(self) -> bool:
        if len(self._unacknowledged) < WINDOW:
            return False
        self._hub.counted["held"] += 1
        return True

    async def _read(self) -> None:
        decoder = msgspec.json.Decoder(Acknowledgement)
        while True:
            try:
                said = decoder.decode(await self._socket.receive_text())
            except (msgspec.MsgspecError, KeyError) as error:
                raise SlowScreenError('said something else than {"t":"ack","seq":n}') from error
            while self._unacknowledged and self._unacknowledged[0][0] <= said.seq:
                self._unacknowledged.popleft()
            self._wake.set()

    async def _send(self, frame: str) -> None:
        try:
            async with asyncio.timeout(SEND_S):
                await self._socket.send_text(frame)
        except TimeoutError as error:
            self._abort()
            raise SlowScreenError(f"took no bytes for {SEND_S:.0f} s") from error
        self._hub.counted["frames"] += 1

    def _abort(self) -> None:
        extension = self._socket.scope.get("extensions", {}).get(_ABORT)
        if extension:
            abort: Callable[[], None] = extension["abort"]
            abort()

    async def _part(self, outcome: BaseException | None) -> None:
        if isinstance(outcome, SlowScreenError):
            self._hub.counted["let_go"] += 1
            _log.info("screen let go", why=str(outcome), client=str(self._socket.client))
            try:
                async with asyncio.timeout(1.0):
                    await self._socket.close(code=1008, reason=str(outcome))
            except (TimeoutError, RuntimeError, WebSocketDisconnect):
                self._abort()
        elif outcome is not None and not isinstance(
            outcome, WebSocketDisconnect | asyncio.CancelledError | RuntimeError
        ):
            _log.error("screen failed", error=repr(outcome))
