"""How fast rules are replayed over stored readings, beside the fastest that the database gives them away.

`python -m bench.backtest` stores five million readings in TimescaleDB and in plain PostgreSQL (`--plain` or
`--timescale` for one of them), reads them as a raw COPY stream, and runs `city backtest rule` over them. Prints a
table; the figures are wall-clock, the memory is the largest that the command held.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psycopg

import city
from bench.database import started_server
from city.district import import_defaults
from city.observations import NO_SEQ, Readings
from city.storage import migrate, observations
from rules.definitions import to_rows
from tests.servers.city_process import REPOSITORY, city_environment

START = datetime(2026, 9, 1, tzinfo=UTC)
START_US = int(START.timestamp()) * 1_000_000
MINUTE_US = 60_000_000
DEFAULTS = Path(city.__file__).parent / "defaults" / "rules"
AT_ONCE = 200_000


def fill(url: str, rows: int, devices: int) -> None:
    """A reading a minute of each device, written as ingest writes; one in two thousand crosses its limit."""
    migrate.apply(url)
    import_defaults(url, parse_rules=to_rows)
    rng = np.random.default_rng(1)
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO devices (code, kind, expected_interval_s, registered_at)"
            " SELECT 'd' || n, 'smoke', 60, %s FROM generate_series(1, %s) n",
            (START, devices),
        )
        metric = connection.execute("SELECT id FROM metrics WHERE code = 'smoke'").fetchone()
        assert metric is not None
        for first in range(0, rows, AT_ONCE):
            number = np.arange(first, min(first + AT_ONCE, rows))
            observed = START_US + number // devices * MINUTE_US + number % devices * (MINUTE_US // devices)
            batch = Readings(
                device=(number % devices + 1).astype(np.int32),
                metric=np.full(len(number), metric[0], dtype=np.int16),
                observed_us=observed,
                received_us=observed + 100_000 + rng.integers(0, 400_000, len(number)),
                value=np.where(rng.random(len(number)) < 0.0005, 85.0, rng.normal(12, 2, len(number))),
                seq=np.full(len(number), NO_SEQ),
                quality=np.zeros(len(number), dtype=np.int16),
            )
            observations.copy_new(connection, batch.take(np.argsort(batch.device, kind="stable")))
            connection.commit()
        connection.commit()
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE observations")


def ceiling(url: str) -> float:
    """Seconds in which the server sends the whole table as a binary COPY; what arrives is thrown away."""
    with psycopg.connect(url) as connection:
        begun = time.monotonic()
        connection.pgconn.send_query(
            b"COPY (SELECT device_id, metric_id, quality, observed_at, received_at, value FROM observations)"
            b" TO STDOUT (FORMAT BINARY)"
        )
        while connection.pgconn.flush():
            pass
        link = socket.socket(fileno=os.dup(connection.pgconn.socket))
        link.setblocking(True)
        end = b""
        while not end.endswith((b"Z\0\0\0\x05I", b"Z\0\0\0\x05T")):
            end = (end + link.recv(1 << 20))[-16:]
        took = time.monotonic() - begun
        link.close()
        connection.pgconn.finish()
    return took


def rule_sets(folder: Path) -> dict[str, Path]:
    """One threshold, and everything that is built in."""
    texts = {path.name: path.read_text("utf-8") for path in sorted(DEFAULTS.glob("*.toml"))}
    smoke = texts["fire.toml"].split("[[rule]]")[1]
    sets = {"one threshold": "[[rule]]" + smoke, "built-in set": "\n".join(texts.values())}
    paths = {name: folder / f"{name.replace(' ', '-')}.toml" for name in sets}
    for name, text in sets.items():
        paths[name].write_text(text, encoding="utf-8")
    return paths


def replay(url: str, rules: Path, rows: int, devices: int) -> tuple[dict[str, float], float]:
    """The command's own figures, and the most memory it held in MB (1,000,000 bytes)."""
    end = START_US + (rows // devices + 1) * MINUTE_US
    command = [sys.executable, "-m", "runtime.cli", "backtest", "rule", str(rules), "--json"]
    command += ["--from", START.isoformat(), "--to", datetime.fromtimestamp(end / 1e6, UTC).isoformat()]
    command += ["--listening", "always"]
    program = "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], check=False);" + (
        " sys.stderr.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)); sys.exit(done.returncode)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command],
        env=city_environment(database_url=url),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"city backtest rule: {done.stderr[-2000:]}")
    report = json.loads(done.stdout)
    figures = {
        "readings": report["readings"],
        "seconds": report["seconds"],
        "readings_per_s": report["readings_per_s"],
        "episodes": report["totals"]["episodes"],
    }
    return figures, int(done.stderr) * 1024 / 1e6


@contextmanager
def filled(rows: int, devices: int, *, plain: bool) -> Iterator[str]:
    """A database with the readings in it."""
    with started_server(plain=plain) as server:
        url = server.url(server.create_database())
        fill(url, rows, devices)
        yield url


def measure(rows: int, devices: int, *, plain: bool) -> list[dict[str, object]]:
    """Two ways through the raw stream before and after, so that a busy moment shows."""
    results: list[dict[str, object]] = []
    with (
        tempfile.TemporaryDirectory(prefix="city-bench-") as folder,
        filled(rows, devices, plain=plain) as url,
    ):
        ceiling(url)  # pages into memory
        for name, path in rule_sets(Path(folder)).items():
            before = ceiling(url)
            figures, rss_mb = replay(url, path, rows, devices)
            raw_per_s = rows / min(before, ceiling(url))
            results.append(
                {
                    "database": "PostgreSQL" if plain else "TimescaleDB",
                    "rules": name,
                    **figures,
                    "raw_copy_per_s": round(raw_per_s),
                    "share_of_raw": round(figures["readings_per_s"] / raw_per_s, 2),
                    "rss_mb": round(rss_mb),
                }
            )
    return results


def main() -> None:
    """Command line: see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--devices", type=int, default=5_000)
    parser.add_argument("--plain", action="store_true", help="plain PostgreSQL only")
    parser.add_argument("--timescale", action="store_true", help="TimescaleDB only")
    parser.add_argument("--json", action="store_true", help="one JSON list instead of a table")
    given = parser.parse_args()
    kinds = [plain for plain, left_out in ((False, given.plain), (True, given.timescale)) if not left_out]
    results = [line for plain in kinds for line in measure(given.rows, given.devices, plain=plain)]
    if given.json:
        print(json.dumps(results))
        return
    for line in results:
        print("  ".join(f"{name} {value}" for name, value in line.items()))


if __name__ == "__main__":
    main()
