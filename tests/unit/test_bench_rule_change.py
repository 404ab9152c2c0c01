"""The bench's own judgement of a rule that was changed under load."""

import numpy as np

from bench.rule_change import BEYOND, WITHIN_REACH, Change, Crossings, misjudged, with_uptakes


def seen(*rows: tuple[float, int]) -> Crossings:
    """(arrival, version of its alarm; 0 = none)."""
    return Crossings(
        received=np.array([row[0] for row in rows]),
        alarms=np.array([int(row[1] > 0) for row in rows]),
        version=np.array([row[1] for row in rows]),
    )


def change(version: int, raise_at: float, at: float) -> Change:
    return Change(version=version, raise_at=raise_at, at=at, uptake_s=0.0 if at == 0 else None)


CHANGES = [change(1, WITHIN_REACH, 0), change(2, BEYOND, 10), change(3, WITHIN_REACH, 20)]


def test_uptake_is_the_last_alarm_of_before_or_the_first_of_its_own() -> None:
    rows = seen((1, 1), (9, 1), (10.5, 1), (12, 0), (20.5, 0), (21, 3), (22, 3))
    told = with_uptakes(CHANGES, rows)
    assert [one.uptake_s for one in told] == [0.0, 0.5, 1.0]
    assert misjudged(told, rows) == 0


def test_a_crossing_that_the_version_in_force_did_not_decide_is_a_fault() -> None:
    rows = seen((1, 0), (9, 1), (12, 0), (21, 3), (22, 0), (23, 2))
    told = with_uptakes(CHANGES, rows)
    assert misjudged(told, rows) == 3


def test_a_version_that_never_decided_was_never_taken_up() -> None:
    rows = seen((1, 1), (12, 0), (21, 0), (30, 0))
    told = with_uptakes(CHANGES, rows)
    assert told[2].uptake_s is None
    assert misjudged(told, rows) == 1
