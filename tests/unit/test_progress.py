"""What a reporter sees: steps in order, dates from the report on, and nothing about anybody else."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from city.incidents import Incident, State
from command_centre import notices, progress

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DONE = Incident(
    id=7,
    number="20261123-0007",
    state="archived",
    incident_class="C",
    base_class="C",
    category="facility.drain",
    reason="because",
    unit_id=3,
    steps=6,
    opened_at=NOW,
    dispatched_at=NOW + HOUR,
    acknowledged_at=NOW + 2 * HOUR,
    arrived_at=NOW + 3 * HOUR,
    handled_at=NOW + 4 * HOUR,
    verified_at=NOW + 5 * HOUR,
    fed_back_at=NOW + 6 * HOUR,
    closed_at=NOW + 7 * HOUR,
)


def standing(state: State) -> Incident:
    closed = NOW + 7 * HOUR if state in ("archived", "voided", "merged") else None
    return replace(DONE, state=state, closed_at=closed)


def test_six_steps_have_eight_dates_in_their_order() -> None:
    bar = progress.bar(NOW, DONE, NOW + HOUR / 2)
    assert [step.step for step in bar.steps] == list(progress.STEPS)
    assert [step.at for step in bar.steps] == [
        NOW, NOW + HOUR / 2, NOW + HOUR, NOW + 2 * HOUR, NOW + 4 * HOUR, NOW + 5 * HOUR, NOW + 6 * HOUR, NOW + 7 * HOUR,
    ]  # fmt: skip
    assert [step.step for step in bar.steps if step.current] == ["archived"]


def test_five_steps_show_no_verification() -> None:
    bar = progress.bar(NOW, replace(DONE, steps=5, verified_at=None))
    assert "verified" not in [step.step for step in bar.steps]


@pytest.mark.parametrize("state", get_args(State))
def test_every_state_has_words_and_one_current_step(state: State) -> None:
    bar = progress.bar(NOW, standing(state))
    assert all(bar.words)
    assert sum(step.current for step in bar.steps) == 1
    done = [step.done for step in bar.steps]
    assert done == sorted(done, reverse=True)  # what is done comes before what is not
    assert all(step.at is None for step in bar.steps if not step.done)


def test_rework_takes_the_later_steps_back() -> None:
    bar = progress.bar(NOW, standing("rework"))
    assert [step.step for step in bar.steps if step.done][-1] == "handling"


def test_nothing_tells_that_the_matter_was_known_before() -> None:
    late = NOW + 3 * HOUR
    bar = progress.bar(late, DONE)
    assert min(step.at for step in bar.steps if step.at) == late


def test_what_was_not_taken_up_stops_at_the_first_step() -> None:
    bar = progress.bar(NOW, standing("voided"))
    assert [(step.step, step.at) for step in bar.steps] == [("registered", NOW)]


def test_what_was_put_right_on_the_spot_is_over_at_once() -> None:
    bar = progress.bar(NOW, None)
    assert bar.state == "fixed_on_spot"
    assert all(step.done and step.at == NOW for step in bar.steps)


def test_reporters_hear_of_states_that_their_bar_knows() -> None:
    assert set(progress.STATE_WORDS) >= notices.TOLD
    assert "merged" not in notices.TOLD
