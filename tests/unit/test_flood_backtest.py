"""The scorer reproduces the figures published with the recorded rivers, and counts small cases as one would by hand."""

import csv
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from command_centre.flood import backtest
from command_centre.flood.forecast import Series, episodes
from command_centre.flood.forecast.series import DAY_US, HOUR_US, MINUTE_US
from runtime import flood_files
from tests.unit.forecast_rivers import STEP_US, river, until

STATIONS = {
    "kr-1018662-cheongdam": "han_cheongdam_2012_2015.csv.gz",
    "kr-1019630-haengju": "han_haengju_2012_2015.csv.gz",
}


@pytest.fixture(scope="module", params=sorted(STATIONS))
def recorded(request: pytest.FixtureRequest, shared_data: Path) -> Series:
    water = shared_data / "data" / "water"
    return flood_files.read(water / STATIONS[request.param], request.param, None).level


def test_the_linear_rule_scores_as_published(recorded: Series, shared_data: Path) -> None:
    """baseline_linear60.csv: slope of the last hour by least squares, from the newest level on."""
    for row in _rows(shared_data / "data" / "water" / "baseline_linear60.csv", recorded.name):
        hours, threshold = int(row["horizon_h"]), float(row["threshold_m"])
        alarm = recorded.value + hours * _hourly_slope(recorded) >= threshold
        found = episodes.judge(
            recorded.time_us,
            recorded.value,
            alarm,
            threshold_m=threshold,
            horizon_us=hours * HOUR_US,
            scored=np.ones(len(alarm), dtype=bool),
        )
        assert (found.hits, found.false_steps, found.missed_steps) == (
            int(row["hits"]),
            int(row["fa_steps"]),
            int(row["miss_steps"]),
        )
        assert [round(one or 0, 3) for one in (found.pod, found.far, found.csi)] == [
            float(row["POD"]),
            float(row["FAR"]),
            float(row["CSI"]),
        ]
        assert (found.events, found.missed, found.false_episodes) == (
            int(row["events"]),
            int(row["missed_events"]),
            int(row["false_episodes"]),
        )
        assert found.median_lead_min == float(row["lead_median_min"])
        assert (min(found.leads_min), max(found.leads_min)) == (
            float(row["lead_min"]),
            float(row["lead_max"]),
        )
        assert round(found.days) == int(row["station_days"])
        assert round(found.false_per_30d or 0, 2) == float(row["fa_per_30d"])


def test_events_are_those_published(recorded: Series, shared_data: Path) -> None:
    published = _rows(shared_data / "data" / "water" / "events.csv", recorded.name)
    for threshold in {float(row["threshold_m"]) for row in published}:
        found = episodes.events(recorded.time_us, recorded.value, threshold)
        rows = [row for row in published if float(row["threshold_m"]) == threshold]
        assert [(one.onset_us, one.end_us, one.peak_us, round(one.peak_m, 3)) for one in found] == [
            (_us(row["onset"]), _us(row["end"]), _us(row["peak_time"]), float(row["peak_m"])) for row in rows
        ]


def test_a_small_case_by_hand() -> None:
    """Hourly levels; the threshold is reached at 5 h. Alarms at 1 h (too early), 3 h, 4 h and 20 h."""
    level = np.array([1, 1, 1, 1, 1, 3, 3] + [1] * 33, dtype=float)
    times = np.arange(40, dtype=np.int64) * HOUR_US
    alarm = np.zeros(40, dtype=bool)
    alarm[[1, 3, 4, 20]] = True
    found = episodes.judge(
        times, level, alarm, threshold_m=3.0, horizon_us=2 * HOUR_US, scored=np.ones(40, dtype=bool)
    )
    assert (found.hits, found.false_steps, found.missed_steps) == (2, 2, 0)
    assert (found.events, found.missed, found.leads_min) == (1, 0, (240.0,))
    assert found.false_episodes == 1  # the one at 1 h lies within 6 h before the onset


def test_an_alarm_after_onset_gives_no_lead() -> None:
    level = np.array([1.0, 3.0, 1.0, 3.0, 1.0])
    times = np.arange(5, dtype=np.int64) * HOUR_US
    alarm = np.array([False, False, True, False, False])
    found = episodes.judge(
        times, level, alarm, threshold_m=3.0, horizon_us=HOUR_US, scored=np.ones(5, dtype=bool)
    )
    assert (found.events, found.missed, found.false_episodes) == (1, 1, 0)


def test_exceedances_a_day_apart_are_two_events() -> None:
    times = np.array([0, 1, 24, 49], dtype=np.int64) * HOUR_US
    level = np.array([3.0, 3.5, 3.0, 3.0])
    found = episodes.events(times, level, 3.0)
    assert [(one.onset_us // HOUR_US, one.end_us // HOUR_US) for one in found] == [(0, 24), (49, 49)]
    assert found[0].peak_us == HOUR_US


def test_highest_within_equals_the_plain_way() -> None:
    random = np.random.default_rng(0)
    times = np.cumsum(random.integers(1, 40, 300)).astype(np.int64) * MINUTE_US
    level = np.where(random.random(300) < 0.1, np.nan, random.normal(size=300))
    found = episodes.highest_within(times, level, 3 * HOUR_US)
    for index, now in enumerate(times):
        ahead = level[(times > now) & (times <= now + 3 * HOUR_US)]
        ahead = ahead[np.isfinite(ahead)]
        assert (np.isnan(found[index]) and not len(ahead)) or found[index] == ahead.max()


def test_gaps_are_not_days_of_observation() -> None:
    times = np.concatenate([np.arange(144), 144 * 100 + np.arange(144)]).astype(np.int64) * STEP_US
    assert episodes.observed_days(times) == pytest.approx(2.0, abs=0.02)


def test_trains_before_and_scores_after() -> None:
    level, others = river(days=40, seed=8)
    learn, score = backtest.after(until(level, 30))
    steps: list[str] = []
    result = backtest.run(
        level,
        others,
        threshold_m=float(np.quantile(level.value, 0.97)),
        horizons_s=(3600, 10800),
        learn=learn,
        score=score,
        on_step=steps.append,
    )
    assert steps == ["train", "forecast", "score"]
    assert result.model.trained_until_us <= until(level, 40)
    assert result.scored == np.sum(level.time_us > until(level, 30))
    assert result.days == pytest.approx(10, abs=0.1)
    for one in result.horizons.values():
        assert one.rmse_m is not None
        assert one.rmse_persistence_m is not None
        assert one.rmse_m < one.rmse_persistence_m


def test_what_is_scored_was_not_learned() -> None:
    """Other outcomes in the scored part, the same model."""
    level, others = river(days=30, seed=9)
    learn, score = backtest.after(until(level, 22))
    changed = Series(
        name=level.name,
        time_us=level.time_us,
        value=np.where(level.time_us > until(level, 22), 3 * level.value, level.value),
        role="level",
    )
    first, second = (
        backtest.run(one, others, threshold_m=2.0, horizons_s=(3600,), learn=learn, score=score)
        for one in (level, changed)
    )
    assert np.array_equal(first.model.weights, second.model.weights)
    assert first.model.bands == second.model.bands


def test_a_held_out_season_is_neither_learned_nor_left_unscored() -> None:
    learn, score = backtest.held_out(10 * DAY_US, 20 * DAY_US)
    times = np.arange(30, dtype=np.int64) * DAY_US
    assert np.array_equal(learn(times), ~score(times))
    assert list(np.flatnonzero(score(times))) == list(range(10, 20))


def test_around_an_event_is_half_a_day_before_onset_to_half_a_day_after_its_peak() -> None:
    event = episodes.Event(onset_us=20 * HOUR_US, end_us=60 * HOUR_US, peak_us=30 * HOUR_US, peak_m=3.0)
    times = np.arange(80, dtype=np.int64) * HOUR_US
    assert list(np.flatnonzero(backtest.around(times, [event]))) == list(range(8, 43))


def _hourly_slope(series: Series) -> np.ndarray:
    """Least squares over seven readings ten minutes apart; NaN where one is missing."""
    hours = np.arange(-6, 1) / 6
    slope = np.full(len(series.value), np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(series.value, 7)
    centred = hours - hours.mean()
    slope[6:] = windows @ centred / (centred @ centred)
    span = series.time_us[6:] - series.time_us[:-6]
    slope[6:][span != HOUR_US] = np.nan
    return slope


def _rows(path: Path, station: str) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["station"] == station]


def _us(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1_000_000)
