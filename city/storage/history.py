"""Stored observations read back in bulk, in the order in which they became known, as columns.

A million readings a second leave no time for a Python object each, nor for a call each. Of the binary COPY stream
only columns that are never NULL are asked for, so every row has the same width and a megabyte of the stream is an
array. libpq hands such a stream over row by row; where nothing encrypts the connection its socket is read directly
instead (PostgreSQL manual, "Message Formats"), which costs this process a tenth.

The rows lie in the database nearly in order of arrival. ``read`` sorts them within a window of bounded size and
raises ``DisorderError`` when that was not enough; the caller begins again with ``sort=True``, and the server sorts.
"""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, LiteralString

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from city.errors import CityError
from city.observations import NO_SEQ, Detection, Quality, Readings, joined
from city.storage.database import DatabaseError, connect, translated
from city.storage.observations import POSTGRES_EPOCH_US

BLOCK_ROWS = 65_536  # of one answer
WINDOW_ROWS = 262_144  # rows held so that what arrived late, or ahead of its place, finds it
_RECEIVE_BYTES = 1 << 20
_DETECTIONS_AT_ONCE = 5_000

# One row of the stream: the message's type and length, the number of fields, and each field after its length.
_ROW = np.dtype(
    [
        ("type", "u1"),
        ("length", ">i4"),
        ("fields", ">i2"),
        ("device_length", ">i4"),
        ("device", ">i4"),
        ("metric_length", ">i4"),
        ("metric", ">i2"),
        ("quality_length", ">i4"),
        ("quality", ">i2"),
        ("observed_length", ">i4"),
        ("observed", ">i8"),
        ("received_length", ">i4"),
        ("received", ">i8"),
        ("value_length", ">i4"),
        ("value", ">f8"),
    ]
)
_MESSAGE_LENGTH = _ROW.itemsize - 1  # as the message itself counts
_TUPLE_BYTES = _ROW.itemsize - 5
_HEADER_BYTES = 19  # of a COPY stream, in its first message

Db = Connection[Any]


class DisorderError(CityError):
    """A row came after a later one had been handed out: read again with ``sort=True``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """Which readings. Instants are event time in microseconds since 1970 UTC, ``to_us`` excluded; None = all.

    ``as_observed``: as if each had arrived when it was observed.
    """

    from_us: int
    to_us: int
    device_ids: Sequence[int] | None = None
    metric_ids: Sequence[int] | None = None
    as_observed: bool = False


# ── readings ─────────────────────────────────────────────────────────────────────────────────────────


def read(url: str, asked: Asked, *, sort: bool = False) -> Iterator[Readings]:
    """Readings in order of arrival, ``BLOCK_ROWS`` at most at a time. Raises DisorderError, DatabaseError."""
    with closing(_reader(url)) as connection:
        statements = _statements(connection, asked, sort=sort)
        blocks = (_columns(rows, asked) for rows in _streamed(connection, statements))
        yield from blocks if sort else _in_order(blocks)


def estimate(connection: Db, asked: Asked) -> int:
    """About how many readings ``read`` will give, as the planner sees it; for a progress bar."""
    total = 0.0
    for statement in _selects(connection, asked):
        row = connection.execute(sql.SQL("EXPLAIN (FORMAT JSON) {}").format(statement)).fetchone()
        total += float(row[0][0]["Plan"]["Plan Rows"]) if row else 0.0
    return round(total)


def _reader(url: str) -> Db:
    """A connection of its own: reading the socket beside libpq leaves it unfit for anything else."""
    if not _asks_gss(url):  # else libpq takes Kerberos by itself where it can, and the socket is not readable
        url = make_conninfo(url, gssencmode="disable")
    connection = connect(url, application="city back-test", autocommit=True)
    # Rows in the order of their pages; an hour is more than any span takes, and ends what was forgotten.
    connection.execute(
        "SET statement_timeout = '1h'; SET default_transaction_read_only = on; SET work_mem = '256MB';"
        " SET max_parallel_workers_per_gather = 0; SET synchronize_seqscans = off"
    )
    return connection


def _asks_gss(conninfo: str) -> bool:
    return conninfo_to_dict(conninfo).get("gssencmode") == "require"


def _statements(connection: Db, asked: Asked, *, sort: bool) -> list[bytes]:
    if not sort:
        selects = _selects(connection, asked)
    else:
        order: LiteralString = "observed_at" if asked.as_observed else "received_at"
        selects = [_select(asked, asked.from_us, asked.to_us) + sql.SQL(f" ORDER BY {order}")]
    return [
        sql.SQL("COPY ({}) TO STDOUT (FORMAT BINARY)").format(select).as_bytes(connection)
        for select in selects
    ]


def _selects(connection: Db, asked: Asked) -> list[sql.Composed]:
    """One for each chunk in order of time where TimescaleDB keeps chunks, else one."""
    spans = [(asked.from_us, asked.to_us)]
    extension = connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'").fetchone()
    if extension is not None:
        chunks = connection.execute(
            """
            SELECT (extract(epoch FROM range_start) * 1000000)::bigint,
                (extract(epoch FROM range_end) * 1000000)::bigint
            FROM timescaledb_information.chunks WHERE hypertable_name = 'observations' ORDER BY range_start
            """
        ).fetchall()
        spans = [
            (max(begin, asked.from_us), min(end, asked.to_us))
            for begin, end in chunks
            if begin < asked.to_us and end > asked.from_us
        ]
    return [_select(asked, begin, end) for begin, end in spans]


def _select(asked: Asked, from_us: int, to_us: int) -> sql.Composed:
    statement = sql.SQL(
        "SELECT device_id, metric_id, quality, observed_at, received_at, value FROM observations"
        " WHERE observed_at >= 'epoch'::timestamptz + {} * interval '1 microsecond'"
        " AND observed_at < 'epoch'::timestamptz + {} * interval '1 microsecond'"
    ).format(sql.Literal(from_us), sql.Literal(to_us))
    for column, ids in (("device_id", asked.device_ids), ("metric_id", asked.metric_ids)):
        if ids is not None:
            statement += sql.SQL(" AND {} = ANY({})").format(sql.Identifier(column), sql.Literal(list(ids)))
    return statement


def _columns(rows: NDArray[np.void], asked: Asked) -> Readings:
    observed = rows["observed"].astype(np.int64) + POSTGRES_EPOCH_US
    quality = rows["quality"].astype(np.int16)
    if asked.as_observed:
        received, quality = observed, quality & ~np.int16(Quality.LATE)
    else:
        received = rows["received"].astype(np.int64) + POSTGRES_EPOCH_US
    return Readings(
        device=rows["device"].astype(np.int32),
        metric=rows["metric"].astype(np.int16),
        observed_us=observed,
        received_us=received,
        value=rows["value"].astype(np.float64),
        seq=np.full(len(rows), NO_SEQ, dtype=np.int64),
        quality=quality,
    )


# ── order ────────────────────────────────────────────────────────────────────────────────────────────


def _in_order(blocks: Iterator[Readings]) -> Iterator[Readings]:
    """Nearly sorted blocks sorted by arrival, with up to two windows of rows held back."""
    held: list[Readings] = []
    rows = 0
    released_us = -(2**62)
    for block in blocks:
        held.append(block)
        rows += len(block)
        if rows >= 2 * WINDOW_ROWS:
            ordered = _sorted(held, released_us)
            out, rest = _split(ordered, len(ordered) - WINDOW_ROWS)
            released_us = int(out.received_us[-1])
            held, rows = [rest], len(rest)
            yield from _cut(out)
    if held:
        yield from _cut(_sorted(held, released_us))


def _sorted(held: Sequence[Readings], released_us: int) -> Readings:
    together = joined(held)
    if (together.received_us[1:] < together.received_us[:-1]).any():
        together = together.take(np.argsort(together.received_us, kind="stable"))
    if len(together) and int(together.received_us[0]) < released_us:
        raise DisorderError(
            f"a reading lies over {WINDOW_ROWS} rows from its place in order of arrival; let the server sort"
        )
    return together


def _split(readings: Readings, at: int) -> tuple[Readings, Readings]:
    return readings.part(0, at), readings.part(at, len(readings))


def _cut(readings: Readings) -> Iterator[Readings]:
    for begin in range(0, len(readings), BLOCK_ROWS):
        yield readings.part(begin, begin + BLOCK_ROWS)


# ── the stream ───────────────────────────────────────────────────────────────────────────────────────


def _streamed(connection: Db, statements: Sequence[bytes]) -> Iterator[NDArray[np.void]]:
    """Rows of these COPY statements, ``BLOCK_ROWS`` or fewer at a time, in the order of the stream."""
    if not statements:
        return
    encrypted = connection.pgconn.ssl_in_use or _asks_gss(connection.info.dsn)
    yield from _by_libpq(connection, statements) if encrypted else _by_socket(connection, statements)


def _by_libpq(connection: Db, statements: Sequence[bytes]) -> Iterator[NDArray[np.void]]:
    """Row by row, as libpq gives them; framed again, so that both ways end in the same array."""
    frame = b"d" + _MESSAGE_LENGTH.to_bytes(4, "big")
    for statement in statements:
        parts: list[bytes] = []
        with translated(), connection.cursor().copy(statement) as copy:
            for data in copy:
                row = bytes(data)[-_TUPLE_BYTES:]
                if len(row) == _TUPLE_BYTES:
                    parts += (frame, row)
                if len(parts) >= 2 * BLOCK_ROWS:
                    yield np.frombuffer(b"".join(parts), dtype=_ROW)
                    parts = []
        if parts:
            yield np.frombuffer(b"".join(parts), dtype=_ROW)


def _by_socket(connection: Db, statements: Sequence[bytes]) -> Iterator[NDArray[np.void]]:
    """The server's messages as they are; the connection is good for nothing afterwards."""
    connection.pgconn.send_query(b"; ".join(statements))
    while connection.pgconn.flush():
        pass
    with socket.socket(fileno=os.dup(connection.pgconn.socket)) as link:
        link.setblocking(True)
        messages = _Messages()
        waiting: list[NDArray[np.void]] = []
        rows = 0
        while not messages.ended:
            data = link.recv(_RECEIVE_BYTES)
            if not data:
                raise DatabaseError("database: the connection was closed while history was read", retry=True)
            for part in messages.take(data):
                waiting.append(part)
                rows += len(part)
            if rows >= BLOCK_ROWS:
                yield np.concatenate(waiting)
                waiting, rows = [], 0
        if waiting:
            yield np.concatenate(waiting)


class _Messages:
    """The server's side of a COPY taken apart: rows of ``_ROW``, errors raised, everything else passed over."""

    def __init__(self) -> None:
        self.ended = False  # the server is ready for another query
        self._rest = b""

    def take(self, data: bytes) -> Iterator[NDArray[np.void]]:
        """Rows that are whole. Raises DatabaseError with the server's words."""
        data = self._rest + data if self._rest else data
        at = 0
        while len(data) - at >= 5 and not self.ended:
            whole = (len(data) - at) // _ROW.itemsize
            if (
                whole
                and data[at] == _DATA
                and int.from_bytes(data[at + 1 : at + 5], "big") == _MESSAGE_LENGTH
            ):
                rows = np.frombuffer(data, dtype=_ROW, count=whole, offset=at)
                other = (rows["type"] != _DATA) | (rows["length"] != _MESSAGE_LENGTH)
                count = int(other.argmax()) if other.any() else whole
                yield rows[:count]
                at += count * _ROW.itemsize
                continue
            end = at + 1 + int.from_bytes(data[at + 1 : at + 5], "big")
            if end > len(data):
                break
            yield from self._other(data[at], data[at + 5 : end])
            at = end
        self._rest = data[at:]

    def _other(self, kind: int, body: bytes) -> Iterator[NDArray[np.void]]:
        if kind == _DATA and len(body) == _HEADER_BYTES + _TUPLE_BYTES:  # the first row comes with the header
            frame = b"d" + _MESSAGE_LENGTH.to_bytes(4, "big")
            yield np.frombuffer(frame + body[_HEADER_BYTES:], dtype=_ROW)
        elif kind == _ERROR:
            raise _refused(body)
        elif kind == _READY:
            self.ended = True


_DATA, _ERROR, _READY = ord("d"), ord("E"), ord("Z")


def _refused(body: bytes) -> DatabaseError:
    """What an ErrorResponse says: fields of a letter and a text each."""
    fields = {field[:1]: field[1:].decode("utf-8", "replace") for field in body.split(b"\0") if field}
    code = fields.get(b"C", "")
    retry = code[:2] in ("08", "40", "53", "57", "58")
    return DatabaseError(f"database: {fields.get(b'M', 'history cannot be read')}", retry=retry)


# ── detections and whom they are from ────────────────────────────────────────────────────────────────


def read_detections(url: str, asked: Asked) -> Iterator[list[Detection]]:
    """Camera events in order of arrival, some thousands at a time."""
    query = sql.SQL(_DETECTIONS).format(
        arrival=sql.Identifier("observed_at" if asked.as_observed else "received_at")
    )
    late = int(Quality.LATE) if asked.as_observed else 0
    devices = None if asked.device_ids is None else list(asked.device_ids)
    with ExitStack() as opened:
        opened.enter_context(translated())
        connection = opened.enter_context(closing(_reader(url)))
        opened.enter_context(connection.transaction())
        cursor = opened.enter_context(closing(connection.cursor(name="detections")))
        cursor.execute(query, {"from": asked.from_us, "to": asked.to_us, "devices": devices})
        while rows := cursor.fetchmany(_DETECTIONS_AT_ONCE):
            yield [
                Detection(
                    device_id=row[0],
                    event_key=row[1],
                    state=row[2],
                    label=row[3],
                    observed_us=row[4],
                    received_us=row[5],
                    score=row[6],
                    zone=row[7],
                    url=row[8],
                    seq=row[9],
                    quality=Quality(row[10] & ~late),
                )
                for row in rows
            ]


_DETECTIONS = """
    SELECT device_id, event_key, state, label, (extract(epoch FROM observed_at) * 1000000)::bigint,
        (extract(epoch FROM {arrival}) * 1000000)::bigint, score, zone, url, coalesce(seq, -1), quality
    FROM detections
    WHERE observed_at >= 'epoch'::timestamptz + %(from)s * interval '1 microsecond'
      AND observed_at < 'epoch'::timestamptz + %(to)s * interval '1 microsecond'
      AND (%(devices)s::int[] IS NULL OR device_id = ANY(%(devices)s))
    ORDER BY {arrival}, device_id
"""


def span(connection: Db) -> tuple[int, int] | None:
    """Event time of the oldest and the newest reading, microseconds since 1970 UTC; None without any."""
    row = connection.execute(
        "SELECT (extract(epoch FROM min(observed_at)) * 1000000)::bigint,"
        " (extract(epoch FROM max(observed_at)) * 1000000)::bigint FROM observations"
    ).fetchone()
    return None if row is None or row[0] is None else (int(row[0]), int(row[1]))
