"""What each kind of screen is told: however it follows, it ends with what a fresh look through its lens shows."""

import json
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_centre.api.screen.admission import sight_of
from command_centre.api.screen.guests import AUTOMATION, STRANGER, Dismissed, Guest
from command_centre.api.screen.log import Event, ScreenLog
from command_centre.api.screen.sight import (
    TOPICS,
    Mark,
    Sight,
    cells_within,
    mark_of,
    public_event,
    public_incident,
    wanted_topics,
)
from command_centre.api.screen.views import View, lens_of

PARENTS = {"C1": ("M1", "S1"), "C2": ("M1", "S1"), "C3": ("M2", "S2")}
SIGHTS = [
    Sight(audience=audience, scope=scope, unit=unit)
    for audience in ("public", "staff")
    for scope in (None, "S1", "C3")
    for unit in (None, "U1")
]


def view_of(log: ScreenLog, sight: Sight) -> View:
    lens = lens_of(sight, PARENTS)
    assert lens is not None
    return View(log, sight, lens, "", Counter())


class Follower:
    """A screen behind one view."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.seq: int | None = None
        self.topics: dict[str, dict[str, Any]] = {}
        self.events: list[int] = []

    def catch_up(self) -> None:
        self.view.fresh()
        frame = json.loads(self.view.frame(self.seq))
        if frame["t"] == "snap":
            self.topics = frame["set"]
        else:
            assert frame["from"] == self.seq
            for topic, keys in frame["set"].items():
                for key, value in keys.items():
                    if value is None:
                        self.topics.setdefault(topic, {}).pop(key, None)
                    else:
                        self.topics.setdefault(topic, {})[key] = value
            self.events += [event["change"] for event in frame["ev"]]
        self.seq = frame["seq"]


MARKS = st.builds(
    Mark,
    cell=st.sampled_from([None, "C1", "C2", "C3"]),
    units=st.sampled_from([None, frozenset(), frozenset({"U1"}), frozenset({"U1", "U2"})]),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.sampled_from("xyz"), st.one_of(st.none(), st.integers(0, 2)), MARKS),
        st.tuples(st.just("event"), st.sampled_from(["incident.opened", "flood.proposed"]), MARKS),
        st.tuples(st.just("commit")),
        st.tuples(st.just("read"), st.integers(0, len(SIGHTS) - 1)),
    ),
    max_size=50,
)


@given(STEPS)
def test_every_screen_ends_with_what_a_fresh_look_shows_and_hears_each_of_its_events_once(
    steps: list[tuple[Any, ...]],
) -> None:
    log = ScreenLog("e")
    followers = [Follower(view_of(log, sight)) for sight in SIGHTS]
    for follower in followers:
        follower.catch_up()
    told: list[Event] = []
    for step in steps:
        if step[0] == "set":
            log.stage("incident", step[1], step[2] and {"n": step[2]}, step[3], public={"n": -1})
        elif step[0] == "event":
            raw = msgspec.Raw(b'{"change":%d}' % len(told))
            told.append(Event(raw=raw, kind=step[1], change=len(told), mark=step[2]))
            log.add_event(told[-1])
        elif step[0] == "commit":
            log.commit(0.0)
        else:
            followers[step[1]].catch_up()
    log.commit(0.0)
    for follower in followers:
        follower.catch_up()
        view = follower.view
        whole = json.loads(view.frame(None))["set"]
        assert follower.topics.get("incident", {}) == whole.get("incident", {})
        public = view.sight.audience == "public"
        assert follower.events == [
            event.change
            for event in told
            if view.lens.sees(event.mark) and not (public and "flood" in event.kind)
        ]


def test_the_pieces_a_value_belonged_to_do_not_stay_behind_when_it_moves() -> None:
    log = ScreenLog("e")
    screens = {scope: Follower(view_of(log, Sight(scope=scope))) for scope in ("C1", "C2", "S1")}
    log.stage("incident", "7", {"n": 1}, Mark(cell="C1"))
    log.commit(0.0)
    for screen in screens.values():
        screen.catch_up()
    log.stage("incident", "7", {"n": 1}, Mark(cell="C2"))
    assert log.commit(0.1)
    for screen in screens.values():
        screen.catch_up()
    assert {scope: bool(screen.topics["incident"]) for scope, screen in screens.items()} == {
        "C1": False,
        "C2": True,
        "S1": True,
    }


def test_a_screen_from_another_centre_is_handed_what_it_missed() -> None:
    log = ScreenLog("e")
    view = view_of(log, Sight())
    events = [
        Event(raw=msgspec.Raw(b'{"change":%d}' % n), kind="alarm.raised", change=n, mark=Mark(cell="C1"))
        for n in range(10)
    ]
    log.remember(events[:5])
    for event in events[5:8]:
        log.add_event(event)
    log.commit(0.0, change=7)
    log.add_event(events[8])  # staged: it comes with the next delta, and must not come twice
    frame = json.loads(view.hand_over(3, reset=False))
    assert (frame["t"], frame["change"], [event["change"] for event in frame["ev"]]) == (
        "snap",
        7,
        [4, 5, 6, 7],
    )
    assert json.loads(view.hand_over(3, reset=True))["ev"] == []


@pytest.mark.parametrize(
    ("scope", "cells"),
    [("S1", {"C1", "C2"}), ("M2", {"C3"}), ("C1", {"C1"}), ("S9", None), ("", None)],
)
def test_a_scope_is_an_areas_subtree(scope: str, cells: set[str] | None) -> None:
    assert cells_within(scope, PARENTS) == cells


@pytest.mark.parametrize(
    ("asked", "topics"),
    [
        (None, TOPICS), ("", TOPICS), ("counts", ("counts",)), ("alarm, cell", ("cell", "alarm")),
        ("secrets", None), ("cell,secrets", None), (",", None),
    ],
)  # fmt: skip
def test_topics_are_those_that_exist(asked: str | None, topics: tuple[str, ...] | None) -> None:
    assert wanted_topics(asked) == topics


def test_marks_tell_where_and_whose() -> None:
    row = {"cell": "C1", "unit": "U1", "co_units": ["U2"]}
    assert mark_of(row) == Mark(cell="C1", units=frozenset({"U1", "U2"}))
    assert mark_of({"cell": None, "unit": None}) == Mark(units=frozenset())
    assert mark_of(None) == Mark(units=frozenset())


def test_strangers_get_the_lanes_reason_and_no_other() -> None:
    lane = {"unit": None, "reason": "无人负责", "reason_en": "nobody"}
    assert public_incident(lane) == lane
    theirs = public_incident({**lane, "unit": "U1"})
    assert (theirs["reason"], theirs["reason_en"]) == ("", "")
    assert public_event("alarm.raised")
    assert not public_event("flood.warning.drafted")


@pytest.mark.parametrize(
    ("guest", "expected"),
    [
        (STRANGER, ("public", None, False)),
        (AUTOMATION, ("staff", None, True)),
        (Guest(kind="screen", screen=1, scope="M1"), ("public", None, False)),
        (Guest(kind="person", role="dispatcher", unit="U1"), ("staff", None, True)),
        (Guest(kind="person", role="grid_worker"), ("staff", None, True)),
        (Guest(kind="person", role="handler", unit="U1"), ("staff", "U1", False)),
        (Guest(kind="person", role="handler"), ("staff", "", False)),
    ],
)
def test_who_one_is_decides_what_one_sees(guest: Guest, expected: tuple[str, str | None, bool]) -> None:
    sight = sight_of(guest, None, "counts,alarm")
    assert (sight.audience, sight.unit, "alarm" in sight.topics) == expected
    assert sight.scope == guest.scope


def test_a_topic_that_does_not_exist_is_refused() -> None:
    with pytest.raises(Dismissed):
        sight_of(STRANGER, None, "everything")
