"""The directory of dispatch as a process keeps it: read again only when the register moved, open work each second."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection

from city.directory import Directory
from city.storage import directory as stored

_COUNT_AFTER = timedelta(seconds=1)  # of open work: a measure of who is busy, not an account
# Cells that only a topic named do not move the version: not every one is worth a read.
_AGAIN_AFTER = timedelta(seconds=5)


class KnownDirectory:
    """Process memory is a cache: built at the first ``fresh``."""

    def __init__(self, zone: ZoneInfo, urge_after: timedelta = stored.URGE_AFTER) -> None:
        self._zone = zone
        self._urge_after = urge_after
        self._directory: Directory | None = None
        self._read_at: datetime | None = None
        self._counted_at: datetime | None = None

    async def fresh(
        self, connection: AsyncConnection[Any], now: datetime, cells: Collection[int] = ()
    ) -> Directory:
        """The directory as the database has it now; ``cells`` are those about to be looked up.

        Open work is counted anew each second: it moves with every decision, the rest with the register.
        """
        known = self._directory
        if known is not None and self._read_at is not None:
            strangers = any(cell not in known.places for cell in cells)
            rested = now - self._read_at >= _AGAIN_AFTER
            if known.version == await stored.version(connection) and not (strangers and rested):
                if self._counted_at is None or not now - _COUNT_AFTER < self._counted_at <= now:
                    known = self._directory = known.with_work(await stored.open_work(connection))
                    self._counted_at = now
                return known
        self._directory = await stored.load(connection, self._zone, self._urge_after)
        self._read_at = self._counted_at = now
        return self._directory
