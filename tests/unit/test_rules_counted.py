"""n of m: a single reading beyond the limit is a spark, three of five are a fire."""

import pytest

from city.alarms import Cleared, Raised, Transition
from rules.definitions import RuleError
from tests.unit.rules_feed import Desk, Row, facts, threshold

COUNTED = threshold(clear_at=60, n_of_m=[3, 5])


def feed(desk: Desk, *values: float) -> list[Transition]:
    """One reading every ten seconds, each its own batch."""
    return [change for place, value in enumerate(values) for change in desk.read(Row(1, 10 * place, value))]


def test_it_begins_at_the_third_of_the_last_five() -> None:
    desk = Desk([COUNTED], [facts(1)])
    assert feed(desk, 80, 10, 75, 10) == []
    (raised,) = desk.read(Row(1, 40, 90))
    assert isinstance(raised, Raised)
    assert raised.evidence["value"] == 90
    assert raised.evidence["n_of_m"] == [3, 5]


def test_three_of_six_are_not_enough() -> None:
    desk = Desk([COUNTED], [facts(1)])
    assert feed(desk, 80, 10, 10, 80, 10, 80) == []


def test_it_ends_past_the_clear_limit_when_fewer_than_three_are_left() -> None:
    desk = Desk([COUNTED], [facts(1)])
    feed(desk, 80, 80, 80, 80)
    assert desk.read(Row(1, 100, 10)) == []  # four of five
    assert desk.read(Row(1, 110, 10)) == []  # three of five
    (cleared,) = desk.read(Row(1, 120, 10))
    assert isinstance(cleared, Cleared)


def test_the_count_outlives_a_restart() -> None:
    desk = Desk([COUNTED], [facts(1)])
    feed(desk, 80, 80)
    desk.restart()
    (raised,) = desk.read(Row(1, 100, 80))
    assert isinstance(raised, Raised)


@pytest.mark.parametrize("n_of_m", [[0, 5], [4, 3], [1, 1], [3, 99], [3], ["3", 5], 3])
def test_a_count_that_means_nothing_is_refused(n_of_m: object) -> None:
    with pytest.raises(RuleError, match="n_of_m"):
        threshold(n_of_m=n_of_m)
