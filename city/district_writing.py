"""The district as the database knows it, written in the format of its own files."""

import csv
import dataclasses
import io
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from psycopg import Connection
from psycopg.rows import TupleRow

from city.areas import Area
from city.devices import Kind, Metric
from city.errors import CityError
from city.storage import areas, categories, devices, district, units
from city.units import Category, Unit

Texts = dict[str, str]


def texts(
    connection: Connection[TupleRow],
    *,
    metrics: Collection[Metric],
    kinds: Collection[Kind],
    categories: Collection[Category],
    built_in_source: str,
) -> Texts:
    """File name to text, for everything that is not built in. Raises CityError before the first import.

    Secrets are never among it, nor what people did to single devices, nor what only a topic named.
    """
    info = district.load_info(connection)
    if info is None:
        raise CityError("the database holds no district yet; run `city import FOLDER` first")
    drawn = areas.load_imported(connection)
    written = {
        "district.toml": _table(dataclasses.asdict(info)),
        "kinds.toml": _kinds(connection, metrics, kinds),
        "categories.csv": _categories(connection, categories),
        "areas.geojson": _geojson(drawn),
        "devices.csv": _devices(connection),
        "stations.csv": _stations(connection),
        "units.csv": _units(connection),
        "responsibilities.csv": _responsibilities(connection, {area.id: area for area in drawn}),
    }
    written |= _rules(connection, built_in_source)
    return {name: text for name, text in written.items() if text}


def _kinds(connection: Connection[TupleRow], metrics: Collection[Metric], kinds: Collection[Kind]) -> str:
    own = [dataclasses.replace(metric, id=0) for metric in devices.load_metrics(connection).values()]
    parts = [
        f"[metric.{_value(metric.code)}]\n"
        + _table({"unit": metric.unit, "name": metric.name, "name_en": metric.name_en})
        for metric in own
        if metric not in metrics and metric.name  # one that only a payload named has no name
    ]
    for kind in devices.load_kinds(connection).values():
        if kind in kinds:
            continue
        values = dataclasses.asdict(kind)
        values.pop("code")
        parts.append(f"[kind.{_value(kind.code)}]\n" + _table(values))
    return "\n".join(parts)


def _categories(connection: Connection[TupleRow], built_in: Collection[Category]) -> str:
    header = ("code", "parent", "name", "name_en", "class", "limit_minutes", "clock")
    own = [entry for entry in categories.load_categories(connection).values() if entry not in built_in]
    return _csv(header, (dataclasses.astuple(entry) for entry in own)) if own else ""


def _geojson(drawn: Sequence[Area]) -> str:
    by_id = {area.id: area for area in drawn}
    lines = []
    for area in drawn:
        above = by_id.get(area.parent_id or 0)
        properties = {
            "layer": area.layer,
            "code": area.code,
            "name": area.name,
            "name_en": area.name_en,
            "parent": above.code if above else None,
        }
        feature = {"type": "Feature", "properties": properties, "geometry": area.geometry}
        lines.append(json.dumps(feature, ensure_ascii=False, separators=(",", ":")))
    return '{"type":"FeatureCollection","features":[\n' + ",\n".join(lines) + "\n]}\n"


_DEVICES = "code kind name cell lon lat model owner_unit maintainer_unit gateway expected_interval_s address"
_STATIONS = "code station_kind river datum_m warning_m guaranteed_m highest_m upstream travel_min"


def _devices(connection: Connection[TupleRow]) -> str:
    lines = district.listed_devices(connection)
    return _csv(_DEVICES.split(), (dataclasses.astuple(line)[1:] for line in lines))


def _stations(connection: Connection[TupleRow]) -> str:
    lines = district.listed_stations(connection)
    return _csv(_STATIONS.split(), (dataclasses.astuple(line)[1:] for line in lines))


def _units(connection: Connection[TupleRow]) -> str:
    header = tuple(column.name for column in dataclasses.fields(Unit))[1:]
    return _csv(header, (dataclasses.astuple(unit)[1:] for unit in units.load_units(connection).values()))


def _responsibilities(connection: Connection[TupleRow], by_id: Mapping[int, Area]) -> str:
    header = ("category", "area_layer", "area", "unit", "class", "limit_minutes", "clock")
    known_units = units.load_units(connection)
    rows = []
    for line in units.load_responsibilities(connection):
        area = by_id.get(line.area_id or 0)
        rows.append(
            (
                line.category,
                area.layer if area else None,
                area.code if area else None,
                known_units[line.unit_id].code,
                line.incident_class,
                line.limit_minutes,
                line.clock,
            )
        )
    return _csv(header, rows)


def _rules(connection: Connection[TupleRow], built_in_source: str) -> Texts:
    by_file: dict[str, list[str]] = defaultdict(list)
    for rule_id, _, definition, source in district.active_rules(connection):
        if not source.startswith(built_in_source):
            by_file[source].append("[[rule]]\n" + _table({"id": rule_id, **definition}))
    return {name: "\n".join(rules) for name, rules in by_file.items()}


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _table(values: Mapping[str, object]) -> str:
    return "".join(f"{_value(key)} = {_value(value)}\n" for key, value in values.items() if value is not None)


def _value(value: object) -> str:
    """TOML's spelling; JSON's strings, numbers and lists are TOML's too."""
    if isinstance(value, Mapping):
        inner = (f"{_value(key)} = {_value(entry)}" for key, entry in value.items() if entry is not None)
        return "{ " + ", ".join(inner) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(entry) for entry in value) + "]"
    return json.dumps(value, ensure_ascii=False)
