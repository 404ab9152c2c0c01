"""The forecast's loop on real tables: trained apart, issued when due, refused through a dead gauge, judged later."""

import asyncio
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pytest

from city.settings import Settings
from city.storage import forecasts, stations
from city.storage.database import connect
from command_centre.flood import forecasting
from command_centre.flood.forecasting import Forecaster, train_apart
from command_centre.flood.readings import Held, Readings
from command_centre.flood.training import HORIZONS_S, train_station
from tests.integration.running_centre import lay_ground

FILL = """
    INSERT INTO observations (device_id, metric_id, observed_at, received_at, value)
    SELECT d.id, m.id, %(end)s - n * make_interval(mins => 10), %(end)s,
           2 + 0.5 * sin(n / 12.0) + %(rise)s * greatest(0, 6 - n)
    FROM generate_series(0, %(rows)s) n, devices d, metrics m WHERE d.code = 'W1' AND m.code = 'level'
"""


@pytest.fixture
def url(migrated_url: str) -> str:
    lay_ground(migrated_url)
    return migrated_url


@pytest.fixture
def forecaster(url: str) -> Iterator[Forecaster]:
    made = Forecaster(url, Settings(database_url=url, _env_file=None))
    yield made
    made.close()


def fill(url: str, end: datetime, *, rows: int = 1000, rise: float = 0.0) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FILL, {"end": end, "rows": rows, "rise": rise})


def train(url: str, now: datetime) -> None:
    """As the process apart does it, here: each would spend two seconds on its start."""
    with connect(url, application="test", autocommit=True) as connection:
        for station in stations.load(connection, "W1"):
            assert train_station(connection, station, now).fault == ""


def query(url: str, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(sql.encode()).fetchall()


def test_nothing_is_trained_without_history(url: str, forecaster: Forecaster, now: datetime) -> None:
    assert forecaster.to_train(now) == []
    fill(url, now, rows=3)
    assert forecaster.to_train(now) == []
    assert forecaster.round(now) == 0


def test_trained_apart_then_issued_each_five_minutes(url: str, forecaster: Forecaster, now: datetime) -> None:
    fill(url, now)
    assert forecaster.to_train(now) == ["W1"]
    (trained,) = asyncio.run(train_apart(url, ["W1"], now))
    assert (trained.station, trained.fault) == ("W1", "")
    assert 900 < trained.rows <= 1001
    assert forecaster.to_train(now) == []
    assert [forecaster.round(now + timedelta(minutes=m)) for m in (0, 1, 4, 5)] == [1, 0, 0, 1]
    with psycopg.connect(url) as connection:
        found = forecasts.newest_of(connection, "W1")
    assert found is not None
    assert found.refused is None
    assert [point.horizon_s for point in found.points] == list(HORIZONS_S)
    assert found.model_version == 1
    assert found.level_m == pytest.approx(2.0, abs=0.3)
    assert all(np.isfinite([point.q10, point.q50, point.q90]).all() for point in found.points)


def test_people_read_the_names_they_know(url: str, forecaster: Forecaster, now: datetime) -> None:
    fill(url, now, rows=4000)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO devices (code, kind, name) VALUES ('W2', 'water', '青溪二号');"
            " INSERT INTO observations SELECT w.id, m.id, 0, o.observed_at, o.received_at, o.value, NULL"
            " FROM observations o, devices w, metrics m WHERE w.code = 'W2' AND m.code = 'level';"
            " INSERT INTO station_series SELECT s.id, w.id, 'level', 'other' FROM devices s, devices w"
            " WHERE s.code = 'W1' AND w.code = 'W2'"
        )
    train(url, now)
    assert forecaster.round(now) == 1
    ((basis, degraded),) = query(url, "SELECT basis, degraded FROM forecast_runs")
    assert "青溪二号" in str(basis)
    assert "/" not in str(basis)
    assert degraded == []


def test_a_rising_level_is_forecast_at_once(url: str, forecaster: Forecaster, now: datetime) -> None:
    fill(url, now)
    train(url, now)
    assert forecaster.round(now) == 1
    later = now + timedelta(seconds=20)
    fill(url, later, rows=0, rise=0.05)  # 0.3 m higher
    assert forecaster.round(later) == 0, "too soon after the last"
    assert forecaster.round(now + timedelta(seconds=40)) == 1
    assert forecaster.round(now + timedelta(seconds=80)) == 0, "nothing moved since"


def test_no_forecast_through_a_dead_gauge(url: str, forecaster: Forecaster, now: datetime) -> None:
    fill(url, now)
    train(url, now)
    assert forecaster.round(now + timedelta(hours=6)) == 1
    ((code, words, points),) = query(
        url,
        "SELECT refused_code, refused_en, (SELECT count(*) FROM forecasts) FROM forecast_runs",
    )
    assert (code, points) == ("silent", 0)
    assert words


def test_no_forecast_after_the_gauges_zero_has_moved(url: str, forecaster: Forecaster, now: datetime) -> None:
    fill(url, now)
    train(url, now)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "UPDATE observations SET value = CASE WHEN observed_at > %s THEN 2.9 ELSE 2.1 END"
            " + 0.01 * extract(minute FROM observed_at)::int / 10 WHERE observed_at > %s",
            (now - timedelta(hours=1), now - timedelta(hours=3)),
        )
    assert forecaster.round(now) == 1
    ((code, words, level),) = query(url, "SELECT refused_code, refused, level_m FROM forecast_runs")
    assert code == "step"
    assert "零点" in str(words)
    assert level is not None


def test_a_model_of_another_version_is_trained_again(url: str, forecaster: Forecaster, now: datetime) -> None:
    fill(url, now)
    train(url, now)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("""UPDATE forecast_models SET model = '{"format": 0}'""")
    assert forecaster.round(now) == 0
    assert forecaster.to_train(now) == ["W1"]
    train(url, now)
    assert forecaster.round(now) == 1
    assert forecaster.to_train(now) == []


def test_what_was_forecast_is_judged(url: str, forecaster: Forecaster, now: datetime) -> None:
    fill(url, now)
    train(url, now)
    before = now - timedelta(hours=8)
    assert forecaster.round(before) == 1
    forecaster.round(now)
    scores = query(url, "SELECT horizon_s, judged FROM forecast_scores ORDER BY 1")
    assert scores == [(horizon_s, 1) for horizon_s in HORIZONS_S]


def test_a_faulty_order_says_what_was_wrong(url: str, now: datetime) -> None:
    with pytest.raises(forecasting.TrainingError, match="database"):
        asyncio.run(train_apart("postgresql://nobody@127.0.0.1:1/none", ["W1"], now))
    assert asyncio.run(train_apart(url, ["no such station"], now)) == []


def test_the_training_ends_with_whoever_asked_for_it(
    url: str, monkeypatch: pytest.MonkeyPatch, now: datetime
) -> None:
    """Cancelled in the middle, nothing is left running."""
    fill(url, now)
    started: list[asyncio.subprocess.Process] = []
    create = asyncio.create_subprocess_exec

    async def remembered(*arguments: str, **options: object) -> asyncio.subprocess.Process:
        process = await create(*arguments, **options)  # type: ignore[arg-type]  # passed through
        started.append(process)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", remembered)

    async def begin_and_stop() -> None:
        task = asyncio.create_task(train_apart(url, ["W1"], now))
        while not started:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(begin_and_stop())
    assert started[0].returncode is not None
    with pytest.raises(ProcessLookupError):
        os.kill(started[0].pid, 0)


def test_the_loop_trains_and_forecasts_by_itself(url: str) -> None:
    fill(url, datetime.now(UTC))

    async def until_forecast() -> int:
        stop = asyncio.Event()
        settings = Settings(database_url=url, _env_file=None)
        loop = asyncio.create_task(forecasting.run(url, settings, stop))
        for _ in range(600):
            await asyncio.sleep(0.1)
            if loop.done() or query(url, "SELECT 1 FROM forecast_runs"):
                break
        stop.set()
        await loop
        return len(query(url, "SELECT 1 FROM forecasts"))

    assert asyncio.run(until_forecast()) == len(HORIZONS_S)


@pytest.mark.parametrize("role", ["rain", "other"])
def test_what_is_held_between_rounds_is_what_would_be_read(url: str, role: str, now: datetime) -> None:
    """Late readings and a slid window included; after an hour everything is read again."""
    fill(url, now, rows=300)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO devices (code, kind) VALUES ('W2', 'water');"
            " INSERT INTO observations SELECT w.id, m.id, 0, o.observed_at, o.received_at, o.value, NULL"
            " FROM observations o, devices w, metrics m WHERE w.code = 'W2' AND m.code = 'level'"
        )
        connection.execute(
            "INSERT INTO station_series SELECT s.id, w.id, 'level', %s FROM devices s, devices w"
            " WHERE s.code = 'W1' AND w.code = 'W2'",
            (role,),
        )
        (station,) = stations.load(connection, "W1")
        held = Held()
        for minutes, late in ((0, None), (7, 30), (14, 115), (21, 125), (64, 600)):
            end = now + timedelta(minutes=minutes)
            if late is not None:
                at = end - timedelta(minutes=late, seconds=30)
                connection.execute(
                    "INSERT INTO observations SELECT id, (SELECT id FROM metrics WHERE code = 'level'), 2, %s, %s, 5"
                    " FROM devices WHERE code IN ('W1', 'W2')",
                    (at, end),
                )
            span = {"start": end - timedelta(hours=24), "end": end}
            own, (other,) = Readings(connection, **span, held=held).of(station, 600)
            whole, (beside,) = Readings(connection, **span).of(station, 600)
            if late == 125:  # later than two hours: only the next whole read has it
                assert len(whole.time_us) >= len(own.time_us)
                continue
            assert (own.time_us.tolist(), own.value.tolist()) == (
                whole.time_us.tolist(),
                whole.value.tolist(),
            )
            assert (other.time_us.tolist(), other.value.tolist()) == (
                beside.time_us.tolist(),
                beside.value.tolist(),
            )
