"""GB/T 26875.3-2011: fire alarm transmitters (用户信息传输装置) of buildings, framed binary over TCP.

A frame is ``40 40``, a control part of 25 bytes, an application unit of up to 1024, a sum, ``23 23``; numbers have
their low byte first, times are local. What is named: ``SOURCE`` the transmitter, ``SOURCE.SYSTEM.ADDRESS`` a system
behind it, ``SOURCE.SYSTEM.ADDRESS.TYPE.ADDRESS`` one of its components; all decimal. What is
made of test states, clocks and operators: docs/senders-fire-and-environment.md.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from city.observations import Rejection
from ingest.decoders.gb26875_objects import READERS, Context, ShortError
from ingest.decoders.gb26875_tables import TRANSMITTER
from ingest.decoders.said import Arrival, Link, Rejected, Report, Said

START, END = b"\x40\x40", b"\x23\x23"
HEAD = 27  # bytes before the application unit
TAIL = 3  # the sum and the end
MAX_UNIT = 1024
SEND, CONFIRM, ANSWER, DENY = 2, 3, 5, 6  # commands, table 2; 1 and 4 are the centre's
TESTED = "tests"  # last level of the topic of a transmitter that is known to use bit 0

_CONTROL = struct.Struct("<HBB6s6s6sHB")


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One frame whose length and sum are right. ``unit`` is the application unit; empty in a heartbeat or answer."""

    serial: int
    version: tuple[int, int]  # 1 and the user's own
    sent: bytes  # six bytes of local time
    source: int
    destination: int
    command: int
    unit: bytes


def read_frame(payload: bytes) -> Frame | Rejected:
    """Take one whole frame apart (6.6 and 7); says what is wrong with any other bytes."""
    size = len(payload)
    if payload[:2] != START:
        return Rejected(
            Rejection.BAD_FRAME, f"begins with {payload[:2].hex(' ')!r}; a frame begins with 40 40"
        )
    if size < HEAD + TAIL:
        return Rejected(Rejection.BAD_LENGTH, f"{size} bytes; a frame has at least {HEAD + TAIL}")
    serial, major, user, sent, source, destination, length, command = _CONTROL.unpack_from(payload, 2)
    if length > MAX_UNIT:
        return Rejected(Rejection.BAD_LENGTH, f"application unit of {length} bytes; at most {MAX_UNIT}")
    if size != HEAD + length + TAIL:
        return Rejected(
            Rejection.BAD_LENGTH,
            f"{size} bytes; with a unit of {length} it would have {HEAD + length + TAIL}",
        )
    if payload[-2:] != END:
        return Rejected(Rejection.BAD_FRAME, f"ends with {payload[-2:].hex(' ')!r}; a frame ends with 23 23")
    found = sum(payload[2:-TAIL]) & 0xFF
    if found != payload[-TAIL]:
        return Rejected(
            Rejection.BAD_CHECKSUM, f"sum {payload[-TAIL]:02X}, counted {found:02X}; check the line"
        )
    return Frame(
        serial=serial,
        version=(major, user),
        sent=sent,
        source=int.from_bytes(source, "little"),
        destination=int.from_bytes(destination, "little"),
        command=command,
        unit=payload[HEAD:-TAIL],
    )


def shows_test_bit(unit: bytes) -> bool:
    """Whether a state here has bit 0 beside another bit: its sender then means "normal" by it, and 0 is a test.

    Some transmitters never set the bit, others set exactly one bit at a time; of neither does a missing bit 0 say
    that a fire is only a test.
    """
    place = {1: (2, 10, 2), 2: (7, 46, 2), 21: (0, 7, 1)}.get(unit[0] if len(unit) > 1 else 0)
    if place is None:
        return False
    offset, size, width = place
    states = [unit[at + offset : at + offset + width] for at in range(2, len(unit) - size + 1, size)]
    return any(state[0] & 1 and int.from_bytes(state, "little") & 0x1FE for state in states[: unit[1]])


class Gb26875:
    """Decodes what transmitters send (commands 2 and 5); the centre's own commands and bare answers say nothing."""

    family = "gb26875"
    filters = ("gb26875/#",)
    subscribed = False

    def decode(self, topic: str, payload: bytes, arrival: Arrival) -> Sequence[Said] | Rejected:
        """States, values, texts and operations of every object, after the transmitter's own sign of life."""
        frame = read_frame(payload)
        if isinstance(frame, Rejected):
            return frame
        if frame.command in (1, CONFIRM, 4, DENY):
            return []
        if frame.command not in (SEND, ANSWER):
            return Rejected(
                Rejection.UNSUPPORTED, f"command {frame.command} is reserved or the vendor's own; send 2 or 5"
            )
        context = Context(str(frame.source), arrival, topic.rpartition("/")[2] == TESTED)
        # The model comes last: what is known best of a stranger is what it is taken in as.
        said: list[Said] = [Link(device=context.source, online=True)]
        said.append(Report(device=context.source, values={}, model=TRANSMITTER))
        if frame.unit:
            said += _units(frame.unit, context)
        return said


def _units(data: bytes, context: Context) -> Iterator[Said]:
    """One unit as the standard has it, or several behind each other; zeros at the end are padding."""
    at = 0
    while at < len(data):
        if not any(data[at:]):
            return
        kind = data[at]
        if 61 <= kind <= 91:
            return  # a question or an order of the centre's: nothing that is measured
        reader = READERS.get(kind)
        if reader is None:
            yield Rejected(
                Rejection.UNSUPPORTED,
                f"application unit of type {kind} at byte {at} is reserved or the vendor's own",
            )
            return
        if len(data) - at < 3:
            yield Rejected(Rejection.BAD_LENGTH, f"application unit of type {kind} has no object")
            return
        count, begin = data[at + 1], at + 2
        for number in range(count):
            try:
                said, size = reader(data[begin:], context)
            except ShortError:
                yield Rejected(
                    Rejection.BAD_LENGTH,
                    f"object {number + 1} of {count} of type {kind} is cut off after {len(data) - begin} bytes",
                )
                return
            yield from said
            begin += size
        at = begin


DECODER = Gb26875()
