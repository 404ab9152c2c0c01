"""Bad readings are marked, from what was known at their own time, and never used."""

from dataclasses import replace

import numpy as np
import pytest

from command_centre.flood.forecast import Series, cleaning
from command_centre.flood.forecast.cleaning import Mark
from command_centre.flood.forecast.roles import guess_role
from command_centre.flood.forecast.series import HOUR_US
from tests.unit.forecast_rivers import STEP_US, river


@pytest.fixture(scope="module")
def level() -> Series:
    return river(days=30, seed=1)[0]


def _with(series: Series, at: int, *values: float) -> Series:
    changed = series.value.copy()
    changed[at : at + len(values)] = values
    return replace(series, value=changed)


@pytest.mark.parametrize("sentinel", [-990.0, -999.0, -9999.0, -99.9, 9999.0, np.nan, np.inf])
def test_sentinels_are_missing(level: Series, sentinel: float) -> None:
    marks = cleaning.mark(_with(level, 700, sentinel, sentinel), cleaning.learn(level))
    assert list(marks[699:703]) == [Mark.GOOD, Mark.MISSING, Mark.MISSING, Mark.GOOD]


def test_a_sentinel_in_the_history_teaches_nothing(level: Series) -> None:
    spoiled = level
    for at in range(10, 4000, 97):
        spoiled = _with(spoiled, at, -990.0)
    assert cleaning.learn(spoiled).highest == pytest.approx(cleaning.learn(level).highest, rel=0.05)


def test_zero_is_missing_where_it_cannot_be() -> None:
    times = np.arange(3000, dtype=np.int64) * STEP_US
    value = 25 + 0.2 * np.sin(np.arange(3000) / 100)
    value[[500, 501, 1700]] = 0.0
    dam = Series(name="dam", time_us=times, value=value)
    limits = cleaning.learn(dam)
    assert limits.zero_is_missing
    assert cleaning.mark(dam, limits)[500] == Mark.MISSING


def test_zero_is_a_level_where_it_is_usual() -> None:
    times = np.arange(3000, dtype=np.int64) * STEP_US
    value = np.maximum(0.0, np.sin(np.arange(3000) / 50))
    culvert = Series(name="culvert", time_us=times, value=value, role="level")
    assert not cleaning.learn(culvert).zero_is_missing


def test_negative_levels_are_levels() -> None:
    times = np.arange(3000, dtype=np.int64) * STEP_US
    value = -1.5 + np.sin(np.arange(3000) / 12)
    pier = Series(name="pier", time_us=times, value=value, role="level")
    assert np.all(cleaning.mark(pier, cleaning.learn(pier)) == Mark.GOOD)


def test_the_impossible_is_marked(level: Series) -> None:
    marks = cleaning.mark(_with(level, 700, 85.0), cleaning.learn(level))
    assert marks[700] == Mark.IMPOSSIBLE


def test_a_spike_is_held_and_forgotten(level: Series) -> None:
    limits = cleaning.learn(level)
    marks = cleaning.mark(_with(level, 700, level.value[699] + 4.0), limits)
    assert list(marks[699:702]) == [Mark.GOOD, Mark.SPIKE, Mark.GOOD]


def test_a_jump_that_stays_is_believed_from_its_second_reading(level: Series) -> None:
    """A flood wave in a culvert, or a new datum: one reading late, not lost."""
    high = level.value[699] + 4.0
    marks = cleaning.mark(_with(level, 700, high, high + 0.1, high + 0.2), cleaning.learn(level))
    assert list(marks[700:703]) == [Mark.SPIKE, Mark.GOOD, Mark.GOOD]


def test_marks_do_not_depend_on_what_comes_later(level: Series) -> None:
    limits = cleaning.learn(level)
    random = np.random.default_rng(3)
    spoiled = level
    for at in random.integers(10, 4000, 60):
        spoiled = _with(
            spoiled, int(at), *(spoiled.value[at] + random.normal(0, 3, int(random.integers(1, 4))))
        )
    whole = cleaning.mark(spoiled, limits)
    for end in range(50, 4200, 171):
        assert np.array_equal(
            cleaning.mark(spoiled.before(int(spoiled.time_us[end])), limits), whole[: end + 1]
        )


def test_standing_still_is_judged_by_the_stations_own_habit() -> None:
    """A river that moves may stand still for half a day, a culvert that is dry for weeks stays believable."""
    moving = cleaning.learn(river(days=30, seed=1)[0])
    times = np.arange(90 * 144, dtype=np.int64) * STEP_US
    dry = np.zeros(len(times))
    dry[4000:4010] = 0.3
    culvert = cleaning.learn(Series(name="culvert", time_us=times, value=dry, role="level"))
    assert moving.flat_us == 12 * HOUR_US
    assert culvert.flat_us > 60 * 24 * HOUR_US


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("rain_mm", "rain"),
        ("Precip_1h", "rain"),
        ("雨量", "rain"),
        ("ganghwa_tide_cm", "tide"),
        ("paldang_outflow_m3s", "release"),
        ("column 7", "other"),
    ],
)
def test_a_column_is_what_its_name_says(name: str, role: str) -> None:
    assert guess_role(name, 20 + np.random.default_rng(0).normal(size=500)) == role


def test_a_nameless_rain_gauge_is_known_by_its_values() -> None:
    rain = np.maximum(0, np.random.default_rng(0).normal(-1.5, 1, 5000))
    assert guess_role("g3", rain) == "rain"
