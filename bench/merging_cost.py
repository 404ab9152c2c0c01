"""What it costs to find, among 100,000 open incidents, those that a report may be about: milliseconds by percentile.

A thousand cells of a square, each beside its eight neighbours; incidents of eight categories over thirty days, one in
two with a position and words, one in four with an alarm; then one cell with ten thousand reports of one address.

    python -m bench.merging_cost [incidents]
"""

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import psycopg

from bench.procfs import cpu_seconds
from city.storage import migrate
from city.storage.changes import open_connection
from command_centre import merging
from tests.servers.postgres import PostgresServer, wheel_binaries

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
SIDE = 32
CATEGORIES = (
    "fire.smoke",
    "fire.detection",
    "flood.level",
    "facility.manhole",
    "facility.drain",
    "facility.streetlight",
    "environment.noise",
    "public.vehicle",
)
WORDS = (
    "井盖不见了",
    "下水道堵塞污水外溢",
    "工地半夜施工噪音大",
    "路灯坏了",
    "楼道冒烟着火了",
    "垃圾满了没人清理",
)

_GROUND = """
INSERT INTO areas (layer, code, name) SELECT 'cell', format('x%s-%s', x, y), format('网格%s-%s', x, y)
    FROM generate_series(0, {last}) x, generate_series(0, {last}) y;
INSERT INTO area_neighbours (area_id, neighbour_id)
    SELECT a.id, b.id FROM areas a JOIN areas b ON a.id <> b.id
    AND abs(split_part(substr(a.code, 2), '-', 1)::int - split_part(substr(b.code, 2), '-', 1)::int) <= 1
    AND abs(split_part(a.code, '-', 2)::int - split_part(b.code, '-', 2)::int) <= 1
    WHERE a.layer = 'cell' AND b.layer = 'cell';
INSERT INTO units (code, name) VALUES ('u1', '一'), ('u2', '二');
INSERT INTO device_kinds (code, name, main_metric) VALUES ('smoke', '烟感', 'smoke') ON CONFLICT DO NOTHING;
INSERT INTO devices (code, kind, cell_id, longitude, latitude)
    SELECT 'd' || id, 'smoke', id, 114.0 + split_part(substr(code, 2), '-', 1)::int * 0.002,
           22.5 + split_part(code, '-', 2)::int * 0.002 FROM areas WHERE layer = 'cell';
"""
_INCIDENTS = """
INSERT INTO incidents (number, state, class, base_class, category, area_id, unit_id, reason, source, due_at, opened_at,
        longitude, latitude)
    SELECT 'n' || n, 'dispatched', 'C', 'C', (%(categories)s::text[])[1 + n / 1024 %% 8], a.id, u.id, 'r', 'report',
           %(now)s, %(now)s - make_interval(mins => (n * 7919) %% 43200),
           CASE WHEN n %% 2 = 0 THEN d.longitude + (n %% 17) * 0.0001 END,
           CASE WHEN n %% 2 = 0 THEN d.latitude + (n %% 13) * 0.0001 END
    FROM generate_series(1, %(count)s) n
    JOIN LATERAL (SELECT id FROM areas WHERE layer = 'cell' AND id = %(first)s + (n * 31) %% %(cells)s) a ON true
    JOIN devices d ON d.cell_id = a.id JOIN units u ON u.code = CASE WHEN n %% 2 = 0 THEN 'u1' ELSE 'u2' END;
INSERT INTO incident_events (incident_id, seq, at, kind, actor, previous, hash)
    SELECT id, 1, opened_at, 'opened', 'citizen', '', '' FROM incidents;
INSERT INTO incident_texts (incident_id, seq, salt, text)
    SELECT id, 1, '', (%(words)s::text[])[1 + id %% 6] FROM incidents WHERE longitude IS NOT NULL;
INSERT INTO alarms (rule_id, rule_version, device_id, cell_id, category, level, raised_at, evidence, triage,
        incident_id)
    SELECT 'r' || i.id, 1, d.id, i.area_id, i.category, 'red', i.opened_at, '{}', 'done', i.id
    FROM incidents i JOIN devices d ON d.cell_id = i.area_id WHERE i.id %% 4 = 0;
"""
_ONE_ADDRESS = """
INSERT INTO incidents (number, state, class, base_class, category, area_id, unit_id, reason, source, due_at, opened_at,
        longitude, latitude)
    SELECT 'a' || n, 'dispatched', 'C', 'C', 'environment.noise', %s, (SELECT id FROM units LIMIT 1), 'r',
           'report', %s, %s - make_interval(secs => n), 114.0, 22.5 FROM generate_series(1, 10000) n
"""


def build(url: str, count: int) -> tuple[int, int]:
    """The ground and the incidents; the first cell's id and how many cells there are."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_GROUND.format(last=SIDE - 1).encode())
        row = connection.execute("SELECT min(id), count(*) FROM areas WHERE layer = 'cell'").fetchone()
        assert row is not None
        first, cells = int(row[0]), int(row[1])
        given = {
            "categories": list(CATEGORIES),
            "now": NOW,
            "count": count,
            "first": first,
            "cells": cells,
            "words": list(WORDS),
        }
        for statement in _INCIDENTS.split(";\n"):
            if statement.strip():
                connection.execute(
                    statement.encode(), {name: given[name] for name in given if f"({name})" in statement}
                )
        connection.execute("ANALYZE")
    return first, cells


class Costs:
    """Milliseconds on the clock of each search, and of processor time of them all, ours and the server's."""

    def __init__(self, backend: int) -> None:
        self.took: list[float] = []
        self._backend = backend
        self._ours, self._servers = time.process_time() * 1000, cpu_seconds(backend) * 1000

    def line(self, name: str) -> str:
        ours = (time.process_time() * 1000 - self._ours) / len(self.took)
        servers = (cpu_seconds(self._backend) * 1000 - self._servers) / len(self.took)
        cuts = statistics.quantiles(self.took, n=100)
        return (
            f"{name:<40} p50 {cuts[49]:5.1f} ms  p95 {cuts[94]:5.1f} ms  p99 {cuts[98]:5.1f} ms"
            f"   processor {ours + servers:4.1f} ms ({ours:.1f} ours, {servers:.1f} the server's)"
        )


async def candidates(
    name: str, url: str, first: int, cells: int, *, cell: int | None = None, rounds: int = 300
) -> None:
    """A round is one report at a random place, with words and a position."""
    chance = random.Random(7)
    async with await open_connection(url, "bench", autocommit=True) as connection:

        async def once() -> None:
            at = chance.randrange(cells) if cell is None else cell
            await merging.candidates(
                connection,
                category="environment.noise" if cell is not None else chance.choice(CATEGORIES),
                cell_id=first + at,
                longitude=114.0 + at // SIDE * 0.002,
                latitude=22.5 + at % SIDE * 0.002,
                text=chance.choice(WORDS),
                at=NOW,
            )

        await _rounds(name, connection.info.backend_pid, once, rounds)


async def nearby(name: str, url: str, count: int, rounds: int = 300) -> None:
    """A round is the open work near a random incident."""
    chance = random.Random(8)
    async with await open_connection(url, "bench", autocommit=True) as connection:

        async def once() -> None:
            await merging.nearby(connection, incident_id=chance.randrange(1, count))

        await _rounds(name, connection.info.backend_pid, once, rounds)


async def _rounds(name: str, backend: int, once: Callable[[], Awaitable[None]], rounds: int) -> None:
    for _ in range(20):
        await once()
    costs = Costs(backend)
    for _ in range(rounds):
        begun = time.perf_counter()
        await once()
        costs.took.append((time.perf_counter() - begun) * 1000)
    print(costs.line(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("incidents", nargs="?", type=int, default=100_000)
    count = parser.parse_args().incidents
    server = PostgresServer(wheel_binaries(), settings={"fsync": "on"})
    server.start()
    try:
        url = server.url(server.create_database())
        migrate.apply(url)
        first, cells = build(url, count)
        asyncio.run(candidates(f"candidates among {count:,}", url, first, cells))
        asyncio.run(nearby(f"open work nearby among {count:,}", url, count))
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_ONE_ADDRESS, (first, NOW, NOW + timedelta(0)))
            connection.execute("ANALYZE incidents")
        asyncio.run(candidates("candidates where one address has 10,000", url, first, cells, cell=0))
    finally:
        server.close()


if __name__ == "__main__":
    main()
