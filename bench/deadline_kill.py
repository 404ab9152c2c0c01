"""Three processes strike the same clocks while they are killed at random: is every step written exactly once?

    python -m bench.deadline_kill --incidents 2000 --kills 200

The ladder is squeezed into seconds, so that steps fall due while processes die. A kill is SIGKILL: wherever the
process stands, also between two statements of a transaction. The end waits until every step is there, kills over.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.process import BaseProcess
from typing import Any

import psycopg

from bench.database import started_server
from city.settings import Settings
from city.storage import migrate

PROCESSES = 3
STEPS = 4
PATIENCE_S = 120.0

# One minute's limit: a step each 1.2 seconds around the deadline.
_LADDER = """
DELETE FROM urging_steps WHERE stage = 'handle';
INSERT INTO urging_steps (event_level, class, stage, step, at, purpose, tell) VALUES
    (0, '', 'handle', 1, '-4%', 'remind', '{handler}'), (0, '', 'handle', 2, '-2%', 'urge', '{unit_lead}'),
    (0, '', 'handle', 3, '0', 'overdue', '{unit_lead}'), (0, '', 'handle', 4, '+2%', 'escalate', '{parent_lead}');
"""
TOWN = """
INSERT INTO categories (code, name, class, limit_minutes, clock) VALUES ('fire', '火情', 'A', 30, 'natural')
    ON CONFLICT DO NOTHING;
INSERT INTO units (code, name, kind) VALUES ('hq', '大队', 'fire');
INSERT INTO units (code, name, kind, parent, email, lead_email)
    VALUES ('crew', '中队', 'fire', 'hq', 'crew@x.example', 'lead@x.example');
"""
_INCIDENTS = """
INSERT INTO incidents (number, state, class, base_class, category, unit_id, reason, reason_en, source, due_at,
                       opened_at)
    SELECT 'K-' || n, 'acknowledged', 'B', 'B', 'fire', (SELECT id FROM units WHERE code = 'crew'), 'x', 'x',
           'person', clock_timestamp() + make_interval(secs => 2.5 + random() * %(spread)s), clock_timestamp()
    FROM generate_series(1, %(incidents)s) n;
INSERT INTO incident_clocks (incident_id, stage, unit_id, "limit", started_at, due_at, next_at)
    SELECT id, 'handle', unit_id, '1m', due_at - interval '1 minute', due_at, due_at - interval '2.4 seconds'
    FROM incidents;
"""
_CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'city centre deadlines'"
_WRITTEN = """
SELECT count(*), count(DISTINCT (incident_id, detail ->> 'stage', detail ->> 'level')),
       coalesce(sum(jsonb_array_length(detail -> 'to')), 0)
FROM incident_events WHERE kind IN ('reminded', 'urged', 'overdue')
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """``written`` are events of steps, of which ``twice`` stand more than once and ``missing`` not at all."""

    incidents: int
    kills: int
    written: int
    twice: int
    missing: int
    told: int  # orders or the lack of an address, one for each time somebody was to be told
    to_tell: int
    seconds: float


def prepare(url: str) -> None:
    """A unit with somebody above it, and the squeezed ladder."""
    with psycopg.connect(url) as connection:
        connection.execute(TOWN)
        connection.execute(_LADDER)


def fill(url: str, incidents: int, spread_s: float) -> None:
    """Acknowledged incidents whose four steps fall due from now on, spread over so many seconds."""
    with psycopg.connect(url) as connection:
        for part in filter(str.strip, _INCIDENTS.split(";")):
            connection.execute(part.encode(), {"incidents": incidents, "spread": spread_s})


def work(url: str) -> None:
    """What each process does: the centre's own loop of deadlines, until it is killed."""
    from command_centre import deadlines_loop  # noqa: PLC0415  # the fork server has it loaded

    settings = Settings(database_url=url, smtp_url="smtp://127.0.0.1", _env_file=None)
    asyncio.run(deadlines_loop.run(url, settings, asyncio.Event()))


def suffer(url: str, incidents: int, kills: int, *, pause_s: float = 0.4) -> Outcome:
    """Run three processes, kill and replace one of them so many times while steps fall due, then let them finish."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "bench.deadline_kill", "command_centre.deadlines_loop"])
    running: list[BaseProcess] = []

    def start() -> BaseProcess:
        process = context.Process(target=work, args=(url,), daemon=True)
        process.start()
        return process

    prepare(url)
    try:
        running = [start() for _ in range(PROCESSES)]
        _until(lambda: int(_one(url, _CONNECTED)[0]) >= PROCESSES)
        fill(url, incidents, kills * pause_s)
        began = time.monotonic()
        for _ in range(kills):
            time.sleep(random.uniform(0.2, 1.8) * pause_s)
            index = random.randrange(PROCESSES)
            _kill(running[index])
            running[index] = start()
        _until(lambda: int(_one(url, _WRITTEN)[0]) >= incidents * STEPS)
    finally:
        for process in running:
            _kill(process)
    return _outcome(url, incidents, kills, time.monotonic() - began)


def _until(done: Callable[[], bool]) -> None:
    """Wait for it, or go on after a while: what is lacking then stands in the outcome."""
    deadline = time.monotonic() + PATIENCE_S
    while not done() and time.monotonic() < deadline:
        time.sleep(0.1)


def _kill(process: BaseProcess) -> None:
    if process.pid is not None and process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join(10)


def _one(url: str, query: str) -> tuple[Any, ...]:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row


def _outcome(url: str, incidents: int, kills: int, seconds: float) -> Outcome:
    written, different, to_tell = _one(url, _WRITTEN)
    (told,) = _one(url, "SELECT count(*) FROM incident_events WHERE kind IN ('told', 'nobody_told')")
    return Outcome(
        incidents=incidents,
        kills=kills,
        written=written,
        twice=written - different,
        missing=incidents * STEPS - different,
        told=told,
        to_tell=int(to_tell),
        seconds=round(seconds, 1),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--incidents", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=200)
    given = parser.parse_args()
    with started_server(plain=True) as server:
        url = server.url(server.create_database())
        migrate.apply(url)
        print(json.dumps(asdict(suffer(url, given.incidents, given.kills))))


if __name__ == "__main__":
    main()
