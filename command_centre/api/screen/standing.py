"""Standing alarms for desks that list them: held only while somebody asks, compared by a fingerprint of each row."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from psycopg import AsyncConnection

from city.storage import standing_alarms as tables
from command_centre.api.screen.log import ScreenLog
from command_centre.api.screen.sight import Mark

AT_ONCE = 1000  # rows read and encoded before others get their turn
TOPIC, COUNTS = "alarm", "counts of alarms"


class StandingAlarms:
    """``wanted`` while a screen asks for them, ``loaded`` once all are staged."""

    def __init__(self, log: ScreenLog) -> None:
        self.wanted = False
        self.loaded = False
        self._log = log
        self._prints: dict[int, int] = {}
        self._of_incident: dict[int, set[int]] = {}
        self._incident: dict[int, int | None] = {}
        self._turn = asyncio.Lock()  # what was read first is written first

    async def refresh(self, connection: AsyncConnection[Any]) -> None:
        """Find what differs from what screens have, and read that."""
        async with self._turn:
            now = datetime.now(UTC)
            prints, total = await tables.prints(connection, now)
            for gone in set(self._prints) - set(prints):
                self._drop(gone)
            changed = [number for number, seal in prints.items() if self._prints.get(number) != seal]
            for start in range(0, len(changed), AT_ONCE):
                await self._read(connection, changed[start : start + AT_ONCE], (), now)
                await asyncio.sleep(0)
            self._log.stage(COUNTS, "alarms", {"total": total, "shown": len(self._prints)})
            self.loaded = True

    async def touch(
        self, connection: AsyncConnection[Any], alarm_ids: Sequence[int], incident_ids: Sequence[int]
    ) -> None:
        """These alarms, and those of these incidents, have changed."""
        if not alarm_ids and not incident_ids:
            return
        async with self._turn:
            theirs = [one for number in incident_ids for one in self._of_incident.get(number, ())]
            await self._read(connection, [*alarm_ids, *theirs], incident_ids, datetime.now(UTC))

    def forget(self) -> None:
        """Nobody asks any more."""
        self.wanted = self.loaded = False
        self._prints.clear()
        self._of_incident.clear()
        self._incident.clear()
        for topic in (TOPIC, COUNTS):
            self._log.forget(topic)

    async def _read(
        self, connection: AsyncConnection[Any], ids: Sequence[int], incidents: Sequence[int], now: datetime
    ) -> None:
        rows = await tables.rows(connection, ids, incidents, now)
        for row in rows:
            self._hold(row)
        for number in set(ids) - {row["id"] for row in rows}:
            self._drop(number)

    def _hold(self, row: dict[str, Any]) -> None:
        number, incident = row["id"], row["incident"]
        self._prints[number] = row.pop("print")
        self._unlink(number)
        self._incident[number] = incident
        if incident is not None:
            self._of_incident.setdefault(incident, set()).add(number)
        self._log.stage(TOPIC, str(number), row, Mark(cell=row["cell"]))

    def _drop(self, number: int) -> None:
        if self._prints.pop(number, None) is not None:
            self._unlink(number)
            self._log.stage(TOPIC, str(number), None)

    def _unlink(self, number: int) -> None:
        incident = self._incident.pop(number, None)
        if incident is not None:
            self._of_incident.get(incident, set()).discard(number)
            if not self._of_incident.get(incident):
                self._of_incident.pop(incident, None)
