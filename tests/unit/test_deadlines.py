"""Clocks of an incident: overdue once, urging level by level, silence after acknowledgement."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from city.incidents import Incident
from command_centre.deadlines import URGE_LEVELS, Overdue, Urge, steps, take

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
URGE_AFTER = 5 * MINUTE


def incident(**changes: object) -> Incident:
    base = Incident(
        id=1,
        state="dispatched",
        incident_class="B",
        base_class="B",
        category="fire.smoke",
        unit_id=3,
        reason="x",
        due_at=NOON + 30 * MINUTE,
        opened_at=NOON,
        awaiting_since=NOON,
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # the tests name real fields


def test_nothing_before_its_time() -> None:
    assert steps(incident(), NOON + 5 * MINUTE - timedelta(microseconds=1), URGE_AFTER) == []


def test_urging_climbs_and_stops_at_the_top() -> None:
    state = incident(due_at=NOON + 600 * MINUTE)
    struck = []
    for minute in range(60):
        now = NOON + minute * MINUTE
        found = steps(state, now, URGE_AFTER)
        if found:
            struck.append((minute, found))
            state = take(state, found, now, unit_above=9).incident
    assert struck == [(5, [Urge(level=1)]), (10, [Urge(level=2)])]


def test_the_second_level_goes_to_the_unit_above() -> None:
    first = take(incident(), [Urge(level=1)], NOON, unit_above=9)
    second = take(incident(), [Urge(level=2)], NOON, unit_above=9)
    alone = take(incident(), [Urge(level=2)], NOON, unit_above=None)
    assert [tell.unit_id for change in (first, second, alone) for tell in change.tells] == [None, 9, None]
    assert all(tell.to_lead and tell.purpose == "urge" for tell in first.tells)


def test_after_an_outage_only_the_highest_level_is_told() -> None:
    assert steps(incident(), NOON + 25 * MINUTE, URGE_AFTER) == [Urge(level=2)]


def test_overdue_is_said_once_and_to_the_lead() -> None:
    late = NOON + 31 * MINUTE
    state = incident(state="acknowledged", acknowledged_at=NOON, awaiting_since=None)
    found = steps(state, late, URGE_AFTER)
    assert found == [Overdue()]
    change = take(state, found, late, unit_above=None)
    assert [(tell.purpose, tell.to_lead) for tell in change.tells] == [("overdue", True)]
    assert steps(change.incident, late + 60 * MINUTE, URGE_AFTER) == []


def test_the_lane_is_overdue_too_but_nobody_can_be_told() -> None:
    state = incident(state="filed", unit_id=None)
    found = steps(state, NOON + 31 * MINUTE, URGE_AFTER)
    assert found == [Overdue()]
    assert take(state, found, NOON, unit_above=None).tells == ()


def test_handled_in_time_stays_in_time() -> None:
    for state in ("handled", "archived", "voided"):
        assert steps(incident(state=state), NOON + 600 * MINUTE, URGE_AFTER) == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 3600), max_size=30), st.integers(1, 900))
def test_however_often_it_is_looked_at_each_step_is_taken_once(looks: list[int], urge_s: int) -> None:
    state = incident()
    kinds: list[str] = []
    for second in sorted(looks):
        now = NOON + timedelta(seconds=second)
        found = steps(state, now, timedelta(seconds=urge_s))
        if found:
            change = take(state, found, now, unit_above=None)
            assert change.incident.urged_level >= state.urged_level
            kinds += [happening.kind for happening in change.happenings]
            state = change.incident
    assert kinds.count("overdue") <= 1
    assert kinds.count("urged") <= URGE_LEVELS
