"""Each target of `make fuzz` for a moment, without atheris: what is refused is refused in the parser's own words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.bodies import changed
from tests.fuzz.parsers import PARSERS


@pytest.mark.parametrize("name", sorted(PARSERS))
@given(data=st.binary(max_size=300))
def test_hostile_bytes_are_answered(name: str, data: bytes) -> None:
    PARSERS[name](data)


def test_every_family_has_a_target() -> None:
    assert len(PARSERS) >= 20


@given(st.binary(min_size=3, max_size=24))
def test_a_body_is_changed_in_a_copy(data: bytes) -> None:
    body = {"a": [1, {"b": "c"}], "d": None}
    changed(body, data)
    assert body == {"a": [1, {"b": "c"}], "d": None}
