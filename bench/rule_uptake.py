"""A rule changed under load: `python -m bench.rule_uptake`.

10,000 messages a second, about a hundred of them at 90. The limit of `smoke-high` is 95 at first and is moved to
70 and back, three times each. Says how long after the commit of each change ingest decided by it, whether every message
was stored once, and whether every crossing under the lower limit is one alarm.
"""

import argparse
import json
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from bench import district
from bench.database import started_server
from bench.frames import Fleet
from bench.load import Load, publish
from bench.product import Product
from city.storage import rules
from city.storage.database import connect
from command_centre import rule_changes
from tests.servers.mosquitto import MosquittoServer

CROSSING = 97
PATIENCE_S = 30.0


def change(url: str, limit: float) -> tuple[int, datetime]:
    """Put `smoke-high` in force with this limit, as the API does; its version and when that was committed."""
    now = datetime.now(UTC)
    who: dict[str, Any] = {"actor": "bench", "reason": f"limit {limit:g}", "now": now}
    with connect(url, application="bench") as connection:
        current = rules.current(connection, "smoke-high")
        assert current is not None
        definition = {**current.definition, "raise_at": limit}
        done = rule_changes.draft(connection, "smoke-high", definition, expected=current.version, **who)
        assert done.version is not None
        rule_changes.put_in_force(
            connection, "smoke-high", done.version, action="activate", accept_warnings=True, **who
        )
    return done.version, datetime.now(UTC)


def first_alarm(url: str, version: int) -> datetime:
    """When the first alarm under a version was recorded."""
    deadline = time.monotonic() + PATIENCE_S
    with psycopg.connect(url, autocommit=True) as connection:
        while time.monotonic() < deadline:
            row = connection.execute(
                "SELECT min(recorded_at) FROM alarms WHERE rule_id = 'smoke-high' AND rule_version = %s",
                (version,),
            ).fetchone()
            if row is not None and row[0] is not None:
                found: datetime = row[0]
                return found
            time.sleep(0.02)
    raise SystemExit(f"version {version} was not taken up within {PATIENCE_S:.0f} s")


def last_alarm(url: str, version: int) -> datetime:
    """When the last alarm under a version was recorded."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT max(recorded_at) FROM alarms WHERE rule_id = 'smoke-high' AND rule_version = %s",
            (version,),
        ).fetchone()
    assert row is not None
    found: datetime = row[0]
    return found


def missed(url: str, version: int) -> tuple[int, int]:
    """Crossings of detectors that arrived between those of the first and the last alarm under a version, and how
    many of them no alarm began with. What arrived later may have waited for the next limit."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            """
            WITH crossings AS (
                SELECT o.received_at, a.rule_version FROM observations o
                JOIN devices d ON d.id = o.device_id AND d.kind = 'smoke'
                LEFT JOIN alarms a ON a.device_id = o.device_id AND a.raised_at = o.observed_at
                    AND a.rule_id = 'smoke-high'
                WHERE o.value >= 90
            ), span AS (
                SELECT min(received_at) AS begun, max(received_at) AS ended FROM crossings WHERE rule_version = %s
            )
            SELECT count(*), count(*) FILTER (WHERE rule_version IS NULL) FROM crossings, span
            WHERE received_at BETWEEN begun AND ended
            """,
            (version,),
        ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def counted(url: str) -> dict[str, int]:
    """What must be none or all."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            """
            SELECT
                (SELECT count(*) FROM (SELECT FROM alarms WHERE rule_id = 'smoke-high'
                    GROUP BY device_id, raised_at HAVING count(*) > 1) twice),
                (SELECT count(*) FROM alarms a WHERE rule_id = 'smoke-high' AND NOT EXISTS (
                    SELECT FROM observations o WHERE o.device_id = a.device_id AND o.observed_at = a.raised_at
                        AND o.value >= 90)),
                (SELECT count(*) FROM alarms WHERE rule_id LIKE 'water%' AND cleared_at IS NULL),
                (SELECT count(*) FROM alarms WHERE rule_id LIKE 'water%' AND cleared_at IS NOT NULL)
            """
        ).fetchone()
    assert row is not None
    names = ("alarms_twice", "alarms_without_crossing", "other_rules_alarms_open", "other_rules_alarms_ended")
    return dict(zip(names, map(int, row), strict=True))


def measure(product: Product, port: int, fleet: Fleet, rate: float, seconds: float) -> dict[str, Any]:
    """One run."""
    url = product.database_url
    load = Load(fleet=fleet, total=int(rate * seconds), rate=rate, crossing_every=CROSSING)
    change(url, 95.0)
    time.sleep(5)
    publisher = publish(port, load)
    lower, higher, crossings, unseen = [], [], 0, 0
    for _ in range(3):
        time.sleep(seconds / 8)
        version, committed = change(url, 70.0)
        taken_up = first_alarm(url, version)
        lower.append((taken_up - committed).total_seconds())
        time.sleep(seconds / 8)
        _, back = change(url, 95.0)
        time.sleep(3)
        found, lost = missed(url, version)
        crossings, unseen = crossings + found, unseen + lost
        higher.append((last_alarm(url, version) - back).total_seconds())
    publisher.result(120)
    product.wait_stored(load, 120)
    return {
        "devices": fleet.devices,
        "messages": load.total,
        "stored": product.stored(),
        "a_second": rate,
        "taken_up_s": [round(one, 2) for one in lower],
        "last_alarm_by_the_old_limit_s": [round(one, 2) for one in higher],
        "crossings_under_the_lower_limit": crossings,
        "of_them_without_alarm": unseen,
        **counted(url),
    }


def main() -> None:
    """Command line: see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=10_000)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--plain", action="store_true", help="plain PostgreSQL instead of TimescaleDB")
    given = parser.parse_args()
    fleet = Fleet(devices=given.devices, cells=max(100, given.devices // 50), water=100)
    folder = Path(tempfile.mkdtemp(prefix="city-bench-"))
    broker = MosquittoServer()
    try:
        with started_server(plain=given.plain) as server:
            url = server.url(server.create_database())
            broker.start()
            district.write(folder / "district", fleet)
            product = Product(folder / "product", url, broker.url)
            try:
                product.prepare(folder / "district")
                product.start_ingest()
                product.wait_listening()
                print(json.dumps(measure(product, broker.port, fleet, given.rate, given.seconds), indent=1))
            finally:
                product.stop()
    finally:
        broker.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
