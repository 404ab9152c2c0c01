"""Partitions of the scaled-out log: who owns one, up to where it is stored, and which devices speak by it.

Offset and effects are one transaction. ``advance`` comes first in it: the row's lock keeps a second owner out, and a
row that is not there under our epoch says that somebody else owns the partition now.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from city.errors import CityError

# Shorter than a connection's own: a worker that is stopped in the middle would block its successor for so long.
IDLE_IN_TRANSACTION = "3s"

Db = Connection[Any]

# How the log is read as a whole, in one row. Records not stored came after the last one that is, and after the last
# look that found none: the later of both is where their waiting began. What another database serves by now is not ours.
BEHIND = """
    SELECT count(*) AS log_partitions,
           count(*) FILTER (WHERE looked_at IS NULL OR looked_at < now() - interval '30 seconds') AS log_unread,
           coalesce(sum(greatest(0, end_offset - next_offset)), 0)::bigint AS log_lag_records,
           coalesce(max(extract(epoch FROM now() - greatest(to_timestamp(received_us / 1e6), level_at)))
                    FILTER (WHERE end_offset > next_offset), 0)::double precision AS log_lag_s,
           coalesce(sum(lost) FILTER (WHERE lost_at > now() - interval '1 day'), 0)::bigint AS log_lost
    FROM partition_state
    WHERE partition IN (SELECT partition FROM served_partitions) OR NOT EXISTS (SELECT FROM served_partitions)
"""


class FencedError(CityError):
    """Somebody else owns the partition, or gave it another epoch, since we claimed it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A partition as it was claimed, or as the last commit left it."""

    partition: int
    epoch: int
    next_offset: int  # the first record not stored
    received_us: int  # arrival of the last one that is, microseconds since 1970 UTC; 0 = none is


@dataclass(frozen=True, kw_only=True, slots=True)
class Behind:
    """How the log is read as a whole: partitions nobody looked at for 30 s, what waits, what a day lost."""

    partitions: int
    unread: int
    lag_records: int
    lag_s: float
    lost: int


def behind(connection: Db) -> Behind:
    """As it is now; all 0 on one machine."""
    row = connection.execute(BEHIND).fetchone()
    assert row is not None  # noqa: S101  # aggregates are one row
    return Behind(partitions=row[0], unread=row[1], lag_records=row[2], lag_s=row[3], lost=row[4])


def acquire(connection: Db, partition: int, owner: str) -> Claim:
    """Make ``owner`` the owner under a new epoch; waits for a commit of the old one that is under way."""
    row = connection.execute(
        """
        INSERT INTO partition_state AS p (partition, epoch, owner) VALUES (%s, 1, %s)
        ON CONFLICT (partition) DO UPDATE SET epoch = p.epoch + 1, owner = excluded.owner, changed_at = now(),
            takeovers = p.takeovers + (p.owner NOT IN ('', excluded.owner))::integer
        RETURNING epoch, next_offset, received_us
        """,
        [partition, owner],
    ).fetchone()
    assert row is not None  # noqa: S101  # RETURNING of one written row
    return Claim(partition=partition, epoch=row[0], next_offset=row[1], received_us=row[2])


def advance(connection: Db, claim: Claim, *, next_offset: int, received_us: int, lost: int = 0) -> None:
    """Lock the partition and set up to where it is stored, first in a transaction; raises FencedError.

    ``lost`` counts records in between that the log no longer had.

    One statement, and no pipeline: after the end of one PostgreSQL does not begin to count idle time.
    """
    cursor = connection.execute(
        "UPDATE partition_state SET next_offset = %s, received_us = %s, changed_at = now(),"
        " lost = lost + %s, lost_at = CASE WHEN %s > 0 THEN now() ELSE lost_at END"
        " WHERE partition = %s AND epoch = %s AND next_offset = %s"
        " RETURNING set_config('idle_in_transaction_session_timeout', %s, true)",
        [
            next_offset,
            received_us,
            lost,
            lost,
            claim.partition,
            claim.epoch,
            claim.next_offset,
            IDLE_IN_TRANSACTION,
        ],
    )
    if cursor.rowcount != 1:
        raise FencedError(f"partition {claim.partition}: epoch {claim.epoch} is over, another worker owns it")


def owner_of(connection: Db, partition: int) -> str:
    """Who claimed it last."""
    row = connection.execute("SELECT owner FROM partition_state WHERE partition = %s", [partition]).fetchone()
    return str(row[0]) if row else ""


def devices_of(connection: Db, partition: int) -> NDArray[np.int32]:
    """Ids of the devices that speak by it."""
    rows = connection.execute("SELECT device_id FROM device_partitions WHERE partition = %s", [partition])
    return np.array([row[0] for row in rows], dtype=np.int32)


def move_here(connection: Db, device_ids: Iterable[int], partition: int) -> int:
    """These speak by ``partition`` from now on; how many were another's, whose owner loses its epoch for that."""
    given = {"ids": list(device_ids), "to": partition}
    row = connection.execute(
        """
        WITH left_behind AS (
            SELECT partition, count(*) AS devices FROM device_partitions
            WHERE device_id = ANY(%(ids)s) AND partition <> %(to)s GROUP BY partition
        ), ended AS (
            UPDATE partition_state SET epoch = epoch + 1, changed_at = now()
            WHERE partition IN (SELECT partition FROM left_behind)
        )
        SELECT coalesce(sum(devices), 0)::bigint FROM left_behind
        """,
        given,
    ).fetchone()
    moved = int(row[0]) if row else 0
    if moved:
        connection.execute(
            "UPDATE partition_state SET moved = moved + %s WHERE partition = %s", [moved, partition]
        )
    connection.execute(
        """
        INSERT INTO device_partitions (device_id, partition)
        SELECT d, %(to)s FROM unnest(%(ids)s::int[]) AS u (d) ORDER BY d
        ON CONFLICT (device_id) DO UPDATE SET partition = excluded.partition
        """,
        given,
    )
    return moved


def look(connection: Db, ends: Mapping[int, tuple[int, int]]) -> None:
    """Where partitions of ours end: partition -> (our epoch, offset behind the log's last record).

    Says nothing of one that is another's by now.
    """
    connection.execute(
        """
        UPDATE partition_state p SET end_offset = u.behind, looked_at = clock_timestamp(),
            level_at = CASE WHEN p.next_offset >= u.behind THEN clock_timestamp() ELSE p.level_at END
        FROM unnest(%s::smallint[], %s::bigint[], %s::bigint[]) AS u (partition, epoch, behind)
        WHERE p.partition = u.partition AND p.epoch = u.epoch
        """,
        [list(ends), [epoch for epoch, _ in ends.values()], [behind for _, behind in ends.values()]],
    )


def assign(connection: Db, partition_of_cell: Mapping[str, int], otherwise: int) -> int:
    """Give every device that has no partition its cell's, or ``otherwise``; how many that were.

    Before a district is read by partitions for the first time: what its devices' rules remember is at hand then when
    a partition is claimed. Partitions nobody claimed yet are made.
    """
    connection.execute(
        "INSERT INTO partition_state (partition) SELECT DISTINCT p FROM unnest(%s::smallint[]) AS u (p)"
        " ON CONFLICT DO NOTHING",
        [[*partition_of_cell.values(), otherwise]],
    )
    return connection.execute(
        """
        INSERT INTO device_partitions (device_id, partition)
        SELECT d.id, coalesce(u.partition, %s)
        FROM devices d LEFT JOIN areas a ON a.id = d.cell_id
        LEFT JOIN unnest(%s::text[], %s::smallint[]) AS u (code, partition) ON u.code = a.code
        ORDER BY d.id
        ON CONFLICT (device_id) DO NOTHING
        """,
        [otherwise, list(partition_of_cell), list(partition_of_cell.values())],
    ).rowcount


def cells(connection: Db) -> list[tuple[str, str]]:
    """(cell's code, code of the community or street that it lies in, else its own) of every cell in force."""
    return connection.execute(
        """
        SELECT c.code, coalesce(up.code, c.code) FROM areas c LEFT JOIN areas up ON up.id = c.parent_id
        WHERE c.layer = 'cell' AND c.valid_to IS NULL ORDER BY c.code
        """
    ).fetchall()


def load_states(connection: Db, partition: int) -> list[tuple[str, int, dict[str, object]]]:
    """(rule, device, state) of the partition's devices; order is not defined."""
    return connection.execute(
        "SELECT s.rule_id, s.device_id, s.state FROM rule_states s JOIN device_partitions p USING (device_id)"
        " WHERE p.partition = %s",
        [partition],
    ).fetchall()


def served(connection: Db) -> frozenset[int] | None:
    """Partitions of the log that are read into this database; None = all there are."""
    rows = connection.execute("SELECT partition FROM served_partitions").fetchall()
    return frozenset(row[0] for row in rows) or None


def serve(connection: Db, own: Iterable[int]) -> None:
    """Have exactly these read into this database; none given = all there are."""
    wanted = sorted(own)
    connection.execute("DELETE FROM served_partitions WHERE partition <> ALL(%s::smallint[])", [wanted])
    connection.execute(
        "INSERT INTO served_partitions (partition) SELECT unnest(%s::smallint[]) ON CONFLICT DO NOTHING",
        [wanted],
    )


def district_code(connection: Db) -> str:
    """Of the district that this database holds; empty before anything was imported."""
    row = connection.execute("SELECT code FROM district").fetchone()
    return str(row[0]) if row else ""
