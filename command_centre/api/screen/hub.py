"""Ticks, and holds the screens: what the feed has staged is numbered and given to every kind of screen.

``tick`` touches no database and goes on when the feed's loops fail, so that screens hear within seconds that the
rest stands still.
"""

import asyncio
import time
from collections import Counter, deque
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
import structlog

from city.stations import StationForecast
from city.storage.forecasts import Verification
from command_centre.api.screen.feed import Connection, Feed, Pool, either
from command_centre.api.screen.guests import Dismissed, Guest, gone
from command_centre.api.screen.log import ScreenLog
from command_centre.api.screen.sight import Sight, cells_within
from command_centre.api.screen.views import View, lens_of

TICK_S = 0.2
URGENT_TICK_S = 0.05  # class A does not wait for the tick; a storm of them still shares frames
HEARTBEAT_S = 2.0
MOST_SCREENS = 500
GUESTS_S = 10.0  # whether those who look still may
VIEW_KEPT_S = 300.0  # a view that nobody looks through is kept for those who come back and resume

_log = structlog.get_logger(__name__)


class Dismissable(Protocol):
    """A screen that can be sent away."""

    def dismiss(self, why: Dismissed) -> None:
        """At the next moment."""


class Hub:
    """One for each centre process; ``pool`` gives connections in autocommit mode.

    ``screens`` are the wake-up events of those connected, ``guests`` who looks at each; ``beat`` is the number of the
    last tick that said something; ``closing``: new screens are for the other centres.
    """

    def __init__(self, url: str, pool: Pool, *, most_screens: int = MOST_SCREENS) -> None:
        self.feed = Feed(url, pool)
        self.most_screens = most_screens
        self.beat = 0
        self.closing = False
        self.screens: set[asyncio.Event] = set()
        self.guests: dict[Dismissable, Guest] = {}
        self.owed: dict[
            asyncio.Event, deque[tuple[int, float]]
        ] = {}  # frames sent and not acknowledged, since when
        self._views: dict[Sight, View] = {}
        self._tallies: dict[tuple[str | None, str | None], str] = {}
        self._named = 0
        self._parents: dict[str, tuple[str, ...]] = {}
        self.feed.also.append(("guests", GUESTS_S, self._look_at_guests))
        self._grown = False  # a view came whose counts are not numbered yet

    @property
    def log(self) -> ScreenLog:
        """State and history."""
        return self.feed.log

    @property
    def loaded(self) -> bool:
        """Whether there is something to show."""
        return self.feed.loaded

    @property
    def health(self) -> dict[str, object]:
        """Of the chain behind the screens."""
        return self.feed.health

    @property
    def forecasts(self) -> dict[str, StationForecast]:
        """The newest by station."""
        return self.feed.forecasts

    @property
    def skill(self) -> dict[str, list[Verification]]:
        """What forecasts were worth over the last 30 days, by station."""
        return self.feed.skill

    @property
    def counted(self) -> Counter[str]:
        """What was done how often."""
        return self.feed.counted

    def slowest_s(self) -> float:
        """How long the slowest screen has not acknowledged what it was sent; 0 when all have."""
        now = time.monotonic()
        return max((now - frames[0][1] for frames in self.owed.values() if frames), default=0.0)

    async def tick(self, stop: asyncio.Event) -> None:
        """Commit what is staged five times a second, at once for class A; beat when nothing happens."""
        last_tick = last_beat = 0.0
        while not stop.is_set():
            await either(self.feed.urgent, TICK_S)
            await asyncio.sleep(max(0.0, last_tick + URGENT_TICK_S - time.monotonic()))
            self.feed.urgent.clear()
            self.feed.doubt()
            if not self.feed.loaded:
                continue
            last_tick = time.monotonic()
            committed = self.log.commit(last_tick, self.feed.complete())
            if committed or self._grown or last_tick - last_beat >= HEARTBEAT_S:
                last_beat = last_tick
                self._settle(last_tick)
                self.beat += 1
                for wake in self.screens:
                    wake.set()

    def known(self, sight: Sight) -> bool:
        """Whether there is such a scope."""
        return lens_of(sight, self.feed.state.parents) is not None

    def inside(self, scope: str | None, of: str | None) -> bool:
        """Whether a scope lies within another; None is the whole district."""
        if of is None or scope == of:
            return True
        parents = self.feed.state.parents
        inner, outer = cells_within(scope or "", parents), cells_within(of, parents)
        return inner is not None and outer is not None and inner <= outer

    def view(self, sight: Sight) -> View | None:
        """What all screens with this sight share, made for the first of them; None for a scope that is not there."""
        held = self._views.get(sight)
        if held is not None and held.epoch.startswith(self.log.epoch):
            return held
        lens = lens_of(sight, self.feed.state.parents)
        if lens is None:
            return None
        tally = self._tally(sight)
        made = View(self.log, sight, lens, tally, self.counted)
        made.ready = not tally and "alarm" not in sight.topics
        if tally not in self.feed.state.counting():
            self.feed.state.count_for(tally, lens)
        if "alarm" in sight.topics:
            self.feed.alarms.wanted = True
        self._views[sight] = made
        if not made.ready:
            self._grown = True
            self.feed.urgent.set()
        return made

    def hello(self, view: View, more: dict[str, object]) -> str:
        """The first frame of every connection; ``more`` is said to this screen alone."""
        frame: dict[str, Any] = {
            "t": "hello",
            "epoch": view.epoch,
            "seq": self.log.seq,
            "now": datetime.now(UTC),
            **more,
        }
        return msgspec.json.encode(frame).decode()

    async def _look_at_guests(self, connection: Connection) -> None:
        leaving = await gone(connection, set(self.guests.values()), datetime.now(UTC))
        for screen, guest in self.guests.items():
            if guest in leaving:
                screen.dismiss(leaving[guest])

    def _tally(self, sight: Sight) -> str:
        """Screens of one scope and unit share their counts, whatever their topics."""
        if not sight.narrowed():
            return ""
        key = (sight.scope, sight.unit)
        if key not in self._tallies:
            self._named += 1
            self._tallies[key] = str(self._named)
        return self._tallies[key]

    def _settle(self, now: float) -> None:
        """After a commit: nothing encoded before is true, views that waited are complete, unused ones go."""
        self._grown = False
        alarms = self.feed.alarms
        parents = self.feed.state.parents
        ground_moved, self._parents = parents is not self._parents, parents
        for sight, view in list(self._views.items()):
            view.fresh()
            if not view.ready:
                view.ready = "alarm" not in sight.topics or alarms.loaded
            if view.screens:
                view.left_at = now
            view.left_at = view.left_at or now
            moved = ground_moved and lens_of(sight, parents) != view.lens
            if moved or now - view.left_at > VIEW_KEPT_S or not view.epoch.startswith(self.log.epoch):
                self._drop(sight)
        if alarms.wanted and not any("alarm" in sight.topics for sight in self._views):
            alarms.forget()

    def _drop(self, sight: Sight) -> None:
        """Forget a view; screens that still look through it are given another, and a snapshot with it."""
        dropped = self._views.pop(sight)
        if dropped.tally and all(view.tally != dropped.tally for view in self._views.values()):
            self.feed.state.stop_counting(dropped.tally)
            self._tallies.pop((sight.scope, sight.unit), None)
