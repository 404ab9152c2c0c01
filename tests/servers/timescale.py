"""TimescaleDB (Debian's Apache edition) on PostgreSQL 17, from a private tree in the cache folder."""

from pathlib import Path

from tests.servers.debian_tree import unpacked

SETTINGS = {"shared_preload_libraries": "timescaledb", "timescaledb.telemetry_level": "off"}
_BIN = "usr/lib/postgresql/17/bin"


def timescale_binaries() -> Path:
    """The folder with postgres and initdb; fetched on the first call (about 10 s).

    Raises UnavailableError when this machine cannot fetch it.
    """
    programs = [f"{_BIN}/postgres", f"{_BIN}/initdb"]
    return unpacked("timescaledb", ["postgresql-17-timescaledb"], programs) / _BIN
