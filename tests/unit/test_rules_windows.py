"""What rules look back at: the columns depend on which readings there are, and on nothing else."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rules.engine import Engine
from rules.fleet import Fleet
from rules.rows import NO_ROWS, of_metric
from rules.trend import theil_sen
from rules.windows import BUCKETS, History, Trails
from tests.unit.rules_feed import METRICS, UNTIMED, Desk, Row, at, batch, facts, rule, threshold

WINDOW_S = 300
RULE = threshold("looks-back")
READINGS = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 2000), st.floats(-5, 5)), max_size=80)


class Feed:
    """A history with the newest reading of each device, as the engine keeps it."""

    def __init__(self) -> None:
        self.fleet = Fleet()
        self.fleet.follow([RULE])
        self.fleet.know([facts(device) for device in (1, 2, 3)])
        self.history = History(self.fleet, 1, WINDOW_S * 1_000_000)
        self.history.serve(RULE.rule_id)
        self.newest = np.zeros(self.fleet.size, dtype=np.int64)

    def take(self, rows: list[Row]) -> dict[tuple[int, int], list[tuple[int, float]]]:
        """The window of each new reading, by device and instant."""
        readings = batch(rows)
        of_batch = of_metric(readings, np.arange(len(readings)), self.newest)
        found: dict[tuple[int, int], list[tuple[int, float]]] = {}
        if len(of_batch):
            trails = self.history.trails(of_batch)
            for place, device in enumerate(trails.device.tolist()):
                valid = trails.valid[place]
                window = list(
                    zip(trails.t[place][valid].tolist(), trails.v[place][valid].tolist(), strict=True)
                )
                found[device, window[-1][0]] = window
        self.history.fold(of_batch, NO_ROWS)
        np.maximum.at(self.newest, of_batch.device, of_batch.observed_us)
        return found


def unique(steps: list[tuple[int, int, float]]) -> list[Row]:
    """One reading for each device and instant."""
    return list({(device, t): Row(device, t, value) for device, t, value in steps}.values())


def expected(rows: list[Row], row: Row) -> list[tuple[int, float]]:
    """The last reading of each bucket within the window, as a sentence says it."""
    width = -(-WINDOW_S * 1_000_000 // (BUCKETS - 2))
    known = [
        other
        for other in rows
        if other.device == row.device and other.t <= row.t and other.t > row.t - WINDOW_S
    ]
    last: dict[int, Row] = {}
    for other in sorted(known, key=lambda other: other.t):
        last[at(other.t) // width] = other
    return [(at(other.t), other.value) for other in last.values()]


@UNTIMED
@given(READINGS, st.sets(st.integers(0, 80)))
def test_in_order_every_window_holds_the_last_reading_of_each_bucket(
    steps: list[tuple[int, int, float]], cuts: set[int]
) -> None:
    rows = sorted(unique(steps), key=lambda row: row.t)
    feed = Feed()
    bounds = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    for begin, end in pairwise(bounds):
        for (device, t), window in feed.take(rows[begin:end]).items():
            (row,) = [row for row in rows if (row.device, at(row.t)) == (device, t)]
            assert window == expected(rows[:end], row)


@UNTIMED
@given(READINGS, st.sets(st.integers(0, 80)))
def test_readings_out_of_order_are_sorted_in_where_they_belong(
    steps: list[tuple[int, int, float]], cuts: set[int]
) -> None:
    rows = unique(steps)
    feed = Feed()
    bounds = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    for begin, end in pairwise(bounds):
        feed.take(rows[begin:end])
    together = Feed()
    together.take(rows)
    for device in (1, 2, 3):
        own = [row.t for row in rows if row.device == device]
        if own:
            probe = Row(device, max(own) + 1, 0.0)
            assert feed.take([probe]) == together.take([probe])
            assert together.take([Row(device, max(own) + 2, 0.0)])[device, at(max(own) + 2)][-1] == (
                at(max(own) + 2),
                0.0,
            )


def test_a_sender_of_a_reading_a_second_takes_no_more_room() -> None:
    feed = Feed()
    for begin in range(1, 900, 90):
        feed.take([Row(1, t, float(t)) for t in range(begin, begin + 90)])
    (window,) = feed.take([Row(1, 901, 901.0)]).values()
    assert BUCKETS - 3 <= len(window) <= BUCKETS - 1
    assert window[-1] == (at(901), 901.0)
    assert window[0][0] > at(901 - WINDOW_S)


def trails_of(t_s: list[float], v: list[float]) -> Trails:
    """One window, ending at the last reading."""
    t, value = np.zeros((1, BUCKETS), dtype=np.int64), np.zeros((1, BUCKETS))
    t[0, -len(t_s) :], value[0, -len(v) :] = [at(second) for second in t_s], v
    index: NDArray[np.intp] = np.zeros(1, dtype=np.intp)
    return Trails(index, np.ones(1, dtype=np.int32), t, value, t > 0)


@UNTIMED
@given(st.lists(st.tuples(st.integers(1, 60), st.floats(-3, 3)), min_size=3, max_size=30))
def test_the_slope_is_the_median_over_all_pairs(steps: list[tuple[int, float]]) -> None:
    t = np.cumsum([pause for pause, _ in steps]).astype(float)
    v = np.array([value for _, value in steps])
    pairs = [(v[j] - v[i]) / (t[j] - t[i]) for i in range(len(t)) for j in range(i + 1, len(t))]
    found = theil_sen(trails_of(t.tolist(), v.tolist()), min_samples=3, max_gap_us=10**9)
    assert found.slope[0] == pytest.approx(np.median(pairs), abs=1e-12)


def test_a_wild_reading_or_two_do_not_move_the_slope() -> None:
    t = [60.0 * step for step in range(12)]
    v = [0.01 * step for step in range(12)]
    v[3], v[8] = 99.0, -99.0
    found = theil_sen(trails_of(t, v), min_samples=4, max_gap_us=10**9)
    assert found.slope[0] == pytest.approx(0.01 / 60, rel=1e-6)


def test_a_long_gap_begins_the_window_anew() -> None:
    t = [0.0, 60.0, 120.0, 180.0, 1000.0, 1060.0, 1120.0]
    v = [9.0, 8.0, 7.0, 6.0, 1.0, 2.0, 3.0]
    found = theil_sen(trails_of(t, v), min_samples=3, max_gap_us=600_000_000)
    assert (found.samples[0], found.from_us[0]) == (3, at(1000))
    assert found.slope[0] == pytest.approx(1 / 60)
    assert np.isnan(theil_sen(trails_of(t, v), min_samples=4, max_gap_us=600_000_000).slope[0])


def test_a_changed_rule_set_inherits_the_columns_and_asks_only_for_what_is_new() -> None:
    rising = {"type": "rate", "name": "测", "name_en": "T", "kind": "smoke", "metric": "smoke", "noise": 0.1}
    rising |= {"category": "flood.rising", "level": "yellow"}
    old = Desk([rule("rising", rising | {"raise_at": 0.5})], [facts(1), facts(2)])
    old.read(*(Row(device, 600.0 * place, 0.2 * place) for place in range(3) for device in (1, 2)))
    new = Engine(
        [rule("rising", rising | {"raise_at": 1}), rule("slow", rising | {"raise_at": 1, "window_s": 7200})],
        METRICS,
    )
    new.know([facts(1), facts(2), facts(3)])
    new.inherit(old.engine)
    assert [(lookback.window_us, lookback.device_ids.tolist()) for lookback in new.lookbacks()] == [
        (3_600_000_000, [3]),
        (7_200_000_000, [1, 2, 3]),
    ]
    decision = new.decide(batch([Row(1, 1800.0, 0.6)]), [], now_us=at(1800))
    assert [(change.rule_id, change.evidence["samples"]) for change in decision.transitions] == [
        ("rising", 4)
    ]
