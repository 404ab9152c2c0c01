"""The whole responsibility list as one file that a person edits and sends back: checked, shown, then written."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from city import district_checks
from city.directory import Directory
from city.district_source import DistrictFilesError, Faults, decoded
from city.errors import CityError
from city.responsibility_files import NAME, parse_responsibilities, written
from city.responsibility_plan import Plan
from city.storage import responsibility_files as stored
from city.storage.database import nudge
from city.units import Responsibility
from command_centre.responsibility_faults import findings

MOST_SHOWN = 500  # entries begun or ended that an answer lists; the counts are of all
Db = Connection[TupleRow]


class SheetError(CityError):
    """A file that cannot be taken in; ``lines`` has one line for each fault."""

    def __init__(self, reason: str, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.reason = reason
        self.lines = tuple(lines)


def text(connection: Db, now: datetime) -> str:
    """The list as it is now, in the format that ``take`` reads."""
    return written(
        stored.living(connection, now), stored.areas(connection), stored.units(connection), now=now
    )


def lock(connection: Db) -> None:
    """Until the transaction's end nobody else changes the list."""
    stored.lock(connection)


def take(
    connection: Db, directory: Directory, content: bytes, *, actor: str, reason: str, dry_run: bool
) -> dict[str, Any]:
    """Make the list what the file says, or only tell what that would change. Raises SheetError, writes nothing then.

    A person's file counts as the person's word: what it leaves out is ended, whoever wrote it.
    """
    faults = Faults()
    lines = parse_responsibilities(decoded(NAME, content, faults) or "", faults, directory.zone)
    district_checks.check_responsibilities(
        lines,
        faults,
        units=set(stored.units(connection).values()),
        areas=set(stored.areas(connection).values()),
        categories=[code for code, category in directory.categories.items() if category.active],
    )
    if not lines and len(faults) == 0:
        faults.add(NAME, "holds no entry", "send the list; whoever wants none ends the entries one by one")
    _raise(faults)
    stored.lock(connection)
    now = stored.now(connection)
    done = stored.planned(connection, lines, over_people=True)
    _check_circles(connection, directory, done, now)
    if not dry_run:
        stored.carry_out(connection, done, actor=actor, reason=reason)
        nudge(connection)
    areas, units = stored.areas(connection), stored.unit_codes(connection)

    def said(entry: Responsibility) -> dict[str, Any]:
        layer, area = areas.get(entry.area_id or 0, (None, None))
        return {
            "category": entry.category,
            "area_layer": layer,
            "area": area,
            "unit": units.get(entry.unit_id, "?"),
            "valid_from": entry.valid_from,
            "valid_to": entry.valid_to,
        }

    return {
        "dry_run": dry_run,
        "lines": len(lines),
        "begun": len(done.begin),
        "ended": len(done.end),
        "begin": [said(entry) for entry in done.begin[:MOST_SHOWN]],
        "end": [said(entry) for entry in done.end[:MOST_SHOWN]],
    }


def _raise(faults: Faults) -> None:
    try:
        faults.raise_if_any()
    except DistrictFilesError as error:
        raise SheetError("文件有误，未作任何改动，详见逐行说明", str(error).splitlines()) from error


def _check_circles(connection: Db, directory: Directory, done: Plan, now: datetime) -> None:
    """The list as it would be, with numbers of its own for the new entries."""
    ended = {entry.id for entry in done.end}
    new = [replace(entry, id=-number) for number, entry in enumerate(done.begin, 1)]
    kept = [entry for entry in stored.living(connection, now) if entry.id not in ended]
    circles = [
        found for found in findings(directory, [*kept, *new], now) if found.kind == "circular_co_handling"
    ]
    if circles:
        raise SheetError(
            "协办形成循环，未作任何改动，详见逐行说明",
            [
                f"{NAME}: co_units of {' -> '.join((*found.units, found.units[0]))}: {found.reason_en}; "
                "take one of them out"
                for found in circles
            ],
        )
