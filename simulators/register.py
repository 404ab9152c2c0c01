"""What stands on the generated ground: detectors behind gateways, cameras, water stations, rain gauges.

Ground goes in; rows of ``devices.csv``, ``stations.csv`` and ``station_series.csv`` come out, as text ready to
be written.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from simulators import names
from simulators.ground import Cell, Floats

Row: TypeAlias = dict[str, str]

CHILDREN = 40  # detectors a gateway serves, about; 20 to 60 are usual

# kind of device: word before its number, model, expected interval in seconds
_KINDS = {
    "gateway": ("烟感网关", "GW-LoRa-8", 60),
    "smoke": ("烟感", "SD-3", 60),
    "camera": ("摄像头", "IPC-4K", 60),
    "water": ("水位站", "RL-80G", 60),
    "rain": ("雨量站", "RG-02", 300),
}
# station kind: warning, guaranteed, highest in metres above the datum, and how far they vary together
_LEVELS = {
    "river": (2.9, 3.7, 4.4, 0.5),
    "culvert": (1.2, 1.6, 2.0, 0.2),
    "underpass": (0.15, 0.27, 0.55, 0.03),
    "road": (0.15, 0.27, 0.5, 0.03),
    "reservoir": (27.0, 28.5, 29.4, 0.2),
}


@dataclass(frozen=True, kw_only=True)
class Register:
    """All rows of the three files, in the order they are written: what others refer to comes before them."""

    devices: list[Row]
    stations: list[Row]
    series: list[Row]


def furnish(
    rng: np.random.Generator, cells: list[Cell], codes: list[str], *, smoke: int, cameras: int, stations: int
) -> Register:
    """Put devices into the cells, densest in the middle. `codes` are the cells' codes in the same order.

    Raises ValueError when the numbers do not fit the ground: each community's gateway must have detectors to
    serve, and no cell holds two water stations.
    """
    communities = 1 + max(cell.community for cell in cells)
    if smoke < 40 * communities:
        raise ValueError(
            f"smoke={smoke}: {communities} communities need at least {40 * communities} detectors"
        )
    if not 8 <= stations <= len(cells):
        raise ValueError(f"stations={stations}: between 8 and the number of cells, {len(cells)}")
    site = _Site(rng=rng, cells=cells, codes=codes, density=_density(rng, cells))
    devices = _detectors(site, smoke) + _cameras(site, cameras)
    water, levels = _stations(site, stations)
    gauges = _rain_gauges(site)
    series = _rain_of(water, gauges)
    return Register(devices=devices + water + gauges, stations=levels, series=series)


@dataclass(kw_only=True)
class _Site:
    """The ground being furnished; `density` says how built-up each cell is and sums to 1."""

    rng: np.random.Generator
    cells: list[Cell]
    codes: list[str]
    density: Floats
    wet: set[int] = field(default_factory=set)  # cells that hold a water station

    def device(self, code: str, kind: str, home: int) -> Row:
        """A row of devices.csv, standing near the middle of its cell and so surely inside."""
        word, model, interval_s = _KINDS[kind]
        cell = self.cells[home]
        east, north = self.rng.uniform(-0.0007, 0.0007, 2)
        place = names.street(cell.street)[0] + names.community(cell.community)[0]
        return {
            "code": code,
            "kind": kind,
            "name": f"{word}{code.split('-')[1]}",
            "cell": self.codes[home],
            "lon": f"{cell.centre[0] + east:.6f}",
            "lat": f"{cell.centre[1] + north:.6f}",
            "model": model,
            "owner_unit": "",
            "maintainer_unit": "U-MAINT",
            "gateway": "",
            "expected_interval_s": str(interval_s),
            "address": f"{place}第{int(self.codes[home][-3:])}网格",
        }

    def dry_cell(self, at: tuple[float, float]) -> int:
        """The cell nearest to a place on the unit square that holds no station yet; it does from now on."""
        centres = np.array([cell.centre for cell in self.cells])
        low, high = centres.min(axis=0), centres.max(axis=0)
        away = ((centres - low - np.array(at) * (high - low)) ** 2).sum(axis=1)
        home = next(int(i) for i in np.argsort(away, kind="stable") if int(i) not in self.wet)
        self.wet.add(home)
        return home


def _density(rng: np.random.Generator, cells: list[Cell]) -> Floats:
    centres = np.array([cell.centre for cell in cells])
    away = np.hypot(*(centres - centres.mean(axis=0)).T)
    weight = np.exp(-((away / (0.7 * away.max())) ** 2)) * rng.uniform(0.5, 1.5, len(cells)) + 0.15
    return np.asarray(weight / weight.sum(), dtype=np.float64)


def _shares(weight: Floats, total: int, at_least: int) -> list[int]:
    """Whole numbers proportional to the weights that sum to `total` (largest remainders)."""
    exact = weight * (total - at_least * len(weight))
    counts = np.floor(exact).astype(int)
    missing = total - at_least * len(weight) - int(counts.sum())
    for i in np.argsort(counts - exact, kind="stable")[:missing]:
        counts[i] += 1
    return [int(n) + at_least for n in counts]


def _detectors(site: _Site, total: int) -> list[Row]:
    """Each neighbourhood's gateway, then the detectors that speak through it."""
    counts = _shares(site.density, total, at_least=max(1, total // (3 * len(site.cells))))
    rows: list[Row] = []
    gateways = detectors = 0
    for community in range(1 + max(cell.community for cell in site.cells)):
        inside = [i for i, cell in enumerate(site.cells) if cell.community == community]
        homes = [i for i in inside for _ in range(counts[i])]
        for children in np.array_split(homes, max(1, round(len(homes) / CHILDREN))):
            gateways += 1
            gateway = f"GW-{gateways:03d}"
            rows.append(site.device(gateway, "gateway", int(children[len(children) // 2])))
            for home in children:
                detectors += 1
                rows.append(site.device(f"SM-{detectors:05d}", "smoke", int(home)) | {"gateway": gateway})
    return rows


def _cameras(site: _Site, total: int) -> list[Row]:
    """One camera in as many cells as there are cameras, the densest most surely; further rounds when more."""
    rows: list[Row] = []
    while len(rows) < total:
        count = min(total - len(rows), len(site.cells))
        for home in np.sort(site.rng.choice(len(site.cells), count, replace=False, p=site.density)):
            row = site.device(f"CAM-{len(rows) + 1:03d}", "camera", int(home))
            rows.append(row | {"owner_unit": "U-POLICE"})
    return rows


def _stations(site: _Site, total: int) -> tuple[list[Row], list[Row]]:
    """A reservoir and the rivers below it (two fifths of all), then culverts, underpasses and roads."""
    devices: list[Row] = []
    levels: list[Row] = []

    def add(home: int, station: Row, name: str, owner: str) -> str:
        code = f"WL-{len(devices) + 1:02d}"
        devices.append(site.device(code, "water", home) | {"name": name, "owner_unit": owner})
        levels.append({"code": code} | station)
        return code

    courses = _courses(total * 2 // 5)
    river = names.RIVERS[0][0]
    start = site.dry_cell(courses[0][0])
    head = add(start, _station(site.rng, "reservoir", river, 38.0), names.RESERVOIR[0], "U-RESERVOIR")
    for number, course in enumerate(courses):
        river = names.RIVERS[number][0]
        upstream = head if number == 0 else ""
        for step, at in enumerate(course, start=1):
            datum = 31.0 - 0.9 * step  # downhill along the course
            station = _station(site.rng, "river", river, datum)
            if upstream:
                station |= {"upstream": upstream, "travel_min": str(int(site.rng.integers(6, 14)))}
            upstream = add(site.dry_cell(at), station, f"{river}{step}号水位站", "U-FLOOD")
        if number > 0:
            _join(levels[1 : 1 + len(courses[0])], courses[0], levels[-1], course[-1])
    culverts = total // 3
    roads = (total - len(devices) - culverts) // 4
    dry = [i for i in range(len(site.cells)) if i not in site.wet]
    homes = site.rng.choice(dry, total - len(devices), replace=False)
    kinds = [("culvert", "涵洞", n) for n in range(culverts)]
    kinds += [("underpass", "下穿通道", n) for n in range(len(homes) - culverts - roads)]
    kinds += [("road", "道路积水点", n) for n in range(roads)]
    for home, (kind, word, number) in zip(homes, kinds, strict=True):
        place = names.community(site.cells[home].community)[0].removesuffix("社区")
        station = _station(site.rng, kind, "", float(site.rng.uniform(16, 30)))
        add(int(home), station, f"{place}{number + 1}号{word}", "U-DRAIN")
    return devices, levels


def _join(
    stem: list[Row], places: list[tuple[float, float]], tributary: Row, mouth: tuple[float, float]
) -> None:
    """Let the first station of the main stem east of a tributary's mouth, and below it, have it upstream too."""
    for row, (east, _) in zip(stem, places, strict=True):
        if east > mouth[0] and row["upstream"] and float(row["datum_m"]) < float(tributary["datum_m"]):
            row["upstream"] += f";{tributary['code']}"
            row["travel_min"] += ";8"
            return


def _station(rng: np.random.Generator, kind: str, river: str, datum: float) -> Row:
    """Datum in metres above the sea; warning < guaranteed < highest recorded < bank in metres above the datum."""
    warning, guaranteed, highest, spread = _LEVELS[kind]
    shift = float(rng.uniform(-spread, spread))
    banked = kind in ("river", "reservoir")
    return {
        "station_kind": kind,
        "river": river,
        "datum_m": f"{datum:.3f}",
        "zero_m": "0.00" if banked else "",
        "warning_m": f"{warning + shift:.2f}",
        "guaranteed_m": f"{guaranteed + shift:.2f}",
        "highest_m": f"{highest + shift:.2f}",
        "bank_m": f"{highest + shift + 0.6:.2f}" if banked else "",
        "upstream": "",
        "travel_min": "",
    }


def _courses(total: int) -> list[list[tuple[float, float]]]:
    """Places of the river stations on a unit square, upstream first: a main stem and three tributaries."""
    counts = _shares(np.array([0.4, 0.2, 0.2, 0.2]), max(total, 4), at_least=1)
    ends = (
        ((0.06, 0.55), (0.94, 0.45)),
        ((0.28, 0.9), (0.42, 0.6)),
        ((0.72, 0.92), (0.62, 0.55)),
        ((0.36, 0.1), (0.52, 0.42)),
    )
    courses = []
    for number, (count, ((x0, y0), (x1, y1))) in enumerate(zip(counts, ends, strict=True)):
        along = [float(s) for s in np.linspace(0, 1, count)]
        bends = [0.05 * float(np.sin(2.5 * np.pi * s + number)) for s in along]
        courses.append(
            [(x0 + (x1 - x0) * s, y0 + (y1 - y0) * s + bend) for s, bend in zip(along, bends, strict=True)]
        )
    return courses


def _rain_gauges(site: _Site) -> list[Row]:
    """One gauge in the middle of each street."""
    rows = []
    for street in range(1 + max(cell.street for cell in site.cells)):
        inside = [i for i, cell in enumerate(site.cells) if cell.street == street]
        row = site.device(f"RG-{street + 1:02d}", "rain", inside[len(inside) // 2])
        rows.append(row | {"owner_unit": "U-FLOOD"})
    return rows


def _rain_of(water: list[Row], gauges: list[Row]) -> list[Row]:
    """Rows of station_series.csv: each station's rain is that of the gauge nearest to it."""
    places = np.array([[float(gauge["lon"]), float(gauge["lat"])] for gauge in gauges])
    rows = []
    for station in water:
        away = np.hypot(*(places - np.array([float(station["lon"]), float(station["lat"])])).T)
        gauge = gauges[int(np.argmin(away))]["code"]
        rows.append({"station": station["code"], "role": "rain", "device": gauge, "metric": "rain"})
    return rows
