"""The loop around the pipeline: take, process, acknowledge; try again when the database is away.

A batch is held until it is committed. While it waits the inbox fills, then the socket, then the broker: nothing is
dropped here. Every second the loop also does what only time calls for.
"""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import psycopg
import structlog
from numpy.typing import NDArray
from psycopg import Connection

from city.observations import instant
from city.settings import Settings
from city.storage import ingest_sessions
from city.storage.database import DatabaseError, blames_the_rows, connect
from ingest.delivery import Delivery, Source, portions
from ingest.disk_watch import DiskWatch
from ingest.inbox import Inbox
from ingest.listeners import listeners
from ingest.measures import Measures
from ingest.pipeline import Pipeline
from ingest.routing import Router, chosen, subscriptions
from ingest.shards import Shards
from ingest.sources.mqtt import BrokerSource
from rules.listening import Listening

CHORES_EVERY_S = 1.0
ALIVE_EVERY_S = 5.0
PRESENCE_EVERY_S = 10  # a device's last arrival is written this often at most
PRESENCE_AT_ONCE = 2_000  # devices a second, so that an alarm never waits behind a hundred thousand of them
LISTENED_DAYS = 30  # of our own uptime remembered for silence; the longest expected interval is about a day
FEW = 2_000  # held messages under which we count as caught up

LEAST_PORTION = 200  # messages in one transaction at a database that is too slow for more

log = structlog.get_logger()


class Worker:
    """One ingest process: a source, an inbox, a pipeline, and the times between."""

    def __init__(
        self, settings: Settings, mqtt_url: str, *, watched: Callable[[], None] = lambda: None
    ) -> None:
        """``watched`` is called about once a second while the loop goes round, waiting for the database included."""
        self._settings = settings
        self._inbox = Inbox(limit=settings.pending_limit, batch=settings.batch_size)
        self._router = Router(chosen(settings.senders))
        self.name = settings.mqtt_client_id  # of this process, in what it leaves of itself in the database
        self.source: Source = self._log_source(mqtt_url)
        self._sources: list[Source] = [self.source, *listeners(settings, self._inbox, first=1)]
        self._opened: tuple[Connection[Any], Pipeline | Shards] | None = None
        self._disk = DiskWatch(settings)
        self._portion = settings.batch_size  # messages in one transaction, less at a slow database
        self._listening = Listening()
        self._session: int | None = None
        self._session_caught_up = False
        self._said_connected = False
        self._next_chores = self._next_alive = 0.0
        self._presence: NDArray[np.int64] = np.zeros(0, dtype=np.int64)  # heard_us as last written
        self._presence_next = 0  # the device to go on with
        self._troubles: set[str] = set()  # of the database, since it was well; each is said once
        self._lag_us = 0
        self._watched = watched
        self.measures = Measures(lambda: {**self.figures(), "database_up": not self._troubles})

    def _log_source(self, mqtt_url: str) -> Source:
        """Where the district's messages come from: a queue of our own at one broker."""
        settings = self._settings
        return BrokerSource(
            mqtt_url,
            client_id=settings.mqtt_client_id,
            topics=subscriptions(settings.mqtt_topics, self._router),
            take=self._inbox.put,
            may_read=self._inbox.has_room,
            stock=settings.stock_paho,
            tls=settings.tls_of_broker(),
        )

    def _pipeline_on(self, connection: Connection[Any]) -> Pipeline | Shards:
        return Pipeline(
            connection,
            max_unclaimed=self._settings.max_unclaimed_devices,
            retention_days=self._settings.retention_days,
            router=self._router,
            zone=self._settings.zone,
            reports=bool(self._settings.uplink_url),
        )

    @property
    def _asked(self) -> bool:
        """Whether the source wants something of the database before the next batch."""
        return False

    def _attend(self) -> None:
        """Do what it wants, or a part of it: batches go on between."""

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop``; what is not committed then comes again from the broker."""
        self._attempt(self._open, stop)
        for source in self._sources:
            source.start()
        while not stop.is_set():
            self._watched()
            if self._asked:
                self._attempt(self._attend, stop)
            wait_s = 0.0 if self._asked else 0.1
            deliveries = self._inbox.take(gather_s=self._settings.batch_interval_ms / 1000, wait_s=wait_s)
            if deliveries and self._attempt(partial(self._commit, deliveries), stop):
                for delivery in deliveries:
                    self._sources[delivery.source].acknowledge(delivery.generation, delivery.packet_ids)
                self._inbox.done(deliveries)
            if time.monotonic() >= self._next_chores or self.source.connected != self._said_connected:
                self._attempt(self._chores_done, stop)
        for source in self._sources:
            source.stop()
        self._close()

    @property
    def _connection(self) -> Connection[Any]:
        if self._opened is None:
            raise psycopg.InterfaceError("no connection is open")  # the loop opens one and tries again
        return self._opened[0]

    @property
    def _pipeline(self) -> Pipeline | Shards:
        if self._opened is None:
            raise psycopg.InterfaceError("no connection is open")
        return self._opened[1]

    # ── the database comes and goes ───────────────────────────────────────────────────────────────────

    def _attempt(self, work: Callable[[], None], stop: threading.Event) -> bool:
        """Do it until it is done or we stop; a lost database is waited for, and everything rebuilt from it."""
        wait_s = 0.05
        while not stop.is_set():
            self._watched()
            try:
                if self._opened is None and work != self._open:
                    self._open()
                work()
                if self._troubles:
                    log.info("database is back")
                    self._troubles.clear()
                return True
            except (psycopg.Error, DatabaseError) as error:
                if isinstance(error, DatabaseError) and not error.retry:
                    raise
                if isinstance(error, psycopg.errors.QueryCanceled):  # too much at a time, or it never ends
                    self._portion = max(LEAST_PORTION, self._portion // 2)
                self._say_away(error)
                self._drop_connection()
                stop.wait(wait_s)
                wait_s = min(wait_s * 2, 2.0)
        return False

    def _say_away(self, error: Exception) -> None:
        why = " ".join(str(error).split())[:200]
        kind = "".join(char for char in why if not char.isdigit())
        if kind not in self._troubles:
            self._troubles.add(kind)
            log.warning("database is away or takes nothing; holding messages back", error=why)

    def _open(self) -> None:
        self._drop_connection()
        connection = connect(self._settings.database_url, application="city ingest", autocommit=True)
        pipeline = self._pipeline_on(connection)
        now_us = time.time_ns() // 1000
        with connection.transaction():
            past = ingest_sessions.intervals(connection, instant(now_us - LISTENED_DAYS * 86_400_000_000))
        self._listening = Listening(past)
        self._session = None
        self._presence = pipeline.heard_us.copy()
        self._opened = (connection, pipeline)

    def _drop_connection(self) -> None:
        if self._opened is not None:
            self._opened[0].close()
        self._opened, self._session = None, None

    def _close(self) -> None:
        if self._opened is None:
            return
        try:
            self._write_presence(most=len(self._pipeline.heard_us))
            if self._session is not None:
                with self._connection.transaction():
                    ingest_sessions.end(self._connection, self._session, instant(time.time_ns() // 1000))
        except psycopg.Error as error:
            log.warning("could not write the last signs of life", error=str(error)[:200])
        self._connection.close()

    # ── batches ───────────────────────────────────────────────────────────────────────────────────────

    def _commit(self, deliveries: list[Delivery]) -> None:
        self._lag_us = time.time_ns() // 1000 - deliveries[0].received_us
        began = time.monotonic()
        for portion in portions(deliveries, self._portion):
            try:
                self._pipeline.process(portion)
            except psycopg.Error as error:
                if not blames_the_rows(error):
                    raise
                log.error(
                    "the database refused a batch; trying its messages one by one", error=str(error)[:300]
                )
                for delivery in portion:
                    self._commit_singly(delivery)
        self._portion = min(self._settings.batch_size, self._portion * 2)
        self.measures.batch(sum(map(len, deliveries)), time.monotonic() - began)

    def _commit_singly(self, delivery: Delivery) -> None:
        """One message a transaction: the one that cannot be stored is quarantined, its neighbours are not."""
        for position in range(len(delivery)):
            try:
                self._pipeline.process([delivery.part(position, position + 1)])
            except psycopg.Error as error:
                if not blames_the_rows(error):
                    raise
                self._pipeline.refuse(delivery, position, " ".join(str(error).split())[:300])

    # ── what time calls for ───────────────────────────────────────────────────────────────────────────

    def _chores_done(self) -> None:
        """What the database refuses of them is said and left: messages must not wait behind it."""
        try:
            self._chores()
        except psycopg.Error as error:
            if not blames_the_rows(error):
                raise
            log.error("the database refused what time calls for", error=" ".join(str(error).split())[:300])
            self._next_chores = time.monotonic() + CHORES_EVERY_S

    def _chores(self) -> None:
        moment = time.monotonic()
        self._look_at_disk()
        self._follow_listening()
        self._pipeline.tick(self._listening)
        self._pipeline.refresh()
        self._pipeline.replay()
        if moment >= self._next_alive or self.source.connected != self._said_connected:
            self._say_alive()
            self._next_alive = moment + ALIVE_EVERY_S
        self._write_presence()
        self._next_chores = moment + CHORES_EVERY_S

    def _look_at_disk(self) -> None:
        """Without room nothing more is read: the brokers hold it, and PostgreSQL never meets the end of its disk."""
        if self._disk.look(self._connection):
            self._inbox.closed = self._disk.room == "none"
            self._next_alive = 0.0  # people hear of it now

    def _follow_listening(self) -> None:
        """Listening means connected and caught up; anything else is our gap, not the devices' silence."""
        now_us = time.time_ns() // 1000
        caught_up = (
            self.source.connected
            and not self.source.behind
            and self._inbox.held < FEW
            and not self._inbox.closed
        )
        if self._session is not None and caught_up == self._session_caught_up:
            return
        with self._connection.transaction():
            session = ingest_sessions.begin(self._connection, self.name, instant(now_us), caught_up=caught_up)
        self._session, self._session_caught_up = session, caught_up
        self._next_alive = 0.0
        self._listening = self._listening.opened(now_us) if caught_up else self._listening.closed(now_us)

    def _say_alive(self) -> None:
        if self._session is None:
            return
        self._said_connected = self.source.connected  # a wall is grey until it hears that the broker is back
        with self._connection.transaction():
            ingest_sessions.alive(
                self._connection, self._session, instant(time.time_ns() // 1000), self.figures()
            )

    def _write_presence(self, most: int = PRESENCE_AT_ONCE) -> None:
        """Last arrivals that are PRESENCE_EVERY_S newer than what was written; the rest a second later."""
        heard = self._pipeline.heard_us
        if len(self._presence) < len(heard):
            written = np.zeros(len(heard), dtype=np.int64)
            written[: len(self._presence)] = self._presence
            self._presence = written
        least = PRESENCE_EVERY_S * 1_000_000 if most == PRESENCE_AT_ONCE else 0
        changed = np.flatnonzero(heard[: len(self._presence)] - self._presence[: len(heard)] > least)
        changed = in_turn(changed, self._presence_next, most)
        if len(changed):
            with self._connection.transaction():
                ingest_sessions.write_presence(self._connection, changed.astype(np.int32), heard[changed])
            self._presence[changed] = heard[changed]
            self._presence_next = int(changed[-1]) + 1

    def figures(self) -> dict[str, object]:
        """Counters of this process for health and metrics."""
        pipeline = self._opened[1] if self._opened else None
        return {
            **(dict(pipeline.counters) if pipeline else {}),
            **self._disk.figures(),
            "pending": self._inbox.held,
            "lag_ms": self._lag_us // 1000 if self._inbox.held else 0,
            **{name: value for source in self._sources for name, value in source.figures().items()},
            "unclaimed": pipeline.unclaimed if pipeline else 0,
        }


def in_turn(device_ids: NDArray[np.intp], begin: int, most: int) -> NDArray[np.intp]:
    """At most so many of these, which are in order, from ``begin`` on and round again.

    Where more devices speak than are written, those of low ids would else always come first, and the others look
    silent on every screen.
    """
    at = int(np.searchsorted(device_ids, begin))
    return np.concatenate([device_ids[at:], device_ids[:at]])[:most]
