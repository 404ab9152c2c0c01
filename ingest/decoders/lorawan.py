"""What ChirpStack and The Things Stack say in the same way: decoded objects, times, gateways' signal.

Both are JSON of protocol buffers: what is 0, false or empty is left out, and 64-bit numbers may be texts.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

import msgspec

from city.observations import Rejection
from ingest.decoders.json_bodies import body
from ingest.decoders.said import MAX_VALUES, Rejected

T = TypeVar("T")

MAX_FRAME = (
    512  # bytes; LoRaWAN carries at most 242 (regional parameters RP002, table of maximum payload sizes)
)
_DEEPEST = 8  # levels of a decoded object that are followed
_MOST_RECORDS = 500  # of one uplink; 242 bytes do not hold more

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?")
_EUI = re.compile(r"[0-9a-fA-F]{16}")
_TIMES = frozenset(
    {"time", "timestamp", "ts", "datetime", "date_time", "data_time", "recorded_at", "unix_time"}
)

# What vendors' decoders write for the two states of a switch. Others (modes, versions) are no measurements.
_ON = """on true yes alarm abnormal open opened trigger triggered occupied leak leaking detected fire smoke tampered
tilt tilted"""
_OFF = "off false no normal idle close closed untriggered vacant released cleared ok"
_OFF_IN_TWO = (
    "not triggered",
    "not detected",
    "no leak",
    "no alarm",
    "alarm release",
    "alarm released",
    "no smoke",
    "no fire",
)
_WORDS = dict.fromkeys(_ON.split(), 1.0) | dict.fromkeys([*_OFF.split(), *_OFF_IN_TWO], 0.0)


class Record(NamedTuple):
    """One record of a device's memory, at its own time."""

    at_us: int
    values: dict[str, float]


class Signal(msgspec.Struct, frozen=True, gc=False):
    """How one gateway heard an uplink: dBm and dB, its name, when it says it was."""

    gateway: str
    rssi: float
    snr: float
    time: str = ""


class Flat(NamedTuple):
    """A decoded object as numbers by path, the units it states, and the records of the device's memory in it."""

    values: dict[str, float]
    records: list[Record]
    units: dict[str, str]


class NotSaidError(ValueError):
    """A part of a message that cannot be understood; ``why`` is the answer."""

    def __init__(self, reason: Rejection, detail: str) -> None:
        super().__init__(detail)
        self.why = Rejected(reason, detail)


def parsed(decoder: msgspec.json.Decoder[T], payload: bytes, wanted: str) -> T:
    """The message as the decoder's type; ``wanted`` completes the sentence "send …". Raises NotSaidError."""
    told = body(decoder, payload, wanted)
    if isinstance(told, Rejected):
        raise NotSaidError(told.reason, told.detail)
    return told


def instant_us(field: str, text: str | None) -> int | None:
    """Microseconds since 1970 UTC of RFC 3339 with up to nine decimals (cut to six); None = not given.

    Raises NotSaidError for another text.
    """
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError
        passed = moment - _EPOCH
    except (ValueError, OverflowError) as error:
        remedy = "it has to be RFC 3339 with an offset, as 2026-11-21T18:40:00.123456789Z"
        raise NotSaidError(Rejection.BAD_TIME, f"{field} is {text[:40]!r}; {remedy}") from error
    return passed.days * 86_400_000_000 + passed.seconds * 1_000_000 + passed.microseconds


def frame(field: str, text: str) -> bytes:
    """The bytes of a LoRaWAN payload in base64, which both networks write. Raises NotSaidError."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NotSaidError(Rejection.WRONG_SHAPE, f"{field} is {text[:40]!r}; it has to be base64") from error
    if len(data) > MAX_FRAME:
        raise NotSaidError(
            Rejection.BAD_LENGTH, f"{field} holds {len(data)} bytes; a LoRaWAN frame carries at most 242"
        )
    return data


def port(field: str, number: int | None) -> int:
    """An FPort, 0 when it is left out. Raises NotSaidError for what does not fit in its byte."""
    if number is not None and not 0 <= number <= 255:
        raise NotSaidError(Rejection.WRONG_SHAPE, f"{field} is {number}; a port is 0 to 255")
    return number or 0


def eui(text: str) -> str:
    """A device's EUI in small hexadecimal digits, from these or (ChirpStack v3) base64; "" when it is neither."""
    if _EUI.fullmatch(text):
        return text.lower()
    if len(text) == 12:
        try:
            return base64.b64decode(text, validate=True).hex() if text.endswith("=") else ""
        except (binascii.Error, ValueError):
            return ""
    return ""


def best(signals: Iterable[Signal]) -> Signal | None:
    """The gateway that heard it best, by the signal over the noise: by that a network picks the way back."""
    return max(signals, key=lambda one: (one.snr, one.rssi), default=None)


def flattened(decoded: Mapping[str, Any], depth: int = 0) -> Flat:
    """Numbers and switches of a decoded object, nested keys joined with dots, and its records apart.

    A list whose entries carry times is the device's memory: one record each, under the keys they have there, so that
    what was missed lands in the series it belongs to. Texts that are numbers count as numbers ("13.25"), and
    ``{"value": 3.1, "unit": "V"}`` (Decentlab's decoders among others) is a number with its unit.
    """
    flat = Flat({}, [], {})
    left: list[tuple[str, Any, int]] = [("", decoded, depth)]
    while left:
        path, one, level = left.pop()
        if isinstance(one, list) and level < _DEEPEST:
            if not _take_records(one, level, flat):
                left += _below(path, enumerate(one), level)
        elif isinstance(one, Mapping) and level < _DEEPEST:
            if path and "value" in one and "unit" in one:
                left.append((path, one["value"], level + 1))
                if isinstance(one["unit"], str):
                    flat.units[path] = one["unit"][:48]
            else:
                left += _below(path, one.items(), level)
        elif (number := _number(one)) is not None:
            flat.values[path] = number
            if len(flat.values) > MAX_VALUES:  # enough for the register to refuse it
                break
    return flat


def _below(path: str, pairs: Iterable[tuple[Any, Any]], level: int) -> list[tuple[str, Any, int]]:
    """Entries one level down, in the order in which a stack gives them back."""
    named = [(str(key), entry) for key, entry in pairs]
    return [
        (f"{path}.{key}" if path else key, entry, level + 1)
        for key, entry in reversed(named)
        if key.lower() not in _TIMES
    ]


def _take_records(entries: list[Any], level: int, flat: Flat) -> bool:
    """Whether these were records, each with its own time."""
    times = [_record_time(entry) for entry in entries[:_MOST_RECORDS]]
    if not times or None in times:
        return False
    for at, entry in zip(times, entries, strict=False):
        inside = flattened(entry, level + 1)
        flat.units.update(inside.units)
        if at is not None and inside.values:
            flat.records.append(Record(at, inside.values))
    return True


def _record_time(entry: Any) -> int | None:
    """When an entry of a list was measured; None = it is no record, or its time is none."""
    if not isinstance(entry, Mapping):
        return None
    said = next((said for key, said in entry.items() if str(key).lower() in _TIMES), None)
    return _moment(said)


def _moment(said: Any) -> int | None:
    """A record's time: RFC 3339, or seconds or milliseconds since 1970. Without an offset it is UTC, which is the
    clock a LoRaWAN device is set by (DeviceTimeAns)."""
    if isinstance(said, str):
        if said.isascii() and said.isdigit() and len(said) < 14:
            said = int(said)
        else:
            try:
                moment = datetime.fromisoformat(said)
            except ValueError:
                return None
            moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
            return instant_us("time", moment.isoformat())
    if isinstance(said, bool) or not isinstance(said, int | float):
        return None
    if 10**8 < said < 10**10:
        return int(said * 1_000_000)
    return int(said * 1000) if 10**11 < said < 10**14 else None


def _number(said: Any) -> float | None:
    if isinstance(said, bool | int | float):
        try:
            return float(said)
        except OverflowError:
            return None
    if isinstance(said, str) and len(said) <= 40:
        if _NUMBER.fullmatch(said):
            return float(said)
        return _WORDS.get(said.strip().lower())
    return None
