"""The broker's end of ingest: paho-mqtt for the connection, our own read path for the packets.

Kept in one file because it leans on paho's internals (``loop_read``, ``_in_packet``, ``_packet_handle``,
``_packet_queue``, ``_loop_rc_handle``, ``_ping_t``): paho is pinned, and a test compares this path with stock paho on
packet streams cut at every byte. ``CITY_STOCK_PAHO=1`` reads through stock paho instead.
"""

import random
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import structlog
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ingest.delivery import Delivery
from ingest.sources.packets import PacketReader, ProtocolViolationError, Published

READ_SIZE = 256 * 1024
SMALL_READ = (
    32 * 1024
)  # after less, wait a moment: the broker fills the socket and both sides wake less often
COALESCE_S = 0.004
BEHIND_FOR_S = 2.0  # after a full read we count as catching up for so long
KEEPALIVE_S = 20  # a frozen broker is noticed after two of them, a vanished one by TCP
CONNECT_S = 3.0  # for a broker's host to answer
VANISHED_MS = 10_000  # what was sent and not confirmed by the other kernel for so long never arrives
HELD_S = 0.02  # between looks whether there is room again
DROPPED_TOPIC = b"$SYS/broker/publish/messages/dropped"

log = structlog.get_logger()


class BatchClient(Client):
    """paho's client with a read loop that takes everything the socket holds at once.

    ``on_batch(published)`` runs on paho's thread. ``may_read()`` false leaves bytes in the socket, which is how
    back-pressure reaches the broker; acknowledgements and keep-alive go on meanwhile.
    """

    def __init__(
        self, on_batch: Callable[[Published], None], may_read: Callable[[], bool], **options: Any
    ) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, **options)
        self._on_batch = on_batch
        self._may_read = may_read
        self._reader = PacketReader()
        self._reader_socket: object = None

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """One read of the socket, every packet in it; overrides paho's packet-at-a-time loop."""
        if self._sock is None:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        if _held_back(self, self._may_read):
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        if self._reader_socket is not self._sock:
            self._reader, self._reader_socket = PacketReader(), self._sock
        try:
            chunk = self._sock_recv(READ_SIZE)
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        except OSError:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        if not chunk:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        code = self._walk(chunk)
        with self._msgtime_mutex:
            self._last_bytes_received = time.monotonic()
        if code:
            return self._loop_rc_handle(code)
        if len(chunk) < SMALL_READ:
            time.sleep(COALESCE_S)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _walk(self, chunk: bytes) -> MQTTErrorCode:
        result = MQTTErrorCode.MQTT_ERR_SUCCESS

        def pahos_own_way(first: int, length: int, body: bytes) -> bool:
            nonlocal result
            self._in_packet = {
                "command": first,
                "have_remaining": 1,
                "remaining_count": [],
                "remaining_mult": 1,
                "remaining_length": length,
                "packet": bytearray(body),
                "to_process": 0,
                "pos": 0,
            }
            result = self._packet_handle()
            return not result and self._sock is self._reader_socket

        try:
            published = self._reader.feed(chunk, pahos_own_way)
        except ProtocolViolationError:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        if published.topics:
            self._on_batch(published)
        return result

    def acknowledge(self, packet_ids: list[int]) -> None:
        """Every PUBACK of a batch in one write (MQTT 3.1.1, 3.4)."""
        ids = np.asarray(packet_ids, dtype=np.uint16)
        packets = np.empty((len(ids), 4), dtype=np.uint8)
        packets[:, 0], packets[:, 1] = 0x40, 2
        packets[:, 2], packets[:, 3] = ids >> 8, ids & 0xFF
        self._packet_queue(0x40, packets.tobytes(), 0, 0)


class StockClient(Client):
    """paho's own read path behind the same two calls; slower, and the measure the other one is tested against."""

    def __init__(
        self, on_batch: Callable[[Published], None], may_read: Callable[[], bool], **options: Any
    ) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, **options)
        self._may_read = may_read

        def one(_client: Client, _userdata: object, message: MQTTMessage) -> None:
            published = Published(
                [message._topic], [bytes(message.payload)], [message.mid if message.qos else 0]
            )
            if message.retain:
                published.retained.append(0)
            on_batch(published)

        self.on_message = one

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """paho's own, but only while there is room."""
        if _held_back(self, self._may_read):
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        return super().loop_read(max_packets)

    def acknowledge(self, packet_ids: list[int]) -> None:
        """paho's own acknowledgements, one by one."""
        for packet_id in packet_ids:
            self.ack(packet_id, 1)


def _held_back(client: Client, may_read: Callable[[], bool]) -> bool:
    """Whether there is no room; then the broker's answers to our pings lie unread in the socket and prove nothing.

    paho would take their absence for a dead broker and leave it every other minute, and each return has the broker
    send again what we hold. TCP notices a broker that vanished meanwhile. What stands at the beginning of a
    connection is read in any case.
    """
    if not client.is_connected() or may_read():
        return False
    time.sleep(HELD_S)
    with client._msgtime_mutex:
        client._last_bytes_received = time.monotonic()
    client._ping_t = 0
    return True


class BrokerSource:
    """A persistent session at one broker, feeding ``take`` and acknowledging only the connection it came from."""

    def __init__(
        self,
        url: str,
        *,
        client_id: str,
        topics: list[str],
        take: Callable[[Delivery], None],
        may_read: Callable[[], bool],
        stock: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``tls`` is how ``mqtts://`` is spoken; None = as the system's own authorities allow."""
        self._topics = topics
        self._take = take
        self._generation = 0
        self._live = 0  # 0 = no connection: acknowledgements are dropped, the broker sends again
        self._generation_lock = threading.Lock()
        self._last_arrival_us = 0
        self._full_read_at = 0.0
        self.connected = False
        self.broker_dropped = 0  # messages the broker itself says it dropped (mosquitto's $SYS)
        self.reconnects = 0
        self.refusal = ""
        make = StockClient if stock else BatchClient
        self._client = make(
            self._arrived,
            may_read,
            client_id=client_id,
            clean_session=False,
            protocol=MQTTProtocolVersion.MQTTv311,
            manual_ack=True,
        )
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_socket_open = watched
        self._client.connect_timeout = CONNECT_S
        # Tried every second, as people wait in front of a grey wall; workers spread by the jitter in _on_disconnect.
        self._client.reconnect_delay_set(min_delay=1, max_delay=1)
        self._address = configure(self._client, url, tls)

    def start(self) -> None:
        """Connect in the background and keep at it for ever."""
        host, port = self._address
        self._client.connect_async(host, port, keepalive=KEEPALIVE_S)
        self._client.loop_start()

    def stop(self) -> None:
        """Send what is queued, disconnect cleanly (the session stays at the broker), end the thread."""
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def behind(self) -> bool:
        """Whether the broker still has a backlog for us, as far as full reads tell."""
        return not self.connected or time.monotonic() - self._full_read_at < BEHIND_FOR_S

    def figures(self) -> dict[str, object]:
        """The broker's part of this process's health."""
        return {
            "broker_connected": self.connected,
            "broker_refusal": self.refusal,
            "broker_dropped": self.broker_dropped,
            "broker_reconnects": self.reconnects,
        }

    def acknowledge(self, generation: int, packet_ids: list[int]) -> None:
        """Tell the broker; dropped when the connection changed since, for the ids then mean other messages."""
        wanted = [packet_id for packet_id in packet_ids if packet_id]
        with self._generation_lock:
            if wanted and generation == self._live:
                self._client.acknowledge(wanted)

    def _arrived(self, published: Published) -> None:
        if published.topics[0].startswith(b"$SYS/") or any(
            topic == DROPPED_TOPIC for topic in published.topics
        ):
            published = self._without_broker_figures(published)
            if not published.topics:
                return
        arrival = max(time.time_ns() // 1000, self._last_arrival_us + 1)
        self._last_arrival_us = arrival + len(published.topics)
        if sum(map(len, published.payloads)) > READ_SIZE // 2:
            self._full_read_at = time.monotonic()
        self._take(
            Delivery(
                topics=published.topics,
                payloads=published.payloads,
                packet_ids=published.packet_ids,
                received_us=arrival,
                generation=self._live,
                retained=frozenset(published.retained),
                cut=published.cut,
            )
        )

    def _without_broker_figures(self, published: Published) -> Published:
        kept = Published()
        retained = set(published.retained)
        for index, topic in enumerate(published.topics):
            if topic == DROPPED_TOPIC:
                self.broker_dropped = int(published.payloads[index] or 0)
                continue
            if index in retained:
                kept.retained.append(len(kept.topics))
            if index in published.cut:
                kept.cut[len(kept.topics)] = published.cut[index]
            kept.topics.append(topic)
            kept.payloads.append(published.payloads[index])
            kept.packet_ids.append(published.packet_ids[index])
        return kept

    def _on_connect(
        self,
        client: Client,
        _userdata: object,
        flags: ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self.refusal = str(reason)
            log.warning(
                "broker refused us", reason=str(reason), remedy="check CITY_MQTT_URL's user and password"
            )
            return
        with self._generation_lock:
            self._generation += 1
            self._live = self._generation
        self._full_read_at = time.monotonic()
        self.connected = True
        self.refusal = ""
        client.subscribe([(topic, 1) for topic in self._topics])
        client.subscribe(DROPPED_TOPIC.decode(), 0)
        log.info("connected to broker", session_kept=flags.session_present, generation=self._generation)

    def _on_disconnect(
        self,
        _client: Client,
        _userdata: object,
        _flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        with self._generation_lock:
            self._live = 0
        if self.connected:
            self.reconnects += 1
            log.warning("lost the broker", reason=str(reason))
        self.connected = False
        time.sleep(random.uniform(0, 0.5))  # noqa: S311  # jitter, not a secret

    def _on_subscribe(
        self,
        _client: Client,
        _userdata: object,
        _mid: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            self.refusal = f"subscription refused: {refused[0]}"
            log.error(
                "broker refused a subscription", topics=self._topics, reasons=refused, remedy="check its ACL"
            )


def watched(_client: Client, _userdata: object, line: Any) -> None:
    """Have the kernel notice a broker whose host is gone: after 11 s of silence, or of unconfirmed words."""
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", 5),
        ("TCP_KEEPINTVL", 2),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", VANISHED_MS),
    ):
        if hasattr(socket, name):  # not everywhere under the same names
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def configure(client: Client, url: str, tls: ssl.SSLContext | None) -> tuple[str, int]:
    """Set user and TLS from ``mqtt(s)://user:pass@host:port``; returns host and port."""
    parts = urlsplit(url)
    if parts.username:
        client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
    if parts.scheme == "mqtts":
        client.tls_set_context(tls or ssl.create_default_context())
    return parts.hostname or "127.0.0.1", parts.port or (8883 if parts.scheme == "mqtts" else 1883)
