"""SenML packs in JSON and CBOR: every example of RFC 8428, the rules around them, and packs that must be refused."""

import json
import math
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.observations import Rejection
from ingest.decoders.said import Arrival, Rejected, Report
from ingest.decoders.senml import DECODER, read_pack
from ingest.decoders.senml_cbor import LABELS, TAGS_OF_CBOR2
from ingest.decoders.senml_names import BY_UNIT, placed

NOW_S = 1_498_780_179
ARRIVAL = Arrival(NOW_S * 1_000_000, ZoneInfo("Asia/Shanghai"))
OW = "urn:dev:ow:10e2073a01080063"


def heard(pack: object, topic: str = "senml/attic") -> list[Report]:
    payload = pack if isinstance(pack, bytes) else json.dumps(pack).encode()
    said = DECODER.decode(topic, payload, ARRIVAL)
    assert not isinstance(said, Rejected), said
    assert all(isinstance(one, Report) for one in said)
    return list(said)  # type: ignore[arg-type]  # just checked


def refused(pack: object) -> Rejection:
    payload = pack if isinstance(pack, bytes) else json.dumps(pack).encode()
    said = DECODER.decode("senml/attic", payload, ARRIVAL)
    assert isinstance(said, Rejected), said
    assert 10 < len(said.detail) < 400
    return said.reason


def as_cbor(pack: list[dict[str, Any]], **options: Any) -> bytes:
    numbers = {name: number for number, name in LABELS.items()}
    return cbor2.dumps(
        [{numbers.get(key, key): value for key, value in row.items()} for row in pack], **options
    )


def triples(pack: object) -> list[tuple[str, str, float, str, float]]:
    """Device, quantity, value, unit and time in seconds of everything, in order."""
    return [
        (one.device, key, value, (one.units or {}).get(key, ""), (one.at_us or ARRIVAL.received_us) / 1e6)
        for one in heard(pack)
        for key, value in one.values.items()
    ]


@pytest.fixture
def vectors(shared_data: Path) -> dict[str, dict[str, Any]]:
    text = (shared_data / "vectors/senml/rfc8428_examples.json").read_text(encoding="utf-8")
    found = {vector["id"]: vector for vector in json.loads(text)["vectors"]}
    assert len(found) >= 13
    return found


H, T = "humidity", "temperature"
V6 = ("2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4")
OCT, EX6 = 1_320_067_464.0, 1_320_078_429.0
LONS, LATS = (24.30621, 24.30622, 24.30623, 24.30628), (60.07965, 60.07965, 60.07966, 60.07967)
EXPECTED: dict[str, list[tuple[str, str, float, str, float]]] = {
    "ex1": [(OW, T, 23.1, "Cel", NOW_S)],
    "ex2": [(OW, "voltage", 120.1, "V", NOW_S), (OW, "current", 1.2, "A", NOW_S)],
    "ex3": [
        *((OW[:-2] + "6", "current", 1.2 + n / 10, "A", 1_276_020_071.001 + n) for n in range(5)),
        (OW[:-2] + "6", "voltage", 120.1, "V", 1_276_020_076.001),
        (OW[:-2] + "6", "current", 1.7, "A", 1_276_020_076.001),
    ],
    "ex4": [
        (OW, H, value, "%RH", OCT + seconds)
        for seconds, value in zip(
            (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 91, 92),
            (21.2, 21.3, 21.4, 21.4, 21.5, 21.5, 21.5, 21.6, 21.7, 21.5, 21.5, 21.5),
            strict=True,
        )
    ],
    "ex5": [
        row
        for place, (seconds, value) in enumerate(((0, 20.0), (60, 20.3), (120, 20.7), (180, 21.2)))
        for row in [
            *([(OW, "battery", 98.0, "%EL", OCT + 150)] if seconds == 180 else []),
            (OW, H, value, "%RH", OCT + seconds),
            (OW, "longitude", LONS[place], "lon", OCT + seconds),
            (OW, "latitude", LATS[place], "lat", OCT + seconds),
        ]
    ],
    "ex6": [
        (V6[1], T, 25.2, "Cel", EX6),
        (V6[1], H, 30.0, "%RH", EX6),
        (V6[0], T, 12.3, "Cel", EX6),
        (V6[0], H, 67.0, "%RH", EX6),
    ],
    "ex7": [(OW, "temp", 23.1, "Cel", NOW_S), (OW, "open", 0.0, "/", NOW_S)],
    "ex8": [(OW, T, 27.2, "Cel", EX6), (OW, H, 80.0, "%RH", EX6)],
    "ex9": [
        (OW, "temp", 23.1, "Cel", NOW_S),
        (OW, "heat", 1.0, "/", NOW_S),
        (OW, "fan", 0.0, "/", NOW_S),
    ],
    "ex10": [(OW, T, 23.5, "Cel", 1_276_020_076), (OW, T, 23.6, "Cel", 1_276_020_091)],
    "ex11": [(OW, T, 23.5, "Cel", 1_276_020_076), (OW, T, 23.6, "Cel", 1_276_020_091)],
    "ex12": [(V6[2], "value", 1.0, "/", EX6), (V6[3], "value", 1.0, "/", EX6)],
    "ex13": [
        (V6[2], "value", 0.5, "/", EX6),
        (V6[3], "value", 0.5, "/", EX6),
        (V6[2], "value", 0.0, "/", EX6 + 0.1),
        (V6[3], "value", 0.0, "/", EX6 + 0.1),
    ],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_examples_of_the_standard(vectors: dict[str, dict[str, Any]], name: str) -> None:
    vector = vectors[name]
    found = triples(vector["input"])
    assert [row[:2] + row[3:4] for row in found] == [row[:2] + row[3:4] for row in EXPECTED[name]]
    for row, wanted in zip(found, EXPECTED[name], strict=True):
        assert row[2] == pytest.approx(wanted[2], abs=1e-9)
        assert row[4] == pytest.approx(wanted[4], abs=5e-7)
    assert triples(as_cbor(vector["input"])) == found
    if "cbor_hex" in vector:
        assert triples(bytes.fromhex(vector["cbor_hex"])) == found


def test_what_is_resolved_elsewhere_means_the_same(vectors: dict[str, dict[str, Any]]) -> None:
    checked = 0
    for name, vector in vectors.items():
        resolved = vector["upstream_resolved"]
        assert name in EXPECTED or not resolved, f"{name} is new: say what is expected of it"
        if (
            resolved and name != "ex7"
        ):  # the tool drops its fourth record, and "open" stands behind a device URN
            now = vector.get("now_used_by_upstream", 0)
            values = [row[:3] for row in triples(vector["input"])]
            assert sorted(row[:3] for row in triples(resolved)) == sorted(values), name
            times = sorted(row["t"] - (now - NOW_S if now else 0) for row in resolved)
            assert times == pytest.approx(sorted(row[4] for row in triples(vector["input"])), abs=1e-6), name
            checked += 1
    assert checked >= 11


def test_base_fields_last_until_another_comes() -> None:
    pack = [
        {"bn": "a:", "bu": "Cel", "bt": 1.4e9, "bv": 20, "n": "t1", "v": 1.5},
        {"n": "t2", "v": -0.5, "u": "K", "t": 1},
        {"bn": "b:", "n": "t1", "v": 2},
        {"bu": "V", "bv": 0, "bt": 1.5e9, "n": "u", "v": 3.3, "t": 0.25},
    ]
    assert triples(pack) == [
        ("a", "t1", 21.5, "Cel", 1.4e9),
        ("b", "t1", 22.0, "Cel", 1.4e9),
        ("a", "t2", 19.5, "K", 1.4e9 + 1),
        ("b", "u", 3.3, "V", 1.5e9 + 0.25),
    ]


def test_small_times_count_from_arrival_and_large_ones_from_1970() -> None:
    limit = 2**28
    for given_s, wanted_s in ((-30.5, NOW_S - 30.5), (limit - 1, NOW_S + limit - 1), (limit, limit)):
        (one,) = heard([{"n": "x:temp", "v": 1, "t": given_s}])
        assert one.at_us == wanted_s * 1_000_000
    (split,) = heard([{"bt": limit - 10, "n": "x:temp", "v": 1, "t": 10}])
    assert split.at_us == limit * 1_000_000
    for now in ({}, {"t": 0}, {"bt": 5, "t": -5}):
        (one,) = heard([{"n": "x:temp", "v": 1, **now}])
        assert one.at_us is None  # arrival stands in, and is marked as estimated


def test_records_come_out_in_time_order_with_the_latest_now() -> None:
    pack = [{"bn": "d:", "n": "a", "v": 1}, {"n": "a", "v": 2, "t": -20}, {"n": "a", "v": 3, "t": -10}]
    assert [one.values["a"] for one in heard(pack)] == [2, 3, 1]


def test_sums_have_their_own_key_and_unit() -> None:
    pack = [{"bn": "m:", "bs": 100, "n": "power", "u": "W", "v": 5, "s": 20}, {"n": "odd", "u": "Bq", "s": 1}]
    assert triples(pack) == [
        ("m", "power", 5.0, "W", NOW_S),
        ("m", "power.sum", 120.0, "J", NOW_S),
        ("m", "odd.sum", 101.0, "", NOW_S),
    ]
    assert triples([{"bn": "m:", "bs": 7, "n": "power", "u": "W", "v": 5}])[1][2] == 7.0


def test_text_and_data_are_understood_and_not_kept() -> None:
    assert heard([{"n": "a:label", "vs": "Machine Room"}, {"n": "a:raw", "vd": "aGkgCg"}]) == []
    assert heard(as_cbor([{"n": "a:raw", "vd": b"hi"}, {"n": "a:label", "vs": "x"}])) == []
    assert heard([{"bn": "a:"}]) == []


def test_a_boolean_is_a_switch_that_a_percentage_can_read() -> None:
    (one,) = heard([{"bn": "hall:", "n": "smoke", "vb": True, "bu": "%"}])
    assert (one.values, one.units) == ({"smoke": 1.0}, {"smoke": "/"})


def test_the_same_quantity_twice_at_one_time_is_two_reports() -> None:
    pack = [{"bn": "d:", "n": "a", "v": 1}, {"n": "b", "v": 2}, {"n": "a", "v": 3}]
    assert [one.values for one in heard(pack)] == [{"a": 1, "b": 2}, {"a": 3}]


@pytest.mark.parametrize(
    ("base", "name", "topic", "device", "key"),
    [
        (f"{OW}:", "voltage", "", OW, "voltage"),
        (OW, ":voltage", "", OW, "voltage"),
        ("", f"{OW}:voltage", "", OW, "voltage"),
        (f"{OW}_", "voltage", "", OW, "voltage"),  # RFC 9039 components
        ("", f"{OW}:room1/temp", "", f"{OW}:room1", "temp"),
        ("urn:dev:ow:", "10e2073a01080063", "", OW, ""),
        (OW[:-2], "63", "", OW, ""),
        (OW, "voltage", "", OW, "voltage"),  # without the separator
        ("urn:dev:mac:B4E62DFFFE28E081", "temperature", "", "urn:dev:mac:B4E62DFFFE28E081", "temperature"),
        ("urn:dev:mac:B4E62DFF", "FE28E081", "", "urn:dev:mac:B4E62DFFFE28E081", ""),
        ("urn:dev:os:32473-", "pump", "", "urn:dev:os:32473-pump", ""),
        ("urn:dev:DEVEUI:energysensor:", "electricity", "", "urn:dev:DEVEUI:energysensor", "electricity"),
        ("urn:dev:gw-dev:meter1:", "value0", "", "urn:dev:gw-dev:meter1", "value0"),
        ("urn:dev:org:32473-foo.1:", "level", "", "urn:dev:org:32473-foo.1", "level"),
        (
            "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6:",
            "t",
            "",
            "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "t",
        ),
        ("2001:db8::", "3", "", "2001:db8::3", ""),
        ("2001:db8::2/", "temperature", "", "2001:db8::2", "temperature"),
        ("", "2001:db8::2/temperature", "", "2001:db8::2", "temperature"),
        ("", "00:24:be:ff:fe:80:4f:f1", "gw", "00:24:be:ff:fe:80:4f:f1", ""),
        ("", "0024befffe804ff1", "gw", "0024befffe804ff1", ""),
        ("", "0024befffe804ff1/temp", "", "0024befffe804ff1", "temp"),
        ("pump7", "temperature", "", "pump7", "temperature"),
        ("pump7:", "motor:current", "", "pump7:motor", "current"),
        ("pump7/", "", "", "pump7", ""),
        ("plant.pump7.", "temp", "", "plant.pump7", "temp"),
        ("", "temperature", "attic", "attic", "temperature"),
        ("", "attic", "attic", "attic", ""),
        ("", "temperature", "", "temperature", ""),
        ("", "building/kitchen", "attic", "building/kitchen", ""),
        ("dev:", "5700", "", "dev", "5700"),
    ],
)
def test_which_part_of_a_name_is_the_device(base: str, name: str, topic: str, device: str, key: str) -> None:
    assert placed(base, name, topic) == (device, key)


def test_the_topic_names_the_device_of_relative_names() -> None:
    pack = [{"n": "temp", "u": "Cel", "v": 1}]
    topics = {"senml/attic": "attic", "senml/h1/attic": "h1/attic", "gw3/senml": "gw3", "senml": "temp"}
    assert {topic: heard(pack, topic)[0].device for topic in topics} == topics
    assert heard(pack, "channels/c1/messages/room")[0].device == "c1/room"


def test_a_sound_level_in_bel_comes_out_in_decibel() -> None:
    assert triples([{"n": OW, "u": "Bspl", "v": 6.5}]) == [(OW, "noise", 65.0, "dB", NOW_S)]


def test_units_without_a_meaning_are_a_value() -> None:
    assert heard([{"n": OW, "v": 1}])[0].values == {"value": 1}
    for unit, key in BY_UNIT.items():
        assert list(heard([{"n": OW, "v": 1, "u": unit}])[0].values) == [key]


NOT_IN_JSON = [
    (b"", Rejection.NOT_JSON),
    (b"   ", Rejection.NOT_JSON),
    (b"hello", Rejection.NOT_JSON),
    (b'[{"n":"a","v":1}', Rejection.NOT_JSON),
    (b'[{"n":"a","v":1}] x', Rejection.NOT_JSON),
    (b'[{"n":"\xff","v":1}]', Rejection.NOT_JSON),
    (b'{"n":"a","v":1}', Rejection.WRONG_SHAPE),
    (b"[]", Rejection.WRONG_SHAPE),
    (b"[1]", Rejection.WRONG_SHAPE),
    (b"[" * 100_000, Rejection.WRONG_SHAPE),
    (b'[{"n":"a","x":' + b"[" * 100_000, Rejection.WRONG_SHAPE),
    (b'[{"n":"a","v":NaN}]', Rejection.NOT_FINITE),
    (b'[{"n":"a","v":-Infinity}]', Rejection.NOT_FINITE),
    (b'[{"n":"a","v":1e999}]', Rejection.NOT_FINITE),
    (b'[{"n":"a","v":' + b"9" * 400 + b"}]", Rejection.NOT_FINITE),
    (b'[{"bv":1e308,"n":"a","v":1e308}]', Rejection.NOT_FINITE),
    (b'[{"bs":1e308,"n":"a","s":1e308}]', Rejection.NOT_FINITE),
    (b"[" + b" " * 262_144 + b"]", Rejection.OVERSIZE),
]


@pytest.mark.parametrize(("payload", "reason"), NOT_IN_JSON)
def test_what_is_no_pack_is_refused(payload: bytes, reason: Rejection) -> None:
    assert refused(payload) is reason


@pytest.mark.parametrize(
    ("pack", "reason"),
    [
        ([{"v": 1}], Rejection.WRONG_SHAPE),
        ([{"n": "a"}], Rejection.WRONG_SHAPE),
        ([{"n": "a", "t": 5}], Rejection.WRONG_SHAPE),
        ([{"n": "a", "v": 1, "vs": "x"}], Rejection.WRONG_SHAPE),
        ([{"n": "a", "vb": True, "vd": "eA"}], Rejection.WRONG_SHAPE),
        ([{"n": "a", "v": None}], Rejection.WRONG_SHAPE),
        ([{"n": "a", "v": "1"}], Rejection.WRONG_SHAPE),
        ([{"n": "a", "v": True}], Rejection.WRONG_SHAPE),
        ([{"n": "a", "vb": 1}], Rejection.WRONG_SHAPE),
        ([{"n": 5, "v": 1}], Rejection.WRONG_SHAPE),
        ([{"bn": 5, "n": "a", "v": 1}], Rejection.WRONG_SHAPE),
        ([{"n": "_a", "v": 1}], Rejection.WRONG_SHAPE),
        ([{"n": "-a", "v": 1}], Rejection.WRONG_SHAPE),
        ([{"bn": "/3303/0/", "n": "5700", "v": 1}], Rejection.WRONG_SHAPE),
        ([{"n": "a b", "v": 1}], Rejection.WRONG_SHAPE),
        ([{"n": "温度", "v": 1}], Rejection.WRONG_SHAPE),
        ([{"n": "a\n", "v": 1}], Rejection.WRONG_SHAPE),
        ([{"bn": "b" * 200_000}, *({"n": "a", "v": 1} for _ in range(500))], Rejection.WRONG_SHAPE),
        ([{"n": "a", "v": 1, "bver": 11}], Rejection.UNSUPPORTED),
        ([{"n": "a", "v": 1, "bver": 0}], Rejection.UNSUPPORTED),
        ([{"n": "a", "v": 1, "bver": 9.5}], Rejection.UNSUPPORTED),
        ([{"n": "a", "v": 1, "bver": "10"}], Rejection.WRONG_SHAPE),
        ([{"n": "a", "v": 1, "bver": 5}, {"n": "a", "v": 1, "bver": 10}], Rejection.WRONG_SHAPE),
        ([{"n": "a", "v": 1}, {"n": "a", "v": 1, "bver": 5}], Rejection.WRONG_SHAPE),
        ([{"n": "a", "v": 1, "must_": 0}], Rejection.UNSUPPORTED),
        ([{"n": "a", "v": 1}, {"bfuture_": {"x": [1]}}], Rejection.UNSUPPORTED),
        ([{"n": "a", "v": 1, "t": 1e300}], Rejection.TIME_OUT_OF_RANGE),
    ],
)
def test_packs_that_must_be_refused(pack: list[dict[str, Any]], reason: Rejection) -> None:
    assert refused(pack) is reason
    assert refused(as_cbor(pack)) is reason


def test_a_label_that_must_be_understood_cannot_hide_in_an_escape() -> None:
    assert refused(b'[{"n":"a","v":1,"must\\u005f":0}]') is Rejection.UNSUPPORTED
    assert heard(b'[{"n":"a\\u005f:temp","v":1,"vx":"_"}]')[0].device == "a"


def test_versions_and_unknown_labels_that_are_allowed() -> None:
    for version in (1, 5, 10, 26):
        assert len(heard([{"n": "a", "v": 1, "bver": version}, {"n": "b", "v": 1, "bver": version}])) >= 1
    assert heard([{"bver": 10, "n": "d:temp", "v": 1, "l": "x", "_x": 0, "x_y": {"z_": 1}}])[0].values == {
        "temp": 1
    }
    assert heard(as_cbor([{"bver": 10, "n": "d:temp", "v": 1, "l": "x", 9: 0, -77: [1]}]))[0].values == {
        "temp": 1
    }  # type: ignore[dict-item]  # numbers nobody has defined


def test_forms_of_cbor_that_are_the_same_pack() -> None:
    wanted = triples([{"bn": "d:", "n": "temp", "u": "Cel", "v": 1.5}])
    row = bytes.fromhex("a42162643a00647465 6d7001634365 6c02f93e00".replace(" ", ""))
    assert triples(b"\x81" + row) == wanted  # with a half float
    assert triples(b"\x9f" + row + b"\xff") == wanted
    assert triples(b"\xd9\xd9\xf7\x81" + row) == wanted  # "this is CBOR"
    assert triples(b"\x81\xbf" + row[1:] + b"\xff") == wanted
    assert triples(cbor2.dumps([{"bn": "d:", "n": "temp", "u": "Cel", "v": 1.5}])) == wanted
    assert (
        triples(bytes.fromhex("81a42162643a0064 74656d70 0163 43656c 02c482200f".replace(" ", ""))) == wanted
    )
    assert triples(as_cbor([{"n": "d:temp", "v": 1, "t": cbor2.CBORTag(1, 1_400_000_000)}]))[0][4] == 1.4e9


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\x81", Rejection.NOT_CBOR),
        (b"\x9f", Rejection.NOT_CBOR),
        (b"\xff", Rejection.NOT_CBOR),
        (b"\x9b" + b"\xff" * 8, Rejection.NOT_CBOR),
        (b"\x9b\x00\x00\x00\x7f\xff\xff\xff\xff", Rejection.NOT_CBOR),
        (b"\x81\xbb\x7f" + b"\xff" * 7, Rejection.NOT_CBOR),
        (b"\x81\xa1\x00\x7b\x7f" + b"\xff" * 7, Rejection.NOT_CBOR),
        (b"\x81" * 200_000, Rejection.NOT_CBOR),
        (b"\x81" * 17 + b"\x00", Rejection.NOT_CBOR),
        (as_cbor([{"n": "a", "v": 1}]) + b"\x00", Rejection.NOT_CBOR),
        (b"\x81\xa2\x00\x61a\x00\x61b", Rejection.NOT_CBOR),
        (b"\xa1\x00\x61a", Rejection.WRONG_SHAPE),
        (b"\x80", Rejection.WRONG_SHAPE),
        (b"\x81\x01", Rejection.WRONG_SHAPE),
        (b"\x81\xa2\x00\x61a\x02\xf6", Rejection.WRONG_SHAPE),
        (cbor2.dumps([{0: "a", "n": "b", 2: 1}]), Rejection.WRONG_SHAPE),
        (cbor2.dumps([{0: "a", 2: 1, (1, 2): 0}]), Rejection.WRONG_SHAPE),
        (cbor2.dumps([{0: "a", 2: 1, 1.5: 0}]), Rejection.WRONG_SHAPE),
        (cbor2.dumps([{0: "a", 2: 1} | {f"x{n}": 0 for n in range(70)}]), Rejection.WRONG_SHAPE),
        (as_cbor([{"n": b"a", "v": 1}]), Rejection.WRONG_SHAPE),
        (as_cbor([{"n": "a", "v": math.nan}]), Rejection.NOT_FINITE),
        (as_cbor([{"n": "a", "v": math.inf}]), Rejection.NOT_FINITE),
        (as_cbor([{"n": "a", "s": -math.inf}]), Rejection.NOT_FINITE),
        (as_cbor([{"n": "a", "v": 1, "t": math.nan}]), Rejection.TIME_OUT_OF_RANGE),
        (as_cbor([{"n": "a", "v": cbor2.CBORTag(4, [999_999_999, 1])}]), Rejection.NOT_CBOR),
        (as_cbor([{"n": "a", "v": cbor2.CBORTag(4, [1])}]), Rejection.NOT_CBOR),
        (as_cbor([{"n": "a", "v": cbor2.CBORTag(4, [400, 1])}]), Rejection.NOT_FINITE),
        (as_cbor([{"n": "a", "v": 2**70}]), Rejection.NOT_CBOR),
    ],
)
def test_hostile_cbor_is_refused(payload: bytes, reason: Rejection) -> None:
    assert refused(payload) is reason


def test_tags_without_a_meaning_here_are_refused() -> None:
    """Tags that cbor2 would act on (patterns, mail, references) must be in our list; a new release may bring one."""
    acted_on = []
    for number in [*range(70), 100, *range(250, 270), 1004, 43000, 55799, 65535]:
        head = b"\xd9" + number.to_bytes(2, "big")
        for inner in (b"\x00", b"\x61a", b"\x82\x00\x01"):
            try:
                if not isinstance(cbor2.loads(head + inner), cbor2.CBORTag):
                    acted_on.append(number)
            except cbor2.CBORError:
                acted_on.append(number)
    assert set(acted_on) <= {*TAGS_OF_CBOR2, 55799}
    for number in {*TAGS_OF_CBOR2, 12345} - {1, 4}:
        tagged = b"\x81\xa2\x00\x61a\x02\xd9" + number.to_bytes(2, "big") + b"\x01"
        assert refused(tagged) is Rejection.NOT_CBOR


def test_long_hostile_packs_are_answered() -> None:
    """Work stays in proportion to the bytes; a pattern that backtracks or names that multiply would not come back."""
    many = b"[" + b",".join([b'{"n":"a","v":1}'] * 16_000) + b"]"
    assert len(heard(many)) == 16_000
    assert len(heard(json.dumps([{"n": ":".join("a" * 120), "v": 1}] * 900).encode())) == 900
    assert heard(b"\x9f" + b"\xa0" * 262_000 + b"\xff") == []
    base = {"bn": "urn:dev:ow:" + "1" * 200}
    assert len(heard([base, *({"n": "a:" * 20, "v": 1} for _ in range(4_000))])) == 4_000
    assert refused([base, *({"n": "a" * 50, "v": 1} for _ in range(3_000))]) is Rejection.WRONG_SHAPE


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: b"\x81\xa3\x00\x61a" + tail))
def test_any_bytes_are_answered(payload: bytes) -> None:
    said = DECODER.decode("senml/x", payload, ARRIVAL)
    assert isinstance(said, Rejected) or all(math.isfinite(v) for one in said for v in one.values.values())  # type: ignore[union-attr]  # reports only


FINITE = st.floats(-1e12, 1e12, allow_nan=False)
ROW = st.fixed_dictionaries(
    {"n": st.from_regex(r"[a-z]{1,8}", fullmatch=True), "v": FINITE},
    optional={
        "u": st.sampled_from(["Cel", "%RH", "V"]),
        "t": st.integers(-1000, 0),
        "bu": st.just("A"),
        "bv": FINITE,
    },
)


@given(st.lists(ROW, min_size=1, max_size=8))
def test_both_forms_say_the_same(rows: list[dict[str, Any]]) -> None:
    pack = [{"bn": f"{OW}:"}, *rows]
    assert read_pack(as_cbor(pack)) == read_pack(json.dumps(pack).encode())
    found = triples(pack)
    assert len(found) == len(rows)
    assert [row[4] for row in found] == sorted(row[4] for row in found)
    base = 0.0
    sums = []
    for row in rows:
        base = row.get("bv", base)
        sums.append(row["v"] + base)
    assert sorted(row[2] for row in found) == sorted(sums)
