"""The line to the city's broker: one connection, publications at QoS 1, what became of each.

MQTT 5, because 3.1.1 acknowledges alike what was taken, what was refused and what nobody listens to.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from city.errors import CityError
from city.settings import Settings
from ingest.sources.mqtt import CONNECT_S, watched
from ingest.upward import Upward

MOST_IN_FLIGHT = 200  # publications not acknowledged; less where the broker says so
KEEPALIVE_S = 20
ANSWER_S = 30.0  # for an acknowledgement: a line that carries no answer is no line

# MQTT 5, 3.4.2.1: what the same message would be told again.
_NOBODY_LISTENS = 0x10
_FINAL = frozenset({0x87, 0x90, 0x99})  # not authorized, topic name invalid, payload format invalid


class LineCutError(CityError):
    """The city's broker cannot be reached, refuses us, or has stopped answering; later it may."""


class CityLine:
    """Connected from the constructor on until ``close`` or a LineCutError; then it is of no more use."""

    def __init__(self, settings: Settings, *, will: str, stopping: Callable[[], bool]) -> None:
        """``will`` is the topic on which the broker says ``offline`` for us. Raises LineCutError."""
        self._state = threading.Condition()
        self._answers: dict[int, int] = {}  # message id -> reason code
        self._ended = ""
        self._connected = False
        self._window = MOST_IN_FLIGHT
        self._stopping = stopping
        parts = urlsplit(settings.uplink_url)
        self._client = client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"uplink-{unquote(parts.username or '')}",
            protocol=MQTTProtocolVersion.MQTTv5,
        )
        client.username_pw_set(unquote(parts.username or ""), unquote(parts.password or "") or None)
        if (tls := settings.tls_of_uplink()) is not None:
            client.tls_set_context(tls)
        client.will_set(will, b"offline", qos=1)
        client.max_inflight_messages = 65_535  # the window is ours
        client.connect_timeout = CONNECT_S
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_publish, client.on_socket_open = self._on_publish, watched
        default = 8883 if parts.scheme == "mqtts" else 1883
        try:
            client.connect(
                parts.hostname or "", parts.port or default, keepalive=KEEPALIVE_S, clean_start=True
            )
            client.loop_start()
            self._wait(lambda: self._connected, CONNECT_S * 2)
        except (OSError, ValueError) as error:
            self.close()
            raise LineCutError(" ".join(str(error).split())[:200] or type(error).__name__) from error
        except LineCutError:
            self.close()
            raise

    def send(self, messages: Sequence[Upward]) -> list[Upward]:
        """Return when the broker answered each; those that it will never take. LineCutError when it did not answer,

        or has nobody who listens: then some of them may have arrived, and all are to be sent again.
        """
        sent: dict[int, Upward] = {}
        with self._state:
            self._answers.clear()
        for message in messages:
            self._wait(lambda: len(sent) - len(self._answers) < self._window, ANSWER_S)
            info = self._client.publish(message.topic, message.payload, qos=1)
            if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
                raise LineCutError(f"cannot publish: {info.rc.name}")
            sent[info.mid] = message
        self._wait(lambda: len(self._answers) == len(sent), ANSWER_S)
        codes = {self._answers[mid] for mid in sent}
        if _NOBODY_LISTENS in codes:
            raise LineCutError("nobody at the city's broker listens to what we say; is its ingest set up?")
        odd = sorted(code for code in codes if code >= 0x80 and code not in _FINAL)
        if odd:
            raise LineCutError(f"the city's broker took something not (reason 0x{odd[0]:02x})")
        return [message for mid, message in sent.items() if self._answers[mid] in _FINAL]

    def close(self, *, last: Upward | None = None) -> None:
        """Leave in order; ``last`` is said before, if the line still carries it."""
        if last is not None and self._connected and not self._ended:
            self._client.publish(last.topic, last.payload, qos=1).wait_for_publish(1.0)
        self._client.disconnect()
        self._client.loop_stop()

    def _wait(self, done: Callable[[], bool], patience_s: float) -> None:
        """Until something is so; LineCutError when the connection ends, or nothing comes for that long."""
        heard, seen = time.monotonic(), len(self._answers)
        with self._state:
            while not done():
                if self._ended:
                    raise LineCutError(self._ended)
                if self._stopping():
                    raise LineCutError("stopping")
                if len(self._answers) != seen:
                    heard, seen = time.monotonic(), len(self._answers)
                if time.monotonic() - heard > patience_s:
                    raise LineCutError(f"no answer for {patience_s:g} s")
                self._state.wait(0.2)

    def _on_connect(
        self,
        _client: Client,
        _data: Any,
        _flags: ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        with self._state:
            if reason.is_failure:
                self._ended = f"refused: {reason}"
            else:
                self._window = min(MOST_IN_FLIGHT, getattr(properties, "ReceiveMaximum", MOST_IN_FLIGHT))
                self._connected = True
            self._state.notify_all()

    def _on_disconnect(
        self,
        client: Client,
        _data: Any,
        _flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        with self._state:
            self._ended = self._ended or f"lost: {reason}"
            self._state.notify_all()
        client.disconnect()  # paho would connect by itself and say again what it remembers; the outbox does

    def _on_publish(
        self, _client: Client, _data: Any, mid: int, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        with self._state:
            self._answers[mid] = reason.value
            self._state.notify_all()
