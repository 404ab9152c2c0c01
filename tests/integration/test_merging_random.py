"""Whatever is merged and split in whatever order: no alarm and no reporter is lost, and everything comes back."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from city.incidents import Incident
from city.storage import incidents, merging
from command_centre.actions import ActionError
from tests.integration.merging_town import (
    LOSSLESS,
    MINUTE,
    Town,
    acted,
    alarms_of,
    do,
    founded,
    on,
    open_clocks,
    opened,
    rows,
)
from tests.integration.small_town import NOW
from tests.servers.postgres import PostgresServer

DEVICES = (("c01-s1",), ("c02-s1", "c02-s2"), (), ("c04-k1",))


@pytest.fixture(scope="module")
def town(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Town]:
    """Of this file alone."""
    with founded(postgres_server, postgres_template) as town:
        yield town


step = st.one_of(
    st.tuples(st.just("merge"), st.integers(0, 3), st.integers(0, 3)),
    st.tuples(st.just("split"), st.integers(0, 3), st.just(0)),
)


@pytest.mark.parametrize("examples", [4, pytest.param(40, marks=pytest.mark.slow)])
def test_random_merges_and_splits_lose_nothing(town: Town, examples: int) -> None:
    @settings(max_examples=examples, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(step, min_size=2, max_size=8))
    def walks(steps: list[tuple[str, int, int]]) -> None:
        _walked(town, steps)

    walks()


def _walked(town: Town, steps: list[tuple[str, int, int]]) -> None:
    cast = [
        opened(town, *devices, text="" if devices else "有人报", at=NOW - minutes * MINUTE)
        for devices, minutes in zip(DEVICES, (1, 0, 3, 2), strict=True)
    ]
    acted(town, "escalate", cast[3].id)
    acted(town, "acknowledge", cast[1].id)
    homes = {alarm: one.id for one in cast for alarm in alarms_of(town, one.id)}
    before = [rows(town, LOSSLESS, one.id) for one in cast]
    clocks = [open_clocks(town, one.id) for one in cast]
    for what, one, into in steps:
        with suppress(ActionError):  # not possible as things are; that it left no trace is seen below
            do(town, what, cast[one].id, **({"into": cast[into].id} if what == "merge" else {"alarms": []}))
        _nothing_is_lost(town, cast, homes)
    for _ in cast:
        for one in cast:
            if rows(town, "SELECT state FROM incidents WHERE id = %s", one.id) == [("merged",)]:
                do(town, "split", one.id)
    _nothing_is_lost(town, cast, homes)
    assert [rows(town, LOSSLESS, one.id) for one in cast] == before
    assert [open_clocks(town, one.id) for one in cast] == clocks
    assert on(town, incidents.verify_all) == {}


def _nothing_is_lost(town: Town, cast: list[Incident], homes: dict[object, int]) -> None:
    """Every alarm answers to the root of its home, every way ends at something open, and each has one owner."""
    now = dict(rows(town, "SELECT id, incident_id FROM alarms WHERE id = ANY(%s)", list(homes)))
    for alarm, home in homes.items():
        way = on(town, lambda connection, home=home: merging.way(connection, home))
        assert now[alarm] == way[-1]
        assert len(way) == len(set(way)) <= len(cast)
    states = rows(
        town,
        "SELECT state = 'merged', merged_into IS NOT NULL, closed_at IS NOT NULL, EXISTS (SELECT FROM incident_clocks"
        " WHERE incident_id = i.id AND stage = 'handle' AND ended_at IS NULL) FROM incidents i WHERE id = ANY(%s)",
        [one.id for one in cast],
    )
    for merged, into, closed, runs in states:
        assert merged == into == closed != runs
    assert any(not merged for merged, *_ in states)
