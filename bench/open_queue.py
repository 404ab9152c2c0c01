"""What the queue costs to look at with a hundred thousand open incidents: pages over HTTP from a real centre.

python -m bench.open_queue --incidents 100000 [--rounds 20]
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

import httpx
import psycopg

from bench.database import started_server
from city.district import import_folder
from city.storage import migrate
from command_centre.rule_changes import check_imported
from rules.definitions import to_rows
from simulators.district import generate
from tests.integration.running_centre import Centre, running

# Every third waits for a person (what the list covers would leave the lane by itself); one alarm each; over all units
# and cells, each with its share.
_FILL = (
    """
    WITH cell AS (SELECT array_agg(id ORDER BY id) AS ids FROM areas WHERE layer = 'cell'),
         unit AS (SELECT array_agg(id ORDER BY id) AS ids FROM units WHERE active),
         kind AS (SELECT array_agg(code ORDER BY code) AS codes FROM categories)
    INSERT INTO incidents (number, state, class, base_class, category, area_id, unit_id, reason, reason_en, source,
                           due_at, opened_at, dispatched_at)
    SELECT 'Q-' || n, CASE WHEN n % 3 = 0 THEN 'registered' WHEN n % 3 = 1 THEN 'dispatched' ELSE 'acknowledged' END,
           chr(65 + n % 3), chr(65 + n % 3), kind.codes[1 + n % array_length(kind.codes, 1)],
           cell.ids[1 + n % array_length(cell.ids, 1)],
           CASE WHEN n % 3 > 0 THEN unit.ids[1 + n % array_length(unit.ids, 1)] END,
           '原因', 'reason', 'alarm', now() + interval '1 minute' * (n % 5000), now() - interval '1 second' * n, now()
    FROM generate_series(1, %(incidents)s) n, cell, unit, kind
    """,
    """
    INSERT INTO alarms (rule_id, rule_version, device_id, category, level, raised_at, evidence, triage, incident_id)
    SELECT 'bench-' || i.id, 1, (SELECT min(id) FROM devices) + i.id % 1000, i.category, 'red', i.opened_at, '{}',
           'done', i.id
    FROM incidents i
    """,
    """
    INSERT INTO incident_clocks (incident_id, stage, unit_id, "limit", started_at, due_at, next_at)
    SELECT id, 'handle', unit_id, '60m', opened_at, due_at, due_at FROM incidents
    """,
    "ANALYZE",
)
PAGES = (
    "/api/incidents?state=open&limit=100",
    "/api/incidents?state=open&class=A&limit=100",
    "/api/incidents?state=registered,filed,returned&limit=100",
    "/api/incidents?state=open&unit=U-WATER&limit=100",
    "/api/incidents?state=open&cell={cell}&limit=100",
    "/api/incidents?state=suspended&limit=100",
    "/api/clocks?unit=U-WATER&limit=100",
    "/api/units",
)


def fill(url: str, incidents: int) -> None:
    """The demonstration district with so many open incidents."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder) / "district")
        import_folder(url, Path(folder) / "district", parse_rules=to_rows, check_rules=check_imported)
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in _FILL:
            parameters = {"incidents": incidents} if "%(" in statement else None
            # A lone % is the remainder of a division wherever no value is handed in.
            text = statement.replace("%", "%%").replace("%%(", "%(") if parameters else statement
            connection.execute(text.encode(), parameters)


def measure(centre: Centre, rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each page, as a client on the same machine sees them."""
    cell = centre.client.get("/api/cells?limit=1").json()["items"][0]["code"]
    figures = {}
    for page in PAGES:
        path = page.format(cell=cell)
        answers = [_timed(centre.client, path) for _ in range(rounds)]
        figures[page] = {
            "median_ms": round(median(answers), 1),
            "p95_ms": round(quantiles(answers, n=20)[-1], 1),
        }
    cursor = centre.client.get(PAGES[0]).json()["next"]
    deep = f"{PAGES[0]}&cursor={cursor}"
    figures["the page after the first"] = {"median_ms": round(median([_timed(centre.client, deep)] * 1), 1)}
    return figures


def _timed(client: httpx.Client, path: str) -> float:
    began = time.perf_counter()
    answer = client.get(path)
    took = (time.perf_counter() - began) * 1000
    assert answer.status_code == 200, answer.text
    return took


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--incidents", type=int, default=100_000)
    given.add_argument("--rounds", type=int, default=20)
    arguments = given.parse_args()
    with started_server() as server:
        url = server.url(server.create_database())
        migrate.apply(url)
        fill(url, arguments.incidents)
        with running(url) as centre:
            print(json.dumps(measure(centre, arguments.rounds), indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
