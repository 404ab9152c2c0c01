"""HJ 212: every published example, values with marks and periods, what must be refused, and the stream."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.observations import Rejection
from ingest.decoders.hj212 import DECODER, Message, checksum, read_message
from ingest.decoders.said import Arrival, Link, Rejected, Report, Said
from ingest.sources.framing import Cutter
from ingest.sources.hj212 import StationConversation, cut_lines

ZONE = ZoneInfo("Asia/Shanghai")
ARRIVAL = Arrival(1_795_312_800_000_000, ZONE)


def line(data: str) -> bytes:
    """A message as the standard words it, with a sum of this test's own making."""
    body = data.encode("gb18030")
    found = 0xFFFF
    for byte in body:
        found = (found >> 8) ^ byte
        for _ in range(8):
            low, found = found & 1, found >> 1
            found ^= 0xA001 * low
    return b"##" + f"{len(body):04d}".encode() + body + f"{found:04X}\r\n".encode()


def decode(payload: bytes) -> list[Said]:
    said = DECODER.decode("hj212/x", payload, ARRIVAL)
    return [said] if isinstance(said, Rejected) else list(said)


def values_of(content: str, command: str = "2011") -> list[Said]:
    """What a station M1 says beside that it is there."""
    said = decode(line(f"QN=20261122100000123;ST=32;CN={command};PW=123456;MN=M1;Flag=5;CP=&&{content}&&"))
    assert said[0] == Link(device="M1", online=True)
    return said[1:]


def instant(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=ZONE).timestamp()) * 1_000_000  # type: ignore[misc,arg-type]  # six whole numbers


@pytest.fixture(scope="module")
def cases(shared_data: Path) -> dict[str, dict[str, Any]]:
    """Every published line by its id."""
    found = json.loads((shared_data / "vectors" / "hj212" / "vectors.json").read_text("utf-8"))["frames"]
    recorded = (shared_data / "data" / "frames" / "frames.jsonl").read_text("utf-8").splitlines()
    found += [one for one in map(json.loads, recorded) if one["protocol"] == "HJ212"]
    return {one["id"]: one for one in found}


def test_every_published_line_has_the_length_and_sum_it_says(cases: dict[str, dict[str, Any]]) -> None:
    assert len(cases) >= 3
    for case in cases.values():
        payload, expected = case["text"].encode("gb18030"), case["expect"]
        message = read_message(payload)
        assert isinstance(message, Message), case["id"]
        length = expected.get("length", expected.get("length_field"))
        data = payload.rstrip(b"\r\n")[6:-4]
        assert len(data) == length
        assert f"{checksum(data):04X}" == expected["crc"]
        for field in ("QN", "ST", "CN", "MN"):
            if field in expected:
                assert message.head[field] == expected[field]
        if "Flag" in expected:
            assert (int(message.head["Flag"]), message.wants_answer) == (expected["Flag"], True)
        if "CP" in expected:
            assert list(message.groups) == [expected["CP"]]


def test_the_published_lines_become_what_they_say(cases: dict[str, dict[str, Any]]) -> None:
    assert decode(cases["standard_example"]["text"].encode()) == []  # the centre sets an interval
    assert decode(cases["HJ212-02"]["text"].encode()) == []  # the centre sets a calibration
    assert decode(cases["HJ212-01"]["text"].encode()) == [
        Link(device="LD130133000015", online=True),
        Report(
            device="LD130133000015",
            values={"B01": 36.91, "011": 231.0, "060": 1.803, "flagged": 0.0},
            at_us=instant(2016, 8, 24, 0, 38, 17),
            model="ST 32",
        ),
    ]


@pytest.mark.parametrize(
    ("command", "content", "values"),
    [
        ("2011", "w01018-Rtd=12.5,w01018-Flag=N;w00000-Rtd=3", {"w01018": 12.5, "w00000": 3.0}),
        (
            "2051",
            "a34004-Min=3,a34004-Avg=4.5,a34004-Max=9,a34004-Flag=N",
            {"a34004-minute-min": 3.0, "a34004-minute": 4.5, "a34004-minute-max": 9.0},
        ),
        (
            "2061",
            "w00000-Cou=102.4,w00000-Avg=3.1,w00000-Flag=N",
            {"w00000-hour-total": 102.4, "w00000-hour": 3.1},
        ),
        ("2031", "LA-Avg=55.1,LA-Flag=N", {"LA-day": 55.1}),
        ("2011", "a21026-Rtd=0.05,a21026-ZsRtd=0.07,a21026-Flag=N,a21026-EFlag=A01", {"a21026": 0.05}),
        ("2011", "a01001-Rtd=-12.5,a01001-Flag=N", {"a01001": -12.5}),
    ],
)
def test_values_are_keyed_by_pollutant_and_period(
    command: str, content: str, values: dict[str, float]
) -> None:
    (found,) = values_of(f"DataTime=20261122095900;{content}", command)
    assert isinstance(found, Report)
    assert found.values == values | {"flagged": 0.0}
    assert found.at_us == instant(2026, 11, 22, 9, 59, 0)


@pytest.mark.parametrize("flag", ["D", "B", "F", "M", "S", "C", "T", "P"])
def test_what_its_own_mark_speaks_against_is_left_out_and_counted(flag: str) -> None:
    (found,) = values_of(
        f"DataTime=20261122095900;w01001-Rtd=7.2,w01001-Flag={flag};w01018-Rtd=9,w01018-Flag=N"
    )
    assert isinstance(found, Report)
    assert found.values == {"w01018": 9.0, "flagged": 1.0}


def test_a_station_of_which_everything_is_marked_still_says_so() -> None:
    (found,) = values_of("DataTime=20261122095900;w01001-Rtd=7.2,w01001-Flag=D")
    assert isinstance(found, Report)
    assert found.values == {"flagged": 1.0}


def test_times_of_every_kind() -> None:
    (exact,) = values_of("DataTime=20261122095900250;w01001-Rtd=7")
    (sent,) = values_of("w01001-Rtd=7")
    assert isinstance(exact, Report)
    assert isinstance(sent, Report)
    assert exact.at_us == instant(2026, 11, 22, 9, 59, 0) + 250_000
    assert sent.at_us == instant(2026, 11, 22, 10, 0, 0) + 123_000  # QN stands in
    first, second = values_of(
        "DataTime=20261122095800;w01001-Rtd=7;DataTime=20261122095900;w01001-Rtd=8", "2051"
    )
    assert isinstance(first, Report)
    assert isinstance(second, Report)
    assert (first.values["w01001-minute"], first.at_us) == (7.0, instant(2026, 11, 22, 9, 58, 0))
    assert (second.values["w01001-minute"], second.at_us) == (8.0, instant(2026, 11, 22, 9, 59, 0))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("DataTime=20261322095900;w01001-Rtd=7", Rejection.BAD_TIME),
        ("DataTime=soon;w01001-Rtd=7", Rejection.BAD_TIME),
        ("DataTime=20261122095900;w01001-Rtd=many", Rejection.WRONG_SHAPE),
        ("DataTime=20261122095900;w01001-Rtd=1_0", Rejection.NOT_FINITE),
        ("DataTime=20261122095900;w01001-Rtd=NaN", Rejection.NOT_FINITE),
        ("DataTime=20261122095900;w01001-Rtd=1e999", Rejection.NOT_FINITE),
    ],
)
def test_a_faulty_value_or_time_is_said(text: str, reason: Rejection) -> None:
    (said,) = values_of(text)
    assert isinstance(said, Rejected)
    assert said.reason is reason


def test_one_faulty_value_takes_no_other_with_it() -> None:
    said = values_of("DataTime=20261122095900;w01001-Rtd=x;w01018-Rtd=9")
    assert [type(one) for one in said] == [Rejected, Report]


GOOD = line("ST=32;CN=2011;PW=1;MN=M1;Flag=5;CP=&&DataTime=20261122095900;w01001-Rtd=7&&")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", Rejection.BAD_FRAME),
        (b"#" + GOOD[2:], Rejection.BAD_FRAME),
        (b"##00x1" + GOOD[6:], Rejection.BAD_LENGTH),
        (b"##12", Rejection.BAD_LENGTH),
        (b"##0000", Rejection.BAD_LENGTH),
        (GOOD[:40], Rejection.BAD_LENGTH),
        (GOOD.replace(b"Rtd=7", b"Rtd=77"), Rejection.BAD_LENGTH),
        (GOOD.replace(b"Rtd=7", b"Rtd=8"), Rejection.BAD_CHECKSUM),
        (GOOD[:-6] + b"+0x1\r\n", Rejection.BAD_CHECKSUM),
        (line("ST=32;CN=2011;PW=1;CP=&&w01001-Rtd=7&&"), Rejection.WRONG_SHAPE),
        (line("ST=32;CN=7777;PW=1;MN=M1;CP=&&&&"), Rejection.UNSUPPORTED),
        (line("ST=32;PW=1;MN=M1;CP=&&&&"), Rejection.UNSUPPORTED),
    ],
)
def test_what_is_no_message_is_refused_under_its_reason(payload: bytes, reason: Rejection) -> None:
    (said,) = decode(payload)
    assert isinstance(said, Rejected)
    assert said.reason is reason
    assert len(said.detail) < 200


def test_a_sum_in_small_letters_is_the_same_sum() -> None:
    assert decode(GOOD[:-6] + GOOD[-6:].lower()) == decode(GOOD)


@given(
    st.dictionaries(
        st.from_regex(r"[aw][0-9]{5}", fullmatch=True),
        st.floats(-1e6, 1e6).map(lambda one: round(one, 4)),
        min_size=1,
        max_size=20,
    )
)
def test_what_is_written_is_what_is_read(values: dict[str, float]) -> None:
    content = ";".join(f"{code}-Rtd={value},{code}-Flag=N" for code, value in values.items())
    (found,) = values_of(f"DataTime=20261122095900;{content}")
    assert isinstance(found, Report)
    assert found.values == values | {"flagged": 0.0}


@given(st.binary(max_size=400))
def test_no_bytes_are_too_odd(noise: bytes) -> None:
    decode(noise)
    decode(line(noise.decode("latin-1").encode("ascii", "replace").decode()))


# ── the stream ────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.integers(1, 60), max_size=30), st.sampled_from([b"", b"noise", b"\r\n\r\n", b"##"]))
def test_a_stream_in_any_pieces_gives_the_same_messages(cuts: list[int], between: bytes) -> None:
    stream = GOOD + between + GOOD[:-2] + GOOD + GOOD.replace(b"Rtd=7", b"Rtd=8")
    cutter, pieces, at = Cutter(cut_lines), [], 0
    for size in [*cuts, len(stream)]:
        pieces += cutter.feed(stream[at : at + size])
        at += size
    pieces += cutter.rest()
    whole = [piece.data.strip() for piece in pieces if piece.whole and read_message(piece.data)]
    assert whole.count(GOOD.strip()) == 3
    assert cutter.waiting == 0
    said = b"".join(piece.data for piece in pieces)
    assert said.translate(None, b"\r\n") == stream.translate(None, b"\r\n")


def test_data_are_answered_with_9014_and_the_centres_own_commands_with_nothing() -> None:
    talk = StationConversation()
    data = line("QN=20261122100000123;ST=32;CN=2011;PW=123456;MN=M1;Flag=5;CP=&&w01001-Rtd=7&&")
    (heard,) = talk.hear(data)
    assert heard.topic == "hj212/M1"
    assert heard.answer is not None
    assert heard.answer() == line("QN=20261122100000123;ST=91;CN=9014;PW=123456;MN=M1;Flag=4;CP=&&&&")
    for silent in (
        "QN=1;ST=32;CN=2011;PW=1;MN=M1;Flag=4;CP=&&w01001-Rtd=7&&",
        "QN=1;ST=32;CN=1062;PW=1;MN=M1;Flag=5;CP=&&RtdInterval=30&&",
        "QN=1;ST=91;CN=9014;PW=1;MN=M1;Flag=5;CP=&&&&",
    ):
        (heard,) = talk.hear(line(silent))
        assert (heard.answer, heard.garbage) == (None, False)


def test_a_broken_line_is_garbage_and_unanswered() -> None:
    (heard,) = StationConversation().hear(GOOD.replace(b"Rtd=7", b"Rtd=8"))
    assert (heard.topic, heard.answer, heard.garbage) == ("hj212/-", None, True)


def test_a_station_that_never_ends_its_line_is_not_held_for_ever() -> None:
    cutter = Cutter(cut_lines)
    assert sum(len(piece.data) for piece in cutter.feed(b"##" * 20_000)) >= 20_000
    assert cutter.waiting <= 10_009
