"""What the health of 100,000 devices costs: the lists people ask for, and the rounds of the loop behind them.

python -m bench.device_health --devices 100000

On a scratch server, removed afterwards. Prints one JSON object; seconds unless a name says otherwise.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import psycopg
from psycopg import AsyncConnection

from bench.database import started_server
from city.storage import device_availability, device_health, device_looks, migrate, screen
from city.storage.changes import open_connection
from command_centre import device_health_loop as loop

MEDIAN_DAYS, HEARD_DAYS, READINGS = 60, 30, 6
NO_FILTER: dict[str, str | None] = dict.fromkeys(device_health.FILTERS)

# Ten devices to a gateway; metrics smoke, temperature and battery; every hundredth is silent or has no temperature.
_FILL = """
INSERT INTO metrics (code) SELECT 'other' || n FROM generate_series(1, 25) n;
INSERT INTO metrics (code) VALUES ('smoke'), ('temperature'), ('battery') ON CONFLICT DO NOTHING;
INSERT INTO device_kinds (code, name, main_metric, expected_interval_s) VALUES ('smoke', 'x', 'smoke', 300)
    ON CONFLICT DO NOTHING;
INSERT INTO areas (layer, code, name) SELECT 'cell', 'c' || n, 'x' FROM generate_series(1, 600) n;
INSERT INTO devices (code, kind, cell_id, model, vendor, maintainer_unit, gateway, first_heard_at)
    SELECT 'd' || n, 'smoke', (SELECT min(id) FROM areas) + n %% 600, 'm' || n %% 40, 'v' || n %% 8, 'u' || n %% 20,
           'g' || n / 10, now() - interval '100 days'
    FROM generate_series(1, %(devices)s) n;
INSERT INTO presence (device_id, last_heard_at)
    SELECT id, now() - CASE WHEN id %% 100 = 0 THEN interval '2 hours' ELSE make_interval(secs => id %% 300) END
    FROM devices;
INSERT INTO ingest_sessions (client_id, listening_from, alive_at)
    SELECT 'a', now() - make_interval(hours => n), now() - make_interval(hours => n - 1) - interval '20 s'
    FROM generate_series(1, 720) n;
INSERT INTO observations (device_id, metric_id, observed_at, received_at, value)
    SELECT d.id, m.id, at, at, 20 FROM devices d, metrics m, generate_series(0, %(readings)s - 1) n,
        LATERAL (SELECT now() - make_interval(secs => n * 300 + CASE WHEN d.id %% 100 = 1 AND m.code = 'temperature'
                                                                     THEN 7200 ELSE d.id %% 300 END) AS at) t
    WHERE m.code IN ('smoke', 'temperature', 'battery');
INSERT INTO daily_medians
    SELECT d.id, m.id, current_date - n, 60 + n * 0.3 + random()
    FROM generate_series(1, %(days)s) n, devices d, metrics m
    WHERE m.code = 'battery' AND d.id <= (SELECT min(id) FROM devices) + 4999;
INSERT INTO heard_hours SELECT current_date - n, id, 16777215 - (id %% 7) FROM generate_series(1, %(heard)s) n, devices;
INSERT INTO listened_hours SELECT current_date - n, 16777215 FROM generate_series(1, %(heard)s) n;
INSERT INTO rollups SELECT 3600, d.id, m.id, current_date - 3 + make_interval(hours => h), 12, 20, 20, 20
    FROM devices d, metrics m, generate_series(0, 23) h
    WHERE m.code IN ('smoke', 'temperature', 'battery') AND d.id <= (SELECT min(id) FROM devices) + 4999;
"""


def fill(url: str, devices: int) -> None:
    """The register, readings of half an hour, hours of a month; medians and rollups of the 5,000 that are timed."""
    asked = {"devices": devices, "days": MEDIAN_DAYS, "heard": HEARD_DAYS, "readings": READINGS}
    with psycopg.connect(url, autocommit=True) as connection:
        for part in filter(str.strip, _FILL.split(";")):
            connection.execute(part.encode(), asked)
        connection.execute("VACUUM ANALYZE")


async def timed(work: Callable[[], Awaitable[Any]], times: int = 5) -> float:
    """Median seconds."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        await work()
        taken.append(time.perf_counter() - begun)
    return round(median(taken), 4)


async def measure(url: str) -> dict[str, float]:
    """Asked first, then the loop: each figure is of one call."""
    async with await open_connection(url, "bench", autocommit=True) as connection:
        found = await _lists(connection)
        return {**found, **await _rounds(connection)}


async def _lists(connection: AsyncConnection[Any]) -> dict[str, float]:
    now = datetime.now(UTC)
    month = now - timedelta(days=30)

    def page(state: str | None) -> Callable[[], Awaitable[Any]]:
        return lambda: device_health.page(connection, NO_FILTER, state=state, after=None, limit=101)

    return {
        "wall_presence": await timed(lambda: screen.presence(connection)),
        "counts": await timed(lambda: device_health.counts(connection, NO_FILTER)),
        "page": await timed(page(None)),
        "page_silent": await timed(page("silent")),
        "page_never": await timed(page("never")),
        "one_device": await timed(lambda: device_health.one(connection, "d77")),
        "gateways": await timed(lambda: device_health.gateways(connection), 3),
        "uptime_30_days": await timed(lambda: device_availability.uptime(connection, month, now), 2),
        "availability_30_days": await timed(
            lambda: device_availability.by(connection, "model", month, now), 2
        ),
    }


async def _rounds(connection: AsyncConnection[Any]) -> dict[str, float]:
    now = datetime.now(UTC)
    today = now.date()

    async def first_look() -> None:
        await loop.look(connection, datetime.now(UTC))

    async def one_slice(work: Callable[[], Awaitable[Any]]) -> None:
        async with connection.transaction():
            await work()

    found = {"round_learning_400": await timed(first_look, 5)}
    await connection.execute(
        "INSERT INTO device_metrics (device_id, metric_id, last_at, value, every_s, limit_s, due_at)"
        " SELECT d.id, m.id, p.last_heard_at, 20, 300, 900, now() + make_interval(secs => d.id % 900)"
        " FROM devices d JOIN presence p ON p.device_id = d.id, metrics m"
        " WHERE m.code IN ('smoke', 'temperature', 'battery') ON CONFLICT DO NOTHING"
    )
    await connection.execute("UPDATE device_health SET look_at = 'infinity'")
    await connection.execute(
        "INSERT INTO device_health (device_id) SELECT id FROM devices ON CONFLICT DO NOTHING"
    )
    await connection.execute("UPDATE device_metrics SET due_at = now() WHERE device_id % 15 = 0")
    found["round_checking_20000_metrics"] = await timed(first_look, 1)
    found["round_with_nothing_due"] = await timed(first_look, 5)
    found["mark_hours"] = await timed(lambda: loop.mark(connection, now, since=now - timedelta(minutes=4)), 2)
    day = today - timedelta(days=3)
    found["day_5000_devices"] = await timed(
        lambda: one_slice(lambda: device_looks.take_day(connection, day, 1, 5000)), 1
    )
    found["trends_5000_devices"] = await timed(
        lambda: one_slice(lambda: loop.draw_trends(connection, now, 1, 5000)), 1
    )
    found["foresee"] = await timed(lambda: loop.foresee(connection, now), 1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=100_000)
    devices = parser.parse_args().devices
    with started_server(plain=True) as server:
        url = server.url(server.create_database())
        migrate.apply(url)
        begun = time.perf_counter()
        fill(url, devices)
        filled = round(time.perf_counter() - begun, 1)
        print(json.dumps({"devices": devices, "filled": filled, **asyncio.run(measure(url))}, indent=2))


if __name__ == "__main__":
    main()
