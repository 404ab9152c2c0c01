"""Each second: shelves and drills whose time is over, alarms to hold and to bring back."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import structlog
from psycopg import AsyncConnection

from city.settings import Settings
from city.storage import alarm_shelves, alarms
from city.storage import drills as stored
from city.storage.changes import open_connection
from command_centre import drills
from command_centre.known_directory import KnownDirectory
from command_centre.waking import rest

log = structlog.get_logger(__name__)
Connection = AsyncConnection[Any]


async def run(url: str, settings: Settings, stop: asyncio.Event) -> None:
    """Look until ``stop``; raises DatabaseError when the database is lost, to be started again."""
    known = KnownDirectory(settings.zone)
    connection = await open_connection(url, "city centre alarm life", autocommit=True)
    async with connection:
        while not stop.is_set():
            await look(connection, known, datetime.now(UTC), mail=bool(settings.smtp_url))
            await rest(stop)


async def look(connection: Connection, known: KnownDirectory, now: datetime, *, mail: bool) -> None:
    """What is due at ``now``, in two transactions: shelves first, then drills."""
    async with connection.transaction():
        ended = await alarm_shelves.end_due(connection, now)
        held = await alarms.hold_silent(connection, now)
        released = await alarms.release_held(connection, now)
    if ended or held or released:
        log.info("alarms silenced and brought back", shelves_ended=ended, held=held, released=released)
    async with connection.transaction():
        await drills.end_due(connection, now)
        closed = await drills.close(connection, await known.fresh(connection, now), now, mail=mail)
        real = await stored.raise_what_is_real(connection, now, drills.SILENCE_PATIENCE)
    if closed or real:
        log.info("drills closed", incidents=closed, real_alarms=len(real))
