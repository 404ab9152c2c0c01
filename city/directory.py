"""The directory of dispatch: which places contain a cell, which units answer for what and are there, the calendar.

Read from the database as a whole (``city.storage.directory``), then only looked at: decisions about it are pure.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from city.alarms import IncidentClass
from city.rosters import Duty, on_duty
from city.units import Category, Responsibility, Unit
from city.urging import DEFAULT, Ladder


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
    ``duty`` holds the units that keep a roster. ``open_work`` counts what units with a capacity work on, up to
    that capacity, and is read more often than the rest. ``nearest`` are categories whose sister stations stand in
    for each other.
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
    calendar_version: int = 0  # which deadlines that rest on it name
    urging: Ladder = DEFAULT  # who hears of a deadline, and when
    duty: Mapping[int, Duty] = field(default_factory=dict)
    open_work: Mapping[int, int] = field(default_factory=dict)
    nearest: frozenset[str] = frozenset()
    urge_after: timedelta = timedelta(minutes=5)  # CITY_URGE_AFTER_MINUTES: the built-in time to acknowledge
    _working: Mapping[str, Unit] = field(init=False, repr=False, compare=False)
    _stations: Mapping[str, tuple[Responsibility, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index what a decision looks up: units by code, and who is named for the nearest categories."""
        working = {unit.code: unit for unit in self.units.values() if unit.id in self.active}
        stations: dict[str, tuple[Responsibility, ...]] = {}
        for entry in self.responsibilities if self.nearest else ():
            if self.wants_nearest(entry.category):
                stations[entry.category] = (*stations.get(entry.category, ()), entry)
        object.__setattr__(self, "_working", working)
        object.__setattr__(self, "_stations", stations)

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
        return self._working.get(code)

    def on_duty(self, unit_id: int, at: datetime) -> bool:
        """By its roster and the calendar; a unit that keeps none always is."""
        return on_duty(self.duty.get(unit_id), at, self.calendar, self.zone)

    def wants_nearest(self, category: str) -> bool:
        """Whether the nearest sister station goes, whichever place it is listed for."""
        return any(category == prefix or category.startswith(prefix + ".") for prefix in self.nearest)

    def named_for(self, category: str) -> Sequence[Responsibility]:
        """Entries for exactly this one of the ``nearest`` categories, whatever their place and time."""
        return self._stations.get(category, ())

    def with_work(self, open_work: Mapping[int, int]) -> "Directory":
        """The same with other counts; what was indexed stays."""
        again = copy.copy(self)
        object.__setattr__(again, "open_work", open_work)
        return again

    def taken_by(self, unit_id: int) -> "Directory":
        """The same after one more matter for a unit: a batch's next decision counts it."""
        return self.with_work({**self.open_work, unit_id: self.open_work.get(unit_id, 0) + 1})
