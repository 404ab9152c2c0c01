"""The unassigned lane, looked at again when the directory changed: whoever now answers for a matter gets it."""

from datetime import datetime
from typing import Any

import structlog
from psycopg import AsyncConnection

from city.directory import Directory
from city.incidents import Change, Incident
from city.storage import incidents
from command_centre import dispatch
from command_centre.known_directory import KnownDirectory
from command_centre.recording import store

BATCH = 50  # incidents in one transaction

log = structlog.get_logger(__name__)
Connection = AsyncConnection[Any]


class Lane:
    """Process memory is a cache: a fresh process looks once, since the list may have grown while it was away."""

    def __init__(self, known: KnownDirectory) -> None:
        self._known = known
        self._looked_at: int | None = None  # the directory's version

    async def look(self, connection: Connection, now: datetime, *, mail: bool) -> int:
        """Dispatch what has a unit by now, once for each version of the directory; returns how many."""
        directory = await self._known.fresh(connection, now)
        if directory.version == self._looked_at:
            return 0
        waiting = await incidents.lane(connection)
        directory = await self._known.fresh(
            connection, now, {one.area_id for one in waiting if one.area_id is not None}
        )
        owned = [one.id for one in waiting if _leaving(one, directory, now)]
        done = 0
        for start in range(0, len(owned), BATCH):
            async with connection.transaction():
                locked = await incidents.lock_lane(connection, owned[start : start + BATCH])
                changes = [change for one in locked if (change := _leaving(one, directory, now))]
                if changes:
                    await store(connection, directory, changes, now, mail=mail)
            done += len(changes)
        self._looked_at = directory.version
        if done:
            log.info("dispatched from the lane", incidents=done, directory=directory.version)
        return done


def _leaving(incident: Incident, directory: Directory, now: datetime) -> Change | None:
    decision = dispatch.decide(dispatch.matter_of(incident), directory, now)
    return dispatch.leaving_lane(incident, decision, now)
