"""What every screen shows now, derived from rows of the tables and staged into the log.

No input or output: rows come in as ``city.storage.screen`` returns them, topics go out as
docs/screen-protocol.md names them. Cells and counts follow from presence and open incidents.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from city.stations import StationForecast
from command_centre.api.screen.log import ScreenLog
from command_centre.flood.stations import live

Row = Mapping[str, Any]

INGEST_SILENT_S = 10.0  # ingest says it is alive every second or two
INGEST_LAGGING_S = 5.0  # readings wait longer than this before they are stored
_NOTHING = {"total": 0, "online": 0, "never": 0, "unclaimed": 0}


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """A cell on the map; ``centre`` is longitude, latitude, or None when only a topic named the cell."""

    code: str
    centre: tuple[float, float] | None


class DistrictState:
    """Keeps what cells and counts are derived from; stages only what changed."""

    def __init__(self, log: ScreenLog) -> None:
        self._log = log
        self._cells: dict[str, Cell] = {}
        self._cell_devices: dict[str, dict[str, int]] = {}
        self._incidents: dict[int, dict[str, Any]] = {}
        self._in_cell: dict[str, set[int]] = {}
        self.unclaimed = 0

    def set_cells(self, rows: Iterable[Row]) -> None:
        """All valid cells; those that are no longer in the list leave the screens."""
        self._cells = {row["code"]: Cell(code=row["code"], centre=centre_of(row["geometry"])) for row in rows}
        for code in self._log.staged_keys("cell") - set(self._cells):
            self._log.stage("cell", code, None)
        for code in self._cells:
            self._stage_cell(code)

    def set_presence(self, rows: Iterable[Row]) -> None:
        """Devices by cell and kind: the online topic, and how many of each cell's devices are there."""
        kinds: dict[str, dict[str, Any]] = {}
        cells: dict[str, dict[str, int]] = {}
        self.unclaimed = 0
        for row in rows:
            named = {"kind": row["kind"], "name": row["name"], "name_en": row["name_en"] or row["kind"]}
            _add(kinds.setdefault(row["kind"], {**named, **_NOTHING}), row)
            self.unclaimed += row["unclaimed"]
            if row["cell"] is not None:
                _add(cells.setdefault(row["cell"], dict(_NOTHING)), row)
        for kind in kinds.values():
            del kind["unclaimed"]
            kind["offline"] = kind["total"] - kind["online"] - kind["never"]
        self._log.stage_topic("online", kinds)
        self._cell_devices = cells
        for code in self._cells:
            self._stage_cell(code)

    def set_incidents(self, rows: Sequence[Row], *, every: bool) -> None:
        """Open, changed or closed incidents; ``every`` says that these are all the open ones."""
        touched: set[str] = set()
        if every:
            for gone in set(self._incidents) - {row["id"] for row in rows}:
                touched |= self._forget(gone)
        for row in rows:
            touched |= self._forget(row["id"]) if row["closed_at"] else self._hold(row)
        for code in touched:
            self._stage_cell(code)
        self._log.stage("counts", "open", self._counts())

    def set_silent(self, counts: Mapping[str, int]) -> None:
        """Standing alarms that nobody is sent to, by their ISA-18.2 state."""
        self._log.stage("counts", "silent", dict(counts))

    def set_drills(self, rows: Iterable[Row]) -> None:
        """Drills that run."""
        self._log.stage_topic("drill", {str(row["id"]): dict(row) for row in rows})

    def set_stations(self, rows: Iterable[Row], forecasts: Mapping[str, StationForecast]) -> None:
        """Stations with their newest level and, by code, what is forecast for them."""
        self._log.stage_topic("station", {row["code"]: live(row, forecasts.get(row["code"])) for row in rows})

    def set_district(self, row: Row | None) -> None:
        """Name, zone and response level; before the first import a district without a name."""
        unnamed = {"code": "", "name": "", "name_en": "", "timezone": "Asia/Shanghai", "response_level": None}
        self._log.stage("district", "info", dict(row) if row else unnamed)

    def set_health(self, health: Mapping[str, object]) -> None:
        """What is wrong with ourselves; see ``health``."""
        self._log.stage("health", "system", {**health, "unclaimed": self.unclaimed})

    def incident_class(self, incident_id: int) -> str | None:
        """Class of an open incident, for its events."""
        held = self._incidents.get(incident_id)
        return held["class"] if held else None

    def _hold(self, row: Row) -> set[str]:
        touched = self._forget_cell(row["id"])
        shown = {key: value for key, value in row.items() if key != "closed_at"}
        cell = self._cells.get(row["cell"] or "")
        if shown["lon"] is None and cell is not None and cell.centre is not None:
            shown["lon"], shown["lat"] = cell.centre
        self._incidents[row["id"]] = shown
        self._log.stage("incident", str(row["id"]), shown)
        if row["cell"]:
            self._in_cell.setdefault(row["cell"], set()).add(row["id"])
            touched.add(row["cell"])
        return touched

    def _forget(self, incident_id: int) -> set[str]:
        touched = self._forget_cell(incident_id)
        self._incidents.pop(incident_id, None)
        self._log.stage("incident", str(incident_id), None)
        return touched

    def _forget_cell(self, incident_id: int) -> set[str]:
        held = self._incidents.get(incident_id)
        if held is None or not held["cell"]:
            return set()
        self._in_cell.get(held["cell"], set()).discard(incident_id)
        return {held["cell"]}

    def _stage_cell(self, code: str) -> None:
        if code not in self._cells:
            return
        devices = self._cell_devices.get(code, _NOTHING)
        here = [self._incidents[i] for i in self._in_cell.get(code, ())]
        open_here = [incident for incident in here if not incident["exercise"]]
        state = "unset" if devices["total"] == 0 else "blind" if devices["online"] == 0 else "normal"
        self._log.stage(
            "cell",
            code,
            {
                "state": state,
                "class": min((incident["class"] for incident in open_here), default=None),
                "open": len(open_here),
                "exercise": len(here) - len(open_here),
                "devices": devices["total"],
                "online": devices["online"],
            },
        )

    def _counts(self) -> dict[str, int]:
        """Of what is real; exercise is counted apart."""
        counts = {"A": 0, "B": 0, "C": 0, "unassigned": 0, "unacknowledged": 0, "total": 0, "exercise": 0}
        for incident in self._incidents.values():
            if incident["exercise"]:
                counts["exercise"] += 1
                continue
            counts[incident["class"]] += 1
            counts["total"] += 1
            counts["unassigned"] += incident["unit"] is None
            counts["unacknowledged"] += incident["acknowledged_at"] is None
        return counts


def health(ingest: Row | None, refused: int) -> dict[str, object]:
    """Health of the chain as the last ingest session tells it; ``refused`` = quarantined in an hour."""
    figures: Mapping[str, Any] = ingest["figures"] if ingest else {}
    seen: datetime | None = ingest["alive_at"] if ingest else None
    silent = ingest is None or (ingest["now"] - ingest["alive_at"]).total_seconds() > INGEST_SILENT_S
    connected = bool(figures.get("broker_connected", ingest["listening"] if ingest else False))
    lag_s = float(figures["lag_ms"]) / 1000 if "lag_ms" in figures else None
    behind = lag_s is not None and lag_s > INGEST_LAGGING_S
    state = "down" if silent else "lagging" if behind or not connected else "ok"
    return {
        "ingest": state,
        "broker": "ok" if connected and not silent else "down",
        "database": "ok",
        "lag_s": lag_s,
        "ingest_seen_at": seen,
        "quarantined_1h": refused,
        "broker_dropped": int(figures.get("broker_dropped") or 0),
    }


def blind_health(last: Mapping[str, object]) -> dict[str, object]:
    """Health while the database does not answer: nothing else is known, and nothing unknown is green."""
    return {**last, "ingest": "down", "broker": "down", "database": "down", "lag_s": None}


def centre_of(geometry: Row | None) -> tuple[float, float] | None:
    """Middle of the box around a GeoJSON (Multi)Polygon's first ring: where a symbol may stand."""
    if not geometry or not geometry.get("coordinates"):
        return None
    ring = geometry["coordinates"][0]
    if geometry.get("type") == "MultiPolygon":
        ring = ring[0]
    longitudes, latitudes = [point[0] for point in ring], [point[1] for point in ring]
    return (min(longitudes) + max(longitudes)) / 2, (min(latitudes) + max(latitudes)) / 2


def _add(sums: dict[str, Any], row: Row) -> None:
    for name in _NOTHING:
        sums[name] += row[name]
