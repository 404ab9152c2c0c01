"""What a district's patrols and Open311 requests cost to read: 4,000 points, 240,000 checks, 100,000 requests.

    .venv/bin/python -m bench.field_work

Starts a PostgreSQL of its own and prints medians of five in milliseconds.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from psycopg import AsyncConnection

from city.storage import migrate, open311, patrol, patrol_routes
from command_centre import patrol as rules
from tests.servers.postgres import PostgresServer, wheel_binaries

ZONE = ZoneInfo("Asia/Shanghai")
GROUND = """
INSERT INTO patrol_routes (code, name, changed_at, changed_by)
    SELECT 'r' || n, 'r', now(), 'bench' FROM generate_series(1, 200) n;
INSERT INTO patrol_points (route_id, code, place, name, checklist, cadence, since)
    SELECT r.id, 'p' || n, n, 'p', 'fire_exits', (ARRAY['daily', 'weekly', 'monthly'])[1 + n % 3],
           now() - interval '100 days'
    FROM patrol_routes r, generate_series(1, 20) n;
INSERT INTO patrol_checks (client_id, digest, point_id, actor, observed_at, received_at, distance_m)
    SELECT gen_random_uuid(), '', p.id, 'user:' || p.route_id, now() - n * interval '1 day', now(), 5
    FROM patrol_points p, generate_series(1, 60) n;
INSERT INTO patrol_answers (check_id, item, answer)
    SELECT c.id, i, 'ok' FROM patrol_checks c, unnest(ARRAY['lane', 'door', 'stairs', 'lights', 'hydrant']) i;
INSERT INTO api_keys (name, digest, created_at, created_by) VALUES ('bench', sha256('bench'), now(), 'bench');
INSERT INTO reports (tracking, tracking_digest, channel, received_at, nature, text, place, actor, fixed_on_spot)
    SELECT lpad(n::text, 13, '0'), sha256(n::text::bytea), 'open311', now() - n * interval '1 minute', 'request',
           'x', 'unknown', 'system', true
    FROM generate_series(1, 100000) n;
INSERT INTO open311_requests (id, report_id, api_key_id, service_code, requested_at)
    SELECT lpad(r.id::text, 12, '0'), r.id, 1, 'fire.smoke', r.received_at FROM reports r;
"""


def main() -> None:
    """Start, fill, measure, print."""
    server = PostgresServer(wheel_binaries(), settings={"fsync": "on"})
    server.start()
    try:
        url = server.url(server.create_database())
        migrate.apply(url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(GROUND.encode())
            connection.execute("ANALYZE")
        asyncio.run(measure(url))
    finally:
        server.close()


async def measure(url: str) -> None:
    """Each reading five times."""
    now = datetime.now(UTC)
    quarter = now - timedelta(days=90)
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        for name, work in (
            ("today of one worker (20 points)", lambda: today(connection, "r7", now)),
            ("appraisal of 30 days, all workers", lambda: appraisal(connection, now)),
            (
                "newest 1000 of 100,000 requests",
                lambda: open311.found(
                    connection, services=(), statuses=("open", "closed"), start=quarter, end=now, limit=1000
                ),
            ),
            ("one request", lambda: open311.by_ids(connection, ["000000000500"], limit=1)),
        ):
            print(f"{name:40} {await median_ms(work):8.1f} ms")


async def median_ms(work: Callable[[], Awaitable[Any]]) -> float:
    """Milliseconds."""
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        assert await work()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


async def today(connection: AsyncConnection[Any], code: str, now: datetime) -> list[rules.Owed]:
    """What /api/patrol/today works out."""
    (route,) = await patrol_routes.routes(connection, code=code)
    checked = await patrol.checked_since(
        connection, [point["id"] for point in route["points"]], now - timedelta(days=94)
    )
    return [
        rules.due(
            rules.Point(id=point["id"], cadence=point["cadence"], since=point["since"]),
            checked[point["id"]],
            {},
            now,
            ZONE,
        )
        for point in route["points"]
    ]


async def appraisal(connection: AsyncConnection[Any], now: datetime) -> dict[str, rules.Figures]:
    """What /api/patrol/appraisal works out."""
    since = now - timedelta(days=30)
    points = [rules.Point(**row) for row in await patrol.appraised_points(connection, since)]
    made = [rules.Made(**row) for row in await patrol.appraised_made(connection, since, now, rules.ON_SITE_M)]
    days = await patrol.checked_days(connection, since - timedelta(days=31), now, ZONE.key)
    return rules.appraise(points, made, days, {}, (since, now), ZONE, "worker")


if __name__ == "__main__":
    main()
