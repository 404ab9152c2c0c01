"""What the SL 651 listener makes of a stream, and what it answers: pure, no sockets."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.settings import Settings
from ingest.decoders.sl651_frames import LONGEST
from ingest.inbox import Inbox
from ingest.listeners import listeners
from ingest.sources.peers import Heard
from ingest.sources.sl651 import HELD_GARBAGE, MOST_BROKEN, StationFramer, StationTalk
from simulators import hydrology as other

NOW = datetime(2026, 11, 22, 18, 0, tzinfo=ZoneInfo("Asia/Shanghai"))
ADDRESS = other.Address(station="0012345678")


def report(serial: int = 7, *, function: int = other.TIMER, end: int = other.ETX) -> bytes:
    text = other.opening(serial, NOW, ADDRESS.station, other.RIVER) + other.observed(NOW)
    return other.frame(ADDRESS, function, text + other.element(0x39, 1.0, 4, 3), end=end)


TEXT = other.text_frame(ADDRESS, other.TIMER, "0007261122180000ST 0012345678 H TT 2611221800 Z 6.38 ")
BROKEN = report()[:-1] + bytes((report()[-1] ^ 1,))


def whole(framer: StationFramer, *parts: bytes) -> list[bytes]:
    return [piece.data for part in parts for piece in framer.feed(part) if piece.whole]


@given(
    parts=st.lists(
        st.sampled_from([report(), report(8), TEXT, BROKEN, report()[:30]])
        | st.binary(max_size=60).filter(lambda noise: not set(noise) & {0x7E, 0x01}),
        max_size=8,
    ),
    cuts=st.lists(st.integers(1, 40), min_size=1),
)
def test_however_a_stream_is_cut_nothing_is_lost_and_every_frame_is_found(
    parts: list[bytes], cuts: list[int]
) -> None:
    stream, framer, pieces, at, turn = b"".join(parts), StationFramer(), [], 0, 0
    while at < len(stream):
        step = cuts[turn % len(cuts)]
        pieces += framer.feed(stream[at : at + step])
        at, turn = at + step, turn + 1
        assert framer.waiting <= max(LONGEST, HELD_GARBAGE)
    pieces += framer.rest()
    assert framer.waiting == 0
    assert b"".join(piece.data for piece in pieces) == stream
    good = [part for part in parts if part in (report(), report(8), TEXT)]
    assert [piece.data for piece in pieces if piece.whole] == good


@given(
    data=st.lists(
        st.binary(max_size=60) | st.sampled_from([b"\x7e\x7e", b"\x01", report()[:20]]), max_size=12
    )
)
def test_nonsense_loses_no_byte_either(data: list[bytes]) -> None:
    framer = StationFramer()
    pieces = [piece for part in data for piece in framer.feed(part)] + framer.rest()
    assert b"".join(piece.data for piece in pieces) == b"".join(data)


def test_a_lost_byte_costs_one_frame() -> None:
    framer = StationFramer()
    cut = report(1)[:40] + report(1)[41:]
    assert whole(framer, cut, report(2), report(3)) == [report(2), report(3)]


def test_a_false_length_hides_nothing_for_ever() -> None:
    framer = StationFramer()
    long = bytearray(report())
    long[11] |= 0x0F  # now 4 KiB are announced
    assert whole(framer, bytes(long), report(2)) == []
    assert [piece.data for piece in framer.rest() if piece.whole] == [report(2)]


def test_headers_within_headers_do_not_cost_a_checksum_each() -> None:
    hostile = (b"\x7e\x7e" + bytes(9) + b"\x0f\xff\x02") * 20_000
    pieces = StationFramer().feed(hostile)
    assert len(pieces) <= MOST_BROKEN + 2


def hear(talk: StationTalk, data: bytes) -> list[Heard]:
    return [*talk.hear(data), *talk.rest()]


@pytest.mark.parametrize(
    "function", [other.TEST, other.UNIFORM, other.TIMER, other.ADDED, other.HOURLY, other.MANUAL]
)
def test_reports_are_confirmed_with_their_serial_number(function: int) -> None:
    sent = report(513, function=function)
    (heard,) = hear(StationTalk(frozenset(), stay_online=True), sent)
    assert (heard.topic, heard.payload) == ("sl651/0012345678", sent)
    assert heard.answer is not None
    assert other.confirms(heard.answer(), sent)
    assert heard.answer()[-3] == other.ESC
    (heard,) = hear(StationTalk(frozenset(), stay_online=False), sent)
    assert heard.answer is not None
    assert heard.answer()[-3] == other.EOT


@pytest.mark.parametrize("function", [other.LINK, 0x37, 0x38, 0x39, 0x41, 0x43, 0x45, 0x46, 0x51])
def test_link_reports_and_answers_are_not_confirmed(function: int) -> None:
    (heard,) = hear(StationTalk(frozenset(), stay_online=True), report(function=function))
    assert heard.answer is None


def test_one_that_has_more_to_send_is_told_to_go_on() -> None:
    (heard,) = hear(StationTalk(frozenset(), stay_online=True), report(end=other.ETB))
    assert heard.answer is not None
    assert heard.answer()[-3] == 0x06


def test_a_wrong_password_has_a_topic_of_its_own_and_no_answer() -> None:
    talk = StationTalk(frozenset({"03E8"}), stay_online=True)
    (heard,) = hear(talk, report())
    assert (heard.topic, heard.answer, heard.garbage) == ("sl651/0012345678/wrong-password", None, True)


def test_packets_that_stop_are_passed_on_without_an_answer() -> None:
    text = (
        other.opening(7, NOW, ADDRESS.station, other.RIVER)
        + other.observed(NOW)
        + other.element(0x39, 1.0, 4, 3)
    )
    sent = other.packets(ADDRESS, other.HOURLY, text, 12)
    talk = StationTalk(frozenset(), stay_online=True)
    assert talk.hear(b"".join(sent[:2])) == []
    first, second = talk.hear(report())
    assert (first.payload, first.answer) == (b"".join(sent[:2]), None)
    assert second.answer is not None
    (joined,) = talk.hear(b"".join(sent))
    assert joined.payload == b"".join(sent)
    assert joined.answer is not None
    assert other.confirms(joined.answer(), report(function=other.HOURLY))
    (alone,) = talk.hear(sent[1])
    assert alone.answer is None


def test_a_picture_is_confirmed_with_its_last_packet() -> None:
    text = other.opening(9, NOW, ADDRESS.station, other.RIVER) + other.observed(NOW) + b"\xf3\xf3" + bytes(90)
    sent = other.packets(ADDRESS, other.PICTURE, text, 40)
    talk = StationTalk(frozenset(), stay_online=True)
    heard = [one for packet in sent for one in talk.hear(packet)]
    assert [one.answer is None for one in heard] == [True] * (len(sent) - 1) + [False]
    assert heard[-1].answer is not None
    assert heard[-1].answer()[14:16] == b"\x00\x09"


def test_a_port_makes_a_listener_and_none_makes_none() -> None:
    inbox = Inbox(limit=10, batch=10)
    assert listeners(Settings(_env_file=None), inbox, first=1) == []
    asked = Settings(_env_file=None, sl651_port=5651, sl651_password="1234,abCD")
    (made,) = listeners(asked, inbox, first=1)
    assert made.connected is False
    assert "sl651_connections" in made.figures()


def test_a_password_that_is_none_is_said_and_not_shown() -> None:
    with pytest.raises(ValueError, match="4 hexadecimal digits"):
        Settings(_env_file=None, sl651_password="secret")
