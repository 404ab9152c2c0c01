"""Who logs in at the broker, from its own log on ``$SYS/broker/log/N``: when each account was last used, who still
shares one, and how many were refused. One centre of several listens; a broker that tells nothing is no trouble.
"""

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from psycopg import AsyncConnection

from city.settings import Settings
from city.storage import alone, credentials
from city.storage.alone import Right
from city.storage.changes import open_connection
from command_centre import broker_log
from command_centre.broker_log import LoggedIn, Refused
from command_centre.waking import rest

TOPIC = "$SYS/broker/log/N"
FLUSH_S = 5.0
MOST_HELD = 20_000  # different clients between two writings; a storm of log-ins meets this bound
OURS = frozenset({"ingest", "centre"})

log = structlog.get_logger(__name__)
Connection = AsyncConnection[Any]


class Book:
    """What was heard since it was last written; filled by the client's thread, emptied by the loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logins: dict[tuple[str, str], tuple[datetime, str, int]] = {}
        self._refused = 0

    def hear(self, line: str, at: datetime) -> None:
        """One line of the broker's log."""
        said = broker_log.read(line)
        with self._lock:
            if isinstance(said, Refused):
                self._refused += 1
            elif isinstance(said, LoggedIn) and said.account not in OURS:
                who = (said.account, said.client_id)
                times = self._logins[who][2] if who in self._logins else 0
                if times or len(self._logins) < MOST_HELD:
                    self._logins[who] = (at, said.address, times + 1)

    def take(self) -> tuple[dict[tuple[str, str], tuple[datetime, str, int]], int]:
        """(account, client id) to (when last, address, how often), and how many were refused; then it is empty."""
        with self._lock:
            taken = self._logins, self._refused
            self._logins, self._refused = {}, 0
        return taken


async def run(url: str, settings: Settings, stop: asyncio.Event) -> None:
    """Listen and write until ``stop``; where we keep no accounts nothing. Raises DatabaseError, to be started again."""
    if settings.broker_files is None or not settings.mqtt_url:
        await stop.wait()
        return
    connection = await open_connection(url, "city centre broker watch", autocommit=True)
    async with connection:
        while not await alone.try_alone(connection, Right.HEAR_BROKER):
            await rest(stop, FLUSH_S)
            if stop.is_set():
                return
        book = Book()
        client = _listening(settings, book)
        try:
            while not stop.is_set():
                await rest(stop, FLUSH_S)
                await alone.touch(connection)
                await write(connection, book, datetime.now(UTC))
        finally:
            client.disconnect()
            await asyncio.to_thread(client.loop_stop)


async def write(connection: Connection, book: Book, now: datetime) -> None:
    """Put down what was heard, in one transaction."""
    logins, refused = book.take()
    if not logins and not refused:
        return
    latest: dict[str, tuple[datetime, str]] = {}
    for (account, _), (at, address, _) in logins.items():
        if account not in latest or latest[account][0] < at:
            latest[account] = at, address
    async with connection.transaction():
        own = await credentials.logged_in(connection, latest)
        await credentials.shared(connection, {who: what for who, what in logins.items() if who[0] not in own})
        if refused:
            await credentials.refused(connection, now, refused)


def _listening(settings: Settings, book: Book) -> Client:
    parts = urlsplit(settings.mqtt_url)
    client = Client(CallbackAPIVersion.VERSION2, clean_session=True, protocol=MQTTProtocolVersion.MQTTv311)
    if parts.username:
        client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
    tls = settings.tls_of_broker()
    if tls is not None:
        client.tls_set_context(tls)

    def heard(_client: Client, _userdata: object, message: MQTTMessage) -> None:
        book.hear(message.payload.decode("utf-8", "replace"), datetime.now(UTC))

    client.on_connect = lambda one, *_: one.subscribe(TOPIC, 0)
    client.on_message = heard
    client.reconnect_delay_set(1, 30)
    client.connect_async(parts.hostname or "127.0.0.1", parts.port or (8883 if tls else 1883), keepalive=60)
    client.loop_start()
    return client
