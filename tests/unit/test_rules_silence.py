"""Silence: several expected intervals of listening without a word, and nothing else."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.alarms import Cleared, Raised
from city.observations import Quality
from rules import owed
from rules.definitions import RuleError
from rules.engine import Listening
from rules.intervals import WEEK_US, Intervals
from tests.unit.rules_feed import (
    ALWAYS,
    BATTERY,
    SMOKE,
    START_US,
    UNTIMED,
    Desk,
    Row,
    at,
    detection,
    facts,
    rule,
    second,
)

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
    monkeypatch.setattr(owed, "MAX_PER_TICK", 4)
    desk = Desk([SILENT], [facts(n, interval=100, last_heard=0) for n in range(1, 11)])
    assert [len(desk.tick(301 + n)) for n in range(4)] == [4, 4, 2, 0]
    desk.engine.heard(np.arange(1, 11, dtype=np.int32), np.full(10, at(400)))
    assert [len(desk.tick(401 + n)) for n in range(4)] == [4, 4, 2, 0]


def test_a_tick_decided_again_is_the_same(desk: Desk) -> None:
    first = desk.engine.tick(now_us=at(301), listened=ALWAYS)
    again = desk.engine.tick(now_us=at(301), listened=ALWAYS)
    assert first.transitions == again.transitions != []
    assert first.states == again.states


# ── one metric of a device ────────────────────────────────────────────────────────────────────────────────

BATTERY_SILENT = rule("battery-silent", KEYS | {"metric": "battery", "every_s": 1000})


def test_a_metric_that_does_not_come_although_the_device_speaks() -> None:
    desk = Desk([BATTERY_SILENT], [facts(1, interval=100)])
    desk.read(Row(1, 0, 80, BATTERY))
    for t in range(100, 3100, 100):
        desk.read(Row(1, t, 5))
        assert desk.tick(t) == [] or t == 3000
    assert desk.alarms.seconds("battery-silent", 1) == [(3000, None, 0)]
    desk.read(Row(1, 3200, 80, BATTERY))
    (cleared,) = desk.tick(3201)
    assert second(cleared.cleared_us if isinstance(cleared, Cleared) else 0) == 3200


def test_a_device_that_says_nothing_at_all_is_no_missing_metric() -> None:
    desk = Desk([BATTERY_SILENT], [facts(1, interval=100)])
    desk.read(Row(1, 0, 80, BATTERY), Row(1, 2900, 5))
    assert desk.tick(9000) == []
    desk.read(Row(1, 9001, 5))
    (raised,) = desk.tick(9001)
    assert raised.evidence["metric"] == "battery"
    assert raised.evidence["last_heard_at"] == "2025-11-21T18:40:00Z"


def test_a_metric_is_remembered_over_a_restart() -> None:
    desk = Desk([BATTERY_SILENT], [facts(1, interval=100)])
    desk.read(Row(1, 2000, 80, BATTERY))
    desk.restart()
    desk.read(Row(1, 4999, 5))
    assert desk.tick(4999) == []
    desk.read(Row(1, 5001, 5))
    assert len(desk.tick(5001)) == 1
    desk.restart()
    assert desk.tick(5002) == []


def test_a_metric_that_came_unbelievable_came() -> None:
    desk = Desk([BATTERY_SILENT], [facts(1, interval=100)])
    desk.read(Row(1, 2900, -999, BATTERY, quality=Quality.OUT_OF_RANGE), Row(1, 3500, 5))
    assert desk.tick(3500) == []


# ── gateways ──────────────────────────────────────────────────────────────────────────────────────────────

GATEWAY = 50


def town(count: int = 5, *, gateway_interval: int | None = 60) -> Desk:
    """Devices 1 to ``count`` report every 100 s behind a gateway."""
    children = [
        replace(facts(n, interval=100, last_heard=0), gateway_id=GATEWAY, code=f"smoke-{n}")
        for n in range(1, count + 1)
    ]
    return Desk([SILENT], [*children, facts(GATEWAY, "gateway", interval=gateway_interval)])


def hear(desk: Desk, t: float, *devices: int) -> None:
    desk.engine.heard(np.array(devices, dtype=np.int32), np.full(len(devices), at(t)))


def raised_for(desk: Desk, t: float) -> list[int]:
    return [row.device_id for row in desk.tick(t) if isinstance(row, Raised)]


def test_a_gateway_that_falls_silent_is_one_alarm_and_its_children_are_none() -> None:
    desk = town()
    hear(desk, 10, GATEWAY)
    hear(desk, 20, 1, 2, 3, 4, 5)
    (raised,) = desk.tick(190)
    assert isinstance(raised, Raised)
    assert (raised.device_id, second(raised.raised_us)) == (GATEWAY, 190)
    expected = {
        "children": 5,
        "first_children": [f"smoke-{n}" for n in range(1, 6)],
        "children_raised_before": 0,
    }
    assert expected.items() <= raised.evidence.items()
    assert desk.tick(321) == []
    desk.restart()
    assert desk.tick(5000) == []


def test_children_get_a_full_interval_when_the_gateway_is_back() -> None:
    desk = town()
    hear(desk, 10, GATEWAY)
    desk.tick(5000)
    hear(desk, 6000, GATEWAY)
    assert [type(row) for row in desk.tick(6001)] == [Cleared]
    desk.restart()
    hear(desk, 6100, GATEWAY, 1, 2, 3, 4)
    assert raised_for(desk, 6100) == []
    hear(desk, 6250, GATEWAY, 1, 2, 3, 4)
    assert raised_for(desk, 6299) == []
    (raised,) = desk.tick(6300)
    assert (raised.device_id, raised.evidence["gateway_back_at"]) == (5, "2025-11-21T20:20:00Z")


def test_one_dead_child_of_a_gateway_that_works_is_its_own_alarm() -> None:
    desk = town()
    for t in range(50, 501, 50):
        hear(desk, t, GATEWAY, 1, 2, 3, 4)
        raised = raised_for(desk, t)
        assert raised == ([5] if t == 300 else [])


def test_a_child_that_was_raised_before_is_noted() -> None:
    desk = town()
    for t in range(50, 501, 50):
        hear(desk, t, GATEWAY, 1, 2, 3, 4)
        desk.tick(t)
    (raised,) = desk.tick(680)
    assert (raised.device_id, raised.evidence["children_raised_before"]) == (GATEWAY, 1)


def test_a_gateway_that_never_speaks_is_told_by_its_children() -> None:
    desk = town(gateway_interval=None)
    for n in range(1, 6):
        hear(desk, 10 * n, n)
    assert raised_for(desk, 310) == []  # waits for the others
    desk.restart()
    (raised,) = desk.tick(340)
    assert isinstance(raised, Raised)
    assert (raised.device_id, second(raised.raised_us)) == (GATEWAY, 340)  # 4 of 5 is 80 %
    assert {"told_by_children": True, "silent_children": 4}.items() <= raised.evidence.items()
    assert desk.tick(2000) == []
    desk.restart()
    hear(desk, 3000, 2)
    (cleared,) = desk.tick(3000)
    assert cleared.evidence["reason"] == "a device behind it was heard again"
    hear(desk, 3150, 1, 2, 3, 4)
    assert raised_for(desk, 3299) == []
    assert raised_for(desk, 3300) == [5]


def test_a_registered_gateway_that_was_never_heard_hides_nobody() -> None:
    desk = town()
    for t in range(50, 501, 50):
        hear(desk, t, 1, 2, 3, 4)
        assert raised_for(desk, t) == ([5] if t == 300 else [])


def test_a_child_waits_one_interval_for_the_others_and_no_longer() -> None:
    desk = town(count=4, gateway_interval=None)
    hear(desk, 90, 3, 4)
    assert raised_for(desk, 300) == []  # 1 and 2 are silent, 3 and 4 may be
    hear(desk, 301, 3, 4)
    assert raised_for(desk, 301) == [1, 2]  # but they are not
    assert desk.alarms.seconds("device-silent", 1) == [(300, None, 0)]


def test_two_children_prove_nothing() -> None:
    assert raised_for(town(count=2, gateway_interval=None), 300) == [1, 2]


def test_children_that_died_long_ago_do_not_hide_the_gateways_death() -> None:
    desk = town(gateway_interval=None)
    for t in range(50, 1001, 50):
        hear(desk, t, 3, 4, 5)
        desk.tick(t)
    assert raised_for(desk, 1301) == [GATEWAY]


def test_a_gateway_out_of_service_is_no_reason() -> None:
    desk = town()
    desk.engine.know([facts(GATEWAY, "gateway", interval=60, in_service=False)])
    assert raised_for(desk, 300) == [1, 2, 3, 4, 5]


def test_gateways_do_not_matter_when_the_rule_says_so() -> None:
    desk = town()
    desk.rules = [rule("device-silent", KEYS | {"gateway_share": 0})]
    desk.restart()
    hear(desk, 10, GATEWAY)
    assert raised_for(desk, 300) == [1, 2, 3, 4, 5, GATEWAY]


def test_a_thousand_gateways_that_die_at_once_take_their_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owed, "MAX_PER_TICK", 30)
    monkeypatch.setattr(owed, "_MAX_GATEWAYS", 20)
    gateways = range(1000, 1100)
    children = [
        replace(facts(1 + 3 * place + n, interval=100, last_heard=0), gateway_id=gateway)
        for place, gateway in enumerate(gateways)
        for n in range(3)
    ]
    desk = Desk([SILENT], [*children, *(facts(gateway, "gateway") for gateway in gateways)])
    ticks = [raised_for(desk, 400 + n) for n in range(12)]
    assert max(len(tick) for tick in ticks) <= 30
    assert sorted(device for tick in ticks for device in tick) == list(gateways)


@UNTIMED
@given(
    st.lists(st.tuples(st.integers(1, 6), st.sets(st.sampled_from([1, 2, 3, 4, 5, GATEWAY]))), max_size=40),
    st.sets(st.integers(0, 40)),
    st.booleans(),
)
def test_whoever_is_silent_at_the_end_is_raised_or_behind_a_gateway_that_is(
    steps: list[tuple[int, set[int]]], restarts: set[int], speaks: bool
) -> None:
    desk = town(gateway_interval=60 if speaks else None)
    now = 0
    heard = dict.fromkeys(range(1, 6), 0)
    for place, (pause, devices) in enumerate(steps):
        now += 30 * pause
        spoke = devices if speaks else devices - {GATEWAY}
        if spoke:
            hear(desk, now, *spoke)
        heard |= dict.fromkeys(spoke & set(heard), now)
        if place in restarts:
            desk.restart()
        desk.tick(now)

    def standing(device: int) -> bool:
        return any(row.cleared_us is None for row in desk.alarms.of("device-silent", device))

    for device, last in heard.items():  # nobody is called silent before its time
        assert not standing(device) or now - last >= 300
    for wait in range(0, 1000, 50):
        desk.tick(now + wait)
    assert standing(GATEWAY) or all(standing(device) for device in heard)


# ── learned intervals ─────────────────────────────────────────────────────────────────────────────────────

LEARNED = rule("device-silent", KEYS | {"cadence": "learned", "min_s": 10})


def learn(desk: Desk, every: float, count: int, begin: float = 0) -> float:
    """Readings at an interval; the time of the last one."""
    for place in range(0, count, 10):
        desk.read(*(Row(1, begin + every * n, 5) for n in range(place, min(place + 10, count))))
    return begin + every * (count - 1)


def test_a_device_is_missed_by_its_own_rhythm_once_it_is_known() -> None:
    desk = Desk([LEARNED], [facts(1, interval=1000)])
    last = learn(desk, 20, 15)
    desk.tick(last + 1)
    desk.tick(last + 700)
    assert desk.tick(last + 2999) == []  # too few: the register's interval
    last = learn(desk, 20, 40, begin=4000)
    desk.tick(last)
    desk.tick(last + 60)  # every device's turn comes within ten minutes
    for wait in range(61, 1000):
        desk.tick(last + wait)
    ((raised, cleared, _),) = desk.alarms.seconds("device-silent", 1)
    assert cleared is None
    assert 60 <= raised - last <= 3 * 20 * 1.42
    assert desk.alarms.of("device-silent", 1)[0].raised_us


def test_what_was_learned_survives_a_restart_and_is_written_a_slice_at_a_time() -> None:
    desk = Desk([LEARNED], [facts(1, interval=1000)])
    last = learn(desk, 20, 60)
    written = 0
    begin = int(last)
    for t in range(begin, begin + 24 * 3600 + 100, 600):
        before = len(desk.standing_states())
        desk.tick(t)
        written += len(desk.standing_states()) - before
    assert written == 1
    desk.restart()
    desk.tick(begin + 90_000)
    state = desk.states["device-silent", 1].state
    assert state["counts"]


def test_bursts_and_gaps_do_not_move_the_quantile() -> None:
    intervals = Intervals()
    intervals.grow(2)
    rng = np.random.default_rng(1)
    steps = np.where(rng.random(400) < 0.02, 5000, 60.0)
    observed = START_US + (np.cumsum(steps) * 1e6).astype(np.int64)
    device = np.ones(len(observed), dtype=np.int32)
    intervals.learn(intervals.of(device, observed), device, observed)
    intervals.refresh(0, 1)
    assert 60 <= intervals.learned_us[1] / 1e6 <= 60 * 1.42


@UNTIMED
@given(st.lists(st.integers(1, 4000), min_size=1, max_size=80), st.sets(st.integers(0, 80)))
def test_batches_never_change_what_is_learned(steps: list[int], cuts: set[int]) -> None:
    observed = START_US + np.cumsum(np.array(steps, dtype=np.int64)) * 1_000_000
    device = np.ones(len(observed), dtype=np.int32)
    whole, parts = Intervals(), Intervals()
    whole.grow(2)
    parts.grow(2)
    whole.learn(whole.of(device, observed), device, observed)
    bounds = sorted({0, len(observed), *(cut for cut in cuts if cut < len(observed))})
    for begin, end in pairwise(bounds):
        part = slice(begin, end)
        parts.learn(parts.of(device[part], observed[part]), device[part], observed[part])
    assert whole.saved(1) == parts.saved(1)
    whole.refresh(0, 1)
    parts.refresh(0, 1)
    assert whole.learned_us[1] == parts.learned_us[1]


def test_what_was_long_ago_is_forgotten() -> None:
    intervals = Intervals()
    intervals.grow(2)
    device = np.ones(65, dtype=np.int32)
    observed = START_US + np.arange(65, dtype=np.int64) * 60_000_000
    intervals.pass_weeks(START_US)
    intervals.learn(intervals.of(device, observed), device, observed)
    intervals.pass_weeks(START_US + 2 * WEEK_US)
    intervals.refresh(0, 1)
    assert intervals.learned_us[1] == 0  # 16 of 64 are left, which is not enough
    fresh = Intervals()
    fresh.grow(2)
    fresh.load(1, intervals.saved(1))
    assert fresh.saved(1) == intervals.saved(1)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"metric": "smoke", "gateway_share": 0.5}, ["gateway_share = 0.5", "metric"]),
        ({"cadence": "guessed"}, ["cadence = 'guessed'", "set, learned"]),
        ({"least_s": 5}, ["least_s = 5", "learned"]),
        ({"cadence": "learned", "least_s": 50, "most_s": 20}, ["most_s = 20", "least_s = 50"]),
        ({"gateway_share": 2}, ["gateway_share = 2"]),
    ],
)
def test_a_mistake_is_named(changes: dict[str, object], names: list[str]) -> None:
    with pytest.raises(RuleError) as caught:
        rule("device-silent", KEYS | changes)
    for name in names:
        assert name in str(caught.value)
