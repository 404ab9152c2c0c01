"""The district as the database knows it, written in the format of its own files."""

import csv
import dataclasses
import io
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from city import code_forms, device_files, facility_files, patrol_files, responsibility_files
from city.areas import Area
from city.catalogue_columns import written as catalogue_written
from city.devices import Kind, Metric
from city.district_files import PROFILES, DistrictInfo
from city.errors import CityError
from city.register_sheets import LISTS
from city.sheet_cells import guarded
from city.storage import (
    areas,
    categories,
    device_lists,
    devices,
    district,
    facility_lists,
    rosters,
    rules,
    stations,
    units,
)
from city.storage import patrol_files as stored_patrol
from city.storage import responsibility_files as stored_responsibilities
from city.storage import senders as stored_senders
from city.units import Category

Texts = dict[str, str]
WriteRules = Callable[[Iterable[tuple[str, Mapping[str, object]]]], str]  # (id, definition) -> a rule file

OWN_RULES = "rules/own.toml"  # rules that people wrote here and that came from no file


def texts(
    connection: Connection[TupleRow],
    *,
    metrics: Collection[Metric],
    kinds: Collection[Kind],
    categories: Collection[Category],
    built_in_source: str,
    write_rules: WriteRules,
    without: Collection[str] = (),
) -> Texts:
    """File name to text, for everything that is not built in. Raises CityError before the first import.

    Of the lists that may be long (``LISTS``) those named in ``without`` are left out. ``write_rules`` is
    ``rules.writing.to_toml``. Secrets are never among it, nor what people did to single
    devices, nor what only a topic named.
    """
    info = district.load_info(connection)
    if info is None:
        raise CityError("the database holds no district yet; run `city import FOLDER` first")
    drawn = areas.load_imported(connection)
    written = {
        "district.toml": _district(info),
        "kinds.toml": _kinds(connection, metrics, kinds),
        "categories.csv": _categories(connection, categories),
        "areas.geojson": _geojson(drawn),
        **{name: _list(connection, name) for name in LISTS if name not in without},
        "stations.csv": _stations(connection),
        "station_series.csv": _station_series(connection),
        "units.csv": _units(connection),
        **_rosters(connection),
        "responsibilities.csv": _responsibilities(connection, {area.id: area for area in drawn}),
        patrol_files.NAME: _patrol(connection),
    }
    written |= {PROFILES + name: text for name, text in stored_senders.profile_files(connection)}
    written |= _rules(connection, built_in_source, write_rules)
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


def _district(info: DistrictInfo) -> str:
    forms = code_forms.to_plain(info.code_forms)
    named = {"code": info.code, "name": info.name, "name_en": info.name_en, "timezone": info.timezone}
    return _table(named | ({"code_forms": forms} if forms else {}))


def _categories(connection: Connection[TupleRow], built_in: Collection[Category]) -> str:
    own = [entry for entry in categories.load_categories(connection).values() if entry not in built_in]
    return catalogue_written(own) if own else ""


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


_STATIONS = "code station_kind river datum_m zero_m warning_m guaranteed_m highest_m bank_m design_m"
_STATIONS += " upstream travel_min"
_SERIES = "station role device metric travel_min"


def rows_of(connection: Connection[TupleRow], name: str) -> list[Sequence[Any]]:
    """One of the long lists (``LISTS``) as its lines."""
    if name == device_files.FILE:
        return [device_files.cells(one) for one in device_lists.listed_devices(connection)]
    if name == facility_files.COMPONENTS:
        return [facility_files.component_cells(one) for one in facility_lists.listed_components(connection)]
    return [facility_files.building_cells(one) for one in facility_lists.listed_buildings(connection)]


def _list(connection: Connection[TupleRow], name: str) -> str:
    rows = rows_of(connection, name)
    return csv_of(LISTS[name], rows) if rows or name == device_files.FILE else ""


def _stations(connection: Connection[TupleRow]) -> str:
    rows = []
    for line in stations.listed_stations(connection):
        known = any(minutes is not None for _, minutes in line.upstreams)
        times = ["" if minutes is None else str(minutes) for _, minutes in line.upstreams] if known else []
        rows.append(
            (
                line.code,
                line.station_kind,
                line.river,
                line.datum_m,
                *dataclasses.astuple(line.levels),
                ";".join(code for code, _ in line.upstreams),
                ";".join(times),
            )
        )
    return csv_of(_STATIONS.split(), rows)


def _station_series(connection: Connection[TupleRow]) -> str:
    lines = stations.listed_series(connection)
    return csv_of(_SERIES.split(), (dataclasses.astuple(line)[1:] for line in lines)) if lines else ""


_UNITS = "code name name_en kind parent lead phone lead_phone email lead_email webhook_url"
_UNITS += " tier capacity fallback hours lon lat"


def _units(connection: Connection[TupleRow]) -> str:
    known = units.load_units(connection).values()
    return csv_of(_UNITS.split(), (dataclasses.astuple(unit)[1:] for unit in known))


def _rosters(connection: Connection[TupleRow]) -> Texts:
    """People who log in here stand by their name alone: accounts are no part of a district's files."""
    listed = rosters.listed_rosters(connection)
    shifts = [
        (code, shift.name, shift.days, f"{shift.begins:%H:%M}", f"{shift.ends:%H:%M}")
        for code, roster in listed.items()
        for shift in roster.shifts
    ]
    people = [
        (code, one.person, one.phone, one.begins.isoformat(" "), one.ends.isoformat(" "))
        for code, roster in listed.items()
        for one in roster.people
    ]
    return {
        "shifts.csv": csv_of(("unit", "name", "days", "from", "to"), shifts) if shifts else "",
        "roster.csv": csv_of(("unit", "person", "phone", "from", "to"), people) if people else "",
    }


def _patrol(connection: Connection[TupleRow]) -> str:
    points = stored_patrol.listed_points(connection)
    return csv_of(patrol_files.COLUMNS, patrol_files.lines(points)) if points else ""


def _responsibilities(connection: Connection[TupleRow], by_id: Mapping[int, Area]) -> str:
    now = datetime.now(UTC)
    return responsibility_files.written(
        stored_responsibilities.living(connection, now),
        {area.id: (area.layer, area.code) for area in by_id.values()},
        stored_responsibilities.units(connection),
        now=now,
    )


def _rules(connection: Connection[TupleRow], built_in_source: str, write_rules: WriteRules) -> Texts:
    """All rules or none: a folder's own rules replace the built-in set, so one changed rule brings the others."""
    in_force = rules.active(connection)
    if rules.untouched(connection, built_in_source):
        return {}
    by_file: dict[str, list[tuple[str, dict[str, object]]]] = defaultdict(list)
    for rule in in_force:
        name = rule.source.removeprefix(built_in_source) or OWN_RULES
        by_file[name].append((rule.rule_id, rule.definition))
    return {name: write_rules(rows) for name, rows in by_file.items()}


def csv_of(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Text with a header, as the reader takes it back."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([guarded(cell) for cell in row] for row in rows)
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
