"""Devices of bench/scale.py: QoS 1 over a few connections, at a fixed rate whatever the brokers do.

What is not acknowledged is sent again on the next connection, to another node. Each message counts from the moment at
which it was due, so that a device that cannot connect makes the measured wait longer, not the load smaller.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Sequence

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from tests.servers.rabbitmq import PASSWORD, USER, RabbitNode

CELLS = 64
CONNECT_S = 1.0
WINDOW = 500  # unacknowledged at once: paho looks through all of them at each acknowledgement
DEAF_S = 3.0  # unacknowledged for so long: try another node

Key = tuple[str, int]  # device's code, sequence number


class Publisher(threading.Thread):
    """One connection of a share of the devices."""

    def __init__(self, nodes: Sequence[RabbitNode], devices: range, rate: float) -> None:
        """``rate``: messages a second."""
        super().__init__(daemon=True)
        self._nodes, self._devices, self._rate = nodes, devices, rate
        self.sent: dict[Key, tuple[str, bytes]] = {}
        self.due_at: dict[Key, float] = {}  # seconds since 1970
        self.acknowledged: set[Key] = set()
        self.resent = 0
        self.ended = threading.Event()
        self._at = devices.start % len(nodes)
        self._client: mqtt.Client | None = None
        self._up = threading.Event()
        self._due: deque[Key] = deque()  # what the connection at hand is still to be given
        self._waiting: dict[int, Key] = {}
        self._first_waits = 0.0  # monotonic seconds: since when something is unacknowledged
        self._answers: deque[int] = deque()  # paho calls us with its own lock held: nothing is done there

    def run(self) -> None:
        """Publish until ``ended``, then until all is acknowledged."""
        begin, number = time.time(), 0
        while not self.ended.is_set() or len(self.acknowledged) < len(self.sent):
            while not self.ended.is_set() and begin + number / self._rate < time.time():
                self._say(number, begin + number / self._rate)
                number += 1
            self._hear()
            while self._client is not None and self._due and len(self._waiting) < WINDOW:
                self._send(self._client, self._due.popleft())
            if self._client is None:
                self._connect()
            elif not self._up.is_set() or self._deaf():
                self._leave()
            time.sleep(0.002)
        self._leave()

    def _say(self, number: int, due_at: float) -> None:
        device, second = self._devices[number % len(self._devices)], number // len(self._devices)
        key = (f"s{device}", second)
        value = 75.0 if (second + device) % 7 < 3 else 20.0
        payload = {"ts": int(due_at * 1000), "value": value, "seq": second}
        self.sent[key] = (f"city/c{device % CELLS}/smoke/s{device}", json.dumps(payload).encode())
        self.due_at[key] = due_at
        self._due.append(key)

    def _send(self, client: mqtt.Client, key: Key) -> None:
        topic, payload = self.sent[key]
        told = client.publish(topic, payload, qos=1)
        if told.rc != mqtt.MQTT_ERR_SUCCESS:
            self._up.clear()
            return
        if not self._waiting:
            self._first_waits = time.monotonic()
        self._waiting[told.mid] = key

    def _hear(self) -> None:
        """What the node acknowledged since."""
        while self._answers:
            self._first_waits = time.monotonic()  # it answers; some of it may take longer
            key = self._waiting.pop(self._answers.popleft(), None)
            if key is not None:
                self.acknowledged.add(key)

    def _deaf(self) -> bool:
        return bool(self._waiting) and time.monotonic() - self._first_waits > DEAF_S

    def _connect(self) -> None:
        node = self._nodes[self._at % len(self._nodes)]
        self._at += 1
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.username_pw_set(USER, PASSWORD)
        client.max_inflight_messages_set(65_535)
        client.connect_timeout = CONNECT_S
        answered = threading.Event()
        client.on_connect = lambda *_: answered.set()
        answers: deque[int] = deque()  # of this connection alone: the next one numbers anew
        client.on_publish = lambda _c, _u, mid, _r, _p: answers.append(mid)
        client.on_disconnect = lambda *_: self._up.clear() if client is self._client else None
        try:
            client.connect(node.host, node.mqtt, keepalive=5)
        except OSError:
            return
        client.loop_start()
        if not answered.wait(CONNECT_S):
            client.loop_stop()
            return
        self._waiting.clear()
        self._answers = answers
        self._client = client
        self._up.set()
        waiting = sorted(self.sent.keys() - self.acknowledged, key=lambda one: self.due_at[one])
        self.resent += len(waiting) - len(self._due)
        self._due = deque(waiting)

    def _leave(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()
