"""The bench's publisher keeps its word: what it logs as acknowledged went through the broker, in order."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from bench.frames import SEQ_BASE, Fleet, Template
from bench.load import Load, publish
from bench.subscribers import main as subscriber
from tests.servers.mosquitto import UNLIMITED, MosquittoServer

FLEET = Fleet(devices=50, cells=5)


class Session:
    """A persistent subscriber that keeps every payload by topic."""

    def __init__(self, port: int) -> None:
        self.heard: dict[str, list[int]] = {}
        self.granted = False
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="keeper", clean_session=False)
        self.client.on_message = self._message
        self.client.on_connect = lambda client, *_: client.subscribe("city/#", 1)
        self.client.on_subscribe = self._subscribed
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _subscribed(self, *_: object) -> None:
        self.granted = True

    def _message(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        self.heard.setdefault(message.topic, []).append(json.loads(message.payload)["seq"] - SEQ_BASE)

    def wait(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not done() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert done()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def test_everything_arrives_although_the_broker_goes_away(
    start_mosquitto: Callable[..., MosquittoServer], tmp_path: Path
) -> None:
    broker = start_mosquitto(*UNLIMITED, "persistence true", "persistence_location {folder}/")
    session = Session(broker.port)
    session.wait(lambda: session.granted)
    log = tmp_path / "log.npz"
    load = Load(fleet=FLEET, total=2000, rate=1000, crossing_every=997, survive=True)
    publisher = publish(broker.port, load, log)
    session.wait(lambda: len(session.heard) == FLEET.devices)
    broker.stop()
    broker.start()
    assert publisher.result(60)["acknowledged"] == 2000
    session.wait(lambda: all(set(seqs) == set(range(40)) for seqs in session.heard.values()))
    session.close()
    for number in range(FLEET.devices):
        first_times = list(dict.fromkeys(session.heard[FLEET.topic(number)]))
        assert first_times == sorted(first_times)
    with np.load(log) as kept:
        assert kept["acked"].all()
        assert kept["crossed"].sum() == 2
        by_device = kept["ts_ms"].reshape(-1, FLEET.devices)
    assert (np.diff(by_device, axis=0) > 0).all()  # no device has two readings at one time


def test_a_publisher_that_should_not_survive_says_so(mosquitto: MosquittoServer) -> None:
    publisher = publish(mosquitto.port, Load(fleet=FLEET, total=20_000, rate=1000))
    time.sleep(0.5)
    mosquitto.kill()
    with pytest.raises(RuntimeError, match="ended with 1"):
        publisher.result(60)


@pytest.mark.parametrize("kind", ["raw", "paho"])
def test_the_subscribers_of_comparison_count_what_came(
    kind: str, mosquitto: MosquittoServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    template = Template(Fleet(devices=1, cells=1))
    arguments = [kind, "--port", str(mosquitto.port), "--total", "1000"]
    arguments += ["--frame-length", str(template.frames.shape[1]), "--id-at", str(template.packet_id_at)]
    monkeypatch.setattr("sys.argv", ["subscribers", *arguments])
    publisher = publish(mosquitto.port, Load(fleet=FLEET, total=3000, rate=1000))
    subscriber()
    assert publisher.result(60)["acknowledged"] == 3000
    ready, result = capsys.readouterr().out.splitlines()
    assert ready == "ready"
    assert json.loads(result)["received"] >= 1000
