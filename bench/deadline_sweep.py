"""What the sweep of deadlines costs with a hundred thousand open incidents, of which five hundred are due.

python -m bench.deadline_sweep --incidents 100000 --due 500
"""

import argparse
import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import psycopg
from psycopg import AsyncConnection

from bench.database import started_server
from bench.deadline_kill import TOWN
from bench.procfs import cpu_seconds
from city.settings import Settings
from city.storage import clocks, migrate
from city.storage.changes import open_connection
from command_centre import deadlines_loop
from command_centre.known_directory import KnownDirectory

_INCIDENTS = """
INSERT INTO incidents (number, state, class, base_class, category, unit_id, reason, reason_en, source, due_at,
                       opened_at)
    SELECT 'S-' || n, 'acknowledged', 'B', 'B', 'fire', (SELECT id FROM units WHERE code = 'crew'), 'x', 'x',
           'person', now() + interval '1 day' * (1 + n %% 30), now()
    FROM generate_series(1, %(incidents)s) n;
INSERT INTO incident_clocks (incident_id, stage, unit_id, "limit", started_at, due_at, next_at)
    SELECT id, stage, unit_id, '3wd', opened_at, due_at,
           CASE WHEN stage = 'handle' AND id %% (%(incidents)s / %(due)s) = 0 THEN now() ELSE due_at END
    FROM incidents, unnest(ARRAY['handle', 'arrive']) stage;
UPDATE incident_clocks SET due_at = now() WHERE next_at <= now();
"""


def fill(url: str, incidents: int, due: int) -> None:
    """Two running clocks each; for ``due`` of them the time to handle is over."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TOWN)
        for part in filter(str.strip, _INCIDENTS.split(";")):
            if "%(" in part:
                connection.execute(part.encode(), {"incidents": incidents, "due": due})
            else:
                connection.execute(part.encode())
        connection.execute("ANALYZE")


async def measure(url: str) -> dict[str, object]:
    """Milliseconds: a sweep that finds nothing (median of many), and one that strikes everything that is due."""
    settings = Settings(database_url=url, smtp_url="smtp://127.0.0.1", _env_file=None)
    connection = await open_connection(url, "bench", autocommit=True)
    async with connection:
        known = KnownDirectory(settings.zone)
        await known.fresh(connection, datetime.now(UTC))
        past = datetime.now(UTC) - timedelta(days=1)
        empty = [await _timed(connection, known, settings, past) for _ in range(200)]
        backend = connection.info.backend_pid
        spent = time.process_time(), cpu_seconds(backend)
        began = time.perf_counter()
        incidents, batches, now = 0, 0, datetime.now(UTC)
        while done := await deadlines_loop.strike(connection, known, settings, now):
            incidents += done
            batches += 1
        full_ms = (time.perf_counter() - began) * 1000
        cpu_ms = (time.process_time() - spent[0]) * 1000, (cpu_seconds(backend) - spent[1]) * 1000
        board = {
            name: await _page(connection, unit)
            for name, unit in (("all", None), ("busy unit", "crew"), ("idle unit", "hq"))
        }
        plan = await (await connection.execute(b"EXPLAIN SELECT 1 FROM incident_clocks c JOIN incidents i"
            b" ON c.incident_id = i.id WHERE c.next_at <= now() - interval '1 day' ORDER BY c.next_at LIMIT 50"
            b" FOR NO KEY UPDATE OF i SKIP LOCKED")).fetchall()  # fmt: skip
    return {
        "empty_ms": {"median": round(median(empty), 3), "worst": round(max(empty), 3)},
        "struck": incidents,
        "batches": batches,
        "struck_ms": round(full_ms, 1),
        "cpu_ms": {
            "centre": round(cpu_ms[0]),
            "database": round(cpu_ms[1]),
        },  # on a busy machine the truer figure
        "board_ms": board,
        "plan": [row[0] for row in plan],
    }


async def _timed(
    connection: AsyncConnection[Any], known: KnownDirectory, settings: Settings, now: datetime
) -> float:
    began = time.perf_counter()
    assert await deadlines_loop.strike(connection, known, settings, now) == 0
    return (time.perf_counter() - began) * 1000


async def _page(connection: AsyncConnection[Any], unit: str | None) -> float:
    found = []
    for _ in range(20):
        began = time.perf_counter()
        await clocks.board(connection, datetime.now(UTC), unit=unit, limit=101)
        found.append((time.perf_counter() - began) * 1000)
    return round(median(found), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--incidents", type=int, default=100_000)
    parser.add_argument("--due", type=int, default=500)
    given = parser.parse_args()
    with started_server() as server:
        url = server.url(server.create_database())
        migrate.apply(url)
        fill(url, given.incidents, given.due)
        print(json.dumps({"incidents": given.incidents, **asyncio.run(measure(url))}, indent=1))


if __name__ == "__main__":
    main()
