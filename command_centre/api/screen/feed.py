"""The district's state, read from the database and followed: what every screen of this centre is told.

Three loops, each run under the centre's supervision: ``listen`` (NOTIFY on a direct connection), ``follow`` (changes
to incidents, alarms and events) and ``look`` (levels, presence, health, who sits at the screens). A loop that loses
the database dies and is started again.
"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import structlog
from psycopg import AsyncConnection, sql
from psycopg_pool import AsyncConnectionPool

from city.stations import StationForecast
from city.storage import drills, uplink
from city.storage import forecasts as stored_forecasts
from city.storage import health as health_figures
from city.storage import screen as tables
from city.storage.database import CHANNEL, connection_arguments
from city.storage.lines import PatientAsyncConnection
from command_centre.api.screen import health
from command_centre.api.screen.follow import Follower
from command_centre.api.screen.happening import Told, events_of, told_of
from command_centre.api.screen.log import ScreenLog
from command_centre.api.screen.standing import StandingAlarms
from command_centre.api.screen.state import DistrictState

POLL_S = 1.0
RECONCILE_S = 30.0
HEALTH_S = 1.0
STATIONS_S = 1.5
SILENCED_S = 2.0  # what is shelved, and drills
PRESENCE_S = 5.0
GROUND_S = 30.0
ALARMS_S = 5.0
FORECASTS_S = 5.0
SKILL_S = 60.0
UNHEARD_S = 12.0  # a database that says nothing for so long is down, whatever our lines to it look like

Connection = AsyncConnection[Any]
Pool = AsyncConnectionPool[Connection]
_log = structlog.get_logger(__name__)


class Feed:
    """One for each centre process; ``pool`` gives connections in autocommit mode.

    ``forecasts`` are the newest by station, ``skill`` what they were worth over the last 30 days. ``urgent`` is set
    for what must not wait for the next tick. ``rounds`` counts how often the list of changes was read to its end.
    """

    def __init__(self, url: str, pool: Pool) -> None:
        self._url = url
        self._pool = pool
        self.loaded = False
        self.rounds = 0
        self.health: dict[str, object] = health.of_chain(None, 0)
        self.forecasts: dict[str, StationForecast] = {}
        self.skill: dict[str, list[stored_forecasts.Verification]] = {}
        self.counted: Counter[str] = Counter()
        self.urgent = asyncio.Event()
        self.also: list[tuple[str, float, Callable[[Connection], Awaitable[None]]]] = []
        self._nudged = asyncio.Event()
        self._looked_at = self._followed_at = time.monotonic()
        self._begin()

    def _begin(self) -> None:
        self.log = ScreenLog(secrets.token_hex(8))
        self.state = DistrictState(self.log)
        self.alarms = StandingAlarms(self.log)
        self._follower = Follower()
        self._looked: dict[str, float] = {}

    @property
    def high(self) -> int:
        """The highest change worked in."""
        return self._follower.high

    def complete(self) -> int:
        """The change up to which all are staged."""
        return self._follower.complete()

    def nudge(self) -> None:
        """Look for changes now."""
        self._nudged.set()

    async def listen(self, stop: asyncio.Event) -> None:
        """Turn NOTIFY into a wake-up of ``follow``; its poll finds what a lost nudge would have said."""
        arguments: dict[str, Any] = connection_arguments("city centre listen")
        async with await PatientAsyncConnection.connect(
            self._url, autocommit=True, **arguments
        ) as connection:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
            while not stop.is_set():
                async for _ in connection.notifies(timeout=POLL_S):
                    self._nudged.set()

    async def follow(self, stop: asyncio.Event) -> None:
        """Load everything, then work in every change once, in the order of its id."""
        async with self._pool.connection() as connection:
            await self._load(connection)
        self._followed_at = reconciled = time.monotonic()
        while not stop.is_set():
            await either(self._nudged, POLL_S)
            self._nudged.clear()
            async with self._pool.connection() as connection:
                while await self._catch_up(connection):
                    pass
                if time.monotonic() - reconciled > RECONCILE_S:
                    self.state.set_incidents(await tables.open_incidents(connection), every=True)
                    reconciled = time.monotonic()
            self.rounds += 1
            self._followed_at = time.monotonic()

    def doubt(self) -> None:
        """Say that the database is down when it was not heard for long: a frozen one breaks no line and ends no loop.

        Called by who ticks, since the loops below may be the ones that wait.
        """
        if self.health["database"] == "ok" and time.monotonic() - self._looked_at > UNHEARD_S:
            self._blind()

    def _blind(self) -> None:
        self.health = health.blind(self.health)
        self.state.set_health(self.health)

    async def _load(self, connection: Connection) -> None:
        recent, high = await tables.recent_changes(connection)
        if self.loaded and high < self._follower.high:
            _log.warning("another database answers: screens start again")
            self._begin()
            self.loaded = False
        first = not self.loaded
        about = await told_of(connection, recent) if first else Told()
        cells = await tables.cells(connection)
        district = await tables.district(connection)
        presence = await tables.presence(connection)
        incidents = await tables.open_incidents(connection)
        stations = await tables.stations(connection)
        await self._look_ahead(connection)
        await self._look_at_silenced(connection)
        if first:
            self._follower.start([row["id"] for row in recent], high, time.monotonic())
            self.log.remember(events_of(recent, about))
        self.state.set_cells(cells)
        self.state.set_presence(presence)
        self.state.set_district(district)
        self.state.set_stations(stations, self.forecasts)
        self.state.set_incidents(incidents, every=True)
        self.state.set_health(self.health)
        if first:
            self.log.commit(time.monotonic(), self.complete())
            self.loaded = True
            _log.info("screens are ready", cells=len(cells), incidents=len(incidents), epoch=self.log.epoch)

    async def _catch_up(self, connection: Connection) -> bool:
        """Work in what is new; True when there may be more. Nothing is marked as seen before it is staged."""
        rows = await tables.changes(connection, self._follower.high, self._follower.gaps())
        fresh = self._follower.fresh(row["id"] for row in rows)
        if not fresh:
            self._follower.saw([], time.monotonic())
            return False
        wanted = set(fresh)
        new = [row for row in rows if row["id"] in wanted]
        about = await told_of(connection, new)
        self.state.set_incidents(about.incidents, every=False)
        if self.alarms.loaded:
            await self.alarms.touch(connection, about.alarm_ids, about.incident_ids)
        if any(row["kind"] == "district.changed" for row in new):  # its response level, above all
            self.state.set_district(await tables.district(connection))
        for event in events_of(new, about):
            self.log.add_event(event)
            self.counted["events"] += 1
            if event.urgent:
                self.urgent.set()
        self._follower.saw(fresh, time.monotonic())
        return len(rows) >= tables.MOST_CHANGES

    async def look(self, stop: asyncio.Event) -> None:
        """Read what has no change rows, each thing at its own interval; say when the database is gone."""
        while not stop.is_set():
            try:
                async with self._pool.connection(timeout=2.0) as connection:
                    await self._look_once(connection)
            except Exception:
                self._blind()
                raise
            await either(stop, 0.5)

    async def _look_once(self, connection: Connection) -> None:
        if self._due("health", HEALTH_S):
            ingest = await health_figures.ingest(connection)
            refused = await health_figures.refused_last_hour(connection)
            told = health.of_chain(ingest, refused, await uplink.line(connection))
            deaf = self.loaded and time.monotonic() - self._followed_at > UNHEARD_S
            self.health = health.blind(told) if deaf else told
            self.state.set_health(self.health)
            self._looked_at = time.monotonic()
        if not self.loaded:
            return
        # Thousands of gauges are looked at less often: at most a fifth of the time; a register or a list of alarms so
        # large that it takes long, at most a twentieth.
        await self._sparingly("stations", STATIONS_S, 5, connection, self._look_at_stations)
        if self._due("silenced", SILENCED_S):
            await self._look_at_silenced(connection)
        await self._sparingly("presence", PRESENCE_S, 20, connection, self._look_at_presence)
        if self.alarms.wanted:
            await self._sparingly(
                "alarms", ALARMS_S if self.alarms.loaded else 0, 20, connection, self.alarms.refresh
            )
        if self._due("ground", GROUND_S):
            self.state.set_cells(await tables.cells(connection))
            self.state.set_district(await tables.district(connection))
        for name, every_s, work in self.also:
            if self._due(name, every_s):
                await work(connection)

    async def _sparingly(
        self,
        what: str,
        every_s: float,
        rest: int,
        connection: Connection,
        work: Callable[[Connection], Awaitable[None]],
    ) -> None:
        if not self._due(what, every_s):
            return
        started = time.monotonic()
        await work(connection)
        self._looked[what] += max(0.0, rest * (time.monotonic() - started) - every_s)

    async def _look_at_stations(self, connection: Connection) -> None:
        await self._look_ahead(connection)
        self.state.set_stations(await tables.stations(connection), self.forecasts)

    async def _look_at_presence(self, connection: Connection) -> None:
        self.state.set_presence(await tables.presence(connection))

    async def _look_ahead(self, connection: Connection) -> None:
        if self._due("forecasts", FORECASTS_S):
            self.forecasts = {one.station: one for one in await stored_forecasts.newest(connection)}
        if self._due("skill", SKILL_S):
            today = datetime.now(UTC).date()
            self.skill = await stored_forecasts.verification(connection, today)

    async def _look_at_silenced(self, connection: Connection) -> None:
        self.state.set_silent(await tables.silent_alarms(connection, datetime.now(UTC)))
        self.state.set_drills(await drills.drill_active(connection))

    def _due(self, what: str, every_s: float) -> bool:
        now = time.monotonic()
        if now - self._looked.get(what, -every_s) < every_s:
            return False
        self._looked[what] = now
        return True


async def either(event: asyncio.Event, timeout_s: float) -> None:
    """Until the event or the time."""
    # asyncio.timeout, not wait_for: before Python 3.12 wait_for may swallow a cancellation.
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
