"""The responsibility list (职责清单) as it is asked: which entries stand for a category and a place at an instant."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import overload

from city.clocks import Limit, Stage, TimeUnit
from city.units import Responsibility

Period = tuple[datetime | None, datetime | None]  # from, until and no longer; None is open on that side


class ResponsibilityList(Sequence[Responsibility]):
    """Entries in their order, found by category and place without walking through thousands of them."""

    __slots__ = ("_by_key", "_entries")

    def __init__(self, entries: Iterable[Responsibility] = ()) -> None:
        self._entries = tuple(entries)
        by_key: defaultdict[tuple[str, int | None], list[Responsibility]] = defaultdict(list)
        for entry in self._entries:
            by_key[entry.category, entry.area_id].append(entry)
        self._by_key = dict(by_key)

    @overload
    def __getitem__(self, index: int) -> Responsibility: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Responsibility]: ...
    def __getitem__(self, index: int | slice) -> Responsibility | Sequence[Responsibility]:
        return self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Responsibility]:
        return iter(self._entries)

    def of(self, category: str, area_id: int | None) -> Sequence[Responsibility]:
        """The entries for exactly this category and place, whenever they hold; None is the whole district."""
        return self._by_key.get((category, area_id), ())


def above(category: str) -> list[str]:
    """The category and each one above it, the longest first: fire.smoke, fire."""
    found = []
    while category:
        found.append(category)
        category = category.rpartition(".")[0]
    return found


def in_force(entry: Responsibility, at: datetime) -> bool:
    """From ``valid_from`` on and before ``valid_to``; None is open on that side."""
    return (entry.valid_from is None or entry.valid_from <= at) and (
        entry.valid_to is None or at < entry.valid_to
    )


def withdrawn(entry: Responsibility) -> bool:
    """Whether it was taken back before it began: its period is empty."""
    return entry.valid_to is not None and entry.valid_to == entry.valid_from


def periods_overlap(one: Period, other: Period) -> bool:
    """Whether there is an instant in both; an empty period (withdrawn before it began) holds none."""
    starts = [start for start in (one[0], other[0]) if start is not None]
    ends = [end for end in (one[1], other[1]) if end is not None]
    return not starts or not ends or max(starts) < min(ends)


def period(entry: Responsibility) -> Period:
    """From when to when it holds."""
    return entry.valid_from, entry.valid_to


@dataclass(frozen=True, kw_only=True, slots=True)
class Contradiction:
    """What an entry says against itself: the field, Chinese and English."""

    field: str
    reason: str
    reason_en: str


def contradiction(entry: Responsibility) -> Contradiction | None:
    """The first thing that cannot be meant: an end before the start, stages in the wrong order, oneself as help."""
    if entry.valid_from is not None and entry.valid_to is not None and entry.valid_to <= entry.valid_from:
        return Contradiction(
            field="valid_to",
            reason="结束时间须晚于生效时间",
            reason_en="it ends before it begins; give an end after valid_from, or none",
        )
    if entry.unit_id in entry.co_unit_ids:
        return Contradiction(
            field="co_units",
            reason="主办单位不能同时是协办单位",
            reason_en="the lead unit cannot handle beside itself; take it out of the co-handlers",
        )
    if len(set(entry.co_unit_ids)) < len(entry.co_unit_ids):
        return Contradiction(
            field="co_units", reason="协办单位重复", reason_en="a co-handler stands there twice; keep one"
        )
    if "handle" in entry.limits and entry.limit_minutes is not None:
        return Contradiction(
            field="limits",
            reason="处置时限写了两次（limits与limit_minutes），请保留一个",
            reason_en="the time to handle is given twice, in limits and in limit_minutes; keep one",
        )
    return _stages_in_order(entry)


def _stages_in_order(entry: Responsibility) -> Contradiction | None:
    """All three run from the dispatch on, so the later step cannot have less; other time units are not compared."""
    limits = dict(entry.limits)
    if entry.limit_minutes is not None:
        unit: TimeUnit = "natural" if entry.clock != "working" else "working"
        limits["handle"] = Limit(amount=entry.limit_minutes, unit=unit)
    order: tuple[tuple[Stage, Stage], ...] = (
        ("acknowledge", "arrive"),
        ("acknowledge", "handle"),
        ("arrive", "handle"),
    )
    for earlier, later in order:
        one, other = limits.get(earlier), limits.get(later)
        if one is not None and other is not None and one.unit == other.unit and one.amount > other.amount:
            return Contradiction(
                field="limits",
                reason=f"{earlier}的时限（{one}）不能长于{later}的时限（{other}）",
                reason_en=f"{earlier} = {one} is longer than {later} = {other}; both run from the dispatch on",
            )
    return None
