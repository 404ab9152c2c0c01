"""The unassigned lane, looked at again when something changed that may give a matter a unit.

That is the directory (list, units, rosters, catalogue) at once, and each minute what moves by itself: a shift that
begins, a unit that has worked off what it had, an entry of the list that comes into force. Only what is dispatched
without a person leaves; the rest waits for its click, with the suggestion shown.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import structlog
from psycopg import AsyncConnection

from city.directory import Directory
from city.incidents import Change, Incident
from city.responsibilities import in_force
from city.storage import directory as stored
from city.storage import incidents
from command_centre import dispatch
from command_centre.known_directory import KnownDirectory
from command_centre.recording import store

BATCH = 50  # incidents in one transaction
AGAIN = timedelta(minutes=1)
_AT_ONCE = 200  # decisions before others of this process get their turn

log = structlog.get_logger(__name__)
Connection = AsyncConnection[Any]
Situation = tuple[frozenset[int], frozenset[int], int]  # on duty, full, entries in force


class Lane:
    """Process memory is a cache: a fresh process looks once, since the list may have grown while it was away."""

    def __init__(self, known: KnownDirectory) -> None:
        self._known = known
        self._looked_at: int | None = None  # the directory's version
        self._looked: datetime | None = None
        self._situation: Situation | None = None

    async def look(self, connection: Connection, now: datetime, *, mail: bool) -> int:
        """Dispatch what has a unit by now, once for each situation of the directory; returns how many."""
        directory = await self._known.fresh(connection, now)
        if directory.version == self._looked_at and self._looked is not None and now - self._looked < AGAIN:
            return 0
        situation = _situation(directory, now)
        if directory.version == self._looked_at and situation == self._situation:
            self._looked = now
            return 0
        waiting = await incidents.lane(connection)
        directory = await self._known.fresh(
            connection, now, {one.area_id for one in waiting if one.area_id is not None}
        )
        returned = await stored.passed_over(connection, [one.id for one in waiting])
        owned = []
        for number, one in enumerate(waiting, 1):
            if _leaving(one, directory, now, returned) is not None:
                owned.append(one.id)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        done = 0
        for start in range(0, len(owned), BATCH):
            async with connection.transaction():
                changes = []
                for one in await incidents.lock_lane(connection, owned[start : start + BATCH]):
                    change = _leaving(one, directory, now, returned)
                    if change is not None and change.incident.unit_id is not None:
                        changes.append(change)
                        directory = directory.taken_by(change.incident.unit_id)
                if changes:
                    await store(connection, directory, changes, now, mail=mail)
            done += len(changes)
        self._looked_at, self._looked, self._situation = directory.version, now, situation
        if done:
            log.info("dispatched from the lane", incidents=done, directory=directory.version)
        return done


def _leaving(
    incident: Incident, directory: Directory, now: datetime, returned: dict[int, frozenset[int]]
) -> Change | None:
    matter = dispatch.matter_of(incident, returned.get(incident.id, frozenset()))
    return dispatch.leaving_lane(incident, dispatch.decide(matter, directory, now), now)


def _situation(directory: Directory, now: datetime) -> Situation:
    """What moves without the register: who is on duty, who is full, which entries hold."""
    limited = (
        (unit.id, unit.capacity)
        for unit in directory.units.values()
        if unit.capacity is not None and unit.id in directory.active
    )
    return (
        frozenset(unit_id for unit_id in directory.duty if directory.on_duty(unit_id, now)),
        frozenset(unit_id for unit_id, most in limited if directory.open_work.get(unit_id, 0) >= most),
        sum(in_force(entry, now) for entry in directory.responsibilities),
    )
