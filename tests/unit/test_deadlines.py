"""Clocks that strike: level by level, each step once, the highest told, silence when it is over."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.clocks import Clock, Limits, Pause, Start, read_limit
from city.directory import Directory
from city.incidents import Incident, Tell
from city.units import Unit
from city.urging import DEFAULT, Ladder, UrgingError, UrgingStep, check, read_moment
from command_centre import clocks
from command_centre.deadlines import struck, take

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LIMITS: Limits = {
    "acknowledge": read_limit("5m"),
    "handle": read_limit("100m"),
    "dispatch": read_limit("10m"),
}


def unit(unit_id: int, code: str, parent: str | None = None, kind: str = "crew") -> Unit:
    return Unit(
        id=unit_id, code=code, name="单位", name_en="Unit", kind=kind, parent=parent, lead="", phone="",
        lead_phone="", email="", lead_email="", webhook_url="",
    )  # fmt: skip


UNITS = {
    3: unit(3, "crew", "street"),
    5: unit(5, "street", "bureau"),
    7: unit(7, "bureau"),
    9: unit(9, "centre", kind="district_centre"),
}


def directory(*without: int) -> Directory:
    units = {unit_id: known for unit_id, known in UNITS.items() if unit_id not in without}
    return Directory(
        version=1, district_code="440399", zone=ZoneInfo("Asia/Shanghai"), places={}, categories={},
        join_minutes={}, units=units, active=frozenset(units), responsibilities=(), calendar={},
    )  # fmt: skip


def incident(**changes: object) -> Incident:
    base = Incident(
        id=1, state="dispatched", incident_class="B", base_class="B", category="fire.smoke", unit_id=3, reason="x",
        opened_at=NOON, awaiting_since=NOON,
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]  # the tests name real fields


def running(stage: str, of: Incident | None = None, where: Directory | None = None) -> Clock:
    effects = [Start(stage=stage)]  # type: ignore[arg-type]  # the tests name real stages
    (clock,) = clocks.apply([], effects, of or incident(), LIMITS, where or directory(), NOON)
    return replace(clock, id=1)


def climbed(
    clock: Clock, minutes: Sequence[float], of: Incident | None = None, where: Directory | None = None
) -> tuple[list[tuple[float, str, int]], list[Tell], Incident]:
    """What was written at which minute (kind, level), what was told, and the incident in the end."""
    owner, known = of or incident(), where or directory()
    written: list[tuple[float, str, int]] = []
    told: list[Tell] = []
    for minute in minutes:
        now = NOON + minute * MINUTE
        found = struck(clock, owner, known, now)
        if found is None:
            continue
        change = take(owner, [found], known, now)
        clock, owner = found.clock, change.incident
        written += [(minute, one.kind, int(str(one.detail["level"]))) for one in change.happenings]
        told += change.tells
    return written, told, owner


def test_nothing_before_its_time() -> None:
    almost = NOON + 5 * MINUTE - timedelta(microseconds=1)
    assert struck(running("acknowledge"), incident(), directory(), almost) is None


def test_urging_climbs_from_the_lead_to_the_unit_above_and_stops() -> None:
    written, told, after = climbed(running("acknowledge"), range(60))
    assert written == [(5, "urged", 1), (10, "urged", 2)]
    assert told == [
        Tell(purpose="urge", unit_id=3, to_lead=True),
        Tell(purpose="urge", unit_id=5, to_lead=True),
    ]
    assert (after.urged_level, after.urged_at, after.overdue_at) == (2, NOON + 10 * MINUTE, None)


def test_a_grave_incident_goes_up_to_the_district() -> None:
    grave = incident(event_level=2)
    written, told, _ = climbed(running("acknowledge", grave), range(60), grave)
    assert [minute for minute, _, _ in written] == [5, 10, 15]
    assert told[-2:] == [
        Tell(purpose="urge", unit_id=9, to_lead=True),
        Tell(purpose="supervise", unit_id=9, to_lead=True),
    ]


def test_handling_is_reminded_overdue_urged_and_escalated() -> None:
    written, told, after = climbed(running("handle"), range(300))
    assert written == [(80, "reminded", 1), (100, "overdue", 2), (125, "urged", 3), (150, "urged", 4)]
    assert [(one.purpose, one.unit_id, one.to_lead) for one in told] == [
        ("remind", 3, False),
        ("overdue", 3, True),
        ("urge", 5, True),
        ("urge", 9, True),
    ]
    assert (after.overdue_at, after.urged_level) == (NOON + 100 * MINUTE, 0)


def test_after_an_outage_only_the_highest_is_told_and_all_are_written() -> None:
    written, told, after = climbed(running("handle"), [500])
    assert [level for _, _, level in written] == [1, 2, 3, 4]
    assert told == [Tell(purpose="urge", unit_id=9, to_lead=True)]
    assert after.overdue_at == NOON + 500 * MINUTE


def test_the_lane_is_late_at_the_centre() -> None:
    lane = incident(state="filed", unit_id=None)
    _, told, _ = climbed(running("dispatch", lane), [8, 10], lane)
    assert told == [
        Tell(purpose="remind", unit_id=9, to_lead=False),
        Tell(purpose="overdue", unit_id=9, to_lead=True),
    ]
    nobody = directory(9)
    written, told, _ = climbed(running("dispatch", lane, nobody), [10], lane, nobody)
    assert [kind for _, kind, _ in written] == ["reminded", "overdue"]
    assert told == []


def test_where_nobody_is_above_the_lead_hears_of_it_again_and_the_top_is_the_district() -> None:
    alone = directory(5, 9)
    _, told, _ = climbed(running("handle"), range(300), where=alone)
    assert [one.unit_id for one in told] == [3, 3, 3, 3]
    _, told, _ = climbed(running("handle"), range(300), where=directory(9))
    assert [one.unit_id for one in told] == [3, 3, 5, 7]


def test_what_stands_still_or_is_over_says_nothing() -> None:
    clock = running("handle")
    (paused,) = clocks.apply([clock], [Pause()], incident(), LIMITS, directory(), NOON + MINUTE)
    ended = replace(clock, ended_at=NOON, outcome="met", next_at=None)
    for silent in (paused, ended):
        assert struck(silent, incident(), directory(), NOON + 500 * MINUTE) is None


@given(st.lists(st.integers(0, 200), max_size=40))
def test_however_often_and_in_whatever_order_it_is_looked_at_each_step_is_taken_once(
    looks: list[int],
) -> None:
    """Unsorted: the machine's clock may go back."""
    written, _, _ = climbed(running("handle"), looks)
    levels = [level for _, _, level in written]
    assert levels == sorted(set(levels))
    assert set(levels) == {
        level for level, at in enumerate((80, 100, 125, 150), 1) if any(look >= at for look in looks)
    }


# ── the ladder as data ───────────────────────────────────────────────────────────────────────────────


def test_the_built_in_ladder_can_be_climbed() -> None:
    check(DEFAULT.steps)


def test_the_most_particular_steps_hold_as_a_whole() -> None:
    only = UrgingStep(
        event_level=1,
        incident_class="A",
        stage="handle",
        step=1,
        at="0",
        purpose="overdue",
        tell=("supervisor",),
    )
    ladder = Ladder((*DEFAULT.steps, only))
    assert ladder.of(1, "A", "handle") == (only,)
    assert len(ladder.of(1, "B", "handle")) == 4
    assert ladder.of(3, "A", "handle") == DEFAULT.of(4, "C", "handle")
    assert Ladder(()).of(1, "A", "handle") == ()


@pytest.mark.parametrize("written", ["", "5", "50%", "-0%", "+5x", "-20 %", "+0m", "0%", "now"])
def test_an_instant_that_cannot_be_read_says_how_it_is_written(written: str) -> None:
    with pytest.raises(UrgingError, match="-20%"):
        read_moment(written)


def step(**changes: object) -> UrgingStep:
    base = UrgingStep(stage="handle", step=1, at="0", purpose="overdue", tell=("unit_lead",))
    return replace(base, **changes)  # type: ignore[arg-type]  # wrong values are the point


@pytest.mark.parametrize(
    ("ladder", "field"),
    [
        ([step(stage="lunch")], "items.0.stage"),
        ([step(event_level=5)], "items.0.event_level"),
        ([step(incident_class="D")], "items.0.class"),
        ([step(purpose="shout")], "items.0.purpose"),
        ([step(tell=())], "items.0.tell"),
        ([step(tell=("mayor",))], "items.0.tell"),
        ([step(at="-100%")], "items.0.at"),
        ([step(step=2)], "items.0.step"),
        ([step(), step(step=3, at="+10%")], "items.1.step"),
        ([step(), step(step=2, at="-10%")], "items.1.at"),
        ([step(at="-10%"), step(step=2, at="-20%")], "items.1.at"),
        ([step(at="+2h"), step(step=2, at="+90m")], "items.1.at"),
        ([step(), step(step=2, at="0")], "items.1.at"),
    ],
)
def test_a_ladder_that_cannot_be_climbed_names_the_step(ladder: list[UrgingStep], field: str) -> None:
    with pytest.raises(UrgingError) as caught:
        check(ladder)
    assert caught.value.field == field
    assert caught.value.remedy
    assert caught.value.remedy_zh
