"""Allowances refill steadily and forget the longest silent; nesting is found without reading texts for brackets."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_centre.api.access import TABLE
from command_centre.api.allowances import COSTS, GUESSED, Buckets, cost_of, is_guessed
from command_centre.api.bodies import too_deep


def test_a_burst_is_free_then_one_each_second() -> None:
    buckets = Buckets()

    def take(now: float, cost: float = 1) -> float:
        return buckets.take("a", cost, burst=3, per_s=1, now=now)

    assert [take(0), take(0), take(0)] == [0, 0, 0]
    assert take(0) == 1
    assert take(0.5) == 0.5
    assert take(1) == 0
    assert take(1) == 1
    assert take(100, cost=3) == 0
    assert take(100) == 1
    assert buckets.take("b", 1, burst=3, per_s=1, now=100) == 0


def test_what_costs_more_than_the_burst_is_never_free() -> None:
    assert Buckets().take("a", 10, burst=3, per_s=1, now=0) == 7


@given(st.lists(st.floats(0, 2), max_size=200))
def test_never_more_than_burst_and_refill(pauses: list[float]) -> None:
    buckets, now, taken = Buckets(), 0.0, 0
    for pause in pauses:
        now += pause
        taken += buckets.take("a", 1, burst=5, per_s=2, now=now) == 0
    assert taken <= 5 + 2 * now + 1e-6


def test_who_was_longest_silent_is_forgotten() -> None:
    buckets = Buckets(most=2)
    for who in ("a", "b", "a", "c"):
        buckets.take(who, 1, burst=1, per_s=0.001, now=0)
    assert buckets.take("b", 1, burst=1, per_s=0.001, now=0) == 0
    assert buckets.take("c", 1, burst=1, per_s=0.001, now=0) > 0


def test_every_route_that_is_named_is_there() -> None:
    assert set(COSTS) <= set(TABLE)
    assert set(TABLE) >= GUESSED
    assert cost_of("GET", "/api/register/export") == 60
    assert cost_of("HEAD", "/api/devices/D1/export") == 20
    assert cost_of("GET", "/api/devices/D1") == 1
    assert is_guessed("POST", "/api/screens/pair")
    assert not is_guessed("GET", "/api/screens")


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    ("body", "deep"),
    [
        (nested(32), False),
        (nested(33), True),
        (b'{"a":' * 40 + b"1" + b"}" * 40, True),
        (json.dumps({"text": "[" * 500}).encode(), False),
        (json.dumps({"text": '"[' * 500}).encode(), False),
        (json.dumps([{"a": []}] * 500).encode(), False),
        (b'"' + b"[" * 100, True),  # no text: it never ends
        (b"", False),
    ],
)
def test_nesting_is_found(body: bytes, deep: bool) -> None:
    assert too_deep(body) is deep
