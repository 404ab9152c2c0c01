"""What waits for the city, written with what was stored and taken away when the city has it; synchronous.

``line`` at the end is for the centre's screens, asynchronous.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection, Connection
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from city.observations import Detection, Readings
from city.uplink import Owed, State, Waiting

Db = Connection[Any]


# ── ingest writes ─────────────────────────────────────────────────────────────────────────────────────


def put(
    connection: Db,
    readings: Readings,
    detections: Sequence[Detection],
    links: Mapping[int, tuple[str, int]],
) -> None:
    """Owe the city what one batch newly stored, in the caller's transaction. Links: device -> (word, arrival)."""
    also = [_event(one) for one in detections]
    also += [{"device": device, "at": at, "link": word} for device, (word, at) in links.items()]
    size = len(readings) + len(also)
    if not size:
        return
    connection.execute(
        """
        INSERT INTO uplink_batches (size, device_ids, metric_ids, observed_us, "values", seqs, qualities, also)
        VALUES (%s, %s::int[], %s::smallint[], %s::bigint[], %s::float8[], %s::bigint[], %s::smallint[], %s)
        """,
        [
            size,
            readings.device.tolist(),
            readings.metric.tolist(),
            readings.observed_us.tolist(),
            readings.value.tolist(),
            readings.seq.tolist(),
            readings.quality.tolist(),
            Jsonb(also),
        ],
    )


def _event(one: Detection) -> dict[str, Any]:
    said = {"event": one.label, "id": one.event_key, "state": one.state, "zone": one.zone, "url": one.url}
    kept = {name: text for name, text in said.items() if text or name == "event"}
    score = {} if one.score is None else {"score": one.score}
    return {
        "device": one.device_id,
        "at": one.observed_us,
        "seq": one.seq,
        "quality": int(one.quality),
        **kept,
        **score,
    }


# ── the uplink takes ──────────────────────────────────────────────────────────────────────────────────

_THESE: LiteralString = "WITH chosen AS (SELECT * FROM uplink_batches WHERE id = ANY(%(ids)s::bigint[]))"
_BETWEEN: LiteralString = """
    WITH chosen AS (
        SELECT * FROM uplink_batches WHERE sent_at IS NULL AND id > %(after)s AND id <= %(until)s)
"""
_OF_BATCHES: LiteralString = """
    SELECT b.id AS batch, coalesce(a.code, '') AS cell, d.kind, d.code AS device, r.at_us, m.code AS metric,
           r.value, r.seq, r.quality, NULL::jsonb AS event
    FROM chosen b
    CROSS JOIN LATERAL unnest(b.device_ids, b.metric_ids, b.observed_us, b."values", b.seqs, b.qualities)
        WITH ORDINALITY AS r (device_id, metric_id, at_us, value, seq, quality, place)
    JOIN devices d ON d.id = r.device_id
    JOIN metrics m ON m.id = r.metric_id
    LEFT JOIN areas a ON a.id = d.cell_id
    WHERE (%(devices)s::int[] IS NULL OR r.device_id = ANY(%(devices)s::int[]))
    UNION ALL
    SELECT b.id, coalesce(a.code, ''), d.kind, d.code, (e->>'at')::bigint, '', 0,
           coalesce((e->>'seq')::bigint, -1), coalesce((e->>'quality')::integer, 0),
           e - '{device,at,seq,quality}'::text[]
    FROM chosen b CROSS JOIN LATERAL jsonb_array_elements(b.also) AS e
    JOIN devices d ON d.id = (e->>'device')::integer
    LEFT JOIN areas a ON a.id = d.cell_id
    WHERE (%(devices)s::int[] IS NULL OR d.id = ANY(%(devices)s::int[]))
    ORDER BY batch, at_us
"""


def oldest(connection: Db, *, most: int) -> tuple[list[int], list[Owed]]:
    """Ids of the oldest batches that wait, of about ``most`` readings, and what is in them in the order to send it.

    At least one batch, however large.
    """
    rows = connection.execute(
        """
        SELECT id FROM (
            SELECT id, sum(size) OVER (ORDER BY id) - size AS before FROM (
                SELECT id, size FROM uplink_batches WHERE sent_at IS NULL ORDER BY id LIMIT %(most)s) AS first
        ) AS counted WHERE before = 0 OR before + 1 < %(most)s ORDER BY id
        """,
        {"most": most},
    ).fetchall()
    ids = [int(row[0]) for row in rows]
    if not ids:
        return [], []
    with connection.cursor(row_factory=class_row(Owed)) as cursor:
        cursor.execute(
            _THESE + _OF_BATCHES,
            {"ids": ids, "devices": None},
        )
        return ids, cursor.fetchall()


def of_devices(connection: Db, device_ids: Sequence[int], *, after: int, until: int) -> list[Owed]:
    """What waits of these devices in the batches behind ``after``, up to ``until``, in order."""
    with connection.cursor(row_factory=class_row(Owed)) as cursor:
        cursor.execute(
            _BETWEEN + _OF_BATCHES,
            {"after": after, "until": until, "devices": list(device_ids)},
        )
        return cursor.fetchall()


def reach(connection: Db, *, after: int, most: int) -> int | None:
    """Id of the last of the ``most`` batches that wait behind ``after``; None = there are fewer."""
    row = connection.execute(
        "SELECT id FROM uplink_batches WHERE sent_at IS NULL AND id > %s ORDER BY id OFFSET %s LIMIT 1",
        [after, most - 1],
    ).fetchone()
    return int(row[0]) if row else None


def newest_batch(connection: Db) -> int:
    """Id of the newest batch that waits; 0 = none does."""
    row = connection.execute("SELECT max(id) FROM uplink_batches WHERE sent_at IS NULL").fetchone()
    return int(row[0] or 0) if row else 0


def in_alarm(connection: Db, *, most: int) -> list[int]:
    """Ids of devices with an alarm that stands, the gravest and newest first."""
    rows = connection.execute(
        """
        SELECT device_id FROM alarms WHERE cleared_at IS NULL AND NOT exercise AND device_id IS NOT NULL
        GROUP BY device_id ORDER BY max(level_rank(level)) DESC, max(raised_at) DESC LIMIT %s
        """,
        [most],
    ).fetchall()
    return [int(row[0]) for row in rows]


def acknowledged(connection: Db, ids: Sequence[int]) -> None:
    """The city's broker has all of these."""
    connection.execute(
        "UPDATE uplink_batches SET sent_at = clock_timestamp() WHERE id = ANY(%s::bigint[])", [list(ids)]
    )


def send_again(connection: Db) -> int:
    """What was acknowledged lately waits again: a broker that died may have lost it. Returns how many batches."""
    return connection.execute("UPDATE uplink_batches SET sent_at = NULL WHERE sent_at IS NOT NULL").rowcount


def forget(connection: Db, *, kept_s: float) -> None:
    """Remove what the city acknowledged longer ago than that."""
    connection.execute(
        "DELETE FROM uplink_batches WHERE sent_at < clock_timestamp() - make_interval(secs => %s)", [kept_s]
    )


def expire(connection: Db, *, days: int) -> int:
    """Give up what waits for longer; returns how many readings. They stay where they are stored."""
    row = connection.execute(
        """
        WITH gone AS (DELETE FROM uplink_batches WHERE sent_at IS NULL
                      AND stored_at < now() - make_interval(days => %s) RETURNING size)
        SELECT coalesce(sum(size), 0)::bigint FROM gone
        """,
        [days],
    ).fetchone()
    return int(row[0]) if row else 0


def waiting(connection: Db) -> Waiting:
    """How much waits, and since when the oldest."""
    row = connection.execute(
        "SELECT coalesce(sum(size), 0)::bigint, min(stored_at) FROM uplink_batches WHERE sent_at IS NULL"
    ).fetchone()
    assert row is not None  # noqa: S101  # an aggregate has one row
    return Waiting(size=int(row[0]), oldest_at=row[1])


# ── while the line is cut ─────────────────────────────────────────────────────────────────────────────


def sizes(connection: Db, *, after: int, most: int) -> list[tuple[int, int]]:
    """(id, size) of batches that wait behind ``after``, in order."""
    return connection.execute(
        "SELECT id, size FROM uplink_batches WHERE sent_at IS NULL AND id > %s ORDER BY id LIMIT %s",
        [after, most],
    ).fetchall()


def merge(connection: Db, first: int, last: int) -> None:
    """Make the waiting batches from ``first`` to ``last`` one, under the last one's id; in the caller's transaction.

    A live batch has two or three readings; a day of them would be millions of rows.
    """
    connection.execute(
        """
        CREATE TEMPORARY TABLE IF NOT EXISTS merging (LIKE uplink_batches) ON COMMIT DELETE ROWS
        """
    )
    connection.execute(
        "WITH gone AS (DELETE FROM uplink_batches WHERE sent_at IS NULL AND id BETWEEN %s AND %s RETURNING *)"
        " INSERT INTO merging SELECT * FROM gone",
        [first, last],
    )
    connection.execute(
        """
        WITH r AS (
            SELECT array_agg(device_id ORDER BY id, place) AS d, array_agg(metric_id ORDER BY id, place) AS m,
                   array_agg(at_us ORDER BY id, place) AS o, array_agg(value ORDER BY id, place) AS v,
                   array_agg(seq ORDER BY id, place) AS s, array_agg(quality ORDER BY id, place) AS q
            FROM merging CROSS JOIN LATERAL
                unnest(device_ids, metric_ids, observed_us, "values", seqs, qualities)
                WITH ORDINALITY AS u (device_id, metric_id, at_us, value, seq, quality, place)
        ), a AS (
            SELECT jsonb_agg(e ORDER BY id, place) AS e
            FROM merging CROSS JOIN LATERAL jsonb_array_elements(also) WITH ORDINALITY AS u (e, place)
        ), t AS (SELECT max(id) AS id, min(stored_at) AS stored_at, sum(size) AS size FROM merging)
        INSERT INTO uplink_batches
            (id, stored_at, size, device_ids, metric_ids, observed_us, "values", seqs, qualities, also)
        OVERRIDING SYSTEM VALUE
        SELECT t.id, t.stored_at, t.size, coalesce(r.d, '{}'), coalesce(r.m, '{}'), coalesce(r.o, '{}'),
               coalesce(r.v, '{}'), coalesce(r.s, '{}'), coalesce(r.q, '{}'), coalesce(a.e, '[]')
        FROM t, r, a WHERE t.id IS NOT NULL
        """
    )


# ── the node's own word ───────────────────────────────────────────────────────────────────────────────


def own_figures(connection: Db) -> dict[str, int]:
    """What the node tells of itself at each heartbeat: open incidents, those of class A, standing alarms."""
    row = connection.execute(
        """
        SELECT (SELECT count(*) FROM incidents WHERE closed_at IS NULL AND NOT exercise),
               (SELECT count(*) FROM incidents WHERE closed_at IS NULL AND NOT exercise AND class = 'A'),
               (SELECT count(*) FROM alarms WHERE cleared_at IS NULL AND NOT exercise)
        """
    ).fetchone()
    assert row is not None  # noqa: S101  # a SELECT without FROM
    return {"incidents_open": int(row[0]), "incidents_a": int(row[1]), "alarms_standing": int(row[2])}


def hears_itself(connection: Db, node: str) -> bool:
    """Whether a node of this code speaks to this very database: the uplink leads back here."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM devices d JOIN presence p ON p.device_id = d.id WHERE d.code = %s"
        " AND d.kind = 'district_node' AND p.last_heard_at > now() - interval '5 minutes')",
        [node],
    ).fetchone()
    return bool(row and row[0])


def say(connection: Db, state: State, *, sent: int, refused: int, expired: int) -> None:
    """Leave the state for the screens; ``sent``, ``refused`` and ``expired`` are since the last call."""
    connection.execute(
        """
        INSERT INTO uplink_state AS s (node, alive_at, up, since, why, waiting, oldest_at, sent, refused,
                                       refused_topic, expired)
        VALUES (%(node)s, clock_timestamp(), %(up)s, %(since)s, %(why)s, %(waiting)s, %(oldest)s, %(sent)s,
                %(refused)s, %(topic)s, %(expired)s)
        ON CONFLICT (only_one) DO UPDATE SET node = excluded.node, alive_at = excluded.alive_at, up = excluded.up,
            since = CASE WHEN s.up = excluded.up AND s.node = excluded.node THEN s.since ELSE excluded.since END,
            why = excluded.why, waiting = excluded.waiting, oldest_at = excluded.oldest_at,
            sent = s.sent + excluded.sent, refused = s.refused + excluded.refused,
            refused_topic = coalesce(nullif(excluded.refused_topic, ''), s.refused_topic),
            expired = s.expired + excluded.expired
        """,
        {
            "node": state.node,
            "up": state.up,
            "since": state.since,
            "why": state.why,
            "waiting": state.waiting.size,
            "oldest": state.waiting.oldest_at,
            "sent": sent,
            "refused": refused,
            "topic": state.refused_topic,
            "expired": expired,
        },
    )


# ── the centre looks ──────────────────────────────────────────────────────────────────────────────────


async def line(connection: AsyncConnection[Any]) -> dict[str, Any] | None:
    """The row of ``uplink_state`` with ``silent_s``, how long the process said nothing; None = there is no uplink.

    ``waiting`` is counted anew where the process is silent: ingest goes on owing.
    """
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT node, alive_at, up, since, why, oldest_at, sent, refused, refused_topic, expired,
                   extract(epoch FROM clock_timestamp() - alive_at)::float8 AS silent_s,
                   CASE WHEN alive_at > clock_timestamp() - interval '15 seconds' THEN waiting
                        ELSE (SELECT coalesce(sum(size), 0)::bigint FROM uplink_batches WHERE sent_at IS NULL)
                   END AS waiting
            FROM uplink_state
            """
        )
        return await cursor.fetchone()


def stored_again(connection: Db, *, since: datetime, until: datetime) -> int:
    """Owe the city the readings that are stored of that time; returns how many. What it has already it ignores."""
    rows = connection.execute(
        """
        WITH hours AS (
            SELECT date_trunc('minute', observed_at) AS minute, array_agg(device_id ORDER BY observed_at) AS d,
                   array_agg(metric_id ORDER BY observed_at) AS m,
                   array_agg((extract(epoch FROM observed_at) * 1000000)::bigint ORDER BY observed_at) AS o,
                   array_agg(value ORDER BY observed_at) AS v,
                   array_agg(coalesce(seq, -1) ORDER BY observed_at) AS s,
                   array_agg(quality ORDER BY observed_at) AS q
            FROM observations WHERE observed_at >= %(since)s AND observed_at < %(until)s GROUP BY 1
        )
        INSERT INTO uplink_batches (size, device_ids, metric_ids, observed_us, "values", seqs, qualities)
        SELECT cardinality(d), d, m, o, v, s, q FROM hours ORDER BY minute RETURNING size
        """,
        {"since": since, "until": until},
    ).fetchall()
    return sum(int(row[0]) for row in rows)
