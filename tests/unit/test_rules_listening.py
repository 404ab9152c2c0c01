"""Listening time against a count of single instants."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rules import listening
from rules.listening import Listening
from tests.unit.rules_feed import UNTIMED

INSTANT = st.integers(0, 60)
INTERVALS = st.lists(st.tuples(INSTANT, st.one_of(st.none(), INSTANT)), max_size=8)


def counted(intervals: list[tuple[int, int | None]], begin: int, end: int) -> int:
    return sum(
        any(start <= instant and (stop is None or instant < stop) for start, stop in intervals)
        for instant in range(begin, end)
    )


@UNTIMED
@given(INTERVALS, st.lists(INSTANT, min_size=1, max_size=5), INSTANT)
def test_listened_is_the_count_of_instants_in_any_interval(
    intervals: list[tuple[int, int | None]], begins: list[int], end: int
) -> None:
    found = Listening(intervals).listened(np.array(begins, dtype=np.int64), end)
    assert found.tolist() == [counted(intervals, begin, end) for begin in begins]


@UNTIMED
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=12), INSTANT)
def test_opening_and_closing_step_by_step(steps: list[tuple[bool, int]], begin: int) -> None:
    value, now, opened, intervals = Listening(), 0, None, list[tuple[int, int | None]]()
    for open_it, later in steps:
        now += later
        if open_it:
            value = value.opened(now)
            opened = now if opened is None else opened
        else:
            value = value.closed(now)
            if opened is not None:
                intervals.append((opened, now))
            opened = None
    if opened is not None:
        intervals.append((opened, None))
    found = value.listened(np.array([begin], dtype=np.int64), 90)
    assert found.tolist() == [counted(intervals, begin, 90)]


def test_the_horizon_is_now_only_while_listening() -> None:
    assert Listening().horizon_us(50) == 0
    assert Listening([(10, 20)]).horizon_us(50) == 20
    assert Listening([(10, 20)]).horizon_us(15) == 15
    assert Listening([(10, 20), (30, None)]).horizon_us(25) == 20


def test_the_horizon_follows_a_reconnect_only_when_it_has_settled() -> None:
    back = Listening([(10, 20), (30, None)])
    settled = 30 + listening.SETTLE_US
    assert back.horizon_us(settled - 1) == 20
    assert back.horizon_us(settled) == settled


def test_a_link_that_flaps_for_weeks_forgets_the_oldest() -> None:
    many = [(10 * n, 10 * n + 5) for n in range(listening.MAX_INTERVALS + 100)]
    end = many[-1][1]
    found = Listening(many).listened(np.array([0], dtype=np.int64), end)
    assert found.tolist() == [5 * listening.MAX_INTERVALS]
