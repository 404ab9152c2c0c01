"""Information objects of GB/T 26875.3-2011 (8.2.1, 8.3.1): what one object of each type says, and how long it is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from city.observations import AHEAD_AFTER_US, Rejection
from ingest.decoders.gb26875_tables import (
    ANALOGS,
    COMPONENT_BITS,
    COMPONENTS,
    MANUAL,
    SYSTEM_BITS,
    SYSTEM_OPERATIONS,
    SYSTEMS,
    TRANSMITTER,
    TRANSMITTER_BITS,
    TRANSMITTER_OPERATIONS,
    model,
)
from ingest.decoders.said import Announced, Arrival, Rejected, Report, Said

DESCRIPTION = 31  # bytes of a component's text
TIME = 6  # bytes of a time tag

_FIRST_YEAR = 2011  # of the standard; a clock before it was never set
_NO_BACKLOG_US = 365 * 86_400_000_000  # nothing waits for so long to be sent: the clock is wrong


@dataclass(frozen=True, slots=True)
class Context:
    """What an object needs beside its own bytes."""

    source: str
    arrival: Arrival
    uses_test_bit: bool


class ShortError(Exception):
    """An object is not whole."""


def _part(data: bytes, size: int) -> bytes:
    if len(data) < size:
        raise ShortError
    return data[:size]


def _moment(tag: bytes, context: Context) -> datetime | None:
    second, minute, hour, day, month, year = tag
    if year > 99:
        return None
    try:
        return datetime(2000 + year, month, day, hour, minute, second, tzinfo=context.arrival.zone)
    except ValueError:
        return None


def _time(tag: bytes, context: Context) -> tuple[int | None, list[Said]]:
    """Microseconds since 1970 UTC of a time tag (8.2.2), and what is wrong with it.

    None = arrival stands in: a clock that was never set or runs ahead must not keep a fire from the rules.
    """
    if 2000 + tag[5] < _FIRST_YEAR or tag == b"\xff" * TIME:
        return None, []
    moment = _moment(tag, context)
    if moment is None:
        why = f"time {tag.hex(' ')} is none; send second, minute, hour, day, month, year - 2000"
        return None, [Rejected(Rejection.BAD_TIME, why)]
    at_us = int(moment.timestamp()) * 1_000_000
    return (None if at_us > context.arrival.received_us + AHEAD_AFTER_US else at_us), []


def _bits(names: Sequence[str], state: int, context: Context) -> dict[str, float]:
    """One switch a bit; ``test`` is bit 0 as it came, ``in_test`` only where it can be believed."""
    normal = state & 1
    values = {name: float(state >> bit & 1) for bit, name in enumerate(names) if name}
    values["test"] = 1.0 - normal
    if normal or context.uses_test_bit:
        values["in_test"] = 1.0 - normal
    return values


def _operation(
    names: Sequence[str], whose: tuple[str, str], flags: int, operator: int, tag: bytes, context: Context
) -> list[Said]:
    """What was pressed, and by whom. The manual alarm is a button of its own: pressed until cleared or reset."""
    pressed = {name for bit, name in enumerate(names) if flags >> bit & 1}
    values = {"operator": float(operator)} | {f"operation_{name}": 1.0 for name in sorted(pressed)}
    said = _report(whose, values, tag, context)
    manual = "manual_alarm" in pressed
    if manual or pressed & {"reset", "alarm_cleared"}:
        at_us, _ = _time(tag, context)
        said.append(
            Report(
                device=f"{whose[0]}.manual",
                values={"fire": float(manual)},
                at_us=None if _too_old(at_us, context) else at_us,
                model=MANUAL,
                gateway=context.source,
            )
        )
    return said


def _text(data: bytes) -> str:
    """GB 18030 up to the first NUL; a character cut at the field's end is left out."""
    text = data.split(b"\0", 1)[0].decode("gb18030", errors="replace")
    return "".join(letter for letter in text if letter.isprintable() and letter != "\ufffd").strip()


def _system(body: bytes, context: Context) -> tuple[str, str]:
    return f"{context.source}.{body[0]}.{body[1]}", model(SYSTEMS, body[0])


def _component(body: bytes, context: Context) -> tuple[str, str]:
    address = int.from_bytes(body[3:7], "little")
    return f"{context.source}.{body[0]}.{body[1]}.{body[2]}.{address}", model(COMPONENTS, body[2])


def _report(
    whose: tuple[str, str],
    values: dict[str, float],
    tag: bytes,
    context: Context,
    units: dict[str, str] | None = None,
) -> list[Said]:
    at_us, faults = _time(tag, context)
    device, kind = whose
    gateway = context.source if device != context.source else ""
    report = Report(device=device, values=values, at_us=at_us, units=units, model=kind, gateway=gateway)
    return [report, *faults]


def _state(
    whose: tuple[str, str], names: Sequence[str], state: int, tag: bytes, context: Context
) -> list[Said]:
    """A report of every switch; where its time is too old to be taken, the fire comes a second time, as of now."""
    values = _bits(names, state, context)
    said = _report(whose, values, tag, context)
    first = said[0]
    if isinstance(first, Report) and _too_old(first.at_us, context):
        urgent = {key: value for key, value in values.items() if key in ("fire", "in_test")}
        said.append(Report(device=first.device, values=urgent, model=first.model, gateway=first.gateway))
    return said


def _too_old(at_us: int | None, context: Context) -> bool:
    return at_us is not None and at_us < context.arrival.received_us - _NO_BACKLOG_US


def _named(whose: tuple[str, str], text: bytes, context: Context) -> list[Said]:
    name, (device, kind) = _text(text), whose
    gateway = context.source if device != context.source else ""
    return [Announced(device=device, name=name, model=kind, gateway=gateway)] if name else []


def _clock(whose: tuple[str, str], tag: bytes, context: Context) -> list[Said]:
    """A clock that was read out: how far it is off, s; positive = ahead."""
    moment = _moment(tag, context)
    if moment is None:
        return [Rejected(Rejection.BAD_TIME, f"system time {tag.hex(' ')} is none; set the clock")]
    error = moment.timestamp() - context.arrival.received_us / 1e6
    return [
        Report(device=whose[0], values={"clock_error": error}, units={"clock_error": "s"}, model=whose[1])
    ]


# ── one object of each type: what it says, and how many bytes it has ──────────────────────────────────

Read = tuple[list[Said], int]


def _system_state(data: bytes, context: Context) -> Read:
    body = _part(data, 4 + TIME)
    state = int.from_bytes(body[2:4], "little")
    return _state(_system(body, context), SYSTEM_BITS, state, body[4:], context), len(body)


def _component_state(data: bytes, context: Context) -> Read:
    body = _part(data, 9 + DESCRIPTION + TIME)
    whose = _component(body, context)
    state = int.from_bytes(body[7:9], "little")
    named = _named(whose, body[9 : 9 + DESCRIPTION], context)
    return [*named, *_state(whose, COMPONENT_BITS, state, body[-TIME:], context)], len(body)


def _component_analog(data: bytes, context: Context) -> Read:
    body = _part(data, 10 + TIME)
    kind, raw = body[7], int.from_bytes(body[8:10], "little", signed=True)
    analog = ANALOGS.get(kind)
    if analog is not None:
        values, units = (
            {analog.key: raw / analog.per_unit},
            {analog.key: analog.unit} if analog.unit else None,
        )
    elif kind >= 128:
        values, units = {f"analog_{kind}": float(raw)}, None  # the user's own: a profile says what it is
    else:
        return [Rejected(Rejection.UNSUPPORTED, f"analog value of type {kind} is reserved")], len(body)
    return _report(_component(body, context), values, body[10:], context, units), len(body)


def _system_operation(data: bytes, context: Context) -> Read:
    body = _part(data, 4 + TIME)
    whose = _system(body, context)
    return _operation(SYSTEM_OPERATIONS, whose, body[2], body[3], body[4:], context), len(body)


def _system_version(data: bytes, context: Context) -> Read:
    body = _part(data, 4)
    device, kind = _system(body, context)
    values = {"software_major": float(body[2]), "software_minor": float(body[3])}
    return [Report(device=device, values=values, model=kind, gateway=context.source)], len(body)


def _system_configuration(data: bytes, context: Context) -> Read:
    body = _part(data, 3 + _part(data, 3)[2])
    return _named(_system(body, context), body[3:], context), len(body)


def _component_configuration(data: bytes, context: Context) -> Read:
    body = _part(data, 7 + DESCRIPTION)
    return _named(_component(body, context), body[7:], context), len(body)


def _system_clock(data: bytes, context: Context) -> Read:
    body = _part(data, 2 + TIME)
    return _clock(_system(body, context), body[2:], context), len(body)


def _transmitter_state(data: bytes, context: Context) -> Read:
    body = _part(data, 1 + TIME)
    whose = (context.source, TRANSMITTER)
    return _state(whose, TRANSMITTER_BITS, body[0], body[1:], context), len(body)


def _transmitter_operation(data: bytes, context: Context) -> Read:
    body = _part(data, 2 + TIME)
    whose = (context.source, TRANSMITTER)
    return _operation(TRANSMITTER_OPERATIONS, whose, body[0], body[1], body[2:], context), len(body)


def _transmitter_version(data: bytes, context: Context) -> Read:
    body = _part(data, 2)
    values = {"software_major": float(body[0]), "software_minor": float(body[1])}
    return [Report(device=context.source, values=values, model=TRANSMITTER)], len(body)


def _transmitter_configuration(data: bytes, context: Context) -> Read:
    body = _part(data, 1 + _part(data, 1)[0])
    return _named((context.source, TRANSMITTER), body[1:], context), len(body)


def _transmitter_clock(data: bytes, context: Context) -> Read:
    body = _part(data, TIME)
    return _clock((context.source, TRANSMITTER), body, context), len(body)


READERS: MappingProxyType[int, Callable[[bytes, Context], Read]] = MappingProxyType({
    1: _system_state, 2: _component_state, 3: _component_analog, 4: _system_operation, 5: _system_version,
    6: _system_configuration, 7: _component_configuration, 8: _system_clock,
    21: _transmitter_state, 24: _transmitter_operation, 25: _transmitter_version,
    26: _transmitter_configuration, 28: _transmitter_clock,
})  # fmt: skip
