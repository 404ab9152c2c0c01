"""A district for the load: a folder in the product's own format, with as many devices as a case needs."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.frames import Fleet

WARNING_M, GUARANTEED_M, HIGHEST_M = 70.0, 95.0, 99.0  # the load's crossings are at 90.0, its calm below 50


def write(folder: Path, fleet: Fleet, *, apart: bool = False) -> None:
    """Fill `folder`: square cells in a row, the fleet in them, one unit responsible for everything.

    `apart` leaves as much room between cells as they take, so that nothing joins across a border.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "district.toml").write_text(
        'code = "900001"\nname = "压测区"\nname_en = "Bench"\ntimezone = "Asia/Shanghai"\n', encoding="utf-8"
    )
    (folder / "areas.geojson").write_text(json.dumps(_areas(fleet, 2 if apart else 1)), encoding="utf-8")
    numbers = range(fleet.devices)
    _csv(
        folder / "devices.csv",
        "code,kind,name,cell,lon,lat,model,owner_unit,maintainer_unit,gateway,expected_interval_s,address",
        (
            (
                fleet.code(n),
                "water" if fleet.is_water(n) else "smoke",
                "",
                fleet.cell(n),
                *[""] * 6,
                "3600",
                "",
            )
            for n in numbers
        ),
    )
    _csv(
        folder / "stations.csv",
        "code,station_kind,river,datum_m,warning_m,guaranteed_m,highest_m,upstream,travel_min",
        (
            (fleet.code(n), "river", "", "0", str(WARNING_M), str(GUARANTEED_M), str(HIGHEST_M), "", "")
            for n in numbers
            if fleet.is_water(n)
        ),
    )
    _csv(
        folder / "units.csv",
        "code,name,name_en,kind,parent,lead,phone,lead_phone,email,lead_email,webhook_url",
        [("u1", "值班室", "Duty room", "centre", *[""] * 7)],
    )
    _csv(
        folder / "responsibilities.csv",
        "category,area_layer,area,unit,class,limit_minutes,clock",
        [(category, "", "", "u1", "", "", "") for category in ("fire", "flood", "device", "system")],
    )


def _csv(path: Path, header: str, rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)


def _areas(fleet: Fleet, spread: int) -> dict[str, object]:
    columns = 50
    rows = -(-fleet.cells // columns)
    whole = _square(114.0, 22.0, columns * spread, rows * spread)
    features = [
        _feature("district", "900001", None, whole),
        _feature("street", "s1", "900001", whole),
        _feature("community", "m1", "s1", whole),
    ]
    for number in range(fleet.cells):
        west, south = 114.0 + number % columns * spread * 0.002, 22.0 + number // columns * spread * 0.002
        features.append(_feature("cell", f"n{number:05d}", "m1", _square(west, south, 1, 1)))
    return {"type": "FeatureCollection", "features": features}


def _square(west: float, south: float, columns: int, rows: int) -> list[list[float]]:
    east, north = round(west + columns * 0.002, 6), round(south + rows * 0.002, 6)
    west, south = round(west, 6), round(south, 6)
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def _feature(layer: str, code: str, parent: str | None, ring: list[list[float]]) -> dict[str, object]:
    return {
        "type": "Feature",
        "properties": {"layer": layer, "code": code, "name": f"区{code}", "name_en": code, "parent": parent},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }
