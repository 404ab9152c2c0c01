"""Maintenance: signs of wear as one episode, and a self-test that holds back what it sets off, for a while."""

from itertools import pairwise, permutations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from city.alarms import Cleared, Raised, Repeated, Transition
from city.observations import Quality
from rules.definitions import RuleError
from tests.unit.rules_feed import (
    BATTERY,
    CONTAMINATION,
    SELF_TEST,
    SMOKE,
    UNTIMED,
    Desk,
    Row,
    facts,
    read_anyhow,
    rule,
    second,
    threshold,
)

SIGNS: list[dict[str, object]] = [
    {"metric": "battery", "below": 15, "deadband": 5, "name": "电量低", "name_en": "Battery low"},
    {"metric": "contamination", "above": 80, "name": "污染", "name_en": "Dirty"},
    {"metric": "self_test", "above": 0.5, "for_s": 600, "name": "自检超时", "name_en": "Self-test overran"},
]
TEST: dict[str, object] = {"metric": "self_test", "holds": ["smoke-high"], "at_most_s": 300, "settle_s": 30}
KEYS: dict[str, object] = {
    "type": "maintenance",
    "name": "设备维护",
    "name_en": "Device maintenance",
    "sign": SIGNS,
    "self_test": TEST,
    "category": "device.maintenance",
    "class": "C",
    "level": "blue",
}
WEAR = rule("device-maintenance", KEYS)
FIRE = threshold("smoke-high", clear_at=60)


@pytest.fixture
def desk() -> Desk:
    return Desk([FIRE, WEAR], [facts(1), facts(2)])


def signs(transition: Transition) -> list[object]:
    listed = transition.evidence["signs"]
    assert isinstance(listed, list)
    return [(sign["name_en"], sign["value"]) for sign in listed]


def test_one_episode_lists_its_signs_and_ends_with_the_last(desk: Desk) -> None:
    (raised,) = desk.read(Row(1, 0, 12, BATTERY))
    assert isinstance(raised, Raised)
    assert (raised.category, raised.incident_class, raised.metric_id) == ("device.maintenance", "C", None)
    assert signs(raised) == [("Battery low", 12)]
    (joined,) = desk.read(Row(1, 10, 90, CONTAMINATION))
    assert isinstance(joined, Repeated)
    assert signs(joined) == [("Battery low", 12), ("Dirty", 90)]
    assert desk.read(Row(1, 20, 21, BATTERY)) == []
    (cleared,) = desk.read(Row(1, 30, 10, CONTAMINATION))
    assert isinstance(cleared, Cleared)
    assert desk.alarms.seconds("device-maintenance", 1) == [(0, 30, 1)]
    assert desk.standing_states() == {} or all(
        "past_to_us" in str(row) for row in desk.standing_states().values()
    )


def test_it_survives_a_restart_with_its_signs(desk: Desk) -> None:
    desk.read(Row(1, 0, 12, BATTERY), Row(1, 0, 90, CONTAMINATION))
    desk.restart()
    assert desk.tick(50) == []
    assert desk.read(Row(1, 60, 80, BATTERY)) == []
    assert [type(row) for row in desk.read(Row(1, 70, 5, CONTAMINATION))] == [Cleared]


def test_signs_of_two_devices_are_two_episodes(desk: Desk) -> None:
    assert len(desk.read(Row(1, 0, 12, BATTERY), Row(2, 0, 12, BATTERY))) == 2


def test_a_rule_without_the_sign_that_stood_clears(desk: Desk) -> None:
    desk.read(Row(1, 0, 12, BATTERY))
    desk.rules = [FIRE, rule("device-maintenance", KEYS | {"sign": SIGNS[1:]})]
    desk.restart()
    (cleared,) = desk.tick(10)
    assert cleared.evidence["reason"] == "the rule's signs changed"
    assert desk.tick(20) == []


def test_late_signs_that_are_over_are_one_record(desk: Desk) -> None:
    late = [
        Row(1, t, value, BATTERY, Quality.LATE, received=5000) for t, value in ((0, 12), (10, 25), (20, 25))
    ]
    (record,) = desk.read(*late)
    assert isinstance(record, Raised)
    assert (record.late, second(record.cleared_us or 0)) == (True, 10)


# ── the self-test ─────────────────────────────────────────────────────────────────────────────────────────


def smoke(t: float, value: float, device: int = 1) -> Row:
    return Row(device, t, value, SMOKE)


def flag(t: float, value: float) -> Row:
    return Row(1, t, value, SELF_TEST)


def suppressed(transitions: list[Transition]) -> list[str | None]:
    return [row.suppressed for row in transitions if isinstance(row, Raised)]


@pytest.mark.parametrize("rows", list(permutations([smoke(5, 90), flag(5, 1), Row(1, 5, 50, BATTERY)])))
def test_a_test_holds_its_fire_back_whatever_the_order_in_the_message(
    desk: Desk, rows: tuple[Row, ...]
) -> None:
    (raised,) = desk.read(*rows)
    assert isinstance(raised, Raised)
    assert (raised.rule_id, raised.suppressed) == ("smoke-high", "self-test running")


def test_another_device_is_not_held(desk: Desk) -> None:
    assert suppressed(desk.read(flag(5, 1), smoke(5, 90, device=2))) == [None]


def test_smoke_of_the_test_that_goes_is_nobodys_business(desk: Desk) -> None:
    desk.read(flag(0, 1), smoke(0, 10))
    assert suppressed(desk.read(smoke(10, 90))) == ["self-test running"]
    desk.restart()
    assert [type(row) for row in desk.read(smoke(20, 10))] == [Cleared]
    assert desk.read(flag(30, 0)) == []
    assert desk.tick(1000) == []


def test_smoke_that_stays_after_the_test_is_a_fire(desk: Desk) -> None:
    desk.read(flag(0, 1), smoke(10, 90))
    desk.read(flag(20, 0), smoke(20, 90))
    assert desk.tick(49) == []
    desk.restart()
    (raised,) = desk.tick(50)  # 30 s to settle
    assert isinstance(raised, Raised)
    assert (raised.suppressed, second(raised.raised_us)) == (None, 10)
    assert raised.evidence["was_suppressed"] == "self-test running"
    assert raised.evidence["value"] == 90
    assert desk.alarms.of("smoke-high", 1)[0].suppressed is None


def test_a_stuck_test_blinds_nobody(desk: Desk) -> None:
    desk.read(flag(0, 1), smoke(10, 90))
    assert suppressed(desk.tick(299)) == []
    assert suppressed(desk.tick(300)) == [None]
    desk.read(smoke(310, 10))
    assert suppressed(desk.read(smoke(320, 90), flag(320, 1))) == [None]
    (overran,) = desk.tick(600)
    assert (overran.rule_id, signs(overran)) == ("device-maintenance", [("Self-test overran", 1.0)])


def test_what_began_before_the_test_is_no_part_of_it(desk: Desk) -> None:
    assert suppressed(desk.read(smoke(5, 90), flag(6, 1))) == [None]


def test_a_test_that_begins_and_ends_in_one_batch(desk: Desk) -> None:
    story = desk.read(flag(0, 1), smoke(5, 90), smoke(8, 10), flag(10, 0), flag(100, 0))
    assert suppressed(story) == ["self-test running"]
    story = desk.read(flag(200, 1), smoke(205, 90), flag(210, 0), flag(300, 0), smoke(300, 90))
    assert suppressed(story) == ["self-test running", None]


def test_a_rule_that_is_removed_while_it_holds_lets_go(desk: Desk) -> None:
    desk.read(flag(0, 1), smoke(10, 90))
    desk.rules = [FIRE]
    desk.restart()
    assert suppressed(desk.tick(11)) == [None]
    desk.restart()
    assert desk.tick(12) == []


def test_a_held_rule_that_is_removed_is_not_raised_again(desk: Desk) -> None:
    desk.read(flag(0, 1), smoke(10, 90))
    desk.rules = [WEAR]
    desk.restart()
    assert [type(row) for row in desk.tick(11)] == [Cleared]
    assert suppressed(desk.tick(400)) == []


def test_a_rule_without_a_test_lets_go(desk: Desk) -> None:
    desk.read(flag(0, 1), smoke(10, 90))
    desk.rules = [FIRE, rule("device-maintenance", {key: KEYS[key] for key in KEYS if key != "self_test"})]
    desk.restart()
    assert suppressed(desk.tick(11)) == [None]


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"sign": []}, ["[[rule.sign]]"]),
        ({"sign": [SIGNS[0] | {"above": 3}]}, ["sign 1", "above", "either"]),
        ({"sign": [SIGNS[0], SIGNS[0]]}, ["sign 2", "metric = 'battery'", "already"]),
        ({"sign": [SIGNS[0] | {"limit": 3}]}, ["limit = 3", "not a key"]),
        ({"self_test": TEST | {"holds": ["device-maintenance"]}}, ["holds", "itself"]),
        ({"self_test": TEST | {"at_most_s": 0}}, ["at_most_s = 0"]),
    ],
)
def test_a_mistake_is_named(changes: dict[str, object], names: list[str]) -> None:
    with pytest.raises(RuleError) as caught:
        rule("device-maintenance", KEYS | changes)
    for name in names:
        assert name in str(caught.value)


# ── what must hold for every series ───────────────────────────────────────────────────────────────────────

METRIC_VALUES = {
    BATTERY: [10.0, 18.0, 30.0],
    CONTAMINATION: [10.0, 90.0],
    SELF_TEST: [0.0, 1.0],
    SMOKE: [10.0, 65.0, 90.0],
}
STEPS = st.lists(
    st.tuples(st.integers(1, 90), st.sampled_from(list(METRIC_VALUES)), st.integers(0, 5)), max_size=40
)
PLACES = st.sets(st.integers(0, 40))


def rows_of(steps: list[tuple[int, int, int]]) -> list[Row]:
    rows, now = [], 0
    for pause, metric, choice in steps:
        now += pause
        values = METRIC_VALUES[metric]
        rows.append(Row(1, now, values[choice % len(values)], metric, received=now + 3))
    return rows


def touching(desk: Desk) -> bool:
    """Whether an episode begins in the instant in which the one before it ended."""
    return any(
        before[1] == after[0]
        for episodes in desk.alarms.history().values()
        for before, after in pairwise(episodes)
    )


def test_a_sign_that_ends_as_another_begins_is_one_episode_or_two(desk: Desk) -> None:
    """The self-test overruns at second 601, in which the battery is well again: only a later row tells."""
    rows = [flag(1, 1), Row(1, 2, 10, BATTERY), Row(1, 601, 30, BATTERY), flag(602, 0)]
    in_one = Desk([FIRE, WEAR], [facts(1)])
    in_one.read(*rows)
    for row in rows:
        desk.read(row)
    assert in_one.alarms.seconds("device-maintenance", 1) == [(2, 602, 1)]
    assert desk.alarms.seconds("device-maintenance", 1) == [(2, 601, 0), (601, 602, 0)]


@UNTIMED
@given(STEPS, PLACES, PLACES, PLACES)
def test_batches_ticks_and_restarts_change_nothing(
    steps: list[tuple[int, int, int]], cuts: set[int], ticks: set[int], restarts: set[int]
) -> None:
    rows = rows_of(steps)
    one_by_one, anyhow = (Desk([FIRE, WEAR], [facts(1)]) for _ in range(2))
    for row in rows:
        one_by_one.read(row)
    read_anyhow(anyhow, rows, cuts, ticks, restarts)
    end = (rows[-1].t if rows else 0) + 5000
    one_by_one.tick(end)
    anyhow.tick(end)
    # One sign ends at the very second at which another's delay runs out, which only a later row tells: row by row that
    # is the end of one episode and the begin of the next, in one batch it is one. Either is true.
    assume(not touching(one_by_one) and not touching(anyhow))
    assert anyhow.alarms.history() == one_by_one.alarms.history()
    assert anyhow.standing_states() == one_by_one.standing_states()
    held = [row for row in anyhow.alarms.of("smoke-high", 1) if row.cleared_us is None and row.suppressed]
    assert held == []  # whatever the test did, nothing stands in silence for ever


@UNTIMED
@given(STEPS)
def test_only_a_running_test_suppresses(steps: list[tuple[int, int, int]]) -> None:
    desk = Desk([FIRE, WEAR], [facts(1)])
    began: float | None = None
    left: float | None = None
    for row in rows_of(steps):
        raised = [t for t in desk.read(row) if isinstance(t, Raised) and t.rule_id == "smoke-high"]
        if row.metric == SELF_TEST and row.value == 1:
            if left is not None and row.t >= left + 30:
                began = None
            began, left = began if began is not None else row.t, None
        elif row.metric == SELF_TEST and began is not None and left is None:
            left = row.t
        for transition in raised:
            if transition.evidence.get("was_suppressed"):
                continue
            t = second(transition.raised_us)
            running = began is not None and t < began + 300 and (left is None or t < left + 30)
            assert (transition.suppressed is not None) == running
