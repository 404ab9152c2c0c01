"""How large the database is on its server's disk: all that a client can know of that disk."""

from typing import Any

from psycopg import Connection

# The write-ahead log lies beside the tables and belongs to them; only monitors may look.
_SIZE = """
    SELECT pg_database_size(current_database()) + CASE WHEN pg_has_role(current_user, 'pg_monitor', 'USAGE')
        THEN (SELECT coalesce(sum(size), 0) FROM pg_ls_waldir()) ELSE 0 END
"""


def used_bytes(connection: Connection[Any]) -> int:
    """Tables, indexes and, where the role is a monitor (``GRANT pg_monitor TO city``), the write-ahead log."""
    row = connection.execute(_SIZE).fetchone()
    assert row is not None  # noqa: S101  # one row always
    return int(row[0])
