"""The screens' log and the follower of changes: nothing lost, nothing doubled, whatever the order."""

import json
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_centre.api.screen.follow import MOST_GAPS, PATIENCE_S, Follower
from command_centre.api.screen.log import Delta, Event, ScreenLog


def event(n: int) -> Event:
    return Event(raw=msgspec.Raw(b'{"n": %d}' % n), kind="test", change=n)


class Browser:
    """A screen as the front end keeps one: topics of keys, and every event it was shown."""

    def __init__(self) -> None:
        self.topics: dict[str, dict[str, object]] = {}
        self.seq: int | None = None
        self.events: list[object] = []

    def replace(self, log: ScreenLog) -> None:
        self.topics = {
            topic: {key: json.loads(bytes(raw)) for key, raw in keys.items()}
            for topic, keys in log.snapshot().items()
        }
        self.seq = log.seq

    def apply(self, delta: Delta) -> None:
        assert delta.start == self.seq
        for topic, keys in delta.values.items():
            held = self.topics.setdefault(topic, {})
            for key, step in keys.items():
                if step.item is None:
                    held.pop(key, None)
                else:
                    held[key] = json.loads(bytes(step.item.raw))
        self.events += [json.loads(bytes(event.raw)) for event in delta.events]
        self.seq = delta.seq

    def catch_up(self, log: ScreenLog) -> None:
        delta = None if self.seq is None else log.since(self.seq)
        if delta is None:
            self.replace(log)
        else:
            self.apply(delta)

    def shown(self) -> dict[str, dict[str, object]]:
        return {topic: keys for topic, keys in self.topics.items() if keys}


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("set"),
            st.sampled_from("ab"),
            st.sampled_from("xyz"),
            st.one_of(st.none(), st.integers(0, 3)),
        ),
        st.tuples(st.just("event")),
        st.tuples(st.just("commit")),
        st.tuples(st.just("read"), st.integers(0, 2)),
    ),
    max_size=60,
)


@given(STEPS)
def test_screens_that_read_when_they_can_end_alike_and_see_every_event_once(
    steps: list[tuple[object, ...]],
) -> None:
    log = ScreenLog("e")
    truth: dict[str, dict[str, object]] = {}
    screens = [Browser() for _ in range(3)]
    for screen in screens:
        screen.replace(log)
    events = 0
    for step in steps:
        if step[0] == "set":
            _, topic, key, value = step
            log.stage(str(topic), str(key), value)
            if value is None:
                truth.get(str(topic), {}).pop(str(key), None)
            else:
                truth.setdefault(str(topic), {})[str(key)] = value
        elif step[0] == "event":
            log.add_event(event(events))
            events += 1
        elif step[0] == "commit":
            log.commit(0.0)
        else:
            screens[int(str(step[1]))].catch_up(log)
    log.commit(0.0)
    for screen in screens:
        screen.catch_up(log)
        assert screen.shown() == {topic: keys for topic, keys in truth.items() if keys}
        assert screen.events == [{"n": n} for n in range(events)]


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 5)), max_size=40), st.integers(0, 40))
def test_a_screen_that_comes_back_late_gets_a_snapshot_and_then_no_old_event(
    changes: list[tuple[int, int]], resumes_after: int
) -> None:
    log = ScreenLog("e", keep_s=300)
    screen = Browser()
    screen.replace(log)
    now = 0.0
    for n, (pause, value) in enumerate(changes):
        now += pause
        log.stage("t", "k", value)
        log.add_event(event(n))
        log.commit(now)
        if n == resumes_after:
            screen.catch_up(log)
    screen.catch_up(log)
    assert screen.shown().get("t", {}).get("k") == (changes[-1][1] if changes else None)
    numbers = [one["n"] for one in screen.events if isinstance(one, dict)]
    assert numbers == sorted(set(numbers))


def test_what_is_staged_is_neither_in_a_snapshot_nor_in_a_delta() -> None:
    log = ScreenLog("e")
    log.stage("incident", "1", {"state": "filed"})
    log.add_event(event(1))
    assert log.snapshot() == {}
    assert log.since(0) == Delta(start=0, seq=0, values={}, events=())
    assert log.commit(1.0)
    delta = log.since(0)
    assert delta is not None
    assert delta.seq == 1
    assert len(delta.events) == 1


def test_a_value_as_before_is_no_change() -> None:
    log = ScreenLog("e")
    log.stage("cell", "C1", {"state": "normal"})
    assert log.commit(0.0)
    log.stage("cell", "C1", {"state": "blind"})
    log.stage("cell", "C1", {"state": "normal"})
    assert not log.commit(0.1)
    assert log.seq == 1


def test_a_key_that_came_and_went_before_the_tick_is_never_said() -> None:
    log = ScreenLog("e")
    log.stage("incident", "1", {"state": "filed"})
    log.stage("incident", "1", None)
    assert not log.commit(0.0)


def test_a_whole_topic_drops_the_keys_it_no_longer_has() -> None:
    log = ScreenLog("e")
    log.stage_topic("station", {"a": {"level_m": 1}, "b": {"level_m": 2}})
    log.commit(0.0)
    log.stage_topic("station", {"b": {"level_m": 2}})
    log.commit(0.1)
    delta = log.since(1)
    assert delta is not None
    assert {key: step.item for key, step in delta.values["station"].items()} == {"a": None}
    assert set(log.snapshot()["station"]) == {"b"}


def test_a_storm_shortens_the_history_instead_of_growing() -> None:
    log = ScreenLog("e", max_weight=10_000)
    for n in range(1000):
        log.stage("incident", str(n % 7), {"n": n, "text": "x" * 100})
        log.commit(0.0)
    assert log.since(0) is None
    assert log.since(990) is not None
    assert log.since(1001) is None


def test_an_unknown_future_number_gets_a_snapshot() -> None:
    assert ScreenLog("e").since(7) is None


@given(st.integers(1, 60), st.integers(0, 2**32))
def test_ids_that_commit_in_any_order_are_each_new_once(count: int, seed: int) -> None:
    order = random.Random(seed)
    waiting = list(range(1, count + 1))
    order.shuffle(waiting)
    table: set[int] = set()
    follower = Follower()
    follower.start([], 0, 0.0)
    seen: list[int] = []
    while waiting or len(seen) < count:
        for _ in range(order.randint(0, 5)):
            if waiting:
                table.add(waiting.pop())
        rows = [i for i in table if i > follower.high or i in set(follower.gaps())]
        fresh = follower.fresh(rows)
        if order.random() < 0.2:
            continue  # the work failed: nothing was marked, and all of it comes again
        seen += fresh
        follower.saw(fresh, 1.0)
    assert sorted(seen) == list(range(1, count + 1))


def test_gaps_at_the_start_are_waited_for_and_what_was_loaded_is_not_new() -> None:
    follower = Follower()
    follower.start([10, 12, 13], 13, 0.0)
    assert follower.gaps() == [11]
    assert follower.fresh([10, 11, 12, 13, 14]) == [11, 14]


def test_a_rolled_back_id_is_given_up_in_the_end() -> None:
    follower = Follower()
    follower.start([], 0, 0.0)
    follower.saw(follower.fresh([1, 3]), 0.0)
    assert follower.gaps() == [2]
    follower.saw([], PATIENCE_S + 1)
    assert follower.gaps() == []
    assert follower.fresh([2]) == []


def test_a_burnt_range_does_not_fill_memory() -> None:
    follower = Follower()
    follower.start([], 0, 0.0)
    follower.saw(follower.fresh([5 * MOST_GAPS]), 0.0)
    gaps = follower.gaps()
    assert len(gaps) == MOST_GAPS
    assert max(gaps) == 5 * MOST_GAPS - 1  # the newest ones are the likeliest to be still open


@pytest.mark.parametrize("seq", [-1, -100])
def test_a_number_before_the_first_gets_a_snapshot(seq: int) -> None:
    log = ScreenLog("e")
    log.add_event(event(1))
    log.commit(0.0)
    assert log.since(seq) is None
