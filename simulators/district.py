"""The demonstration district (示范区): a configuration folder written from a seed.

The folder has the format of any district's own, so the product imports it like one. The same seed writes the
same bytes; ground, names, rivers and people are invented.
"""

import csv
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import shapely

from simulators import names, patrol, people
from simulators.ground import Cell, Point, lay_out
from simulators.register import Row, furnish

DISTRICT_CODE = "440399"
_DISTRICT_TOML = """\
code = "440399"
name = "示范区"
name_en = "Demonstration District"
timezone = "Asia/Shanghai"
"""


def generate(
    folder: Path,
    seed: int = 20261121,
    *,
    cells: int = 600,
    communities: int = 31,
    streets: int = 6,
    smoke: int = 5000,
    cameras: int = 400,
    stations: int = 60,
) -> None:
    """Write the folder; it must not exist yet or be empty, and appears complete or not at all.

    Built-in kinds, categories and rules are meant, so those files are left out. Raises ValueError when the
    numbers do not fit each other (the message says which), FileExistsError when the folder holds something.
    """
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder}: holds files already; choose an empty folder or remove it")
    rng = np.random.default_rng(seed)
    ground = lay_out(rng, cells=cells, communities=communities, streets=streets)
    codes = _cell_codes(ground)
    register = furnish(rng, ground, codes, smoke=smoke, cameras=cameras, stations=stations)
    street_codes = [f"{DISTRICT_CODE}{n + 1:03d}" for n in range(streets)]
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        draft.chmod(0o755)
        (draft / "district.toml").write_text(_DISTRICT_TOML, encoding="utf-8")
        _write_areas(draft / "areas.geojson", ground, codes)
        _write_rows(draft / "devices.csv", register.devices)
        _write_rows(draft / "stations.csv", register.stations)
        _write_rows(draft / "station_series.csv", register.series)
        _write_rows(draft / "units.csv", people.units(streets, _middles(ground, streets)))
        _write_rows(draft / "shifts.csv", people.shifts(streets))
        _write_rows(draft / "roster.csv", people.roster(streets))
        _write_rows(draft / "patrol_routes.csv", patrol.routes(ground, codes))
        _write_rows(draft / "responsibilities.csv", people.responsibilities(street_codes))
        os.replace(draft, folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _middles(ground: list[Cell], streets: int) -> list[Point]:
    """The middle of each street: the centre of the cell that lies nearest to the mean of all."""
    middles = []
    for street in range(streets):
        centres = np.array([cell.centre for cell in ground if cell.street == street])
        away = np.hypot(*(centres - centres.mean(axis=0)).T)
        longitude, latitude = centres[int(away.argmin())]
        middles.append((float(longitude), float(latitude)))
    return middles


def _cell_codes(ground: list[Cell]) -> list[str]:
    """District, street, community and cell, three digits each; communities counted within their street."""
    first: dict[int, int] = {}
    for cell in ground:
        first[cell.street] = min(first.get(cell.street, cell.community), cell.community)
    seen: dict[int, int] = {}
    codes = []
    for cell in ground:
        seen[cell.community] = seen.get(cell.community, 0) + 1
        community = cell.community - first[cell.street] + 1
        codes.append(f"{DISTRICT_CODE}{cell.street + 1:03d}{community:03d}{seen[cell.community]:03d}")
    return codes


def _write_areas(path: Path, ground: list[Cell], codes: list[str]) -> None:
    """District, streets, communities and cells, every one a polygon over whole cells."""
    features = [
        _feature("district", DISTRICT_CODE, ("示范区", "Demonstration District"), None, _union(ground))
    ]
    streets = {code[:9]: cell.street for cell, code in zip(ground, codes, strict=True)}
    for code, number in sorted(streets.items()):
        members = [cell for cell in ground if cell.street == number]
        features.append(_feature("street", code, names.street(number), DISTRICT_CODE, _union(members)))
    communities = {code[:12]: cell.community for cell, code in zip(ground, codes, strict=True)}
    for code, number in sorted(communities.items()):
        members = [cell for cell in ground if cell.community == number]
        features.append(_feature("community", code, names.community(number), code[:9], _union(members)))
    for code, cell in sorted(zip(codes, ground, strict=True), key=lambda pair: pair[0]):
        name, name_en = names.community(cell.community)
        number = int(code[-3:])
        label = (f"{name}第{number}网格", f"{name_en.removesuffix(' Community')} Cell {number}")
        features.append(_feature("cell", code, label, code[:12], [[list(cell.ring)]]))
    lines = ",\n".join(json.dumps(feature, ensure_ascii=False, separators=(",", ":")) for feature in features)
    path.write_text(f'{{"type":"FeatureCollection","features":[\n{lines}\n]}}\n', encoding="utf-8")


def _union(members: Iterable[Cell]) -> list[list[list[Point]]]:
    """Outline of cells that share their borders exactly, as polygons of rings."""
    outline = shapely.normalize(shapely.coverage_union_all([shapely.Polygon(cell.ring) for cell in members]))
    pieces = sorted(getattr(outline, "geoms", [outline]), key=lambda piece: piece.bounds)
    oriented = [shapely.geometry.polygon.orient(piece) for piece in pieces]
    return [
        [[(x, y) for x, y in ring.coords] for ring in (piece.exterior, *piece.interiors)]
        for piece in oriented
    ]


def _feature(
    layer: str, code: str, name: tuple[str, str], parent: str | None, polygons: list[list[list[Point]]]
) -> dict[str, object]:
    single = len(polygons) == 1
    return {
        "type": "Feature",
        "properties": {"layer": layer, "code": code, "name": name[0], "name_en": name[1], "parent": parent},
        "geometry": {
            "type": "Polygon" if single else "MultiPolygon",
            "coordinates": polygons[0] if single else polygons,
        },
    }


def _write_rows(path: Path, rows: list[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
