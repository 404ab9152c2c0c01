"""ChirpStack's events: every recorded one with the values its source gives, and what can be wrong with one."""

import base64
import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.observations import Rejection
from ingest.decoders.chirpstack import DECODER, SILENT
from ingest.decoders.said import Announced, Arrival, Link, Raw, Rejected, Report, Said

ARRIVAL = Arrival(1_763_750_400_000_000, ZoneInfo("Asia/Shanghai"))
EUI = "24e124136b502217"
UP: dict[str, Any] = {
    "deduplicationId": "3ac7e3c4-4401-4b8d-9386-a5c902f9202d",
    "time": "2026-07-18T09:34:15.775023242+00:00",
    "deviceInfo": {"devEui": EUI, "deviceName": "Cellar", "deviceProfileName": "EM500-SWL"},
    "fCnt": 7,
    "fPort": 85,
    "data": "AXVkA3cCAA==",
    "rxInfo": [{"gatewayId": "0016C001F153A14C", "rssi": -36, "snr": 10.5}],
}
AT_US = 1_784_367_255_775_023


def heard(body: object, event: str = "up", prefix: str = "") -> list[Said]:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    said = DECODER.decode(f"{prefix}application/a-1/device/{EUI}/event/{event}", payload, ARRIVAL)
    return [said] if isinstance(said, Rejected) else list(said)


def refused(body: object, event: str = "up") -> Rejected:
    (one,) = heard(body, event)
    assert isinstance(one, Rejected)
    return one


def up(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in (UP | changes).items() if value is not None}


def test_every_recorded_uplink_is_understood(shared_data: Path) -> None:
    found = json.loads((shared_data / "vectors/lorawan/chirpstack_v4_uplinks.json").read_text())
    assert len(found["vectors"]) >= 9
    for case in found["vectors"]:
        payload, expected = case["payload"], case["upstream_expected_telemetry"]
        expected = expected[0] if isinstance(expected, list) else expected
        said = heard(payload)
        report = said[0]
        assert isinstance(report, Report), case["id"]
        assert report.values["rssi"] == payload["rxInfo"][0]["rssi"]
        if "lora_snr" in expected["values"]:
            assert report.values["snr"] == expected["values"]["lora_snr"]
        assert report.seq == payload.get("fCnt", 0)
        if isinstance(expected.get("ts"), int):
            assert report.at_us is not None
            assert report.at_us // 1000 == expected["ts"], case["id"]
        if "objectJSON" in payload:  # v3: what the network decoded goes before bytes
            assert (report.values["temperatureSensor"], report.values["humiditySensor"]) == (25.0, 32.0)
            assert report.device == "0202020202020202"
            assert report.gateway == "0303030303030303"
            assert len(said) == 1
            continue
        raw = said[1]
        assert isinstance(raw, Raw)
        assert (raw.data, raw.port) == (base64.b64decode(payload["data"]), payload["fPort"])
        assert raw.device == report.device == payload["deviceInfo"]["devEui"]
        assert raw.model == payload["deviceInfo"]["deviceProfileName"]


def test_a_decoded_object_mixes_numbers_and_texts_that_are_numbers(shared_data: Path) -> None:
    found = json.loads((shared_data / "vectors/lorawan/chirpstack_v4_uplinks.json").read_text())
    (report,) = heard(found["decoded_object_example"]["payload"])
    assert isinstance(report, Report)
    assert report.values == {
        "BatV": 3.301,
        "temp_DS18B20": 0.0,
        "temp_SOIL": 13.25,
        "water_SOIL_f": 13.74,
        "conduct_SOIL": 35.0,
    }
    assert report.at_us == 1_718_873_318_863_512
    assert report.model == "Dragino_LSE01"


def test_the_documentations_events(shared_data: Path) -> None:
    lines = (shared_data / "data/payloads/payloads.jsonl").read_text().splitlines()
    cases = {case["family"]: case for case in map(json.loads, lines) if "chirpstack" in case["family"]}
    assert set(cases) == {f"chirpstack_v4_{event}" for event in ("up", "status", "join", "log")}

    def said(event: str) -> list[Said]:
        case = cases[f"chirpstack_v4_{event}"]
        answer = DECODER.decode(case["topic"], case["payload"].encode(), ARRIVAL)
        assert not isinstance(answer, Rejected)
        return list(answer)

    report, raw = said("up")
    assert isinstance(raw, Raw)
    assert (raw.data.hex(), raw.port) == ("aa", cases["chirpstack_v4_up"]["expect"]["fPort"])
    assert isinstance(report, Report)
    assert report.values == {"rssi": -36.0, "snr": 10.5}
    (status,) = said("status")
    assert isinstance(status, Report)
    assert status.values == {"margin": 10.0, "batteryLevel": 88.3, "externalPowerSource": 0.0}
    assert status.at_us == 1_658_136_906_927_172
    announced, link = said("join")
    assert announced == Announced(device="0101010101010101", name="Test device", model="Test device-profile")
    assert link == Link(device="0101010101010101", online=True)
    assert said("log") == []


def test_a_time_has_nanoseconds_and_a_redelivery_the_same_identity() -> None:
    first, again = heard(UP), heard(UP)
    assert first == again
    assert [one.at_us for one in first if isinstance(one, Report | Raw)] == [AT_US, AT_US]


def test_the_gateway_that_hears_best_speaks() -> None:
    heard_by = [
        {"gatewayId": "aaaaaaaaaaaaaaaa", "rssi": -60, "snr": -3.0},
        {"gatewayId": "bbbbbbbbbbbbbbbb", "rssi": -90, "snr": 8.0, "nsTime": "2026-07-18T09:34:16Z"},
        {"gatewayId": "cccccccccccccccc"},
    ]
    report, raw = heard(up(rxInfo=heard_by, time=None))
    assert isinstance(report, Report)
    assert isinstance(raw, Raw)
    assert (report.values, report.gateway) == ({"rssi": -90.0, "snr": 8.0}, "bbbbbbbbbbbbbbbb")
    assert report.at_us == raw.at_us == 1_784_367_256_000_000


def test_what_protocol_buffers_leave_out() -> None:
    left = up(time=None, fCnt=None, fPort=None, rxInfo=[{"gatewayId": "aaaaaaaaaaaaaaaa", "rssi": -60}])
    report, raw = heard(left)
    assert isinstance(report, Report)
    assert isinstance(raw, Raw)
    assert (report.at_us, report.seq, report.values["snr"]) == (None, 0, 0.0)
    assert (raw.port, raw.seq) == (0, 0)
    assert heard(up(data=None, rxInfo=None)) == []  # commands of the network alone
    (status,) = heard({"deviceInfo": UP["deviceInfo"]}, "status")
    assert isinstance(status, Report)
    assert status.values == {"margin": 0.0, "externalPowerSource": 0.0}
    numbers = heard(up(fCnt="7", fPort="85"))[1]  # protobuf's JSON may write numbers as texts
    assert isinstance(numbers, Raw)
    assert (numbers.seq, numbers.port) == (7, 85)


@pytest.mark.parametrize(
    ("body", "values"),
    [
        (
            {"batteryLevel": 12.5, "margin": -3},
            {"batteryLevel": 12.5, "margin": -3.0, "externalPowerSource": 0.0},
        ),
        ({"batteryLevelUnavailable": True, "batteryLevel": 0}, {"margin": 0.0, "externalPowerSource": 0.0}),
        ({"externalPowerSource": True}, {"margin": 0.0, "externalPowerSource": 1.0}),
    ],
)
def test_a_battery_is_not_empty_because_it_is_not_said(
    body: dict[str, Any], values: dict[str, float]
) -> None:
    (status,) = heard({"deviceInfo": UP["deviceInfo"], "time": UP["time"]} | body, "status")
    assert isinstance(status, Report)
    assert status.values == values


def test_an_object_is_flattened_and_switches_become_numbers() -> None:
    decoded = {
        "smoke": True,
        "door": {"state": "open", "since": None},
        "soil": {"1": {"moisture": 40}},
        "levels": [1.5, 2],
        "firmware": "v1.2",
        "mode": "eco",
        "leak": "No Leak",
        "sn": "0042",
    }
    (report,) = heard(up(object=decoded, rxInfo=None))
    assert isinstance(report, Report)
    assert report.values == {
        "smoke": 1.0,
        "door.state": 1.0,
        "soil.1.moisture": 40.0,
        "levels.0": 1.5,
        "levels.1": 2.0,
        "leak": 0.0,
    }


def test_a_value_may_bring_its_unit() -> None:
    decoded = {
        "protocol_version": 2,
        "battery_voltage": {"displayName": "Battery voltage", "unit": "V", "value": 3.199},
        "pressure": {"unit": None, "value": 0.2},
    }
    (report,) = heard(up(object=decoded, rxInfo=None))
    assert isinstance(report, Report)
    assert report.values == {"protocol_version": 2.0, "battery_voltage": 3.199, "pressure": 0.2}
    assert report.units == {"battery_voltage": "V"}


def test_records_of_a_devices_memory_keep_their_own_times() -> None:
    decoded = {
        "distance": 900,
        "history": [
            {"timestamp": 1_784_360_000, "distance": 910},
            {"timestamp": 1_784_360_600_000, "distance": 920},
            {"timestamp": "2026-07-18 08:00:00", "distance": "930"},
        ],
    }
    said = heard(up(object=decoded, rxInfo=None))
    assert [(one.values, one.at_us) for one in said if isinstance(one, Report)] == [
        ({"distance": 900.0}, AT_US),
        ({"distance": 910.0}, 1_784_360_000_000_000),
        ({"distance": 920.0}, 1_784_360_600_000_000),
        ({"distance": 930.0}, 1_784_361_600_000_000),
    ]


def test_topics_of_other_templates() -> None:
    assert heard(UP, prefix="eu868/") == heard(UP)
    said = DECODER.decode(f"application/7/device/{EUI}/rx", json.dumps(UP).encode(), ARRIVAL)
    assert list(said) == heard(UP)  # type: ignore[arg-type]  # no refusal
    for event in SILENT:
        assert heard(b"whatever", event) == []


@pytest.mark.parametrize(
    ("body", "reason", "words"),
    [
        (b"", Rejection.NOT_JSON, ""),
        (b"{", Rejection.NOT_JSON, ""),
        (b"\xff\xfe", Rejection.NOT_JSON, ""),
        (b"[]", Rejection.WRONG_SHAPE, "event of ChirpStack"),
        (b"[" * 100_000, Rejection.WRONG_SHAPE, ""),
        ({}, Rejection.WRONG_SHAPE, "devEui"),
        ({"error": "no such device"}, Rejection.WRONG_SHAPE, "devEui"),
        (up(deviceInfo={"devEui": "12"}), Rejection.WRONG_SHAPE, "devEui"),
        (up(data="not base64!"), Rejection.WRONG_SHAPE, "data"),
        (up(data=base64.b64encode(bytes(513)).decode()), Rejection.BAD_LENGTH, "513"),
        (up(time="yesterday"), Rejection.BAD_TIME, "yesterday"),
        (up(time="2026-07-18T09:34:15"), Rejection.BAD_TIME, "offset"),
        (up(object=[1]), Rejection.WRONG_SHAPE, "object"),
        (up(rxInfo=[{"rssi": "loud"}]), Rejection.WRONG_SHAPE, "rssi"),
        (up(data=None, objectJSON="{", object=None), Rejection.NOT_JSON, "objectJSON"),
    ],
)
def test_what_is_refused_says_why(body: object, reason: Rejection, words: str) -> None:
    one = refused(body)
    assert words in one.detail
    assert one.reason is reason


def test_an_unknown_event_is_named() -> None:
    assert refused(UP, "levitate").reason is Rejection.UNSUPPORTED


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(
    changes=st.dictionaries(st.sampled_from([*UP, "object", "batteryLevel", "margin"]), JSON, max_size=4),
    event=st.sampled_from(["up", "status", "join"]),
)
def test_whatever_comes_is_answered(changes: dict[str, Any], event: str) -> None:
    for one in heard(UP | changes, event):
        if isinstance(one, Report):
            assert all(isinstance(value, float) for value in one.values.values())
