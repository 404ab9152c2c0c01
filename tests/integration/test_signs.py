"""Sirens and signs on a real broker: what stands is retained, what is over is said, also after both were away."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.conftest import lacking
from tests.integration.running_centre import Centre, on_fresh_ground, raise_alarm, running
from tests.servers.mosquitto import MosquittoServer
from tests.servers.postgres import PostgresServer
from tests.servers.processes import UnavailableError

GONE = "out/alarms/GONE"


@pytest.fixture(scope="module")
def broker() -> Iterator[MosquittoServer]:
    """Without persistence: a restart forgets what it kept."""
    server = MosquittoServer()
    try:
        server.start()
    except UnavailableError as missing:
        lacking(missing)
    yield server
    server.close()


@pytest.fixture(scope="module")
def centre(
    postgres_server: PostgresServer, postgres_template: str, broker: MosquittoServer
) -> Iterator[Centre]:
    with Siren(broker) as someone:
        someone.client.publish(GONE, b'{"alarms": 3}', qos=1, retain=True).wait_for_publish(60)
    with on_fresh_ground(postgres_server, postgres_template, alarm_topic="out", mqtt_url=broker.url) as made:
        yield made


class Siren:
    """Listens to out/# and keeps the newest message of each topic, as a siren does; heard counts them."""

    def __init__(self, broker: MosquittoServer) -> None:
        self.now: dict[str, dict[str, Any]] = {}
        self.heard: list[str] = []
        self._changed = threading.Condition()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda client, *_: client.subscribe("out/#", 1)
        self.client.on_message = self._hear
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()

    def _hear(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        with self._changed:
            self.heard.append(message.topic)
            self.now[message.topic] = json.loads(message.payload)
            self._changed.notify_all()

    def until(self, topic: str, **said: object) -> dict[str, Any]:
        with self._changed:
            told = self._changed.wait_for(
                lambda: topic in self.now and all(self.now[topic][key] == said[key] for key in said), 30
            )
            assert told, (topic, said, self.now)
            return self.now[topic]

    def __enter__(self) -> "Siren":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def clear(centre: Centre, alarm: int) -> None:
    centre.execute("UPDATE alarms SET cleared_at = now() WHERE id = %s", alarm)
    centre.execute("NOTIFY changed")


def test_what_stands_is_said_kept_and_taken_back(centre: Centre, broker: MosquittoServer) -> None:
    with Siren(broker) as siren:
        siren.until(GONE, alarms=0)  # nobody's: what another left behind
        fire = raise_alarm(centre, "D1")
        told = siren.until("out/alarms/C2", alarms=1)
        assert (told["class"], told["level"], told["category"]) == ("A", "red", "fire.smoke")
        assert (told["text"], told["text_en"]) == ("网格2：烟雾", "网格2: Smoke")
        silent = raise_alarm(centre, "D3", "device.silent")
        second = raise_alarm(centre, "D5", "flood.level")
        assert siren.until("out/alarms/C2", alarms=2)["class"] == "A"  # the silent device is nobody's siren
        clear(centre, fire)
        assert siren.until("out/alarms/C2", alarms=1)["class"] == "B"
    with Siren(broker) as late:  # one that comes later
        assert late.until("out/alarms/C2", alarms=1)["category"] == "flood.level"
        clear(centre, second)
        late.until("out/alarms/C2", alarms=0, level=None)
    clear(centre, silent)


def test_a_stations_level_is_said_by_its_colour(centre: Centre, broker: MosquittoServer) -> None:
    with Siren(broker) as sign:
        alarm = raise_alarm(centre, "W1", "flood.level")
        assert sign.until("out/levels/W1", level="red")["text"] == "W1：水位红色报警"
        centre.execute("UPDATE alarms SET level = 'yellow' WHERE id = %s", alarm)
        centre.execute("NOTIFY changed")
        sign.until("out/levels/W1", level="yellow")
        clear(centre, alarm)
        sign.until("out/levels/W1", level=None)


def test_the_tested_and_the_exercised_sound_nothing(centre: Centre, broker: MosquittoServer) -> None:
    with Siren(broker) as siren:
        exercise = raise_alarm(centre, "D2")
        siren.until("out/alarms/C1", alarms=1)
        centre.execute("UPDATE alarms SET exercise = true WHERE id = %s", exercise)
        centre.execute("NOTIFY changed")
        siren.until("out/alarms/C1", alarms=0)
        clear(centre, exercise)
        closed = raise_alarm(centre, "D4")
        siren.until("out/alarms/C1", alarms=1)
        centre.execute(
            "UPDATE incidents SET state = 'voided', closed_at = now() WHERE id ="
            " (SELECT incident_id FROM alarms WHERE id = %s)",
            closed,
        )
        centre.execute("NOTIFY changed")
        siren.until("out/alarms/C1", alarms=0)
        clear(centre, closed)


def test_a_broker_that_was_away_is_told_all_again(centre: Centre, broker: MosquittoServer) -> None:
    over, lasting = raise_alarm(centre, "D6"), raise_alarm(centre, "D7")
    with Siren(broker) as siren:
        siren.until("out/alarms/C1", alarms=1)
        siren.until("out/alarms/C2", alarms=1)
        broker.stop()
        clear(centre, over)
        meanwhile = raise_alarm(centre, "W1", "flood.level")
        siren.now.clear()
        broker.start()
        assert siren.until("out/alarms/C2", alarms=1)["class"] == "A"
        siren.until("out/levels/W1", level="red")
        siren.until("out/alarms/C3", alarms=1)
        assert "out/alarms/C1" not in siren.now  # the broker forgot it, and nothing stands there
    for alarm in (lasting, meanwhile):
        clear(centre, alarm)


def test_two_centres_speak_with_one_voice_and_a_new_one_repeats_nothing(
    centre: Centre, broker: MosquittoServer
) -> None:
    with Siren(broker) as siren:
        standing = raise_alarm(centre, "D8")
        siren.until("out/alarms/C1", alarms=1)
        before = len(siren.heard)
        with running(centre.url, alarm_topic="out", mqtt_url=broker.url):
            other = raise_alarm(centre, "D9")
            siren.until("out/alarms/C2", alarms=1)
            assert siren.heard[before:] == ["out/alarms/C2"]
        for alarm in (standing, other):
            clear(centre, alarm)
