"""A transmitter's bytes as they come over TCP: whole frames out of any pieces, and the answer each is due."""

from datetime import datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from ingest.decoders.gb26875 import Frame, read_frame
from ingest.sources.framing import Cutter, Piece
from ingest.sources.gb26875 import TestUsers, TransmitterConversation, cut_frames
from simulators import gb26875 as sim
from tests.fuzz.fuzz_gb26875 import framed, one_input

NOW = datetime(2026, 11, 22, 10, 0, 5, tzinfo=ZoneInfo("Asia/Shanghai"))


def frame(serial: int, content: bytes = b"", command: int = 2, source: int = 889) -> bytes:
    return sim.frame(source, 90936, serial, command, content, NOW)


def state(*on: int) -> bytes:
    return sim.unit(2, sim.component_state((1, 1), (40, 1), sim.bits(*on), "@@ ## @@", NOW))


FRAMES = [frame(1, state(1)), frame(2), frame(0x4040, state(0, 1)), frame(0x2323, state(0))]


def fed(stream: bytes, cuts: list[int]) -> list[Piece]:
    """What the stream is cut into when it comes in pieces of these sizes."""
    cutter, pieces, at = Cutter(cut_frames), [], 0
    for size in [*cuts, len(stream)]:
        pieces += cutter.feed(stream[at : at + size])
        at += size
    pieces += cutter.rest()
    assert cutter.waiting == 0
    return pieces


@given(
    st.lists(st.integers(1, 80), max_size=30),
    st.lists(st.sampled_from([b"", b"\0", b"@", b"@@", b"AT+REG=8613", b"##", FRAMES[0][:40]]), min_size=5, max_size=5),
)  # fmt: skip
def test_a_stream_in_any_pieces_gives_every_frame_and_loses_no_byte(
    cuts: list[int], between: list[bytes]
) -> None:
    stream = b"".join(noise + one for noise, one in zip(between, [*FRAMES, b""], strict=True) if noise or one)
    pieces = fed(stream, cuts)
    assert b"".join(piece.data for piece in pieces) == stream
    assert [piece.data for piece in pieces if piece.whole] == FRAMES


def test_a_frame_behind_one_that_was_broken_off_is_found_at_once() -> None:
    cutter = Cutter(cut_frames)
    assert cutter.feed(FRAMES[0][:35]) == []
    assert cutter.feed(FRAMES[2]) == [Piece(FRAMES[0][:35], False), Piece(FRAMES[2], True)]


def test_what_is_held_is_bounded() -> None:
    cutter = Cutter(cut_frames)
    for _ in range(200):
        cutter.feed(b"@" * 997)
        assert cutter.waiting <= 1054
    assert cutter.feed(bytes(100_000))[-1].whole is False
    assert cutter.waiting == 0


@given(st.lists(st.binary(max_size=200) | st.sampled_from(FRAMES), max_size=8))
def test_no_stream_is_too_odd(parts: list[bytes]) -> None:
    stream = b"".join(parts)
    assert b"".join(piece.data for piece in fed(stream, [1, 2, 3])) == stream


@given(st.binary(max_size=1100) | st.sampled_from([*FRAMES, b"".join(FRAMES), framed(2, state(1))]))
def test_the_fuzzers_promises_hold_for_hypothesis_too(data: bytes) -> None:
    one_input(data)


def conversation() -> TransmitterConversation:
    return TransmitterConversation(TestUsers(), lambda: NOW)


def test_data_are_confirmed_and_heartbeats_too() -> None:
    for one in (FRAMES[0], FRAMES[1]):
        (heard,) = conversation().hear(one)
        assert (heard.topic, heard.payload, heard.garbage) == ("gb26875/889", one, False)
        assert heard.answer is not None
        confirmed = read_frame(heard.answer())
        asked = read_frame(one)
        assert isinstance(asked, Frame)
        assert confirmed == Frame(
            serial=asked.serial, version=(1, 1), sent=sim.time_tag(NOW), source=90936, destination=889,
            command=3, unit=b"",
        )  # fmt: skip


def test_a_wrong_sum_and_an_unknown_command_are_denied() -> None:
    broken = FRAMES[0][:-3] + bytes([FRAMES[0][-3] ^ 1]) + FRAMES[0][-2:]
    (heard,) = conversation().hear(broken)
    assert (heard.topic, heard.payload, heard.garbage) == ("gb26875/-", broken, True)
    assert heard.answer is not None
    denied = read_frame(heard.answer())
    assert isinstance(denied, Frame)
    assert (denied.command, denied.serial, denied.destination) == (6, 1, 889)
    (heard,) = conversation().hear(frame(9, b"", command=99))
    assert heard.answer is not None
    denied = read_frame(heard.answer())
    assert isinstance(denied, Frame)
    assert (denied.command, denied.serial) == (6, 9)


def test_answers_of_a_transmitter_are_not_answered() -> None:
    for command in (1, 3, 4, 5, 6):
        (heard,) = conversation().hear(frame(5, b"", command=command))
        assert heard.answer is None


def test_who_uses_bit_0_is_learnt_once_and_for_all_connections() -> None:
    users = TestUsers()
    first, second = (TransmitterConversation(users, lambda: NOW) for _ in range(2))
    assert first.hear(frame(1, state(1)))[0].topic == "gb26875/889"
    assert first.hear(frame(2, state(0, 2)))[0].topic == "gb26875/889/tests"
    assert second.hear(frame(3, state(1)))[0].topic == "gb26875/889/tests"
    assert second.hear(frame(4, state(1), source=890))[0].topic == "gb26875/890"
