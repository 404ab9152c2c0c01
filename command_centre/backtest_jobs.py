"""Back-tests that people asked the centre for: one at a time for each, a process each, ended when nobody waits.

Each runs under one centre; how it stands is written down for the others that share its address.
"""

import asyncio
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg_pool import PoolTimeout

import command_centre
from city.errors import CityError
from city.storage import backtests as stored
from command_centre.backtest_worker import Order

AT_ONCE = 2  # of all people together: a core each
KEPT = 20  # answers that are kept, the oldest go
KEPT_S = 15 * 60
ABANDONED_S = 30  # a running one that nobody looked at for so long ends
_MOST_BYTES = 256 * 1024 * 1024  # of one answer
_PACKAGES = Path(command_centre.__file__).resolve().parent.parent

State = Literal["running", "done", "failed", "cancelled"]
Connect = Callable[[], AbstractAsyncContextManager[AsyncConnection[Any]]]
log = structlog.get_logger(__name__)


class BusyError(CityError):
    """Not now: this person, or everybody together, has enough running. ``running`` is the person's own."""

    def __init__(self, message: str, running: str | None) -> None:
        super().__init__(message)
        self.running = running


@dataclass(kw_only=True, slots=True, eq=False)
class Job:
    """One back-test. ``report`` is JSON; ``error`` one line."""

    key: str
    owner: str
    state: State = "running"
    done: int = 0
    expected: int = 0
    report: bytes | None = None
    error: str | None = None
    looked_at: float = field(default_factory=time.monotonic)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    process: asyncio.subprocess.Process | None = None
    task: "asyncio.Task[None] | None" = None

    def looked(self) -> None:
        """Somebody still waits for it."""
        self.looked_at = time.monotonic()


class Told(msgspec.Struct):
    """A line of the worker's."""

    done: int = 0
    expected: int = 0
    report: msgspec.Raw = msgspec.Raw()
    error: str | None = None


class Jobs:
    """All of one centre; lives on its event loop. ``connect`` gives a connection in autocommit mode."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._jobs: dict[str, Job] = {}

    async def look(self, key: str) -> Job | None:
        """How it stands, wherever it runs, and that somebody waits for it; None = never was, or is too long ago."""
        self._forget()
        async with self._connect() as connection:
            elsewhere = await stored.look(connection, key, datetime.now(UTC))
        job = self._jobs.get(key)
        if job is not None:
            job.looked()
            if job.state != "running":
                await (
                    job.ended.wait()
                )  # until the other centres know it too: the next may be asked for at once
            return job
        if elsewhere is None:
            return None
        lost = elsewhere.state == "failed" and elsewhere.error is None
        return Job(
            key=key,
            owner=elsewhere.owner,
            state=cast(State, elsewhere.state),
            done=elsewhere.done,
            expected=elsewhere.expected,
            report=elsewhere.report,
            error="the centre that ran it is gone; ask again" if lost else elsewhere.error,
        )

    async def start(self, owner: str, order: Order) -> Job:
        """Raises BusyError."""
        self._forget()
        job = Job(key=secrets.token_urlsafe(12), owner=owner)
        async with self._connect() as connection:
            busy = await stored.begin(
                connection, job.key, owner, datetime.now(UTC), AT_ONCE, timedelta(seconds=KEPT_S)
            )
        if busy is not None and busy.own is not None:
            raise BusyError("you have a back-test running; wait for it, or cancel it", busy.own)
        if busy is not None:
            raise BusyError(f"{AT_ONCE} back-tests are running; try again in a minute", None)
        self._jobs[job.key] = job
        job.task = asyncio.create_task(self._run(job, order))
        return job

    async def cancel(self, job: Job) -> None:
        """End it, wherever it runs; nothing happens to one that has ended."""
        if job.state != "running":
            return
        job.state = "cancelled"
        _kill(job)
        async with self._connect() as connection:
            job.state = cast(State, await stored.end(connection, job.key, "cancelled", None, None))
        job.ended.set()

    async def _run(self, job: Job, order: Order) -> None:
        """Until it has ended, and said so to the other centres."""
        watch = asyncio.create_task(self._watch(job))
        try:
            await _follow(job, order)
        finally:
            watch.cancel()
            with suppress(psycopg.Error, PoolTimeout):  # the other centres see that it no longer says it runs
                async with self._connect() as connection:  # cancelled elsewhere a moment ago, it is cancelled
                    ended = await stored.end(connection, job.key, job.state, job.report, job.error)
                    job.state = cast(State, ended)
            job.ended.set()

    async def _watch(self, job: Job) -> None:
        """Tell how far it is; end it when it was cancelled at another centre, or nobody asks any more."""
        while True:
            await asyncio.sleep(1)
            looked_at = datetime.now(UTC) - timedelta(seconds=time.monotonic() - job.looked_at)
            with suppress(psycopg.Error, PoolTimeout):  # looked after again in a second
                async with self._connect() as connection:
                    told = await stored.progress(
                        connection, job.key, job.done, job.expected, datetime.now(UTC)
                    )
                if told is not None:
                    looked_at = max(looked_at, told[1])
                    if told[0] == "cancelled":
                        looked_at = datetime.min.replace(tzinfo=UTC)
            if job.state == "running" and datetime.now(UTC) - looked_at > timedelta(seconds=ABANDONED_S):
                job.state = "cancelled"
                _kill(job)

    async def close(self) -> None:
        """End what runs; with the centre."""
        tasks = []
        for job in self._jobs.values():
            if job.state == "running":
                job.state = "cancelled"
                _kill(job)
            if job.task is not None:
                tasks.append(job.task)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self) -> None:
        old = time.monotonic() - KEPT_S
        ended = [job for job in self._jobs.values() if job.state != "running"]
        excess = len(ended) - KEPT
        for place, job in enumerate(sorted(ended, key=lambda job: job.looked_at)):
            if place < excess or job.looked_at < old:
                del self._jobs[job.key]


async def _follow(job: Job, order: Order) -> None:
    """Start the process and read what it says until it ends."""
    try:
        job.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "command_centre.backtest_worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=_PACKAGES,  # where `-m` finds the packages, installed or not
            limit=_MOST_BYTES,
        )
        if job.state == "running":
            await _listen(job, job.process, order)
        else:
            _kill(job)
        await job.process.wait()
    except (OSError, ValueError, msgspec.DecodeError) as error:
        log.error("a back-test failed", error=str(error))
        _kill(job)
    finally:
        if job.state == "running":
            job.state, job.error = "failed", job.error or "the back-test ended without an answer; see the log"


async def _listen(job: Job, process: asyncio.subprocess.Process, order: Order) -> None:
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101 - both are pipes
    process.stdin.write(msgspec.json.encode(order))
    process.stdin.close()
    async for line in process.stdout:
        told = msgspec.json.decode(line, type=Told)
        if job.state != "running":
            return
        if bytes(told.report):
            job.state, job.report = "done", bytes(told.report)
        elif told.error is not None:
            job.state, job.error = "failed", told.error
        else:
            job.done, job.expected = told.done, told.expected


def _kill(job: Job) -> None:
    if job.process is not None and job.process.returncode is None:
        job.process.kill()
