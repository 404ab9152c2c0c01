"""Screens of a centre that leaves: spread over its time, none forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from command_centre.api.screen.parting import moments


@given(st.integers(0, 500), st.floats(0.1, 60), st.lists(st.floats(0, 1), min_size=1))
def test_every_screen_gets_its_moment_within_the_time(
    screens: int, seconds: float, draws: list[float]
) -> None:
    drawn = iter(draws * 501)
    waits = moments(screens, seconds, lambda: next(drawn))
    assert len(waits) == screens
    assert all(wait >= -1e-9 for wait in waits)
    assert sum(waits) <= seconds * (1 + 1e-9)


def test_they_go_one_after_the_other() -> None:
    assert moments(4, 8.0, lambda: 0.5) == [1.0, 2.0, 2.0, 2.0]
