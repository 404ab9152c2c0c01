"""A fire alarm transmitter as GB/T 26875.3-2011 describes it: the other end of the line, with a frame code of its own.

It sends, waits for confirmation, and sends the same frame again when none comes; what it was denied or never
confirmed is the caller's to see.
"""

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Self

CONFIRMED, DENIED = 3, 6


def time_tag(moment: datetime) -> bytes:
    """Six bytes of local time, second first."""
    return struct.pack(
        "6B",
        moment.second,
        moment.minute,
        moment.hour,
        moment.day,
        moment.month,
        moment.year - 2000,
    )


def bits(*on: int) -> int:
    """A state word with these bits set."""
    return sum(1 << one for one in set(on))


def unit(kind: int, *objects: bytes) -> bytes:
    """An application unit: its type, how many objects, and they."""
    return bytes((kind, len(objects))) + b"".join(objects)


def system_state(system: tuple[int, int], state: int, moment: datetime) -> bytes:
    """Object of type 1."""
    return struct.pack("<BBH", *system, state) + time_tag(moment)


def component_state(
    system: tuple[int, int], component: tuple[int, int], state: int, text: str, moment: datetime
) -> bytes:
    """Object of type 2; the text is cut at 31 bytes, as panels cut it."""
    return struct.pack("<BBBIH31s", *system, *component, state, text.encode("gb18030")) + time_tag(moment)


def component_value(
    system: tuple[int, int], component: tuple[int, int], kind: int, raw: int, moment: datetime
) -> bytes:
    """Object of type 3."""
    return struct.pack("<BBBIBh", *system, *component, kind, raw) + time_tag(moment)


def operation(system: tuple[int, int], flags: int, operator: int, moment: datetime) -> bytes:
    """Object of type 4."""
    return struct.pack("4B", *system, flags, operator) + time_tag(moment)


def transmitter_state(state: int, moment: datetime) -> bytes:
    """Object of type 21."""
    return bytes((state,)) + time_tag(moment)


def transmitter_operation(flags: int, operator: int, moment: datetime) -> bytes:
    """Object of type 24."""
    return bytes((flags, operator)) + time_tag(moment)


def frame(
    source: int, destination: int, serial: int, command: int, content: bytes, moment: datetime
) -> bytes:
    """One whole frame."""
    control = struct.pack("<H2B", serial, 1, 1) + time_tag(moment)
    control += source.to_bytes(6, "little") + destination.to_bytes(6, "little")
    control += struct.pack("<HB", len(content), command)
    return b"@@" + control + content + struct.pack("B", sum(control + content) % 256) + b"##"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the centre answered: the number of the frame, and whether it is confirmed."""

    serial: int
    command: int
    source: int
    destination: int

    @property
    def confirmed(self) -> bool:
        return self.command == CONFIRMED


@dataclass(slots=True)
class Transmitter:
    """One transmitter on one connection; open it with ``with``."""

    address: tuple[str, int]
    number: int
    centre: int = 1
    clock: Callable[[], datetime] = datetime.now
    serial: int = 0
    _line: socket.socket | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        self._line = socket.create_connection(self.address, timeout=10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.line.close()

    @property
    def line(self) -> socket.socket:
        """The open connection."""
        if self._line is None:
            raise RuntimeError("open the transmitter with `with`")
        return self._line

    def report(self, kind: int, *objects: bytes) -> Answer:
        """Send objects of one type and wait for the answer."""
        return self.send(self.next_frame(unit(kind, *objects)))

    def heartbeat(self) -> Answer:
        """A frame without a unit."""
        return self.send(self.next_frame(b""))

    def next_frame(self, content: bytes) -> bytes:
        """The next data frame, not sent."""
        self.serial = (self.serial + 1) % 65536
        return frame(self.number, self.centre, self.serial, 2, content, self.clock())

    def send(self, data: bytes) -> Answer:
        """Send bytes as they are and wait for the answer. Raises ConnectionError when the centre hangs up."""
        self.line.sendall(data)
        return self.hear()

    def hear(self, wait_s: float = 10.0) -> Answer:
        """The next answer. Raises TimeoutError after ``wait_s``, ConnectionError when the centre hangs up."""
        self.line.settimeout(wait_s)
        found = b""
        while len(found) < 30:
            more = self.line.recv(30 - len(found))
            if not more:
                raise ConnectionError(f"the centre hung up after {found.hex(' ')}")
            found += more
        return _answer(found)


def _answer(data: bytes) -> Answer:
    """Raises ValueError for anything but a frame without a unit."""
    if data[:2] != b"@@" or data[-2:] != b"##" or data[-3] != sum(data[2:-3]) % 256 or any(data[24:26]):
        raise ValueError(f"no answer: {data.hex(' ')}")
    return Answer(
        serial=int.from_bytes(data[2:4], "little"),
        command=data[26],
        source=int.from_bytes(data[12:18], "little"),
        destination=int.from_bytes(data[18:24], "little"),
    )
