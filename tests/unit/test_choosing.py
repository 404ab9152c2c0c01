"""Who gets it when the list's own unit is away, full, far, or has sent it back; and what a person must decide."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.clocks import Limit, Limits, Start, read_limits
from city.directory import Directory
from city.incidents import Incident
from city.rosters import Duty, Shift
from city.units import Responsibility, Unit
from command_centre.clocks import windows_of
from command_centre.dispatch import (
    Matter,
    decide,
    leaving_lane,
    limits_for,
    matter_of,
    opening,
)
from command_centre.redispatch import consider
from tests.unit.test_dispatch import CELL, STREET, directory, entry

FRIDAY_NIGHT = datetime(2026, 11, 20, 14, tzinfo=UTC)  # 22:00 in the district
FRIDAY_NOON = datetime(2026, 11, 20, 3, tzinfo=UTC)
OFFICE = Duty(shifts=(Shift(name="day", days="working", begins=time(8, 30), ends=time(18)),))
BIN = Matter(category="facility", cell_id=CELL)  # class C
SMOKE = Matter(category="fire.smoke", cell_id=CELL)  # class B
FIRE = Matter(category="fire", cell_id=CELL)  # class A


def town(
    *entries: Responsibility,
    units: Mapping[int, Mapping[str, object]] | None = None,
    away: tuple[int, ...] = (),
    work: Mapping[int, int] | None = None,
    automatic: str = "all",
    nearest: tuple[str, ...] = (),
) -> Directory:
    """Units 1 to 4; those in ``away`` work office hours only."""
    known = directory(*entries)
    changed = {
        number: replace(known.units[number], **given)  # type: ignore[arg-type]  # the tests name real fields
        for number, given in (units or {}).items()
    }
    return replace(
        known,
        units={**known.units, **changed},
        categories={
            code: replace(one, automatic=automatic)  # type: ignore[arg-type]  # all, alarms or none
            for code, one in known.categories.items()
        },
        duty=dict.fromkeys(away, OFFICE),
        open_work=work or {},
        nearest=frozenset(nearest),
    )


def lead(matter: Matter, known: Directory, now: datetime = FRIDAY_NIGHT) -> str | None:
    unit = decide(matter, known, now).unit
    return unit.code if unit else None


# ── who is there ─────────────────────────────────────────────────────────────────────────────────────


def test_off_duty_the_fallback_has_it_and_the_reason_says_both() -> None:
    known = town(entry("facility", None, 1), units={1: {"fallback": "u2"}}, away=(1,))
    decision = decide(BIN, known, FRIDAY_NIGHT)
    assert decision.unit is not None
    assert decision.unit.code == "u2"
    assert "单位1不在班，11-23 08:30到班；由单位2替补" in decision.reason
    assert "Unit 1 is off duty until 11-23 08:30; Unit 2 stands in" in decision.reason_en
    assert lead(BIN, known, FRIDAY_NOON) == "u1"


def test_the_chain_goes_on_past_a_fallback_that_is_away_too() -> None:
    units = {1: {"fallback": "u2"}, 2: {"fallback": "u3"}}
    assert lead(BIN, town(entry("facility", None, 1), units=units, away=(1, 2))) == "u3"


def test_a_circle_of_fallbacks_ends_in_the_lane_with_that_reason() -> None:
    units = {1: {"fallback": "u2"}, 2: {"fallback": "u1"}}
    decision = decide(BIN, town(entry("facility", None, 1), units=units, away=(1, 2)), FRIDAY_NIGHT)
    assert decision.unit is None
    assert "替补单位成环" in decision.reason
    assert "round in a circle" in decision.reason_en
    assert "can take it now" in decision.reason_en


def test_a_fallback_that_does_not_exist_is_said() -> None:
    known = town(entry("facility", None, 1), units={1: {"fallback": "gone"}}, away=(1,))
    assert "its fallback gone is no working unit" in decide(BIN, known, FRIDAY_NIGHT).reason_en


def test_without_a_fallback_the_next_entry_of_the_list_has_it() -> None:
    assert lead(BIN, town(entry("facility", STREET, 1), entry("facility", None, 2), away=(1,))) == "u2"


def test_class_a_goes_to_its_own_unit_when_nobody_stands_in() -> None:
    known = town(entry("fire", None, 1), units={1: {"fallback": "u2"}}, away=(1, 2))
    decision = decide(FIRE, known, FRIDAY_NIGHT)
    assert decision.unit is not None
    assert decision.unit.code == "u1"
    assert "class A and nobody stands in" in decision.reason_en
    assert lead(BIN, town(entry("facility", None, 1), away=(1,))) is None


def test_class_a_tells_its_own_unit_beside_the_one_that_stands_in() -> None:
    known = town(entry("fire", None, 1), units={1: {"fallback": "u2"}}, away=(1,))
    decision = decide(FIRE, known, FRIDAY_NIGHT)
    change = opening(FIRE, decision, FRIDAY_NIGHT, actor="system", source="alarm", title="", detail={})
    assert (change.incident.unit_id, change.co_units) == (2, (1,))
    assert [(tell.purpose, tell.unit_id) for tell in change.tells] == [("order", None), ("co_order", 1)]


# ── who is full ──────────────────────────────────────────────────────────────────────────────────────


def test_a_full_unit_is_relieved_and_counted_in_the_reason() -> None:
    units = {1: {"fallback": "u2", "capacity": 5}}
    assert lead(BIN, town(entry("facility", None, 1), units=units, work={1: 4})) == "u1"
    decision = decide(BIN, town(entry("facility", None, 1), units=units, work={1: 5}), FRIDAY_NIGHT)
    assert decision.unit is not None
    assert decision.unit.code == "u2"
    assert "单位1在办已满5件" in decision.reason
    assert "Unit 1 has the 5 incidents it can work on" in decision.reason_en


def test_when_everybody_is_full_the_lists_own_unit_has_it() -> None:
    units = {1: {"fallback": "u2", "capacity": 5}, 2: {"capacity": 1}}
    known = town(entry("facility", None, 1), units=units, work={1: 9, 2: 1})
    decision = decide(BIN, known, FRIDAY_NIGHT)
    assert decision.unit is not None
    assert decision.unit.code == "u1"
    assert "在办已满5件" in decision.reason
    assert decision.reason_en.endswith("nobody can stand in: Unit 1 has it all the same")
    assert [other.unit.code for other in decision.alternatives] == ["u2"]


def test_no_workload_keeps_class_a_away() -> None:
    known = town(
        entry("fire", None, 1), units={1: {"fallback": "u2", "capacity": 1}}, work={1: 90}, away=(2,)
    )
    assert lead(FIRE, known) == "u1"


def test_a_batch_counts_what_it_has_just_given() -> None:
    known = town(entry("facility", None, 1), units={1: {"fallback": "u2", "capacity": 2}}, work={1: 1})
    assert lead(BIN, known) == "u1"
    assert lead(BIN, known.taken_by(1)) == "u2"
    assert lead(BIN, known) == "u1"


def test_who_returned_it_is_passed_over_even_for_class_a() -> None:
    known = town(entry("fire", STREET, 1), entry("fire", None, 2))
    decision = decide(replace(FIRE, passed_over=frozenset({1})), known, FRIDAY_NIGHT)
    assert decision.unit is not None
    assert decision.unit.code == "u2"
    assert "Unit 1 has returned it" in decision.reason_en
    alone = decide(
        replace(FIRE, passed_over=frozenset({1})), town(entry("fire", None, 1), away=(1,)), FRIDAY_NIGHT
    )
    assert alone.unit is None


# ── who is near ──────────────────────────────────────────────────────────────────────────────────────

STATIONS = {
    1: {"kind": "station", "longitude": 114.30, "latitude": 22.60},
    2: {"kind": "station", "longitude": 114.20, "latitude": 22.60},
    3: {"kind": "brigade", "longitude": 114.20, "latitude": 22.60},
}
AT_TWO = replace(SMOKE, longitude=114.201, latitude=22.60)
LISTED = (entry("fire", STREET, 1), entry("fire", 77, 2), entry("fire", None, 3))


def test_the_nearest_sister_station_goes_where_the_category_says_so() -> None:
    decision = decide(AT_TWO, town(*LISTED, units=STATIONS, nearest=("fire",)), FRIDAY_NIGHT)
    assert decision.unit is not None
    assert decision.unit.code == "u2"
    assert "2个同类站点中最近的可派单位：单位2，0.1公里" in decision.reason
    assert "nearest of 2 stations that can go: Unit 2, 0.1 km" in decision.reason_en
    assert [(other.unit.code, other.reason_en) for other in decision.alternatives] == [
        ("u1", "further: 10.2 km")
    ]
    assert lead(AT_TWO, town(*LISTED, units=STATIONS)) == "u1"
    assert lead(SMOKE, town(*LISTED, units=STATIONS, nearest=("fire",))) == "u1"  # no position


def test_a_nearer_station_that_is_away_or_of_another_place_of_work_does_not_go() -> None:
    known = town(*LISTED, units=STATIONS, nearest=("fire",), away=(2,))
    decision = decide(AT_TWO, known, FRIDAY_NIGHT)
    assert decision.unit is not None
    assert decision.unit.code == "u1"
    assert "Unit 2 is off duty" in decision.reason_en
    unlisted = town(entry("fire", STREET, 1), units=STATIONS, nearest=("fire",))
    assert lead(AT_TWO, unlisted) == "u1"  # nobody lists the nearer one for fire


# ── what a person decides ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("listed", "catalogue", "source", "expected"),
    [
        (None, "all", "report", True),
        (None, "alarms", "report", False),
        (None, "alarms", "alarm", True),
        (None, "alarms", "system", True),
        (None, "alarms", "person", True),
        (None, "none", "alarm", False),
        ("all", "none", "report", True),
        ("none", "all", "alarm", False),
    ],
)
def test_the_entrys_word_stands_over_the_catalogues(
    listed: str | None, catalogue: str, source: str, expected: bool
) -> None:
    own = replace(entry("facility", None, 1), automatic=listed)  # type: ignore[arg-type]  # as above
    decision = decide(
        replace(BIN, source=source),  # type: ignore[arg-type]  # one of its four
        town(own, automatic=catalogue),
        FRIDAY_NIGHT,
    )
    assert (decision.automatic, decision.unit is not None) == (expected, expected)
    assert decision.suggestion is not None
    assert decision.suggestion.code == "u1"
    assert ("suggested: Unit 1" in decision.reason_en) is not expected


def test_what_waits_for_a_person_is_registered_or_filed_with_its_clock_and_suggestion() -> None:
    told = replace(BIN, source="report", nature="complaint")
    decision = decide(told, town(entry("facility", None, 1), automatic="none"), FRIDAY_NOON)
    for registered, state, stage in ((True, "registered", "accept"), (False, "filed", "dispatch")):
        change = opening(
            told,
            decision,
            FRIDAY_NOON,
            actor="user:7",
            source="report",
            title="",
            detail={},
            registered=registered,
        )
        assert (change.incident.state, change.incident.unit_id) == (state, None)
        assert change.effects == (Start(stage="handle", due_at=decision.due_at), Start(stage=stage))  # type: ignore[arg-type]  # a stage
        assert change.happenings[1].detail["suggestion"] == "u1"
        assert (change.incident.reported, change.incident.collected_by, change.incident.nature) == (
            True,
            "user:7",
            "complaint",
        )


@pytest.mark.parametrize(("tier", "steps"), [("district", 6), ("street", 5), ("community", 5)])
def test_the_districts_own_units_are_verified(tier: str, steps: int) -> None:
    known = town(entry("fire", None, 1), units={1: {"tier": tier}})
    decision = decide(replace(FIRE, longitude=114.3, latitude=22.7), known, FRIDAY_NIGHT)
    change = opening(
        replace(FIRE, longitude=114.3, latitude=22.7),
        decision,
        FRIDAY_NIGHT,
        actor="system",
        source="alarm",
        title="",
        detail={},
    )
    assert (decision.steps, change.incident.steps) == (steps, steps)
    assert (change.incident.longitude, change.incident.dispatched_at) == (114.3, FRIDAY_NIGHT)
    assert change.effects == (
        Start(stage="handle", due_at=decision.due_at),
        Start(stage="acknowledge"),
    )


def test_leaving_the_lane_ends_the_lanes_clocks_and_begins_the_units() -> None:
    waits = incident(unit_id=None, state="filed")
    known = town(entry("facility", None, 1))
    change = leaving_lane(waits, decide(matter_of(waits), known, FRIDAY_NOON), FRIDAY_NOON)
    assert change is not None
    assert [type(effect).__name__ for effect in change.effects] == ["End", "Start", "Start"]
    assert (change.incident.steps, change.incident.dispatched_at) == (6, FRIDAY_NOON)


# ── how long it may take ─────────────────────────────────────────────────────────────────────────────


def incident(**changes: object) -> Incident:
    stands = Incident(
        id=1,
        state="dispatched",
        incident_class="C",
        base_class="C",
        category="facility",
        area_id=CELL,
        unit_id=1,
        reason="x",
        opened_at=FRIDAY_NOON,
        dispatched_at=FRIDAY_NOON,
        awaiting_since=FRIDAY_NOON,
        due_at=FRIDAY_NOON + timedelta(hours=9),
    )
    return replace(stands, **changes)  # type: ignore[arg-type]  # the tests name real fields


def written(limits: Limits) -> dict[str, str]:
    return {stage: str(limit) for stage, limit in limits.items()}


def test_practice_holds_where_nobody_wrote_a_limit() -> None:
    known = town(entry("facility", None, 1))
    assert written(limits_for(incident(), known)) == {
        "dispatch": "60wm",
        "acknowledge": "5wm",
        "handle": "480wm",
        "verify": "1wd",
        "feedback": "1wd",
        "answer": "240wm",
    }
    urgent = limits_for(incident(incident_class="A", source="report"), known)
    assert written(urgent)["accept"] == "30wm"
    assert {stage: written(urgent)[stage] for stage in ("dispatch", "acknowledge", "verify", "answer")} == {
        "dispatch": "15m",
        "acknowledge": "5m",
        "verify": "240wm",
        "answer": "15m",
    }


def test_the_list_stands_over_the_catalogue_and_that_over_practice() -> None:
    own = replace(entry("facility", None, 1), limits=read_limits("acknowledge=10m;arrive=20m"))
    known = town(own, entry("facility", STREET, 2))
    catalogued = replace(
        known.categories["facility"],
        limits=read_limits("acknowledge=30m;handle=3wd;verify=2wd"),
        class_limits={"A": "45m", "C": "9wd"},
    )
    known = replace(known, categories={**known.categories, "facility": catalogued})
    found = written(limits_for(incident(), known))
    assert (found["acknowledge"], found["arrive"], found["handle"], found["verify"]) == (
        "10m",
        "20m",
        "3wd",
        "2wd",
    )
    assert written(limits_for(incident(incident_class="A"), known))["handle"] == "45m"
    old = replace(own, limit_minutes=90, clock="natural")
    assert written(limits_for(incident(), replace(known, responsibilities=(old,))))["handle"] == "90m"


def test_who_stands_in_has_the_limits_of_whom_it_stands_in_for() -> None:
    own = replace(entry("facility", None, 1), limits=read_limits("handle=2wd"))
    known = town(own, units={1: {"fallback": "u2"}})
    assert written(limits_for(incident(unit_id=2), known))["handle"] == "2wd"
    assert written(limits_for(incident(unit_id=3), known))["handle"] == "480wm"


def test_a_decision_counts_in_the_hours_of_the_unit() -> None:
    own = replace(entry("facility", None, 1), limits={"handle": Limit(amount=60, unit="working")})
    early = town(own, units={1: {"hours": "06:00-10:00"}})
    assert windows_of(1, early).hours[0][0] == time(6)
    assert decide(BIN, early, FRIDAY_NIGHT).due_at.astimezone(early.zone).hour == 7


def test_what_citizens_ask_of_nobodys_category_has_three_working_days() -> None:
    asked = decide(Matter(category="aliens", cell_id=CELL, nature="complaint"), town(), FRIDAY_NIGHT)
    assert str(asked.limits["handle"]) == "3wd"


# ── not acknowledged ─────────────────────────────────────────────────────────────────────────────────

RELIEVED = town(entry("facility", None, 1), units={1: {"fallback": "u2"}, 2: {"fallback": "u3"}})


def test_an_order_nobody_acknowledged_goes_to_the_fallback_once() -> None:
    change = consider(incident(), RELIEVED, FRIDAY_NOON)
    assert change is not None
    assert (change.incident.unit_id, change.incident.version, change.co_units) == (2, 2, None)
    assert change.incident.due_at == incident().due_at
    assert change.happenings[0].kind == "redispatched"
    assert "单位1逾时未签收" in change.happenings[0].reason
    assert "Unit 2 stands in" in change.incident.reason_en
    assert change.effects == (Start(stage="acknowledge"),)
    assert [(tell.purpose, tell.unit_id) for tell in change.tells] == [("order", None), ("decided", 1)]
    assert consider(change.incident, RELIEVED, FRIDAY_NOON) is None


def test_class_a_keeps_its_first_unit_beside_the_relief() -> None:
    change = consider(incident(incident_class="A", base_class="A"), RELIEVED, FRIDAY_NOON)
    assert change is not None
    assert change.co_units == (1,)
    assert ("co_order", 1) in [(tell.purpose, tell.unit_id) for tell in change.tells]


@pytest.mark.parametrize(
    ("changed", "known"),
    [
        ({"state": "acknowledged", "acknowledged_at": FRIDAY_NOON}, RELIEVED),
        ({"unit_id": 3}, RELIEVED),  # a person sent it elsewhere
        ({}, town(entry("facility", None, 1))),  # nobody stands in
        ({}, town(entry("facility", None, 1), units={1: {"fallback": "u2"}}, automatic="none")),
        ({"source": "report"}, town(entry("facility", None, 1), units={1: {"fallback": "u2"}}, automatic="alarms")),
    ],
)  # fmt: skip
def test_otherwise_it_stays(changed: dict[str, object], known: Directory) -> None:
    assert consider(incident(**changed), known, FRIDAY_NOON) is None


# ── always ───────────────────────────────────────────────────────────────────────────────────────────


@given(
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from([None, STREET, CELL])), min_size=1, max_size=4),
    st.dictionaries(st.integers(1, 4), st.sampled_from(["u1", "u2", "u3", "u4", "gone"])),
    st.frozensets(st.integers(1, 4)),
    st.dictionaries(st.integers(1, 4), st.integers(0, 3)),
    st.frozensets(st.integers(1, 4)),
    st.sampled_from(["facility", "fire"]),
)
def test_whoever_is_sent_can_go_or_it_is_class_a(
    listed: list[tuple[int, int | None]],
    fallback: dict[int, str],
    away: frozenset[int],
    work: dict[int, int],
    returned: frozenset[int],
    category: str,
) -> None:
    units = {
        number: {"capacity": 2, "fallback": code} for number, code in fallback.items() if code != f"u{number}"
    }
    known = town(
        *(entry(category, area, number) for number, area in listed),
        units=units,
        away=tuple(away),
        work=work,
    )
    matter = Matter(category=category, cell_id=CELL, passed_over=returned)
    decision = decide(matter, known, FRIDAY_NIGHT)
    named: set[int] = {number for number, _ in listed}
    if decision.unit is None:
        assert named <= returned | (away if category == "facility" else frozenset())
    else:
        assert decision.unit.id not in returned
        if category == "facility":
            assert decision.unit.id not in away
            assert decision.unit.id in named or not _full(decision.unit, work)
        else:
            assert decision.unit.id in named or decision.unit.id not in away
        assert decision.unit.id not in decision.co_units
        assert decision.unit.id not in {other.unit.id for other in decision.alternatives}
    assert decision.reason
    assert decision.reason_en


def _full(unit: Unit, work: dict[int, int]) -> bool:
    return unit.capacity is not None and work.get(unit.id, 0) >= unit.capacity
