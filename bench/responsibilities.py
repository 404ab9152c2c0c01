"""What the responsibility list costs: asking who gets a matter, gaps, findings, a file. Prints only.

Run as a module from the repository: `python -m bench.responsibilities`. 1,000 leaves, 40 places (streets, communities)
with 2,000 cells, 5,000 entries, 100 units; in a real PostgreSQL, durable as in production, and over HTTP.
"""

import asyncio
import json
import os
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from bench.database import started_server
from city.storage import directory as stored
from city.storage import migrate
from city.storage.changes import open_connection
from command_centre import dispatch
from command_centre.responsibility import reasoning
from command_centre.responsibility_coverage import coverage
from command_centre.responsibility_faults import findings
from tests.integration.running_centre import Centre, running

GROUND = """
INSERT INTO district (code, name, timezone) VALUES ('440399', '示范区', 'Asia/Shanghai');
INSERT INTO areas (layer, code, name) VALUES ('district', '440399', '示范区');
INSERT INTO areas (layer, code, name, parent_id)
    SELECT 'street', 'S' || n, '街道' || n, d.id FROM generate_series(0, 7) n JOIN areas d ON d.layer = 'district';
INSERT INTO areas (layer, code, name, parent_id)
    SELECT 'community', 'M' || n, '社区' || n, s.id FROM generate_series(0, 31) n
    JOIN areas s ON s.code = 'S' || n / 4 AND s.layer = 'street';
INSERT INTO areas (layer, code, name, parent_id)
    SELECT 'cell', 'C' || n, '网格' || n, m.id FROM generate_series(0, 1999) n
    JOIN areas m ON m.code = 'M' || n % 32 AND m.layer = 'community';
INSERT INTO units (code, name) SELECT 'U' || n, '单位' || n FROM generate_series(0, 99) n;
DELETE FROM categories;
INSERT INTO categories (code, parent, name, class, limit_minutes, clock)
    SELECT 't' || n, NULL, '类', 'C', 240, 'natural' FROM generate_series(0, 9) n UNION ALL
    SELECT 't' || n % 10 || '.k' || n / 10, 't' || n % 10, '类', 'C', 240, 'natural'
        FROM generate_series(0, 99) n UNION ALL
    SELECT 't' || n % 10 || '.k' || n / 10 % 10 || '.l' || n / 100, 't' || n % 10 || '.k' || n / 10 % 10, '类', 'C',
        240, 'natural' FROM generate_series(0, 999) n;
INSERT INTO responsibilities (category, area_id, unit_id, co_units)
    SELECT c.code, a.id, u.id, ARRAY[w.id] FROM (
        SELECT code, row_number() OVER (ORDER BY md5(code)) AS n FROM categories WHERE code LIKE '%.%.%'
    ) c JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM areas WHERE layer <> 'cell') a
        ON a.place % 8 = c.n % 8
    JOIN units u ON u.code = 'U' || (c.n + a.place) % 100 JOIN units w ON w.code = 'U' || (c.n + a.place + 1) % 100
    LIMIT 4900;
INSERT INTO responsibilities (category, unit_id)
    SELECT c.code, u.id FROM categories c JOIN units u ON u.code = 'U0'
    WHERE c.code LIKE '%.%' AND c.code NOT LIKE '%.%.%' AND c.code < 't9';
ANALYZE;
"""


def milliseconds(work: Callable[[], object], times: int) -> dict[str, float]:
    """Median and 95th percentile of a call, after one that does not count; CPU time of this whole process."""
    work()
    took = []
    busy = time.process_time()
    for _ in range(times):
        begun = time.perf_counter()
        work()
        took.append((time.perf_counter() - begun) * 1000)
    return {
        "median_ms": round(statistics.median(took), 3),
        "p95_ms": round(sorted(took)[int(len(took) * 0.95)], 3),
        "cpu_ms": round((time.process_time() - busy) / times * 1000, 3),
    }


def measured(url: str) -> dict[str, Any]:
    """In this process, on a directory as dispatch keeps it."""

    async def load() -> Any:
        async with await open_connection(url, "bench") as connection:
            return await stored.load(connection, ZoneInfo("Asia/Shanghai"))

    known = asyncio.run(load())
    now = datetime.now(UTC)
    cell = next(area for area, way in known.places.items() if len(way) > 1)
    matter = dispatch.Matter(category="t3.k4.l5", cell_id=cell)
    entries = known.responsibilities
    found = coverage(known, entries, now)
    return {
        "entries": len(entries),
        "leaves": found.leaves,
        "cells": found.cells,
        "uncovered": found.uncovered,
        "gaps": len(found.gaps),
        "decide": milliseconds(lambda: dispatch.decide(matter, known, now), 500),
        "reasoning": milliseconds(
            lambda: reasoning(matter.category, known.places[cell], entries, known, now), 200
        ),
        "coverage": milliseconds(lambda: coverage(known, entries, now), 10),
        "findings": milliseconds(lambda: findings(known, entries, now), 10),
    }


def over_http(centre: Centre) -> dict[str, Any]:
    """What a person waits for, with log-in by token."""
    asked = {"category": "t3.k4.l5", "cell": "C7"}
    root = "/api/responsibilities"

    def get(path: str, **query: str) -> None:
        answer = centre.client.get(root + path, params=query)
        assert answer.status_code == 200, answer.text

    sheet = centre.client.get(root + ".csv").content

    def tried() -> None:
        query = {"reason": "bench", "dry_run": "true"}
        answer = centre.client.post(root + "/import", params=query, content=sheet)
        assert answer.json()["begun"] == 0, answer.text

    return {
        "nothing (who am I)": milliseconds(lambda: centre.client.get("/api/session").json(), 100),
        "simulate": milliseconds(lambda: get("/simulate", **asked), 100),
        "simulate in the past": milliseconds(
            lambda: get("/simulate", **asked, at=datetime(2026, 1, 1, tzinfo=UTC).isoformat()), 20
        ),
        "page of 200": milliseconds(lambda: get(""), 30),
        "gaps": milliseconds(lambda: get("/gaps"), 10),
        "overlaps": milliseconds(lambda: get("/overlaps"), 10),
        "file tried": milliseconds(tried, 5),
        "file_bytes": len(sheet),
    }


def main() -> None:
    """Build, measure, print JSON."""
    with started_server(plain=True) as server:
        url = server.url(server.create_database())
        migrate.apply(url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(GROUND)
        result = {"processors": os.cpu_count(), "load": os.getloadavg()[0], "in process": measured(url)}
        with running(url) as centre:
            result["over HTTP"] = over_http(centre)
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
