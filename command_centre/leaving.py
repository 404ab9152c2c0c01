"""How this process ends: first it says so, so that a balancer and systemd stop counting on it, then it stops."""

import asyncio

from city.service_manager import SILENT, ServiceManager


class Leaving:
    """``asked`` is true from the moment a stop was asked for; ``stop`` is set ``drain_s`` later.

    In between everything is answered as ever, but /readyz says 503.
    """

    def __init__(self, stop: asyncio.Event, *, drain_s: float, manager: ServiceManager = SILENT) -> None:
        self._stop = stop
        self.drain_s = drain_s
        self._manager = manager
        self._asked = asyncio.Event()

    def asked(self) -> bool:
        """Whether it is time to go elsewhere."""
        return self._asked.is_set() or self._stop.is_set()

    async def begun(self, stop: asyncio.Event) -> None:
        """Return when a stop was asked for, or with ``stop``."""
        waits = [asyncio.create_task(self._asked.wait()), asyncio.create_task(stop.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def ask(self) -> None:
        """A signal came. A second one does not wait."""
        again = self._asked.is_set()
        self._asked.set()
        self._manager.stopping()
        if again or self.drain_s <= 0:
            self._stop.set()
            return
        asyncio.get_running_loop().call_later(self.drain_s, self._stop.set)
