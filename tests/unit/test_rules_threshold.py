"""Threshold rules case by case: deadband, delays, own levels, late, back-filled, ahead, retained."""

import numpy as np
import pytest

from city.alarms import Cleared, Raised, Repeated
from city.observations import Quality
from rules.engine import Engine, Listening, StateRow
from tests.unit.rules_feed import (
    LEVEL,
    METRICS,
    SMOKE,
    Desk,
    Row,
    at,
    batch,
    facts,
    rule,
    second,
    threshold,
)

SMOKE_HIGH = threshold(clear_at=60)
DELAYED = threshold(clear_at=60, on_delay_s=60, off_delay_s=120)
WARNING = threshold(
    "water-warning",
    kind="water",
    metric="level",
    raise_at="station.warning",
    deadband=0.05,
    category="flood.level",
)


def smoke(*series: tuple[float, float]) -> list[Row]:
    return [Row(1, t, value) for t, value in series]


@pytest.fixture
def desk() -> Desk:
    return Desk([SMOKE_HIGH], [facts(1), facts(2)])


@pytest.fixture
def delayed() -> Desk:
    return Desk([DELAYED], [facts(1), facts(2)])


def test_the_limit_itself_raises_and_the_clear_limit_itself_does_not_clear(desk: Desk) -> None:
    desk.read(*smoke((1, 69.99), (2, 70), (3, 60), (4, 59.99)))
    assert desk.alarms.seconds("smoke-high", 1) == [(2, 4, 0)]


def test_evidence_explains_the_alarm_without_the_observations(desk: Desk) -> None:
    (raised,) = desk.read(*smoke((1.5, 83.25)))
    assert isinstance(raised, Raised)
    assert raised.metric_id == SMOKE
    assert raised.evidence == {
        "metric": "smoke",
        "value": 83.25,
        "observed_at": "2025-11-21T18:40:01.500000Z",
        "direction": "above",
        "limit": "constant",
        "raise_at": 70.0,
        "clear_at": 60.0,
        "rule_version": 1,
    }


def test_coming_again_from_the_deadband_is_a_repeat_of_the_same_episode(desk: Desk) -> None:
    desk.read(*smoke((1, 75), (2, 65), (3, 75)))
    (repeated,) = desk.read(*smoke((4, 65), (5, 75), (6, 61), (7, 80)))
    assert isinstance(repeated, Repeated)
    assert repeated.count == 2
    assert repeated.evidence["value"] == 80
    desk.read(*smoke((8, 50)))
    assert desk.alarms.seconds("smoke-high", 1) == [(1, 8, 3)]


def test_on_time_rise_and_fall_in_one_batch_pages(desk: Desk) -> None:
    raised, cleared = desk.read(*smoke((1, 75), (2, 10)))
    assert isinstance(raised, Raised)
    assert raised.cleared_us is None
    assert isinstance(cleared, Cleared)


def test_a_batch_is_folded_in_order_of_time_whatever_its_order(desk: Desk) -> None:
    desk.read(Row(1, 4, 50), Row(2, 2, 90), Row(1, 1, 10), Row(1, 3, 65), Row(2, 1, 10), Row(1, 2, 75))
    assert desk.alarms.seconds("smoke-high", 1) == [(2, 4, 0)]
    assert desk.alarms.seconds("smoke-high", 2) == [(2, None, 0)]


def test_only_its_own_kind_and_metric() -> None:
    desk = Desk([SMOKE_HIGH], [facts(1, "camera"), facts(2)])
    assert desk.read(Row(1, 1, 99), Row(2, 1, 99, metric=LEVEL), Row(2, 2, 99, metric=7)) == []


def test_below() -> None:
    desk = Desk([threshold("cold", direction="below", raise_at=4, clear_at=5)], [facts(1)])
    desk.read(*smoke((1, 4.1), (2, 4), (3, 5), (4, 5.1)))
    assert desk.alarms.seconds("cold", 1) == [(2, 4, 0)]


def test_a_station_without_the_level_is_unset_and_never_alarms() -> None:
    desk = Desk(
        [WARNING], [facts(1, "water"), facts(2, "water", levels=(3.0, None, None)), facts(3, "water")]
    )
    desk.read(*(Row(device, 1, 9.0, metric=LEVEL) for device in (1, 2, 3)))
    assert [row.device_id for row in desk.read(Row(2, 2, 2.96, metric=LEVEL))] == []
    assert list(desk.alarms.episodes) == [("water-warning", 2, LEVEL)]
    (cleared,) = desk.read(Row(2, 3, 2.94, metric=LEVEL))
    assert cleared.evidence["limit"] == "station.warning"
    assert cleared.evidence["clear_at"] == pytest.approx(2.95)


def test_losing_the_level_ends_the_standing_alarm() -> None:
    desk = Desk([WARNING], [facts(1, "water", levels=(3.0, None, None))])
    desk.read(Row(1, 1, 3.5, metric=LEVEL))
    assert desk.tick(2) == []
    desk.engine.know([facts(1, "water")])
    (cleared,) = desk.tick(3)
    assert isinstance(cleared, Cleared)
    assert cleared.evidence["reason"] == "rule no longer applies to this device"
    assert desk.tick(4) == []
    assert desk.standing_states() == {}


def test_a_level_changed_while_we_were_down_is_noticed_at_start() -> None:
    desk = Desk([WARNING], [facts(1, "water", levels=(3.0, None, None))])
    desk.read(Row(1, 1, 3.5, metric=LEVEL))
    desk.devices = [facts(1, "water")]
    desk.restart()
    assert [type(row) for row in desk.tick(2)] == [Cleared]


def test_the_alarm_of_a_removed_rule_ends_at_the_first_tick() -> None:
    desk = Desk([SMOKE_HIGH], [facts(1)])
    desk.read(*smoke((1, 99)))
    desk.rules = []
    desk.restart()
    (cleared,) = desk.tick(5)
    assert cleared.evidence == {"reason": "rule removed or rewritten"}
    assert desk.alarms.seconds("smoke-high", 1) == [(1, 5, 0)]
    assert desk.tick(6) == []
    assert desk.standing_states() == {}


def test_a_rule_rewritten_for_another_metric_ends_the_alarm_of_the_old_one() -> None:
    desk = Desk([SMOKE_HIGH], [facts(1)])
    desk.read(*smoke((1, 99)))
    desk.rules = [threshold(metric="level", raise_at=3)]
    desk.restart()
    desk.read(Row(1, 2, 4, metric=LEVEL))
    desk.tick(5)
    assert sorted(desk.alarms.seconds("smoke-high", 1)) == [(1, 5, 0), (2, None, 0)]
    desk.restart()
    desk.read(Row(1, 6, 1, metric=LEVEL))
    assert sorted(desk.alarms.seconds("smoke-high", 1)) == [(1, 5, 0), (2, 6, 0)]


def test_a_rule_rewritten_as_another_type_does_not_read_the_old_state() -> None:
    desk = Desk([SMOKE_HIGH], [facts(1, interval=100, last_heard=0)])
    desk.read(*smoke((1, 99)))
    keys = {"type": "silence", "name": "失联", "name_en": "Silent", "category": "device.silent"}
    desk.rules = [rule("smoke-high", {**keys, "level": "blue"})]
    desk.restart()
    (cleared,) = desk.tick(5)
    assert cleared.metric_id == SMOKE


# ── delays ──────────────────────────────────────────────────────────────────────────────────────────────


def test_on_delay_forgets_what_went_by(delayed: Desk) -> None:
    assert delayed.read(*smoke((0, 80), (30, 80), (59.9, 50), (61, 80), (100, 50))) == []
    assert delayed.tick(1000) == []


def test_on_delay_is_over_at_its_end_even_when_the_next_reading_is_low(delayed: Desk) -> None:
    (raised,) = delayed.read(*smoke((0, 80), (60, 50)))
    assert isinstance(raised, Raised)
    assert second(raised.raised_us) == 60
    assert raised.evidence["value"] == 80
    assert raised.evidence["on_delay_s"] == 60


def test_a_deadband_reading_keeps_the_on_delay_running(delayed: Desk) -> None:
    delayed.read(*smoke((0, 80), (30, 65), (70, 65)))
    assert delayed.alarms.seconds("smoke-high", 1) == [(60, None, 0)]


def test_on_delay_runs_out_on_the_clock_when_the_device_says_no_more(delayed: Desk) -> None:
    delayed.read(*smoke((0, 80)))
    assert delayed.tick(59.9) == []
    (raised,) = delayed.tick(60)
    assert isinstance(raised, Raised)
    assert second(raised.raised_us) == 60
    assert delayed.tick(61) == []


def test_no_delay_runs_out_while_we_are_deaf(delayed: Desk) -> None:
    delayed.read(*smoke((0, 80)))
    deaf = Listening([(at(-1000), at(30))])
    assert delayed.tick(500, deaf) == []
    # What was sent meanwhile arrives when we hear again: it went by.
    delayed.read(Row(1, 40, 50, received=501))
    assert delayed.tick(502, deaf.opened(at(501))) == []
    assert delayed.alarms.episodes == {}


def test_the_clock_counts_from_arrival_for_a_device_whose_readings_travel(delayed: Desk) -> None:
    delayed.read(Row(1, 0, 80, received=200))
    assert delayed.tick(210) == []
    delayed.read(Row(1, 20, 50, received=220))
    assert delayed.tick(1000) == []


def test_flapping_within_the_off_delay_is_one_episode(delayed: Desk) -> None:
    series = [(0.0, 80.0), (60, 80)]
    for cycle in range(33):
        series += [(100 + cycle * 60, 50), (130 + cycle * 60, 80)]
    delayed.read(*smoke(*series))
    last = series[-1][0]
    delayed.read(*smoke((last + 30, 50)))
    delayed.tick(last + 30 + 120)
    assert delayed.alarms.seconds("smoke-high", 1) == [(60, last + 150, 33)]


def test_a_reading_in_the_deadband_does_not_stop_the_off_delay(delayed: Desk) -> None:
    delayed.read(*smoke((0, 80), (60, 80), (100, 50), (150, 65), (220, 65)))
    assert delayed.alarms.seconds("smoke-high", 1) == [(60, 220, 0)]


def test_raised_by_the_clock_then_contradicted_from_before_clears_not_before_it_was_raised() -> None:
    desk = Desk([threshold(clear_at=60, on_delay_s=60)], [facts(1)])
    desk.read(*smoke((0, 80)))
    desk.tick(60)
    desk.read(Row(1, 5, 50, received=61))
    assert desk.alarms.seconds("smoke-high", 1) == [(60, 60, 0)]


# ── late, back-filled, ahead, retained ──────────────────────────────────────────────────────────────────


def test_a_backlog_runs_in_event_time_and_what_still_stands_is_marked_late(desk: Desk) -> None:
    late = [Row(1, t, value, quality=Quality.LATE, received=4000) for t, value in ((1, 80), (2, 50), (3, 90))]
    over, standing = desk.read(*late)
    assert isinstance(over, Raised)
    assert isinstance(standing, Raised)
    assert (over.late, over.cleared_us) == (True, at(2))
    assert (standing.late, standing.cleared_us) == (True, None)


def test_a_late_episode_that_repeated_is_one_record(desk: Desk) -> None:
    rows = [
        Row(1, t, value, quality=Quality.LATE, received=4000)
        for t, value in ((1, 80), (2, 65), (3, 80), (4, 9))
    ]
    (over,) = desk.read(*rows)
    assert isinstance(over, Raised)
    assert over.evidence["repeats"] == 1


def test_back_filled_crossing_is_recorded_and_over(desk: Desk) -> None:
    desk.read(*smoke((100, 20)))
    (over,) = desk.read(Row(1, 10, 80), Row(1, 20, 65), Row(1, 30, 59))
    assert isinstance(over, Raised)
    assert (second(over.raised_us), over.cleared_us) == (10, at(30))
    assert over.evidence["backfill"] is True


def test_back_filled_without_an_end_is_over_at_the_newest_reading(desk: Desk) -> None:
    desk.read(*smoke((100, 20)))
    (over,) = desk.read(Row(1, 10, 80))
    assert isinstance(over, Raised)
    assert over.cleared_us == at(100)


def test_the_same_past_episode_is_recorded_once(desk: Desk) -> None:
    desk.read(*smoke((100, 20)))
    desk.read(Row(1, 10, 80))
    desk.restart()
    assert desk.read(Row(1, 11, 85), Row(1, 50, 90)) == []


def test_back_fill_inside_the_standing_episode_is_a_repeat_and_before_it_a_record(desk: Desk) -> None:
    desk.read(*smoke((100, 80), (110, 80)))
    (repeated,) = desk.read(Row(1, 105, 90))
    assert isinstance(repeated, Repeated)
    (over,) = desk.read(Row(1, 50, 90))
    assert isinstance(over, Raised)
    assert over.cleared_us == at(100)
    assert desk.read(*smoke((120, 85))) == []


def test_a_reading_of_an_episode_that_comes_after_its_end_is_part_of_it(desk: Desk) -> None:
    """A broker that sends again what was unacknowledged mixes up the order."""
    desk.read(*smoke((100, 80)))
    desk.read(*smoke((160, 10)))
    desk.restart()
    assert desk.read(Row(1, 120, 95), Row(1, 140, 95)) == []
    assert desk.alarms.seconds("smoke-high", 1) == [(100, 160, 0)]


def test_back_fill_never_ends_what_stands(desk: Desk) -> None:
    desk.read(*smoke((100, 80)))
    assert desk.read(Row(1, 50, 10)) == []
    assert desk.alarms.seconds("smoke-high", 1) == [(100, None, 0)]


def test_back_fill_and_new_readings_in_one_batch(desk: Desk) -> None:
    desk.read(*smoke((100, 20)))
    desk.read(Row(1, 110, 75), Row(1, 50, 90), Row(1, 120, 20))
    assert desk.alarms.seconds("smoke-high", 1) == [(50, 100, 0), (110, 120, 0)]


def test_a_back_filled_crossing_shorter_than_the_on_delay_is_nothing(delayed: Desk) -> None:
    delayed.read(*smoke((1000, 20)))
    assert delayed.read(Row(1, 10, 80), Row(1, 60, 20)) == []
    (over,) = delayed.read(Row(1, 110, 80), Row(1, 200, 20))
    assert isinstance(over, Raised)
    assert (over.raised_us, over.cleared_us) == (at(170), at(200))


@pytest.mark.parametrize("quality", [Quality.CLOCK_AHEAD, Quality.RETAINED, Quality.RETAINED | Quality.LATE])
def test_ahead_and_retained_never_touch_state(desk: Desk, quality: Quality) -> None:
    assert desk.read(Row(1, 500, 99, quality=quality, received=1)) == []
    desk.read(*smoke((2, 80)))
    assert desk.read(Row(1, 501, 1, quality=quality, received=3)) == []
    assert desk.alarms.seconds("smoke-high", 1) == [(2, None, 0)]
    # Nor are they the newest: what follows is not taken for history.
    assert [type(row) for row in desk.read(*smoke((4, 10)))] == [Cleared]


def test_ahead_is_a_sign_of_life_and_retained_is_not(desk: Desk) -> None:
    desk.read(Row(1, 500, 1, quality=Quality.CLOCK_AHEAD, received=7))
    desk.read(Row(2, 3, 1, quality=Quality.RETAINED, received=7))
    assert desk.engine.heard_us[[1, 2]].tolist() == [at(7), 0]


# ── the engine as a cache ───────────────────────────────────────────────────────────────────────────────


def test_nothing_changes_before_accept(desk: Desk) -> None:
    readings = batch(smoke((1, 80)))
    first = desk.engine.decide(readings, [], now_us=at(1))
    again = desk.engine.decide(readings, [], now_us=at(1))
    assert first.transitions == again.transitions != []
    assert first.states == again.states
    assert desk.engine.heard_us[1] == 0


def test_a_decision_made_before_another_was_accepted_is_refused(desk: Desk) -> None:
    stale = desk.engine.decide(batch(smoke((1, 80))), [], now_us=at(1))
    desk.read(*smoke((1, 80)))
    with pytest.raises(ValueError, match="decide again"):
        desk.engine.accept(stale)


def test_a_quiet_reading_writes_no_state(desk: Desk) -> None:
    desk.read(*smoke((1, 20), (2, 30)))
    assert desk.states == {}
    desk.read(*smoke((3, 80)))
    before = dict(desk.states)
    desk.read(*smoke((4, 81), (5, 82)))
    assert desk.states == before


def test_an_id_never_made_known_is_named(desk: Desk) -> None:
    with pytest.raises(ValueError, match="device id 4000 was never made known"):
        desk.read(Row(4000, 1, 1))


def test_states_load_before_or_after_the_register() -> None:
    row = StateRow(
        rule_id="smoke-high",
        device_id=5000,
        state={"phase": "standing", "over": True, "raised_us": at(1), "metric_id": SMOKE},
    )
    engine = Engine([SMOKE_HIGH], METRICS)
    engine.load([row])
    engine.know([facts(5000)])
    (cleared,) = engine.decide(batch([Row(5000, 2, 10)]), [], now_us=at(2)).transitions
    assert isinstance(cleared, Cleared)


def test_an_empty_batch_is_nothing(desk: Desk) -> None:
    decision = desk.engine.decide(batch([]), [], now_us=at(1))
    assert (decision.transitions, decision.states) == ([], [])
    desk.engine.accept(decision)


def test_capacity_grows_with_ids(desk: Desk) -> None:
    desk.read(*smoke((1, 80)))
    desk.engine.know([facts(70_000)])
    assert len(desk.engine.heard_us) > 70_000
    desk.read(Row(70_000, 2, 80), Row(1, 2, 10))
    assert desk.alarms.seconds("smoke-high", 70_000) == [(2, None, 0)]
    assert desk.alarms.seconds("smoke-high", 1) == [(1, 2, 0)]
    assert int(np.count_nonzero(desk.engine.heard_us)) == 2
