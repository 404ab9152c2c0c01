"""When a station is forecast and when its model is trained."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from city.stations import Measures, ReadSpan, StoredModel
from command_centre.flood import forecast_plan as plan

NOW = datetime(2026, 7, 1, 6, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def span(level_m: float = 2.0, hours: float = 100.0) -> ReadSpan:
    return ReadSpan(first_at=NOW - hours * HOUR, newest_at=NOW, level_m=level_m)


def model(*, history_h: float, ago_h: float) -> StoredModel:
    trained = NOW - ago_h * HOUR
    return StoredModel(
        id=1,
        station_id=1,
        version=1,
        kind="regression",
        trained_at=trained,
        first_at=trained - history_h * HOUR,
        trained_until=trained,
        rows=1,
        took_s=1,
        scores=[],
        model={},
    )


@pytest.mark.parametrize(
    ("measures", "last", "level", "due"),
    [
        ("level", None, 2.0, True),
        ("ground", None, 2.0, False),
        ("level", (5 * MINUTE, 2.0), 2.0, True),
        ("level", (4 * MINUTE, 2.0), 2.04, False),
        ("level", (1 * MINUTE, 2.0), 2.05, True),
        ("level", (1 * MINUTE, 2.0), 1.9, True),
        ("depth", (1 * MINUTE, 2.0), 2.03, True),
        ("level", (timedelta(seconds=29), 2.0), 3.0, False),
        ("level", (1 * MINUTE, None), 3.0, False),
    ],
)
def test_a_forecast_is_owed(
    measures: Measures, last: tuple[timedelta, float | None] | None, level: float, due: bool
) -> None:
    issued = None if last is None else (NOW - last[0], last[1])
    assert plan.issue_due(measures, span(level), issued, NOW) is due


@pytest.mark.parametrize(
    ("known", "history_h", "due"),
    [
        (None, 0.9, False),
        (None, 1.0, True),
        (model(history_h=2, ago_h=1), 3, False),
        (model(history_h=2, ago_h=2), 4, True),  # doubled
        (model(history_h=0.1, ago_h=1.5), 1.6, False),  # twice an hour, not twice six minutes
        (model(history_h=5000, ago_h=11), 5011, True),  # before the day's hour
        (model(history_h=5000, ago_h=9), 5009, False),  # after it
        (model(history_h=5000, ago_h=0), 5000, False),  # nothing new
    ],
)
def test_a_model_is_owed(known: StoredModel | None, history_h: float, due: bool) -> None:
    struck = NOW - 10 * HOUR
    assert plan.training_due(known, "level", span(hours=history_h), struck, NOW) is due
    assert not plan.training_due(known, "ground", span(hours=history_h), struck, NOW)


def test_the_hour_is_the_districts_own() -> None:
    zone = ZoneInfo("Asia/Shanghai")
    assert plan.last_round(datetime(2026, 7, 1, 18, 59, tzinfo=UTC), 3, zone) == datetime(
        2026, 6, 30, 19, 0, tzinfo=UTC
    )
    assert plan.last_round(datetime(2026, 7, 1, 19, 0, tzinfo=UTC), 3, zone) == datetime(
        2026, 7, 1, 19, 0, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("kind", "interval", "step"),
    [("river", 60, 600), ("culvert", None, 300), ("road", 60, 300), ("tide", 3600, 3600)],
)
def test_steps_are_no_finer_than_the_reports(kind: str, interval: int | None, step: int) -> None:
    assert plan.step_of(kind, interval) == step
