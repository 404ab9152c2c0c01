"""Each second: units that were ordered to a place and are missing; whoever must hear of it is told, once."""

import asyncio
from datetime import UTC, datetime

import structlog

from city.settings import Settings
from city.storage.changes import open_connection
from command_centre import order_calls
from command_centre.known_directory import KnownDirectory
from command_centre.waking import rest

BATCH = 20

log = structlog.get_logger(__name__)


async def run(url: str, settings: Settings, stop: asyncio.Event) -> None:
    """Call up until ``stop``; raises DatabaseError when the database is lost, to be started again."""
    known = KnownDirectory(settings.zone)
    connection = await open_connection(url, "city centre orders", autocommit=True)
    async with connection:
        while not stop.is_set():
            now = datetime.now(UTC)
            directory = await known.fresh(connection, now)
            done = await order_calls.call_up(connection, settings, directory, now, BATCH)
            if done:
                log.info("missing units called up", orders=done)
            if done < BATCH:
                await rest(stop)
