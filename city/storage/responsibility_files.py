"""The responsibility list as a whole file: taken in by an import or by a person, and read back for an export."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import cast

from psycopg import Connection
from psycopg.rows import TupleRow, dict_row

from city.responsibility_files import ListedResponsibility, resolved
from city.responsibility_plan import Plan, plan
from city.storage.responsibilities import COLUMNS, LIST_LOCK, LIVING, entry_of, values_of
from city.units import Responsibility

FILE_ACTORS = [
    "import",
    "system",
]  # what they wrote, a file may take back; system is what no actor was named for
Area = tuple[str, str]  # layer, code


def lock(connection: Connection[TupleRow]) -> None:
    """Until the transaction's end nobody else changes the list."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (LIST_LOCK,))


def living(connection: Connection[TupleRow], at: datetime) -> list[Responsibility]:
    """Every entry that holds at ``at`` or is to begin later, whose unit works."""
    return _entries(
        connection,
        f"JOIN units u ON u.id = r.unit_id AND u.active WHERE {LIVING} ORDER BY r.id",
        {"at": at},
    )


def areas(connection: Connection[TupleRow]) -> dict[int, Area]:
    """Layer and code of every valid area by its id."""
    rows = connection.execute("SELECT id, layer, code FROM areas WHERE valid_to IS NULL")
    return {row[0]: (row[1], row[2]) for row in rows}


def units(connection: Connection[TupleRow]) -> dict[int, str]:
    """Codes of the working units by their ids."""
    return dict(connection.execute("SELECT id, code FROM units WHERE active").fetchall())


def unit_codes(connection: Connection[TupleRow]) -> dict[int, str]:
    """Codes of all units there ever were by their ids."""
    return dict(connection.execute("SELECT id, code FROM units").fetchall())


def planned(
    connection: Connection[TupleRow], listed: Sequence[ListedResponsibility], *, over_people: bool
) -> Plan:
    """What the lines would change now; areas and units they name are there.

    Without ``over_people`` what a person began or ended stays as the person left it.
    """
    at = now(connection)
    area_ids = {key: number for number, key in areas(connection).items()}
    unit_ids = {code: number for number, code in units(connection).items()}
    wanted = [
        resolved(
            line,
            area_id=area_ids[line.area_layer, line.area] if line.area_layer and line.area else None,
            units=unit_ids,
        )
        for line in listed
    ]
    present = _entries(connection, f"WHERE {LIVING} ORDER BY r.id", {"at": at})
    if over_people:
        return plan(wanted, present, at)
    return plan(wanted, present, at, persons=_persons(connection, at), ended_by_people=_ended(connection, at))


def carry_out(connection: Connection[TupleRow], done: Plan, *, actor: str, reason: str) -> None:
    """Write a plan that was made in this transaction, under the list's lock."""
    connection.execute(
        "SELECT set_config('city.actor', %s, true), set_config('city.reason', %s, true)", (actor, reason)
    )
    connection.execute(
        "UPDATE responsibilities SET valid_to = greatest(now(), valid_from) WHERE id = ANY(%s)",
        ([entry.id for entry in done.end],),
    )
    connection.cursor().executemany(
        "INSERT INTO responsibilities (category, area_id, unit_id, class, limit_minutes, clock, co_units, limits,"
        " automatic, valid_from, valid_to) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        [values_of(entry) for entry in done.begin],
    )


def now(connection: Connection[TupleRow]) -> datetime:
    """The database's instant for this transaction, which ends and begins entries."""
    (row,) = connection.execute("SELECT now()").fetchall()
    return cast("datetime", row[0]).astimezone(UTC)


def _persons(connection: Connection[TupleRow], at: datetime) -> set[tuple[str, int | None]]:
    rows = connection.execute(
        f"SELECT r.category, r.area_id FROM responsibilities r WHERE {LIVING}"  # noqa: S608 - a constant
        " AND (r.begun_by <> ALL (%(files)s) OR r.ended_by <> ALL (%(files)s))",
        {"at": at, "files": FILE_ACTORS},
    )
    return {(row[0], row[1]) for row in rows}


def _ended(connection: Connection[TupleRow], at: datetime) -> list[Responsibility]:
    """Entries of a file that a person ended, where no file has begun another since."""
    return _entries(
        connection,
        f"""WHERE NOT {LIVING} AND r.begun_by = ANY (%(files)s) AND r.ended_by <> ALL (%(files)s) AND NOT EXISTS (
            SELECT FROM responsibilities later WHERE later.category = r.category AND later.id > r.id
                AND later.area_id IS NOT DISTINCT FROM r.area_id AND later.begun_by = ANY (%(files)s))""",  # noqa: S608 - a constant
        {"at": at, "files": FILE_ACTORS},
    )


def _entries(
    connection: Connection[TupleRow], condition: str, values: Mapping[str, object]
) -> list[Responsibility]:
    cursor = connection.cursor(row_factory=dict_row)
    cursor.execute(f"SELECT {COLUMNS} FROM responsibilities r {condition}", values)  # noqa: S608 - constants of this file
    return [entry_of(row) for row in cursor]
