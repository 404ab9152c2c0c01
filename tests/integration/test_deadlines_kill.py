"""Three real processes strike the same clocks and are killed at random: each reminder and escalation exactly once."""

import asyncio

from bench.deadline_kill import STEPS, suffer
from city.storage import incidents
from city.storage.changes import open_connection


def test_each_step_is_written_and_told_exactly_once_whoever_dies(migrated_url: str) -> None:
    """The short form of ``python -m bench.deadline_kill``; what is asserted does not depend on how fast it goes."""
    done = suffer(migrated_url, incidents=150, kills=8, pause_s=0.2)
    assert (done.written, done.twice, done.missing) == (150 * STEPS, 0, 0)
    assert done.told == done.to_tell > 0

    async def broken() -> dict[int, int]:
        async with await open_connection(migrated_url, "test", autocommit=True) as connection:
            return await incidents.verify_all(connection)

    assert asyncio.run(broken()) == {}
