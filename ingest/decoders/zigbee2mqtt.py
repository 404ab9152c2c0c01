"""Zigbee2MQTT, a bridge from a Zigbee network: flat reports under friendly names, availability, who is in the network.

Source: Zigbee2MQTT's documentation, "MQTT topics and messages", "Device-Availability" and "Exposes", versions 1.17 to
2.x; the bits of ``zonestatus`` are those of the ZigBee Cluster Library, 8.2.2.2.1.3. A device's name here is its
friendly name, since availability and most reports tell no other; ``Announced.permanent`` is its IEEE address, by which
the register knows it again after a rename (docs/senders-frigate-zigbee.md).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from city.observations import Rejection
from ingest.decoders.json_bodies import body
from ingest.decoders.said import MAX_VALUES, Announced, Arrival, Link, Rejected, Report, Said

BRIDGE = "bridge"  # its topics, and its name as a device
BRIDGE_MODEL = "Zigbee2MQTT bridge"

_NO_QUANTITY = frozenset({"last_seen", "elapsed", "device", "zonestatus", "extendedstatus"})
_ZONE_BITS = (  # of an alarm system's device, by bit
    (0, "alarm_1"),
    (1, "alarm_2"),
    (2, "tamper"),
    (3, "battery_low"),
    (6, "trouble"),
    (7, "ac_status"),
    (8, "test"),
    (9, "battery_defect"),
)
_COMMANDS = frozenset({"set", "get"})
_MOST_NESTED = 8  # features within features of what a device exposes
_NUMBERS = frozenset({float, int, bool})
_LARGEST = 1e300


class _Expose(msgspec.Struct, gc=False):
    type: str = ""
    property: str = ""
    access: int = 1
    features: list["_Expose"] | None = None


class _Definition(msgspec.Struct, gc=False):
    model: str | None = None
    vendor: str | None = None
    exposes: list[_Expose] | None = None


class _Device(msgspec.Struct, gc=False):
    friendly_name: str = ""
    ieee_address: str = ""
    type: str | None = None
    model_id: str | None = None
    manufacturer: str | None = None
    definition: _Definition | None = None


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    data: _Device | None = None


class _Process(msgspec.Struct, gc=False):
    uptime_sec: float | None = None


class _System(msgspec.Struct, gc=False):
    memory_percent: float | None = None


class _Health(msgspec.Struct, gc=False):
    process: _Process | None = None
    os: _System | None = None


class _State(msgspec.Struct, gc=False):
    state: str


_ANYTHING: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
_DEVICES = msgspec.json.Decoder(list[_Device])
_EVENT = msgspec.json.Decoder(_Event)
_HEALTH = msgspec.json.Decoder(_Health)
_STATE = msgspec.json.Decoder(_State)


@dataclass(frozen=True, kw_only=True, slots=True)
class Zigbee2Mqtt:
    """One bridge's topics below ``prefix``, its ``base_topic``."""

    family: str = "zigbee2mqtt"
    prefix: str = "zigbee2mqtt"
    subscribed: bool = True

    @property
    def filters(self) -> tuple[str, ...]:
        """Everything: a friendly name may have any number of levels."""
        return (f"{self.prefix}/#",)

    def decode(self, topic: str, payload: bytes, arrival: Arrival) -> Sequence[Said] | Rejected:
        """A report of a device, its availability, or what the bridge tells of its network."""
        name = topic.removeprefix(f"{self.prefix}/")
        levels = name.split("/")
        if not payload or name == topic:
            return ()  # a retained message taken away: the device was renamed or has left
        if levels[0] == BRIDGE:
            return _bridge("/".join(levels[1:]), payload)
        if len(levels) > 1 and (levels[-1] in _COMMANDS or levels[-2] in _COMMANDS):
            return ()
        if len(levels) > 1 and levels[-1] == "availability":
            return _link(name.removesuffix("/availability"), payload)
        return _report(name, levels, payload, arrival)


def _report(name: str, levels: Sequence[str], payload: bytes, arrival: Arrival) -> Sequence[Said] | Rejected:
    said = body(_ANYTHING, payload)
    if isinstance(said, Rejected):
        return said
    if type(said) is not dict:
        return _attribute(levels, said)
    seen = said.get("last_seen")
    at_us = None if seen is None else _last_seen(seen, arrival)
    values, fault = _values(said)
    device = said.get("device")
    answer: list[Said] = [one for one in (fault, at_us) if isinstance(one, Rejected)]
    report = Report(
        device=name,
        values=values,
        at_us=at_us if type(at_us) is int else None,
        model=_model(device) if type(device) is dict else "",
        gateway=BRIDGE,
    )
    return [report, *answer]


def _attribute(levels: Sequence[str], said: object) -> Sequence[Said] | Rejected:
    """``output: attribute``: one topic for each quantity, with the bare value."""
    if len(levels) > 1 and type(said) in (int, float, bool) and -_LARGEST < said < _LARGEST:  # type: ignore[operator]  # a number, as was just asked
        return [Report(device="/".join(levels[:-1]), values={levels[-1]: float(said)}, gateway=BRIDGE)]  # type: ignore[arg-type]  # as above
    return Rejected(
        Rejection.WRONG_SHAPE,
        f"payload is {type(said).__name__} and no object; let Zigbee2MQTT send with output: json",
    )


def _values(said: Mapping[str, Any]) -> tuple[dict[str, float], Rejected | None]:
    """Every number and switch; texts, lists and nested objects (colours, updates) are no quantities."""
    fault = None
    try:
        values = {key: float(value) for key, value in said.items() if type(value) in _NUMBERS}
    except OverflowError:  # an integer of hundreds of digits
        fault = Rejected(Rejection.NOT_FINITE, "a number is beyond what a quantity can be")
        values = {key: float(value) for key, value in said.items() if type(value) in (float, bool)}
    for key in _NO_QUANTITY & values.keys():
        del values[key]
    zone = said.get("zonestatus")
    if type(zone) is int:  # the bridge does not know the model, and passes on what it got
        for bit, key in _ZONE_BITS:
            values.setdefault(key, float(zone >> bit & 1))
    return values, fault


def _model(device: Mapping[str, Any]) -> str:
    """``include_device_information``: the block of 1.x has ``modelId``, later ones the catalogue's ``model``."""
    found = device.get("model") or device.get("modelId") or device.get("modelID")
    return found if isinstance(found, str) else ""


def _last_seen(said: object, arrival: Arrival) -> int | Rejected:
    """Microseconds since 1970 UTC: epoch milliseconds or ISO 8601, local to the district where it has no offset."""
    if type(said) in (int, float) and -(2**50) < said < 2**50:  # type: ignore[operator]  # a number, as was just asked
        return int(said * 1000)  # type: ignore[operator]  # as above
    try:
        moment = datetime.fromisoformat(said) if isinstance(said, str) and len(said) <= 40 else None
        if moment is not None:
            moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=arrival.zone)
            return int(moment.timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        pass
    return Rejected(
        Rejection.BAD_TIME,
        f"last_seen {str(said)[:40]!r} is no time; set advanced.last_seen to epoch or ISO_8601",
    )


def _link(device: str, payload: bytes) -> Sequence[Said] | Rejected:
    """``{"state": "online"}``, or the bare word of versions before 2.0."""
    state = payload.decode("utf-8", "replace")
    if payload.startswith(b"{"):
        said = body(_STATE, payload)
        if isinstance(said, Rejected):
            return said
        state = said.state
    if state not in ("online", "offline"):
        return Rejected(Rejection.WRONG_SHAPE, f"availability says {state[:40]!r}; it is online or offline")
    return (Link(device=device, online=state == "online"),)


def _bridge(what: str, payload: bytes) -> Sequence[Said] | Rejected:
    """What the bridge says of itself and its network. That it is gone does not mean that its devices are."""
    if what == "state":
        link = _link(BRIDGE, payload)
        itself = Announced(device=BRIDGE, model=BRIDGE_MODEL, vendor="Zigbee2MQTT")
        return link if isinstance(link, Rejected) else (itself, *link)
    if what == "devices":
        devices = body(_DEVICES, payload)
        return devices if isinstance(devices, Rejected) else list(_announced(devices))
    if what == "event":
        event = body(_EVENT, payload)
        return event if isinstance(event, Rejected) else _event(event)
    if what == "health":
        health = body(_HEALTH, payload)
        return health if isinstance(health, Rejected) else _health(health)
    return ()  # info, logging, groups, definitions, extensions, converters, requests and their responses


def _event(event: _Event) -> Sequence[Said]:
    device = event.data
    if device is None or not device.friendly_name:
        return ()
    announced: list[Said] = list(_announced([device]))
    if event.type in ("device_joined", "device_announce"):
        return [*announced, Link(device=device.friendly_name, online=True)]
    if event.type == "device_leave":
        return [Link(device=device.friendly_name, online=False)]
    return announced if event.type == "device_interview" else ()


def _health(health: _Health) -> Sequence[Said]:
    """The bridge's own figures; retained, so they are readings and no sign of being there."""
    uptime = health.process.uptime_sec if health.process else None
    memory = health.os.memory_percent if health.os else None
    values = {
        key: float(value) for key, value in (("uptime", uptime), ("memory", memory)) if value is not None
    }
    return [Report(device=BRIDGE, values=values)]


def _announced(devices: Iterable[_Device]) -> Iterable[Announced]:
    for device in devices:
        if device.type == "Coordinator" or not device.friendly_name:
            continue
        definition = device.definition or _Definition()
        keys: dict[str, None] = {}
        _properties(definition.exposes or (), keys, _MOST_NESTED)
        yield Announced(
            device=device.friendly_name,
            name=device.friendly_name if device.friendly_name != device.ieee_address else "",
            model=definition.model or device.model_id or "",
            vendor=definition.vendor or device.manufacturer or "",
            gateway=BRIDGE,
            keys=tuple(keys)[:MAX_VALUES],
            permanent=device.ieee_address,
        )


def _properties(exposes: Iterable[_Expose], keys: dict[str, None], depth: int) -> None:
    """What a device is going to publish: its numbers and switches, those of a light or lock among them."""
    for one in exposes:
        if one.type in ("numeric", "binary") and one.property and one.access & 1:
            keys[one.property] = None
        if depth and one.features:
            _properties(one.features, keys, depth - 1)


DECODER = Zigbee2Mqtt()
