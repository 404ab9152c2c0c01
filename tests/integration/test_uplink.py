"""A district that reports to its city over a line that is cut: nothing is lost, nothing is twice, the rules agree."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest
from typer.testing import CliRunner

from bench.chaos.wires import Wires
from city.district import import_defaults
from city.settings import SettingsError
from city.storage import uplink as outbox
from ingest import city_line, uplink
from ingest.pacing import runs
from rules.definitions import to_rows
from runtime.cli import app
from tests.integration.running_ingest import Stand
from tests.integration.two_places import NODE, Upwards, everything, rows
from tests.servers.city_process import start_city
from tests.servers.line import Line
from tests.servers.mosquitto import UNLIMITED, MosquittoServer
from tests.servers.postgres import PostgresServer

SMOKE = [12.0, 71.0, 75.0, 40.0, 65.0, 82.0, 83.0, 55.0]  # two episodes each


_SMOKE = "SELECT count(*) FROM observations o JOIN devices d ON d.id = o.device_id WHERE d.kind = 'smoke'"


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
        self.readings = 0
        self.newest_ms = 0

    def say(self, number: int, *, devices: int = 5) -> None:
        """So many readings of each device, a second apart and later than any before; and one event of a camera."""
        begin_ms = max(self.newest_ms, time.time_ns() // 1_000_000 - number * 1000)
        for place in range(1, number + 1):
            for device in range(devices):
                value = SMOKE[(self.said + place + device) % len(SMOKE)]
                body = {"ts": begin_ms + place * 1000, "value": value, "seq": self.said + place}
                self.reading(f"S{device}", **body)
        self.newest_ms = begin_ms + number * 1000
        event = {"ts": self.newest_ms, "event": "person", "id": f"e{self.said}", "score": 0.5}
        self.district.publish("city/c1/camera/K1", event)
        self.said += number

    def reading(self, device: str, **body: float) -> None:
        self.district.publish(f"city/c1/smoke/{device}", body)
        self.readings += 1

    def equal(self) -> None:
        """Wait until the city has what the district and the reference have; then everything is the same."""
        for stand in (self.district, self.reference):
            stand.until(_SMOKE, self.readings)
            stand.until("SELECT count(*) FROM detections", 1)
        self.above.until(_SMOKE, self.readings)
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
    with psycopg.connect(places.below) as connection:
        connection.execute("DELETE FROM uplink_state")
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
    places.above.until(
        "SELECT count(*) FROM presence p JOIN devices d ON d.id = p.device_id"
        f" WHERE code = '{NODE}' AND link = 'offline'",
        1,
    )


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


def test_the_citys_database_is_away_for_a_while(places: Places, postgres_server: PostgresServer) -> None:
    name = places.city.rpartition("/")[2].partition("?")[0]
    with reporting(places), psycopg.connect(postgres_server.url("postgres"), autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        places.say(8)
        places.district.until("SELECT 1 - count(*) FROM uplink_batches WHERE sent_at IS NULL", 1)
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
        places.equal()


def test_a_new_warning_goes_before_everything_that_waits(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink, "BEHIND_S", -5.0)
    begin_ms = places.newest_ms
    for tenth in range(1, 61):
        places.reading("F1", ts=begin_ms + tenth * 100, value=10.0)
    for tenth, value in ((58, 20.0), (59, 91.0), (60, 92.0)):
        places.reading("S9", ts=begin_ms + tenth * 100, value=value)
    places.newest_ms = begin_ms + 6_000
    places.district.until(_SMOKE, places.readings)
    places.district.until(
        "SELECT count(*) FROM alarms JOIN devices d ON d.id = device_id WHERE d.code = 'S9'", 1
    )
    with reporting(places, uplink_rate=10):
        places.above.until(
            "SELECT count(*) FROM alarms JOIN devices d ON d.id = device_id WHERE d.code = 'S9'", 1
        )
        waits = rows(places.below, "SELECT coalesce(sum(size), 0) FROM uplink_batches WHERE sent_at IS NULL")[
            0
        ][0]
    assert waits > 30
    with reporting(places):
        places.equal()


def test_many_small_batches_become_few_and_say_the_same(places: Places) -> None:
    for _ in range(4):
        places.say(1)
        places.district.until(_SMOKE, places.readings)
    before = rows(places.below, "SELECT count(*), sum(size) FROM uplink_batches WHERE sent_at IS NULL")[0]
    with psycopg.connect(places.below) as connection:
        for first, last in runs(outbox.sizes(connection, after=0, most=1000)):
            outbox.merge(connection, first, last)
    after = rows(places.below, "SELECT count(*), sum(size) FROM uplink_batches WHERE sent_at IS NULL")[0]
    assert after[0] <= 2 < before[0]
    assert after[1] == before[1]
    with reporting(places):
        places.equal()


def test_what_is_stored_can_be_told_again(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(places.city) as connection:
        connection.execute(
            "DELETE FROM observations USING devices d WHERE d.id = device_id AND d.code = 'S0'"
        )
    monkeypatch.setenv("CITY_DATABASE_URL", places.below)
    span = ["--since", "2000-01-01T00:00+08:00", "--until", "2100-01-01T00:00:00"]
    done = CliRunner().invoke(app, ["uplink-again", *span])
    assert done.exit_code == 0, done.output
    assert int(done.output.split()[0]) == places.readings
    with reporting(places):
        places.above.until(_SMOKE, places.readings)
        places.district.until("SELECT 1 - count(*) FROM uplink_batches WHERE sent_at IS NULL", 1)
    assert everything(places.city)["readings"] == everything(places.below)["readings"]


def test_an_uplink_that_leads_back_here_stops_and_says_so(places: Places) -> None:
    own = Upwards(places.below, places.district_broker.port)
    with pytest.raises(SettingsError, match="leads back to this district"):
        raise own.ended() or AssertionError("it ended without a word")


@pytest.mark.slow
def test_killed_again_and_again_it_loses_and_doubles_nothing(
    postgres_server: PostgresServer, postgres_template: str
) -> None:
    """As a process, with a line that resets, swallows and holds its answers back by turns."""
    with ExitStack() as stack:
        places = Places(postgres_server, postgres_template, stack)
        wires = Wires()
        stack.callback(wires.close)
        port = wires.lay("city", [("127.0.0.1", places.city_broker.port)])
        settings = {
            "database_url": places.below,
            "mqtt_url": places.district_broker.url,
            "uplink_url": f"mqtt://{NODE}@127.0.0.1:{port}",
            "uplink_cell": "c1",
            "uplink_rate": "1000",
        }
        for mode in ("open", "cut", "freeze", "half-open", "trickle"):
            process = start_city("uplink", **settings)
            stack.callback(process.stop)
            places.say(20, devices=20)
            wires.set("city", mode, rate=20_000)
            places.say(20, devices=20)
            if mode == "trickle":
                places.district.until("SELECT count(*) FROM uplink_state WHERE sent > 0", 1)
            process.kill()
            wires.set("city", "open")
        stack.callback(start_city("uplink", **settings).stop)
        places.equal()
