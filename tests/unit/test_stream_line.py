"""Chunks and the answer about where a stream ends, as RabbitMQ 4.3.6 writes them, and what is none."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.sources.stream_line import COMMITTED, chunk_of, stats_of


def answer(said: dict[str, int], code: int = 1, correlation: int = 7) -> bytes:
    pairs = b"".join(
        len(name.encode()).to_bytes(2, "big") + name.encode() + value.to_bytes(8, "big", signed=True)
        for name, value in said.items()
    )
    head = (0x801C).to_bytes(2, "big") + (1).to_bytes(2, "big") + correlation.to_bytes(4, "big")
    return head + code.to_bytes(2, "big") + len(said).to_bytes(4, "big") + pairs


def test_names_and_numbers_come_out_and_an_empty_stream_ends_before_its_first_record() -> None:
    said = {"first_chunk_id": 0, "last_chunk_id": 295, COMMITTED: 299}
    found = stats_of(answer(said))
    assert (found.correlation_id, found.response_code, found.said) == (7, 1, said)
    assert stats_of(answer({COMMITTED: -1})).said[COMMITTED] == -1


@given(st.integers(0, 60))
def test_an_answer_that_is_cut_is_not_believed(size: int) -> None:
    whole = answer({"first_chunk_id": 0, COMMITTED: 299})
    if size < len(whole):
        with pytest.raises(ValueError, match=r"bytes|middle"):
            stats_of(whole[:size])


def chunk(records: list[bytes], *, kind: int = 0, crc: int | None = None) -> bytes:
    data = b"".join(len(record).to_bytes(4, "big") + record for record in records)
    checked = zlib.crc32(data) if crc is None else crc
    head = struct.pack(">HHBbbHIq", 8, 1, 5, 0x50, kind, len(records), len(records), 1_700_000_000_123)
    return head + struct.pack(">QQIIII", 3, 77, checked, len(data), 0, 0) + data


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_a_chunk_is_its_records(records: list[bytes]) -> None:
    found = chunk_of(chunk(records))
    assert (found.subscription_id, found.first_offset, found.timestamp) == (5, 77, 1_700_000_000_123)
    assert found.records == records


@pytest.mark.parametrize(
    "frame",
    [
        chunk([b"one", b"two"])[:-1],
        chunk([b"one"])[:20],
        chunk([b"one"], crc=1),
        chunk([b"one"], kind=1),  # what consumers stored of themselves
        chunk([]).replace(b"\x50\x00\x00\x00", b"\x50\x00\x00\x02"),  # says two records and has none
    ],
)
def test_a_chunk_that_is_cut_changed_or_another_is_not_believed(frame: bytes) -> None:
    with pytest.raises(ValueError, match="chunk"):
        chunk_of(frame)


def test_a_batch_within_a_chunk_is_not_taken_for_a_record() -> None:
    data = b"\x90\x00\x02" + bytes(40)  # RabbitMQ's own clients may write such entries, MQTT does not
    whole = chunk([b""])
    head = struct.pack(">QQIIII", 3, 77, zlib.crc32(data), len(data), 0, 0)
    with pytest.raises(ValueError, match="behind its chunk"):
        chunk_of(whole[:21] + head + data)
