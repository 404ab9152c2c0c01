"""Nothing is lost while a part is away, and nothing grows; the long forms are bench/outage.py and bench/soak.py."""

import time
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from bench import outage, soak
from bench.broker_loss import Subscriber
from bench.brokers import EmbeddedNats
from tests.servers.postgres import PostgresServer

PATIENCE_S = 120
MESSAGES = 12_000


@pytest.mark.parametrize(
    "broker",
    [
        pytest.param("mosquitto", marks=pytest.mark.slow),
        "nats",
        pytest.param("log", marks=[pytest.mark.slow, pytest.mark.over_log]),
    ],
)
def test_what_comes_while_ingest_is_away_is_stored_once_when_it_is_back(
    postgres_server: PostgresServer, tmp_path: Path, broker: str
) -> None:
    outcome = outage.run(
        postgres_server, tmp_path, broker=broker, away="ingest", messages=5000, patience_s=PATIENCE_S
    )
    assert outcome.verdict.faultless
    assert (outcome.verdict.acknowledged, outcome.verdict.stored) == (5000, 5000)


def test_nothing_grows(postgres_server: PostgresServer, tmp_path: Path) -> None:
    outcome = soak.run(postgres_server, tmp_path, messages=200_000, portion=40_000, screens=6)
    assert outcome.stored == outcome.messages == 200_000
    assert [name for name in outcome.growing if not name.endswith("rss_mb")] == []
    memory = {name: grown for name, grown in outcome.growth.items() if name.endswith("rss_mb")}
    assert len(memory) == 3
    assert max(memory.values()) < 60  # MB; 200,000 messages kept whole would be 70 or more


def test_a_full_embedded_broker_acknowledges_nothing_more_and_goes_on_when_there_is_room() -> None:
    broker = EmbeddedNats(2**20, max_file_store="2MB")
    broker.start()
    publisher = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="full")
    publisher.max_inflight_messages_set(500)
    publisher.reconnect_delay_set(1, 1)
    acknowledged: set[int] = set()
    publisher.on_publish = lambda _client, _data, number, _reason, _more: acknowledged.add(number)
    try:
        Subscriber(broker.port).close()  # whose session it keeps them for
        publisher.connect("127.0.0.1", broker.port)
        publisher.loop_start()
        for number in range(MESSAGES):
            publisher.publish("city/c1/smoke/s1", b"%0100d" % number, qos=1)
        deadline = time.monotonic() + PATIENCE_S
        refused = 0
        while refused < 3:  # so often does the publisher come back and find it full
            assert len(acknowledged) < MESSAGES, "everything was taken: the limit is none"
            assert time.monotonic() < deadline
            refused = (broker.folder / "nats.log").read_text().count("maximum bytes exceeded")
            time.sleep(0.05)
        back = Subscriber(broker.port)  # what is acknowledged makes room
        received = back.count(MESSAGES, quiet_s=30)
        while len(acknowledged) < MESSAGES and time.monotonic() < deadline:
            time.sleep(0.05)
        back.close()
        assert (received, len(acknowledged)) == (MESSAGES, MESSAGES)
    finally:
        publisher.disconnect()
        publisher.loop_stop()
        broker.close()
