"""The forecast: what it may look at, when it refuses, what it falls back to, and that it beats "it stays as it is"."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_centre.flood import forecast
from command_centre.flood.forecast import Forecast, Model, Refusal, Series, prediction, time_to
from command_centre.flood.forecast.outcome import Point
from command_centre.flood.forecast.series import DAY_US, HOUR_US, Known
from tests.unit.forecast_rivers import STEP_US, river, until

HORIZONS = (3600, 10800)


@pytest.fixture(scope="module")
def learned() -> tuple[Model, Series, list[Series]]:
    """A river of 60 days with rain and an upstream gauge; the model has seen the first 45."""
    level, others = river(days=60, seed=1)
    model = forecast.train(level, others, horizons_s=HORIZONS, until_us=until(level, 45))
    return model, level, others


def test_learns_more_than_persistence_and_says_so(learned: tuple[Model, Series, list[Series]]) -> None:
    model, level, others = learned
    assert model.kind == "regression"
    assert [score.horizon_s for score in model.scores] == list(HORIZONS)
    assert all(score.skill > 0.3 for score in model.scores)
    assert all(0.7 < score.coverage < 0.95 for score in model.scores)
    answers, later, now = _unseen(model, level, others, 1)
    good = np.isfinite(later) & ~answers.refused
    error = np.sqrt(np.mean((later - answers.q50[:, 1])[good] ** 2))
    still = np.sqrt(np.mean((later - now)[good] ** 2))
    assert error < 0.7 * still


def test_bounds_stand_around_the_median(learned: tuple[Model, Series, list[Series]]) -> None:
    model, level, others = learned
    answers, _, _ = _unseen(model, level, others, 0)
    assert np.all(answers.q10 <= answers.q50)
    assert np.all(answers.q50 <= answers.q90)
    assert np.all(answers.q90 > answers.q10)


def test_the_future_changes_nothing(learned: tuple[Model, Series, list[Series]]) -> None:
    """Forecasts from the whole record equal those from a record that ends at the decision time."""
    model, level, others = learned
    whole = prediction.prepare(model, level, others)
    for hours in range(0, 14 * 24, 7):
        now = until(level, 45) + hours * HOUR_US
        from_all = prediction.levels(model, whole, np.array([now]))
        cut = prediction.prepare(model, level.before(now), [one.before(now) for one in others])
        from_past = prediction.levels(model, cut, np.array([now]))
        for name in ("level", "q10", "q50", "q90", "alarm", "refused", "silent"):
            assert np.array_equal(getattr(from_all, name), getattr(from_past, name), equal_nan=True), name


def test_a_wild_future_changes_nothing(learned: tuple[Model, Series, list[Series]]) -> None:
    model, level, others = learned
    now = until(level, 50)
    wild = [_spoiled(one, now) for one in (level, *others)]
    assert forecast.predict(model, wild[0], wild[1:], now) == forecast.predict(model, level, others, now)


def test_training_looks_no_further_than_told() -> None:
    level, others = river(days=30, seed=2)
    end = until(level, 20)
    spoiled = [_spoiled(one, end) for one in (level, *others)]
    first = forecast.train(level, others, horizons_s=HORIZONS, until_us=end)
    second = forecast.train(spoiled[0], spoiled[1:], horizons_s=HORIZONS, until_us=end)
    assert first.to_dict() == second.to_dict()


def test_many_times_at_once_equal_one_at_a_time(learned: tuple[Model, Series, list[Series]]) -> None:
    model, level, others = learned
    prepared = prediction.prepare(model, level, others)
    when = until(level, 46) + np.arange(40) * 3 * STEP_US
    together = prediction.levels(model, prepared, when)
    for index in (0, 17, 39):
        alone = forecast.predict(model, level, others, int(when[index]))
        assert isinstance(alone, Forecast)
        for number, point in enumerate(alone.points):
            assert point.q50 == pytest.approx(together.q50[index, number], abs=1e-4)
            assert point.q10 == pytest.approx(together.q10[index, number], abs=1e-4)
            assert point.q90 == pytest.approx(together.q90[index, number], abs=1e-4)


def test_a_stored_model_says_the_same(learned: tuple[Model, Series, list[Series]]) -> None:
    model, level, others = learned
    text = json.dumps(model.to_dict(), allow_nan=False)
    assert len(text) < 400_000
    back = Model.from_dict(json.loads(text))
    now = until(level, 50)
    assert forecast.predict(back, level, others, now) == forecast.predict(model, level, others, now)


def test_a_model_of_another_format_is_refused(learned: tuple[Model, Series, list[Series]]) -> None:
    stored = {**learned[0].to_dict(), "format": 0}
    with pytest.raises(ValueError, match="train again"):
        Model.from_dict(stored)


def test_never_through_a_dead_sensor(learned: tuple[Model, Series, list[Series]]) -> None:
    model, level, others = learned
    now = until(level, 50)
    silent = level.before(now - 2 * HOUR_US)
    answer = forecast.predict(model, silent, others, now)
    assert isinstance(answer, Refusal)
    assert answer.code == "silent"
    assert answer.since_us == silent.time_us[-1]
    assert "120 min" in answer.reason_en
    assert "120" in answer.reason


def test_never_through_a_stuck_sensor(learned: tuple[Model, Series, list[Series]]) -> None:
    model, level, others = learned
    now = until(level, 50)
    since = now - 30 * HOUR_US
    stuck = replace(level, value=np.where(level.time_us >= since, 1.234, level.value))
    answer = forecast.predict(model, stuck, others, now)
    assert isinstance(answer, Refusal)
    assert answer.code == "flat"
    assert answer.since_us is not None
    assert abs(answer.since_us - since) <= STEP_US


def test_never_from_an_impossible_reading(learned: tuple[Model, Series, list[Series]]) -> None:
    model, level, others = learned
    now = until(level, 50)
    late = (level.time_us > now - HOUR_US) & (level.time_us <= now)
    broken = replace(level, value=np.where(late, -990.0, level.value))
    answer = forecast.predict(model, broken, others, now)
    assert isinstance(answer, Refusal)
    assert answer.code == "out_of_range"
    assert "-990" in answer.reason_en


def test_nothing_known_is_refused(learned: tuple[Model, Series, list[Series]]) -> None:
    model, level, others = learned
    answer = forecast.predict(model, level.before(-1), others, until(level, 50))
    assert isinstance(answer, Refusal)
    assert answer.code == "no_data"


def test_a_missing_series_widens_the_band_and_is_named(
    learned: tuple[Model, Series, list[Series]],
) -> None:
    model, level, others = learned
    now = until(level, 50)
    full = forecast.predict(model, level, others, now)
    without = forecast.predict(model, level, [one for one in others if one.role == "rain"], now)
    assert isinstance(full, Forecast)
    assert isinstance(without, Forecast)
    assert full.degraded == ()
    assert without.degraded == ("above",)
    assert "above" in without.basis_en.split("missing:")[1]
    assert without.points[1].q90 - without.points[1].q10 > full.points[1].q90 - full.points[1].q10


def test_a_missing_series_costs_less_than_the_whole_skill() -> None:
    """The others make up for it: better than persistence all the same."""
    level, others = river(days=80, seed=5)
    model = forecast.train(level, others, horizons_s=HORIZONS, until_us=until(level, 60))
    answers, later, now = _unseen(model, level, others[:1], 0, first_day=60)
    good = np.isfinite(later) & ~answers.refused
    assert answers.silent[good].any(axis=1).all()
    error = np.sqrt(np.mean((later - answers.q50[:, 0])[good] ** 2))
    assert error < np.sqrt(np.mean((later - now)[good] ** 2))


@pytest.mark.parametrize("days", [0.0, 0.02, 0.5, 3.0, 8.0])
def test_short_history_falls_back_to_a_fading_trend(days: float) -> None:
    level, others = river(days=12, seed=3)
    model = forecast.train(level, others, horizons_s=HORIZONS, until_us=until(level, days))
    assert model.kind == "damped_trend"
    answer = forecast.predict(model, level, others, until(level, 11))
    assert isinstance(answer, Forecast)
    assert "short history" in answer.basis_en
    assert all(np.isfinite(point).all() for point in answer.points)


def test_an_untrained_trend_fades() -> None:
    """10 cm in the last hour: some more in the next, not three times as much in three."""
    times = np.arange(12, dtype=np.int64) * STEP_US
    level = Series(name="new", time_us=times, value=2.0 + 0.1 * np.arange(12) / 6, role="level")
    model = forecast.train(level, [], horizons_s=HORIZONS, until_us=0)
    answer = forecast.predict(model, level, [], int(times[-1]))
    assert isinstance(answer, Forecast)
    rises = [point.q50 - answer.level_m for point in answer.points]
    assert 0.05 < rises[0] < 0.1
    assert rises[0] < rises[1] < 0.25


def test_useless_series_do_little_harm() -> None:
    level, others = river(days=60, seed=4)
    random = np.random.default_rng(4)
    noise = [
        Series(
            name=f"noise {n}", time_us=level.time_us, value=random.normal(size=len(level.time_us)).cumsum()
        )
        for n in range(4)
    ]
    errors = []
    for given_others in (others, [*others, *noise]):
        model = forecast.train(level, given_others, horizons_s=HORIZONS, until_us=until(level, 45))
        answers, later, _ = _unseen(model, level, given_others, 1)
        good = np.isfinite(later) & ~answers.refused
        errors.append(float(np.sqrt(np.mean((later - answers.q50[:, 1])[good] ** 2))))
    assert errors[1] < 1.3 * errors[0]


def test_empty_constant_and_broken_series_are_left_out() -> None:
    level, others = river(days=30, seed=6)
    size = len(level.time_us)
    bad = [
        Series(name="empty", time_us=level.time_us[:0], value=level.value[:0]),
        Series(name="constant", time_us=level.time_us, value=np.full(size, 25.0)),
        Series(name="nothing", time_us=level.time_us, value=np.full(size, np.nan)),
        Series(name="sentinels", time_us=level.time_us, value=np.full(size, -990.0)),
    ]
    model = forecast.train(level, [*others, *bad], horizons_s=HORIZONS, until_us=until(level, 25))
    assert set(model.series) == {one.name for one in others}


def test_order_and_repeats_of_readings_change_nothing(learned: tuple[Model, Series, list[Series]]) -> None:
    model, level, others = learned
    now = until(level, 50)
    order = np.random.default_rng(0).permutation(len(level.time_us))
    shuffled = replace(
        level,
        time_us=np.concatenate([level.time_us[order], level.time_us[:5]]),
        value=np.concatenate([level.value[order], level.value[:5]]),
    )
    assert forecast.predict(model, shuffled, others, now) == forecast.predict(model, level, others, now)


def test_a_tide_is_learned_without_a_gauge() -> None:
    hours = np.arange(60 * 144) / 6
    wave = 1.2 * np.cos(2 * np.pi * hours / 12.4206) + 0.4 * np.cos(2 * np.pi * hours / 12.0 + 1)
    noise = np.random.default_rng(7).normal(0, 0.01, len(hours))
    level = Series(
        name="pier", time_us=np.arange(len(hours), dtype=np.int64) * STEP_US, value=wave + noise, role="level"
    )
    model = forecast.train(level, [], horizons_s=HORIZONS, until_us=until(level, 45))
    assert model.layout.tidal
    answers, later, now = _unseen(model, level, [], 1)
    good = np.isfinite(later)
    error = np.sqrt(np.mean((later - answers.q50[:, 1])[good] ** 2))
    assert error < 0.1 * np.sqrt(np.mean((later - now)[good] ** 2))


def test_a_river_without_tide_has_none(learned: tuple[Model, Series, list[Series]]) -> None:
    assert not learned[0].layout.tidal


def test_time_to_a_level_is_read_off_the_curves() -> None:
    answer = Forecast(
        issued_us=0,
        level_m=2.0,
        points=(Point(3600, 2.1, 2.5, 3.0), Point(10800, 2.2, 3.5, 4.5)),
        alarm_m=(3.0, 4.0),
        basis="",
        basis_en="",
        degraded=(),
    )
    assert time_to(answer, 2.5).seconds == 3600
    assert time_to(answer, 2.5).earliest_s == 1800
    assert time_to(answer, 3.0).seconds == 7200
    assert time_to(answer, 4.0).seconds is None
    assert time_to(answer, 5.0).earliest_s is None
    assert time_to(answer, 1.5).seconds == 0


@given(
    times=st.lists(st.integers(0, 10_000), min_size=1, max_size=40, unique=True),
    when=st.integers(-100, 11_000),
    age=st.integers(0, 5_000),
)
def test_as_of_never_looks_ahead(times: list[int], when: int, age: int) -> None:
    """The value is the time it was read at, so that the answer shows which reading was used."""
    known = Known.of(np.array(sorted(times)), np.array(sorted(times), dtype=float))
    found = float(known.at(np.array([when]), age)[0])
    past = [one for one in times if one <= when and when - one <= age]
    assert (np.isnan(found) and not past) or found == max(past)
    total = float(known.total(np.array([when - age]), np.array([when]))[0])
    assert total == pytest.approx(sum(one for one in times if when - age < one <= when))


def _unseen(
    model: Model, level: Series, others: list[Series], horizon: int, first_day: int = 45
) -> tuple[prediction.Levels, np.ndarray, np.ndarray]:
    prepared = prediction.prepare(model, level, others)
    when = level.time_us[level.time_us > until(level, first_day) + DAY_US]
    answers = prediction.levels(model, prepared, when)
    later = Known.of(level.time_us, level.value).at(when + model.horizons_s[horizon] * 1_000_000, 0)
    return answers, later, level.value[level.time_us > until(level, first_day) + DAY_US]


def _spoiled(series: Series, after_us: int) -> Series:
    """The same up to a moment, nonsense after."""
    return replace(series, value=np.where(series.time_us > after_us, 7.77 * series.value + 5, series.value))
