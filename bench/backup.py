"""A backup under load, and its restore on an empty machine: minutes, gigabytes, and whether ingest keeps up.

python -m bench.backup --millions 10 --incidents 20000 --rate 2000 --seconds 400 [--plain]

A database with so many readings and timelines is loaded with `rate` messages a second through mosquitto and
`city ingest`; meanwhile `city backup` runs (with its check). Then another, empty server gets `city restore`. For
comparison pg_basebackup copies the first server's files as they are.
"""

import argparse
import json
import os
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from bench import district
from bench.audit_verify import fill
from bench.database import started_server
from bench.frames import Fleet
from bench.load import Load, publish
from bench.product import Product
from runtime.backup_files import size_below
from tests.servers.mosquitto import MosquittoServer
from tests.servers.postgres import PostgresServer, wheel_binaries

FLEET = Fleet(devices=1000, cells=50)
_OLD = """
    INSERT INTO observations (device_id, metric_id, observed_at, received_at, value, seq)
    SELECT d.id, m.id, now() - interval '12 hours' - n * interval '1 minute', now() - n * interval '1 minute',
           round((random() * 50)::numeric, 1), n
    FROM generate_series(%s::integer, %s::integer) n CROSS JOIN devices d CROSS JOIN metrics m
    WHERE m.code = 'smoke' AND d.code LIKE 'b%%'
"""
_LOADED = (
    "SELECT count(*) FROM observations o JOIN devices d ON d.id = o.device_id"
    " WHERE d.code LIKE 'b%%' AND o.received_at > %s"
)


@dataclass
class Lags:
    """What ingest said of its lag, second by second."""

    url: str
    seen: list[float] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Until `stop`."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            while not self.stop.wait(1):
                row = connection.execute(
                    "SELECT (figures ->> 'lag_ms')::float / 1000 FROM ingest_sessions ORDER BY alive_at DESC LIMIT 1"
                ).fetchone()
                if row is not None and row[0] is not None:
                    self.seen.append(float(row[0]))


def prepare(product: Product, folder: Path, millions: float, incidents: int) -> None:
    """A district with so much history."""
    district.write(folder / "district", FLEET)
    product.prepare(folder / "district")
    minutes = int(millions * 1_000_000 / FLEET.devices)
    with psycopg.connect(product.database_url, autocommit=True) as connection:
        for first in range(1, minutes + 1, 500):
            connection.execute(_OLD, (first, min(first + 499, minutes)))
        connection.execute("VACUUM ANALYZE observations")
    fill(product.database_url, incidents, 10)


def timed(product: Product, *arguments: str) -> dict[str, object]:
    """A `city` command with --json, and the seconds it took."""
    began = time.monotonic()
    answer: dict[str, object] = json.loads(product.command(*arguments, "--json"))
    return answer | {"wall_seconds": round(time.monotonic() - began, 1)}


def base_copy(server: PostgresServer, into: Path) -> dict[str, object]:
    """What pg_basebackup takes, for comparison."""
    began = time.monotonic()
    command = [str(wheel_binaries() / "pg_basebackup"), f"--pgdata={into}", "--checkpoint=fast", "--no-sync"]
    env = {**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "postgres"}
    subprocess.run(command, check=True, env=env | {"PGPASSWORD": server._password}, capture_output=True)
    return {"wall_seconds": round(time.monotonic() - began, 1), "bytes": size_below(into)}


def under_load(product: Product, port: int, given: argparse.Namespace, backups: Path) -> dict[str, object]:
    """Start the load, back up meanwhile, and look whether everything sent was stored."""
    load = Load(fleet=FLEET, total=given.rate * given.seconds, rate=given.rate)
    product.start_ingest()
    product.wait_listening()
    with psycopg.connect(product.database_url) as connection:
        (since,) = connection.execute("SELECT clock_timestamp()").fetchone() or (None,)
    publisher = publish(port, load)
    lags = Lags(product.database_url)
    watching = threading.Thread(target=lags.watch)
    watching.start()
    time.sleep(5)
    calm, lags.seen = lags.seen, []
    try:
        made = timed(product, "backup", str(backups))
    finally:
        lags.stop.set()
        watching.join()
    during, ended_before = lags.seen, not publisher.running()
    publisher.result(given.seconds + 120)
    stored, deadline = 0, time.monotonic() + 120
    while stored < load.total and time.monotonic() < deadline:
        time.sleep(3)
        with psycopg.connect(product.database_url) as connection:
            (stored,) = connection.execute(_LOADED.encode(), (since,)).fetchone() or (0,)
    return {
        "backup": made,
        "lag_s_before": max(calm, default=None),
        "lag_s_during_worst": max(during, default=None),
        "load_ended_before_the_backup": ended_before,
        "sent": load.total,
        "stored": stored,
    }


def main() -> None:
    """Run it and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", type=float, default=1)
    parser.add_argument("--incidents", type=int, default=2_000)
    parser.add_argument("--rate", type=int, default=2_000, help="messages a second")
    parser.add_argument("--seconds", type=int, default=60, help="of load; longer than the backup takes")
    parser.add_argument("--plain", action="store_true", help="without TimescaleDB")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="city-bench-backup-") as name,
        started_server(plain=given.plain) as server,
    ):
        folder = Path(name)
        broker = MosquittoServer()
        broker.start()
        product = Product(folder / "one", server.url(server.create_database(bare=given.plain)), broker.url)
        try:
            prepare(product, folder, given.millions, given.incidents)
            with psycopg.connect(product.database_url) as connection:
                (size,) = connection.execute("SELECT pg_database_size(current_database())").fetchone() or (0,)
            found = {"database_bytes": size} | under_load(product, broker.port, given, folder / "backups")
            product.stop()
            if given.plain:  # the other server's program is not ours to run
                found["pg_basebackup"] = base_copy(server, folder / "base")
        finally:
            product.stop()
            broker.close()
        server.stop()
        with started_server(plain=given.plain) as empty:
            other = Product(folder / "two", empty.url(empty.create_database(bare=True)), broker.url)
            found["restore"] = timed(other, "restore", str(folder / "backups"))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
