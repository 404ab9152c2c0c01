"""Moving a district's database, with its past, while readings keep arriving.

Every step may be interrupted and the whole be run again: what is there is not copied twice, and in no moment do both
databases take anything. Between the fence and the switch neither does, and the broker or the log holds what arrives.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from city.storage import district_copies as copies
from city.storage import district_moves as stored
from city.storage import migrate
from city.storage.district_copies import Db, MoveError, Slice
from city.storage.district_moves import Move

BEHIND = timedelta(hours=1)  # what is younger is copied in the next round, or under the fence
SHORT_S = 120.0  # a round that took no longer was the last one before the fence
_LATEST = (
    8  # rounds, however long they take: a database that grows faster than it is copied is fenced all the same
)

Told = Callable[[str], None]  # one line for a person at every step


@dataclass(frozen=True, kw_only=True, slots=True)
class Moved:
    """What a move did; ``stood_s`` is for how long neither database took anything, 0 when that was an earlier run."""

    slices: int
    rows: int
    books: int
    stood_s: float
    late: int  # rows that came late and were copied after the switch


def move(source_url: str, target_url: str, *, code: str, told: Told, behind: timedelta = BEHIND) -> Moved:
    """From where it stands to its end; raises MoveError or DatabaseError, and is run again then."""
    with stored.opened(source_url) as source, stored.opened(target_url) as target:
        begun = _begun(source, target, target_url, code)
        told(f"moving district {code}")
        slices = rows = books = 0
        stood_s = 0.0
        if begun.state == "copying":
            slices, rows = _past(source, target, told, behind)
            stood_s, books, hot = _over(source, target, code, told)
            rows += hot
        late = 0
        if begun.state != "done":
            late = _late(source, target, told)
            stored.finish(target)
        told("everything was compared; the old database is read-only and may be dropped")
        return Moved(slices=slices, rows=rows, books=books, stood_s=stood_s, late=late)


def give_up(source_url: str, target_url: str) -> None:
    """Before the switch: the old database serves on; the new one keeps what it has, for another try."""
    with stored.opened(source_url) as source, stored.opened(target_url) as target:
        found = stored.move_of(target) if stored.has_schema(target) else None
        if found is not None and found[0] == stored.identity(source) and found[1].state != "copying":
            raise MoveError("the new database serves already; the old one must not take anything again")
        stored.unfence(source)


def _begun(source: Db, target: Db, target_url: str, code: str) -> Move:
    """The move as it stands, or one that is begun now; refuses what would mix two districts."""
    here = stored.identity(source)
    if here == stored.identity(target):
        raise MoveError("--to: that is the same database")
    if (found := stored.district_code(source)) != code:
        raise MoveError(
            f"{code}: CITY_DATABASE_URL holds district {found or 'none'}; it must be the one that moves"
        )
    if not stored.alone(target):
        raise MoveError("another move into this database is under way")
    if not stored.has_schema(target):
        migrate.apply(target_url)
    if stored.migrations(target) != stored.migrations(source):
        raise MoveError("the two databases have different schemas: run city migrate on both first")
    if (known := stored.move_of(target)) is None:
        if stored.district_code(target) is not None:
            raise MoveError("--to: that database holds a district; give an empty one")
        stored.begin(target, here)
        known = stored.move_of(target)
    if known is None or known[0] != here:
        raise MoveError("--to: another database is being moved into that one; give an empty one")
    return known[1]


def _past(source: Db, target: Db, told: Told, behind: timedelta) -> tuple[int, int]:
    """Rounds of slices while the old database serves, each shorter than the one before; slices and rows copied."""
    slices = rows = 0
    copies.forget_last(target, _now(target).copied_to)
    for number in range(1, _LATEST + 1):
        began = time.monotonic()
        stored.open_round(target, datetime.now(UTC) - behind)
        at = _now(target)
        assert at.copying_to is not None  # noqa: S101  # just opened
        there = copies.copied(target, at.copying_to)
        for first in copies.blocks(source):
            for table in copies.PAST:
                if (table, first) in there:
                    continue
                part = Slice(table=table, first_device=first, since=at.copied_to, until=at.copying_to)
                rows += copies.copy_slice(source, target, part).rows
                slices += 1
            told(f"round {number}: devices from {first} on, {rows:,} rows so far")
        stored.close_round(target)
        if time.monotonic() - began < SHORT_S:
            break
    return slices, rows


def _over(source: Db, target: Db, code: str, told: Told) -> tuple[float, int, int]:
    """Fence, books, switch: seconds between, tables, rows of the past's last part."""
    began = time.monotonic()
    told("nobody may write to either database from here on")
    ended = stored.fence(source)
    told(f"{ended} connections ended; copying books")
    made = copies.copy_books(source, target, _now(target).copied_to)
    told(f"{len(made)} tables are the same, row by row")
    stored.switch(target, code=code, source=stored.identity(source))
    stood_s = time.monotonic() - began
    told(f"the new database serves; for {stood_s:.1f} s none did")
    return stood_s, len(made), sum(made[name].rows for name in copies.PAST)


def _late(source: Db, target: Db, told: Told) -> int:
    """Rows of the past that came after their slice was copied: the old database takes nothing any more."""
    late = 0
    until = _now(target).copied_to
    for first in copies.blocks(source):
        for table in copies.PAST:
            part = Slice(table=table, first_device=first, since=None, until=until)
            if copies.slice_digest(source, part) != copies.noted(target, part):
                late += copies.add_missing(source, target, part)
        told(f"comparing what came late: devices from {first} on, {late:,} rows copied")
    return late


def _now(target: Db) -> Move:
    found = stored.move_of(target)
    assert found is not None  # noqa: S101  # begun before
    return found[1]
