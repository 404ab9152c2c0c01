"""Bring a database to the newest schema: numbered SQL, forward only, then what TimescaleDB adds where it is there."""

import threading
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import psycopg
from yoyo import get_backend, read_migrations

from city.storage.database import DatabaseError, connect, translated

_LOCK = 7235_0001  # advisory lock: two processes that start together migrate once
_yoyo_is_not_thread_safe = threading.Lock()


@dataclass(frozen=True, kw_only=True, slots=True)
class Edition:
    """What kind of PostgreSQL this is. ``timescale`` is None, "apache" or "timescale" (the full edition)."""

    server_version: str
    timescale: str | None


def migrations_folder() -> Path:
    """Where the numbered SQL files lie, in a checkout and in an installed wheel."""
    return Path(str(resources.files("city.storage"))) / "migrations"


def apply(url: str) -> list[str]:
    """Apply every missing migration and return their names; nothing to do returns an empty list.

    Raises DatabaseError when the server is older than 15 (UNIQUE NULLS NOT DISTINCT) or refuses.
    """
    with connect(url, application="city migrate", autocommit=True) as connection, translated():
        if connection.info.server_version < 150000:
            raise DatabaseError(
                f"database: PostgreSQL {connection.info.server_version // 10000} is too old; use 15 or newer",
                retry=False,
            )
        connection.execute("SET statement_timeout = 0; SET lock_timeout = 0")
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        applied = _apply_numbered(url)
        _apply_timescale(connection)
        return applied


def missing(url: str) -> list[str]:
    """Names of migrations that ``apply`` would run now."""
    with connect(url, application="city migrate") as connection, translated():
        known = [path.stem for path in sorted(migrations_folder().glob("[0-9]*.sql"))]
        table = connection.execute("SELECT to_regclass('_yoyo_migration')").fetchone()
        if table is None or table[0] is None:
            return known
        done = {str(row[0]) for row in connection.execute("SELECT migration_id FROM _yoyo_migration")}
        return [name for name in known if name not in done]


def edition(connection: "psycopg.Connection[tuple[object, ...]]") -> Edition:
    """Detected by the extension's row, then its licence setting (a server may have it and a database not)."""
    present = connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'").fetchone()
    version = str(connection.info.server_version)
    if present is None:
        return Edition(server_version=version, timescale=None)
    row = connection.execute("SELECT current_setting('timescaledb.license', true)").fetchone()
    return Edition(server_version=version, timescale=str(row[0]) if row and row[0] else "apache")


def _apply_numbered(url: str) -> list[str]:
    with _yoyo_is_not_thread_safe:
        scheme_free = url.split("://", 1)[1]
        backend = get_backend(f"postgresql+psycopg://{scheme_free}")
        try:
            migrations = read_migrations(str(migrations_folder()))
            pending = backend.to_apply(migrations)
            names = [str(migration.id) for migration in pending]
            backend.apply_migrations(pending)
            return names
        except psycopg.Error as error:
            raise DatabaseError("database: " + " ".join(str(error).split())[:300], retry=False) from error
        finally:
            backend.connection.close()


def _apply_timescale(connection: "psycopg.Connection[tuple[object, ...]]") -> None:
    available = connection.execute(
        "SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'"
    ).fetchone()
    preloaded = connection.execute("SELECT current_setting('shared_preload_libraries')").fetchone()
    if available is None or preloaded is None or "timescaledb" not in str(preloaded[0]):
        return
    sql = (Path(str(resources.files("city.storage"))) / "timescale.sql").read_text(encoding="utf-8")
    connection.execute(sql.encode())
