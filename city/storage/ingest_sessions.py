"""When ingest was listening, and each device's last sign of life: what silence is measured against."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection
from psycopg.types.json import Jsonb

Db = Connection[Any]


def begin(connection: Db, client_id: str, now: datetime, *, caught_up: bool) -> int:
    """Open an interval and return its id; any other open one of this client ends where it last was alive.

    One that is not caught up shows that the process lives, and does not count as listening.
    """
    connection.execute(
        "UPDATE ingest_sessions SET listening = false WHERE client_id = %s AND listening", [client_id]
    )
    row = connection.execute(
        "INSERT INTO ingest_sessions (client_id, listening_from, alive_at, caught_up)"
        " VALUES (%s, %s, %s, %s) RETURNING id",
        [client_id, now, now, caught_up],
    ).fetchone()
    assert row is not None  # noqa: S101  # RETURNING of one inserted row
    return int(row[0])


def alive(connection: Db, session: int, now: datetime, figures: Mapping[str, object]) -> None:
    """Extend the interval to now and leave the process's figures for health and metrics."""
    connection.execute(
        "UPDATE ingest_sessions SET alive_at = greatest(alive_at, %s), figures = %s WHERE id = %s",
        [now, Jsonb(dict(figures)), session],
    )


def end(connection: Db, session: int, now: datetime) -> None:
    """Close the interval: the connection is gone, we stop, or we fell behind."""
    connection.execute(
        "UPDATE ingest_sessions SET listening = false, alive_at = greatest(alive_at, %s) WHERE id = %s",
        [now, session],
    )


def intervals(connection: Db, since: datetime) -> list[tuple[int, int]]:
    """(from, to) in microseconds since 1970 UTC of every interval that reaches past ``since``, in order."""
    return connection.execute(
        """
        SELECT (extract(epoch FROM listening_from) * 1000000)::bigint, (extract(epoch FROM alive_at) * 1000000)::bigint
        FROM ingest_sessions WHERE caught_up AND alive_at > %s ORDER BY listening_from
        """,
        [since],
    ).fetchall()


def write_presence(connection: Db, device_ids: NDArray[np.int32], heard_us: NDArray[np.int64]) -> None:
    """Last arrival of each device; an older one never replaces a newer one."""
    ids, heard = device_ids.tolist(), heard_us.tolist()
    connection.execute(
        """
        INSERT INTO presence (device_id, last_heard_at)
        SELECT d, to_timestamp(t / 1e6) FROM unnest(%s::int[], %s::bigint[]) AS u (d, t)
        WHERE EXISTS (SELECT 1 FROM devices WHERE id = d)
        ORDER BY d
        ON CONFLICT (device_id) DO UPDATE SET last_heard_at = greatest(presence.last_heard_at, excluded.last_heard_at)
        """,
        [ids, heard],
    )
    connection.execute(
        "UPDATE devices SET first_heard_at = p.last_heard_at FROM presence p"
        " WHERE p.device_id = devices.id AND devices.first_heard_at IS NULL AND devices.id = ANY(%s)",
        [ids],
    )


def write_links(connection: Db, links: Mapping[int, tuple[str, int]]) -> None:
    """What devices' last wills say: device id -> (online or offline, arrival in microseconds)."""
    connection.execute(
        """
        INSERT INTO presence (device_id, last_heard_at, link)
        SELECT d, to_timestamp(t / 1e6), l FROM unnest(%s::int[], %s::bigint[], %s::text[]) AS u (d, t, l) ORDER BY d
        ON CONFLICT (device_id) DO UPDATE SET link = excluded.link,
            last_heard_at = CASE WHEN excluded.link = 'online'
                THEN greatest(presence.last_heard_at, excluded.last_heard_at) ELSE presence.last_heard_at END
        """,
        [list(links), [arrival for _, arrival in links.values()], [link for link, _ in links.values()]],
    )


def mark_clock_ahead(connection: Db, device_ids: NDArray[np.int32], now: datetime) -> None:
    """Mark devices whose clock runs ahead; not more than once a minute each."""
    connection.execute(
        "UPDATE devices SET clock_ahead_at = %s WHERE id = ANY(%s)"
        " AND (clock_ahead_at IS NULL OR clock_ahead_at < %s - interval '1 minute')",
        [now, device_ids.tolist(), now],
    )
