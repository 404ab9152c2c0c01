"""What one file of a district says about another: every name that is used must be there."""

import difflib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from city.areas import cell_of_points, invalid_outlines
from city.buildings import Building
from city.code_forms import CodeFault, read_code
from city.components import Component
from city.device_files import ListedDevice
from city.district_files import LAYERS, DistrictFiles, DrawnArea, ListedStation, names_of
from city.district_source import Faults
from city.responsibility_circles import by_lead, circle
from city.responsibility_files import ListedResponsibility, resolved
from city.stations import KINDS as STATION_KINDS
from city.units import Category

_ANOTHER = "{} has none of this code; add it there, or leave it empty"
MOST_COMPARED = 500  # names among which a misspelt one is looked for; more would take minutes


def check(
    files: DistrictFiles,
    faults: Faults,
    *,
    known_kinds: Collection[str],
    known_metrics: Collection[str],
    known_categories: Collection[str],
) -> list[str]:
    """Note every reference that leads nowhere; return warnings about what is odd but can be used.

    ``known_*`` are the built-in ones, which a district's own files add to.
    """
    metrics = {metric.code for metric in files.metrics} | set(known_metrics)
    for kind in files.kinds:
        if kind.main_metric is not None and kind.main_metric not in metrics:
            where = f"kinds.toml kind.{kind.code}"
            faults.value(where, "main_metric", kind.main_metric, _nearest(kind.main_metric, metrics))
    categories = {category.code for category in files.categories} | set(known_categories)
    _check_category_parents(files.categories, categories, faults)
    _check_area_parents(files, faults)
    _check_devices(files, {kind.code for kind in files.kinds} | set(known_kinds), faults)
    _check_stations(files, faults)
    _check_station_series(files, metrics, faults)
    _check_units(files, faults)
    _check_patrol(files, faults)
    _check_responsibilities(files, categories, faults)
    _check_cell_codes(files, faults)
    _check_components(files, categories, faults)
    return _warnings(files) if len(faults) == 0 else []


def parent_key(area: DrawnArea, by_code: dict[str, list[str]], district: str) -> tuple[str, str] | None:
    """Layer and code of the area above, or None; the nearest layer outside wins where codes repeat.

    Raises KeyError when no area has the parent's code.
    """
    if area.parent is None:
        return None
    layers = [
        layer for layer in by_code.get(area.parent, []) if (layer, area.parent) != (area.layer, area.code)
    ]
    if not layers:
        if area.parent == district:
            return None  # a district that is not drawn
        raise KeyError(area.parent)
    own = LAYERS.index(area.layer) if area.layer in LAYERS else len(LAYERS)
    outside = [layer for layer in LAYERS[:own] if layer in layers]
    return (outside[-1] if outside else layers[0], area.parent)


def layers_by_code(areas: Iterable[DrawnArea]) -> dict[str, list[str]]:
    """For each code the layers that have it."""
    found = defaultdict(list)
    for area in areas:
        found[area.code].append(area.layer)
    return dict(found)


def _nearest(value: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(value, list(known), 1) if len(known) <= MOST_COMPARED else []
    return (
        f"there is none; did you mean {close[0]!r}?" if close else "there is none; add it or correct the name"
    )


def _check_category_parents(own: list[Category], known: Collection[str], faults: Faults) -> None:
    for category in own:
        if category.parent is not None and category.parent not in known:  # a code's way through the tree
            where = f"categories.csv {category.code}"
            faults.value(where, "parent", category.parent, _nearest(category.parent, known))


def _check_cell_codes(files: DistrictFiles, faults: Faults) -> None:
    """Where the district says how grids are numbered, a cell numbered otherwise is a slip of the pen."""
    forms = files.info.code_forms.get("cell", ())
    for area in files.areas if forms else ():
        if area.layer == "cell" and isinstance(found := read_code(area.code, forms), CodeFault):
            faults.value(area.where, "code", area.code, found.reason_en)


def _check_components(files: DistrictFiles, categories: Collection[str], faults: Faults) -> None:
    cells = names_of(files.areas, "cell")
    buildings = {building.code for building in files.buildings}
    things: list[tuple[str, Component | Building]] = [("components.csv", one) for one in files.components]
    things += [("buildings.csv", one) for one in files.buildings]
    for file, thing in things:
        if thing.cell is not None and thing.cell not in cells:
            remedy = "areas.geojson has no such cell; correct it or leave it empty"
            faults.value(f"{file} {thing.code}", "cell", thing.cell, remedy)
    for component in files.components:
        where = f"components.csv {component.code}"
        if component.building is not None and component.building not in buildings:
            faults.value(where, "building", component.building, _ANOTHER.format("buildings.csv"))
        if component.category is not None and component.category not in categories:
            faults.value(where, "category", component.category, _nearest(component.category, categories))


def _check_area_parents(files: DistrictFiles, faults: Faults) -> None:
    by_code = layers_by_code(files.areas)
    above: dict[tuple[str, str], tuple[str, str] | None] = {}
    for area in files.areas:
        try:
            above[area.layer, area.code] = parent_key(area, by_code, files.info.code)
        except KeyError:
            faults.value(area.where, "parent", area.parent, _nearest(area.parent or "", by_code))
    for area in files.areas:
        seen = set()
        at: tuple[str, str] | None = (area.layer, area.code)
        while at is not None and at not in seen:
            seen.add(at)
            at = above.get(at)
        if at == (area.layer, area.code):
            faults.value(
                area.where, "parent", area.parent, "an area lies within itself; correct the chain of parents"
            )


def _check_devices(files: DistrictFiles, kinds: Collection[str], faults: Faults) -> None:
    cells = names_of(files.areas, "cell")
    codes = {device.code for device in files.devices}
    buildings = {building.code for building in files.buildings}
    facilities = {component.code for component in files.components}
    nearest: dict[str, str] = {}  # one misspelt word stands in a thousand lines
    for device in files.devices:
        if device.kind and device.kind not in kinds:
            if device.kind not in nearest:
                nearest[device.kind] = _nearest(device.kind, kinds)
            faults.value(device.where, "kind", device.kind, nearest[device.kind])
        if device.cell is not None and device.cell not in cells:
            faults.value(
                device.where,
                "cell",
                device.cell,
                "areas.geojson has no such cell; correct it or leave it empty",
            )
        if device.gateway is not None and (device.gateway not in codes or device.gateway == device.code):
            faults.value(
                device.where, "gateway", device.gateway, "name another device of this file, or leave it empty"
            )
        if device.building is not None and device.building not in buildings:
            faults.value(device.where, "building", device.building, _ANOTHER.format("buildings.csv"))
        if device.facility is not None and device.facility not in facilities:
            faults.value(device.where, "facility", device.facility, _ANOTHER.format("components.csv"))


def _check_stations(files: DistrictFiles, faults: Faults) -> None:
    devices = {device.code for device in files.devices}
    stations = {station.code: station for station in files.stations}
    for station in files.stations:
        if station.code not in devices:
            faults.value(station.where, "code", station.code, "devices.csv has no such device; add it there")
        for upstream, _ in station.upstreams:
            if upstream not in stations:
                remedy = "name a station of this file, or leave it empty"
                faults.value(station.where, "upstream", upstream, remedy)
            elif _flows_back(upstream, station.code, stations):
                remedy = "the water runs in a circle; correct the chain"
                faults.value(station.where, "upstream", upstream, remedy)


def _flows_back(upstream: str, code: str, stations: dict[str, ListedStation]) -> bool:
    """Whether the water at ``upstream`` comes from ``code``."""
    seen: set[str] = set()
    ahead = [upstream]
    while ahead:
        at = ahead.pop()
        if at == code:
            return True
        if at in stations and at not in seen:
            seen.add(at)
            ahead += [further for further, _ in stations[at].upstreams]
    return False


def _check_station_series(files: DistrictFiles, metrics: Collection[str], faults: Faults) -> None:
    devices = {device.code for device in files.devices}
    stations = {station.code for station in files.stations}
    for line in files.station_series:
        if line.station and line.station not in stations:
            remedy = f"stations.csv: {_nearest(line.station, stations)}"
            faults.value(line.where, "station", line.station, remedy)
        if line.device and line.device not in devices:
            faults.value(line.where, "device", line.device, f"devices.csv: {_nearest(line.device, devices)}")
        if line.metric and line.metric not in metrics:
            faults.value(line.where, "metric", line.metric, _nearest(line.metric, metrics))


def _check_units(files: DistrictFiles, faults: Faults) -> None:
    codes = {unit.code for unit in files.units}
    for unit in files.units:
        if unit.parent is not None and (unit.parent not in codes or unit.parent == unit.code):
            faults.value(
                f"units.csv {unit.code}", "parent", unit.parent, _nearest(unit.parent, codes - {unit.code})
            )
        if unit.fallback is not None and unit.fallback not in codes:
            remedy = _nearest(unit.fallback, codes - {unit.code})
            faults.value(f"units.csv {unit.code}", "fallback", unit.fallback, remedy)
    for code in files.rosters.keys() - codes:
        faults.value("shifts.csv or roster.csv", "unit", code, _nearest(code, codes))


def _check_patrol(files: DistrictFiles, faults: Faults) -> None:
    cells = {area.code for area in files.areas if area.layer == "cell"}
    for point in files.patrol:
        if point.cell is not None and point.cell not in cells:
            faults.value(point.where, "cell", point.cell, _nearest(point.cell, cells))


def _check_responsibilities(files: DistrictFiles, categories: Collection[str], faults: Faults) -> None:
    check_responsibilities(
        files.responsibilities,
        faults,
        units={unit.code for unit in files.units},
        areas={(area.layer, area.code) for area in files.areas},
        categories=categories,
    )
    if len(faults) == 0:
        _check_circles(files, faults)


def _check_circles(files: DistrictFiles, faults: Faults) -> None:
    """Co-handlers who go round, by the places as the file draws them."""
    units = {unit.code: number for number, unit in enumerate(files.units)}
    numbers = {(area.layer, area.code): number for number, area in enumerate(files.areas)}
    within = _ways_up(files, numbers)
    listed = [
        (line, resolved(line, area_id=_number_of(line, numbers), units=units))
        for line in files.responsibilities
    ]
    led = by_lead(entry for _, entry in listed)

    def share(one: int | None, other: int | None) -> bool:
        return one is None or other is None or one in within[other] or other in within[one]

    codes = {number: code for code, number in units.items()}
    told: set[frozenset[int]] = set()
    for line, entry in listed:
        chain = circle(entry, led, share) if entry.co_unit_ids else ()
        key = frozenset(id(one) for one in chain)
        if chain and key not in told:
            told.add(key)
            around = " -> ".join(codes[one.unit_id] for one in (*chain, entry))
            faults.value(
                line.where, "co_units", ";".join(line.co_units), f"they go round ({around}); take one out"
            )


def _number_of(line: ListedResponsibility, numbers: Mapping[tuple[str, str], int]) -> int | None:
    return numbers[line.area_layer, line.area] if line.area_layer and line.area else None


def _ways_up(files: DistrictFiles, numbers: Mapping[tuple[str, str], int]) -> dict[int, set[int]]:
    """For each area itself and those around it; parents were checked before."""
    by_code = layers_by_code(files.areas)
    above = [parent_key(area, by_code, files.info.code) for area in files.areas]
    ways = {}
    for number in range(len(files.areas)):
        way: set[int] = set()
        at: int | None = number
        while at is not None and at not in way:
            way.add(at)
            key = above[at]
            at = numbers.get(key) if key is not None else None
        ways[number] = way
    return ways


def check_responsibilities(
    lines: Iterable[ListedResponsibility],
    faults: Faults,
    *,
    units: Collection[str],
    areas: Collection[tuple[str, str]],
    categories: Collection[str],
) -> None:
    """Note every unit, area and category that is not among those given; a prefix of a category will do."""
    prefixes = {code.rsplit(".", depth)[0] for code in categories for depth in range(code.count(".") + 1)}
    for line in lines:
        if line.category and line.category not in prefixes:
            faults.value(line.where, "category", line.category, _nearest(line.category, categories))
        for column, code in [("unit", line.unit), *(("co_units", code) for code in line.co_units)]:
            if code and code not in units:
                faults.value(line.where, column, code, _nearest(code, units))
        if line.area_layer and line.area and (line.area_layer, line.area) not in areas:
            remedy = f"areas.geojson has no such {line.area_layer}; correct it, or leave both empty"
            faults.value(line.where, "area", line.area, remedy)


def _warnings(files: DistrictFiles) -> list[str]:
    warnings = []
    for index, cause in invalid_outlines([area.geometry for area in files.areas]):
        warnings.append(
            f"{files.areas[index].where}: outline crosses itself ({cause}); draw it again when you can"
        )
    for name, rows in (("units.csv", files.units), ("responsibilities.csv", files.responsibilities)):
        if not rows:
            warnings.append(f"{name}: is missing or empty; every incident will stand in the unassigned lane")
    warnings.extend(
        f"{station.where}: station_kind = {station.station_kind!r} is not among {', '.join(STATION_KINDS)}; "
        "it is taken for a water level and shown under this word"
        for station in files.stations
        if station.station_kind not in STATION_KINDS
    )
    misplaced = _misplaced(files)
    warnings.extend(
        f"{device.where}: {device.code} stands at lon/lat outside its cell {device.cell}"
        for device in misplaced[:10]
    )
    if len(misplaced) > 10:
        warnings.append(f"devices.csv: {len(misplaced) - 10} more devices stand outside their cells")
    return warnings


def _misplaced(files: DistrictFiles) -> list[ListedDevice]:
    drawn = {cell.code: cell for cell in files.areas if cell.layer == "cell" and cell.geometry is not None}
    placed = [
        device
        for device in files.devices
        if device.cell in drawn and device.longitude is not None and device.latitude is not None
    ]
    codes = list(drawn)
    found = cell_of_points(
        [drawn[code].geometry for code in codes],
        [device.longitude for device in placed if device.longitude is not None],
        [device.latitude for device in placed if device.latitude is not None],
    )
    return [
        device
        for device, index in zip(placed, found, strict=True)
        if index is None or codes[index] != device.cell
    ]
