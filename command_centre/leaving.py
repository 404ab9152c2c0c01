"""How this process ends: first it says so, so that a balancer and systemd stop counting on it, then it stops."""

import asyncio

from city.service_manager import SILENT, ServiceManager


class Leaving:
    """``asked`` is true from the moment a stop was asked for; ``stop`` is set ``drain_s`` later.

    In between everything is answered as ever, but /readyz says 503.
    """

    def __init__(self, stop: asyncio.Event, *, drain_s: float, manager: ServiceManager = SILENT) -> None:
        self._stop = stop
        self._drain_s = drain_s
        self._manager = manager
        self._asked = False

    def asked(self) -> bool:
        """Whether it is time to go elsewhere."""
        return self._asked or self._stop.is_set()

    def ask(self) -> None:
        """A signal came. A second one does not wait."""
        again, self._asked = self._asked, True
        self._manager.stopping()
        if again or self._drain_s <= 0:
            self._stop.set()
            return
        asyncio.get_running_loop().call_later(self._drain_s, self._stop.set)
