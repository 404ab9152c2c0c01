"""What the responsibility list leaves to nobody, and which of its entries can never win.

Cells are counted one by one and told as the largest places and the shortest categories that say the same. A set of
cells is one integer, a bit for each: a thousand leaves on thousands of cells are a thousand operations.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from city.directory import Directory, Place
from city.responsibilities import above, in_force
from city.units import Responsibility

EVERYTHING = ""  # the category above all others


@dataclass(frozen=True, kw_only=True, slots=True)
class Ground:
    """The district as sets of cells. ``depth`` is 0 for the outermost place; cells on no map are left out."""

    cells: Mapping[int, int]
    whole: int
    below: Mapping[int, Sequence[int]]
    depth: Mapping[int, int]
    outermost: Sequence[int]
    places: Mapping[int, Place]

    def of(self, area_id: int | None) -> int:
        """The cells of a place; 0 for one that has none."""
        return self.whole if area_id is None else self.cells.get(area_id, 0)

    def is_district(self, area_id: int | None) -> bool:
        """Whether it is no smaller place than the district itself."""
        return area_id is None or (area_id in self.places and self.places[area_id].layer == "district")

    def depth_of(self, area_id: int | None) -> int:
        """The deeper of two places that share a cell is the smaller one."""
        return -1 if area_id is None else self.depth.get(area_id, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """``category`` with everything below it, in ``place`` with everything in it (None: everywhere) is nobody's."""

    category: str
    leaves: int
    place: Place | None
    cells: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DistrictOnly:
    """A category that no street, community or cell has an entry for: the district's own ``entry`` has it all."""

    category: str
    leaves: int
    entry: Responsibility


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """``uncovered`` of ``leaves`` x ``cells`` pairs are nobody's; the largest gaps first."""

    leaves: int
    cells: int
    uncovered: int
    gaps: tuple[Gap, ...]
    district_only: tuple[DistrictOnly, ...]


def ground(places: Mapping[int, Sequence[Place]]) -> Ground:
    """From the ways that lead up from each cell (``Directory.places``)."""
    cells: defaultdict[int, int] = defaultdict(int)
    below: defaultdict[int, dict[int, None]] = defaultdict(dict)
    depth: dict[int, int] = {}
    known: dict[int, Place] = {}
    outermost: dict[int, None] = {}
    mapped = [way for way in places.values() if len(way) > 1]
    for number, way in enumerate(mapped):
        bit = 1 << number
        for level, place in enumerate(reversed(way)):
            cells[place.area_id] |= bit
            depth[place.area_id] = level
            known[place.area_id] = place
        for inner, outer in pairwise(way):
            below[outer.area_id][inner.area_id] = None
        outermost[way[-1].area_id] = None
    return Ground(
        cells=dict(cells),
        whole=(1 << len(mapped)) - 1,
        below={area: tuple(inner) for area, inner in below.items()},
        depth=depth,
        outermost=tuple(outermost),
        places=known,
    )


def leaves_of(directory: Directory) -> list[str]:
    """The categories in use that have none below them."""
    used = [code for code, category in directory.categories.items() if category.active]
    inner = {upper for code in used for upper in above(code)[1:]}
    return [code for code in used if code not in inner]


def coverage(directory: Directory, entries: Iterable[Responsibility], at: datetime) -> Coverage:
    """What nobody leads at ``at``, and what only the district as a whole leads."""
    land, leaves = ground(directory.places), leaves_of(directory)
    live = working(directory, entries, at)
    everywhere: dict[str, Responsibility] = {}
    led = _cells_by_category(live, land)
    local = _cells_by_category((entry for entry in live if not land.is_district(entry.area_id)), land)
    for entry in live:
        if land.is_district(entry.area_id):
            everywhere[entry.category] = entry
    missing: defaultdict[int, list[str]] = defaultdict(list)
    alone: defaultdict[int, list[str]] = defaultdict(list)
    uncovered = 0
    for leaf in leaves:
        codes = above(leaf)
        gap = land.whole & ~_together(led, codes)
        if gap:
            missing[gap].append(leaf)
            uncovered += gap.bit_count()
        elif _together(local, codes) == 0:
            alone[next(everywhere[code].id for code in codes if code in everywhere)].append(leaf)
    below = Counter(upper for leaf in leaves for upper in above(leaf))
    gaps = [
        Gap(category=code, leaves=count, place=place, cells=cells)
        for gap, lost in missing.items()
        for code, count in shortest(lost, below, len(leaves))
        for place, cells in largest(gap, land)
    ]
    gaps.sort(key=lambda found: (-found.leaves * found.cells, found.category))
    by_id = {entry.id: entry for entry in live}
    return Coverage(
        leaves=len(leaves),
        cells=land.whole.bit_count(),
        uncovered=uncovered,
        gaps=tuple(gaps),
        district_only=tuple(
            DistrictOnly(category=code, leaves=count, entry=by_id[number])
            for number, led_alone in alone.items()
            for code, count in shortest(led_alone, below, len(leaves))
        ),
    )


def working(directory: Directory, entries: Iterable[Responsibility], at: datetime) -> list[Responsibility]:
    """The entries that hold at ``at`` and whose unit works."""
    return [entry for entry in entries if in_force(entry, at) and entry.unit_id in directory.active]


def shortest(leaves: Sequence[str], below: Mapping[str, int], all_leaves: int) -> list[tuple[str, int]]:
    """The fewest categories that stand for exactly these leaves, each with how many; EVERYTHING for all.

    ``below`` says how many leaves of the catalogue lie at or below a category.
    """
    if len(leaves) == all_leaves:
        return [(EVERYTHING, all_leaves)]
    here = Counter(upper for leaf in leaves for upper in above(leaf))
    whole = (next(upper for upper in reversed(above(leaf)) if here[upper] == below[upper]) for leaf in leaves)
    return [(code, below[code]) for code in dict.fromkeys(whole)]


def largest(cells: int, land: Ground) -> list[tuple[Place | None, int]]:
    """The fewest places that stand for exactly these cells, each with how many; None for the whole district."""
    if cells == land.whole:
        return [(None, cells.bit_count())]
    found: list[tuple[Place | None, int]] = []
    ahead = list(land.outermost)
    while ahead:
        area = ahead.pop(0)
        own = land.cells[area]
        if own & cells == own:
            found.append((land.places[area], own.bit_count()))
        elif own & cells:
            ahead = [*land.below.get(area, ()), *ahead]
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Idle:
    """An entry that never has a matter: its place has no cell, or everything in it is led by more specific ones.

    ``general`` means that it still has what is filed under the general category itself, under no leaf.
    """

    entry: Responsibility
    cells: int
    general: bool


def idle(directory: Directory, entries: Iterable[Responsibility], at: datetime) -> list[Idle]:
    """Entries that can never win, as the list and the catalogue are at ``at``."""
    land = ground(directory.places)
    if not land.whole:
        return []  # without a map nothing can be said
    live = working(directory, entries, at)
    led = _cells_by_category(live, land)
    same: defaultdict[str, list[Responsibility]] = defaultdict(list)
    for entry in live:
        same[entry.category].append(entry)
    under: defaultdict[str, list[str]] = defaultdict(list)
    for code, category in directory.categories.items():
        if category.active:
            for upper in above(code):
                under[upper].append(code)
    untaken: dict[tuple[str, str], int] = {}
    found = []
    for entry in live:
        own = land.of(entry.area_id) & ~_smaller(entry, same[entry.category], land)
        codes = under[entry.category]
        remaining = _remaining(entry.category, own, codes, led, land, untaken)
        if not remaining and (not own or codes):
            found.append(Idle(entry=entry, cells=land.of(entry.area_id).bit_count(), general=False))
        elif remaining == [entry.category] and len(codes) > 1:
            found.append(Idle(entry=entry, cells=land.of(entry.area_id).bit_count(), general=True))
    return found


def _remaining(
    category: str,
    own: int,
    codes: Sequence[str],
    led: Mapping[str, int],
    land: Ground,
    untaken: dict[tuple[str, str], int],
) -> list[str]:
    """Which of the codes have cells among ``own`` that no longer category has: itself, and the first other one.

    ``untaken`` remembers the cells between a code and a category above it.
    """
    remaining = []
    for code in codes if own else ():
        cells = untaken.get((code, category))
        if cells is None:
            longer = [upper for upper in above(code) if len(upper) > len(category)]
            cells = untaken[code, category] = land.whole & ~_together(led, longer)
        if own & cells:
            remaining.append(code)
            if code != category:
                break
    return remaining


def _smaller(entry: Responsibility, others: Sequence[Responsibility], land: Ground) -> int:
    """The cells that entries of the same category have for smaller places."""
    depth, cells = land.depth_of(entry.area_id), 0
    for other in others:
        if land.depth_of(other.area_id) > depth:
            cells |= land.of(other.area_id)
    return cells


def _cells_by_category(entries: Iterable[Responsibility], land: Ground) -> dict[str, int]:
    cells: defaultdict[str, int] = defaultdict(int)
    for entry in entries:
        cells[entry.category] |= land.of(entry.area_id)
    return dict(cells)


def _together(cells: Mapping[str, int], codes: Iterable[str]) -> int:
    found = 0
    for code in codes:
        found |= cells.get(code, 0)
    return found
