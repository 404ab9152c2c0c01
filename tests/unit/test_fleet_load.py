"""The source of `city simulate fleet`: real bytes of the wire, every device once a round, nothing remembered."""

from itertools import pairwise

from bench import frames
from city.partitions import partition_for
from ingest.decoders.native import Message, decode_one, read_topic
from ingest.decoders.said import Rejected
from runtime import fleet_load
from runtime.fleet_load import Load, Log

END_US = 1_763_750_400_000_000
LOAD = Load(devices=1_000, rounds=3, interval_s=300, end_us=END_US, batch=300)


def test_a_round_is_every_device_once_in_the_wires_own_form() -> None:
    topics, times = [], []
    for delivery in LOAD.deliveries(1):
        assert len(delivery) <= 250  # a quarter of the fleet, though 300 are allowed
        for topic, payload in zip(delivery.topics, delivery.payloads, strict=True):
            message, read = decode_one(payload), read_topic(topic)
            assert isinstance(message, Message)
            assert not isinstance(read, Rejected)
            number = int(read.device.removeprefix("f"))
            assert (read.cell, read.kind) == (fleet_load.cell(number), fleet_load.kind(number))
            assert isinstance(message.ts, int)
            assert 0 <= delivery.received_us - message.ts * 1000 < 300_000_000  # on time, not ahead
            topics.append(topic)
            times.append(message.ts)
    assert len(set(topics)) == LOAD.devices
    assert times == sorted(times)
    assert (times[0], times[-1]) == (END_US // 1000 - 600_000, END_US // 1000 - 300_300)


def test_neighbours_in_number_do_not_report_together() -> None:
    first = next(iter(LOAD.deliveries(0)))
    numbers = [int(topic.rsplit(b"f", 1)[1]) for topic in first.topics]
    assert min(abs(one - other) for one, other in pairwise(numbers)) > 100


def test_one_reading_in_a_thousand_is_beyond_and_the_next_of_its_device_is_calm() -> None:
    load = Load(devices=2_018, rounds=3, interval_s=300, end_us=END_US, beyond_every=1_009)
    loud = [
        {
            topic
            for delivery in load.deliveries(turn)
            for topic, payload in zip(delivery.topics, delivery.payloads, strict=True)
            if b'"value":90.0' in payload
        }
        for turn in range(3)
    ]
    assert [len(one) for one in loud] == [2, 2, 2]
    assert not loud[0] & loud[1]
    assert not loud[1] & loud[2]


def test_a_log_hands_over_every_reading_once_in_its_cells_partition_and_offsets_go_on() -> None:
    load, log = Load(devices=2_500, rounds=2, interval_s=300, end_us=END_US), Log(3)
    ends = {0: 0, 1: 0, 2: 0}
    handed: list[tuple[bytes, bytes]] = []
    for turn in range(2):
        for delivery in load.deliveries(turn):
            chunks = log.chunks(delivery)
            assert len({chunk.partition for chunk in chunks}) == len(chunks)
            for chunk in chunks:
                assert (chunk.offset, chunk.generation) == (ends[chunk.partition], Log.generation)
                ends[chunk.partition] += len(chunk)
                cells = {topic.split(b"/")[1].decode() for topic in chunk.topics}
                assert {partition_for(cell, range(3)) for cell in cells} == {chunk.partition}
                handed += zip(chunk.topics, chunk.payloads, strict=True)
    assert min(ends.values()) > 0
    assert len(handed) == len(set(handed)) == sum(ends.values()) == 5_000


def test_what_is_not_divided_is_handed_over_as_it_came() -> None:
    delivery = next(LOAD.deliveries(0))
    assert Log(0).chunks(delivery) == [delivery]


def test_a_reading_weighs_on_the_wire_what_its_packet_weighs() -> None:
    sizes = []
    for number in range(len(fleet_load.MIX)):
        topic = f"city/{fleet_load.cell(number)}/{fleet_load.kind(number)}/{fleet_load.code(number)}"
        body = frames._text(topic) + b"\x00\x01" + b'{"ts":1763750400000,"value":12.0,"seq":10000000}'
        sizes.append(len(b"\x32" + frames._remaining(len(body)) + body))
    assert abs(fleet_load.wire_bytes() - sum(sizes) / len(sizes)) <= 0.5
