"""Where batteries and radio signals go, on made-up series."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_centre.device_trends import (
    EMPTY,
    LEAST_SPAN,
    Battery,
    Days,
    Values,
    battery,
    renewed_at,
    signal,
    theil_sen,
)

TODAY = 739_000
YEAR = np.arange(TODAY - 179, TODAY + 1)
X = np.arange(180)


def of(percent: object, days: Days = YEAR) -> Battery:
    return battery(days, np.asarray(percent, dtype=np.float64), TODAY)


def near(found: Battery, days_left: float, within: float) -> bool:
    return found.end is not None and abs(found.end - TODAY - days_left) <= within


def test_a_falling_battery_has_an_end_and_a_band_around_it() -> None:
    noise = np.random.default_rng(1).normal(0, 1.5, 180)
    found = of(np.round(95 - 0.4 * X + noise))
    assert found.state == "falling"
    assert near(found, (95 - 0.4 * 179 - EMPTY) / 0.4, 4)
    assert found.early is not None
    assert found.late is not None
    assert found.end is not None
    assert found.early < found.end < found.late
    assert found.early - TODAY <= 0.9 * (found.end - TODAY) + 1


def test_steps_of_ten_percent_still_show_the_slope() -> None:
    found = of(np.floor((95 - 0.4 * X) / 10) * 10)
    assert found.state == "falling"
    assert found.per_day == pytest.approx(-0.4, abs=0.05)


def test_a_replaced_battery_starts_anew() -> None:
    found = of(np.where(X < 120, 90 - 0.6 * X, 100 - 0.5 * (X - 120)))
    assert (found.since, found.state) == (YEAR[120], "falling")
    assert near(found, (100 - 0.5 * 59 - EMPTY) / 0.5, 2)
    young = of(np.where(X < 175, 90 - 0.4 * X, 100))
    assert (young.since, young.state, young.percent) == (YEAR[175], "not_enough", 100)


def test_one_wrong_reading_is_no_new_battery() -> None:
    percent = 90 - 0.3 * X
    percent[100] = 100
    assert renewed_at(YEAR, percent) == 0
    assert of(percent).state == "falling"


def test_a_battery_that_charges_every_day_is_steady() -> None:
    assert of(60 + 20 * np.sin(X / 3)).state in ("steady", "not_enough")
    assert of(np.full(180, 100.0)).state == "steady"
    assert of(80 + np.random.default_rng(2).normal(0, 2, 180)).state == "steady"


@pytest.mark.parametrize("begin", [40, 100, 165])
def test_a_cold_fortnight_neither_renews_nor_ends_it(begin: int) -> None:
    calm = of(95 - 0.3 * X)
    cold = of(np.round(95 - 0.3 * X - np.where((begin <= X) & (begin + 14 > X), 15, 0)))
    assert cold.since == YEAR[0]
    assert calm.end is not None
    assert cold.end is not None
    assert abs(cold.end - calm.end) <= 10


def test_too_little_is_said_to_be_too_little() -> None:
    assert of([], np.array([], dtype=np.int64)).state == "not_enough"
    few = YEAR[-13:]
    assert of(90.0 - np.arange(13), few).state == "not_enough"
    short = YEAR[-LEAST_SPAN:]  # 21 medians over 20 days
    assert of(90.0 - np.arange(LEAST_SPAN), short).state == "not_enough"
    assert of(90.0 - np.arange(LEAST_SPAN + 1), YEAR[-LEAST_SPAN - 1 :]).state == "falling"


def test_gaps_do_not_matter_but_silence_does() -> None:
    gaps = (X % 7 < 2) | (X > 170)
    found = battery(YEAR[gaps], 95 - 0.4 * X[gaps], TODAY)
    assert found.per_day == pytest.approx(-0.4)
    stale = battery(YEAR[:160], 95 - 0.4 * X[:160], TODAY)
    assert (stale.state, stale.end) == ("stale", None)


def test_no_date_is_given_far_beyond_what_is_known() -> None:
    found = of(100 - 0.05 * X)
    assert (found.state, found.end) == ("far", None)
    assert found.per_day == pytest.approx(-0.05)


def test_an_empty_battery_ends_today_and_nonsense_is_left_out() -> None:
    assert of(np.full(180, 8.0)) == Battery(
        state="empty", percent=8, since=YEAR[0], end=TODAY, early=TODAY, late=TODAY
    )
    odd = 95 - 0.4 * X
    odd[::9] = 255
    odd[1::9] = -1
    odd[2::9] = np.nan
    assert of(odd).per_day == pytest.approx(-0.4)


def test_signals() -> None:
    days = YEAR[-42:]
    falling = -90 - 0.3 * np.arange(42) + np.random.default_rng(3).normal(0, 1, 42)
    found = signal(days, falling, TODAY)
    assert (found.state, round(found.per_week or 0)) == ("falling", -2)
    assert signal(days, -falling, TODAY).state == "rising"
    assert signal(days, np.full(42, -90.0), TODAY).state == "steady"
    assert signal(days[:20], falling[:20], TODAY).state == "stale"
    assert signal(days[-10:], falling[-10:], TODAY).state == "not_enough"
    assert signal(days[:0], falling[:0], TODAY).state == "not_enough"


def test_the_slope_is_that_of_theil_and_sen() -> None:
    found = theil_sen(np.array([0, 1, 2, 4]), np.array([0.0, 1.0, 2.0, 40.0]))
    assert found.middle == pytest.approx(np.median([1, 1, 10, 1, 13, 19]))


@given(
    st.lists(st.tuples(st.integers(0, 400), st.floats(-10, 300)), max_size=120, unique_by=lambda one: one[0])
)
def test_whatever_comes_the_band_holds_the_end(rows: list[tuple[int, float]]) -> None:
    rows.sort()
    days = np.array([TODAY - 400 + day for day, _ in rows], dtype=np.int64)
    values: Values = np.array([value for _, value in rows], dtype=np.float64)
    found = battery(days, values, TODAY)
    assert (found.end is not None) == (found.state in ("falling", "empty"))
    if found.end is not None:
        assert found.early is not None
        assert TODAY <= found.early <= found.end
        assert found.late is None or found.end <= found.late
