"""Series as charts ask for them, from readings and from rollups."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from city.devices import Kind, Metric, UnclaimedDevice
from city.observations import Quality
from city.storage import devices, series
from city.storage.database import connect

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def connection(any_migrated_url: str) -> Iterator[Connection[TupleRow]]:
    with connect(any_migrated_url, application="test") as opened:
        devices.upsert_kinds(
            opened,
            [Metric(code=code, unit="m", name=code, name_en=code) for code in ("level", "rain")],
            [
                Kind(code="water", name="水位", name_en="Water", main_metric="level", expected_interval_s=60),
                Kind(
                    code="camera", name="摄像机", name_en="Camera", main_metric=None, expected_interval_s=60
                ),
            ],
            overwrite=True,
        )
        devices.register_unclaimed(
            opened,
            [
                UnclaimedDevice(code="w1", kind="water", cell_code="C1"),
                UnclaimedDevice(code="k1", kind="camera", cell_code="C1"),
            ],
        )
        yield opened


def store(connection: Connection[TupleRow], at: datetime, value: float, quality: int = 0) -> None:
    connection.execute(
        "INSERT INTO observations (device_id, metric_id, quality, observed_at, received_at, value)"
        " SELECT d.id, m.id, %s, %s, %s, %s FROM devices d, metrics m"
        " WHERE d.code = 'w1' AND m.code = 'level'",
        (quality, at, at, value),
    )


def test_a_hydrograph_is_made_of_real_readings(connection: Connection[TupleRow]) -> None:
    for hour in range(30):
        store(connection, NOW - timedelta(hours=hour), 10 - hour / 10)
    levels = series.hydrograph(connection, "w1", hours=24, now=NOW)
    assert len(levels) == 24
    assert levels[-1] == (NOW, 10.0)
    assert levels == sorted(levels)


def test_a_dense_hydrograph_is_thinned(connection: Connection[TupleRow]) -> None:
    for minute in range(24 * 60):
        store(connection, NOW - timedelta(minutes=minute), minute)
    levels = series.hydrograph(connection, "w1", hours=24, now=NOW)
    assert 200 < len(levels) < 600
    assert levels[-1] == (NOW, 0)


def test_thinning_keeps_the_crest_at_its_own_time(connection: Connection[TupleRow]) -> None:
    crest = NOW - timedelta(hours=3, seconds=70)
    for second in range(0, 6 * 3600, 10):
        store(connection, NOW - timedelta(seconds=second), 2.0)
    connection.execute("UPDATE observations SET value = 9.5 WHERE observed_at = %s", (crest,))
    levels = series.hydrograph(connection, "w1", hours=24, now=NOW)
    assert (crest, 9.5) in levels
    assert len(levels) < 300


def test_a_wrong_clock_is_not_the_newest(connection: Connection[TupleRow]) -> None:
    store(connection, NOW - timedelta(minutes=5), 2.0)
    store(connection, NOW - timedelta(minutes=1), 99.0, int(Quality.CLOCK_AHEAD | Quality.LATE))
    assert [level for _, level in series.hydrograph(connection, "w1", hours=24, now=NOW)] == [2.0]


def test_a_recorded_flood_shows_its_own_last_day(connection: Connection[TupleRow]) -> None:
    flood = datetime(2013, 7, 15, 12, 0, tzinfo=UTC)
    for hour in range(48):
        store(connection, flood - timedelta(hours=hour), 5)
    levels = series.hydrograph(connection, "w1", hours=24, now=NOW)
    assert len(levels) == 24
    assert levels[-1][0] == flood


def test_nothing_read_is_an_empty_series(connection: Connection[TupleRow]) -> None:
    assert series.hydrograph(connection, "w1", hours=24, now=NOW) == []


def test_each_step_has_minimum_mean_and_maximum(connection: Connection[TupleRow]) -> None:
    for second, value in ((0, 1.0), (10, 4.0), (50, 1.0), (60, 7.0)):
        store(connection, NOW + timedelta(seconds=second), value)
    store(connection, NOW + timedelta(seconds=120), 5.0)
    points = series.read_series(
        connection,
        "w1",
        metric=None,
        start=NOW,
        end=NOW + timedelta(seconds=120),
        step=timedelta(minutes=1),
    )
    assert [(point.at, point.minimum, point.mean, point.maximum, point.readings) for point in points] == [
        (NOW, 1.0, 2.0, 4.0, 3),
        (NOW + timedelta(minutes=1), 7.0, 7.0, 7.0, 1),
    ]


def test_a_long_span_takes_the_rollups_and_what_they_do_not_reach(connection: Connection[TupleRow]) -> None:
    start = NOW - timedelta(days=20)
    store(connection, start + timedelta(minutes=30), 1.0)  # before the first rollup
    for hour in range(1, 5):  # rolled up; the readings themselves are gone, and the newest is still growing
        connection.execute(
            "INSERT INTO rollups SELECT 3600, d.id, m.id, %s, 10, 2, 3, 4 FROM devices d, metrics m"
            " WHERE d.code = 'w1' AND m.code = 'level'",
            (start + timedelta(hours=hour),),
        )
    store(connection, start + timedelta(hours=4, minutes=10), 9.0)
    points = series.read_series(
        connection, "w1", metric="level", start=start, end=NOW, step=timedelta(hours=1)
    )
    assert [(point.mean, point.readings) for point in points] == [
        (1.0, 1),
        (3, 10),
        (3, 10),
        (3, 10),
        (9.0, 1),
    ]


def test_what_cannot_be_answered_is_said(connection: Connection[TupleRow]) -> None:
    def read(code: str = "w1", metric: str | None = None, hours: float = 1, step: float = 60) -> None:
        series.read_series(
            connection,
            code,
            metric=metric,
            start=NOW,
            end=NOW + timedelta(hours=hours),
            step=timedelta(seconds=step),
        )

    with pytest.raises(devices.UnknownDeviceError, match="nobody"):
        read("nobody")
    with pytest.raises(series.SeriesError, match="tilt"):
        read(metric="tilt")
    with pytest.raises(series.SeriesError, match="metric"):
        read("k1")
    with pytest.raises(series.SeriesError, match="from"):
        read(hours=-1)
    with pytest.raises(series.SeriesError, match="step"):
        read(hours=24 * 365)
    with pytest.raises(series.SeriesError, match="step"):
        read(step=0.1)
    with pytest.raises(devices.UnknownDeviceError):
        series.hydrograph(connection, "nobody", hours=1, now=NOW)


@pytest.mark.parametrize(("hours", "seconds"), [(1, 10), (24, 300), (24 * 365, 86400)])
def test_a_step_fits_its_span(hours: int, seconds: int) -> None:
    assert series.fitting_step(timedelta(hours=hours)) == timedelta(seconds=seconds)
