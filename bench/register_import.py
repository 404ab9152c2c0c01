"""How long a list of many devices takes: tried with one bad row in a hundred, tried again, and taken in.

    .venv/bin/python -m bench.register_import --devices 200000

Starts a PostgreSQL of its own. Prints seconds and the most memory of this process and of the database's largest one.
"""

import argparse
import csv
import io
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from city import district
from city.district_preview import Preview, take_in
from city.storage import migrate
from command_centre.rule_changes import check_imported
from rules.definitions import to_rows
from rules.writing import to_toml
from tests.servers.postgres import PostgresServer, wheel_binaries

SIDE = 40  # cells a side of the square district
STEP = 0.002  # degrees, about 200 m
WEST, SOUTH = 114.30, 22.60
HEADER = [
    "code",
    "kind",
    "name",
    "cell",
    "lon",
    "lat",
    "model",
    "owner_unit",
    "maintainer_unit",
    "gateway",
    "expected_interval_s",
    "address",
    "tags",
    "names",
    "vendor",
    "profile",
    "life",
    "installed_on",
    "calibrated_on",
    "calibration_due",
]
BAD = (
    ("kind", "teapot"),
    ("lon", "north"),
    ("cell", "C-none"),
    ("expected_interval_s", "soon"),
    ("gateway", "nobody"),
)


def main() -> int:
    """Start, fill, measure, print; 1 when something was not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=200_000)
    wanted = parser.parse_args().devices
    server = PostgresServer(wheel_binaries(), settings={"fsync": "on"})
    server.start()
    try:
        url = server.url(server.create_database())
        migrate.apply(url)
        district.import_defaults(url, parse_rules=to_rows)
        with tempfile.TemporaryDirectory() as place:
            _write_district(Path(place))
            district.import_folder(url, Path(place), parse_rules=to_rows)
        return measure(url, wanted)
    finally:
        server.close()


def measure(url: str, wanted: int) -> int:
    """The three steps of a person: faults shown, mended and shown again, taken in."""
    bad = {n for n in range(wanted) if n % 100 == 50}
    before = _memory()
    with psycopg.connect(url) as connection:
        seconds, refused = _timed(connection, _list(wanted, bad), dry_run=True)
        said = {one.row for one in refused.rows if one.fate == "refused" and one.faults}
        all_said = said == {n + 2 for n in bad} and all(
            fault.remedy for one in refused.rows for fault in one.faults
        )
        _line(
            "dry run with 1 % bad rows", seconds, f"{len(said)} of {len(bad)} bad rows with line and reason"
        )
        nothing = _count(connection) == 0
        tried, shown = _timed(connection, _list(wanted, set()), dry_run=True)
        _line("dry run of the mended list", tried, str(shown.counts().get("devices.csv")))
        nothing = nothing and _count(connection) == 0
        taken, done = _timed(connection, _list(wanted, set()), dry_run=False, expected=shown.token)
        _line(
            "import of what was shown", taken, f"{done.report.devices_changed if done.report else 0} changed"
        )
        there = _count(connection)
        again, same = _timed(connection, _list(wanted, set()), dry_run=True)
        _line("dry run of the same again", again, str(same.counts().get("devices.csv")))
    print(f"dry run and import together: {tried + taken:.1f} s")
    print(f"processor time of this process for all of it: {time.process_time():.1f} s")
    print(f"most memory of the importing process: {_memory():.0f} MiB ({before:.0f} MiB before)")
    right = all_said and nothing and there == wanted and not done.refused
    print(
        f"devices in the register: {there}; nothing before the import: {nothing}; {'ok' if right else 'WRONG'}"
    )
    return 0 if right else 1


def _timed(
    connection: psycopg.Connection[Any], content: bytes, *, dry_run: bool, expected: str | None = None
) -> tuple[float, Preview]:
    began = time.perf_counter()
    with connection.transaction():
        done = take_in(
            connection,
            {"devices.csv": content},
            parse_rules=to_rows,
            write_rules=to_toml,
            check_rules=check_imported,
            by="user:1",
            reason="bench",
            dry_run=dry_run,
            expected=expected,
        )
    return time.perf_counter() - began, done


def _count(connection: psycopg.Connection[Any]) -> int:
    with connection.transaction():
        row = connection.execute("SELECT count(*) FROM devices WHERE registration = 'registered'").fetchone()
    return int(row[0]) if row else 0


def _line(what: str, seconds: float, result: str) -> None:
    print(f"{what:28} {seconds:6.1f} s   {result}", flush=True)


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# ── what is sent ─────────────────────────────────────────────────────────────────────────────────────


def _list(devices: int, bad: set[int]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for n in range(devices):
        row = _row(n)
        if n in bad:
            column, value = BAD[n // 100 % len(BAD)]
            row[HEADER.index(column)] = value
        writer.writerow(row)
    return text.getvalue().encode()


def _row(n: int) -> list[object]:
    column, line = n % SIDE, n // SIDE % SIDE
    within = (n // (SIDE * SIDE) % 100 + 1) / 102
    gateway = "" if n % 50 == 0 else f"D{n - n % 50:06}"
    return [
        *(
            f"D{n:06}",
            "water" if n % 20 == 0 else "smoke",
            f"设备 {n}",
            "" if n % 2 else f"C{line:02}{column:02}",
        ),
        *(round(WEST + (column + within) * STEP, 7), round(SOUTH + (line + within) * STEP, 7)),
        *(
            f"S-{n % 7}",
            f"社区 {n % 60}",
            "养护一队",
            gateway,
            3600 if n % 3 else "",
            f"沿河路 {n} 号",
            "school;old",
        ),
        *(f"chirpstack:24e124{n:010x}" if n % 4 == 0 else "", "Milesight", "", "in_service"),
        *("2025-03-01", "2026-03-01", "2027-03-01"),
    ]


def _write_district(folder: Path) -> None:
    (folder / "district.toml").write_text(
        'code = "900001"\nname = "压测区"\nname_en = "Bench"\ntimezone = "Asia/Shanghai"\n', encoding="utf-8"
    )
    features = [
        {
            "type": "Feature",
            "properties": {"layer": "cell", "code": f"C{line:02}{column:02}", "name": f"{line}-{column}"},
            "geometry": {"type": "Polygon", "coordinates": [list(_ring(line, column))]},
        }
        for line in range(SIDE)
        for column in range(SIDE)
    ]
    (folder / "areas.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    (folder / "devices.csv").write_text("code,kind\n")


def _ring(line: int, column: int) -> Iterator[list[float]]:
    for east, north in ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0)):
        yield [round(WEST + (column + east) * STEP, 7), round(SOUTH + (line + north) * STEP, 7)]


if __name__ == "__main__":
    sys.exit(main())
