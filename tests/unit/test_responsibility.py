"""The responsibility list: who wins and why, what nobody has, what never comes into use, and what cannot be meant."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.directory import Place
from city.responsibilities import ResponsibilityList, above, contradiction, in_force, periods_overlap
from city.units import Responsibility
from command_centre.api.access import ROLES, needed
from command_centre.responsibility import ranked, reasoning
from command_centre.responsibility_coverage import EVERYTHING, Coverage, coverage, idle, leaves_of
from command_centre.responsibility_faults import circle_of, findings
from tests.unit.responsibility_town import (
    CELLS,
    CODES,
    COMMUNITIES,
    DISTRICT,
    EAST,
    NOW,
    WEST,
    directory,
    entry,
    unit,
    way,
)

HOUR = timedelta(hours=1)
AREAS = (None, DISTRICT, EAST, WEST, *COMMUNITIES, *CELLS)
entries = st.lists(
    st.builds(
        lambda code, area, unit_id: (code, area, unit_id),
        st.sampled_from(CODES),
        st.sampled_from(AREAS),
        st.integers(1, 5),  # unit 5 no longer works
    ),
    max_size=12,
    unique_by=lambda one: one[:2],
).map(lambda rows: [entry(number, *row) for number, row in enumerate(rows, 1)])


def ids(found: Sequence[Responsibility]) -> list[int]:
    return [one.id for one in found]


# ── who wins ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_longest_category_wins_and_then_the_smallest_place() -> None:
    listed = [
        entry(1, "fire", 10),
        entry(2, "fire", None),
        entry(3, "fire.smoke", EAST),
        entry(4, "fire.smoke", None),
        entry(5, "fire.smoke", 4),
        entry(6, "fire.smoke", WEST),
        entry(7, "fire.gas", 10),
        entry(8, "fir", 10),
    ]
    assert ids(ranked("fire.smoke", way(10), listed, NOW)) == [5, 3, 4, 1, 2]
    assert ids(ranked("fire.smoke", (), listed, NOW)) == [4, 2]


def test_only_what_holds_at_that_instant_is_ranked() -> None:
    listed = [
        entry(1, "fire", None, since=NOW - HOUR, until=NOW),
        entry(2, "fire", None, since=NOW, until=NOW + HOUR),
        entry(3, "fire", None, since=NOW + HOUR),
    ]
    assert [ids(ranked("fire", (), listed, NOW + n * HOUR)) for n in (-2, -1, 0, 1)] == [[], [1], [2], [3]]


@given(entries, st.sampled_from(CODES), st.sampled_from(list(CELLS)))
def test_looked_up_is_the_same_as_walked_through(listed: list[Responsibility], code: str, cell: int) -> None:
    places = [place.area_id for place in way(cell)]
    expected = sorted(
        (one for one in listed if one.category in above(code) and one.area_id in (*places, None)),
        key=lambda one: (-len(one.category), (*places, None).index(one.area_id)),
    )
    assert ranked(code, way(cell), listed, NOW) == expected
    assert ranked(code, way(cell), ResponsibilityList(listed), NOW) == expected


def test_every_entry_that_was_considered_says_why_it_won_or_lost() -> None:
    listed = ResponsibilityList(
        [
            entry(1, "fire.smoke", 10, 5),
            entry(2, "fire.smoke", 4, 2),
            entry(3, "fire.smoke", None, 3),
            entry(4, "fire", EAST, 4),
            entry(5, "fire.smoke", EAST, 1, since=NOW + HOUR),
            entry(6, "fire.smoke", WEST, 1),
            entry(7, "fire.smoke", 10, 3, since=NOW + HOUR, until=NOW + HOUR),  # withdrawn
        ]
    )
    found = reasoning("fire.smoke", way(10), listed, directory(), NOW)
    assert found.winner is not None
    assert found.winner.id == 2
    assert [(one.entry.id, one.verdict) for one in found.considered] == [
        (1, "unit_inactive"),
        (2, "wins"),
        (5, "not_in_force"),
        (3, "larger_place"),
        (4, "shorter_category"),
    ]
    assert found.elsewhere == 1
    by_id = {one.entry.id: one for one in found.considered}
    assert (by_id[5].reason, by_id[5].reason_en) == ("2026-11-21 13:00起才生效", "begins 2026-11-21 13:00")
    assert by_id[3].reason == "类别相同，地4比全区范围更小"
    assert by_id[4].reason_en == "fire.smoke is more specific than fire; the category is read first"
    assert by_id[2].reason == "fire.smoke × 地4最具体，由单位2主办"


def test_without_anybody_nothing_wins() -> None:
    found = reasoning("fire", way(10), ResponsibilityList(), directory(), NOW)
    assert (found.winner, found.considered, found.elsewhere) == (None, (), 0)


# ── gaps ─────────────────────────────────────────────────────────────────────────────────────────────


def told(found: Coverage) -> list[tuple[str, str | None]]:
    return [(gap.category, gap.place.code if gap.place else None) for gap in found.gaps]


def test_an_empty_list_is_one_gap() -> None:
    found = coverage(directory(), [], NOW)
    assert told(found) == [(EVERYTHING, None)]
    assert (found.leaves, found.cells, found.uncovered) == (5, 8, 40)


def test_gaps_are_told_as_the_shortest_category_and_the_largest_place() -> None:
    listed = [
        entry(1, "fire", None),
        entry(2, "flood", EAST),
        entry(3, "road.lamp", None),
        entry(4, "road.hole", 4),
        entry(5, "road.hole", 13),
        entry(6, "road.hole", 15, 5),
    ]
    found = coverage(directory(), listed, NOW)
    assert told(found) == [("flood", "a3"), ("road.hole", "a3"), ("road.hole", "a14")]
    assert found.uncovered == 3 + 4
    assert [(one.category, one.leaves, one.entry.id) for one in found.district_only] == [
        ("fire", 2, 1),
        ("road.lamp", 1, 3),
    ]


@given(entries)
def test_gaps_are_exactly_what_nobody_leads(listed: list[Responsibility]) -> None:
    town = directory()
    found = coverage(town, listed, NOW)
    nobodys = {
        (leaf, cell)
        for leaf, cell in product(leaves_of(town), CELLS)
        if not any(one.unit_id in town.active for one in ranked(leaf, way(cell), listed, NOW))
    }
    said = [
        (leaf, cell)
        for gap in found.gaps
        for leaf, cell in product(leaves_of(town), CELLS)
        if gap.category in (*above(leaf), EVERYTHING)
        and (gap.place is None or gap.place.area_id in [place.area_id for place in way(cell)])
    ]
    assert len(said) == len(set(said)) == found.uncovered
    assert set(said) == nobodys


# ── what never wins ──────────────────────────────────────────────────────────────────────────────────


@given(entries)
def test_idle_entries_are_exactly_those_that_never_win(listed: list[Responsibility]) -> None:
    town = directory()
    live = [one for one in listed if one.unit_id in town.active]
    wins: dict[int, set[str]] = {one.id: set() for one in live}
    for code, cell in product(CODES, CELLS):
        first = next(iter(ranked(code, way(cell), live, NOW)), None)
        if first is not None:
            wins[first.id].add(code)
    found = {one.entry.id: one.general for one in idle(town, listed, NOW)}
    general = {number for number, general in found.items() if general}
    assert set(found) - general == {number for number, codes in wins.items() if not codes}
    inner = {"fire", "flood", "road"}
    by_id = {one.id: one for one in live}
    assert general == {
        number for number, codes in wins.items() if codes == {by_id[number].category} and codes <= inner
    }


def test_without_a_map_nothing_is_called_idle() -> None:
    bare = directory()
    object.__setattr__(bare, "places", {})
    assert idle(bare, [entry(1, "fire", None)], NOW) == []


# ── what is wrong ────────────────────────────────────────────────────────────────────────────────────


def test_a_circle_is_one_matter_in_one_place_at_one_time() -> None:
    town = directory()
    whole, street = entry(1, "fire", None, 1, co=[2]), entry(2, "fire", EAST, 2, co=[1])
    assert ids(circle_of(whole, [street], town)) == [1, 2]
    assert ids(circle_of(street, [whole], town)) == [2, 1]
    assert circle_of(whole, [entry(2, "fire.smoke", EAST, 2, co=[1])], town) == ()
    assert circle_of(whole, [entry(2, "fire", EAST, 2, co=[3])], town) == ()
    apart = entry(1, "fire", WEST, 1, co=[2])
    assert circle_of(apart, [street], town) == ()
    later = entry(2, "fire", EAST, 2, co=[1], since=NOW + HOUR)
    assert circle_of(entry(1, "fire", None, 1, co=[2], until=NOW + HOUR), [later], town) == ()


def test_a_longer_circle_needs_one_cell_and_one_time_for_all_of_it() -> None:
    town = directory()
    one = entry(1, "fire", None, 1, co=[2])
    two, three = entry(2, "fire", EAST, 2, co=[3]), entry(3, "fire", 4, 3, co=[1])
    assert ids(circle_of(one, [two, three], town)) == [1, 2, 3]
    assert circle_of(one, [two, entry(3, "fire", WEST, 3, co=[1])], town) == ()
    until = entry(2, "fire", EAST, 2, co=[3], until=NOW)
    since = entry(3, "fire", 4, 3, co=[1], since=NOW)
    assert circle_of(one, [until, since], town) == ()


def test_everything_wrong_is_found_and_told_once() -> None:
    listed = [
        entry(1, "fire", None, 1, co=[2]),
        entry(2, "fire", EAST, 2, co=[1]),
        entry(3, "flood", WEST, 5),
        entry(4, "road", WEST, 4, co=[5]),
        entry(5, "gone.by", None, 1),
        entry(6, "road", EAST, 1),
        entry(7, "road", EAST, 2),
        entry(8, "road", 77, 1),
        entry(9, "road", 15, 1),
        entry(10, "road", 6, 3),
        entry(11, "flood", None, 1),
        entry(12, "flood.level", None, 1),
    ]
    units = [unit(1, "u2"), unit(2, "u3"), unit(3, "u1"), unit(4, "u1"), unit(5)]
    found = findings(directory(units=units), listed, NOW)
    assert sorted((one.kind, one.entries, one.units) for one in found) == [
        ("category_unknown", (5,), ()),
        ("circular_co_handling", (1, 2), ("u1", "u2")),
        ("circular_fallback", (), ("u1", "u2", "u3")),
        ("co_unit_inactive", (4,), ("u5",)),
        ("general_only", (11,), ()),
        ("never_wins", (4,), ()),
        ("no_cells", (8,), ()),
        ("two_leads", (6, 7), ()),
        ("unit_inactive", (3,), ("u5",)),
    ]
    assert all(one.reason and one.reason_en for one in found)


def test_a_sound_list_has_no_findings() -> None:
    listed = [entry(1, "fire", None, 1, co=[2]), entry(2, "fire", EAST, 3), entry(3, "flood", None, 2)]
    assert findings(directory(), listed, NOW) == []


@pytest.mark.parametrize(
    ("given_", "field"),
    [
        ({"since": NOW, "until": NOW}, "valid_to"),
        ({"since": NOW, "until": NOW - HOUR}, "valid_to"),
        ({"co": [2, 1]}, "co_units"),
        ({"co": [2, 2]}, "co_units"),
        ({"limits": "acknowledge=2h;handle=60m"}, "limits"),
        ({"limits": "acknowledge=30m;arrive=20m"}, "limits"),
        ({"limits": "arrive=3wd;handle=2wd"}, "limits"),
        ({"limits": "arrive=61m", "minutes": 60}, "limits"),
        ({"limits": "handle=30m", "minutes": 30}, "limits"),
    ],
)
def test_what_contradicts_itself_is_named(given_: dict[str, object], field: str) -> None:
    found = contradiction(entry(1, "fire", None, 1, **given_))  # type: ignore[arg-type]  # the table's own keys
    assert found is not None
    assert found.field == field
    assert found.reason
    assert found.reason_en


def test_limits_in_different_time_are_not_compared() -> None:
    assert contradiction(entry(1, "fire", None, 1, limits="acknowledge=2h;arrive=1wh;handle=1wd")) is None
    assert contradiction(entry(1, "fire", None, 1, limits="acknowledge=15m;verify=1m;handle=15m")) is None


@given(*[st.tuples(st.none() | st.integers(0, 9), st.none() | st.integers(0, 9)) for _ in range(2)])
def test_periods_overlap_when_some_instant_is_in_both(
    one: tuple[int | None, int | None], other: tuple[int | None, int | None]
) -> None:
    def dated(period: tuple[int | None, int | None], number: int) -> Responsibility:
        since, until = (None if hours is None else NOW + hours * HOUR for hours in period)
        return entry(number, "fire", None, since=since, until=until)

    first, second = dated(one, 1), dated(other, 2)
    instants = [NOW + half * HOUR / 2 for half in range(-2, 22)]
    together = any(in_force(first, at) and in_force(second, at) for at in instants)
    assert (
        periods_overlap((first.valid_from, first.valid_to), (second.valid_from, second.valid_to)) == together
    )


def test_a_place_of_another_net_is_read_by_its_code_only() -> None:
    stray = Place(area_id=99, layer="cell", code="a99", name="陌生格", name_en="")
    assert ids(ranked("fire", (stray,), [entry(1, "fire", 99), entry(2, "fire", EAST)], NOW)) == [1]


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_a_dispatcher_reads_the_list_and_does_not_change_it(method: str) -> None:
    path = "/api/responsibilities" if method == "POST" else "/api/responsibilities/7"
    assert "dispatcher" not in ROLES[needed(method, path)]
    assert "supervisor" in ROLES[needed(method, path)]
    assert "dispatcher" in ROLES[needed("GET", "/api/responsibilities")]
