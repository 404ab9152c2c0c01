"""Cursors go round unchanged, and anything else is refused readably."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_centre.api import paging
from command_centre.api.problem import Problem


@given(st.integers(0, 2**62), st.text(max_size=50))
def test_a_cursor_comes_back_as_it_went(number: int, code: str) -> None:
    assert paging.read(paging.write([number, code]), tuple[int, str]) == (number, code)


@given(st.text(max_size=80))
def test_rubbish_is_refused_with_the_field_named(cursor: str) -> None:
    with pytest.raises(Problem) as caught:
        paging.read("!" + cursor, tuple[int])
    assert caught.value.status == 422
    assert caught.value.more["errors"] == [
        {
            "field": "cursor",
            "value": ("!" + cursor)[:200],
            "remedy": "use `next` of the page before, unchanged",
        }
    ]


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(Problem):
        paging.read(paging.write(["D1"]), tuple[int])


def test_no_cursor_is_the_beginning() -> None:
    assert paging.read(None, tuple[int]) is None


@pytest.mark.parametrize(("rows", "more"), [(2, False), (3, False), (4, True)])
def test_next_only_when_there_is_more(rows: int, more: bool) -> None:
    page = paging.page(list(range(rows)), 3, lambda row: [row])
    assert len(page["items"]) == min(rows, 3)
    assert (page["next"] is not None) == more
    if more:
        assert paging.read(page["next"], tuple[int]) == (2,)
