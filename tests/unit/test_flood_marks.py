"""What is odd in a hydrograph is marked with its times and words, and nothing ordinary is."""

import csv
import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from city.observations import Quality
from city.stations import Measures, Step
from command_centre.flood.marks import Mark, jumps, marks, unsettled_jump

START = datetime(2026, 7, 1, tzinfo=UTC)
TEN = timedelta(minutes=10)


def at(n: int) -> datetime:
    return START + n * TEN


def read(n: int, level: float | None, *, odd: float | None = None, quality: Quality = Quality.GOOD) -> Step:
    return Step(
        first_at=at(n),
        last_at=at(n),
        highest_at=None if level is None else at(n),
        highest=level,
        lowest=level,
        odd=0 if odd is None else 1,
        odd_low=odd,
        odd_high=odd,
        quality=int(quality),
    )


def found(steps: list[Step], *, measures: Measures = "level", end: int | None = None) -> list[Mark]:
    until = at(end) if end is not None else steps[-1].last_at
    return marks(steps, measures=measures, expected_interval_s=600, start=START, end=until)


def kinds(steps: list[Step], measures: Measures = "level") -> list[str]:
    return [mark.kind for mark in found(steps, measures=measures)]


def test_an_ordinary_day_has_no_mark() -> None:
    assert found([read(n, 2 + n % 7 * 0.01) for n in range(144)]) == []


def test_a_flood_has_no_mark() -> None:
    rise = [read(n, 2 + max(0, n - 20) * 0.35) for n in range(40)]
    assert found(rise) == []


@pytest.mark.parametrize(
    ("value", "quality", "kind"),
    [
        (-990.0, Quality.GOOD, "sentinel"),
        (-999.9, Quality.OUT_OF_RANGE, "sentinel"),
        (0.0, Quality.GOOD, "sentinel"),
        (9999.0, Quality.GOOD, "sentinel"),
        (-7.5, Quality.OUT_OF_RANGE, "out_of_range"),
        (4.4, Quality.SPIKE, "spike"),
    ],
)
def test_values_that_cannot_be(value: float, quality: Quality, kind: str) -> None:
    steps = [read(n, 2 + n % 3 * 0.01) for n in range(12)]
    steps[5:7] = [read(5, None, odd=value, quality=quality), read(6, None, odd=value, quality=quality)]
    (mark,) = found(steps)
    assert (mark.kind, mark.start, mark.end) == (kind, at(5), at(6))
    assert f"{value:g}" in mark.text
    assert f"2 readings of {value:g} m" in mark.text_en


def test_a_wave_that_stands_still_is_marked_once() -> None:
    steps = [read(n, 2 + n % 3 * 0.01) for n in range(20)]
    steps += [read(n, 3.487) for n in range(20, 60)]
    steps += [read(n, 3.2 + n % 3 * 0.01) for n in range(60, 80)]
    (mark,) = [mark for mark in found(steps) if mark.kind == "flat"]
    assert (mark.start, mark.end) == (at(20), at(59))
    assert "3.49" in mark.text
    assert "6.5 h" in mark.text_en


def test_what_ingest_calls_stuck_is_flat_at_once() -> None:
    steps = [read(n, 2.0, quality=Quality.STUCK) for n in range(3)]
    assert kinds(steps) == ["flat"]


def test_a_dry_road_may_stay_dry() -> None:
    dry = [read(n, 0.0) for n in range(100)]
    assert kinds(dry, "depth") == []
    assert kinds(dry, "level") == ["flat"]
    assert kinds([read(n, 0.2) for n in range(100)], "depth") == ["flat"]


def test_gaps_are_marked_also_at_both_ends() -> None:
    steps = [read(n, 2 + n % 3 * 0.01) for n in (5, 6, 7, 30, 31)]
    assert [(mark.kind, mark.start, mark.end) for mark in found(steps, end=40)] == [
        ("gap", at(0), at(5)),
        ("gap", at(7), at(30)),
        ("gap", at(31), at(40)),
    ]
    assert [
        mark.kind for mark in marks([], measures="level", expected_interval_s=60, start=START, end=at(9))
    ] == ["gap"]


def test_a_datum_step_is_marked_and_a_rising_flood_is_not() -> None:
    steps = [read(n, 2 + n % 3 * 0.01) for n in range(20)]
    steps += [read(n, 2.5 + n % 3 * 0.01) for n in range(20, 40)]
    (mark,) = found(steps)
    assert (mark.kind, mark.start, mark.end) == ("step", at(19), at(20))
    assert "2.01" in mark.text
    assert "2.52" in mark.text_en


@pytest.mark.parametrize(
    ("later", "hours", "doubted"),
    [([2.5] * 10, 0, True), ([2.5] * 5 + [2.0] * 5, 0, False), ([2.5] * 10, 6, False)],
)
def test_a_step_is_doubted_until_it_returns_or_settles(later: list[float], hours: int, doubted: bool) -> None:
    levels = [2.0, 2.01] * 10 + later
    series = [(at(n), level) for n, level in enumerate(levels)]
    now = at(len(levels)) + timedelta(hours=hours)
    assert (unsettled_jump(series, TEN, now) is not None) is doubted


def test_the_false_step_of_the_recorded_rivers_is_the_only_one(shared_data: Path) -> None:
    """The Han at Haengju, 2014-08-13 12:00: half a metre and back, as its README says; four seasons of two stations."""
    found = []
    for river in ("cheongdam", "haengju"):
        with gzip.open(shared_data / "data" / "water" / f"han_{river}_2012_2015.csv.gz", "rt") as file:
            rows = [(row["time"], row["level_m"]) for row in csv.DictReader(file) if row["level_m"]]
        series = [(datetime.fromisoformat(time), float(level)) for time, level in rows]
        found += [(river, mark.start.isoformat()) for mark in jumps(series, TEN)]
    assert found == [("haengju", "2014-08-13T11:50:00+00:00")]
