"""Silence: several expected intervals of listening without a word, and nothing else."""

import numpy as np
import pytest

from city.alarms import Cleared, Raised
from rules import silence
from rules.engine import Listening
from tests.unit.rules_feed import ALWAYS, SMOKE, Desk, Row, at, detection, facts, rule, second

KEYS: dict[str, object] = {
    "type": "silence",
    "name": "失联",
    "name_en": "Silent",
    "factor": 3,
    "min_s": 120,
    "category": "device.silent",
    "class": "C",
    "level": "blue",
}
SILENT = rule("device-silent", KEYS)


@pytest.fixture
def desk() -> Desk:
    return Desk([SILENT], [facts(1, interval=100, last_heard=0)])


def test_raised_after_three_intervals_and_cleared_when_heard(desk: Desk) -> None:
    assert desk.tick(299.9) == []
    (raised,) = desk.tick(301)
    assert isinstance(raised, Raised)
    assert (second(raised.raised_us), raised.level, raised.late) == (300, "blue", False)
    assert raised.evidence["last_heard_at"] == "2025-11-21T18:40:00Z"
    assert raised.evidence["never_heard"] is False
    assert raised.evidence["silent_for_s"] == 300
    assert desk.tick(302) == []
    desk.read(Row(1, 310, 5))
    (cleared,) = desk.tick(311)
    assert isinstance(cleared, Cleared)
    assert second(cleared.cleared_us) == 310
    assert desk.alarms.seconds("device-silent", 1) == [(300, 310, 0)]


def test_short_intervals_have_a_least_time() -> None:
    desk = Desk([SILENT], [facts(1, interval=5, last_heard=0)])
    assert desk.tick(119) == []
    assert len(desk.tick(120)) == 1


def test_any_word_counts_also_a_status_message_and_a_wrong_clock(desk: Desk) -> None:
    desk.engine.heard(np.array([1], dtype=np.int32), np.array([at(250)]))
    assert desk.tick(549) == []
    assert len(desk.tick(550)) == 1


def test_an_older_arrival_never_replaces_a_newer_one(desk: Desk) -> None:
    ids = np.array([1, 1], dtype=np.int32)
    desk.engine.heard(ids, np.array([at(250), at(100)]))
    desk.engine.know([facts(1, interval=100, last_heard=10)])
    assert desk.engine.heard_us[1] == at(250)


def test_never_heard_counts_from_registration_and_says_so() -> None:
    desk = Desk([SILENT], [facts(1, interval=100, known_from=50)])
    assert desk.tick(349) == []
    (raised,) = desk.tick(350)
    assert raised.evidence["never_heard"] is True
    assert raised.evidence["last_heard_at"] is None


def test_nothing_is_owed_out_of_service_or_without_an_interval() -> None:
    desk = Desk(
        [SILENT],
        [facts(1, interval=100, in_service=False, last_heard=0), facts(2, "camera", last_heard=0)],
    )
    assert desk.tick(1e6) == []


def test_taken_out_of_service_ends_it(desk: Desk) -> None:
    desk.tick(301)
    desk.engine.know([facts(1, interval=100, in_service=False)])
    (cleared,) = desk.tick(400)
    assert cleared.evidence["reason"] == "no longer expected to report"
    assert second(desk.alarms.of("device-silent", 1)[0].cleared_us or 0) == 400


def test_kinds_limit_whom() -> None:
    desk = Desk(
        [rule("water-silent", KEYS | {"kinds": ["water"]})],
        [facts(1, interval=100, last_heard=0), facts(2, "water", interval=100, last_heard=0)],
    )
    assert [row.device_id for row in desk.tick(301)] == [2]


def test_our_own_gap_is_nobodys_silence(desk: Desk) -> None:
    outage = Listening([(at(-1000), at(100))])
    assert desk.tick(5000, outage) == []  # still deaf
    back = outage.opened(at(5000))
    assert desk.tick(5000, back) == []
    assert desk.tick(5199, back) == []
    (raised,) = desk.tick(5200, back)
    assert isinstance(raised, Raised)
    assert second(raised.raised_us) == 5200


def test_a_reconnect_waits_for_what_the_broker_kept(desk: Desk) -> None:
    """299 of 300 s were over before our outage; the device's last words come two seconds after it."""
    back = Listening([(at(-1000), at(299)), (at(4000), None)])
    assert desk.tick(4002, back) == []
    desk.read(Row(1, 3990, 5, received=4002))
    assert desk.tick(4010, back) == []


def test_listening_that_never_began_finds_nobody_silent(desk: Desk) -> None:
    assert desk.tick(1e6, Listening()) == []


def test_a_standing_silence_survives_a_restart(desk: Desk) -> None:
    desk.tick(301)
    desk.restart()
    assert desk.tick(400) == []
    desk.read(Row(1, 401, 5, metric=SMOKE))
    desk.restart()
    assert [type(row) for row in desk.tick(402)] == [Cleared]
    desk.restart()
    assert desk.tick(403) == []


def test_a_word_that_was_queued_while_silence_was_raised_ends_it(desk: Desk) -> None:
    desk.tick(310)
    desk.read(Row(1, 299, 5))
    desk.tick(311)
    assert desk.alarms.seconds("device-silent", 1) == [(300, 300, 0)]


def test_a_detection_is_not_a_sign_of_life_unless_the_caller_says_so(desk: Desk) -> None:
    desk.read(seen=[detection(1, 299)])
    assert len(desk.tick(301)) == 1


def test_a_silent_district_is_written_down_over_some_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "MAX_PER_TICK", 4)
    desk = Desk([SILENT], [facts(n, interval=100, last_heard=0) for n in range(1, 11)])
    assert [len(desk.tick(301 + n)) for n in range(4)] == [4, 4, 2, 0]
    desk.engine.heard(np.arange(1, 11, dtype=np.int32), np.full(10, at(400)))
    assert [len(desk.tick(401 + n)) for n in range(4)] == [4, 4, 2, 0]


def test_a_tick_decided_again_is_the_same(desk: Desk) -> None:
    first = desk.engine.tick(now_us=at(301), listened=ALWAYS)
    again = desk.engine.tick(now_us=at(301), listened=ALWAYS)
    assert first.transitions == again.transitions != []
    assert first.states == again.states
