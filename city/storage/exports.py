"""Readings of one device over a period, in blocks: no download holds a connection while it waits for its reader."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import Connection
from psycopg.rows import TupleRow

BLOCK_ROWS = 50_000
Reading = tuple[datetime, datetime, float, int, int | None]  # observed_at, received_at, value, quality, seq


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One metric of the device, with its unit."""

    device_id: int
    metric_id: int
    metric: str
    unit: str


def metrics_of(
    connection: Connection[TupleRow], code: str, start: datetime, end: datetime
) -> list[Series] | None:
    """What the device has read in the period, by metric; None when there is no such device."""
    device = connection.execute("SELECT id FROM devices WHERE code = %s", (code,)).fetchone()
    if device is None:
        return None
    rows = connection.execute(
        """WITH RECURSIVE read AS (
               (SELECT metric_id FROM observations WHERE device_id = %(device)s AND observed_at >= %(start)s
                AND observed_at < %(end)s ORDER BY metric_id LIMIT 1)
               UNION ALL
               SELECT (SELECT o.metric_id FROM observations o WHERE o.device_id = %(device)s
                       AND o.metric_id > read.metric_id AND o.observed_at >= %(start)s AND o.observed_at < %(end)s
                       ORDER BY o.metric_id LIMIT 1)
               FROM read WHERE read.metric_id IS NOT NULL
           )
           SELECT m.id, m.code, m.unit FROM read JOIN metrics m ON m.id = read.metric_id ORDER BY m.code""",
        {"device": device[0], "start": start, "end": end},
    )
    return [Series(device_id=device[0], metric_id=row[0], metric=row[1], unit=row[2]) for row in rows]


def count(
    connection: Connection[TupleRow], series: Sequence[Series], start: datetime, end: datetime, most: int
) -> int:
    """How many readings there are, counted up to ``most`` + 1."""
    total = 0
    for one in series:
        row = connection.execute(
            """SELECT count(*) FROM (SELECT FROM observations WHERE device_id = %s AND metric_id = %s
               AND observed_at >= %s AND observed_at < %s LIMIT %s) AS counted""",
            (one.device_id, one.metric_id, start, end, most + 1 - total),
        ).fetchone()
        total += int(row[0]) if row else 0
        if total > most:
            break
    return total


def block(
    connection: Connection[TupleRow], series: Series, start: datetime, end: datetime, after: datetime | None
) -> list[Reading]:
    """The next readings of ``start`` <= observed_at < ``end`` after ``after``, oldest first, BLOCK_ROWS at most."""
    cursor = connection.cursor(binary=True)
    return cursor.execute(
        """SELECT observed_at, received_at, value, quality, seq FROM observations
           WHERE device_id = %(device)s AND metric_id = %(metric)s AND observed_at >= %(start)s
             AND observed_at < %(end)s AND (%(after)s::timestamptz IS NULL OR observed_at > %(after)s)
           ORDER BY observed_at LIMIT %(most)s""",
        {
            "device": series.device_id,
            "metric": series.metric_id,
            "start": start if after is None else after,
            "end": end,
            "after": after,
            "most": BLOCK_ROWS,
        },
    ).fetchall()
