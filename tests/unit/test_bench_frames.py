"""The load is what it claims to be: frames of equal length that say what they should."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.frames import SEQ_BASE, Fleet, Template, connect, subscribe
from bench.load import Load

FLEET = Fleet(devices=20, cells=4, water=5)
TS = 1_763_750_400_123


def _numbers(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def _parsed(frame: bytes) -> tuple[str, int, object]:
    """(topic, packet id, decoded payload) of a PUBLISH at QoS 1."""
    assert frame[0] == 0x32
    length, shift, at = 0, 0, 1
    while True:
        length |= (frame[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if frame[at - 1] < 128:
            break
    assert len(frame) == at + length
    topic_length = int.from_bytes(frame[at : at + 2], "big")
    topic = frame[at + 2 : at + 2 + topic_length].decode()
    rest = frame[at + 2 + topic_length :]
    return topic, int.from_bytes(rest[:2], "big"), json.loads(rest[2:])


def test_a_single_reading_says_time_value_and_sequence() -> None:
    frames = Template(FLEET).fill(
        _numbers(0, 19), _numbers(1, 65_535), TS, _numbers(900, 107), _numbers(0, 12_345)
    )
    assert _parsed(frames[0].tobytes()) == (
        "city/n00000/smoke/b000000",
        1,
        {"ts": TS, "value": 90.0, "seq": SEQ_BASE},
    )
    assert _parsed(frames[1].tobytes()) == (
        "city/n00003/water/b000019",
        65_535,
        {"ts": TS, "value": 10.7, "seq": SEQ_BASE + 12_345},
    )


def test_a_pack_holds_its_readings_a_millisecond_apart() -> None:
    (frame,) = Template(FLEET, pack=100).fill(_numbers(4), _numbers(300), TS, _numbers(123), _numbers(0))
    _, packet_id, readings = _parsed(frame.tobytes())
    assert packet_id == 300
    assert readings == [{"ts": TS - 99 + i, "value": 12.3} for i in range(100)]


def test_filling_leaves_the_template_as_it_was() -> None:
    template = Template(FLEET)
    before = template.frames.copy()
    template.fill(_numbers(1), _numbers(9), TS, _numbers(500), _numbers(3))
    assert np.array_equal(template.frames, before)


@pytest.mark.parametrize("clean", [True, False])
def test_connect_and_subscribe_are_whole_packets(clean: bool) -> None:
    packet = connect("me", clean=clean)
    assert packet[0] == 0x10
    assert packet[1] == len(packet) - 2
    assert packet[9] == (2 if clean else 0)
    assert subscribe("city/#", 1) == b"\x82\x0b\x00\x01\x00\x06city/#\x01"


def test_the_last_devices_stand_for_the_whole_load() -> None:
    even = Load(fleet=FLEET, total=60)
    assert even.last_of_connections() == {"b000019": 3, "b000009": 3}
    cut = Load(fleet=FLEET, total=45, pack=100)
    assert cut.readings == 4500
    assert cut.last_of_connections() == {"b000004": 300, "b000019": 200}
    short = Load(fleet=FLEET, total=3)
    assert short.last_of_connections() == {"b000002": 1}
