"""Connections: how they are made, what they may wait for, and what their failures mean to a caller.

``changed`` is the one channel every process listens on: an empty nudge, once a transaction. The tables are the
truth; whoever listens also polls.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import Connection, errors

from city.errors import CityError
from city.storage.lines import PatientConnection

CHANNEL = "changed"
_OPTIONS = (
    "-c timezone=UTC -c statement_timeout=30s -c lock_timeout=10s -c idle_in_transaction_session_timeout=30s"
    # the server looks whether we are still there, also in the middle of a statement, and gives its locks back
    " -c client_connection_check_interval=5s"
    # and also while nothing is said: of a machine that vanished the locks of sessions would stay for two hours
    " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"
    " -c search_path=public"
)


class DatabaseError(CityError):
    """The database said no. ``retry`` tells whether the same work may succeed later."""

    def __init__(self, message: str, *, retry: bool) -> None:
        super().__init__(message)
        self.retry = retry


@contextmanager
def translated() -> Iterator[None]:
    """Turn a driver's error into DatabaseError; connection loss, deadlock and full disk may be retried."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise DatabaseError(_line(error), retry=True) from error
    except errors.TransactionRollback as error:
        raise DatabaseError(_line(error), retry=True) from error
    except psycopg.Error as error:
        raise DatabaseError(_line(error), retry=False) from error


def _line(error: psycopg.Error) -> str:
    """Without the server's DETAIL and CONTEXT, which repeat the row: it may be a person's."""
    said = error.diag.message_primary or str(error)
    return "database: " + " ".join(said.split())[:300]


# Of programming errors those that speak of the schema and of our rights in it, not of what was to be stored: a
# migration under way, a role that lost a right (PostgreSQL, appendix A).
_OF_THE_SCHEMA = ("3D", "3F", "42501", "42P01", "42703", "42704", "42883")


def blames_the_rows(error: BaseException) -> bool:
    """Whether the database refused what was to be stored, and would again; all else is worth waiting for.

    Waiting is the answer to a lost connection, a full disk (53100), a server that only reads (25006), a lock, a
    time-out, a deadlock, a plan that no longer fits (0A000), and to a table that is not there at the moment.
    """
    if isinstance(error, psycopg.DataError | psycopg.IntegrityError):
        return True
    return isinstance(error, psycopg.ProgrammingError) and not (error.sqlstate or "").startswith(
        _OF_THE_SCHEMA
    )


def connection_arguments(application: str) -> dict[str, object]:
    """Keyword arguments for psycopg.connect and for pools: UTC, bounded waits, a name in pg_stat_activity.

    A host that vanished without a word is noticed after ``keepalives`` (11 s) on an idle line and after
    ``tcp_user_timeout`` where something was said; docs/outages.md.
    """
    return {
        "application_name": application,
        "options": _OPTIONS,
        "connect_timeout": 4,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
        "target_session_attrs": "read-write",  # of several hosts the one that was promoted
    }


def connect(url: str, *, application: str, autocommit: bool = False) -> "Connection[tuple[object, ...]]":
    """A synchronous connection; raises DatabaseError with one readable line."""
    with translated():
        return PatientConnection.connect(url, autocommit=autocommit, **connection_arguments(application))  # type: ignore[arg-type]  # psycopg types its options one by one


def nudge(connection: "Connection[tuple[object, ...]]") -> None:
    """Wake whoever listens, at commit; PostgreSQL folds equal nudges of one transaction into one."""
    connection.execute(f"NOTIFY {CHANNEL}")
