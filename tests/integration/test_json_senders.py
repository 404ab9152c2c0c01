"""SenML, ThingsBoard, Tasmota and Home Assistant discovery through the real broker, process and database."""

import time
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import cbor2
import pytest

from tests.integration.running_ingest import Stand
from tests.integration.test_ingest import make_stand

__all__ = ["make_stand"]  # a fixture

OW = "urn:dev:ow:10e2073a01080063"


@pytest.fixture
def stand(make_stand: Any) -> Stand:
    started: Stand = make_stand()
    return started


def _local(seconds: float) -> str:
    """As a device writes it; before the first import the zone is that of CITY_TIMEZONE."""
    return datetime.fromtimestamp(seconds, ZoneInfo("Asia/Shanghai")).strftime("%Y-%m-%dT%H:%M:%S")


def _publish(stand: Stand, now_s: int) -> None:
    stand.publish(
        "senml/roof",
        [{"bn": f"{OW}:", "bt": now_s, "n": "temp", "u": "K", "v": 294.15}, {"n": "smoke", "vb": True}],
    )
    stand.publish(
        "senml/roof", cbor2.dumps([{-2: "2001:db8::2/", -3: now_s, 0: "humidity", 1: "%RH", 2: 30.5}])
    )
    stand.publish(
        "v1/gateway/telemetry",
        {"Device A": [{"ts": now_s * 1000, "values": {"temperature": 42, "humidity": 80}}]},
    )
    stand.publish("v1/gateway/connect", {"device": "Device A", "type": "TH-1"})
    stand.publish("meter7/v1/devices/me/telemetry", {"water_level": 3.25})
    stand.publish("v1/devices/me/telemetry", {"temperature": 1})
    stand.publish(
        "tele/pump/SENSOR",
        {"Time": _local(now_s), "AM2301": {"Temperature": 68.0, "Humidity": 55.0}, "TempUnit": "F"},
    )
    stand.publish("tele/pump/LWT", "Online", retain=True)
    stand.publish(
        "homeassistant/binary_sensor/0x17/smoke/config",
        {
            "stat_t": "zigbee2mqtt/cellar",
            "val_tpl": "{{ value_json.smoke }}",
            "dev": {"ids": ["zigbee2mqtt_0x17"], "name": "Cellar", "mdl": "SD-8", "mf": "Climax"},
        },
        retain=True,
    )
    stand.publish("senml/roof", b"[{}")
    stand.publish("city/c1/smoke/last", {"ts": now_s * 1000, "value": 1.0})


def test_each_family_is_stored_under_its_device_and_metrics(stand: Stand) -> None:
    now_s = int(time.time())
    _publish(stand, now_s)
    stand.until(
        "SELECT count(*) FROM observations o JOIN devices d ON d.id = o.device_id WHERE d.code = 'last'", 1
    )
    found: dict[str, dict[str, float]] = {}
    for code, metric, value in stand.rows(
        "SELECT d.code, m.code, o.value FROM observations o JOIN devices d ON d.id = o.device_id"
        " JOIN metrics m ON m.id = o.metric_id WHERE d.code <> 'last'"
    ):
        found.setdefault(code, {})[metric] = round(value, 6)
    assert found == {
        f"senml:{OW}": {"temperature": 21.0, "smoke": 100.0},
        "senml:2001:db8::2": {"humidity": 30.5},
        "thingsboard:Device.A": {"temperature": 42.0, "humidity": 80.0},
        "thingsboard:meter7": {"level": 3.25},
        "thingsboard:me": {"temperature": 1.0},
        "tasmota:pump": {"temperature": 20.0, "humidity": 55.0},
    }
    times = stand.rows(
        "SELECT DISTINCT d.code, extract(epoch FROM o.observed_at)::bigint FROM observations o"
        " JOIN devices d ON d.id = o.device_id"
        " WHERE d.code NOT IN ('last', 'thingsboard:meter7', 'thingsboard:me') ORDER BY 1"
    )
    assert {row[1] for row in times} == {now_s}
    assert stand.rows(
        "SELECT code, kind, model, vendor, name FROM devices WHERE code <> 'last' ORDER BY code"
    ) == [
        ("senml:2001:db8::2", "sensor", "", "", ""),
        (f"senml:{OW}", "smoke", "", "", ""),
        ("tasmota:pump", "temperature", "", "", ""),
        ("thingsboard:Device.A", "temperature", "TH-1", "", ""),
        ("thingsboard:me", "temperature", "", "", ""),
        ("thingsboard:meter7", "water", "", "", ""),
        ("zigbee2mqtt:cellar", "smoke", "SD-8", "Climax", "Cellar"),
    ]
    assert stand.rows("SELECT d.code FROM alarms a JOIN devices d ON d.id = a.device_id") == [
        (f"senml:{OW}",)
    ]
    stand.until("SELECT count(*) FROM presence WHERE link = 'online'", 2)
    assert sorted(row[0] for row in stand.rows("SELECT reason FROM quarantine")) == ["not_json"]
