"""ChirpStack's MQTT integration, JSON marshaler: v4's events, and v3's where they say the same under older names.

Topics are ``application/{id}/device/{devEUI}/event/{event}`` unless the network's operator writes others; a word before
(a region, a customer) and v3's shorter form are taken too. An uplink that the network's own codec decoded becomes a
report of its ``object``; else its bytes go to the codec of the device's profile. One uplink heard by five gateways is
one event with one ``deduplicationId`` and one time: stored under that time, a redelivery meets its own row. Without
any time the frame counter tells redeliveries apart.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from city.observations import Rejection
from ingest.decoders import lorawan
from ingest.decoders.lorawan import NotSaidError, Signal
from ingest.decoders.said import Announced, Arrival, Link, Raw, Rejected, Report, Said

# What is understood and says nothing of a device's surroundings: answers to downlinks, logs, positions that the
# network reckoned, words of other integrations. ``error`` and ``tx`` are v3's.
SILENT = frozenset({"ack", "txack", "log", "location", "integration", "error", "tx", "down"})
_UPLINKS = frozenset({"up", "rx"})


class _Device(msgspec.Struct, gc=False):
    devEui: str = ""  # noqa: N815 - ChirpStack's own names, here and below
    deviceName: str = ""  # noqa: N815
    deviceProfileName: str = ""  # noqa: N815


class _Gateway(msgspec.Struct, gc=False):
    gatewayId: str = ""  # noqa: N815
    gatewayID: str = ""  # noqa: N815 - v3
    rssi: float | None = None
    snr: float | None = None
    loRaSNR: float | None = None  # noqa: N815 - v3
    gwTime: str | None = None  # noqa: N815
    nsTime: str | None = None  # noqa: N815
    time: str | None = None


class _Event(msgspec.Struct, gc=False):
    deviceInfo: _Device | None = None  # noqa: N815
    deviceName: str = ""  # noqa: N815 - v3, as the next three
    deviceProfileName: str = ""  # noqa: N815
    devEUI: str = ""  # noqa: N815
    objectJSON: str | None = None  # noqa: N815
    time: str | None = None
    fCnt: int | None = None  # noqa: N815
    fPort: int | None = None  # noqa: N815
    data: str | None = None
    object: dict[str, Any] | None = None
    rxInfo: list[_Gateway] | None = None  # noqa: N815
    margin: float | None = None
    batteryLevel: float | None = None  # noqa: N815
    batteryLevelUnavailable: bool | None = None  # noqa: N815
    externalPowerSource: bool | None = None  # noqa: N815


_DECODER = msgspec.json.Decoder(_Event, strict=False)


class ChirpStack:
    """See the module."""

    family = "chirpstack"
    filters: tuple[str, ...] = (
        "application/+/device/+/event/+",
        "+/application/+/device/+/event/+",
        "application/+/device/+/+",
    )
    subscribed = True

    def decode(self, topic: str, payload: bytes, arrival: Arrival) -> Sequence[Said] | Rejected:
        """Readings, what the network knows of the link, or who joined."""
        levels = topic.split("/")
        kind = levels[-1]
        if kind in SILENT:
            return []
        try:
            if kind not in _UPLINKS and kind not in ("status", "join"):
                known = ", ".join(sorted({"up", "status", "join"} | SILENT))
                raise NotSaidError(
                    Rejection.UNSUPPORTED, f"event {kind[:40]!r} of ChirpStack; known are {known}"
                )
            event = lorawan.parsed(_DECODER, payload, "an event of ChirpStack")
            info = _info(event)
            if kind in _UPLINKS:
                return _uplink(event, info)
            return _status(event, info) if kind == "status" else _joined(info)
        except NotSaidError as error:
            return error.why


def _info(event: _Event) -> _Device:
    """Who it was, with the EUI in small digits."""
    info = event.deviceInfo
    if info is None:
        info = _Device(event.devEUI, event.deviceName, event.deviceProfileName)
    name = lorawan.eui(info.devEui)
    if not name:
        raise NotSaidError(
            Rejection.WRONG_SHAPE,
            f"deviceInfo.devEui is {info.devEui[:40]!r}; an event of ChirpStack names its device by 16 hexadecimal"
            " digits (is the integration's marshaler JSON?)",
        )
    return _Device(name, info.deviceName, info.deviceProfileName)


def _uplink(event: _Event, info: _Device) -> Sequence[Said]:
    heard = lorawan.best(_signals(event))
    at_us = _time(event, heard)
    seq = event.fCnt or 0  # 0 is left out
    gateway = heard.gateway if heard is not None else ""
    values: dict[str, float] = {} if heard is None else {"rssi": heard.rssi, "snr": heard.snr}
    decoded = _decoded(event)
    flat = lorawan.flattened(decoded or {})
    values |= flat.values
    units = flat.units or None
    said: list[Said] = []
    model = info.deviceProfileName
    if values:
        said.append(
            Report(
                device=info.devEui,
                values=values,
                at_us=at_us,
                seq=seq,
                units=units,
                model=model,
                gateway=gateway,
            )
        )
    said += [
        Report(
            device=info.devEui, values=one.values, at_us=one.at_us, units=units, model=model, gateway=gateway
        )
        for one in flat.records
    ]
    if decoded is None and event.data:
        data = lorawan.frame("data", event.data)
        port = lorawan.port("fPort", event.fPort)
        said.append(
            Raw(device=info.devEui, data=data, port=port, at_us=at_us, seq=seq, model=model, gateway=gateway)
        )
    return said


def _decoded(event: _Event) -> dict[str, Any] | None:
    """What the network's codec made of the bytes; None where it has none."""
    if event.object is not None or not event.objectJSON:
        return event.object
    try:
        found = msgspec.json.decode(event.objectJSON)
    except (msgspec.DecodeError, RecursionError) as error:
        raise NotSaidError(Rejection.NOT_JSON, "objectJSON is no JSON") from error
    return found if isinstance(found, dict) else None


def _signals(event: _Event) -> list[Signal]:
    """A gateway without ``rssi`` said nothing of the signal (0 dBm is nobody's); a left out ``snr`` is 0 dB."""
    return [
        Signal(
            lorawan.eui(one.gatewayId or one.gatewayID) or one.gatewayId or one.gatewayID,
            one.rssi,
            one.snr if one.snr is not None else one.loRaSNR or 0.0,
            one.gwTime or one.time or one.nsTime or "",
        )
        for one in event.rxInfo or ()
        if one.rssi
    ]


def _time(event: _Event, heard: Signal | None) -> int | None:
    """The event's own, else the best gateway's, else any gateway's."""
    if event.time:
        return lorawan.instant_us("time", event.time)
    if heard is not None and heard.time:
        return lorawan.instant_us("rxInfo.time", heard.time)
    times = [one.gwTime or one.time or one.nsTime for one in event.rxInfo or ()]
    return lorawan.instant_us("rxInfo.time", next((one for one in times if one), None))


def _status(event: _Event, info: _Device) -> Sequence[Said]:
    """DevStatusAns: a battery of 0 never comes as a level (it means a mains supply), so none left out is one of 0."""
    values = {"margin": event.margin or 0.0, "externalPowerSource": float(bool(event.externalPowerSource))}
    if event.batteryLevel and not event.batteryLevelUnavailable and not event.externalPowerSource:
        values["batteryLevel"] = event.batteryLevel
    return [
        Report(
            device=info.devEui,
            values=values,
            at_us=lorawan.instant_us("time", event.time),
            model=info.deviceProfileName,
        )
    ]


def _joined(info: _Device) -> Sequence[Said]:
    return [
        Announced(device=info.devEui, name=info.deviceName, model=info.deviceProfileName),
        Link(device=info.devEui, online=True),
    ]


DECODER = ChirpStack()
