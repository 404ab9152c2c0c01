"""The simulators against a real broker: every payload is checked against the wire contract, written down here
a second time so that a mistake in the sender shows."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from city.settings import Settings
from simulators import replay
from simulators.district import generate
from simulators.main import run
from tests.servers.mosquitto import MosquittoServer
from tests.servers.nats import NatsServer

REPOSITORY = Path(__file__).resolve().parents[2]
TOPIC = re.compile(r"city/(\d{15})/(smoke|camera|water|gateway|rain)/([A-Z]+-\d+)(/status)?")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("simulated") / "district"
    generate(built, cells=60, communities=4, streets=2, smoke=300, cameras=30, stations=20)
    return built


@dataclass
class Heard:
    """What a subscriber got: (topic, payload, qos, retained), and when it was connected."""

    messages: list[tuple[str, bytes, int, bool]] = field(default_factory=list)
    subscribed: threading.Event = field(default_factory=threading.Event)

    def until(self, condition: Callable[[], bool]) -> bool:
        """Wait generously; the answer is whether it came to be."""
        for _ in range(1500):
            if condition():
                return True
            time.sleep(0.02)
        return False


@contextmanager
def listening(port: int, *, keep: bool = False) -> Iterator[Heard]:
    """A subscriber to everything; `keep` = it reconnects with its session."""
    heard = Heard()
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2, client_id=f"ear-{os.getpid()}-{port}", clean_session=not keep
    )
    client.max_inflight_messages_set(0)
    client.reconnect_delay_set(1, 1)
    client.on_connect = lambda c, *_: c.subscribe("city/#", qos=1)
    client.on_subscribe = lambda *_: heard.subscribed.set()
    client.on_message = lambda _c, _u, m: heard.messages.append((m.topic, bytes(m.payload), m.qos, m.retain))
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        assert heard.subscribed.wait(60)
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()


@contextmanager
def playing(url: str, folder: Path, scenario: str, **more: Any) -> Iterator[list[int]]:
    """A scenario in a thread; the list holds its exit code afterwards."""
    stop, codes = threading.Event(), list[int]()
    settings = Settings(_env_file=None)

    def play() -> None:
        codes.append(run(settings, scenario, mqtt_url=url, folder=folder, stop=stop, **more))

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield codes
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


def check(topic: str, payload: bytes, before_ms: int, after_ms: int) -> dict[str, Any] | None:
    """Assert one message against wire.md; returns its JSON, None for a status."""
    match = TOPIC.fullmatch(topic)
    assert match, topic
    kind, status = match[2], match[4]
    if status:
        assert payload in (b"online", b"offline")
        return None
    said: dict[str, Any] = json.loads(payload)
    assert type(said["ts"]) is int
    assert before_ms <= said["ts"] <= after_ms
    if kind == "camera":
        assert set(said) == {"ts", "event", "score", "id", "state", "zone"}
        assert said["event"] in ("person", "fire", "smoke")
        assert said["state"] in ("new", "update", "end")
        assert 0 < said["score"] < 1
        return said
    assert type(said["seq"]) is int
    values = said["metrics"] if "metrics" in said else {"value": said["value"]}
    assert set(said) == {"ts", "seq", "metrics" if "metrics" in said else "value"}
    assert all(isinstance(value, int | float) and 0 <= value <= 100 for value in values.values())
    wanted = {
        "smoke": {"value", "smoke", "temperature", "battery"},
        "water": {"level", "rain"},
        "rain": {"value"},
    }
    assert set(values) <= wanted[kind]
    return said


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.mark.parametrize(
    "scenario",
    [
        "demo",
        "flood-of-alarms",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("calm", "fire", "storm", "flap")),
    ],
)
def test_every_message_keeps_the_contract(mosquitto: MosquittoServer, folder: Path, scenario: str) -> None:
    before = now_ms()
    with listening(mosquitto.port) as heard:
        with playing(mosquitto.url, folder, scenario, speed=40) as codes:
            assert heard.until(lambda: len(heard.messages) > 700)
        assert codes == [0]
    after, seqs = now_ms(), dict[str, int]()
    for topic, payload, qos, retained in heard.messages:
        assert (qos, retained) == (1, False)
        said = check(topic, payload, before, after)
        if said is not None and "seq" in said:
            assert said["seq"] > seqs.get(topic, 0)
            seqs[topic] = said["seq"]
    kinds = {
        match[2] + (match[4] or "") for match in (TOPIC.fullmatch(t) for t, *_ in heard.messages) if match
    }
    assert {"smoke", "water", "camera/status", "gateway/status"} <= kinds


def test_fire_is_heard_from_detectors_and_a_camera(mosquitto: MosquittoServer, folder: Path) -> None:
    def burning() -> set[str]:
        seen = set()
        for topic, payload, *_ in list(heard.messages):
            if "/smoke/" in topic and json.loads(payload).get("value", 0) >= 70:
                seen.add(topic)
            if "/camera/" in topic and b'"fire"' in payload and json.loads(payload)["score"] > 0.8:
                seen.add(topic)
        return seen

    with listening(mosquitto.port) as heard, playing(mosquitto.url, folder, "fire", speed=8):
        assert heard.until(lambda: sum("/smoke/" in t for t in burning()) >= 3)
        assert heard.until(lambda: any("/camera/" in t for t in burning()))


@pytest.mark.parametrize("kind", ["mosquitto", pytest.param("nats", marks=pytest.mark.slow)])
def test_outage_ends_with_the_last_will_and_silence(
    request: pytest.FixtureRequest, kind: str, folder: Path
) -> None:
    any_broker: MosquittoServer | NatsServer = request.getfixturevalue(kind)
    with listening(any_broker.port) as heard, playing(any_broker.url, folder, "outage", speed=120) as codes:
        assert heard.until(lambda: any(payload == b"offline" for _, payload, *_ in list(heard.messages)))
        [gone] = [topic for topic, payload, *_ in list(heard.messages) if payload == b"offline"]
        assert re.fullmatch(r"city/\d+/gateway/GW-\d+/status", gone)
        gateway = gone.split("/")[3]
        rows = (folder / "devices.csv").read_text("utf-8").splitlines()
        children = {row.split(",")[0] for row in rows if f",{gateway}," in row}
        assert len(children) >= 20
        count = len(heard.messages)
        assert heard.until(lambda: len(heard.messages) > count + 600)
        later = {topic.split("/")[3] for topic, *_ in heard.messages[count:]}
        assert not later & (children | {gateway})
        assert heard.until(lambda: (gone, b"online") in [(m[0], m[1]) for m in heard.messages[count:]])
        assert heard.until(lambda: bool(children & {m[0].split("/")[3] for m in heard.messages[count:]}))
    assert codes == [0]


def test_a_broker_that_comes_back_is_found_again(mosquitto: MosquittoServer, folder: Path) -> None:
    with playing(mosquitto.url, folder, "calm", speed=20) as codes:
        with listening(mosquitto.port) as heard:
            assert heard.until(lambda: len(heard.messages) > 50)
        mosquitto.stop()
        mosquitto.start()
        with listening(mosquitto.port) as heard:
            assert heard.until(lambda: len(heard.messages) > 50)
    assert codes == [0]


def test_a_broker_that_is_late_is_waited_for(mosquitto: MosquittoServer, folder: Path) -> None:
    mosquitto.stop()
    with playing(mosquitto.url, folder, "calm", speed=20) as codes:
        time.sleep(0.3)  # let the first attempt fail; later is as good
        mosquitto.start()
        with listening(mosquitto.port) as heard:
            assert heard.until(lambda: len(heard.messages) > 50)
    assert codes == [0]


def test_the_simulator_that_began_last_has_the_word(mosquitto: MosquittoServer, folder: Path) -> None:
    """Otherwise a detector would burn in one and be calm in the other."""

    def burning(since: int) -> int:
        said = [json.loads(m[1]) for m in heard.messages[since:] if "/smoke/" in m[0] and m[1][:1] == b"{"]
        return sum(s.get("value", 0) >= 60 for s in said)

    def count() -> int:
        return len(heard.messages)

    with listening(mosquitto.port) as heard, playing(mosquitto.url, folder, "flap", speed=20):
        assert heard.until(lambda: burning(0) > 10)
        with playing(mosquitto.url, folder, "calm", speed=20):
            mark = [count()]

            def calm_for_a_while() -> bool:
                if burning(mark[0]):
                    mark[0] = count()
                return count() > mark[0] + 300

            assert heard.until(calm_for_a_while)
        mark = [count()]
        assert heard.until(lambda: burning(mark[0]) > 10)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_ends_the_process_in_good_order(
    mosquitto: MosquittoServer, folder: Path, number: int
) -> None:
    code = (
        "import sys; from pathlib import Path; from city.settings import Settings; "
        "from simulators.main import run;"
        "sys.exit(run(Settings(_env_file=None), 'demo', mqtt_url=sys.argv[1], folder=Path(sys.argv[2])))"
    )
    with listening(mosquitto.port) as heard:
        process = subprocess.Popen([sys.executable, "-c", code, mosquitto.url, str(folder)], cwd=REPOSITORY)
        try:
            assert heard.until(lambda: len(heard.messages) > 5)
            process.send_signal(number)
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    ("scenario", "more"), [("tsunami", {}), ("calm", {"speed": 0}), ("calm", {"folder": Path("/nowhere")})]
)
def test_what_cannot_be_played_is_refused(folder: Path, scenario: str, more: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"folder": folder, "duration_s": 0.1} | more
    assert run(Settings(_env_file=None), scenario, **arguments) == 2


def test_the_demonstration_district_is_made_when_there_is_none(
    mosquitto: MosquittoServer, tmp_path: Path
) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path, mqtt_url=mosquitto.url)
    assert run(settings, "calm", duration_s=0.3) == 0
    assert (tmp_path / "district" / "areas.geojson").exists()


SERIES = "time,station,level_m,rain_mm\n" + "".join(
    f"2013-07-15T{hour:02d}:{minute:02d}:00Z,han,{hour + minute / 100},{'' if minute else 0.5}\n"
    for hour in range(24)
    for minute in range(0, 60, 10)
)


def spoken(heard: Heard) -> list[tuple[str, dict[str, Any]]]:
    return [(topic, json.loads(payload)) for topic, payload, *_ in heard.messages]


def test_replay_sends_every_row_with_its_own_time(
    any_broker: MosquittoServer | NatsServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "han.csv"
    path.write_text(SERIES + "broken,han,1,1\n")
    with listening(any_broker.port) as heard:
        assert replay.run(path, mqtt_url=any_broker.url, cell="c9", as_json=True) == 0
        assert heard.until(lambda: len(heard.messages) == 144)
    said = spoken(heard)
    assert {topic for topic, _ in said} == {"city/c9/water/han"}
    assert [s["seq"] for _, s in said] == list(range(1, 145))
    first = datetime(2013, 7, 15, tzinfo=UTC)
    assert [s["ts"] for _, s in said] == [int(first.timestamp() * 1000) + n * 600_000 for n in range(144)]
    assert said[0][1]["metrics"] == {"level": 0.0, "rain": 0.5}
    assert said[1][1]["metrics"] == {"level": 0.1}
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["sent"] == told["acknowledged"] == 144
    assert (told["empty_values"], told["bad_rows"]) == (120, 1)


def test_replay_shifted_to_now_ends_now(mosquitto: MosquittoServer, tmp_path: Path) -> None:
    path = tmp_path / "han.csv"
    path.write_text(SERIES)
    before = now_ms()
    with listening(mosquitto.port) as heard:
        assert replay.run(path, mqtt_url=mosquitto.url, shift="now") == 0
        assert heard.until(lambda: len(heard.messages) == 144)
    times = [said["ts"] for _, said in spoken(heard)]
    assert before - 1 <= times[-1] <= now_ms()
    assert times[-1] - times[0] == 143 * 600_000


def test_replay_at_a_speed_stamps_the_time_of_sending_when_shifted(
    mosquitto: MosquittoServer, tmp_path: Path
) -> None:
    path = tmp_path / "han.csv"
    path.write_text("time,station,level_m\n2020-01-01T00:00:00Z,s,1\n2020-01-01T01:00:00Z,s,2\n")
    before = now_ms()
    with listening(mosquitto.port) as heard:
        assert replay.run(path, mqtt_url=mosquitto.url, shift="now", speed=7200) == 0
        assert heard.until(lambda: len(heard.messages) == 2)
    one, two = (said["ts"] for _, said in spoken(heard))
    assert before <= one
    assert two - one >= 450, "an hour at 7200 times is half a second"
    assert two <= now_ms()


def test_replay_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    nowhere = "mqtt://127.0.0.1:1"
    assert replay.run(tmp_path / "absent.csv", mqtt_url=nowhere) == 2
    (tmp_path / "x.csv.gz").write_bytes(b"not gzip")
    assert replay.run(tmp_path / "x.csv.gz", mqtt_url=nowhere) == 2
    (tmp_path / "y.csv").write_text("a,b\n1,2\n")
    assert replay.run(tmp_path / "y.csv", mqtt_url=nowhere) == 2
    (tmp_path / "z.csv").write_text(SERIES)
    assert replay.run(tmp_path / "z.csv", mqtt_url=nowhere, speed=-1) == 2
    assert replay.run(tmp_path / "z.csv", mqtt_url=nowhere, start=datetime(2099, 1, 1, tzinfo=UTC)) == 1


def test_replay_without_a_broker_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "CONNECT_WITHIN_S", 0.5)
    (tmp_path / "z.csv").write_text(SERIES)
    assert replay.run(tmp_path / "z.csv", mqtt_url="mqtt://127.0.0.1:1") == 1


def test_the_flood_of_2013_goes_through_the_broker(mosquitto: MosquittoServer, shared_data: Path) -> None:
    path = shared_data / "data/water/han_cheongdam_2012_2015.csv.gz"
    start, end = datetime(2013, 7, 13, tzinfo=UTC), datetime(2013, 7, 18, tzinfo=UTC)
    with listening(mosquitto.port) as heard:
        assert replay.run(path, mqtt_url=mosquitto.url, start=start, end=end) == 0
        assert heard.until(lambda: len(heard.messages) == 720)
    crest = max((said for _, said in spoken(heard)), key=lambda said: said["metrics"]["level"])
    assert crest["metrics"]["level"] == pytest.approx(10.23, abs=0.01)
    assert datetime.fromtimestamp(crest["ts"] / 1000, UTC) == datetime(2013, 7, 15, 12, 50, tzinfo=UTC)
