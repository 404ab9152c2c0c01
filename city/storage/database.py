"""Connections: how they are made, what they may wait for, and what their failures mean to a caller.

``changed`` is the one channel every process listens on: an empty nudge, once a transaction. The tables are the
truth; whoever listens also polls.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import Connection, errors

from city.errors import CityError

CHANNEL = "changed"
_OPTIONS = (
    "-c timezone=UTC -c statement_timeout=30s -c lock_timeout=10s -c idle_in_transaction_session_timeout=30s"
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


def connection_arguments(application: str) -> dict[str, object]:
    """Keyword arguments for psycopg.connect and for pools: UTC, bounded waits, a name in pg_stat_activity."""
    return {
        "application_name": application,
        "options": _OPTIONS,
        "connect_timeout": 5,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
    }


def connect(url: str, *, application: str, autocommit: bool = False) -> "Connection[tuple[object, ...]]":
    """A synchronous connection; raises DatabaseError with one readable line."""
    with translated():
        return psycopg.connect(url, autocommit=autocommit, **connection_arguments(application))  # type: ignore[arg-type]  # psycopg types its options one by one


def nudge(connection: "Connection[tuple[object, ...]]") -> None:
    """Wake whoever listens, at commit; PostgreSQL folds equal nudges of one transaction into one."""
    connection.execute(f"NOTIFY {CHANNEL}")
