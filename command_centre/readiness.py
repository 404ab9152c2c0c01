"""Whether the schema is complete, for whoever asks each second: from the pool, and once a second for all of them."""

import threading
import time
from collections.abc import Callable
from typing import Any

from psycopg import Connection
from psycopg_pool import ConnectionPool, PoolTimeout

from city.storage import migrate
from city.storage.database import translated

KEPT_S = 1.0
PATIENCE_S = 0.5  # for a connection; a centre that is merely busy shall not be taken out of service


class Migrations:
    """Called, it names those that are missing. From any thread; who asks while another asks waits for its answer."""

    def __init__(
        self, pool: ConnectionPool[Connection[Any]], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._pool = pool
        self._monotonic = monotonic
        self._asking = threading.Lock()
        self._known: list[str] | None = None
        self._known_at = 0.0

    def __call__(self) -> list[str]:
        """Raises DatabaseError when the database does not answer. With no connection free, what was known before."""
        with self._asking:
            if self._known is None or self._monotonic() - self._known_at >= KEPT_S:
                self._known = self._asked(self._known)
                self._known_at = self._monotonic()
            return self._known

    def _asked(self, before: list[str] | None) -> list[str]:
        with translated():
            try:
                with self._pool.connection(timeout=PATIENCE_S) as connection:
                    return migrate.missing_here(connection)
            except PoolTimeout:
                if before is None:
                    raise
                return before
