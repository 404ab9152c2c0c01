"""The chain of an incident's events: any change, removal, insertion, swap or cut is found, at its place."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.incidents import GENESIS, Event, canonical, link, more_urgent, raised_class, text_digest, verify

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)

DETAILS = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=5,
    ),
    max_size=4,
)


def chained(details: list[dict[str, object]]) -> list[Event]:
    events: list[Event] = []
    previous = GENESIS
    for number, detail in enumerate(details, start=1):
        event = Event(
            incident_id=9,
            seq=number,
            at=NOON + timedelta(seconds=number),
            kind="commented",
            actor="user:1",
            reason="理由",
            detail=detail,
            previous=previous,
        )
        previous = link(previous, event)
        events.append(replace(event, hash=previous))
    return events


@given(st.lists(DETAILS, max_size=6))
def test_what_was_chained_verifies(details: list[dict[str, object]]) -> None:
    events = chained(details)
    assert verify(events, events[-1].hash if events else GENESIS) is None


@given(st.lists(DETAILS, min_size=1, max_size=5), st.data())
def test_any_change_is_found_at_its_place(details: list[dict[str, object]], data: st.DataObject) -> None:
    events = chained(details)
    head = events[-1].hash
    where = data.draw(st.integers(0, len(events) - 1))
    changed = data.draw(
        st.sampled_from(
            [
                replace(events[where], kind="voided"),
                replace(events[where], actor="user:2"),
                replace(events[where], reason="理由。"),
                replace(events[where], at=events[where].at + timedelta(microseconds=1)),
                replace(events[where], detail={**events[where].detail, "unit": "other"}),
                replace(events[where], incident_id=8),
                replace(events[where], hash=bytes(32)),
                replace(events[where], previous=b"x" * 32),
            ]
        )
    )
    assert verify([*events[:where], changed, *events[where + 1 :]], head) == where + 1


def test_rewriting_the_rest_of_the_chain_does_not_hide_a_change() -> None:
    events = chained([{"n": 1}, {"n": 2}, {"n": 3}])
    forged = chained([{"n": 1}, {"n": 5}, {"n": 3}])
    assert verify(forged) is None
    assert verify(forged, events[-1].hash) == 4


def test_removed_swapped_and_cut_off_events_are_found() -> None:
    events = chained([{}, {"n": 2}, {"n": 3}])
    head = events[-1].hash
    assert verify([events[0], events[2]], head) == 2
    assert verify([events[1], events[0], events[2]], head) == 1
    assert verify(events[:2], head) == 3
    assert verify([], head) == 1


def test_the_bytes_are_the_same_whatever_the_offset_and_the_order_of_keys() -> None:
    first = chained([{"a": 1, "b": [True, None, "x"]}])[0]
    shanghai = timezone(timedelta(hours=8))
    second = replace(first, at=first.at.astimezone(shanghai), detail={"b": [True, None, "x"], "a": 1})
    assert canonical(first) == canonical(second)
    assert canonical(first).startswith(
        b'{"actor":"user:1","at":"2026-11-21T12:00:01.000000Z","detail":{"a":1,'
    )


def test_fractions_are_refused_before_they_are_chained() -> None:
    event = chained([{}])[0]
    with pytest.raises(ValueError, match="fractions"):
        canonical(replace(event, detail={"a": [{"b": 1.5}]}))
    assert verify([replace(event, detail={"a": 1.5})]) == 1


def test_a_text_leaves_only_its_digest() -> None:
    digest = text_digest(b"salt", "张三 13800000000")
    assert len(bytes.fromhex(digest)) == 32
    assert digest != text_digest(b"other salt", "张三 13800000000")
    assert digest != text_digest(b"salt", "张三 13800000001")


def test_classes_rise_one_step_and_a_stays() -> None:
    assert [raised_class(each) for each in ("C", "B", "A")] == ["B", "A", "A"]
    assert more_urgent("B", "A") == "A"
    assert more_urgent("B", "C") == "B"
