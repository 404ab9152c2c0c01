"""Bring a database to the newest schema: numbered SQL, forward only, then what TimescaleDB adds where it is there."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import structlog
from psycopg import errors
from yoyo import get_backend, read_migrations

from city.chunks import chunk_hours
from city.storage.database import DatabaseError, connect, translated

_LOCK = 7235_0001  # advisory lock: two processes that start together migrate once
_yoyo_is_not_thread_safe = threading.Lock()
LOCK_TIMEOUT = "2s"  # everybody who wants the table waits behind us for so long at most
LOCK_PATIENCE_S = 120.0
FULL_EDITION = "timescale"  # what its licence setting says; the other one says "apache"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Edition:
    """What kind of PostgreSQL this is. ``timescale`` is None, "apache" or "timescale" (the full edition)."""

    server_version: str
    timescale: str | None


def migrations_folder() -> Path:
    """Where the numbered SQL files lie, in a checkout and in an installed wheel."""
    return Path(str(resources.files("city.storage"))) / "migrations"


def apply(url: str, *, patience_s: float = LOCK_PATIENCE_S, chunk_h: int = 0) -> list[str]:
    """Apply every missing migration and return their names; nothing to do returns an empty list.

    ``chunk_h``: hours of a chunk of readings to come, where TimescaleDB keeps them; 0 = by the size of the register.

    Each is one transaction together with the note that it is applied, waits ``LOCK_TIMEOUT`` for a lock and then makes
    room for others before it tries again, for ``patience_s`` altogether. Raises DatabaseError when the server is older
    than 15 (UNIQUE NULLS NOT DISTINCT), when the schema is newer than this program, or when it refuses.
    """
    with connect(url, application="city migrate", autocommit=True) as connection, translated():
        if connection.info.server_version < 150000:
            raise DatabaseError(
                f"database: PostgreSQL {connection.info.server_version // 10000} is too old; use 15 or newer",
                retry=False,
            )
        connection.execute(
            "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0"
        )
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        url = _of_one_host(connection, url)
        _refuse_newer(connection)
        connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        applied = []
        for migration in _pending(url):
            _patiently(connection, migration.id, patience_s, partial(_apply_one, connection, url, migration))
            applied.append(str(migration.id))
        _patiently(connection, "TimescaleDB", patience_s, partial(_apply_timescale, connection, chunk_h))
        return applied


def _of_one_host(connection: "psycopg.Connection[tuple[object, ...]]", url: str) -> str:
    """The address of the server that answered, where several were named: yoyo reads addresses of one host only."""
    parts = urlsplit(url)
    if "," not in parts.netloc:
        return url
    account = parts.netloc.rpartition("@")[0]
    where = f"{account}@{connection.info.host}:{connection.info.port}"
    return urlunsplit(parts._replace(netloc=where))


def missing(url: str) -> list[str]:
    """Names of migrations that ``apply`` would run now.

    Raises DatabaseError, not to be retried, when the schema says that it is no longer for a program as old as this.
    """
    with connect(url, application="city migrate") as connection, translated():
        return missing_here(connection)


def missing_here(connection: "psycopg.Connection[tuple[object, ...]]") -> list[str]:
    """The same over a connection that is there."""
    known = _known()
    done = _applied(connection)
    _refuse_outgrown(connection, known, done)
    return [name for name in known if name not in done]


def _known() -> list[str]:
    return [path.stem for path in sorted(migrations_folder().glob("[0-9]*.sql"))]


def _applied(connection: "psycopg.Connection[tuple[object, ...]]") -> set[str]:
    table = connection.execute("SELECT to_regclass('_yoyo_migration')").fetchone()
    if table is None or table[0] is None:
        return set()
    return {str(row[0]) for row in connection.execute("SELECT migration_id FROM _yoyo_migration")}


def _refuse_newer(connection: "psycopg.Connection[tuple[object, ...]]") -> None:
    """A schema is never brought back: what a newer program added would be lost with it."""
    known = _known()
    if newer := sorted(_applied(connection) - set(known)):
        raise DatabaseError(
            f"database: its schema ({newer[-1]}) is newer than this program ({known[-1]}) and is not brought back; "
            "use the newer program, or restore the backup of before the upgrade (docs/upgrade.md)",
            retry=False,
        )


def _refuse_outgrown(
    connection: "psycopg.Connection[tuple[object, ...]]", known: Sequence[str], done: set[str]
) -> None:
    """A program one release behind works on; one that the schema has outgrown says so in one line."""
    table = connection.execute("SELECT to_regclass('schema_release')").fetchone()
    if table is None or table[0] is None:
        return
    row = connection.execute("SELECT oldest_reader FROM schema_release").fetchone()
    if row is not None and str(row[0]) not in known and str(row[0]) in done:
        raise DatabaseError(
            f"database: its schema needs a program that knows {row[0]}, this one knows {known[-1]}; upgrade it",
            retry=False,
        )


def edition(connection: "psycopg.Connection[tuple[object, ...]]") -> Edition:
    """Detected by the extension's row, then its licence setting (a server may have it and a database not)."""
    present = connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'").fetchone()
    version = str(connection.info.server_version)
    if present is None:
        return Edition(server_version=version, timescale=None)
    row = connection.execute("SELECT current_setting('timescaledb.license', true)").fetchone()
    return Edition(server_version=version, timescale=str(row[0]) if row and row[0] else "apache")


def _pending(url: str) -> list[Any]:
    """yoyo's migrations that are not applied, in order."""
    with _yoyo_is_not_thread_safe:
        scheme_free = url.split("://", 1)[1]
        backend = get_backend(f"postgresql+psycopg://{scheme_free}")
        try:
            backend.break_lock()  # a crash left it: whoever migrates now holds our own lock
            return list(backend.to_apply(read_migrations(str(migrations_folder()))))
        except psycopg.Error as error:
            raise DatabaseError("database: " + " ".join(str(error).split())[:300], retry=False) from error
        finally:
            backend.connection.close()


def _apply_one(connection: "psycopg.Connection[tuple[object, ...]]", url: str, migration: Any) -> None:
    """The file and the note that it is applied together, or neither; yoyo would note it a moment later.

    A file that says ``-- transactional: false`` (an index built CONCURRENTLY) is yoyo's, and must be repeatable.
    """
    migration.load()
    if not migration.use_transactions:
        _apply_outside_transaction(url, migration)
        return
    with connection.transaction():
        connection.execute(Path(migration.path).read_bytes())
        connection.execute(
            "INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc)"
            " VALUES (%s, %s, now() AT TIME ZONE 'UTC')",
            (migration.hash, migration.id),
        )


def _apply_outside_transaction(url: str, migration: Any) -> None:
    scheme_free = url.split("://", 1)[1]
    with _yoyo_is_not_thread_safe, get_backend(f"postgresql+psycopg://{scheme_free}") as backend:
        backend.apply_one(migration)


def _patiently(
    connection: "psycopg.Connection[tuple[object, ...]]",
    name: str,
    patience_s: float,
    work: Callable[[], None],
) -> None:
    """Try until no lock is in the way. Between two attempts whoever waited behind us goes on."""
    deadline, pause_s = time.monotonic() + patience_s, 0.2
    while True:
        try:
            work()
            return
        except (errors.LockNotAvailable, errors.DeadlockDetected) as error:
            holder = _longest(connection)
            if time.monotonic() > deadline:
                raise DatabaseError(
                    f"database: {name} waits for a lock; the oldest transaction is of {holder}; "
                    "wait for it or end it, then run `city migrate` again (nothing is half done)",
                    retry=True,
                ) from error
            log.warning("migration waits for a lock", migration=name, oldest_transaction=holder)
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, 2.0)


def _longest(connection: "psycopg.Connection[tuple[object, ...]]") -> str:
    """Who has had a transaction open for longest, for a person to look at."""
    row = connection.execute(
        "SELECT application_name, pid, extract(epoch FROM clock_timestamp() - xact_start)::integer"
        " FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND xact_start IS NOT NULL ORDER BY xact_start LIMIT 1"
    ).fetchone()
    return f"{row[0] or 'somebody'} (pid {row[1]}, {row[2]} s)" if row else "nobody any more"


def _apply_timescale(connection: "psycopg.Connection[tuple[object, ...]]", chunk_h: int) -> None:
    """Where the server has it loaded; an owner who may not ask that sees whether somebody made the extension."""
    row = connection.execute(
        """
        SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb') AND coalesce(
            (SELECT setting LIKE '%timescaledb%' FROM pg_settings WHERE name = 'shared_preload_libraries'),
            EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb'))
        """
    ).fetchone()
    if row is None or not row[0]:
        return
    connection.execute(_sql("timescale.sql"))
    if edition(connection).timescale == FULL_EDITION:
        connection.execute(_sql("timescale_full.sql"))
    _settle_chunks(connection, chunk_h)


def _sql(name: str) -> bytes:
    return (Path(str(resources.files("city.storage"))) / name).read_bytes()


def _settle_chunks(connection: "psycopg.Connection[tuple[object, ...]]", chunk_h: int) -> None:
    """How long chunks to come are; those that are there stay as they are.

    By itself it only becomes shorter: what somebody set by hand for a reason of his own is not undone.
    """
    row = connection.execute(
        "SELECT extract(epoch FROM time_interval)::integer, (SELECT count(*) FROM devices)"
        " FROM timescaledb_information.dimensions"
        " WHERE hypertable_schema = 'public' AND hypertable_name = 'observations'"
    ).fetchone()
    if row is None:
        return
    now_s, devices = int(str(row[0])), int(str(row[1]))
    wanted_s = 3600 * chunk_h if chunk_h else min(now_s, 3600 * chunk_hours(devices))
    if wanted_s != now_s:
        connection.execute(
            "SELECT set_chunk_time_interval('observations', make_interval(secs => %s))", (wanted_s,)
        )
        log.info("chunks of readings to come", hours=wanted_s / 3600, before=now_s / 3600, devices=devices)
