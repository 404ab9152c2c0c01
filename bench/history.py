"""What a stored reading weighs in the database and in a day's file, and how long a day takes out and back."""

import argparse
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import psycopg
from numpy.typing import NDArray

from bench.database import started_server
from city.observations import NO_SEQ, Quality, Readings
from city.storage import fleets, migrate, observations
from runtime import history_archive

INTERVAL_S = 300
DAY = date(2026, 3, 1)
_AT_ONCE = 500  # devices


def day_of(devices: NDArray[np.int64], metric: int, seed: int) -> Readings:
    """A day of these devices as sensors speak: every five minutes or nearly so, in tenths that wander, numbered."""
    dice = np.random.default_rng(seed)
    each = 86_400 // INTERVAL_S
    begin_us = int(datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC).timestamp()) * 1_000_000
    phase_ms = dice.integers(0, INTERVAL_S * 1000 - 2_000, len(devices))
    wandering_ms = dice.integers(-900, 900, (len(devices), each)).clip(min=0)
    observed_us = begin_us + (phase_ms[:, None] + np.arange(each) * INTERVAL_S * 1000 + wandering_ms) * 1000
    tenths = 200 + dice.integers(-1, 2, (len(devices), each)).cumsum(axis=1)
    count = len(devices) * each
    return Readings(
        device=np.repeat(devices, each).astype(np.int32),
        metric=np.full(count, metric, np.int16),
        observed_us=observed_us.ravel(),
        received_us=observed_us.ravel() + dice.integers(40_000, 900_000, count),
        value=tenths.ravel() / 10,
        seq=np.tile(np.arange(each) + 40_000, len(devices)) if seed % 2 else np.full(count, NO_SEQ),
        quality=np.full(count, int(Quality.GOOD), np.int16),
    )


def run(url: str, devices: int) -> None:
    """One day out and back; prints what it weighs and takes."""
    migrate.apply(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO device_kinds (code, name, name_en) VALUES ('smoke', 's', 's')")
        connection.execute("INSERT INTO metrics (code) VALUES ('value')")
        connection.execute(
            "INSERT INTO devices (code, kind)"
            " SELECT 'f' || lpad(n::text, 8, '0'), 'smoke' FROM generate_series(1, %s) n",
            [devices],
        )
        connection.execute(
            "INSERT INTO rollup_progress (done_to, looked_at) VALUES (%s, now())", [DAY + timedelta(1)]
        )
        ids = np.array([row[0] for row in connection.execute("SELECT id FROM devices ORDER BY id")])
        row = connection.execute("SELECT id FROM metrics WHERE code = 'value'").fetchone()
        assert row is not None
        before = fleets.weigh(connection)
        # In order of time, as they come: pages of the table and of its key fill as they do in life.
        parts = [
            day_of(ids[at : at + _AT_ONCE], row[0], at // _AT_ONCE) for at in range(0, devices, _AT_ONCE)
        ]
        whole = Readings(
            **{name: np.concatenate([getattr(p, name) for p in parts]) for name in Readings.__slots__}
        )
        whole = whole.take(np.argsort(whole.received_us))
        for begin in range(0, len(whole), 5_000):
            observations.copy_new(connection, whole.part(begin, begin + 5_000))
        after = fleets.weigh(connection)
    hot = (after.observations - before.observations) / len(whole)
    print(f"{len(whole):,} readings in the database: {hot:.1f} bytes each")
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        (made,) = history_archive.archive(url, Path(folder), before=DAY + timedelta(1), most=1)
        out_s = time.monotonic() - began
        print(
            f"{made.readings:,} in a file: {made.bytes / made.readings:.2f} bytes each, out in {out_s:.1f} s"
        )
        began = time.monotonic()
        _, back = history_archive.restore(url, Path(folder), DAY)
        print(f"{back:,} put back in {time.monotonic() - began:.1f} s")


def main() -> None:
    """Command line: see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=2_000)
    parser.add_argument("--plain", action="store_true", help="PostgreSQL without TimescaleDB")
    given = parser.parse_args()
    with started_server(plain=given.plain) as server:
        run(server.url(server.create_database()), given.devices)


if __name__ == "__main__":
    main()
