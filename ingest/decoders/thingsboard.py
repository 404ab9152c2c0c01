"""ThingsBoard's telemetry API over MQTT: gateways (``v1/gateway/…``) and single devices (``v1/devices/me/…``).

A single device is known by the credentials of its connection, which no subscriber sees. A broker can put the user
name in front (EMQX: ``mountpoint = "${username}/"``); without it the message is refused with that remedy, for readings
of all devices under one name would be worse than none.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from city.observations import Rejection
from ingest.decoders.json_bodies import body
from ingest.decoders.said import Announced, Arrival, Link, Rejected, Report, Said

SWITCH = "/"  # the unit of a boolean: 1 is on; a percentage becomes 0 or 100

_ALIASES = {  # the short topics; with /j where the device's profile would expect Protobuf
    "v2/t": "v1/devices/me/telemetry",
    "v2/t/j": "v1/devices/me/telemetry",
    "v2/a": "v1/devices/me/attributes",
    "v2/a/j": "v1/devices/me/attributes",
}
_OWN = ("v1/devices/me/telemetry", "v2/t", "v2/t/j", "v1/devices/me/attributes", "v2/a", "v2/a/j")
_OF_GATEWAYS = ("telemetry", "connect", "disconnect", "attributes")
_TELEMETRY = "an object of keys and values, or ts and values, or a list of those"
_BY_DEVICE = (
    'an object by device such as {"Device A": [{"ts": 1483228800000, "values": {"temperature": 42}}]}'
)

_WHO = 'the name of the device, {"device": "Device A"}'

_JSON: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


class _Connected(msgspec.Struct, gc=False):
    device: str
    type: str = ""


_CONNECTED = msgspec.json.Decoder(_Connected)


class _Topic(NamedTuple):
    """``name`` is the user name the broker put in front, or ""; ``what`` is the topic without it."""

    name: str
    what: str


NAMELESS = "me"  # every device whose topic does not say who it is


class ThingsBoard:
    """Gateway and device telemetry, connections, and what attributes tell of model and maker."""

    family = "thingsboard"
    subscribed = True
    filters = (
        *(f"v1/gateway/{what}" for what in _OF_GATEWAYS),
        *(f"+/v1/gateway/{what}" for what in _OF_GATEWAYS),
        *_OWN[:3],
        *(f"+/{topic}" for topic in _OWN),
    )

    def decode(self, topic: str, payload: bytes, arrival: Arrival) -> Sequence[Said] | Rejected:
        """Numbers and booleans; texts, objects and arrays are understood and left out."""
        name, what = _topic(topic)
        if what in ("v1/gateway/connect", "v1/gateway/disconnect"):
            connected = body(_CONNECTED, payload, _WHO)
            if isinstance(connected, Rejected):
                return connected
            return _link(connected, online=what == "v1/gateway/connect")
        told = body(_JSON, payload, _BY_DEVICE if what.startswith("v1/gateway/") else _TELEMETRY)
        if isinstance(told, Rejected):
            return told
        if what == "v1/gateway/telemetry":
            return _by_device(told, gateway=name)
        if what == "v1/gateway/attributes":
            return _described(told)
        if what == "v1/devices/me/attributes":
            return _described({name: told}) if name else []
        # The topic alone says "me", and so would all others: what they measure is kept, since smoke is smoke, and the
        # one unclaimed device that they share is the sign that the broker should tell them apart.
        return _telemetry(name or NAMELESS, told)


def _topic(topic: str) -> _Topic:
    for what in (*_OWN, *(f"v1/gateway/{one}" for one in _OF_GATEWAYS)):
        if topic == what or topic.endswith(f"/{what}"):
            return _Topic(topic[: -len(what)].rstrip("/"), _ALIASES.get(what, what))
    return _Topic("", topic)


def _link(connected: _Connected, *, online: bool) -> list[Said]:
    if not connected.device:
        return [Rejected(Rejection.WRONG_SHAPE, "device is empty; send the name of the device")]
    said: list[Said] = [Link(device=connected.device, online=online)]
    if connected.type and connected.type != "default":
        said.append(Announced(device=connected.device, model=connected.type))
    return said


def _by_device(told: object, *, gateway: str) -> Sequence[Said] | Rejected:
    """Devices whose telemetry is faulty do not take the others with them."""
    if not isinstance(told, dict):
        return Rejected(Rejection.WRONG_SHAPE, f"payload is {_kind(told)}; send {_BY_DEVICE}")
    said: list[Said] = []
    for device, telemetry in told.items():
        heard = _telemetry(device, telemetry, gateway)
        if isinstance(heard, Rejected):
            said.append(heard)
        else:
            said += heard
    return said


def _telemetry(device: str, told: object, gateway: str = "") -> list[Said] | Rejected:
    """Reports of one device, in the order they were sent."""
    said: list[Said] = []
    for entry in told if isinstance(told, list) else (told,):
        if not isinstance(entry, dict):
            return Rejected(
                Rejection.WRONG_SHAPE, f"telemetry of {device[:40]!r} is {_kind(entry)}; send {_TELEMETRY}"
            )
        at_us: int | Rejected | None = None
        values: Mapping[str, Any] = entry
        if "ts" in entry and "values" in entry:
            at_us, values = _at_us(device, entry["ts"]), entry["values"]
            if not isinstance(values, dict):
                return Rejected(
                    Rejection.WRONG_SHAPE, f"values of {device[:40]!r} is {_kind(values)}; send an object"
                )
        if isinstance(at_us, Rejected):
            return at_us
        said += _report(device, values, at_us, gateway)
    return said


def _report(device: str, values: Mapping[str, Any], at_us: int | None, gateway: str) -> Iterator[Said]:
    numbers: dict[str, float] = {}
    units: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, bool):
            numbers[key], units[key] = float(value), SWITCH
        elif isinstance(value, int | float):
            try:
                numbers[key] = float(value)
            except OverflowError:
                yield Rejected(Rejection.NOT_FINITE, f"{key[:40]!r} is beyond a double; leave it out")
    if numbers:
        yield Report(device=device, values=numbers, at_us=at_us, units=units or None, gateway=gateway)


def _at_us(device: str, ts: object) -> int | Rejected | None:
    """Epoch milliseconds; ThingsBoard reads digits in quotes as well."""
    if isinstance(ts, str) and ts.isascii() and ts.isdigit() and len(ts) <= 18:
        ts = int(ts)
    if ts is None:
        return None
    if isinstance(ts, bool) or not isinstance(ts, int | float):
        return Rejected(
            Rejection.BAD_TIME,
            f"ts {str(ts)[:40]!r} of {device[:40]!r} is no time; send epoch milliseconds or leave it out",
        )
    if not -(2**50) < ts < 2**50:
        return Rejected(
            Rejection.TIME_OUT_OF_RANGE, f"ts {str(ts)[:40]} of {device[:40]!r} is beyond the calendar"
        )
    return round(ts * 1000)


_NAMES = ("name", "label", "deviceName")
_MODELS = ("model", "deviceModel", "hardwareModel", "deviceType")
_VENDORS = ("vendor", "manufacturer", "brand")


def _described(told: object) -> Sequence[Said] | Rejected:
    """What attributes tell of a device; most are settings and tell nothing."""
    if not isinstance(told, dict):
        return Rejected(Rejection.WRONG_SHAPE, f"payload is {_kind(told)}; send an object by device")
    said: list[Said] = []
    for device, attributes in told.items():
        if not isinstance(attributes, dict):
            return Rejected(
                Rejection.WRONG_SHAPE,
                f"attributes of {device[:40]!r} are {_kind(attributes)}; send an object",
            )
        name, model, vendor = (_first(attributes, keys) for keys in (_NAMES, _MODELS, _VENDORS))
        if name or model or vendor:
            said.append(Announced(device=device, name=name, model=model, vendor=vendor))
    return said


def _first(attributes: Mapping[str, Any], keys: Sequence[str]) -> str:
    return next((attributes[key] for key in keys if isinstance(attributes.get(key), str)), "")


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return {dict: "an object", list: "an array", str: "text", bool: "a boolean"}.get(type(value), "a number")


DECODER = ThingsBoard()
