"""Stations over TCP to a broker by ``city gateway``: answered when the broker has the frame, and not before."""

import select
import socket
import threading
from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from city.settings import Settings, SettingsError
from ingest.gateway import Gateway
from simulators import hydrology as other
from tests.conftest import lacking
from tests.servers.city_process import start_city
from tests.servers.mosquitto import MosquittoServer
from tests.servers.processes import UnavailableError, free_port, listening

PATIENCE_S = 60
STATION = other.Address(station="0012345678")


@pytest.fixture
def broker() -> Iterator[MosquittoServer]:
    made = MosquittoServer()
    try:
        made.start()
    except UnavailableError as missing:
        lacking(missing)
    yield made
    made.close()


def report(level: float) -> bytes:
    moment = datetime.now(ZoneInfo("Asia/Shanghai")).replace(second=0, microsecond=0)
    text = other.opening(1, moment, STATION.station, other.RIVER) + other.observed(moment)
    return other.frame(STATION, other.TIMER, text + other.element(0x39, level, 4, 3))


def answer(line: socket.socket) -> bytes:
    found = b""
    while len(found) < 25:
        more = line.recv(25 - len(found))
        assert more, "closed without an answer"
        found += more
    return found


def test_a_station_is_answered_when_the_broker_has_its_frame(broker: MosquittoServer) -> None:
    heard: list[tuple[str, bytes]] = []
    came = threading.Event()
    port = free_port()
    gateway = start_city(
        "gateway",
        mqtt_url=f"mqtt://127.0.0.1:{broker.port}",
        sl651_port=str(port),
        sl651_password="1234, 03e8",
    )
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _c, _u, message: (heard.append((message.topic, message.payload)), came.set())
    client.on_connect = lambda *_: client.subscribe("sl651/#", 1)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        gateway.wait_ready(lambda: listening(port), PATIENCE_S)
        line = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        first = report(3.42)
        line.sendall(first)
        assert other.confirms(answer(line), first)
        assert came.wait(PATIENCE_S)
        assert heard == [("sl651/0012345678", first)]

        broker.stop()
        second = report(3.50)
        line.sendall(second)
        assert select.select([line], [], [], 0.3)[0] == []  # nobody has it
        broker.start()
        assert other.confirms(answer(line), second)
    finally:
        client.disconnect()
        client.loop_stop()
        assert gateway.stop() == 0


def test_a_gateway_with_nothing_to_listen_to_says_what_to_set() -> None:
    with pytest.raises(SettingsError, match="CITY_SL651_PORT"):
        Gateway(Settings(mqtt_url="mqtt://127.0.0.1:1", config=None))
