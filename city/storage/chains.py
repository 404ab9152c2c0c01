"""Timelines read as a stream to be proved, thousands of events a second and never all in memory; asynchronous."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

from psycopg import AsyncConnection

from city.chains import Broken, Stored, first_fault
from city.incidents import Event

Connection = AsyncConnection[Any]

INCIDENTS_AT_ONCE = 500

# One statement is one snapshot: the end that an incident names and its events belong together.
_EVENTS = """
    SELECT i.id, i.number, i.last_seq, i.head,
           e.seq, e.at, e.kind, e.actor, e.reason, e.detail, e.previous, e.hash, t.salt, t.text
    FROM incidents i LEFT JOIN incident_events e ON e.incident_id = i.id
        LEFT JOIN incident_texts t ON t.incident_id = e.incident_id AND t.seq = e.seq
    WHERE i.id = ANY(%s) ORDER BY i.id, e.seq
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Proved:
    """What a stretch of incidents held, and the first fault of each that has one."""

    incidents: int
    events: int
    texts: int
    broken: tuple[Broken, ...]


async def incident_ids(
    connection: Connection,
    *,
    number: str | None = None,
    since: datetime | None = None,
    newest: int | None = None,
    drawn: int = 0,
) -> list[int]:
    """Ids in order: of a number; of those with an event since; of the ``newest`` and ``drawn`` by lot; else all."""
    if number is not None:
        cursor = await connection.execute("SELECT id FROM incidents WHERE number = %s", (number,))
    elif since is not None:
        cursor = await connection.execute(
            "SELECT DISTINCT incident_id FROM incident_events WHERE at >= %s ORDER BY incident_id", (since,)
        )
    elif newest is not None:
        cursor = await connection.execute(
            "SELECT id FROM ((SELECT id FROM incidents ORDER BY id DESC LIMIT %s)"
            " UNION (SELECT id FROM incidents ORDER BY random() LIMIT %s)) looked_at ORDER BY id",
            (newest, drawn),
        )
    else:
        cursor = await connection.execute("SELECT id FROM incidents ORDER BY id")
    return [row[0] for row in await cursor.fetchall()]


async def prove(connection: Connection, ids: Sequence[int]) -> AsyncIterator[Proved]:
    """Prove these chains and their texts, stretch by stretch; holds no lock."""
    for first in range(0, len(ids), INCIDENTS_AT_ONCE):
        cursor = await connection.execute(_EVENTS, (list(ids[first : first + INCIDENTS_AT_ONCE]),))
        yield _proved(await cursor.fetchall())


async def missing(connection: Connection) -> list[Broken]:
    """Incidents that are gone: events without incident, and numbers of a day that nobody has.

    Numbers are given without gaps (incident_numbers), so a day with fewer incidents than its last number lost some;
    a restore leaves some out, on record (incident_number_gaps).
    """
    cursor = await connection.execute(
        "SELECT DISTINCT e.incident_id FROM incident_events e LEFT JOIN incidents i ON i.id = e.incident_id"
        " WHERE i.id IS NULL ORDER BY 1"
    )
    orphans = [
        Broken(number=f"id {row[0]}", seq=0, what="gone", incident_id=row[0])
        for row in await cursor.fetchall()
    ]
    cursor = await connection.execute(
        """
        WITH had AS (SELECT left(number, 9) AS day, count(*) AS counted FROM incidents GROUP BY 1),
             given AS (SELECT to_char(day, 'YYYYMMDD') || '-' AS day, day AS of, last FROM incident_numbers),
             gaps AS (SELECT day AS of, sum(last - first + 1) AS counted FROM incident_number_gaps GROUP BY 1)
        SELECT s.number FROM given g LEFT JOIN had h USING (day) LEFT JOIN gaps l USING (of)
            CROSS JOIN LATERAL (SELECT g.day || lpad(n::text, greatest(4, length(n::text)), '0')
                                FROM generate_series(1, g.last) n
                                WHERE NOT EXISTS (SELECT FROM incident_number_gaps s
                                                  WHERE s.day = g.of AND n BETWEEN s.first AND s.last)) s (number)
        WHERE coalesce(h.counted, 0) + coalesce(l.counted, 0) < g.last
            AND NOT EXISTS (SELECT FROM incidents i WHERE i.number = s.number)
        ORDER BY 1 LIMIT 1000
        """
    )
    return orphans + [Broken(number=row[0], seq=0, what="gone") for row in await cursor.fetchall()]


def _proved(rows: Sequence[tuple[Any, ...]]) -> Proved:
    broken: list[Broken] = []
    incidents = events = texts = 0
    for (incident_id, number, last_seq, head), group in groupby(rows, itemgetter(0, 1, 2, 3)):
        stored = [_stored(row) for row in group if row[4] is not None]
        incidents += 1
        events += len(stored)
        texts += sum(one.text is not None for one in stored)
        fault = first_fault(stored, last_seq, head)
        if fault is not None:
            broken.append(Broken(number=number, seq=fault[0], what=fault[1], incident_id=incident_id))
    return Proved(incidents=incidents, events=events, texts=texts, broken=tuple(broken))


def _stored(row: tuple[Any, ...]) -> Stored:
    event = Event(
        incident_id=row[0],
        seq=row[4],
        at=row[5],
        kind=row[6],
        actor=row[7],
        reason=row[8],
        detail=row[9],
        previous=row[10],
        hash=row[11],
    )
    return Stored(event=event, salt=row[12], text=row[13])
