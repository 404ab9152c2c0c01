"""Stations: what an import writes and an export reads back, and the same as the forecast works with them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow, class_row, dict_row

from city.district_files import ListedSeries, ListedStation
from city.stations import (
    HIGHEST_BELIEVED_M,
    LOWEST_BELIEVED_M,
    ZERO_TOLERANCE_M,
    Levels,
    ReadSpan,
    Source,
    Station,
)
from city.storage.series import SUSPECT

# ── written by an import ─────────────────────────────────────────────────────────────────────────────


def write_stations(connection: Connection[TupleRow], listed: Sequence[ListedStation]) -> tuple[int, int]:
    """Make the stations those listed; return how many changed and were taken off. Their devices are there."""
    removed = connection.execute(
        "DELETE FROM stations s USING devices d WHERE d.id = s.device_id AND NOT d.code = ANY(%s)",
        ([station.code for station in listed],),
    ).rowcount
    cursor = connection.cursor()
    cursor.executemany(_WRITE_STATION, [_row(station) for station in listed])
    return max(cursor.rowcount, 0), removed


_WRITE_STATION = """
    INSERT INTO stations AS known (device_id, station_kind, river, datum_m, zero_m, warning_level_m,
        guaranteed_level_m, highest_level_m, bank_level_m, design_level_m, upstream, travel_minutes)
    SELECT id, %(kind)s, %(river)s, %(datum)s, %(zero)s, %(warning)s, %(guaranteed)s, %(highest)s, %(bank)s,
        %(design)s, %(upstream)s, %(travel)s
    FROM devices WHERE code = %(code)s
    ON CONFLICT (device_id) DO UPDATE SET station_kind = excluded.station_kind, river = excluded.river,
        datum_m = excluded.datum_m, zero_m = excluded.zero_m, warning_level_m = excluded.warning_level_m,
        guaranteed_level_m = excluded.guaranteed_level_m, highest_level_m = excluded.highest_level_m,
        bank_level_m = excluded.bank_level_m, design_level_m = excluded.design_level_m,
        upstream = excluded.upstream, travel_minutes = excluded.travel_minutes
    WHERE (known.station_kind, known.river, known.datum_m, known.zero_m, known.warning_level_m,
            known.guaranteed_level_m, known.highest_level_m, known.bank_level_m, known.design_level_m,
            known.upstream, known.travel_minutes)
        IS DISTINCT FROM (excluded.station_kind, excluded.river, excluded.datum_m, excluded.zero_m,
            excluded.warning_level_m, excluded.guaranteed_level_m, excluded.highest_level_m,
            excluded.bank_level_m, excluded.design_level_m, excluded.upstream, excluded.travel_minutes)
"""


def _row(station: ListedStation) -> dict[str, object]:
    upstream, travel = station.upstreams[0] if station.upstreams else (None, None)
    levels = station.levels
    return {
        "code": station.code,
        "kind": station.station_kind,
        "river": station.river,
        "datum": station.datum_m,
        "zero": levels.zero_m,
        "warning": levels.warning_m,
        "guaranteed": levels.guaranteed_m,
        "highest": levels.highest_m,
        "bank": levels.bank_m,
        "design": levels.design_m,
        "upstream": upstream,
        "travel": travel,
    }


def write_upstreams(connection: Connection[TupleRow], listed: Sequence[ListedStation]) -> int:
    """Make the relations between stations those listed; returns how many were written or taken off."""
    wanted = [(s.code, code, minutes) for s in listed for code, minutes in s.upstreams]
    named = {
        "station": [station for station, _, _ in wanted],
        "upstream": [code for _, code, _ in wanted],
        "travel": [minutes for _, _, minutes in wanted],
    }
    touched = connection.execute(
        """
        WITH wanted AS (
            SELECT s.id AS station_id, u.id AS upstream_id, w.travel
            FROM unnest(%(station)s::text[], %(upstream)s::text[], %(travel)s::integer[])
                AS w (station, upstream, travel)
            JOIN devices s ON s.code = w.station JOIN devices u ON u.code = w.upstream
        ), gone AS (
            DELETE FROM station_upstreams k
            WHERE NOT EXISTS (SELECT FROM wanted w
                              WHERE (w.station_id, w.upstream_id) = (k.station_id, k.upstream_id))
            RETURNING station_id
        ), written AS (
            INSERT INTO station_upstreams AS known (station_id, upstream_id, travel_minutes)
            SELECT station_id, upstream_id, travel FROM wanted
            ON CONFLICT (station_id, upstream_id) DO UPDATE SET travel_minutes = excluded.travel_minutes
            WHERE known.travel_minutes IS DISTINCT FROM excluded.travel_minutes
            RETURNING station_id
        )
        SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM written)
        """,
        named,
    ).fetchone()
    return int(touched[0]) if touched else 0


def write_series(connection: Connection[TupleRow], listed: Sequence[ListedSeries]) -> int:
    """Make the further series of stations those listed; returns how many lines were written or taken off."""
    removed = connection.execute(
        """
        DELETE FROM station_series k USING devices s, devices d
        WHERE s.id = k.station_id AND d.id = k.device_id AND NOT EXISTS (
            SELECT FROM unnest(%s::text[], %s::text[], %s::text[]) AS w (station, device, metric)
            WHERE (w.station, w.device, w.metric) = (s.code, d.code, k.metric))
        """,
        (
            [line.station for line in listed],
            [line.device for line in listed],
            [line.metric for line in listed],
        ),
    ).rowcount
    cursor = connection.cursor()
    cursor.executemany(
        """
        INSERT INTO station_series AS known (station_id, device_id, metric, role, travel_minutes)
        SELECT s.id, d.id, %s, %s, %s FROM devices s, devices d WHERE s.code = %s AND d.code = %s
        ON CONFLICT (station_id, device_id, metric)
            DO UPDATE SET role = excluded.role, travel_minutes = excluded.travel_minutes
        WHERE (known.role, known.travel_minutes) IS DISTINCT FROM (excluded.role, excluded.travel_minutes)
        """,
        [(line.metric, line.role, line.travel_minutes, line.station, line.device) for line in listed],
    )
    return removed + max(cursor.rowcount, 0)


# ── read back for an export ──────────────────────────────────────────────────────────────────────────

_LEVELS = """
    s.zero_m, s.warning_level_m AS warning_m, s.guaranteed_level_m AS guaranteed_m,
    s.highest_level_m AS highest_m, s.bank_level_m AS bank_m, s.design_level_m AS design_m
"""


def listed_stations(connection: Connection[TupleRow]) -> list[ListedStation]:
    """Every station as a line of stations.csv; of several upstream stations the first written stays first."""
    rows = connection.cursor(row_factory=dict_row).execute(
        f"""
        SELECT d.code, s.station_kind, s.river, s.datum_m, {_LEVELS}, coalesce(above.codes, '{{}}') AS codes,
               coalesce(above.minutes, '{{}}') AS minutes
        FROM stations s JOIN devices d ON d.id = s.device_id
        LEFT JOIN LATERAL (
            SELECT array_agg(n.code ORDER BY n.code <> s.upstream, n.id) AS codes,
                   array_agg(u.travel_minutes ORDER BY n.code <> s.upstream, n.id) AS minutes
            FROM station_upstreams u JOIN devices n ON n.id = u.upstream_id WHERE u.station_id = s.device_id
        ) above ON true
        ORDER BY d.id
        """  # noqa: S608  # columns named above
    )
    return [
        ListedStation(
            where="",
            code=row["code"],
            station_kind=row["station_kind"],
            river=row["river"],
            datum_m=row["datum_m"],
            levels=_levels(row),
            upstreams=tuple(zip(row["codes"], row["minutes"], strict=True)),
        )
        for row in rows
    ]


def listed_series(connection: Connection[TupleRow]) -> list[ListedSeries]:
    """Every further series as a line of station_series.csv."""
    return (
        connection.cursor(row_factory=class_row(ListedSeries))
        .execute(
            """SELECT '' AS "where", s.code AS station, k.role, d.code AS device, k.metric, k.travel_minutes
               FROM station_series k JOIN devices s ON s.id = k.station_id JOIN devices d ON d.id = k.device_id
               ORDER BY s.id, d.id, k.metric"""
        )
        .fetchall()
    )


def _levels(row: dict[str, Any]) -> Levels:
    return Levels(**{name: row[name] for name in Levels.__dataclass_fields__})


# ── as the forecast and the desk work with them ──────────────────────────────────────────────────────

_SOURCES = """
    SELECT named.station_id, d.code AS name, coalesce(nullif(d.name, ''), d.code) AS label, m.code AS metric,
           d.id AS device_id, m.id AS metric_id, named.role, named.travel_minutes
    FROM (
        SELECT u.station_id, u.upstream_id AS device_id, k.main_metric AS metric, 'level_upstream' AS role,
               u.travel_minutes
        FROM station_upstreams u JOIN devices d ON d.id = u.upstream_id JOIN device_kinds k ON k.code = d.kind
        UNION ALL
        SELECT station_id, device_id, metric, role, travel_minutes FROM station_series
    ) AS named
    JOIN devices d ON d.id = named.device_id JOIN metrics m ON m.code = named.metric
    WHERE d.id <> named.station_id AND (%(code)s::text IS NULL OR named.station_id =
        (SELECT id FROM devices WHERE code = %(code)s::text))
    ORDER BY named.station_id, named.role, d.code, m.code
"""


def load(connection: Connection[Any], code: str | None = None) -> list[Station]:
    """Every station (or the one of this code), by code, with the series that tell of its water.

    A series without a metric of that code, or that is the station itself, is left out: there is nothing to read.
    """
    cursor = connection.cursor(row_factory=dict_row)
    sources: dict[int, list[Source]] = {}
    seen: set[tuple[int, int, int]] = set()
    for row in cursor.execute(_SOURCES, {"code": code}).fetchall():
        station_id = row.pop("station_id")
        source = Source(**row)
        if (key := (station_id, source.device_id, source.metric_id)) not in seen:
            seen.add(key)
            sources.setdefault(station_id, []).append(source)
    rows = cursor.execute(
        f"""
        SELECT s.device_id AS id, d.code, coalesce(nullif(d.name, ''), d.code) AS name, s.station_kind AS kind,
               k.main_metric AS metric, m.id AS metric_id,
               coalesce(d.expected_interval_s, k.expected_interval_s) AS expected_interval_s, {_LEVELS}
        FROM stations s JOIN devices d ON d.id = s.device_id JOIN device_kinds k ON k.code = d.kind
        LEFT JOIN metrics m ON m.code = k.main_metric
        WHERE d.registration <> 'retired' AND (%(code)s::text IS NULL OR d.code = %(code)s::text)
        ORDER BY d.code
        """,  # noqa: S608  # columns named above
        {"code": code},
    )
    return [_station(row, tuple(sources.get(row["id"], ()))) for row in rows]


def _station(row: dict[str, Any], sources: tuple[Source, ...]) -> Station:
    levels = _levels(row)
    rest = {name: value for name, value in row.items() if name not in Levels.__dataclass_fields__}
    return Station(**rest, levels=levels, sources=sources)


_SPANS = """
    SELECT s.device_id, oldest.observed_at AS first_at, newest.observed_at AS newest_at, newest.value AS level_m
    FROM stations s
    JOIN devices d ON d.id = s.device_id
    JOIN device_kinds k ON k.code = d.kind
    JOIN metrics m ON m.code = k.main_metric
    CROSS JOIN LATERAL (
        SELECT observed_at FROM observations WHERE device_id = d.id AND metric_id = m.id
        ORDER BY observed_at LIMIT 1
    ) oldest
    CROSS JOIN LATERAL (
        SELECT value, observed_at FROM (
            SELECT value, observed_at, quality FROM observations
            WHERE device_id = d.id AND metric_id = m.id AND observed_at <= %(now)s
            ORDER BY observed_at DESC LIMIT 20
        ) recent
        WHERE quality & %(suspect)s = 0
          AND value BETWEEN coalesce(s.zero_m - %(tolerance)s, %(lowest)s) AND %(highest)s
        ORDER BY observed_at DESC LIMIT 1
    ) newest
"""


def spans(connection: Connection[Any], now: datetime) -> dict[int, ReadSpan]:
    """By station id; without those that never read anything, or nothing believed among the last twenty."""
    cursor = connection.cursor(row_factory=dict_row)
    cursor.execute(
        _SPANS,
        {
            "now": now,
            "suspect": SUSPECT,
            "tolerance": ZERO_TOLERANCE_M,
            "lowest": LOWEST_BELIEVED_M,
            "highest": HIGHEST_BELIEVED_M,
        },
    )
    return {
        row["device_id"]: ReadSpan(
            first_at=row["first_at"].astimezone(UTC),
            newest_at=row["newest_at"].astimezone(UTC),
            level_m=row["level_m"],
        )
        for row in cursor
    }
