"""What a silent district looks like, and how lists of several districts become one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_centre.city_standing import (
    FRESH,
    WORDS,
    Seen,
    Why,
    before,
    cursor_of,
    in_force,
    merged,
    standing,
    summed,
)
from command_centre.city_watch import reason

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
FIGURES = {
    "devices": 10, "online": 9, "alarms": 2, "stations": 3, "above_warning": 1,
    "classes": {"A": {"open": 1, "unacknowledged": 1, "overdue": 0}},
}  # fmt: skip


def test_what_was_said_a_moment_ago_is_shown() -> None:
    found = standing(Seen(figures=FIGURES, answered_at=NOW - FRESH), NOW)
    assert (found.state, found.silent_since, found.figures) == ("answers", None, FIGURES)


@pytest.mark.parametrize(
    ("seen", "since", "why"),
    [
        (Seen(), None, "slow"),  # never asked yet
        (Seen(why="unreachable"), None, "unreachable"),
        (Seen(figures=FIGURES, answered_at=NOW, why="moved"), NOW, "moved"),
        (Seen(figures=FIGURES, answered_at=NOW - FRESH * 2), NOW - FRESH * 2, "slow"),
    ],
)
def test_a_silent_district_has_no_figures(seen: Seen, since: datetime | None, why: str) -> None:
    found = standing(seen, NOW)
    assert (found.state, found.silent_since, found.why, found.figures) == ("silent", since, why, None)
    assert all(WORDS[found.why])


def test_the_sum_says_of_how_many_districts_it_is() -> None:
    each = [standing(Seen(figures=FIGURES, answered_at=NOW), NOW)] * 2 + [standing(Seen(), NOW)]
    found = summed(each)
    assert (found["districts"], found["answering"]) == (3, 2)
    assert (found["devices"], found["alarms"], found["above_warning"]) == (20, 4, 2)
    assert found["classes"]["A"] == {"open": 2, "unacknowledged": 2, "overdue": 0}
    assert found["classes"]["C"] == {"open": 0, "unacknowledged": 0, "overdue": 0}


@pytest.mark.parametrize(
    ("own", "levels", "level", "centre", "districts"),
    [
        (None, [None, None], None, False, []),
        ("IV", [None, "II"], "II", False, ["d1"]),
        ("I", ["III", "II"], "I", True, []),
        ("III", ["III", "IV", "III"], "III", True, ["d0", "d2"]),
        (None, ["IV", "III"], "III", False, ["d1"]),
    ],
)
def test_the_highest_response_level_is_named_with_whose_it_is(
    own: str | None, levels: list[str | None], level: str | None, centre: bool, districts: list[str]
) -> None:
    each = {
        f"d{n}": standing(Seen(figures=FIGURES | {"response_level": one}, answered_at=NOW), NOW)
        for n, one in enumerate(levels)
    }
    found = in_force(own, each)
    assert found == {"level": level, "centre": centre, "districts": districts, "unknown": 0}


def test_a_silent_districts_last_level_is_not_in_force_and_not_absent() -> None:
    was = Seen(figures=FIGURES | {"response_level": "I"}, answered_at=NOW, why="moved")
    answers = Seen(figures=FIGURES | {"response_level": "IV"}, answered_at=NOW)
    found = in_force(None, {"gone": standing(was, NOW), "here": standing(answers, NOW)})
    assert found == {"level": "IV", "centre": False, "districts": ["here"], "unknown": 1}


def district_rows(code: str, seconds: list[int]) -> list[dict[str, Any]]:
    """As a database gives them: newest first, then the highest id."""
    rows = [{"id": number, "opened_at": NOW + timedelta(seconds=at)} for number, at in enumerate(seconds, 1)]
    return sorted(rows, key=lambda row: (row["opened_at"], row["id"]), reverse=True)


def beyond(rows: list[dict[str, Any]], limit: tuple[datetime, int] | None, most: int) -> list[dict[str, Any]]:
    """What the query does."""
    return [row for row in rows if limit is None or (row["opened_at"], row["id"]) < limit][:most]


@given(
    seconds=st.dictionaries(
        st.sampled_from(["north", "east", "west"]), st.lists(st.integers(0, 5), max_size=12), min_size=1
    ),
    limit=st.integers(1, 4),
)
def test_pages_of_a_merge_show_every_row_once_in_one_order(seconds: dict[str, list[int]], limit: int) -> None:
    lists = {code: district_rows(code, at) for code, at in seconds.items()}
    shown, cursor = [], None
    while page := merged(
        {code: beyond(rows, before(cursor, code), limit + 1) for code, rows in lists.items()}, limit
    ):
        shown += page
        cursor = cursor_of(page[-1])
    assert shown == merged(lists, 1000)
    assert len({(row["district"], row["id"]) for row in shown}) == sum(map(len, lists.values()))


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (psycopg.OperationalError("connection failed: Connection refused"), "unreachable"),
        (psycopg.OperationalError("connection failed: session is read-only"), "moved"),
        (psycopg.OperationalError("FATAL: password authentication failed for user"), "refused"),
        (psycopg.errors.AdminShutdown(), "unreachable"),
        (psycopg.errors.QueryCanceled(), "slow"),
        (psycopg.errors.InsufficientPrivilege(), "refused"),
        (psycopg.errors.UndefinedTable(), "refused"),
    ],
)
def test_a_drivers_error_is_one_of_our_reasons(error: psycopg.Error, why: Why) -> None:
    assert reason(error) == why
