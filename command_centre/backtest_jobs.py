"""Back-tests that people asked the centre for: one at a time for each, a process each, ended when nobody waits."""

import asyncio
import secrets
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec
import structlog

import command_centre
from city.errors import CityError
from command_centre.backtest_worker import Order

AT_ONCE = 2  # of all people together: a core each
KEPT = 20  # answers that are kept, the oldest go
KEPT_S = 15 * 60
ABANDONED_S = 30  # a running one that nobody looked at for so long ends
_MOST_BYTES = 256 * 1024 * 1024  # of one answer
_PACKAGES = Path(command_centre.__file__).resolve().parent.parent

State = Literal["running", "done", "failed", "cancelled"]
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
    """All of one centre; lives on its event loop."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def find(self, key: str) -> Job | None:
        """None = never was, or is too long ago."""
        self._forget()
        return self._jobs.get(key)

    def start(self, owner: str, order: Order) -> Job:
        """Raises BusyError."""
        self._forget()
        running = [job for job in self._jobs.values() if job.state == "running"]
        own = next((job.key for job in running if job.owner == owner), None)
        if own is not None:
            raise BusyError("you have a back-test running; wait for it, or cancel it", own)
        if len(running) >= AT_ONCE:
            raise BusyError(f"{AT_ONCE} back-tests are running; try again in a minute", None)
        job = Job(key=secrets.token_urlsafe(12), owner=owner)
        self._jobs[job.key] = job
        job.task = asyncio.create_task(_follow(job, order))
        return job

    def cancel(self, job: Job) -> None:
        """End it; nothing happens to one that has ended."""
        if job.state == "running":
            job.state = "cancelled"
            _kill(job)
            job.ended.set()

    async def close(self) -> None:
        """End what runs; with the centre."""
        tasks = []
        for job in self._jobs.values():
            self.cancel(job)
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
    watch = asyncio.create_task(_watch(job))
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
        watch.cancel()
        if job.state == "running":
            job.state, job.error = "failed", job.error or "the back-test ended without an answer; see the log"
        job.ended.set()


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


async def _watch(job: Job) -> None:
    """End it when nobody asks any more."""
    while True:
        await asyncio.sleep(1)
        if job.state == "running" and time.monotonic() - job.looked_at > ABANDONED_S:
            job.state = "cancelled"
            _kill(job)


def _kill(job: Job) -> None:
    if job.process is not None and job.process.returncode is None:
        job.process.kill()
