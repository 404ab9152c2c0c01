"""One plausible message of each foreign family, made up here: for what they cost and for showing them on a wall.

Numbers are a calm day's unless ``alarm`` is set; nothing is taken from a recording.
"""

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Asia/Shanghai")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A message as its sender would publish it. ``retain`` as that sender does; ``binary`` = no JSON,
    ``asked`` = an answer that nobody publishes."""

    topic: str
    payload: bytes
    retain: bool = False
    binary: bool = False
    asked: bool = False


Maker = Callable[[float, bool], list[Sample]]


def _json(topic: str, body: object, *, retain: bool = False) -> Sample:
    return Sample(topic=topic, payload=json.dumps(body, separators=(",", ":")).encode(), retain=retain)


def frigate(now: float, alarm: bool) -> list[Sample]:
    """A review of severity alert, from its begin; the recorder's statistics."""
    item = {"id": f"{now:.6f}-bench1", "camera": "gate_east", "start_time": now, "end_time": None}
    data = {"detections": [f"{now:.6f}-obj001"], "objects": ["person"], "sub_labels": [], "zones": ["gate"]}
    severity = "alert" if alarm else "detection"
    review = item | {"severity": severity, "thumb_path": "/media/frigate/clips/review/x.webp", "data": data}
    stats = {
        "cameras": {"gate_east": {"camera_fps": 5.0, "process_fps": 5.0, "pid": 311}},
        "service": {"uptime": 77},
    }
    return [
        _json("frigate/reviews", {"type": "new", "before": review, "after": review}),
        Sample(topic="frigate/available", payload=b"online", retain=True),
        _json("frigate/stats", stats),
    ]


def frigate_events(now: float, alarm: bool) -> list[Sample]:
    """A tracked object, for recorders whose events are taken instead."""
    one = {
        "id": f"{now:.6f}-obj001", "camera": "gate_east", "frame_time": now, "label": "person", "sub_label": None,
        "top_score": 0.91, "false_positive": not alarm, "start_time": now, "end_time": None, "score": 0.87,
        "box": [424, 500, 536, 712], "area": 23744, "ratio": 2.11, "region": [264, 450, 667, 853], "active": True,
        "current_zones": ["gate"], "entered_zones": ["yard", "gate"], "has_snapshot": True, "has_clip": True,
        "stationary": False, "motionless_count": 0, "position_changes": 2, "attributes": {}, "current_attributes": [],
    }  # fmt: skip
    return [_json("frigate/events", {"type": "new", "before": one | {"false_positive": True}, "after": one})]


def zigbee2mqtt(now: float, alarm: bool) -> list[Sample]:
    """A detector on a battery, its availability, and the bridge."""
    said = {
        "battery": 97, "voltage": 3085, "linkquality": 143, "smoke": alarm, "battery_low": False, "tamper": False,
        "test": False, "temperature": 21.4, "last_seen": int(now * 1000),
    }  # fmt: skip
    name = "zigbee2mqtt/block3/stairs"  # the embedded broker cuts off who publishes to a topic with a space
    return [
        _json(name, said),
        _json(f"{name}/availability", {"state": "online"}, retain=True),
        _json("zigbee2mqtt/bridge/state", {"state": "online"}, retain=True),
    ]


def senml(now: float, alarm: bool) -> list[Sample]:
    """A pack with base fields and relative times (RFC 8428)."""
    base = {
        "bn": "urn:dev:mac:0024befffe804ff1:",
        "bt": round(now, 3),
        "n": "temperature",
        "u": "Cel",
        "v": 21.5,
    }
    more = [
        {"n": "smoke", "u": "%", "v": 91 if alarm else 3},
        {"n": "battery", "u": "%EL", "v": 88},
        {"n": "temperature", "u": "Cel", "v": 21.4, "t": -60},
    ]
    return [_json("senml/stairwell", [base, *more])]


def chirpstack(now: float, alarm: bool) -> list[Sample]:
    """An uplink whose network server decoded it (v4, JSON marshaler)."""
    info = {
        "tenantId": "52f14cd4-c6f1-4fbd-8f87-4025e1d49242", "tenantName": "City", "applicationName": "Rivers",
        "applicationId": "17c82e96-be03-4f38-aef3-f83d48582d97", "deviceProfileName": "EM500-UDL",
        "deviceName": "weir 4", "devEui": "24e124713b491234", "tags": {"site": "weir"},
    }  # fmt: skip
    at = datetime.fromtimestamp(now, ZONE).isoformat()
    radio = [
        {"gatewayId": "0016c001f153a14c", "uplinkId": 4217106255, "rssi": -63, "snr": 9.8, "context": "E3OW"}
    ]
    up = {
        "deduplicationId": f"3ac7e3c4-4401-4b8d-9386-{int(now) % 10**12:012d}", "time": at, "deviceInfo": info,
        "devAddr": "00189440", "adr": True, "dr": 5, "fCnt": int(now) % 65536, "fPort": 85, "confirmed": False,
        "data": "AXVcA4KqBQ==", "object": {"battery": 92.0, "distance": 300 if alarm else 1450},
        "rxInfo": radio, "txInfo": {"frequency": 470300000},
    }  # fmt: skip
    return [_json(f"application/{info['applicationId']}/device/{info['devEui']}/event/up", up)]


def things_stack(now: float, alarm: bool) -> list[Sample]:
    """An uplink with a decoded payload (v3, times to the nanosecond)."""
    at = (
        datetime.fromtimestamp(now, ZONE).astimezone(ZoneInfo("UTC")).strftime("%Y-%m-%dT%H:%M:%S.%f")
        + "123Z"
    )
    ids = {
        "device_id": "hall-smoke",
        "application_ids": {"application_id": "buildings"},
        "dev_eui": "70B3D57ED005A1B2",
    }
    radio = [{"gateway_ids": {"gateway_id": "roof"}, "rssi": -71, "snr": 8.5}]
    uplink = {
        "session_key_id": "AX", "f_port": 2, "f_cnt": int(now) % 65536, "frm_payload": "AQID",
        "decoded_payload": {"smoke": int(alarm), "battery": 93, "temperature": 22.5},
        "rx_metadata": radio, "settings": {"frequency": "868100000"}, "received_at": at,
    }  # fmt: skip
    return [
        _json(
            "v3/buildings@city/devices/hall-smoke/up",
            {"end_device_ids": ids, "received_at": at, "uplink_message": uplink},
        )
    ]


def thingsboard(now: float, alarm: bool) -> list[Sample]:
    """A gateway's telemetry of two devices."""
    ts = int(now * 1000)
    telemetry = {
        "Cellar 1": [{"ts": ts, "values": {"smoke": 91 if alarm else 4, "temperature": 19.5}}],
        "Cellar 2": [{"ts": ts, "values": {"smoke": 3, "temperature": 20.1, "battery": 77}}],
    }
    return [_json("v1/gateway/telemetry", telemetry)]


def tasmota(now: float, alarm: bool) -> list[Sample]:
    """A sensor's telemetry in local time, and its last will's opposite."""
    at = datetime.fromtimestamp(now, ZONE).strftime("%Y-%m-%dT%H:%M:%S")
    said = {"Time": at, "AM2301": {"Temperature": 68.0 if alarm else 21.3, "Humidity": 51.2}, "TempUnit": "C"}
    return [
        _json("tele/plant_room/SENSOR", said),
        Sample(topic="tele/plant_room/LWT", payload=b"Online", retain=True),
    ]


def homeassistant(now: float, alarm: bool) -> list[Sample]:
    """A discovery message: what a device is going to say."""
    del now, alarm
    device = {"identifiers": ["co2_17"], "name": "School air", "model": "SCD41", "manufacturer": "Bench"}
    config = {
        "name": "CO2", "unique_id": "co2_17_co2", "state_topic": "school/co2/state", "device_class": "carbon_dioxide",
        "unit_of_measurement": "ppm", "value_template": "{{ value_json.co2 }}", "device": device,
    }  # fmt: skip
    return [_json("homeassistant/sensor/co2_17/co2/config", config, retain=True)]


def _modbus(data: bytes) -> int:
    found = 0xFFFF
    for byte in data:
        found ^= byte
        for _ in range(8):
            found = (found >> 1) ^ (0xA001 if found & 1 else 0)
    return found


def sl651(now: float, alarm: bool) -> list[Sample]:
    """A timed report (32H) with level, rain and supply voltage, in the hexadecimal form."""
    moment = datetime.fromtimestamp(now, ZONE)
    head = bytes.fromhex("7E7E 01 0012345678 1234 32")
    sent, seen = moment.strftime("%y%m%d%H%M%S"), moment.strftime("%y%m%d%H%M")
    level = "00007450" if alarm else "00003450"
    body = bytes.fromhex(f"0017{sent} F1F1 0012345678 48 F0F0 {seen} 3923{level} 2019000005 38121205")
    frame = head + struct.pack(">H", len(body)) + b"\x02" + body + b"\x03"
    return [Sample(topic="sl651/0012345678", payload=frame + struct.pack(">H", _modbus(frame)), binary=True)]


def gb26875(now: float, alarm: bool) -> list[Sample]:
    """The state of one smoke detector behind a transmitter; alarm is bit 1."""
    moment = datetime.fromtimestamp(now, ZONE)
    clock = bytes([moment.second, moment.minute, moment.hour, moment.day, moment.month, moment.year % 100])
    text = "三层楼梯间烟感".encode("gb18030").ljust(31, b"\0")
    part = struct.pack("<BBBIH", 1, 0, 40, 0x00030007, 0x0003 if alarm else 0x0001) + text
    unit = bytes([2, 1]) + part + clock
    source, centre = (4711).to_bytes(6, "little"), (1).to_bytes(6, "little")
    control = struct.pack("<HBB", 17, 1, 1) + clock + source + centre + struct.pack("<HB", len(unit), 2)
    inner = control + unit
    return [
        Sample(topic="gb26875/4711", payload=b"@@" + inner + bytes([sum(inner) & 0xFF]) + b"##", binary=True)
    ]


def hj212(now: float, alarm: bool) -> list[Sample]:
    """Real-time values of an air station."""
    moment = datetime.fromtimestamp(now, ZONE).strftime("%Y%m%d%H%M%S")
    values = f"a34004-Rtd={'251.0' if alarm else '35.1'},a34004-Flag=N;a01001-Rtd=21.5,a01001-Flag=N"
    data = (
        f"QN={moment}000;ST=22;CN=2011;PW=123456;MN=88888880000001;Flag=5;CP=&&DataTime={moment};{values}&&"
    ).encode()
    found = 0xFFFF
    for byte in data:
        found = (found >> 8) ^ byte
        for _ in range(8):
            found = (found >> 1) ^ (0xA001 if found & 1 else 0)
    line = b"##%04d%s%04X\r\n" % (len(data), data, found)
    return [Sample(topic="hj212/88888880000001", payload=line, binary=True)]


def environment_agency(now: float, alarm: bool) -> list[Sample]:
    """An answer of the flood-monitoring service: the level of the last two quarters of an hour."""
    root = "http://environment.data.gov.uk/flood-monitoring"
    measure = f"{root}/id/measures/3400TH-level-stage-i-15_min-mASD"
    items = [
        {
            "@id": f"{root}/data/readings/{place}",
            "dateTime": datetime.fromtimestamp(now - 900 * place, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "measure": measure,
            "value": 4.7 if alarm else 1.2,
        }
        for place in range(2)
    ]
    said = _json("environment_agency/3400TH/readings", {"meta": {"limit": 400}, "items": items})
    return [replace(said, asked=True)]


def nwps(now: float, alarm: bool) -> list[Sample]:
    """An answer of the gauge service: stage and flow observed, no forecast."""
    at = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    point = {"validTime": at, "generatedTime": at, "primary": 22.0 if alarm else 16.75, "secondary": 12.5}
    observed = {
        "primaryName": "Stage",
        "primaryUnits": "ft",
        "secondaryName": "Flow",
        "secondaryUnits": "kcfs",
        "issuedTime": at,
        "data": [point],
    }
    return [replace(_json("nwps/PTTP1/stageflow", {"observed": observed, "forecast": None}), asked=True)]


FAMILIES: Mapping[str, Maker] = MappingProxyType(
    {
        "chirpstack": chirpstack,
        "environment_agency": environment_agency,
        "frigate": frigate,
        "frigate_events": frigate_events,
        "gb26875": gb26875,
        "hj212": hj212,
        "homeassistant": homeassistant,
        "nwps": nwps,
        "senml": senml,
        "sl651": sl651,
        "tasmota": tasmota,
        "thingsboard": thingsboard,
        "things_stack": things_stack,
        "zigbee2mqtt": zigbee2mqtt,
    }
)
