"""Series as charts ask for them, from readings and from rollups."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from city.devices import Kind, Metric, UnclaimedDevice
from city.observations import Quality
from city.stations import Step
from city.storage import devices, series
from city.storage.database import connect

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def connection(either_migrated_url: str) -> Iterator[Connection[TupleRow]]:
    with connect(either_migrated_url, application="test") as opened:
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


def water(connection: Connection[TupleRow]) -> tuple[int, int]:
    return series.device_metric(connection, "w1")


def steps(connection: Connection[TupleRow], hours: int = 24, **changed: Any) -> list[Step]:
    asked = {"start": NOW - timedelta(hours=hours), "end": NOW, "low": -500.0, "high": 9000.0}
    return series.steps(connection, *water(connection), **{**asked, **changed})


def test_a_hydrograph_is_made_of_real_readings(connection: Connection[TupleRow]) -> None:
    for hour in range(30):
        store(connection, NOW - timedelta(hours=hour), 10 - hour / 10)
    found = steps(connection)
    assert len(found) == 24
    assert (found[-1].highest_at, found[-1].highest, found[-1].lowest) == (NOW, 10.0, 10.0)
    assert [step.first_at for step in found] == sorted(step.first_at for step in found)


def test_a_dense_hydrograph_keeps_crest_and_trough(connection: Connection[TupleRow]) -> None:
    crest, trough = NOW - timedelta(hours=3, seconds=70), NOW - timedelta(hours=3, seconds=60)
    for second in range(0, 6 * 3600, 10):
        store(connection, NOW - timedelta(seconds=second), 2.0)
    connection.execute("UPDATE observations SET value = 9.5 WHERE observed_at = %s", (crest,))
    connection.execute("UPDATE observations SET value = 0.5 WHERE observed_at = %s", (trough,))
    found = steps(connection, most=200)
    assert 45 <= len(found) <= 60
    assert (crest, 9.5) in [(step.highest_at, step.highest) for step in found]
    assert min(step.lowest for step in found if step.lowest is not None) == 0.5


def test_what_is_not_believed_stands_apart(connection: Connection[TupleRow]) -> None:
    for second, value, quality in (
        (0, 2.0, Quality.GOOD),
        (1, -990.0, Quality.GOOD),
        (2, 7.0, Quality.SPIKE),
        (3, 99.0, Quality.CLOCK_AHEAD),
        (4, 2.5, Quality.STUCK),
    ):
        store(connection, NOW - timedelta(seconds=second), value, int(quality))
    (step,) = steps(connection, most=1)
    assert (step.lowest, step.highest) == (2.0, 2.5)
    assert (step.odd, step.odd_low, step.odd_high) == (2, -990.0, 7.0)
    assert step.quality == Quality.SPIKE | Quality.STUCK
    assert (step.first_at, step.last_at) == (NOW - timedelta(seconds=4), NOW)


def test_the_newest_is_read_by_a_clock_that_is_believed(connection: Connection[TupleRow]) -> None:
    store(connection, NOW - timedelta(minutes=5), 2.0)
    store(connection, NOW - timedelta(minutes=1), 99.0, int(Quality.CLOCK_AHEAD | Quality.LATE))
    store(connection, NOW + timedelta(minutes=1), 3.0)
    assert series.newest_at(connection, *water(connection), NOW) == NOW - timedelta(minutes=5)
    assert series.newest_at(connection, *water(connection), NOW - timedelta(hours=1)) is None
    assert steps(connection, hours=1, end=NOW - timedelta(minutes=10)) == []


def test_rain_is_summed_by_step(connection: Connection[TupleRow]) -> None:
    for minutes, value in ((1, 0.5), (2, 0.25), (12, 1.0), (13, -999.0), (14, 50.0)):
        quality = Quality.OUT_OF_RANGE if value == 50 else Quality.GOOD
        store(connection, NOW - timedelta(minutes=minutes), value, int(quality))
    found = series.totals(
        connection,
        *water(connection),
        start=NOW - timedelta(hours=1),
        end=NOW,
        step=timedelta(minutes=10),
    )
    assert found == [(NOW - timedelta(minutes=20), 1.0), (NOW - timedelta(minutes=10), 0.75)]


def test_a_history_as_columns(connection: Connection[TupleRow]) -> None:
    start = NOW - timedelta(hours=1)
    for minutes, value in ((0, 9.0), (1, 1.0), (4, 5.0), (9, 2.0), (11, 3.0), (12, -990.0), (31, 4.0)):
        store(connection, start + timedelta(minutes=minutes), value)
    store(connection, start + timedelta(minutes=32), 7.0, int(Quality.SPIKE))

    def read(take: Literal["last", "sum", "highest"]) -> list[tuple[float, float]]:
        columns = series.history(
            connection,
            *water(connection),
            start=start,
            end=NOW,
            step=timedelta(minutes=10),
            take=take,
            low=-500,
        )
        begun = round(start.timestamp() * 1_000_000)
        return [((int(at) - begun) / 60e6, value) for at, value in zip(*columns, strict=True)]

    assert read("last") == [(9, 2.0), (11, 3.0), (31, 4.0)], "each with the time at which it was known"
    assert read("highest") == [(4, 5.0), (11, 3.0), (31, 4.0)]
    assert read("sum") == [(9, 8.0), (11, 3.0), (31, 4.0)]
    connection.execute("DELETE FROM observations")
    assert read("last") == []


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
        series.device_metric(connection, "nobody")


@pytest.mark.parametrize(("hours", "seconds"), [(1, 10), (24, 300), (24 * 365, 86400)])
def test_a_step_fits_its_span(hours: int, seconds: int) -> None:
    assert series.fitting_step(timedelta(hours=hours)) == timedelta(seconds=seconds)
