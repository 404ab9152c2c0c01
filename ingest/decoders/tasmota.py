"""Tasmota: ``tele/<topic>/SENSOR`` and its neighbours, also with the full topic turned round (``<topic>/tele/SENSOR``).

Nested objects become keys with dots (``AM2301.Temperature``), lists are numbered from 1 (``ENERGY.Power.2``). Only
telemetry and the state of switches are readings; answers to commands are not (``stat/…/RESULT`` is mostly those).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec

from city.observations import Rejection
from ingest.decoders.json_bodies import body
from ingest.decoders.said import MAX_VALUES, Announced, Arrival, Link, Rejected, Report, Said

DEEPEST = 5  # levels of a key
UNSET_BEFORE = 2001  # a device that has not asked a time server yet says 1970, some clocks 2000
SATURATED = 1024.0  # the ESP8266's converter at its end (``A0``): a wire is off, nothing was measured

_WANTED = 'a JSON object such as {"Time": "2024-02-24T22:20:38", "AM2301": {"Temperature": 21.5}}'
_PREFIXES = ("tele", "stat")
_SWITCHES = {"ON": 1.0, "OFF": 0.0}
_TEMPERATURES = frozenset({"Temperature", "DewPoint", "HeatIndex", "OBJTMP", "AMBTMP"})
_PRESSURES = frozenset({"Pressure", "SeaPressure"})
_TEMPERATURE_UNITS = {"C": "Cel", "F": "°F", "K": "K"}
_SPEED_UNITS = {"kn": "knot"}
# times, units, identifiers, settings and counters of the device itself
# fmt: off
_LEFT_OUT = frozenset({
    "Time", "Epoch", "TempUnit", "PressureUnit", "SpeedUnit", "Id", "ID", "UID", "Address", "Addr",
    "Channel", "BSSId", "SSId", "AP", "Sleep", "SleepMode", "LinkCount", "MqttCount", "Downtime", "Uptime",
    "TotalStartTime", "Berry", "Endpoint", "Group", "Cluster", "RfReceived", "IrReceived", "IrHVAC",
    "SerialReceived", "RfRaw", "TuyaReceived", "Scheme", "Palette", "Fade", "LedTable",
})
# fmt: on
_OF_RESULTS = re.compile(r"POWER\d{0,2}|Switch\d{1,2}|PIR\d?")
_ANALOG = frozenset({"Analog0", "ANALOG.A0"})
_NO_LEVELS = str.maketrans("/+#", "...")  # raw Zigbee attributes are FF00/0001

_JSON = msgspec.json.Decoder(dict[str, Any])

Told = Mapping[str, Any]


class Tasmota:
    """Topics below ``tele`` and ``stat``, before or behind the device's own, and Tasmota's discovery."""

    family = "tasmota"
    subscribed = True
    filters = (
        "tele/#",
        "stat/#",
        *(f"{levels}/{prefix}/+" for levels in ("+", "+/+", "+/+/+", "+/+/+/+") for prefix in _PREFIXES),
        "tasmota/discovery/+/+",
    )

    def decode(self, topic: str, payload: bytes, arrival: Arrival) -> Sequence[Said] | Rejected:
        """Readings, the last will, or what the device tells of itself."""
        device, what = device_of(topic)
        if not device:
            return Rejected(
                Rejection.BAD_TOPIC, f"{topic[:80]} does not name a device; use tele/<topic>/SENSOR"
            )
        if what == "LWT":
            return _link(device, payload)
        take = _MESSAGES.get(what)
        if take is None:  # UPTIME, LOGGING, POWER as plain text beside its RESULT: nothing to keep
            return []
        told = body(_JSON, payload, _WANTED)
        return told if isinstance(told, Rejected) else take(device, told, arrival)


def device_of(topic: str) -> tuple[str, str]:
    """The device's own topic and what the message is; "" where the topic is none of Tasmota's."""
    levels = topic.split("/")
    if levels[:2] == ["tasmota", "discovery"] and len(levels) == 4:
        return levels[2], f"discovery/{levels[3]}"
    if levels[0] in _PREFIXES:
        return "/".join(levels[1:-1]), levels[-1]
    if len(levels) > 2 and levels[-2] in _PREFIXES:
        return "/".join(levels[:-2]), levels[-1]
    return "", ""


def _link(device: str, payload: bytes) -> list[Said] | Rejected:
    word = payload.strip()
    if word not in (b"Online", b"Offline", b""):
        return Rejected(Rejection.WRONG_SHAPE, f"last will {word[:40]!r} is neither Online nor Offline")
    return (
        [Link(device=device, online=word == b"Online")] if word else []
    )  # empty: a retained one was removed


def _sensor(device: str, told: Told, arrival: Arrival) -> Sequence[Said] | Rejected:
    at_us = _at_us(told, arrival)
    if isinstance(at_us, Rejected):
        return at_us
    said: list[Said] = []
    bridged = told.get("ZbReceived")
    if isinstance(bridged, dict):
        said += _bridged(device, bridged, at_us)
    values = _quantities(told)
    if values:
        said.insert(0, Report(device=device, values=values, at_us=at_us, units=_units(told, values) or None))
    return said


def _bridged(bridge: str, bridged: Told, at_us: int | None) -> Iterator[Said]:
    """What a Zigbee bridge of Tasmota's hears from others, by their short addresses or the names given to them.

    The address may stand in the topic as well (SetOption89), or the name instead of the address (SetOption83).
    """
    for address, told in bridged.items():
        if not isinstance(told, dict):
            continue
        name = told.get("Name")
        if not isinstance(name, str) or not name:
            name = "" if address.lower().startswith("0x") else address
        above, _, last = bridge.rpartition("/")
        in_topic = last.lower() in (name.lower(), address.lower(), address.lower().removeprefix("0x"))
        gateway = above if above and in_topic else bridge
        model = told.get("ModelId")
        values = _quantities(told)
        if values:
            yield Report(
                device=name or f"{gateway}/{address}",
                values=values,
                at_us=at_us,
                gateway=gateway,
                model=model if isinstance(model, str) else "",
            )


def _result(device: str, told: Told, arrival: Arrival) -> Sequence[Said] | Rejected:
    """An answer to a command; of those only the state of switches is a reading, and what a bridge heard."""
    if isinstance(told.get("ZbReceived"), dict):
        return _sensor(device, {"ZbReceived": told["ZbReceived"]}, arrival)
    values: dict[str, float] = {}
    for key, value in told.items():
        if _OF_RESULTS.fullmatch(key):
            action = value.get("Action") if isinstance(value, dict) else value
            state = _SWITCHES.get(action) if isinstance(action, str) else None
            if state is not None:
                values[key] = state
    return [Report(device=device, values=values)] if values else []


def _inside(key: str) -> Callable[[str, Told, Arrival], Sequence[Said] | Rejected]:
    """The answer to ``Status 8`` and its like: telemetry one level deeper."""

    def take(device: str, told: Told, arrival: Arrival) -> Sequence[Said] | Rejected:
        inner = told.get(key)
        if not isinstance(inner, dict):
            return Rejected(Rejection.WRONG_SHAPE, f"{key} is missing or no object; send {_WANTED}")
        return _sensor(device, inner, arrival)

    return take


def _info(device: str, told: Told, arrival: Arrival) -> Sequence[Said]:
    inner = told.get("Info1", told)
    module = inner.get("Module") if isinstance(inner, dict) else None
    return [Announced(device=device, model=module)] if isinstance(module, str) and module else []


def _discovered(address: str, told: Told, arrival: Arrival) -> Sequence[Said]:
    """Tasmota's own discovery, retained: ``t`` is the topic, ``md`` the module, ``dn`` the name a person gave."""
    words = {key: told[key] for key in ("t", "md", "dn") if isinstance(told.get(key), str)}
    if not words.get("t"):
        return []
    return [Announced(device=words["t"], name=words.get("dn", ""), model=words.get("md", ""))]


def _nothing(device: str, told: Told, arrival: Arrival) -> Sequence[Said]:
    return []


_MESSAGES: dict[str, Callable[[str, Told, Arrival], Sequence[Said] | Rejected]] = {
    "SENSOR": _sensor,
    "STATE": _sensor,
    "RESULT": _result,
    "STATUS8": _inside("StatusSNS"),
    "STATUS10": _inside("StatusSNS"),
    "STATUS11": _inside("StatusSTS"),
    "INFO1": _info,
    "discovery/config": _discovered,
    "discovery/sensors": _nothing,  # names no device but its hardware address
}


def _quantities(told: Told) -> dict[str, float]:
    """By key with dots; of more than a device may have no more than are enough for the register to refuse them."""
    return dict(islice(_flat(told, ""), MAX_VALUES + 1))


def _flat(told: Told, prefix: str, depth: int = 1) -> Iterator[tuple[str, float]]:
    """Numbers and switches under keys with dots; texts, nulls and what identifies are left out."""
    for key, value in told.items():
        if key not in _LEFT_OUT and not (depth == 1 and key == "ZbReceived"):
            yield from _leaf(f"{prefix}{key.translate(_NO_LEVELS)}", value, depth)


def _leaf(key: str, value: object, depth: int) -> Iterator[tuple[str, float]]:
    if isinstance(value, bool | int | float):
        try:
            number = float(value)
        except OverflowError:
            return
        if not (number == SATURATED and key in _ANALOG):
            yield key, number
    elif isinstance(value, str):
        if value in _SWITCHES:
            yield key, _SWITCHES[value]
    elif depth < DEEPEST and isinstance(value, dict):
        yield from _flat(value, f"{key}.", depth + 1)
    elif depth < DEEPEST and isinstance(value, list):
        for place, entry in enumerate(value, 1):
            yield from _leaf(f"{key}.{place}", entry, depth + 1)


def _units(told: Told, values: Mapping[str, float]) -> dict[str, str]:
    """Units that the message states once for all its sensors."""
    stated = [
        (_TEMPERATURES, "TempUnit", _TEMPERATURE_UNITS),
        (_PRESSURES, "PressureUnit", {}),
        (frozenset({"Speed"}), "SpeedUnit", _SPEED_UNITS),
    ]
    units: dict[str, str] = {}
    for names, field, spelled in stated:
        unit = told.get(field)
        if isinstance(unit, str) and unit:
            for key in values:
                if not names.isdisjoint(part.rstrip("0123456789") for part in key.split(".")):
                    units[key] = spelled.get(unit, unit)
    return units


def _at_us(told: Told, arrival: Arrival) -> int | Rejected | None:
    """The message's time: ``Epoch``, or ``Time`` in the device's local time, with an offset, or in epoch seconds.

    Without an offset the district's zone stands in; an hour that comes twice is the first of the two.
    """
    stated = told.get("Epoch", told.get("Time"))
    if stated is None:
        return None
    if isinstance(stated, int | float) and not isinstance(stated, bool):
        if not 0 <= stated < 2**38:
            return Rejected(Rejection.TIME_OUT_OF_RANGE, f"Time {str(stated)[:40]} is beyond the calendar")
        at_us = round(stated * 1_000_000)
        return at_us if at_us >= 978_307_200_000_000 else None  # 2001, as UNSET_BEFORE
    try:
        old = isinstance(stated, str) and stated[4:5] == "."  # 2018.02.15 01:00:50, of versions before 6
        moment = datetime.fromisoformat(stated[:10].replace(".", "-") + stated[10:] if old else stated)
    except (TypeError, ValueError):
        return Rejected(
            Rejection.BAD_TIME,
            f"Time {str(stated)[:40]!r} is not ISO 8601; use 2024-02-24T22:20:38 (command Time 1)",
        )
    if moment.year < UNSET_BEFORE:
        return None
    try:
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=arrival.zone, fold=0)
        return round(aware.timestamp() * 1_000_000)
    except (OverflowError, ValueError):
        return Rejected(Rejection.TIME_OUT_OF_RANGE, f"Time {str(stated)[:40]!r} is beyond the calendar")


DECODER = Tasmota()
