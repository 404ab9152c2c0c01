"""A district's own files into the database and back: everything is checked before anything is written."""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path

from psycopg import Connection
from psycopg.rows import TupleRow

from city import device_profiles, district_checks, district_files, district_places, district_writing
from city.coordinates import Crs
from city.district_files import DistrictFiles, Standing
from city.district_source import DistrictFilesError, Faults, decoded
from city.district_taking import CheckRules, Defaults, ImportReport, neighbours_of, write
from city.errors import CityError
from city.storage import categories as stored_categories
from city.storage import devices as stored_devices
from city.storage import district as stored
from city.storage import rules as stored_rules
from city.storage.database import connect, nudge, translated

ParseRules = Callable[[str, str], list[tuple[str, dict[str, object]]]]  # text, source -> (id, definition)

BUILT_IN = "built-in:"  # stands before the source of a rule that came with the product
_READER = b"5"  # part of the digest: raise it when the same files are to be read differently
_LARGEST_FILE = 256 * 1024 * 1024  # bytes


def import_folder(
    url: str, folder: Path, *, parse_rules: ParseRules, check_rules: CheckRules | None = None
) -> ImportReport:
    """Make the database say what the folder says; an unchanged folder is left alone.

    ``parse_rules`` reads the text of a rule file (``rules.definitions.to_rows``) and raises CityError;
    ``check_rules`` holds rules against the district as it is then (``command_centre.rule_changes.check_imported``).
    Raises DistrictFilesError with a line for each fault, DatabaseError; nothing is written then.
    """
    contents = _read_folder(folder)
    built_in = built_in_files()
    digest = _digest(contents, built_in)
    with connect(url, application="city import") as connection, translated():
        if stored.source_digest(connection) == digest:
            return ImportReport(unchanged=True)
        connection.rollback()  # reading takes seconds in a large district: ingest must not wait for it
        files, defaults, warnings = _read(contents, built_in, parse_rules)
        neighbours = neighbours_of(files)
        connection.execute("SET LOCAL statement_timeout = '5min'; SET LOCAL lock_timeout = '60s'")
        stored.lock(connection)
        if stored.source_digest(connection) == digest:
            return ImportReport(unchanged=True)
        report = write(connection, files, defaults, check_rules, neighbours=neighbours)
        stored.write_info(connection, files.info, digest)
        nudge(connection)
    return replace(report, warnings=warnings + report.warnings)


def import_defaults(url: str, *, parse_rules: ParseRules) -> None:
    """Write the built-in kinds, categories and rules that are missing.

    Where a district was imported, what its own files say stays: only what is absent is added, and the rule
    set is renewed only if it is the built-in one. Raises DatabaseError.
    """
    defaults = _read_defaults(built_in_files(), parse_rules)
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
    with connect(url, application="city export") as connection, translated():
        contents = texts(connection, write_rules=write_rules)
    for name, text in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    return sorted(contents)


def texts(
    connection: Connection[TupleRow],
    *,
    write_rules: district_writing.WriteRules,
    without: Collection[str] = (),
) -> district_writing.Texts:
    """The district as it is now, file name to text. Raises CityError before the first import.

    ``without`` names long lists that are not wanted as text (``district_writing.LISTS``).
    """
    faults = Faults()
    known = built_in_files()
    metrics, kinds = district_files.parse_kinds("kinds.toml", known["kinds.toml"].decode(), faults)
    categories = district_files.parse_categories("", known["categories.csv"].decode(), faults)
    return district_writing.texts(
        connection,
        metrics=metrics,
        kinds=kinds,
        categories=categories,
        built_in_source=BUILT_IN,
        write_rules=write_rules,
        without=without,
    )


def check_folder(folder: Path, *, parse_rules: ParseRules) -> list[str]:
    """Read and check a folder without a database; return warnings, raise DistrictFilesError for faults."""
    return _read(_read_folder(folder), built_in_files(), parse_rules)[2]


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────

NAMES = (
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
    "buildings.csv",
    "patrol_routes.csv",
)


def _read_folder(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir():
        raise DistrictFilesError(
            f"CITY_CONFIG = {str(folder)!r} is no folder; name the district's own folder"
        )
    contents = {}
    for path in [*(folder / name for name in NAMES), *_folders(folder)]:
        try:
            if not path.exists():
                continue
            if path.stat().st_size > _LARGEST_FILE:
                raise DistrictFilesError(f"{path}: is larger than 256 MiB; simplify its outlines")
            contents[path.relative_to(folder).as_posix()] = path.read_bytes()
        except OSError as error:
            raise DistrictFilesError(f"{path} cannot be read ({error.strerror}); make it readable") from error
    return contents


def _folders(folder: Path) -> list[Path]:
    return [path for name in ("rules", "profiles") for path in sorted((folder / name).glob("*.toml"))]


def built_in_files() -> dict[str, bytes]:
    """What came with the product, by file name."""
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


def _read_defaults(built_in: Mapping[str, bytes], parse_rules: ParseRules) -> Defaults:
    faults = Faults()
    texts = {name: decoded(BUILT_IN + name, content, faults) or "" for name, content in built_in.items()}
    metrics, kinds = district_files.parse_kinds(BUILT_IN + "kinds.toml", texts["kinds.toml"], faults)
    categories = district_files.parse_categories(BUILT_IN + "categories.csv", texts["categories.csv"], faults)
    rule_files = [(BUILT_IN + name, text) for name, text in texts.items() if name.startswith("rules/")]
    rules = _parsed_rules(rule_files, parse_rules, faults)
    faults.raise_if_any()
    return Defaults(metrics=metrics, kinds=kinds, categories=categories, rules=rules)


def _read(
    contents: Mapping[str, bytes], built_in: Mapping[str, bytes], parse_rules: ParseRules
) -> tuple[DistrictFiles, Defaults, list[str]]:
    faults = Faults()
    done = read(contents, built_in, parse_rules, faults)
    faults.raise_if_any()
    return done


def read(
    contents: Mapping[str, bytes],
    built_in: Mapping[str, bytes],
    parse_rules: ParseRules,
    faults: Faults,
    *,
    standing: Standing | None = None,
    crs: Mapping[str, Crs] | None = None,
) -> tuple[DistrictFiles, Defaults, list[str]]:
    """The files of a folder with what came with the product, and warnings; every fault is noted in ``faults``.

    ``standing`` and ``crs`` are those of ``district_files.parse``.
    """
    defaults = _read_defaults(built_in, parse_rules)
    files = district_files.parse(contents, faults, standing=standing, crs=crs)
    district_places.fill_cells(files)
    warnings = district_checks.check(
        files,
        faults,
        known_kinds={kind.code for kind in defaults.kinds},
        known_metrics={metric.code for metric in defaults.metrics},
        known_categories={category.code for category in defaults.categories},
    )
    units = {metric.code: metric.unit for metric in (*defaults.metrics, *files.metrics)}
    kinds = {kind.code for kind in (*defaults.kinds, *files.kinds)}
    device_profiles.check(files.profiles, units, kinds, faults)
    own_rules = _parsed_rules(files.rules, parse_rules, faults)
    _check_rules(own_rules, files, defaults, faults)
    if own_rules:
        defaults = Defaults(
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
    rules: list[stored_rules.FileRule], files: DistrictFiles, defaults: Defaults, faults: Faults
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
