"""What became of alarms, timelines and deadlines, read from the tables; shares no code with the product.

Rule of nearness, stated here so that it can be held against the product: alarms of one cell and category belong to one
incident, unless more than half an hour of event time lies between them.
"""

from dataclasses import asdict, dataclass
from typing import Any

import psycopg

JOIN_MINUTES = 30
Wall = dict[str, list[Any]]  # open incidents by id: state, class, unit, number of alarms


@dataclass(frozen=True, kw_only=True)
class Aftermath:
    """Counts; of the second group each must be nothing."""

    alarms: int  # of the load's devices
    incidents: int  # that have such an alarm; the other alarms joined by nearness
    steps: int  # of deadlines: reminders, urges, escalations on timelines

    waiting: int  # alarms that triage has not decided
    unlinked: int  # alarms that no incident has, or that not exactly one timeline tells of, once
    split: int  # alarms whose neighbour in time, within the window, stands in another incident
    chains_broken: int  # incidents whose events are not numbered and linked from the first to the head
    steps_twice: int
    steps_missing: int  # due for longer than the patience, and not written

    def faults(self) -> dict[str, int]:
        """Those of the second group that are not nothing."""
        wanted = ("waiting", "unlinked", "split", "chains_broken", "steps_twice", "steps_missing")
        return {name: count for name, count in asdict(self).items() if name in wanted and count}


_ALARMS = """
    SELECT a.id, a.cell_id, a.raised_at, a.triage, a.incident_id, a.category
    FROM alarms a JOIN devices d ON d.id = a.device_id
    WHERE d.code ~ '^b[0-9]{6}$' AND a.category !~ '^device'
"""
_COUNTS = f"""
    WITH mine AS ({_ALARMS}), told AS (
        SELECT (detail ->> 'alarm')::bigint AS alarm, count(*) AS times, min(incident_id) AS incident
        FROM incident_events WHERE kind IN ('opened', 'joined') AND detail ? 'alarm' GROUP BY 1)
    SELECT count(*), count(DISTINCT incident_id), count(*) FILTER (WHERE triage IN ('new', 'held')),
           count(*) FILTER (WHERE triage NOT IN ('new', 'held') AND (incident_id IS NULL
                            OR told.times IS DISTINCT FROM 1 OR told.incident <> incident_id))
    FROM mine LEFT JOIN told ON told.alarm = mine.id
"""
_SPLIT = f"""
    SELECT count(*) FROM (
        SELECT incident_id, raised_at, lag(incident_id) OVER near AS other, lag(raised_at) OVER near AS before
        FROM ({_ALARMS}) mine WHERE incident_id IS NOT NULL
        WINDOW near AS (PARTITION BY cell_id, split_part(category, '.', 1) ORDER BY raised_at, id)) pairs
    WHERE other <> incident_id AND raised_at - before < make_interval(mins => {JOIN_MINUTES})
"""
_CHAINS = """
    SELECT count(*) FROM incidents i LEFT JOIN (
        SELECT incident_id, count(*) AS events, max(seq) AS last, (array_agg(hash ORDER BY seq DESC))[1] AS head,
               bool_and(linked) AS linked
        FROM (SELECT incident_id, seq, hash, coalesce(previous = lag(hash) OVER line, seq = 1) AS linked
              FROM incident_events WINDOW line AS (PARTITION BY incident_id ORDER BY seq)) one GROUP BY 1
    ) e ON e.incident_id = i.id
    WHERE i.last_seq <> coalesce(e.events, 0) OR (e.events IS NOT NULL
        AND (e.last <> e.events OR NOT e.linked OR e.head <> i.head))
"""
_STEPS = """
    SELECT count(*), count(*) - count(DISTINCT (incident_id, detail ->> 'stage', detail ->> 'level'))
    FROM incident_events WHERE kind IN ('reminded', 'urged', 'overdue')
"""
# Of the incidents made for it: each has as many steps as its ladder, the last of them `after_s` behind the deadline.
_MISSING = """
    SELECT coalesce(sum(%(steps)s - coalesce(e.steps, 0)), 0) FROM incident_clocks c
    JOIN incidents i ON i.id = c.incident_id
    LEFT JOIN (SELECT incident_id, count(*) AS steps FROM incident_events
               WHERE kind IN ('reminded', 'urged', 'overdue') AND detail ->> 'stage' = 'handle' GROUP BY 1) e
        ON e.incident_id = i.id
    WHERE i.number LIKE 'K-%%' AND c.stage = 'handle'
        AND c.due_at + make_interval(secs => %(after_s)s) < clock_timestamp()
"""


def look(connection: psycopg.Connection, *, steps: int, after_s: float) -> Aftermath:
    """Count; `steps` is the length of the ladder, `after_s` how long behind a deadline its last step may come."""

    def row(query: str, parameters: dict[str, Any] | None = None) -> tuple[int, ...]:
        found = connection.execute(query.encode(), parameters).fetchone()
        assert found is not None
        return tuple(int(value) for value in found)

    alarms, incidents, waiting, unlinked = row(_COUNTS)
    written, twice = row(_STEPS)
    return Aftermath(
        alarms=alarms,
        incidents=incidents,
        steps=written,
        waiting=waiting,
        unlinked=unlinked,
        split=row(_SPLIT)[0],
        chains_broken=row(_CHAINS)[0],
        steps_twice=twice,
        steps_missing=row(_MISSING, {"steps": steps, "after_s": after_s})[0],
    )


def reported(connection: psycopg.Connection) -> dict[str, int]:
    """How many incidents there are for each thing that the caller said."""
    found = connection.execute(
        "SELECT text, count(DISTINCT incident_id) FROM incident_texts WHERE text LIKE 'call %' GROUP BY 1"
    ).fetchall()
    return {str(text): int(count) for text, count in found}


_WALL = """
    SELECT i.id, i.state, i.class, u.code, (SELECT count(*) FROM alarms a WHERE a.incident_id = i.id)
    FROM incidents i LEFT JOIN units u ON u.id = i.unit_id WHERE i.closed_at IS NULL
"""


def open_incidents(connection: psycopg.Connection) -> Wall:
    """What a wall must show, by id."""
    return {str(key): list(rest) for key, *rest in connection.execute(_WALL).fetchall()}


def wall_differs(before: Wall, shown: Wall, after: Wall) -> list[str]:
    """Ids that the wall shows otherwise than the database had them, both before and after it was asked.

    What changed in between may stand as it was or as it is.
    """
    return [
        key
        for key in sorted(before.keys() | shown.keys() | after.keys())
        if before.get(key) == after.get(key) != shown.get(key)
    ]
