"""What is wrong with the responsibility list: circles, two leads at once, names that mean nothing any more.

Some of it is refused when it is written (``circle_of``); all of it may also come about behind the list's back, when a
unit closes or a category leaves the catalogue, and is then found by ``findings``.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from city.directory import Directory
from city.responsibilities import above, period, periods_overlap
from city.responsibility_circles import Share, by_lead, circle
from city.units import Responsibility, Unit
from command_centre.responsibility_coverage import Ground, ground, idle

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

    Places share ground when they share a cell.
    """
    return circle(entry, by_lead(others), _sharing(ground(directory.places)))


def _sharing(land: Ground) -> Share:
    def share(one: int | None, other: int | None) -> bool:
        return one == other or bool(land.of(one) & land.of(other))

    return share


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
    share, led = _sharing(ground(directory.places)), by_lead(entries)
    told: set[frozenset[int]] = set()
    for entry in entries:
        chain = circle(entry, led, share) if entry.co_unit_ids else ()
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
