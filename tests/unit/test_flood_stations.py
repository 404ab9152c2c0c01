"""How stations stand: state and margin on screens, time to each level, order of danger."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from city.observations import Quality
from city.stations import ForecastPoint, Levels, StationForecast, Step, first_reached, lowest_believed
from command_centre.flood import stations as desk

NOW = datetime(2026, 7, 1, 6, 0, tzinfo=UTC)
HOUR = 3600


def row(**changed: Any) -> dict[str, Any]:
    made = {
        "code": "W1",
        "station_kind": "river",
        "warning_m": 3.0,
        "guaranteed_m": 4.0,
        "highest_m": 5.0,
        "level_m": 2.5,
        "observed_at": NOW,
        "quality": 0,
        "before_m": 2.25,
        "before_at": NOW - timedelta(hours=1),
        "metric": "level",
        "unit": "m",
        "online": True,
    }
    return {**made, **changed}


def forecast(**changed: Any) -> StationForecast:
    made = {
        "station": "W1",
        "station_id": 1,
        "issued_at": NOW,
        "observed_at": NOW,
        "level_m": 2.5,
        "points": (
            ForecastPoint(horizon_s=HOUR, q10=2.5, q50=2.75, q90=3.25),
            ForecastPoint(horizon_s=3 * HOUR, q10=2.75, q50=3.25, q90=4.25),
            ForecastPoint(horizon_s=6 * HOUR, q10=2.5, q50=3.0, q90=4.0),
        ),
        "basis": "回归",
        "basis_en": "regression",
        "degraded": (),
        "refused": None,
        "refused_en": None,
        "model_id": 1,
        "model_kind": "regression",
        "model_version": 1,
    }
    return StationForecast(**{**made, **changed})


REFUSED = {"points": (), "refused": "读数不变", "refused_en": "flat"}


@pytest.mark.parametrize(
    ("changed", "state", "margin"),
    [
        ({}, "normal", 0.5),
        ({"level_m": 3.0}, "warning", 0.0),
        ({"level_m": 4.25}, "guaranteed", -1.25),
        ({"level_m": 5.5}, "record", -2.5),
        ({"online": False}, "silent", None),
        ({"level_m": None}, "silent", None),
        ({"warning_m": None, "guaranteed_m": None}, "unset", None),
    ],
)
def test_stations(changed: dict[str, Any], state: str, margin: float | None) -> None:
    shown = desk.live(row(**changed), None)
    assert (shown["state"], shown["margin_m"]) == (state, margin)
    assert {"online", "quality", "before_m", "before_at"}.isdisjoint(shown)


def test_what_is_ahead() -> None:
    shown = desk.live(row(), forecast())
    assert shown["rise_m_h"] == 0.25
    assert shown["forecast_m_3h"] == 3.25
    assert shown["forecast_at"] == NOW
    assert shown["time_to_warning_s"] == 2 * HOUR  # half way between 2.75 at 1 h and 3.25 at 3 h
    assert shown["suspect"] is None


@pytest.mark.parametrize("level", [2.5, 4.5])
@pytest.mark.parametrize("how", ["by ingest", "by the forecast"])
def test_a_gauge_that_stands_still_is_not_believed(level: float, how: str) -> None:
    stuck = int(Quality.STUCK) if how == "by ingest" else 0
    refusal = forecast(**REFUSED, refused_code="flat") if how == "by the forecast" else forecast()
    shown = desk.live(row(level_m=level, quality=stuck), refusal)
    assert shown["state"] == ("silent" if level < 3 else "guaranteed")
    assert shown["level_m"] == level, "marked, not hidden"
    assert [shown[key] for key in ("margin_m", "forecast_m_3h", "time_to_warning_s", "rise_m_h")] == [
        None
    ] * 4
    assert shown["suspect"] == "flat"


def test_a_level_that_jumped_has_no_margin() -> None:
    shown = desk.live(row(), forecast(**REFUSED, refused_code="step"))
    assert (shown["state"], shown["suspect"], shown["level_m"]) == ("normal", "step", 2.5)
    assert [shown[key] for key in ("margin_m", "time_to_warning_s", "rise_m_h")] == [None] * 3


def test_a_silent_station_has_nothing_ahead() -> None:
    shown = desk.live(row(online=False), forecast())
    assert [shown[key] for key in ("forecast_m_3h", "time_to_warning_s", "rise_m_h")] == [None] * 3


def test_a_landslide_spot_has_a_reading_and_no_level() -> None:
    spot = row(station_kind="landslide", level_m=12.0, metric="displacement", unit="mm", warning_m=None)
    shown = desk.live(spot, None)
    assert shown["reading"] == {"metric": "displacement", "unit": "mm", "value": 12.0}
    assert (shown["level_m"], shown["margin_m"], shown["state"]) == (None, None, "unset")
    assert desk.live({**spot, "online": False}, None)["state"] == "silent"


def test_time_to_each_level() -> None:
    levels = Levels(warning_m=3.0, guaranteed_m=4.0, highest_m=5.0)
    found = desk.time_to_levels(forecast(), levels)
    assert found["warning"] == {
        "seconds": 2 * HOUR,
        "at": NOW + timedelta(hours=2),
        "earliest_at": NOW + timedelta(seconds=2400),
    }
    assert found["guaranteed"] == {
        "seconds": None,
        "at": None,
        "earliest_at": NOW + timedelta(seconds=round(HOUR + 0.75 * 2 * HOUR)),
    }
    assert (found["highest"], found["bank"], found["design"]) == (None, None, None)
    assert set(desk.time_to_levels(None, levels).values()) == {None}
    assert set(desk.time_to_levels(forecast(**REFUSED), levels).values()) == {None}


def test_a_level_that_is_reached_takes_no_time() -> None:
    assert first_reached(3.0, [(HOUR, 2.0)], 3.0) == 0
    assert first_reached(2.0, [(HOUR, 2.5)], 3.0) is None
    assert first_reached(2.0, [(HOUR, 1.0), (2 * HOUR, 3.0)], 2.0 + 1e-9) > HOUR  # type: ignore[operator]  # reached


def test_the_peak_within_a_time() -> None:
    assert forecast().peak(timedelta(hours=6)) == (NOW + timedelta(hours=3), 3.25)
    assert forecast().peak(timedelta(hours=2)) == (NOW + timedelta(hours=1), 2.75)
    assert forecast().peak(timedelta(minutes=1)) is None


@pytest.mark.parametrize(
    ("before_m", "minutes", "expected"), [(2.25, 60, 0.25), (2.0, 75, 0.4), (None, 60, None), (2.0, 0, None)]
)
def test_rise(before_m: float | None, minutes: int, expected: float | None) -> None:
    assert desk.rise_m_h(2.5, NOW, before_m, NOW - timedelta(minutes=minutes)) == expected


def test_margins_to_every_level() -> None:
    levels = Levels(warning_m=3.0, guaranteed_m=4.0, bank_m=4.5)
    assert desk.margins(3.2, levels) == {
        "warning": -0.2,
        "guaranteed": 0.8,
        "highest": None,
        "bank": 1.3,
        "design": None,
    }
    assert set(desk.margins(None, levels).values()) == {None}


def item(code: str, margin: float | None, seconds: float | None, earliest_h: float | None) -> dict[str, Any]:
    reached = None
    if seconds is not None or earliest_h is not None:
        at = None if earliest_h is None else NOW + timedelta(hours=earliest_h)
        reached = {"seconds": seconds, "at": None, "earliest_at": at}
    return {"code": code, "margin_m": margin, "time_to_level": {"warning": reached}}


def test_the_order_of_danger() -> None:
    items = [
        item("silent", None, None, None),
        item("calm", 2.0, None, None),
        item("soon", 1.5, 1800, 0.4),
        item("above", -0.3, 0, 0),
        item("perhaps", 0.2, None, 2),
        item("unset", None, None, None),
    ]
    by_margin = [one["code"] for one in desk.in_order(items, "margin")]
    assert by_margin == ["above", "perhaps", "soon", "calm", "silent", "unset"]
    by_time = [one["code"] for one in desk.in_order(items, "time_to_level")]
    assert by_time == ["above", "soon", "perhaps", "calm", "silent", "unset"]


@pytest.mark.parametrize(("zero", "lowest"), [(None, -500.0), (2.0, 1.95), (0.0, -0.05)])
def test_under_its_zero_no_gauge_reads(zero: float | None, lowest: float) -> None:
    assert lowest_believed(Levels(zero_m=zero)) == lowest


def step(minute: float, level: float | None) -> Step:
    at = NOW + timedelta(minutes=minute)
    return Step(
        first_at=at,
        last_at=at,
        highest_at=None if level is None else at,
        highest=level,
        lowest=level,
        odd=0,
        odd_low=None,
        odd_high=None,
        quality=0,
    )


def test_thinning_keeps_the_crest_at_its_own_time() -> None:
    steps = [step(minute / 2, 2.0) for minute in range(240)]
    steps[101] = step(50.5, 9.5)
    steps[130] = step(65, None)
    found = desk.curve(steps, NOW, timedelta(minutes=5))
    assert len(found) == 24
    assert (NOW + timedelta(minutes=50.5), 9.5) in found
    assert found == sorted(found)
    assert found[-1][0] == NOW + timedelta(minutes=119.5), "of equal ones the newest"
