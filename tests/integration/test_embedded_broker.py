"""The embedded broker: MQTT on loopback, a queue that survives a kill, and one line when it cannot start."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from city.errors import CityError
from runtime import ports
from runtime.embedded_broker import EmbeddedBroker, accepts, configuration


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    running = EmbeddedBroker(tmp_path, port=ports.any_free())
    running.start()
    try:
        running.wait()
        yield running
    finally:
        running.stop()


class Listener:
    """A subscriber with a persistent session that keeps what it hears."""

    def __init__(self, port: int, name: str = "listener") -> None:
        self.heard: list[bytes] = []
        self._subscribed = threading.Event()
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=name, clean_session=False, protocol=paho.MQTTv311
        )
        self.client.on_connect = lambda client, *_: client.subscribe("city/#", qos=1)
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = lambda _client, _data, message: self.heard.append(message.payload)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self._subscribed.wait()

    def wait_for(self, count: int) -> list[bytes]:
        while len(set(self.heard)) < count:
            time.sleep(0.02)
        return self.heard

    def leave(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def publish(port: int, payloads: list[bytes]) -> None:
    """Send at QoS 1 and return when every one is acknowledged."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="publisher", protocol=paho.MQTTv311)
    client.connect("127.0.0.1", port)
    client.loop_start()
    sent = [client.publish("city/cell/smoke/device", payload, qos=1) for payload in payloads]
    for one in sent:
        one.wait_for_publish()
    client.disconnect()
    client.loop_stop()


def test_what_was_acknowledged_while_nobody_listened_survives_a_kill(tmp_path: Path) -> None:
    port = ports.any_free()
    broker = EmbeddedBroker(tmp_path, port=port)
    broker.start()
    broker.wait()
    try:
        Listener(port).leave()
        payloads = [f"{number}".encode() for number in range(500)]
        publish(port, payloads)
        os.kill(broker.process.pid, signal.SIGKILL)
        while broker.process.exit_code() is None:
            time.sleep(0.02)
        broker.start(patience_s=30)
        broker.wait()
        listener = Listener(port)
        assert set(listener.wait_for(500)) == set(payloads)
        listener.leave()
    finally:
        broker.stop()


def test_a_clean_stop_is_clean(broker: EmbeddedBroker) -> None:
    broker.stop(within_s=30)
    assert broker.process.exit_code() is not None
    assert not accepts("127.0.0.1", broker.port)


def test_payloads_above_our_limit_arrive_so_that_they_can_be_counted(broker: EmbeddedBroker) -> None:
    listener = Listener(broker.port)
    large = b"x" * (300 * 1024)
    publish(broker.port, [large])
    assert listener.wait_for(1) == [large]
    listener.leave()


def test_it_listens_on_loopback_only(broker: EmbeddedBroker) -> None:
    table = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    inodes = {
        os.readlink(entry).removeprefix("socket:[").removesuffix("]")
        for entry in Path(f"/proc/{broker.process.pid}/fd").iterdir()
        if os.readlink(entry).startswith("socket:[")
    }
    listening = [line.split() for line in table.splitlines() if " 0A " in line]
    ours = [fields[1] for fields in listening if fields[9] in inodes]
    assert ours
    assert all(address.startswith("0100007F:") for address in ours), ours


def test_several_filters_fit_into_one_session(tmp_path: Path) -> None:
    filters = ["city/#", "zigbee2mqtt/#", "frigate/#", "v3/#", "tele/#"]
    broker = EmbeddedBroker(tmp_path, port=ports.any_free(), subscriptions=len(filters))
    broker.start()
    broker.wait()
    answers: list[list[int]] = []
    client = paho.Client(
        paho.CallbackAPIVersion.VERSION2, client_id="x", clean_session=False, protocol=paho.MQTTv311
    )
    client.on_subscribe = lambda _client, _data, _mid, codes, _properties: answers.append(
        [c.value for c in codes]
    )
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    client.subscribe([(one, 1) for one in filters])
    while not answers:
        time.sleep(0.02)
    client.disconnect()
    client.loop_stop()
    broker.stop()
    assert answers == [[1] * len(filters)]


@pytest.mark.parametrize(("filters", "window"), [(1, 20_000), (2, 16_383), (10, 3_276)])
def test_the_window_shrinks_with_the_number_of_filters(filters: int, window: int) -> None:
    assert f"max_ack_pending: {window}\n" in configuration(Path("/x"), 1883, filters)


def test_a_taken_port_is_one_line_with_both_remedies(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CityError) as caught:
            EmbeddedBroker(tmp_path, port=port).start()
    text = str(caught.value)
    assert f"CITY_MQTT_PORT = {port}" in text
    assert f"CITY_MQTT_URL=mqtt://127.0.0.1:{port}" in text
    assert "\n" not in text


def test_a_store_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    (tmp_path / "broker" / "jetstream").write_text("a file where a folder belongs")
    broker = EmbeddedBroker(tmp_path, port=ports.any_free())
    broker.start()
    with pytest.raises(CityError, match=r"broker\.log"):
        broker.wait()
    broker.stop()
