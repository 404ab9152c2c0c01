"""ThingsBoard's MQTT API: the documentation's examples, every form of telemetry, and what must be refused."""

import json
import math
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.observations import Rejection
from ingest.decoders.said import Announced, Arrival, Link, Rejected, Report, Said
from ingest.decoders.thingsboard import DECODER
from ingest.routing import matches

ARRIVAL = Arrival(1_700_000_100_000_000, ZoneInfo("Asia/Shanghai"))
GATEWAY, BARE = "v1/gateway/telemetry", "v1/devices/me/telemetry"


def decode(topic: str, body: object) -> list[Said]:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert any(matches(wanted, topic) for wanted in DECODER.filters), topic
    said = DECODER.decode(topic, payload, ARRIVAL)
    return [said] if isinstance(said, Rejected) else list(said)


def readings(topic: str, body: object) -> list[tuple[str, str, float, int | None]]:
    found = decode(topic, body)
    assert all(isinstance(one, Report) for one in found), found
    return [
        (one.device, key, value, one.at_us)
        for one in found
        if isinstance(one, Report)
        for key, value in one.values.items()
    ]


def refusal(topic: str, body: object) -> Rejected:
    (only,) = decode(topic, body)
    assert isinstance(only, Rejected), only
    assert 10 < len(only.detail) < 400
    return only


AT = 1_483_228_800_000_000
EXPECTED = [
    [
        ("Device A", "temperature", 42.0, AT),
        ("Device A", "humidity", 80.0, AT),
        ("Device A", "temperature", 43.0, AT + 1_000_000),
        ("Device A", "humidity", 82.0, AT + 1_000_000),
        ("Device B", "temperature", 42.0, AT),
        ("Device B", "humidity", 80.0, AT),
    ],
    [("meter 7", "temperature", 22.5, None), ("meter 7", "humidity", 61.0, None)],
    [
        ("meter 7", "temperature", 22.5, 1_451_649_600_512_000),
        ("meter 7", "humidity", 61.0, 1_451_649_600_512_000),
    ],
    [
        ("meter 7", "temperature", 22.5, 1_451_649_600_000_000),
        ("meter 7", "humidity", 61.0, 1_451_649_600_000_000),
        ("meter 7", "temperature", 22.7, 1_451_649_601_000_000),
        ("meter 7", "humidity", 60.0, 1_451_649_601_000_000),
    ],
    [
        ("Device A", "temperature", 23.5, 1_700_000_000_000_000),
        ("Device A", "humidity", 61.0, 1_700_000_000_000_000),
    ],
]


def test_the_examples_of_the_documentation(shared_data: Path) -> None:
    text = (shared_data / "vectors/thingsboard/telemetry_examples.json").read_text(encoding="utf-8")
    messages = json.loads(text)["messages"]
    assert len(messages) >= 5
    for message, expected in zip(messages, EXPECTED, strict=True):
        topic = message["topic"]
        named = topic if topic == GATEWAY else f"meter 7/{topic}"
        found = readings(named, message["payload"])
        assert found == expected
        assert len(found) == message["expect"]["readings"]
        if topic == BARE:
            assert [one[1:] for one in readings(topic, message["payload"])] == [one[1:] for one in expected]


def test_a_topic_without_a_device_is_kept_under_one_name() -> None:
    for topic in (BARE, "v2/t", "v2/t/j"):
        assert readings(topic, {"temperature": 1}) == [("me", "temperature", 1.0, None)]
    assert refusal(BARE, b"{").reason is Rejection.NOT_JSON


def test_the_short_topic_and_a_name_in_front() -> None:
    for topic in ("meter-7/v2/t", "meter-7/v2/t/j", f"meter-7/{BARE}"):
        assert readings(topic, {"temperature": 1}) == [("meter-7", "temperature", 1.0, None)]
    (one,) = decode(f"gw1/{GATEWAY}", {"A": [{"temperature": 1}]})
    assert isinstance(one, Report)
    assert (one.device, one.gateway) == ("A", "gw1")


def test_values_that_are_numbers_or_switches_are_kept() -> None:
    body = {
        "s": "12.5",
        "t": "on",
        "n": None,
        "o": {"a": 1},
        "l": [1],
        "d": 1.5,
        "i": -3,
        "smoke": True,
        "off": False,
    }
    (one,) = decode("x/" + BARE, body)
    assert isinstance(one, Report)
    assert one.values == {"d": 1.5, "i": -3.0, "smoke": 1.0, "off": 0.0}
    assert one.units == {"smoke": "/", "off": "/"}
    assert decode("x/" + BARE, {"firmware": "1.2"}) == []
    assert decode("x/" + BARE, []) == []


def test_forms_of_telemetry() -> None:
    assert readings(GATEWAY, {"A": {"temperature": 1}}) == [("A", "temperature", 1.0, None)]
    assert readings(
        GATEWAY, {"A": [{"temperature": 1}, {"ts": "1700000000000", "values": {"humidity": 2}}]}
    ) == [
        ("A", "temperature", 1.0, None),
        ("A", "humidity", 2.0, 1_700_000_000_000_000),
    ]
    assert readings("x/" + BARE, {"ts": None, "values": {"a": 1}}) == [("x", "a", 1.0, None)]
    assert readings("x/" + BARE, {"ts": 5}) == [
        ("x", "ts", 5.0, None)
    ]  # without values it is a key like others
    assert readings("x/" + BARE, {"ts": 1.7e12, "values": {"a": 1}, "metadata": {}}) == [
        ("x", "a", 1.0, 1_700_000_000_000_000)
    ]


def test_one_faulty_device_does_not_take_the_others_with_it() -> None:
    said = decode(
        GATEWAY, {"A": [{"t": 1}], "B": 5, "C": [{"ts": "noon", "values": {"t": 1}}], "D": [{"t": 2}]}
    )
    assert [type(one) for one in said] == [Report, Rejected, Rejected, Report]
    assert [one.reason for one in said if isinstance(one, Rejected)] == [
        Rejection.WRONG_SHAPE,
        Rejection.BAD_TIME,
    ]


def test_devices_come_and_go() -> None:
    assert decode("v1/gateway/connect", {"device": "A"}) == [Link(device="A", online=True)]
    assert decode("v1/gateway/connect", {"device": "A", "type": "Sensor T"}) == [
        Link(device="A", online=True),
        Announced(device="A", model="Sensor T"),
    ]
    assert decode("v1/gateway/disconnect", {"device": "A"}) == [Link(device="A", online=False)]
    assert refusal("v1/gateway/connect", {}).reason is Rejection.WRONG_SHAPE
    assert refusal("v1/gateway/connect", {"device": ""}).reason is Rejection.WRONG_SHAPE


def test_attributes_tell_model_and_maker() -> None:
    body = {
        "A": {"model": "EM300", "manufacturer": "Milesight", "label": "Cellar", "interval": 60},
        "B": {"x": 1},
    }
    assert decode("v1/gateway/attributes", body) == [
        Announced(device="A", name="Cellar", model="EM300", vendor="Milesight")
    ]
    assert decode("m7/v1/devices/me/attributes", {"model": "X"}) == [Announced(device="m7", model="X")]
    assert decode("m7/v2/a", {"state": 1}) == []
    assert refusal("v1/gateway/attributes", {"A": 1}).reason is Rejection.WRONG_SHAPE


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        (GATEWAY, b"", Rejection.NOT_JSON),
        (GATEWAY, b"Online", Rejection.NOT_JSON),
        (GATEWAY, b'{"A":[{"t":1}]', Rejection.NOT_JSON),
        (GATEWAY, b"[]", Rejection.WRONG_SHAPE),
        (GATEWAY, b'{"A":[1]}', Rejection.WRONG_SHAPE),
        (GATEWAY, b'{"A":null}', Rejection.WRONG_SHAPE),
        (GATEWAY, b'{"A":[{"ts":1,"values":5}]}', Rejection.WRONG_SHAPE),
        (GATEWAY, b'{"A":[{"ts":true,"values":{"t":1}}]}', Rejection.BAD_TIME),
        (GATEWAY, b'{"A":[{"ts":"2026-11-22","values":{"t":1}}]}', Rejection.BAD_TIME),
        (GATEWAY, b'{"A":[{"ts":99999999999999999999,"values":{"t":1}}]}', Rejection.TIME_OUT_OF_RANGE),
        (GATEWAY, b'{"A":[{"t":NaN}]}', Rejection.NOT_FINITE),
        (GATEWAY, b'{"A":[{"t":' + b"9" * 400 + b"}]}", Rejection.NOT_FINITE),
        (GATEWAY, b"[" * 100_000, Rejection.WRONG_SHAPE),
        (GATEWAY, b" " * 262_145, Rejection.OVERSIZE),
        ("x/" + BARE, b"5", Rejection.WRONG_SHAPE),
        ("x/" + BARE, b"[[]]", Rejection.WRONG_SHAPE),
    ],
)
def test_what_must_be_refused(topic: str, payload: bytes, reason: Rejection) -> None:
    assert refusal(topic, payload).reason is reason


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["ts", "values", "a", ""]), inner)
    ),
    max_leaves=12,
)


@given(
    JSON | st.binary(max_size=80),
    st.sampled_from([GATEWAY, BARE, "x/v2/t", "v1/gateway/connect", "v1/gateway/attributes"]),
)
def test_anything_is_answered(body: Any, topic: str) -> None:
    for one in decode(topic, body):
        assert not isinstance(one, Report) or all(math.isfinite(value) for value in one.values.values())


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=9), st.floats(allow_nan=False, allow_infinity=False), min_size=1
    )
)
def test_what_is_sent_comes_out(values: dict[str, float]) -> None:
    (one,) = decode(GATEWAY, {"A": [{"ts": 1_700_000_000_123, "values": values}]})
    assert isinstance(one, Report)
    assert (one.values, one.at_us) == (values, 1_700_000_000_123_000)
