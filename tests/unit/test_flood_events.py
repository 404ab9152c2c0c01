"""Past exceedances: onset, peak, end and rise, as they were computed from the recorded rivers by others."""

import csv
import gzip
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from command_centre.flood.events import HOUR_US, Event, exceedances

TEN_US = HOUR_US // 6


def series(values: list[float]) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(len(values), dtype=np.int64) * TEN_US, np.array(values)


def test_nothing_above_is_no_event() -> None:
    assert exceedances(*series([1.0, 2.0, 2.9]), 3.0) == []
    assert exceedances(*series([]), 3.0) == []


def test_one_wave() -> None:
    levels = [1.0 + 0.1 * n for n in range(30)] + [3.0, 2.0]
    (event,) = exceedances(*series(levels), 3.0)
    assert event == Event(
        onset_us=20 * TEN_US,
        peak_us=29 * TEN_US,
        end_us=30 * TEN_US,
        peak_m=pytest.approx(3.9),
        rise_3h_m=pytest.approx(1.8),
    )


def test_an_onset_without_a_reading_before_has_no_rise() -> None:
    (event,) = exceedances(*series([4.0, 4.0]), 3.0)
    assert event.rise_3h_m is None


@pytest.mark.parametrize(("calm_h", "events"), [(23, 1), (25, 2)])
def test_waves_a_day_apart_are_two(calm_h: int, events: int) -> None:
    levels = [4.0, *[1.0] * (calm_h * 6 - 1), 4.0]
    assert len(exceedances(*series(levels), 3.0)) == events


@pytest.mark.parametrize("river", ["cheongdam", "haengju"])
def test_the_recorded_floods_are_found(shared_data: Path, river: str) -> None:
    folder = shared_data / "data" / "water"
    times, levels = [], []
    with gzip.open(folder / f"han_{river}_2012_2015.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            if row["level_m"]:
                times.append(_us(row["time"]))
                levels.append(float(row["level_m"]))
    with (folder / "events.csv").open() as file:
        expected = [row for row in csv.DictReader(file) if river in row["station"]]
    assert len(expected) > 5
    found = {}
    for limit in {float(row["threshold_m"]) for row in expected}:
        for number, event in enumerate(exceedances(np.array(times), np.array(levels), limit), 1):
            found[limit, number] = event
    assert len(found) == len(expected)
    for row in expected:
        event = found[float(row["threshold_m"]), int(row["event"])]
        assert (event.onset_us, event.peak_m) == (_us(row["onset"]), pytest.approx(float(row["peak_m"])))
        assert event.peak_us == _us(row["peak_time"])
        if row["rise_3h_before_onset_m"]:
            assert event.rise_3h_m == pytest.approx(float(row["rise_3h_before_onset_m"]), abs=0.006)


def _us(text: str) -> int:
    return round(datetime.fromisoformat(text).astimezone(UTC).timestamp()) * 1_000_000
