"""What the centre's loops sleep on: a nudge from the database, a second at most, or the end."""

import asyncio
from contextlib import suppress
from types import TracebackType

from city.storage import changes

POLL_S = 1.0  # a nudge may be lost with its connection; the tables are looked at anyway


async def rest(stop: asyncio.Event, longest_s: float = POLL_S) -> None:
    """Return at the end or after ``longest_s``."""
    with suppress(TimeoutError):
        async with asyncio.timeout(longest_s):  # not wait_for, which may swallow a cancellation before 3.12
            await stop.wait()


class Waking:
    """``async with Waking(url, name, stop) as waking``, then ``await waking.sleep()`` between rounds."""

    def __init__(self, url: str, application: str, stop: asyncio.Event) -> None:
        self._url = url
        self._application = application
        self._stop = stop
        self._nudged = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Waking":
        self._following = asyncio.create_task(changes.follow(self._url, self._application, self._nudged))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._following is not None:
            self._following.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._following

    async def sleep(self, longest_s: float = POLL_S) -> None:
        """Return at a nudge, at the end or after ``longest_s``; DatabaseError when the line is lost."""
        if self._following is not None and self._following.done():
            self._following.result()
        waits = [asyncio.create_task(self._nudged.wait()), asyncio.create_task(self._stop.wait())]
        try:
            await asyncio.wait(waits, timeout=longest_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._nudged.clear()
