"""Home Assistant's MQTT discovery: devices that announce what they are and what they will report.

``homeassistant/<component>/[<node>/]<object>/config`` tells of one entity of a device,
``homeassistant/device/…/config`` of all of them. Readings come on the topics named there and belong to other families;
where one of ours reads those topics (Zigbee2MQTT, Tasmota), the announcement goes to the device under the name it has
there.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from city.observations import Rejection
from ingest.decoders.json_bodies import body
from ingest.decoders.said import MAX_NAME, Announced, Arrival, Rejected, Said
from ingest.decoders.tasmota import device_of
from ingest.decoders.zigbee2mqtt import BRIDGE

MOST_ENTITIES = 200  # of one device

_WANTED = "a discovery message: an object with state_topic (stat_t) and device (dev)"
_ABBREVIATIONS = {  # of the fields read here; the documentation lists two hundred
    "dev": "device",
    "dev_cla": "device_class",
    "stat_t": "state_topic",
    "json_attr_t": "json_attributes_topic",
    "avty_t": "availability_topic",
    "t": "topic",
    "val_tpl": "value_template",
    "uniq_id": "unique_id",
    "def_ent_id": "default_entity_id",
    "obj_id": "object_id",
    "cmps": "components",
    "p": "platform",
}
_OF_DEVICES = {
    "ids": "identifiers",
    "cns": "connections",
    "mf": "manufacturer",
    "mdl": "model",
    "mdl_id": "model_id",
    "via_device": "via_device",
}
_TOPICS = ("state_topic", "json_attributes_topic", "topic", "availability_topic")
_SILENT = frozenset(
    {"update", "button", "scene", "script", "notify", "camera", "image", "tag"}
)  # report no number

# value_json.smoke, value_json['AM2301'].Temperature: the steps begin differently, so there is one way to match
_PATH = re.compile(
    r"value_json((?:\.[A-Za-z_]\w{0,63}|\[\s{0,4}(?:'[^'\]]{1,64}'|\"[^\"\]]{1,64}\")\s{0,4}\])+)"
)
_STEP = re.compile(r"\.(\w+)|['\"]([^'\"]+)['\"]")
_METHODS = frozenset({"get", "split", "replace", "lower", "upper", "items", "keys", "values"})

_JSON = msgspec.json.Decoder(dict[str, Any])

Fields = Mapping[str, Any]


class _Entity(NamedTuple):
    """One entity: which family reads its topic, its device's name there, and the key of its value."""

    family: str
    device: str
    key: str


class HomeAssistant:
    """Discovery under the usual prefix; ``status`` is Home Assistant's own birth and last will."""

    family = "homeassistant"
    subscribed = True
    filters = ("homeassistant/+/+/config", "homeassistant/+/+/+/config", "homeassistant/status")

    def decode(self, topic: str, payload: bytes, arrival: Arrival) -> Sequence[Said] | Rejected:
        """The device that is announced, under each name our families have for it."""
        levels = topic.split("/")
        if not payload or levels[-1] != "config" or len(levels) not in (4, 5):
            return []  # an entity that was taken away, or what Home Assistant says of itself
        told = body(_JSON, payload, _WANTED)
        if isinstance(told, Rejected):
            return told
        fields = _long(told, _ABBREVIATIONS)
        about = fields.get("device")
        if about is not None and not isinstance(about, dict):
            return Rejected(Rejection.WRONG_SHAPE, "device is no object; send its identifiers and name in it")
        device = _long(about or {}, _OF_DEVICES)
        own = _identifier(device) or levels[2]
        entities = list(_entities(levels, fields, own))
        if not entities:
            return []
        return _announced(device, own, entities)


def _long(fields: Fields, abbreviations: Mapping[str, str]) -> dict[str, Any]:
    """Names in full; where both are given, the full one counts."""
    return {abbreviations.get(key, key): value for key, value in fields.items() if key in abbreviations} | {
        key: value for key, value in fields.items() if key not in abbreviations or key == abbreviations[key]
    }


def _identifier(device: Fields) -> str:
    """The first identifier, which may stand alone or in a list; else the first connection's address."""
    for field in ("identifiers", "connections"):
        found = device.get(field)
        while isinstance(found, list) and found:
            found = found[-1] if field == "connections" and isinstance(found[0], str) else found[0]
        if isinstance(found, str | int) and not isinstance(found, bool) and str(found):
            return str(found)[:MAX_NAME]
    return ""


def _entities(levels: Sequence[str], fields: Fields, own: str) -> Iterator[_Entity]:
    base = fields.get("~")
    if levels[1] != "device":
        yield from _entity(levels[1], levels[-2], fields, base, own)
        return
    components = fields.get("components")
    for name, told in list(components.items())[:MOST_ENTITIES] if isinstance(components, dict) else ():
        if isinstance(told, dict):
            entity = _long(told, _ABBREVIATIONS)
            if entity.keys() - {"platform"}:  # a platform alone says that the entity was taken away
                shared = {key: fields[key] for key in _TOPICS if key in fields}
                platform = str(entity.get("platform", ""))
                yield from _entity(platform, name, shared | entity, entity.get("~", base), own)


def _entity(component: str, name: str, fields: Fields, base: object, own: str) -> Iterator[_Entity]:
    topics = [_topic(fields.get(field), base) for field in _TOPICS]
    heard = next((topic for topic in topics if topic), "")
    family, device = _heard_as(heard)
    template = fields.get("value_template")
    path = _PATH.search(template[:4096]) if isinstance(template, str) else None
    steps = [one or other for one, other in _STEP.findall(path[1])] if path is not None else []
    while steps and steps[-1] in _METHODS:
        steps.pop()
    device_class = fields.get("device_class")
    key = ".".join(steps)
    if not key and not family:  # nobody here reads the topic; what it is called is what there is to know
        key = device_class if isinstance(device_class, str) and device_class else name
    yield _Entity(family, device or own, "" if component in _SILENT else key[:MAX_NAME])


def _topic(said: object, base: object) -> str:
    """``~`` at the begin or the end of a topic stands for the base topic."""
    if not isinstance(said, str):
        return ""
    if isinstance(base, str) and said.startswith("~"):
        return base + said[1:]
    return said[:-1] + base if isinstance(base, str) and said.endswith("~") else said


def _heard_as(topic: str) -> tuple[str, str]:
    """The family of ours that reads a topic, and the name that the device has there."""
    if topic.startswith("zigbee2mqtt/bridge/"):
        return "zigbee2mqtt", BRIDGE
    if topic.startswith("zigbee2mqtt/"):
        name = topic.removeprefix("zigbee2mqtt/")
        for suffix in ("/availability", "/action"):
            name = name.removesuffix(suffix)
        return "zigbee2mqtt", name
    device, what = device_of(topic)
    if device and what in ("SENSOR", "STATE", "LWT", "RESULT", "HASS_STATE", "INFO1"):
        return "tasmota", device
    return "", ""


def _announced(device: Fields, own: str, entities: Sequence[_Entity]) -> list[Said]:
    words = {
        field: found if isinstance(found := device.get(field), str) else ""
        for field in ("name", "model", "model_id", "manufacturer", "via_device")
    }
    keys: dict[tuple[str, str], dict[str, None]] = {}
    for entity in entities:
        keys.setdefault((entity.family, entity.device), {}).update({entity.key: None} if entity.key else {})
    return [
        Announced(
            family=family,
            device=name,
            name=words["name"] if words["name"] != name else "",
            model=words["model"] or words["model_id"],
            vendor=words["manufacturer"],
            gateway="" if family else words["via_device"],
            keys=tuple(found),
        )
        for (family, name), found in keys.items()
    ]


DECODER = HomeAssistant()
