"""The answer about where a stream ends, as RabbitMQ 4.3.6 gives it, and what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.sources.stream_line import COMMITTED, stats_of


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
