"""A value that stays around its limit is one episode where a plain threshold makes thirty-three."""

import csv
import gzip
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from city.alarms import LevelChanged
from tests.unit.rules_feed import LEVEL, Desk, Row, facts, rule, threshold

DEVICE = facts(3, "water")
LIMIT = 2.7
STEADY = {"deadband": 0.05, "off_delay_s": 600}  # what the built-in water rules have


def episodes(series: list[tuple[float, float]], **keys: object) -> list[tuple[float, float | None, int]]:
    desk = Desk([threshold("water", kind="water", metric="level", raise_at=LIMIT, **keys)], [DEVICE])
    for begin in range(0, len(series), 50):
        desk.read(*(Row(3, t, value, LEVEL) for t, value in series[begin : begin + 50]))
    return desk.alarms.seconds("water", 3)


def cheongdam(folder: Path) -> list[tuple[float, float]]:
    """Four weeks in which the Han stood around 2.70 m, moved by tide and dam."""
    begin = datetime.fromisoformat("2015-09-23T19:40:00+00:00")
    path = folder / "data" / "water" / "han_cheongdam_2012_2015.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [
            ((datetime.fromisoformat(row["time"]) - begin).total_seconds(), float(row["level_m"]))
            for row in csv.DictReader(file)
            if row["level_m"]
        ]
    return [(t, value) for t, value in rows if 0 <= t < 671 * 3600]


def test_a_recorded_river_around_its_limit_is_one_episode_and_not_thirty_three(shared_data: Path) -> None:
    series = cheongdam(shared_data)
    crossings = sum(before < LIMIT <= after for (_, before), (_, after) in pairwise(series))
    plain, steady = episodes(series), episodes(series, **STEADY)
    figures = (
        f"{len(series)} readings: plain {len(plain)} episodes, with deadband and off-delay {len(steady)}"
    )
    print(figures)  # noqa: T201 - what `pytest -s` is asked for
    assert (len(plain), crossings) == (33, 33)
    assert len(steady) == 1
    assert steady[0][0] == plain[0][0]  # nothing is lost: it is raised as soon, and each crossing is counted
    assert 1 + steady[0][2] == 33


@pytest.mark.parametrize("amplitude", [0.01, 0.03, 0.049])
def test_a_built_series_that_flaps_is_one_episode(amplitude: float) -> None:
    series = [(60.0 * n, LIMIT + amplitude * (1 if n % 2 else -1)) for n in range(67)]
    assert len(episodes(series)) == 33
    assert len(episodes(series, **STEADY)) == 1


def test_waves_deeper_than_the_deadband_are_joined_by_the_off_delay() -> None:
    series = [(60.0 * n, LIMIT + 0.3 * (1 if n % 2 else -1)) for n in range(67)]
    assert len(episodes(series, deadband=0.05)) == 33
    assert len(episodes(series, **STEADY)) == 1


def test_flapping_over_a_step_of_a_ladder_changes_the_level_once() -> None:
    ladder = rule(
        "water",
        {
            "type": "ladder",
            "name": "水位",
            "name_en": "Water",
            "kind": "water",
            "metric": "level",
            "deadband": 0.05,
            "down_delay_s": 600,
            "category": "flood.level",
            "step": [{"level": "blue", "at": LIMIT - 1}, {"level": "yellow", "at": LIMIT}],
        },
    )
    desk = Desk([ladder], [DEVICE])
    rng = np.random.default_rng(33)
    noisy = LIMIT - 0.2 + 0.005 * np.arange(67) + rng.uniform(-0.02, 0.02, 67)
    story = [row for n, value in enumerate(noisy) for row in desk.read(Row(3, 60.0 * n, float(value), LEVEL))]
    assert sum(isinstance(row, LevelChanged) for row in story) == 1
    assert len(desk.alarms.of("water", 3)) == 1
