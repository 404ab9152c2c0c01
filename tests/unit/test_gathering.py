"""What an incident gains by merges it loses by splits, in whatever order they come."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from command_centre.gathering import Weight, alone, read, together, written

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
times = st.integers(0, 100).map(lambda minutes: NOW + timedelta(minutes=minutes))
weights = st.builds(
    Weight,
    incident_class=st.sampled_from("ABC"),
    base_class=st.sampled_from("ABC"),
    event_level=st.integers(1, 4),
    reported=st.booleans(),
    opened_at=times,
    last_alarm_at=st.none() | times,
    due_at=st.none() | times,
)


@given(weights)
def test_a_weight_is_read_as_it_was_written(weight: Weight) -> None:
    assert read(written(weight)) == weight


@given(weights, st.lists(weights, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_merges_does_not_matter(own: Weight, others: list[Weight], chance: object) -> None:
    shuffled = list(others)
    chance.shuffle(shuffled)
    assert together(own, others) == together(own, shuffled)


@given(weights, st.lists(weights, min_size=1, max_size=5))
def test_with_everything_split_off_it_is_as_it_was(own: Weight, others: list[Weight]) -> None:
    current, base, left = together(own, others), own, list(others)
    while left:
        base = alone(current, base, left, came=False)
        left.pop()
        current = together(base, left)
    assert current == own


@given(weights, weights)
def test_what_came_meanwhile_keeps_the_urgency(own: Weight, other: Weight) -> None:
    current = together(own, [other])
    kept = alone(current, own, [other], came=True)
    assert (kept.incident_class, kept.reported) == (current.incident_class, current.reported)
    assert kept.opened_at == own.opened_at


@given(weights, weights, times)
def test_an_extension_meanwhile_stays(own: Weight, other: Weight, due_at: datetime) -> None:
    current = replace(together(own, [other]), due_at=due_at)
    if due_at != together(own, [other]).due_at:
        assert alone(current, own, [other], came=False).due_at == due_at
