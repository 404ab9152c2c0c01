"""The devices a scenario plays, read from a configuration folder; no link to how the product reads it."""

import csv
import tomllib
import zlib
from dataclasses import dataclass
from pathlib import Path

# What a working device of a kind does when its row says nothing, in seconds.
_DEFAULT_INTERVAL_S = {"smoke": 300.0, "camera": 60.0, "water": 60.0, "gateway": 60.0, "rain": 300.0}


class FolderError(Exception):
    """A configuration folder that cannot be played: file, line, value and remedy."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """One thing that transmits. Levels are metres above the station's datum, None where the row has none."""

    code: str
    kind: str
    cell: str
    lon: float
    lat: float
    gateway: str
    interval_s: float
    station_kind: str = ""
    warning_m: float | None = None
    guaranteed_m: float | None = None
    upstream: str = ""
    travel_min: float = 0.0

    @property
    def salt(self) -> int:
        """A number of its own that is the same in every run, from which its habits follow."""
        return zlib.crc32(self.code.encode())

    @property
    def topic(self) -> str:
        """The native topic it publishes to."""
        return f"city/{self.cell}/{self.kind}/{self.code}"


def read_fleet(folder: Path) -> list[Device]:
    """Every device of the folder that has a kind we can play and a cell, in the file's order.

    Raises FolderError when a file is missing or a number cannot be read.
    """
    intervals = _DEFAULT_INTERVAL_S | _kind_intervals(folder / "kinds.toml")
    stations = {row["code"]: row for _, row in _rows(folder / "stations.csv", required=False)}
    fleet = []
    for line, row in _rows(folder / "devices.csv", required=True):
        if row.get("kind") not in _DEFAULT_INTERVAL_S or not row.get("cell"):
            continue
        try:
            fleet.append(_device(row, stations.get(row["code"], {}), intervals))
        except (KeyError, ValueError) as error:
            raise FolderError(
                f"{folder / 'devices.csv'} line {line}, device {row.get('code')!r}: {error}; "
                "correct the row there or in stations.csv"
            ) from error
    if not fleet:
        raise FolderError(
            f"{folder / 'devices.csv'}: no device to play; kinds are {', '.join(_DEFAULT_INTERVAL_S)}"
        )
    return fleet


def _rows(path: Path, *, required: bool) -> list[tuple[int, dict[str, str]]]:
    """Rows with their line numbers; an optional file that is absent has none."""
    if not path.exists():
        if required:
            raise FolderError(f"{path}: missing; write the folder with `city export` or unset CITY_CONFIG")
        return []
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, restval="")
        return [(reader.line_num, row) for row in reader]


def _kind_intervals(path: Path) -> dict[str, float]:
    if not path.exists():
        return {}
    kinds = tomllib.loads(path.read_text(encoding="utf-8")).get("kind", {})
    return {
        name: float(kind["expected_interval_s"])
        for name, kind in kinds.items()
        if "expected_interval_s" in kind
    }


def _device(row: dict[str, str], station: dict[str, str], intervals: dict[str, float]) -> Device:
    return Device(
        code=row["code"],
        kind=row["kind"],
        cell=row["cell"],
        lon=float(row.get("lon") or 0),
        lat=float(row.get("lat") or 0),
        gateway=row.get("gateway", ""),
        interval_s=max(1.0, float(row.get("expected_interval_s") or intervals[row["kind"]])),
        station_kind=station.get("station_kind", ""),
        warning_m=_metres(station, "warning_m"),
        guaranteed_m=_metres(station, "guaranteed_m"),
        upstream=station.get("upstream", "").split(";")[0].strip(),  # the first: its wave is routed
        travel_min=float(station.get("travel_min", "").split(";")[0].strip() or 0),
    )


def _metres(station: dict[str, str], name: str) -> float | None:
    return float(station[name]) if station.get(name) else None
