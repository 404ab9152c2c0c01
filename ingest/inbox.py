"""Where the network thread leaves deliveries and the pipeline takes them; bounded, so that the broker feels it."""

import threading
import time
from collections import deque

from ingest.delivery import Delivery

MAX_BYTES = 64 * 1024 * 1024  # payload bytes held


class Inbox:
    """One writer that asks ``has_room`` first, one reader. Bounds may be passed by one read of the socket, no more."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[tuple[float, int, Delivery]] = deque()
        self._arrived = threading.Condition()
        self._held_bytes = 0
        self.held = 0  # messages not yet committed, those in the pipeline's hands included

    def has_room(self) -> bool:
        """Whether more may be read; false is back-pressure."""
        return self.held < self._limit and self._held_bytes < MAX_BYTES

    def put(self, delivery: Delivery) -> None:
        """Take a delivery from the network thread."""
        size = sum(map(len, delivery.payloads))
        with self._arrived:
            self.held += len(delivery)
            self._held_bytes += size
            self._waiting.append((time.monotonic(), size, delivery))
            self._arrived.notify()

    def take(self, *, most: int, gather_s: float, wait_s: float) -> list[Delivery]:
        """Deliveries of up to about ``most`` messages: what gathers within ``gather_s`` of the first, or after
        ``wait_s`` nothing."""
        with self._arrived:
            if not self._waiting:
                self._arrived.wait(wait_s)
            if not self._waiting:
                return []
            due = self._waiting[0][0] + gather_s
            while (left := due - time.monotonic()) > 0 and self.held < most:
                self._arrived.wait(left)
            taken: list[Delivery] = []
            count = 0
            while self._waiting and (not taken or count + len(self._waiting[0][2]) <= most):
                delivery = self._waiting.popleft()[2]
                count += len(delivery)
                taken.append(delivery)
            return taken

    def done(self, deliveries: list[Delivery]) -> None:
        """These are committed; there is room again."""
        with self._arrived:
            self.held -= sum(map(len, deliveries))
            self._held_bytes -= sum(len(payload) for delivery in deliveries for payload in delivery.payloads)
