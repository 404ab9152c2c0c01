"""responsibilities.csv read, written and compared with the list: a file that says the same changes nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.clocks import Limit
from city.district_source import Faults
from city.responsibility_files import HEADER, ListedResponsibility, parse_responsibilities, resolved, written
from city.responsibility_plan import plan
from city.units import Responsibility
from tests.unit.responsibility_town import NOW, entry

SHANGHAI = ZoneInfo("Asia/Shanghai")
HOUR = timedelta(hours=1)
UNITS = {"U1": 1, "U2": 2, "U3": 3}
AREAS = {("street", "S1"): 11, ("cell", "C1"): 12}


def read(text: str) -> tuple[list[ListedResponsibility], list[str]]:
    faults = Faults()
    listed = parse_responsibilities(text, faults, SHANGHAI)
    return listed, list(faults._lines)


def entries_of(text: str) -> list[Responsibility]:
    listed, faults = read(text)
    assert faults == []
    return [
        resolved(
            line,
            area_id=AREAS[line.area_layer, line.area] if line.area_layer and line.area else None,
            units=UNITS,
        )
        for line in listed
    ]


def test_every_column_is_read() -> None:
    (line,), faults = read(
        "category,area_layer,area,unit,class,limit_minutes,clock,co_units,limits,automatic,valid_from,valid_to\n"
        "fire,street,S1,U1,A,30,working,U2; U3,acknowledge=15m;verify=1wd,none,2026-12-01,"
        "2027-01-01T08:00:00+08:00\n"
    )
    assert faults == []
    assert line == ListedResponsibility(
        where="responsibilities.csv line 2",
        category="fire",
        area_layer="street",
        area="S1",
        unit="U1",
        incident_class="A",
        limit_minutes=30,
        clock="working",
        co_units=("U2", "U3"),
        limits={
            "acknowledge": Limit(amount=15, unit="natural"),
            "verify": Limit(amount=1, unit="working_day"),
        },
        automatic="none",
        valid_from=datetime(2026, 11, 30, 16, tzinfo=UTC),
        valid_to=datetime(2027, 1, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("columns", "cells", "words"),
    [
        ("co_units", "U1", ["co_units = 'U1'", "beside itself"]),
        ("co_units", "U2;U2", ["co_units = 'U2;U2'", "twice"]),
        ("limits", "acknowledge=2h;handle=1h", ["acknowledge = 120m is longer than handle = 60m"]),
        ("limits", "acknowledg=2h", ["'acknowledg' is no stage"]),
        ("limits", "handle=soon", ["limits = 'handle=soon'", "30m"]),
        ("limits,limit_minutes", "handle=1h,30", ["given twice"]),
        ("automatic", "yes", ["automatic = 'yes'", "all, alarms, none"]),
        ("valid_from", "tomorrow", ["valid_from = 'tomorrow'", "2026-12-01"]),
        ("valid_from", "2026-12-01T08:00:00", ["valid_from", "offset"]),
        ("valid_to", "2026-13-01", ["valid_to = '2026-13-01'"]),
        ("valid_from,valid_to", "2026-12-02,2026-12-01", ["valid_to", "ends before it begins"]),
    ],
)
def test_a_wrong_cell_is_named_with_its_remedy(columns: str, cells: str, words: list[str]) -> None:
    _, faults = read(f"category,unit,{columns}\nfire,U1,{cells}\n")
    assert len(faults) == 1
    assert faults[0].startswith("responsibilities.csv line 2: ")
    assert [word for word in words if word not in faults[0]] == []


def test_one_place_may_change_hands_on_a_day() -> None:
    text = "category,unit,valid_from,valid_to\nfire,U1,,2026-12-01\nfire,U2,2026-12-01,\n"
    assert read(text)[1] == []
    _, faults = read(text + "fire,U3,2027-01-01,2027-02-01\n")
    assert faults == [
        "responsibilities.csv line 4: category = 'fire'; one category and place has one lead unit; "
        "responsibilities.csv line 3 names it already"
    ]


listed = st.builds(
    lambda number, code, area, unit, co, limits, since, until: replace(
        entry(
            number,
            code,
            area,
            unit,
            co=[one for one in co if one != unit],
            limits=limits,
            since=None if since is None else NOW + since * HOUR,
            until=None if until is None else NOW + until * HOUR,
        ),
        automatic="none" if number % 2 else None,
    ),
    st.just(0),
    st.sampled_from(["fire", "fire.smoke", "flood"]),
    st.sampled_from([None, 11, 12]),
    st.integers(1, 3),
    st.lists(st.integers(1, 3), unique=True, max_size=2),
    st.sampled_from(["", "acknowledge=15m;handle=3wd"]),
    st.none() | st.integers(-5, 5),
    st.none() | st.integers(6, 9),
)


@given(st.lists(listed, max_size=6, unique_by=lambda one: (one.category, one.area_id)))
def test_a_list_that_is_written_and_read_again_changes_nothing(before: list[Responsibility]) -> None:
    living = [replace(one, id=number) for number, one in enumerate(before, 1)]
    text = written(
        living,
        {number: key for key, number in AREAS.items()},
        {number: code for code, number in UNITS.items()},
        now=NOW,
    )
    again = plan(entries_of(text), living, NOW)
    assert (again.begin, again.end, again.kept) == ((), (), ())


def test_what_has_no_code_any_more_is_not_written() -> None:
    living = [entry(1, "fire", 99), entry(2, "fire", None, 9), entry(3, "fire", None, 1, co=[2, 9])]
    text = written(living, {}, {1: "U1", 2: "U2"}, now=NOW)
    assert text.splitlines() == [",".join(HEADER), "fire,,,U1,,,,U2,,,,"]


# ── what a file changes ──────────────────────────────────────────────────────────────────────────────


def test_what_differs_ends_and_begins_now() -> None:
    living = [entry(1, "fire", None, 1), entry(2, "flood", None, 1), entry(3, "road", None, 1)]
    wanted = [entry(0, "fire", None, 1), entry(0, "flood", None, 2, since=NOW - HOUR)]
    found = plan(wanted, living, NOW)
    assert [one.id for one in found.end] == [2, 3]
    assert [(one.category, one.unit_id, one.valid_from) for one in found.begin] == [("flood", 2, NOW)]


def test_a_start_that_has_passed_is_as_good_as_none() -> None:
    living = [entry(1, "fire", None, 1, since=NOW - HOUR)]
    for since in (None, NOW - 5 * HOUR, NOW):
        assert plan([entry(0, "fire", None, 1, since=since)], living, NOW).begin == ()
    later = plan([entry(0, "fire", None, 1, since=NOW + HOUR)], living, NOW)
    assert (len(later.begin), len(later.end)) == (1, 1)


def test_a_line_that_is_over_says_nothing() -> None:
    found = plan([entry(0, "fire", None, 1, until=NOW)], [], NOW)
    assert (found.begin, found.end, found.kept) == ((), (), ())


def test_a_persons_word_stays_over_a_file() -> None:
    living = [entry(1, "fire", None, 2), entry(2, "flood", None, 2)]
    wanted = [entry(0, "fire", None, 1), entry(0, "road", None, 1), entry(0, "road", 11, 1)]
    found = plan(
        wanted,
        living,
        NOW,
        persons={("fire", None), ("flood", None)},
        ended_by_people=[entry(9, "road", None, 1, since=NOW - HOUR, until=NOW)],
    )
    assert found.end == ()
    assert [one.area_id for one in found.begin] == [11]
    assert found.kept == (("fire", None), ("road", None))
