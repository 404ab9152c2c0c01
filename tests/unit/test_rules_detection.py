"""Camera rules: what matches, one episode while it recurs, its end by listening time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.alarms import Cleared, Raised, Repeated
from city.observations import Detection, Quality
from rules.engine import Listening
from tests.unit.rules_feed import UNTIMED, Desk, at, batch, detection, facts, rule, second

KEYS: dict[str, object] = {
    "type": "detection",
    "name": "烟火",
    "name_en": "Fire",
    "kind": "camera",
    "labels": ["fire", "smoke"],
    "min_score": 0.6,
    "clear_after_s": 100,
    "category": "fire.detection",
    "class": "A",
    "level": "red",
}
FIRE = rule("camera-fire", KEYS)


@pytest.fixture
def desk() -> Desk:
    return Desk([FIRE], [facts(1, "camera"), facts(2, "camera"), facts(3, "smoke")])


def test_first_match_raises_with_what_was_seen(desk: Desk) -> None:
    (raised,) = desk.read(seen=[detection(1, 5, "fire", score=0.6, zone="gate", url="/a.jpg")])
    assert isinstance(raised, Raised)
    assert (raised.incident_class, raised.metric_id, second(raised.raised_us)) == ("A", None, 5)
    assert raised.evidence["label"] == "fire"
    assert raised.evidence["zone"] == "gate"
    assert raised.evidence["url"] == "/a.jpg"


@pytest.mark.parametrize(
    ("device", "keys"),
    [
        (1, {"label": "person"}),
        (1, {"score": 0.59}),
        (3, {}),  # another kind
        (1, {"quality": Quality.CLOCK_AHEAD}),
        (1, {"quality": Quality.RETAINED}),
        (1, {"state": "end"}),
    ],
)
def test_what_does_not_raise(desk: Desk, device: int, keys: dict[str, object]) -> None:
    assert desk.read(seen=[detection(device, 5, **keys)]) == []  # type: ignore[arg-type]  # label is among the keys


def test_a_camera_without_scores_has_decided_by_itself(desk: Desk) -> None:
    assert [type(row) for row in desk.read(seen=[detection(1, 5, score=None)])] == [Raised]


def test_zones_limit_where() -> None:
    desk = Desk([rule("camera-gate", KEYS | {"zones": ["gate"]})], [facts(1, "camera")])
    assert desk.read(seen=[detection(1, 5, zone=""), detection(1, 6, zone="yard")]) == []
    assert len(desk.read(seen=[detection(1, 7, zone="gate")])) == 1


def test_an_update_may_raise_but_does_not_repeat(desk: Desk) -> None:
    (raised,) = desk.read(seen=[detection(1, 5, state="update")])
    assert isinstance(raised, Raised)
    assert desk.read(seen=[detection(1, 6, state="update"), detection(1, 7, state="end")]) == []


def test_new_events_while_it_stands_are_repeats_said_once_a_batch(desk: Desk) -> None:
    desk.read(seen=[detection(1, 5)])
    events = [detection(1, t) for t in (20, 10, 30)] + [detection(2, 12)]
    transitions = desk.read(seen=events)
    assert [type(row) for row in transitions] == [Repeated, Raised]
    assert desk.alarms.seconds("camera-fire", 1) == [(5, None, 3)]


def test_ends_when_it_has_not_recurred(desk: Desk) -> None:
    desk.read(seen=[detection(1, 0)])
    desk.read(seen=[detection(1, 50, state="update")])
    assert desk.tick(149.9) == []
    (cleared,) = desk.tick(152)
    assert isinstance(cleared, Cleared)
    assert second(cleared.cleared_us) == 150
    assert desk.tick(153) == []


def test_only_listening_time_ends_it(desk: Desk) -> None:
    desk.read(seen=[detection(1, 0)])
    gap = Listening([(at(-100), at(40)), (at(1000), None)])
    assert desk.tick(1059, gap) == []
    (cleared,) = desk.tick(1060, gap)
    assert isinstance(cleared, Cleared)
    assert second(cleared.cleared_us) == 1060


def test_a_recurrence_after_the_end_is_a_new_episode_without_a_tick(desk: Desk) -> None:
    desk.read(seen=[detection(1, 0), detection(1, 100)])
    assert desk.alarms.seconds("camera-fire", 1) == [(0, 100, 0), (100, None, 0)]


def test_history_is_recorded_and_pages_nobody(desk: Desk) -> None:
    desk.read(seen=[detection(1, 1000)])
    (over,) = desk.read(seen=[detection(1, 10)])
    assert isinstance(over, Raised)
    assert over.cleared_us == at(110)
    desk.tick(2000)
    (after_the_end,) = desk.read(seen=[detection(1, 950)])
    assert isinstance(after_the_end, Raised)
    assert after_the_end.cleared_us == at(1050)


def test_a_late_backlog_pages_only_for_what_still_stands(desk: Desk) -> None:
    events = [detection(1, t, quality=Quality.LATE, received=5000) for t in (0, 50, 500)]
    over, standing = desk.read(seen=events)
    assert isinstance(over, Raised)
    assert isinstance(standing, Raised)
    assert (over.late, over.cleared_us, over.evidence["repeats"]) == (True, at(150), 1)
    assert (standing.late, standing.cleared_us) == (True, None)
    assert desk.tick(5099) == []
    assert len(desk.tick(5100)) == 1


def test_decided_again_is_the_same_and_survives_a_restart(desk: Desk) -> None:
    events = [detection(1, 0), detection(1, 10)]
    first = desk.engine.decide(batch([]), events, now_us=at(10))
    again = desk.engine.decide(batch([]), events, now_us=at(10))
    assert first.transitions == again.transitions
    desk.commit(again)
    desk.restart()
    desk.read(seen=[detection(1, 20)])
    desk.restart()
    desk.tick(120)
    assert desk.alarms.seconds("camera-fire", 1) == [(0, 120, 2)]


# ── dwell and count ───────────────────────────────────────────────────────────────────────────────────────


def loitering(**keys: object) -> Desk:
    return Desk([rule("loiter", KEYS | keys)], [facts(1, "camera")])


def test_it_must_have_been_seen_for_so_long() -> None:
    desk = loitering(dwell_s=60)
    assert desk.read(seen=[detection(1, 0), detection(1, 30, state="update")]) == []
    desk.restart()
    (raised,) = desk.read(seen=[detection(1, 60, state="update")])
    assert isinstance(raised, Raised)
    assert (second(raised.raised_us), raised.evidence["dwell_s"]) == (60, 60)
    assert desk.read(seen=[detection(1, 90, state="update")]) == []
    assert [type(row) for row in desk.tick(190)] == [Cleared]


def test_a_pause_begins_the_dwell_anew() -> None:
    desk = loitering(dwell_s=150)
    assert desk.read(seen=[detection(1, t) for t in (0, 90, 190, 250, 339)]) == []
    assert len(desk.read(seen=[detection(1, 340)])) == 1


def test_an_end_that_tells_how_long_it_was_completes_a_dwell_but_begins_none() -> None:
    desk = loitering(dwell_s=60)
    assert desk.read(seen=[detection(1, 0, state="end"), detection(1, 70, state="end")]) == []
    assert desk.read(seen=[detection(1, 80)]) == []
    assert len(desk.read(seen=[detection(1, 145, state="end")])) == 1


def test_so_many_events_must_have_begun() -> None:
    desk = loitering(count=3)
    assert desk.read(seen=[detection(1, 0), detection(1, 10, state="update"), detection(1, 20)]) == []
    (raised,) = desk.read(seen=[detection(1, 30)])
    assert isinstance(raised, Raised)
    assert raised.evidence["count"] == 3


def test_history_completes_nothing() -> None:
    desk = loitering(count=2)
    desk.read(seen=[detection(1, 50)])
    assert desk.read(seen=[detection(1, 20)]) == []


@UNTIMED
@given(
    st.lists(st.tuples(st.integers(1, 60), st.sampled_from(["new", "update", "end"])), max_size=30),
    st.sets(st.integers(0, 30)),
    st.sets(st.integers(0, 30)),
)
def test_batches_ticks_and_restarts_never_change_a_dwell(
    steps: list[tuple[int, str]], cuts: set[int], ticks: set[int]
) -> None:
    keys = {"dwell_s": 70, "count": 2, "clear_after_s": 40}
    one_by_one, anyhow = loitering(**keys), loitering(**keys)
    events, now = [], 0
    for pause, state in steps:
        now += pause
        events.append(detection(1, now, state=state))
    for event in events:
        one_by_one.read(seen=[event])
    waiting: list[Detection] = []
    for place, event in enumerate(events):
        if place in cuts | ticks and waiting:
            anyhow.read(seen=waiting)
            waiting = []
        if place in ticks:
            anyhow.tick(second(event.received_us) - 0.5)
            anyhow.restart()
        waiting.append(event)
    if waiting:
        anyhow.read(seen=waiting)
    one_by_one.tick(now + 1000)
    anyhow.tick(now + 1000)
    assert anyhow.alarms.history() == one_by_one.alarms.history()
    assert anyhow.standing_states() == one_by_one.standing_states()
    for episode in anyhow.alarms.of("loiter", 1):
        seen = [event for event in events if event.observed_us <= episode.raised_us]
        assert sum(event.state == "new" for event in seen) >= 2
        assert episode.raised_us - seen[0].observed_us >= 70_000_000
