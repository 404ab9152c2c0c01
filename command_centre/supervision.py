"""The centre's loops, kept running: one that fails is started again, later each time, and said so once."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

Loop = Callable[[asyncio.Event], Awaitable[None]]

FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 5.0  # the database comes back while people look at the wall
RECOVERED_S = 3.0  # a loop that ran so long works again
STEADY_S = 30.0  # and after so long its next failure is a new one: waits begin short
_log = structlog.get_logger(__name__)


class Supervision:
    """Runs named loops until ``stop``. ``restarts`` counts by name, ``failing`` are those that wait now."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._tasks: list[asyncio.Task[None]] = []
        self.restarts: Counter[str] = Counter()
        self.failing: dict[str, str] = {}

    def start(self, name: str, loop: Loop) -> None:
        """Run it until ``stop``, again after every failure."""
        self._tasks.append(asyncio.create_task(self._keep(name, loop), name=name))

    async def ended(self, patience_s: float) -> None:
        """After ``stop``: wait for the loops to end by themselves, then cancel those that do not."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=patience_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _keep(self, name: str, loop: Loop) -> None:
        wait_s = FIRST_WAIT_S
        while not self._stop.is_set():
            began = time.monotonic()
            recovering = asyncio.get_running_loop().call_later(RECOVERED_S, self._recovered, name)
            try:
                await loop(self._stop)
                return
            except Exception as error:
                self._failed(name, error)
            finally:
                recovering.cancel()
            if time.monotonic() - began > STEADY_S:
                wait_s = FIRST_WAIT_S
            await self._pause(wait_s * random.uniform(0.5, 1.0))  # noqa: S311  # spreads reconnections
            wait_s = min(LONGEST_WAIT_S, wait_s * 2)

    def _failed(self, name: str, error: Exception) -> None:
        self.restarts[name] += 1
        line = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        if self.failing.get(name) != line:
            known = isinstance(error, OSError) or "database" in line.lower() or "connection" in line.lower()
            _log.warning("a loop failed and is started again", loop=name, error=line, exc_info=not known)
        self.failing[name] = line

    def _recovered(self, name: str) -> None:
        if self.failing.pop(name, None) is not None:
            _log.info("a loop runs again", loop=name)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()
