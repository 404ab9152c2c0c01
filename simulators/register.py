"""What stands on the generated ground: detectors behind gateways, cameras, water stations, rain gauges.

Ground goes in; rows of ``devices.csv`` and ``stations.csv`` come out, as text ready to be written.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from simulators import names
from simulators.ground import Cell, Floats

Row: TypeAlias = dict[str, str]

SMOKE_INTERVAL_S = 60
GATEWAY_INTERVAL_S = 60
CAMERA_INTERVAL_S = 60
WATER_INTERVAL_S = 60
RAIN_INTERVAL_S = 300
CHILDREN = 40  # detectors a gateway serves, about; 20 to 60 are usual

# station kind: base, warning, guaranteed, highest in metres above the station's datum, and their spread
_LEVELS = {
    "river": (1.1, 2.9, 3.7, 4.4, 0.5),
    "culvert": (0.3, 1.2, 1.6, 2.0, 0.2),
    "underpass": (0.0, 0.15, 0.27, 0.55, 0.03),
    "reservoir": (22.0, 27.0, 28.5, 29.4, 0.2),
}


@dataclass(frozen=True, kw_only=True)
class Register:
    """All rows of the two files, in the order they are written."""

    devices: list[Row]
    stations: list[Row]


def furnish(
    rng: np.random.Generator, cells: list[Cell], codes: list[str], *, smoke: int, cameras: int, stations: int
) -> Register:
    """Put devices into the cells, densest in the middle. `codes` are the cells' codes in the same order.

    Raises ValueError when there are fewer than 20 detectors for each community's gateway to serve, or fewer
    than 8 stations.
    """
    communities = 1 + max(cell.community for cell in cells)
    if smoke < 40 * communities or stations < 8 or cameras > 4 * len(cells):
        raise ValueError(
            f"smoke={smoke}: at least {40 * communities}; stations={stations}: at least 8; "
            f"cameras={cameras}: at most {4 * len(cells)}"
        )
    density = _density(rng, cells)
    devices = _detectors(rng, cells, codes, density, smoke)
    devices += _cameras(rng, cells, codes, density, cameras)
    water, levels = _stations(rng, cells, codes, stations)
    devices += water
    devices += _rain_gauges(rng, cells, codes)
    return Register(devices=devices, stations=levels)


def _density(rng: np.random.Generator, cells: list[Cell]) -> Floats:
    """How built-up each cell is; sums to 1."""
    centres = np.array([cell.centre for cell in cells])
    away = np.hypot(*(centres - centres.mean(axis=0)).T)
    weight = np.exp(-((away / (0.7 * away.max())) ** 2)) * rng.uniform(0.5, 1.5, len(cells)) + 0.15
    return np.asarray(weight / weight.sum(), dtype=np.float64)


def _shares(weight: Floats, total: int, at_least: int) -> list[int]:
    """Whole numbers proportional to the weights that sum to `total` (largest remainders)."""
    spare = total - at_least * len(weight)
    exact = weight * spare
    counts = np.floor(exact).astype(int)
    for i in np.argsort(counts - exact, kind="stable")[: spare - counts.sum()]:
        counts[i] += 1
    return [int(n) + at_least for n in counts]


def _detectors(rng: np.random.Generator, cells: list[Cell], codes: list[str], density: Floats, total: int) -> list[Row]:
    """Gateways first in each neighbourhood, then the detectors that speak through them."""
    counts = _shares(density, total, at_least=max(1, total // (3 * len(cells))))
    rows: list[Row] = []
    gateways = detectors = 0
    for community in range(1 + max(cell.community for cell in cells)):
        inside = [i for i, cell in enumerate(cells) if cell.community == community]
        homes = [i for i in inside for _ in range(counts[i])]
        for children in np.array_split(homes, max(1, round(len(homes) / CHILDREN))):
            gateways += 1
            gateway = f"GW-{gateways:03d}"
            middle = int(children[len(children) // 2])
            rows.append(
                _device(rng, gateway, "gateway", "烟感网关", cells[middle], codes[middle], "GW-LoRa-8", GATEWAY_INTERVAL_S)
            )
            for home in children:
                detectors += 1
                row = _device(
                    rng,
                    f"SM-{detectors:05d}",
                    "smoke",
                    "烟感",
                    cells[home],
                    codes[home],
                    "SD-3",
                    SMOKE_INTERVAL_S,
                )
                rows.append(row | {"gateway": gateway, "maintainer_unit": "U-MAINT"})
    return rows


def _cameras(rng: np.random.Generator, cells: list[Cell], codes: list[str], density: Floats, total: int) -> list[Row]:
    """One camera in as many cells as there are cameras, the densest most surely; further rounds when more."""
    rows: list[Row] = []
    while len(rows) < total:
        round_size = min(total - len(rows), len(cells))
        for home in np.sort(rng.choice(len(cells), round_size, replace=False, p=density)):
            code = f"CAM-{len(rows) + 1:03d}"
            row = _device(rng, code, "camera", "摄像头", cells[home], codes[home], "IPC-4K", CAMERA_INTERVAL_S)
            rows.append(row | {"owner_unit": "U-POLICE", "maintainer_unit": "U-MAINT"})
    return rows


def _stations(rng: np.random.Generator, cells: list[Cell], codes: list[str], total: int) -> tuple[list[Row], list[Row]]:
    """Rivers (two fifths) with their upstream neighbour and travel time, culverts, underpasses, one reservoir."""
    devices: list[Row] = []
    levels: list[Row] = []
    taken: set[int] = set()

    def add(kind: str, river: int | None, name: str, at: tuple[float, float], upstream: str, travel: int) -> str:
        code = f"WL-{len(devices) + 1:02d}"
        home = _nearest_free(cells, at, taken)
        row = _device(rng, code, "water", "", cells[home], codes[home], "RL-80G", WATER_INTERVAL_S)
        owner = "U-RESERVOIR" if kind == "reservoir" else "U-DRAIN" if river is None else "U-FLOOD"
        devices.append(row | {"name": name, "owner_unit": owner, "maintainer_unit": "U-MAINT"})
        levels.append(
            {"code": code, "station_kind": kind, "river": names.RIVERS[river][0] if river is not None else ""}
            | _marks(rng, kind)
            | {"upstream": upstream, "travel_min": str(travel) if upstream else ""}
        )
        return code

    rivers, culverts = total * 2 // 5, total // 3
    courses = _courses(rivers)
    head = add("reservoir", 0, names.RESERVOIR[0], courses[0][0], "", 0)
    for number, course in enumerate(courses):
        upstream = head if number == 0 else ""
        for step, at in enumerate(course, start=1):
            travel = int(rng.integers(6, 14)) + (8 if upstream == head else 0)
            upstream = add("river", number, f"{names.RIVERS[number][0]}{step}号水位站", at, upstream, travel)
    homes = rng.choice(len(cells), total - 1 - sum(map(len, courses)), replace=False)
    for n, home in enumerate(homes):
        kind, word = ("culvert", "涵洞") if n < culverts else ("underpass", "下穿通道")
        number_here = n + 1 if n < culverts else n + 1 - culverts
        add(kind, None, f"{names.community(cells[home].community)[0][:2]}{number_here}号{word}", cells[home].centre, "", 0)
    return devices, levels


def _courses(total: int) -> list[list[tuple[float, float]]]:
    """Places of the river stations on a unit square, upstream first: a main stem and three tributaries."""
    counts = _shares(np.array([0.4, 0.2, 0.2, 0.2]), total, at_least=1)
    ends = (((0.06, 0.55), (0.94, 0.45)), ((0.28, 0.9), (0.42, 0.6)), ((0.72, 0.92), (0.62, 0.55)), ((0.36, 0.1), (0.52, 0.42)))
    courses = []
    for number, (count, ((x0, y0), (x1, y1))) in enumerate(zip(counts, ends, strict=True)):
        along = np.linspace(0, 1, count)
        meander = 0.05 * np.sin(2.5 * np.pi * along + number)
        courses.append([(float(x0 + (x1 - x0) * s), float(y0 + (y1 - y0) * s + m)) for s, m in zip(along, meander, strict=True)])
    return courses


def _nearest_free(cells: list[Cell], at: tuple[float, float], taken: set[int]) -> int:
    """The cell nearest to a place that holds no station yet. Places are on the unit square or in degrees."""
    centres = np.array([cell.centre for cell in cells])
    low, high = centres.min(axis=0), centres.max(axis=0)
    place = np.array(at) if at[0] > 1 else low + np.array(at) * (high - low)
    for home in np.argsort(((centres - place) ** 2).sum(axis=1), kind="stable"):
        if int(home) not in taken:
            taken.add(int(home))
            return int(home)
    raise ValueError(f"stations: more than the {len(cells)} cells can hold; ask for fewer")


def _marks(rng: np.random.Generator, kind: str) -> Row:
    """Warning < guaranteed < highest recorded, in metres above the datum."""
    _, warning, guaranteed, highest, spread = _LEVELS[kind]
    shift = float(rng.uniform(-spread, spread))
    return {
        "datum_m": "0.000",
        "warning_m": f"{warning + shift:.2f}",
        "guaranteed_m": f"{guaranteed + shift:.2f}",
        "highest_m": f"{highest + shift:.2f}",
    }


def _rain_gauges(rng: np.random.Generator, cells: list[Cell], codes: list[str]) -> list[Row]:
    """One gauge in the middle of each street."""
    rows = []
    for street in range(1 + max(cell.street for cell in cells)):
        inside = [i for i, cell in enumerate(cells) if cell.street == street]
        home = inside[len(inside) // 2]
        row = _device(rng, f"RG-{street + 1:02d}", "rain", "雨量站", cells[home], codes[home], "RG-02", RAIN_INTERVAL_S)
        rows.append(row | {"owner_unit": "U-FLOOD", "maintainer_unit": "U-MAINT"})
    return rows


def _device(
    rng: np.random.Generator, code: str, kind: str, word: str, cell: Cell, cell_code: str, model: str, interval_s: int
) -> Row:
    """A row of devices.csv, standing near the middle of its cell and so surely inside."""
    east, north = rng.uniform(-0.0007, 0.0007, 2)
    return {
        "code": code,
        "kind": kind,
        "name": f"{word}{code.split('-')[1]}" if word else "",
        "cell": cell_code,
        "lon": f"{cell.centre[0] + east:.6f}",
        "lat": f"{cell.centre[1] + north:.6f}",
        "model": model,
        "owner_unit": "",
        "maintainer_unit": "",
        "gateway": "",
        "expected_interval_s": str(interval_s),
        "address": f"{names.street(cell.street)[0]}{names.community(cell.community)[0]}网格{cell_code[-3:]}",
    }
