"""The format of a district's own files (docs/district-files.md): bytes go in, nouns and faults come out.

Pure: no file is opened here. What refers to something in another file is followed in ``district_checks``.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast, get_args
from zoneinfo import ZoneInfo

from city import catalogue_reading
from city.areas import Geometry
from city.buildings import Building
from city.catalogue_columns import COLUMNS
from city.code_forms import CodeForms, parse_forms
from city.components import Component
from city.coordinates import Crs
from city.device_files import ListedDevice, parse_devices
from city.devices import Kind, Metric
from city.district_source import Faults, Row, TomlTable, csv_rows, decoded, parsed_toml, shown
from city.drawn import outline
from city.facility_files import parse_buildings, parse_components
from city.patrol_files import ListedPoint, parse_patrol_routes
from city.register_rows import CODE, once, outline_on_wgs84, said_crs
from city.responsibility_files import ListedResponsibility, parse_responsibilities
from city.roster_files import parse_rosters
from city.rosters import Roster
from city.stations import KINDS as STATION_KINDS
from city.stations import SERIES_ROLES, Levels, SeriesRole
from city.units import Category, Tier, Unit
from city.worktime import HoursError, read_hours

# From the outside in; others are nets of line departments.
LAYERS = ("district", "street", "community", "cell")
CLASSES = ("A", "B", "C")
CLOCKS = ("natural", "working")
TIERS: tuple[Tier, ...] = get_args(Tier)
LONGEST_TRAVEL_MIN = 30 * 24 * 60  # minutes; no river of a district takes longer

_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")
PROFILES = "profiles/"  # folder of what models of foreign senders report (docs/profiles.md)


@dataclass(frozen=True, kw_only=True, slots=True)
class DistrictInfo:
    """The district itself."""

    code: str
    name: str
    name_en: str
    timezone: str
    code_forms: CodeForms = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnArea:
    """An area as the file draws it; ``parent`` is a code of another area or None."""

    where: str
    layer: str
    code: str
    name: str
    name_en: str
    parent: str | None
    geometry: Geometry | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedStation:
    """A line of stations.csv; ``code`` is a device's.

    ``upstreams`` are codes of other stations with the minutes the water takes from there (None = not known).
    """

    where: str
    code: str
    station_kind: str
    river: str
    datum_m: float
    levels: Levels
    upstreams: tuple[tuple[str, int | None], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedSeries:
    """A line of station_series.csv: what else tells of a station's water; ``station`` and ``device`` are codes."""

    where: str
    station: str
    role: SeriesRole
    device: str
    metric: str
    travel_minutes: int | None


@dataclass(kw_only=True, slots=True)
class DistrictFiles:
    """A whole folder, read; ``rules`` and ``profiles`` are file names with their texts."""

    info: DistrictInfo
    metrics: list[Metric] = field(default_factory=list)
    kinds: list[Kind] = field(default_factory=list)
    categories: list[Category] = field(default_factory=list)
    areas: list[DrawnArea] = field(default_factory=list)
    devices: list[ListedDevice] = field(default_factory=list)
    stations: list[ListedStation] = field(default_factory=list)
    station_series: list[ListedSeries] = field(default_factory=list)
    units: list[Unit] = field(default_factory=list)
    rosters: Mapping[str, Roster] = field(default_factory=dict)
    responsibilities: list[ListedResponsibility] = field(default_factory=list)
    components: list[Component] = field(default_factory=list)
    buildings: list[Building] = field(default_factory=list)
    patrol: list[ListedPoint] = field(default_factory=list)
    rules: list[tuple[str, str]] = field(default_factory=list)
    profiles: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Long lists as the district has them, for the files that nobody sent: none of it is written and read again."""

    devices: list[ListedDevice] = field(default_factory=list)
    components: list[Component] = field(default_factory=list)
    buildings: list[Building] = field(default_factory=list)


def parse(
    contents: Mapping[str, bytes],
    faults: Faults,
    *,
    standing: Standing | None = None,
    crs: Mapping[str, Crs] | None = None,
) -> DistrictFiles:
    """Read the files of one folder, given by their names inside it; absent optional ones are empty.

    What ``standing`` holds is there where its file is not. ``crs`` says by file of which map its positions are,
    where the file itself does not.
    """
    texts = {name: text for name in contents if (text := decoded(name, contents[name], faults)) is not None}
    of_map = crs or {}
    for name in ("district.toml", "areas.geojson", "devices.csv"):
        if name not in contents and not (standing is not None and name == "devices.csv"):
            faults.add(name, "is missing", "add it to the folder (docs/district-files.md says what it holds)")
    files = DistrictFiles(info=parse_info(texts.get("district.toml"), faults))
    if (text := texts.get("kinds.toml")) is not None:
        files.metrics, files.kinds = parse_kinds("kinds.toml", text, faults)
    if (text := texts.get("categories.csv")) is not None:
        files.categories = parse_categories("categories.csv", text, faults)
    if (text := texts.get("areas.geojson")) is not None:
        files.areas = parse_areas(text, faults, of_map.get("areas.geojson", "wgs84"))
    _read_lists(files, texts, standing or Standing(), of_map, faults)
    files.stations = parse_stations(texts.get("stations.csv", ""), faults)
    files.station_series = parse_station_series(texts.get("station_series.csv", ""), faults)
    files.units = parse_units(texts.get("units.csv", ""), faults)
    files.rosters = parse_rosters(
        texts.get("shifts.csv", ""), texts.get("roster.csv", ""), _zone(files.info), faults
    )
    files.responsibilities = parse_responsibilities(
        texts.get("responsibilities.csv", ""), faults, _zone(files.info)
    )
    files.patrol = parse_patrol_routes(texts.get("patrol_routes.csv", ""), faults)
    files.rules = [(name, text) for name, text in sorted(texts.items()) if name.startswith("rules/")]
    files.profiles = [(name, text) for name, text in sorted(texts.items()) if name.startswith(PROFILES)]
    return files


def _read_lists(
    files: DistrictFiles, texts: Mapping[str, str], standing: Standing, crs: Mapping[str, Crs], faults: Faults
) -> None:
    """The lists that may be long."""
    forms = files.info.code_forms
    files.devices, files.components, files.buildings = (
        standing.devices,
        standing.components,
        standing.buildings,
    )
    if (text := texts.get("devices.csv")) is not None:
        files.devices = parse_devices(text, faults, crs.get("devices.csv", "wgs84"))
    if (text := texts.get("components.csv")) is not None:
        files.components = parse_components(text, forms, faults, crs.get("components.csv", "wgs84"))
    if (text := texts.get("buildings.csv")) is not None:
        files.buildings = parse_buildings(text, forms, faults, crs.get("buildings.csv", "wgs84"))


def parse_info(text: str | None, faults: Faults) -> DistrictInfo:
    """district.toml; a faulty one gives an empty district, which is never written."""
    values = parsed_toml("district.toml", text, faults) if text is not None else None
    if values is None:
        return DistrictInfo(code="", name="", name_en="", timezone="UTC")
    table = TomlTable("district.toml", values, ("code", "name", "name_en", "timezone", "code_forms"), faults)
    zone = table.text("timezone")
    try:
        ZoneInfo(zone or "UTC")
    except (KeyError, ValueError, OSError):
        faults.value("district.toml", "timezone", zone, "use a name such as Asia/Shanghai")
    return DistrictInfo(
        code=table.text("code"),
        name=table.text("name"),
        name_en=table.text("name_en", required=False),
        timezone=zone,
        code_forms=parse_forms("district.toml", values.get("code_forms"), faults),
    )


def _zone(info: DistrictInfo) -> ZoneInfo:
    try:
        return ZoneInfo(info.timezone or "UTC")
    except (KeyError, ValueError, OSError):  # a fault of district.toml by now
        return ZoneInfo("UTC")


def parse_kinds(name: str, text: str, faults: Faults) -> tuple[list[Metric], list[Kind]]:
    """kinds.toml: tables [metric.CODE] and [kind.CODE]."""
    values = parsed_toml(name, text, faults) or {}
    sections = {}
    for section in ("metric", "kind"):
        found = values.get(section, {})
        sections[section] = found if isinstance(found, dict) else {}
        if not isinstance(found, dict):
            faults.value(name, section, found, f"write tables such as [{section}.smoke]")
    for key in values.keys() - sections.keys():
        faults.add(name, f"unknown table {key!r}", "known are metric and kind")
    metrics, kinds = [], []
    for code, entry in sections["metric"].items():
        table = TomlTable(f"{name} metric.{code}", entry, ("unit", "name", "name_en"), faults)
        _check_word(f"{name} metric.{code}", "metric", code, faults)
        metrics.append(
            Metric(
                code=code,
                unit=table.text("unit", required=False),
                name=table.text("name"),
                name_en=table.text("name_en", required=False),
            )
        )
    for code, entry in sections["kind"].items():
        known = ("name", "name_en", "main_metric", "expected_interval_s")
        table = TomlTable(f"{name} kind.{code}", entry, known, faults)
        _check_word(f"{name} kind.{code}", "kind", code, faults)
        kinds.append(
            Kind(
                code=code,
                name=table.text("name"),
                name_en=table.text("name_en", required=False),
                main_metric=table.text("main_metric", required=False) or None,
                expected_interval_s=table.positive("expected_interval_s"),
            )
        )
    return metrics, kinds


def parse_categories(name: str, text: str, faults: Faults) -> list[Category]:
    """categories.csv: the kinds of incident with class and limit; the older columns must be there."""
    required = ("code", "parent", "name", "name_en", "class", "limit_minutes", "clock")
    optional = [column for column in COLUMNS if column not in required]
    rows = list(csv_rows(name, text, required, optional, faults))
    columns = (*required, *optional)
    lines = [(int(row.where.rpartition(" ")[2]), [row.text(column) for column in columns]) for row in rows]
    reading = catalogue_reading.read(catalogue_reading.Table(name=name, header=columns, rows=lines))
    for line in reading.lines:
        for fault in line.faults:
            faults.value(f"{name} line {fault.row}", fault.column, fault.value, fault.remedy)
    return [line.category for line in reading.lines]


def parse_areas(text: str, faults: Faults, usual: Crs = "wgs84") -> list[DrawnArea]:
    """areas.geojson: polygons of every layer; ``usual`` is the map of what has no ``crs`` of its own."""
    name = "areas.geojson"
    try:
        collection = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        faults.add(name, f"is not JSON ({error})", "export it again as GeoJSON")
        return []
    features = collection.get("features") if isinstance(collection, dict) else None
    if not isinstance(features, list):
        faults.add(name, "is no FeatureCollection", "export the layer as a GeoJSON FeatureCollection")
        return []
    areas = [
        _drawn_area(f"{name} feature {number}", feature, usual, faults)
        for number, feature in enumerate(features, 1)
    ]
    seen: set[tuple[str, str]] = set()
    for area in areas:
        if area is not None and (area.layer, area.code) in seen:
            faults.value(area.where, "code", area.code, f"another {area.layer} has it; give each its own")
        if area is not None:
            seen.add((area.layer, area.code))
    return [area for area in areas if area is not None]


def _drawn_area(where: str, feature: object, usual: Crs, faults: Faults) -> DrawnArea | None:
    properties = feature.get("properties") if isinstance(feature, dict) else None
    if not isinstance(feature, dict) or not isinstance(properties, dict):
        faults.add(where, "has no properties", "give it layer, code, name and parent")
        return None
    texts = {}
    for key in ("layer", "code", "name", "name_en", "parent"):
        value = properties.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)  # drawing programs turn codes into numbers
        if value is not None and not isinstance(value, str):
            faults.value(where, key, value, "write a text")
            value = None
        texts[key] = (value or "").strip()
    for key in ("layer", "code", "name"):
        if not texts[key]:
            faults.add(where, f"{key} is missing", "add it to the feature's properties")
    if texts["code"] and not CODE.fullmatch(texts["code"]):
        faults.value(
            where, "code", texts["code"], "use at most 128 characters without spaces and without / + #"
        )
    if texts["code"]:
        where = f"{where} ({texts['code']})"
    return DrawnArea(
        where=where,
        layer=texts["layer"],
        code=texts["code"],
        name=texts["name"],
        name_en=texts["name_en"],
        parent=texts["parent"] or None,
        geometry=outline_on_wgs84(
            said_crs(where, properties.get("crs"), usual, faults),
            outline(where, feature.get("geometry"), faults),
        ),
    )


def parse_stations(text: str, faults: Faults) -> list[ListedStation]:
    """stations.csv: levels in metres above each station's datum, in rising order; depths at roads."""
    optional = ["river", "datum_m", "zero_m", "warning_m", "guaranteed_m", "highest_m", "bank_m", "design_m"]
    optional += ["upstream", "travel_min"]
    seen: set[str] = set()
    stations = []
    for row in csv_rows("stations.csv", text, ("code", "station_kind"), optional, faults) if text else ():
        code = row.required("code")
        once(row, "code", code, seen)
        kind = row.required("station_kind")
        stations.append(
            ListedStation(
                where=row.where,
                code=code,
                station_kind=kind,
                river=row.text("river"),
                datum_m=row.number("datum_m", -500, 9000) or 0.0,
                levels=_levels(row, kind),
                upstreams=_upstreams(row),
            )
        )
    return stations


# One above the other, and whether they may be equal: a station that breaks this warns too late or always.
_ORDER = (
    ("zero_m", "warning_m", "the gauge's zero lies below the warning level", False),
    ("zero_m", "guaranteed_m", "the gauge's zero lies below the guaranteed level", False),
    ("warning_m", "guaranteed_m", "the warning level lies below the guaranteed one", False),
    ("guaranteed_m", "highest_m", "the guaranteed level is at most the highest one", True),
    ("warning_m", "highest_m", "the warning level is at most the highest one", True),
    ("warning_m", "bank_m", "the warning level lies below the bank", False),
    ("guaranteed_m", "bank_m", "the guaranteed level is at most the bank", True),
    ("warning_m", "design_m", "the warning level is at most the design level", True),
)


def _levels(row: Row, kind: str) -> Levels:
    columns = ("zero_m", "warning_m", "guaranteed_m", "highest_m", "bank_m", "design_m")
    level = {column: row.number(column, -500, 9000) for column in columns}
    measures = STATION_KINDS[kind].measures if kind in STATION_KINDS else "level"
    if measures == "ground":
        for column in (column for column in columns if level[column] is not None):
            row.fault(column, "a landslide spot has no water level; leave it empty and limit it by a rule")
        return Levels()
    if measures == "depth":
        if level["zero_m"]:
            row.fault("zero_m", f"at a station of kind {kind} 0 is dry ground; leave it empty or write 0")
        level["zero_m"] = 0.0
    for lower, upper, what, equal in _ORDER:
        if _not_below(level[lower], level[upper], equal=equal):
            row.fault(lower, f"{what}, {level[upper]}; correct one of them")
    return Levels(**level)


def _not_below(lower: float | None, upper: float | None, *, equal: bool) -> bool:
    if lower is None or upper is None:
        return False
    return lower > upper or (lower == upper and not equal)


def _upstreams(row: Row) -> tuple[tuple[str, int | None], ...]:
    """Codes and minutes stand in two columns, several of them with semicolons between."""
    codes = [code.strip() for code in row.text("upstream").split(";")] if row.text("upstream") else []
    times = [minutes.strip() for minutes in row.text("travel_min").split(";")] if codes else []
    if row.text("travel_min") and not codes:
        row.fault("travel_min", "name the station in upstream that the water comes from, or leave it empty")
    if times == [""]:
        times = [""] * len(codes)
    if "" in codes or len(set(codes)) != len(codes):
        row.fault("upstream", "name each station once, with ; between them")
    elif len(times) != len(codes):
        row.fault(
            "travel_min", f"write {len(codes)} numbers with ; between them, one for each upstream station"
        )
    elif not all(_travel_time(minutes) for minutes in times):
        row.fault(
            "travel_min", f"write whole minutes from 0 to {LONGEST_TRAVEL_MIN} for each upstream station"
        )
    else:
        return tuple(
            (code, int(minutes) if minutes else None) for code, minutes in zip(codes, times, strict=True)
        )
    return ()


def _travel_time(minutes: str) -> bool:
    return not minutes or (
        re.fullmatch(r"[0-9]{1,6}", minutes) is not None and int(minutes) <= LONGEST_TRAVEL_MIN
    )


def parse_station_series(text: str, faults: Faults) -> list[ListedSeries]:
    """station_series.csv: rain gauges, releases, tides and further levels that tell of a station's water."""
    required = ("station", "role", "device", "metric")
    seen: dict[tuple[str, str, str], str] = {}
    listed = []
    for row in csv_rows("station_series.csv", text, required, ("travel_min",), faults) if text else ():
        key = (row.required("station"), row.required("device"), row.required("metric"))
        if (earlier := seen.setdefault(key, row.where)) != row.where:
            row.fault("device", f"{earlier} names this series of the station already; keep one of them")
        row.required("role")
        minutes = row.whole("travel_min")
        if minutes is not None and minutes > LONGEST_TRAVEL_MIN:
            row.fault("travel_min", f"write whole minutes from 0 to {LONGEST_TRAVEL_MIN}")
        listed.append(
            ListedSeries(
                where=row.where,
                station=key[0],
                role=cast(SeriesRole, row.one_of("role", SERIES_ROLES) or "other"),
                device=key[1],
                metric=key[2],
                travel_minutes=minutes,
            )
        )
    return listed


def parse_units(text: str, faults: Faults) -> list[Unit]:
    """units.csv: offices with the ways to reach them."""
    optional = (
        "name_en",
        "kind",
        "parent",
        "lead",
        "phone",
        "lead_phone",
        "email",
        "lead_email",
        "webhook_url",
        "tier",
        "capacity",
        "fallback",
        "hours",
        "lon",
        "lat",
    )
    seen: set[str] = set()
    units = []
    for row in csv_rows("units.csv", text, ("code", "name"), optional, faults) if text else ():
        code = row.required("code")
        once(row, "code", code, seen)
        for column in ("email", "lead_email"):
            if row.text(column) and not re.fullmatch(r"[^@\s]+@[^@\s]+", row.text(column)):
                row.fault(column, "write an address such as duty@example.org")
        if row.text("webhook_url") and not re.fullmatch(r"https?://[^\s/]+\S*", row.text("webhook_url")):
            row.fault("webhook_url", "write an address that starts with https:// or http://")
        if bool(row.text("lon")) != bool(row.text("lat")):
            row.fault("lat" if row.text("lon") else "lon", "give both lon and lat, or neither")
        if row.text("fallback") and row.text("fallback") == code:
            row.fault("fallback", "name another unit: nobody stands in for itself")
        try:
            read_hours(row.text("hours"))
        except HoursError:
            row.fault("hours", "write windows of one day in order, such as 09:00-12:00,14:00-18:00")
        units.append(
            Unit(
                code=code,
                name=row.required("name"),
                name_en=row.text("name_en"),
                kind=row.text("kind"),
                parent=row.text("parent") or None,
                lead=row.text("lead"),
                phone=row.text("phone"),
                lead_phone=row.text("lead_phone"),
                email=row.text("email"),
                lead_email=row.text("lead_email"),
                webhook_url=row.text("webhook_url"),
                tier=cast(Tier, row.one_of("tier", TIERS) or "district"),
                capacity=row.whole("capacity", 1),
                fallback=row.text("fallback") or None,
                hours=row.text("hours"),
                longitude=row.number("lon", -180, 180),
                latitude=row.number("lat", -90, 90),
            )
        )
    return units


def _check_word(where: str, what: str, code: str, faults: Faults) -> None:
    if not _WORD.fullmatch(code):
        faults.add(where, f"{what} {shown(code)}", "use at most 64 letters, digits and _ . -")


def names_of(items: Sequence[DrawnArea], layer: str) -> dict[str, DrawnArea]:
    """The areas of one layer by their codes."""
    return {area.code: area for area in items if area.layer == layer}
