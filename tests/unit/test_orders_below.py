"""Orders from below: who may give one, when somebody is missing, whom that reaches, and what counts as there."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.directory import Directory
from city.units import Tier, Unit
from command_centre import orders_below as rules
from command_centre.orders_below import Sent

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
BY = NOW + timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def unit(number: int, code: str, parent: str | None = None, tier: Tier = "district") -> Unit:
    return Unit(
        id=number, code=code, name=code, name_en=code, kind="", parent=parent, lead="", phone="", lead_phone="",
        email="", lead_email="", webhook_url="", tier=tier,
    )  # fmt: skip


def directory(*units: Unit, inactive: frozenset[int] = frozenset()) -> Directory:
    return Directory(
        version=1, district_code="440399", zone=ZoneInfo("Asia/Shanghai"), places={}, categories={}, join_minutes={},
        units={one.id: one for one in units}, active=frozenset(one.id for one in units) - inactive,
        responsibilities=(), calendar={},
    )  # fmt: skip


LINE = (unit(1, "district"), unit(2, "street", "district", "street"), unit(3, "crew", "street", "community"))


# ── given ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("role", "tier", "may"),
    [
        ("handler", "community", True),
        ("grid_worker", "street", True),
        ("handler", "district", False),
        ("grid_worker", None, False),
        ("viewer", "community", False),
        ("dispatcher", None, True),
        ("administrator", None, True),
    ],
)
def test_streets_and_communities_order_and_the_centre_for_them(
    role: str, tier: Tier | None, may: bool
) -> None:
    assert rules.may_order(role, unit(1, "u", tier=tier) if tier else None) is may


@pytest.mark.parametrize(
    ("units", "by", "field", "says"),
    [
        (["crew"], NOW, "by", "passed"),
        (["crew"], NOW + timedelta(days=31), "by", "30 days"),
        (["crew", "crew"], BY, "units", "more than once"),
        (["gone"], BY, "units", "working unit"),
        (["nobody"], BY, "units", "working unit"),
        ([], BY, "units", "at least one"),
        ([f"u{n}" for n in range(31)], BY, "units", "at most 30"),
    ],
)
def test_an_order_that_cannot_be_names_what_is_wrong(
    units: list[str], by: datetime, field: str, says: str
) -> None:
    known = directory(*LINE, unit(9, "gone"), inactive=frozenset({9}))
    found = rules.faults(units, by, known, NOW)
    assert (found[0].field, says in found[0].reason_en) == (field, True)


def test_a_sound_order_has_no_fault() -> None:
    assert rules.faults(["crew", "street"], BY, directory(*LINE), NOW) == []


# ── missing ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_ladder_climbs_from_the_unit_to_the_district() -> None:
    known, sent, heard = directory(*LINE), Sent(unit_id=3, next_at=BY - 15 * MINUTE), []
    for minutes in range(100):
        now = NOW + minutes * MINUTE
        if sent.next_at is not None and sent.next_at <= now:
            step, next_at = rules.steps_due(sent, BY, now)
            tell = rules.told(step, LINE[2], known)
            heard.append((minutes, tell.purpose, tell.unit_id, tell.to_lead))
            sent = Sent(unit_id=3, said=step, next_at=next_at)
    assert heard == [
        (45, "remind", 3, False),
        (60, "urge", 3, True),
        (70, "overdue", 2, True),
        (80, "overdue", 1, True),
    ]


def test_after_an_outage_only_the_last_step_is_told() -> None:
    step, next_at = rules.steps_due(Sent(unit_id=3, next_at=BY - 15 * MINUTE), BY, BY + timedelta(hours=5))
    assert (step, next_at) == (4, None)


def test_an_order_of_the_last_moment_reminds_of_nothing() -> None:
    assert rules.first_step(NOW + 10 * MINUTE, NOW) == (1, NOW + 10 * MINUTE)
    assert rules.first_step(BY, NOW) == (0, BY - 15 * MINUTE)


def test_a_line_that_ends_early_or_runs_in_a_circle_ends() -> None:
    alone = unit(7, "alone")
    assert rules.told(4, alone, directory(alone)).unit_id == 7
    one, other = unit(1, "a", "b"), unit(2, "b", "a")
    assert [found.code for found in rules.line_above(one, directory(one, other))] == ["b"]


@given(st.lists(st.integers(0, 300), max_size=40))
def test_every_step_is_told_at_most_once_however_time_passes(minutes: list[int]) -> None:
    said, next_at = rules.first_step(BY, NOW)
    sent, steps = Sent(unit_id=3, said=said, next_at=next_at), []
    for minute in sorted(minutes):
        now = NOW + minute * MINUTE
        if sent.next_at is not None and sent.next_at <= now:
            step, next_at = rules.steps_due(sent, BY, now)
            steps.append(step)
            sent = Sent(unit_id=3, said=step, next_at=next_at)
            assert next_at is None or next_at > now
    assert steps == sorted(set(steps))


# ── there ─────────────────────────────────────────────────────────────────────────────────────────────


def test_metres_along_the_ground() -> None:
    assert rules.metres(114.0, 22.7, 114.0, 22.7) == 0
    assert rules.metres(114.0, 22.7, 114.0, 22.7018) == pytest.approx(200, abs=1)
    assert rules.metres(114.0, 22.7, 114.00195, 22.7) == pytest.approx(200, abs=1)


def test_the_rate_counts_whoever_is_expected() -> None:
    units = [
        Sent(unit_id=1, arrived_at=BY),
        Sent(unit_id=2, arrived_at=BY + MINUTE),
        Sent(unit_id=3, declined_at=NOW),
        Sent(unit_id=4, released_at=NOW),
    ]
    found = rules.rate(units, BY)
    assert (found.expected, found.arrived, found.in_time, found.percent) == (3, 2, 1, 66)
    assert rules.rate([units[3]], BY).percent is None
    assert [one.unit_id for one in units if one.missing] == [3]


def test_a_person_answers_for_their_own_unit() -> None:
    assert rules.acts_for("handler", 3, 3)
    assert rules.acts_for("dispatcher", None, 3)
    assert not rules.acts_for("handler", 2, 3)
    assert not rules.acts_for("viewer", 3, 3)
