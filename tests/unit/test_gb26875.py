"""GB/T 26875.3-2011: every published example, the simulator's frames read back, and what must be refused."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.observations import Rejection
from ingest.decoders.gb26875 import DECODER, Frame, read_frame, shows_test_bit
from ingest.decoders.gb26875_tables import COMPONENT_BITS, SYSTEM_BITS, TRANSMITTER, TRANSMITTER_BITS
from ingest.decoders.said import Announced, Arrival, Link, Rejected, Report, Said
from simulators import gb26875 as sim

ZONE = ZoneInfo("Asia/Shanghai")
SENT = datetime(2026, 11, 22, 10, 0, 0, tzinfo=ZONE)
ARRIVAL = Arrival(int(SENT.timestamp()) * 1_000_000, ZONE)
SOURCE = 889


def decode(data: bytes, topic: str = "gb26875/889") -> list[Said]:
    said = DECODER.decode(topic, data, ARRIVAL)
    return [said] if isinstance(said, Rejected) else list(said)


def of_unit(content: bytes, topic: str = "gb26875/889") -> list[Said]:
    """What one application unit says beside the transmitter's sign of life."""
    said = decode(sim.frame(SOURCE, 1, 7, 2, content, SENT), topic)
    assert said[:2] == [
        Link(device="889", online=True),
        Report(device="889", values={}, model=TRANSMITTER),
    ]
    return said[2:]


def reports(said: list[Said]) -> list[Report]:
    return [one for one in said if isinstance(one, Report)]


def flags(report: Report, names: tuple[str, ...]) -> int:
    """The state word that these switches came from."""
    normal = 1 - int(report.values["test"])
    return normal + sum(int(report.values[name]) << bit for bit, name in enumerate(names) if name)


@pytest.fixture(scope="module")
def vectors(shared_data: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (shared_data / "vectors" / "gb26875" / "vectors.json").read_text("utf-8")
    )
    return found


def test_the_recorded_fire_is_a_fire_at_its_place(vectors: dict[str, Any]) -> None:
    (case,) = vectors["frames"]
    data = bytes.fromhex(case["hex"])
    frame = read_frame(data)
    assert isinstance(frame, Frame)
    assert (frame.command, frame.version, frame.destination, frame.unit[0]) == (2, (1, 1), 1108152157446, 2)
    assert frame.sent == sim.time_tag(datetime(2020, 10, 22, 17, 13, 24, tzinfo=ZONE))
    link, hello, announced, fire, urgent = decode(data)
    assert (link, hello) == (
        Link(device="0", online=True),
        Report(device="0", values={}, model=TRANSMITTER),
    )
    assert announced == Announced(
        device="0.1.3.0.393433", name="Ａ区１层呷哺走廊", model="通用 (0)", gateway="0"
    )
    assert isinstance(fire, Report)
    assert (fire.device, fire.at_us, fire.gateway) == ("0.1.3.0.393433", 1596280728_000_000, "0")
    assert fire.values == {
        "fire": 1.0, "fault": 0.0, "shielded": 0.0, "supervisory": 0.0, "started": 0.0, "feedback": 0.0,
        "delay": 0.0, "power_fault": 0.0, "test": 1.0,
    }  # fmt: skip  # no in_test: nothing says that this transmitter means a test by it
    # Recorded years ago: its time is not taken, and the fire is said as of arrival beside it.
    assert urgent == Report(device="0.1.3.0.393433", values={"fire": 1.0}, model="通用 (0)", gateway="0")


def test_every_application_unit_reads_as_published(vectors: dict[str, Any]) -> None:
    cases = vectors["application_units"]
    seen = set()
    for case in cases:
        said, expected = of_unit(bytes.fromhex(case["app_data_hex"])), case["expect"]
        if "error" in expected:
            assert [type(one) for one in said] == [Rejected], case["id"]
            assert isinstance(said[0], Rejected)
            assert said[0].reason is Rejection.BAD_LENGTH
        else:
            found = [
                one
                for one in reports(said)
                if not one.device.endswith(".manual") and not set(one.values) <= {"fire", "in_test"}
            ]
            assert len(found) == expected["count"] == len(expected["objects"]), case["id"]
            for one, wanted in zip(found, expected["objects"], strict=True):
                _check(one, wanted, said, expected["type"])
        seen.add(case["id"])
    assert len(seen) >= 12


def _check(one: Report, wanted: dict[str, Any], said: list[Said], kind: int) -> None:
    """One object of a published unit, field by field; every field it has is looked at."""
    left = dict(wanted)
    if kind in {21, 24}:
        assert one.device == "889"
    if "system_type" in left:
        place = f"889.{left.pop('system_type')}.{left.pop('system_addr')}"
        if "component_type" in left:
            place += f".{left.pop('component_type')}.{left.pop('component_addr')}"
        assert one.device == place
    if kind == 8:
        epoch = left.pop("time_epoch")
        assert one.values["clock_error"] == epoch - ARRIVAL.received_us / 1e6
    elif "time_epoch" in left:
        assert one.at_us == left.pop("time_epoch") * 1_000_000
    if "flags" in left:
        names = {1: SYSTEM_BITS, 2: COMPONENT_BITS, 21: TRANSMITTER_BITS}[kind]
        known = (1 << len(names)) - 1
        assert flags(one, names) == left.pop("flags") & known
    if "description" in left:
        texts = [item.name for item in said if isinstance(item, Announced) and item.device == one.device]
        assert texts == [left.pop("description")]
    if "analog_type" in left:
        expected = {3: ("temperature", 10), 2: ("height", 100)}[left.pop("analog_type")]
        assert one.values == {expected[0]: left.pop("analog_raw") / expected[1]}
    if "operation_flags" in left:
        number = left.pop("operation_flags")
        manual, answered = number >> 2 & 1, number >> 5 & 1
        assert one.values.get("operation_manual_alarm", 0.0) == manual
        assert one.values.get("operation_duty_answer" if kind == 24 else "operation_confirm", 0.0) == answered
        assert one.values["operator"] == left.pop("operator")
    if "version" in left:
        parts = f"{one.values['software_major']:.0f}.{one.values['software_minor']:.0f}"
        assert parts == left.pop("version")
    assert set(left) <= {"system_type", "system_addr"}, left


def test_units_of_analog_values_come_with_them(vectors: dict[str, Any]) -> None:
    units = {case["id"]: case for case in vectors["application_units"]}
    (first,) = reports(of_unit(bytes.fromhex(units["component_analog_1"]["app_data_hex"])))
    assert (first.values, first.units) == ({"temperature": 80.0}, {"temperature": "Cel"})
    _, second = reports(of_unit(bytes.fromhex(units["component_analog_2"]["app_data_hex"])))
    assert (second.values, second.units) == ({"height": 204.81}, {"height": "m"})


def test_bit_three_is_another_thing_for_a_transmitter_than_for_a_system() -> None:
    (transmitter,) = reports(of_unit(sim.unit(21, sim.transmitter_state(sim.bits(0, 3), SENT))))
    assert (transmitter.values["main_power_fault"], "shielded" in transmitter.values) == (1.0, False)
    (system,) = reports(of_unit(sim.unit(1, sim.system_state((1, 1), sim.bits(0, 3), SENT))))
    assert (system.values["shielded"], system.values["main_power_fault"]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("kind", "raw", "key", "value", "unit"),
    [
        (1, 12, "events", 12.0, None), (3, -105, "temperature", -10.5, "Cel"), (4, 6, "pressure", 0.6, "MPa"),
        (5, 1013, "pressure", 101.3, "kPa"), (6, 255, "gas", 25.5, "%LEL"), (7, 90, "duration", 90.0, "s"),
        (8, 2205, "voltage", 220.5, "V"), (9, 63, "current", 6.3, "A"), (10, 155, "water_flow", 15.5, "L/s"),
        (11, 27, "air_flow", 2.7, "m³/min"), (12, 8, "wind_speed", 8.0, "m/s"), (200, -7, "analog_200", -7.0, None),
    ],
)  # fmt: skip
def test_analog_values_have_the_step_and_unit_of_their_type(
    kind: int, raw: int, key: str, value: float, unit: str | None
) -> None:
    (found,) = reports(of_unit(sim.unit(3, sim.component_value((1, 1), (92, 5), kind, raw, SENT))))
    assert (found.device, found.values) == ("889.1.1.92.5", {key: value})
    assert found.units == ({key: unit} if unit else None)


def test_texts_of_systems_components_and_the_transmitter_become_names() -> None:
    said = of_unit(sim.unit(6, b"\x0d\x02\x08" + "气体灭火".encode("gb18030")))
    assert said == [Announced(device="889.13.2", name="气体灭火", model="气体灭火系统 (13)", gateway="889")]
    text = "7楼02室".encode("gb18030").ljust(31, b"\0")
    said = of_unit(sim.unit(7, b"\x01\x02\x28\x01\x00\x00\x00" + text))
    assert said == [
        Announced(device="889.1.2.40.1", name="7楼02室", model="感烟火灾探测器 (40)", gateway="889")
    ]
    said = of_unit(sim.unit(26, b"\x04" + "一号".encode("gb18030")))
    assert said == [Announced(device="889", name="一号", model=TRANSMITTER)]


def test_a_text_cut_within_a_character_loses_that_character_only() -> None:
    state = sim.component_state((1, 1), (40, 1), 1, "高" * 20, SENT)
    announced = of_unit(sim.unit(2, state))[0]
    assert isinstance(announced, Announced)
    assert announced.name == "高" * 15


def test_a_text_of_blanks_names_nothing() -> None:
    said = of_unit(sim.unit(2, sim.component_state((1, 1), (40, 1), 1, " " * 31, SENT)))
    assert [type(one) for one in said] == [Report]


def test_what_a_missing_bit_0_means_depends_on_who_sends_it() -> None:
    fire = sim.unit(2, sim.component_state((1, 1), (40, 1), sim.bits(1), "", SENT))
    (unknown,) = reports(of_unit(fire))
    assert (unknown.values["fire"], unknown.values["test"], "in_test" in unknown.values) == (1.0, 1.0, False)
    (known,) = reports(of_unit(fire, "gb26875/889/tests"))
    assert (known.values["fire"], known.values["in_test"]) == (1.0, 1.0)
    normal = sim.unit(2, sim.component_state((1, 1), (40, 1), sim.bits(0, 1), "", SENT))
    (sure,) = reports(of_unit(normal))
    assert (sure.values["fire"], sure.values["test"], sure.values["in_test"]) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (sim.unit(1, sim.system_state((1, 1), sim.bits(0, 2), SENT)), True),
        (sim.unit(1, sim.system_state((1, 1), sim.bits(0, 8), SENT)), True),
        (sim.unit(2, sim.component_state((1, 1), (40, 1), sim.bits(0, 1), "", SENT)), True),
        (sim.unit(21, sim.transmitter_state(sim.bits(0, 3), SENT)), True),
        (sim.unit(2, sim.component_state((1, 1), (40, 1), sim.bits(0), "", SENT)), False),  # one bit at a time
        (sim.unit(2, sim.component_state((1, 1), (40, 1), sim.bits(1, 2), "", SENT)), False),
        (sim.unit(3, sim.component_value((1, 1), (40, 1), 3, 0x0303, SENT)), False),
        (b"", False), (b"\x01", False), (b"\x02\x01\x01", False),
    ],
)  # fmt: skip
def test_only_bit_0_beside_another_bit_shows_that_a_sender_means_something_by_it(
    content: bytes, shown: bool
) -> None:
    assert shows_test_bit(content) is shown


@pytest.mark.parametrize(
    ("tag", "at", "faulty"),
    [
        (sim.time_tag(SENT), ARRIVAL.received_us, False),
        (sim.time_tag(SENT - timedelta(days=30)), ARRIVAL.received_us - 30 * 86_400_000_000, False),
        (sim.time_tag(SENT + timedelta(minutes=1)), ARRIVAL.received_us + 60_000_000, False),
        (sim.time_tag(SENT + timedelta(hours=8)), None, False),  # runs ahead
        (bytes(6), None, False), (b"\xff" * 6, None, False), (b"\0\0\0\1\1\0", None, False),  # never set
        (b"\x3c\0\0\1\1\x1a", None, True), (b"\0\0\0\x1f\x02\x1a", None, True), (b"\0\0\0\1\1\x80", None, True),
    ],
)  # fmt: skip
def test_a_fire_is_said_whatever_the_clock_says(tag: bytes, at: int | None, faulty: bool) -> None:
    said = of_unit(sim.unit(1, sim.system_state((1, 1), sim.bits(0, 1), SENT)[:-6] + tag))
    assert isinstance(said[0], Report)
    assert (said[0].values["fire"], said[0].at_us) == (1.0, at)
    assert [one.reason for one in said[1:] if isinstance(one, Rejected)] == [Rejection.BAD_TIME] * faulty


def test_only_a_time_that_nothing_can_have_waited_for_says_the_fire_twice() -> None:
    def said(days: int) -> list[int | None]:
        at = SENT - timedelta(days=days)
        found = reports(of_unit(sim.unit(1, sim.system_state((1, 1), sim.bits(0, 1), at))))
        assert all(one.values["fire"] == 1.0 for one in found)
        return [one.at_us for one in found]

    assert said(365) == [ARRIVAL.received_us - 365 * 86_400_000_000]
    assert said(366) == [ARRIVAL.received_us - 366 * 86_400_000_000, None]


def test_a_manual_alarm_is_a_key_of_its_own_pressed_until_cleared_or_reset() -> None:
    def manual(flags: int) -> list[float]:
        _, *key = reports(of_unit(sim.unit(24, sim.transmitter_operation(flags, 3, SENT))))
        assert all((one.device, one.at_us) == ("889.manual", ARRIVAL.received_us) for one in key)
        return [one.values["fire"] for one in key]

    assert [manual(sim.bits(bit)) for bit in range(7)] == [[0.0], [], [1.0], [0.0], [], [], []]
    assert manual(sim.bits(0, 2)) == [1.0]
    _, key = reports(of_unit(sim.unit(4, sim.operation((1, 2), sim.bits(2), 9, SENT))))
    assert (key.device, key.values, key.gateway) == ("889.1.2.manual", {"fire": 1.0}, "889")


def test_several_units_and_padding_in_one_frame() -> None:
    first = sim.unit(1, sim.system_state((1, 1), 1, SENT), sim.system_state((10, 2), 5, SENT))
    second = sim.unit(3, sim.component_value((1, 1), (40, 9), 3, 215, SENT))
    assert [one.device for one in reports(of_unit(first + second))] == ["889.1.1", "889.10.2", "889.1.1.40.9"]
    assert len(reports(of_unit(first + bytes(5)))) == 2


def test_the_part_that_is_whole_is_kept_when_the_rest_is_not() -> None:
    whole = sim.system_state((1, 1), sim.bits(0, 1), SENT)
    said = of_unit(b"\x01\x02" + whole + whole[:5])
    assert [type(one) for one in said] == [Report, Rejected]
    said = of_unit(sim.unit(1, whole) + b"\x80\x01\x02")
    assert [type(one) for one in said] == [Report, Rejected]
    assert isinstance(said[1], Rejected)
    assert said[1].reason is Rejection.UNSUPPORTED


@pytest.mark.parametrize("command", [1, 3, 4, 6])
def test_what_the_centre_says_is_no_report(command: int) -> None:
    assert decode(sim.frame(1, SOURCE, 1, command, b"\x51\x01\x00", SENT)) == []


def test_a_heartbeat_is_a_sign_of_life() -> None:
    assert of_unit(b"") == []


GOOD = sim.frame(SOURCE, 1, 7, 2, sim.unit(1, sim.system_state((1, 1), 1, SENT)), SENT)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Rejection.BAD_FRAME),
        (b"\x40\x41" + GOOD[2:], Rejection.BAD_FRAME),
        (GOOD[:-2] + b"\x23\x24", Rejection.BAD_FRAME),
        (GOOD[:20], Rejection.BAD_LENGTH),
        (GOOD[:-1], Rejection.BAD_LENGTH),
        (GOOD + b"\x23", Rejection.BAD_LENGTH),
        (GOOD[:24] + b"\x01\x04" + GOOD[26:], Rejection.BAD_LENGTH),
        (GOOD[:-3] + bytes([(GOOD[-3] + 1) % 256]) + GOOD[-2:], Rejection.BAD_CHECKSUM),
        (GOOD[:30] + bytes([GOOD[30] ^ 4]) + GOOD[31:], Rejection.BAD_CHECKSUM),
        (sim.frame(SOURCE, 1, 1, 7, b"", SENT), Rejection.UNSUPPORTED),
        (sim.frame(SOURCE, 1, 1, 0, b"", SENT), Rejection.UNSUPPORTED),
        (sim.frame(SOURCE, 1, 1, 200, b"", SENT), Rejection.UNSUPPORTED),
        (GOOD * 4000, Rejection.BAD_LENGTH),
    ],
)
def test_what_is_no_frame_is_refused_under_its_reason(data: bytes, reason: Rejection) -> None:
    (said,) = decode(data)
    assert isinstance(said, Rejected)
    assert said.reason is reason
    assert len(said.detail) < 200


MOMENTS = st.integers(1_293_811_200, int(SENT.timestamp())).map(lambda one: datetime.fromtimestamp(one, ZONE))
BYTES = st.integers(0, 255)


@given(
    source=st.integers(0, 2**48 - 1), serial=st.integers(0, 65535), system=st.tuples(BYTES, BYTES),
    component=st.tuples(BYTES, st.integers(0, 2**32 - 1)), state=st.integers(0, 511), moment=MOMENTS,
    text=st.text(st.sampled_from("层楼烟感A1 "), max_size=15).map(str.strip), raw=st.integers(-32768, 32767),
)  # fmt: skip
def test_what_the_simulator_sends_is_what_is_read(
    source: int,
    serial: int,
    system: tuple[int, int],
    component: tuple[int, int],
    state: int,
    moment: datetime,
    text: str,
    raw: int,
) -> None:
    content = sim.unit(2, sim.component_state(system, component, state, text, moment)) + sim.unit(
        3, sim.component_value(system, component, 3, raw, moment)
    )
    data = sim.frame(source, 1, serial, 2, content, moment)
    frame = read_frame(data)
    assert isinstance(frame, Frame)
    assert (frame.serial, frame.source, frame.unit) == (serial, source, content)
    said = decode(data)[2:]
    place = f"{source}.{system[0]}.{system[1]}.{component[0]}.{component[1]}"
    assert [one.name for one in said if isinstance(one, Announced)] == ([text] if text else [])
    first, second = (one for one in reports(said) if "fault" in one.values or "temperature" in one.values)
    assert (first.device, second.device) == (place, place)
    assert first.at_us == second.at_us == int(moment.timestamp()) * 1_000_000
    assert flags(first, COMPONENT_BITS) == state
    assert second.values == {"temperature": raw / 10}


@given(st.binary(max_size=1100))
def test_no_bytes_are_too_odd(noise: bytes) -> None:
    decode(noise)
    of_unit(noise[:1024])
