"""What the bytes of a LoRaWAN device mean, as a description instead of a program: decoding.

Pure, and bounded by the frame: each byte is read a fixed number of times. A vendor's JavaScript would run a stranger's
program inside ingest; four tables (fields, items, groups, records) describe nearly every sensor as well, and a person
can read them (docs/profiles.md). ``payload_codec_files`` reads them from TOML.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

MAX_BYTES = 512  # a LoRaWAN frame carries at most 242
_MOST_READINGS = 300

Order = Literal["big", "little", "big-words-swapped", "little-words-swapped"]
Role = Literal["value", "time", "age"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """When something is there at all; what is empty or None is not asked. ``at`` is a byte of the whole frame."""

    ports: frozenset[int] = frozenset()
    lengths: frozenset[int] = frozenset()
    at: int | None = None
    mask: int = 0xFF
    values: frozenset[int] = frozenset()

    def holds(self, data: bytes, port: int) -> bool:
        """Whether it is so in this frame."""
        if (self.ports and port not in self.ports) or (self.lengths and len(data) not in self.lengths):
            return False
        if self.at is None:
            return True
        place = self.at if self.at >= 0 else len(data) + self.at
        return 0 <= place < len(data) and data[place] & self.mask in self.values


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One number: ``raw * scale + add``, ``raw`` being ``width`` bytes from ``at`` on (negative = from the end).

    ``kind`` is u, i (two's complement), f (IEEE 754) or bcd. ``bits`` are (lowest, how many). ``missing`` and what is
    not in ``map`` stand for "no value". A field with the role time (seconds since 1970 UTC) or age (seconds before the
    uplink) says when the others beside it were measured.
    """

    key: str
    at: int
    kind: str
    width: int
    order: Order = "big"
    bits: tuple[int, int] | None = None
    scale: float = 1.0
    add: float = 0.0
    missing: frozenset[int] = frozenset()
    map: Mapping[int, float] | None = None
    unit: str = ""
    when: Condition | None = None
    role: Role = "value"


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """What follows one channel and type: ``length`` bytes with fields in them, counted from the first of them."""

    length: int
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Items:
    """``channel type value…`` again and again. ``header`` names the bytes before each value; None = any channel."""

    start: int
    header: tuple[str, ...]
    table: Mapping[tuple[int | None, int | None], Item]


@dataclass(frozen=True, kw_only=True, slots=True)
class Groups:
    """Sensors whose values are there when their bit of ``flags`` is set, one after the other from ``start`` on."""

    flags: Field
    start: int
    groups: tuple[tuple[int, Item], ...]  # bit, what it brings


@dataclass(frozen=True, kw_only=True, slots=True)
class Records:
    """Equal records from ``start`` to the end, each with its own time or age; ``ports`` empty = on any."""

    start: int
    each: Item
    when: Condition | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Codec:
    """A whole description. ``ports`` empty = any; on others the frame is somebody else's."""

    code: str
    ports: frozenset[int] = frozenset()
    fields: tuple[Field, ...] = ()
    items: Items | None = None
    groups: Groups | None = None
    records: Records | None = None
    units: Mapping[str, str] = field(default_factory=dict)  # by key, as every field states it


class Reading(NamedTuple):
    """Values of one moment; ``time_s`` since 1970 UTC or ``age_s`` before the uplink where the bytes say it."""

    values: dict[str, float]
    time_s: float | None = None
    age_s: float | None = None


class Decoded(NamedTuple):
    """What was understood, and in words what was not ("" = everything was)."""

    readings: list[Reading]
    units: dict[str, str]  # of the keys whose fields state one
    fault: str = ""


class _ShortError(Exception):
    """A field lies behind the end of the frame."""


def decode(codec: Codec, data: bytes, port: int) -> Decoded:
    """The readings in a frame; never raises. What precedes the first unknown byte is kept."""
    if codec.ports and port not in codec.ports:
        ports = ", ".join(map(str, sorted(codec.ports)))
        return Decoded([], {}, f"it describes port {ports}")
    if not data or len(data) > MAX_BYTES:
        return Decoded([], {}, f"{len(data)} bytes; a frame has 1 to {MAX_BYTES}")
    frame = _Frame(data, port)
    try:
        frame.take(codec.fields, 0)
        if codec.groups is not None:
            frame.groups(codec.groups)
        if codec.records is not None and (codec.records.when is None or codec.records.when.holds(data, port)):
            frame.records(codec.records)
        if codec.items is not None:
            frame.items(codec.items)
    except _ShortError as error:
        frame.fault = str(error)
    return Decoded(frame.readings(), frame.units, frame.fault)


class _Frame:
    """One frame being read. Values without a time of their own come together in one reading."""

    def __init__(self, data: bytes, port: int) -> None:
        self._data = data
        self._port = port
        self._now: dict[str, float] = {}
        self._when: tuple[float | None, float | None] = (None, None)
        self._others: list[Reading] = []
        self.units: dict[str, str] = {}
        self.fault = ""

    def readings(self) -> list[Reading]:
        """Of the moment of the uplink first, then those of the device's memory."""
        return ([Reading(self._now, *self._when)] if self._now else []) + self._others[:_MOST_READINGS]

    def take(self, fields: Sequence[Field], begin: int) -> None:
        """Fields of the uplink itself; a time among them is the uplink's."""
        values, when = self._read(fields, begin, None)
        self._now |= values
        self._when = when if when != (None, None) else self._when

    def items(self, items: Items) -> None:
        """Channel, type, value, until the end."""
        place = items.start
        while place < len(self._data):
            names = dict.fromkeys(("channel", "type", "length"), -1)
            begin = place + len(items.header)
            for name, byte in zip(items.header, self._data[place:begin], strict=False):
                names[name] = byte
            channel, kind = names["channel"], names["type"]
            table = items.table
            item = table.get((channel, kind)) or table.get((None, kind)) or table.get((channel, None))
            length = names["length"] if names["length"] >= 0 else item.length if item is not None else -1
            if length < 0:
                known = " ".join(f"{byte:02x}" for byte in self._data[place:begin])
                self.fault = f"byte {place}: no entry for {known}; add it to the codec's items"
                return
            if begin + length > len(self._data) or (item is not None and item.length > length):
                length = max(length, item.length if item is not None else 0)
                self.fault = f"byte {begin}: {length} bytes wanted, {max(0, len(self._data) - begin)} left"
                return
            if item is not None:
                self._bring(item, begin, channel)
            place = begin + length

    def groups(self, groups: Groups) -> None:
        """What the flags say is there."""
        flags = self._raw(groups.flags, 0)
        place = groups.start
        for bit, item in groups.groups:
            if int(flags) >> bit & 1:
                self._bring(item, place, None)
                place += item.length

    def records(self, records: Records) -> None:
        """Equal records to the end; an incomplete one is a fault."""
        place = records.start
        while place + records.each.length <= len(self._data):
            self._bring(records.each, place, None)
            place += records.each.length
        if place < len(self._data):
            self.fault = (
                f"byte {place}: {len(self._data) - place} bytes left of a record of {records.each.length}"
            )

    def _bring(self, item: Item, begin: int, channel: int | None) -> None:
        values, when = self._read(item.fields, begin, channel)
        if not any(one.role != "value" for one in item.fields):
            self._now |= values
        elif when != (None, None) and values:  # without one the slot is empty: nothing was remembered in it
            self._others.append(Reading(values, *when))

    def _read(
        self, fields: Sequence[Field], begin: int, channel: int | None
    ) -> tuple[dict[str, float], tuple[float | None, float | None]]:
        values: dict[str, float] = {}
        time_s = age_s = None
        for one in fields:
            if one.when is not None and not one.when.holds(self._data, self._port):
                continue
            value = _value(one, self._raw(one, begin))
            if value is None:
                continue
            if one.role == "time":
                time_s = value
            elif one.role == "age":
                age_s = value
            else:
                key = one.key if channel is None else one.key.replace("{channel}", str(channel))
                values[key] = value
                if one.unit:
                    self.units[key] = one.unit
        return values, (time_s, age_s)

    def _raw(self, one: Field, begin: int) -> float:
        """The number as it stands there; NaN for what is none."""
        place = begin + one.at if one.at >= 0 else len(self._data) + one.at
        part = self._data[max(0, place) : place + one.width]
        if len(part) < one.width:
            raise _ShortError(
                f"byte {place}: {one.key or one.role} is beyond the {len(self._data)} bytes there are"
            )
        return _number(part, one)


def _number(part: bytes, one: Field) -> float:
    if one.order.endswith("words-swapped"):
        part = b"".join(part[i : i + 2] for i in range(len(part) - 2, -1, -2))
    order: Literal["big", "little"] = "big" if one.order.startswith("big") else "little"
    if one.kind == "f":
        mark = (">" if order == "big" else "<") + ("f" if one.width == 4 else "d")
        return float(struct.unpack(mark, part)[0])
    if one.kind == "bcd":
        digits = (part if order == "big" else part[::-1]).hex()
        return int(digits) if digits.isdecimal() else math.nan
    raw = int.from_bytes(part, order, signed=one.kind == "i")
    if one.bits is not None:
        low, count = one.bits
        raw = raw >> low & (1 << count) - 1
    return raw


def _value(one: Field, raw: float) -> float | None:
    if not math.isfinite(raw) or raw in one.missing:
        return None
    if one.map is not None:
        return one.map.get(int(raw))
    if one.role == "time" and raw <= 0:
        return None
    if one.scale == 1.0 and not one.add:
        return float(raw)
    # Twelve digits are more than any sensor has; what is beyond comes of 0.1 being no binary fraction.
    return float(f"{raw * one.scale + one.add:.12g}")
