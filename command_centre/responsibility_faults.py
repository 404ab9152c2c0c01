"""What is wrong with the responsibility list: circles, two leads at once, names that mean nothing any more.

Some of it is refused when it is written (``circle_of``); all of it may also come about behind the list's back, when a
unit closes or a category leaves the catalogue, and is then found by ``findings``.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from city.directory import Directory
from city.responsibilities import Period, above, period, periods_overlap
from city.units import Responsibility, Unit
from command_centre.responsibility_coverage import Ground, ground, idle

LONGEST_CIRCLE = 6  # units; a longer chain of co-handlers is looked at no further
Kind = Literal[
    "never_wins",
    "general_only",
    "no_cells",
    "two_leads",
    "unit_inactive",
    "co_unit_inactive",
    "category_unknown",
    "circular_co_handling",
    "circular_fallback",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """``entries`` are ids of the list, ``units`` codes."""

    kind: Kind
    reason: str
    reason_en: str
    entries: tuple[int, ...] = ()
    units: tuple[str, ...] = ()


def findings(directory: Directory, entries: Sequence[Responsibility], at: datetime) -> list[Finding]:
    """Everything that is wrong with the entries that hold at ``at`` or are to begin."""
    return [
        *_names(directory, entries),
        *_two_leads(entries),
        *_circles(directory, entries),
        *_fallbacks(directory),
        *_idle(directory, entries, at),
    ]


def known_categories(directory: Directory) -> set[str]:
    """Every category in use, and each prefix of one."""
    return {
        upper for code, category in directory.categories.items() if category.active for upper in above(code)
    }


def circle_of(
    entry: Responsibility, others: Iterable[Responsibility], directory: Directory
) -> tuple[Responsibility, ...]:
    """The entries that lead back from a co-handler of this one to its lead unit, itself first; () if none do.

    A circle is one matter in one place: A leads and B helps, B leads and A helps. So all of its entries are for one
    category, share a cell, and hold at one time.
    """
    land = ground(directory.places)
    return _circle(entry, _by_lead(others), land)


def _circle(
    entry: Responsibility, by_lead: Mapping[tuple[str, int], Sequence[Responsibility]], land: Ground
) -> tuple[Responsibility, ...]:
    ahead: list[tuple[tuple[Responsibility, ...], Period]] = [((entry,), period(entry))]
    while ahead:
        chain, held = ahead.pop()
        for helper in chain[-1].co_unit_ids:
            if helper == entry.unit_id and len(chain) > 1:
                return chain
            for other in by_lead.get((entry.category, helper), ()):
                if other in chain or len(chain) == LONGEST_CIRCLE:
                    continue
                if periods_overlap(held, period(other)) and all(_share(one, other, land) for one in chain):
                    ahead.append(((*chain, other), _both(held, period(other))))
    return ()


def _by_lead(entries: Iterable[Responsibility]) -> dict[tuple[str, int], list[Responsibility]]:
    found: defaultdict[tuple[str, int], list[Responsibility]] = defaultdict(list)
    for entry in entries:
        found[entry.category, entry.unit_id].append(entry)
    return dict(found)


def _share(one: Responsibility, other: Responsibility, land: Ground) -> bool:
    if one.area_id == other.area_id or one.area_id is None or other.area_id is None:
        return True
    return bool(land.of(one.area_id) & land.of(other.area_id))


def _both(one: Period, other: Period) -> Period:
    starts = [start for start in (one[0], other[0]) if start is not None]
    ends = [end for end in (one[1], other[1]) if end is not None]
    return max(starts, default=None), min(ends, default=None)


# ── findings ─────────────────────────────────────────────────────────────────────────────────────────


def _names(directory: Directory, entries: Iterable[Responsibility]) -> Iterator[Finding]:
    categories = known_categories(directory)
    for entry in entries:
        if entry.category not in categories:
            yield Finding(
                kind="category_unknown",
                entries=(entry.id,),
                reason=f"类别{entry.category}不在目录中或已停用，此条永远用不上",
                reason_en=f"category {entry.category} is not in the catalogue any more: the entry is never used",
            )
        for unit_id in (entry.unit_id, *entry.co_unit_ids):
            if unit_id in directory.active:
                continue
            name, name_en = _named(directory.units.get(unit_id))
            leads = unit_id == entry.unit_id
            yield Finding(
                kind="unit_inactive" if leads else "co_unit_inactive",
                entries=(entry.id,),
                units=_codes(directory, (unit_id,)),
                reason=f"{name}已停用，请改由在用单位{'主办' if leads else '协办'}",
                reason_en=f"{name_en} no longer works; name a unit that does {'to lead' if leads else 'to help'}",
            )


def _two_leads(entries: Iterable[Responsibility]) -> Iterator[Finding]:
    seen: defaultdict[tuple[str, int | None], list[Responsibility]] = defaultdict(list)
    for entry in entries:
        for other in seen[entry.category, entry.area_id]:
            if periods_overlap(period(other), period(entry)):
                yield Finding(
                    kind="two_leads",
                    entries=(other.id, entry.id),
                    reason="同一类别、同一地点在同一时段有两个主办单位",
                    reason_en="one category and place has two lead units at one time",
                )
        seen[entry.category, entry.area_id].append(entry)


def _circles(directory: Directory, entries: Sequence[Responsibility]) -> Iterator[Finding]:
    land, by_lead = ground(directory.places), _by_lead(entries)
    told: set[frozenset[int]] = set()
    for entry in entries:
        chain = _circle(entry, by_lead, land) if entry.co_unit_ids else ()
        key = frozenset(one.id for one in chain)
        if chain and key not in told:
            told.add(key)
            yield Finding(
                kind="circular_co_handling",
                entries=tuple(one.id for one in chain),
                units=_codes(directory, [one.unit_id for one in chain]),
                reason="主办与协办互相指向：同一类别、同一地点，事情会在单位间转圈",
                reason_en="lead and co-handlers point at each other for one category and place: a matter goes round",
            )


def _fallbacks(directory: Directory) -> Iterator[Finding]:
    """Units that stand in for each other: while all of them are away, nobody is asked."""
    after = {
        unit.code: unit.fallback
        for unit in directory.units.values()
        if unit.fallback and unit.id in directory.active
    }
    told: set[str] = set()
    for start in after:
        way: list[str] = []
        at: str | None = start
        while at is not None and at not in way and at not in told:
            way.append(at)
            at = after.get(at)
        if at in way:
            circle = way[way.index(at or "") :]
            yield Finding(
                kind="circular_fallback",
                units=tuple(circle),
                reason="替补单位互相指向：都不在岗时无人接手",
                reason_en="the units stand in for each other in a circle: while all are away nobody takes over",
            )
        told.update(way)


def _idle(directory: Directory, entries: Sequence[Responsibility], at: datetime) -> Iterator[Finding]:
    for one in idle(directory, entries, at):
        if one.cells == 0:
            yield Finding(
                kind="no_cells",
                entries=(one.entry.id,),
                reason="此地点在区划图上没有网格，此条永远用不上",
                reason_en="its place has no cell on the map: the entry is never used",
            )
        elif one.general:
            yield Finding(
                kind="general_only",
                entries=(one.entry.id,),
                reason=f"{one.entry.category}下的每个小类都由更具体的条目负责，此条只管未细分的事件",
                reason_en=f"every leaf of {one.entry.category} is led by a more specific entry: this one only has "
                "what is filed under no leaf",
            )
        else:
            yield Finding(
                kind="never_wins",
                entries=(one.entry.id,),
                reason="更具体的条目已覆盖其全部类别和网格，此条永远用不上",
                reason_en="more specific entries have all of its categories and cells: it never wins",
            )


def _named(unit: Unit | None) -> tuple[str, str]:
    return (unit.name, unit.name_en or unit.name) if unit else ("?", "?")


def _codes(directory: Directory, unit_ids: Iterable[int]) -> tuple[str, ...]:
    return tuple(directory.units[one].code for one in unit_ids if one in directory.units)
