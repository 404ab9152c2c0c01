"""Models and forecasts of stations: kept, read back, and judged when their time has come.

Screens and loops ask asynchronously for the newest; the forecast's own worker writes synchronously.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, LiteralString

from psycopg import AsyncConnection, Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from city.stations import HIGHEST_BELIEVED_M, ForecastPoint, StationForecast, StoredModel

Row = dict[str, Any]

KEPT_MODELS = 5  # versions of a station's model
STALE_AFTER = timedelta(minutes=30)  # six forecasts missed: what stands there says nothing about now
VERIFY_PATIENCE = timedelta(minutes=10)  # late readings are in by then
VERIFY_WITHIN = timedelta(minutes=10)  # a reading further from the due time judges nothing
ROLLING = timedelta(days=30)

# ── the newest ───────────────────────────────────────────────────────────────────────────────────────

_NEWEST: LiteralString = """
    SELECT d.code AS station, r.station_id, r.issued_at, r.observed_at, r.level_m, r.basis, r.basis_en,
           r.degraded, r.refused_code, r.refused, r.refused_en, r.model_id,
           m.kind AS model_kind, m.version AS model_version,
           p.horizons, p.q10, p.q50, p.q90, p.alarms
    FROM stations s
    JOIN devices d ON d.id = s.device_id
    CROSS JOIN LATERAL (
        SELECT * FROM forecast_runs
        WHERE station_id = s.device_id AND issued_at > now() - %(stale)s ORDER BY issued_at DESC LIMIT 1
    ) r
    LEFT JOIN forecast_models m ON m.id = r.model_id
    CROSS JOIN LATERAL (
        SELECT array_agg(horizon_s ORDER BY horizon_s) AS horizons, array_agg(q10 ORDER BY horizon_s) AS q10,
               array_agg(q50 ORDER BY horizon_s) AS q50, array_agg(q90 ORDER BY horizon_s) AS q90,
               array_agg(alarm_m ORDER BY horizon_s) AS alarms
        FROM forecasts f WHERE f.station_id = r.station_id AND f.issued_at = r.issued_at
    ) p
    WHERE %(codes)s::text[] IS NULL OR d.code = ANY(%(codes)s::text[])
    ORDER BY d.code
"""


async def newest(connection: AsyncConnection[Any]) -> list[StationForecast]:
    """The newest forecast or refusal of each station, by code; none that is older than ``STALE_AFTER``."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_NEWEST, {"stale": STALE_AFTER, "codes": None})
        return [_forecast(row) for row in await cursor.fetchall()]


def newest_of(connection: Connection[Any], code: str) -> StationForecast | None:
    """The same of one station; None when there is none, or none that is fresh."""
    cursor = connection.cursor(row_factory=dict_row)
    row = cursor.execute(_NEWEST, {"stale": STALE_AFTER, "codes": [code]}).fetchone()
    return _forecast(row) if row else None


def _forecast(row: Row) -> StationForecast:
    columns = [row.pop(name) or () for name in ("horizons", "q10", "q50", "q90", "alarms")]
    points = tuple(
        ForecastPoint(horizon_s=horizon_s, q10=q10, q50=q50, q90=q90, alarm_m=alarm_m)
        for horizon_s, q10, q50, q90, alarm_m in zip(*columns, strict=True)
    )
    return StationForecast(**{**row, "degraded": tuple(row["degraded"])}, points=points)


# ── models ───────────────────────────────────────────────────────────────────────────────────────────


_MODELS: LiteralString = """
    SELECT DISTINCT ON (station_id) id, station_id, version, kind, trained_at, first_at, trained_until, rows,
           took_s, scores, {model} AS model
    FROM forecast_models
    WHERE %(stations)s::integer[] IS NULL OR station_id = ANY(%(stations)s::integer[])
    ORDER BY station_id, version DESC
"""
_WITH_MODEL: LiteralString = _MODELS.replace("{model}", "model")
_WITHOUT_MODEL: LiteralString = _MODELS.replace("{model}", "NULL::jsonb")


def models(
    connection: Connection[Any], stations: Sequence[int] | None = None, *, whole: bool = True
) -> dict[int, StoredModel]:
    """The newest model of each station (all stations, or those named) by station id.

    ``whole`` False leaves ``model`` itself out, which is what takes the time.
    """
    cursor = connection.cursor(row_factory=dict_row)
    query = _WITH_MODEL if whole else _WITHOUT_MODEL
    rows = cursor.execute(query, {"stations": None if stations is None else list(stations)})
    return {row["station_id"]: StoredModel(**row) for row in rows}


def store_model(  # a model's own columns
    connection: Connection[Any],
    station_id: int,
    *,
    kind: str,
    trained_at: datetime,
    first_at: datetime,
    trained_until: datetime,
    rows: int,
    took_s: float,
    scores: object,
    model: object,
) -> int:
    """Keep a new version and the few before it; returns its id."""
    row = connection.execute(
        """
        INSERT INTO forecast_models
            (station_id, version, kind, trained_at, first_at, trained_until, rows, took_s, scores, model)
        SELECT %(station)s, coalesce(max(version), 0) + 1, %(kind)s, %(trained_at)s, %(first_at)s,
               %(trained_until)s, %(rows)s, %(took_s)s, %(scores)s, %(model)s
        FROM forecast_models WHERE station_id = %(station)s
        RETURNING id
        """,
        {
            "station": station_id,
            "kind": kind,
            "trained_at": trained_at,
            "first_at": first_at,
            "trained_until": trained_until,
            "rows": rows,
            "took_s": took_s,
            "scores": Jsonb(scores),
            "model": Jsonb(model),
        },
    ).fetchone()
    connection.execute(
        """
        DELETE FROM forecast_models WHERE station_id = %(station)s AND version <=
            (SELECT max(version) FROM forecast_models WHERE station_id = %(station)s) - %(kept)s
        """,
        {"station": station_id, "kept": KEPT_MODELS},
    )
    assert row is not None  # noqa: S101  # INSERT … RETURNING of one row
    return int(row[0])


# ── issue ────────────────────────────────────────────────────────────────────────────────────────────


def store(connection: Connection[Any], issued: Sequence[StationForecast]) -> None:
    """Keep forecasts and refusals. Two of one station at one instant are one: the first stays."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO forecast_runs (station_id, issued_at, model_id, level_m, observed_at, basis, basis_en,
                                       degraded, refused_code, refused, refused_en)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
            """,
            [
                (
                    one.station_id,
                    one.issued_at,
                    one.model_id,
                    one.level_m,
                    one.observed_at,
                    one.basis,
                    one.basis_en,
                    list(one.degraded),
                    one.refused_code,
                    one.refused,
                    one.refused_en,
                )
                for one in issued
            ],
        )
        cursor.executemany(
            """
            INSERT INTO forecasts (station_id, issued_at, horizon_s, q10, q50, q90, alarm_m, model_id, due_at)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
            """,
            [
                (
                    one.station_id,
                    one.issued_at,
                    point.horizon_s,
                    point.q10,
                    point.q50,
                    point.q90,
                    point.alarm_m,
                    one.model_id,
                    one.issued_at + timedelta(seconds=point.horizon_s),
                )
                for one in issued
                for point in one.points
            ],
        )


def issued_levels(connection: Connection[Any]) -> dict[int, tuple[datetime, float | None]]:
    """When each station was last looked at, and the level it was forecast from; by station id."""
    rows = connection.execute(
        """
        SELECT s.device_id, r.issued_at, r.level_m FROM stations s CROSS JOIN LATERAL (
            SELECT issued_at, level_m FROM forecast_runs WHERE station_id = s.device_id
            ORDER BY issued_at DESC LIMIT 1) r
        """
    )
    return {row[0]: (row[1].astimezone(UTC), row[2]) for row in rows}


# ── judge ────────────────────────────────────────────────────────────────────────────────────────────

_VERIFY = """
    WITH due AS (
        SELECT f.station_id, f.issued_at, f.horizon_s, f.q10, f.q50, f.q90, f.due_at, r.level_m
        FROM forecasts f JOIN forecast_runs r USING (station_id, issued_at)
        WHERE f.verified_at IS NULL AND f.due_at <= %(now)s - %(patience)s
        ORDER BY f.due_at LIMIT %(bite)s FOR UPDATE OF f SKIP LOCKED
    ), seen AS (
        SELECT due.*, o.value AS observed
        FROM due
        JOIN stations s ON s.device_id = due.station_id
        JOIN devices d ON d.id = due.station_id
        JOIN device_kinds k ON k.code = d.kind
        LEFT JOIN metrics m ON m.code = k.main_metric
        LEFT JOIN LATERAL (
            SELECT value FROM observations
            WHERE device_id = due.station_id AND metric_id = m.id AND quality & %(unbelieved)s = 0
              AND observed_at >= due.due_at - %(within)s AND observed_at <= due.due_at + %(within)s
              AND value BETWEEN coalesce(s.zero_m - %(tolerance)s, %(lowest)s) AND %(highest)s
            ORDER BY abs(extract(epoch FROM observed_at - due.due_at)) LIMIT 1
        ) o ON true
    ), verified AS (
        UPDATE forecasts f SET verified_at = %(now)s, observed_m = seen.observed FROM seen
        WHERE (f.station_id, f.issued_at, f.horizon_s) = (seen.station_id, seen.issued_at, seen.horizon_s)
    ), summed AS (
        INSERT INTO forecast_scores AS known
            (station_id, horizon_s, day, judged, squared_error, squared_persistence, covered)
        SELECT station_id, horizon_s, (due_at AT TIME ZONE 'UTC')::date, count(*),
               sum((q50 - observed) ^ 2), sum((level_m - observed) ^ 2),
               count(*) FILTER (WHERE observed BETWEEN q10 AND q90)
        FROM seen WHERE observed IS NOT NULL AND level_m IS NOT NULL GROUP BY 1, 2, 3
        ON CONFLICT (station_id, horizon_s, day) DO UPDATE
        SET judged = known.judged + excluded.judged,
            squared_error = known.squared_error + excluded.squared_error,
            squared_persistence = known.squared_persistence + excluded.squared_persistence,
            covered = known.covered + excluded.covered
    )
    SELECT count(*) FROM seen
"""


def verify(
    connection: Connection[Any],
    now: datetime,
    *,
    unbelieved: int,
    lowest_m: float,
    tolerance_m: float,
    bite: int,
) -> int:
    """Judge up to ``bite`` forecasts whose time has come, by the believed reading nearest to it; returns how many.

    Idempotent: each forecast enters the daily sums once, in the statement that marks it. One whose station was
    not read within ``VERIFY_WITHIN`` of the due time is marked and judged by nothing.
    """
    row = connection.execute(
        _VERIFY,
        {
            "now": now,
            "patience": VERIFY_PATIENCE,
            "within": VERIFY_WITHIN,
            "unbelieved": unbelieved,
            "lowest": lowest_m,
            "tolerance": tolerance_m,
            "highest": HIGHEST_BELIEVED_M,
            "bite": bite,
        },
    ).fetchone()
    return int(row[0]) if row else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """What a station's forecasts were worth over the last 30 days, at one horizon; metres, shares of 1.

    ``skill`` = 1 - (rmse / rmse of persistence)²; None where nothing moved, since nothing could be won.
    """

    horizon_s: int
    judged: int
    rmse_m: float
    rmse_persistence_m: float
    skill: float | None
    coverage: float


_ROLLING: LiteralString = """
    SELECT d.code, c.horizon_s, sum(c.judged)::integer AS judged,
           sqrt(sum(c.squared_error) / sum(c.judged)) AS rmse_m,
           sqrt(sum(c.squared_persistence) / sum(c.judged)) AS rmse_persistence_m,
           CASE WHEN sum(c.squared_persistence) > 0
                THEN 1 - sum(c.squared_error) / sum(c.squared_persistence) END AS skill,
           sum(c.covered)::double precision / sum(c.judged) AS coverage
    FROM forecast_scores c JOIN devices d ON d.id = c.station_id
    WHERE c.day > %(since)s AND (%(code)s::text IS NULL OR d.code = %(code)s)
    GROUP BY d.code, c.horizon_s ORDER BY d.code, c.horizon_s
"""


async def verification(connection: AsyncConnection[Any], today: date) -> dict[str, list[Verification]]:
    """The last 30 days of every station that was judged, by code."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_ROLLING, {"since": today - ROLLING, "code": None})
        return _by_station(await cursor.fetchall())


def verification_of(connection: Connection[Any], code: str, today: date) -> list[Verification]:
    """The last 30 days of one station."""
    cursor = connection.cursor(row_factory=dict_row)
    rows = cursor.execute(_ROLLING, {"since": today - ROLLING, "code": code}).fetchall()
    return _by_station(rows).get(code, [])


def _by_station(rows: Sequence[Row]) -> dict[str, list[Verification]]:
    found: dict[str, list[Verification]] = {}
    for row in rows:
        found.setdefault(row.pop("code"), []).append(Verification(**row))
    return found
