"""Days of readings on their way out of the database and back.

Readings of stations never leave it: forecasts, hydrographs and flood reports look back at years of them, and they are
a few hundred devices.
"""
# ruff: noqa: S608 - statements are put together from the constants of this file

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, LiteralString

import numpy as np
from psycopg import Connection
from psycopg.rows import class_row

from city.observations import Readings
from city.storage.database import connect, translated
from city.storage.observations import POSTGRES_EPOCH_US, insert_new

Db = Connection[Any]

_LOCK = 7235_0042  # advisory: one archives or restores at a time
_BLOCK_ROWS = 100_000
_SIGNATURE_BYTES = 19  # before the rows of a binary COPY
_FIELDS = (
    ("device", ">i4"), ("metric", ">i2"), ("quality", ">i2"), ("observed", ">i8"), ("received", ">i8"),
    ("value", ">f8"), ("seq", ">i8"),
)  # fmt: skip
_ROW = np.dtype(
    [
        ("fields", ">i2"),
        *(field for name, kind in _FIELDS for field in ((f"{name}_length", ">i4"), (name, kind))),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Archived:
    """One UTC day that was archived; ``bytes`` and ``sha256`` are its file's."""

    day: date
    file: str
    readings: int
    bytes: int
    sha256: str
    archived_at: datetime
    restored_at: datetime | None

    @property
    def alone(self) -> bool:
        """Whether its file has readings that the database has not."""
        return bool(self.file) and self.restored_at is None


@dataclass(frozen=True, kw_only=True, slots=True)
class Extent:
    """What there is: the first day with readings, or the first after what is archived, and how far hours reach."""

    first: date | None  # None = no readings
    rolled_up_to: date | None  # days before it have hourly values


def opened(url: str) -> Db:
    """A connection whose statements may take as long as a day of readings does; alone at this until it is closed."""
    connection = connect(url, application="city history", autocommit=True)
    connection.execute(
        "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;"
        " SET max_parallel_workers_per_gather = 0"
    )
    connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    return connection


def archived(connection: Db) -> list[Archived]:
    """Every day that was archived, oldest first."""
    cursor = connection.cursor(row_factory=class_row(Archived))
    return cursor.execute(
        "SELECT day, file, readings, bytes, sha256, archived_at, restored_at FROM history_archive ORDER BY day"
    ).fetchall()


def days(url: str) -> list[Archived]:
    """The same of a database that nobody changes; raises DatabaseError."""
    with translated(), connect(url, application="city restore") as connection:
        return archived(connection)


def extent(connection: Db) -> Extent:
    """Where to begin and how far to go."""
    row = connection.execute(
        """
        SELECT coalesce((SELECT max(day) + 1 FROM history_archive),
                        (SELECT (min(observed_at) AT TIME ZONE 'UTC')::date FROM observations)),
               (SELECT done_to FROM rollup_progress)
        """
    ).fetchone()
    assert row is not None  # noqa: S101 - one row without FROM
    return Extent(first=row[0], rolled_up_to=row[1])


def names(connection: Db) -> tuple[dict[int, str], dict[int, str]]:
    """Codes of devices and of metrics by id."""
    devices = dict(connection.execute("SELECT id, code FROM devices").fetchall())
    return devices, dict(connection.execute("SELECT id, code FROM metrics").fetchall())


# ── out ──────────────────────────────────────────────────────────────────────────────────────────────

_LEAVING: LiteralString = "NOT EXISTS (SELECT FROM stations s WHERE s.device_id = o.device_id)"
_SAID: LiteralString = (
    "o.device_id, o.metric_id, o.quality, o.observed_at, o.received_at, o.value, coalesce(o.seq, -1)"
)
_WITHIN: LiteralString = "o.observed_at >= %(since)s AND o.observed_at < %(until)s"
_BY_CHUNK: LiteralString = (
    "SELECT " + _SAID + " FROM observations o WHERE " + _WITHIN + " AND " + _LEAVING
    + " ORDER BY o.device_id, o.metric_id, o.observed_at"
)  # fmt: skip
# Without chunks a day is found through the primary key alone, device by device.
_BY_KEY: LiteralString = (
    "SELECT r.* FROM devices d CROSS JOIN metrics m CROSS JOIN LATERAL (SELECT " + _SAID
    + " FROM observations o WHERE o.device_id = d.id AND o.metric_id = m.id AND " + _WITHIN
    + " ORDER BY o.observed_at OFFSET 0) r WHERE NOT EXISTS (SELECT FROM stations s WHERE s.device_id = d.id)"
    " ORDER BY d.id, m.id"
)  # fmt: skip


class Leaving:
    """A day on its way out: read, then removed, exactly what was read.

    Without TimescaleDB both are one transaction under one snapshot. With it a chunk is dropped, which knows no
    snapshot, so the chunk is locked for that moment and counted: what came for it meanwhile is marked late, and an
    index knows those.
    """

    def __init__(self, connection: Db, day: date) -> None:
        self._connection = connection
        since = datetime(day.year, day.month, day.day, tzinfo=UTC)
        self._day = day
        self._within: dict[str, object] = {"since": since, "until": since + timedelta(days=1)}
        self._chunked = _has_timescale(connection)
        self._late = 0
        self._metrics: set[int] = set()

    def read(self) -> Iterator[Readings]:
        """All of it by device, metric and time, some 100,000 at a time; the caller's transaction is repeatable read."""
        self._late = self._count_late()
        query: LiteralString = _BY_CHUNK if self._chunked else _BY_KEY
        waiting = bytearray()
        skip = _SIGNATURE_BYTES
        with self._connection.cursor() as cursor, cursor.copy(
            "COPY (" + query + ") TO STDOUT (FORMAT BINARY)", self._within
        ) as copy:  # fmt: skip
            for part in copy:
                waiting += part
                if skip and len(waiting) >= skip:
                    del waiting[:skip]
                    skip = 0
                if not skip and len(waiting) >= _BLOCK_ROWS * _ROW.itemsize:
                    yield self._taken(waiting)
        if len(waiting) >= _ROW.itemsize:
            yield self._taken(waiting)

    def _taken(self, waiting: bytearray) -> Readings:
        whole = len(waiting) // _ROW.itemsize
        rows = np.frombuffer(bytes(waiting[: whole * _ROW.itemsize]), dtype=_ROW)
        del waiting[: whole * _ROW.itemsize]
        readings = Readings(
            device=rows["device"].astype(np.int32),
            metric=rows["metric"].astype(np.int16),
            observed_us=rows["observed"].astype(np.int64) + POSTGRES_EPOCH_US,
            received_us=rows["received"].astype(np.int64) + POSTGRES_EPOCH_US,
            value=rows["value"].astype(np.float64),
            seq=rows["seq"].astype(np.int64),
            quality=rows["quality"].astype(np.int16),
        )
        self._metrics.update(np.unique(readings.metric).tolist())
        return readings

    @property
    def one_snapshot(self) -> bool:
        """Whether ``remove`` belongs into the transaction of ``read``; else into one of its own."""
        return not self._chunked

    def remove(self) -> bool:
        """Take out what was read, in the caller's transaction. False = more came meanwhile: read again."""
        if self._chunked:
            return self._drop_chunks()
        self._connection.execute(
            "DELETE FROM observations o WHERE o.device_id IN (SELECT id FROM devices)"
            " AND o.metric_id = ANY(%(metrics)s) AND " + _WITHIN + " AND " + _LEAVING,
            self._within | {"metrics": sorted(self._metrics)},
        )
        return True

    def _drop_chunks(self) -> bool:
        for (chunk,) in self._connection.execute(
            "SELECT show_chunks('observations', older_than => %(until)s, newer_than => %(since)s)::text",
            self._within,
        ).fetchall():
            self._connection.execute(f"LOCK TABLE {chunk} IN ACCESS EXCLUSIVE MODE".encode())
        if self._count_late() != self._late:
            return False
        self._connection.execute(
            "CREATE TEMPORARY TABLE staying ON COMMIT DROP AS SELECT o.* FROM observations o WHERE " + _WITHIN
            + " AND NOT (" + _LEAVING + ")",
            self._within,
        )  # fmt: skip
        self._connection.execute(
            "SELECT drop_chunks('observations', older_than => %(until)s, newer_than => %(since)s)",
            self._within,
        )
        # Chunks that reach over the day's ends are left; what of the day lies in them goes row by row.
        self._connection.execute("DELETE FROM observations o WHERE " + _WITHIN, self._within)
        self._connection.execute("INSERT INTO observations SELECT * FROM staying")
        return True

    def _count_late(self) -> int:
        if not self._chunked:
            return 0
        row = self._connection.execute(
            "SELECT count(*) FROM observations o WHERE " + _WITHIN + " AND o.quality & 2 <> 0",
            self._within,  # as the index
        ).fetchone()
        return int(row[0]) if row else 0


def note(connection: Db, made: Archived) -> None:
    """In the transaction that removes the day."""
    connection.execute(
        """
        INSERT INTO history_archive (day, file, readings, bytes, sha256, archived_at)
        VALUES (%s, %s, %s, %s, %s, %s)
        ON CONFLICT (day) DO UPDATE SET file = excluded.file, readings = excluded.readings, bytes = excluded.bytes,
            sha256 = excluded.sha256, archived_at = excluded.archived_at, restored_at = NULL
        """,
        (made.day, made.file, made.readings, made.bytes, made.sha256, made.archived_at),
    )


def _has_timescale(connection: Db) -> bool:
    row = connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'").fetchone()
    return row is not None


# ── and back ─────────────────────────────────────────────────────────────────────────────────────────


def put_back(connection: Db, readings: Readings) -> int:
    """Store what is not there, part of the caller's transaction; how many that were."""
    return len(insert_new(connection, readings))


def note_restored(connection: Db, day: date) -> None:
    """Its readings are in the database again."""
    connection.execute("UPDATE history_archive SET restored_at = now() WHERE day = %s", (day,))
