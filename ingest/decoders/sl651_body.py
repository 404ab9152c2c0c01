"""The text of an SL 651-2014 report in hexadecimal/BCD: elements with their observation times (6.6.3). Pure.

An element is understood by itself: one that is broken is refused, and those before it are kept. After one whose length
cannot be known nothing more can be read.
"""

from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from city.observations import Rejection
from ingest.decoders.said import Rejected
from ingest.decoders.sl651_elements import (
    ELEMENTS,
    LEVEL_SERIES,
    RAIN_SERIES,
    STATION_TYPES,
    STATUS,
    definition_of,
    name_of,
    status_flags,
)

FIVE_MINUTES_US = 300_000_000
HOUR_US = 12 * FIVE_MINUTES_US
IN_HOUR = 12  # values of a five-minute series

_POWERS = tuple(10**decimals for decimals in range(8))
UNIFORM = (0x31, 0x38)  # a step, identifiers once, then groups of values (table 30)
_WITH_TYPE = frozenset((0x30, 0x31, 0x32, 0x33, 0x34, 0x36, 0x37, 0x38, 0x3A, 0x3B, 0x44))

Item = tuple[int | None, str, float]  # observed at (us, None = the text does not say), key, value


@dataclass(slots=True)
class Body:
    """What was understood of one text."""

    items: list[Item] = field(default_factory=list)
    station: str = ""  # as the text itself says it
    kind: str = ""  # the station's letter of appendix A
    faults: list[Rejected] = field(default_factory=list)


class BrokenError(Exception):
    """Nothing after this can be read; ``why`` says what is wrong."""

    def __init__(self, reason: Rejection, detail: str) -> None:
        super().__init__(detail)
        self.why = Rejected(reason, detail)


def local_us(digits: str, zone: ZoneInfo) -> int | None:
    """Microseconds since 1970 UTC of YYMMDDHHmm or YYMMDDHHmmSS in local time; None = no such time."""
    if not digits.isdecimal() or not digits.isascii():
        return None
    whole, minute = divmod(int(digits[:10]), 100)
    whole, hour = divmod(whole, 100)
    whole, day = divmod(whole, 100)
    year, month = divmod(whole, 100)
    try:
        moment = datetime(2000 + year, month, day, hour, minute, int(digits[10:12] or 0), tzinfo=zone)
    except ValueError:
        return None
    return int(moment.timestamp()) * 1_000_000


def number(data: bytes, decimals: int) -> float | None:
    """A BCD number; FF before it = negative, FF throughout = not measured. Raises ValueError for other digits."""
    if not data or data.count(0xFF) == len(data):
        return None
    sign, digits = (-1, data[1:]) if data[0] == 0xFF else (1, data)
    said = digits.hex()
    if not said.isdecimal():
        raise ValueError(said)
    return float(sign * int(said) / _POWERS[decimals])


def read_hex(data: bytes, function: int, zone: ZoneInfo, *, cut: bool = False) -> Body:
    """Elements after serial number and time. ``cut`` = the text goes on in a packet that is not here."""
    body = Body()
    try:
        _read_hex(data, function, zone, body)
    except BrokenError as broken:
        if not (cut and broken.why.reason == Rejection.BAD_LENGTH):
            body.faults.append(broken.why)
    return body


def _read_hex(data: bytes, function: int, zone: ZoneInfo, body: Body) -> None:
    at, observed, step = 0, None, None
    while at < len(data):
        guide, definition = data[at], data[at + 1] if at + 1 < len(data) else -1
        if guide == 0xF0:
            observed, at = _time(_bytes(data, at + 2, 5, "F0"), zone), at + 7
        elif guide == 0xF1:
            at = _station(data, at + 2, function, body)
        elif guide in (0xF2, 0xF3):
            return  # entered by hand, or a picture: understood, and no reading
        elif guide == 0x04:
            step, at = _step(_bytes(data, at + 2, 3, "04")), at + 5
        elif step is not None and function in UNIFORM:
            _uniform(data[at:], observed, step, body)
            return
        elif guide == RAIN_SERIES or guide in LEVEL_SERIES:
            at = read_series(data, at + 2, guide, observed, body)
        elif guide == STATUS:
            word = _bytes(data, at + 2, max(definition >> 3, 1), "45")
            body.items += [
                (observed, key, value) for key, value in status_flags(int.from_bytes(word)).items()
            ]
            at += 2 + len(word)
        else:
            at = _element(data, at, observed, body)


def _bytes(data: bytes, at: int, size: int, what: str) -> bytes:
    found = data[at : at + size]
    if len(found) < size:
        raise BrokenError(
            Rejection.BAD_LENGTH, f"element {what}H has {len(found)} of {size} bytes; the text ends within it"
        )
    return found


def _time(digits: bytes, zone: ZoneInfo) -> int | None:
    if digits.count(0xFF) == len(digits):
        return None
    found = local_us(digits.hex(), zone)
    if found is None:
        raise BrokenError(
            Rejection.BAD_TIME, f"observation time {digits.hex()} is none; send YYMMDDHHmm in local time"
        )
    return found


def _station(data: bytes, at: int, function: int, body: Body) -> int:
    """The address, and the type where one stands: an answer to a query may have none."""
    body.station = _bytes(data, at, 5, "F1").hex().upper()
    at += 5
    sure = data[at + 1 : at + 3] in (b"\xf0\xf0", b"\xf2\xf2", b"\xf3\xf3")
    if at < len(data) and (sure or (function in _WITH_TYPE and data[at] in STATION_TYPES)):
        if data[at] in STATION_TYPES:
            body.kind = chr(data[at])
        at += 1
    return at


def _element(data: bytes, at: int, observed: int | None, body: Body) -> int:
    guide = data[at]
    size = 2 if guide == 0xFF else 1
    name = f"FF{data[at + 1]:02X}" if guide == 0xFF and at + 1 < len(data) else name_of(guide)
    if guide in (0xFD, 0xFE):
        raise BrokenError(
            Rejection.UNSUPPORTED,
            f"element {guide:02X}H has a length of its maker's; nothing after it is read",
        )
    definition = _bytes(data, at + size, 1, name)[0]
    field_ = _bytes(data, at + size + 1, definition >> 3, name)
    _keep(body, observed, name, field_, definition & 7)
    return at + size + 1 + len(field_)


def _keep(body: Body, observed: int | None, name: str, field_: bytes, decimals: int) -> None:
    try:
        value = number(field_, decimals)
    except ValueError:
        body.faults.append(
            Rejected(Rejection.BAD_FRAME, f"element {name} is {field_.hex().upper()}; send BCD digits")
        )
        return
    if value is not None:
        body.items.append((observed, name, value))


def read_series(data: bytes, at: int, guide: int, first: int | None, body: Body) -> int:
    """Twelve values five minutes apart; the observation time before them is that of the first."""
    width, decimals = (1, 1) if guide == RAIN_SERIES else (2, 2)
    said = _bytes(data, at, IN_HOUR * width, f"{guide:02X}")
    name, missing = name_of(guide), (1 << 8 * width) - 1
    for position in range(IN_HOUR):
        value = int.from_bytes(said[position * width : (position + 1) * width])
        if value != missing:
            moment = None if first is None else first + position * FIVE_MINUTES_US
            body.items.append((moment, name, value / 10**decimals))
    return at + IN_HOUR * width


def _step(digits: bytes) -> int:
    """Microseconds of a time step (table C.2: days, hours, minutes; one of them is not 0); 0 = hours of a series."""
    said = digits.hex()
    if not said.isdecimal():
        raise BrokenError(Rejection.BAD_FRAME, f"time step {said} is no BCD; send days, hours and minutes")
    days, hours, minutes = int(said[:2]), int(said[2:4]), int(said[4:])
    return ((days * 24 + hours) * 60 + minutes) * 60_000_000


def _uniform(data: bytes, observed: int | None, step: int, body: Body) -> None:
    """Identifiers once, then their values group by group, each a step after the one before (table 30)."""
    guide = data[0]
    if guide == RAIN_SERIES or guide in LEVEL_SERIES:
        at = 2
        while at < len(data):
            at = read_series(data, at, guide, observed, body)
            observed = None if observed is None else observed + (step or HOUR_US)
        return
    named, at = _identifiers(data)
    width = sum(definition >> 3 for _, definition in named)
    if not width:
        raise BrokenError(
            Rejection.BAD_FRAME, "identifiers of a uniform report say that their values are empty"
        )
    moment = observed
    while at < len(data):
        for name, definition in named:
            field_ = _bytes(data, at, definition >> 3, name)
            _keep(body, moment, name, field_, definition & 7)
            at += len(field_)
        moment = None if moment is None else moment + step


def _identifiers(data: bytes) -> tuple[list[tuple[str, int]], int]:
    """Names and definitions before the values.

    Nothing marks where values begin. A second identifier is one only when it is written exactly as table C.1 has it
    and the rest is whole groups of it and those before.
    """
    size = 2 if data[0] == 0xFF else 1
    first = f"FF{data[1]:02X}" if size == 2 and len(data) > 1 else name_of(data[0])
    named = [(first, _bytes(data, size, 1, first)[0])]
    at = size + 1
    best = (list(named), at)
    while len(named) < 16 and at + 1 < len(data):
        guide, definition = data[at], data[at + 1]
        if guide not in ELEMENTS or definition != definition_of(guide):
            break
        named.append((name_of(guide), definition))
        at += 2
        width = sum(definition >> 3 for _, definition in named)
        if len(data) > at and (len(data) - at) % width == 0:
            best = (list(named), at)
    return best
