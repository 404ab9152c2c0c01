"""Patrol: what is owed when, over holidays and swapped weekends, and how finds are counted."""

import tomllib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.worktime import is_working_day
from command_centre import checklists, patrol
from command_centre.patrol import CADENCES, Cadence, ChecklistError, Made, Point

ZONE = ZoneInfo("Asia/Shanghai")


def at(day: str, hour: int = 10) -> datetime:
    return datetime.combine(date.fromisoformat(day), datetime.min.time(), ZONE) + timedelta(hours=hour)


def point(cadence: Cadence, since: str = "2026-09-01") -> Point:
    return Point(id=1, cadence=cadence, since=at(since, 0), worker="user:1", cell="c1", route="r1")


def standing(cadence: Cadence, checks: list[str], now: str, hour: int = 10) -> tuple[str, int]:
    owed = patrol.due(point(cadence), [at(day) for day in checks], {}, at(now, hour), ZONE)
    return owed.standing, owed.missed


# ── what is owed ──────────────────────────────────────────────────────────────────────────────────────


def test_a_daily_check_is_owed_on_working_days_alone() -> None:
    week = ["2026-11-16", "2026-11-17", "2026-11-18", "2026-11-19"]
    assert standing("daily", week, "2026-11-20") == ("due", 0)
    assert standing("daily", [*week, "2026-11-20"], "2026-11-20") == ("done", 0)
    assert standing("daily", [*week, "2026-11-20"], "2026-11-21") == ("rest", 0)  # a Saturday
    assert standing("daily", week[:2], "2026-11-20") == ("overdue", 2)


def test_a_swapped_weekend_is_owed_and_a_holiday_is_not() -> None:
    assert is_working_day(date(2026, 10, 10), {})  # a Saturday that is worked for the National Day
    assert standing("daily", [], "2026-10-10")[0] == "overdue"
    assert standing("daily", ["2026-09-30"], "2026-10-05") == ("rest", 0)
    calendar = {date(2026, 11, 20): False}
    owed = patrol.due(point("daily"), [at("2026-11-19")], calendar, at("2026-11-20"), ZONE)
    assert owed.standing == "rest"


def test_a_week_is_owed_until_its_last_working_day_ends() -> None:
    owed = patrol.due(point("weekly"), [at("2026-11-12")], {}, at("2026-11-18"), ZONE)
    assert (owed.standing, owed.due_at) == ("due", at("2026-11-21", 0))
    assert standing("weekly", ["2026-11-12"], "2026-11-21") == ("overdue", 0)
    assert standing("weekly", ["2026-11-12", "2026-11-21"], "2026-11-22") == ("done", 0)


def test_a_week_of_holidays_owes_nothing() -> None:
    calendar = {date(2026, 11, 16) + timedelta(days=n): False for n in range(7)}
    owed = patrol.due(point("weekly"), [at("2026-11-10")], calendar, at("2026-11-18"), ZONE)
    assert (owed.standing, owed.due_at) == ("rest", None)


def test_a_month_is_one_check() -> None:
    assert standing("monthly", ["2026-10-30"], "2026-11-02") == ("due", 0)
    assert standing("monthly", ["2026-09-30"], "2026-11-02") == ("overdue", 1)
    assert standing("monthly", ["2026-10-30", "2026-11-01"], "2026-11-30") == ("done", 0)


def test_nothing_is_owed_from_before_a_point_was_on_a_route() -> None:
    fresh = point("daily", since="2026-11-20")
    assert patrol.due(fresh, [], {}, at("2026-11-20"), ZONE).missed == 0
    assert patrol.due(fresh, [], {}, at("2026-11-20"), ZONE).standing == "due"


def test_a_check_counts_on_the_districts_day() -> None:
    late_evening = datetime(2026, 11, 19, 16, 30, tzinfo=UTC)  # half past midnight of the 20th
    owed = patrol.due(point("daily"), [late_evening], {}, at("2026-11-20"), ZONE)
    assert owed.standing == "done"


@given(st.sampled_from(CADENCES), st.dates(date(2024, 1, 1), date(2027, 12, 31)))
def test_periods_cover_every_day_once_and_are_due_inside_themselves(cadence: Cadence, day: date) -> None:
    first, last = patrol.period(cadence, day)
    assert first <= day <= last
    assert patrol.period(cadence, last + timedelta(days=1))[0] == last + timedelta(days=1)
    by = patrol.due_at(first, last, {}, ZONE)
    if by is not None:
        ends = (by.astimezone(ZONE) - timedelta(minutes=1)).date()
        assert first <= ends <= last
        assert is_working_day(ends, {})


@given(st.sampled_from(CADENCES), st.lists(st.integers(0, 60), max_size=30))
def test_another_check_never_makes_it_worse(cadence: Cadence, days: list[int]) -> None:
    now = at("2026-11-20")
    checks = [now - timedelta(days=n) for n in days]
    before = patrol.due(point(cadence), checks, {}, now, ZONE)
    after = patrol.due(point(cadence), [*checks, now], {}, now, ZONE)
    assert after.standing == "done"
    assert after.missed == before.missed


# ── appraisal ─────────────────────────────────────────────────────────────────────────────────────────


def test_much_and_well_are_counted_apart() -> None:
    points = [point("daily", since="2026-11-16")]
    made = [
        Made(point_id=1, actor="user:1", checks=2, on_site=1, fixed=1),
        Made(point_id=1, actor="user:2", checks=1, reported=2, confirmed=1, void=1),
        Made(point_id=9, actor="user:3", checks=1),  # of a point that is long gone
    ]
    days = {1: [date(2026, 11, 16), date(2026, 11, 17)]}
    span = (at("2026-11-16", 0), at("2026-11-21", 0))
    by_worker = patrol.appraise(points, made, days, {}, span, ZONE, "worker")
    assert by_worker.keys() == {"user:1", "user:2"}
    assert by_worker["user:1"].shown() == {
        "owed": 5, "done": 2, "done_percent": 40, "checks": 2, "on_site_percent": 50, "problems": 1, "fixed_on_spot": 1,
        "reported": 0, "confirmed": 0, "void": 0, "confirmed_percent": None,
    }  # fmt: skip
    assert by_worker["user:2"].shown()["confirmed_percent"] == 50
    by_cell = patrol.appraise(points, made, days, {}, span, ZONE, "cell")
    assert (by_cell["c1"].owed, by_cell["c1"].done, by_cell["c1"].checks) == (5, 2, 3)


def test_a_week_counts_by_a_check_before_the_span_began() -> None:
    days = {1: [date(2026, 11, 16)]}
    span = (at("2026-11-18", 0), at("2026-11-22", 0))
    figures = patrol.appraise([point("weekly")], [], days, {}, span, ZONE, "route")["r1"]
    assert (figures.owed, figures.done) == (1, 1)


def test_a_removed_point_is_not_owed_after_its_end() -> None:
    removed = Point(id=1, cadence="daily", since=at("2026-11-16", 0), until=at("2026-11-18"), route="r")
    span = (at("2026-11-16", 0), at("2026-11-21", 0))
    assert patrol.appraise([removed], [], {}, {}, span, ZONE, "route")["r"].owed == 2


@given(st.sampled_from(CADENCES), st.lists(st.dates(date(2026, 9, 15), date(2026, 11, 20)), max_size=40))
def test_nobody_does_more_than_is_owed_and_due_agrees_with_the_figures(
    cadence: Cadence, made: list[date]
) -> None:
    span = (at("2026-10-01", 0), at("2026-11-11", 0))
    found = patrol.appraise([point(cadence)], [], {1: made}, {}, span, ZONE, "route")["r1"]
    assert 0 <= found.done <= found.owed
    every = [date(2026, 9, 1) + timedelta(days=n) for n in range(90)]
    assert patrol.appraise([point(cadence)], [], {1: every}, {}, span, ZONE, "route")["r1"].done == found.owed


# ── checklists ────────────────────────────────────────────────────────────────────────────────────────


def test_the_built_in_checklists_are_whole_and_in_both_languages() -> None:
    found = checklists.load(None)
    assert set(found) == {"small_venue", "construction_site", "gas_use", "fire_exits", "school_surroundings"}
    for checklist in found.values():
        assert len(checklist.items) >= 4
        for one in (checklist, *checklist.items):
            assert any("\u4e00" <= letter <= "\u9fff" for letter in one.name)
            assert one.name_en.isascii()


def test_a_district_brings_its_own_and_keeps_the_others(tmp_path: Path) -> None:
    (tmp_path / "checklists.toml").write_text(
        '[gas_use]\nname = "燃气"\nname_en = "Gas"\ncadence = "daily"\n'
        'items = [{ code = "a", name = "阀", name_en = "Valve", category = "facility.gas" }]\n',
        encoding="utf-8",
    )
    found = checklists.load(tmp_path)
    assert found["gas_use"].cadence == "daily"
    assert "fire_exits" in found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[a]\nname="x"\nname_en="y"\nitems=[]\n', "at least one"),
        ('[a]\nname="x"\nname_en="y"\ncadence="hourly"\nitems=[1]\n', "hourly"),
        ('[a]\nname="x"\nname_en="y"\nitems=[{code="c"}]\n', "category missing"),
        ('[a]\nname_en="y"\nitems=[{code="c",name="n",name_en="e",category="k"}]\n', "name missing"),
        ('[a]\nname="x"\nname_en="y"\nitems=[{code="c",name="n",name_en="e",category="k"},'
         '{code="c",name="n",name_en="e",category="k"}]\n', "twice"),
        ('a = 1\n', "no table"),
    ],
)  # fmt: skip
def test_a_checklist_that_cannot_be_used_says_why(text: str, says: str) -> None:
    with pytest.raises(ChecklistError, match=says):
        patrol.checklists(tomllib.loads(text), "test")


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "checklists.toml").write_text("[broken", encoding="utf-8")
    with pytest.raises(ChecklistError, match=r"checklists\.toml"):
        checklists.load(tmp_path)
