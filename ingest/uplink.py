"""The process that tells the city: out of the outbox, over the line, away when acknowledged. docs/edge.md.

Oldest first, so that the city's rules see each device's readings in their order; before that, what devices in alarm
have said, so that no old reading holds up a new warning.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import psycopg
import structlog
from psycopg import Connection

from city.service_manager import SILENT, ServiceManager
from city.settings import Settings, SettingsError
from city.stopping import on_signals
from city.storage import uplink as outbox
from city.storage.database import DatabaseError, connect
from city.uplink import NODE_KIND, Owed, State, Waiting
from ingest.city_line import CityLine, LineCutError
from ingest.main import schema_is_there
from ingest.pacing import Ahead, Pace, runs
from ingest.upward import Upward, messages

HEARTBEAT_S = 15.0  # between the node's own words where nothing changed
SAY_S = 2.0
UPKEEP_S = 60.0
IDLE_S = 0.2  # between looks into an empty outbox
BEHIND_S = 5.0  # older than this the oldest is a backlog, beside which devices in alarm go first
KEPT_S = 60.0  # an acknowledged batch stays so long: mosquitto saves what it queues every 30 s only
MOST_AHEAD = 200  # devices in alarm that go first
LOOKED_THROUGH = 200  # batches in one look for what devices in alarm said
MERGED_AT_ONCE = 5_000  # batches
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 15.0

log = structlog.get_logger()


class Uplink:
    """One district's end of the line."""

    def __init__(
        self, settings: Settings, stop: threading.Event, *, look: Callable[[], None] = lambda: None
    ) -> None:
        """``look`` is called about once a second while the loop goes round. Raises SettingsError for a plain loop."""
        check(settings)
        self.node = unquote(urlsplit(settings.uplink_url).username or "")
        self._settings = settings
        self._stop = stop
        self._look = look
        self._topic = f"city/{settings.uplink_cell}/{NODE_KIND}/{self.node}"
        self._pace = Pace(rate=settings.uplink_rate)
        self._ahead = Ahead({})
        self._opened: Connection[Any] | None = None
        self._up = False
        self._since = datetime.now(UTC)
        self._why = "not connected yet"
        self._waiting = Waiting(size=0, oldest_at=None)
        self._counted = {"sent": 0, "refused": 0, "expired": 0}  # since they were last written
        self._refused_topic = ""
        self._own: dict[str, int] = {}
        self._said_at = self._upkeep_at = self._beat_at = -1e9
        self._merged_to = 0

    def run(self) -> None:
        """Until ``stop``; CityError when the line leads back here."""
        wait_s = FIRST_WAIT_S
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._connected()
            except LineCutError as cut:
                if not self._stop.is_set():
                    self._cut(str(cut))
            except (psycopg.Error, DatabaseError) as error:
                self._database_away(error)
            # One that held for a while is tried again at once, as people wait in front of the city's wall.
            wait_s = FIRST_WAIT_S if time.monotonic() - began > LONGEST_WAIT_S else wait_s
            self._rest(wait_s * random.uniform(0.8, 1.2))  # noqa: S311  # jitter: a city has many districts
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)
        if self._opened is not None:
            self._opened.close()

    # ── the line is up ────────────────────────────────────────────────────────────────────────────────

    def _connected(self) -> None:
        """One connection to the city's broker, for as long as it holds."""
        connection = self._database()
        line = CityLine(self._settings, will=f"{self._topic}/status", stopping=self._stop.is_set)
        try:
            again = outbox.send_again(connection)
            self._ahead = Ahead({})
            self._beat_at = self._said_at = -1e9
            line.send([Upward(f"{self._topic}/status", b"online", 0)])
            self._change(up=True, why="")
            log.info("the line to the city is up", node=self.node, batches_again=again)
            while not self._stop.is_set():
                self._look()
                self._tell_of_us(line)
                if not self._pace.may_send(time.monotonic()):
                    self._stop.wait(0.02)
                elif not self._send_some(line):
                    self._stop.wait(IDLE_S)
        finally:
            line.close(last=Upward(f"{self._topic}/status", b"offline", 0) if self._stop.is_set() else None)

    def _send_some(self, line: CityLine) -> bool:
        """One piece of what waits; False = nothing does."""
        connection = self._database()
        if self._behind():
            self._send_ahead(line)
        ids, owed = outbox.oldest(connection, most=self._pace.piece)
        if not ids:
            return False
        self._carry(line, owed)
        outbox.acknowledged(connection, ids)
        self._counted["sent"] += len(owed)
        return True

    def _send_ahead(self, line: CityLine) -> None:
        """What waits of devices in alarm, each from its beginning on; it comes again in its turn and is known then."""
        connection = self._database()
        newest = outbox.newest_batch(connection)
        devices = outbox.in_alarm(connection, most=MOST_AHEAD)
        for behind, some in self._ahead.plan(devices, newest).items():
            reached = behind
            while reached < newest:
                until = outbox.reach(connection, after=reached, most=LOOKED_THROUGH) or newest
                self._carry(line, outbox.of_devices(connection, some, after=reached, until=until))
                reached = until
            self._ahead.reached(some, newest)

    def _carry(self, line: CityLine, owed: Sequence[Owed]) -> None:
        said, unsayable = messages(owed, cell=self._settings.uplink_cell)
        refused = line.send(said)
        self._pace.sent(len(owed))
        if refused or unsayable:
            topic = refused[0].topic if refused else f"{unsayable[0].kind}/{unsayable[0].device}"
            if topic != self._refused_topic:
                log.warning(
                    "the city's broker does not take this from us",
                    topic=topic,
                    remedy="register the device at the city behind this node; docs/edge.md",
                )
            self._refused_topic = topic
            self._counted["refused"] += len(refused) + len(unsayable)

    def _behind(self) -> bool:
        oldest = self._waiting.oldest_at
        return oldest is not None and (datetime.now(UTC) - oldest).total_seconds() > BEHIND_S

    # ── what we say of ourselves ──────────────────────────────────────────────────────────────────────

    def _tell_of_us(self, line: CityLine) -> None:
        """To the city when something changed, or after a while; to our own screens every two seconds."""
        now = time.monotonic()
        if now - self._said_at < SAY_S:
            return
        connection = self._database()
        self._say(connection)
        own = outbox.own_figures(connection)
        if own == self._own and now - self._beat_at < HEARTBEAT_S:
            return
        oldest = self._waiting.oldest_at
        age_s = 0.0 if oldest is None else (datetime.now(UTC) - oldest).total_seconds()
        told = {"waiting": self._waiting.size, "waiting_s": round(max(0.0, age_s), 1), **own}
        beat = {"ts": time.time_ns() // 1_000_000, "metrics": told}
        if line.send([Upward(self._topic, msgspec.json.encode(beat), 1)]):
            raise LineCutError(
                f"the city's broker does not let us say {self._topic}; is CITY_UPLINK_CELL right?"
            )
        self._own, self._beat_at = own, now

    def _say(self, connection: Connection[Any]) -> None:
        now = time.monotonic()
        self._said_at = now
        if now - self._upkeep_at >= UPKEEP_S:
            self._upkeep_at = now
            self._counted["expired"] += outbox.expire(connection, days=self._settings.uplink_days)
        if self._up:
            outbox.forget(connection, kept_s=KEPT_S)
        self._waiting = outbox.waiting(connection)
        state = State(
            node=self.node,
            up=self._up,
            since=self._since,
            why=self._why,
            waiting=self._waiting,
            refused_topic=self._refused_topic,
        )
        with connection.transaction():
            outbox.say(connection, state, **self._counted)
        self._counted = dict.fromkeys(self._counted, 0)
        if outbox.hears_itself(connection, self.node):
            raise SettingsError(
                f"CITY_UPLINK_URL: leads back to this district, which hears node {self.node} itself;"
                " give the address of the city's broker"
            )

    # ── the line is cut ───────────────────────────────────────────────────────────────────────────────

    def _cut(self, why: str) -> None:
        if self._up:
            log.warning("the line to the city is cut; what is stored here waits", why=why)
        self._change(up=False, why=why)
        self._rest(0)

    def _change(self, *, up: bool, why: str) -> None:
        if up != self._up:
            self._since = datetime.now(UTC)
        self._up, self._why = up, why

    def _rest(self, seconds: float) -> None:
        """Wait, and keep our own screens told meanwhile."""
        until = time.monotonic() + seconds
        while True:
            self._look()
            try:
                if time.monotonic() - self._said_at >= SAY_S or seconds == 0:
                    self._say(self._database())
                    self._merge()
            except (psycopg.Error, DatabaseError) as error:
                self._database_away(error)
            if time.monotonic() >= until or self._stop.wait(min(0.5, max(0.0, until - time.monotonic()))):
                return

    def _merge(self) -> None:
        """Make few large batches of many small ones, behind those that were merged before."""
        connection = self._database()
        for first, last in runs(outbox.sizes(connection, after=self._merged_to, most=MERGED_AT_ONCE)):
            with connection.transaction():
                outbox.merge(connection, first, last)
            self._merged_to = last

    # ── our own database ──────────────────────────────────────────────────────────────────────────────

    def _database(self) -> Connection[Any]:
        if self._opened is None:
            self._opened = connect(self._settings.database_url, application="city uplink", autocommit=True)
        return self._opened

    def _database_away(self, error: Exception) -> None:
        if isinstance(error, DatabaseError) and not error.retry:
            raise error
        if self._opened is not None:
            log.warning("our own database is away", error=" ".join(str(error).split())[:200])
            self._opened.close()
        self._opened = None


def check(settings: Settings) -> None:
    """Raises SettingsError when what an uplink needs is missing, or it would talk to its own broker."""
    for name in ("uplink_url", "uplink_cell", "database_url"):
        if not getattr(settings, name):
            raise SettingsError(f"CITY_{name.upper()}: city uplink needs it; docs/edge.md")
    there, here = urlsplit(settings.uplink_url), urlsplit(settings.mqtt_url)
    if here.hostname and _address(there) == _address(here):
        raise SettingsError(
            "CITY_UPLINK_URL: is this district's own broker (CITY_MQTT_URL); give the address of the city's"
        )


def _address(parts: Any) -> tuple[str, int]:
    return (parts.hostname or "", parts.port or (8883 if parts.scheme == "mqtts" else 1883))


def run(settings: Settings, manager: ServiceManager = SILENT) -> int:
    """Work until SIGTERM or SIGINT; 0 on a clean stop. Raises CityError with one line when it cannot start."""
    stop = threading.Event()
    on_signals(stop.set)
    one = Uplink(settings, stop, look=manager.watched)
    if not schema_is_there(settings.database_url, stop):
        return 0
    log.info("uplink starts", node=one.node, cell=settings.uplink_cell, rate=settings.uplink_rate)
    manager.ready()
    try:
        one.run()
    finally:
        manager.stopping()
    log.info("uplink stopped")
    return 0
