"""Readings and detections into their tables: binary COPY, idempotent by identity.

Two ways lead in. ``copy_new`` streams straight into the table and fails on the first row that is there already;
``insert_new`` goes through a temporary table and says which rows were new. The first costs a third of the second,
so the pipeline tries it for batches that look new and falls back: the primary key decides, never our memory.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from city.observations import NO_SEQ, Detection, Quality, Readings, instant, joined

POSTGRES_EPOCH_US = (
    946_684_800_000_000  # 2000-01-01 UTC in microseconds since 1970; PostgreSQL counts from there
)
_SIGNATURE = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER = b"\xff\xff"

Db = Connection[Any]

_OF_NOBODY = int(Quality.CLOCK_AHEAD | Quality.RETAINED)  # never compared with others

_COLUMNS: list[tuple[str, str, int]] = [
    ("device", ">i4", 4),
    ("metric", ">i2", 2),
    ("quality", ">i2", 2),
    ("observed", ">i8", 8),
    ("received", ">i8", 8),
    ("value", ">f8", 8),
]


def _row_type(*, seq: bool, ordinal: bool) -> np.dtype[Any]:
    columns = [
        *_COLUMNS,
        *([("seq", ">i8", 8)] if seq else []),
        *([("ordinal", ">i4", 4)] if ordinal else []),
    ]
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    for name, kind, _width in columns:
        fields += [(f"{name}_length", ">i4"), (name, kind)]
    if not seq:  # NULL is a length of -1 and no bytes, where the column stands in the table's order
        fields.insert(len(fields) - (2 if ordinal else 0), ("seq_length", ">i4"))
    return np.dtype(fields)


_TYPES = {
    (seq, ordinal): _row_type(seq=seq, ordinal=ordinal) for seq in (False, True) for ordinal in (False, True)
}


def _binary_rows(readings: Readings, *, seq: bool, ordinal: NDArray[np.int32] | None) -> bytes:
    rows = np.zeros(len(readings), dtype=_TYPES[seq, ordinal is not None])
    rows["fields"] = 7 + (ordinal is not None)
    for name, _kind, width in _COLUMNS:
        rows[f"{name}_length"] = width
    rows["device"], rows["metric"], rows["quality"] = readings.device, readings.metric, readings.quality
    rows["observed"] = readings.observed_us - POSTGRES_EPOCH_US
    rows["received"] = readings.received_us - POSTGRES_EPOCH_US
    rows["value"] = readings.value
    rows["seq_length"] = 8 if seq else -1
    if seq:
        rows["seq"] = readings.seq
    if ordinal is not None:
        rows["ordinal_length"], rows["ordinal"] = 4, ordinal
    return rows.tobytes()


def _binary(readings: Readings, *, ordinals: bool) -> bytes:
    """The whole COPY stream (PostgreSQL manual, COPY, binary format); rows with and without seq differ in width."""
    numbered = readings.seq != NO_SEQ
    order = np.arange(len(readings), dtype=np.int32)
    parts = [_SIGNATURE]
    for seq, rows in ((True, numbered), (False, ~numbered)):
        if rows.any():
            parts.append(
                _binary_rows(readings.take(rows), seq=seq, ordinal=order[rows] if ordinals else None)
            )
    return b"".join([*parts, _TRAILER])


def copy_new(connection: Db, readings: Readings) -> None:
    """Store readings that are all new; raises psycopg.errors.UniqueViolation when one is not.

    The caller rolls back then and goes through ``insert_new``.
    """
    _copy(
        connection,
        "observations (device_id, metric_id, quality, observed_at, received_at, value, seq)",
        readings,
        ordinals=False,
    )


def insert_new(connection: Db, readings: Readings) -> NDArray[np.intp]:
    """Store what is not there yet and return the positions that were new; other values are kept as revisions."""
    connection.execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS incoming (device_id integer, metric_id smallint, quality smallint,"
        " observed_at timestamptz, received_at timestamptz, value double precision, seq bigint, ordinal integer)"
        " ON COMMIT DELETE ROWS"
    )
    connection.execute("DELETE FROM incoming")
    _copy(connection, "incoming", readings, ordinals=True)
    connection.execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS stored (device_id integer, metric_id smallint, observed_at timestamptz)"
        " ON COMMIT DELETE ROWS"
    )
    connection.execute("DELETE FROM stored")
    connection.execute(
        """
        WITH first AS (
            SELECT DISTINCT ON (device_id, metric_id, observed_at) *
            FROM incoming ORDER BY device_id, metric_id, observed_at, ordinal
        ), inserted AS (
            INSERT INTO observations (device_id, metric_id, quality, observed_at, received_at, value, seq)
            SELECT device_id, metric_id, quality, observed_at, received_at, value, seq FROM first
            ON CONFLICT DO NOTHING
            RETURNING device_id, metric_id, observed_at
        )
        INSERT INTO stored SELECT * FROM inserted
        """
    )
    connection.execute(
        """
        INSERT INTO observation_revisions (device_id, metric_id, observed_at, value, received_at)
        SELECT i.device_id, i.metric_id, i.observed_at, i.value, min(i.received_at)
        FROM incoming i JOIN observations o USING (device_id, metric_id, observed_at)
        WHERE o.value IS DISTINCT FROM i.value
        GROUP BY i.device_id, i.metric_id, i.observed_at, i.value
        ON CONFLICT DO NOTHING
        """
    )
    new = connection.execute(
        "SELECT min(ordinal) FROM incoming JOIN stored USING (device_id, metric_id, observed_at)"
        " GROUP BY device_id, metric_id, observed_at ORDER BY 1"
    ).fetchall()
    return np.array([row[0] for row in new], dtype=np.intp)


def _copy(connection: Db, target: str, readings: Readings, *, ordinals: bool) -> None:
    with connection.cursor() as cursor, cursor.copy(f"COPY {target} FROM STDIN (FORMAT BINARY)") as copy:
        copy.write(_binary(readings, ordinals=ordinals))


def unseen_sequences(connection: Db, readings: Readings) -> NDArray[np.bool_]:
    """Which readings without a time are not redeliveries, by (device, metric, seq, value) over the last day.

    The same number with another value is a device whose counter started again: believed, and counted as new.
    """
    first: dict[tuple[int, int, int], int] = {}
    repeated: set[int] = set()
    for position in range(len(readings)):
        key = (int(readings.device[position]), int(readings.metric[position]), int(readings.seq[position]))
        earlier = first.setdefault(key, position)
        if earlier != position and readings.value[earlier] == readings.value[position]:
            repeated.add(position)
    chosen = sorted(first.values())
    part = readings.take(np.array(chosen, dtype=np.intp))
    rows = connection.execute(
        """
        INSERT INTO recent_sequences AS r (device_id, metric_id, seq, value, observed_at)
        SELECT d, m, s, v, to_timestamp(t / 1e6)
        FROM unnest(%s::int[], %s::smallint[], %s::bigint[], %s::float8[], %s::bigint[]) AS u (d, m, s, v, t)
        ON CONFLICT (device_id, metric_id, seq) DO UPDATE SET value = excluded.value, observed_at = excluded.observed_at
        WHERE r.value IS DISTINCT FROM excluded.value
        RETURNING device_id, metric_id, seq
        """,
        [
            part.device.tolist(),
            part.metric.tolist(),
            part.seq.tolist(),
            part.value.tolist(),
            part.observed_us.tolist(),
        ],
    ).fetchall()
    fresh = {(row[0], row[1], row[2]) for row in rows}
    answer = np.ones(len(readings), dtype=np.bool_)
    for key, position in first.items():
        answer[position] = key in fresh
    answer[list(repeated)] = False
    return answer


def insert_detections(connection: Db, detections: Sequence[Detection]) -> list[Detection]:
    """Store camera events; returns those that were new."""
    rows = connection.execute(
        """
        INSERT INTO detections
            (device_id, event_key, state, label, observed_at, received_at, score, zone, url, quality, seq)
        SELECT d, k, st, l, to_timestamp(o / 1e6), to_timestamp(r / 1e6), sc, z, u, q, nullif(s, -1)
        FROM unnest(%s::int[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::float8[], %s::text[],
                    %s::text[], %s::smallint[], %s::bigint[]) AS t (d, k, st, l, o, r, sc, z, u, q, s)
        ON CONFLICT DO NOTHING
        RETURNING device_id, label, event_key, state, (extract(epoch FROM observed_at) * 1000000)::bigint
        """,
        [
            [d.device_id for d in detections],
            [d.event_key for d in detections],
            [d.state for d in detections],
            [d.label for d in detections],
            [d.observed_us for d in detections],
            [d.received_us for d in detections],
            [d.score for d in detections],
            [d.zone for d in detections],
            [d.url for d in detections],
            [int(d.quality) for d in detections],
            [d.seq for d in detections],
        ],
    ).fetchall()
    stored = {tuple(row) for row in rows}
    fresh: list[Detection] = []
    for detection in detections:
        key = (
            detection.device_id,
            detection.label,
            detection.event_key,
            detection.state,
            detection.observed_us,
        )
        if key in stored:
            stored.discard(key)
            fresh.append(detection)
    return fresh


_WINDOW_ROW = np.dtype(
    [
        ("fields", ">i2"),
        ("device_length", ">i4"),
        ("device", ">i4"),
        ("observed_length", ">i4"),
        ("observed", ">i8"),
        ("received_length", ">i4"),
        ("received", ">i8"),
        ("value_length", ">i4"),
        ("value", ">f8"),
        ("quality_length", ">i4"),
        ("quality", ">i2"),
    ]
)


def window(
    connection: Db, *, metric_id: int, device_ids: NDArray[np.int32], window_us: int, days: int, now_us: int
) -> Readings:
    """Readings of one metric from each device's newest so far back, in any order; without seq.

    Devices whose newest reading is older than ``days`` have none. Two reads with fixed bounds, since a bound that
    follows each device makes the planner read whole days: those heard within the window, then the others.
    """
    recent = _since(connection, metric_id, device_ids, now_us - 2 * window_us)
    heard = np.unique(recent.device[recent.observed_us > now_us - window_us])
    quiet = device_ids[~np.isin(device_ids, heard)]
    longer_us = max(days * 86_400_000_000, window_us) + window_us
    parts = [
        recent.take(np.isin(recent.device, heard)),
        _since(connection, metric_id, quiet, now_us - longer_us),
    ]
    return joined([part.take(_within(part, window_us)) for part in parts])


def _within(readings: Readings, window_us: int) -> NDArray[np.bool_]:
    """Which readings are of the window that ends at their device's newest."""
    newest_us = np.zeros(int(readings.device.max(initial=0)) + 1, dtype=np.int64)
    np.maximum.at(newest_us, readings.device, readings.observed_us)
    within: NDArray[np.bool_] = readings.observed_us > newest_us[readings.device] - window_us
    return within


def _since(connection: Db, metric_id: int, device_ids: NDArray[np.int32], since_us: int) -> Readings:
    query = """
        COPY (
            SELECT device_id, observed_at, received_at, value, quality FROM observations
            WHERE device_id = ANY(%(devices)s::int[]) AND metric_id = %(metric)s AND quality & %(odd)s = 0
              AND observed_at > %(since)s AND observed_at < now() + interval '2 minutes'
        ) TO STDOUT (FORMAT BINARY)
    """
    asked = {
        "devices": device_ids.tolist(),
        "metric": metric_id,
        "odd": _OF_NOBODY,
        "since": instant(since_us),
    }
    with connection.cursor() as cursor, cursor.copy(query, asked) as copy:
        stream = b"".join(bytes(block) for block in copy)
    rows = np.frombuffer(stream, _WINDOW_ROW, offset=len(_SIGNATURE), count=_rows_in(stream))
    return Readings(
        device=rows["device"].astype(np.int32),
        metric=np.full(len(rows), metric_id, dtype=np.int16),
        observed_us=rows["observed"].astype(np.int64) + POSTGRES_EPOCH_US,
        received_us=rows["received"].astype(np.int64) + POSTGRES_EPOCH_US,
        value=rows["value"].astype(np.float64),
        seq=np.full(len(rows), NO_SEQ, dtype=np.int64),
        quality=rows["quality"].astype(np.int16),
    )


def _rows_in(stream: bytes) -> int:
    return (len(stream) - len(_SIGNATURE) - len(_TRAILER)) // _WINDOW_ROW.itemsize


def newest(
    connection: Db, *, days: int, partition: int | None = None
) -> tuple[NDArray[np.int32], NDArray[np.int16], NDArray[np.int64]]:
    """Device, metric and instant (microseconds) of each series' newest believable reading of the last days.

    Of all devices, or of those that speak by ``partition``; so many at a time as the server answers for well within
    its patience.
    """
    parts = [np.empty((0, 3), np.int64)]
    after: int | None = 0
    while after is not None:
        rows, after = _newest_after(connection, after, days, partition)
        parts.append(np.array(rows, np.int64).reshape(-1, 3))
    device, metric, observed_us = np.concatenate(parts).T
    return device.astype(np.int32), metric.astype(np.int16), observed_us


_NEWEST_AT_ONCE = 20_000


def _newest_after(
    connection: Db, after: int, days: int, partition: int | None
) -> tuple[list[tuple[int, int, int]], int | None]:
    """The newest readings of the devices above ``after``, and after which to go on; None = these were the last."""
    rows = connection.execute(
        """
        WITH heard AS MATERIALIZED (
            SELECT device_id FROM presence
            WHERE device_id > %(after)s AND last_heard_at > now() - make_interval(days => %(days)s)
              AND (%(partition)s::smallint IS NULL OR EXISTS (
                SELECT FROM device_partitions o
                WHERE o.device_id = presence.device_id AND o.partition = %(partition)s))
            ORDER BY device_id LIMIT %(limit)s
        )
        SELECT h.device_id, m.id, (extract(epoch FROM o.observed_at) * 1000000)::bigint
        FROM heard h
        JOIN devices d ON d.id = h.device_id
        LEFT JOIN device_kinds k ON k.code = d.kind
        LEFT JOIN metrics m ON m.code = k.main_metric
        LEFT JOIN LATERAL (
            SELECT observed_at FROM observations
            WHERE device_id = h.device_id AND metric_id = m.id AND quality & %(odd)s = 0
              AND observed_at BETWEEN now() - make_interval(days => %(days)s) AND now() + interval '2 minutes'
            ORDER BY observed_at DESC LIMIT 1
        ) o ON true
        ORDER BY h.device_id
        """,
        {
            "odd": _OF_NOBODY | int(Quality.OUT_OF_RANGE | Quality.SPIKE),
            "days": days,
            "after": after,
            "limit": _NEWEST_AT_ONCE,
            "partition": partition,
        },
    ).fetchall()
    more = rows[-1][0] if len(rows) == _NEWEST_AT_ONCE else None
    return [row for row in rows if row[2] is not None], more
