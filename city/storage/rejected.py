"""Quarantine as ingest writes it: always counted, kept while there is room, replayed on request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from city.observations import Rejection, instant

Db = Connection[Any]

KEPT_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantined:
    """One message that could not be understood. ``size`` is its payload in bytes before the cut."""

    received_us: int
    topic: bytes
    payload: bytes
    size: int
    retained: bool
    reason: Rejection
    detail: str


def keep(connection: Db, messages: Sequence[Quarantined]) -> None:
    """Store messages with their bytes, cut at 64 KiB."""
    rows = []
    for message in messages:
        shown, raw = _readable(message.topic)
        rows.append(
            (
                instant(message.received_us),
                shown,
                raw,
                message.payload[:KEPT_BYTES],
                message.size,
                message.retained,
                message.reason.value,
                message.detail.replace("\x00", "\\x00"),
            )
        )
    with connection.cursor() as cursor:  # no COPY: a table with policies takes none
        cursor.executemany(
            "INSERT INTO quarantine (received_at, topic, topic_bytes, payload, size, retained, reason, detail)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            rows,
        )


def count(connection: Db, counted: Mapping[str, int]) -> None:
    """Add to this hour's counts, kept or not."""
    connection.execute(
        """
        INSERT INTO quarantine_counts AS c (hour, reason, counted)
        SELECT date_trunc('hour', now()), r, n FROM unnest(%s::text[], %s::bigint[]) AS u (r, n) ORDER BY r
        ON CONFLICT (hour, reason) DO UPDATE SET counted = c.counted + excluded.counted
        """,
        [list(counted), list(counted.values())],
    )


def to_replay(connection: Db, limit: int) -> list[tuple[int, bytes, bytes, int, int]]:
    """(id, topic, payload, size, received in microseconds) of messages a person asked to replay."""
    return connection.execute(
        """
        SELECT id, coalesce(topic_bytes, convert_to(topic, 'UTF8')), payload, size,
               (extract(epoch FROM received_at) * 1000000)::bigint
        FROM quarantine WHERE replay_requested_at IS NOT NULL AND replayed_at IS NULL
        ORDER BY received_at LIMIT %s
        """,
        [limit],
    ).fetchall()


def replayed(connection: Db, outcomes: Mapping[int, str]) -> None:
    """Say of each replayed message what became of it."""
    connection.execute(
        "UPDATE quarantine q SET replayed_at = clock_timestamp(), outcome = u.o"
        " FROM unnest(%s::bigint[], %s::text[]) AS u (i, o) WHERE q.id = u.i",
        [list(outcomes), list(outcomes.values())],
    )


def _readable(topic: bytes) -> tuple[str, bytes | None]:
    text = topic.decode("utf-8", "backslashreplace")
    shown = "".join(ch if ch.isprintable() else ch.encode("unicode_escape").decode() for ch in text)
    return shown[:1024], topic if shown.encode() != topic else None
