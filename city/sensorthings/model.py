"""The eight entity sets of SensorThings 1.1 (18-088, clause 8) and which of our columns say each property.

A device is a Thing, and also the Sensor and the Location and FeatureOfInterest at its place, under one number. A
Datastream is one metric of one device: ``device * 32768 + metric``. An Observation has no number of its own in our
memory; its id is ``'<datastream>-<microseconds since 1970 UTC>'``. All ids stay while the device stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from city.errors import CityError

Kind = Literal["integer", "number", "text", "time", "boolean", "place", "area", "json"]
METRICS = 1 << 15  # metric ids are positive smallints
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LARGEST = (1 << 31) - 1


class SensorThingsError(CityError):
    """What was asked cannot be answered: 400 wrong, 404 not there, 501 of the standard but not spoken here."""

    def __init__(self, status: int, field: str, value: object, remedy: str, remedy_zh: str) -> None:
        self.status, self.field, self.value = status, field, str(value)[:200]
        self.remedy, self.remedy_zh = remedy, remedy_zh
        super().__init__(f"{field} = {self.value}: {remedy}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Property:
    """A column of the entity's rows. ``place`` is a point, filtered by functions only; ``json`` is only shown."""

    column: str
    kind: Kind


@dataclass(frozen=True, kw_only=True, slots=True)
class Navigation:
    """To another entity set. ``link``: pairs of (column here, column there) that are equal."""

    target: str
    many: bool
    link: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entity:
    """``key`` columns identify a row and end every order; ``parts`` are what filters reach inside ``properties``."""

    plural: str
    singular: str
    key: tuple[Property, ...]
    properties: Mapping[str, Property]
    navigations: Mapping[str, Navigation]
    parts: Mapping[str, Property] = field(default_factory=dict)

    def find(self, path: str) -> Property | None:
        """A property, or a part of one, by the name that filters use."""
        return self.properties.get(path) or self.parts.get(path)


def _of(column: str, kind: Kind) -> Property:
    return Property(column=column, kind=kind)


_ID = (_of("id", "integer"),)
_NAMED = {"name": _of("name", "text"), "description": _of("description", "text")}
_PARTS = {
    f"properties/{name}": _of(name, "text")
    for name in ("code", "kind", "model", "owner", "maintainer", "registration", "cell")
}


def _to(target: str, *link: tuple[str, str]) -> Navigation:
    return Navigation(target=target, many=False, link=link)


def _all(target: str, *link: tuple[str, str]) -> Navigation:
    return Navigation(target=target, many=True, link=link)


_SERIES = (("device_id", "device_id"), ("metric_id", "metric_id"))

ENTITIES: Mapping[str, Entity] = {
    entity.plural: entity
    for entity in (
        Entity(
            plural="Things",
            singular="Thing",
            key=_ID,
            properties={"id": _ID[0], **_NAMED, "properties": _of("properties", "json")},
            parts=_PARTS,
            navigations={
                "Locations": _all("Locations", ("id", "id")),
                "HistoricalLocations": _all("HistoricalLocations", ("id", "id")),
                "Datastreams": _all("Datastreams", ("id", "device_id")),
            },
        ),
        Entity(
            plural="Locations",
            singular="Location",
            key=_ID,
            properties={
                "id": _ID[0],
                **_NAMED,
                "encodingType": _of("encoding", "text"),
                "location": _of("location", "place"),
                "properties": _of("properties", "json"),
            },
            parts={f"properties/{name}": _of(name, "text") for name in ("code", "cell")},
            navigations={
                "Things": _all("Things", ("id", "id")),
                "HistoricalLocations": _all("HistoricalLocations", ("id", "id")),
            },
        ),
        Entity(
            plural="HistoricalLocations",
            singular="HistoricalLocation",
            key=_ID,
            properties={"id": _ID[0], "time": _of("time", "time")},
            navigations={
                "Thing": _to("Things", ("id", "id")),
                "Locations": _all("Locations", ("id", "id")),
            },
        ),
        Entity(
            plural="Datastreams",
            singular="Datastream",
            key=(_of("device_id", "integer"), _of("metric_id", "integer")),
            properties={
                "id": _of("id", "integer"),
                **_NAMED,
                "observationType": _of("observation_type", "text"),
                "unitOfMeasurement": _of("unit", "json"),
                "properties": _of("properties", "json"),
            },
            parts={
                "properties/code": _of("code", "text"),
                "properties/metric": _of("metric", "text"),
                "properties/kind": _of("kind", "text"),
                "unitOfMeasurement/symbol": _of("symbol", "text"),
                "unitOfMeasurement/name": _of("symbol", "text"),
            },
            navigations={
                "Thing": _to("Things", ("device_id", "id")),
                "Sensor": _to("Sensors", ("device_id", "id")),
                "ObservedProperty": _to("ObservedProperties", ("metric_id", "id")),
                "Observations": _all("Observations", *_SERIES),
            },
        ),
        Entity(
            plural="Sensors",
            singular="Sensor",
            key=_ID,
            properties={
                "id": _ID[0],
                **_NAMED,
                "encodingType": _of("encoding", "text"),
                "metadata": _of("metadata", "text"),
                "properties": _of("properties", "json"),
            },
            parts={f"properties/{name}": _of(name, "text") for name in ("code", "kind", "model")},
            navigations={"Datastreams": _all("Datastreams", ("id", "device_id"))},
        ),
        Entity(
            plural="ObservedProperties",
            singular="ObservedProperty",
            key=_ID,
            properties={
                "id": _ID[0],
                **_NAMED,
                "definition": _of("definition", "text"),
                "properties": _of("properties", "json"),
            },
            parts={"properties/code": _of("code", "text")},
            navigations={"Datastreams": _all("Datastreams", ("id", "metric_id"))},
        ),
        Entity(
            plural="Observations",
            singular="Observation",
            key=(
                _of("device_id", "integer"),
                _of("metric_id", "integer"),
                _of("observed_at", "time"),
            ),
            properties={
                "id": _of("id", "text"),
                "phenomenonTime": _of("observed_at", "time"),
                "resultTime": _of("observed_at", "time"),
                "result": _of("value", "number"),
                "resultQuality": _of("quality", "json"),
                "parameters": _of("parameters", "json"),
            },
            parts={"parameters/receivedAt": _of("received_at", "time")},
            navigations={
                "Datastream": _to("Datastreams", *_SERIES),
                "FeatureOfInterest": _to("FeaturesOfInterest", ("device_id", "id")),
            },
        ),
        Entity(
            plural="FeaturesOfInterest",
            singular="FeatureOfInterest",
            key=_ID,
            properties={
                "id": _ID[0],
                **_NAMED,
                "encodingType": _of("encoding", "text"),
                "feature": _of("feature", "place"),
                "properties": _of("properties", "json"),
            },
            parts={f"properties/{name}": _of(name, "text") for name in ("code", "cell")},
            navigations={"Observations": _all("Observations", ("id", "device_id"))},
        ),
    )
}


def key_of(entity: Entity, written: str) -> tuple[object, ...] | None:
    """The key columns that an id in an address or a filter means; None when no such id can be."""
    if entity.plural == "Observations":
        stream, _, instant = written.partition("-")
        series = key_of(ENTITIES["Datastreams"], stream)
        if series is None or not _digits(instant, 17):
            return None
        try:
            return (*series, _EPOCH + timedelta(microseconds=int(instant)))
        except OverflowError:
            return None
    if not _digits(written, 15):
        return None
    number = int(written)
    if entity.plural == "Datastreams":
        device, metric = divmod(number, METRICS)
        return (device, metric) if 0 < device <= _LARGEST else None
    return (number,) if number <= _LARGEST else None


def _digits(text: str, most: int) -> bool:
    return 0 < len(text) <= most and text.isascii() and text.isdigit()
