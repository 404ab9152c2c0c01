"""SL 651-2014: every recorded frame value by value, what must be refused, round trips with the simulator's encoder."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.device_profiles import choose, parse_profiles
from city.district_source import Faults
from city.observations import Rejection
from ingest.decoders.said import Arrival, Link, Rejected, Report, Said
from ingest.decoders.sl651 import DECODER
from ingest.decoders.sl651_elements import ELEMENTS
from ingest.decoders.sl651_frames import ESC, checksum, read_frame, write_down
from simulators import hydrology as other
from tests.fuzz.fuzz_sl651 import one_input

ZONE = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 11, 22, 18, 0, tzinfo=ZONE)
ARRIVAL = Arrival(int(NOW.timestamp()) * 1_000_000, ZONE)
ADDRESS = other.Address(station="0012345678")
VECTORS = 8
RECORDED = 5


def decode(data: bytes, topic: str = "sl651/x") -> Sequence[Said]:
    said = DECODER.decode(topic, data, ARRIVAL)
    return [said] if isinstance(said, Rejected) else said


def reports(data: bytes) -> list[Report]:
    said = decode(data)
    assert all(isinstance(one, Report) for one in said), said
    return [one for one in said if isinstance(one, Report)]


def at(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


def reason(data: bytes, topic: str = "sl651/x") -> Rejection:
    (said,) = decode(data, topic)
    assert isinstance(said, Rejected), said
    return said.reason


def text(*parts: bytes, kind: int = other.RIVER, sent: datetime = NOW, serial: int = 7) -> bytes:
    return other.opening(serial, sent, ADDRESS.station, kind) + b"".join(parts)


def report(*parts: bytes, function: int = other.TIMER, sent: datetime = NOW) -> bytes:
    return other.frame(ADDRESS, function, text(*parts, sent=sent))


# ── recorded by others ────────────────────────────────────────────────────────────────────────────────


def test_every_vector_says_what_is_expected(shared_data: Path) -> None:
    cases = json.loads((shared_data / "vectors/sl651/frames.json").read_text("utf-8"))["frames"]
    assert len(cases) == VECTORS
    for case in cases:
        data, expected = bytes.fromhex(case["hex"]), case["expected"]
        found = read_frame(data)
        assert not isinstance(found, Rejected), case["id"]
        frame, end = found
        assert end == len(data)
        assert f"{frame.function:02X}" == expected["function_hex"]
        assert (frame.station, frame.password) == (expected["station"], expected["password_hex"])
        assert frame.down == (expected["direction"] == "downlink")
        if "center" in expected:
            assert frame.centre == int(expected["center"])
        assert int(frame.serial[:2].hex(), 16) == expected["serial"]
        assert f"{checksum(data[:-2]):04X}" == expected["crc_hex"]
        _holds(case["id"], decode(data), expected)


def _holds(name: str, said: Sequence[Said], expected: dict[str, object]) -> None:
    """Every reading of a vector, value by value, at its time; and no others."""
    if expected["function_hex"] == "2F":
        assert said == [Link(device=str(expected["station"]), online=True)], name
        return
    wanted: dict[tuple[int | None, str], float] = {}
    ahead = str(expected["sent_at"]) > "2027"
    for reading in expected["readings"]:  # type: ignore[attr-defined]  # a list in every vector
        if "first_observed_at" in reading:
            first = datetime.fromisoformat(reading["first_observed_at"])
            for place, value in enumerate(reading["values"]):
                if value is not None:
                    moment = first + timedelta(minutes=reading["step_minutes"] * place)
                    wanted[at(moment), reading["ascii"]] = value
        elif "bits_set" in reading:
            wanted[None, "ZT"] = float(sum(1 << bit for bit in reading["bits_set"]))
        else:
            moment_us = None if ahead else at(datetime.fromisoformat(reading["observed_at"]))
            wanted[moment_us, reading["ascii"]] = float(reading["value"])
    assert all(isinstance(one, Report) and one.device == expected["station"] for one in said), (name, said)
    found = {
        (one.at_us, key): value
        for one in said
        if isinstance(one, Report)
        for key, value in one.values.items()
        if not key.startswith(("ZT.", "TT."))
    }
    assert found == wanted, name


def test_the_published_confirmation_is_what_we_would_have_sent(shared_data: Path) -> None:
    cases = json.loads((shared_data / "vectors/sl651/frames.json").read_text("utf-8"))["frames"]
    published = {case["id"]: bytes.fromhex(case["hex"]) for case in cases}["sl651-ack-30"]
    sent = other.frame(
        ADDRESS,
        other.TEST,
        other.opening(3, datetime(2059, 10, 11, 15, 49, 47, tzinfo=ZONE), ADDRESS.station, other.RIVER),
    )
    found = read_frame(sent)
    assert not isinstance(found, Rejected)
    assert write_down(found[0], ESC) == published
    assert other.confirms(published, sent)


def test_recorded_configuration_is_never_a_reading(shared_data: Path) -> None:
    lines = (shared_data / "data/frames/frames.jsonl").read_text("utf-8").splitlines()
    cases = [case for case in map(json.loads, lines) if case["protocol"] == "SL651-2014"]
    assert len(cases) == RECORDED
    for case in cases:
        data, expected = bytes.fromhex(case["hex"]), case["expect"]
        found = read_frame(data)
        assert not isinstance(found, Rejected)
        frame = found[0]
        assert (f"{frame.centre:02X}", frame.station) == (expected["center"], expected["station"])
        assert frame.password.lower() == expected["password"]
        assert f"{frame.function:02X}" == expected["function"]
        assert frame.serial[:2].hex() == expected["serial"]
        said = decode(data)
        if frame.function == 0x44:  # three voltages and three currents of a pump
            (pump,) = reports(data)
            assert pump.values == dict.fromkeys(("VTA", "VTB", "VTC", "VIA", "VIB", "VIC"), 2200.3)
            assert pump.at_us == at(datetime(2017, 7, 18, 10, 5, tzinfo=ZONE))
        else:
            assert said == []


def test_the_table_of_elements_is_the_recorded_one(shared_data: Path) -> None:
    table = json.loads((shared_data / "vectors/sl651/elements_table_c1.json").read_text("utf-8"))["elements"]
    numbers = {
        int(row["guide"], 16): (row["ascii"], row["definition"])
        for row in table
        if row["definition"].startswith("N(")
    }
    assert len(numbers) >= 110
    for guide, (name, definition) in numbers.items():
        digits, _, decimals = definition[2:-1].partition(",")
        assert ELEMENTS[guide] == (name, int(digits), int(decimals or 0))


# ── forms the recordings do not have ──────────────────────────────────────────────────────────────────


def test_a_real_frame_with_missing_values_and_an_element_of_the_makers() -> None:
    """Found in a public repository: FF01 is the maker's own element, flow and voltage are missing."""
    data = bytes.fromhex(
        "7E7E0100102200010000320032021658220628090851F1F100102200014BF0F0220628090839"
        "1A051300FF012AFFFFFFFFFF4520000004003812FFFFFF0208FF03CAE6"
    )
    (said,) = reports(data)
    assert said.device == "0010220001"
    assert said.model == "SL651-K"
    assert said.at_us == at(datetime(2022, 6, 28, 9, 8, tzinfo=ZONE))
    assert {key: value for key, value in said.values.items() if "." not in key} == {"Z": 513.0, "ZT": 1024.0}


def test_values_below_nought_missing_ones_and_unknown_elements() -> None:
    (said,) = reports(
        report(
            other.observed(NOW),
            other.element(0x39, -1.25, 4, 3),
            other.element(0x02, -12.5, 3, 1),
            other.element(0x27, None, 5, 3),
            other.element(0x7A, 31, 1, 0),
            b"\xff\xa0\x11\x03\x07",
        )
    )
    assert said.values == {"Z": -1.25, "AI": -12.5, "7A": 31.0, "FFA0": 30.7}


def test_an_element_that_is_no_bcd_is_refused_and_its_neighbours_are_kept() -> None:
    said = decode(report(other.observed(NOW), b"\x39\x23\x00\x0a\xbc\xde", other.element(0x38, 12.5, 2, 2)))
    assert isinstance(said[0], Report)
    assert said[0].values == {"VT": 12.5}
    assert isinstance(said[1], Rejected)
    assert said[1].reason == Rejection.BAD_FRAME


def test_a_uniform_report_of_one_element() -> None:
    values = b"".join(other.element(0x39, value, 4, 3)[2:] for value in (1.0, 1.1, None, 1.3))
    said = reports(
        report(other.observed(NOW), b"\x04\x18\x00\x00\x05\x39\x23", values, function=other.UNIFORM)
    )
    assert [(one.at_us, one.values) for one in said] == [
        (at(NOW + timedelta(minutes=minutes)), {"Z": value})
        for minutes, value in ((0, 1.0), (5, 1.1), (15, 1.3))
    ]


def test_a_uniform_report_of_two_elements_hour_by_hour() -> None:
    groups = b"".join(
        other.element(0x39, level, 4, 3)[2:] + other.element(0x20, rain, 3, 1)[2:]
        for level, rain in ((1.0, 0.5), (2.0, 0.0), (3.0, 1.5))
    )
    said = reports(
        report(other.observed(NOW), b"\x04\x18\x00\x01\x00\x39\x23\x20\x19", groups, function=other.UNIFORM)
    )
    assert [(one.at_us, one.values) for one in said] == [
        (at(NOW + timedelta(hours=hours)), {"Z": level, "PJ": rain})
        for hours, (level, rain) in enumerate(((1.0, 0.5), (2.0, 0.0), (3.0, 1.5)))
    ]


def test_a_uniform_report_of_hours_of_five_minutes() -> None:
    body = other.series(0xF4, [0.1] * 12) + other.series(0xF4, [0.2] * 12)[2:]
    said = reports(report(other.observed(NOW), b"\x04\x18\x00\x00\x00", body, function=0x38))
    assert len(said) == 24
    assert said[23].at_us == at(NOW + timedelta(minutes=5 * 23))
    assert [one.values["DRP"] for one in said] == [0.1] * 12 + [0.2] * 12


def test_the_ascii_form_says_the_same() -> None:
    said = reports(
        other.text_frame(
            ADDRESS,
            other.TIMER,
            "0007261122180000ST 0012345678 H TT 2611221800 Z 6.380 Q M ZT 00000400 VT -12.50 ",
        )
    )
    (one,) = said
    assert one.device == "0012345678"
    assert one.model == "SL651-H"
    assert one.at_us == at(NOW)
    assert {key: value for key, value in one.values.items() if "." not in key} == {
        "Z": 6.38,
        "VT": -12.5,
        "ZT": 1024.0,
    }


def test_the_ascii_form_has_series_steps_hands_and_pictures() -> None:
    hourly = other.text_frame(
        ADDRESS,
        other.HOURLY,
        "0007261122180000ST 0012345678 48 TT 2611221800 DRP 05FF" + "00" * 10 + " PT 12.5 ",
    )
    assert reports(hourly)[0].values == {"DRP": 0.5, "PT": 12.5}
    assert reports(hourly)[0].model == "SL651-H"
    assert len(reports(hourly)) == 11
    uniform = other.text_frame(
        ADDRESS, other.UNIFORM, "0007261122180000ST 0012345678 H TT 2611221800 DRN05 Z Q 6.30 12.5 6.35 M "
    )
    assert [(one.at_us, one.values) for one in reports(uniform)] == [
        (at(NOW), {"Z": 6.3, "Q": 12.5}),
        (at(NOW + timedelta(minutes=5)), {"Z": 6.35}),
    ]
    assert decode(other.text_frame(ADDRESS, other.MANUAL, "0007261122180000RGZS Z 6.4 by hand ")) == []
    assert decode(other.text_frame(ADDRESS, other.LINK, "0007261122180000")) == [
        Link(device=ADDRESS.station, online=True)
    ]


def test_hands_pictures_and_orders_are_understood_and_not_kept() -> None:
    assert decode(report(b"\xf2\xf2Z 1.234", function=other.MANUAL)) == []
    assert decode(report(other.observed(NOW), b"\xf3\xf3\xff\xd8\xff\xe0", function=other.PICTURE)) == []
    for function in (0x40, 0x41, 0x42, 0x43, 0x45, 0x47, 0x4B, 0x4F, 0x50, 0x51):
        assert decode(report(other.element(0x39, 1.0, 4, 3), function=function)) == []


def test_packets_of_one_report_are_one_text() -> None:
    body = text(other.observed(NOW), *(other.element(guide, 1.0, 4, 3) for guide in range(0x39, 0x44)))
    sent = other.packets(ADDRESS, other.TIMER, body, 20)
    assert len(sent) > 3
    (whole,) = reports(b"".join(sent))
    assert len(whole.values) == 11
    (begun,) = reports(b"".join(sent[:2]))  # what there is of it; the element cut in two is not
    assert 0 < len(begun.values) < 11
    assert reason(sent[1]) == Rejection.BAD_FRAME
    picture = other.packets(ADDRESS, other.PICTURE, text(other.observed(NOW), b"\xf3\xf3" + b"\xd8" * 60), 40)
    assert [decode(one) for one in picture] == [[]] * len(picture)


def test_a_clock_that_cannot_be_right_does_not_lose_the_values() -> None:
    years = NOW.replace(year=2059)
    earlier = years - timedelta(minutes=5)
    (said,) = reports(
        report(
            other.observed(earlier),
            other.element(0x39, 1.0, 4, 3),
            other.observed(years),
            other.element(0x39, 2.0, 4, 3),
            sent=years,
        )
    )
    assert said.at_us is None
    assert said.values == {"Z": 2.0, "TT.ahead": (years - NOW).total_seconds()}
    assert said.seq is not None


def test_without_a_time_the_serial_number_of_the_day_tells_redeliveries_apart() -> None:
    once, again = (reports(report(other.element(0x39, 1.0, 4, 3)))[0] for _ in range(2))
    assert once.at_us is None
    assert once == again
    tomorrow = reports(report(other.element(0x39, 1.0, 4, 3), sent=NOW + timedelta(days=1)))[0]
    assert tomorrow.seq != once.seq
    assert once.seq is not None
    assert 0 <= once.seq < 2**63


def test_a_relay_speaks_for_another_station() -> None:
    body = (
        other.opening(7, NOW, "0099887766", other.RAIN) + other.observed(NOW) + other.element(0x26, 4.0, 3, 1)
    )
    (said,) = reports(other.frame(ADDRESS, other.TIMER, body))
    assert (said.device, said.gateway, said.model) == ("0099887766", "0012345678", "SL651-P")


def test_the_profile_knows_river_and_rain() -> None:
    path = Path(__file__).parents[2] / "city/defaults/profiles/sl651.toml"
    faults = Faults()
    profiles = parse_profiles(
        path.name, path.read_text("utf-8"), {"level": "m", "voltage": "V", "rain": "mm"}, faults
    )
    assert faults.entries == []
    river = choose(profiles, "sl651", "SL651-H", {"Z"})
    rain = choose(profiles, "sl651", "SL651-P", {"DRP"})
    assert river is not None
    assert rain is not None
    assert (river.kind, river.metrics["Z"].metric) == ("water", "level")
    assert (rain.kind, rain.metrics["DRP"].metric) == ("rain", "rain")


# ── what must be refused ──────────────────────────────────────────────────────────────────────────────

GOOD = report(other.observed(NOW), other.element(0x39, 1.0, 4, 3))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", Rejection.BAD_FRAME),
        (b"hello", Rejection.BAD_FRAME),
        (b"\x7e" + GOOD[2:], Rejection.BAD_FRAME),
        (GOOD[:10], Rejection.BAD_LENGTH),
        (GOOD[:-1], Rejection.BAD_LENGTH),
        (GOOD + b"\x00", Rejection.BAD_FRAME),
        (GOOD[:12] + bytes((GOOD[12] + 1,)) + GOOD[13:], Rejection.BAD_LENGTH),
        (GOOD[:12] + bytes((GOOD[12] - 1,)) + GOOD[13:], Rejection.BAD_CHECKSUM),
        (GOOD[:-2] + GOOD[-1:] + GOOD[-2:-1], Rejection.BAD_CHECKSUM),
        (GOOD[:30] + b"\x55" + GOOD[31:], Rejection.BAD_CHECKSUM),
        (other.frame(ADDRESS, other.TIMER, text(), end=0x7F), Rejection.BAD_FRAME),
        (other.frame(ADDRESS, 0x99, text()), Rejection.UNSUPPORTED),
        (other.frame(ADDRESS, other.TIMER, b"\x00\x01"), Rejection.BAD_LENGTH),
        (report(b"\xf0\xf0\x26\x13\x22\x18\x00"), Rejection.BAD_TIME),
        (report(b"\xf0\xf0\x26\x1a\x22\x18\x00"), Rejection.BAD_TIME),
        (report(b"\x39\x23\x00"), Rejection.BAD_LENGTH),
        (report(b"\xfd\xff\x00\x00"), Rejection.UNSUPPORTED),
        (b"\x01" + b"z" * 40, Rejection.BAD_FRAME),
        (other.text_frame(ADDRESS, other.TIMER, "0007261122180000TT 26112218 Z 1 "), Rejection.BAD_TIME),
        (other.text_frame(ADDRESS, other.TIMER, "0007261122180000Z "), Rejection.BAD_LENGTH),
        (other.text_frame(ADDRESS, other.TIMER, "0007261122180000Z 1.0.0 "), Rejection.BAD_FRAME),
        (other.text_frame(ADDRESS, other.TIMER, "0007261122180000DRP 0g "), Rejection.BAD_LENGTH),
        (other.text_frame(ADDRESS, other.TIMER, "0007261122180000DRP " + "0g" * 12), Rejection.BAD_FRAME),
        (other.text_frame(ADDRESS, other.TIMER, "0007261122180000ZT " + "F" * 900), Rejection.BAD_LENGTH),
        (bytes(300_000), Rejection.OVERSIZE),
    ],
)
def test_what_is_refused_says_why(data: bytes, why: Rejection) -> None:
    assert reason(data) == why


def test_the_listener_says_with_the_topic_that_a_password_was_wrong() -> None:
    assert reason(GOOD, "sl651/0012345678/wrong-password") == Rejection.WRONG_PASSWORD


def test_a_flipped_bit_anywhere_is_never_a_reading() -> None:
    for place in range(len(GOOD)):
        for bit in range(8):
            broken = bytearray(GOOD)
            broken[place] ^= 1 << bit
            assert all(isinstance(one, Rejected) for one in decode(bytes(broken))), (place, bit)


# ── round trips and nonsense ──────────────────────────────────────────────────────────────────────────

moments = st.datetimes(min_value=datetime(2001, 1, 1), max_value=datetime(2026, 11, 22)).map(  # noqa: DTZ001 - local
    lambda moment: moment.replace(second=0, microsecond=0, tzinfo=ZONE)
)


@st.composite
def measured(draw: st.DrawFn) -> tuple[bytes, str, float | None]:
    guide = draw(st.sampled_from(sorted(ELEMENTS)))
    name, digits, decimals = ELEMENTS[guide]
    size = (digits + 1) // 2
    value = draw(st.none() | st.integers(0, 10 ** (2 * size) - 1).map(lambda whole: whole / 10**decimals))
    if value is not None and size > 1 and draw(st.booleans()):
        value = -(round(value * 10**decimals) % 10 ** (2 * size - 2)) / 10**decimals
    return other.element(guide, value, size, decimals), name, value


@given(groups=st.dictionaries(moments, st.lists(measured(), min_size=1, max_size=8), min_size=1, max_size=4))
def test_what_an_independent_encoder_writes_is_read(
    groups: dict[datetime, list[tuple[bytes, str, float | None]]],
) -> None:
    body = b"".join(
        other.observed(moment) + b"".join(data for data, _, _ in elements)
        for moment, elements in groups.items()
    )
    said = {one.at_us: one.values for one in reports(report(body))}
    wanted: dict[int, dict[str, object]] = {}
    for moment, elements in groups.items():
        for _, name, value in elements:
            if value is not None:
                wanted.setdefault(at(moment), {})[name] = pytest.approx(value)
    assert said == wanted


@given(
    rain=st.lists(st.none() | st.integers(0, 254).map(lambda tenths: tenths / 10), min_size=12, max_size=12),
    level=st.lists(st.none() | st.integers(0, 65534).map(lambda cm: cm / 100), min_size=12, max_size=12),
    first=moments,
)
def test_series_are_read(rain: list[float | None], level: list[float | None], first: datetime) -> None:
    said = reports(
        report(
            other.observed(first), other.series(0xF4, rain), other.series(0xF5, level), function=other.HOURLY
        )
    )
    found = {(one.at_us, key): value for one in said for key, value in one.values.items()}
    wanted = {
        (at(first + timedelta(minutes=5 * place)), key): value
        for key, values in (("DRP", rain), ("DRZ1", level))
        for place, value in enumerate(values)
        if value is not None
    }
    assert found == wanted


@given(data=st.binary(max_size=400), function=st.integers(0x2F, 0x52), textual=st.booleans())
def test_nonsense_in_a_right_frame_is_answered(data: bytes, function: int, textual: bool) -> None:
    if textual:
        words = "".join(chr(32 + byte % 95) for byte in data)
        sent = other.text_frame(ADDRESS, function, "0007261122180000ST 0012345678 H " + words)
    else:
        sent = other.frame(ADDRESS, function, text(data))
    for one in decode(sent):
        if isinstance(one, Report):
            assert all(value == value and abs(value) < 1e300 for value in one.values.values())  # noqa: PLR0124 - NaN


@given(data=st.binary(max_size=200))
def test_nonsense_is_refused(data: bytes) -> None:
    assert all(isinstance(one, Rejected) for one in decode(data))


def test_times_are_the_districts_own() -> None:
    moment = datetime(2026, 11, 22, 18, 0, tzinfo=ZoneInfo("Europe/London"))
    sent = report(other.observed(NOW), other.element(0x39, 1.0, 4, 3))
    london = Arrival(at(moment), ZoneInfo("Europe/London"))
    (said,) = DECODER.decode("sl651/x", sent, london)  # type: ignore[misc]  # a list here
    assert isinstance(said, Report)
    assert said.at_us == at(datetime(2026, 11, 22, 18, 0, tzinfo=UTC))


@given(data=st.binary(max_size=300))
def test_the_fuzz_target_holds_for_a_moment(data: bytes) -> None:
    one_input(data)
