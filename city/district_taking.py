"""What was read from a district's files, written into the database: whole, or only the files that were sent."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from city import district_checks
from city.areas import neighbour_pairs
from city.devices import Kind, Metric
from city.district_files import PROFILES, DistrictFiles
from city.district_source import DistrictFilesError
from city.responsibility_plan import Plan
from city.storage import areas as stored_areas
from city.storage import categories as stored_categories
from city.storage import device_lists as stored_lists
from city.storage import devices as stored_devices
from city.storage import facility_lists as stored_facilities
from city.storage import patrol_files as stored_patrol
from city.storage import responsibility_files as stored_responsibilities
from city.storage import rosters as stored_rosters
from city.storage import rules as stored_rules
from city.storage import senders as stored_senders
from city.storage import stations as stored_stations
from city.storage import units as stored_units
from city.units import Category

# Connection of the import, ids of the rules that came into force -> faults and warnings, a line each.
CheckRules = Callable[[Connection[TupleRow], Sequence[str]], tuple[list[str], list[str]]]
RULES = "rules/"  # stands for all rule files: they replace each other as a set
_MOST_NAMED = 10  # of what a person changed and the files do not


@dataclass(frozen=True, kw_only=True, slots=True)
class Defaults:
    """What came with the product, with the rules that are to be in force."""

    metrics: list[Metric]
    kinds: list[Kind]
    categories: list[Category]
    rules: list[stored_rules.FileRule]


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
    buildings_changed: int = 0
    buildings_removed: int = 0
    responsibilities_kept: list[str] = field(default_factory=list)  # a person decided otherwise than the file
    rules_changed: int = 0
    rules_ended: int = 0
    rules_drafted: list[str] = field(
        default_factory=list
    )  # the file's waits, since a person changed the rule
    rules_kept: list[str] = field(default_factory=list)  # a person's, in no file
    profiles_changed: int = 0  # files
    profiles_removed: int = 0
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Work:
    connection: Connection[TupleRow]
    files: DistrictFiles
    defaults: Defaults
    check_rules: CheckRules | None
    neighbours: Sequence[tuple[str, str]] | None
    by: str | None
    reason: str


def write(
    connection: Connection[TupleRow],
    files: DistrictFiles,
    defaults: Defaults,
    check_rules: CheckRules | None,
    *,
    neighbours: Sequence[tuple[str, str]] | None = None,
    only: Collection[str] | None = None,
    by: str | None = None,
    reason: str = "district files",
) -> ImportReport:
    """Make the database say what the files say, in the caller's transaction. Raises DistrictFilesError.

    ``only`` names the files that are taken (``RULES`` for all rules), None takes a whole folder. ``by`` is the person
    whose files they are: their word stands over what other people changed here. ``neighbours`` are those of the
    files' cells, where somebody has looked for them already.
    """
    work = _Work(
        connection=connection,
        files=files,
        defaults=defaults,
        check_rules=check_rules,
        neighbours=neighbours,
        by=by,
        reason=reason,
    )
    report = ImportReport(unchanged=False)
    for names, step in _STEPS:
        if only is None or any(name in only for name in names):
            done = step(work)
            said = [*report.warnings, *done.pop("warnings", [])]
            report = replace(report, **done, warnings=said)
    return report


def neighbours_of(files: DistrictFiles) -> list[tuple[str, str]]:
    """Pairs of cells, by code, that share an edge."""
    cells = [area for area in files.areas if area.layer == "cell"]
    pairs = neighbour_pairs([cell.geometry for cell in cells])
    return [(cells[one].code, cells[other].code) for one, other in pairs]


def _kinds(work: _Work) -> dict[str, Any]:
    own_metrics = {metric.code for metric in work.files.metrics}
    own_kinds = {kind.code for kind in work.files.kinds}
    stored_devices.upsert_kinds(
        work.connection,
        [metric for metric in work.defaults.metrics if metric.code not in own_metrics] + work.files.metrics,
        [kind for kind in work.defaults.kinds if kind.code not in own_kinds] + work.files.kinds,
        overwrite=True,
    )
    return {}


def _categories(work: _Work) -> dict[str, Any]:
    """Built-in ones, then the district's own; what is said of those that a person or an incident holds on to."""
    own = {category.code: category for category in work.files.categories}
    stored_categories.lock(work.connection)
    built_in = [entry for entry in work.defaults.categories if entry.code not in own]
    stored_categories.upsert_categories(work.connection, built_in, overwrite=True, origin="built-in")
    stored_categories.upsert_categories(work.connection, own.values(), overwrite=True, origin="district")
    known = stored_categories.load_categories(work.connection)
    said = [
        f"category {code}: a person has changed it: theirs stays, the file's line is not taken "
        f"(city catalogue import brings in a file)"
        for code, category in own.items()
        if known[code] != category
    ]
    gone = stored_categories.retire_unlisted(work.connection, [*own, *(entry.code for entry in built_in)])
    said += [f"category {code}: in no file any more: retired, kept for what names it" for code in gone]
    return {"warnings": said}


def _areas(work: _Work) -> dict[str, Any]:
    drawn = work.files.areas
    by_code = district_checks.layers_by_code(drawn)
    parents = [district_checks.parent_key(area, by_code, work.files.info.code) for area in drawn]
    changed, ended, kept = stored_areas.write_areas(work.connection, drawn, parents, by=work.by)
    pairs = neighbours_of(work.files) if work.neighbours is None else work.neighbours
    if changed or ended:
        edited = stored_areas.edited_cells(work.connection)
        stored_areas.write_neighbours(work.connection, _as_they_stand(work) if edited else pairs)
    return {
        "areas_changed": changed,
        "areas_ended": ended,
        "neighbours": len(pairs),
        "warnings": _said_of_kept("area", kept),
    }


def _as_they_stand(work: _Work) -> list[tuple[str, str]]:
    """Neighbours among the cells as they are now: a person has drawn some of them otherwise than the file."""
    cells = [
        area
        for area in stored_areas.load_areas(work.connection, geometry=True)
        if area.layer == "cell" and area.geometry is not None
    ]
    pairs = neighbour_pairs([cell.geometry for cell in cells])
    return [(cells[one].code, cells[other].code) for one, other in pairs]


def _devices(work: _Work) -> dict[str, Any]:
    done = stored_lists.write_devices(work.connection, work.files.devices, by=work.by, reason=work.reason)
    return {
        "devices": len(work.files.devices),
        "devices_changed": done.changed,
        "devices_retired": done.ended,
        "warnings": _said_of_kept("device", done.kept) + _said_of_moved(done.moved),
    }


def _stations(work: _Work) -> dict[str, Any]:
    changed, removed = stored_stations.write_stations(work.connection, work.files.stations)
    sources = stored_stations.write_upstreams(work.connection, work.files.stations)
    sources += stored_stations.write_series(work.connection, work.files.station_series)
    return {"stations_changed": changed, "stations_removed": removed, "station_sources_changed": sources}


def _units(work: _Work) -> dict[str, Any]:
    changed, ended, kept = stored_units.write_units(work.connection, work.files.units, by=work.by)
    return {
        "units_changed": changed,
        "units_deactivated": ended,
        "warnings": _said_of_kept("unit", kept),
    }


def _rosters(work: _Work) -> dict[str, Any]:
    kept = stored_rosters.write_rosters(work.connection, work.files.rosters)
    said = [f"roster of {code}: a person changed it here; the file's is left out" for code in kept]
    return {"warnings": said}


def _responsibilities(work: _Work) -> dict[str, Any]:
    stored_responsibilities.lock(work.connection)
    listed = stored_responsibilities.planned(
        work.connection, work.files.responsibilities, over_people=work.by is not None
    )
    reason = work.reason if work.by else "responsibilities.csv"
    stored_responsibilities.carry_out(work.connection, listed, actor=work.by or "import", reason=reason)
    return {
        "responsibilities_begun": len(listed.begin),
        "responsibilities_ended": len(listed.end),
        "responsibilities_kept": _places_kept(work.connection, listed),
    }


def _components(work: _Work) -> dict[str, Any]:
    changed, removed, kept = stored_facilities.write_components(
        work.connection, work.files.components, by=work.by
    )
    return {
        "components_changed": changed,
        "components_removed": removed,
        "warnings": _said_of_kept("component", kept),
    }


def _buildings(work: _Work) -> dict[str, Any]:
    changed, removed, kept = stored_facilities.write_buildings(
        work.connection, work.files.buildings, by=work.by
    )
    return {
        "buildings_changed": changed,
        "buildings_removed": removed,
        "warnings": _said_of_kept("building", kept),
    }


def _patrol(work: _Work) -> dict[str, Any]:
    stored_patrol.write_missing(work.connection, work.files.patrol)
    return {}


def _profiles(work: _Work) -> dict[str, Any]:
    files = {name.removeprefix(PROFILES): text for name, text in work.files.profiles}
    changed, removed = stored_senders.write_profiles(work.connection, files)
    return {"profiles_changed": changed, "profiles_removed": removed}


def _rules(work: _Work) -> dict[str, Any]:
    rules = stored_rules.take_files(work.connection, work.defaults.rules)
    checked: list[str] = []
    if work.check_rules is not None:
        faults, checked = work.check_rules(work.connection, rules.changed)
        if faults:
            raise DistrictFilesError("\n".join(faults))
    return {
        "rules_changed": len(rules.changed),
        "rules_ended": len(rules.ended),
        "rules_drafted": list(rules.drafts),
        "rules_kept": list(rules.kept),
        "warnings": _said_of_rules(rules) + checked,
    }


def _said_of_kept(what: str, codes: Sequence[str]) -> list[str]:
    said = [
        f"{what} {code}: a person changed it here: theirs stays, the file's line is not taken"
        for code in codes[:_MOST_NAMED]
    ]
    left = len(codes) - len(said)
    return said + ([f"{what}: {left} more that a person changed here stay as they are"] if left else [])


def _said_of_moved(moved: Sequence[tuple[str, str, str]]) -> list[str]:
    """A name that goes to another device: what was read until now stays with the one that had it."""
    said = [
        f"device {now}: is heard as {name} from now on; what {before} read under this name stays there"
        for name, before, now in moved[:_MOST_NAMED]
    ]
    left = len(moved) - len(said)
    return said + ([f"devices: {left} more names go to another device"] if left else [])


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


# In this order: what is named later must be there. A file that depends on another one names both.
_STEPS: tuple[tuple[tuple[str, ...], Callable[[_Work], dict[str, Any]]], ...] = (
    (("kinds.toml",), _kinds),
    (("categories.csv",), _categories),
    (("areas.geojson",), _areas),
    (("buildings.csv",), _buildings),
    (("components.csv",), _components),
    (("devices.csv",), _devices),
    (("stations.csv", "station_series.csv"), _stations),
    (("units.csv",), _units),
    (("shifts.csv", "roster.csv"), _rosters),
    (("responsibilities.csv",), _responsibilities),
    (("patrol_routes.csv",), _patrol),
    ((PROFILES,), _profiles),
    ((RULES,), _rules),
)
