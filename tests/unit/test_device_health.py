"""States, cadences, gateways' fate, whole hours: pure."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_centre.device_health import (
    HEARD,
    STATES,
    Facts,
    MetricFacts,
    fate,
    judge,
    judge_metric,
    learn,
)
from command_centre.device_health_loop import whole_hours
from command_centre.notify.preferences import by_day

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WELL = Facts(
    first_heard_at=NOW - timedelta(days=9),
    last_heard_at=NOW - MINUTE,
    late_before=NOW - 8 * MINUTE,
    silent_before=NOW - 15 * MINUTE,
)
BLIND = MetricFacts(
    metric="temperature", last_at=NOW - timedelta(hours=3), blind_since=NOW - timedelta(hours=3)
)


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        ({}, "online"),
        ({"last_heard_at": NOW - 9 * MINUTE}, "late"),
        ({"last_heard_at": NOW - 8 * MINUTE}, "late"),
        ({"last_heard_at": NOW - 16 * MINUTE}, "silent"),
        ({"last_heard_at": NOW - 15 * MINUTE}, "silent"),
        ({"link": "offline"}, "silent"),
        ({"silent_alarm_at": NOW}, "silent"),
        ({"last_heard_at": None}, "silent"),
        ({"last_heard_at": None, "first_heard_at": None}, "never"),
        ({"service_state": "out_of_service"}, "out"),
        ({"registration": "retired", "link": "offline"}, "out"),
        ({"service_state": "under_test"}, "online"),
        ({"metrics": (BLIND,)}, "blind"),
        ({"metrics": (BLIND,), "last_heard_at": NOW - 9 * MINUTE}, "blind"),
        ({"metrics": (BLIND,), "link": "offline"}, "silent"),
        ({"metrics": (replace(BLIND, blind_since=None),)}, "online"),
    ],
)
def test_the_worst_that_is_true(changed: dict[str, object], state: str) -> None:
    found = judge(replace(WELL, **changed))  # type: ignore[arg-type]  # a mixture of fields
    assert found.state == state
    assert found.reason
    assert found.reason_en
    assert found.state in STATES


def test_a_silent_gateway_is_named_only_where_the_device_is_silent() -> None:
    behind = replace(WELL, gateway="GW", gateway_silent_since=NOW - timedelta(hours=1))
    assert judge(behind).explained_by is None
    found = judge(replace(behind, last_heard_at=NOW - timedelta(hours=1)))
    assert (found.explained_by, found.since) == ("GW", NOW - timedelta(hours=1))
    assert "GW" in found.reason
    assert "GW" in found.reason_en


def test_metrics_of_a_device() -> None:
    metric = MetricFacts(metric="smoke", last_at=NOW - 5 * MINUTE, every_s=300, limit_s=900)
    assert judge_metric(metric, "online", NOW) == "online"
    assert judge_metric(metric, "online", NOW + 5 * MINUTE) == "late"
    assert judge_metric(replace(metric, every_s=None), "online", NOW) == "learning"
    assert judge_metric(BLIND, "blind", NOW) == "blind"
    assert judge_metric(BLIND, "silent", NOW) == "silent"
    assert {state for state in STATES if judge_metric(metric, state, NOW) == "silent"} == set(STATES) - HEARD


def test_a_cadence_needs_six_readings() -> None:
    assert learn(np.full(4, 60.0), None) is None
    found = learn(np.full(5, 300.0), None)
    assert found is not None
    assert (found.every_s, found.limit_s) == (300, 900)


def test_a_metric_owes_nothing_before_its_device_does() -> None:
    found = learn(np.full(9, 10.0), 3600)
    assert found is not None
    assert found.limit_s == 3 * 3600
    quick = learn(np.full(9, 1.0), None)
    assert quick is not None
    assert quick.limit_s == 120


def test_what_is_quiet_every_night_is_not_blind_every_night() -> None:
    nightly = np.concatenate((np.full(400, 300.0), np.full(5, 36_000.0)))
    found = learn(nightly, 300)
    assert found is not None
    assert found.limit_s == 2 * 36_000
    once = np.concatenate((np.full(400, 300.0), [36_000.0]))  # one outage is no habit
    found = learn(once, 300)
    assert found is not None
    assert found.limit_s == 900


def test_a_door_is_given_more_patience_than_a_clockwork() -> None:
    door = np.random.default_rng(1).exponential(3600.0, 60)
    found = learn(door, None)
    assert found is not None
    assert found.limit_s == pytest.approx(4 * np.sort(door)[-3])
    assert found.limit_s > door.max()


@given(st.lists(st.floats(min_value=0, max_value=1e7), max_size=80), st.none() | st.floats(1, 1e6))
def test_a_limit_is_never_under_three_usual_pauses(gaps: list[float], interval: float | None) -> None:
    found = learn(np.array(gaps), interval)
    if found is not None:
        assert found.limit_s >= max(120, 3 * found.every_s, 3 * (interval or 0))


@pytest.mark.parametrize(
    ("own", "children", "silent", "expected"),
    [
        ("silent", 5, 5, "gateway"),
        ("silent", 0, 0, "gateway"),
        ("online", 5, 4, "together"),
        (None, 5, 4, "together"),
        ("never", 5, 3, "some"),
        (None, 2, 2, "some"),
        ("online", 5, 0, "well"),
    ],
)
def test_fate(own: str | None, children: int, silent: int, expected: str) -> None:
    assert fate(own, children, silent) == expected  # type: ignore[arg-type]  # the states above


def test_only_whole_hours_of_listening_count() -> None:
    hour = timedelta(hours=1)
    day = NOW.replace(hour=0)
    stretches = [
        (day + 0.5 * hour, day + 3 * hour),
        (day + 2 * hour, day + 4.5 * hour),  # another ingest, overlapping
        (day + 4.505 * hour, day + 6 * hour),  # 18 seconds of restart
        (day + 7.1 * hour, day + 8.2 * hour),
        (day + 9 * hour, day + 10 * hour),
    ]
    assert whole_hours(stretches, NOW) == {day.date(): 0b10_0011_1110}
    assert whole_hours(stretches, NOW - MINUTE) == {day.date(): 0b00_0011_1110}
    assert whole_hours([], NOW) == {}
    over = whole_hours([(day - 2 * hour, day + 1 * hour)], NOW)
    assert over == {(day - hour).date(): 0b11 << 22, day.date(): 1}


@pytest.mark.parametrize(
    ("local", "told"),
    [
        ("12:00", "22 12:00"),
        ("07:59", "22 08:00"),
        ("08:00", "22 08:00"),
        ("20:00", "23 08:00"),
        ("23:30", "23 08:00"),
    ],
)
def test_nobody_is_woken_for_a_battery(local: str, told: str) -> None:
    zone = ZoneInfo("Asia/Shanghai")
    now = datetime.fromisoformat(f"2026-11-22T{local}:00+08:00")
    assert f"{by_day(now.astimezone(UTC), zone).astimezone(zone):%d %H:%M}" == told
