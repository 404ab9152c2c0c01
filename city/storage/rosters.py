"""Rosters of units: shifts, and people named for stretches of time."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection, Connection
from psycopg.rows import TupleRow, class_row

from city import tracing
from city.rosters import Duty, OnDuty, Roster, Shift, merged

Asynchronous = AsyncConnection[Any]

_SHIFTS = "SELECT unit_id, name, days, begins, ends FROM shifts ORDER BY unit_id, id"
# What is over by two days says nothing about now, wherever the clocks of the machines stand.
_PERIODS = "SELECT unit_id, begins, ends FROM roster WHERE ends > now() - interval '2 days'"
_PEOPLE = """
    SELECT u.code AS unit, r.person, r.phone, r.user_id, r.begins, r.ends
    FROM roster r JOIN units u ON u.id = r.unit_id
"""


async def duties(connection: Asynchronous) -> dict[int, Duty]:
    """By unit, for those that keep shifts or a roster which has not run out."""
    shifts: defaultdict[int, list[Shift]] = defaultdict(list)
    for unit_id, name, days, begins, ends in await (await connection.execute(_SHIFTS)).fetchall():
        shifts[unit_id].append(Shift(name=name, days=days, begins=begins, ends=ends))
    periods: defaultdict[int, list[tuple[datetime, datetime]]] = defaultdict(list)
    for unit_id, begins, ends in await (await connection.execute(_PERIODS)).fetchall():
        periods[unit_id].append((begins, ends))
    return {
        unit_id: Duty(shifts=tuple(shifts[unit_id]), periods=merged(periods[unit_id]))
        for unit_id in shifts.keys() | periods.keys()
    }


async def people(
    connection: Asynchronous, begins: datetime, ends: datetime, unit_id: int | None = None
) -> list[OnDuty]:
    """Who is named for any time from ``begins`` to ``ends``, by unit and time."""
    async with connection.cursor(row_factory=class_row(OnDuty)) as cursor:
        await cursor.execute(
            _PEOPLE + " WHERE r.begins < %s AND r.ends > %s AND (%s::int IS NULL OR r.unit_id = %s)"
            " ORDER BY u.code, r.begins, r.id",
            (ends, begins, unit_id, unit_id),
        )
        return await cursor.fetchall()


async def of_unit(connection: Asynchronous, unit_id: int, since: datetime) -> Roster:
    """A unit's roster without the people whose time was over at ``since``."""
    shifts = await connection.execute(
        "SELECT name, days, begins, ends FROM shifts WHERE unit_id = %s ORDER BY id", (unit_id,)
    )
    found = [Shift(name=row[0], days=row[1], begins=row[2], ends=row[3]) for row in await shifts.fetchall()]
    async with connection.cursor(row_factory=class_row(OnDuty)) as cursor:
        await cursor.execute(
            _PEOPLE + " WHERE r.unit_id = %s AND r.ends > %s ORDER BY r.begins, r.id", (unit_id, since)
        )
        named = await cursor.fetchall()
    return Roster(version=await version(connection, unit_id), shifts=found, people=named)


async def version(connection: Asynchronous, unit_id: int, *, lock: bool = False) -> int:
    """Of a unit's roster, 0 when it has none yet; ``lock`` holds everybody else's change until commit."""
    if lock:
        await connection.execute("SELECT FROM units WHERE id = %s FOR NO KEY UPDATE", (unit_id,))
    row = await (
        await connection.execute("SELECT version FROM rosters WHERE unit_id = %s", (unit_id,))
    ).fetchone()
    return int(row[0]) if row else 0


async def unit_id(connection: Asynchronous, code: str) -> int | None:
    """An active unit's id."""
    row = await (
        await connection.execute("SELECT id FROM units WHERE code = %s AND active", (code,))
    ).fetchone()
    return int(row[0]) if row else None


async def user_names(connection: Asynchronous, ids: Sequence[int]) -> Mapping[int, str]:
    """Log-in names by id."""
    rows = await connection.execute("SELECT id, name FROM users WHERE id = ANY(%s)", (list(ids),))
    return dict(await rows.fetchall())


async def user_ids(connection: Asynchronous, names: Sequence[str]) -> Mapping[str, int]:
    """Ids by log-in name, of accounts that are not disabled."""
    rows = await connection.execute(
        "SELECT name, id FROM users WHERE name = ANY(%s) AND NOT disabled", (list(names),)
    )
    return dict(await rows.fetchall())


async def replace(
    connection: Asynchronous, unit_id: int, roster: Roster, *, since: datetime, actor: str, now: datetime
) -> int:
    """Write a unit's roster over what it has, but for people whose time was over at ``since``; its new version.

    The caller holds the unit's lock (``version``) and has looked for clashes; the database refuses them too.
    """
    await connection.execute("DELETE FROM shifts WHERE unit_id = %s", (unit_id,))
    await connection.execute("DELETE FROM roster WHERE unit_id = %s AND ends > %s", (unit_id, since))
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO shifts (unit_id, name, days, begins, ends) VALUES (%s, %s, %s, %s, %s)",
            [(unit_id, shift.name, shift.days, shift.begins, shift.ends) for shift in roster.shifts],
        )
        await cursor.executemany(
            "INSERT INTO roster (unit_id, person, phone, user_id, begins, ends) VALUES (%s, %s, %s, %s, %s, %s)",
            [(unit_id, one.person, one.phone, one.user_id, one.begins, one.ends) for one in roster.people],
        )
        await cursor.execute(
            "INSERT INTO rosters AS known (unit_id, version, changed_at, changed_by) VALUES (%s, 1, %s, %s)"
            " ON CONFLICT (unit_id) DO UPDATE SET version = known.version + 1, changed_at = excluded.changed_at,"
            " changed_by = excluded.changed_by RETURNING version",
            (unit_id, now, actor),
        )
        row = await cursor.fetchone()
        await cursor.execute(
            "INSERT INTO audit (actor, action, object, detail, request)"
            " SELECT %s, 'unit.roster', 'unit:' || code,"
            " jsonb_build_object('shifts', %s::int, 'people', %s::int), %s FROM units WHERE id = %s",
            (actor, len(roster.shifts), len(roster.people), tracing.request_id.get(), unit_id),
        )
    return int(row[0]) if row else 0


# ── written by an import ─────────────────────────────────────────────────────────────────────────────


def write_rosters(connection: Connection[TupleRow], listed: Mapping[str, Roster]) -> list[str]:
    """Make the rosters of the units named (by code) those listed; others stay.

    Returns the units whose roster a person changed here: that one stays, whatever the file says.
    """
    known = {
        code: (number, changed_by)
        for code, number, changed_by in connection.execute(
            "SELECT u.code, u.id, coalesce(r.changed_by, 'import')"
            " FROM units u LEFT JOIN rosters r ON r.unit_id = u.id WHERE u.active"
        )
    }
    stands = listed_rosters(connection)
    differ = [
        code for code, roster in listed.items() if code in known and not _same(stands.get(code), roster)
    ]
    ours = [code for code in differ if known[code][1] == "import"]
    ids = [known[code][0] for code in ours]
    connection.execute("DELETE FROM shifts WHERE unit_id = ANY(%s)", (ids,))
    connection.execute(
        "DELETE FROM roster WHERE unit_id = ANY(%s)", (ids,)
    )  # before any: people change units
    for number, code in zip(ids, ours, strict=True):
        _insert(connection, number, listed[code])
    return sorted(set(differ) - set(ours))


def _same(one: Roster | None, other: Roster) -> bool:
    if one is None:
        return not other.shifts and not other.people
    return list(one.shifts) == list(other.shifts) and [
        (person.person, person.phone, person.begins, person.ends) for person in one.people
    ] == [(person.person, person.phone, person.begins, person.ends) for person in other.people]


def _insert(connection: Connection[TupleRow], unit_id: int, roster: Roster) -> None:
    cursor = connection.cursor()
    cursor.executemany(
        "INSERT INTO shifts (unit_id, name, days, begins, ends) VALUES (%s, %s, %s, %s, %s)",
        [(unit_id, shift.name, shift.days, shift.begins, shift.ends) for shift in roster.shifts],
    )
    cursor.executemany(
        "INSERT INTO roster (unit_id, person, phone, begins, ends) VALUES (%s, %s, %s, %s, %s)",
        [(unit_id, one.person, one.phone, one.begins, one.ends) for one in roster.people],
    )
    cursor.execute(
        "INSERT INTO rosters AS known (unit_id, version, changed_at, changed_by) VALUES (%s, 1, now(), 'import')"
        " ON CONFLICT (unit_id) DO UPDATE SET version = known.version + 1, changed_at = now()",
        (unit_id,),
    )


def listed_rosters(connection: Connection[TupleRow]) -> dict[str, Roster]:
    """By unit's code, as an export writes them: people who log in here stand by their name."""
    shifts = connection.execute(
        "SELECT u.code, s.name, s.days, s.begins, s.ends FROM shifts s JOIN units u ON u.id = s.unit_id AND u.active"
        " ORDER BY u.code, s.id"
    ).fetchall()
    named = (
        connection.cursor(row_factory=class_row(OnDuty))
        .execute(_PEOPLE + " WHERE u.active ORDER BY u.code, r.id")
        .fetchall()
    )
    codes = sorted({row[0] for row in shifts} | {one.unit for one in named})
    return {
        code: Roster(
            shifts=[
                Shift(name=row[1], days=row[2], begins=row[3], ends=row[4])
                for row in shifts
                if row[0] == code
            ],
            people=[one for one in named if one.unit == code],
        )
        for code in codes
    }
