"""A record of a RabbitMQ stream: what its MQTT listener writes, whatever AMQP 1.0 allows, and what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.partitions import UNROUTED, partition_for, partition_of, stream_of
from ingest.sources.stream_message import NotUnderstoodError, read

# As RabbitMQ 4.3.6 wrote them for a publish at QoS 1.
RECORDED = (
    b"\x00Sp\xc0\x06\x05A@@AC\x00Sr\xc17\x04\xa3\rx-routing-key\xa1\x10city.c1.smoke.s1\xa3\nx-exchange\xa1\x07city.in"
    b'\x00Su\xa0\x19{"v": "city/c1/smoke/s1"}'
)
CHINESE = (
    b"\x00Sp\xc0\x06\x05A@@AC\x00Sr\xc1:\x04\xa3\rx-routing-key\xa1\x13zigbee2mqtt.a b.\xe6\xb0\x94\xa3\nx-exchange"
    b"\xa1\x07city.in\x00Su\xa0\x02{}"
)


def sized(short: int, content: bytes) -> bytes:
    """A value of variable size, in the form with one byte where it fits (AMQP 1.0, 1.6.19 to 1.6.22)."""
    if len(content) < 256:
        return bytes([short, len(content)]) + content
    return bytes([short | 0x10]) + len(content).to_bytes(4, "big") + content


def message(topic: str, payload: bytes, before: bytes = b"", *, wide: bool = False) -> bytes:
    pairs = before + sized(0xA3, b"x-routing-key") + sized(0xA1, topic.replace("/", ".").encode())
    count = 4
    if wide or len(pairs) > 250:
        body = count.to_bytes(4, "big") + pairs
        annotations = b"\xd1" + len(body).to_bytes(4, "big") + body
    else:
        body = bytes([count]) + pairs
        annotations = b"\xc1" + bytes([len(body)]) + body
    return b"\x00Sp\x45\x00Sr" + annotations + b"\x00Su" + sized(0xA0, payload)


def test_what_rabbitmq_wrote() -> None:
    assert read(RECORDED) == (b"city/c1/smoke/s1", b'{"v": "city/c1/smoke/s1"}')
    assert read(CHINESE) == ("zigbee2mqtt/a b/气".encode(), b"{}")


@given(
    topic=st.text(
        st.characters(exclude_characters="./", exclude_categories=("Cs",)), min_size=1, max_size=400
    ),
    payload=st.binary(max_size=700),
    before=st.sampled_from(
        [
            b"",
            b"\xa3\x01a\x56\x01",
            b"\xa3\x01a\x44",
            b"\xa3\x01a\x83" + bytes(8),
            b"\xa3\x02ab\xb1\x00\x00\x00\x01z",
        ]
    ),
    wide=st.booleans(),
)
def test_any_size_of_topic_and_payload_and_any_other_annotation(
    topic: str, payload: bytes, before: bytes, wide: bool
) -> None:
    assert read(message(f"city/{topic}", payload, before, wide=wide)) == (f"city/{topic}".encode(), payload)


@given(st.data())
def test_cut_or_strange_bytes_are_refused_and_never_misread(data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(RECORDED) - 1))
    with pytest.raises(NotUnderstoodError):
        read(RECORDED[:cut])
    noise = data.draw(st.binary(max_size=60))
    try:
        read(noise)
    except NotUnderstoodError:
        return
    assert noise.startswith(b"\x00S")


def test_a_community_keeps_its_cells_together_and_no_partition_is_left_out() -> None:
    areas = [f"4403{number:05}" for number in range(2_000)]
    found = [partition_for(area, range(32)) for area in areas]
    assert found == [partition_for(area, range(32)) for area in areas]
    assert set(found) == set(range(32))
    assert max(map(found.count, range(32))) < 2 * 2_000 / 32


@given(st.integers(0, 200) | st.just(UNROUTED))
def test_a_stream_s_name_says_its_partition(partition: int) -> None:
    assert partition_of(stream_of(partition)) == partition
