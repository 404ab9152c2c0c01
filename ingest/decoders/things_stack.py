"""The Things Stack v3 (The Things Network among it) over its MQTT server.

Topics are ``v3/{application}@{tenant}/devices/{device}/{what}``, without ``@{tenant}`` in the open source edition. Its
JSON leaves out whatever is 0, false or "". An uplink's time is when the network server took it
(``uplink_message.received_at``): gateways without GPS have any clock, and a redelivery carries the same. What the
network's payload formatter decoded is reported; else the bytes go to the codec of the device's profile. Devices are
known by their EUI, those activated by hand without one by application and name.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from city.observations import Rejection
from ingest.decoders import lorawan
from ingest.decoders.lorawan import NotSaidError, Signal
from ingest.decoders.said import Announced, Arrival, Link, Raw, Rejected, Report, Said

_V2 = (
    "a message of The Things Network v2, which ended in 2021; move the application to v3 and subscribe to"
    " v3/{application}@{tenant}/devices/{device}/up"
)


class _Application(msgspec.Struct, gc=False):
    application_id: str = ""


class _Ids(msgspec.Struct, gc=False):
    device_id: str = ""
    dev_eui: str = ""
    application_ids: _Application | None = None


class _GatewayIds(msgspec.Struct, gc=False):
    gateway_id: str = ""
    eui: str = ""


class _Broker(msgspec.Struct, gc=False):
    forwarder_gateway_id: str = ""
    forwarder_gateway_eui: str = ""


class _Heard(msgspec.Struct, gc=False):
    gateway_ids: _GatewayIds | None = None
    packet_broker: _Broker | None = None
    rssi: float | None = None
    snr: float | None = None
    time: str | None = None
    received_at: str | None = None


class _Settings(msgspec.Struct, gc=False):
    time: str | None = None


class _Versions(msgspec.Struct, gc=False):
    brand_id: str = ""
    model_id: str = ""


class _Battery(msgspec.Struct, gc=False):
    value: float | None = None
    received_at: str | None = None


class _Uplink(msgspec.Struct, gc=False):
    f_port: int | None = None
    f_cnt: int | None = None
    frm_payload: str | None = None
    decoded_payload: dict[str, Any] | None = None
    normalized_payload: list[dict[str, Any]] | None = None
    rx_metadata: list[_Heard] | None = None
    settings: _Settings | None = None
    received_at: str | None = None
    version_ids: _Versions | None = None
    last_battery_percentage: _Battery | None = None


class _Message(msgspec.Struct, gc=False):
    end_device_ids: _Ids | None = None
    received_at: str | None = None
    simulated: bool = False
    uplink_message: _Uplink | None = None
    join_accept: dict[str, Any] | None = None
    uplink_normalized: msgspec.Raw = msgspec.Raw(b"")  # what `up` says already, entry by entry
    location_solved: msgspec.Raw = msgspec.Raw(b"")
    service_data: msgspec.Raw = msgspec.Raw(b"")
    downlink_queued: msgspec.Raw = msgspec.Raw(b"")
    downlink_sent: msgspec.Raw = msgspec.Raw(b"")
    downlink_ack: msgspec.Raw = msgspec.Raw(b"")
    downlink_nack: msgspec.Raw = msgspec.Raw(b"")
    downlink_failed: msgspec.Raw = msgspec.Raw(b"")
    downlink_queue_invalidated: msgspec.Raw = msgspec.Raw(b"")
    payload_raw: msgspec.Raw = msgspec.Raw(b"")  # v2, as the next
    hardware_serial: msgspec.Raw = msgspec.Raw(b"")

    def silent(self) -> bool:
        """Whether it is one of the messages that tell of no surroundings."""
        return any(
            (
                self.uplink_normalized,
                self.location_solved,
                self.service_data,
                self.downlink_queued,
                self.downlink_sent,
                self.downlink_ack,
                self.downlink_nack,
                self.downlink_failed,
                self.downlink_queue_invalidated,
            )
        )


_DECODER = msgspec.json.Decoder(_Message, strict=False)


class ThingsStack:
    """See the module."""

    family = "things_stack"
    filters: tuple[str, ...] = (
        "v3/+/devices/+/#",
        "+/devices/+/up",
    )  # the second is v2's, to be refused in words
    subscribed = True

    def decode(self, topic: str, payload: bytes, arrival: Arrival) -> Sequence[Said] | Rejected:
        """Readings with those of the device's memory, or who joined."""
        levels = topic.split("/")
        if levels[0] != "v3":
            return Rejected(Rejection.UNSUPPORTED, _V2)
        if len(levels) > 4 and levels[4] in ("down", "service", "location"):
            return []
        try:
            message = lorawan.parsed(_DECODER, payload, "a message of The Things Stack")
            if message.uplink_message is None:
                return _other(message)
            if message.simulated:
                raise NotSaidError(
                    Rejection.UNSUPPORTED,
                    "a simulated uplink of the network's console is no measurement; let the device send",
                )
            return _uplink(message, message.uplink_message)
        except NotSaidError as error:
            return error.why


def _other(message: _Message) -> Sequence[Said]:
    if message.join_accept is not None:
        device = _name(message)
        return [Announced(device=device), Link(device=device, online=True)]
    if message.silent():
        return []
    if message.payload_raw or message.hardware_serial:
        raise NotSaidError(Rejection.UNSUPPORTED, _V2)
    raise NotSaidError(
        Rejection.WRONG_SHAPE, "neither uplink_message nor another message of The Things Stack v3"
    )


def _name(message: _Message) -> str:
    ids = message.end_device_ids
    if ids is None or not (ids.dev_eui or ids.device_id):
        raise NotSaidError(Rejection.WRONG_SHAPE, "end_device_ids is missing; it has to name the device")
    application = ids.application_ids.application_id if ids.application_ids is not None else ""
    return lorawan.eui(ids.dev_eui) or (f"{application}.{ids.device_id}" if application else ids.device_id)


def _uplink(message: _Message, uplink: _Uplink) -> Sequence[Said]:
    device = _name(message)
    heard = lorawan.best(_signals(uplink))
    at_us = _time(message, uplink, heard)
    model = uplink.version_ids.model_id if uplink.version_ids is not None else ""
    gateway = heard.gateway if heard is not None else ""
    seq = uplink.f_cnt or 0
    values: dict[str, float] = {} if heard is None else {"rssi": heard.rssi, "snr": heard.snr}
    flat = _decoded(uplink)
    values |= flat.values
    units = flat.units or None
    said: list[Said] = []
    if values:
        said.append(
            Report(
                device=device, values=values, at_us=at_us, seq=seq, units=units, model=model, gateway=gateway
            )
        )
    said += [
        Report(device=device, values=one.values, at_us=one.at_us, units=units, model=model, gateway=gateway)
        for one in flat.records
    ]
    battery = uplink.last_battery_percentage
    if battery is not None and battery.value is not None:
        # It stands in every uplink until the next one: at its own time it is stored once.
        since = lorawan.instant_us("last_battery_percentage.received_at", battery.received_at)
        level = {"last_battery_percentage": battery.value}
        said.append(Report(device=device, values=level, at_us=since or at_us, seq=seq, model=model))
    if uplink.frm_payload and uplink.decoded_payload is None and not uplink.normalized_payload:
        data = lorawan.frame("frm_payload", uplink.frm_payload)
        port = lorawan.port("f_port", uplink.f_port)
        said.append(
            Raw(device=device, data=data, port=port, at_us=at_us, seq=seq, model=model, gateway=gateway)
        )
    return said


def _decoded(uplink: _Uplink) -> lorawan.Flat:
    """What the payload formatter made of it; the normalized form only where there is no other."""
    if uplink.decoded_payload is not None:
        return lorawan.flattened(uplink.decoded_payload)
    flat = lorawan.Flat({}, [], {})
    for entry in (uplink.normalized_payload or ())[:500]:
        values = lorawan.flattened(entry).values
        if "battery" in values:  # volts there, percent nearly everywhere else
            values["battery_voltage"] = values.pop("battery")
            flat.units["battery_voltage"] = "V"
        at_us = lorawan.instant_us("normalized_payload.time", _text(entry.get("time")))
        if at_us is None:
            flat.values.update(values)
        elif values:
            flat.records.append(lorawan.Record(at_us, values))
    return flat


def _text(said: Any) -> str:
    return said if isinstance(said, str) else ""


def _signals(uplink: _Uplink) -> list[Signal]:
    return [
        Signal(_gateway(one), one.rssi, one.snr or 0.0, one.time or one.received_at or "")
        for one in uplink.rx_metadata or ()
        if one.rssi
    ]


def _gateway(heard: _Heard) -> str:
    """The gateway's EUI, of one that another network forwards too; else its name."""
    ids, broker = heard.gateway_ids or _GatewayIds(), heard.packet_broker or _Broker()
    return (
        lorawan.eui(ids.eui or broker.forwarder_gateway_eui) or broker.forwarder_gateway_id or ids.gateway_id
    )


def _time(message: _Message, uplink: _Uplink, heard: Signal | None) -> int | None:
    settings = uplink.settings.time if uplink.settings is not None else None
    for field, text in (
        ("uplink_message.received_at", uplink.received_at),
        ("received_at", message.received_at),
        ("settings.time", settings),
        ("rx_metadata.time", heard.time if heard is not None else None),
    ):
        if text:
            return lorawan.instant_us(field, text)
    return None


DECODER = ThingsStack()
