"""Frigate and Zigbee2MQTT as they are: from their own topics to alarms, presence and the register."""

import json
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from city.district import import_defaults
from city.storage import devices
from ingest.decoders import frigate, zigbee2mqtt
from ingest.delivery import Delivery
from ingest.pipeline import Pipeline
from ingest.routing import Router
from rules.definitions import to_rows
from tests.integration.running_ingest import Stand

IEEE, OTHER = "0x00158d0001d64498", "0x0015bc00310095bd"


def review(kind: str, number: int, before: str, at: float) -> dict[str, Any]:
    item: dict[str, Any] = {"id": f"{number}.5-abc", "camera": "yard", "start_time": at, "end_time": None}
    data = {"objects": ["person"], "zones": ["gate"], "sub_labels": ["Bob"], "detections": ["x"], "audio": []}
    ended = {"end_time": at + 5} if kind == "end" else {}
    return {
        "type": kind,
        "before": item | {"severity": before, "data": data | {"zones": []}},
        "after": item | {"severity": "alert", "data": data} | ended,
    }


def test_an_alert_and_a_detector_become_alarms_and_who_is_gone_shows(
    migrated_url: str, mosquitto: Any
) -> None:
    import_defaults(migrated_url, parse_rules=to_rows)
    stand = Stand(migrated_url, mosquitto.url, mosquitto.port, senders="frigate,zigbee2mqtt")
    try:
        now = time.time()
        stand.publish("frigate/available", "online", retain=True)
        for kind, before in (("update", "detection"), ("update", "alert"), ("end", "alert")):
            stand.publish("frigate/reviews", review(kind, 1, before, now - 5))
        stand.publish(
            "zigbee2mqtt/block 3/cellar", {"smoke": True, "battery": 90, "last_seen": int(now * 1000)}
        )
        stand.publish("zigbee2mqtt/block 3/cellar/availability", {"state": "online"}, retain=True)
        stand.publish("zigbee2mqtt/block 3/cellar/availability", "offline", retain=True)
        stand.publish("zigbee2mqtt/block 3/cellar", "no JSON")
        stand.until("SELECT count(*) FROM quarantine", 1)
        stand.until("SELECT count(*) FROM alarms", 2)
        alarms = stand.rows(
            "SELECT d.code, d.kind, a.rule_id, a.evidence ->> 'zone' FROM alarms a"
            " JOIN devices d ON d.id = a.device_id ORDER BY d.code"
        )
        assert alarms == [
            ("frigate:yard", "camera", "camera-person", "gate"),
            ("zigbee2mqtt:block.3.cellar", "smoke", "smoke-high", None),
        ]
        assert stand.rows("SELECT state, event_key FROM detections ORDER BY received_at") == [
            ("new", "1.5-abc"),
            ("update", "1.5-abc"),
            ("end", "1.5-abc"),
        ]
        links = (
            "SELECT d.code, d.kind, p.link FROM presence p JOIN devices d ON d.id = p.device_id ORDER BY 1"
        )
        assert [row for row in stand.rows(links) if row[2] != "unknown"] == [
            ("frigate:frigate", "gateway", "online"),
            ("zigbee2mqtt:block.3.cellar", "smoke", "offline"),
        ]
        assert stand.rows("SELECT reason FROM quarantine") == [("not_json",)]
        with psycopg.connect(migrated_url) as connection:  # nobody listened for as long as any interval yet
            listed = {one.code for one in devices.list_devices(connection, kind="camera")}
        assert listed == {"frigate:yard"}
        kept = stand.rows("SELECT count(*) FROM detections WHERE detections::text LIKE '%Bob%'")
        assert kept == [(0,)]
    finally:
        stand.close()


class Ingest:
    """A pipeline with both families, fed by hand."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        self._url = url
        self.start()

    def start(self) -> None:
        router = Router([frigate.EVENTS, zigbee2mqtt.DECODER])
        self.pipeline = Pipeline(self.connection, max_unclaimed=50, retention_days=400, router=router)

    def hear(self, *messages: tuple[str, object]) -> None:
        self.pipeline.process(
            [
                Delivery(
                    topics=[topic.encode() for topic, _ in messages],
                    payloads=[json.dumps(body).encode() for _, body in messages],
                    packet_ids=[0] * len(messages),
                    received_us=time.time_ns() // 1000,
                    generation=1,
                    retained=frozenset(),
                )
            ]
        )

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql.encode()).fetchall()

    def network(self, **names: str) -> None:
        """``bridge/devices`` with these friendly names by the letter of the device."""
        ieee = {"a": IEEE, "b": OTHER}
        exposes = [{"type": "binary", "property": "smoke", "access": 1}]
        definition = {"model": "JTYJ", "vendor": "Xiaomi", "exposes": exposes}
        devices = [
            {"friendly_name": name, "ieee_address": ieee[letter], "definition": definition}
            for letter, name in names.items()
        ]
        self.hear(("zigbee2mqtt/bridge/devices", devices))

    def smoke(self, name: str) -> str:
        """A report under this name; the code of the device that has it."""
        self.hear((f"zigbee2mqtt/{name}", {"smoke": False}))
        found = self.rows(
            "SELECT d.code FROM observations o JOIN devices d ON d.id = o.device_id ORDER BY o.received_at DESC LIMIT 1"
        )
        return str(found[0][0])


@pytest.fixture
def ingest(migrated_url: str) -> Iterator[Ingest]:
    import_defaults(migrated_url, parse_rules=to_rows)
    made = Ingest(migrated_url)
    yield made
    made.connection.close()


def test_a_renamed_device_stays_the_same_and_its_old_name_is_free(ingest: Ingest) -> None:
    ingest.network(a="cellar", b="attic")
    first = ingest.rows(
        "SELECT code, kind, name, model, vendor, expected_interval_s FROM devices ORDER BY code"
    )
    assert first == [
        ("zigbee2mqtt:attic", "smoke", "attic", "JTYJ", "Xiaomi", 90000),
        ("zigbee2mqtt:cellar", "smoke", "cellar", "JTYJ", "Xiaomi", 90000),
    ]
    ingest.network(a="boiler room", b="attic")
    assert ingest.smoke("boiler room") == "zigbee2mqtt:cellar"
    ingest.network(a="attic", b="boiler room")  # the two change places
    assert ingest.smoke("attic") == "zigbee2mqtt:cellar"
    assert ingest.smoke("boiler room") == "zigbee2mqtt:attic"
    ingest.start()  # what was learned is in the database, not in memory
    assert ingest.smoke("attic") == "zigbee2mqtt:cellar"
    assert ingest.smoke("cellar") == "zigbee2mqtt:cellar.2"  # somebody else is called so now
    assert ingest.rows("SELECT count(*) FROM devices") == [(3,)]
    assert ingest.rows("SELECT count(*) FROM quarantine") == [(0,)]


def test_intervals_come_from_the_profile_unless_somebody_said_them(ingest: Ingest) -> None:
    ingest.rows(
        "INSERT INTO devices (code, kind, expected_interval_s) VALUES ('zigbee2mqtt:listed', 'smoke', NULL),"
        " ('zigbee2mqtt:mine', 'smoke', 7200) RETURNING id"
    )
    ingest.pipeline.refresh()
    ingest.hear(
        ("zigbee2mqtt/listed", {"smoke": False, "battery": 90}),
        ("zigbee2mqtt/mine", {"smoke": False, "battery": 90}),
        ("zigbee2mqtt/plug", {"power": 12}),
        ("zigbee2mqtt/later", {"linkquality": 12}),
    )
    ingest.hear(("zigbee2mqtt/later", {"linkquality": 12, "battery": 90}))
    ingest.hear(("zigbee2mqtt/mine", {"smoke": False, "battery": 90, "tamper": False}))
    assert ingest.rows("SELECT code, expected_interval_s FROM devices ORDER BY code") == [
        ("zigbee2mqtt:later", 90000),
        ("zigbee2mqtt:listed", 90000),
        ("zigbee2mqtt:mine", 7200),
        ("zigbee2mqtt:plug", 600),
    ]


def test_alarms_by_nature_and_a_drill_that_is_none(ingest: Ingest) -> None:
    ingest.hear(
        ("zigbee2mqtt/pump room", {"water_leak": True, "battery": 80}),
        ("zigbee2mqtt/kitchen", {"gas": True}),
        ("zigbee2mqtt/garage", {"carbon_monoxide": True}),
        ("zigbee2mqtt/combined", {"smoke": False, "carbon_monoxide": True}),
        ("zigbee2mqtt/drill", {"smoke": True, "test": True}),
        ("zigbee2mqtt/empty", {"smoke": False, "battery_low": True}),
    )
    assert ingest.rows(
        "SELECT d.code, a.rule_id FROM alarms a JOIN devices d ON d.id = a.device_id"
        " WHERE a.suppressed IS NULL ORDER BY 1"
    ) == [
        ("zigbee2mqtt:combined", "smoke-carbon-monoxide-alarm"),
        ("zigbee2mqtt:empty", "device-maintenance"),
        ("zigbee2mqtt:garage", "carbon-monoxide-alarm"),
        ("zigbee2mqtt:kitchen", "gas-alarm"),
        ("zigbee2mqtt:pump.room", "water-leak"),
    ]


def test_tracked_objects_of_a_false_start_raise_nothing(ingest: Ingest) -> None:
    one = {"id": "1.5-x", "camera": "yard", "label": "person", "top_score": 0.9, "entered_zones": ["gate"]}
    one |= {"start_time": time.time(), "frame_time": time.time(), "sub_label": ["Bob", 0.9]}
    false = one | {"false_positive": True}
    ingest.hear(("frigate/events", {"type": "new", "before": false, "after": false}))
    assert ingest.rows("SELECT count(*) FROM detections") == [(0,)]
    ingest.hear(("frigate/events", {"type": "update", "before": false, "after": one}))
    assert ingest.rows("SELECT rule_id FROM alarms") == [("camera-person",)]
