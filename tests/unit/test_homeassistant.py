"""Home Assistant discovery: logged announcements, abbreviations, both forms, and whose device it is."""

import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.observations import Rejection
from ingest.decoders.homeassistant import DECODER
from ingest.decoders.said import Announced, Arrival, Rejected, Said
from ingest.routing import matches

ARRIVAL = Arrival(1_700_000_100_000_000, ZoneInfo("Asia/Shanghai"))


def decode(topic: str, body: object) -> list[Said]:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert any(matches(wanted, topic) for wanted in DECODER.filters), topic
    said = DECODER.decode(topic, payload, ARRIVAL)
    return [said] if isinstance(said, Rejected) else list(said)


def announced(topic: str, body: object) -> Announced:
    (only,) = decode(topic, body)
    assert isinstance(only, Announced), only
    return only


def test_the_logged_announcements(shared_data: Path) -> None:
    text = (shared_data / "vectors/homeassistant/discovery_examples.json").read_text(encoding="utf-8")
    expected = [
        Announced(
            family="zigbee2mqtt",
            device="0x00124b00168change",
            model="Optical smoke detector (hardware version v1) (SD-8SCZBS)",
            vendor="Climax",
            keys=("smoke",),
        ),
        Announced(
            family="zigbee2mqtt",
            device="0x00158d0002527271",
            model="MiJia Honeywell smoke detector (JTYJ-GD-01LM/BW)",
            vendor="Xiaomi",
            keys=("battery",),
        ),
    ]
    messages = json.loads(text)["messages"]
    assert len(messages) >= 2
    for message, wanted in zip(messages, expected, strict=True):
        assert decode(message["topic"], message["payload"]) == [wanted]


def test_abbreviations_and_the_base_topic() -> None:
    body = {
        "~": "zigbee2mqtt",
        "stat_t": "~/hall/cellar",
        "val_tpl": "{{ value_json['water_leak'] }}",
        "uniq_id": "u",
        "dev_cla": "moisture",
        "dev": {
            "ids": ["zigbee2mqtt_0x1"],
            "name": "Cellar",
            "mdl": "SJCGQ11LM",
            "mf": "Aqara",
            "via_device": "bridge",
        },
    }
    assert announced("homeassistant/binary_sensor/0x1/leak/config", body) == Announced(
        family="zigbee2mqtt",
        device="hall/cellar",
        name="Cellar",
        model="SJCGQ11LM",
        vendor="Aqara",
        keys=("water_leak",),
    )
    behind = body | {"~": "cellar", "stat_t": "zigbee2mqtt/~"}
    assert announced("homeassistant/sensor/x/config", behind).device == "cellar"
    both = body | {"state_topic": "zigbee2mqtt/full"}
    assert announced("homeassistant/sensor/x/config", both).device == "full"


def test_the_bridge_is_the_one_that_reports_itself() -> None:
    body = {"stat_t": "zigbee2mqtt/bridge/state", "dev": {"ids": ["zigbee2mqtt_bridge_0x1"], "mdl": "Bridge"}}
    said = announced("homeassistant/binary_sensor/b/state/config", body)
    assert (said.family, said.device, said.model) == ("zigbee2mqtt", "bridge", "Bridge")


def test_a_tasmota_device_is_announced_under_its_topic() -> None:
    body = {
        "name": "AM2301 Temperature",
        "stat_t": "tele/tasmota_9CF9D1/SENSOR",
        "val_tpl": "{{value_json['AM2301'].Temperature}}",
        "dev": {"ids": ["9CF9D1"], "mdl": "Sonoff TH", "name": "Pump"},
    }
    assert announced("homeassistant/sensor/9CF9D1_AM2301_Temperature/config", body) == Announced(
        family="tasmota",
        device="tasmota_9CF9D1",
        name="Pump",
        model="Sonoff TH",
        keys=("AM2301.Temperature",),
    )


def test_keys_that_nobody_told_are_not_made_up_for_a_device_that_reports() -> None:
    body = {
        "stat_t": "zigbee2mqtt/lamp",
        "schema": "json",
        "dev_cla": "smoke",
        "dev": {"ids": "zigbee2mqtt_0x2"},
    }
    assert announced("homeassistant/light/0x2/light/config", body).keys == ()


def test_other_devices_are_known_by_their_identifiers() -> None:
    device: dict[str, Any] = {
        "name": "Weather",
        "manufacturer": "espressif",
        "model_id": "esp32",
        "via_device": "hub",
    }
    body = {"state_topic": "weather/sensor/t/state", "device_class": "temperature", "device": device}
    for field, value, name in (
        ("identifiers", "a1", "a1"),
        ("identifiers", ["a1", "b2"], "a1"),
        ("connections", [["mac", "02:5b:26:a8:dc:12"]], "02:5b:26:a8:dc:12"),
    ):
        body["device"] = device | {field: value}
        assert announced("homeassistant/sensor/node/t/config", body) == Announced(
            device=name,
            name="Weather",
            model="esp32",
            vendor="espressif",
            gateway="hub",
            keys=("temperature",),
        )
    body["device"] = {}
    assert announced("homeassistant/sensor/node/t/config", body).device == "node"
    assert announced("homeassistant/sensor/lonely/config", {"stat_t": "x/y"}) == Announced(
        device="lonely", keys=("lonely",)
    )


def test_one_message_for_the_whole_device() -> None:
    body = {
        "dev": {"ids": "ea334450945afc", "name": "Kitchen", "mf": "Bla", "mdl": "xya"},
        "o": {"name": "bla2mqtt"},
        "cmps": {
            "t": {
                "p": "sensor",
                "dev_cla": "temperature",
                "val_tpl": "{{ value_json.temperature}}",
                "uniq_id": "1",
            },
            "s": {"p": "binary_sensor", "dev_cla": "smoke", "uniq_id": "2"},
            "b": {"p": "button", "cmd_t": "x", "uniq_id": "3"},
            "gone": {"p": "sensor"},
        },
        "stat_t": "kitchen/state",
    }
    assert announced("homeassistant/device/ea334450945afc/config", body) == Announced(
        device="ea334450945afc", name="Kitchen", model="xya", vendor="Bla", keys=("temperature", "smoke")
    )
    shared = body | {"stat_t": "zigbee2mqtt/kitchen"}
    assert announced("homeassistant/device/zigbee/ea/config", shared).family == "zigbee2mqtt"
    assert decode("homeassistant/device/ea/config", {"dev": {"ids": "x"}, "cmps": {}}) == []


def test_what_says_nothing_is_quiet() -> None:
    assert decode("homeassistant/sensor/x/config", b"") == []
    assert decode("homeassistant/status", b"online") == []
    assert decode("homeassistant/status", b"offline") == []


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("{{ value_json.smoke }}", "smoke"),
        ("{{ value_json['a b'] }}", "a b"),
        ('{{ value_json["a"]["b"] | round(1) }}', "a.b"),
        ("{{ value_json.battery.split('%')[0] }}", "battery"),
        ("{{ 'on' if value_json.x > 3 else 'off' }}", "x"),
        ("{{ value }}", "smoke"),
        ("value_json" * 2000, "smoke"),
        ("{{ value_json" + "['" * 3000, "smoke"),
    ],
)
def test_the_key_that_a_template_reads(template: str, key: str) -> None:
    body = {"stat_t": "x/y", "val_tpl": template, "dev_cla": "smoke", "dev": {"ids": "d"}}
    assert announced("homeassistant/sensor/d/config", body).keys == (key,)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"{", Rejection.NOT_JSON),
        (b"online", Rejection.NOT_JSON),
        (b"[]", Rejection.WRONG_SHAPE),
        (b'{"dev": "x"}', Rejection.WRONG_SHAPE),
        (b'{"a":' * 40_000, Rejection.WRONG_SHAPE),
        (b" " * 262_145, Rejection.OVERSIZE),
    ],
)
def test_what_must_be_refused(payload: bytes, reason: Rejection) -> None:
    (only,) = decode("homeassistant/sensor/x/config", payload)
    assert isinstance(only, Rejected)
    assert only.reason is reason


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["~", "x/y", "zigbee2mqtt/", "zigbee2mqtt/a", "tele/a/STATE", "value_json.a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["~", "dev", "device", "ids", "cns", "stat_t", "val_tpl", "cmps", "p", "name", "mdl", "t"]
            ),
            inner,
        )
    ),
    max_leaves=16,
)


@given(JSON | st.binary(max_size=60), st.sampled_from(["device/x", "sensor/x", "sensor/n/x"]))
def test_anything_is_answered(body: Any, middle: str) -> None:
    for one in decode(f"homeassistant/{middle}/config", body):
        assert isinstance(one, Rejected) or (isinstance(one, Announced) and one.device)
