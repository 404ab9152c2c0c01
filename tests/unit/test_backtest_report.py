"""Episodes held against marked events and against the rules in force."""

import pytest

from rules.backtest import Event, against, differ, lasted_us, table, totals, within
from rules.episodes import Episode
from tests.unit.rules_feed import at

TO = at(100_000)


def episode(
    raised: float, cleared: float | None, device: int = 1, rule: str = "r", **more: object
) -> Episode:
    made = Episode(
        rule_id=rule,
        rule_version=1,
        device_id=device,
        metric_id=1,
        raised_us=at(raised),
        began_us=at(raised),
        cleared_us=None if cleared is None else at(cleared),
        level="yellow",
        late=False,
        suppressed=None,
        evidence={},
    )
    for name, value in more.items():
        setattr(made, name, value)
    return made


def event(onset: float, end: float, device: int = 1) -> Event:
    return Event(device_id=device, onset_us=at(onset), end_us=at(end))


def test_events_are_found_in_time_late_or_not_at_all() -> None:
    episodes = [episode(900, 2000), episode(10_400, 10_900), episode(50_000, 50_100)]
    events = [event(1000, 1500), event(10_000, 11_000), event(30_000, 31_000), event(1000, 2000, device=2)]
    marks = against(episodes, events, to_us=TO, before_us=3600_000_000, late_after_us=300_000_000)
    assert [(f.lead_us, f.late) for f in marks.findings] == [
        (100_000_000, False),
        (-400_000_000, True),
        (None, False),
        (None, False),
    ]
    assert (marks.hits, marks.pod, len(marks.false), marks.far) == (2, 0.5, 1, pytest.approx(1 / 3))


def test_an_alarm_ahead_of_the_onset_counts_only_within_its_hours() -> None:
    early = [episode(1000, 1100)]
    assert against(early, [event(5000, 6000)], to_us=TO, before_us=4000_000_000).hits == 1
    assert against(early, [event(5000, 6000)], to_us=TO, before_us=3800_000_000).hits == 0


def test_the_lead_is_that_of_the_first_episode_even_when_a_short_one_lies_between() -> None:
    episodes = [episode(100, 9000), episode(200, 300, rule="other"), episode(5000, 5100, rule="third")]
    marks = against(episodes, [event(4000, 6000)], to_us=TO, before_us=0)
    assert marks.findings[0].lead_us == 3900_000_000
    assert [e.rule_id for e in marks.false] == ["other"]


def test_an_episode_that_stands_meets_what_comes_later() -> None:
    assert against([episode(100, None)], [event(90_000, 91_000)], to_us=TO).hits == 1


def test_without_events_or_episodes_there_is_no_ratio() -> None:
    assert against([], [event(1, 2)], to_us=TO).far is None
    assert against([episode(1, 2)], [], to_us=TO).pod is None


def test_difference_counts_what_meets_nothing() -> None:
    new = [episode(100, 200), episode(500, 600), episode(900, None)]
    old = [episode(150, 250), episode(2000, 2100, device=2), episode(950, 960)]
    found = differ(new, old, to_us=TO)
    assert [e.raised_us for e in found.gained] == [at(500)]
    assert [e.device_id for e in found.lost] == [2]
    assert (found.kept, found.moved_s) == (2, (50.0, 50.0))


def test_episodes_of_another_rule_do_not_meet() -> None:
    found = differ([episode(100, 200)], [episode(100, 200, rule="other")], to_us=TO)
    assert (len(found.gained), len(found.lost), found.kept) == (1, 1, 0)


def test_time_in_alarm_is_cut_to_the_span() -> None:
    assert lasted_us(episode(-50, 50), at(0), at(1000)) == 50_000_000
    assert lasted_us(episode(900, None), at(0), at(1000)) == 100_000_000
    assert [
        e.raised_us for e in within([episode(-50, -10), episode(-5, 5), episode(1000, 1001)], at(0), at(1000))
    ] == [at(-5)]


def test_sums_and_table() -> None:
    episodes = [
        episode(0, 3600, repeats=2, levels=[(at(10), "red")], peak=7.5),
        episode(5000, 5060, peak=6.5),
        episode(100, None, device=2, late=True),
    ]
    sums = totals(episodes, at(0), at(86_400))
    assert (sums.episodes, sums.devices, sums.per_day, sums.repeats) == (3, 2, 3.0, 2)
    assert (sums.late, sums.standing, sums.longest_s) == (1, 1, 86_300.0)
    assert sums.by_level == {"red": 1, "yellow": 2}
    marks = against(episodes, [event(10, 20), event(40_000, 41_000)], to_us=at(86_400), before_us=0)
    lines = table(episodes, {1: 10, 2: 20, 3: 30}, marks, from_us=at(0), to_us=at(86_400))
    assert [(line.device_id, line.readings, line.episodes, line.peak) for line in lines] == [
        (1, 10, 2, 7.5),
        (2, 20, 1, None),
        (3, 30, 0, None),
    ]
    assert [(line.hits, line.missed, line.false) for line in lines] == [(1, 1, 1), (0, 0, 1), (0, 0, 0)]
