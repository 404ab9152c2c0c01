"""The centre's side of a city: each district asked by a loop of its own, so that none waits for another.

What they said last is held in memory; routes read it there. Lists of incidents are asked for when somebody wants them,
of all districts at once, and whoever has not answered in time is left out and named.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import psycopg
import structlog

from city.districts import CityDistrict, Districts
from city.storage import overview
from city.storage.overview import Connection
from command_centre.city_standing import WORDS, Seen, Standing, Why, standing
from command_centre.waking import rest

EVERY_S = 3.0
PATIENCE_S = 3.0  # of one question, connecting included
LEAVING_S = 0.2  # a question that hangs is not waited for longer when we leave
_KEPT = 2  # connections to a district that wait for the next question

T = TypeVar("T")
Work = Callable[[Connection], Awaitable[T]]
log = structlog.get_logger(__name__)


class CityWatch:
    """All districts; ``run`` keeps asking, ``standings`` tells, ``ask`` asks for more."""

    def __init__(self, districts: Districts) -> None:
        self.districts = districts
        self._lines = {one.code: _Line(one) for one in districts.each}

    async def run(self, stop: asyncio.Event) -> None:
        """Ask every district until ``stop``."""
        try:
            await asyncio.gather(*(line.watch(stop) for line in self._lines.values()))
        finally:
            await asyncio.gather(*(line.close() for line in self._lines.values()))

    def standings(self) -> dict[str, Standing]:
        """By code, in the order of the file."""
        now = datetime.now(UTC)
        return {code: standing(line.seen, now) for code, line in self._lines.items()}

    def answered_at(self, code: str) -> datetime | None:
        """When a district last said anything of itself; None = never since we started."""
        return self._lines[code].seen.answered_at

    async def ask(self, work: Callable[[str], Work[T]]) -> tuple[dict[str, T], dict[str, Why]]:
        """What each district answers to ``work(code)``, and why those that are left out gave nothing.

        One that is known to be silent is not waited for.
        """
        known = self.standings()
        silent: dict[str, Why] = {code: one.why for code, one in known.items() if one.state == "silent"}
        asked = {
            code: asyncio.create_task(line.asked(work(code)))
            for code, line in self._lines.items()
            if code not in silent
        }
        answers = {code: await one for code, one in asked.items()}
        silent |= {code: why for code, (_, why) in answers.items() if why}
        return {code: found for code, (found, why) in answers.items() if not why}, silent  # type: ignore[misc]  # no `why`: there is an answer


class _Line:
    """Connections to one district's database."""

    def __init__(self, district: CityDistrict) -> None:
        self._district = district
        self._idle: list[Connection] = []
        self._late: set[asyncio.Task[Any]] = set()  # given up, and not ended yet
        self.seen = Seen()

    async def watch(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if not self._late:  # a database that hangs is not asked again and again
                figures, why = await self.asked(overview.figures)
                if figures is not None and figures.get("code") != self._district.code:
                    figures, why = None, "another"
                self._note(figures, why)
            await rest(stop, EVERY_S)

    def _note(self, figures: Mapping[str, Any] | None, why: Why) -> None:
        if why != self.seen.why:
            if why:
                log.warning("a district is silent", district=self._district.code, why=WORDS[why][1])
            else:
                log.info("a district answers again", district=self._district.code)
        if figures is None:
            self.seen = Seen(figures=self.seen.figures, answered_at=self.seen.answered_at, why=why)
        else:
            self.seen = Seen(figures=figures, answered_at=datetime.now(UTC))

    async def asked(self, work: Work[T]) -> tuple[T | None, Why]:
        """The answer, or why there is none after PATIENCE_S.

        A cancelled question ends when its server or psycopg's own time-out says so; that is not waited for.
        """
        task = asyncio.ensure_future(self._answer(work))
        try:
            await asyncio.wait({task}, timeout=PATIENCE_S)
        finally:
            if not task.done():
                self._late.add(task)
                task.add_done_callback(self._forget)
                task.cancel()
        if task in self._late:
            return None, "slow"
        if (error := task.exception()) is not None:
            if isinstance(error, psycopg.Error):
                return None, reason(error)
            raise error
        return task.result(), ""

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._late.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that nobody is told of it

    async def _answer(self, work: Work[T]) -> T:
        if self._idle:
            connection = self._idle.pop()
            try:
                return await self._on(connection, work)
            except psycopg.OperationalError as error:  # it broke while it waited: one fresh try
                if isinstance(error, psycopg.errors.QueryCanceled):
                    raise
        return await self._on(await overview.connect(self._district.database), work)

    async def _on(self, connection: Connection, work: Work[T]) -> T:
        try:
            found = await work(connection)
        except BaseException:
            await connection.close()
            raise
        if len(self._idle) < _KEPT:
            self._idle.append(connection)
        else:
            await connection.close()
        return found

    async def close(self) -> None:
        if self._late:
            await asyncio.wait(self._late, timeout=LEAVING_S)
        for connection in self._idle:
            await connection.close()


def reason(error: psycopg.Error) -> Why:
    """Which of our few reasons a driver's error is; its own words may name hosts and accounts."""
    if isinstance(error, psycopg.errors.QueryCanceled):
        return "slow"
    if "session is read-only" in str(error):
        return "moved"
    if error.sqlstate is not None or "authentication" in str(error) or "permission denied" in str(error):
        return "unreachable" if (error.sqlstate or "").startswith(("57P", "08")) else "refused"
    return "unreachable"
