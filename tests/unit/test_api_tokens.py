"""How tokens of programs look."""

import re

from hypothesis import given
from hypothesis import strategies as st

from command_centre import tokens


def test_a_fresh_one_looks_right_and_names_its_product() -> None:
    made = tokens.fresh()
    assert re.fullmatch(r"city_[0-9A-Za-z]{42}", made)
    assert tokens.looks_right(made)
    assert made != tokens.fresh()


@given(st.integers(5, 46), st.sampled_from("0aZ"))
def test_one_wrong_character_is_known_without_asking(at: int, other: str) -> None:
    made = tokens.fresh()
    changed = made[:at] + other + made[at + 1 :]
    assert tokens.looks_right(changed) is (changed == made)


@given(st.text(max_size=60))
def test_any_text_is_answered(text: str) -> None:
    assert not tokens.looks_right(text)
    assert not tokens.looks_right("city_" + text)
