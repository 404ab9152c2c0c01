"""The Things Stack's messages: every recorded one with the values its source gives, and what can be wrong with one."""

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.observations import Rejection
from ingest.decoders.said import Announced, Arrival, Link, Raw, Rejected, Report, Said
from ingest.decoders.things_stack import DECODER

ARRIVAL = Arrival(1_763_750_400_000_000, ZoneInfo("Asia/Shanghai"))
TOPIC = "v3/app1@tenant1/devices/dev1/"
EUI = "0004a30b001c0530"
UP: dict[str, Any] = {
    "end_device_ids": {
        "device_id": "dev1",
        "application_ids": {"application_id": "app1"},
        "dev_eui": "0004A30B001C0530",
    },
    "received_at": "2026-02-12T15:15:46.014773143Z",
    "uplink_message": {
        "f_port": 85,
        "f_cnt": 9,
        "frm_payload": "AXVkA3cCAA==",
        "rx_metadata": [
            {"gateway_ids": {"gateway_id": "gtw1", "eui": "9C5C8E00001A05C4"}, "rssi": -35, "snr": 5}
        ],
        "settings": {"time": "2026-02-12T15:15:45.787Z"},
        "received_at": "2026-02-12T15:15:45.789585559Z",
    },
}
AT_US = 1_770_909_345_789_585


def heard(body: object, what: str = "up", topic: str = "") -> list[Said]:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    said = DECODER.decode(topic or TOPIC + what, payload, ARRIVAL)
    return [said] if isinstance(said, Rejected) else list(said)


def up(**changes: Any) -> dict[str, Any]:
    uplink = {key: value for key, value in (UP["uplink_message"] | changes).items() if value is not None}
    return UP | {"uplink_message": uplink}


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def test_every_recorded_uplink_is_understood(shared_data: Path) -> None:
    found = json.loads((shared_data / "vectors/lorawan/tts_v3_uplinks.json").read_text())
    assert len(found["vectors"]) >= 7
    for case in found["vectors"]:
        payload, expected = case["payload"], case["upstream_expected_telemetry"]
        expected = expected[0] if isinstance(expected, list) else expected
        uplink = payload["uplink_message"]
        report, raw = heard(payload)
        assert isinstance(report, Report), case["id"]
        assert isinstance(raw, Raw)
        assert report.device == raw.device == payload["end_device_ids"]["dev_eui"].lower()
        assert report.values["rssi"] == uplink["rx_metadata"][0]["rssi"]
        assert report.values["snr"] == expected["values"].get("lora_snr", uplink["rx_metadata"][0]["snr"])
        assert (raw.data, raw.port) == (base64.b64decode(uplink["frm_payload"]), uplink["f_port"])
        assert raw.seq == expected["values"].get("lora_frame_counter", uplink["f_cnt"])
        assert raw.at_us is not None
        # The source's converters disagree on which of the two servers' times it is; ours is the network server's.
        assert raw.at_us // 1000 == ms(uplink["received_at"])
        assert expected["ts"] in (ms(uplink["received_at"]), ms(payload["received_at"])), case["id"]


def test_the_documentations_uplink_leaves_out_its_port(shared_data: Path) -> None:
    found = json.loads((shared_data / "vectors/lorawan/tts_v3_uplinks.json").read_text())
    (report,) = heard(found["official_example"]["payload"])
    assert isinstance(report, Report)
    assert report.values == {"rssi": -35.0, "snr": 5.0, "temperature": 1.0, "luminosity": 0.64}
    assert (report.at_us, report.seq, report.model) == (1_581_520_545_789_585, 1, "the-things-uno")
    assert report.gateway == "9c5c8e00001a05c4"


def test_who_joins_says_nothing_else(shared_data: Path) -> None:
    found = json.loads((shared_data / "vectors/lorawan/tts_v3_uplinks.json").read_text())
    for what in ("join", "up"):
        announced, link = heard(found["must_ignore_example"]["payload"], what)
        assert announced == Announced(device=EUI)
        assert link == Link(device=EUI, online=True)


def test_what_is_0_is_left_out() -> None:
    report, raw = heard(up(f_port=None, f_cnt=None, rx_metadata=[{"rssi": -40}]))
    assert isinstance(report, Report)
    assert isinstance(raw, Raw)
    assert (raw.port, raw.seq, report.seq) == (0, 0, 0)
    assert report.values == {"rssi": -40.0, "snr": 0.0}
    assert heard(up(frm_payload=None, rx_metadata=None)) == []


@pytest.mark.parametrize(
    ("changes", "outer", "expected"),
    [
        ({}, True, AT_US),
        ({"received_at": None}, True, 1_770_909_346_014_773),
        ({"received_at": None}, False, 1_770_909_345_787_000),
        ({"received_at": None, "settings": None}, False, None),
    ],
)
def test_the_network_servers_clock_goes_first(
    changes: dict[str, Any], outer: bool, expected: int | None
) -> None:
    body = up(**changes)
    if not outer:
        body = {key: value for key, value in body.items() if key != "received_at"}
    assert {one.at_us for one in heard(body) if isinstance(one, Report | Raw)} == {expected}


def test_history_records_land_at_their_own_times() -> None:
    decoded = {
        "battery": 92,
        "history": [
            {"time": "2026-02-12T14:00:00Z", "level": 1.2},
            {"time": "2026-02-12T14:10:00Z", "level": 1.3},
        ],
    }
    said = heard(up(decoded_payload=decoded, rx_metadata=None))
    assert [(one.values, one.at_us) for one in said if isinstance(one, Report)] == [
        ({"battery": 92.0}, AT_US),
        ({"level": 1.2}, 1_770_904_800_000_000),
        ({"level": 1.3}, 1_770_905_400_000_000),
    ]
    assert len(said) == 3


def test_the_normalized_form_speaks_where_there_is_no_other() -> None:
    normalized = [
        {"time": "2026-02-12T14:00:00Z", "air": {"temperature": 20.5}},
        {"air": {"temperature": 21.5, "relativeHumidity": 40}, "battery": 3.6},
    ]
    now, earlier = heard(up(normalized_payload=normalized, rx_metadata=None))
    assert isinstance(now, Report)
    assert isinstance(earlier, Report)
    assert now.values == {"air.temperature": 21.5, "air.relativeHumidity": 40.0, "battery_voltage": 3.6}
    assert now.units == {"battery_voltage": "V"}
    assert (earlier.values, earlier.at_us) == ({"air.temperature": 20.5}, 1_770_904_800_000_000)
    (only,) = heard(up(normalized_payload=normalized, decoded_payload={"t": 21.5}, rx_metadata=None))
    assert isinstance(only, Report)
    assert only.values == {"t": 21.5}


def test_the_networks_own_battery_is_stored_once() -> None:
    battery = {"f_cnt": 3, "value": 91.3, "received_at": "2026-02-11T00:00:00Z"}
    said = heard(up(decoded_payload={"battery": 3.1}, last_battery_percentage=battery, rx_metadata=None))
    assert [(one.values, one.at_us) for one in said if isinstance(one, Report)] == [
        ({"battery": 3.1}, AT_US),
        ({"last_battery_percentage": 91.3}, 1_770_768_000_000_000),
    ]


def test_a_gateway_of_another_network_keeps_its_name() -> None:
    forwarded = {
        "gateway_ids": {"gateway_id": "packetbroker"},
        "packet_broker": {"forwarder_gateway_eui": "6A7E111A10000000"},
        "rssi": -20,
        "snr": 9,
    }
    report = heard(up(rx_metadata=[forwarded]))[0]
    assert isinstance(report, Report)
    assert report.gateway == "6a7e111a10000000"


def test_a_device_without_eui_is_named_by_its_application() -> None:
    ids = {"device_id": "pole-7", "application_ids": {"application_id": "lamps"}}
    assert {one.device for one in heard(UP | {"end_device_ids": ids}) if isinstance(one, Report)} == {
        "lamps.pole-7"
    }


@pytest.mark.parametrize(
    "what", ["down/queued", "down/sent", "down/ack", "down/failed", "service/data", "location/solved"]
)
def test_what_is_no_measurement_is_silent(what: str) -> None:
    assert heard(b"whatever", what) == []


def test_one_measurement_of_an_uplink_is_not_said_twice() -> None:
    assert (
        heard({"end_device_ids": {"device_id": "d"}, "uplink_normalized": {"f_cnt": 1}}, "up/normalized")
        == []
    )


@pytest.mark.parametrize(
    ("body", "reason", "words"),
    [
        (b"", Rejection.NOT_JSON, ""),
        (b"[1]", Rejection.WRONG_SHAPE, ""),
        ({}, Rejection.WRONG_SHAPE, "uplink_message"),
        (UP | {"end_device_ids": None}, Rejection.WRONG_SHAPE, "end_device_ids"),
        (UP | {"simulated": True}, Rejection.UNSUPPORTED, "simulated"),
        (
            {"app_id": "a", "dev_id": "d", "hardware_serial": "00", "payload_raw": "AQ=="},
            Rejection.UNSUPPORTED,
            "v2",
        ),
        (up(frm_payload="?"), Rejection.WRONG_SHAPE, "frm_payload"),
        (up(received_at="soon"), Rejection.BAD_TIME, "soon"),
        (up(decoded_payload=7), Rejection.WRONG_SHAPE, "decoded_payload"),
        (up(f_cnt=2.5), Rejection.WRONG_SHAPE, "f_cnt"),
    ],
)
def test_what_is_refused_says_why(body: object, reason: Rejection, words: str) -> None:
    (one,) = heard(body)
    assert isinstance(one, Rejected)
    assert one.reason is reason
    assert words in one.detail


def test_version_2_is_refused_in_words_on_its_own_topic() -> None:
    (one,) = heard({"app_id": "a"}, topic="app1/devices/dev1/up")
    assert isinstance(one, Rejected)
    assert "v2" in one.detail


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(
    changes=st.dictionaries(
        st.sampled_from([*UP["uplink_message"], "decoded_payload", "normalized_payload", "version_ids"]),
        JSON,
        max_size=4,
    )
)
def test_whatever_comes_is_answered(changes: dict[str, Any]) -> None:
    for one in heard(up(**changes)):
        assert isinstance(one, Report | Raw | Rejected)
