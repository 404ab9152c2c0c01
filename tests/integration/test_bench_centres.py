"""The short form of ``python -m bench.centres``: what it counts, not how fast."""

import asyncio

import pytest

from bench.centres import Town, measure
from bench.screen_ground import lay_ground


@pytest.mark.slow  # three centres, one killed and one asked to leave
def test_nothing_is_lost_or_doubled_when_one_dies_and_one_leaves(migrated_url: str) -> None:
    lay_ground(migrated_url, devices=300, cells=50)
    town = Town(migrated_url, 3)
    try:
        found = asyncio.run(measure(town, screens=9, seconds=3, rate=5, devices=300))
    finally:
        town.close()
    assert (found["lost"], found["doubled"]) == (0, 0)
    assert found["killed"]["moved"] >= 3
    assert found["left"]["moved"] > 0
