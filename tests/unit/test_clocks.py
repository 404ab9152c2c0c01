"""What decisions do to clocks: begun, ended, paused, resumed, extended; never negative, whatever the time says."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.clocks import (
    STAGES,
    Clock,
    Effect,
    End,
    Extend,
    Limit,
    LimitError,
    Limits,
    Pause,
    Resume,
    Stage,
    Start,
    read_limit,
)
from city.directory import Directory
from city.incidents import Incident
from city.units import Unit
from city.urging import DEFAULT, Ladder
from command_centre import clocks, rebasing

SHANGHAI = ZoneInfo("Asia/Shanghai")
MONDAY = datetime(2026, 11, 16, 10, tzinfo=SHANGHAI)  # a common working day; the week after it is common too
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LIMITS: Limits = {"handle": read_limit("3wd"), "acknowledge": read_limit("30m"), "verify": read_limit("4wh")}


def unit(unit_id: int, **changes: object) -> Unit:
    base = Unit(
        id=unit_id, code=f"u{unit_id}", name="单位", name_en="Unit", kind="crew", parent=None, lead="", phone="",
        lead_phone="", email="", lead_email="", webhook_url="",
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]  # here and below: the tests name real fields


def directory(**changes: object) -> Directory:
    units = {3: unit(3), 4: unit(4, hours="08:00-16:00")}
    base = Directory(
        version=1, district_code="440399", zone=SHANGHAI, places={}, categories={}, join_minutes={}, units=units,
        active=frozenset(units), responsibilities=(), calendar={},
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


def incident(**changes: object) -> Incident:
    base = Incident(
        id=1, state="dispatched", incident_class="B", base_class="B", category="fire.smoke", unit_id=3, reason="x",
        opened_at=MONDAY.astimezone(UTC),
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


def after(
    effects: Sequence[Effect],
    now: datetime = MONDAY,
    known: Sequence[Clock] = (),
    of: Incident | None = None,
    where: Directory | None = None,
) -> list[Clock]:
    """All clocks after the effects, numbered as a database would."""
    changed = clocks.apply(known, effects, of or incident(), LIMITS, where or directory(), now)
    kept = {clock.id: clock for clock in known}
    for clock in changed:
        number = clock.id or 1 + max(kept, default=0)
        kept[number] = replace(clock, id=number)
    return list(kept.values())


def begun(stage: Stage = "handle", now: datetime = MONDAY, **more: object) -> Clock:
    (clock,) = after([Start(stage=stage, **more)], now)  # type: ignore[arg-type]
    return clock


def open_of(found: Sequence[Clock]) -> list[Clock]:
    return [clock for clock in found if clock.ended_at is None]


# ── beginning and ending ─────────────────────────────────────────────────────────────────────────────


def test_a_clock_begins_with_the_limit_of_its_stage() -> None:
    clock = begun("acknowledge")
    assert (clock.due_at, clock.unit_id, clock.outcome) == (MONDAY + 30 * MINUTE, 3, None)
    assert clock.next_at == clock.due_at  # the ladder of acknowledging begins at the deadline


def test_three_working_days_end_with_the_third_day_after() -> None:
    assert begun().due_at == datetime(2026, 11, 19, 18, tzinfo=SHANGHAI)
    assert not begun().provisional


def test_a_unit_with_hours_of_its_own_is_due_when_it_closes() -> None:
    (clock,) = after([Start(stage="handle")], of=incident(unit_id=4))
    assert clock.due_at == datetime(2026, 11, 19, 16, tzinfo=SHANGHAI)


def test_what_is_the_centres_time_is_nobodys_unit_and_runs_in_the_centres_hours() -> None:
    where = directory(
        units={3: unit(3), 9: unit(9, kind="district_centre", hours="07:00-23:00")}, active=frozenset({3, 9})
    )
    (clock,) = after([Start(stage="verify")], MONDAY.replace(hour=20), where=where)
    assert (clock.unit_id, clock.due_at) == (None, MONDAY.replace(hour=8) + DAY)
    (handling,) = after([Start(stage="handle")], where=where)
    assert handling.due_at == datetime(2026, 11, 19, 18, tzinfo=SHANGHAI)  # not the centre's hours


def test_a_stage_without_limit_has_no_clock() -> None:
    assert after([Start(stage="arrive")]) == []


def test_a_deadline_that_was_given_stands_above_the_limit() -> None:
    clock = begun("handle", due_at=MONDAY + HOUR)
    assert (clock.due_at, str(clock.limit)) == (MONDAY + HOUR, "3wd")
    (bare,) = after([Start(stage="arrive", due_at=MONDAY + HOUR)])
    assert (bare.due_at, str(bare.limit)) == (MONDAY + HOUR, "60m")


def test_a_deadline_before_the_start_is_due_at_once() -> None:
    assert begun("handle", due_at=MONDAY - DAY).due_at == MONDAY


def test_beginning_anew_cancels_what_ran() -> None:
    found = after([Start(stage="handle")], MONDAY + HOUR, [replace(begun(), id=1)])
    assert [(clock.outcome, clock.started_at) for clock in found] == [
        ("cancelled", MONDAY),
        (None, MONDAY + HOUR),
    ]
    assert found[0].next_at is None


@pytest.mark.parametrize(("minutes", "outcome"), [(30, "met"), (30.001, "late")])
def test_met_becomes_late_by_itself(minutes: float, outcome: str) -> None:
    (clock,) = after(
        [End(stages=("acknowledge",))], MONDAY + minutes * MINUTE, [replace(begun("acknowledge"), id=1)]
    )
    assert clock.outcome == outcome
    assert clock.ended_at == MONDAY + minutes * MINUTE


def test_ending_names_its_stages_or_means_all() -> None:
    running = after([Start(stage="handle"), Start(stage="acknowledge")])
    assert [clock.stage for clock in open_of(after([End(stages=("acknowledge",))], known=running))] == [
        "handle"
    ]
    assert open_of(after([End()], known=running)) == []


def test_what_begins_and_ends_in_one_decision_never_was() -> None:
    assert after([Start(stage="acknowledge"), End()]) == []


@pytest.mark.parametrize("written", ["9999999m", "1112d", "26667h", "5001wh", "751wd", "12345678m"])
def test_a_limit_of_many_years_is_a_slip_of_the_pen(written: str) -> None:
    with pytest.raises(LimitError):
        read_limit(written)


def test_a_deadline_far_away_is_kept_with_a_limit_that_can_be_read_again() -> None:
    clock = begun("arrive", due_at=MONDAY + 4000 * DAY)
    assert clock.due_at == MONDAY + 4000 * DAY
    assert read_limit(str(clock.limit)) == clock.limit


# ── standing still ───────────────────────────────────────────────────────────────────────────────────


def test_a_suspension_stops_the_clock_and_gives_back_what_was_left() -> None:
    (paused,) = after([Pause()], MONDAY + 20 * MINUTE, [replace(begun("acknowledge"), id=1)])
    assert (paused.left_minutes, paused.next_at, paused.due_at) == (10, None, MONDAY + 30 * MINUTE)
    (going,) = after([Resume()], MONDAY + 90 * DAY, [paused])
    assert (going.due_at, going.left_minutes) == (MONDAY + 90 * DAY + 10 * MINUTE, None)


def test_working_time_left_is_given_back_in_working_time() -> None:
    friday = datetime(2026, 11, 20, 16, tzinfo=SHANGHAI)
    clock = replace(begun("verify", friday), id=1)  # two hours on Friday, two on Monday
    (paused,) = after([Pause()], friday + HOUR, [clock])
    assert paused.left_minutes == 180
    (going,) = after([Resume()], friday + DAY, [paused])  # a Saturday
    assert going.due_at == datetime(2026, 11, 23, 12, tzinfo=SHANGHAI)


def test_what_is_over_when_it_is_paused_is_over_when_it_goes_on() -> None:
    (paused,) = after([Pause()], MONDAY + HOUR, [replace(begun("acknowledge"), id=1)])
    assert paused.left_minutes == 0
    (ended,) = after([End()], MONDAY + DAY, [paused])
    assert ended.outcome == "late"
    (going,) = after([Resume()], MONDAY + DAY, [paused])
    assert going.due_at == MONDAY + DAY


def test_the_approvers_time_and_the_suspension_run_on() -> None:
    known = after([Start(stage="answer", limit=read_limit("1h")), Start(stage="handle")])
    found = after([Pause(), Start(stage="suspension", limit=read_limit("5d"))], MONDAY + MINUTE, known)
    assert {clock.stage: clock.paused_at is None for clock in found} == {
        "answer": True,
        "handle": False,
        "suspension": True,
    }


def test_pausing_twice_changes_nothing() -> None:
    (once,) = after([Pause()], MONDAY + 20 * MINUTE, [replace(begun("acknowledge"), id=1)])
    assert after([Pause()], MONDAY + 25 * MINUTE, [once]) == [once]


# ── more time ────────────────────────────────────────────────────────────────────────────────────────


def test_an_extension_counts_from_the_deadline_and_the_ladder_begins_again() -> None:
    clock = replace(begun(), id=1, said=2)
    (longer,) = after([Extend(stage="handle", by=read_limit("1wd"))], MONDAY + HOUR, [clock])
    assert (longer.due_at, longer.said) == (datetime(2026, 11, 20, 18, tzinfo=SHANGHAI), 0)
    assert longer.next_at is not None
    assert clock.due_at > longer.next_at - DAY


def test_an_extension_while_suspended_is_added_to_what_is_left() -> None:
    (paused,) = after([Pause()], MONDAY + 20 * MINUTE, [replace(begun("acknowledge"), id=1)])
    (longer,) = after([Extend(stage="acknowledge", by=read_limit("1h"))], MONDAY + HOUR, [paused])
    assert longer.left_minutes == 70


def test_the_clock_goes_with_the_incident_to_another_unit_and_keeps_its_deadline() -> None:
    clock = replace(begun(), id=1)
    found = after([Start(stage="acknowledge")], MONDAY + HOUR, [clock], of=incident(unit_id=4))
    assert [(one.stage, one.unit_id) for one in found] == [("handle", 4), ("acknowledge", 4)]
    assert found[0].due_at == clock.due_at


def test_a_graver_incident_climbs_the_ladder_of_its_level() -> None:
    clock = replace(begun("acknowledge"), id=1, said=2, next_at=None)
    (graver,) = after([End(stages=("arrive",))], MONDAY + 40 * MINUTE, [clock], of=incident(event_level=1))
    assert graver.next_at == MONDAY + 90 * MINUTE


# ── the ladder's instants ────────────────────────────────────────────────────────────────────────────


def test_shares_of_working_days_run_in_working_time() -> None:
    clock = begun()  # Monday 10:00, due Thursday 18:00; three days of seven hours
    steps = clocks.ladder_of(clock, incident(), directory())
    local = [at and at.astimezone(SHANGHAI) for at in clocks.instants(clock, steps, directory())]
    assert [at and at.strftime("%a %H:%M") for at in local] == [
        "Thu 11:48",  # 4.2 working hours before
        "Thu 18:00",
        "Fri 16:15",  # 5.25 after
        "Mon 14:30",  # 10.5 after: Friday's seven, three before Monday's lunch, half an hour behind it
    ]


def test_a_step_that_would_lie_before_the_start_is_left_out() -> None:
    where = directory(
        urging=Ladder(
            (
                replace(DEFAULT.steps[0], at="-60m", purpose="remind"),
                replace(DEFAULT.steps[1], at="0"),
            )
        )
    )
    clock = begun("acknowledge")
    steps = clocks.ladder_of(clock, incident(), where)
    assert clocks.instants(clock, steps, where) == [None, clock.due_at]
    assert clocks.scheduled(clock, incident(), where).next_at == clock.due_at


def test_a_step_beyond_what_can_be_counted_never_comes() -> None:
    far = replace(DEFAULT.of(4, "C", "handle")[3], step=1, at="+9999%")
    where = directory(urging=Ladder((far,)))
    clock = replace(begun(), limit=read_limit("750wd"))
    assert clocks.instants(clock, (far,), where) == [None]
    assert clocks.scheduled(clock, incident(), where).next_at is None


# ── another calendar ─────────────────────────────────────────────────────────────────────────────────


def test_a_day_off_that_is_announced_moves_deadlines_behind_it_and_no_others() -> None:
    off = {date(2026, 11, 18): False}
    where = directory(calendar=off)
    moved = rebasing.rebased(replace(begun(), id=1), {}, incident(), where, MONDAY)
    assert moved.due_at == datetime(2026, 11, 20, 18, tzinfo=SHANGHAI)
    early = replace(begun("verify"), id=2)
    assert rebasing.rebased(early, {}, incident(), where, MONDAY) == early
    natural = replace(begun("acknowledge"), id=3)
    assert rebasing.rebased(natural, {}, incident(), where, MONDAY) == natural


def test_a_saturday_that_is_worked_brings_deadlines_forward() -> None:
    friday = datetime(2026, 11, 20, 16, tzinfo=SHANGHAI)
    where = directory(calendar={date(2026, 11, 21): True})
    moved = rebasing.rebased(replace(begun("verify", friday), id=1), {}, incident(), where, friday)
    assert moved.due_at == datetime(2026, 11, 21, 11, tzinfo=SHANGHAI)


def test_working_out_again_on_the_same_calendar_changes_nothing() -> None:
    clock = replace(begun(), id=1, next_at=begun().next_at)
    assert rebasing.rebased(clock, {}, incident(), directory(), MONDAY) == clock


def test_what_was_told_of_a_deadline_that_moved_away_is_told_again_of_the_new_one() -> None:
    late = datetime(2026, 11, 19, 18, 1, tzinfo=SHANGHAI)
    clock = replace(begun(), id=1, said=2)  # reminded and overdue
    moved = rebasing.rebased(clock, {}, incident(), directory(calendar={date(2026, 11, 19): False}), late)
    assert (moved.due_at, moved.said) == (datetime(2026, 11, 20, 18, tzinfo=SHANGHAI), 0)
    assert moved.next_at is not None


# ── never negative ───────────────────────────────────────────────────────────────────────────────────

_limits = st.builds(
    Limit, amount=st.integers(1, 40), unit=st.sampled_from(("natural", "working", "working_day"))
)
_effects = st.one_of(
    st.builds(Start, stage=st.sampled_from(STAGES), limit=st.none() | _limits),
    st.builds(
        Start,
        stage=st.sampled_from(STAGES),
        due_at=st.integers(-5000, 5000).map(lambda minutes: MONDAY + minutes * MINUTE),
    ),
    st.builds(
        End,
        stages=st.lists(st.sampled_from(STAGES), max_size=2).map(tuple),
        outcome=st.sampled_from(("met", "cancelled")),
    ),
    st.just(Pause()),
    st.just(Resume()),
    st.builds(Extend, stage=st.sampled_from(STAGES), by=_limits),
)


@given(
    st.lists(
        st.tuples(st.integers(-3000, 6000), st.lists(_effects, min_size=1, max_size=3)),
        min_size=1,
        max_size=8,
    )
)
def test_whatever_happens_in_whatever_time_no_clock_is_negative(
    history: list[tuple[int, list[Effect]]],
) -> None:
    """Also when the machine's clock goes back between two decisions."""
    known: list[Clock] = []
    for minutes, effects in history:
        now = MONDAY + minutes * MINUTE
        known = after(effects, now, known)
        running = open_of(known)
        assert len({clock.stage for clock in running}) == len(running)
        for clock in known:
            assert clock.due_at >= clock.started_at
            assert clock.left_minutes is None or clock.left_minutes >= 0
            assert (clock.paused_at is None) == (clock.left_minutes is None)
            assert (clock.ended_at is None) == (clock.outcome is None)
            assert clock.ended_at is None or clock.ended_at >= clock.started_at
            assert clock.next_at is None or (clock.ended_at is None and clock.paused_at is None)
