"""Tasmota's telemetry: recorded messages, its clocks, units, both orders of the topic, and what must be refused."""

import json
import math
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.observations import Rejection
from ingest.decoders.said import MAX_VALUES, Announced, Arrival, Link, Rejected, Report, Said
from ingest.decoders.tasmota import DECODER
from ingest.routing import matches

ARRIVAL = Arrival(1_708_784_500_000_000, ZoneInfo("Asia/Shanghai"))
FEB_24 = 1_708_784_438_000_000  # 2024-02-24T22:20:38 in Shanghai


def decode(topic: str, body: object, arrival: Arrival = ARRIVAL) -> list[Said]:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert any(matches(wanted, topic) for wanted in DECODER.filters), topic
    said = DECODER.decode(topic, payload, arrival)
    return [said] if isinstance(said, Rejected) else list(said)


def report(topic: str, body: object, arrival: Arrival = ARRIVAL) -> Report:
    (only,) = decode(topic, body, arrival)
    assert isinstance(only, Report), only
    return only


def refusal(topic: str, body: object) -> Rejected:
    (only,) = decode(topic, body)
    assert isinstance(only, Rejected), only
    assert 10 < len(only.detail) < 400
    return only


def test_the_recorded_messages(shared_data: Path) -> None:
    text = (shared_data / "vectors/tasmota/telemetry_examples.json").read_text(encoding="utf-8")
    expected: list[Said] = [
        Report(device="tasmota_9CF9D1", values={"Switch1": 1.0}, at_us=FEB_24),
        Report(device="tasmota_9CF9D1", values={"Switch1": 1.0}, at_us=FEB_24 + 300_000_000),
        Link(device="lamp", online=True),
        Link(device="lamp", online=False),
    ]
    messages = json.loads(text)["messages"]
    assert len(messages) >= 4
    for message, wanted in zip(messages, expected, strict=True):
        body = message["payload"]
        topic = message["topic"].replace("<topic>", "lamp")
        assert decode(topic, body.encode() if isinstance(body, str) else body) == [wanted]


def test_the_recorded_payloads(shared_data: Path) -> None:
    lines = (shared_data / "data/payloads/payloads.jsonl").read_text(encoding="utf-8").splitlines()
    records = {one["id"]: one for one in map(json.loads, lines) if one["family"].startswith("tasmota")}
    expected: dict[str, list[Said]] = {
        "tasmota_sensor-009": [
            Report(
                device="ring2",
                values={
                    "Analog0": 4.0,
                    "INA219.Voltage": 4.41,
                    "INA219.Current": 0.02,
                    "INA219.Power": 0.087,
                },
                at_us=1_524_462_654_000_000,
            )
        ],
        "tasmota_state-010": [
            Report(
                device="wemos_3",
                values={"LoadAvg": 38.0, "POWER": 0.0, "Wifi.RSSI": 98.0},
                at_us=1_552_785_241_000_000,
            )
        ],
        "tasmota_sensor-011": [],  # the converter at its end: nothing was measured
        "tasmota_result-012": [],  # an answer to a command
    }
    assert set(records) == set(expected)
    for name, record in records.items():
        assert decode(record["topic"], record["payload"].encode()) == expected[name], name


@pytest.mark.parametrize(
    ("topic", "device"),
    [
        ("tele/lamp/SENSOR", "lamp"),
        ("tele/house/attic/SENSOR", "house/attic"),
        ("lamp/tele/SENSOR", "lamp"),
        ("house/attic/tele/SENSOR", "house/attic"),
        ("penthouse/bedroom1/bathroom2/lamp/tele/SENSOR", "penthouse/bedroom1/bathroom2/lamp"),
    ],
)
def test_the_device_is_the_topic_in_either_order(topic: str, device: str) -> None:
    assert report(topic, {"AM2301": {"Temperature": 21.5}}).device == device
    assert decode(topic.replace("SENSOR", "LWT"), b"Online") == [Link(device=device, online=True)]


def test_sensors_become_keys_with_dots_and_the_message_states_units() -> None:
    body = {
        "Time": "2024-02-24T22:20:38",
        "AM2301": {"Temperature": 70.5, "Humidity": 60, "DewPoint": 55.1},
        "BME280": {"Temperature": None, "Pressure": 29.9, "SeaPressure": 30.1},
        "DS18B20": {"Id": "0119", "Temperature": 71.0},
        "TX23": {"Speed": {"Act": 12.0, "Max": 20}, "Dir": {"Card": "SSE", "Deg": 157.5}},
        "PressureUnit": "inHg",
        "TempUnit": "F",
        "SpeedUnit": "kn",
    }
    said = report("tele/t/SENSOR", body)
    assert said.values == {
        "AM2301.Temperature": 70.5,
        "AM2301.Humidity": 60.0,
        "AM2301.DewPoint": 55.1,
        "BME280.Pressure": 29.9,
        "BME280.SeaPressure": 30.1,
        "DS18B20.Temperature": 71.0,
        "TX23.Speed.Act": 12.0,
        "TX23.Speed.Max": 20.0,
        "TX23.Dir.Deg": 157.5,
    }
    assert said.units == {
        "AM2301.Temperature": "°F",
        "AM2301.DewPoint": "°F",
        "DS18B20.Temperature": "°F",
        "BME280.Pressure": "inHg",
        "BME280.SeaPressure": "inHg",
        "TX23.Speed.Act": "knot",
        "TX23.Speed.Max": "knot",
    }
    assert report("tele/t/SENSOR", {"AM2301": {"Temperature": 1}, "TempUnit": "C"}).units == {
        "AM2301.Temperature": "Cel"
    }


def test_numbered_thermometers_have_the_unit_as_well() -> None:
    said = report("tele/t/SENSOR", {"ANALOG": {"Temperature1": 27.4, "Range1": 3}, "TempUnit": "C"})
    assert said.units == {"ANALOG.Temperature1": "Cel"}


def test_lists_are_numbered_and_what_identifies_is_left_out() -> None:
    body = {
        "Time": "2024-02-24T22:20:38",
        "ENERGY": {"TotalStartTime": "2019-01-01T00:00:00", "Total": 1.5, "Power": [10, 20], "Voltage": 230},
        "Switch1": "OFF",
        "PN532": {"UID": "AABB"},
        "ANALOG": {"A0": 1024, "A1": 1024},
        "Deep": {"a": {"b": {"c": {"d": {"e": 1}}}}},
    }
    assert report("tele/t/SENSOR", body).values == {
        "ENERGY.Total": 1.5,
        "ENERGY.Power.1": 10.0,
        "ENERGY.Power.2": 20.0,
        "ENERGY.Voltage": 230.0,
        "Switch1": 0.0,
        "ANALOG.A1": 1024.0,
    }


def test_the_state_of_a_device() -> None:
    body = {
        "Time": "2024-02-24T22:20:38",
        "Uptime": "0T00:40:20",
        "UptimeSec": 2420,
        "Vcc": 3.1,
        "Heap": 27,
        "Sleep": 50,
        "MqttCount": 1,
        "POWER1": "ON",
        "POWER2": "OFF",
        "Fade": "OFF",
        "Wifi": {
            "AP": 1,
            "SSId": "x",
            "BSSId": "y",
            "Channel": 6,
            "RSSI": 100,
            "Signal": -48,
            "LinkCount": 1,
            "Downtime": "0T",
        },
    }
    assert report("tele/t/STATE", body).values == {
        "UptimeSec": 2420.0,
        "Vcc": 3.1,
        "Heap": 27.0,
        "POWER1": 1.0,
        "POWER2": 0.0,
        "Wifi.RSSI": 100.0,
        "Wifi.Signal": -48.0,
    }


def test_answers_are_readings_only_where_a_switch_moved() -> None:
    for topic in ("stat/t/RESULT", "t/stat/RESULT"):
        assert decode(topic, {"POWER": "ON"}) == [Report(device="t", values={"POWER": 1.0})]
        assert decode(topic, {"Switch1": {"Action": "OFF"}}) == [Report(device="t", values={"Switch1": 0.0})]
        for answer in (
            {"Button1": {"Action": "SINGLE"}},
            {"TelePeriod": 300},
            {"POWER": "TOGGLE"},
            {"Command": "Unknown"},
        ):
            assert decode(topic, answer) == []


def test_answers_to_status_are_telemetry() -> None:
    inner = {"Time": "2024-02-24T22:20:38", "AM2301": {"Temperature": 21.5}, "TempUnit": "C"}
    for topic in ("stat/t/STATUS8", "stat/t/STATUS10", "t/stat/STATUS10"):
        assert report(topic, {"StatusSNS": inner}) == report("tele/t/SENSOR", inner)
    assert report("stat/t/STATUS11", {"StatusSTS": {"Vcc": 3.0}}).values == {"Vcc": 3.0}
    assert refusal("stat/t/STATUS8", {"StatusNET": {}}).reason is Rejection.WRONG_SHAPE


def test_what_devices_tell_of_themselves() -> None:
    config = {
        "dn": "Pump",
        "fn": ["Pump", None],
        "mac": "9C",
        "md": "Sonoff TH",
        "t": "tasmota_9C",
        "tp": ["cmnd", "stat", "tele"],
    }
    assert decode("tasmota/discovery/9C/config", config) == [
        Announced(device="tasmota_9C", name="Pump", model="Sonoff TH")
    ]
    assert decode("tasmota/discovery/9C/sensors", {"sn": {"Time": "x"}}) == []
    assert decode("tasmota/discovery/9C/config", {"md": "x"}) == []
    assert decode("tele/t/INFO1", {"Info1": {"Module": "Generic", "Version": "14"}}) == [
        Announced(device="t", model="Generic")
    ]


def test_a_zigbee_bridge_speaks_for_its_own() -> None:
    body = {
        "ZbReceived": {
            "0x4773": {
                "Device": "0x4773",
                "Name": "Cellar",
                "Temperature": 21.5,
                "LinkQuality": 52,
                "Endpoint": 1,
            },
            "0x11": {"Device": "0x11", "Water": 1},
        }
    }
    assert decode("tele/bridge/SENSOR", body) == [
        Report(device="Cellar", values={"Temperature": 21.5, "LinkQuality": 52.0}, gateway="bridge"),
        Report(device="bridge/0x11", values={"Water": 1.0}, gateway="bridge"),
    ]


def test_a_zigbee_device_is_the_same_however_its_bridge_is_set() -> None:
    told = {
        "Device": "0x5ADF",
        "Temperature": 21.5,
        "ModelId": "lumi.weather",
        "FF00/0001": 1853,
        "0500?00": "0100",
    }
    wanted = Report(
        device="zb/0x5ADF",
        values={"Temperature": 21.5, "FF00.0001": 1853.0},
        model="lumi.weather",
        gateway="zb",
    )
    for topic in ("tele/zb/SENSOR", "tele/zb/5ADF/SENSOR", "tele/zb/RESULT", "zb/tele/SENSOR"):
        assert decode(topic, {"ZbReceived": {"0x5ADF": told}}) == [wanted]
    for named in ({"0x5ADF": told | {"Name": "Hall"}}, {"Hall": told}):
        for topic in ("tele/zb/SENSOR", "tele/zb/Hall/SENSOR"):
            (one,) = decode(topic, {"ZbReceived": named})
            assert isinstance(one, Report)
            assert (one.device, one.gateway) == ("Hall", "zb")


def test_what_says_nothing_is_quiet() -> None:
    for topic, body in (
        ("tele/t/UPTIME", {"Time": "x"}),
        ("stat/t/POWER", b"ON"),
        ("stat/t/LOGGING", b"22:20 text"),
        ("tele/t/LWT", b""),
        ("tele/t/SENSOR", {"Time": "2024-02-24T22:20:38"}),
        ("tele/t/SENSOR", {"RfReceived": {"Sync": 9000, "Data": "0x1"}}),
    ):
        assert decode(topic, body) == []


def at(stated: object, zone: str = "Asia/Shanghai", **more: object) -> int | None:
    arrival = Arrival(ARRIVAL.received_us, ZoneInfo(zone))
    return report("tele/t/SENSOR", {"Time": stated, "Vcc": 3, **more}, arrival).at_us


def test_local_times_are_the_districts_unless_they_say_otherwise() -> None:
    assert at("2024-02-24T22:20:38") == FEB_24
    assert at("2024-02-24T14:20:38", "UTC") == FEB_24
    assert at("2024-02-24T22:20:38.250") == FEB_24 + 250_000
    assert at("2024-02-24T14:20:38Z") == FEB_24
    assert at("2024-02-24T15:20:38+01:00") == FEB_24
    assert at("2024-02-24T00:00:00", Epoch=FEB_24 // 1_000_000) == FEB_24
    assert at(FEB_24 // 1_000_000) == FEB_24
    assert at(FEB_24 / 1_000_000) == FEB_24
    assert at("2024.02.24 22:20:38") == FEB_24
    assert report("tele/t/SENSOR", {"Vcc": 3}).at_us is None


def test_hours_that_come_twice_or_never() -> None:
    twice, gap = at("2023-10-29T02:30:00", "Europe/Berlin"), at("2023-03-26T02:30:00", "Europe/Berlin")
    assert twice == 1_698_539_400_000_000  # 00:30 UTC, in summer time still: the first of the two
    assert gap == 1_679_794_200_000_000  # 01:30 UTC: what a clock shows that was not put forward
    assert at("2024-02-24T02:30:00", "Europe/Berlin") == 1_708_738_200_000_000


def test_a_clock_that_was_never_set_is_no_time() -> None:
    for stated in ("1970-01-01T00:00:12", "2000-01-01T00:00:00", 12, 0):
        assert at(stated) is None


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        ("tele/t/SENSOR", b"", Rejection.NOT_JSON),
        ("tele/t/SENSOR", b"Online", Rejection.NOT_JSON),
        ("tele/t/SENSOR", b'{"Vcc":3', Rejection.NOT_JSON),
        ("tele/t/SENSOR", b"[1]", Rejection.WRONG_SHAPE),
        ("tele/t/SENSOR", b'"x"', Rejection.WRONG_SHAPE),
        ("tele/t/SENSOR", b'{"Vcc":nan}', Rejection.NOT_FINITE),
        ("tele/t/SENSOR", b'{"a":' * 40_000, Rejection.WRONG_SHAPE),
        ("tele/t/SENSOR", b'{"Time":"yesterday","Vcc":3}', Rejection.BAD_TIME),
        ("tele/t/SENSOR", b'{"Time":{"UTC":1},"Vcc":3}', Rejection.BAD_TIME),
        ("tele/t/SENSOR", b'{"Time":true,"Vcc":3}', Rejection.BAD_TIME),
        ("tele/t/SENSOR", b'{"Time":-1,"Vcc":3}', Rejection.TIME_OUT_OF_RANGE),
        ("tele/t/SENSOR", b'{"Time":1e18,"Vcc":3}', Rejection.TIME_OUT_OF_RANGE),
        ("tele/t/LWT", b"online", Rejection.WRONG_SHAPE),
        ("tele/t/LWT", b'{"x":1}', Rejection.WRONG_SHAPE),
        ("tele/SENSOR", b"{}", Rejection.BAD_TOPIC),
        ("tele/t/STATE", b" " * 262_145, Rejection.OVERSIZE),
    ],
)
def test_what_must_be_refused(topic: str, payload: bytes, reason: Rejection) -> None:
    assert refusal(topic, payload).reason is reason


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.sampled_from(["ON", "2024-02-24T22:20:38", "9999-12-31T23:59:59", "C"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Time", "Epoch", "TempUnit", "A", "ZbReceived", "Name", "POWER"]), inner
        )
    ),
    max_leaves=12,
)


@given(
    JSON | st.binary(max_size=60), st.sampled_from(["SENSOR", "STATE", "LWT", "INFO1", "RESULT", "STATUS8"])
)
def test_anything_is_answered(body: Any, what: str) -> None:
    for one in decode(f"tele/t/{what}", body):
        assert not isinstance(one, Report) or all(math.isfinite(value) for value in one.values.values())


KEYS = st.from_regex(r"[A-Z][a-z]{2,8}[0-9]", fullmatch=True)


@given(st.dictionaries(KEYS, st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_what_is_sent_comes_out(values: dict[str, float]) -> None:
    nested = report("tele/t/SENSOR", {"Time": "2024-02-24T22:20:38", "AM2301": values})
    assert nested.values == {f"AM2301.{key}": value for key, value in values.items()}


def test_of_tens_of_thousands_of_quantities_only_as_many_are_read_as_refuse_them() -> None:
    assert len(report("tele/t/SENSOR", {"A": [1] * 50_000}).values) == MAX_VALUES + 1
