"""``city simulate --drill``: the drill is opened before the first message and ended after the last.

Killed in between, it ends at its time; the centre closes its alarms and incidents either way.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from psycopg import AsyncConnection

from city.errors import CityError
from city.settings import Settings
from city.storage import drills as stored
from city.storage.changes import open_connection
from command_centre import drills
from simulators.fleet import FolderError
from simulators.main import chosen_fleet

ACTOR = "command-line"
log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What is played, where (no cells: everything in the folder), and for how many minutes at most."""

    scenario: str
    folder: Path
    cells: Sequence[str]
    minutes: float
    reason: str


@contextmanager
def running(settings: Settings, wanted: Wanted) -> Iterator[int]:
    """A drill over the devices that are played; its id. Raises CityError, and then nothing is played."""
    try:
        devices = [device.code for device in chosen_fleet(wanted.folder, wanted.cells)]
    except FolderError as error:
        raise CityError(str(error)) from error
    drill = asyncio.run(_begin(settings, wanted, devices))
    for real in drill["standing_real"]:
        log.warning("drill.real_alarm_stands", alarm=real["id"], device=real["device"], rule=real["rule"])
    try:
        yield drill["id"]
    finally:
        asyncio.run(_end(settings, drill["id"]))


async def _begin(settings: Settings, wanted: Wanted, devices: Sequence[str]) -> dict[str, Any]:
    now = datetime.now(UTC)
    async with _transaction(settings) as connection:
        return await drills.begin(
            connection,
            name="",
            scenario=wanted.scenario,
            devices=devices,
            areas=(),
            until=now + timedelta(minutes=wanted.minutes),
            reason=wanted.reason or f"city simulate {wanted.scenario} --drill",
            actor=ACTOR,
            now=now,
        )


async def _end(settings: Settings, drill_id: int) -> None:
    async with _transaction(settings) as connection:
        await stored.end(
            connection, drill_id, actor=ACTOR, reason="the play has ended", now=datetime.now(UTC)
        )


@asynccontextmanager
async def _transaction(settings: Settings) -> AsyncIterator[AsyncConnection[Any]]:
    async with await open_connection(settings.database_url, "city drill") as connection:
        yield connection
