"""How long a district stands still while its database goes elsewhere, and how fast its past is copied.

Both databases are on one server of this machine, so reading and writing share its processors and its disk.

    python -m bench.district_move [--devices 2000] [--minutes 1500] [--entries 200000] [--plain]
"""

import argparse
import time

import psycopg

from bench.database import started_server
from city.district import import_defaults
from city.storage import migrate
from rules.definitions import to_rows
from runtime import district_move


def filled(url: str, *, devices: int, minutes: int, entries: int) -> None:
    """A reading a minute of each device, and so many rows of audit for the size of the books."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO district (code, name, timezone) VALUES ('east', 'East', 'Asia/Shanghai')"
        )
        connection.execute(
            "INSERT INTO devices (code, kind) SELECT 'd' || n, (SELECT code FROM device_kinds LIMIT 1)"
            " FROM generate_series(1, %s) n",
            [devices],
        )
        connection.execute(
            "INSERT INTO observations (device_id, metric_id, observed_at, received_at, value)"
            " SELECT d.id, 1, now() - make_interval(mins => m), now(), 20 FROM devices d, generate_series(1, %s) m",
            [minutes],
        )
        connection.execute(
            "INSERT INTO audit (actor, action, object) SELECT 'user:1', 'test', n::text FROM generate_series(1, %s) n",
            [entries],
        )
        connection.execute("VACUUM ANALYZE")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--devices", type=int, default=2000)
    parser.add_argument("--minutes", type=int, default=1500)
    parser.add_argument("--entries", type=int, default=200_000)
    parser.add_argument("--plain", action="store_true", help="PostgreSQL without TimescaleDB")
    asked = parser.parse_args()
    with started_server(plain=asked.plain) as server:
        old = server.url(server.create_database())
        migrate.apply(old)
        import_defaults(old, parse_rules=to_rows)
        filled(old, devices=asked.devices, minutes=asked.minutes, entries=asked.entries)
        new = server.url(server.create_database())
        began = time.monotonic()
        done = district_move.move(old, new, code="east", told=lambda _line: None)
        seconds = time.monotonic() - began
        print(
            f"{done.rows:,} rows of the past and {done.books} tables in {seconds:.1f} s"
            f" ({done.rows / seconds:,.0f} rows a second, compared twice); nobody served for {done.stood_s:.1f} s"
        )


if __name__ == "__main__":
    main()
