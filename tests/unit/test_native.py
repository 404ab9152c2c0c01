"""The native payloads of the wire contract, and everything that only looks like them."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.observations import Rejection
from ingest.decoders.native import (
    MAX_PAYLOAD,
    Message,
    Rejected,
    Topic,
    check,
    decode_batch,
    decode_one,
    names_another,
    observed_us,
    read_topic,
)


def test_topic_of_a_reading_and_of_a_status() -> None:
    assert read_topic("city/网格7/smoke/s-1".encode()) == Topic(
        cell="网格7", kind="smoke", device="s-1", status=False
    )
    assert read_topic(b"city/c/smoke/s/status") == Topic(cell="c", kind="smoke", device="s", status=True)


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        (b"city//smoke/s", Rejection.BAD_TOPIC),
        (b"city/c/smoke/", Rejection.BAD_TOPIC),
        (b"city/c/smoke/s/other", Rejection.BAD_TOPIC),
        (b"city/c/smoke", Rejection.BAD_TOPIC),
        (b"city/c/smoke/s\x00", Rejection.BAD_TOPIC),
        (b"city/c/smoke/\x1b[31m", Rejection.BAD_TOPIC),
        (b"city/c/smoke/\xff", Rejection.BAD_TOPIC),
        (b"city/c/smoke/" + b"s" * 65_000, Rejection.BAD_TOPIC),
        (b"city/c/smoke/" + b"s" * 129, Rejection.BAD_TOPIC),
        (b"frigate/events", Rejection.NO_DECODER),
        (b"$SYS/broker", Rejection.NO_DECODER),
        (b"", Rejection.NO_DECODER),
    ],
)
def test_hostile_topics_are_refused_with_a_reason(topic: bytes, reason: Rejection) -> None:
    answer = read_topic(topic)
    assert isinstance(answer, Rejected)
    assert answer.reason is reason
    assert len(answer.detail) < 300


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", Rejection.NOT_JSON),
        (b"online", Rejection.NOT_JSON),
        (b"\xff\xfe", Rejection.NOT_JSON),
        (b'{"value":1', Rejection.NOT_JSON),
        (b'{"value":1},{"value":2}', Rejection.NOT_JSON),
        (b'{"value":1}\n{"value":2}', Rejection.NOT_JSON),
        (b'{"value":NaN}', Rejection.NOT_FINITE),
        (b'{"value":-Infinity}', Rejection.NOT_FINITE),
        (b'{"value":true}', Rejection.WRONG_SHAPE),
        (b'{"value":"3"}', Rejection.WRONG_SHAPE),
        (b'{"metrics":{"a":"b"}}', Rejection.WRONG_SHAPE),
        (b"[[1]]", Rejection.WRONG_SHAPE),
        (b'{"a":' + b"[" * 200_000 + b"]}", Rejection.WRONG_SHAPE),
        (b'{"value":1,"pad":"' + b"x" * MAX_PAYLOAD + b'"}', Rejection.OVERSIZE),
    ],
)
def test_bad_payloads_are_refused_and_never_slip_through_a_batch(payload: bytes, reason: Rejection) -> None:
    answer = decode_one(payload)
    assert isinstance(answer, Rejected)
    assert answer.reason is reason
    good = b'{"value":1}'
    assert decode_batch([good, payload, good]) is None


def test_a_payload_cannot_swallow_its_neighbours() -> None:
    """Three messages of one sender that, joined by commas, would have taken a fourth one's reading."""
    hostile = [b'{"a":[{}', b'{"value":90}', b"{}]}", b'{"value":1},{"value":2}', b'{"value":3},{"value":4}']
    assert decode_batch(hostile) is None


_scalar = st.floats(allow_nan=False, allow_infinity=False)
_object = st.fixed_dictionaries(
    {},
    optional={
        "ts": st.integers(0, 2**45),
        "value": _scalar,
        "seq": st.integers(0, 2**40),
        "extra": st.text(max_size=9),
    },
)
_piece = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [
            b"{",
            b"}",
            b"[",
            b"]",
            b'{"a":[{}',
            b"{}]}",
            b'{"value":1},{"value":2}',
            b"[{},{}",
            b"{}]",
            b'"',
            b",",
            b"\n",
        ]
    ),
    st.one_of(_object, st.lists(_object, max_size=4)).map(lambda o: json.dumps(o).encode()),
)


@given(st.lists(_piece, min_size=1, max_size=8))
def test_a_batch_says_what_its_messages_say_one_by_one(payloads: list[bytes]) -> None:
    whole = decode_batch(payloads)
    if whole is not None:
        assert whole == [decode_one(payload) for payload in payloads]


def test_times() -> None:
    assert observed_us(None) is None
    assert observed_us(1763750400123) == 1763750400123000
    expected = int(datetime(2026, 11, 21, 10, 40, 0, 123000, tzinfo=UTC).timestamp() * 1_000_000)
    assert observed_us("2026-11-21T18:40:00.123+08:00") == expected
    for wrong, reason in (
        ("2026-11-21T18:40:00", Rejection.BAD_TIME),
        ("yesterday", Rejection.BAD_TIME),
        (10**30, Rejection.TIME_OUT_OF_RANGE),
    ):
        answer = observed_us(wrong)
        assert isinstance(answer, Rejected)
        assert answer.reason is reason


def test_an_object_must_say_something() -> None:
    assert check(Message(ts=1)) is not None
    assert check(Message(metrics={})) is not None
    assert check(Message(value=1.0, seq=-1)) is not None
    assert check(Message(value=1.0, seq=2**70)) is not None
    assert check(Message(metrics={"a\x00": 1.0})) is not None
    assert check(Message(event="x" * 5000)) is not None
    assert check(Message(metrics={"smoke": 41.0, "battery": None})) is None
    assert check(Message(event="person")) is None


@pytest.mark.parametrize(
    ("said", "other"),
    [(b'"s-1"', False), (b'"s-2"', True), (b"7", True), (b'{"id":"s-1"}', True), (b"null", False)],
)
def test_a_payload_that_names_its_device_names_that_of_its_topic(said: bytes, other: bool) -> None:
    message = decode_one(b'{"value": 1, "device": ' + said + b"}")
    assert isinstance(message, Message)
    found = names_another(message, "s-1")
    assert (found is not None) == other
    if found is not None:
        assert found.reason is Rejection.OTHER_DEVICE
