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
from dataclasses import dataclass

import msgspec
import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from command_centre.api.screen.guests import NOWHERE, Dismissed
from command_centre.api.screen.hub import Hub
from command_centre.api.screen.sight import Sight
from command_centre.api.screen.views import View

WINDOW = 10
SEND_S = 5.0
SILENT_S = 30.0
LOOK_AGAIN_S = 3.0
SLOW = 1008
LONGEST_REASON = 40  # characters: a close frame holds 123 bytes
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where a screen says it stands: ``epoch`` and ``since`` of its view, ``change`` in the list of changes."""

    epoch: str | None = None
    since: int | None = None
    change: int | None = None


class Screen:
    """What is known of one screen. ``seq`` None = it has nothing yet."""

    def __init__(self, websocket: WebSocket, hub: Hub, sight: Sight, said: dict[str, object]) -> None:
        self._socket = websocket
        self._hub = hub
        self._sight = sight
        self._said = said
        self._wake = asyncio.Event()
        self._unacknowledged: deque[tuple[int, float]] = deque()
        self._view: View | None = None
        self._seq: int | None = None
        self._change: int | None = None  # up to which it was told of every change; None = it did not say
        self._reset = False
        self._beat = -1
        self._dismissed: Dismissed | None = None

    async def serve(self, standing: Standing) -> None:
        """Until the screen leaves or is let go; raises nothing."""
        hub = self._hub
        await self._socket.accept()
        hub.screens.add(self._wake)
        hub.owed[self._wake] = self._unacknowledged
        reader = asyncio.create_task(self._read())
        writer = asyncio.create_task(self._write(standing))
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hub.screens.discard(self._wake)
            hub.owed.pop(self._wake, None)
            self._look_through(None)
            for task in (reader, writer):
                task.cancel()
            outcomes = await asyncio.gather(reader, writer, return_exceptions=True)
        for outcome in outcomes:
            await self._part(outcome)

    def dismiss(self, why: Dismissed) -> None:
        """Send it away at the next moment."""
        self._dismissed = why
        self._wake.set()

    async def _write(self, standing: Standing) -> None:
        self._reset = await self._is_of_another_database(standing.change)
        self._change = standing.change
        self._wake.set()
        while True:
            await self._wait()
            if not self._hub.loaded or self._held():
                continue
            view = self._hub.view(self._sight)
            if view is None:
                raise Dismissed(NOWHERE, f"scope={self._sight.scope}: there is no such area")
            if view is not self._view:
                await self._turn_to(view, standing)
            if view.ready and self._beat != self._hub.beat:
                await self._bring_up_to_date(view)

    async def _turn_to(self, view: View, standing: Standing) -> None:
        """The first view of this connection, or another one: its scope has other cells, or another database answers."""
        log = self._hub.log
        if self._view is None:
            self._seq = (
                standing.since if standing.epoch == view.epoch and view.resumable(standing.since) else None
            )
        else:
            self._seq = None
            self._reset = not self._view.epoch.startswith(log.epoch)
        self._look_through(view)
        self._beat = -1
        await self._send(self._hub.hello(view, self._said))

    async def _bring_up_to_date(self, view: View) -> None:
        self._beat = self._hub.beat
        if self._change is not None and not view.resumable(self._seq):
            frame = view.hand_over(self._change, reset=self._reset)
        else:
            frame = view.frame(self._seq)
        self._seq, self._change = self._hub.log.seq, self._hub.log.change
        self._reset = False
        self._unacknowledged.append((self._seq, time.monotonic()))
        await self._send(frame)

    async def _is_of_another_database(self, change: int | None) -> bool:
        """Whether the screen names a change that does not exist here, after a look whether it came a moment ago."""
        feed = self._hub.feed
        if change is None or change <= feed.high:
            return False
        rounds = feed.rounds
        feed.nudge()
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_AGAIN_S):
                while (
                    feed.rounds < rounds + 2
                ):  # the one that runs may have begun before the change was there
                    await asyncio.sleep(0.05)
                    feed.nudge()
                return change > feed.high
        return False  # the database does not answer: nothing speaks against the screen

    def _look_through(self, view: View | None) -> None:
        for one, change in ((self._view, -1), (view, 1)):
            if one is not None:
                one.screens += change
        self._view = view

    async def _wait(self) -> None:
        with suppress(TimeoutError):  # nothing to send; but look at the acknowledgements
            async with asyncio.timeout(SILENT_S):  # not wait_for, which may swallow a cancellation
                await self._wake.wait()
        self._wake.clear()
        if self._dismissed is not None:
            raise self._dismissed
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
        if isinstance(outcome, SlowScreenError | Dismissed):
            self._hub.counted["let_go"] += 1
            _log.info("screen let go", why=str(outcome), client=str(self._socket.client))
            code = outcome.code if isinstance(outcome, Dismissed) else SLOW
            try:
                async with asyncio.timeout(1.0):
                    await self._socket.close(code=code, reason=str(outcome)[:LONGEST_REASON])
            except (TimeoutError, RuntimeError, WebSocketDisconnect):
                self._abort()
        elif outcome is not None and not isinstance(
            outcome, WebSocketDisconnect | asyncio.CancelledError | RuntimeError
        ):
            _log.error("screen failed", error=repr(outcome))
