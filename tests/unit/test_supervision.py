"""Loops that fail are started again, counted, and end when the process does."""

import asyncio

import pytest

from command_centre import supervision
from command_centre.supervision import Supervision


def test_a_loop_that_fails_is_started_again_and_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(supervision, "RECOVERED_S", 0.001)

    async def scene() -> Supervision:
        stop = asyncio.Event()
        kept = Supervision(stop)
        starts = 0

        async def loop(end: asyncio.Event) -> None:
            nonlocal starts
            starts += 1
            if starts <= 2:
                raise OSError("the line is lost")
            await end.wait()

        kept.start("triage", loop)
        while starts < 3 or kept.failing:
            await asyncio.sleep(0.001)
        stop.set()
        await kept.ended(patience_s=10)
        return kept

    kept = asyncio.run(scene())
    assert kept.restarts == {"triage": 2}
    assert kept.failing == {}


def test_a_loop_that_does_not_hear_the_end_is_cancelled() -> None:
    async def scene() -> bool:
        stop = asyncio.Event()
        kept = Supervision(stop)
        cancelled = asyncio.Event()
        begun = asyncio.Event()

        async def deaf(_end: asyncio.Event) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        kept.start("deaf", deaf)
        await begun.wait()
        stop.set()
        await kept.ended(patience_s=0.01)
        return cancelled.is_set()

    assert asyncio.run(scene())
