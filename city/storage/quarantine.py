"""Quarantine as people see it: a page of it, counts by reason, and the wish to have something replayed."""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from city.storage import audit

Row = dict[str, Any]
Db = Connection[Any]

MOST_AT_ONCE = 10_000  # messages of one replay; the next request takes the next ones


def page(
    connection: Db,
    *,
    reason: str | None = None,
    topic: str | None = None,
    pending: bool = False,
    before: int | None = None,
    limit: int = 100,
) -> list[Row]:
    """Messages newest id first, those below ``before``; ``payload`` is bytes, cut at 64 KiB.

    ``pending`` leaves out what was replayed already.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            SELECT id, received_at, topic, payload, size, retained, reason, detail,
                   replay_requested_at, replayed_at, outcome
            FROM quarantine
            WHERE (%(reason)s::text IS NULL OR reason = %(reason)s)
              AND (%(topic)s::text IS NULL OR topic = %(topic)s)
              AND (NOT %(pending)s OR replayed_at IS NULL)
              AND (%(before)s::bigint IS NULL OR id < %(before)s)
            ORDER BY id DESC LIMIT %(limit)s
            """,
            {"reason": reason, "topic": topic, "pending": pending, "before": before, "limit": limit},
        ).fetchall()


def counts(connection: Db) -> list[Row]:
    """By reason: kept (in the table), counted (all there ever were), last_hour."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            SELECT c.reason, c.counted, coalesce(k.kept, 0) AS kept, coalesce(k.last_hour, 0) AS last_hour
            FROM (SELECT reason, sum(counted)::bigint AS counted FROM quarantine_counts GROUP BY reason) AS c
            LEFT JOIN (SELECT reason, count(*) AS kept,
                              count(*) FILTER (WHERE received_at > now() - interval '1 hour') AS last_hour
                       FROM quarantine GROUP BY reason) AS k USING (reason)
            ORDER BY c.reason
            """
        ).fetchall()


def groups(connection: Db, limit: int) -> list[Row]:
    """What is kept, by reason and topic, the largest first: how many, first, last, and what became of replays."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            SELECT reason, topic, count(*) AS kept, min(received_at) AS first_at, max(received_at) AS last_at,
                   count(*) FILTER (WHERE replayed_at IS NULL AND replay_requested_at IS NULL) AS untouched,
                   count(*) FILTER (WHERE replay_requested_at IS NOT NULL AND replayed_at IS NULL) AS waiting,
                   count(*) FILTER (WHERE replayed_at IS NOT NULL) AS replayed
            FROM quarantine GROUP BY reason, topic ORDER BY count(*) DESC, reason, topic LIMIT %s
            """,
            (limit,),
        ).fetchall()


def request_replay(
    connection: Db, *, ids: Sequence[int], reason: str | None, topic: str | None = None, actor: str
) -> int:
    """Ask ingest to take messages again, by id or all of a reason (and topic), oldest first; their number.

    Those whose replay failed before may be asked for again; those that succeeded are stored once anyway.
    """
    wanted = connection.execute(
        """
        UPDATE quarantine SET replay_requested_at = clock_timestamp(), replayed_at = NULL, outcome = NULL
        WHERE id IN (SELECT id FROM quarantine
                     WHERE (id = ANY(%(ids)s)
                            OR reason = %(reason)s AND (%(topic)s::text IS NULL OR topic = %(topic)s))
                       AND (replay_requested_at IS NULL OR replayed_at IS NOT NULL)
                     ORDER BY id LIMIT %(most)s)
        """,
        {"ids": list(ids), "reason": reason, "topic": topic, "most": MOST_AT_ONCE},
    ).rowcount
    audit.record(
        connection,
        actor=actor,
        action="quarantine.replay",
        subject="quarantine",
        detail={"ids": list(ids)[:100], "reason": reason, "topic": topic, "messages": wanted},
    )
    return wanted
