"""A district that reports to its city over a line that is cut: nothing is lost, nothing is twice, the rules agree."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from city.district import import_defaults
from ingest import city_line
from rules.definitions import to_rows
from tests.integration.running_ingest import Stand
from tests.integration.two_places import NODE, Upwards, everything, rows
from tests.servers.line import Line
from tests.servers.mosquitto import UNLIMITED, MosquittoServer
from tests.servers.postgres import PostgresServer

SMOKE = [12.0, 71.0, 75.0, 40.0, 65.0, 82.0, 83.0, 55.0]  # two episodes each


class Places:
    """Two of everything, and a third database where the same messages arrived without a break."""

    def __init__(self, server: PostgresServer, template: str, stack: ExitStack) -> None:
        names = [server.create_database(template=template)]
        import_defaults(server.url(names[0]), parse_rules=to_rows)
        names += [server.create_database(template=names[0]) for _ in range(2)]
        for name in names:
            stack.callback(server.drop_database, name)
        self.databases = [server.url(name) for name in names]
        self.below, self.city, self.whole = self.databases
        self.district_broker, self.city_broker = MosquittoServer(UNLIMITED), MosquittoServer(UNLIMITED)
        for broker in (self.district_broker, self.city_broker):
            broker.start()
            stack.callback(broker.close)
        reports = {"uplink_url": f"mqtt://{NODE}@city.invalid", "mqtt_client_id": "city-ingest"}
        self.district = Stand(self.below, self.district_broker.url, self.district_broker.port, **reports)
        stack.callback(self.district.close)
        self.reference = Stand(
            self.whole, self.district_broker.url, self.district_broker.port, mqtt_client_id="reference"
        )
        stack.callback(self.reference.close)
        self.above = Stand(self.city, self.city_broker.url, self.city_broker.port)
        stack.callback(self.above.close)
        self.said = 0
        self.newest_ms = 0

    def say(self, number: int, *, devices: int = 5) -> None:
        """So many readings of each device, a second apart and later than any before; and one event of a camera."""
        begin_ms = max(self.newest_ms, time.time_ns() // 1_000_000 - number * 1000)
        for place in range(1, number + 1):
            for device in range(devices):
                value = SMOKE[(self.said + place + device) % len(SMOKE)]
                body = {"ts": begin_ms + place * 1000, "value": value, "seq": self.said + place}
                self.district.publish(f"city/c1/smoke/S{device}", body)
        self.newest_ms = begin_ms + number * 1000
        event = {"ts": self.newest_ms, "event": "person", "id": f"e{self.said}", "score": 0.5}
        self.district.publish("city/c1/camera/K1", event)
        self.said += number

    def equal(self) -> None:
        """Wait until the city has what the district and the reference have; then everything is the same."""
        for stand in (self.district, self.reference):
            stand.until("SELECT count(*) FROM observations", self.said * 5)
            stand.until("SELECT count(*) FROM detections", 1)
        self.above.until(
            "SELECT count(*) FROM observations o JOIN devices d ON d.id = o.device_id WHERE d.kind = 'smoke'",
            self.said * 5,
        )
        self.district.until("SELECT 1 - count(*) FROM uplink_batches WHERE sent_at IS NULL", 1)
        self.above.until("SELECT count(*) FROM detections", len(rows(self.below, "SELECT FROM detections")))
        above, whole = everything(self.city), everything(self.whole)
        assert above["readings"] == everything(self.below)["readings"] == whole["readings"]
        assert above == whole
        assert len(whole["alarms"]) > 0
        assert rows(self.city, "SELECT count(*) FROM observation_revisions") == [(0,)]


@pytest.fixture(scope="module")
def places(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Places]:
    with ExitStack() as stack:
        yield Places(postgres_server, postgres_template, stack)


@contextmanager
def reporting(places: Places, **settings: object) -> Iterator[tuple[Upwards, Line]]:
    line = Line(places.city_broker.port)
    upwards = Upwards(places.below, line.port, **settings)
    try:
        yield upwards, line
    finally:
        upwards.stop()
        line.close()
    assert upwards.failure is None


def _state(places: Places, up: bool) -> None:
    places.district.until(f"SELECT count(*) FROM uplink_state WHERE up IS {str(up).upper()}", 1)


def test_what_is_stored_below_is_stored_above_once(places: Places) -> None:
    with reporting(places):
        places.say(8)
        places.equal()
        places.above.until("SELECT count(*) FROM devices WHERE kind = 'district_node'", 1)
    links = rows(
        places.city, f"SELECT link FROM presence p JOIN devices d ON d.id = p.device_id WHERE code = '{NODE}'"
    )
    assert links == [("offline",)]


def test_a_line_that_swallows_everything_is_left_and_what_waited_is_caught_up(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(city_line, "ANSWER_S", 1.0)
    with reporting(places) as (_, line):
        _state(places, up=True)
        line.freeze()
        places.say(8)
        _state(places, up=False)
        places.say(8)
        places.district.until("SELECT max(waiting) FROM uplink_state", 60)
        line.thaw()
        places.equal()
        _state(places, up=True)


def test_the_citys_broker_dies_with_what_it_had_acknowledged(places: Places) -> None:
    with reporting(places):
        _state(places, up=True)
        places.say(4)
        places.city_broker.kill()
        places.say(8)
        _state(places, up=False)
        places.city_broker.start()
        places.equal()
