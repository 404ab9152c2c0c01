"""Who sees which value: by place, by unit, and whether one is of the staff.

Pure. A screen looks through a ``Sight``; every value and event carries a ``Mark`` that says where it is and whose.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any, Literal

Row = Mapping[str, Any]

TOPICS = ("district", "cell", "incident", "counts", "drill", "station", "online", "health")
ON_REQUEST = ("alarm",)  # thousands of rows that only a desk's list wants
# What strangers hear of: numbers of incidents and alarms, which the wall counts and sounds for. Drafted warnings and
# proposed response levels are the desk's own business until they are issued.
OPEN_EVENTS = ("incident.", "alarm.", "drill.", "district.")

Audience = Literal["public", "staff"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """``cell`` None = nowhere known; ``units`` None = of no unit in particular; ``general`` = the whole district's."""

    cell: str | None = None
    units: frozenset[str] | None = None
    general: bool = False


GENERAL = Mark(general=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """What one kind of screen asks for and may see.

    ``scope`` is an area's code, None the whole district. ``unit`` restricts incidents and what follows from them to
    those that the unit leads or helps with.
    """

    audience: Audience = "public"
    scope: str | None = None
    unit: str | None = None
    topics: tuple[str, ...] = TOPICS

    def narrowed(self) -> bool:
        """Whether counts differ from the district's."""
        return self.scope is not None or self.unit is not None


WALL = Sight()


@dataclass(frozen=True, kw_only=True, slots=True)
class Lens:
    """A sight with the cells of its scope looked up; ``cells`` None = everywhere."""

    unit: str | None
    cells: frozenset[str] | None

    def sees(self, mark: Mark) -> bool:
        """Whether this value or event is for this screen."""
        if self.cells is not None and not mark.general and mark.cell not in self.cells:
            return False
        return self.unit is None or mark.units is None or self.unit in mark.units


EVERYTHING = Lens(unit=None, cells=None)


def mark_of(row: Row | None) -> Mark:
    """Where an incident or alarm is and whose; of None, an object that is not known, nobody's and nowhere."""
    if row is None:
        return Mark(units=frozenset())
    units = {row.get("unit"), *(row.get("co_units") or ())} - {None}
    return Mark(cell=row.get("cell"), units=frozenset(str(unit) for unit in units))


def public_incident(row: Row) -> dict[str, Any]:
    """An incident as strangers see it: without the reason once it is somebody's, since that may be typed by a person.

    In the unassigned lane the reason is the centre's own words, and the wall shows them.
    """
    hidden = {} if row["unit"] is None else {"reason": "", "reason_en": ""}
    return {**row, **hidden}


def public_event(kind: str) -> bool:
    """Whether strangers hear of it."""
    return kind.startswith(OPEN_EVENTS)


def wanted_topics(asked: str | None) -> tuple[str, ...] | None:
    """The topics of ``topics=a,b`` in our order; None for one that does not exist. Nothing asked = the usual ones."""
    if not asked:
        return TOPICS
    named: Set[str] = {part.strip() for part in asked.split(",") if part.strip()}
    known = (*TOPICS, *ON_REQUEST)
    return tuple(one for one in known if one in named) if named and named <= set(known) else None


def cells_within(scope: str, parents: Mapping[str, tuple[str, ...]]) -> frozenset[str] | None:
    """Cells inside an area of that code, the cell itself too; None when there is no such area.

    ``parents`` lists each cell with its community's and street's codes.
    """
    inside = frozenset(cell for cell, above in parents.items() if scope == cell or scope in above)
    return inside or None
