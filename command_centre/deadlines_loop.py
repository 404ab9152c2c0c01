"""Each second: the lane when the directory changed, and clocks that have struck; whoever must hear is told."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from psycopg import AsyncConnection

from city.directory import Directory
from city.incidents import Incident
from city.settings import Settings
from city.storage import incidents
from city.storage.changes import open_connection
from command_centre import deadlines
from command_centre.known_directory import KnownDirectory
from command_centre.lane import Lane
from command_centre.recording import store
from command_centre.waking import rest

BATCH = 50

log = structlog.get_logger(__name__)


async def run(url: str, settings: Settings, stop: asyncio.Event) -> None:
    """Watch until ``stop``; raises DatabaseError when the database is lost, to be started again."""
    known = KnownDirectory(settings.zone)
    connection = await open_connection(url, "city centre deadlines", autocommit=True)
    async with connection:
        lane = Lane(known)
        while not stop.is_set():
            await lane.look(connection, datetime.now(UTC), mail=bool(settings.smtp_url))
            done = await strike(connection, known, settings, datetime.now(UTC))
            if done < BATCH:
                await rest(stop)


async def strike(
    connection: AsyncConnection[Any], known: KnownDirectory, settings: Settings, now: datetime
) -> int:
    """Write what is due at ``now``, for a batch at most; what another centre holds is left to it."""
    urge_after = timedelta(minutes=settings.urge_after_minutes)
    async with connection.transaction():
        due = await incidents.lock_due(
            connection, now, int(urge_after.total_seconds()), deadlines.URGE_LEVELS, BATCH
        )
        if not due:
            return 0
        directory = await known.fresh(connection, now)
        changes = []
        for incident in due:
            found = deadlines.steps(incident, now, urge_after)
            changes.append(deadlines.take(incident, found, now, _above(incident, directory)))
        await store(connection, directory, changes, now, mail=bool(settings.smtp_url))
    log.info("deadlines struck", incidents=len(due))
    return len(due)


def _above(incident: Incident, directory: Directory) -> int | None:
    unit = directory.units.get(incident.unit_id) if incident.unit_id is not None else None
    parent = directory.unit_by_code(unit.parent) if unit is not None and unit.parent else None
    return parent.id if parent else None
