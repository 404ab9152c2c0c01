"""The generated district: same bytes from the same seed, ground without gaps, no dangling reference."""

import csv
import itertools
import json
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import shapely

from city.stations import KINDS as STATION_KINDS
from simulators.district import generate

DEFAULTS = Path(__file__).resolve().parents[2] / "city" / "defaults"
Row = dict[str, str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("generated") / "district"
    generate(built)
    return built


@pytest.fixture(scope="module")
def areas(folder: Path) -> list[dict[str, Any]]:
    features: list[dict[str, Any]] = json.loads((folder / "areas.geojson").read_text("utf-8"))["features"]
    return features


def rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def layer(areas: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [area for area in areas if area["properties"]["layer"] == name]


def shape(area: dict[str, Any]) -> shapely.Geometry:
    return shapely.geometry.shape(area["geometry"])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_same_seed_writes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    generate(tmp_path / "again")
    assert contents(tmp_path / "again") == contents(folder)


def test_another_seed_writes_another_district(folder: Path, tmp_path: Path) -> None:
    generate(tmp_path / "other", seed=2)
    mine, other = contents(folder), contents(tmp_path / "other")
    assert mine.keys() == other.keys()
    assert mine["areas.geojson"] != other["areas.geojson"]


@pytest.mark.parametrize("seed", [1, 7, 99])
def test_every_seed_gives_whole_ground(tmp_path: Path, seed: int) -> None:
    generate(tmp_path / "d", seed=seed)
    features = json.loads((tmp_path / "d" / "areas.geojson").read_text("utf-8"))["features"]
    assert all(shape(area).is_valid and shape(area).geom_type == "Polygon" for area in features)
    assert shapely.coverage_is_valid([shape(area) for area in layer(features, "cell")])


def test_numbers_of_the_demonstration_district(folder: Path, areas: list[dict[str, Any]]) -> None:
    assert Counter(a["properties"]["layer"] for a in areas) == {
        "district": 1,
        "street": 6,
        "community": 31,
        "cell": 600,
    }
    kinds = Counter(row["kind"] for row in rows(folder / "devices.csv"))
    assert (kinds["smoke"], kinds["camera"], kinds["water"]) == (5000, 400, 60)
    assert len(rows(folder / "stations.csv")) == 60
    assert len(rows(folder / "units.csv")) == 40
    assert tomllib.loads((folder / "district.toml").read_text("utf-8"))["code"] == "440399"


def test_cells_tile_the_district_without_gap_or_overlap(areas: list[dict[str, Any]]) -> None:
    cells = [shape(area) for area in layer(areas, "cell")]
    [district] = layer(areas, "district")
    assert shapely.coverage_is_valid(cells)
    assert not shape(district).interiors
    assert sum(cell.area for cell in cells) == pytest.approx(shape(district).area, rel=1e-9)


@pytest.mark.parametrize("name", ["cell", "community", "street"])
def test_areas_of_a_parent_are_exactly_the_parent(areas: list[dict[str, Any]], name: str) -> None:
    by_code = {area["properties"]["code"]: area for area in areas}
    children: dict[str, list[shapely.Geometry]] = {}
    for area in layer(areas, name):
        children.setdefault(area["properties"]["parent"], []).append(shape(area))
    for parent, parts in children.items():
        assert shapely.coverage_union_all(parts).symmetric_difference(shape(by_code[parent])).area < 1e-12


def test_neighbours_share_the_very_same_edges(areas: list[dict[str, Any]]) -> None:
    """Each edge belongs to two cells, or lies on the outline; a cell has three neighbours or more inside."""
    edges: Counter[frozenset[tuple[float, float]]] = Counter()
    for area in layer(areas, "cell"):
        ring = [tuple(point) for point in area["geometry"]["coordinates"][0]]
        edges.update(frozenset(pair) for pair in itertools.pairwise(ring))
    assert set(edges.values()) == {1, 2}
    [district] = layer(areas, "district")
    outline = [tuple(point) for point in district["geometry"]["coordinates"][0]]
    assert {edge for edge, count in edges.items() if count == 1} == {
        frozenset(pair) for pair in itertools.pairwise(outline)
    }


def test_cells_are_irregular(areas: list[dict[str, Any]]) -> None:
    sizes = [shape(area).area for area in layer(areas, "cell")]
    assert max(sizes) > 1.5 * min(sizes)


def test_codes_and_names_are_told_apart(folder: Path, areas: list[dict[str, Any]]) -> None:
    for name in ("street", "community", "cell"):
        properties = [area["properties"] for area in layer(areas, name)]
        for key in ("code", "name", "name_en"):
            assert len({p[key] for p in properties}) == len(properties), (name, key)
        assert all(p["code"].startswith(p["parent"]) for p in properties)
    for file in ("devices.csv", "stations.csv", "units.csv"):
        codes = [row["code"] for row in rows(folder / file)]
        assert len(set(codes)) == len(codes), file
    stations = [row["name"] for row in rows(folder / "devices.csv") if row["kind"] == "water"]
    assert len(set(stations)) == len(stations)


def test_devices_stand_in_their_cell(folder: Path, areas: list[dict[str, Any]]) -> None:
    cells = {area["properties"]["code"]: shape(area) for area in layer(areas, "cell")}
    for row in rows(folder / "devices.csv"):
        assert cells[row["cell"]].contains(shapely.Point(float(row["lon"]), float(row["lat"]))), row
        assert float(row["expected_interval_s"]) > 0


def test_gateways_serve_a_neighbourhood(folder: Path) -> None:
    devices = {row["code"]: row for row in rows(folder / "devices.csv")}
    children: dict[str, list[Row]] = {}
    for row in devices.values():
        if row["kind"] == "smoke":
            children.setdefault(row["gateway"], []).append(row)
    assert {code for code, row in devices.items() if row["kind"] == "gateway"} == set(children)
    assert all(20 <= len(served) <= 60 for served in children.values())
    for gateway, served in children.items():
        assert {row["cell"][:12] for row in served} == {devices[gateway]["cell"][:12]}


def test_levels_rise_in_order_and_water_flows_downhill(folder: Path) -> None:
    stations = {row["code"]: row for row in rows(folder / "stations.csv")}
    kinds = Counter(row["station_kind"] for row in stations.values())
    assert kinds["reservoir"] == 1
    assert min(kinds["river"], kinds["culvert"], kinds["underpass"]) >= 10
    assert kinds["road"] >= 3
    assert kinds.keys() <= STATION_KINDS.keys()
    for row in stations.values():
        assert 0 < float(row["warning_m"]) < float(row["guaranteed_m"]) < float(row["highest_m"])
        assert not row["bank_m"] or float(row["bank_m"]) > float(row["highest_m"])
        above = row["upstream"].split(";") if row["upstream"] else []
        assert len(above) == len(row["travel_min"].split(";") if row["travel_min"] else [])
        for code in above:
            assert float(stations[code]["datum_m"]) > float(row["datum_m"])
    chain, code = 0, "WL-10"
    while code:
        chain, code = chain + 1, stations[code]["upstream"].split(";")[0]
    assert chain >= 8, "the main stem is a chain from the reservoir down"
    assert sum(";" in row["upstream"] for row in stations.values()) >= 2, "tributaries flow into it"


def test_every_station_has_the_rain_of_a_gauge(folder: Path) -> None:
    kinds = {row["code"]: row["kind"] for row in rows(folder / "devices.csv")}
    series = rows(folder / "station_series.csv")
    assert {row["station"] for row in series} == {row["code"] for row in rows(folder / "stations.csv")}
    assert {(row["role"], row["metric"], kinds[row["device"]]) for row in series} == {
        ("rain", "rain", "rain")
    }


def test_every_category_and_street_has_a_unit(folder: Path) -> None:
    duties = rows(folder / "responsibilities.csv")
    units = {row["code"]: row for row in rows(folder / "units.csv")}
    assert {row["unit"] for row in duties} <= units.keys()
    whole = {row["category"] for row in duties if not row["area"]}
    for category in rows(DEFAULTS / "categories.csv"):
        assert category["code"].split(".")[0] in whole, category
    streets = {row["area"] for row in duties if row["area"]}
    assert len(streets) == 6
    for prefix in ("fire", "public", "building"):
        assert {row["area"] for row in duties if row["category"] == prefix} == streets | {""}


def test_units_are_fictitious_and_hang_together(folder: Path) -> None:
    units = {row["code"]: row for row in rows(folder / "units.csv")}
    for row in units.values():
        assert row["parent"] in units or row["code"] == "U-CENTRE"
        assert row["lead"]
        assert row["phone"].startswith("000-")
        assert row["lead_phone"].startswith("000-")
        assert row["email"].endswith(".invalid")
    owners = {row[key] for row in rows(folder / "devices.csv") for key in ("owner_unit", "maintainer_unit")}
    assert owners - {""} <= units.keys()


def test_stand_ins_and_rosters_name_units_and_end_somewhere(folder: Path) -> None:
    units = {row["code"]: row for row in rows(folder / "units.csv")}
    for first in units:
        seen, code = {first}, units[first]["fallback"]
        while code:
            assert code not in seen, f"{code} stands in for itself"
            seen.add(code)
            code = units[code]["fallback"]
    assert {row["unit"] for row in rows(folder / "shifts.csv")} <= units.keys()
    assert {row["unit"] for row in rows(folder / "roster.csv")} == {
        row["unit"] for row in rows(folder / "shifts.csv")
    }
    stations = [row for row in units.values() if row["code"].startswith("U-FS-")]
    assert len({(row["lon"], row["lat"]) for row in stations}) == 6
    assert {row["tier"] for row in stations} == {"street"}


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "devices.csv").write_text("mine")
    with pytest.raises(FileExistsError, match="choose an empty folder"):
        generate(tmp_path)
    assert contents(tmp_path) == {"devices.csv": b"mine"}


@pytest.mark.parametrize(
    ("numbers", "named"),
    [({"cells": 20}, "cells=20"), ({"smoke": 100}, "smoke=100"), ({"stations": 4}, "stations=4")],
)
def test_numbers_that_do_not_fit_are_named_and_nothing_is_written(
    tmp_path: Path, numbers: dict[str, int], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        generate(tmp_path / "d", **numbers)
    assert list(tmp_path.iterdir()) == []


def test_a_small_district_works_too(tmp_path: Path) -> None:
    generate(tmp_path / "d", cells=40, communities=4, streets=2, smoke=200, cameras=10, stations=12)
    assert Counter(row["kind"] for row in rows(tmp_path / "d" / "devices.csv"))["water"] == 12


def test_built_in_kinds_are_complete() -> None:
    defaults = tomllib.loads((DEFAULTS / "kinds.toml").read_text("utf-8"))
    assert {"smoke", "camera", "water", "gateway", "rain"} <= defaults["kind"].keys()
    assert len(defaults["kind"]) >= 17
    for kind in defaults["kind"].values():
        assert kind["name"]
        assert kind["name_en"]
        assert kind["expected_interval_s"] > 0
        assert kind.get("main_metric") in {None, *defaults["metric"]}
    assert {"smoke", "battery", "temperature", "level", "rain"} <= defaults["metric"].keys()


def test_built_in_categories_are_complete() -> None:
    categories = {row["code"]: row for row in rows(DEFAULTS / "categories.csv")}
    leaves = [code for code in categories if "." in code]
    assert len(leaves) >= 40
    for code, row in categories.items():
        assert row["parent"] == code.rpartition(".")[0]
        assert not row["parent"] or row["parent"] in categories
        assert row["class"] in "ABC"
        assert int(row["limit_minutes"]) > 0
        assert row["clock"] in ("natural", "working")
        assert row["name"]
        assert row["name_en"]
    wanted = {"fire.smoke": "A", "fire.detection": "A", "flood.level": "B", "public.person": "C"}
    wanted |= {"device.silent": "C", "system.ingest": "A"}
    assert {code: categories[code]["class"] for code in wanted} == wanted
    assert categories["device.silent"]["clock"] == "working"
