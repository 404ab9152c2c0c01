"""A list is narrowed down by what is given: not by None, but by what is merely false."""

import pytest

from city.storage.conditions import given


@pytest.mark.parametrize("value", [False, 0, "", ()])
def test_what_is_false_is_given(value: object) -> None:
    assert given("a", ("b = %(b)s", value)) == "a AND b = %(b)s"


def test_none_is_not_given_and_the_order_stays() -> None:
    assert given("a", ("b", None), ("d", 1), ("c", 2)) == "a AND d AND c"
    assert given("a", ("b", None)) == "a"
