"""Loads the district's state, follows its changes, ticks, and holds the screens.

Four loops, each run under the centre's supervision: ``listen`` (NOTIFY on a direct connection), ``follow``
(changes to incidents and events), ``look`` (levels, presence, health) and ``tick`` (commit and wake screens).
A loop that loses the database dies and is started again; ``tick`` touches no database and goes on, so that
screens hear within seconds that the rest stands still.
"""

import asyncio
import secrets
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
from psycopg import AsyncConnection, sql
from psycopg_pool import AsyncConnectionPool

from city.stations import StationForecast
from city.storage import alarms, drills
from city.storage import forecasts as stored_forecasts
from city.storage import health as health_figures
from city.storage import screen as tables
from city.storage.database import CHANNEL, connection_arguments
from command_centre.api.screen import state as derive
from command_centre.api.screen.follow import Follower
from command_centre.api.screen.log import Delta, ScreenLog

TICK_S = 0.2
URGENT_TICK_S = 0.05  # class A does not wait for the tick; a storm of them still shares frames
HEARTBEAT_S = 2.0
POLL_S = 1.0
RECONCILE_S = 30.0
HEALTH_S = 1.0
STATIONS_S = 1.5
SILENCED_S = 2.0  # what is shelved, and drills
PRESENCE_S = 5.0
GROUND_S = 30.0
MOST_SCREENS = 500
FORECASTS_S = 5.0
SKILL_S = 60.0

Pool = AsyncConnectionPool[AsyncConnection[Any]]
_log = structlog.get_logger(__name__)


class Hub:
    """One for each centre process; ``pool`` gives connections in autocommit mode.

    ``screens`` are the wake-up events of those connected. ``forecasts`` are the newest by station, ``skill`` what
    they were worth over the last 30 days.
    """

    def __init__(self, url: str, pool: Pool, *, most_screens: int = MOST_SCREENS) -> None:
        self._url = url
        self._pool = pool
        self.most_screens = most_screens
        self.loaded = False
        self.beat = 0
        self.health: dict[str, object] = derive.health(None, 0)
        self.forecasts: dict[str, StationForecast] = {}
        self.skill: dict[str, list[stored_forecasts.Verification]] = {}
        self.counted: Counter[str] = Counter()
        self.screens: set[asyncio.Event] = set()
        self._nudged = asyncio.Event()
        self._urgent = asyncio.Event()
        self._frames: dict[int | None, str] = {}
        self._begin()

    def _begin(self) -> None:
        self.log = ScreenLog(secrets.token_hex(8))
        self._state = derive.DistrictState(self.log)
        self._follower = Follower()
        self._looked: dict[str, float] = {}
        self._frames.clear()

    # ── from the database ────────────────────────────────────────────────────────────────────────────

    async def listen(self, stop: asyncio.Event) -> None:
        """Turn NOTIFY into a wake-up of ``follow``; its poll finds what a lost nudge would have said."""
        arguments: dict[str, Any] = connection_arguments("city centre listen")
        async with await AsyncConnection.connect(self._url, autocommit=True, **arguments) as connection:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
            while not stop.is_set():
                async for _ in connection.notifies(timeout=POLL_S):
                    self._nudged.set()

    async def follow(self, stop: asyncio.Event) -> None:
        """Load everything, then work in every change once, in the order of its id."""
        async with self._pool.connection() as connection:
            await self._load(connection)
        reconciled = time.monotonic()
        while not stop.is_set():
            await _either(self._nudged, POLL_S)
            self._nudged.clear()
            async with self._pool.connection() as connection:
                while await self._catch_up(connection):
                    pass
                if time.monotonic() - reconciled > RECONCILE_S:
                    self._state.set_incidents(await tables.open_incidents(connection), every=True)
                    reconciled = time.monotonic()

    async def _load(self, connection: AsyncConnection[Any]) -> None:
        recent, high = await tables.change_ids(connection)
        if self.loaded and high < self._follower.high:
            _log.warning("another database answers: screens start again")
            self._begin()
            self.loaded = False
        cells = await tables.cells(connection)
        district = await tables.district(connection)
        presence = await tables.presence(connection)
        incidents = await tables.open_incidents(connection)
        stations = await tables.stations(connection)
        await self._look_ahead(connection)
        await self._look_at_silenced(connection)
        if not self.loaded:
            self._follower.start(recent, high, time.monotonic())
        self._state.set_cells(cells)
        self._state.set_presence(presence)
        self._state.set_district(district)
        self._state.set_stations(stations, self.forecasts)
        self._state.set_incidents(incidents, every=True)
        self._state.set_health(self.health)
        if not self.loaded:
            self.log.commit(time.monotonic())
            self.loaded = True
            _log.info("screens are ready", cells=len(cells), incidents=len(incidents), epoch=self.log.epoch)

    async def _catch_up(self, connection: AsyncConnection[Any]) -> bool:
        """Work in what is new; True when there may be more. Nothing is marked as seen before it is staged."""
        rows = await tables.changes(connection, self._follower.high, self._follower.gaps())
        fresh = self._follower.fresh(row["id"] for row in rows)
        if not fresh:
            self._follower.saw([], time.monotonic())
            return False
        new = [row for row in rows if row["id"] in set(fresh)]
        incident_ids = [int(row["object"]) for row in new if _is(row, "incident")]
        alarm_ids = [int(row["object"]) for row in new if _is(row, "alarm")]
        incidents = await tables.incidents(connection, incident_ids, alarm_ids)
        of_alarm: dict[int | str, tables.Row] = {}
        if alarm_ids:
            of_alarm |= await tables.alarm_classes(connection, alarm_ids)
        self._state.set_incidents(incidents, every=False)
        if any(row["kind"] == "district.changed" for row in new):  # its response level, above all
            self._state.set_district(await tables.district(connection))
        of_incident: dict[int | str, tables.Row] = {row["id"]: row for row in incidents}
        for row in new:
            about = (of_incident if _is(row, "incident") else of_alarm).get(_identity(row))
            self._stage_event(row, about)
        self._follower.saw(fresh, time.monotonic())
        return len(rows) >= tables.MOST_CHANGES

    def _stage_event(self, row: tables.Row, about: tables.Row | None) -> None:
        event = {"kind": row["kind"], "id": _identity(row), "at": row["at"], "class": None, "exercise": False}
        if about is not None:
            event |= {"class": about["class"], "exercise": about["exercise"]}
        self.log.stage_event(event)
        self.counted["events"] += 1
        if event["class"] == "A":
            self._urgent.set()

    async def look(self, stop: asyncio.Event) -> None:
        """Read what has no change rows, each thing at its own interval; say when the database is gone."""
        while not stop.is_set():
            try:
                async with self._pool.connection(timeout=2.0) as connection:
                    await self._look_once(connection)
            except Exception:
                self.health = derive.blind_health(self.health)
                self._state.set_health(self.health)
                raise
            await _either(stop, 0.5)

    async def _look_once(self, connection: AsyncConnection[Any]) -> None:
        if self._due("health", HEALTH_S):
            ingest = await health_figures.ingest(connection)
            self.health = derive.health(ingest, await health_figures.refused_last_hour(connection))
            self._state.set_health(self.health)
        if not self.loaded:
            return
        if self._due("stations", STATIONS_S):
            started = time.monotonic()
            await self._look_ahead(connection)
            self._state.set_stations(await tables.stations(connection), self.forecasts)
            # Thousands of gauges are looked at less often: at most a fifth of the time.
            self._looked["stations"] += max(0.0, 5 * (time.monotonic() - started) - STATIONS_S)
        if self._due("silenced", SILENCED_S):
            await self._look_at_silenced(connection)
        if self._due("presence", PRESENCE_S):
            started = time.monotonic()
            self._state.set_presence(await tables.presence(connection))
            # A register so large that this takes long is read less often: at most a twentieth of the time.
            self._looked["presence"] += max(0.0, 20 * (time.monotonic() - started) - PRESENCE_S)
        if self._due("ground", GROUND_S):
            self._state.set_cells(await tables.cells(connection))
            self._state.set_district(await tables.district(connection))

    async def _look_ahead(self, connection: AsyncConnection[Any]) -> None:
        if self._due("forecasts", FORECASTS_S):
            self.forecasts = {one.station: one for one in await stored_forecasts.newest(connection)}
        if self._due("skill", SKILL_S):
            today = datetime.now(UTC).date()
            self.skill = await stored_forecasts.verification(connection, today)

    async def _look_at_silenced(self, connection: AsyncConnection[Any]) -> None:
        self._state.set_silent(await alarms.silent_counts(connection, datetime.now(UTC)))
        self._state.set_drills(await drills.drill_active(connection))

    def _due(self, what: str, every_s: float) -> bool:
        now = time.monotonic()
        if now - self._looked.get(what, -every_s) < every_s:
            return False
        self._looked[what] = now
        return True

    # ── to the screens ───────────────────────────────────────────────────────────────────────────────

    async def tick(self, stop: asyncio.Event) -> None:
        """Commit what is staged five times a second, at once for class A; beat when nothing happens."""
        last_tick = last_beat = 0.0
        while not stop.is_set():
            await _either(self._urgent, TICK_S)
            await asyncio.sleep(max(0.0, last_tick + URGENT_TICK_S - time.monotonic()))
            self._urgent.clear()
            if not self.loaded:
                continue
            last_tick = time.monotonic()
            committed = self.log.commit(last_tick)
            if committed or last_tick - last_beat >= HEARTBEAT_S:
                last_beat = last_tick
                self.beat += 1
                self._frames.clear()
                for wake in self.screens:
                    wake.set()

    def hello(self) -> str:
        """The first frame of every connection."""
        return _text({"t": "hello", "epoch": self.log.epoch, "seq": self.log.seq, "now": datetime.now(UTC)})

    def frame(self, since: int | None) -> str:
        """What brings a screen that has ``since`` up to date; a snapshot for None or when too far behind.

        Encoded once a tick for all screens that stand at the same number.
        """
        if since not in self._frames:
            delta = None if since is None else self.log.since(since)
            self._frames[since] = self._snapshot() if delta is None else _delta(delta)
        return self._frames[since]

    def _snapshot(self) -> str:
        self.counted["snapshots"] += 1
        return _text(
            {
                "t": "snap",
                "epoch": self.log.epoch,
                "seq": self.log.seq,
                "now": datetime.now(UTC),
                "set": self.log.snapshot(),
            }
        )


def _delta(delta: Delta) -> str:
    return _text(
        {
            "t": "d",
            "from": delta.start,
            "seq": delta.seq,
            "now": datetime.now(UTC),
            "set": delta.values,
            "ev": delta.events,
        }
    )


def _text(frame: dict[str, object]) -> str:
    return msgspec.json.encode(frame).decode()


def _is(row: tables.Row, noun: str) -> bool:
    return str(row["kind"]).startswith(noun + ".") and str(row["object"]).isdigit()


def _identity(row: tables.Row) -> int | str:
    """The number of an incident or alarm, the code of anything else."""
    thing: str = row["object"]
    return int(thing) if _is(row, "incident") or _is(row, "alarm") else thing


async def _either(event: asyncio.Event, timeout_s: float) -> None:
    # asyncio.timeout, not wait_for: before Python 3.12 wait_for may swallow a cancellation.
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
