"""ISA-18.2 states: the table, what the facts say, and the page that shows it agree; who may shelve what."""

from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.alarms import AlarmState
from command_centre import alarm_life
from command_centre.alarm_life import LONGEST_SHELF, STANDING, STATES, TABLE, Event, Facts, after, state_of

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
PAGE = Path(__file__).parents[2] / "docs/alarms.md"


def every_fact() -> list[Facts]:
    names = ("acknowledged", "told", "suppressed", "shelved", "withdrawn")
    every = [
        Facts(standing=standing, **dict(zip(names, rest, strict=True)))
        for standing, *rest in product((False, True), repeat=6)
    ]
    # What stands is told of unless it is silent.
    return [f for f in every if not f.standing or f.told != (f.suppressed or f.shelved or f.withdrawn)]


def test_every_state_has_a_name_in_both_languages_and_facts_that_give_it() -> None:
    assert set(STATES) == set(get_args(AlarmState))
    assert {state_of(facts) for facts in every_fact()} == set(STATES)
    assert {state_of(facts) for facts in every_fact() if facts.standing} == set(STANDING)


def test_the_table_says_what_the_facts_say() -> None:
    """Whatever facts give a move's first state, its event leads to facts that give its second."""
    checked = 0
    for move in TABLE:
        for facts in every_fact():
            if state_of(facts) in move.states:
                assert state_of(after(facts, move.event)) == move.leads_to, (move, facts)
                checked += 1
    assert checked > 80


@given(st.lists(st.sampled_from(get_args(Event)), max_size=20))
def test_a_way_through_the_table_never_leaves_the_facts(events: list[Event]) -> None:
    facts, state = Facts(standing=False, told=False), "NORM"
    for event in events:
        move = next((one for one in TABLE if state in one.states and one.event == event), None)
        if move is None:
            continue
        facts, state = after(facts, event), move.leads_to
        assert state_of(facts) == state


def test_what_stands_comes_back_unacknowledged_after_every_silence() -> None:
    for event in ("unshelve", "unsuppress", "return"):
        assert {move.leads_to for move in TABLE if move.event == event} == {"UNACK"}


def test_the_page_shows_the_table() -> None:
    assert alarm_life.drawn() in PAGE.read_text(encoding="utf-8")


def shelving(**changes: object) -> alarm_life.Refused | None:
    asked: dict[str, object] = {
        "state": "UNACK",
        "category": "flood.level",
        "incident_class": "B",
        "role": "dispatcher",
        "reason": "gauge is being cleaned",
        "until": NOON + timedelta(hours=2),
        "now": NOON,
        "about_a_device": True,
    }
    return alarm_life.may_shelve(**{**asked, **changes})  # type: ignore[arg-type]  # the tests name real fields


@pytest.mark.parametrize("state", ["UNACK", "ACKED", "RTNUN", "NORM"])
def test_a_dispatcher_shelves_what_is_not_silent_already(state: str) -> None:
    assert shelving(state=state) is None


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"state": "SHLVD"}, "conflict", ""),
        ({"state": "DSUPR"}, "conflict", ""),
        ({"state": "OOSRV"}, "conflict", ""),
        ({"about_a_device": False}, "conflict", ""),
        ({"category": "fire.smoke", "incident_class": "A"}, "forbidden", ""),
        ({"role": "viewer"}, "forbidden", ""),
        ({"reason": "  "}, "invalid", "reason"),
        ({"until": NOON}, "invalid", "until"),
        ({"until": NOON + LONGEST_SHELF + timedelta(seconds=1)}, "invalid", "until"),
    ],
)
def test_what_is_not_shelved(changes: dict[str, object], code: str, field: str) -> None:
    refused = shelving(**changes)
    assert refused is not None
    assert (refused.code, refused.field) == (code, field)
    assert refused.reason != refused.reason_en


def test_a_class_a_fire_takes_an_administrator_and_another_class_does_not() -> None:
    assert shelving(category="fire.smoke", incident_class="A", role="administrator") is None
    assert shelving(category="fire.smoke", incident_class="B") is None
    assert shelving(category="flood.level", incident_class="A") is None
    assert shelving(until=NOON + LONGEST_SHELF) is None
