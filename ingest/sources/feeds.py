"""Pull feeds as a source: public gauges asked for at their own pace, their answers put into the inbox like messages.

Who fails is tried again soon, then ever later, and as late as he asks. What is not committed when the process ends is
in the next answer, so nothing has to be acknowledged.
"""

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

import httpx
import structlog

from city.outgoing import Allowed, Guarded
from ingest.delivery import Delivery
from ingest.inbox import Inbox
from ingest.sources.feed_answers import fresh
from ingest.sources.feed_plan import Ask

AT_ONCE = 4
APART_S = 0.2  # between the first requests: a list of a thousand stations begins gently
TIMEOUT_S = 30.0
MOST_BYTES = 8 * 1024 * 1024  # of one answer
FIRST_WAIT_S = 30.0  # after a failure; then twice as long, and so on
LONGEST_WAIT_S = 3_600.0
GONE_WAIT_S = 21_600.0  # after "there is no such station", or as long as the server asks for, at most

log = structlog.get_logger()


@dataclass(kw_only=True, slots=True)
class _Turn:
    """One address and what is remembered of it."""

    ask: Ask
    next_at: float
    known: frozenset[int] = frozenset()
    unchanged: dict[str, str] = field(default_factory=dict)  # headers that ask for news only
    failures: int = 0


class _NoAnswerError(Exception):
    """Why there is no body; ``wait_s`` is what the server asked for, 0 = nothing."""

    def __init__(self, why: str, wait_s: float = 0.0) -> None:
        super().__init__(why)
        self.wait_s = wait_s


class FeedSource:
    """Every feed of one district."""

    def __init__(self, asks: Sequence[Ask], inbox: Inbox, *, source: int) -> None:
        self._asks = asks
        self._inbox = inbox
        self._source = source
        self._counters: Counter[str] = Counter()
        self._failing: set[str] = set()
        self._last_arrival_us = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name="feeds", daemon=True)

    @property
    def connected(self) -> bool:
        """Whether anybody answers."""
        return len(self._failing) < len(self._asks)

    @property
    def behind(self) -> bool:
        """A feed has no queue."""
        return False

    def start(self) -> None:
        """Ask in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Give up what is under way."""
        loop, main = self._loop, self._main
        if loop is not None and main is not None:
            try:
                loop.call_soon_threadsafe(main.cancel)
            except RuntimeError:
                return  # it has ended
            self._thread.join(5)

    def acknowledge(self, generation: int, packet_ids: list[int]) -> None:
        """Nothing: see above."""

    def figures(self) -> dict[str, object]:
        """Requests, answers with news, answers without, failures, and how many addresses fail now."""
        counted = ("asked", "news", "unchanged", "failures")
        return {
            **{f"feed_{name}": self._counters[name] for name in counted},
            "feed_addresses": len(self._asks),
            "feed_failing": len(self._failing),
        }

    def _run(self) -> None:
        try:
            asyncio.run(self._all())
        except asyncio.CancelledError:
            log.info("feeds stopped")
        except Exception:
            self._failing = {ask.topic for ask in self._asks}  # seen in health; the broker's messages go on
            log.exception("feeds ended by our own mistake")

    async def _all(self) -> None:
        self._loop, self._main = asyncio.get_running_loop(), asyncio.current_task()
        now = time.monotonic()
        queue: asyncio.PriorityQueue[tuple[float, int, _Turn]] = asyncio.PriorityQueue()
        for number, ask in enumerate(self._asks):
            at = now + number * APART_S
            queue.put_nowait((at, number, _Turn(ask=ask, next_at=at)))
        log.info("feeds are asked", addresses=len(self._asks))
        agent = {"User-Agent": "city-command-centre", "Accept": "application/json"}
        async with (
            httpx.AsyncClient(
                timeout=TIMEOUT_S,
                headers=agent,
                follow_redirects=False,
                transport=Guarded(Allowed(private=True)),  # a proxy of the environment goes before it
            ) as client,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(AT_ONCE):
                group.create_task(self._work(queue, client))

    async def _work(
        self, queue: "asyncio.PriorityQueue[tuple[float, int, _Turn]]", client: httpx.AsyncClient
    ) -> None:
        while True:
            at, number, turn = await queue.get()
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            await self._take(turn, client)
            queue.put_nowait((turn.next_at, number, turn))

    async def _take(self, turn: _Turn, client: httpx.AsyncClient) -> None:
        """One request, its answer into the inbox, and when to ask again."""
        while not self._inbox.has_room():
            await asyncio.sleep(0.1)
        self._counters["asked"] += 1
        topic = turn.ask.topic
        try:
            body = await self._ask(turn, client)
            pieces, known = ([], turn.known) if body is None else fresh(topic, body, turn.known)
        except (httpx.HTTPError, httpx.InvalidURL, _NoAnswerError) as error:
            wait_s = self._failed(turn, error)
        else:
            if turn.failures:
                log.info("feed answers again", topic=topic)
            turn.failures, turn.known = 0, known
            self._failing.discard(topic)
            self._counters["news" if pieces else "unchanged"] += 1
            self._put(topic, pieces)
            wait_s = turn.ask.every_s
        turn.next_at = time.monotonic() + wait_s * random.uniform(1.0, 1.05)  # noqa: S311  # spreads requests

    async def _ask(self, turn: _Turn, client: httpx.AsyncClient) -> bytes | None:
        """The body, or None when nothing has changed."""
        async with client.stream("GET", turn.ask.url, headers=turn.unchanged) as answer:
            if answer.status_code == httpx.codes.NOT_MODIFIED:
                return None
            if answer.status_code != httpx.codes.OK:
                gone = answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.GONE)
                wait_s = GONE_WAIT_S if gone else _asked_to_wait(answer.headers.get("retry-after", ""))
                raise _NoAnswerError(f"HTTP {answer.status_code}", wait_s)
            body = bytearray()
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > MOST_BYTES:
                    raise _NoAnswerError(f"the answer is larger than {MOST_BYTES} bytes", GONE_WAIT_S)
            given = (("If-None-Match", "etag"), ("If-Modified-Since", "last-modified"))
            turn.unchanged = {name: answer.headers[of] for name, of in given if of in answer.headers}
            return bytes(body)

    def _failed(self, turn: _Turn, error: Exception) -> float:
        """Count it, say it once, and the seconds until it is tried again."""
        self._counters["failures"] += 1
        if not turn.failures:
            log.warning(
                "feed does not answer", topic=turn.ask.topic, why=f"{type(error).__name__}: {error}"[:200]
            )
        turn.failures += 1
        self._failing.add(turn.ask.topic)
        wait_s = min(FIRST_WAIT_S * 2.0 ** min(turn.failures - 1, 20), LONGEST_WAIT_S)
        return max(wait_s, error.wait_s) if isinstance(error, _NoAnswerError) else wait_s

    def _put(self, topic: str, pieces: Sequence[bytes]) -> None:
        if not pieces:
            return
        arrival = max(time.time_ns() // 1000, self._last_arrival_us + 1)
        self._last_arrival_us = arrival + len(pieces)
        self._inbox.put(
            Delivery(
                topics=[topic.encode()] * len(pieces),
                payloads=list(pieces),
                packet_ids=[0] * len(pieces),
                received_us=arrival,
                generation=0,
                source=self._source,
            )
        )


def _asked_to_wait(said: str) -> float:
    """Seconds of a Retry-After (RFC 9110, 10.2.3: a number or a date), at most GONE_WAIT_S."""
    if said.isascii() and said.isdigit():
        return min(float(said[:9]), GONE_WAIT_S)
    try:
        return min(max(0.0, parsedate_to_datetime(said).timestamp() - time.time()), GONE_WAIT_S)
    except (ValueError, OverflowError, TypeError):
        return 0.0
