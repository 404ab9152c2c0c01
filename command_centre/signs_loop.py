"""Keeps the broker's retained messages for sirens and signs equal to what stands; one centre of several does it.

Nothing is queued for a broker that is away: at every connection what it keeps is read and what differs is said.
"""

import asyncio
import ssl
from contextlib import suppress
from datetime import UTC
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from city.errors import CityError
from city.settings import Settings
from city.storage import alone
from city.storage import signs as stored
from city.storage.alone import Right
from city.storage.changes import open_connection
from command_centre import signs
from command_centre.waking import Waking, rest

PATIENCE_S = 10.0  # for the broker's word on anything
SETTLE_S = 0.2  # what the broker keeps has come by then, mostly; what comes later is put right as well
_AT_ONCE = 1_000  # messages under way

log = structlog.get_logger(__name__)


class SignsError(CityError):
    """The broker cannot be reached or does not take what is said; the loop is started again."""


async def run(url: str, settings: Settings, stop: asyncio.Event) -> None:
    """Speak until ``stop``; raises SignsError or DatabaseError, to be started again. Without a topic: nothing."""
    if not settings.alarm_topic:
        await stop.wait()
        return
    if not settings.mqtt_url:
        raise SignsError("CITY_ALARM_TOPIC is set and CITY_MQTT_URL is empty: no connection to speak through")
    async with Waking(url, "city centre signs wake", stop) as waking:
        connection = await open_connection(url, "city centre signs", autocommit=True)
        async with connection:
            while not await alone.try_alone(connection, Right.SPEAK_TO_SIGNS):
                await rest(stop)
                if stop.is_set():
                    return
            board = Board(settings.mqtt_url, settings.alarm_topic, tls=settings.tls_of_broker())
            try:
                await board.open()
                while not stop.is_set():
                    board.show(await wanted(connection, settings))
                    await board.look()
                    await waking.sleep()
            finally:
                await board.close()


async def wanted(connection: stored.Connection, settings: Settings) -> dict[str, bytes]:
    """Every topic on which something stands, with its message."""
    base, exercises = settings.alarm_topic, settings.alarm_exercises
    said = [signs.alarm(base, _utc(row)) for row in await stored.standing(connection, exercises=exercises)]
    said += [signs.level(base, _utc(row)) for row in await stored.levels(connection, exercises=exercises)]
    return dict(said)


def _utc(row: stored.Row) -> stored.Row:
    return {**row, "since": row["since"].astimezone(UTC)}


class Board:
    """One connection to the broker. Its thread hands everything to the loop, which alone keeps the state.

    A lost connection ends it: what paho would send again by itself may be out of date.
    """

    def __init__(self, url: str, base: str, *, tls: ssl.SSLContext | None = None) -> None:
        self._base = base
        self._loop = asyncio.get_running_loop()
        self._open = asyncio.Event()
        self._trouble = ""
        self._wanted: dict[str, bytes] | None = None  # not known yet
        self._said: dict[str, bytes] = {}  # kept by the broker, as it told us or acknowledged
        self._under_way: dict[str, bytes] = {}
        self._numbers: dict[int, str] = {}  # message number to topic
        self._oldest_s: float | None = None  # since when something is under way
        parts = urlsplit(url)
        secure = parts.scheme == "mqtts"
        self._address = (parts.hostname or "127.0.0.1", parts.port or (8883 if secure else 1883))
        self._client = Client(
            CallbackAPIVersion.VERSION2, clean_session=True, protocol=MQTTProtocolVersion.MQTTv311
        )
        if parts.username:
            self._client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
        if secure:
            self._client.tls_set_context(tls or ssl.create_default_context())
        self._client.on_connect = lambda _c, _u, _f, reason, _p: self._hand(
            self._connected, str(reason) if reason.is_failure else ""
        )
        self._client.on_subscribe = lambda _c, _u, _m, reasons, _p: self._hand(
            self._subscribed, next((str(one) for one in reasons if one.is_failure), "")
        )
        self._client.on_disconnect = lambda _c, _u, _f, reason, _p: self._hand(self._lost, str(reason))
        self._client.on_publish = lambda _c, _u, number, _r, _p: self._hand(self._acknowledged, number)
        self._client.on_message = self._heard

    async def open(self) -> None:
        """Connect and ask for what the broker keeps; raises SignsError."""
        host, port = self._address
        try:
            await asyncio.to_thread(self._client.connect, host, port, 30)
            self._client.loop_start()
            async with asyncio.timeout(PATIENCE_S):
                await self._open.wait()
        except (OSError, ValueError, TimeoutError) as error:
            raise SignsError(f"signs: no connection to the broker at {host}:{port} ({error})") from error
        if self._trouble:
            raise SignsError(f"signs: the broker at {host}:{port} refused the connection ({self._trouble})")
        await asyncio.sleep(SETTLE_S)
        log.info("signs are told", topic=f"{self._base}/#")

    async def close(self) -> None:
        """Wait a moment for what is under way, then disconnect."""
        with suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                while self._under_way and not self._trouble:
                    await asyncio.sleep(0.01)
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    def show(self, wanted: dict[str, bytes]) -> None:
        """From now on this is what stands."""
        self._wanted = wanted
        self._say()

    async def look(self) -> None:
        """Raise SignsError when the connection is lost, or the broker takes nothing any more."""
        late = self._oldest_s is not None and self._loop.time() - self._oldest_s > PATIENCE_S
        if self._trouble or late:
            raise SignsError(
                f"signs: lost the connection to the broker ({self._trouble or 'no acknowledgement'})"
            )

    def _say(self) -> None:
        if self._trouble or self._wanted is None:
            return
        fresh = signs.to_say(self._base, self._wanted, self._said, self._under_way)
        for topic, message in fresh.items():
            if topic in self._under_way or len(self._under_way) >= _AT_ONCE:
                continue  # said when what is under way has arrived
            self._under_way[topic] = message
            number = self._client.publish(topic, message, qos=1, retain=True).mid
            self._numbers[number] = topic
        if self._under_way and self._oldest_s is None:
            self._oldest_s = self._loop.time()

    # ── what the broker says, on the loop ────────────────────────────────────────────────────────────

    def _hand(self, work: Any, *given: object) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(work, *given)

    def _connected(self, refusal: str) -> None:
        self._trouble = refusal
        if refusal:
            self._open.set()
        else:
            self._client.subscribe(f"{self._base}/#", 1)

    def _subscribed(self, refusal: str) -> None:
        self._trouble = refusal and f"subscription to {self._base}/#: {refusal}; check its ACL"
        self._open.set()
        self._say()

    def _lost(self, reason: str) -> None:
        self._trouble = self._trouble or reason
        self._open.set()

    def _acknowledged(self, number: int) -> None:
        topic = self._numbers.pop(number, None)
        if topic is not None:
            self._said[topic] = self._under_way.pop(topic)
            self._oldest_s = self._loop.time() if self._under_way else None
        self._say()

    def _heard(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        self._hand(self._kept if message.retain else self._overheard, message.topic, bytes(message.payload))

    def _kept(self, topic: str, message: bytes) -> None:
        if signs.ours(self._base, topic):
            self._said.setdefault(topic, message)
            self._say()

    def _overheard(self, topic: str, message: bytes) -> None:
        """Our own word coming back, or the last one of a centre that stood still and went on: that one is put right."""
        if (
            signs.ours(self._base, topic)
            and topic not in self._under_way
            and self._said.get(topic) != message
        ):
            self._said[topic] = message
            self._say()
