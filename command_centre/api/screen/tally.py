"""What one scope or one unit counts: open incidents by class, devices by kind.

Pure. Kept up by adding and taking away single incidents, so that twenty scopes cost twenty additions and not twenty
passes over everything.
"""

from collections.abc import Mapping
from typing import Any

from command_centre.api.screen.sight import Lens, Mark

Row = Mapping[str, Any]
Sums = dict[str, Any]

NOTHING = {"total": 0, "online": 0, "never": 0, "unclaimed": 0}
_NAMES = ("A", "B", "C", "unassigned", "unacknowledged", "total", "exercise")


class Tally:
    """Counts of open incidents that a lens sees; exercise is counted apart."""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self.counts = dict.fromkeys(_NAMES, 0)

    def add(self, incident: Row, mark: Mark, sign: int) -> bool:
        """One incident comes (1) or goes (-1); False when it is not seen here."""
        if not self.lens.sees(mark):
            return False
        if incident["exercise"]:
            self.counts["exercise"] += sign
            return True
        self.counts[incident["class"]] += sign
        self.counts["total"] += sign
        self.counts["unassigned"] += sign * (incident["unit"] is None)
        self.counts["unacknowledged"] += sign * (incident["acknowledged_at"] is None)
        return True


def online(rows: list[Row], lens: Lens) -> dict[str, Sums]:
    """Devices by kind, of the cells that the lens sees: total, online, offline, never, and the kind's names."""
    kinds: dict[str, Sums] = {}
    for row in rows:
        if lens.cells is not None and row["cell"] not in lens.cells:
            continue
        named = {"kind": row["kind"], "name": row["name"], "name_en": row["name_en"] or row["kind"]}
        add(kinds.setdefault(row["kind"], {**named, **NOTHING}), row)
    for kind in kinds.values():
        del kind["unclaimed"]
        kind["offline"] = kind["total"] - kind["online"] - kind["never"]
    return kinds


def silent(rows: list[Row], lens: Lens) -> dict[str, int]:
    """Standing alarms nobody is sent to, by ISA-18.2 state, of the cells that the lens sees."""
    found = {"SHLVD": 0, "DSUPR": 0, "OOSRV": 0}
    for row in rows:
        if lens.cells is None or row["cell"] in lens.cells:
            found[row["state"]] += row["alarms"]
    return found


def add(sums: Sums, row: Row) -> None:
    """Add a row's devices to a sum."""
    for name in NOTHING:
        sums[name] += row[name]
