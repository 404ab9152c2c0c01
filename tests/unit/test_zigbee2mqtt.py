"""Zigbee2MQTT: reports under names with any number of levels, availability in both forms, and who is in the network."""

import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.observations import Rejection
from ingest.decoders.said import Announced, Arrival, Link, Rejected, Report, Said
from ingest.decoders.zigbee2mqtt import DECODER, Zigbee2Mqtt
from ingest.profile_book import ProfileBook
from ingest.routing import matches

NOW = Arrival(1_763_750_400_000_000, ZoneInfo("Asia/Shanghai"))
IEEE = "0x00158d0001d64498"


def said(topic: str, payload: object) -> list[Said]:
    """What the message says; a refusal of the whole fails the test."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    answer = DECODER.decode(topic, body, NOW)
    assert not isinstance(answer, Rejected), answer
    return list(answer)


def report(topic: str, payload: object) -> Report:
    (one,) = said(topic, payload)
    assert isinstance(one, Report)
    return one


def refused(topic: str, payload: object) -> Rejection:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    answer = DECODER.decode(topic, body, NOW)
    assert isinstance(answer, Rejected), answer
    assert answer.detail
    return answer.reason


# ── what others recorded ─────────────────────────────────────────────────────────────────────────────

# by id of the vector: every value it has, as we say it
SMOKE: dict[str, dict[str, float]] = {
    "alarm_mijia_epoch_ms": {"battery": 100, "voltage": 3195, "linkquality": 57, "smoke": 1},
    "clear_mijia_density": {
        "battery": 100,
        "voltage": 3115,
        "smoke_density": 2,
        "linkquality": 94,
        "smoke": 0,
    },
    "clear_with_device_block": {"battery": 100, "voltage": 3075, "linkquality": 81, "smoke": 0},
    "hb_low": {"battery_low": 1, "smoke": 0, "tamper": 0},
    "hb_tamper": {"battery_low": 0, "smoke": 0, "tamper": 1},
}
NAMES = {"battery_pct": "battery", "voltage_mV": "voltage"}


def test_every_vector(shared_data: Path) -> None:
    vectors = json.loads((shared_data / "vectors/zigbee2mqtt/smoke_and_availability.json").read_text())
    assert {one["id"] for one in vectors["smoke"]} == set(SMOKE)
    for one in vectors["smoke"]:
        found = report(one["topic"] or "zigbee2mqtt/cellar", one["payload"])
        assert found.values == SMOKE[one["id"]]
        assert found.device == (one["topic"] or "zigbee2mqtt/cellar").removeprefix("zigbee2mqtt/")
        for key, value in one["expect"].items():
            if key == "observed_at_epoch_ms":
                assert found.at_us == value * 1000
            else:
                assert found.values[NAMES.get(key, key)] == value
    block = next(one for one in vectors["smoke"] if one["id"] == "clear_with_device_block")
    assert report(block["topic"], block["payload"]).model == "lumi.sensor_smoke"
    links = [link for one in vectors["availability"] for link in said(one["topic"], one["payload"])]
    assert links == [Link(device="bulb_color", online=True), Link(device="remote", online=False)]


RECORDED: dict[str, dict[str, float]] = {
    "zigbee2mqtt_smoke-018": {
        "alarm_1": 0, "alarm_2": 0, "battery": 100, "battery_low": 0, "linkquality": 164, "tamper": 0,
    },
    "zigbee2mqtt_smoke-019": {
        "ac_status": 0, "battery": 100, "battery_low": 0, "linkquality": 30, "restore_reports": 1, "smoke": 0,
        "supervision_reports": 1, "tamper": 0, "temperature": 24.06, "test": 1, "trouble": 0, "voltage": 3100,
    },
    "zigbee_ias_zone-020": {
        "alarm_1": 0, "alarm_2": 0, "tamper": 0, "battery_low": 0, "trouble": 0, "ac_status": 0, "test": 1,
        "battery_defect": 0,
    },
}  # fmt: skip


def test_every_recorded_payload(shared_data: Path) -> None:
    lines = (shared_data / "data/payloads/payloads.jsonl").read_text().splitlines()
    records = [one for one in map(json.loads, lines) if one["family"].startswith("zigbee")]
    assert {one["id"] for one in records} == set(RECORDED)
    for one in records:
        found = report(one["topic"] or "zigbee2mqtt/cellar", one["payload"].encode())
        assert found.values == RECORDED[one["id"]]
        for key, value in (one["expect"] or {}).items():
            assert found.values.get(key) == value  # None: it says nothing about smoke, and neither do we


# ── reports ──────────────────────────────────────────────────────────────────────────────────────────


def test_numbers_and_switches_are_kept_and_nothing_else() -> None:
    found = report(
        "zigbee2mqtt/block 3/floor 2/detector",
        {
            "temperature": 21.5, "water_leak": False, "battery": None, "sensitivity": "high", "elapsed": 300,
            "update": {"state": "idle", "installed_version": 3}, "color": {"x": 0.3}, "history": [1, 2],
        },
    )  # fmt: skip
    assert found.device == "block 3/floor 2/detector"
    assert found.values == {"temperature": 21.5, "water_leak": 0.0}
    assert found.at_us is None


@pytest.mark.parametrize(
    ("last_seen", "at_us"),
    [
        (1573393389829, 1573393389_829_000),
        ("2019-11-10T13:43:09.829Z", 1573393389_829_000),
        ("2019-11-10T14:43:09+01:00", 1573393389_000_000),
        ("2019-11-10T21:43:09", 1573393389_000_000),  # no offset: the district's clock
        (None, None),
    ],
)
def test_when_it_was_seen(last_seen: object, at_us: int | None) -> None:
    assert report("zigbee2mqtt/a", {"smoke": True, "last_seen": last_seen}).at_us == at_us


@pytest.mark.parametrize("last_seen", ["yesterday", "x" * 100_000, [], True, 1e300])
def test_an_alarm_with_a_broken_clock_is_still_an_alarm(last_seen: object) -> None:
    found, fault = said("zigbee2mqtt/a", {"smoke": True, "last_seen": last_seen})
    assert isinstance(found, Report)
    assert (found.values, found.at_us) == ({"smoke": 1.0}, None)
    assert isinstance(fault, Rejected)
    assert fault.reason is Rejection.BAD_TIME


def test_a_quantity_beyond_all_measure_is_left_out() -> None:
    found, fault = said("zigbee2mqtt/a", b'{"temperature": 1' + b"0" * 400 + b', "smoke": true}')
    assert isinstance(found, Report)
    assert found.values == {"smoke": 1.0}
    assert isinstance(fault, Rejected)
    assert fault.reason is Rejection.NOT_FINITE


def test_one_topic_for_each_quantity() -> None:
    assert report("zigbee2mqtt/hall/detector/temperature", b"21.5").values == {"temperature": 21.5}
    assert report("zigbee2mqtt/hall/detector/smoke", b"true").device == "hall/detector"
    assert refused("zigbee2mqtt/hall", b"21.5") is Rejection.WRONG_SHAPE
    assert refused("zigbee2mqtt/hall/state", b"ON") is Rejection.NOT_JSON


def test_the_block_of_the_device_tells_its_model() -> None:
    for block in ({"model": "JTYJ-GD-01LM/BW", "modelId": "lumi.x"}, {"modelID": "JTYJ-GD-01LM/BW"}):
        assert report("zigbee2mqtt/a", {"smoke": True, "device": block}).model == "JTYJ-GD-01LM/BW"
    assert report("zigbee2mqtt/a", {"smoke": True, "device": {"model": 7}}).model == ""


def test_commands_and_what_was_taken_away_say_nothing() -> None:
    for topic in ("lamp/set", "lamp/get", "hall/lamp/set", "lamp/set/state", "hall/lamp/get/state"):
        assert said(f"zigbee2mqtt/{topic}", {"state": "ON", "brightness": 3}) == []
    for topic in ("lamp", "hall/lamp/availability", "bridge/state"):
        assert said(f"zigbee2mqtt/{topic}", b"") == []


# ── who is there ─────────────────────────────────────────────────────────────────────────────────────


def test_availability_in_both_forms() -> None:
    for payload in (b"online", {"state": "online"}):
        assert said("zigbee2mqtt/a/b/availability", payload) == [Link(device="a/b", online=True)]
    for payload in (b"offline", {"state": "offline"}):
        assert said("zigbee2mqtt/a/availability", payload) == [Link(device="a", online=False)]
        bridge = said("zigbee2mqtt/bridge/state", payload)
        assert isinstance(bridge[0], Announced)
        assert bridge[1:] == [Link(device="bridge", online=False)]  # and of no other
    assert refused("zigbee2mqtt/a/availability", b"dead") is Rejection.WRONG_SHAPE
    assert refused("zigbee2mqtt/a/availability", {"state": 1}) is Rejection.WRONG_SHAPE
    assert refused("zigbee2mqtt/a/availability", b"{") is Rejection.NOT_JSON


DEVICES: list[dict[str, Any]] = [
    {"ieee_address": "0x00124b00120144ae", "type": "Coordinator", "friendly_name": "Coordinator", "definition": None},
    {
        "ieee_address": IEEE,
        "type": "EndDevice",
        "friendly_name": "cellar/smoke",
        "power_source": "Battery",
        "model_id": "lumi.sensor_smoke",
        "definition": {
            "model": "JTYJ-GD-01LM/BW",
            "vendor": "Xiaomi",
            "exposes": [
                {"type": "binary", "property": "smoke", "access": 1},
                {"type": "numeric", "property": "battery", "access": 1},
                {"type": "enum", "property": "sensitivity", "access": 7},
                {"type": "numeric", "property": "only_set", "access": 2},
                {"type": "light", "features": [{"type": "numeric", "property": "brightness", "access": 7}]},
            ],
        },
    },
    {"ieee_address": "0x00169a00022256da", "type": "Router", "friendly_name": "0x00169a00022256da",
     "definition": None, "model_id": None, "manufacturer": "Heiman"},
]  # fmt: skip


def test_the_network_announces_its_devices() -> None:
    detector, unknown = said("zigbee2mqtt/bridge/devices", DEVICES)
    assert detector == Announced(
        device="cellar/smoke",
        name="cellar/smoke",
        model="JTYJ-GD-01LM/BW",
        vendor="Xiaomi",
        gateway="bridge",
        keys=("smoke", "battery", "brightness"),
        permanent=IEEE,
    )
    assert unknown == Announced(
        device="0x00169a00022256da", vendor="Heiman", gateway="bridge", permanent="0x00169a00022256da"
    )


def test_devices_that_join_speak_up_and_leave() -> None:
    data = {"friendly_name": "cellar", "ieee_address": IEEE}
    for kind in ("device_joined", "device_announce"):
        joined = said("zigbee2mqtt/bridge/event", {"type": kind, "data": data})
        assert joined[1:] == [Link(device="cellar", online=True)]
        assert isinstance(joined[0], Announced)
        assert joined[0].permanent == IEEE
    left = said("zigbee2mqtt/bridge/event", {"type": "device_leave", "data": data})
    assert left == [Link(device="cellar", online=False)]
    known = data | {"status": "successful", "definition": {"model": "LED1624G9", "vendor": "IKEA"}}
    (interviewed,) = said("zigbee2mqtt/bridge/event", {"type": "device_interview", "data": known})
    assert isinstance(interviewed, Announced)
    assert interviewed.model == "LED1624G9"
    assert said("zigbee2mqtt/bridge/event", {"type": "other", "data": data}) == []
    assert said("zigbee2mqtt/bridge/event", {"type": "device_leave", "data": None}) == []


def test_what_the_bridge_says_of_itself() -> None:
    health = report(
        "zigbee2mqtt/bridge/health",
        {"os": {"memory_percent": 41.2}, "process": {"uptime_sec": 77}, "mqtt": {}},
    )
    assert (health.device, health.values) == ("bridge", {"uptime": 77.0, "memory": 41.2})
    quiet = [
        "info",
        "logging",
        "groups",
        "extensions",
        "definitions",
        "config",
        "log",
        "response/device/rename",
    ]
    for what in [*quiet, "request/permit_join"]:
        assert said(f"zigbee2mqtt/bridge/{what}", b"anything") == []
    assert refused("zigbee2mqtt/bridge/devices", {"a": 1}) is Rejection.WRONG_SHAPE


# ── what the profiles make of it ─────────────────────────────────────────────────────────────────────

UNITS = {"voltage": "V", "air_pressure": "hPa", "smoke": "%", "gas": "%LEL"}


@pytest.mark.parametrize(
    ("payload", "code", "interval_s", "stored"),
    [
        ({"smoke": True, "temperature": 20, "battery": 90, "voltage": 3100}, "zigbee-smoke", 90000,
         {"smoke": 100, "temperature": 20, "battery": 90, "voltage": 3.1}),
        ({"smoke": False, "test": True, "trouble": True, "restore_reports": True}, "zigbee-smoke", 90000,
         {"smoke": 0, "self_test": 1, "fault": 1}),
        ({"gas": True, "gas_value": 9}, "zigbee-gas", 600, {"gas_alarm": 1}),
        ({"carbon_monoxide": True, "co": 50, "battery": 3}, "zigbee-carbon-monoxide", 90000,
         {"carbon_monoxide_alarm": 1, "carbon_monoxide": 50, "battery": 3}),
        ({"water_leak": True, "battery": 3}, "zigbee-water-leak", 90000, {"water_leak": 1, "battery": 3}),
        ({"contact": True, "battery": 3}, "zigbee-contact", 90000, {"open": 0, "battery": 3}),
        ({"contact": False}, "zigbee-contact", 90000, {"open": 1}),
        ({"occupancy": True, "illuminance": 30}, "zigbee-occupancy", 90000, {"presence": 1, "illuminance": 30}),
        ({"temperature": 20, "pressure": 1013, "battery": 3}, "zigbee-climate", 90000,
         {"temperature": 20, "air_pressure": 1013, "battery": 3}),
        ({"battery": 3, "alarm_1": True}, "zigbee-battery", 90000, {"battery": 3, "alarm_1": 1}),
        ({"power": 40, "voltage": 230, "energy": 2}, "zigbee-mains", 600, {"power": 40, "voltage": 230, "energy": 2}),
    ],
)  # fmt: skip
def test_profiles(payload: dict[str, Any], code: str, interval_s: int, stored: dict[str, float]) -> None:
    book = ProfileBook((), UNITS)
    values = report("zigbee2mqtt/a", payload).values
    profile = book.choose("zigbee2mqtt", "", values)
    assert profile is not None
    assert (profile.code, profile.expected_interval_s) == (code, interval_s)
    made: dict[str, float] = {}
    for key, value in values.items():
        mapped = book.mapped("zigbee2mqtt", profile, key)
        line = book.line(mapped, "")
        assert line is not None
        if mapped.metric:
            made[mapped.metric] = value * line.factor + line.offset
    assert made == pytest.approx(stored)


# ── bad input ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"{", Rejection.NOT_JSON),
        (b'{"smoke": NaN}', Rejection.NOT_FINITE),
        (b"[1, 2]", Rejection.WRONG_SHAPE),
        (b'"text"', Rejection.WRONG_SHAPE),
        (b"null", Rejection.WRONG_SHAPE),
        (b"\xff\xfe\x00", Rejection.NOT_JSON),
        (b'{"a":' * 30_000 + b"1" + b"}" * 30_000, Rejection.WRONG_SHAPE),
    ],
)
def test_what_is_no_report_is_refused(payload: bytes, reason: Rejection) -> None:
    assert refused("zigbee2mqtt/floor/detector", payload) is reason


def test_a_definition_nested_without_end_is_read_no_deeper_than_any_is() -> None:
    inner: dict[str, Any] = {"type": "numeric", "property": "deep", "access": 1}
    for _ in range(40):
        inner = {"type": "composite", "features": [inner]}
    device = {"friendly_name": "a", "definition": {"exposes": [inner]}}
    (announced,) = said("zigbee2mqtt/bridge/devices", [device])
    assert isinstance(announced, Announced)
    assert announced.keys == ()


def test_another_base_topic_is_another_bridge() -> None:
    north = Zigbee2Mqtt(family="zigbee_north", prefix="north/zigbee")
    assert matches(north.filters[0], "north/zigbee/a/b")
    assert north.decode("north/zigbee/a/availability", b"online", NOW) == (Link(device="a", online=True),)
    assert DECODER.decode("elsewhere", b"{}", NOW) == ()


KEYS = st.sampled_from(
    ["smoke", "last_seen", "device", "zonestatus", "state", "data", "type", "model", "friendly_name"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=12,
)
TOPICS = [
    "a",
    "a/b",
    "a/availability",
    "bridge/state",
    "bridge/devices",
    "bridge/event",
    "bridge/health",
    "bridge",
    "/",
]


@given(
    topic=st.sampled_from(TOPICS),
    payload=st.binary(max_size=64) | JSON.map(lambda one: json.dumps(one).encode()),
)
def test_nothing_a_broker_can_carry_makes_it_fail(topic: str, payload: bytes) -> None:
    answer = DECODER.decode(f"zigbee2mqtt/{topic}", payload, NOW)
    assert isinstance(answer, Rejected) or all(
        isinstance(one, Report | Link | Announced | Rejected) for one in answer
    )


@given(
    values=st.dictionaries(
        st.text(min_size=1, max_size=12), st.floats(-1e9, 1e9) | st.booleans(), max_size=12
    )
)
def test_every_number_comes_back(values: dict[str, float]) -> None:
    kept = {
        k: float(v) for k, v in values.items() if k not in ("last_seen", "elapsed", "device", "zonestatus")
    }
    assert report("zigbee2mqtt/a", kept).values == kept
