"""HJ 212-2017 (and 2005): environmental monitoring stations, one line of text a message over TCP.

``##``, four digits of length, the data, four hexadecimal digits of a sum, CR LF. A device is its MN; a quantity is
its pollutant's code, with ``-minute``, ``-hour`` or ``-day`` where it is a mean over that time.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from city.observations import Rejection
from ingest.decoders.said import Arrival, Link, Rejected, Report, Said

# 6.6.4, commands that bring values: the word that is added to the code. Real time has none.
PERIODS = MappingProxyType({"2011": "", "2031": "-day", "2051": "-minute", "2061": "-hour"})
ALIVE = frozenset(
    {"2021", "2041", "2081", "3019", "9011", "9012", "9013", "9014", "9015"}
)  # a station's, no values
_STATISTICS = MappingProxyType({"Rtd": "", "Avg": "", "Min": "-min", "Max": "-max", "Cou": "-total"})
_USABLE = frozenset({"N", ""})  # 6.6.5: every other flag says that it is no measurement of the thing measured
_ANSWER = 1  # bit 0 of Flag: the sender waits for an answer


def _rounds(mixed: int) -> int:
    for _ in range(8):
        mixed = (mixed >> 1) ^ 0xA001 if mixed & 1 else mixed >> 1
    return mixed


_ROUNDS = tuple(map(_rounds, range(256)))  # the high byte alone is mixed in, so there are no more


def checksum(data: bytes) -> int:
    """The standard's own CRC (appendix A), not Modbus's: the high byte is shifted down before each byte is mixed in."""
    found = 0xFFFF
    for byte in data:
        found = _ROUNDS[(found >> 8) ^ byte]
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One line whose length and sum are right. ``head`` is what stands before CP, ``groups`` what stands in it."""

    head: dict[str, str]
    groups: Sequence[Mapping[str, str]]

    @property
    def wants_answer(self) -> bool:
        """Whether the sender waits for 9014."""
        flag = self.head.get("Flag", "")
        return flag.isascii() and flag.isdigit() and bool(int(flag[:4]) & _ANSWER)


def read_message(payload: bytes) -> Message | Rejected:
    """Take one line apart (6.3); a missing CR LF is forgiven, nothing else is."""
    line = payload.rstrip(b"\r\n")
    if line[:2] != b"##":
        return Rejected(Rejection.BAD_FRAME, f"begins with {line[:2].hex(' ')!r}; a message begins with ##")
    digits = line[2:6]
    if len(line) < 10 or not digits.isdigit():
        return Rejected(
            Rejection.BAD_LENGTH, f"length {digits!r} is not four digits with a sum behind the data"
        )
    length, data = int(digits), line[6:-4]
    if length != len(data):
        return Rejected(Rejection.BAD_LENGTH, f"says {length} bytes of data and has {len(data)}")
    found = f"{checksum(data):04X}".encode()
    if line[-4:].upper() != found:
        return Rejected(
            Rejection.BAD_CHECKSUM, f"sum {line[-4:]!r}, counted {found.decode()}; check the line"
        )
    text = data.decode("gb18030", errors="replace")
    before, _, content = text.partition("CP=&&")
    head = _pairs(before.rstrip(";").split(";"))
    return Message(
        head=head, groups=[_pairs(group.split(",")) for group in content.partition("&&")[0].split(";")]
    )


def _pairs(items: Sequence[str]) -> dict[str, str]:
    found = {}
    for item in items:
        key, equals, value = item.partition("=")
        if equals:
            found[key.strip()] = value.strip()
    return found


class Hj212:
    """Decodes what stations send; the centre's own commands say nothing."""

    family = "hj212"
    filters = ("hj212/#",)
    subscribed = False

    def decode(self, topic: str, payload: bytes, arrival: Arrival) -> Sequence[Said] | Rejected:
        """Values of one station, most often at one time; ``flagged`` counts what its own marks made us leave out."""
        message = read_message(payload)
        if isinstance(message, Rejected):
            return message
        device, command = message.head.get("MN", ""), message.head.get("CN", "")
        if not device:
            return Rejected(Rejection.WRONG_SHAPE, "no MN; a station says its own number")
        if command in ALIVE:
            return [Link(device=device, online=True)]
        if command not in PERIODS:
            return _other(command)
        if not any(message.groups):
            return []  # the centre asks for values
        model = f"ST {message.head.get('ST', '')}".strip()
        return [
            Link(device=device, online=True),
            *_reports(message, device, PERIODS[command], model, arrival),
        ]


def _other(command: str) -> Sequence[Said] | Rejected:
    """What is no report of values: 1000-1999 set and 3000-3999 control a station, the rest of 2000-2999 asks it."""
    if len(command) == 4 and command.isascii() and command.isdigit() and command[0] in "1239":
        return []
    return Rejected(Rejection.UNSUPPORTED, f"command {command[:20]!r} is none of the standard's")


def _reports(
    message: Message, device: str, period: str, model: str, arrival: Arrival
) -> Iterator[Report | Rejected]:
    """One report for each DataTime in the message; QN, else arrival stands in where there is none."""
    sent = _instant(message.head.get("QN", ""), arrival)
    at_us: int | Rejected | None = None if isinstance(sent, Rejected) else sent
    values: dict[str, float] = {}
    flagged = 0
    for group in message.groups:
        if "DataTime" in group:
            if values and not isinstance(at_us, Rejected):
                yield Report(device=device, values=values, at_us=at_us, model=model)
                values = {}
            at_us = _instant(group["DataTime"], arrival)
            if isinstance(at_us, Rejected):
                yield at_us
        if not isinstance(at_us, Rejected):
            found = _values(group, period)
            flagged += found.flagged
            values |= found.values
            yield from found.refused
    if not isinstance(at_us, Rejected) and (values or flagged):
        yield Report(device=device, values=values | {"flagged": float(flagged)}, at_us=at_us, model=model)


@dataclass(slots=True)
class _Found:
    values: dict[str, float]
    flagged: int
    refused: list[Rejected]


def _values(group: Mapping[str, str], period: str) -> _Found:
    """The numbers of one group, ``code-Rtd=…,code-Flag=N`` with any statistics beside each other."""
    found = _Found({}, 0, [])
    for name, text in group.items():
        code, dash, what = name.rpartition("-")
        if not dash or what not in _STATISTICS:
            continue
        if group.get(f"{code}-Flag", "") not in _USABLE or not text:
            found.flagged += 1
            continue
        number = _number(text)
        if isinstance(number, Rejected):
            found.refused.append(Rejected(number.reason, f"{name[:40]} = {number.detail}"))
        else:
            found.values[f"{code}{period}{_STATISTICS[what]}"] = number
    return found


def _number(text: str) -> float | Rejected:
    try:
        number = float(text) if "_" not in text else math.nan
    except ValueError:
        return Rejected(Rejection.WRONG_SHAPE, f"{text[:40]!r} is no number")
    if not math.isfinite(number):
        return Rejected(Rejection.NOT_FINITE, f"{text[:40]!r} is no finite number")
    return number


def _instant(text: str, arrival: Arrival) -> int | Rejected:
    """Microseconds since 1970 UTC of ``YYYYMMDDhhmmss`` with or without milliseconds, in the district's own time."""
    if len(text) in (14, 17) and text.isascii() and text.isdigit():
        month, day, hour, minute, second = (int(text[at : at + 2]) for at in range(4, 14, 2))
        try:
            moment = datetime(int(text[:4]), month, day, hour, minute, second, tzinfo=arrival.zone)
            return int(moment.timestamp()) * 1_000_000 + int(text[14:] or 0) * 1000
        except (ValueError, OverflowError):
            pass
    return Rejected(Rejection.BAD_TIME, f"time {text[:40]!r} is none; send YYYYMMDDhhmmss")


DECODER = Hj212()
