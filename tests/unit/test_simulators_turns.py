"""Which of several simulators speaks."""

import json

import pytest

from simulators.turns import ANNOUNCE_S, SILENT_S, Turns


def told(turns: Turns) -> bytes:
    said = turns.announcement(0)
    assert said is not None
    return said


def test_the_earlier_is_silent_and_the_later_speaks() -> None:
    early, late = Turns("a", 100.0), Turns("b", 200.0)
    early.hear(told(late))
    late.hear(told(early))
    assert early.silent(0)
    assert not late.silent(0)


def test_who_began_at_the_same_moment_is_told_apart_by_name() -> None:
    one, two = Turns("a", 100.0), Turns("b", 100.0)
    one.hear(told(two))
    two.hear(told(one))
    assert (one.silent(0), two.silent(0)) == (True, False)


def test_silence_ends_when_the_later_one_is_no_longer_heard() -> None:
    early, late = Turns("a", 100.0), Turns("b", 200.0)
    early.hear(told(late))
    assert early.silent(10)
    assert early.silent(10 + SILENT_S - 0.1)
    assert not early.silent(10 + SILENT_S)


def test_a_player_of_some_cells_silences_the_other_only_there() -> None:
    district, drill = Turns("a", 100.0), Turns("b", 200.0, frozenset({"c1", "c2"}))
    district.hear(told(drill))
    drill.hear(told(district))
    assert not district.silent(0)
    assert district.silent_cells(0) == {"c1", "c2"}
    assert drill.silent_cells(0) == frozenset()
    assert not drill.silent(0)
    assert district.silent_cells(SILENT_S - 0.1) == {"c1", "c2"}
    assert district.silent_cells(SILENT_S) == frozenset()


def test_a_district_that_begins_later_silences_a_player_of_some_cells() -> None:
    drill, district = Turns("a", 100.0, frozenset({"c1"})), Turns("b", 200.0)
    drill.hear(told(district))
    assert drill.silent(0)


def test_announcements_come_often_enough_to_keep_the_other_silent() -> None:
    early, late = Turns("a", 100.0), Turns("b", 200.0)
    for tenth in range(1000):
        now = tenth / 10
        said = late.announcement(now)
        if said is not None:
            early.hear(said)
        assert early.silent(now)
    assert ANNOUNCE_S * 3 < SILENT_S, "two announcements may be lost"


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"{", b"\xff", b"null", b'{"begun": "x", "name": 1}', json.dumps({"begun": 1e99}).encode()],
)
def test_anything_else_on_the_topic_is_ignored(payload: bytes) -> None:
    turns = Turns("a", 100.0)
    turns.hear(payload)
    turns.hear(told(turns))
    assert not turns.silent(0)
