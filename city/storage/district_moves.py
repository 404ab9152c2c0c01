"""How far a district's move to another database is, and which of the two may be written to. Synchronous.

``city.storage.district_copies`` copies; here stands what makes it one move whoever interrupts it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

from city.storage import audit
from city.storage.database import connection_arguments, translated
from city.storage.district_copies import Db, MoveError

_LOCK = 7235_0041
_TRIES = 20  # of ending connections, each waits for five seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """How far it is, as the new database says; ``copied_to`` None = nothing is there."""

    state: str
    copied_to: datetime | None
    copying_to: datetime | None
    begun_at: datetime


@contextmanager
def opened(url: str) -> Iterator[Db]:
    """A connection that may write where the database says that nobody may, and waits as long as it takes."""
    arguments: dict[str, Any] = {**connection_arguments("city district move"), "target_session_attrs": "any"}
    arguments["options"] += (
        " -c default_transaction_read_only=off -c statement_timeout=0 -c idle_in_transaction_session_timeout=0"
    )
    with translated(), psycopg.connect(url, autocommit=True, **arguments) as connection:
        yield connection


# ── what the databases are ───────────────────────────────────────────────────────────────────────────


def identity(connection: Db) -> str:
    """Of this very database, unlike that of a copy."""
    return str(
        _value(
            connection,
            "SELECT format('%s/%s', (SELECT system_identifier FROM pg_control_system()), oid) FROM pg_database"
            " WHERE datname = current_database()",
        )
    )


def migrations(connection: Db) -> list[str]:
    """Names of those applied."""
    return [row[0] for row in connection.execute("SELECT migration_id FROM _yoyo_migration ORDER BY 1")]


def has_schema(connection: Db) -> bool:
    """Whether anything was migrated."""
    return bool(_value(connection, "SELECT to_regclass('public._yoyo_migration') IS NOT NULL"))


def district_code(connection: Db) -> str | None:
    """Of the district that it holds."""
    row = connection.execute("SELECT code FROM district").fetchone()
    return str(row[0]) if row else None


def move_of(connection: Db) -> tuple[str, Move] | None:
    """Identity of the database that is moved into this one, and how far that is."""
    row = connection.execute(
        "SELECT source, state, nullif(copied_to, '-infinity'), copying_to, begun_at FROM district_moves"
    ).fetchone()
    if row is None:
        return None
    return str(row[0]), Move(state=row[1], copied_to=row[2], copying_to=row[3], begun_at=row[4])


def alone(target: Db) -> bool:
    """Whether nobody else moves into this database; held as long as the connection."""
    return bool(_value(target, f"SELECT pg_try_advisory_lock({_LOCK})"))


def begin(target: Db, source: str) -> None:
    """Note from where; until the switch nobody else may write here."""
    with target.transaction():
        target.execute("INSERT INTO district_moves (source) VALUES (%s)", [source])
        _only_reads(target, value=True)


def open_round(target: Db, until: datetime) -> None:
    """The next round copies what was observed before ``until``; one that is under way stays."""
    target.execute(
        "UPDATE district_moves SET copying_to = greatest(%s, copied_to) WHERE copying_to IS NULL", [until]
    )


def close_round(target: Db) -> None:
    """All of it is there."""
    target.execute("UPDATE district_moves SET copied_to = copying_to, copying_to = NULL")


# ── who may write ────────────────────────────────────────────────────────────────────────────────────


def _only_reads(connection: Db, *, value: bool) -> None:
    name = sql.Identifier(str(_value(connection, "SELECT current_database()")))
    change = sql.SQL(
        "SET default_transaction_read_only = on" if value else "RESET default_transaction_read_only"
    )
    connection.execute(sql.SQL("ALTER DATABASE {} ").format(name) + change)


def fence(source: Db) -> int:
    """Nobody writes to the old database any more; how many connections were ended.

    Every session begun from now on is read-only, which our programs take for a database that is away; those begun
    before are ended, in whatever they are doing: it is undone, and they find out.
    """
    _only_reads(source, value=True)
    since = _value(source, "SELECT clock_timestamp()")
    ended = 0
    for _ in range(_TRIES):
        rows = source.execute(
            """
            SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
              AND backend_start <= %s
            """,
            [since],
        ).fetchall()
        if not rows:
            return ended
        ended += len(rows)
    raise MoveError("connections to the old database do not end; end them by hand and run again")


def unfence(source: Db) -> None:
    """The old database takes everything again."""
    _only_reads(source, value=False)


def switch(target: Db, *, code: str, source: str) -> None:
    """The new database serves from this commit on.

    Days whose late readings came while the past was copied are rolled up again.
    """
    with target.transaction():
        target.execute("UPDATE district_moves SET state = 'switched', switched_at = now()")
        target.execute(
            "UPDATE rollup_progress SET looked_at = least(looked_at, (SELECT begun_at FROM district_moves))"
        )
        audit.record(
            target,
            actor="command-line",
            action="district.moved",
            subject=f"district:{code}",
            detail={"from": source},
        )
        _only_reads(target, value=False)


def finish(target: Db) -> None:
    """Everything was compared."""
    target.execute("UPDATE district_moves SET state = 'done', done_at = now()")


def _value(connection: Db, query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None  # noqa: S101  # each of our questions has one answer
    return row[0]
