"""The responsibility list (职责清单) as it is asked: which entries stand for a category and a place at an instant."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import overload

from city.units import Responsibility


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


def overlap_in_time(one: Responsibility, other: Responsibility) -> bool:
    """Whether there is an instant at which both hold; an empty period (withdrawn before it began) has none."""
    starts = [entry.valid_from for entry in (one, other) if entry.valid_from is not None]
    ends = [entry.valid_to for entry in (one, other) if entry.valid_to is not None]
    return not starts or not ends or max(starts) < min(ends)
