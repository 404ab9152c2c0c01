"""What a whole file changes in the responsibility list: the lines it adds, the entries it ends, what it leaves alone.

A start that has passed counts as "already": a file may leave it out, or keep the day on which it was.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from city.clocks import write_limits
from city.units import Responsibility

Key = tuple[str, int | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """``begin`` are new entries in the file's order, ``end`` stored ones.

    ``kept`` are the (category, area) where a person decided otherwise than the file, and the person's word stays.
    """

    begin: tuple[Responsibility, ...]
    end: tuple[Responsibility, ...]
    kept: tuple[Key, ...] = ()


def plan(
    wanted: Sequence[Responsibility],
    living: Sequence[Responsibility],
    now: datetime,
    *,
    persons: Collection[Key] = (),
    ended_by_people: Sequence[Responsibility] = (),
) -> Plan:
    """How the living entries become the wanted ones.

    Nothing is begun or ended for what is in ``persons``, and a line that says again what a person ended begins
    nothing: who wants it back writes it into the list, or changes the line.
    """
    over = {_content(entry, now)[:-2] for entry in ended_by_people}
    wanted = [one for one in wanted if one.valid_to is None or one.valid_to > now]
    present = Counter(_content(entry, now) for entry in living)
    begin, kept = [], []
    for entry in wanted:
        content = _content(entry, now)
        if present[content] > 0:
            present[content] -= 1
        elif (entry.category, entry.area_id) in persons or content[:-2] in over:
            kept.append((entry.category, entry.area_id))
        else:
            begin.append(replace(entry, valid_from=max(entry.valid_from or now, now)))
    end = []
    for entry in living:
        content = _content(entry, now)
        if present[content] > 0 and (entry.category, entry.area_id) not in persons:
            present[content] -= 1
            end.append(entry)
    return Plan(begin=tuple(begin), end=tuple(end), kept=tuple(dict.fromkeys(kept)))


def _content(entry: Responsibility, now: datetime) -> tuple[object, ...]:
    """Everything an entry says, its period last; limits as text, since a mapping has no hash."""
    return (
        entry.category,
        entry.area_id,
        entry.unit_id,
        entry.incident_class,
        entry.limit_minutes,
        entry.clock,
        entry.co_unit_ids,
        write_limits(entry.limits),
        entry.automatic,
        entry.valid_from if entry.valid_from is not None and entry.valid_from > now else None,
        entry.valid_to,
    )
