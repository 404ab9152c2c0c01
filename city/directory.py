"""The directory of dispatch: which places contain a cell, which units answer for what, and the working calendar.

Read from the database as a whole (``city.storage.directory``), then only looked at: decisions about it are pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from city.alarms import IncidentClass
from city.units import Category, Responsibility, Unit


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """An area around a cell, or the cell itself."""

    area_id: int
    layer: str
    code: str
    name: str
    name_en: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Directory:
    """``places`` leads from a cell's id to its places, the cell first and the district last.

    ``units`` holds those that no longer work too; ``active`` says who does. ``join_minutes`` names only the
    categories that differ from triage's own window. ``version`` is the register's when this was read.
    """

    version: int
    district_code: str
    zone: ZoneInfo
    places: Mapping[int, Sequence[Place]]
    categories: Mapping[str, Category]
    join_minutes: Mapping[str, int]
    units: Mapping[int, Unit]
    active: frozenset[int]
    responsibilities: Sequence[Responsibility]
    calendar: Mapping[date, bool]  # overrides of the holiday calendar: True is a working day

    def category(self, code: str) -> Category | None:
        """The category itself or the nearest one above it in the catalogue."""
        while code:
            if code in self.categories:
                return self.categories[code]
            code = code.rpartition(".")[0]
        return None

    def class_of(self, code: str) -> IncidentClass:
        """The catalogue's class; an unknown category is taken for B rather than forgotten among C."""
        known = self.category(code)
        return known.incident_class if known else "B"

    def unit_by_code(self, code: str) -> Unit | None:
        """A working unit by its code."""
        for unit in self.units.values():
            if unit.code == code and unit.id in self.active:
                return unit
        return None
