"""Frames of SL 651-2014, both forms: hexadecimal/BCD (7E7E, table 20) and ASCII (01H, tables 11 and 12). Pure.

Both carry the same fields in the same order; the ASCII form writes each byte of header and checksum as two characters.
The checksum is Modbus's CRC-16 over everything before it, high byte first.
"""

from typing import NamedTuple

from city.observations import Rejection
from ingest.decoders.said import Rejected

STX, SYN = 0x02, 0x16  # the text begins; it begins as one packet of several
ETX, ETB, ENQ, EOT, ACK, NAK, ESC = 0x03, 0x17, 0x05, 0x04, 0x06, 0x15, 0x1B  # table 10
_ENDS = frozenset((ETX, ETB, ENQ, EOT, ACK, NAK, ESC))

HEAD = 14  # bytes before the body in the hexadecimal form: start 2, addresses 6, password 2, function 1, length 2, STX
TEXT_HEAD = 24  # characters before it in the ASCII form
TAIL, TEXT_TAIL = 3, 5  # end character and checksum
LONGEST = TEXT_HEAD + 0xFFF + TEXT_TAIL  # the length has twelve bits

_HEX = frozenset(b"0123456789ABCDEFabcdef")


class Frame(NamedTuple):
    """One frame with a right checksum. ``body`` has no packet numbers; ``packet`` is (of how many, which from 1)."""

    text: bool  # the ASCII form
    down: bool  # from the centre to the station
    centre: int
    station: str  # ten hexadecimal digits
    password: str  # four
    function: int
    packet: tuple[int, int] | None
    body: bytes
    end: int

    @property
    def serial(self) -> bytes:
        """Serial number and time of sending as they stand in the body: what an acknowledgement repeats."""
        return self.body[: 16 if self.text else 8]


def checksum(data: bytes) -> int:
    """CRC-16, reflected polynomial A001, from FFFF, no final inversion."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc


def _table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1  # noqa: PLW2901 - the register of the CRC
        table.append(value)
    return tuple(table)


_TABLE = _table()


def length_of(data: bytes | bytearray, at: int = 0) -> int | None:
    """How long the frame is that begins at ``at``; 0 = none begins there, None = too early to say."""
    if data[at] == 0x7E:
        if len(data) < at + HEAD:
            return None if data[at + 1 : at + 2] in (b"", b"\x7e") else 0
        if data[at + 1] != 0x7E or data[at + 11] & 0x70 or data[at + 13] not in (STX, SYN):
            return 0
        return HEAD + ((data[at + 11] & 0x0F) << 8 | data[at + 12]) + TAIL
    if data[at] != 0x01:
        return 0
    head = data[at + 1 : at + TEXT_HEAD - 1]
    if not _HEX.issuperset(head):
        return 0
    if len(data) < at + TEXT_HEAD:
        return None
    if head[18:19] not in (b"0", b"8") or data[at + TEXT_HEAD - 1] not in (STX, SYN):
        return 0
    return TEXT_HEAD + int(bytes(head[19:22]), 16) + TEXT_TAIL


def read_frame(data: bytes, at: int = 0) -> tuple[Frame, int] | Rejected:
    """The frame that begins at ``at`` and where it ends, or what is wrong with it."""
    text = data[at : at + 1] == b"\x01"
    if not text and data[at : at + 2] != b"\x7e\x7e":
        return Rejected(
            Rejection.BAD_FRAME,
            f"begins with {data[at : at + 2].hex().upper()}H; a frame begins with 7E7E or 01",
        )
    head, tail = (TEXT_HEAD, TEXT_TAIL) if text else (HEAD, TAIL)
    if len(data) - at < head + tail:
        return Rejected(
            Rejection.BAD_LENGTH,
            f"frame of {len(data) - at} bytes; the shortest has {head + tail}, send it whole",
        )
    begin = data[at + head - 1]
    fields = data[at + 1 : at + head - 1] if text else data[at + 2 : at + head - 1].hex().encode()
    if text and not _HEX.issuperset(fields):
        return Rejected(Rejection.BAD_FRAME, "header of the ASCII form is not hexadecimal digits")
    direction, length = fields[18:19], int(fields[19:22], 16)
    end = at + head + length + tail
    if len(data) < end:
        return Rejected(
            Rejection.BAD_LENGTH, f"body of {length} bytes is announced, {len(data) - at - head - tail} came"
        )
    said = data[end - 4 : end] if text else data[end - 2 : end].hex().encode()
    right = b"%04x" % checksum(data[at : end - len(said) if text else end - 2])
    if said.lower() != right:
        return Rejected(
            Rejection.BAD_CHECKSUM,
            f"checksum {said.decode('ascii', 'replace').upper()} is not {right.decode().upper()}; send it again",
        )
    if direction not in (b"0", b"8") or begin not in (STX, SYN) or data[end - tail] not in _ENDS:
        return Rejected(
            Rejection.BAD_FRAME,
            f"direction {direction.decode()}, start {begin:02X} or end {data[end - tail]:02X} is none of table 10",
        )
    frame = _frame(
        fields.decode().upper(), data[at + head : end - tail], text, begin == SYN, data[end - tail]
    )
    return frame if isinstance(frame, Rejected) else (frame, end)


def _frame(fields: str, body: bytes, text: bool, several: bool, end: int) -> Frame | Rejected:
    packet = None
    if several:
        said = body[:6] if text else body[:3].hex().encode()
        if len(said) < 6 or not _HEX.issuperset(said):
            return Rejected(Rejection.BAD_LENGTH, "packet of several without its total and number")
        packet = int(said[:3], 16), int(said[3:], 16)
        if not 1 <= packet[1] <= packet[0]:
            return Rejected(Rejection.BAD_FRAME, f"packet {packet[1]} of {packet[0]}; count from 1")
        body = body[6 if text else 3 :]
    down = (
        fields[18] == "8"
    )  # upwards the centre's address stands first, downwards the station's (tables 11 and 12)
    centre, station = (fields[10:12], fields[:10]) if down else (fields[:2], fields[2:12])
    return Frame(
        text=text,
        down=down,
        centre=int(centre, 16),
        station=station,
        password=fields[12:16],
        function=int(fields[16:18], 16),
        packet=packet,
        body=body,
        end=end,
    )


def write_down(frame: Frame, end: int) -> bytes:
    """The centre's confirmation of a frame (table 21): its addresses, password, function, serial number and time."""
    body = frame.serial
    head = f"{frame.station}{frame.centre:02X}{frame.password}{frame.function:02X}8{len(body):03X}"
    if frame.text:
        said = b"\x01" + head.encode() + b"\x02" + body + bytes((end,))
        return said + b"%04X" % checksum(said)
    said = b"\x7e\x7e" + bytes.fromhex(head) + b"\x02" + body + bytes((end,))
    return said + checksum(said).to_bytes(2, "big")
