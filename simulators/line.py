"""One MQTT 3.1.1 connection as a gateway has it: QoS 1, reconnecting, a bounded store for dead times."""

import threading
import time
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from city.settings import load

log = structlog.get_logger("simulators")

QUEUE_LIMIT = (
    20_000  # messages kept while the broker is away: minutes of a district; then the newest are dropped
)


class Line:
    """Connects at once in the background and keeps trying; `publish` never waits.

    `will_topic` gets `offline` from the broker when the connection dies without a goodbye (and `online` from
    us whenever it is made). `on_heard` is called from the connection's thread with each payload on
    the topic `listen_to`.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        *,
        will_topic: str | None = None,
        listen_to: str | None = None,
        on_heard: Callable[[bytes], None] | None = None,
    ) -> None:
        self._will_topic = will_topic
        self._listen_to = listen_to
        self._on_heard = on_heard
        self._lock = threading.Lock()
        self.published = self.acknowledged = self.dropped = 0
        self.refusal = ""  # the broker's reason for refusing the connection, until it accepts one
        parts = urlsplit(url)
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=True, protocol=mqtt.MQTTv311
        )
        if parts.username:
            client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
        if parts.scheme == "mqtts":
            client.tls_set_context(load().model_copy(update={"mqtt_url": url}).tls_of_broker())
        if will_topic is not None:
            client.will_set(will_topic, b"offline", qos=1)
        client.max_queued_messages_set(QUEUE_LIMIT)
        client.max_inflight_messages_set(500)
        client.reconnect_delay_set(1, 10)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_publish = self._acknowledge
        client.on_message = self._heard
        client.connect_async(
            parts.hostname or "127.0.0.1", parts.port or (8883 if parts.scheme == "mqtts" else 1883)
        )
        self._client = client  # before the thread starts: its first callback publishes
        client.loop_start()

    def publish(self, topic: str, payload: bytes) -> bool:
        """Hand one message over; False (and counted as dropped) when the store is full."""
        info = self._client.publish(topic, payload, qos=1)
        kept = info.rc != mqtt.MQTT_ERR_QUEUE_SIZE
        with self._lock:
            if kept:
                self.published += 1
            else:
                self.dropped += 1
        return kept

    @property
    def connected(self) -> bool:
        return self._client.is_connected()

    @property
    def outstanding(self) -> int:
        """Published and not yet acknowledged."""
        with self._lock:
            return self.published - self.acknowledged

    def close(self, wait_s: float = 3.0) -> None:
        """Wait a little for outstanding acknowledgements, then say goodbye."""
        deadline = time.monotonic() + wait_s
        while self.connected and self.outstanding > 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        self._client.disconnect()
        self._client.loop_stop()

    def cut(self) -> None:
        """Die as a gateway without power does: the socket goes, no goodbye is said."""
        self._client.loop_stop()
        sock = self._client.socket()
        if sock is not None:
            sock.close()

    def _connected(
        self, client: mqtt.Client, _data: object, _flags: object, reason: ReasonCode, _properties: object
    ) -> None:
        if reason.is_failure:
            if self.refusal != str(reason):
                log.error(
                    "broker.refused", reason=str(reason), remedy="check user and password in CITY_MQTT_URL"
                )
            self.refusal = str(reason)
            return
        self.refusal = ""
        log.info("broker.connected", client=client._client_id.decode())
        if self._listen_to is not None:
            client.subscribe(self._listen_to)
        if self._will_topic is not None:
            self.publish(self._will_topic, b"online")

    def _disconnected(
        self,
        _client: mqtt.Client,
        _data: object,
        _flags: object,
        reason: ReasonCode,
        _properties: object,
    ) -> None:
        if reason.is_failure:
            log.warning("broker.lost", reason=str(reason), outstanding=self.outstanding)

    def _acknowledge(
        self, _client: mqtt.Client, _data: object, _mid: int, _reason: object, _properties: object
    ) -> None:
        with self._lock:
            self.acknowledged += 1

    def _heard(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        if self._on_heard is not None:
            self._on_heard(bytes(message.payload))
