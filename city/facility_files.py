"""components.csv and buildings.csv: public facilities and buildings, read and written (docs/district-files.md)."""

import json
from collections.abc import Sequence
from typing import Any, cast

from city.areas import Geometry
from city.buildings import Building
from city.code_forms import CodeFault, CodeForms, read_code
from city.components import STATES, Component, ComponentState
from city.coordinates import Crs
from city.district_source import Faults, Row, csv_rows
from city.drawn import outline
from city.register_rows import declared, on_wgs84, once, outline_on_wgs84, position

COMPONENTS = "components.csv"
COMPONENT_COLUMNS = (
    *("code", "kind", "category", "name", "owner_unit", "maintainer_unit", "cell", "address", "lon", "lat"),
    *("state", "building"),
)
BUILDINGS = "buildings.csv"
BUILDING_COLUMNS = (
    *("code", "name", "kind", "owner_unit", "maintainer_unit", "cell", "address", "lon", "lat", "floors"),
    *("floors_below", "state", "outline"),
)
_LONGEST_OUTLINE = 100_000  # characters, some thousand corners
_MOST_FLOORS, _MOST_BELOW = 300, 30


def parse_components(text: str, forms: CodeForms, faults: Faults, usual: Crs = "wgs84") -> list[Component]:
    """Public facilities with their codes, in the forms that district.toml names."""
    seen: set[str] = set()
    components: list[Component] = []
    kinds: list[Crs] = []
    optional = (*COMPONENT_COLUMNS[2:], "crs")
    for row in csv_rows(COMPONENTS, text, COMPONENT_COLUMNS[:2], optional, faults) if text else ():
        code = _code(row, forms, "component", seen)
        longitude, latitude = position(row)
        kinds.append(declared(row, usual))
        components.append(
            Component(
                code=code,
                kind=row.required("kind"),
                category=row.text("category") or None,
                name=row.text("name"),
                owner_unit=row.text("owner_unit"),
                maintainer_unit=row.text("maintainer_unit"),
                cell=row.text("cell") or None,
                address=row.text("address"),
                longitude=longitude,
                latitude=latitude,
                state=cast("ComponentState", row.one_of("state", STATES) or "in_use"),
                building=row.text("building") or None,
            )
        )
    return on_wgs84(components, kinds)


def parse_buildings(text: str, forms: CodeForms, faults: Faults, usual: Crs = "wgs84") -> list[Building]:
    """Buildings; ``outline`` is a GeoJSON Polygon or MultiPolygon in one cell."""
    seen: set[str] = set()
    buildings: list[Building] = []
    kinds: list[Crs] = []
    optional = (*BUILDING_COLUMNS[1:], "crs")
    rows = csv_rows(BUILDINGS, text, ("code",), optional, faults, longest=_LONGEST_OUTLINE) if text else ()
    for row in rows:
        code = _code(row, forms, "building", seen)
        longitude, latitude = position(row)
        kinds.append(declared(row, usual))
        buildings.append(
            Building(
                code=code,
                name=row.text("name"),
                kind=row.text("kind"),
                owner_unit=row.text("owner_unit"),
                maintainer_unit=row.text("maintainer_unit"),
                cell=row.text("cell") or None,
                address=row.text("address"),
                longitude=longitude,
                latitude=latitude,
                floors=_floors(row, "floors", _MOST_FLOORS),
                floors_below=_floors(row, "floors_below", _MOST_BELOW),
                state=cast("ComponentState", row.one_of("state", STATES) or "in_use"),
                outline=outline_on_wgs84(kinds[-1], _outline(row, faults)),
            )
        )
    return on_wgs84(buildings, kinds)


def _code(row: Row, forms: CodeForms, what: str, seen: set[str]) -> str:
    code = row.required("code")
    if code and isinstance(found := read_code(code, forms.get(what, ())), CodeFault):
        row.fault("code", found.reason_en)
    once(row, "code", code, seen)
    return code


def _floors(row: Row, column: str, most: int) -> int | None:
    floors = row.whole(column)
    if floors is not None and floors > most:
        row.fault(column, f"write a whole number up to {most}")
        return None
    return floors


def _outline(row: Row, faults: Faults) -> Geometry | None:
    text = row.text("outline")
    if not text:
        return None
    try:
        drawn = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        row.fault("outline", "write a GeoJSON geometry, or send the buildings as buildings.geojson")
        return None
    return outline(row.where, drawn, faults)


def component_cells(component: Component) -> Sequence[Any]:
    """The line as the file holds it, in the order of ``COMPONENT_COLUMNS``."""
    return (
        *(component.code, component.kind, component.category, component.name, component.owner_unit),
        *(component.maintainer_unit, component.cell, component.address, component.longitude),
        *(component.latitude, component.state, component.building),
    )


def building_cells(building: Building) -> Sequence[Any]:
    """The line as the file holds it, in the order of ``BUILDING_COLUMNS``."""
    drawn = None if building.outline is None else json.dumps(building.outline, separators=(",", ":"))
    return (
        *(building.code, building.name, building.kind, building.owner_unit, building.maintainer_unit),
        *(building.cell, building.address, building.longitude, building.latitude, building.floors),
        *(building.floors_below, building.state, drawn),
    )
