"""Environment Agency (England), real-time flood-monitoring API: answers about stations to reports.

Topics are ``environment_agency/{station}/station`` and ``…/readings`` (``ingest.sources.feeds``); payloads are the
API's own JSON. As https://environment.data.gov.uk/flood-monitoring/doc/reference says, a property may be left out, be
given once or as a list, and a linked resource (a measure, ``latestReading``, ``stageScale``) may be an object or only
its address. Keys are ``level.stage``, ``level.stage.mAOD`` (above Ordnance Datum, not the station's own zero),
``flow.logged``, ``rainfall.tipping_bucket_raingauge``: parameter, qualifier, and the datum where it is another one.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from city.observations import Rejection
from ingest.decoders.feed_times import instant_us, measured
from ingest.decoders.said import MAX_PAYLOAD, MAX_VALUES, Announced, Arrival, Rejected, Report, Said

FAMILY = "environment_agency"
MOST_ITEMS = 20_000
_VENDOR = "Environment Agency"

# Of the last part of a measure's name; another one stays as it is and is refused where it does not convert.
_UNITS = {
    "m": "m",
    "mASD": "m",
    "mAOD": "m",
    "mBDAT": "m",
    "m3_s": "m³/s",
    "l_s": "L/s",
    "Ml_d": "Ml/d",
    "mm": "mm",
    "deg_C": "°C",
    "Deg_C": "°C",
    "m_s": "m/s",
    "Knots": "knot",
    "deg": "deg",
}
_PARAMETERS = ("level", "flow", "rainfall", "temperature", "wind")
_OTHER_DATUM = ("mAOD", "mBDAT")

_DOCUMENT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[dict[str, Any]] | dict[str, Any])


class EnvironmentAgency:
    """Stations of the Environment Agency."""

    family = FAMILY
    filters = (f"{FAMILY}/#",)
    subscribed = False

    def decode(self, topic: str, payload: bytes, arrival: Arrival) -> Sequence[Said] | Rejected:
        """Who the station is and what it read, oldest first; see ``decoders.said.Decoder``."""
        levels = topic.split("/")
        if len(levels) != 3 or levels[2] not in ("station", "readings"):
            return Rejected(
                Rejection.BAD_TOPIC,
                f"topic must be {FAMILY}/STATION/readings or /station, not {topic[:80]!r}",
            )
        if len(payload) > MAX_PAYLOAD:
            return Rejected(Rejection.OVERSIZE, f"{len(payload)} bytes; send at most {MAX_PAYLOAD}")
        items = _items(payload)
        if isinstance(items, Rejected):
            return items
        if levels[2] == "station":
            return [said for item in items[:1] for said in _station(levels[1], item)]
        return _readings(levels[1], items)


DECODER = EnvironmentAgency()


def _items(payload: bytes) -> list[dict[str, Any]] | Rejected:
    try:
        items = _DOCUMENT.decode(payload).get("items")
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        return Rejected(Rejection.NOT_JSON, f"not a JSON object ({str(error)[:80]})")
    if items is None:
        return Rejected(
            Rejection.WRONG_SHAPE, "items is missing; is this an answer of the flood-monitoring API?"
        )
    try:
        found = _ITEMS.decode(items)
    except (msgspec.MsgspecError, RecursionError) as error:
        return Rejected(Rejection.WRONG_SHAPE, f"items must be objects ({str(error)[:80]})")
    listed = [found] if isinstance(found, dict) else found
    if len(listed) > MOST_ITEMS:
        return Rejected(Rejection.OVERSIZE, f"items are {len(listed)}; at most {MOST_ITEMS}")
    return listed


def _station(name: str, item: dict[str, Any]) -> Iterator[Said]:
    """A station's own document: its name, what it measures, and the latest readings where they are given whole."""
    measures = _listed(item.get("measures"))
    keys = {key: None for one in measures if (key := _key(_measure(one))[0])}
    yield Announced(device=name, name=_text(item.get("label")), vendor=_VENDOR, keys=tuple(keys)[:MAX_VALUES])
    latest = [reading for one in measures if isinstance(one, dict) for reading in _latest(one)]
    said = _readings(name, latest)
    yield from (one for one in said if not isinstance(one, Rejected))


def _latest(measure: dict[str, Any]) -> list[dict[str, Any]]:
    reading = measure.get("latestReading")
    if not isinstance(reading, dict):
        return []  # only its address: the readings themselves are asked for anyway
    return [{**reading, "measure": reading.get("measure") or measure.get("@id")}]


def _readings(name: str, items: Sequence[dict[str, Any]]) -> list[Said]:
    """One report for each instant; what has no number is left out, what has no time is refused."""
    values: dict[int, dict[str, float]] = {}
    units: dict[str, str] = {}
    unplaced = 0
    for item in items:
        key, unit = _key(_measure(item.get("measure")))
        value = measured(item.get("value"))  # sometimes a list of two: nobody says which is true
        if not key or value is None:
            continue
        at_us = instant_us(item.get("dateTime"))
        if at_us is None:
            unplaced += 1
            continue
        values.setdefault(at_us, {})[key] = value
        if unit:
            units[key] = unit
    said: list[Said] = [
        Report(
            device=name,
            values=values[at_us],
            at_us=at_us,
            units={key: units[key] for key in values[at_us] if key in units} or None,
        )
        for at_us in sorted(values)
    ]
    if unplaced:
        said.append(Rejected(Rejection.BAD_TIME, f"dateTime of {unplaced} readings is no time with offset"))
    return said


def _measure(said: object) -> str:
    """The last part of a measure's address, whether it comes as an address or as an object with one."""
    if isinstance(said, dict):
        said = said.get("@id") or said.get("notation")
    return said.rpartition("/")[2][:200] if isinstance(said, str) else ""


def _key(measure: str) -> tuple[str, str]:
    """Key and unit of ``3400TH-level-stage-i-15_min-mAOD``; an empty key = not a measure's name, or no unit."""
    places = [(measure.find(f"-{one}-"), one) for one in _PARAMETERS]
    begin, parameter = min(((at, one) for at, one in places if at > 0), default=(-1, ""))
    if begin < 0:
        return "", ""
    parts = measure[begin + len(parameter) + 2 :].split("-")
    qualifier = parts[0].lower()
    unit = parts[-1]
    if not unit:
        return "", ""  # ``---``: a level in nobody knows what must not alarm
    key = f"{parameter}.{qualifier}" if qualifier else parameter
    if unit in _OTHER_DATUM:
        key = f"{key}.{unit}"
    return key, _UNITS.get(unit, unit)


def _listed(said: object) -> list[Any]:
    if isinstance(said, list):
        return said[:MAX_VALUES]
    return [] if said is None else [said]


def _text(said: object) -> str:
    """A text, the first of several, or nothing."""
    if isinstance(said, list):
        said = said[0] if said else ""
    return said[:200] if isinstance(said, str) else ""
