"""Bytes by description: every recorded payload, each part of the language, faults in words, and hostile bytes."""

import base64
import json
import struct
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.device_profiles import Profile, codec_of, parse_files
from city.district_source import Faults
from city.payload_codec_files import parse_codec
from city.payload_codecs import Codec, Decoded, Reading, decode

WORDS = {"trigger": 1.0, "AC Power On": 1.0, "AC Power Off": 0.0, "Alarm": 1.0, "Normal": 0.0}
NOT_IN_THE_BYTES = ("lora_", "fPort", "fCnt", "confirmed", "dr")
TEXTS = ("hardwareVersion", "firmwareVersion", "deviceClass")  # no measurements


@cache
def built_in() -> list[Profile]:
    faults = Faults()
    profiles = parse_files([], {}, faults)
    faults.raise_if_any()
    return profiles


def built_in_codec(model: str, port: int) -> Codec:
    found = codec_of(built_in(), "chirpstack", model, port)
    assert found is not None, model
    return found[1]


def codec(text: str, **known: Codec) -> Codec:
    faults = Faults()
    made = parse_codec("x.toml codec.it", "it", tomllib.loads(text), faults, known)
    faults.raise_if_any()
    return made


def read(text: str, data: str, port: int = 1) -> Decoded:
    return decode(codec(text), bytes.fromhex(data), port)


def values(text: str, data: str, port: int = 1) -> dict[str, float]:
    decoded = read(text, data, port)
    assert decoded.fault == ""
    (reading,) = decoded.readings
    return reading.values


@pytest.mark.parametrize(("file", "least"), [("chirpstack_v4_uplinks", 9), ("tts_v3_uplinks", 7)])
def test_every_recorded_payload_has_its_published_values(shared_data: Path, file: str, least: int) -> None:
    cases = json.loads((shared_data / f"vectors/lorawan/{file}.json").read_text())["vectors"]
    assert len(cases) >= least
    for case in cases:
        uplink = case["payload"].get("uplink_message", case["payload"])
        data = base64.b64decode(uplink.get("data") or uplink["frm_payload"])
        port = uplink.get("fPort") or uplink["f_port"]
        expected = case["upstream_expected_telemetry"]
        expected = (expected[0] if isinstance(expected, list) else expected)["values"]
        wanted = {
            key: WORDS[value] if isinstance(value, str) else pytest.approx(value, rel=1e-12)
            for key, value in expected.items()
            if not key.startswith(NOT_IN_THE_BYTES) and key not in TEXTS
        }
        decoded = decode(built_in_codec(case["device"], port), data, port)
        assert decoded.fault == "", case["id"]
        assert [one.values for one in decoded.readings] == [wanted], case["id"]
        if "units" in case:
            assert decoded.units["water_level"] == "cm"


def test_the_recorded_distance_sensor(shared_data: Path) -> None:
    lines = (shared_data / "data/payloads/payloads.jsonl").read_text().splitlines()
    (case,) = [one for one in map(json.loads, lines) if one["family"].startswith("milesight")]
    expected = dict(case["expect"])
    port = expected.pop("fPort")
    for model in ("EM500-UDL", "a network's default profile"):
        decoded = decode(built_in_codec(model, port), bytes.fromhex(case["payload"]), port)
        assert decoded == Decoded([Reading(expected)], {"battery": "%", "distance": "mm"})


def test_a_milesight_remembers() -> None:
    data = "0375 5c".replace(" ", "")  # an entry nobody knows, to see where it stops
    codec_ = built_in_codec("EM500-SWL", 85)
    history = b"".join(
        b"\x20\xce" + struct.pack("<IH", at, cm) for at, cm in ((1_763_750_000, 120), (0, 7), (5, 0xFFFF))
    )
    decoded = decode(codec_, bytes.fromhex("017564037702 00".replace(" ", "")) + history, 85)
    assert decoded.readings == [
        Reading({"battery": 100.0, "water_level": 2.0}),
        Reading({"water_level": 120.0}, time_s=1_763_750_000.0),
    ]
    stopped = decode(codec_, bytes.fromhex("017564" + data), 85)
    assert stopped.readings == [Reading({"battery": 100.0})]
    assert "03 75" in stopped.fault
    failed = decode(codec_, bytes.fromhex("0377ffff"), 85)
    assert (failed.readings, failed.fault) == ([], "")


# The examples of the Cayenne LPP documentation (myDevices): two temperatures, and temperature with acceleration.
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("03670110 056700FF", {"temperature_3": 27.2, "temperature_5": 25.5}),
        (
            "0167FFD7 067104D2FB2E0000",
            {
                "temperature_1": -4.1,
                "accelerometer_6.x": 1.234,
                "accelerometer_6.y": -1.234,
                "accelerometer_6.z": 0.0,
            },
        ),
        (
            "018806765FF2960A0003E8",
            {"gps_1.latitude": 42.3519, "gps_1.longitude": -87.9094, "gps_1.altitude": 10.0},
        ),
    ],
)
def test_cayenne_low_power_payload(data: str, expected: dict[str, float]) -> None:
    decoded = decode(built_in_codec("Cayenne LPP", 1), bytes.fromhex(data), 1)
    assert decoded.fault == ""
    assert [one.values for one in decoded.readings] == [expected]


# By the makers' own descriptions of their layouts; Decentlab's and EM400's frames are their examples.
@pytest.mark.parametrize(
    ("model", "port", "data", "expected"),
    [
        (
            "DL-CTD10", 1, "0207d9000390888081006400000c60",
            {"water_depth": 4232, "temperature": 12.9, "electrical_conductivity": 100, "freezing_flag": 0,
             "battery_voltage": 3.168},
        ),
        ("DL-CTD10", 1, "0207d900020c60", {"battery_voltage": 3.168}),
        (
            "DL-MBX", 1, "02012f000304d200010bb1",
            {"distance": 1234, "number_of_valid_samples": 1, "battery_voltage": 2.993},
        ),
        ("DL-MBX", 1, "02012f00020bb1", {"battery_voltage": 2.993}),
        (
            "GS524N", 85, "0111 63 0a 1900",
            {"smoke_alarm": 1, "battery": 99, "concentration": 10, "temperature": 25},
        ),
        ("GS524N", 85, "0114 05 00 1900", {"battery_low": 1, "battery": 5, "concentration": 0, "temperature": 25}),
        ("GS101", 85, "058e01 060100 070101", {"gas_alarm": 1, "valve": 0, "relay": 1}),
        ("WS302", 85, "017564 055b05ee010a028502", {"battery": 100, "la": 49.4, "laeq": 52.2, "lamax": 64.5}),
        (
            "EM400-MUD", 85, "01755C 03670101 04824408 050001",
            {"battery": 92, "temperature": 25.7, "distance": 2116, "tilted": 1},
        ),
        (
            "EM400-MUD", 85, "8367e80001 8482410601",
            {"temperature": 23.2, "temperature_alarm": 1, "distance": 1601, "distance_alarm": 1},
        ),
        ("EM410-RDL", 85, "04824408 b482440802 050000", {"distance": 2116, "fault": 1, "tilted": 0}),
        ("EM300-CL", 85, "017564 03ed02", {"battery": 100, "liquid": 0}),
    ],
)  # fmt: skip
def test_layouts_as_their_makers_describe_them(
    model: str, port: int, data: str, expected: dict[str, float]
) -> None:
    decoded = decode(built_in_codec(model, port), bytes.fromhex(data), port)
    assert decoded.fault == ""
    assert [one.values for one in decoded.readings] == [expected]


@pytest.mark.parametrize(
    ("field", "data", "expected"),
    [
        ('type = "u8"', "ff", 255),
        ('type = "i8"', "ff", -1),
        ('type = "u16"', "0102", 258),
        ('type = "u16", order = "little"', "0102", 513),
        ('type = "i16"', "fffe", -2),
        ('type = "u24"', "010203", 66051),
        ('type = "i24", order = "little"', "ffffff", -1),
        ('type = "u32"', "ffffffff", 2**32 - 1),
        ('type = "i32"', "80000000", -(2**31)),
        ('type = "u32", order = "big-words-swapped"', "409a0000", 16538),
        ('type = "u32", order = "little-words-swapped"', "00009a40", 16538),
        ('type = "u64"', "0000000000000100", 256),
        ('type = "f32"', "41480000", 12.5),
        ('type = "f64", order = "little"', "0000000000002940", 12.5),
        ('type = "bcd2"', "1234", 1234),
        ('type = "bcd2", order = "little", scale = 0.01', "3412", 12.34),
        ('type = "u8", bits = [4, 4]', "a5", 10),
        ('type = "u8", bit = 0', "a5", 1),
        ('type = "u16", at = 1', "ff0102", 258),
        ('type = "u8", at = -1', "010203", 3),
        ('type = "u8", scale = 0.5, add = -40', "64", 10),
        ('type = "u16", scale = 0.1', "409a", 1653.8),
        ('type = "u8", map = { 0 = 0, 2 = 100 }', "02", 100),
        ('type = "u8", when = { at = 1, is = 7 }', "0507", 5),
        ('type = "u8", when = { at = 1, mask = 0xF0, is = [0x10, 0x20] }', "0523", 5),
        ('type = "u8", when = { port = [1, 2], length = 1 }', "05", 5),
    ],
)
def test_a_number_is_read_as_described(field: str, data: str, expected: float) -> None:
    assert values(f'fields = [{{ key = "x", {field} }}]', data) == {"x": expected}


@pytest.mark.parametrize(
    ("field", "data"),
    [
        ('type = "u16", missing = [0xFFFF, 0xFFFE]', "fffe"),
        ('type = "i16", missing = [-1]', "ffff"),
        ('type = "f32"', "7fc00000"),  # NaN
        ('type = "bcd1"', "1f"),
        ('type = "u8", map = { 0 = 0, 2 = 100 }', "01"),
        ('type = "u8", when = { port = 3 }', "01"),
        ('type = "u8", when = { length = 2 }', "01"),
        ('type = "u8", when = { at = 4, is = 0 }', "01"),
    ],
)
def test_what_is_no_value_is_left_out(field: str, data: str) -> None:
    assert read(f'fields = [{{ key = "x", {field} }}]', data) == Decoded([], {})


def test_records_of_equal_length_carry_time_or_age() -> None:
    timed = """
        fields = [{ key = "battery", type = "u8" }]
        [records]
        start = 1
        length = 6
        fields = [{ role = "time", type = "u32" }, { key = "level", at = 4, type = "u16", scale = 0.01, unit = "m" }]
    """
    decoded = read(timed, "64" + "691e0000" + "0064" + "691e0e10" + "00c8")
    assert decoded.readings == [
        Reading({"battery": 100.0}),
        Reading({"level": 1.0}, time_s=float(0x691E0000)),
        Reading({"level": 2.0}, time_s=float(0x691E0E10)),
    ]
    aged = """
        [records]
        length = 2
        fields = [{ role = "age", type = "u8", scale = 60 }, { key = "t", at = 1, type = "i8" }]
    """
    decoded = read(aged, "000a 01ff 05")
    assert decoded.readings == [Reading({"t": 10.0}, age_s=0.0), Reading({"t": -1.0}, age_s=60.0)]
    assert "1 bytes left of a record of 2" in decoded.fault


def test_items_may_state_their_length_and_be_passed_over() -> None:
    text = """
        header = ["type", "length"]
        start = 1
        items = [{ type = 2, fields = [{ key = "x", type = "u16" }] }]
    """
    assert values(text, "00 0703aabbcc 02020005") == {"x": 5.0}
    assert "2 bytes wanted" in read(text, "00 020105").fault
    assert "9 bytes wanted, 1 left" in read(text, "00 020905").fault


def test_a_codec_builds_on_another() -> None:
    base = codec(
        'ports = [85]\nitems = [{ channel = 1, type = 1, length = 1, fields = [{ key = "a", type = "u8" }] }]'
    )
    own = codec(
        'extends = "base"\nitems = [{ channel = 2, type = 1, length = 1, fields = [{ key = "b", type = "u8" }] }]',
        base=base,
    )
    assert decode(own, bytes.fromhex("010107020108"), 85).readings == [Reading({"a": 7.0, "b": 8.0})]
    assert own.ports == {85}


def test_another_port_is_somebody_elses() -> None:
    assert "it describes port 2" in read('ports = [2]\nfields = [{ key = "x", type = "u8" }]', "01").fault


def test_what_is_too_short_is_named_and_the_rest_kept() -> None:
    decoded = read(
        'fields = [{ key = "a", type = "u8" }]\nitems = [{ type = 1, channel = 1, length = 4 }]', "0101"
    )
    assert decoded.readings == [Reading({"a": 1.0})]
    assert "4 bytes wanted, 0 left" in decoded.fault
    assert "x is beyond the 1 bytes" in read('fields = [{ key = "x", at = 3, type = "u8" }]', "01").fault


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "describes nothing"),
        ("colour = 1", "unknown key 'colour'"),
        ('fields = [{ key = "x", type = "u9" }]', "type = 'u9'; write one of u8"),
        ('fields = [{ type = "u8" }]', "key is missing"),
        ('fields = [{ key = "a b", type = "u8" }]', "key = 'a b'"),
        ('fields = [{ key = "x", type = "u8", scale = 0 }]', "scale = 0; write a number other than 0"),
        ('fields = [{ key = "x", type = "u8", scale = nan }]', "scale"),
        ('fields = [{ key = "x", type = "u8", bits = [6, 4] }]', "bits = [6, 4]"),
        ('fields = [{ key = "x", type = "u8", bits = "all" }]', "bits"),
        ('fields = [{ key = "x", type = "u8", at = 1.5 }]', "at = 1.5"),
        ('fields = [{ key = "x", type = "u8", missing = [0.5] }]', "missing"),
        ('fields = [{ key = "x", type = "u8", map = { on = 1 } }]', "map"),
        ('fields = [{ key = "x", type = "u8", order = "middle" }]', "order = 'middle'"),
        ('fields = [{ key = "x", type = "u8", role = "king" }]', "role = 'king'"),
        ('fields = [{ key = "x", type = "u8", when = { at = 2 } }]', "at and is stand together"),
        (
            'fields = [{ key = "x", type = "u8", unit = "m" }, { key = "x", type = "u8", unit = "V" }]',
            "unit = 'V'",
        ),
        ('fields = "all"', "write a list of tables"),
        ("ports = [300]\nfields = []", "numbers from 0 to 255"),
        ('header = ["colour"]\nitems = []', "header"),
        ("items = [{ length = 1 }]", "neither channel nor type"),
        ("items = [{ type = 1 }]", "length is missing"),
        ("items = [{ type = 1, length = 1 }, { type = 1, length = 2 }]", "stands there twice"),
        (
            'items = [{ type = 1, length = 1, fields = [{ key = "x", type = "u16" }] }]',
            "within the 1 of the value",
        ),
        ('groups = [{ length = 2 }]\nflags = { type = "u8" }', "bit is missing"),
        ('groups = []\nflags = { type = "f32" }', "flags are u8"),
        ('[records]\nlength = 2\nfields = [{ key = "x", type = "u8" }]', "no time"),
        ("[records]\nfields = []", "length is missing"),
        ('extends = "nobody"', "extends = 'nobody'"),
        ("fields = [" + '{ key = "x", type = "u8" },' * 401 + "]", "more than 400 fields"),
    ],
)
def test_a_faulty_description_is_told_at_its_place(text: str, words: str) -> None:
    faults = Faults()
    made = parse_codec("x.toml codec.it", "it", tomllib.loads(text), faults, {})
    said = [f"{one.where}: {one.what}; {one.remedy}" for one in faults.entries]
    assert any(words in one for one in said), said
    assert all(one.startswith("x.toml codec.it") for one in said)
    decode(made, b"\x01\x02\x03", 1)  # what is left can still be used


BUILT_IN = [
    built_in_codec(model, port)
    for model, port in (
        ("EM500-SWL", 85),
        ("EM310-TILT", 85),
        ("GS301", 85),
        ("em300-th", 85),
        ("DL-TBRG", 1),
        ("SD1001", 8),
        ("cayenne", 1),
    )
]
WORDS_OF_A_FIELD = [
    "length",
    "channel",
    "fields",
    "key",
    "at",
    "type",
    "order",
    "bit",
    "bits",
    "scale",
    "add",
    "missing",
    "map",
    "unit",
    "when",
    "role",
]
PARTS = ["extends", "ports", "order", "fields", "items", "header", "start", "groups", "flags", "records"]


@given(data=st.binary(max_size=600), port=st.integers(0, 255), chosen=st.sampled_from(BUILT_IN))
def test_any_bytes_are_answered(data: bytes, port: int, chosen: Codec) -> None:
    decoded = decode(chosen, data, port)
    assert len(decoded.readings) <= 301
    for one in decoded.readings:
        assert one.values


TOML: Any = st.recursive(
    st.integers(-9, 700)
    | st.floats()
    | st.booleans()
    | st.sampled_from(["u8", "i16", "f32", "time", "x", "big"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(WORDS_OF_A_FIELD),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@given(
    entry=st.dictionaries(
        st.sampled_from(PARTS),
        TOML,
        max_size=5,
    ),
    data=st.binary(min_size=1, max_size=40),
)
def test_any_description_is_read_or_told_and_never_hangs(entry: dict[str, Any], data: bytes) -> None:
    made = parse_codec("x.toml codec.it", "it", entry, Faults(), {})
    decode(made, data, 1)


@given(raw=st.integers(-(2**15), 2**15 - 1), order=st.sampled_from(["big", "little"]))
def test_what_a_device_packs_comes_out_again(raw: int, order: str) -> None:
    data = struct.pack(">h" if order == "big" else "<h", raw).hex()
    assert values(f'order = "{order}"\nfields = [{{ key = "x", type = "i16", scale = 0.1 }}]', data) == {
        "x": pytest.approx(raw / 10, abs=1e-9)
    }
