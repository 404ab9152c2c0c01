"""Frigate: what its documentation and recordings say becomes detections, once for each id, without anybody's name."""

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.observations import Rejection
from city.settings import SettingsError
from ingest import routing
from ingest.decoders.frigate import DECODER, EVENTS, MOST_LABELS, Frigate
from ingest.decoders.said import Announced, Arrival, Link, Rejected, Said, Seen
from ingest.routing import matches

NOW = Arrival(1_763_750_400_000_000, ZoneInfo("Asia/Shanghai"))


def said(decoder: Frigate, topic: str, payload: object) -> list[Said]:
    """What the message says; a refusal fails the test."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    answer = decoder.decode(topic, body, NOW)
    assert not isinstance(answer, Rejected), answer
    return list(answer)


def refused(topic: str, payload: object, decoder: Frigate = DECODER) -> Rejection:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    answer = decoder.decode(topic, body, NOW)
    assert isinstance(answer, Rejected), answer
    assert answer.detail
    return answer.reason


def review(
    kind: str, severity: str | None = "alert", before: str | None = "alert", **more: Any
) -> dict[str, Any]:
    data = {"objects": ["person"], "zones": ["gate"], "sub_labels": ["Bob"], "audio": []} | more.pop(
        "data", {}
    )
    after = {"id": "r1", "camera": "yard", "start_time": 100.5, "end_time": None, "severity": severity}
    return {
        "type": kind,
        "before": after | {"severity": before, "data": data | {"zones": []}},
        "after": after | more | {"data": data},
    }


def event(kind: str, false: bool = False, before_false: bool = False, **more: Any) -> dict[str, Any]:
    one = {"id": "e1", "camera": "yard", "label": "person", "start_time": 100.5, "frame_time": 101.25}
    one |= {
        "end_time": None,
        "false_positive": false,
        "score": 0.6,
        "top_score": 0.8,
        "entered_zones": ["gate"],
    }
    return {"type": kind, "before": one | {"false_positive": before_false}, "after": one | more}


# ── what others recorded ─────────────────────────────────────────────────────────────────────────────


def test_every_vector(shared_data: Path) -> None:
    vectors = json.loads((shared_data / "vectors/frigate/messages.json").read_text())
    events = {one["id"]: said(EVENTS, one["topic"], one["payload"]) for one in vectors["events"]}
    assert events == {
        "docs_current": [
            Seen(
                device="front_door",
                key="1607123955.475377-mxklsc",
                label="person",
                state="update",
                score=0.958984375,
                zone="yard",
                at_us=1607123962_082975,
            )
        ],
        "field_issue_3580": [
            Seen(
                device="front_door",
                key="1659438905.489551-xy562v",
                label="car",
                state="update",
                score=0.70703125,
                zone="street",
                at_us=1659438922_199656,
            )
        ],
    }
    (one,) = vectors["reviews"]
    seen = said(DECODER, one["topic"], one["payload"])
    assert seen == [
        Seen(device="front_cam", key="1718987129.308396-fqk5ka", label=label, state="new", zone="front_yard")
        for label in ("person", "car")
    ]
    silent = vectors["tracked_object_updates"] + vectors["triggers"]
    assert len(silent) == 4
    for one in silent:
        assert said(DECODER, one["topic"], one["payload"]) == []
        assert said(EVENTS, one["topic"], one["payload"]) == []
    links = [said(DECODER, one["topic"], one["payload"].encode())[-1] for one in vectors["availability"]]
    assert links == [Link(device="frigate", online=True), Link(device="frigate", online=False)]


# state, zone, score and time of the eight hand-edited fixtures; None = a false positive
FIXTURES = {
    "frigate_events-001": ("cam-testdrive", "new", "lawn", None, 1680791459_255384),
    "frigate_events-002": ("frontyard", "new", "lawn", None, 1680791459_255384),
    "frigate_events-003": ("cam-testdrive", "update", "lawn", None, 1680791506_638857),
    "frigate_events-004": ("cam-testdrive", "update", "", None, 1680791506_638857),
    "frigate_events-005": ("cam-testdrive", "update", "zone1", None, 1680791506_638857),
    "frigate_events-006": None,
    "frigate_events-007": ("cam-testdrive", "end", "zone1", None, 1680791506_638857),
    "frigate_events-008": ("cam-testdrive", "new", "lawn", 0.75, 1680791459_255384),
}


def test_every_recorded_payload(shared_data: Path) -> None:
    lines = (shared_data / "data/payloads/payloads.jsonl").read_text().splitlines()
    records = [one for one in map(json.loads, lines) if one["family"] == "frigate_events"]
    assert {one["id"] for one in records} == set(FIXTURES)
    for one in records:
        answer = said(EVENTS, one["topic"], one["payload"].encode())
        expected = FIXTURES[one["id"]]
        if expected is None:
            assert answer == []
            continue
        (seen,) = answer
        assert isinstance(seen, Seen)
        assert (seen.device, seen.state, seen.zone, seen.score, seen.at_us) == expected
        assert (seen.key, seen.label) == ("1680791459.255384-abcdef", "goat")


# ── reviews, the default ─────────────────────────────────────────────────────────────────────────────


def states(answers: list[Said]) -> list[tuple[str, str, int | None]]:
    return [(one.state, one.label, one.at_us) for one in answers if isinstance(one, Seen)]


def test_a_review_is_one_detection_from_begin_to_end() -> None:
    new = said(DECODER, "frigate/reviews", review("new"))
    assert states(new) == [("new", "person", 100_500_000)]
    assert states(said(DECODER, "frigate/reviews", review("update"))) == [("update", "person", None)]
    end = said(DECODER, "frigate/reviews", review("end", end_time=130.25))
    assert states(end) == [("end", "person", 130_250_000)]
    assert {one.key for one in new + end if isinstance(one, Seen)} == {"r1"}
    assert "Bob" not in repr(new + end)


def test_a_review_begins_when_it_becomes_an_alert() -> None:
    for kind in ("new", "update", "end"):
        assert said(DECODER, "frigate/reviews", review(kind, severity="detection", before="detection")) == []
    became = said(DECODER, "frigate/reviews", review("update", before="detection"))
    assert states(became) == [("new", "person", None)]
    # what was begun is ended, whatever it is called by then
    ended = said(DECODER, "frigate/reviews", review("end", severity="detection", end_time=7.0))
    assert states(ended) == [("end", "person", 7_000_000)]


def test_labels_are_what_was_seen_and_heard() -> None:
    data = {"objects": ["person-verified", "car", "person", ""], "audio": ["scream"]}
    answer = states(said(DECODER, "frigate/reviews", review("new", data=data)))
    assert [label for _, label, _ in answer] == ["person", "car", "scream"]
    many = {"objects": [f"thing{number}" for number in range(500)]}
    assert len(said(DECODER, "frigate/reviews", review("new", data=many))) == MOST_LABELS
    nothing = said(DECODER, "frigate/reviews", review("new", data={"objects": None, "audio": None}))
    assert states(nothing) == [("new", "alert", 100_500_000)]


def test_the_zone_is_the_one_just_entered() -> None:
    seen = said(EVENTS, "frigate/events", event("update", entered_zones=["gate", "vault"]))
    assert isinstance(seen[0], Seen)
    assert seen[0].zone == "vault"
    (later,) = said(EVENTS, "frigate/events", event("update"))
    assert isinstance(later, Seen)
    assert later.zone == "gate"


def test_a_description_added_later_is_no_news() -> None:
    assert said(DECODER, "frigate/reviews", review("genai")) == []


# ── tracked objects ──────────────────────────────────────────────────────────────────────────────────


def test_false_positives_are_nothing_unless_they_end_what_had_begun() -> None:
    for kind in ("new", "update"):
        assert said(EVENTS, "frigate/events", event(kind, false_positive=True)) == []
    assert said(EVENTS, "frigate/events", event("end", before_false=True, false_positive=True)) == []
    begun = said(EVENTS, "frigate/events", event("end", false_positive=True, end_time=140.0))
    assert states(begun) == [("end", "person", 140_000_000)]


def test_scores_and_times_of_older_versions() -> None:
    body = event("new", top_score=None, entered_zones=None)
    del body["before"], body["after"]["false_positive"]
    (seen,) = said(EVENTS, "frigate/events", body)
    assert isinstance(seen, Seen)
    assert (seen.score, seen.zone, seen.at_us) == (0.6, "", 100_500_000)


def test_names_and_plates_are_never_read() -> None:
    private = {"sub_label": ["John Smith", 0.79], "recognized_license_plate": "ABC12345", "attributes": {}}
    for form in (private, {"sub_label": "John Smith", "recognized_license_plate": ["ABC12345", 0.9]}):
        answer = said(EVENTS, "frigate/events", event("new", **form))
        assert len(answer) == 1
        assert "John" not in repr(answer)
        assert "ABC" not in repr(answer)


def test_one_of_the_two_streams_is_taken() -> None:
    assert said(DECODER, "frigate/events", event("new")) == []
    assert said(EVENTS, "frigate/reviews", review("new")) == []
    assert EVENTS.family == DECODER.family  # the same cameras, whichever is chosen


def test_which_one_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint(name, f"ingest.decoders.frigate:{what}", routing.GROUP)
        for name, what in (("frigate_events", "EVENTS"), ("frigate", "DECODER"))
    ]
    monkeypatch.setattr(routing, "entry_points", lambda group: points)
    assert routing.chosen("frigate_events") == [EVENTS]
    assert routing.chosen("all") == [DECODER, EVENTS]
    for both in ("all", "frigate,frigate_events"):
        assert routing.Router(routing.chosen(both)).find(b"frigate/events") is DECODER
    with pytest.raises(SettingsError, match="known are frigate, frigate_events"):
        routing.chosen("frigates")


# ── who is there ─────────────────────────────────────────────────────────────────────────────────────


def test_the_recorder_comes_and_goes() -> None:
    there = said(DECODER, "frigate/available", b"online")
    assert isinstance(there[0], Announced)
    assert there[0].model == "Frigate NVR"
    assert said(DECODER, "frigate/available", b"") == []
    assert refused("frigate/available", b"maybe") is Rejection.WRONG_SHAPE


def test_cameras_with_pictures_are_alive_and_streams_that_stopped_are_offline() -> None:
    stats = {"cameras": {"yard": {"camera_fps": 5.1}, "gate": {"camera_fps": 0}, "new": {}}, "service": {}}
    assert said(DECODER, "frigate/stats", stats) == [
        Link(device="frigate", online=True),
        Link(device="yard", online=True),
    ]
    assert said(DECODER, "frigate/gate/status/detect", b"offline") == [Link(device="gate", online=False)]
    assert said(DECODER, "frigate/gate/status/detect", b"disabled") == [Link(device="gate", online=False)]
    assert said(DECODER, "frigate/gate/status/record", b"offline") == []
    assert refused("frigate/gate/status/detect", b"?") is Rejection.WRONG_SHAPE


def test_states_and_counts_are_understood_and_pictures_not_asked_for() -> None:
    silent = ["front/person", "front/motion", "front/detect/state", "front/review_status", "front/audio/bark"]
    for below in [*silent, "camera_activity", "front/classification/boxes"]:
        assert said(DECODER, f"frigate/{below}", b"ON") == []
        assert any(matches(one, f"frigate/{below}") for one in DECODER.filters)
    assert not any(matches(one, "frigate/front/person/snapshot") for one in DECODER.filters)
    north = Frigate(prefix="cctv/north")
    assert said(north, "cctv/north/available", b"online")[1] == Link(device="north", online=True)
    assert states(said(north, "cctv/north/reviews", review("new"))) == [("new", "person", 100_500_000)]


# ── bad input ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", Rejection.NOT_JSON),
        (b"person", Rejection.NOT_JSON),
        (b'{"type": "new", "after": {"id": "a", "start_time": NaN}}', Rejection.NOT_FINITE),
        (b"[]", Rejection.WRONG_SHAPE),
        (b'{"type": "new"}', Rejection.WRONG_SHAPE),
        (event("new", id=""), Rejection.WRONG_SHAPE),
        (event("new", camera=""), Rejection.WRONG_SHAPE),
        (event("new", label=""), Rejection.WRONG_SHAPE),
        (event("new", label=7), Rejection.WRONG_SHAPE),
        (event("seen"), Rejection.UNSUPPORTED),
        (event("new", start_time=1e300), Rejection.TIME_OUT_OF_RANGE),
        (event("new", start_time="now"), Rejection.WRONG_SHAPE),
        (b"\xff\xfe", Rejection.NOT_JSON),
    ],
)
def test_what_is_no_event_is_refused(payload: object, reason: Rejection) -> None:
    assert refused("frigate/events", payload, EVENTS) is reason


def test_a_review_without_severity_is_refused_and_deep_nesting_is_no_matter() -> None:
    assert refused("frigate/reviews", review("new", severity=None)) is Rejection.WRONG_SHAPE
    deep = b'{"type": "new", "after": {"id": "a", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
    assert isinstance(EVENTS.decode("frigate/events", deep, NOW), Rejected)


def test_many_zones_cost_no_more_than_their_number() -> None:
    zones = [f"z{number}" for number in range(12_000)]
    body = event("update", entered_zones=zones)
    body["before"]["entered_zones"] = zones[:-1]
    (seen,) = said(EVENTS, "frigate/events", body)
    assert isinstance(seen, Seen)
    assert seen.zone == zones[-1]


TOPICS = ["events", "reviews", "available", "stats", "yard/status/detect", "tracked_object_update", "a/b/c/d"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "after", "before", "id", "camera", "severity", "data", "cameras", "x"]),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@given(
    topic=st.sampled_from(TOPICS),
    payload=st.binary(max_size=64) | JSON.map(lambda one: json.dumps(one).encode()),
)
def test_nothing_a_broker_can_carry_makes_it_fail(topic: str, payload: bytes) -> None:
    for decoder in (DECODER, EVENTS):
        answer = decoder.decode(f"frigate/{topic}", payload, NOW)
        assert isinstance(answer, Rejected) or all(isinstance(one, Seen | Link | Announced) for one in answer)
