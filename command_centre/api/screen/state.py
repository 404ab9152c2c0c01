"""What every screen shows now, derived from rows of the tables and staged into the log.

No input or output: rows come in as ``city.storage.screen`` returns them, topics go out as
docs/screen-protocol.md names them. Cells and counts follow from presence and open incidents. Counts of a scope or a
unit stand in the log under a topic of their own, ``counts 3`` for the third tally; ``views`` gives them their name.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from city.stations import StationForecast
from command_centre.api.screen.log import ScreenLog
from command_centre.api.screen.sight import EVERYTHING, Lens, Mark, mark_of, public_incident
from command_centre.api.screen.tally import NOTHING, Tally, add, online, silent
from command_centre.flood.stations import live

Row = Mapping[str, Any]


class DistrictState:
    """Keeps what cells and counts are derived from; stages only what changed."""

    def __init__(self, log: ScreenLog) -> None:
        self._log = log
        self._centres: dict[str, tuple[float, float] | None] = {}
        self._cell_devices: dict[str, dict[str, int]] = {}
        self._presence: list[Row] = []
        self._silent: list[Row] = []
        self._incidents: dict[int, dict[str, Any]] = {}
        self._in_cell: dict[str, set[int]] = {}
        self._tallies: dict[str, Tally] = {"": Tally(EVERYTHING)}
        self.parents: dict[str, tuple[str, ...]] = {}
        self.unclaimed = 0
        self.response_level: str | None = None

    def set_cells(self, rows: Iterable[Row]) -> None:
        """All valid cells; those that are no longer in the list leave the screens."""
        rows = list(rows)
        self._centres = {row["code"]: centre_of(row["geometry"]) for row in rows}
        self.parents = {row["code"]: tuple(row.get("within") or ()) for row in rows}
        for code in self._log.staged_keys("cell") - set(self._centres):
            self._log.stage("cell", code, None)
        for code in self._centres:
            self._stage_cell(code)

    def set_presence(self, rows: Iterable[Row]) -> None:
        """Devices by cell and kind: the online topic, and how many of each cell's devices are there."""
        self._presence = list(rows)
        cells: dict[str, dict[str, int]] = {}
        self.unclaimed = 0
        for row in self._presence:
            self.unclaimed += row["unclaimed"]
            if row["cell"] is not None:
                add(cells.setdefault(row["cell"], dict(NOTHING)), row)
        self._cell_devices = cells
        for name, tally in self._tallies.items():
            self._log.stage_topic(_topic("online", name), online(self._presence, tally.lens))
        for code in self._centres:
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
        for name, tally in self._tallies.items():
            self._log.stage(_topic("counts", name), "open", dict(tally.counts))

    def set_silent(self, rows: Iterable[Row]) -> None:
        """Standing alarms that nobody is sent to: how many of each ISA-18.2 state in each cell."""
        self._silent = list(rows)
        for name, tally in self._tallies.items():
            self._log.stage(_topic("counts", name), "silent", silent(self._silent, tally.lens))

    def set_drills(self, rows: Iterable[Row]) -> None:
        """Drills that run."""
        self._log.stage_topic("drill", {str(row["id"]): dict(row) for row in rows})

    def set_stations(self, rows: Iterable[Row], forecasts: Mapping[str, StationForecast]) -> None:
        """Stations with their newest level and, by code, what is forecast for them."""
        shown: dict[str, object] = {}
        marks: dict[str, Mark] = {}
        for row in rows:
            shown[row["code"]] = live(row, forecasts.get(row["code"]))
            marks[row["code"]] = Mark(cell=row["cell"])
        self._log.stage_topic("station", shown, marks)

    def set_district(self, row: Row | None) -> None:
        """Name, zone and response level; before the first import a district without a name."""
        unnamed = {"code": "", "name": "", "name_en": "", "timezone": "Asia/Shanghai", "response_level": None}
        self.response_level = row["response_level"] if row else None
        self._log.stage("district", "info", dict(row) if row else unnamed)

    def set_health(self, health: Mapping[str, object]) -> None:
        """What is wrong with ourselves; see ``health``."""
        self._log.stage("health", "system", {**health, "unclaimed": self.unclaimed})

    def count_for(self, name: str, lens: Lens) -> None:
        """Keep counts for a scope or unit under ``name`` from now on."""
        tally = Tally(lens)
        for incident in self._incidents.values():
            tally.add(incident, mark_of(incident), 1)
        self._tallies[name] = tally
        self._log.stage(_topic("counts", name), "open", dict(tally.counts))
        self._log.stage(_topic("counts", name), "silent", silent(self._silent, lens))
        self._log.stage_topic(_topic("online", name), online(self._presence, lens))

    def stop_counting(self, name: str) -> None:
        """Nobody looks at these counts any more."""
        self._tallies.pop(name, None)
        for topic in ("counts", "online"):
            self._log.forget(_topic(topic, name))

    def counting(self) -> set[str]:
        """Names that counts are kept for, the district's own "" among them."""
        return set(self._tallies)

    def _hold(self, row: Row) -> set[str]:
        touched = self._take_out(row["id"])
        shown = {key: value for key, value in row.items() if key != "closed_at"}
        centre = self._centres.get(row["cell"] or "")
        if shown["lon"] is None and centre is not None:
            shown["lon"], shown["lat"] = centre
        mark = mark_of(shown)
        self._incidents[row["id"]] = shown
        self._log.stage("incident", str(row["id"]), shown, mark, public=public_incident(shown))
        for tally in self._tallies.values():
            tally.add(shown, mark, 1)
        if row["cell"]:
            self._in_cell.setdefault(row["cell"], set()).add(row["id"])
            touched.add(row["cell"])
        return touched

    def _forget(self, incident_id: int) -> set[str]:
        touched = self._take_out(incident_id)
        self._log.stage("incident", str(incident_id), None)
        return touched

    def _take_out(self, incident_id: int) -> set[str]:
        held = self._incidents.pop(incident_id, None)
        if held is None:
            return set()
        mark = mark_of(held)
        for tally in self._tallies.values():
            tally.add(held, mark, -1)
        if not held["cell"]:
            return set()
        self._in_cell.get(held["cell"], set()).discard(incident_id)
        return {held["cell"]}

    def _stage_cell(self, code: str) -> None:
        if code not in self._centres:
            return
        devices = self._cell_devices.get(code, NOTHING)
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
            Mark(cell=code),
        )


def centre_of(geometry: Row | None) -> tuple[float, float] | None:
    """Middle of the box around a GeoJSON (Multi)Polygon's first ring: where a symbol may stand."""
    if not geometry or not geometry.get("coordinates"):
        return None
    ring = geometry["coordinates"][0]
    if geometry.get("type") == "MultiPolygon":
        ring = ring[0]
    longitudes, latitudes = [point[0] for point in ring], [point[1] for point in ring]
    return (min(longitudes) + max(longitudes)) / 2, (min(latitudes) + max(latitudes)) / 2


def _topic(topic: str, name: str) -> str:
    return f"{topic} {name}" if name else topic
