"""Models and forecasts in real tables: the newest, versions, judging once."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta

import psycopg
import pytest

from city.stations import LOWEST_BELIEVED_M, ZERO_TOLERANCE_M, ForecastPoint, StationForecast
from city.storage import forecasts, maintenance
from city.storage.changes import open_connection
from command_centre import upkeep
from tests.integration.running_centre import lay_ground

HOUR = 3600


@pytest.fixture
def connection(migrated_url: str) -> Iterator[psycopg.Connection]:
    lay_ground(migrated_url)
    with psycopg.connect(migrated_url, autocommit=True) as opened:
        yield opened


def station_id(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT id FROM devices WHERE code = 'W1'").fetchone()
    assert row is not None
    return int(row[0])


def forecast(connection: psycopg.Connection, issued_at: datetime, **changed: object) -> StationForecast:
    made = StationForecast(
        station="W1",
        station_id=station_id(connection),
        issued_at=issued_at,
        observed_at=issued_at,
        level_m=2.0,
        points=(
            ForecastPoint(horizon_s=HOUR, q10=2.2, q50=2.5, q90=2.9, alarm_m=2.8),
            ForecastPoint(horizon_s=3 * HOUR, q10=2.4, q50=3.0, q90=3.6),
        ),
        basis="回归",
        basis_en="regression",
        degraded=("RG-01",),
        refused_code=None,
        refused=None,
        refused_en=None,
        model_id=None,
        model_kind=None,
        model_version=None,
    )
    return replace(made, **changed)  # type: ignore[arg-type]  # fields by name


def read(connection: psycopg.Connection, at: datetime, value: float, quality: int = 0) -> None:
    connection.execute(
        "INSERT INTO observations (device_id, metric_id, quality, observed_at, received_at, value)"
        " SELECT %s, id, %s, %s, %s, %s FROM metrics WHERE code = 'level'",
        (station_id(connection), quality, at, at, value),
    )


def newest(url: str) -> list[StationForecast]:
    async def ask() -> list[StationForecast]:
        async with await open_connection(url, "test") as opened:
            return await forecasts.newest(opened)

    return asyncio.run(ask())


def verify(connection: psycopg.Connection, now: datetime, bite: int = 1000) -> int:
    return forecasts.verify(
        connection,
        now,
        unbelieved=4 | 16 | 32,
        lowest_m=LOWEST_BELIEVED_M,
        tolerance_m=ZERO_TOLERANCE_M,
        bite=bite,
    )


def store_model(connection: psycopg.Connection, kind: str, now: datetime) -> int:
    return forecasts.store_model(
        connection,
        station_id(connection),
        kind=kind,
        trained_at=now,
        first_at=now - timedelta(days=2),
        trained_until=now,
        rows=100,
        took_s=0.5,
        scores=[{"horizon_s": HOUR}],
        model={"version": 1},
    )


def test_the_newest_comes_back_as_it_was(
    connection: psycopg.Connection, migrated_url: str, now: datetime
) -> None:
    model = store_model(connection, "regression", now)
    old = forecast(connection, now - timedelta(minutes=5), model_id=model)
    new = forecast(connection, now, model_id=model, level_m=2.1)
    forecasts.store(connection, [old, new])
    forecasts.store(connection, [replace(new, level_m=9.0)])  # the same instant again
    expected = replace(new, model_kind="regression", model_version=1)
    assert newest(migrated_url) == [expected]
    assert forecasts.newest_of(connection, "W1") == expected
    assert forecasts.newest_of(connection, "D1") is None


def test_a_stale_forecast_is_none(connection: psycopg.Connection, migrated_url: str, now: datetime) -> None:
    forecasts.store(connection, [forecast(connection, now - forecasts.STALE_AFTER - timedelta(minutes=1))])
    assert newest(migrated_url) == []


def test_a_refusal_is_an_answer(connection: psycopg.Connection, now: datetime) -> None:
    words = {"refused_code": "silent", "refused": "传感器无数据", "refused_en": "the sensor is silent"}
    refusal = forecast(connection, now, points=(), **words)
    forecasts.store(connection, [refusal])
    assert forecasts.newest_of(connection, "W1") == refusal


def test_a_band_inside_out_is_refused(connection: psycopg.Connection, now: datetime) -> None:
    point = ForecastPoint(horizon_s=HOUR, q10=3.0, q50=2.0, q90=4.0)
    with pytest.raises(psycopg.errors.CheckViolation, match="forecasts_band_in_order"):
        forecasts.store(connection, [forecast(connection, now, points=(point,))])


def test_versions_rise_and_the_oldest_go(connection: psycopg.Connection, now: datetime) -> None:
    for _ in range(forecasts.KEPT_MODELS + 3):
        last = store_model(connection, "damped_trend", now)
    (model,) = forecasts.models(connection).values()
    assert (model.id, model.version) == (last, forecasts.KEPT_MODELS + 3)
    assert model.model == {"version": 1}
    assert forecasts.models(connection, whole=False)[model.station_id].model is None
    row = connection.execute("SELECT count(*) FROM forecast_models").fetchone()
    assert row == (forecasts.KEPT_MODELS,)


def test_each_forecast_is_judged_once(connection: psycopg.Connection, now: datetime) -> None:
    issued = now - timedelta(hours=4)
    forecasts.store(connection, [forecast(connection, issued)])
    read(connection, issued + timedelta(hours=1, minutes=2), 2.6)
    read(connection, issued + timedelta(hours=1), 99.0, quality=16)  # nearer, and not believed
    read(connection, issued + timedelta(hours=1, seconds=10), -990.0)  # a sentinel nobody marked
    read(connection, issued + timedelta(hours=3), 3.7)
    assert [verify(connection, now, bite=1) for _ in range(3)] == [1, 1, 0]
    one, three = forecasts.verification_of(connection, "W1", now.date())
    assert (one.horizon_s, one.judged, one.coverage) == (HOUR, 1, 1.0)
    assert one.rmse_m == pytest.approx(0.1)
    assert one.rmse_persistence_m == pytest.approx(0.6)
    assert one.skill == pytest.approx(1 - (0.1 / 0.6) ** 2)
    assert (three.coverage, round(three.rmse_m, 3)) == (0.0, 0.7)


def test_what_nobody_read_judges_nothing(connection: psycopg.Connection, now: datetime) -> None:
    issued = now - timedelta(hours=4)
    forecasts.store(connection, [forecast(connection, issued)])
    read(connection, issued + timedelta(hours=1) + timedelta(minutes=11), 2.6)  # too far from the due time
    assert verify(connection, now) == 2
    assert forecasts.verification_of(connection, "W1", now.date()) == []
    assert verify(connection, now) == 0


def test_only_the_last_thirty_days_count(connection: psycopg.Connection, now: datetime) -> None:
    for days, error in ((1, 0.01), (40, 1.0)):
        connection.execute(
            "INSERT INTO forecast_scores VALUES (%s, 3600, %s, 1, %s, 0.04, 1)",
            (station_id(connection), now.date() - timedelta(days=days), error),
        )
    (score,) = forecasts.verification_of(connection, "W1", now.date())
    assert (score.judged, round(score.rmse_m, 3), round(score.skill or 0, 3)) == (1, 0.1, 0.75)
    assert forecasts.verification_of(connection, "W1", date(2020, 1, 1)) != []


def test_old_forecasts_go_and_what_they_were_worth_stays_longer(
    connection: psycopg.Connection, migrated_url: str, now: datetime
) -> None:
    forecasts.store(connection, [forecast(connection, now - timedelta(days=15)), forecast(connection, now)])
    for days in (15, 500):
        connection.execute(
            "INSERT INTO forecast_scores VALUES (%s, 3600, %s, 1, 0, 0, 1)",
            (station_id(connection), now.date() - timedelta(days=days)),
        )

    async def clean() -> list[int]:
        async with await open_connection(migrated_url, "test", autocommit=True) as opened:
            return [
                await maintenance.delete_older(opened, table, now - upkeep.KEPT[table], 1000)
                for table in ("forecast_runs", "forecast_scores")
            ]

    assert asyncio.run(clean()) == [1, 1]
    left = connection.execute("SELECT count(*), min(issued_at) FROM forecasts").fetchone()
    assert left == (2, now), "points go with their run"
