"""SenML in JSON and CBOR (RFC 8428; units also of RFC 8798, versions of RFC 9100): packs to reports in time order.

A pack is taken whole or not at all: one record that cannot be read makes the base fields of the later ones uncertain.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from city.observations import Rejection
from ingest.decoders.json_bodies import FAULTS, fault, oversize
from ingest.decoders.said import MAX_PAYLOAD, Arrival, Rejected, Report, Said
from ingest.decoders.senml_cbor import read_cbor
from ingest.decoders.senml_names import placed, quantity, sum_unit

VERSION = 10
WITH_SECONDARY_UNITS = 26  # RFC 9100: version 10 and the feature of bit 4, which is RFC 8798
RELATIVE_BELOW_US = 2**28 * 1_000_000  # RFC 8428, 4.5.3
FARTHEST_S = 2**40
BELS = 10.0  # Bspl is a level in bel, which nothing else is in
SWITCH = "/"  # RFC 8428, 12.1: 0.0 is off and 1.0 on; a percentage becomes 0 or 100

_WANTED = (
    "a SenML pack: an array of records such as [{'bn': 'urn:dev:ow:10e2:', 'n': 'temp', 'u': 'Cel', 'v': 21}]"
)
_FIXED_LEVELS = frozenset({"senml", "channels", "messages"})  # of the topics; the others name the device


class Record(msgspec.Struct, gc=False):
    """One record as it is sent; None = the field is not there (RFC 8428, table 1)."""

    bn: str | None = None
    bt: float | None = None
    bu: str | None = None
    bv: float | None = None
    bs: float | None = None
    bver: float | None = None
    n: str | None = None
    u: str | None = None
    v: float | None = None
    vs: str | None = None
    vb: bool | None = None
    vd: str | None = None
    s: float | None = None
    t: float | None = None
    ut: float | None = None


class _Value(NamedTuple):
    """One number of the pack, resolved. ``at_us`` is None where the sender says "now"."""

    order_us: int
    device: str
    key: str
    value: float
    unit: str
    at_us: int | None


class _RefusedError(Exception):
    """Stops the reading of a pack; carries the answer."""

    def __init__(self, reason: Rejection, detail: str) -> None:
        self.rejected = Rejected(reason, detail)


_PACK = msgspec.json.Decoder(list[Record])
_LABELS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


class SenML:
    """Topics below ``senml``; what stands before or behind that word names the device of relative names."""

    family = "senml"
    subscribed = True

    def __init__(self, filters: Sequence[str] = ()) -> None:
        self.filters = tuple(filters) or ("senml/#", "+/senml/#", "+/+/senml/#", "channels/+/messages/#")

    def decode(self, topic: str, payload: bytes, arrival: Arrival) -> Sequence[Said] | Rejected:
        """One report for each device and time of the pack, oldest first."""
        if len(payload) > MAX_PAYLOAD:
            return oversize(payload)
        records = read_pack(payload)
        if isinstance(records, Rejected):
            return records
        device = "/".join(level for level in topic.split("/") if level not in _FIXED_LEVELS)
        try:
            _check_version(records)
            return _reports(sorted(_resolved(records, device, arrival), key=_order))
        except _RefusedError as refusal:
            return refusal.rejected


def read_pack(payload: bytes) -> list[Record] | Rejected:
    """The records of either form, told apart by the first byte: no JSON text begins with a CBOR array."""
    if payload[:1] >= b"\x80":
        rows = read_cbor(payload)
        if isinstance(rows, Rejected):
            return rows
        try:
            records = msgspec.convert(rows, list[Record])
        except (msgspec.ValidationError, OverflowError) as error:
            return fault(error, payload, _WANTED)
    else:
        try:
            records = _PACK.decode(payload)
            if (
                b'_"' in payload or b"\\" in payload
            ):  # perhaps a label that ends in _; most packs have neither
                for row in _LABELS.decode(payload):
                    unknown = must_understand(row)
                    if unknown is not None:
                        return unknown
        except FAULTS as error:
            return fault(error, payload, _WANTED)
    return records or Rejected(Rejection.WRONG_SHAPE, f"the pack has no record; send {_WANTED}")


def must_understand(labels: Iterable[str]) -> Rejected | None:
    """RFC 8428, 4.4: a label with ``_`` at its end must be understood, and none is."""
    for label in labels:
        if label.endswith("_"):
            return Rejected(
                Rejection.UNSUPPORTED,
                f"field {label[:40]!r} must be understood (it ends with _) and is not; leave it out",
            )
    return None


def _check_version(records: Sequence[Record]) -> None:
    said = {record.bver for record in records if record.bver is not None}
    for version in said:
        if not (1 <= version <= VERSION or version == WITH_SECONDARY_UNITS) or version % 1:
            raise _RefusedError(
                Rejection.UNSUPPORTED, f"bver {version:g} is not known; send version {VERSION}"
            )
    if records[0].bver is None and said - {VERSION}:
        said.add(VERSION)
    if len(said) > 1:
        raise _RefusedError(
            Rejection.WRONG_SHAPE, "one pack has records of several versions; send one pack for each"
        )


def _resolved(records: Sequence[Record], topic: str, arrival: Arrival) -> list[_Value]:
    """Base fields applied (RFC 8428, 4.1 and 4.6); text and data are understood and left out."""
    name = unit = ""
    time_us, base, total = 0, 0.0, None
    values: list[_Value] = []
    for record in records:
        name = name if record.bn is None else record.bn
        unit = unit if record.bu is None else record.bu
        time_us = time_us if record.bt is None else _us(record.bt)
        base = base if record.bv is None else record.bv
        total = total if record.bs is None else record.bs
        number = _number(record, base)
        if number is None and record.s is None and _is_base_only(record):
            continue
        where = placed(name, record.n or "", topic)
        if isinstance(where, str):
            raise _RefusedError(Rejection.WRONG_SHAPE, where)
        device, key = where
        said_unit = unit if record.u is None else record.u
        key = key or quantity(said_unit)
        at_us, order_us = _when(time_us, record.t, arrival)
        if number is not None:
            shown = said_unit if record.vb is None else SWITCH
            if shown == "Bspl":
                number, shown = number * BELS, "dB"
            values.append(_Value(order_us, device, key, number, shown, at_us))
        integral = _sum(record, total)
        if integral is not None:
            values.append(_Value(order_us, device, f"{key}.sum", integral, sum_unit(said_unit), at_us))
    return values


def _number(record: Record, base: float) -> float | None:
    """The value as a number, None for text, data or none; refuses two values, or none where one must be."""
    given = (
        (record.v is not None) + (record.vs is not None) + (record.vb is not None) + (record.vd is not None)
    )
    if given > 1:
        raise _RefusedError(
            Rejection.WRONG_SHAPE,
            f"record {record.n or record.bn or ''!r} has {given} values; send one of v, vs, vb, vd",
        )
    if record.v is not None:
        return _finite(record.v + base)
    if record.vb is not None:
        return 1.0 if record.vb else 0.0
    if not given and record.s is None and not _is_base_only(record):
        raise _RefusedError(
            Rejection.WRONG_SHAPE,
            f"record {record.n or ''!r} has neither a value nor a sum; send v, vs, vb, vd or s",
        )
    return None


def _sum(record: Record, total: float | None) -> float | None:
    """A base sum alone is a sum as well (RFC 8428, 4.5.4), of the records that measure a number."""
    if record.s is not None:
        return _finite(record.s + (total or 0.0))
    return total if record.v is not None else None


def _is_base_only(record: Record) -> bool:
    return (
        record.n is None
        and record.u is None
        and record.t is None
        and record.v is None
        and record.vs is None
        and record.vb is None
        and record.vd is None
    )


def _when(base_us: int, seconds: float | None, arrival: Arrival) -> tuple[int | None, int]:
    """The time to store and the time to sort by; below 2**28 seconds both count from arrival."""
    at_us = base_us + _us(seconds or 0.0)
    if abs(at_us) >= RELATIVE_BELOW_US:
        return at_us, at_us
    return (arrival.received_us + at_us) if at_us else None, arrival.received_us + at_us


def _us(seconds: float) -> int:
    """Base time and time are rounded apart: their sum in doubles would lose the microseconds."""
    if not math.isfinite(seconds) or abs(seconds) > FARTHEST_S:
        raise _RefusedError(Rejection.TIME_OUT_OF_RANGE, f"time {seconds!r} is no time in seconds since 1970")
    return round(seconds * 1e6)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise _RefusedError(Rejection.NOT_FINITE, "a value is not finite; leave its record out")
    return value


def _order(value: _Value) -> int:
    return value.order_us


def _reports(values: Iterable[_Value]) -> list[Report]:
    """One report for each device and time; a quantity said twice at one time begins another."""
    made: list[Report] = []
    open_: dict[tuple[str, int | None], tuple[dict[str, float], dict[str, str]]] = {}
    for value in values:
        found = open_.get((value.device, value.at_us))
        if found is None or value.key in found[0]:
            found = {}, {}
            open_[value.device, value.at_us] = found
            made.append(Report(device=value.device, values=found[0], at_us=value.at_us, units=found[1]))
        found[0][value.key] = value.value
        if value.unit:
            found[1][value.key] = value.unit
    return made


DECODER = SenML()
