"""Circles of co-handling: A leads and B helps, while B leads and A helps, in one matter, one place, at one time."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from city.responsibilities import Period, period, periods_overlap
from city.units import Responsibility

LONGEST_CIRCLE = 6  # units; a longer chain of co-handlers is looked at no further
ByLead = Mapping[tuple[str, int], Sequence[Responsibility]]
Share = Callable[
    [int | None, int | None], bool
]  # whether two places (None: the whole district) have ground in common


def by_lead(entries: Iterable[Responsibility]) -> ByLead:
    """The entries by category and lead unit, as ``circle`` looks them up."""
    found: defaultdict[tuple[str, int], list[Responsibility]] = defaultdict(list)
    for entry in entries:
        found[entry.category, entry.unit_id].append(entry)
    return dict(found)


def circle(entry: Responsibility, others: ByLead, share: Share) -> tuple[Responsibility, ...]:
    """The entries that lead back from a co-handler of this one to its lead unit, itself first; () if none do.

    All of them are for one category, share ground two by two (places lie within each other or apart), and hold at
    one time: otherwise there is no matter that could go round.
    """
    ahead: list[tuple[tuple[Responsibility, ...], Period]] = [((entry,), period(entry))]
    while ahead:
        chain, held = ahead.pop()
        for helper in chain[-1].co_unit_ids:
            if helper == entry.unit_id and len(chain) > 1:
                return chain
            for other in others.get((entry.category, helper), ()) if len(chain) < LONGEST_CIRCLE else ():
                together = periods_overlap(held, period(other)) and other not in chain
                if together and all(share(one.area_id, other.area_id) for one in chain):
                    ahead.append(((*chain, other), _both(held, period(other))))
    return ()


def _both(one: Period, other: Period) -> Period:
    starts = [start for start in (one[0], other[0]) if start is not None]
    ends = [end for end in (one[1], other[1]) if end is not None]
    return max(starts, default=None), min(ends, default=None)
