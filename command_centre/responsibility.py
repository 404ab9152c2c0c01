"""Which entry of the responsibility list (职责清单) has a matter, and why the others do not.

Read category first, place second: what it is decides which trade (gas is the gas company's wherever it leaks),
where it is decides which crew of that trade.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from city.directory import Directory, Place
from city.responsibilities import ResponsibilityList, above, in_force, withdrawn
from city.units import Responsibility

Verdict = Literal["wins", "unit_inactive", "shorter_category", "larger_place", "not_in_force"]


def ranked(
    category: str, places: Sequence[Place], entries: Sequence[Responsibility], at: datetime
) -> list[Responsibility]:
    """The entries that cover the matter and hold at ``at``: longest category first, then smallest place.

    ``places`` are those of its cell, the cell first; the whole district comes after them. A ResponsibilityList
    is looked up, any other sequence walked through.
    """
    codes = above(category)
    if not isinstance(entries, ResponsibilityList):
        entries = ResponsibilityList(entry for entry in entries if entry.category in codes)
    areas = [*(place.area_id for place in places), None]
    return [
        entry for code in codes for area in areas for entry in entries.of(code, area) if in_force(entry, at)
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Considered:
    """An entry that names the matter's category and place, and what became of it, in both languages."""

    entry: Responsibility
    verdict: Verdict
    reason: str
    reason_en: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Reasoning:
    """``considered`` in the order in which they would win; ``elsewhere`` counts the entries for other places."""

    winner: Responsibility | None
    considered: tuple[Considered, ...]
    elsewhere: int


def reasoning(
    category: str,
    places: Sequence[Place],
    entries: ResponsibilityList,
    directory: Directory,
    at: datetime,
) -> Reasoning:
    """Who the list names for the matter at ``at``, and why each other entry that covers it does not win."""
    codes = above(category)
    areas = [*(place.area_id for place in places), None]
    covering = [
        entry for code in codes for area in areas for entry in entries.of(code, area) if not withdrawn(entry)
    ]
    winner = next(
        (entry for entry in covering if in_force(entry, at) and entry.unit_id in directory.active), None
    )
    named, known = set(codes), set(areas)
    return Reasoning(
        winner=winner,
        considered=tuple(_considered(entry, winner, places, directory, at) for entry in covering),
        elsewhere=sum(
            entry.category in named and entry.area_id not in known and in_force(entry, at)
            for entry in entries
        ),
    )


def _considered(
    entry: Responsibility,
    winner: Responsibility | None,
    places: Sequence[Place],
    directory: Directory,
    at: datetime,
) -> Considered:
    unit = directory.units.get(entry.unit_id)
    name, name_en = (unit.name, unit.name_en or unit.name) if unit else ("?", "?")
    place, place_en = place_names(entry, places)
    if not in_force(entry, at):
        begins = entry.valid_from is not None and entry.valid_from > at
        when = entry.valid_from if begins else entry.valid_to
        day = when.astimezone(directory.zone).strftime("%Y-%m-%d %H:%M") if when else ""
        verdict: Verdict = "not_in_force"
        said = (f"{day}起才生效", f"begins {day}") if begins else (f"{day}已失效", f"ended {day}")
    elif entry is winner:
        verdict = "wins"
        said = (
            f"{entry.category} × {place}最具体，由{name}主办",
            f"{entry.category} x {place_en} is the most specific; {name_en} leads",
        )
    elif entry.unit_id not in directory.active:
        verdict = "unit_inactive"
        said = (f"{name}已停用，跳过", f"passed over: {name_en} no longer works")
    elif winner is not None and winner.category != entry.category:
        verdict = "shorter_category"
        said = (
            f"类别{winner.category}比{entry.category}更具体，先看类别",
            f"{winner.category} is more specific than {entry.category}; the category is read first",
        )
    else:
        verdict = "larger_place"
        other, other_en = place_names(winner, places) if winner else ("", "")
        said = (
            f"类别相同，{other}比{place}范围更小",
            f"same category, and {other_en} is a smaller place than {place_en}",
        )
    return Considered(entry=entry, verdict=verdict, reason=said[0], reason_en=said[1])


def place_names(entry: Responsibility, places: Sequence[Place]) -> tuple[str, str]:
    """Chinese and English; the whole district when it names no place among these."""
    for place in places:
        if place.area_id == entry.area_id:
            return place.name, place.name_en or place.name
    return "全区", "the whole district"
