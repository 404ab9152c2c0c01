"""What it costs to be held to an area or a unit: the lists, as accounts of the whole district and as held ones.

Six streets of 500 cells each, whose numbers lie in no order; every list is read in turn by everybody, round by round,
each in a transaction of its own as a request has it. Told is what the server's processor works, in milliseconds, so
that what else the machine does counts little, and how many times the whole district's each pays.

    python -m bench.reach [--devices 10000] [--incidents 20000] [--rounds 40] [--only devices]
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

import psycopg
from psycopg import AsyncConnection

from bench.database import started_server
from bench.procfs import on_processor
from city.reach import WHOLE, Reach
from city.sealing import KeyRing
from city.storage import (
    alarms,
    clocks,
    components,
    device_health,
    devices,
    incidents,
    migrate,
    reach,
    report_lists,
    screen,
)
from city.storage.changes import open_connection

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
LIMIT = 100
PREPARED = 12  # times: psycopg prepares after five, and the server looks at five plans before it keeps one
WHO: Mapping[str, Reach] = {
    "whole": WHOLE,
    "street": Reach(scope="s1", actor="user:1"),
    "community": Reach(scope="m1-1", actor="user:1"),
    "cell": Reach(scope="c1", actor="user:1"),
    "street, unit": Reach(scope="s1", unit_id=1, actor="user:1"),
    "unit": Reach(unit_id=1, held=True, actor="user:1"),
}
_GROUND = """
INSERT INTO areas (layer, code, name) VALUES ('district', 'd', '区');
INSERT INTO areas (layer, code, name, parent_id)
    SELECT 'street', 's' || s, '街道' || s, (SELECT id FROM areas WHERE code = 'd') FROM generate_series(1, 6) s;
INSERT INTO areas (layer, code, name, parent_id)
    SELECT 'community', format('m%s-%s', s, m), '社区', a.id FROM generate_series(1, 25) m
    JOIN generate_series(1, 6) s ON true JOIN areas a ON a.code = 's' || s;
INSERT INTO areas (layer, code, name, parent_id)
    SELECT 'cell', 'c' || n, '网格' || n, a.id FROM generate_series(1, 3000) n
    JOIN areas a ON a.code = format('m%s-%s', 1 + n % 6, 1 + n / 6 % 25) ORDER BY md5(n::text);
INSERT INTO units (code, name) SELECT 'u' || n, '单位' || n FROM generate_series(1, 20) n;
INSERT INTO categories (code, name, class, limit_minutes) VALUES ('fire', '火情', 'A', 60) ON CONFLICT DO NOTHING;
INSERT INTO device_kinds (code, name, main_metric) VALUES ('smoke', '烟感', 'smoke') ON CONFLICT DO NOTHING;
INSERT INTO devices (code, kind, cell_id, longitude, latitude, owner_unit)
    SELECT 'd' || n, 'smoke', a.id, 114, 22.5, 'u' || 1 + n % 20 FROM generate_series(1, {devices}) n
    JOIN areas a ON a.code = 'c' || 1 + n % 3000 ORDER BY md5(n::text);
INSERT INTO presence (device_id, last_heard_at) SELECT id, now() FROM devices;
INSERT INTO components (code, kind, category, cell_id, longitude, latitude)
    SELECT 'k' || n, '井盖', 'facility', a.id, 114, 22.5 FROM generate_series(1, {devices}) n
    JOIN areas a ON a.code = 'c' || 1 + n % 3000;
INSERT INTO incidents (number, state, class, base_class, category, area_id, unit_id, reason, source, due_at, opened_at,
        closed_at)
    SELECT 'n' || n, CASE WHEN n % 5 = 0 THEN 'dispatched' ELSE 'archived' END, 'C', 'C', 'fire', a.id,
           1 + n / 6 % 20, 'r', 'alarm', now(), now(), CASE WHEN n % 5 > 0 THEN now() END
    FROM generate_series(1, {incidents}) n JOIN areas a ON a.code = 'c' || 1 + (n * 7) % 3000 ORDER BY n;
INSERT INTO incident_events (incident_id, seq, at, kind, actor, previous, hash, detail)
    SELECT i.id, s, now(), CASE s WHEN 1 THEN 'opened' ELSE 'dispatched' END, 'system', '', '',
           jsonb_build_object('unit', u.code)
    FROM incidents i JOIN units u ON u.id = i.unit_id JOIN generate_series(1, 2) s ON true;
INSERT INTO incident_co_units (incident_id, unit_id)
    SELECT id, 1 + (unit_id + 3) % 20 FROM incidents WHERE id % 10 = 0;
INSERT INTO incident_clocks (incident_id, stage, unit_id, "limit", started_at, due_at, next_at)
    SELECT id, 'handle', unit_id, '60m', opened_at, now(), now() FROM incidents WHERE closed_at IS NULL;
INSERT INTO alarms (rule_id, rule_version, device_id, cell_id, category, level, raised_at, evidence, triage,
        incident_id, cleared_at)
    SELECT 'r' || i.id, 1, d.id, i.area_id, 'fire', 'red', i.opened_at, '{{}}', 'done', i.id, i.closed_at
    FROM incidents i JOIN LATERAL (SELECT min(id) AS id FROM devices WHERE cell_id = i.area_id) d ON true;
INSERT INTO reports (tracking, tracking_digest, channel, received_at, nature, text, area_id, place, incident_id, actor,
        category)
    SELECT lpad(id::text, 13, '0'), sha256(convert_to('t' || id, 'UTF8')), 'web', opened_at, 'complaint', 't', area_id,
           'inside', id, 'citizen', 'fire'
    FROM incidents WHERE id / 6 % 2 = 0;
"""

Read = Callable[[AsyncConnection[Any]], Awaitable[object]]
ReadPlain = Callable[[psycopg.Connection[Any]], object]
LISTS: Mapping[str, Read] = {
    "incidents": lambda c: incidents.page(c, limit=LIMIT),
    "open incidents": lambda c: incidents.page(c, states=["dispatched"], limit=LIMIT),
    "clocks": lambda c: clocks.board(c, now=NOW, limit=LIMIT),
    "alarms": lambda c: alarms.page(c, now=NOW, limit=LIMIT),
    "standing alarms": lambda c: alarms.page(c, now=NOW, standing=True, limit=LIMIT),
    "reports": lambda c: report_lists.page(
        c, state=None, channel=None, words=None, tracking=None, before=None, limit=LIMIT, keys=_KEYS
    ),
    "device health": lambda c: device_health.page(c, {}, state=None, after=None, limit=LIMIT),
    "devices by state": lambda c: device_health.counts(c, {}),
    "devices by cell": screen.presence,
}
PLAIN: Mapping[str, ReadPlain] = {
    "devices": lambda c: devices.list_devices(c, limit=LIMIT),
    "components": lambda c: components.page(c, limit=LIMIT),
}
_KEYS = KeyRing(newest=b"", keys={})


def build(url: str, count_devices: int, count_incidents: int) -> None:
    """The ground of a migrated database."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in _GROUND.format(devices=count_devices, incidents=count_incidents).split(";\n"):
            if statement.strip():
                connection.execute(statement.encode())
        connection.execute("VACUUM ANALYZE")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """Connections of one caller; statements are kept prepared for the role that asked first."""

    held: Reach
    waiting: AsyncConnection[Any]
    plain: psycopg.Connection[Any]

    async def read(self, name: str) -> float:
        """Milliseconds of the server's processor for one list, from the begin of the transaction to its end."""
        backend = (self.waiting if name in LISTS else self.plain).info.backend_pid
        before = on_processor(backend)
        if name in LISTS:
            async with self.waiting.transaction(), reach.held_to(self.waiting, self.held):
                await LISTS[name](self.waiting)
        else:
            with self.plain.transaction():
                reach.within(self.plain, self.held)
                PLAIN[name](self.plain)
        return (on_processor(backend) - before) * 1000


async def measure(url: str, names: Sequence[str], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Milliseconds by list and by who asks, one after another in each round."""
    took: dict[str, dict[str, list[float]]] = {name: {who: [] for who in WHO} for name in names}
    async with AsyncExitStack() as stack:
        callers = {
            who: Asking(
                held=held,
                waiting=await stack.enter_async_context(await open_connection(url, "bench", autocommit=True)),
                plain=stack.enter_context(psycopg.connect(url, autocommit=True)),
            )
            for who, held in WHO.items()
        }
        for name in names:
            for turn in range(PREPARED + rounds):
                for who, asking in callers.items():
                    ms = await asking.read(name)
                    if turn >= PREPARED:
                        took[name][who].append(ms)
    return took


def table(took: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """As docs/access.md has it."""
    lines = [
        f"| ms of processor (times the whole district's) | {' | '.join(WHO)} |",
        "|---|" + "---|" * len(WHO),
    ]
    for name, by_who in took.items():
        cells = [
            f"{median(ms):.1f} ({median(ms) / median(by_who['whole']):.1f}×)"
            if who != "whole"
            else f"{median(ms):.1f}"
            for who, ms in by_who.items()
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--devices", type=int, default=10_000)
    given.add_argument("--incidents", type=int, default=20_000)
    given.add_argument("--rounds", type=int, default=40)
    given.add_argument("--only", default="", help="lists with this in their names")
    asked = given.parse_args()
    with started_server() as server:
        url = server.url(server.create_database())
        migrate.apply(url)
        build(url, asked.devices, asked.incidents)
        names = [name for name in (*LISTS, *PLAIN) if asked.only in name]
        print(table(asyncio.run(measure(url, names, asked.rounds))))


if __name__ == "__main__":
    main()
