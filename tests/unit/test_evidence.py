"""What a telephone says of an action: kept beside the centre's own time, refused when it cannot be."""

from datetime import UTC, datetime, timedelta

import pytest

from city.incidents import Change, Event, Happening, canonical
from command_centre import evidence
from command_centre.acting import apply
from command_centre.evidence import Evidence
from command_centre.workflow import Facts, Refused
from tests.unit.test_workflow import NOON, OTHER, incident, wish


def read(**fields: object) -> Evidence:
    found = evidence.read(fields, NOON)
    assert isinstance(found, Evidence)
    return found


def arrived(told: Evidence, place: tuple[float, float] | None = None) -> Happening:
    change = apply(incident("dispatched"), wish("arrive"), Facts(), NOON)
    assert isinstance(change, Change)
    return evidence.added(change, told, place, NOON).happenings[0]


def test_nothing_said_leaves_the_event_as_it_was() -> None:
    assert evidence.read({}, NOON) == Evidence()
    assert arrived(Evidence()) == arrived(read(done_at=NOON - timedelta(seconds=30)))
    assert "done_at" not in arrived(Evidence()).detail


def test_when_and_where_stand_on_the_event_and_can_be_chained() -> None:
    told = read(done_at=NOON - timedelta(hours=3), longitude=114.0, latitude=22.5)
    happening = arrived(told, (114.0, 22.501))
    assert happening.detail["done_at"] == "2026-11-21T09:00:00+00:00"
    assert happening.detail["stood_at"] == "114.000000,22.500000"
    assert happening.detail["metres_away"] == 111

    event = Event(
        incident_id=1, seq=1, at=NOON, kind=happening.kind, actor="user:1", reason="", detail=happening.detail
    )
    assert b"114.000000" in canonical(event)


def test_a_place_nobody_knows_has_no_distance() -> None:
    detail = arrived(read(longitude=114.0, latitude=22.5)).detail
    assert "stood_at" in detail
    assert "metres_away" not in detail


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"done_at": NOON + timedelta(hours=1)}, "done_at"),
        ({"done_at": NOON - timedelta(days=8)}, "done_at"),
        ({"done_at": "yesterday"}, "done_at"),
        ({"longitude": 114.0}, "longitude"),
        ({"longitude": 500, "latitude": 1}, "longitude"),
        ({"longitude": "far", "latitude": 1}, "longitude"),
    ],
)
def test_what_cannot_be_is_refused_by_name(fields: dict[str, object], field: str) -> None:
    refused = evidence.read(fields, NOON)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.field) == ("invalid", field)
    assert refused.reason
    assert refused.reason_en


def test_a_unit_that_had_it_may_still_say_what_it_did() -> None:
    late = wish("comment", role="handler", unit_id=OTHER)
    moved = incident("acknowledged")
    assert isinstance(apply(moved, late, Facts(), NOON), Refused)
    assert isinstance(apply(moved, late, Facts(had_it=frozenset({OTHER})), NOON), Change)
    handle = wish("handle", role="handler", unit_id=OTHER)
    assert isinstance(apply(moved, handle, Facts(had_it=frozenset({OTHER})), NOON), Refused)


def test_times_are_in_utc() -> None:
    told = Evidence(done_at=datetime(2026, 11, 21, 18, tzinfo=UTC) - timedelta(hours=7))
    assert evidence.times(told, NOON) == {"done_at": "2026-11-21T11:00:00+00:00"}
