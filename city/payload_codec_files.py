"""Descriptions of payloads as people write them (docs/profiles.md): TOML tables to codecs, every fault named. Pure."""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from city.district_source import Faults, TomlTable
from city.payload_codecs import MAX_BYTES, Codec, Condition, Field, Groups, Item, Items, Order, Records, Role

_TYPE = re.compile(r"(?:([ui])(8|16|24|32|40|48|64)|f(32|64)|bcd([1-8]))")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.{}-]{0,63}")
_ORDERS: tuple[Order, ...] = ("big", "little", "big-words-swapped", "little-words-swapped")
_HEADER = ("channel", "type", "length")
_MOST_FIELDS = 400
_CODEC = ("extends", "ports", "order", "fields", "items", "header", "start", "groups", "flags", "records")
_FIELD = (
    "key",
    "at",
    "type",
    "order",
    "bit",
    "bits",
    "scale",
    "add",
    "missing",
    "map",
    "unit",
    "when",
    "role",
)


def parse_codec(where: str, code: str, entry: Any, faults: Faults, known: Mapping[str, Codec]) -> Codec:
    """One description; ``where`` names its place in a file. What is faulty is noted and left out.

    ``extends`` names one of the ``known`` codecs, whose fields and items are taken over; equal items are replaced.
    """
    codec = _Reader(where, entry, faults).codec(code)
    base = entry.get("extends") if isinstance(entry, dict) else None
    if base is None:
        return codec
    if not isinstance(base, str) or base not in known:
        faults.value(
            where, "extends", base, f"write the name of a codec ({', '.join(sorted(known)) or 'none'})"
        )
        return codec
    return _extended(known[base], codec)


def _extended(base: Codec, own: Codec) -> Codec:
    items = own.items or base.items
    if base.items is not None and own.items is not None:
        items = replace(base.items, table={**base.items.table, **own.items.table})
    return replace(
        own,
        ports=own.ports or base.ports,
        fields=(*base.fields, *own.fields),
        items=items,
        groups=own.groups or base.groups,
        records=own.records or base.records,
        units={**base.units, **own.units},
    )


class _Reader:
    """One table being read: where it stands, and the byte order that its fields share."""

    def __init__(self, where: str, entry: Any, faults: Faults) -> None:
        self._where = where
        self._faults = faults
        TomlTable(where, entry, _CODEC, faults)
        self._entry: Mapping[str, Any] = entry if isinstance(entry, dict) else {}
        self._order: Order = self._one_of(where, "order", self._entry.get("order", "big"), _ORDERS, "big")
        self._count = 0
        self._units: dict[str, str] = {}

    def codec(self, code: str) -> Codec:
        entry, where = self._entry, self._where
        parts = [name for name in ("fields", "items", "groups", "records") if name in entry]
        if not parts and "extends" not in entry:
            self._faults.add(where, "describes nothing", "add fields, items, groups or records")
        return Codec(
            code=code,
            ports=self._bytes(where, "ports", entry.get("ports", []), 255),
            fields=self._fields(where, entry.get("fields", []), None),
            items=self._items() if "items" in entry else None,
            groups=self._groups() if "groups" in entry else None,
            records=self._records() if "records" in entry else None,
            units=self._units,
        )

    def _items(self) -> Items:
        where, entry = self._where, self._entry
        header = entry.get("header", ["channel", "type"])
        if (
            not isinstance(header, list)
            or not header
            or len(set(map(str, header))) != len(header)
            or not set(map(str, header)) <= set(_HEADER)
        ):
            self._faults.value(
                where, "header", header, 'write one such as ["channel", "type"], each word once'
            )
            header = ["channel", "type"]
        table: dict[tuple[int | None, int | None], Item] = {}
        for number, one in enumerate(self._list(where, "items", entry["items"])):
            place = f"{where} items[{number}]"
            TomlTable(place, one, ("channel", "type", "length", "fields"), self._faults)
            channel = self._whole(place, "channel", one.get("channel"), 0, 255)
            kind = self._whole(place, "type", one.get("type"), 0, 255)
            if channel is None and kind is None:
                self._faults.add(place, "neither channel nor type", "add the byte that it is known by")
            if (channel, kind) in table:
                self._faults.add(place, f"channel {channel}, type {kind} stands there twice", "keep one")
            table[channel, kind] = self._item(place, one, need_length="length" not in header)
        return Items(start=self._start(where, entry), header=tuple(header), table=table)

    def _groups(self) -> Groups:
        where, entry = self._where, self._entry
        flags = self._field(f"{where} flags", entry.get("flags"), None, named=False)
        if flags is not None and flags.kind != "u":
            self._faults.value(f"{where} flags", "type", flags.kind, "flags are u8, u16, u24 or u32")
        groups = []
        for number, one in enumerate(self._list(where, "groups", entry["groups"])):
            place = f"{where} groups[{number}]"
            TomlTable(place, one, ("bit", "length", "fields"), self._faults)
            bit = self._whole(place, "bit", one.get("bit"), 0, 31)
            if bit is None:
                self._faults.add(place, "bit is missing", "add the bit of the flags that says it is there")
            groups.append((bit or 0, self._item(place, one)))
        return Groups(
            flags=flags or Field(key="", at=0, kind="u", width=1),
            start=self._start(where, entry),
            groups=tuple(groups),
        )

    def _records(self) -> Records:
        place, one = f"{self._where} records", self._entry["records"]
        TomlTable(place, one, ("start", "length", "fields", "when"), self._faults)
        one = one if isinstance(one, dict) else {}
        each = self._item(place, one)
        if each.length < 1:
            self._faults.value(place, "length", each.length, "write how many bytes one record has")
            each = Item(length=1)
        if not any(field.role != "value" for field in each.fields):
            self._faults.add(place, "no time", 'give one field role = "time" or role = "age"')
        return Records(start=self._start(place, one), each=each, when=self._when(place, one.get("when")))

    def _item(self, where: str, one: Mapping[str, Any], *, need_length: bool = True) -> Item:
        length = self._whole(where, "length", one.get("length"), 0, MAX_BYTES)
        if length is None and need_length:
            self._faults.add(where, "length is missing", "add how many bytes its value has")
        fields = self._fields(where, one.get("fields", []), length)
        if length is None:  # the frame says it; so much it has to be
            length = max((field.at + field.width for field in fields), default=0)
        return Item(length=length, fields=fields)

    def _fields(self, where: str, said: Any, room: int | None) -> tuple[Field, ...]:
        found = [
            self._field(f"{where} fields[{number}]", one, room)
            for number, one in enumerate(self._list(where, "fields", said))
        ]
        self._count += len(found)
        if self._count > _MOST_FIELDS:
            self._faults.add(where, f"more than {_MOST_FIELDS} fields", "leave out what nobody looks at")
        return tuple(one for one in found if one is not None)

    def _field(self, where: str, said: Any, room: int | None, *, named: bool = True) -> Field | None:
        table = TomlTable(where, said, _FIELD, self._faults)
        one: Mapping[str, Any] = said if isinstance(said, dict) else {}
        role: Role = self._one_of(where, "role", one.get("role", "value"), ("value", "time", "age"), "value")
        key = table.text("key", required=named and role == "value")
        if key and not _KEY.fullmatch(key):
            self._faults.value(where, "key", key, "write a word such as water_level")
        matched = _TYPE.fullmatch(str(one.get("type", "")))
        if matched is None:
            known = "u8 … u64, i8 … i64, f32, f64 or bcd1 … bcd8"
            self._faults.value(where, "type", one.get("type"), f"write one of {known}")
            return None
        sign, whole, real, decimal = matched.groups()
        width = int(decimal) if decimal else int(whole or real) // 8
        at = self._whole(where, "at", one.get("at", 0), -MAX_BYTES, MAX_BYTES) or 0
        if room is not None and not (-room <= at and at + width <= (room if at >= 0 else 0)):
            self._faults.value(
                where, "at", at, f"its {width} bytes have to be within the {room} of the value"
            )
        unit = table.text("unit", required=False)
        if key and self._units.setdefault(key, unit) != unit:
            self._faults.value(
                where, "unit", unit, f"{key} has {self._units[key]!r} elsewhere; use one of the two"
            )
        return Field(
            key=key,
            at=at,
            kind=sign or ("f" if real else "bcd"),
            width=width,
            order=self._one_of(where, "order", one.get("order", self._order), _ORDERS, "big"),
            bits=self._bits(where, one, 8 * width),
            scale=self._number(where, "scale", one.get("scale", 1.0), zero=False),
            add=self._number(where, "add", one.get("add", 0.0)),
            missing=self._numbers(where, one.get("missing", [])),
            map=self._map(where, one.get("map")),
            unit=unit,
            when=self._when(where, one.get("when")),
            role=role,
        )

    # ── single values ────────────────────────────────────────────────────────────────────────────────

    def _when(self, where: str, said: Any) -> Condition | None:
        if said is None:
            return None
        place = f"{where} when"
        TomlTable(place, said, ("port", "length", "at", "mask", "is"), self._faults)
        one: Mapping[str, Any] = said if isinstance(said, dict) else {}
        at = self._whole(place, "at", one.get("at"), -MAX_BYTES, MAX_BYTES)
        values = self._bytes(place, "is", one.get("is", []), 255)
        if (at is None) != (not values):
            self._faults.add(place, "at and is stand together", "say which byte has to be what")
        mask = self._whole(place, "mask", one.get("mask", 255), 1, 255)
        return Condition(
            ports=self._bytes(place, "port", one.get("port", []), 255),
            lengths=self._bytes(place, "length", one.get("length", []), MAX_BYTES),
            at=at,
            mask=255 if mask is None else mask,
            values=values,
        )

    def _bits(self, where: str, one: Mapping[str, Any], width: int) -> tuple[int, int] | None:
        """``bit = 3`` or ``bits = [0, 12]``: the lowest, and how many."""
        said = [one["bit"], 1] if "bit" in one else one.get("bits")
        if said is None:
            return None
        whole = isinstance(said, list) and len(said) == 2 and all(type(part) is int for part in said)
        if not whole or not (said[0] >= 0 and said[1] >= 1 and said[0] + said[1] <= width):
            self._faults.value(where, "bits", said, f"write the lowest and how many of its {width}: [0, 12]")
            return None
        return said[0], said[1]

    def _map(self, where: str, said: Any) -> dict[int, float] | None:
        if said is None:
            return None
        found: dict[int, float] = {}
        for raw, value in said.items() if isinstance(said, dict) else [("", None)]:
            try:
                found[int(raw, 0)] = self._number(where, "map", value)
            except ValueError:
                self._faults.value(where, "map", said, "write a table such as { 0 = 0, 1 = 100 }")
        return found

    def _start(self, where: str, entry: Mapping[str, Any]) -> int:
        return self._whole(where, "start", entry.get("start", 0), 0, MAX_BYTES) or 0

    def _list(self, where: str, key: str, said: Any) -> list[Any]:
        if not isinstance(said, list) or not all(isinstance(one, dict) for one in said):
            self._faults.value(where, key, said, "write a list of tables")
            return []
        return said

    def _whole(self, where: str, key: str, said: Any, low: int, high: int) -> int | None:
        if said is None:
            return None
        if type(said) is not int or not low <= said <= high:
            self._faults.value(where, key, said, f"write a whole number from {low} to {high}")
            return None
        return said

    def _number(self, where: str, key: str, said: Any, *, zero: bool = True) -> float:
        fine = isinstance(said, int | float) and not isinstance(said, bool) and abs(said) < 1e300
        if not fine or not math.isfinite(said) or not (said or zero):
            self._faults.value(where, key, said, "write a number" if zero else "write a number other than 0")
            return 1.0
        return float(said)

    def _numbers(self, where: str, said: Any) -> frozenset[int]:
        if not isinstance(said, list) or any(type(one) is not int for one in said):
            self._faults.value(
                where, "missing", said, "write a list of whole numbers, before scale: [0xFFFF]"
            )
            return frozenset()
        return frozenset(said)

    def _bytes(self, where: str, key: str, said: Any, most: int) -> frozenset[int]:
        """One number or a list of them."""
        numbers = said if isinstance(said, list) else [said]
        if any(type(one) is not int or not 0 <= one <= most for one in numbers):
            self._faults.value(where, key, said, f"write numbers from 0 to {most}")
            return frozenset()
        return frozenset(numbers)

    def _one_of(self, where: str, key: str, said: Any, known: Collection[Any], usual: Any) -> Any:
        if said not in known:
            self._faults.value(where, key, said, f"write one of {', '.join(known)}")
            return usual
        return said
