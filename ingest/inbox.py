"""Where the network thread leaves deliveries and the pipeline takes them; bounded, so that the broker feels it."""

import threading
import time
from collections import deque

from ingest.delivery import Delivery

MAX_BYTES = 64 * 1024 * 1024  # payload bytes held


class Inbox:
    """One writer that asks ``has_room`` first, one reader. Bounds may be passed by one read of the socket, no more.

    The reader is woken by the first delivery and then sleeps through its gathering time: waking it at each read of
    the socket cost more than the batch itself.
    """

    def __init__(self, *, limit: int, batch: int) -> None:
        self._limit = limit
        self._batch = batch
        self._waiting: deque[tuple[float, Delivery]] = deque()
        self._lock = threading.Lock()
        self._first = threading.Event()  # something is waiting
        self._full = threading.Event()  # a whole batch is waiting
        self._held_bytes = 0
        self.held = 0  # messages not yet committed, those in the pipeline's hands included
        self.closed = False  # nothing more is to be read for now; what is held is still worked off

    def has_room(self) -> bool:
        """Whether more may be read; false is back-pressure."""
        return not self.closed and self.held < self._limit and self._held_bytes < MAX_BYTES

    def put(self, delivery: Delivery) -> None:
        """Take a delivery from the network thread."""
        size = sum(map(len, delivery.payloads))
        with self._lock:
            self.held += len(delivery)
            self._held_bytes += size
            self._waiting.append((time.monotonic(), delivery))
            if len(self._waiting) == 1:
                self._first.set()
            if self.held >= self._batch:
                self._full.set()

    def wake(self) -> None:
        """Have the reader look up now, though nothing may be waiting."""
        self._first.set()

    def take(self, *, gather_s: float, wait_s: float) -> list[Delivery]:
        """Deliveries of up to about a batch: what gathers within ``gather_s`` of the first; none after ``wait_s``."""
        if not self._first.wait(wait_s):
            return []
        oldest = self._waiting[0][0] if self._waiting else 0.0
        left = oldest + gather_s - time.monotonic()
        if left > 0:
            self._full.wait(left)
        with self._lock:
            taken: list[Delivery] = []
            count = 0
            while self._waiting and (not taken or count + len(self._waiting[0][1]) <= self._batch):
                delivery = self._waiting.popleft()[1]
                count += len(delivery)
                taken.append(delivery)
            if not self._waiting:
                self._first.clear()
            self._full.clear()
            return taken

    def done(self, deliveries: list[Delivery]) -> None:
        """These are committed; there is room again."""
        with self._lock:
            self.held -= sum(map(len, deliveries))
            self._held_bytes -= sum(len(payload) for delivery in deliveries for payload in delivery.payloads)
