"""A district's own files into the database and back: everything is checked before anything is written."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from pathlib import Path

from psycopg import Connection
from psycopg.rows import TupleRow

from city import district_checks, district_files, district_writing
from city.areas import neighbour_pairs
from city.devices import Kind, Metric
from city.district_files import DistrictFiles
from city.district_source import DistrictFilesError, Faults, decoded
from city.errors import CityError
from city.responsibility_plan import Plan
from city.storage import areas as stored_areas
from city.storage import categories as stored_categories
from city.storage import components as stored_components
from city.storage import devices as stored_devices
from city.storage import district as stored
from city.storage import patrol_files as stored_patrol
from city.storage import responsibility_files as stored_responsibilities
from city.storage import rosters as stored_rosters
from city.storage import rules as stored_rules
from city.storage import stations as stored_stations
from city.storage import units as stored_units
from city.storage.database import connect, nudge, translated
from city.units import Category

ParseRules = Callable[[str, str], list[tuple[str, dict[str, object]]]]  # text, source -> (id, definition)

# Connection of the import, ids of the rules that came into force -> faults and warnings, a line each.
CheckRules = Callable[[Connection[TupleRow], Sequence[str]], tuple[list[str], list[str]]]

BUILT_IN = "built-in:"  # stands before the source of a rule that came with the product
_READER = b"4"  # part of the digest: raise it when the same files are to be read differently
_LARGEST_FILE = 256 * 1024 * 1024  # bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportReport:
    """What an import did, in rows; ``unchanged`` when the folder was imported before and nothing was done.

    ``neighbours`` and ``devices`` are what the folder holds: pairs of cells, and devices.
    """

    unchanged: bool
    areas_changed: int = 0
    areas_ended: int = 0
    neighbours: int = 0
    devices: int = 0
    devices_changed: int = 0
    devices_retired: int = 0
    stations_changed: int = 0
    stations_removed: int = 0
    station_sources_changed: int = 0
    units_changed: int = 0
    units_deactivated: int = 0
    responsibilities_begun: int = 0
    responsibilities_ended: int = 0
    components_changed: int = 0
    components_removed: int = 0
    responsibilities_kept: list[str] = field(default_factory=list)  # a person decided otherwise than the file
    rules_changed: int = 0
    rules_ended: int = 0
    rules_drafted: list[str] = field(
        default_factory=list
    )  # the file's waits, since a person changed the rule
    rules_kept: list[str] = field(default_factory=list)  # a person's, in no file
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def import_folder(
    url: str, folder: Path, *, parse_rules: ParseRules, check_rules: CheckRules | None = None
) -> ImportReport:
    """Make the database say what the folder says; an unchanged folder is left alone.

    ``parse_rules`` reads the text of a rule file (``rules.definitions.to_rows``) and raises CityError;
    ``check_rules`` holds rules against the district as it is then (``command_centre.rule_changes.check_imported``).
    Raises DistrictFilesError with a line for each fault, DatabaseError; nothing is written then.
    """
    contents = _read_folder(folder)
    built_in = _built_in()
    digest = _digest(contents, built_in)
    with connect(url, application="city import") as connection, translated():
        if stored.source_digest(connection) == digest:
            return ImportReport(unchanged=True)
        connection.rollback()  # reading takes seconds in a large district: ingest must not wait for it
        files, defaults, warnings = _read(contents, built_in, parse_rules)
        neighbours = _neighbours(files)
        connection.execute("SET LOCAL statement_timeout = '5min'; SET LOCAL lock_timeout = '60s'")
        stored.lock(connection)
        if stored.source_digest(connection) == digest:
            return ImportReport(unchanged=True)
        report = _write(connection, files, defaults, neighbours, check_rules)
        stored.write_info(connection, files.info, digest)
        nudge(connection)
    return replace(report, warnings=warnings + report.warnings)


def import_defaults(url: str, *, parse_rules: ParseRules) -> None:
    """Write the built-in kinds, categories and rules that are missing.

    Where a district was imported, what its own files say stays: only what is absent is added, and the rule
    set is renewed only if it is the built-in one. Raises DatabaseError.
    """
    defaults = _read_defaults(_built_in(), parse_rules)
    with connect(url, application="city import") as connection, translated():
        stored.lock(connection)
        overwrite = stored.source_digest(connection) is None
        stored_devices.upsert_kinds(connection, defaults.metrics, defaults.kinds, overwrite=overwrite)
        stored_categories.upsert_categories(
            connection, defaults.categories, overwrite=overwrite, origin="built-in"
        )
        if all(source.startswith(BUILT_IN) for source in stored_rules.imported_sources(connection)):
            stored_rules.take_files(connection, defaults.rules)
        nudge(connection)


def export_folder(url: str, folder: Path, *, write_rules: district_writing.WriteRules) -> list[str]:
    """Write the district as it is now into a folder that ``import_folder`` reads; return the file names.

    ``write_rules`` makes the text of a rule file (``rules.writing.to_toml``).
    Raises CityError when nothing was imported yet or the folder holds other files.
    """
    if folder.exists() and any(folder.iterdir()):
        raise CityError(f"{folder} holds files already; name an empty or a new folder")
    faults = Faults()
    built_in = _built_in()
    metrics, kinds = district_files.parse_kinds("kinds.toml", built_in["kinds.toml"].decode(), faults)
    categories = district_files.parse_categories("", built_in["categories.csv"].decode(), faults)
    with connect(url, application="city export") as connection, translated():
        contents = district_writing.texts(
            connection,
            metrics=metrics,
            kinds=kinds,
            categories=categories,
            built_in_source=BUILT_IN,
            write_rules=write_rules,
        )
    for name, text in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    return sorted(contents)


def check_folder(folder: Path, *, parse_rules: ParseRules) -> list[str]:
    """Read and check a folder without a database; return warnings, raise DistrictFilesError for faults."""
    return _read(_read_folder(folder), _built_in(), parse_rules)[2]


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────

_NAMES = (
    "district.toml",
    "kinds.toml",
    "categories.csv",
    "areas.geojson",
    "devices.csv",
    "stations.csv",
    "station_series.csv",
    "units.csv",
    "shifts.csv",
    "roster.csv",
    "responsibilities.csv",
    "components.csv",
    "patrol_routes.csv",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Defaults:
    metrics: list[Metric]
    kinds: list[Kind]
    categories: list[Category]
    rules: list[stored_rules.FileRule]


def _read_folder(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir():
        raise DistrictFilesError(
            f"CITY_CONFIG = {str(folder)!r} is no folder; name the district's own folder"
        )
    contents = {}
    for path in [*(folder / name for name in _NAMES), *sorted((folder / "rules").glob("*.toml"))]:
        try:
            if not path.exists():
                continue
            if path.stat().st_size > _LARGEST_FILE:
                raise DistrictFilesError(f"{path}: is larger than 256 MiB; simplify its outlines")
            contents[path.relative_to(folder).as_posix()] = path.read_bytes()
        except OSError as error:
            raise DistrictFilesError(f"{path} cannot be read ({error.strerror}); make it readable") from error
    return contents


def _built_in() -> dict[str, bytes]:
    return dict(_built_in_files())


def _built_in_files() -> Iterator[tuple[str, bytes]]:
    root = resources.files("city") / "defaults"
    for name in ("kinds.toml", "categories.csv"):
        yield name, (root / name).read_bytes()
    rules = root / "rules"
    if rules.is_dir():
        for entry in sorted(rules.iterdir(), key=lambda path: path.name):
            if entry.name.endswith(".toml"):
                yield f"rules/{entry.name}", entry.read_bytes()


def _digest(*folders: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256(_READER)
    for folder in folders:
        for name in sorted(folder):
            digest.update(f"{name}\0{len(folder[name])}\0".encode())
            digest.update(folder[name])
        digest.update(b"\0\0")
    return digest.hexdigest()


def _read_defaults(built_in: Mapping[str, bytes], parse_rules: ParseRules) -> _Defaults:
    faults = Faults()
    texts = {name: decoded(BUILT_IN + name, content, faults) or "" for name, content in built_in.items()}
    metrics, kinds = district_files.parse_kinds(BUILT_IN + "kinds.toml", texts["kinds.toml"], faults)
    categories = district_files.parse_categories(BUILT_IN + "categories.csv", texts["categories.csv"], faults)
    rule_files = [(BUILT_IN + name, text) for name, text in texts.items() if name.startswith("rules/")]
    rules = _parsed_rules(rule_files, parse_rules, faults)
    faults.raise_if_any()
    return _Defaults(metrics=metrics, kinds=kinds, categories=categories, rules=rules)


def _read(
    contents: Mapping[str, bytes], built_in: Mapping[str, bytes], parse_rules: ParseRules
) -> tuple[DistrictFiles, _Defaults, list[str]]:
    defaults = _read_defaults(built_in, parse_rules)
    faults = Faults()
    files = district_files.parse(contents, faults)
    warnings = district_checks.check(
        files,
        faults,
        known_kinds={kind.code for kind in defaults.kinds},
        known_metrics={metric.code for metric in defaults.metrics},
        known_categories={category.code for category in defaults.categories},
    )
    own_rules = _parsed_rules(files.rules, parse_rules, faults)
    _check_rules(own_rules, files, defaults, faults)
    faults.raise_if_any()
    if own_rules:
        defaults = _Defaults(
            metrics=defaults.metrics, kinds=defaults.kinds, categories=defaults.categories, rules=own_rules
        )
    return files, defaults, warnings


def _parsed_rules(
    rule_files: list[tuple[str, str]], parse_rules: ParseRules, faults: Faults
) -> list[stored_rules.FileRule]:
    rows: list[stored_rules.FileRule] = []
    origin: dict[str, str] = {}
    for source, text in rule_files:
        try:
            parsed = parse_rules(text, source)
        except CityError as error:
            for line in str(error).splitlines():
                faults.line(line)
            continue
        for rule_id, definition in parsed:
            if rule_id in origin:
                faults.value(
                    source, "id", rule_id, f"{origin[rule_id]} has it already; give each rule its own"
                )
            origin[rule_id] = source
            rows.append((rule_id, definition, source))
    return rows


def _check_rules(
    rules: list[stored_rules.FileRule], files: DistrictFiles, defaults: _Defaults, faults: Faults
) -> None:
    """A rule for a kind, metric or category that does not exist would never raise."""
    known = {
        "kind": {kind.code for kind in [*defaults.kinds, *files.kinds]},
        "metric": {metric.code for metric in [*defaults.metrics, *files.metrics]},
        "category": {category.code for category in [*defaults.categories, *files.categories]},
    }
    for rule_id, definition, source in rules:
        for key, names in known.items():
            value = definition.get(key)
            if isinstance(value, str) and value not in names:
                remedy = f"there is no such {key}; correct it or add it to the district's files"
                faults.value(f"{source} rule {rule_id}", key, value, remedy)


def _neighbours(files: DistrictFiles) -> list[tuple[str, str]]:
    """Pairs of cells, by code, that share an edge."""
    cells = [area for area in files.areas if area.layer == "cell"]
    pairs = neighbour_pairs([cell.geometry for cell in cells])
    return [(cells[one].code, cells[other].code) for one, other in pairs]


# ── writing ──────────────────────────────────────────────────────────────────────────────────────────


def _write(
    connection: Connection[TupleRow],
    files: DistrictFiles,
    defaults: _Defaults,
    neighbours: list[tuple[str, str]],
    check_rules: CheckRules | None,
) -> ImportReport:
    _write_kinds(connection, files, defaults)
    said = _write_categories(connection, files, defaults)
    by_code = district_checks.layers_by_code(files.areas)
    parents = [district_checks.parent_key(area, by_code, files.info.code) for area in files.areas]
    areas = stored_areas.write_areas(connection, files.areas, parents)
    if any(areas):
        stored_areas.write_neighbours(connection, neighbours)
    devices = stored.write_devices(connection, files.devices)
    stations = stored_stations.write_stations(connection, files.stations)
    sources = stored_stations.write_upstreams(connection, files.stations)
    sources += stored_stations.write_series(connection, files.station_series)
    units = stored_units.write_units(connection, files.units)
    kept_rosters = stored_rosters.write_rosters(connection, files.rosters)
    stored_responsibilities.lock(connection)
    listed = stored_responsibilities.planned(connection, files.responsibilities, over_people=False)
    stored_responsibilities.carry_out(connection, listed, actor="import", reason="responsibilities.csv")
    components = stored_components.write_components(connection, files.components)
    stored_patrol.write_missing(connection, files.patrol)
    rules = stored_rules.take_files(connection, defaults.rules)
    checked: list[str] = []
    if check_rules is not None:
        faults, checked = check_rules(connection, rules.changed)
        if faults:
            raise DistrictFilesError("\n".join(faults))
    return ImportReport(
        unchanged=False,
        areas_changed=areas[0],
        areas_ended=areas[1],
        neighbours=len(neighbours),
        devices=len(files.devices),
        devices_changed=devices[0],
        devices_retired=devices[1],
        stations_changed=stations[0],
        station_sources_changed=sources,
        stations_removed=stations[1],
        units_changed=units[0],
        units_deactivated=units[1],
        responsibilities_begun=len(listed.begin),
        responsibilities_ended=len(listed.end),
        responsibilities_kept=_places_kept(connection, listed),
        rules_changed=len(rules.changed),
        rules_ended=len(rules.ended),
        rules_drafted=list(rules.drafts),
        rules_kept=list(rules.kept),
        components_changed=components[0],
        components_removed=components[1],
        warnings=said + _said_of_rosters(kept_rosters) + _said_of_rules(rules) + checked,
    )


def _write_kinds(connection: Connection[TupleRow], files: DistrictFiles, defaults: _Defaults) -> None:
    own_metrics = {metric.code for metric in files.metrics}
    own_kinds = {kind.code for kind in files.kinds}
    stored_devices.upsert_kinds(
        connection,
        [metric for metric in defaults.metrics if metric.code not in own_metrics] + files.metrics,
        [kind for kind in defaults.kinds if kind.code not in own_kinds] + files.kinds,
        overwrite=True,
    )


def _write_categories(
    connection: Connection[TupleRow], files: DistrictFiles, defaults: _Defaults
) -> list[str]:
    """Built-in ones, then the district's own; what is said of those that a person or an incident holds on to."""
    own = {category.code: category for category in files.categories}
    stored_categories.lock(connection)
    built_in = [entry for entry in defaults.categories if entry.code not in own]
    stored_categories.upsert_categories(connection, built_in, overwrite=True, origin="built-in")
    stored_categories.upsert_categories(connection, own.values(), overwrite=True, origin="district")
    known = stored_categories.load_categories(connection)
    said = [
        f"category {code}: a person has changed it: theirs stays, the file's line is not taken "
        f"(city catalogue import brings in a file)"
        for code, category in own.items()
        if known[code] != category
    ]
    gone = stored_categories.retire_unlisted(connection, [*own, *(entry.code for entry in built_in)])
    return said + [f"category {code}: in no file any more: retired, kept for what names it" for code in gone]


def _said_of_rosters(kept: Sequence[str]) -> list[str]:
    return [f"roster of {code}: a person changed it here; the file's is left out" for code in kept]


def _said_of_rules(rules: stored_rules.FileRules) -> list[str]:
    said = [
        f"rule {rule_id}: the file changed and a person had changed the rule: theirs stays in force, the file's "
        f"waits as a draft (city rules diff {rule_id})"
        for rule_id in rules.drafts
    ]
    return said + [f"rule {rule_id}: in no file, but a person's: it stays in force" for rule_id in rules.kept]


def _places_kept(connection: Connection[TupleRow], listed: Plan) -> list[str]:
    codes = stored_responsibilities.areas(connection)
    return [
        f"{category} x {' '.join(codes.get(area_id, ('?', '?')))}" if area_id is not None else category
        for category, area_id in listed.kept
    ]
