"""What proving all timelines costs: ``city audit verify`` and the doctor's quick look, on many incidents.

python -m bench.audit_verify --incidents 20000 --events 10
"""

import argparse
import asyncio
import json
import resource
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb

from bench.database import started_server
from city.incidents import Happening, Incident
from city.settings import Settings
from city.storage import incidents, migrate
from city.storage.changes import open_connection
from command_centre import anchoring
from runtime import audit

_TYPED = "井盖缺失，已围挡，等待更换 / cover missing, fenced off"


def fill(url: str, count: int, events: int) -> None:
    """Incidents with so many events, one in five with a typed text, in the shapes that the centre writes."""
    now = datetime.now(UTC) - timedelta(days=30)
    detail = {"unit": "U-FIRE-EAST", "purpose": "order", "to_lead": False, "channels": ["webhook", "smtp"]}
    with psycopg.connect(url, autocommit=True) as connection:
        ends, rows, texts = [], [], []
        for number in range(1, count + 1):
            new = Incident(
                id=number, incident_class="B", base_class="B", category="fire", reason="x", opened_at=now
            )
            happenings = [
                Happening(
                    kind="told",
                    actor="user:7",
                    reason="职责清单",
                    detail={**detail, "n": n},
                    text=_TYPED if n % 5 == 4 else "",
                )
                for n in range(events)
            ]
            chained = incidents.chain(new, happenings, now + timedelta(seconds=number))
            rows += chained.events
            texts += chained.texts
            ends.append((number, chained.last_seq, chained.head))
        cursor = connection.cursor()
        with cursor.copy(
            "COPY incidents (id, number, state, class, base_class, category, reason, opened_at, last_seq, head)"
            " FROM STDIN"
        ) as copy:
            for number, last_seq, head in ends:
                copy.write_row((number, f"B-{number}", "filed", "B", "B", "fire", "x", now, last_seq, head))
        with cursor.copy(
            "COPY incident_events (incident_id, seq, at, kind, actor, reason, detail, previous, hash) FROM STDIN"
        ) as copy:
            for e in rows:
                copy.write_row(
                    (
                        e.incident_id,
                        e.seq,
                        e.at,
                        e.kind,
                        e.actor,
                        e.reason,
                        Jsonb(dict(e.detail)),
                        e.previous,
                        e.hash,
                    )
                )
        with cursor.copy("COPY incident_texts (incident_id, seq, salt, text) FROM STDIN") as copy:
            for text in texts:
                copy.write_row(text)
        connection.execute("ANALYZE")


async def _anchored(url: str, folder: Path) -> float:
    async with await open_connection(url, "bench", autocommit=True) as connection:
        began = time.perf_counter()
        await anchoring.anchor(connection, Settings(data_dir=folder, _env_file=None), datetime.now(UTC))
        return time.perf_counter() - began


def _looked(url: str, *, quick: bool) -> dict[str, object]:
    spent = time.process_time()
    report = asyncio.run(audit.examined(url, Path("/nonexistent"), quick=quick))
    assert report.broken == []
    return {
        "incidents": report.incidents,
        "events": report.events,
        "seconds": round(report.seconds, 2),
        "cpu_seconds": round(time.process_time() - spent, 2),
        "events_per_s": round(report.events / report.seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--incidents", type=int, default=20_000)
    parser.add_argument("--events", type=int, default=10, help="of each incident")
    given = parser.parse_args()
    with started_server() as server:
        url = server.url(server.create_database())
        migrate.apply(url)
        fill(url, given.incidents, given.events)
        filled = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        anchor_s = asyncio.run(_anchored(url, Path("/nonexistent")))
        print(
            json.dumps(
                {
                    "anchor_s": round(anchor_s, 2),
                    "verify": _looked(url, quick=False),
                    "quick": _looked(url, quick=True),
                    "more_memory_mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - filled) // 1024,
                },
                indent=1,
            )
        )


if __name__ == "__main__":
    main()
