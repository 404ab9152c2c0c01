"""Each half minute: crossings into the duty log, a proposal when there is news, warnings that end.

Of several centres one does it; the others find the lock taken and rest.
"""

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import structlog
from psycopg import AsyncConnection

from city.settings import Settings
from city.stations import StationState
from city.storage import changes, flood_facts, flood_response
from city.storage.changes import open_connection
from command_centre.flood import desk as desks
from command_centre.flood import response_actions, warning_actions
from command_centre.flood.desk import Desk
from command_centre.flood.response import band, crossing_words
from command_centre.waking import rest

EVERY_S = 30.0

log = structlog.get_logger(__name__)
Connection = AsyncConnection[Any]


async def run(url: str, settings: Settings, stop: asyncio.Event) -> None:
    """Look until ``stop``; raises DatabaseError when the database is lost, to be started again."""
    connection = await open_connection(url, "city centre flood desk", autocommit=True)
    async with connection:
        while not stop.is_set():
            await look(connection, settings, datetime.now(UTC))
            await rest(stop, EVERY_S)


async def look(connection: Connection, settings: Settings, now: datetime) -> bool:
    """One round in one transaction; False when another centre has it."""
    async with connection.transaction():
        if not await flood_response.try_alone(connection):
            return False
        desk = await desks.read(connection, settings)
        if not desk.code:
            return True
        crossed = await crossings(connection, desk, now)
        proposal = await response_actions.look(connection, desk, now)
        ended = await warning_actions.follow_time(connection, desk, now)
    if crossed or ended:
        log.info("flood desk", crossings=crossed, warnings=ended, proposed=proposal.level)
    return True


async def crossings(connection: Connection, desk: Desk, now: datetime) -> int:
    """Stations whose band changed go into the duty log and to screens; returns how many.

    A station that is seen the first time is only remembered: nobody crossed anything.
    """
    before = cast(dict[str, StationState], await flood_response.bands(connection))
    found: dict[str, StationState] = {}
    crossed = []
    for station in await flood_facts.stations(connection, desks.UNBELIEVED):
        old = before.get(station.code)
        new = band(old, station)
        if new == old:
            continue
        found[station.code] = new
        if old is None:
            continue
        crossed.append(station.code)
        text, text_en = crossing_words(old, new, station)
        await desk.log(connection, now, "station", text, text_en, about=f"station:{station.code}")
    await flood_response.note_bands(connection, dict(found), now)
    await changes.append(connection, [("flood.crossed", code) for code in crossed])
    return len(crossed)
